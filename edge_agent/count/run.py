"""What `stopline-agent count` does: reads a source to its end and says what crossed, and what was not measured."""

import bisect
import logging
import os
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import cv2

from common.codes import Direction, GapReason
from edge_agent.count.plan import Plan, UsageError
from edge_agent.count.preview import PreviewVideo
from edge_agent.counting import Pipeline, PipelineParams
from edge_agent.domain.crossing import Crossing
from edge_agent.domain.frames import Frame
from edge_agent.domain.measuring import STALL_S, Block, Hole, Looked, MeasureLog
from edge_agent.domain.occupancy import Visit
from edge_agent.domain.picture import PictureWatch
from edge_agent.domain.tracking import TrackerParams
from edge_agent.drivers.base import (
    Detector,
    DetectorError,
    DriverError,
    FrameSource,
    SourceEnded,
    SourceStalled,
    SourceUnusable,
)
from edge_agent.drivers.detectors.onnx import DEFAULT_SCORE, load_detector
from edge_agent.drivers.sim.source import SceneSource
from edge_agent.drivers.sources.opening import open_source

__all__ = ["DriverError", "Outcome", "as_json", "as_table", "count"]

logger = logging.getLogger(__name__)

_READ_TIMEOUT_S = 5.0
_MAX_STALLS = 6


@dataclass(frozen=True, slots=True)
class Gap:
    """A stretch that was not measured. `to_s` None: to the end, which was not reached."""

    from_s: float
    to_s: float | None
    reason: GapReason
    detail: str | None = None


@dataclass(slots=True)
class Outcome:
    """What came out. Times are in seconds of the source; frames are numbered from 1.

    Attributes:
        frames: how many were looked at.
        frame_times: time and number of each of them.
        problem: why it broke off, if it did.
    """

    lines: dict[str, list[Crossing]]
    visits: dict[str, list[Visit]]
    max_in_zone: dict[str, int]
    frames: int = 0
    measured_s: float = 0.0
    frame_times: list[tuple[float, int]] = field(default_factory=list)
    gaps: list[Gap] = field(default_factory=list)
    problem: str | None = None


def count(plan: Plan, *, preview_path: Path | None = None) -> Outcome:
    """Count to the end of the source, to Ctrl-C, or to where the source or the model breaks.

    Raises:
        DriverError: the source or the model cannot be used at all.
        UsageError: there is nothing to count at.
        ValueError: a line or a zone does not fit the picture.
    """
    hush_libraries()
    source = open_source(plan.source, fps=plan.fps, frames=plan.frames, every=plan.every, realtime=False)
    plan = _with_own_lines(plan, source)
    detector = detector_of(plan)
    preview = PreviewVideo(preview_path, plan.lines, plan.zones) if preview_path else None
    try:
        source.open()
        return _Counting(plan, source, detector, preview).run()
    finally:
        source.close()
        detector.close()
        if preview:
            preview.close()


def as_json(outcome: Outcome) -> dict[str, Any]:
    """The object that `--json` prints."""
    return {
        "frames": outcome.frames,
        "measured_s": round(outcome.measured_s, 3),
        "lines": {name: _line_as_json(crossings, outcome) for name, crossings in outcome.lines.items()},
        "zones": {
            name: {
                "max": outcome.max_in_zone[name],
                "visits": [
                    {"from_s": round(v.from_s, 3), "to_s": round(v.to_s, 3), "class": v.cls, "track": v.track}
                    for v in visits
                ],
            }
            for name, visits in outcome.visits.items()
        },
        "gaps": [
            {
                "from_s": round(gap.from_s, 3),
                "to_s": None if gap.to_s is None else round(gap.to_s, 3),
                "reason": str(gap.reason),
                "detail": gap.detail,
            }
            for gap in outcome.gaps
        ],
    }


def as_table(outcome: Outcome) -> str:
    """The same for people."""
    rows = [f"{outcome.frames} frames, {outcome.measured_s:.1f} s measured"]
    for name, crossings in outcome.lines.items():
        told = _line_as_json(crossings, outcome)
        classes = ", ".join(f"{n} {cls}" for cls, n in told["by_class"].items())
        rows.append(f"line {name:<20} {told['total']:>5}   in {told['in']:>5}   out {told['out']:>5}   {classes}")
    for name, visits in outcome.visits.items():
        mean_s = sum(v.to_s - v.from_s for v in visits) / len(visits) if visits else 0.0
        rows.append(
            f"zone {name:<20} {len(visits):>5} visits   at most {outcome.max_in_zone[name]}   {mean_s:.1f} s each"
        )
    for gap in outcome.gaps:
        until = "the end" if gap.to_s is None else f"{gap.to_s:.1f} s"
        rows.append(f"not measured from {gap.from_s:.1f} s to {until}: {gap.reason}")
    return "\n".join(rows)


