"""The worker that keeps `junction_hourly_stats`: hours that are over, and those that something has changed."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
from psycopg import AsyncConnection

from collector.analytics.hours import ALL, REMEMBERED, Hour, HourReader, hour_edges
from collector.analytics.keeping import Keeper
from collector.analytics.period import Asked, Place, read_place
from collector.db import Pool

_HOUR = timedelta(hours=1)
_AFTER = REMEMBERED + 2 * _HOUR
"""For how long after a change hours may be others."""
_PER_TRANSACTION = timedelta(days=1)


class HourlyWorker(Keeper):
    """Keeps hours of lights. Those that were over when it began are made for a week back."""

    what = "Hours"
    lock_key = 0x53544F53
    sql = "hourly"
    marks_per_pass = 2_000

    def __init__(self, pool: Pool, *, idle_s: float = 60.0, catch_up_s: float = 300.0) -> None:
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
            if row is not None and row[0] is not None:
                starts, until = (moment.astimezone(UTC) for moment in row)
                made += await self._keep(connection, place, starts, until, marks)
        return made

    async def make(
        self, connection: AsyncConnection[Any], junction: UUID, start: datetime, until: datetime
    ) -> int:
        await self._hold_rows(connection)
        place = await read_place(connection, junction)
        edges = await hour_edges(connection, place.ref.timezone, start, min(until, start + _PER_TRANSACTION))
        over = [edge.astimezone(UTC) for edge in edges if edge <= until]
        return await self._keep(connection, place, over[0], over[-1], ()) if len(over) > 1 else 0

    async def make_between(self, junction: UUID, start: datetime, until: datetime) -> int:
        total = 0
        while made := await super().make_between(junction, start, until):
            total += made
            start += _PER_TRANSACTION
            if start >= until:
                break
        return total

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
    ) -> int:
        reader = HourReader(connection, Asked(place, start, until), ALL, marks)
        fresh = [hour for hour in await reader.read(before=True) if hour.is_new]
        async with connection.cursor() as cursor:
            await cursor.executemany(self._queries["keep"], [_row(place, hour) for hour in fresh])
        return len(fresh)


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
