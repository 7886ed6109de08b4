"""Vehicles that drive, wait, turn back and come again, made up with the number of their crossings; counted alike.

The limits within which the count must be exact are those of the strategies below: vehicles keep to lanes that lie
apart, turn back clear of the line, and move by less than their own size from frame to frame.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from common.codes import Direction
from edge_agent.domain.crossing import Crossing, CrossingCounter
from edge_agent.domain.frames import Detections
from edge_agent.domain.shapes import Line
from edge_agent.domain.tracking import Tracker, Tracks
from tests.traffic import CLASS_NAMES, detections

SIZE_PX = (800, 600)
LINE_Y = 300.0
LINE = Line("line", ((0, LINE_Y), (800, LINE_Y)))
CLEAR = 1.2
"""Box sizes from the line at which vehicles turn back at the nearest."""


@dataclass(frozen=True)
class Leg:
    """Drive to a place `sizes` from the line on the other side, or on this one, and stand there."""

    over: bool
    sizes: float
    stands_s: float


@dataclass(frozen=True)
class Vehicle:
    size_px: float
    starts_below: bool
    speed: float
    """Share of the fastest that the frame rate bears."""
    legs: tuple[Leg, ...]


@dataclass(frozen=True)
class Way:
    """Where a vehicle is, as corners of a polyline over time."""

    times_s: tuple[float, ...]
    ys: tuple[float, ...]

    def y(self, t_s: float) -> float:
        return float(np.interp(t_s, self.times_s, self.ys))

    def speed_px_s(self, t_s: float) -> float:
        return (self.y(t_s) - self.y(t_s - 0.01)) / 0.01

    def crossings(self) -> tuple[int, int]:
        """In, out."""
        below = [y > LINE_Y for y in self.ys]
        steps = list(pairwise(below))
        return steps.count((False, True)), steps.count((True, False))


legs = st.builds(Leg, st.booleans(), st.floats(CLEAR, 3.0), st.sampled_from([0.0, 0.0, 1.0, 4.0]))
vehicles = st.builds(
    Vehicle,
    st.floats(24, 60),
    st.booleans(),
    st.floats(0.3, 1.0),
    st.lists(legs, min_size=1, max_size=4).map(tuple),
)
rates = st.sampled_from([3.0, 4.0, 5.0, 7.5, 10.0, 15.0, 25.0, 30.0])


def _way(vehicle: Vehicle, fps: float, most_step: float, most_speed: float) -> Way:
    """`most_step`: sizes from frame to frame; `most_speed`: sizes per second."""
    speed_px_s = vehicle.speed * min(most_step * fps, most_speed) * vehicle.size_px
    side = 1.0 if vehicle.starts_below else -1.0
    times, ys = [0.0, 1.5], [LINE_Y + side * 2.0 * vehicle.size_px] * 2
    for leg in vehicle.legs:
        side = -side if leg.over else side
        y = LINE_Y + side * leg.sizes * vehicle.size_px
        times.append(times[-1] + max(abs(y - ys[-1]) / speed_px_s, 0.01))
        ys.append(y)
        times.append(times[-1] + leg.stands_s + 0.01)
        ys.append(y)
    return Way((*times, times[-1] + 1.5), (*ys, ys[-1]))


def _times(ways: list[Way], fps: float, random: np.random.Generator) -> Iterator[float]:
    end_s = max(way.times_s[-1] for way in ways)
    for number in range(int(end_s * fps) + 2):
        yield (number + float(random.uniform(-0.2, 0.2))) / fps


def _truth(ways: list[Way]) -> tuple[int, int]:
    counts = [way.crossings() for way in ways]
    return sum(one[0] for one in counts), sum(one[1] for one in counts)


def _counts(crossings: list[Crossing]) -> tuple[int, int]:
    n_in = sum(one.direction is Direction.IN for one in crossings)
    return n_in, len(crossings) - n_in


def _lane_x(number: int) -> float:
    return 100.0 + 150.0 * number


def _box(x: float, y: float, size_px: float, jitter: float, random: np.random.Generator) -> tuple[float, ...]:
    half_x, half_y = size_px * 0.6, size_px / 2.4
    box = np.array([x - half_x, y - half_y, x + half_x, y + half_y])
    return tuple(box + random.normal(0, jitter * size_px, 4))


@dataclass
class Film:
    """What a detector shows of vehicles."""

    fleet: list[Vehicle]
    ways: list[Way]
    jitter: float
    missed: float
    clutter: float
    random: np.random.Generator
    hidden_s: dict[int, tuple[float, float]]

    def frame(self, t_s: float) -> Detections:
        boxes, scores = [], []
        for number, (vehicle, way) in enumerate(zip(self.fleet, self.ways, strict=True)):
            from_s, to_s = self.hidden_s.get(number, (0.0, 0.0))
            if from_s <= t_s < to_s or self.random.random() < self.missed:
                continue
            boxes.append(_box(_lane_x(number), way.y(t_s), vehicle.size_px, self.jitter, self.random))
            scores.append(float(self.random.uniform(0.5, 0.9)))
        if self.random.random() < self.clutter:  # between the lanes, and in one frame only
            x = _lane_x(int(self.random.integers(0, 4))) + 75
            boxes.append(_box(x, float(self.random.uniform(50, 550)), 24, 0, self.random))
            scores.append(0.4)
        return detections(boxes, scores, ["car"] * len(boxes))

    def count(self, fps: float) -> tuple[int, int]:
        tracker, counter = Tracker(), CrossingCounter([LINE], SIZE_PX)
        crossings: list[Crossing] = []
        for t_s in _times(self.ways, fps, self.random):
            crossings += counter.update(tracker.update(self.frame(t_s), t_s), t_s)
        return _counts(crossings + counter.finish(t_s))


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    st.lists(vehicles, min_size=1, max_size=4), rates, st.floats(0, 0.03), st.floats(0, 0.1), st.integers(0, 999)
)
def test_any_history_of_several_vehicles_is_counted(
    fleet: list[Vehicle], fps: float, jitter: float, clutter: float, seed: int
) -> None:
    random = np.random.default_rng(seed)
    ways = [_way(one, fps, most_step=0.5, most_speed=3.0) for one in fleet]
    missed = 0.1 if fps >= 7 else 0.0
    film = Film(fleet, ways, jitter, missed, clutter, random, {})
    assert film.count(fps) == _truth(ways)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    st.lists(vehicles, min_size=1, max_size=4), rates, st.floats(0.2, 1.0), st.floats(0, 1), st.integers(0, 999)
)
def test_tracks_that_break_while_driving_straight_on_are_mended(
    fleet: list[Vehicle], fps: float, hidden_s: float, when: float, seed: int
) -> None:
    """Each vehicle drives over the line once and is unseen for a while somewhere on the way, also on the line."""
    random = np.random.default_rng(seed)
    straight = [Vehicle(one.size_px, one.starts_below, one.speed, (Leg(True, 3.0, 0.0),)) for one in fleet]
    ways = [_way(one, fps, most_step=0.5, most_speed=1.5) for one in straight]
    known_s, hidden = 1.5 + 4 / fps, {}
    for number, way in enumerate(ways):
        last_s = max(way.times_s[-2] - hidden_s, known_s)
        hidden[number] = (known_s + when * (last_s - known_s), known_s + when * (last_s - known_s) + hidden_s)
    film = Film(straight, ways, 0.02, 0.0, 0.0, random, hidden)
    assert film.count(fps) == _truth(ways)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    st.sampled_from([3.0, 5.0, 8.0]),
    st.floats(-0.3, 0.3),
    st.lists(st.floats(0.3, 70), max_size=2),
    st.booleans(),
    st.integers(0, 999),
)
def test_who_waits_on_the_line_and_is_lost_and_found_is_one(
    fps: float, offset: float, pauses_s: list[float], goes_on: bool, seed: int
) -> None:
    random = np.random.default_rng(seed)
    size_px, y = 44.0, LINE_Y + (offset if goes_on else -abs(offset)) * 36  # what went over it has gone over it
    end_y = LINE_Y + (2.5 if goes_on else -2.5) * size_px
    total_s = 6 + sum(pauses_s) + 2 * len(pauses_s)
    way = Way((0, 1, 4, total_s, total_s + 4, total_s + 5), (190, 190, y, y, end_y, end_y))
    tracker, counter = Tracker(), CrossingCounter([LINE], SIZE_PX)
    spans, at_s = [], 6.0
    for pause_s in pauses_s:
        spans.append((at_s, at_s + pause_s))
        at_s += pause_s + 2
    crossings: list[Crossing] = []
    for t_s in _times([way], fps, random):
        seen = not any(a <= t_s < b for a, b in spans)
        boxes = [_box(400, way.y(t_s), size_px, 0.02, random)] if seen else []
        crossings += counter.update(
            tracker.update(detections(boxes, [0.7] * len(boxes), ["car"] * len(boxes)), t_s), t_s
        )
    assert _counts(crossings + counter.finish(t_s)) == ((1, 0) if goes_on else (0, 0))


class _Named:
    """Tracks as a tracker would give them, had it given these ids. Ids may be switched at any time."""

    def __init__(self, fleet: list[Vehicle], ways: list[Way]) -> None:
        self._fleet, self._ways = fleet, ways
        self._next_id = 1
        self._ids = [self._new_id() for _ in fleet]
        self._born_s = [0.0] * len(fleet)

    def _new_id(self) -> int:
        self._next_id += 1
        return self._next_id

    def switch(self, number: int, t_s: float) -> None:
        self._ids[number], self._born_s[number] = self._new_id(), t_s

    def at(self, t_s: float, random: np.random.Generator) -> Tracks:
        order = np.argsort(self._ids)
        rows = [
            (_box(_lane_x(i), self._ways[i].y(t_s), self._fleet[i].size_px, 0.01, random), self._ways[i])
            for i in order
        ]
        boxes = np.array([box for box, _ in rows])
        velocities = np.zeros_like(boxes)
        velocities[:, 1::2] = np.array([way.speed_px_s(t_s) for _, way in rows])[:, None]
        stands = np.array([abs(way.y(t_s) - way.y(t_s - 1.0)) < 2.0 for _, way in rows])
        n = len(rows)
        return Tracks(
            ids=np.array(self._ids, np.int64)[order],
            boxes_px=boxes,
            velocities_px_s=velocities,
            class_ids=np.zeros(n, np.int64),
            confidences=np.full(n, 0.7),
            seen=np.ones(n, np.bool_),
            confirmed=np.ones(n, np.bool_),
            standing=stands,
            born_s=np.array(self._born_s)[order],
            seen_s=np.full(n, t_s),
            class_names=CLASS_NAMES,
        )


# First seen so near that it may have come over the line; it drives off later, under an id that was born just then.
@example([Vehicle(24.0, False, 1.0, (Leg(False, 1.5, 0.0), Leg(False, 2.0, 0.0)))], 10.0, 0.5, 0)
@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.lists(vehicles, min_size=1, max_size=4), rates, st.floats(0, 0.9), st.integers(0, 999))
def test_ids_may_be_switched_at_any_time(fleet: list[Vehicle], fps: float, switches: float, seed: int) -> None:
    """For the counter alone: each track ends, now and then, and goes on under another id.

    Who turns back stops for a second: without, a new id in that very moment looks like one that came over the line
    unseen (see docs/counting.md).
    """
    fleet = [
        replace(one, legs=tuple(replace(leg, stands_s=max(1.0, leg.stands_s)) for leg in one.legs))
        for one in fleet
    ]
    random = np.random.default_rng(seed)
    ways = [_way(one, fps, most_step=0.5, most_speed=3.0) for one in fleet]
    counter, named = CrossingCounter([LINE], SIZE_PX), _Named(fleet, ways)
    crossings: list[Crossing] = []
    for t_s in _times(ways, fps, random):
        for number in range(len(fleet)):
            if random.random() < switches:
                named.switch(number, t_s)
        crossings += counter.update(named.at(t_s, random), t_s)
    assert _counts(crossings + counter.finish(t_s)) == _truth(ways)


@pytest.mark.parametrize("ahead_px", [-3.0, 3.0])
@pytest.mark.parametrize("frame", [1, 3])
@pytest.mark.parametrize("fps", [5.0, 25.0])
def test_who_is_first_seen_at_the_line_goes_over_it_if_it_was_before_it(
    ahead_px: float, frame: int, fps: float
) -> None:
    """Too near for its side to be known, and under another id soon after."""
    way = Way((-2.0, 4.0), (LINE_Y + ahead_px - 200.0, LINE_Y + ahead_px + 400.0))
    counter, named = CrossingCounter([LINE], SIZE_PX), _Named([Vehicle(60.0, False, 1.0, ())], [way])
    random, crossings = np.random.default_rng(1), []
    for number in range(int(2 * fps)):
        t_s = number / fps
        if number == frame:
            named.switch(0, t_s)
        crossings += counter.update(named.at(t_s, random), t_s)
    assert _counts(crossings + counter.finish(t_s)) == ((1, 0) if ahead_px < 0 else (0, 0))


@settings(max_examples=20, deadline=None, derandomize=True)
@given(
    st.sampled_from([3.0, 5.0, 10.0]),
    st.floats(0.04, 0.2),
    st.booleans(),
    st.sampled_from([-1.0, 0.0, 1.0]),
    st.floats(12, 30),
    st.integers(0, 999),
)
def test_who_stands_close_to_the_line_from_the_start_is_counted_as_he_goes(
    fps: float, offset: float, below: bool, goes: float, stands_s: float, seed: int
) -> None:
    """He is on the side that the mean of his boxes is on: over the line he counts once, away from it not."""
    random = np.random.default_rng(seed)
    size_px, side = 48.0, 1.0 if below else -1.0
    y = LINE_Y + side * offset * size_px / 1.2  # shares of the height
    way = Way((0, stands_s, stands_s + 3, stands_s + 4), (y, y, y + goes * 150, y + goes * 150))
    film = Film([Vehicle(size_px, below, 1.0, ())], [way], 0.02, 0.05, 0.0, random, {})
    assert film.count(fps) == (int(goes > 0 and not below), int(goes < 0 and below))
