"""Cycle records: where one begins and ends, and that nothing is lost between two."""

from collections.abc import Iterable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from common.codes import Aspect, SignalMode
from common.junction import Junction, Movement
from common.records import Cycle, LaneCycle
from edge_agent.domain.signals.cycles import CycleMaker, TagPassage
from edge_agent.domain.signals.steps import Interval, Lane
from tests.junctions import crossroads, four_stages
from tests.signal_steps import G, R, Step, decision, run_plan

N = 4
BLIND = (Lane(),) * N
NS = {"north": G, "south": G, "east": R, "west": R}
EW = {"north": R, "south": R, "east": G, "west": G}
FLASH = dict.fromkeys(NS, Aspect.FLASHING_RED)
ALL_RED = dict.fromkeys(NS, R)


def counted(*n: int | None) -> tuple[Lane, ...]:
    return tuple(Lane(n_crossed=one) for one in n)


def cycles_of(
    junction: Junction, steps: Iterable[Step], lanes: Sequence[Lane] = BLIND
) -> list[tuple[float, Cycle]]:
    maker = CycleMaker(junction)
    made = [(one.now_s, maker.step(one.now_s, one.decision, one.shown, lanes)) for one in steps]
    return [(at_s, cycle) for at_s, cycle in made if cycle is not None]


def lane(cycle: Cycle, name: str) -> LaneCycle:
    return next(one for one in cycle.lanes if one.lane == name)


def test_a_cycle_goes_from_the_first_green_to_the_next() -> None:
    made = cycles_of(crossroads(), run_plan(crossroads(), 120.0, dt_s=0.5))
    assert [(at_s, cycle.length_s) for at_s, cycle in made] == [(55.0, 55.0), (110.0, 55.0)]
    cycle = made[0][1]
    assert (cycle.junction, cycle.mode, cycle.plan, cycle.algorithm) == ("crossroads", "automatic", "day", "fixed")
    assert [(one.lane, one.green_s, one.yellow_s, one.red_s) for one in cycle.lanes] == [
        ("north", 25.0, 3.0, 27.0),
        ("east", 20.0, 3.0, 32.0),
        ("south", 25.0, 3.0, 27.0),
        ("west", 20.0, 3.0, 32.0),
    ]


def test_who_crossed_and_how_full_it_was() -> None:
    junction, maker, made = crossroads(), CycleMaker(crossroads()), []
    for one in run_plan(junction, 56.0):
        n = int(one.now_s) // 5
        lanes = counted(100 + n, 0, None if one.now_s == 20.0 else n, 3)
        made.append(maker.step(one.now_s, one.decision, one.shown, lanes))
    (cycle,) = [one for one in made if one is not None]
    # 11 in 25 s of green, of which a queue sends one in 2 s.
    assert (lane(cycle, "north").vehicles, lane(cycle, "north").saturation) == (11, 0.88)
    assert (lane(cycle, "east").vehicles, lane(cycle, "east").saturation) == (0, 0.0)
    assert (lane(cycle, "south").vehicles, lane(cycle, "south").saturation) == (None, None)


def test_a_counter_that_began_anew_has_measured_nothing() -> None:
    maker = CycleMaker(crossroads())
    maker.step(0.0, decision(NS, stage="ns"), NS, counted(9, 9, 9, 9))
    maker.step(20.0, decision(EW, stage="ew"), EW, counted(9, 9, 9, 9))
    cycle = maker.step(40.0, decision(NS, stage="ns"), NS, counted(2, 9, 9, 9))
    assert cycle is not None
    assert [one.vehicles for one in cycle.lanes] == [None, 0, 0, 0]


def test_a_lane_without_green_has_no_saturation() -> None:
    maker = CycleMaker(crossroads())
    maker.step(0.0, decision(NS, stage="ns"), NS, counted(0, 0, 0, 0))
    cycle = maker.step(9.0, decision(NS, stage="ns", plan="night"), NS, counted(4, 1, 0, 0))
    assert cycle is not None
    assert (lane(cycle, "east").vehicles, lane(cycle, "east").saturation) == (1, None)


