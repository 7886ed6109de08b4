"""Keeps one reader's process alive, and makes passages of its readings.

Whatever happens to the process, all of the reader's time is accounted for, as a camera's is: measured time by
`frames` blocks, as far as the process proved that the reader was well, and the rest by gaps. What is concluded
from readings lives here, so a process that dies in the middle of a passage does not make two of it.
"""

import asyncio
import contextlib
import logging
import random
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date

from common.clock import Stamp
from common.codes import GapReason, Via
from common.records import Count, Frames, Gap, Record, StreamQuality
from edge_agent.cameras.supervisor import RecordSink, StampClock, SupervisorParams, retry_delay_s
from edge_agent.cameras.view import CameraView
from edge_agent.domain.epc import EpcForm, EpcMask
from edge_agent.domain.passage import Passage, PassageCounter, PassageParams
from edge_agent.redact import redact
from edge_agent.rfid.child import ReaderChild, ReaderGarbled
from edge_agent.rfid.messages import Failed, Finished, Looked, Message, Opened, ReaderJob

logger = logging.getLogger(__name__)

_NS = 1_000_000_000
_BLOCK_NS = 10 * _NS
_STALL_NS = 5 * _NS
"""A process that says nothing for so long, and then goes on, did not measure in between."""
_STEADY_NS = 60 * _NS
_QUALITY_NS = 600 * _NS


@dataclass(frozen=True, slots=True)
class ReaderPlan:
    """One reader and what its passages are called.

    Attributes:
        sources: antenna -> the name it counts under; one that is missing counts under the reader's own.
    """

    job: ReaderJob
    passage: PassageParams = field(default_factory=PassageParams)
    sources: Mapping[int, str] = field(default_factory=dict)
    mask: EpcMask = field(default_factory=lambda: EpcMask(EpcForm.OFF))

    @property
    def name(self) -> str:
        return self.job.reader


