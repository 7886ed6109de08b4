"""A supervised reader in a process of its own, and all that comes of it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import TypeVar

from common.clock import Stamp
from common.records import Count, Frames, Gap, Record
from edge_agent.cameras.supervisor import SupervisorParams
from edge_agent.cameras.view import CameraView
from edge_agent.clock_source import Clock
from edge_agent.rfid.supervisor import ReaderPlan, ReaderSupervisor

R = TypeVar("R", bound=Record)
HASTY = SupervisorParams(hang_s=4.0, warm_up_s=60.0, end_s=5.0, retry_first_s=0.2, retry_cap_s=0.4)


class WatchedReader:
    """A supervised reader, and all that came of it."""

    def __init__(self, plan: ReaderPlan) -> None:
        self.records: list[tuple[int, Record]] = []
        self.view = CameraView(plan.name, kind="reader")
        self.stop, self.news = asyncio.Event(), asyncio.Event()
        self.clock = Clock()
        self.began_ns = self.clock.stamp().boottime_ns
        self.supervisor = ReaderSupervisor(plan, self.view, self, self.clock, alive=self.news.set, params=HASTY)

    async def put(self, record: Record, stamp: Stamp) -> None:
        self.records.append((stamp.boottime_ns, record))
        self.news.set()

    def hold(self, sensor: str, block: Frames | None, stamp: Stamp) -> None:
        """This run is not killed."""

    def of(self, kind: type[R]) -> list[R]:
        return [record for _, record in self.records if isinstance(record, kind)]

    @property
    def tags(self) -> list[str | None]:
        return [count.track for count in self.of(Count)]

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(60):
            while not condition():
                self.news.clear()
                await self.news.wait()

    async def until_measuring(self) -> None:
        """Until its reader gives a sign of life, after it was opened."""
        before_ns = self.clock.stamp().boottime_ns
        desk = self.supervisor
        await self.until(lambda: self.view.state == "ok" and desk._proved_ns > max(before_ns, desk._accounted_ns))

    def account(self) -> list[str]:
        """What of the reader's time was measured and what was not, in order and without repetitions; fails where
        it is not seamless."""
        spans = []
        for to_ns, record in self.records:
            if isinstance(record, Frames):
                spans.append((to_ns - record.span_ms * 1_000_000, to_ns, "measured"))
            elif isinstance(record, Gap):
                spans.append((to_ns - record.duration_ms * 1_000_000, to_ns, record.reason.value))
        at_ns = self.began_ns
        for from_ns, to_ns, kind in spans:
            assert abs(from_ns - at_ns) < 50_000_000, f"{kind} begins {(from_ns - at_ns) / 1e9:.3f} s off"
            at_ns = to_ns
        kinds = [kind for _, _, kind in spans]
        return [kind for i, kind in enumerate(kinds) if i == 0 or kinds[i - 1] != kind]


@contextlib.asynccontextmanager
async def watching(plan: ReaderPlan) -> AsyncIterator[WatchedReader]:
    watched = WatchedReader(plan)
    task = asyncio.create_task(watched.supervisor.run(watched.stop))
    try:
        yield watched
    finally:
        watched.stop.set()
        async with asyncio.timeout(30):
            await task
    assert watched.view.state == "stopped"
