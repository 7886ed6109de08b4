"""What the counter knows of each track: facts by line and track, and where it was last seen."""

import numpy as np
from numpy.typing import NDArray

from edge_agent.domain.handover import Departed

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

# Planes of the facts, (planes, lines, tracks).
SIDE = 0
"""Side last confirmed: -1, 1; 0: not known."""
DISTANCE = 1
"""Signed distance when last seen."""
BORN = 2
"""Signed distance when first seen."""
WAITS = 3
"""Since when it has been found on the other side; infinite: it has not."""
CUT = 4
"""When the path last went from one side to the other; NaN: it never did."""
VALID = 5
"""1: that cut was between the line's ends."""
GUESSED = 6
"""1: that cut was not seen, but lies between the last place under one id and the first under another."""
ORIGIN = 7
"""1: it is still to be settled whether it came over the line before it was first seen."""
FORESEEN = 8
"""1: as it moved before that cut, it was to come to the other side by then, or nearly."""
SETTLED = slice(9, 13)
"""The whole vehicle's corners when it was last on the confirmed side."""
WIDER = slice(13, 15)
"""How many times wider the dead zone is for it, on the negative and on the positive side."""
FIRST = 15
"""Signed distance when the vehicle was first seen, under whatever id."""
STOOD_SINCE = 16
"""Since when it has stood where its side is not known; infinite: it does not."""
STOOD = slice(17, 20)
"""How often it was seen there, and the sums of its distances from then on and of their squares, in box heights."""
PLANES = 20


_POINTS = 4
"""Figures of a track for each line beside its facts: two points."""
_OTHERS = 15
"""Figures of a track that hold for all lines: three boxes or their speeds, two times, a number."""


class Rows:
    """What is known of each track, in the order of ids; arrays have a column per track.

    All are parts of two, one of figures and one of flags, so that columns are kept and added in a few steps.

    Attributes:
        facts: (planes, lines, n).
        points_px: (lines, 2, n) when last seen; born_points_px when first seen.
        boxes_px: (4, n) when last seen; born_boxes_px when first seen.
        velocities_px_s: (4, n) of the corners, when last seen.
        seen_s: when last seen.
        known_since_s: when the vehicle was first seen, under whatever id.
        sightings: how often it was seen before this update.
        standing: as of when it was last seen.
        arrived: it was confirmed, and asked whether it continues another track.
        born_on_other: it began on the body of another track.
    """

    def __init__(self, ids: NDArray[np.int64], figures: Floats, flags: Mask) -> None:
        n = len(ids)
        n_lines = (len(figures) - _OTHERS) // (PLANES + _POINTS)
        self.ids, self._figures, self._flags = ids, figures, flags
        first = PLANES * n_lines
        self.facts = figures[:first].reshape(PLANES, n_lines, n)
        points = figures[first:-_OTHERS].reshape(2, n_lines, 2, n)
        self.points_px, self.born_points_px = points
        self.boxes_px, self.born_boxes_px, self.velocities_px_s = figures[-_OTHERS:-3].reshape(3, 4, n)
        self.seen_s, self.known_since_s, self.sightings = figures[-3:]
        self.standing, self.arrived, self.born_on_other = flags

    @staticmethod
    def none(n_lines: int) -> "Rows":
        """No tracks."""
        n_figures = n_lines * (PLANES + _POINTS) + _OTHERS
        return Rows(np.zeros(0, np.int64), np.zeros((n_figures, 0)), np.zeros((3, 0), np.bool_))

    def kept(self, keep: NDArray[np.intp], new_ids: NDArray[np.int64]) -> "Rows":
        """These rows, and after them new ones, of which nothing is known yet."""
        n_kept, n = len(keep), len(keep) + len(new_ids)
        figures, flags = np.zeros((len(self._figures), n)), np.zeros((3, n), np.bool_)
        figures[:, :n_kept] = self._figures.take(keep, axis=1)
        flags[:, :n_kept] = self._flags.take(keep, axis=1)
        rows = Rows(np.concatenate([self.ids.take(keep), new_ids]), figures, flags)
        if n > n_kept:
            new = rows.facts[:, :, n_kept:]
            new[WAITS], new[STOOD_SINCE], new[CUT], new[WIDER] = np.inf, np.inf, np.nan, 1.0
        return rows

    def departed(self, row: int) -> Departed:
        """The track of a row, as it was last seen."""
        return Departed(
            track=int(self.ids[row]),
            seen_s=float(self.seen_s[row]),
            known_since_s=float(self.known_since_s[row]),
            box_px=self.boxes_px[:, row].copy(),
            velocity_px_s=self.velocities_px_s[:, row].copy(),
            standing=bool(self.standing[row]),
            facts=self.facts[:, :, row].copy(),
            points_px=self.points_px[:, :, row].copy(),
        )
