"""What no camera should give and some do: boxes without sense, far too many, clocks that jump, odd lines."""

import sys
from typing import Any

import numpy as np
import pytest

from common.codes import Direction
from edge_agent.domain.crossing import Crossing, CrossingCounter, CrossingParams
from edge_agent.domain.frames import Detections
from edge_agent.domain.handover import HandoverParams
from edge_agent.domain.shapes import Line
from edge_agent.domain.tracking import Tracker, TrackerParams
from tests.traffic import CLASS_NAMES

SIZE_PX = (640, 360)
LINE = Line("line", ((0, 180), (640, 180)))
NAN, INF = float("nan"), float("inf")


def _found(boxes: list[tuple[float, ...]], scores: list[float] | None = None) -> Detections:
    n = len(boxes)
    return Detections(
        np.array(boxes, np.float32).reshape(-1, 4),
        np.array(scores if scores is not None else [0.7] * n, np.float32),
        np.zeros(n, np.int32),
        CLASS_NAMES,
    )


def _car(t_s: float, x: float = 300.0) -> tuple[float, ...]:
    """Drives down over the line at 3 s."""
    y = 60 + 40 * t_s
    return x - 30, y - 20, x + 30, y + 20


def _count(frames: list[tuple[float, Detections]], line: Line = LINE) -> list[Crossing]:
    tracker, counter = Tracker(), CrossingCounter([line], SIZE_PX)
    crossings: list[Crossing] = []
    for t_s, found in frames:
        crossings += counter.update(tracker.update(found, t_s), t_s)
    return crossings + counter.finish(frames[-1][0])


SENSELESS = [
    (NAN, 10, 50, 60),
    (10, 10, NAN, 60),
    (10, 10, INF, 60),
    (-INF, 10, 50, 60),
    (50, 60, 10, 10),
    (10, 60, 50, 10),
    (10, 10, 10, 60),
    (0, 0, 0, 0),
    (1e30, 1e30, 2e30, 2e30),
    (-3e6, 10, 50, 60),
]


@pytest.mark.parametrize("box", SENSELESS)
def test_boxes_without_sense_leave_the_count_as_it_is(box: tuple[float, ...]) -> None:
    frames = [(k / 10, _found([box, _car(k / 10), box], [0.9, 0.7, 0.2])) for k in range(60)]
    (crossing,) = _count(frames)
    assert crossing.direction is Direction.IN
    assert crossing.t_s == pytest.approx(3.0, abs=0.1)


@pytest.mark.parametrize("score", [NAN, INF, -1.0, 7.0])
def test_scores_that_are_none_do_no_harm(score: float) -> None:
    frames = [(k / 10, _found([_car(k / 10), (10, 10, 50, 60)], [0.7, score])) for k in range(60)]
    crossings = _count(frames)
    assert len(crossings) == 1
    assert 0 <= crossings[0].confidence <= 1


def test_a_vehicle_is_counted_among_a_thousand_boxes() -> None:
    random = np.random.default_rng(3)
    tracker, counter = Tracker(TrackerParams(max_tracks=300)), CrossingCounter([LINE], SIZE_PX)
    crossings: list[Crossing] = []
    for k in range(40):
        t_s = 1.5 + k / 10
        corners = random.uniform((0, 0), (600, 100), (1000, 2))
        clutter = np.concatenate([corners, corners + random.uniform(4, 12, (1000, 2))], axis=1)
        boxes = [*map(tuple, clutter.tolist()), _car(t_s)]
        tracks = tracker.update(_found(boxes, [*random.uniform(0.2, 0.6, 1000).tolist(), 0.8]), t_s)
        assert len(tracks) <= 300
        crossings += counter.update(tracks, t_s)
    assert [one.direction for one in crossings if one.t_s == pytest.approx(3.0, abs=0.2)] == [Direction.IN]


def test_a_thousand_vehicles_at_once_are_all_counted() -> None:
    size_px = (20000, 1000)
    line = Line("line", ((0, 500), (20000, 500)))
    tracker, counter = Tracker(), CrossingCounter([line], size_px)
    crossings: list[Crossing] = []
    lefts = np.arange(1000) * 20.0
    for k in range(20):
        top = np.full(1000, 440.0 + 6 * k)
        boxes = np.stack([lefts, top, lefts + 12, top + 12], axis=1).astype(np.float32)
        found = Detections(boxes, np.full(1000, 0.7, np.float32), np.zeros(1000, np.int32), CLASS_NAMES)
        crossings += counter.update(tracker.update(found, k / 10), k / 10)
    assert len(crossings) == 1000


def test_a_frame_that_comes_twice_counts_once() -> None:
    frames = [(k / 10, _found([_car(k / 10)])) for k in range(60)]
    twice = [frame for frame in frames for _ in range(2)]
    assert [one.t_s for one in _count(twice)] == pytest.approx([one.t_s for one in _count(frames)], abs=0.1)


def test_all_frames_at_one_time_count_nothing_and_break_nothing() -> None:
    assert _count([(5.0, _found([_car(k / 10)])) for k in range(60)]) == []


def test_frames_a_little_out_of_order_are_counted() -> None:
    order = [k + (1 if k % 5 == 1 else -1 if k % 5 == 2 else 0) for k in range(60)]
    assert len(_count([(k / 10, _found([_car(k / 10)])) for k in order])) == 1