def test_tags_are_in_the_cycle_that_they_passed_in() -> None:
    maker = CycleMaker(crossroads())
    maker.step(0.0, decision(NS, stage="ns"), NS, BLIND, [TagPassage("north", "TOO-EARLY")])
    maker.step(5.0, decision(NS, stage="ns"), NS, BLIND, [TagPassage("north", "A1"), TagPassage("nowhere", "X")])
    maker.step(20.0, decision(EW, stage="ew"), EW, BLIND, [TagPassage("north", "A1"), TagPassage("east", "B2")])
    cycle = maker.step(40.0, decision(NS, stage="ns"), NS, BLIND, [TagPassage("west", "C3")])
    assert cycle is not None
    assert [one.epcs for one in cycle.lanes] == [["A1", "A1"], ["B2"], [], ["C3"]]


def test_a_free_order_begins_anew_with_the_first_stage_however_often_others_came() -> None:
    order = ["north", "south", "east", "south", "north", "west", "north"]
    made = cycles_of(four_stages(), stages(order, 20.0))
    assert [(at_s, cycle.length_s) for at_s, cycle in made] == [(80.0, 80.0), (120.0, 40.0)]


def stages(order: Sequence[str], span_s: float) -> list[Step]:
    shown = [{name: G if name == stage else R for name in NS} for stage in order]
    return [
        Step(n * span_s, decision(one, stage=stage), one)
        for n, (stage, one) in enumerate(zip(order, shown, strict=True))
    ]


def test_a_first_stage_that_is_skipped_for_ever_ends_a_cycle_by_its_longest() -> None:
    """Four stages of up to 50 s with 5 s between them."""
    made = cycles_of(four_stages(), stages(["south", "east"] * 20, 20.0))
    assert [(at_s, cycle.length_s) for at_s, cycle in made] == [(220.0, 220.0), (440.0, 220.0), (660.0, 220.0)]


def test_a_green_that_rests_all_night_still_reports() -> None:
    steps = [Step(float(now_s), decision(NS, stage="ns"), NS) for now_s in range(300)]
    made = cycles_of(crossroads(), steps)
    assert [(at_s, lane(cycle, "north").green_s, lane(cycle, "east").red_s) for at_s, cycle in made] == [
        (110.0, 110.0, 110.0),
        (220.0, 110.0, 110.0),
    ]


def test_a_stage_that_comes_twice_in_the_plan_begins_one_cycle() -> None:
    base = four_stages()
    order = [*base.plans[0].stages, base.plans[0].stages[0]]
    junction = replace(base, plans=(replace(base.plans[0], stages=tuple(order)),))
    made = cycles_of(junction, stages(["north", "east", "north", "west", "north", "east"], 20.0))
    assert [at_s for at_s, _ in made] == [80.0]


def test_a_change_of_mode_or_plan_ends_a_cycle() -> None:
    steps = [
        Step(0.0, decision(NS, stage="ns"), NS),
        Step(10.0, decision(NS, stage="ns", mode=SignalMode.PREEMPT), NS),
        Step(30.0, decision(NS, stage="ns", mode=SignalMode.PREEMPT, plan="night"), NS),
        Step(35.0, decision(NS, stage="ns", plan="night"), NS),
    ]
    made = cycles_of(crossroads(), steps)
    assert [(c.length_s, c.mode, c.plan) for _, c in made] == [
        (10.0, "automatic", "day"),
        (20.0, "preempt", "day"),
        (5.0, "preempt", "night"),
    ]


@pytest.mark.parametrize(
    ("shown", "interval"),
    [(FLASH, Interval.GREEN), (NS, Interval.FLASH), (dict.fromkeys(NS, Aspect.DARK), Interval.OFF)],
)
def test_flash_ends_a_cycle_and_is_none_itself(shown: dict[str, Aspect], interval: Interval) -> None:
    """Also where a fault makes the interlock flash while the controller still wants a green."""
    steps = [
        Step(0.0, decision(NS, stage="ns"), NS),
        Step(12.0, decision(NS, interval, stage="ns"), shown),
        Step(500.0, decision(NS, Interval.START_UP), ALL_RED),
        Step(504.0, decision(NS, Interval.RED_CLEARANCE), ALL_RED),
        Step(506.0, decision(NS, stage="ns"), NS),
        Step(530.0, decision(EW, stage="ew"), EW),
        Step(560.0, decision(NS, stage="ns"), NS),
    ]
    assert [(at_s, c.length_s) for at_s, c in cycles_of(crossroads(), steps)] == [(12.0, 12.0), (560.0, 54.0)]


