"""`stopline-collector doctor`: is all as it should be? One line each; exit code 1 if something is not."""

import argparse
import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from psycopg import AsyncConnection

from collector import migrate
from collector.commands.database import add_common_options, opened, settings
from collector.config import CollectorConfig
from collector.db import Settings, load_queries, make_pool
from collector.errors import CollectorError
from collector.fleet.completeness import audit
from collector.store.editions import Edition, find_edition, find_versions

_LOW_DISK_BYTES = 1_000_000_000
_MANY_MARKS = 100_000


@dataclass(frozen=True)
class Check:
    """What was looked at, whether it is fine, and what was seen."""

    what: str
    is_fine: bool
    seen: str

    def __str__(self) -> str:
        return f"{'ok  ' if self.is_fine else 'FAIL'} {self.what:<14} {self.seen}"


def add(subparsers: "argparse._SubParsersAction[Any]") -> None:
    """Add the command's parser."""
    parser = subparsers.add_parser("doctor", help="look whether all is as it should be")
    add_common_options(parser)
    parser.add_argument(
        "--audit",
        action="store_true",
        help="also read every row and hold it against the counters and rollups; takes long on a large store",
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print the checks as they are made."""
    config = settings(options)
    checks = []
    for check in _all_checks(config, with_audit=options.audit):
        print(check, flush=True)
        checks.append(check)
    return 0 if all(check.is_fine for check in checks) else 1


def _all_checks(config: CollectorConfig, *, with_audit: bool) -> Iterator[Check]:
    if config.dsn is None:
        yield _check_state_dir(config.state_dir)
    try:
        with opened(config, migrated=False, makes=False) as database:
            yield Check("database", True, "embedded" if database.embedded else "answers")
            schema = _check_schema(database.dsn)
            yield schema
            if schema.is_fine:
                yield from asyncio.run(_check_store(database.dsn, with_audit=with_audit))
    except CollectorError as error:
        yield Check("database", False, str(error))


def _check_state_dir(folder: Path) -> Check:
    existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not os.access(existing, os.W_OK):
        return Check("state folder", False, f"{existing} cannot be written to: set STOPLINE_STATE_DIR")
    free_bytes = shutil.disk_usage(existing).free
    return Check("state folder", free_bytes >= _LOW_DISK_BYTES, f"{folder}, {free_bytes / 1e9:.1f} GB free")


def _check_schema(dsn: str) -> Check:
    try:
        status = migrate.status(dsn)
    except migrate.MigrationError as error:
        return Check("schema", False, str(error))
    if status.pending:
        return Check("schema", False, f"pending: {', '.join(status.pending)}; run `stopline-collector migrate`")
    if status.later:
        return Check("schema", True, f"of a later release, with which this one works: {', '.join(status.later)}")
    return Check("schema", True, f"of this release, {status.applied[-1]}")


async def _check_store(dsn: str, *, with_audit: bool) -> list[Check]:
    async with make_pool(Settings(dsn, min_size=1)) as pool:
        async with pool.connection() as connection:
            checks = [check async for check in _look_around(connection)]
        if with_audit:
            findings = await audit(pool)
            checks += [Check(finding.kind, False, finding.detail) for finding in findings]
            checks += [] if findings else [Check("audit", True, "every row is accounted for, rollups are exact")]
    return checks


async def _look_around(connection: AsyncConnection[Any]) -> AsyncIterator[Check]:
    store = load_queries("store")
    versions = await find_versions(connection, store)
    edition = await find_edition(connection, store)
    timescaledb = f", TimescaleDB {versions.timescaledb}" if versions.timescaledb else ""
    unused = "; columnstore unused, for row-level security" if edition is Edition.TIMESCALEDB_COMMUNITY else ""
    yield Check("edition", True, f"{edition.value} on PostgreSQL {versions.postgresql}{timescaledb}{unused}")
    yield await _check_reader(connection, store["reader"])
    yield await _check_text_index(connection, store["text_index"])
    yield await _check_writing(connection, store["probe"])
    marks = await _number(connection, load_queries("rollups")["pending_marks"], {"bound": _MANY_MARKS})
    yield Check("rollups", marks < _MANY_MARKS, f"{marks} minutes wait" if marks else "up to date")
    rejects = await _number(connection, load_queries("ingest")["count_rejects"], {})
    yield Check("rejects", True, f"{rejects} records were put aside")


async def _check_reader(connection: AsyncConnection[Any], statement: bytes) -> Check:
    """A database that was restored on another server may lack the role, or the right to become it."""
    row = await (await connection.execute(statement)).fetchone()
    assert row is not None
    becomes, user = row
    mend = f"as an administrator: CREATE ROLE stopline_reader NOLOGIN; GRANT stopline_reader TO {user}"
    told = "users are kept to their junctions" if becomes else f"{user} may not become stopline_reader; {mend}"
    return Check("row security", becomes, told)


async def _check_text_index(connection: AsyncConnection[Any], statement: bytes) -> Check:
    """A server without the extension answers the same, and takes longer: that is no fault."""
    row = await (await connection.execute(statement)).fetchone()
    assert row is not None
    is_there, can_be = row
    if is_there:
        return Check("text of logs", True, "found by an index")
    needed = "" if can_be else "install pg_trgm (PostgreSQL's contrib) on the server, and then "
    statements = (
        "CREATE EXTENSION IF NOT EXISTS pg_trgm;"
        " CREATE INDEX system_logs_message ON system_logs USING gin (message gin_trgm_ops)"
    )
    return Check("text of logs", True, f"looked through line by line; for an index, {needed}run: {statements}")


async def _check_writing(connection: AsyncConnection[Any], statement: bytes) -> Check:
    """A database whose disk is full, or that is a copy, answers as ever."""
    try:
        async with connection.transaction(force_rollback=True):
            await connection.execute(statement)
    except psycopg.Error as error:
        return Check("writing", False, f"the database stores nothing: {error}".replace("\n", "; "))
    return Check("writing", True, "the database stores what it is given")


async def _number(connection: AsyncConnection[Any], statement: bytes, parameters: dict[str, Any]) -> int:
    cursor = await connection.execute(statement, parameters)
    row = await cursor.fetchone()
    assert row is not None
    return int(row[0])
