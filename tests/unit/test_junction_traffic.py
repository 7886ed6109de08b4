"""Simulated traffic before lights: what queues really do, and that nothing is lost, hit or imagined."""

from collections import Counter
from collections.abc import Mapping
from itertools import pairwise

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.codes import Aspect
from common.junction import Detector, DetectorKind, Junction, Lane, Movement, Stage
from edge_agent.drivers.sim.junction_traffic import APPROACH_M, RUSH, Demand, JunctionTraffic, Truth
from tests.junctions import APPROACHES, EW, NS, crossroads

G, Y, R = Aspect.GREEN, Aspect.YELLOW, Aspect.RED
ALL_RED: Mapping[str, Aspect] = {}


def two_stages(
    t_s: float, *, green_s: float = 25.0, yellow_s: float = 3.0, all_red_s: float = 2.0
) -> dict[str, Aspect]:
    """Lights by the clock: north and south, then east and west."""
    half_s = green_s + yellow_s + all_red_s
    first, place_s = divmod(t_s % (2 * half_s), half_s)
    aspect = G if place_s < green_s else Y if place_s < green_s + yellow_s else R
    return dict.fromkeys(EW if first else NS, aspect)


def with_saturation(vph: float) -> Junction:
    base = crossroads()
    lanes = tuple(msgspec.structs.replace(lane, saturation_flow_vph=vph) for lane in base.lanes)
    return msgspec.structs.replace(base, lanes=lanes)


def queued(junction: Junction, step_s: float, seed: int = 1) -> JunctionTraffic:
    """A junction whose north lane stands full."""
    traffic = JunctionTraffic(junction, {"north": Demand(3600.0)}, seed=seed)
    while traffic.now_s < 200.0:
        traffic.step(step_s, ALL_RED)
    return traffic


@pytest.mark.parametrize("step_s", [0.1, 0.5, 1.0])
@pytest.mark.parametrize("vph", [1200.0, 1800.0, 2200.0])
def test_a_queue_leaves_at_the_lanes_saturation_flow(vph: float, step_s: float) -> None:
    headways_s: list[float] = []
    lost_s: list[float] = []
    for seed in range(6):
        traffic = queued(with_saturation(vph), step_s, seed)
        at_s: list[float] = []
        began_s = traffic.now_s
        while len(at_s) < 21:
            at_s += [passage.t_s - began_s for passage in traffic.step(step_s, {"north": G})]
        headways_s.append((at_s[20] - at_s[3]) / 17)
        lost_s.append(at_s[3] - 4 * headways_s[-1])
    assert 3600 / (sum(headways_s) / 6) == pytest.approx(vph, rel=0.06)
    if vph == 1800.0:
        assert 0.4 < sum(lost_s) / 6 < 3.0, "what is lost until the queue moves"


def test_a_queue_forms_at_red_and_clears_at_green() -> None:
    traffic = JunctionTraffic(crossroads(), {"north": Demand(600.0)})
    while traffic.now_s < 120:
        traffic.step(0.5, ALL_RED)
    n, n_moving = traffic.near("north", 150.0)
    assert n >= 10
    assert n_moving <= 3
    assert traffic.truth["north"].crossed == 0
    first_m, *_ = (front_m for front_m, _, _ in traffic.places("north"))
    assert -2.0 < first_m < 0.0, "the first one stands at the line"
    while traffic.now_s < 180:
        traffic.step(0.5, {"north": G})
    n_standing = traffic.near("north", 150.0)[0] - traffic.near("north", 150.0)[1]
    assert n_standing == 0
    assert traffic.truth["north"].crossed >= 15


def test_nobody_passes_at_red_and_yellow_is_used_only_by_who_cannot_stop() -> None:
    traffic = JunctionTraffic(crossroads(), dict.fromkeys(APPROACHES, Demand(500.0)), seed=3)
    passed: Counter[Aspect] = Counter()
    while traffic.now_s < 3600:
        lights = two_stages(traffic.now_s)
        before = {lane: traffic.places(lane) for lane in APPROACHES}
        for passage in traffic.step(0.5, lights):
            aspect = lights.get(passage.lane, R)
            passed[aspect] += 1
            if aspect is Y:
                # 4 m/s2 after one second: nobody who went was standing before it, or far away.
                first = next(one for one in before[passage.lane] if one[0] < 0.0)
                assert first[2] > 1.0
    assert passed[R] == 0
    assert passed[Y] > 20
    assert sum(truth.crossed_on_red for truth in traffic.truth.values()) == 0


def test_who_cannot_stop_when_it_turns_red_at_once_goes_on_and_is_told() -> None:
    traffic = JunctionTraffic(crossroads(), dict.fromkeys(APPROACHES, Demand(700.0)), seed=3)
    late_s: list[float] = []
    while traffic.now_s < 1800:
        place_s = traffic.now_s % 60
        lights = dict.fromkeys(NS, G) if place_s < 30 else ALL_RED
        late_s += [passage.t_s % 60 - 30 for passage in traffic.step(0.5, lights) if passage.on_red]
    assert len(late_s) > 10
    assert max(late_s) < 3.2
    assert sum(truth.crossed_on_red for truth in traffic.truth.values()) == len(late_s)


