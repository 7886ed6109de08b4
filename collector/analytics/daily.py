"""The worker that keeps `junction_daily_stats`: days that are over, and days that something late has changed."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg import AsyncConnection

from collector.analytics.counters import Counters, read_counters
from collector.analytics.days import Edges, parameters_of, read_edges
from collector.analytics.keeping import Keeper
from collector.analytics.period import Asked, Place, read_place
from collector.counting.queries import Bucket
from collector.db import Pool, load_queries

_DAYS_PER_STATEMENT = 31


class DailyWorker(Keeper):
    """Keeps days."""

    what = "Days"
    lock_key = 0x53544F52
    sql = "daily"
    marks_per_pass = 20_000

    def __init__(self, pool: Pool, *, idle_s: float = 60.0, catch_up_s: float = 1800.0) -> None:
        super().__init__(pool, idle_s=idle_s, catch_up_s=catch_up_s)

    async def remake(self, connection: AsyncConnection[Any], junction: UUID, marks: Sequence[datetime]) -> int:
        place = await read_place(connection, junction)
        return await self._keep(connection, place, await _edges_of(connection, place, marks))

    async def make(
        self, connection: AsyncConnection[Any], junction: UUID, start: datetime, until: datetime
    ) -> int:
        place = await read_place(connection, junction)
        return await self._keep(
            connection, place, await read_edges(connection, Asked(place, start, until).parameters)
        )

    async def _keep(self, connection: AsyncConnection[Any], place: Place, edges: Sequence[Edges]) -> int:
        keep = self._queries["keep"].replace(b"{computed}", self._queries["computed"])
        for first in range(0, len(edges), _DAYS_PER_STATEMENT):
            some = edges[first : first + _DAYS_PER_STATEMENT]
            asked = Asked(place, some[0].start, some[-1].until)
            counters = await read_counters(connection, asked)
            # What waits to be rolled up marks its day when it is.
            parameters = parameters_of(some, asked.parameters | counters.parameters, live=False)
            measured = {"measured_ms": await _measured_ms(connection, counters, some)}
            await connection.execute(keep, parameters | measured, prepare=False)
        return len(edges)


async def _measured_ms(connection: AsyncConnection[Any], counters: Counters, days: Sequence[Edges]) -> list[int]:
    """For how long the cameras watched on each day: each at that of its lines where it did longest."""
    found = []
    for run in _runs(days):
        starts = [run[0].start, *(one.until for one in run)]
        measured = await counters.read_measured(connection, starts, Bucket.DAY.step_s, live=False)
        for one in run:
            of_camera: dict[int | None, float] = {}
            for source in counters.sources:
                its_own = measured.of(source, one.start, one.until) or 0.0
                of_camera[source.camera_no] = max(of_camera.get(source.camera_no, 0.0), its_own)
            found.append(round(sum(of_camera.values())))
    return found


def _runs(days: Sequence[Edges]) -> list[list[Edges]]:
    """Days that follow each other, together; they are in order."""
    found: list[list[Edges]] = []
    for one in days:
        if found and found[-1][-1].until == one.start:
            found[-1].append(one)
        else:
            found.append([one])
    return found


async def _edges_of(connection: AsyncConnection[Any], place: Place, starts: Sequence[datetime]) -> list[Edges]:
    """The days that begin at `starts`, which are in order."""
    found = []
    for start in starts:
        next_day = Asked(place, start, start).parameters
        cursor = await connection.execute(load_queries("daily")["edge"], next_day)
        row = await cursor.fetchone()
        assert row is not None
        found.append(Edges(*row))
    return found
