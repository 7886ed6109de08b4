"""The loop of a camera process: pictures in, facts out."""

import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from common.codes import Direction, GapReason, Via
from common.records import ClassRange, Count, Frames, Gap, Occupancy, Record
from edge_agent.cameras.messages import Beat, CameraJob, Fact, InZone, Message, Snapshot, ZonesSeen
from edge_agent.cameras.snapshot import snapshot_jpeg
from edge_agent.counting import Finish, FrameResult, Pipeline
from edge_agent.domain.crossing import Crossing
from edge_agent.domain.frames import Frame
from edge_agent.domain.measuring import LEAST_FPS, Block, Hole, Looked, MeasureLog, RateWatch, Verdict
from edge_agent.domain.occupancy import Visit, ZoneSummary
from edge_agent.domain.pacing import Pacer
from edge_agent.domain.picture import PictureWatch
from edge_agent.domain.source_clock import SourceClock
from edge_agent.domain.turn_rules import unpaired_name
from edge_agent.domain.turns import Turned, Unpaired
from edge_agent.drivers.base import FrameSource, SourceStalled, SourceUnusable
from edge_agent.machine import read_strain

READ_S = 0.5
"""How long one read may wait: as often it is looked whether to stop, and whether the source has gone quiet."""
_LONGEST_WAIT_S = 5.0
"""No rate that can be asked for is so low: a source whose clock has jumped is read at once."""
_BEAT_S = 1.0
_ZONES_S = 1.0
_OCCUPANCY_S = 60.0
_FPS_BEATS = 5
_STATES = {
    GapReason.CAMERA_DOWN: "unreachable",
    GapReason.CAMERA_BLACK: "black",
    GapReason.CAMERA_FROZEN: "frozen",
    GapReason.TOO_SLOW: "slow",
}


