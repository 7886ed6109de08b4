"""Which of the three editions of the store a database is. It behaves the same in all of them.

It was decided when the database was made: the time series are hypertables or native partitions. TimescaleDB under
its own licence has a columnstore besides. It takes no table with row-level security, which is what keeps users to
their junctions in SQL itself; so it is not used, and that is said at start.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import class_row

from collector.db import Queries
from collector.errors import UnavailableError


class Edition(StrEnum):
    """What keeps the time series."""

    PLAIN = "plain"
    """PostgreSQL alone: native range partitions."""
    TIMESCALEDB = "timescaledb"
    """TimescaleDB under the Apache licence: hypertables, dropped by our maintenance."""
    TIMESCALEDB_COMMUNITY = "timescaledb_community"
    """TimescaleDB under its own licence: the same; its columnstore is not used."""


@dataclass(frozen=True)
class Versions:
    """What a database runs on."""

    postgresql: str
    timescaledb: str | None


async def find_edition(connection: AsyncConnection[Any], queries: Queries) -> Edition:
    """The edition of a migrated database."""
    cursor = await connection.execute(queries["edition"])
    row = await cursor.fetchone()
    if row is None:
        raise UnavailableError("the database has no count_events: run `stopline-collector migrate`")
    hypertables, columnstore = row
    if not hypertables:
        return Edition.PLAIN
    return Edition.TIMESCALEDB_COMMUNITY if columnstore else Edition.TIMESCALEDB


async def find_versions(connection: AsyncConnection[Any], queries: Queries) -> Versions:
    """Which servers these are."""
    async with connection.cursor(row_factory=class_row(Versions)) as cursor:
        await cursor.execute(queries["versions"])
        found = await cursor.fetchone()
    if found is None:
        raise UnavailableError("the database does not tell its version")
    return found
