"""Fetches what is exported, page by page, each in a short transaction of its own.

Late records that come while an export runs are in it if their time has not been passed yet.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import chain
from typing import Any
from uuid import UUID

import psycopg

from collector.counting.in_force import overlap_s
from collector.counting.queries import Asked, Bucket, Cell, CountQueries, Source
from collector.db import VIEWER, Connection, Pool, load_queries, reading
from collector.errors import ApiProblem
from collector.export.tables import TABLES, Measure, Table, What

PAGE_ROWS = 5_000
EARLIEST = datetime(2024, 1, 1, tzinfo=UTC)
"""Nothing is stored of an earlier time."""
_WINDOWS = (timedelta(seconds=10), timedelta(days=32))
_FIRST_WINDOW = timedelta(hours=1)
_MINUTE = timedelta(minutes=1)
_PAUSES_S = (0.5, 2.0, 5.0, 10.0)
"""A database that restarts is waited for."""
_PAGES_AT_ONCE = 2

Row = tuple[Any, ...]


@dataclass(frozen=True)
class Junction:
    """Whose rows are exported."""

    id: UUID
    name: str
    timezone: str


@dataclass(frozen=True)
class Range:
    """From `start` until before `end`; `bucket` is for rollups alone."""

    start: datetime
    end: datetime
    bucket: Bucket


@dataclass(frozen=True)
class _Scope:
    """The numbers that a junction's rows carry, and for how long each source measured, or each stream told."""

    junction: Junction
    streams: list[int]
    sources: list[int]
    cameras: list[int]
    dropped_before: datetime | None
    measured_ms: Mapping[int, int]


class Reader:
    """Reads for all exports of a collector. However many run, few fetch a page at once: requests come first."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._queries = load_queries("export")
        self._counts = CountQueries(pool)
        self._turn = asyncio.Semaphore(_PAGES_AT_ONCE)

    async def junctions(self, names: Sequence[str] | None) -> list[Junction]:
        """Those that are named, by name or id; None: all that are seen.

        Raises:
            ApiProblem: one of them is not there.
        """
        async with reading(self._pool) as connection:
            parameters = {"names": None if names is None else list(names)}
            cursor = await connection.execute(self._queries["junctions"], parameters)
            found = [Junction(*row) for row in await cursor.fetchall()]
        known = {name for one in found for name in (one.name, str(one.id))}
        for name in names or ():
            if name not in known:
                detail = f"junction={name}: there is none; GET /api/junctions lists them"
                raise ApiProblem(
                    404, "junction_unknown", "There is no such junction", detail, parameter="junction"
                )
        return found

    async def pages(
        self, what: What, junction: Junction, asked: Range, user: UUID | None
    ) -> AsyncIterator[list[Row]]:
        """The rows of one junction, some thousand at a time, as `columns_of` lists them. `user`: see `viewer`."""
        pages = self._rollups if what is What.ROLLUPS else self._rows
        async for page in pages(what, junction, asked, user):
            yield page

    async def _rows(
        self, what: What, junction: Junction, asked: Range, user: UUID | None
    ) -> AsyncIterator[list[Row]]:
        table = TABLES[what]
        async with self._reading(user) as connection:
            scope = await self._scope(connection, junction, asked, table.series, table.measure)
        end = min(asked.end, datetime.now(UTC) + timedelta(hours=1))
        low = max(asked.start, scope.dropped_before or EARLIEST, EARLIEST)
        width, key = _FIRST_WINDOW, {"at": low, **table.key}
        while low < end:
            high = min(low + width, end)
            rows, width = await self._page(what, _parameters(scope, low, high) | key, width, user)
            if rows is None:
                continue
            if len(rows) == PAGE_ROWS:
                key = dict(zip(key, rows[-1], strict=False))
                low = rows[-1][0]
            else:
                low = high
            if rows:
                yield [_finished(row, table, junction, asked) for row in rows]

    async def _page(
        self, what: What, parameters: dict[str, Any], width: timedelta, user: UUID | None
    ) -> tuple[list[Row] | None, timedelta]:
        """A page, and how long the next window is to be. None: this one was too long; try a shorter one."""
        for pause_s in (*_PAUSES_S, None):
            try:
                async with self._reading(user) as connection:
                    # Planned for this window: a plan for any would look into the partitions of all.
                    cursor = await connection.execute(self._queries[what], parameters, prepare=False)
                    rows = await cursor.fetchall()
            except psycopg.errors.QueryCanceled:
                if width <= _WINDOWS[0]:
                    raise
                return None, max(_WINDOWS[0], width / 16)
            except psycopg.OperationalError:
                if pause_s is None:
                    raise
                await asyncio.sleep(pause_s)
            else:
                return rows, _next_width(width, len(rows))
        raise AssertionError("unreachable")

    async def _rollups(
        self, _: What, junction: Junction, asked: Range, user: UUID | None
    ) -> AsyncIterator[list[Row]]:
        async with self._reading(user) as connection:
            scope = await self._scope(connection, junction, asked, "count_rollups", Measure.SOURCES)
        if not scope.sources:
            return
        at, end = max(asked.start, EARLIEST), min(asked.end, datetime.now(UTC))
        length = timedelta(seconds=asked.bucket.step_s * max(1, PAGE_ROWS // len(scope.sources)))
        while at < end:
            question = Asked(at, min(at + length, end), asked.bucket, junctions=[str(junction.id)])
            async with self._as(user):
                answer = await self._counts.counts(question)
            if not answer.sources:
                return
            cells = [each.cells for each in answer.sources]
            local = await self._local_times(scope, [cell.start for cell in cells[0]], user)
            sources = [each.source for each in answer.sources]
            yield [
                row
                for at_once, local_text in zip(zip(*cells, strict=True), local, strict=True)
                for source, cell in zip(sources, at_once, strict=True)
                for row in _bucket_rows(scope, asked, source, cell, local_text)
            ]
            at = cells[0][-1].end

    async def _local_times(self, scope: _Scope, ats: list[datetime], user: UUID | None) -> list[str]:
        async with self._reading(user) as connection:
            parameters = {"zone": scope.junction.timezone, "ats": ats}
            cursor = await connection.execute(self._queries["local_times"], parameters)
            local = [moment for (moment,) in await cursor.fetchall()]
        return [local_time(at, there) for at, there in zip(ats, local, strict=True)]

    async def _scope(
        self, connection: Connection, junction: Junction, asked: Range, series: str | None, measure: Measure
    ) -> _Scope:
        parameters = {"junction": junction.id, "series": series}
        cursor = await connection.execute(self._queries["scope"], parameters)
        row = await cursor.fetchone()
        assert row is not None
        streams, sources, cameras, dropped_before = row
        scope = _Scope(junction, streams, sources, cameras, dropped_before, {})
        if measure is Measure.NOTHING or asked.end <= EARLIEST:
            return scope
        # Whole minutes: how much of one was measured is known, and not when in it.
        span = _parameters(scope, _minute_from(max(asked.start, EARLIEST)), _minute_from(asked.end))
        cursor = await connection.execute(self._queries[f"measured_by_{measure}"], span)
        if measure is Measure.STREAMS:
            return replace(scope, measured_ms=dict(await cursor.fetchall()))
        found = await cursor.fetchall()
        measured_ms = {source_no: ms for source_no, _, _, ms in found}
        # Minutes that wait to be rolled up.
        cursor = await connection.execute(load_queries("counts")["live_coverage"], span)
        for camera_no, minute_s, ms in await cursor.fetchall():
            minute = datetime.fromtimestamp(minute_s, UTC)
            low, high = max(span["low"], minute), min(span["high"], minute + _MINUTE)
            for source_no, of_camera, in_force, _ in found:
                if of_camera == camera_no:
                    measured_ms[source_no] += ms * overlap_s(in_force, low, high) / _MINUTE.total_seconds()
        return replace(scope, measured_ms={no: round(ms) for no, ms in measured_ms.items()})

    @asynccontextmanager
    async def _reading(self, user: UUID | None) -> AsyncIterator[Connection]:
        async with self._as(user), reading(self._pool) as connection:
            yield connection

    @asynccontextmanager
    async def _as(self, user: UUID | None) -> AsyncIterator[None]:
        """One of the few that read, for this user: a stream runs on when the request's own context is over."""
        async with self._turn:
            before = VIEWER.set(user)
            try:
                yield
            finally:
                VIEWER.reset(before)


