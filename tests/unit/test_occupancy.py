"""Zones: visits, how many are inside, and for how long."""

import numpy as np
import pytest

from edge_agent.domain.frames import Detections
from edge_agent.domain.occupancy import OccupancyParams, Visit, ZoneCounter
from edge_agent.domain.shapes import Zone
from edge_agent.domain.tracking import Tracker
from tests.traffic import detections

SIZE_PX = (640, 360)
YARD = Zone("yard", ((200, 100), (400, 100), (400, 260), (200, 260)))


def _frame(*middles: tuple[float, float] | None) -> Detections:
    seen = [one for one in middles if one is not None]
    boxes = [(x - 30.0, y - 20.0, x + 30.0, y + 20.0) for x, y in seen]
    return detections(boxes, [0.7] * len(seen), ["car"] * len(seen))


def _watch(
    frames: list[tuple[float, Detections]], zones: tuple[Zone, ...] = (YARD,)
) -> tuple[list[Visit], ZoneCounter]:
    tracker, counter = Tracker(), ZoneCounter(zones, SIZE_PX)
    visits = []
    for t_s, found in frames:
        visits += counter.update(tracker.update(found, t_s), t_s)
    return visits, counter


def _park(
    from_s: float, to_s: float, hidden: tuple[tuple[float, float], ...] = ()
) -> list[tuple[float, Detections]]:
    """A car comes from the left, stands in the yard from 4 s on, and leaves to the right at `from_s`."""
    times = np.arange(0, to_s, 0.1)
    xs = np.interp(times, [0, 4, from_s, from_s + 4], [20, 300, 300, 620])
    return [
        (float(t), _frame(None if any(a <= t < b for a, b in hidden) else (float(x), 180.0)))
        for t, x in zip(times, xs, strict=True)
    ]


@pytest.mark.parametrize("hidden", [(), ((10.0, 14.0),), ((8.0, 9.5), (12.0, 40.0))])
def test_a_parked_car_is_one_visit_through_occlusions(hidden: tuple[tuple[float, float], ...]) -> None:
    visits, counter = _watch(_park(50, 60, hidden))
    (visit,) = visits
    assert visit.from_s == pytest.approx(180 / 70, abs=0.25)
    assert visit.to_s == pytest.approx(50 + 100 / 80, abs=0.25)
    assert visit.cls == "car"
    (summary,) = counter.summary(60.0)
    assert (summary.entries, summary.exits, summary.n_max, summary.n_end) == (1, 1, 1, 0)
    assert summary.dwell_mean_s == pytest.approx(visit.to_s - visit.from_s)


def test_a_parked_car_found_again_under_another_id_is_the_same_visit() -> None:
    frames = _park(150, 160, hidden=((20.0, 95.0),))
    tracker, counter = Tracker(), ZoneCounter((YARD,), SIZE_PX)
    visits, ids = [], set()
    for t_s, found in frames:
        tracks = tracker.update(found, t_s)
        ids |= set(tracks.ids.tolist())
        visits += counter.update(tracks, t_s)
    assert len(ids) == 2
    assert len(visits) == 1


def test_who_jitters_on_the_border_is_one_visit() -> None:
    random = np.random.default_rng(3)
    way = [(300.0, 240 + min(20.0, 2.0 * number) + random.normal(0, 1.5)) for number in range(300)]
    visits, counter = _watch([(number / 10, _frame(at)) for number, at in enumerate(way)])
    assert len(visits) + counter.occupancy["yard"] <= 1


def test_who_only_touches_the_zone_does_not_visit() -> None:
    frames = [
        (number / 30, _frame((20.0 + 600 * number / 30, 102.0 - 4 * abs(number - 15)))) for number in range(30)
    ]
    visits, counter = _watch(frames)
    assert visits == []
    assert counter.summary(1.0)[0].entries == 0


def test_the_mean_is_over_what_was_measured() -> None:
    frames = _park(100, 30)
    frames = [(t, found) for t, found in frames if not 10 < t < 20]
    _, counter = _watch(frames)
    (summary,) = counter.summary(29.9)
    assert summary.span_s == pytest.approx(29.9)
    assert summary.measured_s == pytest.approx(19.9, abs=0.2)
    assert summary.n_mean == pytest.approx((19.9 - 180 / 70) / 19.9, abs=0.04)


def test_a_new_span_begins_with_each_summary() -> None:
    tracker, counter = Tracker(), ZoneCounter((YARD,), SIZE_PX)
    summaries = []
    for t_s, found in _park(20, 40):
        counter.update(tracker.update(found, t_s), t_s)
        if round(t_s * 10) % 100 == 99:
            summaries += counter.summary(t_s)
    assert [(one.entries, one.exits, one.n_end) for one in summaries] == [
        (1, 0, 1),
        (0, 0, 1),
        (0, 1, 0),
        (0, 0, 0),
    ]
    assert [one.n_max for one in summaries] == [1, 1, 1, 0]
    assert summaries[1].n_mean == pytest.approx(1.0)


