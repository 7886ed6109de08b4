"""Lines and zones in the picture, and the exact questions that counting asks about them.

Pixels with x to the right and y downwards. A line is directed from its first point to its last; seen along that
direction its right side is *positive*. For a line drawn from left to right the positive side is below it.

Nothing here divides by a slope, so a line may have any direction. Sides are half-open: a point exactly on the
line is on the positive side, so that going through it counts once, whichever way it is sampled.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

Point = tuple[float, float]
Floats = NDArray[np.float64]

_ROUNDING = 1e-9
"""Share of a segment's length that a cut may miss its end by: what rounding costs where two segments meet."""


class Anchor(StrEnum):
    """Which point of a box stands for the vehicle."""

    AUTO = "auto"
    """Bottom centre; the middle of the box where its bottom cannot be seen: cut by the picture's edge or hidden."""
    BOTTOM = "bottom"
    """Bottom centre, where it touches the ground. Right for a low camera."""
    CENTRE = "centre"
    """The middle of the box. Right for a camera that looks straight down."""


@dataclass(frozen=True, slots=True)
class Line:
    """A counting line of two or more points, directed from the first to the last.

    Going `in` means crossing from the negative (left) side to the positive (right) one.

    Raises:
        ValueError: naming the line and what is wrong with it.
    """

    name: str
    points_px: tuple[Point, ...]
    anchor: Anchor = Anchor.AUTO

    def __post_init__(self) -> None:
        object.__setattr__(self, "points_px", _checked_points("line", self.name, self.points_px, at_least=2))
        object.__setattr__(self, "anchor", Anchor(self.anchor))
        edges = _edges(self.points_px, closed=False)
        _refuse_crossing_edges("line", self.name, edges, closed=False)


@dataclass(frozen=True, slots=True)
class Zone:
    """A polygon of three or more points, in either direction; the last point joins the first.

    Raises:
        ValueError: naming the zone and what is wrong with it.
    """

    name: str
    points_px: tuple[Point, ...]
    anchor: Anchor = Anchor.AUTO

    def __post_init__(self) -> None:
        points = _checked_points("zone", self.name, self.points_px, at_least=3)
        object.__setattr__(self, "points_px", points)
        object.__setattr__(self, "anchor", Anchor(self.anchor))
        _refuse_crossing_edges("zone", self.name, _edges(points, closed=True), closed=True)
        if abs(_doubled_area_px2(points)) < 2.0:
            raise ValueError(f"zone {self.name!r} has no area: its points lie on one line; give it a third corner")


def check_names(shapes: Sequence[Line | Zone]) -> None:
    """Refuse two shapes of one name.

    Raises:
        ValueError: naming the first name that comes twice.
    """
    seen: set[str] = set()
    for shape in shapes:
        if shape.name in seen:
            raise ValueError(f"the name {shape.name!r} is used twice; give each line and zone its own")
        seen.add(shape.name)


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
    starts, spans = corners[:-1], np.diff(corners, axis=0)
    lengths = np.hypot(spans[:, 0], spans[:, 1])
    offsets = points_px[:, None, :] - starts
    heights = (spans[:, 0] * offsets[..., 1] - spans[:, 1] * offsets[..., 0]) / lengths
    if len(spans) == 1:
        return np.asarray(heights[:, 0])
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
    return np.where(sides < 0, -1.0, 1.0) * distances[rows, nearest]


def path_cut(line: Line, start_px: Point, end_px: Point, *, slack_px: float = 0.0) -> float | None:
    """Where the straight way from `start_px` to `end_px` last cuts the line, as a share of that way.

    Args:
        slack_px: how much longer than drawn the line is taken to be at either end.

    Returns:
        0..1, or None if the way does not cut the line, because it stays on one side or passes beside an end.
    """
    last: float | None = None
    edges = _edges(line.points_px, closed=False)
    for number, (a, b) in enumerate(edges):
        length_px = math.dist(a, b)
        low = -slack_px / length_px if number == 0 else 0.0
        high = 1.0 + (slack_px / length_px if number == len(edges) - 1 else 0.0)
        share = _segment_cut(a, b, start_px, end_px, low, high)
        if share is not None and (last is None or share > last):
            last = share
    return last


def _segment_cut(a: Point, b: Point, start: Point, end: Point, low: float, high: float) -> float | None:
    before, after = _cross(a, b, start), _cross(a, b, end)
    if (before < 0) == (after < 0):
        return None
    share = before / (before - after)
    x = start[0] + share * (end[0] - start[0]) - a[0]
    y = start[1] + share * (end[1] - start[1]) - a[1]
    dx, dy = b[0] - a[0], b[1] - a[1]
    along = (x * dx + y * dy) / (dx * dx + dy * dy)
    return share if low - _ROUNDING <= along <= high + _ROUNDING else None