class ReaderSupervisor:
    """One reader. `run` is a task of the agent's; everything happens in the event loop's thread."""

    def __init__(
        self,
        plan: ReaderPlan,
        view: CameraView,
        sink: RecordSink,
        clock: StampClock,
        *,
        alive: Callable[[], None],
        today: Callable[[], date] = date.today,
        params: SupervisorParams | None = None,
    ) -> None:
        """
        Args:
            view: what others see of this reader; kept up to date here.
            alive: called at least every second or so while all goes on here, whatever the reader does.
        """
        self._plan, self._view, self._sink, self._clock = plan, view, sink, clock
        self._alive, self._today = alive, today
        self._params = params or SupervisorParams(warm_up_s=40.0)
        self._counter = PassageCounter(plan.passage)
        self._accounted_ns = clock.stamp().boottime_ns
        """Up to here it is told what was measured and what was not."""
        self._reason: GapReason | None = GapReason.AGENT_DOWN
        """Why nothing has been measured since; None: it is being measured."""
        self._proved_ns = self._accounted_ns
        """Up to here the reader is known to have been well."""
        self._heard_ns = self._accounted_ns
        """When its process last said something."""
        self._n_reads = 0
        self._quality_ns = self._accounted_ns
        self._failures = 0
        self._complaint = ""

    async def run(self, stop: asyncio.Event) -> None:
        """Keep the reader running until `stop` is set; then end it in good order."""
        self._sink.hold(self._plan.name, None, self._stamp(self._accounted_ns))
        while not stop.is_set():
            began_ns = self._clock.stamp().boottime_ns
            await self._run_once(stop)
            if stop.is_set():
                break
            steady = self._proved_ns - began_ns > _STEADY_NS
            self._failures = 1 if steady else self._failures + 1
            self._view.restarts += 1
            # Jitter, no secret.
            await self._pause(retry_delay_s(self._failures, self._params, random.random()), stop)
        if self._reason is not None:
            await self._gap_until(self._clock.stamp().boottime_ns)
        self._view.state, self._view.detail, self._view.fps = "stopped", "", None

    async def _pause(self, delay_s: float, stop: asyncio.Event) -> None:
        loop = asyncio.get_running_loop()
        until_s = loop.time() + delay_s
        while not stop.is_set() and (left_s := until_s - loop.time()) > 0:
            self._alive()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(1.0, left_s)):
                    await stop.wait()

    async def _run_once(self, stop: asyncio.Event) -> None:
        """One process from start to end, and the account of it."""
        try:
            child = await ReaderChild.start(self._plan.job)
        except OSError as error:
            await self._fail(f"no process can be started: {error}")
            return
        async with child:
            self._view.pid = child.pid
            ender = asyncio.create_task(self._end_when_told(child, stop))
            try:
                ending = await self._listen(child)
            finally:
                ender.cancel()
                self._view.pid = None
            status = await child.wait()
        await self._close_block()
        for passage in self._counter.settle():
            await self._tell(passage)
        if isinstance(ending, Failed):
            await self._fail(ending.message)
        elif isinstance(ending, Finished) and ending.over:
            await self._fail("the recording is over and begins anew")
        elif ending is None and not stop.is_set():
            cause = signal.Signals(-status).name if status < 0 else f"exit status {status}"
            words = f": {child.last_words}" if child.last_words else ""
            await self._fail(f"its process died ({cause}){words}")

    async def _end_when_told(self, child: ReaderChild, stop: asyncio.Event) -> None:
        await stop.wait()
        child.ask_to_end()
        await asyncio.sleep(self._params.end_s)
        child.kill()

    async def _listen(self, child: ReaderChild) -> Failed | Finished | None:
        """Take messages until the pipe ends; what the process said at its end, or what was done to it."""
        silent_s, limit_s = 0.0, self._params.warm_up_s
        ending: Failed | Finished | None = None
        loop = asyncio.get_running_loop()
        while not child.ended:
            self._alive()
            before_s = loop.time()
            try:
                message = await child.receive(timeout_s=1.0)
            except ReaderGarbled as error:
                child.kill()
                return Failed(f"its process sends nonsense ({error}) and is killed")
            if message is not None:
                silent_s = 0.0
                await self._take(message)
                limit_s = self._params.hang_s if isinstance(message, Looked) else limit_s
                if isinstance(message, Failed | Finished):
                    ending, limit_s = message, self._params.end_s
                continue
            silent_s += loop.time() - before_s
            if silent_s > limit_s:
                hangs = Failed(f"its process hangs ({silent_s:.0f} s) and is killed")
                ending, silent_s = ending or hangs, 0.0
                child.kill()
        return ending

    # What it says

    async def _take(self, message: Message) -> None:
        if isinstance(message, Opened):
            await self._begin(message.at_ns)
            logger.info(
                "reader %s answers", self._plan.name, extra={"action": "reader_ready", "reader": self._plan.name}
            )
            await self._tell_state("ok", "", message.at_ns)
        elif isinstance(message, Looked):
            await self._take_look(message)

    async def _begin(self, at_ns: int) -> None:
        """From here on it is measured. That a tag was not read before says nothing about it."""
        at_ns = max(at_ns, self._accounted_ns)
        self._counter.blind((at_ns - self._proved_ns) / _NS)
        await self._gap_until(at_ns)
        self._reason, self._proved_ns, self._heard_ns = None, at_ns, at_ns

    async def _take_look(self, look: Looked) -> None:
        if look.now_ns - self._heard_ns > _STALL_NS:
            await self._close_block()
            self._reason = GapReason.READER_DOWN
            await self._begin(look.now_ns)
        span_ns = look.now_ns - self._heard_ns
        self._heard_ns = max(self._heard_ns, look.now_ns)
        self._proved_ns = max(self._proved_ns, look.well_ns)
        self._n_reads += len(look.seen)
        self._complaint = ""
        if (block := self._open_block()) is not None:
            # Kept with the passages: none lies outside of what was measured.
            self._sink.hold(self._plan.name, block, self._stamp(self._proved_ns))
        for passage in self._counter.update(look.seen, self._heard_ns / _NS):
            await self._tell(passage)
        if span_ns > 0:
            rate = len(look.seen) / (span_ns / _NS)
            self._view.fps = round(0.8 * (self._view.fps or 0.0) + 0.2 * rate, 2)
        self._view.dropped = self._counter.n_ghosts
        if self._proved_ns - self._accounted_ns >= _BLOCK_NS:
            await self._close_block()
        await self._tell_state("ok", "", self._heard_ns)

    async def _tell(self, passage: Passage) -> None:
        """A passage becomes a count."""
        at_ns = int(passage.t_s * _NS)
        stamp = self._stamp(at_ns)
        record = Count(
            *(1, 0, 0),
            sensor=self._plan.name,
            source=self._plan.sources.get(passage.antenna, self._plan.name),
            via=Via.RFID,
            cls="object",
            direction=passage.direction,
            track=self._plan.mask.write(passage.epc, stamp.wall_ms, None if stamp.synced else stamp.boot_id),
        )
        self._view.add(record, self._today())
        await self._sink.put(record, stamp)

    async def _fail(self, complaint: str) -> None:
        """The process cannot go on. Says so once, not again at every attempt."""
        complaint = redact(complaint)
        level = logging.DEBUG if complaint == self._complaint else logging.ERROR
        logger.log(
            level,
            "reader %s: %s. It is tried again until it works",
            *(self._plan.name, complaint),
            extra={"action": "reader_failed", "reader": self._plan.name},
        )
        self._complaint = complaint
        self._reason = self._reason or GapReason.READER_DOWN
        self._view.fps = None
        now_ns = self._clock.stamp().boottime_ns
        await self._tell_state("unreachable", complaint, now_ns)
        await self._gap_until(now_ns)
        self._reason = GapReason.READER_DOWN

    # The account

    async def _close_block(self) -> None:
        """What was measured since the last block is told."""
        block = self._open_block()
        if block is None:
            return
        self._n_reads = 0
        self._accounted_ns = self._proved_ns
        await self._put(block, self._proved_ns)

    def _open_block(self) -> Frames | None:
        """What was measured since the last block; None: nothing."""
        span_ms = (self._proved_ns - self._accounted_ns) // 1_000_000
        if self._reason is not None or span_ms <= 0:
            return None
        return Frames(
            *(1, 0, 0), sensor=self._plan.name, span_ms=span_ms, measured_ms=span_ms, n=self._n_reads, dropped=0
        )

    async def _gap_until(self, until_ns: int) -> None:
        """Nothing was measured since what is accounted for."""
        duration_ms = (until_ns - self._accounted_ns) // 1_000_000
        if duration_ms <= 0 or self._reason is None:
            return
        detail = self._view.detail if self._view.state != "ok" else None
        gap = Gap(1, 0, 0, self._reason, duration_ms, sensor=self._plan.name, detail=detail or None)
        self._accounted_ns = until_ns
        await self._put(gap, until_ns)

    async def _tell_state(self, state: str, detail: str, now_ns: int) -> None:
        """Keep the view, and write a record when the state changes, and now and then."""
        view = self._view
        span_ns = now_ns - self._quality_ns
        changed = (state, detail) != (view.state, view.detail)
        if changed or span_ns > _QUALITY_NS:
            if view.state != "starting" and span_ns > 0:
                await self._quality(view.state, view.detail, span_ns, now_ns)
            if changed:
                await self._quality(state, detail, 0, now_ns)
            self._quality_ns = now_ns
        view.state, view.detail = state, detail

    async def _quality(self, state: str, detail: str, span_ns: int, now_ns: int) -> None:
        record = StreamQuality(
            *(1, 0, 0),
            sensor=self._plan.name,
            state=state,
            span_ms=span_ns // 1_000_000,
            reconnects=self._view.restarts,
            detail=detail[:8000] or None,
        )
        await self._put(record, now_ns)

    async def _put(self, record: Record, boottime_ns: int) -> None:
        await self._sink.put(record, self._stamp(boottime_ns))

    def _stamp(self, boottime_ns: int) -> Stamp:
        now = self._clock.stamp()
        wall_ms = now.wall_ms - (now.boottime_ns - boottime_ns) // 1_000_000
        return Stamp(now.boot_id, boottime_ns, wall_ms, now.synced)