def test_the_end_ends_open_visits_when_they_were_last_seen() -> None:
    visits, counter = _watch(_park(100, 20))
    assert visits == []
    (visit,) = counter.finish(25.0)
    assert visit.to_s == pytest.approx(19.9)
    assert counter.occupancy == {"yard": 0}


def test_each_zone_keeps_its_own_visits() -> None:
    zones = (YARD, Zone("gate", ((380, 100), (520, 100), (520, 260), (380, 260))))
    visits, _ = _watch(_park(10, 20), zones)
    assert sorted(one.zone for one in visits) == ["gate", "yard"]


def test_a_clock_that_jumps_back_ends_what_was_open() -> None:
    tracker, counter = Tracker(), ZoneCounter((YARD,), SIZE_PX)
    for t_s, found in _park(100, 10):
        counter.update(tracker.update(found, t_s + 1000), t_s + 1000)
    visits = counter.update(tracker.update(_frame(), 5.0), 5.0)
    assert [one.to_s for one in visits] == [pytest.approx(1009.9)]


def test_no_zones_have_no_summary() -> None:
    visits, counter = _watch(_park(10, 20), ())
    assert visits == []
    assert counter.summary(20.0) == []


def _drive(fps: float, stands_s: float = 0.0, speed_px_s: float = 120.0) -> list[tuple[float, Detections]]:
    """A car goes through the yard from left to right, and stands in its middle for a while; it brakes in 2 s."""
    brakes_s = 2.0 if stands_s else 0.0
    reach_s = 280 / speed_px_s - brakes_s / 2
    times = np.arange(0, 2 * (reach_s + brakes_s) + stands_s, 1 / fps)
    moments = np.cumsum([0, reach_s, brakes_s, stands_s, brakes_s, reach_s])
    steps = np.arange(0, moments[-1], 0.001)
    speeds = np.interp(steps, moments, [speed_px_s, speed_px_s, 0, 0, speed_px_s, speed_px_s])
    ways = np.cumsum(speeds if stands_s else np.full(len(steps), speed_px_s)) * 0.001
    xs = 20 + np.interp(times, steps, ways)
    return [(float(t), _frame((float(x), 180.0))) for t, x in zip(times, xs, strict=True)]


@pytest.mark.parametrize("fps", [30, 15, 10, 7, 5, 4, 3])
@pytest.mark.parametrize("speed_px_s", [60.0, 120.0])
def test_a_stay_is_as_long_at_any_frame_rate(fps: int, speed_px_s: float) -> None:
    (visit,), _ = _watch(_drive(fps, speed_px_s=speed_px_s))
    assert visit.to_s - visit.from_s == pytest.approx(200 / speed_px_s, abs=0.05)
    assert visit.from_s == pytest.approx(180 / speed_px_s, abs=0.05)
    assert visit.stood_s == 0.0


@pytest.mark.parametrize("fps", [30, 10, 5, 3])
@pytest.mark.parametrize("stands_s", [5.0, 40.0])
def test_a_visit_tells_how_long_it_stood(fps: int, stands_s: float) -> None:
    (visit,), counter = _watch(_drive(fps, stands_s))
    # Who brakes gets to his place, as near as that is looked at, half a second before he stands.
    assert visit.stood_s == pytest.approx(stands_s + 1.0, abs=0.5)
    assert visit.to_s - visit.from_s == pytest.approx(stands_s + 2.0 + 200 / 120, abs=0.2)
    assert counter.summary(99.0)[0].stood_mean_s == pytest.approx(visit.stood_s)


def test_stops_add_up_and_those_too_short_to_tell_do_not() -> None:
    times = np.arange(0, 40, 0.1)
    xs = np.interp(times, [0, 3, 9, 10, 14, 15, 16, 18], [60, 220, 220, 290, 290, 330, 330, 560])
    (visit,), _ = _watch([(float(t), _frame((float(x), 180.0))) for t, x in zip(times, xs, strict=True)])
    assert visit.stood_s == pytest.approx(6 + 4, abs=0.8)


def test_who_stands_is_told_from_who_moves() -> None:
    zone = Zone("yard", YARD.points_px, capacity=1, parked_after_s=4.0)
    tracker, counter = Tracker(), ZoneCounter((zone,), SIZE_PX)
    told = {}
    for number in range(111):
        t_s = number / 10
        passing = 20 + 60 * (t_s - 6)
        found = _frame((300.0, 140.0), (passing, 230.0) if 20 < passing < 620 else None)
        counter.update(tracker.update(found, t_s), t_s)
        told[number] = counter.now(t_s)[0]
    assert [(told[n].n, told[n].n_standing) for n in (30, 50, 110)] == [(1, 0), (1, 1), (2, 1)]
    assert told[110].capacity == 1
    (summary,) = counter.summary(11.0)
    assert (summary.n_max, summary.n_end, summary.n_standing, summary.capacity) == (2, 2, 1, 1), "never clipped"


