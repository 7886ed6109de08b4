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
        sightings = together = 0
        for t_s, tracks in self._past:
            pair = tracks.ids.searchsorted((a, b))
            if now_s - t_s > _REMEMBERED_S or pair.max() >= len(tracks) or tuple(tracks.ids[pair]) != (a, b):
                continue
            if tracks.seen[pair].all():
                sightings += 1
                together += bool(shares_of_smaller(tracks.boxes_px[pair[0]], tracks.boxes_px[pair[1:]])[0] > share)
        return sightings >= _LEAST_SIGHTINGS and together >= _MOST_OF_THE_TIME * sightings


def shares_of_smaller(box_px: Floats, others_px: Floats) -> Floats:
    """How much of the smaller of two boxes lies in the other, (n,), of one box, (4,), with others, (n, 4)."""
    sides = np.minimum(others_px[:, 2:], box_px[2:]) - np.maximum(others_px[:, :2], box_px[:2])
    np.maximum(sides, 0.0, out=sides)
    areas = (others_px[:, 2:] - others_px[:, :2]).prod(axis=1)
    return np.asarray(sides.prod(axis=1) / np.minimum(areas, (box_px[2:] - box_px[:2]).prod()))
