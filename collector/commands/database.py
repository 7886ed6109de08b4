"""What all commands on a database share: their options, the settings, and the database itself."""

import argparse
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg

from collector.config import CollectorConfig, load_config
from collector.embedded import Database, EmbeddedPostgres
from collector.errors import SettingError, UnavailableError
from collector.migrate import migrate
from collector.ops.logs import set_up_logging

CONNECTIONS_BESIDE_POOL = 5
"""That a worker holds: two writers, one each for questions of devices, waiting devices and maintenance."""
_SPARE_CONNECTIONS = 10
DEFAULT_CONFIG = Path("/etc/stopline/collector.toml")
"""Of the collector that is installed on this machine. Whoever may read it means that collector's database."""


def add_common_options(parser: argparse.ArgumentParser, *, makes: bool = False) -> None:
    """The options of every command that needs the database. `makes`: it may be the first that does."""
    parser.set_defaults(makes=makes)
    parser.add_argument(
        "--config",
        type=Path,
        metavar="FILE",
        help=f"settings, as TOML (default: {DEFAULT_CONFIG}, if this user may read it)",
    )
    parser.add_argument("--dsn", help="a PostgreSQL of your own (default: the embedded one, in the state folder)")
    parser.add_argument("--log-format", choices=("text", "json"), default="text", help="default: text")


def settings(options: argparse.Namespace, **arguments: Any) -> CollectorConfig:
    """The settings, from file, environment and command line; logging is set up on the way."""
    set_up_logging(options.log_format)
    return load_config(_file(options), os.environ, {"dsn": options.dsn, **arguments})


def _file(options: argparse.Namespace) -> Path | None:
    """Whoever names a database or a state folder, and no file, does not mean the installed collector."""
    if options.config is not None:
        return Path(options.config)
    means_another = options.dsn is not None or "STOPLINE_STATE_DIR" in os.environ
    return DEFAULT_CONFIG if not means_another and os.access(DEFAULT_CONFIG, os.R_OK) else None


@contextmanager
def opened(config: CollectorConfig, *, migrated: bool = True, makes: bool = True) -> Iterator[Database]:
    """The database of `config`, brought to this release's schema unless told otherwise.

    Args:
        makes: where there is no embedded one yet, it is made. Whoever only looks would find it empty, and take it
            for theirs.

    Raises:
        SettingError, UnavailableError: it cannot be reached, and why.
        MigrationError: its schema cannot be brought to this release's.
    """
    if config.dsn is None:
        connections = max(
            60, _SPARE_CONNECTIONS + config.workers * (config.pool.max_size + CONNECTIONS_BESIDE_POOL)
        )
        postgres = EmbeddedPostgres(config.state_dir, connections=connections)
        if not (makes or postgres.is_there):
            raise UnavailableError(
                f"there is no database in {config.state_dir.absolute()}: `stopline-collector serve` makes it."
                " Where it is elsewhere, name it: --config FILE, --dsn, or STOPLINE_STATE_DIR"
            )
        with postgres as embedded:
            if migrated:
                _migrate(embedded.dsn)
            yield Database(embedded.dsn, embedded)
    else:
        check_dsn(config.dsn)
        if migrated:
            _migrate(config.dsn)
        yield Database(config.dsn, None)


def check_dsn(dsn: str) -> None:
    """Tell a wrong connection string from a database that is away.

    Raises:
        SettingError: it is no connection string, or the server knows no such user, password or database.
        UnavailableError: the server does not answer.
    """
    try:
        told = psycopg.conninfo.conninfo_to_dict(dsn)
    except psycopg.ProgrammingError as error:
        hint = "write it as `host=db.example dbname=stopline user=stopline` or `postgresql://user@host/dbname`"
        raise SettingError(f"dsn is no connection string: {str(error).strip()}; {hint}") from error
    try:
        psycopg.connect(dsn, connect_timeout=10).close()
    except psycopg.OperationalError as error:
        why = str(error).strip()
        if _is_refusal(why):
            raise SettingError(f"dsn {_where(told)}: the server refuses it: {why}") from error
        raise UnavailableError(f"dsn {_where(told)}: no database answers there: {why}") from error


def _migrate(dsn: str) -> None:
    try:
        migrate(dsn)
    except psycopg.OperationalError as error:
        raise UnavailableError(f"the database went away: {str(error).strip()}") from error


def _is_refusal(why: str) -> bool:
    """libpq gives no SQLSTATE for a connection that fails; the server's own words begin with FATAL."""
    return "FATAL:" in why and "starting up" not in why and "shutting down" not in why and "too many" not in why


def _where(told: Mapping[str, Any]) -> str:
    """A connection string's parts without its password."""
    return " ".join(f"{key}={value}" for key, value in told.items() if key != "password")
