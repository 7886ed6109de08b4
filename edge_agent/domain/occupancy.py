"""Occupancy: what is in a zone, since when, and for how long it stayed."""

from collections.abc import Sequence
from dataclasses import dataclass

from edge_agent.domain.geometry import Zone
from edge_agent.domain.tracking import Tracks


@dataclass(frozen=True, slots=True)
class Visit:
    """One stay of one object in a zone, from its first moment inside to its last."""

    zone: str
    from_s: float
    to_s: float
    cls: str
    track: int


@dataclass(frozen=True, slots=True)
class ZoneSummary:
    """How full a zone was over a span.

    Attributes:
        span_s: length of the span; measured_s: how much of it was watched, which is what n_mean is a mean over.
        n_end: how many were inside at its end.
        dwell_mean_s: mean stay of the visits that ended in the span; none ended: None.
    """

    zone: str
    span_s: float
    measured_s: float
    n_mean: float
    n_max: int
    n_end: int
    entries: int
    exits: int
    dwell_mean_s: float | None


@dataclass(frozen=True, slots=True)
class OccupancyParams:
    """The rule's figures."""

    confirm_s: float = 0.3


class ZoneCounter:
    """Keeps the visits of zones. Pure: time is an argument."""

    def __init__(
        self, zones: Sequence[Zone], frame_size_px: tuple[int, int], params: OccupancyParams | None = None
    ) -> None:
        """`frame_size_px`: width, height."""
        self._zones = tuple(zones)

    @property
    def occupancy(self) -> dict[str, int]:
        """How many are in each zone, by its name."""
        raise NotImplementedError

    def update(self, tracks: Tracks, t_s: float) -> list[Visit]:
        """Visits that ended, each reported once."""
        raise NotImplementedError

    def summary(self, now_s: float) -> list[ZoneSummary]:
        """One summary per zone of the span since the last call, and begin a new span."""
        raise NotImplementedError

    def finish(self, t_s: float) -> list[Visit]:
        """The source is over: visits still open, ended now."""
        raise NotImplementedError
