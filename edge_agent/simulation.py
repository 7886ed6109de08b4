"""Made-up counts at a steady rate, to try a collector, a network or an SD card without a road.

They go through the agent's real outbox and sync. A journal can be kept of what was made and what was durable, and
when: that is the oracle a torture test compares the collector with.
"""

import asyncio
import logging
import os
import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from common.codes import Direction, Via
from common.records import Count, Frames
from edge_agent.clock_source import Clock
from edge_agent.outbox.writer import OutboxWriter

logger = logging.getLogger(__name__)

SENSOR = "simulated"
SOURCES = ("north", "east", "south", "west")
_TICK_S = 0.1
_FLUSH_S = 0.5
_BLOCK_S = 10.0
_CLASSES = ("car", "car", "car", "car", "truck", "bus", "motorcycle", "bicycle")


class Journal:
    """What was made, told before it is handed over; what is durable, told after. Survives SIGKILL.

    Lines of the file: `made ID`, `durable ID` (this one and all before it of the same run). An ID is `RUN:NUMBER`.
    """

    def __init__(self, descriptor: int | None) -> None:
        self._descriptor = descriptor

    def made(self, ids: list[str]) -> None:
        """These are about to be handed over."""
        self._write("".join(f"made {name}\n" for name in ids))

    def durable(self, last_id: str) -> None:
        """All up to `last_id` are on the disk."""
        self._write(f"durable {last_id}\n")

    def _write(self, text: str) -> None:
        if self._descriptor is not None and text:
            os.write(self._descriptor, text.encode())


@contextmanager
def open_journal(path: Path | None) -> Iterator[Journal]:
    """The journal at `path`, appended to; None: one that forgets everything.

    Raises:
        OSError: it cannot be opened.
    """
    if path is None:
        yield Journal(None)
        return
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        yield Journal(descriptor)
    finally:
        os.close(descriptor)


class Simulation:
    """Makes counts until told to stop.

    Args:
        rate: counts per second, on average; they come by chance, as vehicles do.
    """

    def __init__(self, rate: float, journal: Journal) -> None:
        self._rate = rate
        self._journal = journal
        self._run = uuid4().hex[:12]
        self._n = 0
        self._chance = random.Random(self._run)

    async def run(self, writer: OutboxWriter, clock: Clock, stop: asyncio.Event) -> None:
        """Feed `writer` until `stop` is set."""
        loop = asyncio.get_running_loop()
        flushed_s = block_s = loop.time()
        while not await _is_set_within(stop, _TICK_S):
            self._make(self._arrivals(_TICK_S), writer, clock)
            now_s = loop.time()
            if now_s - block_s >= _BLOCK_S:
                self._put_block(now_s - block_s, writer, clock)
                block_s = now_s
            if now_s - flushed_s >= _FLUSH_S:
                await self._flush(writer)
                flushed_s = now_s
        self._put_block(loop.time() - block_s, writer, clock)
        await self._flush(writer)
        logger.info("%d counts were made", self._n, extra={"action": "simulated", "n": self._n})

    def _arrivals(self, span_s: float) -> int:
        """How many came within `span_s`: a Poisson process, counted by its exponential headways."""
        n, passed_s = 0, self._chance.expovariate(self._rate) if self._rate else span_s
        while passed_s < span_s:
            n += 1
            passed_s += self._chance.expovariate(self._rate)
        return n

    def _make(self, n: int, writer: OutboxWriter, clock: Clock) -> None:
        ids = [f"{self._run}:{self._n + k}" for k in range(1, n + 1)]
        self._n += n
        self._journal.made(ids)
        for name in ids:
            writer.put_nowait(self._count(name), clock.stamp())

    def _count(self, name: str) -> Count:
        pick = self._chance.choice
        direction = pick((Direction.IN, Direction.OUT))
        confidence = round(self._chance.uniform(0.4, 0.99), 3)
        return Count(1, 0, 0, SENSOR, pick(SOURCES), Via.CAMERA, pick(_CLASSES), direction, confidence, name)

    def _put_block(self, span_s: float, writer: OutboxWriter, clock: Clock) -> None:
        span_ms = round(span_s * 1000)
        writer.put_nowait(Frames(1, 0, 0, SENSOR, span_ms, span_ms, round(span_s * 10), 0), clock.stamp())

    async def _flush(self, writer: OutboxWriter) -> None:
        n = self._n
        if await writer.flush() and n:
            self._journal.durable(f"{self._run}:{n}")


async def _is_set_within(event: asyncio.Event, timeout_s: float) -> bool:
    try:
        async with asyncio.timeout(timeout_s):
            await event.wait()
    except TimeoutError:
        return False
    return True
