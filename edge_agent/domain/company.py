"""Which tracks show one body: boxes that lie in one another, and go on doing so, are one vehicle seen twice.

A weak detector shows a van by its whole and by its rear, or two cars as one box, for seconds. One picture does not
tell that from a car before a bus; what the tracks did together in the last second does. It is asked only where
something is about to be counted, so that nothing is reckoned from frame to frame.
"""

from collections import deque

import numpy as np
from numpy.typing import NDArray

from edge_agent.domain.tracking import Tracks

Floats = NDArray[np.float64]

_REMEMBERED_S = 1.0
_MOST_UPDATES = 32
_LEAST_SIGHTINGS = 3
_MOST_OF_THE_TIME = 0.7


class Company:
    """What all tracks did of late. Bounded."""

    def __init__(self) -> None:
        self._past: deque[tuple[float, Tracks]] = deque(maxlen=_MOST_UPDATES)

    def note(self, tracks: Tracks, now_s: float) -> None:
        """Take in one update; the arrays of `tracks` are kept, and must not change."""
        self._past.append((now_s, tracks))

    def forget(self) -> None:
        """Begin anew."""
        self._past.clear()

    def one_body(self, a: int, b: int, share: float, now_s: float) -> bool:
        """Whether two tracks, when both were seen, nearly always shared more than `share` of the smaller box."""
        boxes, others = [], []
        for t_s, tracks in reversed(self._past):
            if now_s - t_s > _REMEMBERED_S:
                break
            i, j = _row(tracks, a), _row(tracks, b)
            if i is not None and j is not None and tracks.seen[i] and tracks.seen[j]:
                boxes.append(tracks.boxes_px[i])
                others.append(tracks.boxes_px[j])
        if len(boxes) < _LEAST_SIGHTINGS:
            return False
        together = np.count_nonzero(shares_of_smaller(np.array(boxes), np.array(others)) > share)
        return bool(together >= _MOST_OF_THE_TIME * len(boxes))


def _row(tracks: Tracks, track: int) -> int | None:
    row = int(tracks.ids.searchsorted(track))
    return row if row < len(tracks) and tracks.ids[row] == track else None


def shares_of_smaller(boxes_px: Floats, others_px: Floats) -> Floats:
    """How much of the smaller of two boxes lies in the other, (n,), pair by pair.

    Args:
        boxes_px: (n, 4), or (4,): one with all others.
        others_px: (n, 4).
    """
    sides = np.minimum(others_px[:, 2:], boxes_px[..., 2:]) - np.maximum(others_px[:, :2], boxes_px[..., :2])
    np.maximum(sides, 0.0, out=sides)
    areas = (others_px[:, 2:] - others_px[:, :2]).prod(axis=1)
    own = (boxes_px[..., 2:] - boxes_px[..., :2]).prod(axis=-1)
    return np.asarray(sides.prod(axis=1) / np.minimum(areas, own))
