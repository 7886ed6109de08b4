"""Simulated streets: pure functions of seed and time, whose truth is what is drawn."""

from collections import defaultdict
from itertools import pairwise

import numpy as np
import pytest

from edge_agent.domain.geometry import signed_distance_px
from edge_agent.drivers.base import SourceEnded, SourceStalled, SourceUnusable
from edge_agent.drivers.sim.source import SceneSource
from edge_agent.drivers.sim.traffic import BLOCK_S, CAR, TRUCK, Lane, Traffic

SCENES = ("road", "overhead", "night", "path")
LANE = Lane(0.0, 100.0, 0.0, 12.0, (10.0, 12.0), (CAR, TRUCK), stop_m=40.0)


@pytest.mark.parametrize("name", SCENES)
def test_a_moment_looks_always_alike(name: str) -> None:
    first, second = SceneSource(name, realtime=False), SceneSource(name, realtime=False)
    later = first.picture(4000.0)
    first.picture(10.0)
    assert np.array_equal(later, first.picture(4000.0))
    assert np.array_equal(later, second.picture(4000.0))


@pytest.mark.parametrize("name", SCENES)
def test_another_seed_is_another_street(name: str) -> None:
    one, two = (SceneSource(name, seed=seed, realtime=False).truth(0, 100) for seed in (1, 2))
    assert [crossing.t_s for crossing in one] != [crossing.t_s for crossing in two]


def test_hours_do_not_repeat() -> None:
    source = SceneSource("road", realtime=False)
    minutes: dict[float, list[float]] = defaultdict(list)
    for crossing in source.truth(0, 60 * BLOCK_S):
        minutes[crossing.t_s // BLOCK_S].append(round(crossing.t_s % BLOCK_S, 3))
    assert len(minutes) == 60
    assert len(set(map(tuple, minutes.values()))) == 60


@pytest.mark.parametrize("name", SCENES)
def test_truth_does_not_depend_on_how_it_is_asked(name: str) -> None:
    source = SceneSource(name, realtime=False)
    whole = source.truth(0, 600)
    pieces = [crossing for t in range(0, 600, 7) for crossing in source.truth(t, min(600, t + 7))]
    assert whole == pieces
    assert len(whole) > 100
    assert len({crossing.track for crossing in whole}) == len(whole)
    assert {str(crossing.direction) for crossing in whole} == {"in", "out"}


def test_truth_is_where_vehicles_are() -> None:
    traffic = Traffic([LANE], seed=3)
    for passage in traffic.passages(30.0, 0, 300):
        before, after = (
            next(v.y_m for v in traffic.vehicles(passage.t_s + shift) if v.id == passage.vehicle)
            for shift in (-0.05, 0.05)
        )
        assert before > 30.0 > after


def test_vehicles_never_touch_nor_reverse() -> None:
    traffic = Traffic([LANE], seed=3)
    seen: dict[int, float] = {}
    for t_s in np.arange(0, 400, 0.2):
        vehicles = sorted(traffic.vehicles(float(t_s)), key=lambda vehicle: vehicle.y_m)
        for ahead, behind in pairwise(vehicles):
            assert behind.y_m - ahead.y_m > (ahead.kind.length_m + behind.kind.length_m) / 2 + 0.5
        for vehicle in vehicles:
            assert vehicle.y_m <= seen.get(vehicle.id, 1e9) + 1e-6
            seen[vehicle.id] = vehicle.y_m


def test_a_queue_forms_now_and_then() -> None:
    traffic = Traffic([LANE], seed=3)
    standing = 0
    for t_s in range(0, 600, 2):
        now, then = ({v.id: v.y_m for v in traffic.vehicles(t)} for t in (t_s, t_s + 1.0))
        standing = max(standing, sum(abs(now[i] - then[i]) < 0.2 for i in now.keys() & then.keys()))
    assert standing >= 2


def test_the_line_is_where_the_truth_counts() -> None:
    source = SceneSource("road", realtime=False)
    line = source.lines[0]
    assert {str(c.direction) for c in source.truth(0, 60)} == {"in", "out"}
    towards_camera = np.asarray([[320.0, 359.0]])
    assert signed_distance_px(line, towards_camera)[0] > 0


def test_read_as_fast_as_possible() -> None:
    source = SceneSource("road", realtime=False, fps=10, frames=(11, 20), every=3)
    source.open()
    frames = [source.read(0) for _ in range(4)]
    with pytest.raises(SourceEnded):
        source.read(0)
    assert [(frame.index, round(frame.t_s, 6)) for frame in frames] == [(10, 1.0), (13, 1.3), (16, 1.6), (19, 1.9)]


class Clock:
    """A clock that sleeping moves on."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def monotonic_s(self) -> float:
        return self.now_s

    def wall_s(self) -> float:
        return 1_700_000_000.0 + self.now_s

    def sleep(self, s: float) -> None:
        self.now_s += s


@pytest.fixture
def live() -> tuple[SceneSource, Clock]:
    clock = Clock()
    source = SceneSource(
        "road", fps=10, monotonic_s=clock.monotonic_s, wall_s=clock.wall_s, sleep=clock.sleep
    )  # fmt: skip
    source.open()
    return source, clock


def test_live_pictures_come_at_their_rate(live: tuple[SceneSource, Clock]) -> None:
    source, clock = live
    times = [source.read(1.0).t_s for _ in range(5)]
    assert np.allclose(np.diff(times), 0.1)
    assert clock.now_s == pytest.approx(times[-1])


def test_a_slow_reader_gets_the_newest(live: tuple[SceneSource, Clock]) -> None:
    source, clock = live
    first = source.read(1.0)
    clock.now_s += 2.34
    second = source.read(1.0)
    assert second.index - first.index == 23
    assert clock.now_s - second.t_s < 0.1


def test_live_truth_is_on_the_clock_of_the_frames(live: tuple[SceneSource, Clock]) -> None:
    source, clock = live
    told = source.truth(clock.now_s, clock.now_s + 60)
    assert told
    assert all(clock.now_s <= crossing.t_s < clock.now_s + 60 for crossing in told)


def test_a_live_read_gives_up_in_time(live: tuple[SceneSource, Clock]) -> None:
    source, _ = live
    source.read(1.0)
    with pytest.raises(SourceStalled):
        source.read(0.01)


def test_unknown_scene() -> None:
    with pytest.raises(SourceUnusable, match="there are sim:road, sim:overhead, sim:path, sim:night"):
        SceneSource("moon")
