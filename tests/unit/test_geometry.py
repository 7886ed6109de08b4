"""Lines, zones and sides."""

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from edge_agent.domain.geometry import Line, Point, Zone, inside_distance_px, path_cut, signed_distance_px
from edge_agent.domain.line_set import LineSet
from edge_agent.domain.shapes import Anchor

place = st.tuples(st.floats(-1000, 1000), st.floats(-1000, 1000))
SQUARE = Zone("square", ((0, 0), (100, 0), (100, 100), (0, 100)))


def _distance(line: Line, point: Point) -> float:
    return float(signed_distance_px(line, np.array([point]))[0])


def _depth(zone: Zone, point: Point) -> float:
    return float(inside_distance_px(zone, np.array([point]))[0])


@pytest.mark.parametrize(
    ("points", "right", "left"),
    [
        (((0, 0), (10, 0)), (5, 3), (5, -3)),
        (((10, 0), (0, 0)), (5, -3), (5, 3)),
        (((0, 0), (0, 10)), (-3, 5), (3, 5)),
        (((0, 0), (10, 10)), (0, 10), (10, 0)),
    ],
)
def test_the_right_side_is_positive(points: tuple[Point, ...], right: Point, left: Point) -> None:
    line = Line("a", points)
    assert _distance(line, right) > 0 > _distance(line, left)


def test_the_line_goes_on_beyond_its_ends() -> None:
    assert _distance(Line("a", ((0, 0), (10, 0))), (1000, 7)) == pytest.approx(7)


@given(place, place, place)
def test_turning_a_line_round_swaps_its_sides(a: Point, b: Point, p: Point) -> None:
    assume(math.dist(a, b) > 2)
    assert _distance(Line("a", (a, b)), p) == pytest.approx(-_distance(Line("a", (b, a)), p), abs=1e-6)


def test_a_bend_has_one_side_on_its_outside() -> None:
    roof = Line("roof", ((0, 100), (100, 0), (200, 100)))
    assert _distance(roof, (100, -20)) == pytest.approx(-20)
    assert _distance(roof, (100, 50)) > 0
    assert _distance(roof, (-50, 200)) > 0 > _distance(roof, (-50, 100))


def test_a_set_of_lines_gives_what_each_line_gives() -> None:
    lines = [
        Line("a", ((0, 180), (640, 180))),
        Line("b", ((0, 100), (300, 200), (640, 90))),
        Line("c", ((320, 0), (320, 360)), Anchor.CENTRE),
    ]
    points = np.random.default_rng(1).uniform(0, 600, (3, 50, 2))
    distances = LineSet(lines, (640, 360)).distances_px(points)
    for line, some, expected in zip(lines, points, distances, strict=True):
        assert signed_distance_px(line, some) == pytest.approx(expected)


@pytest.mark.parametrize(
    "line", [((0, 0), (100, 0)), ((0, 0), (0, 100)), ((0, 0), (100, 100)), ((100, 0), (0, 100))]
)
def test_a_path_over_the_middle_cuts_any_line(line: tuple[Point, Point]) -> None:
    (ax, ay), (bx, by) = line
    middle, across = ((ax + bx) / 2, (ay + by) / 2), (by - ay, ax - bx)
    start = (middle[0] - across[0], middle[1] - across[1])
    end = (middle[0] + 3 * across[0], middle[1] + 3 * across[1])
    assert path_cut(Line("a", line), start, end) == pytest.approx(0.25)


def test_a_path_beside_the_end_does_not_cut_save_within_the_slack() -> None:
    line = Line("a", ((0, 0), (100, 0)))
    assert path_cut(line, (103, -5), (103, 5)) is None
    assert path_cut(line, (103, -5), (103, 5), slack_px=4) == pytest.approx(0.5)


def test_a_point_on_the_line_is_crossed_once() -> None:
    line = Line("a", ((0, 0), (100, 0)))
    cuts = [path_cut(line, (50, y), (50, y + 1)) for y in (-2.0, -1.0, 0.0, 1.0)]
    assert [cut is not None for cut in cuts] == [False, True, False, False]


@given(st.floats(-400, 400), st.floats(-200, 200))
def test_a_path_through_a_bend_is_cut(dx: float, dy: float) -> None:
    """Half-open pieces must not leave a hole where they meet."""
    line = Line("a", ((0, 40), (100, 0), (200, 40)))
    start, end = (100 - dx, -abs(dy) - 50), (100 + dx, abs(dy) + 50)
    assert path_cut(line, start, end) is not None


@given(place, place, place, place)
def test_a_cut_means_a_change_of_side(a: Point, b: Point, p: Point, q: Point) -> None:
    assume(math.dist(a, b) > 2)
    line = Line("a", (a, b))
    if path_cut(line, p, q) is not None:
        assert (_distance(line, p) < 0) != (_distance(line, q) < 0)


def test_depth_in_a_zone() -> None:
    assert _depth(SQUARE, (50, 20)) == pytest.approx(20)
    assert _depth(SQUARE, (50, -20)) == pytest.approx(-20)
    assert _depth(SQUARE, (130, 140)) == pytest.approx(-50)


@given(place)
def test_depth_does_not_depend_on_the_order_of_corners(p: Point) -> None:
    corners = ((0.0, 0.0), (300.0, 50.0), (250.0, 300.0), (120.0, 120.0), (-50.0, 200.0))
    assert _depth(Zone("a", corners), p) == pytest.approx(_depth(Zone("b", corners[::-1]), p))


def test_a_hollow_of_a_zone_is_outside() -> None:
    u = Zone("u", ((0, 0), (30, 0), (30, 70), (70, 70), (70, 0), (100, 0), (100, 100), (0, 100)))
    assert _depth(u, (50, 30)) < 0 < _depth(u, (50, 85))


@pytest.mark.parametrize(
    ("points", "wrong"),
    [
        (((0, 0),), "needs 2"),
        (((5, 5), (5, 5)), "the same"),
        (((0, 0), (math.nan, 5)), "finite"),
        (((0, 0), (math.inf, 5)), "finite"),
        (((0, 0), (100, 100), (100, 0), (0, 100)), "crosses itself"),
        (((0, 0), (100, 50), (40, 20)), r"comes back on itself at \(100, 50\)"),
        (((0, 0), (40, 20), (0, 0)), "comes back on itself"),
    ],
)
def test_a_wrong_line_is_refused_by_name(points: tuple[Point, ...], wrong: str) -> None:
    with pytest.raises(ValueError, match=f"'north'.*{wrong}"):
        Line("north", points)


@pytest.mark.parametrize(
    ("points", "wrong"),
    [
        (((0, 0), (5, 5)), "needs 3"),
        (((0, 0), (50, 50), (100, 100)), "no area|crosses itself"),
        (((0, 0), (100, 100), (100, 0), (0, 100)), "crosses itself"),
    ],
)
def test_a_wrong_zone_is_refused_by_name(points: tuple[Point, ...], wrong: str) -> None:
    with pytest.raises(ValueError, match=f"'yard'.*({wrong})"):
        Zone("yard", points)
