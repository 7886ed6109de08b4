"""Proposed lines: across the flow, where it is steady, and never where there is nothing to say."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.domain.geometry import path_cut
from edge_agent.domain.shapes import Line
from edge_agent.domain.suggest import Suggestion, flows, suggest
from edge_agent.domain.trails import Trail

SIZE_PX = (640, 360)
BOX_PX = 40.0


def trail(
    start: tuple[float, float],
    end: tuple[float, float],
    *,
    n: int = 25,
    speed_px_s: float = 120.0,
    jitter: float = 1.0,
    seed: int = 0,
) -> Trail:
    """A straight way, with boxes cut at the picture's edge."""
    random = np.random.default_rng(seed)
    shares = np.linspace(0, 1, n)[:, None]
    middles = np.asarray(start) + shares * (np.asarray(end) - np.asarray(start)) + random.normal(0, jitter, (n, 2))
    boxes = np.concatenate([middles - BOX_PX / 2, middles + BOX_PX / 2], axis=1)
    boxes = np.clip(boxes, 0, [*SIZE_PX, *SIZE_PX])
    length_px = float(np.hypot(end[0] - start[0], end[1] - start[1]))
    return Trail(np.linspace(0, length_px / speed_px_s, n), boxes)


def lane(x: float, *, up: bool = False, n: int = 10, **more: float) -> list[Trail]:
    """Vehicles one after the other down (or up) the picture."""
    ends = (x, 10.0), (x, 350.0)
    start, end = ends[::-1] if up else ends
    return [trail(start, end, seed=round(x) + i, **more) for i in range(n)]  # type: ignore[arg-type]


def crossings(line: Line, trails: list[Trail]) -> list[int]:
    """How often each trail crosses the line."""
    counts = []
    for one in trails:
        places = [(float(x), float(y)) for x, y in one.middles_px]
        counts.append(sum(path_cut(line, a, b) is not None for a, b in pairwise(places)))
    return counts


def only(suggestions: list[Suggestion]) -> Suggestion:
    (one,) = suggestions
    return one


def test_one_line_across_both_directions() -> None:
    trails = [*lane(200, n=12), *lane(260, n=9, up=True)]
    best = only(suggest(trails, SIZE_PX))
    (x1, y1), (x2, y2) = best.line.points_px
    assert y1 == y2
    assert x1 < 200 - BOX_PX / 2 < 260 + BOX_PX / 2 < x2
    assert crossings(best.line, trails) == [1] * 21
    # Seen along the line from left to right, downwards is in.
    assert (best.n_in, best.n_out, best.share) == (12, 9, 1.0)
    assert best.why[0] == "21 of 21 moving tracks cross it exactly once: 12 in, 9 out"


def test_flows_that_do_not_meet_get_a_line_each() -> None:
    down = lane(100, n=10)
    across = [trail((330, 200), (630, 200), seed=i) for i in range(10)]
    found = suggest([*down, *across], SIZE_PX)
    assert len(found) == 2
    assert sorted(sum(crossings(one.line, [*down, *across])) for one in found) == [10, 10]
    assert any("10 of them are counted by no line above" in reason for reason in found[1].why)


@pytest.mark.parametrize("degrees", [0, 30, 75, 120, 200, 310])
def test_a_line_lies_across_whatever_the_way(degrees: float) -> None:
    way = np.array([np.cos(np.radians(degrees)), np.sin(np.radians(degrees))])
    middle = np.array([320.0, 180.0])
    trails = []
    for i in range(8):
        aside = np.array([-way[1], way[0]]) * 8 * (i - 4)
        start, end = middle + aside - 150 * way, middle + aside + 150 * way
        trails.append(trail((start[0], start[1]), (end[0], end[1]), seed=i))
    best = only(suggest(trails, SIZE_PX))
    assert crossings(best.line, trails) == [1] * 8
    a, b = np.asarray(best.line.points_px)
    along = (b - a) / np.hypot(*(b - a))
    assert abs(float(along @ way)) < 0.72


