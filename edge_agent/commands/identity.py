"""Print this device's id, and the file that the collector has to be given.

The key is made at first need and never leaves this machine. Carry the file to the collector, and add it there:
stopline-collector device add device.json
"""

import argparse
import sys

from edge_agent.commands.options import Subparsers, add_command, add_config_option
from edge_agent.config.loading import ConfigError, load_config
from edge_agent.enrol import DEVICE_FILE, IdentityError, load_or_create
from edge_agent.exit_codes import EXIT_CONFIG, EXIT_FAILED, EXIT_OK


def add(subparsers: Subparsers) -> None:
    """Add `identity` to the command line."""
    parser = add_command(subparsers, "identity", __doc__, run)
    add_config_option(parser)


def run(options: argparse.Namespace) -> int:
    """The id to stdout, so that a script can take it; where the file is to stderr."""
    try:
        # Models and certificates are no part of an identity.
        config = load_config(options.config, files_must_exist=False)
        identity = load_or_create(config.state_dir, config.name, config.junction)
    except ConfigError as error:
        print(error, file=sys.stderr)
        return EXIT_CONFIG
    except IdentityError as error:
        print(f"stopline-agent identity: {error}", file=sys.stderr)
        return EXIT_FAILED
    print(identity.device)
    print(f"for the collector: {config.state_dir / DEVICE_FILE}", file=sys.stderr)
    return EXIT_OK
