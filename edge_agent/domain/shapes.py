"""Lines and zones in the picture: what they are, and what makes a good one.

Pixels with x to the right and y downwards. A line is directed from its first point to its last; seen along that
direction its right side is *positive*. For a line drawn from left to right the positive side is below it.

Only the standard library is needed here, so that a configuration can be checked where numpy is not loaded.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise

Point = tuple[float, float]

PARKED_AFTER_S = 10.0
"""Who stood still for so long stands, unless a zone says otherwise."""


_FOLD = 0.01
"""Sine of the angle between two pieces of a line below which one lies on the other."""


class Anchor(StrEnum):
    """Which point of a box stands for the vehicle."""

    AUTO = "auto"
    """The middle of the whole vehicle, also where the picture's edge or a nearer vehicle cuts its box; between a
    line's ends must pass the point where it stands. Boxes' lower ends jump most, and their middles least."""
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
        edges = edges_of(self.points_px, closed=False)
        _refuse_crossing_edges("line", self.name, edges, closed=False)
        _refuse_folds(self.name, edges)


@dataclass(frozen=True, slots=True)
class Zone:
    """A polygon of three or more points, in either direction; the last point joins the first.

    Attributes:
        capacity: how many it is meant for, to be told beside how many there are; None: nobody said.
        parked_after_s: who stood still in it for so long stands, all others move.

    Raises:
        ValueError: naming the zone and what is wrong with it.
    """

    name: str
    points_px: tuple[Point, ...]
    anchor: Anchor = Anchor.AUTO
    capacity: int | None = None
    parked_after_s: float = PARKED_AFTER_S

    def __post_init__(self) -> None:
        points = _checked_points("zone", self.name, self.points_px, at_least=3)
        object.__setattr__(self, "points_px", points)
        object.__setattr__(self, "anchor", Anchor(self.anchor))
        _refuse_crossing_edges("zone", self.name, edges_of(points, closed=True), closed=True)
        if abs(_doubled_area_px2(points)) < 2.0:
            raise ValueError(f"zone {self.name!r} has no area: its points lie on one line; give it a third corner")
        if self.capacity is not None and self.capacity < 1:
            raise ValueError(f"zone {self.name!r}: a capacity is 1 or more, or left out")
        if not (math.isfinite(self.parked_after_s) and self.parked_after_s > 0):
            raise ValueError(f"zone {self.name!r}: parked_after_s must be more than 0 seconds")


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


def check_inside(shape: Line | Zone, size_px: tuple[int, int], *, kind: str | None = None) -> None:
    """Refuse what was drawn on a picture of another size.

    Points may lie on the picture's edge, and a little beyond it, as a line across the whole picture is drawn.

    Args:
        kind: what to call the shape; None: line or zone, as it is.

    Raises:
        ValueError: naming the line or zone and the point.
    """
    width, height = size_px
    kind = kind or ("line" if isinstance(shape, Line) else "zone")
    for x, y in shape.points_px:
        if not (-1 <= x <= width + 1 and -1 <= y <= height + 1):
            raise ValueError(
                f"{kind} {shape.name!r}: its point ({x:g}, {y:g}) is outside of the picture, which is "
                f"{width}x{height}; draw it on a picture of this camera"
            )


def cross(a: Point, b: Point, p: Point) -> float:
    """Twice the area of the triangle a, b, p: positive if p lies right of the way from a to b."""
    return (b[0] - a[0]) * (p[1] - a[1]) - (b[1] - a[1]) * (p[0] - a[0])


def _doubled_area_px2(points: Sequence[Point]) -> float:
    return sum(cross(points[0], a, b) for a, b in edges_of(points, closed=True))


def edges_of(points: Sequence[Point], *, closed: bool) -> list[tuple[Point, Point]]:
    """The straight pieces between the points; `closed` joins the last to the first."""
    edges = list(pairwise(points))
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
    if len(set(checked)) > 1 and all(0 <= value <= 1 for point in checked for value in point):
        raise ValueError(f"{kind} {name!r} lies within one pixel; write its points in pixels, not in shares")
    for a, b in edges_of(checked, closed=at_least > 2):
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


def _refuse_folds(name: str, edges: Sequence[tuple[Point, Point]]) -> None:
    """Where a line comes back on itself, what is right of one piece is left of the other."""
    for (a, b), (_, c) in pairwise(edges):
        back = (b[0] - a[0]) * (c[0] - b[0]) + (b[1] - a[1]) * (c[1] - b[1]) < 0
        if back and abs(cross(a, b, c)) < _FOLD * math.dist(a, b) * math.dist(b, c):
            raise ValueError(
                f"line {name!r} comes back on itself at ({b[0]:g}, {b[1]:g}), so it has no sides; move a point or "
                "leave it out"
            )


def _segments_meet(first: tuple[Point, Point], second: tuple[Point, Point]) -> bool:
    """Whether two closed segments share a point."""
    (a, b), (c, d) = first, second
    turns = [_sign(cross(a, b, c)), _sign(cross(a, b, d)), _sign(cross(c, d, a)), _sign(cross(c, d, b))]
    if turns[0] != turns[1] and turns[2] != turns[3]:
        return True
    touches = zip(turns, (c, d, a, b), (first, first, second, second), strict=True)
    return any(turn == 0 and _within_box(point, edge) for turn, point, edge in touches)


def _within_box(point: Point, edge: tuple[Point, Point]) -> bool:
    (ax, ay), (bx, by) = edge
    return min(ax, bx) <= point[0] <= max(ax, bx) and min(ay, by) <= point[1] <= max(ay, by)


def _sign(value: float) -> int:
    return (value > 0) - (value < 0)
