"""`stopline-collector maintain`: partitions ahead, retention. `serve` does the same every hour."""

import argparse
import asyncio
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from collector.commands.database import add_common_options, opened, settings
from collector.store.maintenance import maintain


def add(subparsers: "argparse._SubParsersAction[Any]") -> None:
    """Add the command's parser."""
    parser = subparsers.add_parser("maintain", help="make partitions, drop what is older than retention says")
    add_common_options(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Maintain once, and tell what was done."""
    config = settings(options)
    with opened(config, makes=False) as database:
        done = asyncio.run(maintain(database.dsn, datetime.now(UTC), config.retention))
    for name, n in asdict(done).items():
        print(f"{name.replace('_', ' '):<20} {n}")
    return 0
