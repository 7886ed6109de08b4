"""Which point of a box stands for the vehicle, and where it is when the box does not show all of it.

A vehicle stands where its box ends below. But a box ends early where the picture ends or where a nearer vehicle
hides the rest, and its end then jumps about while the vehicle drives on. So each track remembers the size it had
when it was last seen whole, and while it is not, the hidden end is where that size puts it: a car that leaves the
picture goes on below its lower edge, and a line close to the edge is crossed as any other.

By default the middle of that whole vehicle changes sides, since it jitters least, and its foot decides whether it
passed between a line's ends, since those lie on the ground.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge_agent.domain.shapes import Anchor
from edge_agent.domain.tracking import Tracks

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

EDGE_PX = 2.5
"""A box that ends this close to the picture's edge is cut by it."""
_WHOLE_SIZE_HOLDS_S = 60.0
_SAME_WIDTH = 1.25
"""The size a vehicle had when it was whole is its size still while its width differs by less than this factor."""
_TOUCH = 0.15
"""Boxes this close, as a share of the hidden one's height, touch: detectors draw what they see of it only."""

_WIDTH, _HEIGHT, _SINCE = range(3)


@dataclass(frozen=True, slots=True)
class Bodies:
    """Where vehicles are.

    Attributes:
        boxes_px: (n, 4) corners, as if the picture had no edge.
        middles_px: (n, 2) of those.
        points_px: for each anchor the reference point of each, (n, 2).
    """

    boxes_px: Floats
    middles_px: Floats
    points_px: Mapping[Anchor, Floats]


class ReferencePoints:
    """Reference points of tracks. Rows are those of `Tracks`; `align` is told when they change."""

    def __init__(self, frame_size_px: tuple[int, int]) -> None:
        self._frame_size_px = frame_size_px
        self._whole = _unknown(0)

    def align(self, kept: NDArray[np.intp], n_new: int) -> None:
        """Keep these rows, in this order, and add new ones at the end."""
        self._whole = np.concatenate([self._whole[:, kept], _unknown(n_new)], axis=1)

    def forget(self) -> None:
        """Begin anew, without tracks."""
        self._whole = _unknown(0)

    def bodies(self, tracks: Tracks, now_s: float) -> Bodies:
        """Where each track's vehicle is."""
        x1, y1, x2, y2 = tracks.boxes_px.T
        width_px, height_px = self._frame_size_px
        left, right = x1 <= EDGE_PX, x2 >= width_px - EDGE_PX
        top, bottom = y1 <= EDGE_PX, y2 >= height_px - EDGE_PX
        covered = hidden_below(tracks.boxes_px, tracks.seen)
        cut_x, cut_y = left | right, top | bottom
        shown = ~(cut_x | cut_y | covered)
        self._learn(tracks, shown & tracks.seen, now_s)
        middles = (tracks.boxes_px[:, :2] + tracks.boxes_px[:, 2:]) * 0.5
        feet = middles.copy()
        feet[:, 1] = y2
        if shown.all():
            by_anchor = {Anchor.AUTO: middles, Anchor.BOTTOM: feet, Anchor.CENTRE: middles}
            return Bodies(tracks.boxes_px, middles, by_anchor)
        widths, heights = self._whole_sizes(tracks, cut_x, now_s)
        whole = tracks.boxes_px.copy()
        np.subtract(x2, widths, out=whole[:, 0], where=left & ~right)
        np.add(x1, widths, out=whole[:, 2], where=right & ~left)
        np.subtract(y2, heights, out=whole[:, 1], where=top & ~bottom)
        np.add(y1, heights, out=whole[:, 3], where=bottom & ~top)
        uncut = (whole[:, :2] + whole[:, 2:]) * 0.5
        feet[:, 0] = uncut[:, 0]
        feet[:, 1] = np.where(covered, np.maximum(y1 + heights, whole[:, 3]), whole[:, 3])
        uncovered = uncut.copy()
        uncovered[:, 1] = (whole[:, 1] + feet[:, 1]) * 0.5
        return Bodies(whole, uncut, {Anchor.AUTO: uncovered, Anchor.BOTTOM: feet, Anchor.CENTRE: middles})

    def _learn(self, tracks: Tracks, shown: Mask, now_s: float) -> None:
        boxes = tracks.boxes_px
        np.subtract(boxes[:, 2], boxes[:, 0], out=self._whole[_WIDTH], where=shown)
        np.subtract(boxes[:, 3], boxes[:, 1], out=self._whole[_HEIGHT], where=shown)
        np.copyto(self._whole[_SINCE], now_s, where=shown)

    def _whole_sizes(self, tracks: Tracks, cut_x: Mask, now_s: float) -> tuple[Floats, Floats]:
        """Width and height that each vehicle has when nothing of it is hidden, as well as it is known."""
        boxes, whole = tracks.boxes_px, self._whole
        widths, heights = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
        fresh = now_s - whole[_SINCE] <= _WHOLE_SIZE_HOLDS_S
        fresh &= cut_x | (np.maximum(widths, whole[_WIDTH]) < _SAME_WIDTH * np.minimum(widths, whole[_WIDTH]))
        return (
            np.where(fresh, np.maximum(whole[_WIDTH], widths), widths),
            np.where(fresh, np.maximum(whole[_HEIGHT], heights), heights),
        )


def _unknown(n: int) -> Floats:
    return np.full((3, n), -np.inf)


def hidden_below(boxes_px: Floats, seen: Mask) -> Mask:
    """Mask, (n,), of boxes whose lower end a nearer box may hide: one that reaches further down."""
    if len(boxes_px) < 2:
        return np.zeros(len(boxes_px), np.bool_)
    x1, y1, x2, y2 = boxes_px.T
    across = np.minimum(x2[:, None], x2)
    across -= np.maximum(x1[:, None], x1)
    hidden = across > (0.3 * (x2 - x1))[:, None]
    hidden &= y1 < (y2 + _TOUCH * (y2 - y1))[:, None]
    hidden &= y1 > y1[:, None]
    hidden &= y2 > y2[:, None]
    hidden &= seen
    return np.asarray(hidden.any(axis=1))
