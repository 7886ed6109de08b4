"""What the commands' parsers share."""

import argparse
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

DEFAULT_CONFIG = Path("/etc/stopline/agent.toml")

Subparsers: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def add_command(
    subparsers: Subparsers, name: str, doc: str | None, run: Callable[[argparse.Namespace], int]
) -> argparse.ArgumentParser:
    """A parser for one command; its module's text is its description."""
    parser = subparsers.add_parser(name, description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.set_defaults(run=run)
    return parser


def add_config_option(parser: argparse.ArgumentParser) -> None:
    """Add `--config F`."""
    parser.add_argument(
        "--config",
        type=Path,
        metavar="F",
        default=DEFAULT_CONFIG,
        help=f"the configuration (default: {DEFAULT_CONFIG})",
    )


def seconds(text: str) -> float:
    """The value of an option that is a time in seconds.

    Raises:
        ArgumentTypeError: it is none, or not more than 0.
    """
    try:
        found = float(text)
    except ValueError:
        found = math.nan
    if not 0.0 < found < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is no time in seconds, more than 0; write it as 90")
    return found


def refuse_picture(path: Path, *suffixes: str) -> None:
    """Tell now, and not when the picture is there, that it could not be written.

    Raises:
        ValueError: its name ends in none of `suffixes`, or its folder cannot be written to.
    """
    if path.suffix.lower() not in suffixes:
        raise ValueError(f"{path}: give the picture a name that ends in {' or '.join(suffixes)}")
    if not os.access(path.parent, os.W_OK):
        raise ValueError(f"{path} cannot be written; is its folder there, and yours to write to?")
