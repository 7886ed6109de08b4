"""The way of a picture to a count: detector, tracker, lines and zones. The daemon and `count` go it alike."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from edge_agent.domain.calibration import Calibration, calibrate
from edge_agent.domain.crossing import Crossing, CrossingCounter, CrossingParams
from edge_agent.domain.frames import Detections, Frame
from edge_agent.domain.ground_points import GroundPoint
from edge_agent.domain.occupancy import OccupancyParams, Visit, ZoneCounter, ZoneNow, ZoneSummary
from edge_agent.domain.reference import ReferencePoints
from edge_agent.domain.shapes import Line, Zone, check_inside, check_names
from edge_agent.domain.speed import SpeedMeter
from edge_agent.domain.tracking import Tracker, TrackerParams, Tracks
from edge_agent.domain.turn_rules import Turn, check_turns
from edge_agent.domain.turns import TurnCounter, TurnResult
from edge_agent.drivers.base import Detector


@dataclass(frozen=True, slots=True)
class PipelineParams:
    """The figures of all stages."""

    tracker: TrackerParams = field(default_factory=TrackerParams)
    crossing: CrossingParams = field(default_factory=CrossingParams)
    occupancy: OccupancyParams = field(default_factory=OccupancyParams)


def params_of_score(score: float | None, by_class: Mapping[str, float] | None = None) -> PipelineParams:
    """The figures where a detection makes a new vehicle from `score` on, None: as is usual, or for its class.

    Weaker ones go on to continue known vehicles: without them tracks break, and their crossings are lost.
    """
    usual = TrackerParams(birth_scores=by_class or {})
    if score is None:
        return PipelineParams(usual)
    return PipelineParams(replace(usual, birth_score=score, keep_score=min(usual.keep_score, score)))


@dataclass(frozen=True, slots=True)
class FrameResult:
    """What one frame showed.

    Attributes:
        crossings, visits_ended, turns: facts that this frame made certain, each reported once and a little late.
        latency_s: how long the detector took.
    """

    crossings: list[Crossing]
    visits_ended: list[Visit]
    detections: Detections
    tracks: Tracks
    latency_s: float
    turns: TurnResult = field(default_factory=TurnResult)

    @property
    def seen_by_class(self) -> dict[str, int]:
        """How many objects of each class this frame showed: confirmed tracks, so that flicker is not counted."""
        seen: dict[str, int] = {}
        for track in self.tracks:
            if track.seen and track.confirmed:
                seen[track.cls] = seen.get(track.cls, 0) + 1
        return seen


@dataclass(frozen=True, slots=True)
class Finish:
    """What was still open when the source ended."""

    crossings: list[Crossing]
    visits_ended: list[Visit]
    turns: TurnResult = field(default_factory=TurnResult)


class Pipeline:
    """Counts one source. It takes the size of the first frame as that of all. One thread calls all methods."""

    def __init__(
        self,
        detector: Detector,
        lines: Sequence[Line],
        zones: Sequence[Zone],
        params: PipelineParams | None = None,
        *,
        turns: Sequence[Turn] = (),
        ground_points: Sequence[GroundPoint] = (),
        monotonic_s: Callable[[], float] = time.perf_counter,
    ) -> None:
        """
        Args:
            detector: finds only what shall be counted. It stays open when this is done.
            ground_points: what the camera is calibrated by; none: speeds are not known.

        Raises:
            ValueError: two lines, zones or turns share a name; a turn names no line.
        """
        check_names([*lines, *zones])
        names = [line.name for line in lines]
        check_turns(turns, names, [*names, *(zone.name for zone in zones)])
        self._detector = detector
        self._lines = tuple(lines)
        self._zones = tuple(zones)
        self._params = params or PipelineParams()
        self._monotonic_s = monotonic_s
        self._tracker = Tracker(self._params.tracker)
        self._turns = TurnCounter(turns)
        self._ground_points = tuple(ground_points)
        self._calibration: Calibration | None = None
        self._speeds: SpeedMeter | None = None
        self._stages: tuple[CrossingCounter, ZoneCounter] | None = None

    @property
    def calibration(self) -> Calibration | None:
        """How the camera is calibrated; None before the first frame, or if it is not."""
        return self._calibration

    def process(self, frame: Frame) -> FrameResult:
        """Take in one frame.

        Raises:
            DetectorError: the model failed; the frame was not measured.
            ValueError: at the first frame: a line, a zone or a point on the ground does not lie in the picture.
        """
        crossing, occupancy = self._stages or self._start(frame)
        before_s = self._monotonic_s()
        detections = self._detector.detect(frame.image)
        latency_s = self._monotonic_s() - before_s
        tracks = self._tracker.update(detections, frame.t_s)
        if self._speeds:
            self._speeds.update(tracks, detections, frame.t_s)
        crossings = self._with_speeds(crossing.update(tracks, frame.t_s))
        return FrameResult(
            crossings=crossings,
            visits_ended=occupancy.update(tracks, frame.t_s),
            detections=detections,
            tracks=tracks,
            latency_s=latency_s,
            turns=self._turns.update(crossings, frame.t_s),
        )

    def occupancy(self) -> dict[str, int]:
        """How many are in each zone now, by its name."""
        return self._stages[1].occupancy if self._stages else {}

    def zones_now(self, now_s: float) -> list[ZoneNow]:
        """What is in each zone, and who of it stands."""
        return self._stages[1].now(now_s) if self._stages else []

    def zone_summaries(self, now_s: float) -> list[ZoneSummary]:
        """How full each zone was since the last call."""
        return self._stages[1].summary(now_s) if self._stages else []

    def finish(self, t_s: float) -> Finish:
        """The source is over. What was about to be counted is counted now."""
        if self._stages is None:
            return Finish([], [])
        crossing, occupancy = self._stages
        crossings = self._with_speeds(crossing.finish(t_s))
        turns = self._turns.update(crossings, t_s)
        rest = self._turns.finish()
        turns = TurnResult(turns.turned + rest.turned, turns.unpaired + rest.unpaired)
        return Finish(crossings, occupancy.finish(t_s), turns)

    def _with_speeds(self, crossings: list[Crossing]) -> list[Crossing]:
        meter = self._speeds
        if not meter:
            return crossings
        return [
            replace(
                one, speed_mps=meter.speed_mps(one.track, one.t_s), length_m=meter.length_m(one.track, one.t_s)
            )
            for one in crossings
        ]

    def _start(self, frame: Frame) -> tuple[CrossingCounter, ZoneCounter]:
        height, width = frame.image.shape[:2]
        shapes: list[Line | Zone] = [*self._lines, *self._zones]
        for shape in shapes:
            check_inside(shape, (width, height))
        if self._ground_points:
            self._calibration = calibrate(self._ground_points, (width, height))
            self._speeds = SpeedMeter(self._calibration, (width, height))
        references = ReferencePoints((width, height))
        self._stages = (
            CrossingCounter(self._lines, (width, height), self._params.crossing, references),
            ZoneCounter(self._zones, (width, height), self._params.occupancy, references),
        )
        return self._stages
