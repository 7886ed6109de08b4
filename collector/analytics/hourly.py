"""The worker that keeps `junction_hourly_stats`: hours that are over, and those that something has changed."""

import asyncio
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
import psycopg
from psycopg import AsyncConnection

from collector.analytics.hours import ALL, REMEMBERED, SETTLED, Hour, HourReader, Part, hour_edges
from collector.analytics.keeping import Keeper
from collector.analytics.period import LONGEST, Asked, Place, read_place
from collector.db import Pool, load_queries, writing

_HOUR = timedelta(hours=1)
_AFTER = REMEMBERED + 2 * _HOUR
"""For how long after a change hours may be others."""
_PER_TRANSACTION = timedelta(days=1)
_WEEK = timedelta(days=7)
"""What is known when it begins has to be read first, which costs a day."""
_FORWARD = timedelta(days=9)
_REST_PER_WORK = 1.0
_DUTY, _CLAIMED_S = "hours_back", 60.0
"""Of making hours further back; a worker that died meanwhile is waited for no longer than this."""
_MANY_MARKS = 5_000
"""Minutes that are over and still wait to be rolled up: then there are more urgent things to do."""


class HourlyWorker(Keeper):
    """Keeps hours of lights. Of those that were over when it began it makes a week's at once, and the others when
    there is nothing else to do: the latest first, and resting for as long as it works."""

    what = "Hours"
    lock_key = 0x53544F53
    sql = "hourly"
    marks_per_pass = 200

    def __init__(self, pool: Pool, *, idle_s: float = 20.0, catch_up_s: float = 300.0) -> None:
        super().__init__(pool, idle_s=idle_s, catch_up_s=catch_up_s)

    async def remake(self, connection: AsyncConnection[Any], junction: UUID, marks: Sequence[datetime]) -> int:
        await self._hold_rows(connection)
        place = await read_place(connection, junction)
        made = 0
        for first, last in _clusters(marks):
            low, high = first - 2 * _HOUR, last + _AFTER
            parameters = Asked(place, low, high).parameters
            cursor = await connection.execute(self._queries["made"], parameters, prepare=False)
            row = await cursor.fetchone()
            starts, until = (moment and moment.astimezone(UTC) for moment in row or (None, None))
            if starts is None or first < starts:
                reopened = {"junction": junction, "moment": (starts or last) + _HOUR}
                await connection.execute(self._queries["reopen_back"], reopened)
            if starts is not None and until is not None:
                made += await self._keep(connection, place, starts, until, marks)
        return made

    async def make(
        self,
        connection: AsyncConnection[Any],
        junction: UUID,
        start: datetime,
        until: datetime,
        parts: Part = ALL,
    ) -> int:
        await self._hold_rows(connection)
        place = await read_place(connection, junction)
        until = min(until, place.as_of - SETTLED)
        edges = await hour_edges(connection, place.ref.timezone, start, min(until, start + _PER_TRANSACTION))
        over = [edge.astimezone(UTC) for edge in edges if edge <= until]
        if len(over) < 2:
            return 0
        made_from = over[0] if parts is ALL else over[-1]
        seed = {"junction": junction, "start": over[0], "made_from": made_from}
        await connection.execute(self._queries["seed_back"], seed)
        return await self._keep(connection, place, over[0], over[-1], (), parts)

    async def make_between(self, junction: UUID, start: datetime, until: datetime) -> int:
        total = 0
        while made := await super().make_between(junction, start, until):
            total += made
            start += _PER_TRANSACTION
            if start >= until:
                break
        return total

    async def make_asked(
        self, junction: UUID, start: datetime, until: datetime, parts: Part, *, within_s: float
    ) -> None:
        """For somebody who waits, as far as it gets in this time: a day at least, unless another is at it."""
        until_s = _now_s() + within_s
        while start < until:
            # Those that a worker may still have to make are made whole: it goes on after the last one.
            needed = ALL if start > datetime.now(UTC) - _FORWARD else parts
            if await self._make_day(junction, start, until, needed) is None or _now_s() >= until_s:
                return
            start += _PER_TRANSACTION

    async def rest(self, pause_s: float) -> None:
        until_s = _now_s() + pause_s
        while (left_s := until_s - _now_s()) > 0:
            if not await self.fill_back():
                await asyncio.sleep(left_s)

    async def fill_back(self) -> bool:
        """Makes hours of a week of the junction where they reach back least. False: there is nothing to do, or the
        store has other things to do."""
        row = await self._execute("next_back", {})
        if row is None:
            return False
        junction, made_from = row
        before = {"junction": junction, "low": made_from - LONGEST, "high": made_from}
        first = await self._execute("first_record", before)
        start = max(first[0], made_from - _WEEK) if first and first[0] else None
        done = {"junction": junction, "made_from": made_from, "start": start}
        try:
            if start is not None and not await self._make_days(junction, start, made_from):
                return False
        except psycopg.Error:
            # A week that cannot be made keeps none from being made that comes after it.
            await self._execute("note_back", done)
            raise
        await self._execute("note_back", done)
        return True

    async def _make_days(self, junction: UUID, start: datetime, made_from: datetime) -> bool:
        """One after the other, with rests that all workers of all collectors take together. False: it was broken
        off."""
        while start < made_from:
            if await self._is_busy() or await self._duty("claim_duty", _CLAIMED_S) is None:
                return False
            started_s = _now_s()
            if await self._make_day(junction, start, made_from + _HOUR, ALL) is None:
                return False
            start += _PER_TRANSACTION
            rest_s = (_now_s() - started_s) * _REST_PER_WORK
            await self._duty("postpone_duty", rest_s)
            await asyncio.sleep(rest_s)
        return True

    async def _duty(self, name: str, pause_s: float) -> tuple[Any, ...] | None:
        async with self._pool.connection() as connection:
            parameters = {"name": _DUTY, "pause_s": pause_s}
            cursor = await connection.execute(load_queries("store")[name], parameters)
            return await cursor.fetchone() if cursor.description else None

    async def _make_day(self, junction: UUID, start: datetime, until: datetime, parts: Part) -> int | None:
        """None: another worker is at work. No statement of it may take longer than one of a request."""
        async with writing(self._pool) as connection:
            if not await self._locks(connection):
                return None
            made = await self.make(connection, junction, start, until, parts)
        self.stats.made += made
        return made

    async def _is_busy(self) -> bool:
        async with self._pool.connection() as connection:
            cursor = await connection.execute(load_queries("rollups")["marks_behind"], {"bound": _MANY_MARKS})
            row = await cursor.fetchone()
        return row is not None and int(row[0]) >= _MANY_MARKS

    async def _execute(self, name: str, parameters: dict[str, Any]) -> tuple[Any, ...] | None:
        async with self._pool.connection() as connection:
            cursor = await connection.execute(self._queries[name], parameters, prepare=False)
            return await cursor.fetchone() if cursor.description else None

    async def _hold_rows(self, connection: AsyncConnection[Any]) -> None:
        """No raw rows are dropped or moved until what is made of them is kept."""
        await connection.execute(self._queries["hold_rows"])

    async def _keep(
        self,
        connection: AsyncConnection[Any],
        place: Place,
        start: datetime,
        until: datetime,
        marks: Sequence[datetime],
        parts: Part = ALL,
    ) -> int:
        reader = HourReader(connection, Asked(place, start, until), parts, marks)
        fresh = [hour for hour in await reader.read(before=True) if hour.is_new]
        async with connection.cursor() as cursor:
            await cursor.executemany(self._queries["keep"], [_row(place, hour) for hour in fresh])
            if reader.ends_changed:
                await cursor.execute(self._queries["mark_next"], {"junction": place.ref.id, "start": until})
        return len(fresh)


def _now_s() -> float:
    return asyncio.get_running_loop().time()


def _clusters(marks: Sequence[datetime]) -> Iterator[tuple[datetime, datetime]]:
    """The first and last of marks that lie near each other; they are in order."""
    first = last = marks[0]
    for mark in marks[1:]:
        if mark - last > _AFTER:
            yield first, last
            first = mark
        last = mark
    yield first, last


def _row(place: Place, hour: Hour) -> dict[str, Any]:
    return {
        "junction": place.ref.id,
        "starts_at": hour.start,
        "ends_at": hour.until,
        "lanes": _json(hour.lanes),
        "lengths": _json(hour.lengths),
        "zones": _json(hour.zones),
        "described": hour.described,
        "log": None if hour.log is None else _json(hour.log),
        "state": None if hour.state is None else _json(hour.state),
    }


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()
