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
        n = together = 0
        for t_s, tracks in reversed(self._past):
            if now_s - t_s > _REMEMBERED_S:
                break
            rows = tracks.ids.searchsorted((a, b))
            if rows.max() >= len(tracks):
                continue
            (i, j), known = rows.tolist(), tracks.ids.take(rows).tolist()
            if known == [a, b] and tracks.seen[i] and tracks.seen[j]:
                n += 1
                together += share_of_smaller(tracks.boxes_px[i], tracks.boxes_px[j]) > share
        return n >= _LEAST_SIGHTINGS and together >= _MOST_OF_THE_TIME * n


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


def share_of_smaller(box_px: Floats, other_px: Floats) -> float:
    """The same of two boxes, (4,) each: for so few, numbers are quicker than arrays."""
    ax1, ay1, ax2, ay2 = box_px.tolist()
    bx1, by1, bx2, by2 = other_px.tolist()
    shared = max(min(ax2, bx2) - max(ax1, bx1), 0.0) * max(min(ay2, by2) - max(ay1, by1), 0.0)
    smaller = min((ax2 - ax1) * (ay2 - ay1), (bx2 - bx1) * (by2 - by1))
    return float(shared / smaller) if smaller > 0.0 else 0.0
