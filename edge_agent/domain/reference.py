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

from edge_agent.domain.association import meeting_pairs
from edge_agent.domain.shapes import Anchor
from edge_agent.domain.tracking import Tracks, kept_and_gone

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

EDGE_PX = 2.5
"""A box that ends this close to the picture's edge is cut by it."""
_WHOLE_SIZE_HOLDS_S = 60.0
_SAME_WIDTH = 1.25
"""The size a vehicle had when it was whole is its size still while its width differs by less than this factor."""
_TOUCH = 0.15
"""Boxes this close, as a share of the hidden one's height, touch: detectors draw what they see of it only."""

_WIDTH, _SINCE = 0, 2
"""Rows of what is known of whole vehicles: width, height, and since when."""


@dataclass(slots=True)
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
    """Reference points of tracks, worked out once a frame for all lines and zones that share them."""

    def __init__(self, frame_size_px: tuple[int, int]) -> None:
        self._far_px = np.array(frame_size_px, np.float64)[:, None] - EDGE_PX
        self.forget()

    def forget(self) -> None:
        """Begin anew, without tracks."""
        self._ids = np.zeros(0, np.int64)
        self._whole = _unknown(0)
        self._latest: tuple[Tracks, float, Bodies] | None = None

    def bodies(self, tracks: Tracks, now_s: float) -> Bodies:
        """Where each track's vehicle is. Each frame's tracks are given once, or again with the same time."""
        latest = self._latest
        if latest is not None and latest[0] is tracks and latest[1] == now_s:
            return latest[2]
        if self._ids.tobytes() != tracks.ids.tobytes():
            self._align(tracks.ids)
        bodies = self._worked_out(tracks, now_s)
        self._latest = tracks, now_s, bodies
        return bodies

    def _align(self, ids: NDArray[np.int64]) -> None:
        """Make the rows those of `ids`."""
        keep, _ = kept_and_gone(self._ids, ids)
        self._whole = np.concatenate([self._whole[:, keep], _unknown(len(ids) - len(keep))], axis=1)
        self._ids = ids

    def _worked_out(self, tracks: Tracks, now_s: float) -> Bodies:
        boxes = tracks.boxes_px.T
        low, high = boxes[:2], boxes[2:]
        starts, ends = low <= EDGE_PX, high >= self._far_px
        covered = hidden_below(tracks.boxes_px, tracks.seen)
        hidden = starts | ends
        hidden = hidden[0] | hidden[1] | covered
        sizes = high - low
        self._learn(sizes, tracks.seen > hidden, now_s)
        middles = low + high
        middles *= 0.5
        feet = middles.copy()
        feet[1] = high[1]
        if not np.count_nonzero(hidden):
            by_anchor = {Anchor.AUTO: middles.T, Anchor.BOTTOM: feet.T, Anchor.CENTRE: middles.T}
            return Bodies(tracks.boxes_px, middles.T, by_anchor)
        full = self._whole_sizes(sizes, starts[0] | ends[0], now_s)
        whole = boxes.copy()
        np.subtract(high, full, out=whole[:2], where=starts > ends)
        np.add(low, full, out=whole[2:], where=ends > starts)
        uncut = whole[:2] + whole[2:]
        uncut *= 0.5
        feet[0], feet[1] = uncut[0], whole[3]
        np.maximum(low[1] + full[1], whole[3], out=feet[1], where=covered)
        uncovered = uncut.copy()
        np.multiply(whole[1] + feet[1], 0.5, out=uncovered[1])
        by_anchor = {Anchor.AUTO: uncovered.T, Anchor.BOTTOM: feet.T, Anchor.CENTRE: middles.T}
        return Bodies(whole.T, uncut.T, by_anchor)

    def _learn(self, sizes_px: Floats, shown: Mask, now_s: float) -> None:
        np.copyto(self._whole[:_SINCE], sizes_px, where=shown)
        np.copyto(self._whole[_SINCE], now_s, where=shown)

    def _whole_sizes(self, sizes_px: Floats, cut_x: Mask, now_s: float) -> Floats:
        """Width and height, (2, n), of each vehicle when nothing of it is hidden, as well as they are known."""
        whole, width_px = self._whole, sizes_px[0]
        like = np.maximum(width_px, whole[_WIDTH]) < _SAME_WIDTH * np.minimum(width_px, whole[_WIDTH])
        like |= cut_x
        like &= now_s - whole[_SINCE] <= _WHOLE_SIZE_HOLDS_S
        result = sizes_px.copy()
        np.maximum(whole[:_SINCE], sizes_px, out=result, where=like)
        return result


def _unknown(n: int) -> Floats:
    return np.full((3, n), -np.inf)


def hidden_below(boxes_px: Floats, seen: Mask) -> Mask:
    """Mask, (n,), of boxes whose lower end a nearer box may hide: one that reaches further down."""
    n = len(boxes_px)
    hidden = np.zeros(n, np.bool_)
    corners = boxes_px.T
    ends = corners[2:].copy()
    ends[1] += _TOUCH * (ends[1] - corners[1])
    meeting = meeting_pairs(corners, ends)
    if meeting is None:
        return hidden
    boxes, others = meeting
    x1, y1, x2, y2 = corners.take(boxes, axis=1)
    near_x1, near_y1, near_x2, near_y2 = corners.take(others, axis=1)
    hides = y2 < near_y2
    hides &= y1 < near_y1
    hides &= ends[1].take(boxes) > near_y1
    hides &= seen.take(others)
    hides &= np.minimum(x2, near_x2) - np.maximum(x1, near_x1) > 0.3 * (x2 - x1)
    hidden[boxes[hides]] = True
    return hidden