def test_a_clock_set_back_begins_anew_and_invents_no_crossing() -> None:
    before = [(1000 + k / 10, _found([_car(k / 10)])) for k in range(28)]  # to just before the line
    after = [(k / 10, _found([_car(3.6 + k / 10)])) for k in range(20)]  # past it
    assert _count(before + after) == []


@pytest.mark.parametrize("gap_s", [3.0, 100.0, 1e7])
def test_a_long_pause_invents_no_crossing(gap_s: float) -> None:
    before = [(k / 10, _found([_car(k / 10)])) for k in range(20)]
    after = [(gap_s + k / 10, _found([_car(5.0 + k / 10, x=80.0)])) for k in range(20)]
    assert _count(before + after) == []


def test_an_empty_picture_after_a_pause_is_no_fault() -> None:
    assert _count([(t_s, _found([])) for t_s in (0.0, 0.1, 60.0, 60.1, 4000.0)]) == []


@pytest.mark.parametrize(
    ("points", "says"),
    [
        (((10, 10), (10, 10)), "the same"),
        (((10, 10), (200, 10), (200, 10)), "the same"),
        (((10, 10), (10.5, 10)), "the same"),
        (((10, 10),), "2 or more"),
        (((10, 10), (NAN, 20)), "finite"),
        (((0, 0), (200, 200), (200, 0), (0, 200)), "crosses itself"),
    ],
)
def test_lines_that_are_none_are_refused(points: tuple[tuple[float, float], ...], says: str) -> None:
    with pytest.raises(ValueError, match=says) as told:
        Line("main gate", points)
    assert "main gate" in str(told.value)


@pytest.mark.parametrize(
    "points", [((-5000, 180), (9000, 180)), ((-5000, 100), (9000, 300)), ((-10, 180), (300, 180), (2000, 180))]
)
def test_a_line_longer_than_the_picture_counts_as_any(points: tuple[tuple[float, float], ...]) -> None:
    assert len(_count([(k / 10, _found([_car(k / 10)])) for k in range(60)], Line("long", points))) == 1


def _held_bytes(thing: Any, seen: set[int]) -> int:
    """How much an object holds, with all that it refers to."""
    if id(thing) in seen:
        return 0
    seen.add(id(thing))
    if isinstance(thing, np.ndarray):
        return thing.nbytes + (_held_bytes(thing.base, seen) if thing.base is not None else 0)
    size = sys.getsizeof(thing)
    if isinstance(thing, dict):
        return size + sum(_held_bytes(one, seen) for pair in thing.items() for one in pair)
    if isinstance(thing, list | tuple | set) or type(thing).__name__ == "deque":
        return size + sum(_held_bytes(one, seen) for one in thing)
    names = [*getattr(type(thing), "__slots__", ()), *getattr(thing, "__dict__", {})]
    if type(thing).__module__.startswith("edge_agent"):
        size += sum(_held_bytes(getattr(thing, name), seen) for name in names if hasattr(thing, name))
    return size


def test_so_many_tracks_that_ended_are_remembered_and_no_more() -> None:
    """Each stands alone, and is waited for ten minutes; in less than one there are more than may be remembered."""
    params = HandoverParams(remembered=20)
    tracker = Tracker(TrackerParams(parked_s=0.5))
    counter = CrossingCounter([LINE], SIZE_PX, CrossingParams(handover=params))
    sizes = []
    for k in range(40):
        x, y = 10 + 60 * (k % 10), 10 + 40 * (k // 10)
        box = (x, y, x + 16, y + 12)
        for step in range(15):
            t_s = 3.0 * k + step / 10
            counter.update(tracker.update(_found([box]), t_s), t_s)
        counter.update(tracker.update(_found([]), 3.0 * k + 2.5), 3.0 * k + 2.5)
        sizes.append(_held_bytes(counter, set()))
    fifteen = sizes[18] - sizes[3]
    assert fifteen > 15 * 200, "each is remembered"
    assert max(sizes[25:]) - max(sizes[20:25]) < 0.3 * fifteen


def test_nothing_grows_over_many_thousands_of_frames() -> None:
    """Vehicles come and go, stand and are lost, for what is days at this step; as much is held late as early."""
    random = np.random.default_rng(8)
    lines = [LINE, Line("bent", ((100, 20), (300, 300), (500, 40)))]
    tracker, counter = Tracker(), CrossingCounter(lines, SIZE_PX)
    held: list[int] = []
    t_s, places = 0.0, random.uniform((0, 0), SIZE_PX, (12, 2))
    for k in range(4000):
        t_s += 0.2 if k % 40 else 6.0
        places += random.normal(0, 1.0, places.shape)
        anew = random.random(12) < 0.03
        places[anew] = random.uniform((0, 0), SIZE_PX, (int(anew.sum()), 2))
        shown = places[random.random(12) < 0.8]
        found = _found([(x, y, x + 40, y + 30) for x, y in shown.tolist()])
        counter.update(tracker.update(found, t_s), t_s)
        if k % 100 == 99:
            held.append(_held_bytes([tracker, counter], set()))
    assert max(held[20:]) <= 1.15 * max(held[8:20])
    assert max(held) < 2_000_000
