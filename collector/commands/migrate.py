"""`stopline-collector migrate`: bring the database to this release's schema."""

import argparse
from typing import Any

from collector import migrate as migration
from collector.commands.database import add_common_options, opened, settings


def add(subparsers: "argparse._SubParsersAction[Any]") -> None:
    """Add the command's parser."""
    parser = subparsers.add_parser("migrate", help="bring the database to this release's schema")
    add_common_options(parser)
    parser.add_argument(
        "--pre-only",
        action="store_true",
        help="only what the release before can live with; the rest comes when no old collector runs any more",
    )
    parser.add_argument("--status", action="store_true", help="tell what is applied and pending; change nothing")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Migrate, or tell."""
    with opened(settings(options), migrated=False, makes=not options.status) as database:
        if options.status:
            status = migration.status(database.dsn)
            print(
                "\n".join(
                    [f"applied  {name}" for name in status.applied]
                    + [f"pending  {name}" for name in status.pending]
                    + [f"later    {name}" for name in status.later]
                )
            )
            return 0
        done = migration.migrate(database.dsn, only=migration.Phase.PRE if options.pre_only else None)
    print("\n".join(f"applied  {name}" for name in done) or "nothing to do")
    return 0
