"""`stopline-collector`: a command per module of `collector.commands`, and the ladder from errors to exit codes."""

import argparse
import sys
from collections.abc import Sequence

from collector.errors import EXIT_SETTING, EXIT_UNAVAILABLE, CollectorError
from common import __version__

_EPILOG = f"""exit codes:
  0   done
  1   failed; the message tells why
  2   the command line is wrong
  {EXIT_UNAVAILABLE}  something outside is missing: the database, a port, a folder
  {EXIT_SETTING}  a setting cannot be used
"""


def make_parser() -> argparse.ArgumentParser:
    """The whole command line."""
    # Only here, where `main` minds Ctrl-C: it takes a moment to load them all.
    from collector.commands import COMMANDS

    parser = argparse.ArgumentParser(
        prog="stopline-collector",
        description="Collects what the devices of a fleet count.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"stopline {__version__}")
    subparsers = parser.add_subparsers(metavar="COMMAND", required=True)
    for command in COMMANDS:
        command.add(subparsers)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; its exit code."""
    try:
        options = make_parser().parse_args(arguments)
        code: int = options.run(options)
    except CollectorError as error:
        print(f"stopline-collector: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    return code
