"""What `stopline-agent count` does: reads a source to its end and says what crossed, and what was not measured."""

import bisect
import logging
import math
import os
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import cv2

from common.codes import Direction, GapReason
from edge_agent.count.plan import Plan, UsageError
from edge_agent.count.preview import PreviewVideo
from edge_agent.count.turn_report import turns_as_json, turns_in_rows
from edge_agent.counting import Pipeline, params_of_score
from edge_agent.domain.classes import unknown_classes
from edge_agent.domain.crossing import Crossing
from edge_agent.domain.frames import Frame
from edge_agent.domain.ground_points import check_ground_points
from edge_agent.domain.measuring import Block, Hole, Looked, MeasureLog
from edge_agent.domain.occupancy import Visit, ZoneNow
from edge_agent.domain.picture import PictureWatch
from edge_agent.domain.shapes import check_names
from edge_agent.domain.turn_rules import check_turns
from edge_agent.domain.turns import Turned, TurnResult, Unpaired
from edge_agent.drivers.base import (
    Detector,
    DetectorError,
    DriverError,
    FrameSource,
    SourceEnded,
    SourceStalled,
    SourceUnusable,
)
from edge_agent.drivers.detectors.focused import focused
from edge_agent.drivers.detectors.onnx import DEFAULT_SCORE, load_detector
from edge_agent.drivers.sim.source import SceneSource
from edge_agent.drivers.sources.opening import open_source
from edge_agent.drivers.sources.prepared import as_drawn

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
        capacities, most_standing: of each zone; the most that stood at one moment.
        turns, unpaired: by turn; all crossings that no turn accounts for. Both None if no turn is asked for.
        calibration: how the camera is calibrated, in words; None: it is not.
        problem: why it broke off, if it did.
        unknown_classes: those that were to be counted and that the model does not know.
    """

    lines: dict[str, list[Crossing]]
    visits: dict[str, list[Visit]]
    max_in_zone: dict[str, int]
    frames: int = 0
    measured_s: float = 0.0
    frame_times: list[tuple[float, int]] = field(default_factory=list)
    gaps: list[Gap] = field(default_factory=list)
    problem: str | None = None
    capacities: dict[str, int | None] = field(default_factory=dict)
    most_standing: dict[str, int] = field(default_factory=dict)
    turns: dict[str, list[Turned]] | None = None
    unpaired: list[Unpaired] | None = None
    calibration: str | None = None
    unknown_classes: tuple[str, ...] = ()


def count(plan: Plan, *, preview_path: Path | None = None) -> Outcome:
    """Count to the end of the source, to Ctrl-C, or to where the source or the model breaks.

    Raises:
        DriverError: the source or the model cannot be used at all.
        UsageError: there is nothing to count at.
        ValueError: a line, a zone, a turn or a point on the ground does not fit the others, or the picture.
    """
    hush_libraries()
    source = open_source(
        plan.source, fps=plan.fps, frames=plan.frames, every=plan.every, realtime=False, options=plan.options
    )
    plan = _with_own_lines(plan, source)
    _check(plan)
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
        **({"unknown_classes": outcome.unknown_classes} if outcome.unknown_classes else {}),
        **({"calibration": outcome.calibration} if outcome.calibration else {}),
        "lines": {name: _line_as_json(crossings, outcome) for name, crossings in outcome.lines.items()},
        "zones": {
            name: {
                "max": outcome.max_in_zone[name],
                "max_standing": outcome.most_standing.get(name, 0),
                "capacity": outcome.capacities.get(name),
                "visits": [_visit_as_json(visit) for visit in visits],
            }
            for name, visits in outcome.visits.items()
        },
        **turns_as_json(outcome.turns, outcome.unpaired),
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
        speeds = _speeds_in_words(crossings)
        rows.append(
            f"line {name:<20} {told['total']:>5}   in {told['in']:>5}   out {told['out']:>5}   {classes}{speeds}"
        )
    for name, visits in outcome.visits.items():
        mean_s = _mean([v.to_s - v.from_s for v in visits])
        rows.append(
            f"zone {name:<20} {len(visits):>5} visits   at most {outcome.max_in_zone[name]}{_room(name, outcome)}"
            f"   {mean_s:.1f} s each, {_mean([v.stood_s for v in visits]):.1f} s of it standing"
        )
    rows += turns_in_rows(outcome.turns, outcome.unpaired)
    if outcome.calibration:
        rows.append(f"calibrated by {outcome.calibration}")
    for gap in outcome.gaps:
        until = "the end" if gap.to_s is None else f"{gap.to_s:.1f} s"
        rows.append(f"not measured from {gap.from_s:.1f} s to {until}: {gap.reason}")
    return "\n".join(rows)


def _mean(values: list[float]) -> float:
    return sum(values) / len(values) if values else 0.0


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 2)


def _room(zone: str, outcome: Outcome) -> str:
    capacity = outcome.capacities.get(zone)
    return "" if capacity is None else f" of {capacity}"


def _speeds_in_words(crossings: list[Crossing]) -> str:
    """Mean, and what 85 of 100 do not exceed, as traffic engineers ask for it."""
    speeds = sorted(one.speed_mps for one in crossings if one.speed_mps is not None)
    if not speeds:
        return ""
    p85 = speeds[min(len(speeds) - 1, math.ceil(0.85 * len(speeds)) - 1)]
    return f"   {_mean(speeds) * 3.6:.0f} km/h on average, 85 % up to {p85 * 3.6:.0f} ({len(speeds)} measured)"


def _visit_as_json(visit: Visit) -> dict[str, Any]:
    return {
        "from_s": round(visit.from_s, 3),
        "to_s": round(visit.to_s, 3),
        "class": visit.cls,
        "track": visit.track,
        "stood_s": round(visit.stood_s, 3),
    }


class _Counting:
    """One run from the first frame to the last."""

    def __init__(self, plan: Plan, source: FrameSource, detector: Detector, preview: PreviewVideo | None) -> None:
        self._source = source
        self._preview = preview
        self._pipeline = Pipeline(
            detector,
            plan.lines,
            plan.zones,
            params_of_score(plan.score, plan.focus.scores),
            turns=plan.turns,
            ground_points=plan.ground_points,
        )
        self._watch = PictureWatch(
            black_after_s=plan.black_after_s, frozen_after_s=plan.frozen_after_s, masks=plan.options.masks
        )
        self._log = MeasureLog()
        self._outcome = Outcome(
            lines={line.name: [] for line in plan.lines},
            visits={zone.name: [] for zone in plan.zones},
            max_in_zone={zone.name: 0 for zone in plan.zones},
            capacities={zone.name: zone.capacity for zone in plan.zones},
            turns={turn.name: [] for turn in plan.turns} if plan.turns else None,
            unpaired=[] if plan.turns else None,
            unknown_classes=unknown_classes(plan.classes, detector.class_names),
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
        self._note(result.crossings, result.visits_ended, result.turns)
        for now in self._pipeline.zones_now(frame.t_s):
            self._note_zone(now)
        if self._preview:
            self._preview.add(frame, result, self._totals(), self._pipeline.occupancy())

    def _totals(self) -> dict[str, tuple[int, int]]:
        return {name: _in_out(crossings) for name, crossings in self._outcome.lines.items()}

    def _note_zone(self, now: ZoneNow) -> None:
        outcome = self._outcome
        outcome.max_in_zone[now.zone] = max(outcome.max_in_zone[now.zone], now.n)
        outcome.most_standing[now.zone] = max(outcome.most_standing.get(now.zone, 0), now.n_standing)

    def _note(self, crossings: list[Crossing], visits: list[Visit], turns: TurnResult) -> None:
        for turned in turns.turned:
            assert self._outcome.turns is not None
            self._outcome.turns[turned.turn].append(turned)
        if self._outcome.unpaired is not None:
            self._outcome.unpaired += turns.unpaired
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
        self._note(rest.crossings, rest.visits_ended, rest.turns)
        outcome.calibration = self._pipeline.calibration.in_words() if self._pipeline.calibration else None
        self._account(self._log.finish(last_s))
        for crossings in outcome.lines.values():
            crossings.sort(key=lambda crossing: crossing.t_s)
        for turns in (outcome.turns or {}).values():
            turns.sort(key=lambda turned: turned.left_s)
        outcome.gaps.sort(key=lambda gap: gap.from_s)


def _check(plan: Plan) -> None:
    """Refuse what does not fit together, before anything opens."""
    names = [line.name for line in plan.lines]
    check_names([*plan.lines, *plan.zones])
    check_turns(plan.turns, names, [*names, *(zone.name for zone in plan.zones)])
    if plan.ground_points:
        check_ground_points(plan.ground_points)


def hush_libraries() -> None:
    """OpenCV and FFmpeg write to stderr by themselves what is told better here, addresses included."""
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)


def _with_own_lines(plan: Plan, source: FrameSource) -> Plan:
    """A simulated street brings its own line, in case that none is given."""
    if plan.lines or plan.zones:
        return plan
    scene = as_drawn(source)
    if isinstance(scene, SceneSource):
        return replace(plan, lines=scene.lines)
    raise UsageError(
        "nothing to count at: give a --line or a --zone, or a --config that has some; "
        "`stopline-agent suggest-lines` with the same source proposes lines"
    )


def detector_of(plan: Plan) -> Detector:
    """The detector that a plan asks for; the caller closes it.

    Raises:
        DetectorError: with what to do about it.
    """
    # The tracker follows known vehicles by weaker scores than it takes to make a new one.
    threshold = DEFAULT_SCORE if plan.score is None else min(DEFAULT_SCORE, plan.score)
    detector = load_detector(
        plan.model, classes=plan.classes, score_threshold=threshold, options=plan.model_options
    )
    return focused(detector, plan.focus)


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
                "speed_mps": _rounded(crossing.speed_mps),
                "length_m": _rounded(crossing.length_m),
            }
            for crossing in crossings
        ],
    }


def _frame_at(t_s: float, frame_times: list[tuple[float, int]]) -> int:
    """Number of the first frame that shows the object across: the first one not before `t_s`."""
    place = bisect.bisect_left(frame_times, (t_s, 0))
    return frame_times[min(place, len(frame_times) - 1)][1]
