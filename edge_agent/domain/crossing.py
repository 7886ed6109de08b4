"""Crossings: when a track goes over a line, and which way."""

from collections.abc import Sequence
from dataclasses import dataclass

from common.codes import Direction
from edge_agent.domain.geometry import Line
from edge_agent.domain.tracking import Tracks


@dataclass(frozen=True, slots=True)
class Crossing:
    """One vehicle or person went over a line.

    Attributes:
        t_s: when, interpolated between frames; a little before the update that reports it.
        cls, confidence: as voted by then.
        track: the track's id.
        inferred: the crossing itself was not seen; the track was first seen just past the line.
    """

    line: str
    t_s: float
    direction: Direction
    cls: str
    confidence: float
    track: int
    inferred: bool


@dataclass(frozen=True, slots=True)
class CrossingParams:
    """The rule's figures."""

    dead_zone: float = 0.08
    confirm_s: float = 0.15


class CrossingCounter:
    """Counts crossings of lines. Pure: time is an argument."""

    def __init__(
        self, lines: Sequence[Line], frame_size_px: tuple[int, int], params: CrossingParams | None = None
    ) -> None:
        """`frame_size_px`: width, height."""
        self._lines = tuple(lines)

    def update(self, tracks: Tracks, t_s: float) -> list[Crossing]:
        """Crossings that this update confirmed, each reported once."""
        raise NotImplementedError

    def finish(self, t_s: float) -> list[Crossing]:
        """The source is over: crossings that were seen and still waited to be confirmed."""
        raise NotImplementedError
