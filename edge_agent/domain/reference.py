"""Which point of a box stands for the vehicle, and where it is when the box does not show all of it.

A vehicle stands where its box ends below. But a box ends early where the picture ends or where a nearer vehicle
hides the rest, and its end then jumps about while the vehicle drives on. So each track remembers the size it had
when it was last seen whole, and while it is not, the hidden end is where that size puts it: a car that leaves the
picture goes on below its lower edge, and a line close to the edge is crossed as any other.
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
        widths, heights = self._whole_sizes(tracks, left | right, top | bottom | covered, now_s)
        whole = tracks.boxes_px.copy()
        if (left | right | top | bottom).any():
            np.subtract(x2, widths, out=whole[:, 0], where=left & ~right)
            np.add(x1, widths, out=whole[:, 2], where=right & ~left)
            np.subtract(y2, heights, out=whole[:, 1], where=top & ~bottom)
            np.add(y1, heights, out=whole[:, 3], where=bottom & ~top)
        points = np.empty((4, len(x1), 2))
        points[0] = (whole[:, :2] + whole[:, 2:]) * 0.5
        points[1] = points[2] = points[0]
        points[2, :, 1] = np.where(covered, np.maximum(y1 + heights, whole[:, 3]), whole[:, 3])
        points[1, :, 1] = (whole[:, 1] + points[2, :, 1]) * 0.5
        points[3] = (tracks.boxes_px[:, :2] + tracks.boxes_px[:, 2:]) * 0.5
        by_anchor = {Anchor.AUTO: points[1], Anchor.BOTTOM: points[2], Anchor.CENTRE: points[3]}
        return Bodies(whole, points[0], by_anchor)

    def _whole_sizes(self, tracks: Tracks, cut_x: Mask, cut_y: Mask, now_s: float) -> tuple[Floats, Floats]:
        """Width and height that each vehicle has when nothing of it is hidden, as well as it is known."""
        boxes, whole = tracks.boxes_px, self._whole
        widths, heights = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
        shown = tracks.seen & ~cut_x & ~cut_y
        np.copyto(whole[_WIDTH], widths, where=shown)
        np.copyto(whole[_HEIGHT], heights, where=shown)
        np.copyto(whole[_SINCE], now_s, where=shown)
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
