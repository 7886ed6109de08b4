"""What the counter knows of each track: facts by line and track, and where it was last seen."""

from dataclasses import dataclass

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
PLANES = 16


@dataclass(slots=True)
class Rows:
    """What is known of each track, in the order of ids; arrays have a column per track."""

    ids: NDArray[np.int64]
    facts: Floats
    points_px: Floats
    """(lines, 2, n) when last seen; born_points_px when first seen."""
    born_points_px: Floats
    boxes_px: Floats
    """(4, n) when last seen; born_boxes_px when first seen."""
    born_boxes_px: Floats
    velocities_px_s: Floats
    seen_s: Floats
    known_since_s: Floats
    """When the vehicle was first seen, under whatever id."""
    standing: Mask
    sightings: NDArray[np.int64]
    """How often it was seen before this update."""
    arrived: Mask
    """Confirmed, and asked whether it continues another track."""
    born_on_other: Mask
    """It began on the body of another track."""

    @staticmethod
    def none(n_lines: int) -> "Rows":
        """No tracks."""
        return Rows.new(np.zeros(0, np.int64), n_lines)

    @staticmethod
    def new(ids: NDArray[np.int64], n_lines: int) -> "Rows":
        """Tracks of which nothing is known yet."""
        n = len(ids)
        facts = np.zeros((PLANES, n_lines, n))
        facts[WAITS], facts[CUT], facts[WIDER] = np.inf, np.nan, 1.0
        points, boxes = np.zeros((n_lines, 2, n)), np.zeros((4, n))
        return Rows(
            ids, facts, points, points.copy(), boxes, boxes.copy(), boxes.copy(), np.zeros(n), np.zeros(n),
            np.zeros(n, np.bool_), np.zeros(n, np.int64), np.zeros(n, np.bool_), np.zeros(n, np.bool_),
        )  # fmt: skip

    def kept(self, keep: NDArray[np.intp], new: "Rows") -> "Rows":
        """These rows, and new ones after them."""
        return Rows(
            np.concatenate([self.ids[keep], new.ids]),
            np.concatenate([self.facts[:, :, keep], new.facts], axis=2),
            np.concatenate([self.points_px[:, :, keep], new.points_px], axis=2),
            np.concatenate([self.born_points_px[:, :, keep], new.born_points_px], axis=2),
            np.concatenate([self.boxes_px[:, keep], new.boxes_px], axis=1),
            np.concatenate([self.born_boxes_px[:, keep], new.born_boxes_px], axis=1),
            np.concatenate([self.velocities_px_s[:, keep], new.velocities_px_s], axis=1),
            np.concatenate([self.seen_s[keep], new.seen_s]),
            np.concatenate([self.known_since_s[keep], new.known_since_s]),
            np.concatenate([self.standing[keep], new.standing]),
            np.concatenate([self.sightings[keep], new.sightings]),
            np.concatenate([self.arrived[keep], new.arrived]),
            np.concatenate([self.born_on_other[keep], new.born_on_other]),
        )

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