def _minute_from(at: datetime) -> datetime:
    """The first minute that begins then or later."""
    return at + (EARLIEST - at) % _MINUTE


def local_time(at: datetime, there: datetime) -> str:
    """ISO 8601 with the offset of that place; `there` is what clocks show there, without a zone."""
    offset = there.replace(tzinfo=UTC) - at
    return there.isoformat(timespec="milliseconds") + _offset_text(offset)


@cache
def _offset_text(offset: timedelta) -> str:
    minutes = abs(round(offset.total_seconds())) // 60
    return f"{'-' if offset < timedelta() else '+'}{minutes // 60:02d}:{minutes % 60:02d}"


def _parameters(scope: _Scope, low: datetime, high: datetime) -> dict[str, Any]:
    return {
        "junction": scope.junction.id,
        "zone": scope.junction.timezone,
        "streams": scope.streams,
        "sources": scope.sources,
        "cameras": scope.cameras,
        "measured_nos": list(scope.measured_ms),
        "measured_ms": list(scope.measured_ms.values()),
        "low": low,
        "high": high,
        "limit": PAGE_ROWS,
    }


def _next_width(width: timedelta, n_rows: int) -> timedelta:
    """Windows that hold about a page."""
    if n_rows == PAGE_ROWS:
        return max(_WINDOWS[0], width / 2)
    return min(_WINDOWS[1], width * 2) if n_rows < PAGE_ROWS / 4 else width


def _finished(row: Row, table: Table, junction: Junction, asked: Range) -> Row:
    at, n_key = row[0], 1 + len(table.key)
    shown = (junction.name, at, local_time(at, row[n_key]), *row[n_key + 1 : -1])
    return (*shown, asked.start, asked.end, row[-1])


def _bucket_rows(scope: _Scope, asked: Range, source: Source, cell: Cell, local_text: str) -> list[Row]:
    """One row for each class and direction, or one for a bucket without any."""
    measured_ms = scope.measured_ms.get(source.no)
    of_bucket = (scope.junction.name, cell.start, local_text, cell.end)
    of_source = (source.device_name, source.sensor, source.name, source.via, source.kind)
    bucket_s = round((cell.end - cell.start).total_seconds())
    rest = (cell.state, cell.measured_s, bucket_s, asked.start, asked.end)
    range_s = None if measured_ms is None else measured_ms / 1000
    counts = [(count.cls, count.direction, count.n, count.n_inferred) for count in cell.counts]
    known = cell.n is not None
    empty = [(None, None, 0 if known else None, 0 if known else None)]
    return [tuple(chain(of_bucket, of_source, count, rest, (range_s,))) for count in counts or empty]