class _Counting:
    """One run from the first frame to the last."""

    def __init__(self, plan: Plan, source: FrameSource, detector: Detector, preview: PreviewVideo | None) -> None:
        self._source = source
        self._preview = preview
        self._pipeline = Pipeline(detector, plan.lines, plan.zones, params_of(plan))
        self._watch = PictureWatch(black_after_s=plan.black_after_s, frozen_after_s=plan.frozen_after_s)
        # Pictures may be further apart by intention than what is a hole in a camera's stream.
        period_s = plan.every / plan.fps if plan.fps else 0.0
        self._log = MeasureLog(stall_s=max(STALL_S, 3 * period_s))
        self._outcome = Outcome(
            lines={line.name: [] for line in plan.lines},
            visits={zone.name: [] for zone in plan.zones},
            max_in_zone={zone.name: 0 for zone in plan.zones},
        )

    def run(self) -> Outcome:
        """Raises as `count` does, if not one frame could be looked at."""
        try:
            while (frame := self._next()) is not None:
                self._take(frame)
        except KeyboardInterrupt:
            logger.info("stopped by the user", extra={"action": "count_stopped"})
        except DetectorError as error:
            self._break_off(GapReason.MODEL_FAILED, error)
        except SourceUnusable as error:
            self._break_off(GapReason.CAMERA_DOWN, error)
        self._end()
        return self._outcome

    def _next(self) -> Frame | None:
        """The next frame; None at the end. A live source may be silent for a while: that becomes a gap."""
        for _ in range(_MAX_STALLS):
            try:
                return self._source.read(_READ_TIMEOUT_S)
            except SourceEnded:
                return None
            except SourceStalled as stall:
                logger.warning("%s", stall, extra={"action": "source_stalled"})
        raise SourceUnusable(f"no picture came for {_MAX_STALLS * _READ_TIMEOUT_S:.0f} s")

    def _take(self, frame: Frame) -> None:
        result = self._pipeline.process(frame)
        outcome = self._outcome
        if not outcome.frame_times:
            self._log.start(frame.t_s)
        outcome.frames += 1
        outcome.frame_times.append((frame.t_s, frame.index + 1))
        looked = Looked(frame.t_s, {}, result.latency_s)
        self._account(self._log.frame(looked, self._watch.update(frame.image, frame.t_s)))
        self._note(result.crossings, result.visits_ended)
        for zone, n in self._pipeline.occupancy().items():
            outcome.max_in_zone[zone] = max(outcome.max_in_zone[zone], n)
        if self._preview:
            self._preview.add(frame, result, self._totals(), self._pipeline.occupancy())

    def _totals(self) -> dict[str, tuple[int, int]]:
        return {name: _in_out(crossings) for name, crossings in self._outcome.lines.items()}

    def _note(self, crossings: list[Crossing], visits: list[Visit]) -> None:
        for crossing in crossings:
            self._outcome.lines[crossing.line].append(crossing)
        for visit in visits:
            self._outcome.visits[visit.zone].append(visit)

    def _account(self, stretches: list[Block | Hole]) -> None:
        for stretch in stretches:
            if isinstance(stretch, Block):
                self._outcome.measured_s += stretch.to_s - stretch.from_s
            else:
                self._outcome.gaps.append(Gap(stretch.from_s, stretch.to_s, stretch.reason))

    def _break_off(self, reason: GapReason, error: DriverError) -> None:
        if not self._outcome.frame_times:
            raise error
        self._outcome.problem = str(error)
        self._outcome.gaps.append(Gap(self._outcome.frame_times[-1][0], None, reason, str(error)))

    def _end(self) -> None:
        outcome = self._outcome
        if not outcome.frame_times:
            return
        last_s = outcome.frame_times[-1][0]
        rest = self._pipeline.finish(last_s)
        self._note(rest.crossings, rest.visits_ended)
        self._account(self._log.finish(last_s))
        for crossings in outcome.lines.values():
            crossings.sort(key=lambda crossing: crossing.t_s)
        outcome.gaps.sort(key=lambda gap: gap.from_s)


def hush_libraries() -> None:
    """OpenCV and FFmpeg write to stderr by themselves what is told better here, addresses included."""
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)


def _with_own_lines(plan: Plan, source: FrameSource) -> Plan:
    """A simulated street brings its own line, in case that none is given."""
    if plan.lines or plan.zones:
        return plan
    if isinstance(source, SceneSource):
        return replace(plan, lines=source.lines)
    raise UsageError("nothing to count at: give a --line or a --zone, or a --config that has some")


def detector_of(plan: Plan) -> Detector:
    """The detector that a plan asks for; the caller closes it.

    Raises:
        DetectorError: with what to do about it.
    """
    # The tracker follows known vehicles by weaker scores than it takes to make a new one.
    threshold = DEFAULT_SCORE if plan.score is None else min(DEFAULT_SCORE, plan.score)
    return load_detector(plan.model, classes=plan.classes, score_threshold=threshold, threads=plan.threads)


def params_of(plan: Plan) -> PipelineParams:
    """The figures of the stages, by a plan."""
    if plan.score is None:
        return PipelineParams()
    tracker = TrackerParams()
    return PipelineParams(
        tracker=replace(tracker, birth_score=plan.score, keep_score=min(tracker.keep_score, plan.score))
    )


def _in_out(crossings: list[Crossing]) -> tuple[int, int]:
    n_in = sum(crossing.direction is Direction.IN for crossing in crossings)
    return n_in, len(crossings) - n_in


def _line_as_json(crossings: list[Crossing], outcome: Outcome) -> dict[str, Any]:
    n_in, n_out = _in_out(crossings)
    by_class: dict[str, int] = {}
    for crossing in crossings:
        by_class[crossing.cls] = by_class.get(crossing.cls, 0) + 1
    return {
        "total": len(crossings),
        "in": n_in,
        "out": n_out,
        "by_class": dict(sorted(by_class.items())),
        "crossings": [
            {
                "t_s": round(crossing.t_s, 3),
                "frame": _frame_at(crossing.t_s, outcome.frame_times),
                "direction": str(crossing.direction),
                "class": crossing.cls,
                "track": crossing.track,
                "inferred": crossing.inferred,
            }
            for crossing in crossings
        ],
    }


def _frame_at(t_s: float, frame_times: list[tuple[float, int]]) -> int:
    """Number of the first frame that shows the object across: the first one not before `t_s`."""
    place = bisect.bisect_left(frame_times, (t_s, 0))
    return frame_times[min(place, len(frame_times) - 1)][1]
