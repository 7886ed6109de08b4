"""Tracks: which box of this frame is the same vehicle as which box before."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import overload

import numpy as np
from numpy.typing import NDArray

from edge_agent.domain.frames import Detections


@dataclass(frozen=True, slots=True)
class Track:
    """One tracked object, as of one update.

    Attributes:
        id: positive, never used twice by one tracker.
        box_px: x1, y1, x2, y2: where it was seen, smoothed; where it is thought to be if `seen` is False.
        cls: its class by vote of all its detections, weighted by their scores.
        confidence: mean score of the detections that voted for `cls`, 0..1.
        seen: whether this very frame showed it.
        confirmed: whether it was seen often and long enough to be taken for real.
        born_s, seen_s: time of its first and its latest detection.
    """

    id: int
    box_px: tuple[float, float, float, float]
    cls: str
    confidence: float
    seen: bool
    confirmed: bool
    born_s: float
    seen_s: float


@dataclass(frozen=True, slots=True)
class Tracks(Sequence[Track]):
    """All tracks of one update, oldest first: a sequence of `Track`, held by columns for the stages that follow.

    Attributes:
        ids: (n,) int64, ascending.
        boxes_px: (n, 4) float64.
        velocities_px_s: (n, 4) float64, of the same four coordinates.
        class_ids: (n,) int64, indices into `class_names`.
        confidences: (n,) float64.
        seen, confirmed: (n,) bool.
        born_s, seen_s: (n,) float64.
    """

    ids: NDArray[np.int64]
    boxes_px: NDArray[np.float64]
    velocities_px_s: NDArray[np.float64]
    class_ids: NDArray[np.int64]
    confidences: NDArray[np.float64]
    seen: NDArray[np.bool_]
    confirmed: NDArray[np.bool_]
    born_s: NDArray[np.float64]
    seen_s: NDArray[np.float64]
    class_names: Sequence[str]

    def __len__(self) -> int:
        return len(self.ids)

    @overload
    def __getitem__(self, index: int) -> Track: ...
    @overload
    def __getitem__(self, index: slice) -> list[Track]: ...
    def __getitem__(self, index: int | slice) -> Track | list[Track]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        x1, y1, x2, y2 = self.boxes_px[index].tolist()
        return Track(
            id=int(self.ids[index]),
            box_px=(x1, y1, x2, y2),
            cls=self.class_names[int(self.class_ids[index])],
            confidence=float(self.confidences[index]),
            seen=bool(self.seen[index]),
            confirmed=bool(self.confirmed[index]),
            born_s=float(self.born_s[index]),
            seen_s=float(self.seen_s[index]),
        )

    def __iter__(self) -> Iterator[Track]:
        return (self[i] for i in range(len(self)))


@dataclass(frozen=True, slots=True)
class TrackerParams:
    """How boxes become tracks. The defaults suit road users at 3 to 30 frames a second."""

    birth_score: float = 0.25
    keep_score: float = 0.1
    confirm_s: float = 0.15
    lost_s: float = 1.5


class Tracker:
    """Follows objects from frame to frame. Pure: time is an argument."""

    def __init__(self, params: TrackerParams | None = None) -> None:
        self._params = params or TrackerParams()

    def update(self, detections: Detections, t_s: float) -> Tracks:
        """Take in one frame; returns all tracks that live, seen or not, confirmed or not."""
        raise NotImplementedError
