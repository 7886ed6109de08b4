"""The way of a picture to a count: detector, tracker, lines and zones. The daemon and `count` go it alike."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from edge_agent.domain.crossing import Crossing, CrossingCounter, CrossingParams
from edge_agent.domain.frames import Detections, Frame
from edge_agent.domain.occupancy import OccupancyParams, Visit, ZoneCounter, ZoneSummary
from edge_agent.domain.shapes import Line, Zone, check_inside, check_names
from edge_agent.domain.tracking import Tracker, TrackerParams, Tracks
from edge_agent.drivers.base import Detector


@dataclass(frozen=True, slots=True)
class PipelineParams:
    """The figures of all stages."""

    tracker: TrackerParams = field(default_factory=TrackerParams)
    crossing: CrossingParams = field(default_factory=CrossingParams)
    occupancy: OccupancyParams = field(default_factory=OccupancyParams)


@dataclass(frozen=True, slots=True)
class FrameResult:
    """What one frame showed.

    Attributes:
        crossings, visits_ended: facts that this frame made certain, each reported once and a little late.
        latency_s: how long the detector took.
    """

    crossings: list[Crossing]
    visits_ended: list[Visit]
    detections: Detections
    tracks: Tracks
    latency_s: float

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


class Pipeline:
    """Counts one source. It takes the size of the first frame as that of all. One thread calls all methods."""

    def __init__(
        self,
        detector: Detector,
        lines: Sequence[Line],
        zones: Sequence[Zone],
        params: PipelineParams | None = None,
        *,
        monotonic_s: Callable[[], float] = time.perf_counter,
    ) -> None:
        """
        Args:
            detector: finds only what shall be counted. It stays open when this is done.

        Raises:
            ValueError: two lines or zones share a name.
        """
        check_names([*lines, *zones])
        self._detector = detector
        self._lines = tuple(lines)
        self._zones = tuple(zones)
        self._params = params or PipelineParams()
        self._monotonic_s = monotonic_s
        self._tracker = Tracker(self._params.tracker)
        self._stages: tuple[CrossingCounter, ZoneCounter] | None = None

    def process(self, frame: Frame) -> FrameResult:
        """Take in one frame.

        Raises:
            DetectorError: the model failed; the frame was not measured.
            ValueError: at the first frame: a line or a zone does not lie in the picture.
        """
        crossing, occupancy = self._stages or self._start(frame)
        before_s = self._monotonic_s()
        detections = self._detector.detect(frame.image)
        latency_s = self._monotonic_s() - before_s
        tracks = self._tracker.update(detections, frame.t_s)
        return FrameResult(
            crossings=crossing.update(tracks, frame.t_s),
            visits_ended=occupancy.update(tracks, frame.t_s),
            detections=detections,
            tracks=tracks,
            latency_s=latency_s,
        )

    def occupancy(self) -> dict[str, int]:
        """How many are in each zone now, by its name."""
        return self._stages[1].occupancy if self._stages else {}

    def zone_summaries(self, now_s: float) -> list[ZoneSummary]:
        """How full each zone was since the last call."""
        return self._stages[1].summary(now_s) if self._stages else []

    def finish(self, t_s: float) -> Finish:
        """The source is over. What was about to be counted is counted now."""
        if self._stages is None:
            return Finish([], [])
        crossing, occupancy = self._stages
        return Finish(crossing.finish(t_s), occupancy.finish(t_s))

    def _start(self, frame: Frame) -> tuple[CrossingCounter, ZoneCounter]:
        height, width = frame.image.shape[:2]
        shapes: list[Line | Zone] = [*self._lines, *self._zones]
        for shape in shapes:
            check_inside(shape, (width, height))
        self._stages = (
            CrossingCounter(self._lines, (width, height), self._params.crossing),
            ZoneCounter(self._zones, (width, height), self._params.occupancy),
        )
        return self._stages
