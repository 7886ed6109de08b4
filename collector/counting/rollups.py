"""The rollup worker: keeps `count_rollups` and `coverage_rollups` exact, whenever and in any order data comes.

Ingest writes a mark for each minute that it changes, in the transaction that changes it. The worker takes marks
and computes just those minutes anew. A row and its mark become visible together, so a minute is never missed; a
minute that changes again while it is computed has a new mark by then.

A minute is computed when it is over: a busy source changes it many times before. Until then, and for late data
that was not rolled up yet, whoever asks gets marked minutes from their raw rows (`collector.counting.queries`).
"""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import psycopg
from psycopg import AsyncConnection
from psycopg.rows import class_row

from collector.db import Pool, Queries, load_queries

_log = logging.getLogger(__name__)

LOCK_KEY = 0x53544F51
"""Advisory lock of whoever changes rollups, or drops the rows that they are made of."""
MARKS_PER_PASS = 100_000
_VACUUM_AFTER_MARKS = 20_000
_RETRY_S = 2.0


@dataclass(frozen=True)
class Pass:
    """What one pass did. `locked_out`: another worker is at work, nothing was done."""

    marks: int = 0
    minutes: int = 0
    rollups: int = 0
    locked_out: bool = False


@dataclass(frozen=True)
class _Group:
    """Marked minutes of one kind and UTC day; `refs` and `minutes` go together."""

    kind: str
    day: datetime
    marks: int
    refs: list[int]
    minutes: list[datetime]


@dataclass
class RollupStats:
    """What a worker did since it was made; for metrics."""

    passes: int = 0
    failures: int = 0
    marks: int = 0
    minutes: int = 0
    rollups: int = 0
    last_pass_s: float = 0.0
    last_success_unix_s: float = 0.0


class RollupWorker:
    """Turns marks into rollups, for as long as `run` runs. Of several collectors' workers, one at a time works.

    `wake` is set by ingest after a commit; the worker also looks by itself every `idle_s`, for minutes that are
    over and for marks of others. After a pass it rests for `rest_s`, in which the marks of a busy city fall
    together. `now` gives the time, aware.
    """

    def __init__(
        self,
        pool: Pool,
        wake: asyncio.Event,
        *,
        idle_s: float = 10.0,
        rest_s: float = 2.0,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._pool = pool
        self._wake = wake
        self._idle_s = idle_s
        self._rest_s = rest_s
        self._now = now
        self._queries = load_queries("rollups")
        self._unvacuumed = 0
        self.stats = RollupStats()

    async def run(self) -> None:
        """Works until it is cancelled. A database that is away is waited for."""
        while True:
            self._wake.clear()
            try:
                await self.drain()
                pause_s = self._rest_s
            except psycopg.OperationalError as error:
                self.stats.failures += 1
                _log.warning("Rollups wait for the database: %s", error, extra={"action": "rollups_wait"})
                pause_s = _RETRY_S
            except psycopg.Error:
                # What cannot be added up now stays marked; it is no reason to take in nothing more.
                self.stats.failures += 1
                _log.exception("Rollups failed; they are tried again", extra={"action": "rollups_failed"})
                pause_s = _RETRY_S
            await asyncio.sleep(pause_s)
            await self._await_wake()

    async def drain(self, before: datetime | None = None) -> int:
        """Passes until no mark of a minute before `before` is left, or another worker has them.

        None: of the minutes that are over. Returns how many marks were taken.
        """
        taken = 0
        while True:
            done = await self.run_once(before)
            taken += done.marks
            if done.marks < MARKS_PER_PASS:
                return taken

    async def run_once(self, before: datetime | None = None) -> Pass:
        """One pass over the oldest marks, in one transaction."""
        started_s = time.monotonic()
        before = before or self._now().replace(second=0, microsecond=0)
        async with self._pool.connection() as connection, connection.transaction():
            done = await roll_up(connection, self._queries, before)
        self._note(done, time.monotonic() - started_s)
        if self._unvacuumed >= _VACUUM_AFTER_MARKS:
            await self._vacuum()
        return done

    def _note(self, done: Pass, took_s: float) -> None:
        self.stats.passes += 1
        self.stats.marks += done.marks
        self.stats.minutes += done.minutes
        self.stats.rollups += done.rollups
        self.stats.last_pass_s = took_s
        self.stats.last_success_unix_s = time.time()
        self._unvacuumed += done.marks

    async def _vacuum(self) -> None:
        async with self._pool.connection() as connection:
            await connection.set_autocommit(True)
            try:
                await connection.execute(self._queries["vacuum_marks"])
            finally:
                await connection.set_autocommit(False)
        self._unvacuumed = 0

    async def _await_wake(self) -> None:
        try:
            async with asyncio.timeout(self._idle_s):
                await self._wake.wait()
        except TimeoutError:
            return


async def roll_up(connection: AsyncConnection[Any], queries: Queries, before: datetime) -> Pass:
    """Takes the oldest marks of minutes before a time and applies them, in the transaction that is open."""
    cursor = await connection.execute(queries["try_lock"], {"key": LOCK_KEY})
    row = await cursor.fetchone()
    if row is None or not row[0]:
        return Pass(locked_out=True)
    return await _apply(connection, queries, "take_marks", {"before": before, "limit": MARKS_PER_PASS})


async def roll_up_before(connection: AsyncConnection[Any], queries: Queries, kind: str, before: datetime) -> Pass:
    """Applies all marks of a kind before a time. The caller holds the lock, and keeps new rows away."""
    return await _apply(connection, queries, "take_marks_before", {"kind": kind, "before": before})


async def _apply(
    connection: AsyncConnection[Any], queries: Queries, take: str, parameters: dict[str, Any]
) -> Pass:
    await connection.execute(queries["work_memory"])
    cursor = await connection.execute(queries["dropped_before"])
    dropped_before: dict[str, datetime] = dict(await cursor.fetchall())
    async with connection.cursor(row_factory=class_row(_Group)) as taking:
        await taking.execute(queries[take], parameters)
        groups = await taking.fetchall()
    marks = minutes = rollups = 0
    for group in groups:
        rollups += await _apply_day(connection, queries, group, dropped_before[group.kind])
        marks += group.marks
        minutes += len(group.refs)
    return Pass(marks, minutes, rollups)


_CHANGED = {"count": "changed_counts", "coverage": "changed_coverage"}
_LATE = {"count": "late_counts", "coverage": "late_coverage"}
_ADD = {"count": "add_counts", "coverage": "add_coverage"}


async def _apply_day(
    connection: AsyncConnection[Any], queries: Queries, group: _Group, dropped_before: datetime
) -> int:
    """Applies the marks of one kind and day; returns how many rollup rows changed."""
    late = [minute < dropped_before for minute in group.minutes]
    changed = 0
    for is_late, source in ((False, _CHANGED), (True, _LATE)):
        parameters = {
            "day": group.day,
            "dropped_before": dropped_before,
            "refs": _where(group.refs, late, is_late),
            "minutes": _where(group.minutes, late, is_late),
        }
        if parameters["refs"]:
            statement = queries[source[group.kind]] + b"\n" + queries[_ADD[group.kind]]
            # Planned for this day: a plan for any day would look into the partitions of all.
            cursor = await connection.execute(statement, parameters, prepare=False)
            changed += cursor.rowcount
    return changed


def _where(values: Sequence[Any], flags: Sequence[bool], wanted: bool) -> list[Any]:
    return [value for value, flag in zip(values, flags, strict=True) if flag is wanted]
