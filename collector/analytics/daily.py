"""The worker that keeps `junction_daily_stats`: days that are over, and days that something late has changed.

The database itself marks a day in the transaction that changes it (`junction_day_marks`). Whoever reads days
computes those that have a mark, or no row, anew; so the worker only makes them quick to read, and may be late.
"""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import psycopg
from psycopg import AsyncConnection

from collector.analytics.days import Edges, parameters_of, read_edges
from collector.analytics.period import Asked, Place, read_counters, read_place
from collector.db import Pool, load_queries

_log = logging.getLogger(__name__)

LOCK_KEY = 0x53544F52
"""Advisory lock of whoever keeps days."""
_MARKS_PER_PASS = 20_000
_JUNCTIONS_PER_PASS = 50
_DAYS_PER_STATEMENT = 31
_RETRY_S = 10.0
_FIRST = UUID(int=0)


@dataclass
class DailyStats:
    """What a worker did since it was made."""

    days: int = 0
    failures: int = 0


class DailyWorker:
    """Keeps days for as long as `run` runs. Of several collectors' workers, one at a time works.

    Looks for marks every `idle_s`, and for days that are over every `catch_up_s`.
    """

    def __init__(self, pool: Pool, *, idle_s: float = 60.0, catch_up_s: float = 1800.0) -> None:
        self._pool = pool
        self._idle_s = idle_s
        self._catch_up_s = catch_up_s
        self._queries = load_queries("daily")
        self.stats = DailyStats()

    async def run(self) -> None:
        """Works until it is cancelled. A database that is away is waited for."""
        caught_up_s = float("-inf")
        while True:
            try:
                await self.mend()
                now_s = asyncio.get_running_loop().time()
                if now_s - caught_up_s >= self._catch_up_s:
                    await self.catch_up()
                    caught_up_s = now_s
                pause_s = self._idle_s
            except psycopg.OperationalError as error:
                self.stats.failures += 1
                _log.warning("Days wait for the database: %s", error, extra={"action": "days_wait"})
                pause_s = _RETRY_S
            except psycopg.Error:
                # Days are computed when they are read: no reason to take in no records.
                self.stats.failures += 1
                _log.exception("Days could not be made; it is tried again", extra={"action": "days_failed"})
                pause_s = self._idle_s
            await asyncio.sleep(pause_s)

    async def mend(self) -> int:
        """Makes days anew that were marked, until none is; returns how many."""
        total = 0
        while (n_days := await self._mend_once()) is not None:
            total += n_days
        return total

    async def catch_up(self) -> int:
        """Makes the days that are over and were not made yet, of all junctions; returns how many."""
        total, after = 0, _FIRST
        while True:
            async with self._pool.connection() as connection, connection.transaction():
                parameters = {"after": after, "limit": _JUNCTIONS_PER_PASS}
                cursor = await connection.execute(self._queries["behind"], parameters, prepare=False)
                behind = await cursor.fetchall()
            for junction, start, until in behind:
                total += await self._make(junction, start, until)
            if len(behind) < _JUNCTIONS_PER_PASS:
                return total
            after = behind[-1][0]

    async def _mend_once(self) -> int | None:
        """None: there was nothing to do, or another worker is at it."""
        async with self._pool.connection() as connection, connection.transaction():
            if not await self._locks(connection):
                return None
            cursor = await connection.execute(self._queries["take_marks"], {"limit": _MARKS_PER_PASS})
            taken = await cursor.fetchall()
            if not taken:
                return None
            n_days = 0
            for junction, starts in taken:
                if starts:
                    place = await read_place(connection, junction)
                    n_days += await self._keep(connection, place, await _edges_of(connection, place, starts))
        self.stats.days += n_days
        return n_days

    async def _make(self, junction: UUID, start: datetime, until: datetime) -> int:
        async with self._pool.connection() as connection, connection.transaction():
            if not await self._locks(connection):
                return 0
            place = await read_place(connection, junction)
            edges = await read_edges(connection, Asked(place, start, until).parameters)
            await self._keep(connection, place, edges)
        self.stats.days += len(edges)
        return len(edges)

    async def _keep(self, connection: AsyncConnection[Any], place: Place, edges: Sequence[Edges]) -> int:
        keep = self._queries["keep"].replace(b"{computed}", self._queries["computed"])
        for first in range(0, len(edges), _DAYS_PER_STATEMENT):
            some = edges[first : first + _DAYS_PER_STATEMENT]
            asked = Asked(place, some[0].start, some[-1].until)
            counters = await read_counters(connection, asked)
            # What waits to be rolled up marks its day when it is.
            parameters = parameters_of(some, asked.parameters | counters.parameters, live=False)
            await connection.execute(keep, parameters, prepare=False)
        return len(edges)

    async def _locks(self, connection: AsyncConnection[Any]) -> bool:
        cursor = await connection.execute(load_queries("rollups")["try_lock"], {"key": LOCK_KEY})
        row = await cursor.fetchone()
        return row is not None and bool(row[0])


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
