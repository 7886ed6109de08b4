"""`stopline-collector`: a command per module of `collector.commands`, and the ladder from errors to exit codes."""

import argparse
import gc
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from collector.commands import COMMANDS, load
from collector.errors import EXIT_SETTING, EXIT_UNAVAILABLE, CollectorError
from common import __version__

_EPILOG = f"""exit codes:
  0   done
  1   failed; the message tells why
  2   the command line is wrong
  {EXIT_UNAVAILABLE}  something outside is missing: the database, a port, a folder
  {EXIT_SETTING}  a setting cannot be used
"""


def make_parser(commands: Sequence[str] = COMMANDS) -> argparse.ArgumentParser:
    """The command line of these commands."""
    parser = argparse.ArgumentParser(
        prog="stopline-collector",
        description="Collects what the devices of a fleet count.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"stopline {__version__}")
    subparsers = parser.add_subparsers(metavar="COMMAND", required=True)
    for command in commands:
        load(command).add(subparsers)
    return parser


@contextmanager
def _loading() -> Iterator[None]:
    """What is loaded stays: garbage is not looked for in it meanwhile."""
    # To leave it out for good (gc.freeze) makes whole collections frequent, which look at all that waits: with ten
    # thousand devices each stops the collector for a second.
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; its exit code."""
    arguments = sys.argv[1:] if arguments is None else arguments
    wrong = [one for one in arguments if any("\ud800" <= letter <= "\udfff" for letter in one)]
    if wrong:
        # Bytes of another encoding; no database takes them.
        print(f"stopline-collector: {wrong[0]!r} is not UTF-8; look at the terminal's encoding", file=sys.stderr)
        return 2
    try:
        # Loaded here, where Ctrl-C is minded: it takes a moment. All of them are for the help and for who is lost.
        with _loading():
            parser = make_parser([name for name in arguments[:1] if name in COMMANDS] or COMMANDS)
        options = parser.parse_args(arguments)
        code: int = options.run(options)
    except CollectorError as error:
        print(f"stopline-collector: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    return code
