"""A supervised camera in a process of its own, and all that comes of it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import TypeVar

from common.clock import Stamp
from common.codes import GapReason
from common.records import Frames, Gap, Record
from edge_agent.cameras.hours import Hours
from edge_agent.cameras.messages import CameraJob
from edge_agent.cameras.supervisor import CameraSupervisor, SupervisorParams
from edge_agent.cameras.view import CameraView
from edge_agent.clock_source import Clock

R = TypeVar("R", bound=Record)
_PATIENCE_S = 120.0
_STALL_MS = 10_000
PATIENT = SupervisorParams(end_s=20.0, retry_first_s=0.2, retry_cap_s=0.4)
"""What does not hang is not killed, as it might be on a busy machine."""
HASTY = replace(PATIENT, hang_s=4.0, end_s=3.0)
"""For what hangs."""


def job(source: str, **changes: object) -> CameraJob:
    settings: dict[str, object] = {
        "camera": "north", "source": source, "model": "motion", "fps": 10.0, "threads": 1, "birth_score": None,
        "classes": None, "lines": (), "zones": (), "black_after_s": 1.0, "frozen_after_s": 5.0,
    }  # fmt: skip
    return CameraJob(**{**settings, **changes})  # type: ignore[arg-type]


class Watched:
    """A supervised camera, and all that came of it."""

    def __init__(self, camera_job: CameraJob, hours: Hours | None, params: SupervisorParams) -> None:
        self.records: list[tuple[int, Record]] = []
        self.view = CameraView(camera_job.camera)
        self.n_alive = 0
        self.stop = asyncio.Event()
        self.news = asyncio.Event()
        self.clock = Clock()
        self.began_ns = self.clock.stamp().boottime_ns
        self.supervisor = CameraSupervisor(
            camera_job, self.view, self, self.clock, alive=self._alive, params=params, hours=hours
        )
        self.made_ns = self.clock.stamp().boottime_ns

    async def put(self, record: Record, stamp: Stamp) -> None:
        assert stamp.boot_id == self.clock.boot_id
        self.records.append((stamp.boottime_ns, record))
        self.news.set()

    def hold(self, sensor: str, block: Frames | None, stamp: Stamp) -> None:
        """This run is not killed."""

    def _alive(self) -> None:
        self.n_alive += 1
        self.news.set()

    def of(self, kind: type[R]) -> list[R]:
        return [record for _, record in self.records if isinstance(record, kind)]

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(_PATIENCE_S):
            while not condition():
                self.news.clear()
                await self.news.wait()

    async def until_measuring(self) -> None:
        """Until it says so anew."""
        self.view.fps = None
        await self.until(lambda: self.view.state == "ok" and self.view.fps is not None)

    def account(self) -> list[tuple[str, float]]:
        """What of the camera's time was measured and what was not, in order; fails where it is not seamless."""
        spans = []
        for to_ns, record in self.records:
            if isinstance(record, Frames):
                spans.append((to_ns - record.span_ms * 1_000_000, to_ns, "measured"))
            elif isinstance(record, Gap):
                spans.append((to_ns - record.duration_ms * 1_000_000, to_ns, record.reason.value))
        at_ns = min(max(self.began_ns, spans[0][0]), self.made_ns) if spans else self.began_ns
        for from_ns, to_ns, kind in spans:
            # Rounded to ms, and by as much as two clocks may run apart meanwhile.
            assert abs(from_ns - at_ns) < 20_000_000, f"{kind} begins {(from_ns - at_ns) / 1e9:.3f} s off"
            at_ns = to_ns
        return [(kind, (to_ns - from_ns) / 1e9) for from_ns, to_ns, kind in spans]


def _is_stall(part: Frames | Gap) -> bool:
    if not isinstance(part, Gap) or part.detail is not None:
        return False
    is_short = part.reason is GapReason.CAMERA_DOWN and part.duration_ms < _STALL_MS
    return is_short or part.reason is GapReason.TOO_SLOW


@contextlib.asynccontextmanager
async def watching(
    camera_job: CameraJob, hours: Hours | None = None, params: SupervisorParams = PATIENT
) -> AsyncIterator[Watched]:
    watched = Watched(camera_job, hours, params)
    task = asyncio.create_task(watched.supervisor.run(watched.stop))
    try:
        yield watched
    finally:
        watched.stop.set()
        async with asyncio.timeout(40):
            await task
    assert watched.view.state == "stopped"


def kinds(watched: Watched, *, stalls: bool = True) -> list[str]:
    """The account without repetitions; without `stalls`, also without moments in which the process stood still.

    A machine with other work makes those. Where the supervisor tells why, as when a process died, it was more.
    """
    told = [kind for kind, _ in watched.account()]
    if not stalls:
        parts = [record for _, record in watched.records if isinstance(record, Frames | Gap)]
        told = [kind for kind, part in zip(told, parts, strict=True) if not _is_stall(part)]
    return [kind for i, kind in enumerate(told) if i == 0 or told[i - 1] != kind]