def inside_distance_px(zone: Zone, points_px: Floats) -> Floats:
    """How far each point is from the zone's border: positive inside, negative outside.

    Args:
        points_px: (n, 2).

    Returns:
        (n,). NaN where a point is NaN.
    """
    starts = np.asarray(zone.points_px, np.float64)
    ends = np.roll(starts, -1, axis=0)
    spans = ends - starts
    offsets = points_px[:, None, :] - starts
    shares = np.clip((offsets * spans).sum(-1) / (spans * spans).sum(-1), 0.0, 1.0)
    away = offsets - shares[..., None] * spans
    distances = np.hypot(away[..., 0], away[..., 1]).min(axis=1)
    # A ray to the left: each edge whose half-open span of y holds the point and that lies left of it is met once.
    y = points_px[:, None, 1]
    straddles = (starts[:, 1] <= y) != (ends[:, 1] <= y)
    crosses = spans[:, 0] * offsets[..., 1] - spans[:, 1] * offsets[..., 0]
    met = straddles & ((crosses < 0) == (spans[:, 1] > 0))
    return np.where(met.sum(axis=1) % 2 == 1, distances, -distances)


def _cross(a: Point, b: Point, p: Point) -> float:
    """Twice the area of the triangle a, b, p: positive if p lies right of the way from a to b."""
    return (b[0] - a[0]) * (p[1] - a[1]) - (b[1] - a[1]) * (p[0] - a[0])


def _doubled_area_px2(points: Sequence[Point]) -> float:
    return sum(_cross(points[0], a, b) for a, b in _edges(points, closed=True))


def _edges(points: Sequence[Point], *, closed: bool) -> list[tuple[Point, Point]]:
    edges = list(zip(points[:-1], points[1:], strict=True))
    return [*edges, (points[-1], points[0])] if closed else edges


def _checked_points(kind: str, name: str, points: Sequence[Point], *, at_least: int) -> tuple[Point, ...]:
    if not name or not name.strip():
        raise ValueError(f"a {kind} needs a name")
    if len(points) < at_least:
        raise ValueError(f"{kind} {name!r} has {len(points)} point(s); it needs {at_least} or more")
    if any(len(point) != 2 for point in points):
        raise ValueError(f"{kind} {name!r}: each point is a pair x, y")
    checked = tuple((float(x), float(y)) for x, y in points)
    for x, y in checked:
        if not (math.isfinite(x) and math.isfinite(y)):
            raise ValueError(f"{kind} {name!r}: ({x:g}, {y:g}) is not a place; x and y must be finite numbers")
    for a, b in _edges(checked, closed=at_least > 2):
        if math.dist(a, b) < 1.0:
            raise ValueError(f"{kind} {name!r}: two ends of a piece are the same, ({a[0]:g}, {a[1]:g}); move one")
    return checked


def _refuse_crossing_edges(kind: str, name: str, edges: Sequence[tuple[Point, Point]], *, closed: bool) -> None:
    """A shape that crosses itself has no sides. Edges that follow each other share a point, and may."""
    for i, first in enumerate(edges):
        for j in range(i + 2, len(edges)):
            neighbours = closed and i == 0 and j == len(edges) - 1
            if not neighbours and _segments_meet(first, edges[j]):
                (a, b), (c, d) = first, edges[j]
                raise ValueError(
                    f"{kind} {name!r} crosses itself: the piece ({a[0]:g}, {a[1]:g})-({b[0]:g}, {b[1]:g}) meets "
                    f"({c[0]:g}, {c[1]:g})-({d[0]:g}, {d[1]:g}); put its points in order around it"
                )


def _segments_meet(first: tuple[Point, Point], second: tuple[Point, Point]) -> bool:
    """Whether two closed segments share a point."""
    (a, b), (c, d) = first, second
    turns = [_sign(_cross(a, b, c)), _sign(_cross(a, b, d)), _sign(_cross(c, d, a)), _sign(_cross(c, d, b))]
    if turns[0] != turns[1] and turns[2] != turns[3]:
        return True
    touches = zip(turns, (c, d, a, b), (first, first, second, second), strict=True)
    return any(turn == 0 and _within_box(point, edge) for turn, point, edge in touches)


def _within_box(point: Point, edge: tuple[Point, Point]) -> bool:
    (ax, ay), (bx, by) = edge
    return min(ax, bx) <= point[0] <= max(ax, bx) and min(ay, by) <= point[1] <= max(ay, by)


def _sign(value: float) -> int:
    return (value > 0) - (value < 0)
