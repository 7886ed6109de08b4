"""Keeps one camera's process alive, and takes its facts.

Whatever happens to the process, all of the camera's time is accounted for: measured time by the blocks that the
process sent, the last of them as far as its last sign of life; and the rest by gaps with their reason, from the
last measured moment on. What stood in the pipe when it died is taken first.
"""

import asyncio
import contextlib
import json
import logging
import random
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import chain
from typing import Protocol

import msgspec

from common.clock import Stamp
from common.codes import GapReason
from common.records import SOURCES_ACTION, Count, Frames, Gap, Log, Record, StreamQuality
from edge_agent.cameras.child import CameraChild, ChildGarbled
from edge_agent.cameras.hours import Hours, local_now_in
from edge_agent.cameras.messages import (
    Beat,
    CameraJob,
    Fact,
    Failed,
    Finished,
    InZone,
    Message,
    Probed,
    Ready,
    Snapshot,
    ZonesSeen,
)
from edge_agent.cameras.view import CameraView
from edge_agent.control import ControlError
from edge_agent.redact import redact

logger = logging.getLogger(__name__)

_NS = 1_000_000_000
_STEADY_S = 60.0
"""A process that has measured for so long starts the waiting times anew when it fails."""
_QUALITY_EVERY_S = 600.0
_REST_TOLD_S = 600.0
"""A camera that rests by its schedule says so this often, so that it is known while it lasts."""


class RecordSink(Protocol):
    """Where records go; `edge_agent.outbox.writer.OutboxWriter` is one."""

    async def put(self, record: Record, stamp: Stamp) -> None:
        """Take in a record. `count` and `gap` are taken at once, so that what was held before stays with them."""

    def hold(self, sensor: str, block: Frames | None, stamp: Stamp) -> None:
        """Keep, with the next record, what a sensor has measured until `stamp` and not told yet, None: nothing.
        Where this run ends before it is told, the next one tells it, and that of the time after nothing is known.
        """


class LiveSink(Protocol):
    """Who wants to know at once what a camera sees; `edge_agent.link.sensors.CameraReports` is one.

    Nothing blocks. Times are CLOCK_BOOTTIME in ns.
    """

    def counted(self, count: Count, at_ns: int) -> None:
        """Something crossed a line, or visited a zone."""

    def in_zones(self, camera: str, zones: Sequence[InZone], at_ns: int) -> None:
        """What a picture showed: told when it changes, and once a second while pictures come."""

    def measures(self, camera: str, at_ns: int, why_not: str) -> None:
        """The camera measures, or does not and why: told about once a second, and not told while nobody knows."""


class StampClock(Protocol):
    """The machine's clocks; `edge_agent.clock_source.Clock` is one."""

    def stamp(self) -> Stamp:
        """The present moment."""


@dataclass(frozen=True, slots=True)
class SupervisorParams:
    """How patient a supervisor is.

    Attributes:
        hang_s: a process that says nothing for so long hangs, and is killed.
        warm_up_s: the same, until it has measured something: large models and slow cameras take their time.
        end_s: how long it may take to end when asked, or after it said that it does.
        retry_first_s, retry_cap_s: how long to wait before it is started again; doubled each time, up to the cap.
    """

    hang_s: float = 20.0
    warm_up_s: float = 120.0
    end_s: float = 5.0
    retry_first_s: float = 1.0
    retry_cap_s: float = 60.0


def retry_delay_s(n_failures: int, params: SupervisorParams, share: float) -> float:
    """How long to wait after so many failures in a row; `share`, 0 to 1, spreads cameras that failed together."""
    whole_s = min(params.retry_cap_s, params.retry_first_s * 2.0 ** min(n_failures - 1, 20))
    return whole_s * (0.5 + 0.5 * share)


