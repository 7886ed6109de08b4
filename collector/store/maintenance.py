"""What must be done now and then, in every edition: partitions made ahead, and old rows dropped.

Dropping raw rows takes nothing from the counts: first the rollups take in all that was marked. `expired_rows`
notes how many rows of each stream went, so that the audit of completeness still adds up. It goes by small
transactions, so it may be interrupted at any time, and done again.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
from psycopg import AsyncConnection, sql

from collector.config import Days, Retention
from collector.counting.rollups import LOCK_KEY, roll_up_before
from collector.db import load_queries
from collector.store.editions import Edition, find_edition
from collector.store.partitions import (
    SCHEMA,
    Partition,
    Series,
    default_of,
    make_partition,
    missing_partitions,
    read_partitions,
    read_series,
    span_start,
)

_log = logging.getLogger(__name__)

_MARKED = {"count_events": "count", "frame_metadata": "coverage"}
"""Tables that rollups are made of, and the kind of their marks."""
_LOCK_TIMEOUT = "2s"
_LOOK_S = 60.0
"""How often a worker looks whether maintenance is due."""


@dataclass
class Maintained:
    """What a run did."""

    partitions_made: int = 0
    rows_moved: int = 0
    """From the default partition, where rows of unforeseen times wait."""
    partitions_dropped: int = 0
    rows_dropped: int = 0
    minutes_forgotten: int = 0
    postponed: int = 0
    """Steps that would have made ingest wait, and are left for the next run."""


async def maintain(dsn: str, now: datetime, retention: Retention) -> Maintained:
    """Makes partitions ahead of `now` and drops what is older than `retention` says. Safe to run at any time."""
    async with await AsyncConnection.connect(dsn, autocommit=True, prepare_threshold=None) as connection:
        return await _Maintenance(connection, now, retention).run()


class MaintenanceWorker:
    """Runs `maintain` every `interval_s`, until it is cancelled. Of all workers on a database one does.

    Args:
        first_after_s: before it looks for the first time.
    """

    def __init__(
        self,
        dsn: str,
        retention: Retention,
        *,
        interval_s: float = 3600.0,
        first_after_s: float = 0.0,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._dsn = dsn
        self._retention = retention
        self._interval_s = interval_s
        self._first_after_s = first_after_s
        self._now = now
        self.last_success_unix_s = 0.0

    async def run(self) -> None:
        """Works until it is cancelled. A database that is away is waited for."""
        await asyncio.sleep(self._first_after_s)
        edition: Edition | None = None
        while True:
            try:
                edition = edition or await self._told_edition()
                await self._run_if_due()
            except psycopg.OperationalError as error:
                _log.warning("Maintenance waits for the database: %s", error, extra={"action": "maintenance_wait"})
            except psycopg.Error:
                # Old rows that stay are no reason to take in no new ones.
                _log.exception("Maintenance failed; it is tried again", extra={"action": "maintenance_failed"})
            await asyncio.sleep(min(_LOOK_S, self._interval_s))

    async def _run_if_due(self) -> None:
        if not await self._ask("claim_duty", self._interval_s):
            return
        try:
            done = await maintain(self._dsn, self._now(), self._retention)
        except BaseException:
            await self._ask("postpone_duty", _LOOK_S)
            raise
        self.last_success_unix_s = self._now().timestamp()
        _log.info("Maintenance done: %s", done, extra={"action": "maintained"})

    async def _ask(self, query: str, pause_s: float) -> bool:
        async with await AsyncConnection.connect(self._dsn, autocommit=True, prepare_threshold=None) as connection:
            parameters = {"name": "maintenance", "pause_s": pause_s}
            cursor = await connection.execute(load_queries("store")[query], parameters)
            return cursor.rowcount > 0

    async def _told_edition(self) -> Edition:
        async with await AsyncConnection.connect(self._dsn, autocommit=True, prepare_threshold=None) as connection:
            edition = await find_edition(connection, load_queries("store"))
        if edition is Edition.TIMESCALEDB_COMMUNITY:
            _log.info(
                "TimescaleDB's columnstore is not used: it does not go with row-level security, which keeps users"
                " to their junctions",
                extra={"action": "columnstore_unused"},
            )
        return edition


class _Maintenance:
    def __init__(self, connection: AsyncConnection[Any], now: datetime, retention: Retention) -> None:
        self._connection = connection
        self._now = now
        self._retention = retention
        self._store = load_queries("store")
        self._rollups = load_queries("rollups")
        self._done = Maintained()

    async def run(self) -> Maintained:
        edition = await find_edition(self._connection, self._store)
        for series in await read_series(self._connection, self._store):
            if edition is Edition.PLAIN:
                await self._make_partitions(series)
            before = self._cutoff(series)
            if before is not None:
                await self._expire(series, before, edition)
        await self._forget_minutes()
        return self._done

    async def _make_partitions(self, series: Series) -> None:
        try:
            for partition in await missing_partitions(self._connection, self._store, series, self._now):
                async with self._patient():
                    self._done.rows_moved += await make_partition(self._connection, partition)
                self._done.partitions_made += 1
        except psycopg.errors.LockNotAvailable:
            self._postpone(f"making partitions of {series.table_name}")

    def _cutoff(self, series: Series) -> datetime | None:
        """Rows before this go. Whole days or months only. None: they are kept for ever, as all rollups are."""
        days: Days = getattr(self._retention, series.table_name, "forever")
        return None if days == "forever" else span_start(self._now - timedelta(days=days), series.span)

    async def _expire(self, series: Series, before: datetime, edition: Edition) -> None:
        try:
            if edition is Edition.PLAIN:
                await self._expire_partitions(series, before)
            else:
                await self._expire_chunks(series, before)
        except psycopg.errors.LockNotAvailable:
            self._postpone(f"dropping old rows of {series.table_name}")

    async def _expire_partitions(self, series: Series, before: datetime) -> None:
        partitions = await read_partitions(self._connection, self._store, series)
        for partition in partitions:
            if partition.end <= before:
                await self._detach(series, partition.end, partition)
        await self._detach(series, before, None)
        cursor = await self._connection.execute(self._store["detached"], {"table": series.table_name})
        for (name,) in await cursor.fetchall():
            await self._drop_detached(series, sql.Identifier(SCHEMA, name))

    async def _detach(self, series: Series, end: datetime, partition: Partition | None) -> None:
        """Takes a partition that ends at `end` out of the series, and all rows before that out of the default one.

        The whole series is locked, but only for moments: its rows are counted and dropped afterwards.
        """
        async with self._closing(series, end, sql.SQL("ONLY {}").format(sql.Identifier(series.table_name))):
            self._done.rows_dropped += await self._take_out(series, default_of(series), end)
            if partition is not None:
                await self._connection.execute(
                    sql.SQL("ALTER TABLE {} DETACH PARTITION {}").format(
                        sql.Identifier(series.table_name), partition.identifier
                    )
                )

    async def _drop_detached(self, series: Series, table: sql.Identifier) -> None:
        async with self._connection.transaction():
            self._done.rows_dropped += await self._count_out(series, table)
            await self._connection.execute(sql.SQL("DROP TABLE {}").format(table))
        self._done.partitions_dropped += 1

    async def _expire_chunks(self, series: Series, before: datetime) -> None:
        for schema, name, end in await self._chunks(series, before):
            chunk = sql.Identifier(schema, name)
            async with self._closing(series, end, chunk):
                rows_dropped = await self._count_out(series, chunk)
                await self._connection.execute(sql.SQL("DROP TABLE {}").format(chunk))
                # Late rows may just have made another chunk of that time. It must go first.
                await self._connection.execute(
                    sql.SQL("LOCK TABLE ONLY {} IN SHARE ROW EXCLUSIVE MODE").format(
                        sql.Identifier(series.table_name)
                    )
                )
                if await self._chunks(series, end):
                    raise psycopg.errors.LockNotAvailable
            self._done.rows_dropped += rows_dropped
            self._done.partitions_dropped += 1

    async def _chunks(self, series: Series, before: datetime) -> list[tuple[str, str, datetime]]:
        parameters = {"table": series.table_name, "before": before}
        cursor = await self._connection.execute(self._store["chunks"], parameters)
        return [(schema, name, end) for schema, name, end in await cursor.fetchall()]

    @asynccontextmanager
    async def _closing(self, series: Series, end: datetime, locked: sql.Composable) -> AsyncIterator[None]:
        """A transaction that closes a series up to `end`: rows of that time that come later are late.

        No row may come in any more while the rollups take in what is marked, so `locked` is locked first. It gives
        up on a lock rather than let ingest wait.
        """
        async with self._patient():
            await self._connection.execute(self._rollups["lock"], {"key": LOCK_KEY})
            await self._connection.execute(sql.SQL("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE").format(locked))
            if series.table_name in _MARKED:
                await roll_up_before(self._connection, self._rollups, _MARKED[series.table_name], end)
            yield
            parameters = {"table": series.table_name, "before": end}
            await self._connection.execute(self._store["set_dropped_before"], parameters)

    async def _count_out(self, series: Series, table: sql.Identifier) -> int:
        """Notes the rows of a partition that is about to go, for the audit."""
        rows = sql.SQL("SELECT {} FROM {}").format(_stream_of(series), table)
        return await self._note_expired(series, rows)

    async def _take_out(self, series: Series, table: sql.Identifier, end: datetime) -> int:
        """Deletes and notes the rows before `end`."""
        rows = sql.SQL("DELETE FROM {} WHERE {} < {} RETURNING {}").format(
            table, sql.Identifier(series.time_column), sql.Literal(end.isoformat()), _stream_of(series)
        )
        return await self._note_expired(series, rows)

    async def _note_expired(self, series: Series, rows: sql.Composed) -> int:
        statement = sql.SQL(
            "WITH gone AS ({rows}), noted AS ("
            " INSERT INTO expired_rows AS x (stream_no, table_name, n)"
            " SELECT stream_no, {table}, count(*) FROM gone WHERE stream_no IS NOT NULL GROUP BY stream_no"
            " ON CONFLICT (stream_no, table_name) DO UPDATE SET n = x.n + excluded.n)"
            " SELECT count(*) FROM gone"
        ).format(rows=rows, table=sql.Literal(series.table_name))
        cursor = await self._connection.execute(statement)
        row = await cursor.fetchone()
        return int(row[0]) if row is not None else 0

    async def _forget_minutes(self) -> None:
        days = self._retention.minute_rollups
        if days == "forever":
            return
        before = span_start(self._now - timedelta(days=days), "day")
        for name in ("forget_minutes", "forget_coverage_minutes"):
            cursor = await self._connection.execute(self._store[name], {"before": before})
            self._done.minutes_forgotten += cursor.rowcount

    @asynccontextmanager
    async def _patient(self) -> AsyncIterator[None]:
        async with self._connection.transaction():
            await self._connection.execute(self._store["patience"], {"timeout": _LOCK_TIMEOUT})
            yield

    def _postpone(self, what: str) -> None:
        self._done.postponed += 1
        _log.info("Postponed %s: it would make ingest wait", what, extra={"action": "maintenance_postponed"})


def _stream_of(series: Series) -> sql.SQL:
    """Whose row it was. NULL: of no stream, as a log that somebody posted."""
    return sql.SQL("stream_no" if series.streamed else "NULL::integer AS stream_no")