def test_the_line_keeps_off_queues_and_off_the_edge() -> None:
    """Down to y = 180 they crawl, below that they drive: the line is where they drive, and boxes are whole."""
    trails = []
    for i in range(10):
        y = np.concatenate([np.linspace(10, 180, 30), np.linspace(190, 350, 15)])
        times = np.concatenate([np.linspace(0, 120, 30), 120 + np.linspace(0.1, 1.5, 15)])
        x = np.full(45, 300.0 + 3 * i)
        middles = np.stack([x, y], axis=1)
        boxes = np.clip(np.concatenate([middles - 20, middles + 20], axis=1), 0, [*SIZE_PX, *SIZE_PX])
        trails.append(Trail(times, boxes))
    (_, y1), (_, y2) = only(suggest(trails, SIZE_PX)).line.points_px
    assert 180 <= min(y1, y2) <= max(y1, y2) <= 335


def bent(corners: list[tuple[float, float]], speeds_px_s: list[float], *, apart: float) -> list[Trail]:
    """Eight trails over these points, each `apart` px right of the one before, with a speed for each leg."""
    places = np.asarray(corners, np.float64)
    ends_s = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(places, axis=0).T) / speeds_px_s)])
    at_s = np.arange(0.0, ends_s[-1], 0.2)
    trails = []
    for i in range(8):
        middles = np.stack([np.interp(at_s, ends_s, places[:, k]) for k in (0, 1)], axis=1)
        middles[:, 0] += apart * i
        boxes = np.clip(np.concatenate([middles - 20, middles + 20], axis=1), 0, [*SIZE_PX, *SIZE_PX])
        trails.append(Trail(at_s, boxes))
    return trails


def test_the_line_keeps_off_where_tracks_go_to_and_fro() -> None:
    """About the middle they go back before they go on. There they are fastest, but are crossed three times."""
    corners = [(300.0, 20.0), (300.0, 120.0), (300.0, 240.0), (300.0, 120.0), (300.0, 240.0), (300.0, 340.0)]
    trails = bent(corners, [18.0, 120.0, 120.0, 120.0, 18.0], apart=4.0)
    best = suggest(trails, SIZE_PX)[0]
    assert crossings(best.line, trails) == [1] * 8


def test_the_line_keeps_off_where_boxes_are_cut() -> None:
    """Most of the way is along the left edge, and fast; only its slow end lies free."""
    trails = bent([(8.0, 10.0), (8.0, 230.0), (140.0, 290.0)], [120.0, 22.0], apart=0.5)
    best = suggest(trails, SIZE_PX)[0]
    assert crossings(best.line, trails) == [1] * 8
    assert best.why[1] == "100% of the boxes are whole there"


def test_who_turns_around_is_told() -> None:
    u_turns = []
    for i in range(3):
        there, back = trail((300, 8), (300, 352), seed=i), trail((304, 352), (304, 8), seed=i)
        times = np.concatenate([there.times_s, there.times_s[-1] + 1 + back.times_s])
        u_turns.append(Trail(times, np.concatenate([there.boxes_px, back.boxes_px])))
    found = suggest([*lane(302, n=12), *u_turns], SIZE_PX)
    assert found[0].share == pytest.approx(12 / 15, abs=0.001)
    assert found[0].why[-1] == "but 3 cross it more than once"


@pytest.mark.parametrize(
    "trails",
    [[], lane(300, n=2), [trail((300, 200), (302, 203), seed=i) for i in range(30)]],
    ids=["nothing", "two", "parked"],
)
def test_too_little_gives_nothing(trails: list[Trail]) -> None:
    assert suggest(trails, SIZE_PX) == []


def test_fragments_belong_to_the_flow_that_they_are_a_part_of() -> None:
    whole, parts = lane(200, n=5), [trail((200, 100), (200, 220), n=10, seed=50 + i) for i in range(5)]
    other = lane(420, n=3, up=True)
    groups = flows([*whole, *parts, *other])
    assert [len(group) for group in groups] == [10, 3]


@settings(max_examples=25)
@given(
    st.lists(
        st.lists(st.tuples(st.floats(0, 640), st.floats(0, 360)), min_size=3, max_size=12), min_size=0, max_size=14
    )
)
def test_whatever_moved_lines_are_lines_in_the_picture(ways: list[list[tuple[float, float]]]) -> None:
    trails = []
    for way in ways:
        middles = np.asarray(way, np.float64)
        boxes = np.concatenate([middles - 8, middles + 8], axis=1)
        trails.append(Trail(np.arange(len(way), dtype=np.float64) * 0.2, boxes))
    for one in suggest(trails, SIZE_PX):
        assert 0 < one.share <= 1
        for x, y in one.line.points_px:
            assert -1 <= x <= 641
            assert -1 <= y <= 361