class CameraSupervisor:
    """One camera. `run` is a task of the agent's; everything happens in the event loop's thread."""

    def __init__(
        self,
        job: CameraJob,
        view: CameraView,
        sink: RecordSink,
        clock: StampClock,
        *,
        alive: Callable[[], None],
        today: Callable[[], date] = date.today,
        params: SupervisorParams | None = None,
        hours: Hours | None = None,
        live: LiveSink | None = None,
    ) -> None:
        """
        Args:
            view: what others see of this camera; kept up to date here.
            alive: called at least every second or so while all goes on here, whatever the camera does.
            hours: when it works; None: always.
            live: who is told at once, before the records are put; None: nobody.
        """
        self._live = live
        self._job, self._view, self._sink, self._clock = job, view, sink, clock
        self._alive, self._today = alive, today
        self._params = params or SupervisorParams()
        self._hours = hours or Hours((), local_now_in(None))
        self._accounted_ns = clock.stamp().boottime_ns
        """Up to here it is told what was measured and what was not."""
        self._reason: GapReason | None = GapReason.AGENT_DOWN
        """Why nothing has been measured since; None: it was measured till then."""
        self._open_block: Fact | None = None
        self._told_sources: dict[str, tuple[str, ...]] = {}
        self._quality_ns = self._accounted_ns
        self._failures = 0
        self._complaint = ""
        self._child: CameraChild | None = None
        self._waiting: list[asyncio.Future[bytes | None]] = []

    async def run(self, stop: asyncio.Event) -> None:
        """Keep the camera running until `stop` is set; then end it in good order."""
        self._sink.hold(self._job.camera, None, self._stamp(self._accounted_ns))
        while not stop.is_set():
            if not self._hours.open():
                await self._rest(stop)
                continue
            began_ns = self._clock.stamp().boottime_ns
            await self._run_once(stop)
            if stop.is_set() or not self._hours.open():
                continue
            steady = self._accounted_ns - began_ns > _STEADY_S * _NS
            self._failures = 1 if steady else self._failures + 1
            self._view.restarts += 1
            # Jitter, no secret.
            await self._pause(retry_delay_s(self._failures, self._params, random.random()), stop)
        if self._reason is not None:
            await self._gap_until(self._clock.stamp().boottime_ns, self._reason)
        self._view.state, self._view.detail = "stopped", ""

    async def _rest(self, stop: asyncio.Event) -> None:
        """Its hours are over: it stays closed until they begin again."""
        now_ns = self._clock.stamp().boottime_ns
        await self._gap_until(now_ns, GapReason.PAUSED)
        self._reason = GapReason.PAUSED
        self._view.fps = self._view.latency_ms = None
        await self._tell_state("paused", self._hours.until(), now_ns)
        while not stop.is_set() and not self._hours.open():
            await self._pause(1.0, stop)
            now_ns = self._clock.stamp().boottime_ns
            if now_ns - self._accounted_ns >= _REST_TOLD_S * _NS:
                await self._gap_until(now_ns, GapReason.PAUSED)
        await self._gap_until(now_ns, GapReason.PAUSED)
        self._failures = 0
        if not stop.is_set():
            self._reason = GapReason.CAMERA_DOWN

    async def _pause(self, delay_s: float, stop: asyncio.Event) -> None:
        loop = asyncio.get_running_loop()
        until_s = loop.time() + delay_s
        while not stop.is_set() and (left_s := until_s - loop.time()) > 0:
            self._alive()
            self._tell_live(self._clock.stamp().boottime_ns)
            try:
                async with asyncio.timeout(min(1.0, left_s)):
                    await stop.wait()
            except TimeoutError:
                continue

    async def _run_once(self, stop: asyncio.Event) -> None:
        """One process from start to end, and the account of it."""
        try:
            child = await CameraChild.start(self._job)
        except OSError as error:
            await self._fail(GapReason.CAMERA_DOWN, f"no process can be started: {error}")
            return
        async with child:
            self._view.pid, self._child = child.pid, child
            ender = asyncio.create_task(self._end_when_told(child, stop))
            try:
                ending = await self._listen(child)
            finally:
                ender.cancel()
                self._view.pid = self._child = None
                self._view.zones = ()
                self._give_snapshot(None)
            status = await child.wait()
        await self._settle()
        if isinstance(ending, Failed):
            await self._fail(ending.reason, ending.message)
        elif ending is None and not stop.is_set() and self._hours.open():
            await self._fail(
                GapReason.CAMERA_DOWN, f"its process died ({_cause(status)}){_quoted(child.last_words)}"
            )

    async def snapshot(self, timeout_s: float) -> bytes:
        """A small JPEG of what the camera sees, masked, and in which nobody can be recognised.

        Raises:
            ControlError: there is none now.
        """
        if self._child is None or self._view.state != "ok":
            raise ControlError(f"camera {self._job.camera} gives no picture: {self._view.state}")
        waiting: asyncio.Future[bytes | None] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiting)
        self._child.ask_for_snapshot()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                picture = await waiting
                if picture is not None:
                    return picture
        raise ControlError(f"camera {self._job.camera} gave no picture within {timeout_s:.0f} s")

    def _give_snapshot(self, picture: bytes | None) -> None:
        """To all who wait; None: there will be none."""
        waiting, self._waiting = self._waiting, []
        for future in waiting:
            if not future.done():
                future.set_result(picture)

    async def _end_when_told(self, child: CameraChild, stop: asyncio.Event) -> None:
        while not stop.is_set() and self._hours.open():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1.0):
                    await stop.wait()
        child.ask_to_end()
        await asyncio.sleep(self._params.end_s)
        extra = {"action": "camera_killed", "camera": self._job.camera}
        logger.warning("camera %s does not end when asked, and is killed", self._job.camera, extra=extra)
        child.kill()

    async def _listen(self, child: CameraChild) -> Failed | Finished | None:
        """Take messages until the pipe ends; what the process said at its end, if it did, or what was done to it.

        Silence is only what we spent waiting for the process: when we were busy ourselves, it is not to blame.
        """
        silent_s, limit_s = 0.0, self._params.warm_up_s
        ending: Failed | Finished | None = None
        loop = asyncio.get_running_loop()
        while not child.ended:
            self._alive()
            before_s = loop.time()
            try:
                message = await child.receive(timeout_s=1.0)
            except ChildGarbled as error:
                child.kill()
                return Failed(GapReason.CAMERA_DOWN, f"its process sends nonsense ({error}) and is killed")
            if message is not None:
                silent_s = 0.0
                await self._take(message)
                limit_s = self._params.hang_s if isinstance(message, Beat) else limit_s
                if isinstance(message, Failed | Finished):
                    ending, limit_s = message, self._params.end_s
                continue
            silent_s += loop.time() - before_s
            if silent_s > limit_s:
                # What it had sent is still taken, up to the end of the pipe.
                hangs = Failed(GapReason.CAMERA_DOWN, f"its process hangs ({silent_s:.0f} s) and is killed")
                ending, silent_s = ending or hangs, 0.0
                child.kill()
        return ending

    # What it says

    async def _take(self, message: Message) -> None:
        match message:
            case Fact():
                await self._take_fact(message)
            case ZonesSeen():
                self._view.zones = message.zones
                if self._live is not None:
                    self._live.in_zones(self._job.camera, message.zones, message.boottime_ns)
            case Beat():
                await self._take_beat(message)
            case Ready():
                await self._take_ready(message)
            case Snapshot():
                self._give_snapshot(message.jpeg)
            case Failed() | Finished() | Probed():
                pass

    async def _take_fact(self, fact: Fact) -> None:
        record = self._after_what_is_told(fact)
        if fact.open_block is not None:
            self._hold(fact.open_block)
        if isinstance(record, Count):
            self._view.add(record, self._today())
            if self._live is not None:
                self._live.counted(record, fact.boottime_ns)
        elif isinstance(record, Frames | Gap):
            self._accounted_ns = max(self._accounted_ns, fact.boottime_ns)
            self._open_block = None
        await self._put(record, fact.boottime_ns)

    async def _take_beat(self, beat: Beat) -> None:
        view = self._view
        view.fps, view.dropped, view.latency_ms = beat.fps, beat.dropped, beat.latency_ms
        view.zones = beat.zones
        if beat.open_block is not None:
            self._hold(beat.open_block)
        self._complaint = ""
        await self._tell_state(beat.state, beat.detail, beat.boottime_ns)

    async def _take_ready(self, ready: Ready) -> None:
        self._view.size_px = ready.width_px, ready.height_px
        # Lines that were drawn on pictures of one size are in the wrong place on others.
        self._job = msgspec.structs.replace(self._job, size_px=self._view.size_px)
        await self._gap_until(ready.boottime_ns, GapReason.CAMERA_DOWN)
        self._reason = None
        logger.info(
            "camera %s gives pictures of %d x %d",
            *(self._job.camera, ready.width_px, ready.height_px),
            extra={"action": "camera_ready", "camera": self._job.camera},
        )
        if ready.unknown_classes:
            logger.warning(
                "camera %s: its model does not know %s, and counts none of them; mend `classes`",
                *(self._job.camera, ", ".join(ready.unknown_classes)),
                extra={"action": "unknown_classes", "camera": self._job.camera},
            )
        await self._tell_sources(ready)
        await self._tell_state("ok", "", ready.boottime_ns)

    async def _tell_sources(self, ready: Ready) -> None:
        """What is counted at, once for as long as it stays the same. What is drawn later, or taken away, was not
        measured whenever the camera was."""
        told = {"lines": ready.lines, "zones": ready.zones, "turns": ready.turns}
        if told == self._told_sources:
            return
        self._told_sources = told
        camera = self._job.camera
        what = ", ".join(chain.from_iterable(told.values())) or "nothing"
        text = f"camera {camera} counts at {what}"[:8000]
        context = {kind: json.dumps(names) for kind, names in told.items()}
        log = Log(1, 0, 0, "info", SOURCES_ACTION, text, {"sensor": camera, **context})
        await self._put(log, ready.boottime_ns)

    async def _fail(self, reason: GapReason, complaint: str) -> None:
        """The process cannot go on. Says so once, not again at every attempt."""
        complaint = redact(complaint)
        level = logging.DEBUG if complaint == self._complaint else logging.ERROR
        logger.log(
            level,
            "camera %s: %s. It is tried again until it works",
            *(self._job.camera, complaint.rstrip(".?")),
            extra={"action": "camera_failed", "camera": self._job.camera},
        )
        self._complaint = complaint
        now_ns = self._clock.stamp().boottime_ns
        await self._gap_until(now_ns, reason)
        self._reason = reason
        state = "failed" if reason is GapReason.MODEL_FAILED else "unreachable"
        await self._tell_state(state, complaint, now_ns)

    # The account

    def _hold(self, block: Fact) -> None:
        """What is measured and not told yet: it stands if the process dies, or the agent."""
        record = self._after_what_is_told(block)
        if isinstance(record, Frames) and block.boottime_ns > self._accounted_ns:
            self._open_block = block
            self._sink.hold(self._job.camera, record, self._stamp(block.boottime_ns))

    def _after_what_is_told(self, fact: Fact) -> Record:
        """No moment is told twice: what is measured and what is not begins where the account ends.

        A process learns only by and by how long its pictures take to arrive: what was a moment ago was longer ago.
        """
        record, left_ms = fact.record, max(0, round((fact.boottime_ns - self._accounted_ns) / 1e6))
        if isinstance(record, Frames) and record.span_ms > left_ms:
            return msgspec.structs.replace(record, span_ms=left_ms, measured_ms=min(record.measured_ms, left_ms))
        if isinstance(record, Gap) and record.duration_ms > left_ms:
            return msgspec.structs.replace(record, duration_ms=left_ms)
        return record

    async def _settle(self) -> None:
        """The process is gone: what it had measured since its last block is told in its name."""
        block, self._open_block = self._open_block, None
        if block is not None:
            await self._take_fact(block)

    async def _gap_until(self, until_ns: int, reason: GapReason) -> None:
        """Nothing was measured since what is accounted for: for the reason known already, or else for this one."""
        duration_ms = (until_ns - self._accounted_ns) // 1_000_000
        if duration_ms <= 0:
            return
        reason = self._reason or reason
        detail = self._view.detail if self._view.state != "ok" else None
        gap = Gap(1, 0, 0, reason, duration_ms, sensor=self._job.camera, detail=detail or None)
        await self._put(gap, until_ns)
        self._accounted_ns = until_ns

    async def _tell_state(self, state: str, detail: str, now_ns: int) -> None:
        """Keep the view, and write a record when the state changes, and now and then."""
        view = self._view
        span_ns = now_ns - self._quality_ns
        changed = (state, detail) != (view.state, view.detail)
        if span_ns > 0 and (changed or span_ns > _QUALITY_EVERY_S * _NS) and view.state != "starting":
            await self._quality(view.state, view.detail, span_ns, now_ns)
        if changed:
            await self._quality(state, detail, 0, now_ns)
        if changed or span_ns > _QUALITY_EVERY_S * _NS:
            self._quality_ns = now_ns
        view.state, view.detail = state, detail
        self._tell_live(now_ns)

    def _tell_live(self, now_ns: int) -> None:
        if self._live is None:
            return
        view, why_not = self._view, ""
        if view.state != "ok":
            why_not = f"{view.state}: {view.detail}" if view.detail else view.state
        elif self._child is None:
            why_not = "its process has ended"
        self._live.measures(self._job.camera, now_ns, why_not)

    async def _quality(self, state: str, detail: str, span_ns: int, now_ns: int) -> None:
        width_px, height_px = self._view.size_px or (None, None)
        record = StreamQuality(
            *(1, 0, 0),
            sensor=self._job.camera,
            state=state,
            span_ms=span_ns // 1_000_000,
            fps=self._view.fps if state == "ok" and span_ns else None,
            reconnects=self._view.restarts,
            width_px=width_px,
            height_px=height_px,
            detail=detail[:8000] or None,
        )
        await self._put(record, now_ns)

    async def _put(self, record: Record, boottime_ns: int) -> None:
        await self._sink.put(record, self._stamp(boottime_ns))

    def _stamp(self, boottime_ns: int) -> Stamp:
        now = self._clock.stamp()
        wall_ms = now.wall_ms - (now.boottime_ns - boottime_ns) // 1_000_000
        return Stamp(now.boot_id, boottime_ns, wall_ms, now.synced)


def _cause(status: int) -> str:
    return signal.Signals(-status).name if status < 0 else f"exit status {status}"


def _quoted(words: str) -> str:
    return f": {words}" if words else ""
