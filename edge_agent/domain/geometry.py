"""Lines and zones in the picture, and the exact questions that counting asks about them.

Pixels with x to the right and y downwards. A line is directed from its first point to its last; seen along that
direction its right side is *positive*. For a line drawn from left to right the positive side is below it.

Nothing here divides by a slope, so a line may have any direction. Sides are half-open: a point exactly on the
line is on the positive side, so that going through it counts once, whichever way it is sampled.
"""

import math

import numpy as np
from numpy.typing import NDArray

from edge_agent.domain.shapes import Anchor, Line, Point, Zone, check_names, cross, edges_of

__all__ = [
    "Anchor",
    "Line",
    "Point",
    "Zone",
    "check_names",
    "inside_distance_px",
    "path_cut",
    "points_along",
    "signed_distance_px",
]

Floats = NDArray[np.float64]

_ROUNDING = 1e-9
"""Share of a segment's length that a cut may miss its end by: what rounding costs where two segments meet."""


def signed_distance_px(line: Line, points_px: Floats) -> Floats:
    """How far each point is from the line: negative on its left side, positive on its right, 0 on it.

    Beyond its ends the line goes on straight, so that the side is known everywhere. Of a bent line the nearest
    piece decides; at a bend, the two that meet there.

    Args:
        points_px: (n, 2).

    Returns:
        (n,). NaN where a point is NaN.
    """
    corners = np.asarray(line.points_px, np.float64)
    starts = corners[:-1]
    spans: Floats = np.diff(corners, axis=0)
    lengths = np.hypot(spans[:, 0], spans[:, 1])
    offsets = points_px[:, None, :] - starts
    heights = (spans[:, 0] * offsets[..., 1] - spans[:, 1] * offsets[..., 0]) / lengths
    if len(spans) == 1:
        return heights[:, 0]
    return _nearest_piece_distance(heights, (offsets * spans).sum(-1) / lengths, lengths)


def _nearest_piece_distance(heights: Floats, alongs: Floats, lengths: Floats) -> Floats:
    """`heights` and `alongs`: each point's coordinates across and along each piece of the line, (n, pieces)."""
    low = np.zeros(len(lengths))
    high = lengths.copy()
    low[0], high[-1] = -np.inf, np.inf
    beyond = alongs - np.clip(alongs, low, high)
    distances = np.hypot(heights, beyond)
    rows = np.arange(len(heights))
    nearest = np.argmin(distances, axis=1)
    # At a convex bend both pieces are equally near, and the side is that of the bend's own normal.
    neighbour = np.clip(nearest + np.sign(beyond[rows, nearest]).astype(np.intp), 0, len(lengths) - 1)
    sides = heights[rows, nearest] + np.where(neighbour == nearest, 0.0, heights[rows, neighbour])
    return np.asarray(np.where(sides < 0, -1.0, 1.0) * distances[rows, nearest])


def path_cut(line: Line, start_px: Point, end_px: Point, *, slack_px: float = 0.0) -> float | None:
    """Where the straight way from `start_px` to `end_px` last cuts the line, as a share of that way.

    Args:
        slack_px: how much longer than drawn the line is taken to be at either end.

    Returns:
        0..1, or None if the way does not cut the line, because it stays on one side or passes beside an end.
    """
    last: float | None = None
    edges = edges_of(line.points_px, closed=False)
    for number, (a, b) in enumerate(edges):
        length_px = math.dist(a, b)
        low = -slack_px / length_px if number == 0 else 0.0
        high = 1.0 + (slack_px / length_px if number == len(edges) - 1 else 0.0)
        share = _segment_cut(a, b, start_px, end_px, low, high)
        if share is not None and (last is None or share > last):
            last = share
    return last


def _segment_cut(a: Point, b: Point, start: Point, end: Point, low: float, high: float) -> float | None:
    before, after = cross(a, b, start), cross(a, b, end)
    if (before < 0) == (after < 0):
        return None
    share = before / (before - after)
    x = start[0] + share * (end[0] - start[0]) - a[0]
    y = start[1] + share * (end[1] - start[1]) - a[1]
    dx, dy = b[0] - a[0], b[1] - a[1]
    along = (x * dx + y * dy) / (dx * dx + dy * dy)
    return share if low - _ROUNDING <= along <= high + _ROUNDING else None


def border_cuts(zone: Zone, start_px: Point, end_px: Point) -> list[float]:
    """Where the straight way from `start_px` to `end_px` cuts the zone's border, as ascending shares of it."""
    cuts = (_segment_cut(a, b, start_px, end_px, 0.0, 1.0) for a, b in edges_of(zone.points_px, closed=True))
    return sorted(cut for cut in cuts if cut is not None)


class Border:
    """A zone's border, ready to be asked about many points."""

    def __init__(self, zone: Zone) -> None:
        self._x, self._y = starts = np.asarray(zone.points_px, np.float64).T
        self._end_y = np.roll(self._y, -1)
        self._dx, self._dy = np.roll(starts, -1, axis=1) - starts
        self._squares = self._dx * self._dx + self._dy * self._dy
        self._goes_down = self._dy > 0

    def inside_distance_px(self, points_px: Floats) -> Floats:
        """How far each point is from the border: positive inside, negative outside.

        Args:
            points_px: (n, 2).

        Returns:
            (n,). NaN where a point is NaN.
        """
        y = points_px[:, 1, None]
        to_x, to_y = points_px[:, 0, None] - self._x, y - self._y
        shares = to_x * self._dx
        shares += to_y * self._dy
        shares /= self._squares
        np.minimum(np.maximum(shares, 0.0, out=shares), 1.0, out=shares)
        away_x, away_y = to_x - shares * self._dx, to_y - shares * self._dy
        away_x *= away_x
        away_y *= away_y
        away_x += away_y
        distances = np.sqrt(away_x.min(axis=1))
        # A ray to the left meets each edge left of the point whose half-open span of y holds it.
        met = (self._y <= y) != (self._end_y <= y)
        if np.count_nonzero(met):
            met &= (self._dx * to_y < self._dy * to_x) == self._goes_down
        inside = np.bitwise_xor.reduce(met, axis=1)
        return np.asarray(np.where(inside, distances, -distances))


def points_along(line: Line, step_px: float) -> Floats:
    """The middles of steps along a line, each of at most so many pixels. N x 2, in pixels."""
    pieces = []
    for a, b in edges_of(line.points_px, closed=False):
        n_steps = math.ceil(math.dist(a, b) / step_px)
        pieces.append(a + np.outer((np.arange(n_steps) + 0.5) / n_steps, np.subtract(b, a)))
    return np.concatenate(pieces)


def inside_distance_px(zone: Zone, points_px: Floats) -> Floats:
    """How far each point is from a zone's border (see `Border`)."""
    return Border(zone).inside_distance_px(points_px)
