"""Which tracks show one body: boxes that lie in one another, and go on doing so, are one vehicle seen twice.

A weak detector shows a van by its whole and by its rear, or two cars as one box, for seconds. One picture does not
tell that from a car before a bus; what the tracks did together in the last second does. It is asked only where
something is about to be counted, so that nothing is reckoned from frame to frame.
"""

from collections import deque
from collections.abc import Sequence

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
        sightings = together = 0
        left = len(self._past)
        for t_s, tracks in reversed(self._past):
            if now_s - t_s > _REMEMBERED_S:
                break
            # Two that are apart, as most are, cannot make up for it in what is left.
            if together + left < _MOST_OF_THE_TIME * (sightings + left):
                return False
            left -= 1
            i, j = _row(tracks, a), _row(tracks, b)
            if i is not None and j is not None and tracks.seen[i] and tracks.seen[j]:
                sightings += 1
                together += _share_of_smaller(tracks.boxes_px[i].tolist(), tracks.boxes_px[j].tolist()) > share
        return sightings >= _LEAST_SIGHTINGS and together >= _MOST_OF_THE_TIME * sightings


def _row(tracks: Tracks, track: int) -> int | None:
    row = int(tracks.ids.searchsorted(track))
    return row if row < len(tracks) and tracks.ids[row] == track else None


def _share_of_smaller(a: Sequence[float], b: Sequence[float]) -> float:
    """Of two boxes alone, numbers are quicker than arrays."""
    shared = max(0.0, min(a[2], b[2]) - max(a[0], b[0])) * max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    smaller = min((a[2] - a[0]) * (a[3] - a[1]), (b[2] - b[0]) * (b[3] - b[1]))
    return shared / smaller if smaller > 0.0 else 0.0


def shares_of_smaller(box_px: Floats, others_px: Floats) -> Floats:
    """How much of the smaller of two boxes lies in the other, (n,), of one box, (4,), with others, (n, 4)."""
    sides = np.minimum(others_px[:, 2:], box_px[2:]) - np.maximum(others_px[:, :2], box_px[:2])
    np.maximum(sides, 0.0, out=sides)
    areas = (others_px[:, 2:] - others_px[:, :2]).prod(axis=1)
    return np.asarray(sides.prod(axis=1) / np.minimum(areas, (box_px[2:] - box_px[:2]).prod()))