def test_a_box_that_jitters_stands() -> None:
    random = np.random.default_rng(6)
    tracker, counter = Tracker(), ZoneCounter((YARD,), SIZE_PX)
    for number in range(1200):
        dx, dy = random.normal(0, 2.5, 2)
        found = _frame((300 + dx, 180 + dy)) if random.random() > 0.2 else _frame()
        counter.update(tracker.update(found, number / 5), number / 5)
        if number > 75:
            assert counter.now(number / 5)[0].n_standing == 1, number


def _parked_and_seen(
    spans: list[tuple[float, float]], fps: float = 1.0, params: OccupancyParams | None = None
) -> tuple[list[Visit], ZoneCounter]:
    """A parked car that is detected in these spans of time only."""
    tracker, counter = Tracker(), ZoneCounter((YARD,), SIZE_PX, params)
    visits = []
    for number in range(int((spans[-1][1] + 5) * fps)):
        t_s = number / fps
        found = _frame((300.0, 180.0) if any(a <= t_s < b for a, b in spans) else None)
        visits += counter.update(tracker.update(found, t_s), t_s)
    return visits + counter.finish(spans[-1][1]), counter


def test_a_car_that_was_parked_for_long_is_waited_for_for_long() -> None:
    visits, counter = _parked_and_seen([(0, 600), (1100, 1110), (1650, 1660)])
    assert len(visits) == 1
    assert visits[0].to_s - visits[0].from_s == pytest.approx(1660, abs=1)
    assert visits[0].stood_s == pytest.approx(1660, abs=1)
    assert counter.summary(1660)[0].entries == 1


def test_one_that_had_just_come_is_not() -> None:
    visits, _ = _parked_and_seen([(0, 60), (400, 430)])
    assert [round(one.to_s) for one in visits] == [59, 429]


def test_nobody_is_waited_for_for_ever() -> None:
    spans = [(0.0, 600.0), (1050.0, 1060.0)]
    visits, _ = _parked_and_seen(spans, params=OccupancyParams(waited_s=400.0))
    assert [round(one.to_s) for one in visits] == [599, 1059]
    assert len(_parked_and_seen(spans)[0]) == 1


@pytest.mark.parametrize("fps", [10.0, 4.0])
def test_a_parked_car_that_flickers_behind_passing_buses_is_one_visit(fps: float) -> None:
    random = np.random.default_rng(7)
    tracker, counter = Tracker(), ZoneCounter((YARD,), SIZE_PX)
    visits = []
    for number in range(int(170 * fps)):
        t_s = number / fps
        x = 12 * (t_s % 60) - 60
        bus = [(x - 90, 150.0, x + 90, 260.0)] if 0 < x < 640 else []
        hidden = bool(bus) and abs(x - 300) < 100
        car = [(270.0, 160.0, 330.0, 200.0)] if not hidden and random.random() < 0.6 else []
        found = detections(
            [*(tuple(np.clip(one, 0, 640)) for one in bus), *car], [0.8] * (len(bus) + len(car)),
            ["bus"] * len(bus) + ["car"] * len(car),
        )  # fmt: skip
        visits += counter.update(tracker.update(found, t_s), t_s)
    cars = [one for one in visits + counter.finish(170.0) if one.cls == "car"]
    assert len(cars) == 1
    assert cars[0].stood_s == pytest.approx(170, abs=5)


def test_a_parked_car_found_under_another_id_while_its_track_still_waits_is_the_same_visit() -> None:
    tracker, counter = Tracker(), ZoneCounter((YARD,), SIZE_PX)
    for number in range(300):
        t_s = number / 5
        shown = (300.0, 180.0) if t_s < 20 else (322.0, 196.0)
        found = _frame(shown if not 20 <= t_s < 30 else None)
        counter.update(tracker.update(found, t_s), t_s)
        assert counter.occupancy["yard"] <= 1
    assert counter.summary(60.0)[0].entries == 1


def test_what_is_remembered_of_a_full_car_park_is_bounded() -> None:
    """Cars come and go unseen, for hours: only so many that ended are waited for."""
    tracker, counter = Tracker(), ZoneCounter((YARD,), SIZE_PX)
    entries = exits = 0
    for number in range(2400):
        t_s = number * 0.5
        middle = (220 + (number // 8 * 37) % 160, 115 + (number // 8 * 53) % 130)
        counter.update(tracker.update(_frame(middle if number % 8 < 6 else None), t_s), t_s)
        if number % 400 == 399:
            (summary,) = counter.summary(t_s)
            entries, exits = entries + summary.entries, exits + summary.exits
            assert counter.occupancy["yard"] <= 256 + 64
            assert entries - exits == counter.occupancy["yard"]