def boottime_ns() -> int:
    """CLOCK_BOOTTIME, which is the same in all processes."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


class Truthful(Protocol):
    """A simulated source, which knows what really crosses its lines."""

    def truth(self, from_s: float, to_s: float) -> Sequence[Crossing]:
        """What crosses its lines in [from_s, to_s)."""


class CameraWorker:
    """Reads, counts, tells. One thread does all of it, so that what beats is what works."""

    def __init__(
        self,
        job: CameraJob,
        source: FrameSource,
        pipeline: Pipeline,
        first: Frame,
        first_ns: int,
        send: Callable[[Message], None],
        *,
        truth: Truthful | None = None,
        sleep: Callable[[float], None] = time.sleep,
        snapshot_wanted: Callable[[], bool] = lambda: False,
    ) -> None:
        """
        Args:
            first: a frame that was just read, at `first_ns`. What is measured begins with it.
            snapshot_wanted: whether somebody asked for a picture since it was last called.
        """
        self._job, self._source, self._send = job, source, send
        self._truth, self._sleep = truth, sleep
        self._snapshot_wanted = snapshot_wanted
        self._pacer = Pacer(job.fps)
        self._pipeline = pipeline
        self._watch = PictureWatch(
            black_after_s=job.black_after_s, frozen_after_s=job.frozen_after_s, masks=job.options.masks
        )
        self._rate = RateWatch()
        self._busy_s = 0.0
        """What the work for the picture before took."""
        self._too_slow = ""
        """Why too few pictures are looked at, for people; told anew each time that it begins."""
        self._log = MeasureLog()
        self._clock = SourceClock()
        self._size_px = first.image.shape[1], first.image.shape[0]
        self._clock.observe(first.t_s, first_ns / 1e9)
        self._rate.update(first.t_s, 0.0)
        self._log.start(first.t_s)
        self._last = first
        self._last_ns = first_ns
        self._occupancy_due_s = first.t_s + _OCCUPANCY_S
        self._open_block: Fact | None = None
        """What is measured by the frame whose facts are being told, and not told itself."""
        self._dropped = 0
        self._n_frames = 0
        self._latency_s: float | None = None
        self._zones_told: tuple[InZone, ...] | None = None
        self._zones_due_s = first.t_s
        self._beats: deque[tuple[int, int]] = deque([(first_ns, 0)], _FPS_BEATS + 1)

    def run(self, stopping: Callable[[], bool]) -> None:
        """Work until asked to stop.

        Raises:
            SourceError, DetectorError: it cannot go on.
        """
        while not stopping():
            if self._waits_for_turn():
                continue
            try:
                frame = self._source.read(READ_S)
            except SourceStalled as error:
                self._idle(error)
            else:
                if self._pacer.takes(frame.index):
                    self._look(frame)
            self._beat_when_due()

    def finish(self) -> None:
        """Tell what is still held back: crossings that wait to be confirmed, the block in the making."""
        t_s = self._last.t_s
        slow = self._log.reason is GapReason.TOO_SLOW
        result, told = self._pipeline.finish(t_s), self._log.finish(t_s)
        if not slow:
            self._tell(result, told)
        self._tell_zones(t_s)
        self._account(told)

    def _waits_for_turn(self) -> bool:
        """Sleep until the next picture that is wanted is near; True: it is still far."""
        now_s = self._clock.source_s(boottime_ns() / 1e9)
        wait_s = self._pacer.wait_until_s(self._last.t_s) - now_s
        if not 0 < wait_s < _LONGEST_WAIT_S:
            return False
        self._sleep(min(wait_s, READ_S))
        if wait_s > READ_S:
            self._beat_when_due()
        return wait_s > READ_S

    def _look(self, frame: Frame) -> None:
        began_s = time.perf_counter()
        self._clock.observe(frame.t_s, boottime_ns() / 1e9)
        skipped = max(0, frame.index - self._last.index - 1)
        verdict = self._judge(frame)
        result: FrameResult | None = None
        by_class: dict[str, int] = {}
        latency_s = 0.0
        if verdict.reason in (None, GapReason.TOO_SLOW):
            result = self._pipeline.process(frame)
            latency_s = result.latency_s
            by_class = result.seen_by_class
            self._latency_s = latency_s if self._latency_s is None else 0.9 * self._latency_s + 0.1 * latency_s
        told = self._log.frame(Looked(frame.t_s, by_class, latency_s, skipped), verdict)
        if result is not None and verdict.reason is None:
            self._tell(result, told)
            if self._job.live:
                self._tell_zones_live(frame.t_s)
        if result is not None and self._snapshot_wanted():
            self._send(Snapshot(snapshot_jpeg(frame.image, result.detections)))
        self._account(told)
        if self._truth is not None:
            for crossing in self._truth.truth(self._last.t_s, frame.t_s):
                self._count(crossing, Via.TRUTH)
        if frame.t_s >= self._occupancy_due_s:
            self._occupancy_due_s = frame.t_s + _OCCUPANCY_S
            self._tell_zones(frame.t_s)
        self._dropped += skipped
        self._n_frames += 1
        self._last, self._last_ns = frame, boottime_ns()
        self._busy_s = time.perf_counter() - began_s
        self._pacer.frame(frame.t_s, frame.index, self._busy_s)

    def _judge(self, frame: Frame) -> Verdict:
        """What is known of the picture, and of whether there are enough of them to follow anybody."""
        picture, rate = self._watch.update(frame.image, frame.t_s), self._rate.update(frame.t_s, self._busy_s)
        if picture.reason is None and rate.reason is not None and not self._too_slow:
            self._too_slow = _too_slow(self._rate.fps, self._busy_s)
        elif rate.reason is None:
            self._too_slow = ""
        if picture.reason is not None or rate.since_s is None:
            return picture
        if rate.reason is not None or picture.since_s is None:
            return rate
        return Verdict(None, min(picture.since_s, rate.since_s))

    def _idle(self, error: SourceStalled) -> None:
        now_ns = boottime_ns()
        self._account(self._log.idle(self._clock.source_s(now_ns / 1e9)))
        if now_ns - self._last_ns > self._job.silence_s * 1e9:
            raise SourceUnusable(str(error))

    def _tell(self, result: FrameResult | Finish, told: list[Block | Hole]) -> None:
        """What was found out, each with what is measured by now: the block that ends here, or is in the making."""
        if result.crossings or result.visits_ended or result.turns.turned or result.turns.unpaired:
            block = next((part for part in told if isinstance(part, Block)), None) or self._log.so_far()
            self._open_block = None if block is None else self._part(block)
        for crossing in result.crossings:
            self._count(crossing, Via.CAMERA)
        for visit in result.visits_ended:
            self._visit(visit)
        for turned in result.turns.turned:
            self._fact(_turn(self._job.camera, turned), turned.left_s)
        for lonely in result.turns.unpaired:
            self._fact(_unpaired(self._job.camera, lonely), lonely.t_s)
        self._open_block = None

    def _count(self, crossing: Crossing, via: Via) -> None:
        record = Count(
            *(1, 0, 0),
            sensor=self._job.camera,
            source=crossing.line,
            via=via,
            cls=crossing.cls,
            direction=crossing.direction,
            confidence=round(min(1.0, max(0.0, crossing.confidence)), 3),
            track=str(crossing.track),
            inferred=crossing.inferred,
            speed_mps=None if crossing.speed_mps is None else round(crossing.speed_mps, 2),
        )
        self._fact(record, crossing.t_s)

    def _visit(self, visit: Visit) -> None:
        record = Count(
            *(1, 0, 0),
            sensor=self._job.camera,
            source=visit.zone,
            via=Via.CAMERA,
            cls=visit.cls,
            direction=Direction.NONE,
            track=str(visit.track),
        )
        self._fact(record, visit.from_s)

    def _tell_zones_live(self, t_s: float) -> None:
        zones = self._in_zones(t_s)
        if zones and (zones != self._zones_told or t_s >= self._zones_due_s):
            self._zones_told, self._zones_due_s = zones, t_s + _ZONES_S
            self._send(ZonesSeen(self._ns(t_s), zones))

    def _in_zones(self, t_s: float) -> tuple[InZone, ...]:
        return tuple(
            InZone(now.zone, now.n, now.n_standing, now.capacity) for now in self._pipeline.zones_now(t_s)
        )

    def _tell_zones(self, now_s: float) -> None:
        for summary in self._pipeline.zone_summaries(now_s):
            self._fact(_occupancy(self._job.camera, summary), now_s)

    def _account(self, parts: list[Block | Hole]) -> None:
        for part in parts:
            self._send(self._part(part))

    def _part(self, part: Block | Hole) -> Fact:
        if isinstance(part, Hole):
            gap = Gap(1, 0, 0, part.reason, _ms(part.to_s - part.from_s), sensor=self._job.camera)
            return Fact(self._ns(part.to_s), gap)
        return Fact(self._ns(part.to_s), _frames(self._job.camera, part, self._size_px))

    def _fact(self, record: Record, t_s: float) -> None:
        self._send(Fact(self._ns(t_s), record, self._open_block))

    def _ns(self, t_s: float) -> int:
        return int(self._clock.boottime_s(t_s) * 1e9)

    def _detail(self) -> str:
        if self._log.reason is None:
            return self._pacer.detail
        return self._too_slow if self._log.reason is GapReason.TOO_SLOW else ""

    def _beat_when_due(self) -> None:
        now_ns = boottime_ns()
        if now_ns - self._beats[-1][0] >= _BEAT_S * 1e9:
            self._pacer.feel(read_strain(Path(self._job.sysfs)), now_ns / 1e9)
            self._beat(now_ns)

    def _beat(self, now_ns: int) -> None:
        self._beats.append((now_ns, self._n_frames))
        (first_ns, first_n), (last_ns, last_n) = self._beats[0], self._beats[-1]
        so_far = self._log.so_far()
        beat = Beat(
            boottime_ns=now_ns,
            state="ok" if self._log.reason is None else _STATES[self._log.reason],
            fps=round((last_n - first_n) / ((last_ns - first_ns) / 1e9), 2),
            dropped=self._dropped,
            latency_ms=None if self._latency_s is None else round(self._latency_s * 1000, 2),
            open_block=self._part(so_far) if so_far is not None else None,
            zones=self._in_zones(self._last.t_s),
            detail=self._detail(),
        )
        self._send(beat)


def _too_slow(fps: float, busy_s: float) -> str:
    """In words, what is wrong with `fps` pictures a second where the work for one takes `busy_s`."""
    told = f"{fps:.2g} pictures a second are looked at, and by less than {LEAST_FPS:g} nobody can be followed"
    if busy_s * fps < 0.5:
        return f"{told}; the camera gives no more: set it to 5 or more"
    return (
        f"{told}; the work for one takes {busy_s:.2g} s: take a smaller model, or a smaller input for it "
        "(stopline-agent models resize), or fewer cameras on this machine"
    )


def _ms(span_s: float) -> int:
    return max(0, round(span_s * 1000))


def _frames(camera: str, block: Block, size_px: tuple[int, int]) -> Frames:
    span_ms = _ms(block.to_s - block.from_s)
    return Frames(
        *(1, 0, 0),
        sensor=camera,
        span_ms=span_ms,
        measured_ms=span_ms,
        n=block.n,
        dropped=block.dropped,
        classes={
            name: ClassRange(spread.n_min, round(spread.n_mean, 3), spread.n_max)
            for name, spread in block.classes.items()
        },
        latency_p50_ms=_rounded_ms(block.latency_p50_s),
        latency_p95_ms=_rounded_ms(block.latency_p95_s),
        width_px=size_px[0],
        height_px=size_px[1],
    )


def _rounded_ms(latency_s: float | None) -> float | None:
    return None if latency_s is None else round(latency_s * 1000, 2)


def _occupancy(camera: str, summary: ZoneSummary) -> Occupancy:
    return Occupancy(
        *(1, 0, 0),
        sensor=camera,
        zone=summary.zone,
        span_ms=_ms(summary.span_s),
        n_mean=round(summary.n_mean, 3),
        n_max=summary.n_max,
        n_end=summary.n_end,
        entries=summary.entries,
        exits=summary.exits,
        dwell_mean_s=None if summary.dwell_mean_s is None else round(summary.dwell_mean_s, 3),
        stood_mean_s=None if summary.stood_mean_s is None else round(summary.stood_mean_s, 3),
        n_standing=summary.n_standing,
        capacity=summary.capacity,
    )


def _turn(camera: str, turned: Turned) -> Count:
    return Count(
        *(1, 0, 0),
        sensor=camera,
        source=turned.turn,
        via=Via.TURN,
        cls=turned.cls,
        direction=Direction.NONE,
        confidence=round(min(1.0, turned.confidence), 3),
        track=str(turned.track),
    )


def _unpaired(camera: str, lonely: Unpaired) -> Count:
    return Count(
        *(1, 0, 0),
        sensor=camera,
        source=unpaired_name(lonely.line, entry=lonely.entry),
        via=Via.UNPAIRED,
        cls=lonely.cls,
        direction=Direction.NONE,
        confidence=round(min(1.0, lonely.confidence), 3),
        track=str(lonely.track),
    )
