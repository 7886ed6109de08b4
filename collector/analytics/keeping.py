"""What keeps days and hours of junctions: workers that make those that are over, and those that changed late.

The database itself marks what changes in the transaction that changes it. Whoever reads computes anew what has a
mark, or no row; so a worker only makes it quick to read, and may be late.
"""

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import psycopg
from psycopg import AsyncConnection

from collector.db import Pool, load_queries

_log = logging.getLogger(__name__)

_JUNCTIONS_PER_PASS = 50
_RETRY_S = 10.0
_FIRST = UUID(int=0)


@dataclass
class KeeperStats:
    """What a worker did since it was made."""

    made: int = 0
    failures: int = 0


class Keeper(ABC):
    """Keeps `what` for as long as `run` runs. Of several collectors' workers, one at a time works.

    Looks for marks every `idle_s`, and for what is over every `catch_up_s`.
    """

    what: str
    lock_key: int
    """Advisory lock of whoever keeps it."""
    sql: str
    """The file with `take_marks` and `behind`."""
    marks_per_pass: int

    def __init__(self, pool: Pool, *, idle_s: float = 60.0, catch_up_s: float) -> None:
        self._pool = pool
        self._idle_s = idle_s
        self._catch_up_s = catch_up_s
        self._queries = load_queries(self.sql)
        self.stats = KeeperStats()

    @abstractmethod
    async def remake(self, connection: AsyncConnection[Any], junction: UUID, marks: Sequence[datetime]) -> int:
        """Makes anew what marks name, in the transaction that takes them; returns how many."""

    @abstractmethod
    async def make(
        self, connection: AsyncConnection[Any], junction: UUID, start: datetime, until: datetime
    ) -> int:
        """Makes what lies from `start` to `until`, which may be the beginning of it; returns how many. 0: it is
        all there."""

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
                await self.rest(self._idle_s)
                continue
            except psycopg.OperationalError as error:
                self.stats.failures += 1
                _log.warning("%s wait for the database: %s", self.what, error, extra={"action": "keeping_waits"})
                pause_s = _RETRY_S
            except psycopg.Error:
                # They are computed when they are read: no reason to take in no records.
                self.stats.failures += 1
                _log.exception(
                    "%s could not be made; it is tried again", self.what, extra={"action": "keeping_failed"}
                )
                pause_s = self._idle_s
            await asyncio.sleep(pause_s)

    async def rest(self, pause_s: float) -> None:
        """Until it looks again; there may be something to do that can wait."""
        await asyncio.sleep(pause_s)

    async def mend(self) -> int:
        """Makes anew what was marked, until nothing is; returns how many."""
        total = 0
        while (made := await self._mend_once()) is not None:
            total += made
        return total

    async def catch_up(self) -> int:
        """Makes what is over and was not made yet, of all junctions; returns how many."""
        total, after = 0, _FIRST
        while True:
            async with self._pool.connection() as connection, connection.transaction():
                parameters = {"after": after, "limit": _JUNCTIONS_PER_PASS}
                cursor = await connection.execute(self._queries["behind"], parameters, prepare=False)
                behind = await cursor.fetchall()
            for junction, start, until in behind:
                total += await self.make_between(junction, start, until)
            if len(behind) < _JUNCTIONS_PER_PASS:
                return total
            after = behind[-1][0]

    async def _mend_once(self) -> int | None:
        """None: there was nothing to do, or another worker is at it."""
        async with self._pool.connection() as connection, connection.transaction():
            if not await self._locks(connection):
                return None
            cursor = await connection.execute(self._queries["take_marks"], {"limit": self.marks_per_pass})
            taken = await cursor.fetchall()
            if not taken:
                return None
            made = 0
            for junction, marks in taken:
                if marks:
                    made += await self.remake(connection, junction, marks)
        self.stats.made += made
        return made

    async def make_between(self, junction: UUID, start: datetime, until: datetime) -> int:
        """Makes what is over of a time, in transactions of its own; returns how many."""
        async with self._pool.connection() as connection, connection.transaction():
            made = await self.make(connection, junction, start, until) if await self._locks(connection) else 0
        self.stats.made += made
        return made

    async def _locks(self, connection: AsyncConnection[Any]) -> bool:
        cursor = await connection.execute(load_queries("rollups")["try_lock"], {"key": self.lock_key})
        row = await cursor.fetchone()
        return row is not None and bool(row[0])
