"""Zones: visits, how many are inside, and for how long."""

import numpy as np
import pytest

from edge_agent.domain.frames import Detections
from edge_agent.domain.occupancy import Visit, ZoneCounter
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