def test_the_algorithm_that_decided_for_the_longest() -> None:
    steps = [
        Step(0.0, decision(NS, stage="ns", algorithm="adaptive"), NS),
        Step(8.0, decision(NS, stage="ns", algorithm="actuated"), NS),
        Step(20.0, decision(EW, stage="ew", algorithm="adaptive"), EW),
        Step(23.0, decision(NS, stage="ns", algorithm="fixed"), NS),
    ]
    ((_, cycle),) = cycles_of(crossroads(), steps)
    assert cycle.algorithm == "actuated"


def test_a_lane_of_two_movements_may_go_when_either_is_green() -> None:
    base = crossroads()
    left = Movement(name="north-left", phase=5, lanes=("north",))
    junction = replace(base, movements=(*base.movements, left))
    steps = [
        Step(0.0, decision(NS, stage="ns"), {**NS, "north-left": R}),
        Step(10.0, decision(NS, stage="ns"), {**EW, "north-left": G}),
        Step(14.0, decision(NS, stage="ns"), {**EW, "north-left": Aspect.YELLOW}),
        Step(17.0, decision(EW, stage="ew"), {**EW, "north-left": R}),
        Step(30.0, decision(NS, stage="ns"), {**NS, "north-left": R}),
    ]
    ((_, cycle),) = cycles_of(junction, steps)
    assert [lane(cycle, "north").green_s, lane(cycle, "north").yellow_s, lane(cycle, "north").red_s] == [
        14.0,
        3.0,
        13.0,
    ]


@given(
    st.lists(
        st.tuples(
            st.floats(0.011, 90.0),
            st.sampled_from([("ns", NS), ("ew", EW), ("ns", EW), ("ns", ALL_RED), (None, FLASH)]),
            st.sampled_from(list(Interval)),
            st.sampled_from(["day", "night"]),
            st.lists(st.integers(0, 3), min_size=N, max_size=N),
        ),
        max_size=60,
    )
)
def test_every_moment_and_every_vehicle_is_in_one_cycle(
    history: list[tuple[float, tuple[str | None, dict[str, Aspect]], Interval, str, list[int]]],
) -> None:
    """Whatever the controller does; and what a lane got always adds up to the length."""
    maker, now_s, n = CycleMaker(crossroads()), 0.0, [0] * N
    within_s, inside, made = 0.0, [0] * N, []
    runs = False
    for span_s, (stage, shown), interval, plan, more in [
        *history,
        (1.0, (None, FLASH), Interval.FLASH, "day", [0] * N),
    ]:
        now_s += span_s
        n = [a + b for a, b in zip(n, more, strict=True)]
        if runs:
            within_s += span_s
            inside = [a + b for a, b in zip(inside, more, strict=True)]
        made.append(maker.step(now_s, decision(shown, interval, stage=stage, plan=plan), shown, counted(*n)))
        is_lit = shown is not FLASH and interval in (Interval.GREEN, Interval.YELLOW, Interval.RED_CLEARANCE)
        runs = is_lit and (runs or shown is not ALL_RED)
    cycles = [one for one in made if one is not None]
    assert sum(one.length_s for one in cycles) == pytest.approx(within_s, abs=0.001 * len(cycles) + 1e-6)
    assert [sum(one.lanes[k].vehicles or 0 for one in cycles) for k in range(N)] == inside
    for one in (lane for cycle in cycles for lane in cycle.lanes):
        assert min(one.green_s, one.yellow_s, one.red_s) >= 0.0
    for cycle in cycles:
        assert all(round(one.green_s + one.yellow_s + one.red_s, 3) == cycle.length_s for one in cycle.lanes)