lights = st.lists(st.tuples(st.sampled_from([G, R, R, Aspect.FLASHING_RED]), st.integers(4, 40)), max_size=12)


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 1000),
    step_s=st.sampled_from([0.1, 0.35, 0.5, 1.0, 2.5]),
    vph=st.floats(50, 3000),
    saturation_vph=st.floats(800, 2500),
    lights=lights,
)
def test_nobody_is_hit_and_nobody_gets_lost(
    seed: int, step_s: float, vph: float, saturation_vph: float, lights: list[tuple[Aspect, int]]
) -> None:
    traffic = JunctionTraffic(with_saturation(saturation_vph), {"north": Demand(vph)}, seed=seed)
    n_seen = 0
    for aspect, n_steps in lights:
        for phase in (aspect, Y) if aspect is G else (aspect,):
            for _ in range(n_steps if phase is not Y else round(3 / step_s) + 1):
                passages = traffic.step(step_s, {"north": phase})
                n_seen += len(passages)
                assert all(traffic.now_s - step_s - 1e-6 <= p.t_s <= traffic.now_s + 1e-6 for p in passages)
                check_lane(traffic)
    assert traffic.truth["north"].crossed == n_seen


def check_lane(traffic: JunctionTraffic) -> None:
    """No two touch, nobody goes back or faster than allowed, and the numbers add up."""
    places = traffic.places("north")
    for (front_m, length_m, _), (next_m, _, _) in pairwise(places):
        assert next_m < front_m - length_m
    assert all(0.0 <= speed_mps <= 15.0 for _, _, speed_mps in places)
    truth = traffic.truth["north"]
    assert truth.arrived == truth.entered + traffic.outside("north")
    assert truth.entered == traffic.inside("north") + truth.left
    past = sum(front_m >= 0.0 for front_m, _, _ in places)
    assert truth.crossed == past + truth.left
    n, n_moving = traffic.near("north", APPROACH_M)
    assert n == len(places) - past
    assert 0 <= n_moving <= n


def test_arrivals_are_as_many_as_the_hour_says() -> None:
    """Poisson: within four standard deviations."""
    day = JunctionTraffic(crossroads(), {"north": Demand(400.0, RUSH)}, seed=5, midnight_s=3 * 3600.0)
    arrived = []
    for hour in (4, 8, 9):
        before = day.truth["north"].arrived
        until_s = (hour - 3) * 3600.0
        while day.now_s < until_s:
            day.step(1.0, {"north": G})
        arrived.append(day.truth["north"].arrived - before)
    night, morning, rush = arrived
    assert night == pytest.approx(400 * 0.1, abs=4 * 40**0.5)
    assert morning == pytest.approx(400 * (0.21 + 0.5 + 0.95 + 1.25), abs=4 * 1164**0.5)
    assert rush == pytest.approx(400 * 1.1, abs=4 * 440**0.5)


def test_time_that_is_lost_is_counted() -> None:
    """Little's law: mean time here x arrivals per second = mean number here."""
    traffic = JunctionTraffic(crossroads(), {"north": Demand(300.0)}, seed=2)
    while traffic.now_s < 900:
        traffic.step(0.5, {"north": G})
    free_s = traffic.truth["north"].present_s / traffic.truth["north"].left
    assert free_s == pytest.approx(275 / 13, rel=0.1)


def test_detectors_far_from_the_line_tell_who_comes() -> None:
    base = crossroads()
    far = Detector(channel=9, lane="north", kind=DetectorKind.ADVANCE, sensor="c", source="far", reach_m=100.0)
    traffic = JunctionTraffic(
        msgspec.structs.replace(base, detectors=(*base.detectors, far)), {"north": Demand(500.0)}, seed=4
    )
    seen: Counter[DetectorKind] = Counter()
    while traffic.now_s < 600:
        seen.update(passage.kind for passage in traffic.step(0.5, {"north": G}))
    truth: Truth = traffic.truth["north"]
    between = sum(-100.0 <= front_m < 0.0 for front_m, _, _ in traffic.places("north"))
    assert seen[DetectorKind.STOP_LINE] == truth.crossed
    assert seen[DetectorKind.ADVANCE] == truth.crossed + between


def test_in_flash_they_stop_and_go_one_after_the_other() -> None:
    traffic = JunctionTraffic(crossroads(), dict.fromkeys(APPROACHES, Demand(300.0)), seed=6)
    flash = dict.fromkeys(APPROACHES, Aspect.FLASHING_RED)
    at_s: list[float] = []
    lanes: Counter[str] = Counter()
    while traffic.now_s < 600:
        for passage in traffic.step(0.5, flash):
            at_s.append(passage.t_s)
            lanes[passage.lane] += 1
            assert not passage.on_red
    assert len(at_s) > 100
    assert min(b - a for a, b in pairwise(at_s)) > 1.0
    assert min(lanes.values()) > 20


def test_a_lane_with_two_heads_goes_by_the_one_that_is_green() -> None:
    junction = Junction(
        name="turn",
        lanes=(Lane(name="left", approach="north"),),
        movements=(Movement(name="a", phase=1, lanes=("left",)), Movement(name="b", phase=2, lanes=("left",))),
        stages=(Stage(name="a", movements=("a",)),),
        plans=crossroads().plans,
        startup=crossroads().startup,
    )
    traffic = JunctionTraffic(junction, {"left": Demand(600.0)})
    while traffic.now_s < 120:
        traffic.step(1.0, {"a": R, "b": G})
    assert traffic.truth["left"].crossed > 5


def test_the_same_seed_gives_the_same_traffic() -> None:
    def passages(seed: int) -> list[float]:
        traffic = JunctionTraffic(crossroads(), dict.fromkeys(APPROACHES, Demand(400.0)), seed=seed)
        return [p.t_s for _ in range(300) for p in traffic.step(1.0, two_stages(traffic.now_s))]

    assert passages(1) == passages(1)
    assert passages(1) != passages(2)


def test_a_lane_that_is_not_there_is_refused() -> None:
    with pytest.raises(ValueError, match="no lane nowhere in junction crossroads"):
        JunctionTraffic(crossroads(), {"nowhere": Demand(100.0)})
