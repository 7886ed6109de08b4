"""Show a camera's picture on a page, with what is found in it, and draw lines and zones there by finger or mouse.

The page is for the local network only, and opens with a code that stands in this terminal. What is saved goes into
the configuration; comments in it are kept, and the file as it was becomes FILE.bak. Run it as a user who may write
the configuration, and stop an agent that holds the same camera: sudo systemctl stop stopline-agent
"""

import argparse
import asyncio
import sys
from typing import TYPE_CHECKING

from edge_agent.commands.options import Subparsers, add_command, add_config_option
from edge_agent.exit_codes import EXIT_CONFIG, EXIT_FAILED, EXIT_OK

if TYPE_CHECKING:
    from edge_agent.preview.studio import Studio

DEFAULT_PORT = 8378


def add(subparsers: Subparsers) -> None:
    """Add `preview` to the command line."""
    parser = add_command(subparsers, "preview", __doc__, run)
    add_config_option(parser)
    parser.add_argument(
        "--camera", metavar="NAME", help="which camera (default: the first; the page can change it)"
    )
    parser.add_argument("--host", default="0.0.0.0", help="address to listen on (default: 0.0.0.0, all networks)")
    parser.add_argument(
        "--port", type=int, default=DEFAULT_PORT, help=f"port; 0 takes a free one (default: {DEFAULT_PORT})"
    )


def run(options: argparse.Namespace) -> int:
    """Serve until Ctrl-C."""
    # Only here, so that the command line starts without it.
    from edge_agent.config.loading import ConfigError
    from edge_agent.preview.studio import NotNow, Studio

    try:
        studio = Studio(options.config, options.camera)
    except ConfigError as error:
        print(error, file=sys.stderr)
        return EXIT_CONFIG
    except NotNow as error:
        return _fail(str(error), EXIT_CONFIG)
    try:
        asyncio.run(_serve(studio, options.host, options.port))
    except OSError as error:
        mend = f"take another port with --port, or end what uses {options.port}"
        return _fail(f"cannot listen on {options.host} port {options.port}: {error.strerror}; {mend}", EXIT_FAILED)
    return EXIT_OK


async def _serve(studio: "Studio", host: str, port: int) -> None:
    from edge_agent.preview.serving import serve
    from edge_agent.runtime import stop_on_signals

    stop = asyncio.Event()
    with stop_on_signals(stop):
        await serve(studio, host, port, stop)


def _fail(text: str, code: int) -> int:
    print(f"stopline-agent preview: {text}", file=sys.stderr)
    return code
