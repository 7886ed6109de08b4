"""Native partitions, where TimescaleDB is not there: one per UTC day or month, made ahead of time.

A row of a time that has none goes to the default partition, so none is ever refused. Maintenance moves such rows
into partitions of their own. Bounds are told by a partition's name: `count_events_20260504`, `system_logs_202605`.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
from psycopg import AsyncConnection, sql
from psycopg.rows import class_row

from collector.db import Queries

SCHEMA = "parts"
_AHEAD = {"day": timedelta(days=14), "month": timedelta(days=70)}
_BEHIND = timedelta(days=1)


@dataclass(frozen=True)
class Series:
    """A table that is a time series. `streamed`: its rows belong to streams, so what goes is counted for them."""

    table_name: str
    time_column: str
    span: str
    fillfactor: int
    dropped_before: datetime
    streamed: bool


@dataclass(frozen=True)
class Partition:
    """A native partition: rows with `start <= time < end`."""

    series: Series
    start: datetime
    end: datetime

    @property
    def name(self) -> str:
        return f"{self.series.table_name}_{self.start:%Y%m%d}"[: None if self.series.span == "day" else -2]

    @property
    def identifier(self) -> sql.Identifier:
        return sql.Identifier(SCHEMA, self.name)


def span_start(moment: datetime, span: str) -> datetime:
    """The start of the UTC day or month that `moment` lies in."""
    midnight = moment.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return midnight if span == "day" else midnight.replace(day=1)


def partition_of(series: Series, moment: datetime) -> Partition:
    """The partition, made or not, that holds `moment`."""
    start = span_start(moment, series.span)
    length = timedelta(days=1 if series.span == "day" else 31)
    return Partition(series, start, span_start(start + length, series.span))


def partitions_between(series: Series, start: datetime, end: datetime) -> Iterator[Partition]:
    """The partitions, made or not, that hold the times from `start` to `end`."""
    partition = partition_of(series, start)
    while partition.start <= end:
        yield partition
        partition = partition_of(series, partition.end)


async def read_series(connection: AsyncConnection[Any], queries: Queries) -> list[Series]:
    """All time series of the database."""
    async with connection.cursor(row_factory=class_row(Series)) as cursor:
        await cursor.execute(queries["timeseries"])
        return await cursor.fetchall()


async def read_partitions(connection: AsyncConnection[Any], queries: Queries, series: Series) -> list[Partition]:
    """The partitions of a series that were made, oldest first, but for the default one."""
    cursor = await connection.execute(queries["partitions"], {"table": series.table_name})
    found = []
    for (name,) in await cursor.fetchall():
        match = re.fullmatch(rf"{series.table_name}_(\d{{4}})(\d\d)(\d\d)?", name)
        if match is not None:
            year, month, day = int(match[1]), int(match[2]), int(match[3] or 1)
            found.append(partition_of(series, datetime(year, month, day, tzinfo=UTC)))
    return found


async def missing_partitions(
    connection: AsyncConnection[Any], queries: Queries, series: Series, now: datetime
) -> list[Partition]:
    """Those that should be made: around now and ahead, and for what lies in the default partition."""
    made = {partition.name for partition in await read_partitions(connection, queries, series)}
    wanted = list(partitions_between(series, now - _BEHIND, now + _AHEAD[series.span]))
    wanted += [partition_of(series, start) for start in await _spans_in_default(connection, series)]
    unique = {partition.name: partition for partition in wanted}
    return [partition for name, partition in sorted(unique.items()) if name not in made]


async def make_partition(connection: AsyncConnection[Any], partition: Partition) -> int:
    """Makes a partition and moves the rows of its time there from the default one; returns their number.

    The whole series is locked meanwhile, its head first: no row can slip in between, and no statement can have
    looked up the partitions before and read the default one afterwards, which would miss the rows that moved. So
    would a transaction that sees an earlier moment (`reading`): where rows move, none of those is under way.
    """
    series = partition.series
    names = {
        "parent": sql.Identifier(series.table_name),
        "partition": partition.identifier,
        "default": default_of(series),
        "at": sql.Identifier(series.time_column),
        "start": sql.Literal(partition.start.isoformat()),
        "end": sql.Literal(partition.end.isoformat()),
        "fillfactor": sql.Literal(series.fillfactor),
    }
    of_its_time = sql.SQL("FROM {default} WHERE {at} >= {start} AND {at} < {end}").format(**names)
    async with connection.transaction():
        cursor = await connection.execute(sql.SQL("SELECT EXISTS (SELECT {})").format(of_its_time))
        moves = await cursor.fetchone() == (True,)
        for locked in ("timeseries",) * moves + ("ONLY {parent}", "{default}"):
            await connection.execute(sql.SQL(f"LOCK TABLE {locked} IN ACCESS EXCLUSIVE MODE").format(**names))
        await connection.execute(
            sql.SQL(
                "CREATE TABLE {partition} (LIKE {parent} INCLUDING DEFAULTS INCLUDING CONSTRAINTS)"
                " WITH (fillfactor = {fillfactor})"
            ).format(**names)
        )
        moved = await connection.execute(
            sql.SQL(
                "WITH moved AS (DELETE {of_its_time} RETURNING *) INSERT INTO {partition} SELECT * FROM moved"
            ).format(of_its_time=of_its_time, **names)
        )
        if moved.rowcount and not moves:
            raise psycopg.errors.LockNotAvailable("rows came meanwhile")
        await connection.execute(
            sql.SQL(
                "ALTER TABLE {parent} ATTACH PARTITION {partition} FOR VALUES FROM ({start}) TO ({end})"
            ).format(**names)
        )
    return moved.rowcount


def default_of(series: Series) -> sql.Identifier:
    """The partition that takes in what has none of its own."""
    return sql.Identifier(SCHEMA, f"{series.table_name}_default")


async def _spans_in_default(connection: AsyncConnection[Any], series: Series) -> list[datetime]:
    """The starts of the days or months that the default partition has rows of, and that were not dropped."""
    statement = sql.SQL(
        "SELECT DISTINCT date_trunc({span}, {at}, 'UTC') FROM {default} WHERE {at} >= %(dropped_before)s"
    ).format(span=sql.Literal(series.span), at=sql.Identifier(series.time_column), default=default_of(series))
    cursor = await connection.execute(statement, {"dropped_before": series.dropped_before})
    return [start for (start,) in await cursor.fetchall()]
