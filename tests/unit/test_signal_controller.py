"""The controller: start-up, plans, modes, orders, preemption and coordination, second by second."""

from collections.abc import Callable, Sequence
from itertools import pairwise

import pytest
from msgspec import structs

from common.codes import Aspect, SignalMode
from common.commands import (
    Automatic,
    ClearFault,
    FixedPlan,
    Flash,
    ManualOverride,
    Off,
    Order,
    OrderResult,
    Preempt,
)
from common.hires import Coordination
from common.junction import Junction, Plan, PlanStage, PlanTime, Preemption, Recall, Stage, StartUp
from common.junction_checks import faults
from common.schedule import Local, Schedule
from edge_agent.domain.signals.controller import Choose
from edge_agent.domain.signals.interlock import Limits
from edge_agent.domain.signals.lights import Lights, Step
from edge_agent.domain.signals.steps import Chosen, FaultCode, Interval, Lane, Situation, Termination
from tests.junctions import crossroads, four_stages, with_people

START_S = 6
FIRE = Preemption(name="fire", stage="ew", number=2, min_dwell_s=10.0, max_presence_s=60.0, exit_stage="ns")
TRAM = Preemption(name="tram", stage="ns", number=1, min_dwell_s=5.0)


class Clock:
    """One junction in steps of a second, from second 0 on."""

    def __init__(self, junction: Junction, choose: Choose | None = None, local: Local | None = None) -> None:
        assert faults(junction) == []
        self.junction = junction
        self.lights = Lights(junction, 0.0, choose=choose, limits=Limits(late_step_s=1.1))
        self.now_s = -1.0
        self.local = local
        self.lanes: Sequence[Lane] | None = tuple(Lane(is_waiting=False) for _ in junction.lanes)
        self.greens: list[tuple[str, float]] = []
        """Each stage and when all of it was green."""
        self.notes: set[str] = set()
        self.ended: list[tuple[str, Termination]] = []
        self.step = self.go()

    def go(self, n: int = 1) -> Step:
        """So many seconds on."""
        for _ in range(n):
            self.now_s += 1.0
            if self.local is not None:
                self.local = Local(self.local.weekday, (self.local.second_s + 1.0) % 86_400.0)
            self.step = self.lights.step(self.now_s, self.local, self.lanes)
            assert self.step.fault is None, self.step.fault
            decision = self.step.decision
            self.ended += list(decision.ended.items())
            self.notes.add(decision.note)
            is_green = decision.interval is Interval.GREEN and decision.stage is not None
            if is_green and (not self.greens or self.greens[-1][0] != decision.stage):
                self.greens.append((str(decision.stage), self.now_s))
        return self.step

    def until(self, wanted: Callable[[Step], bool], within_s: int = 300) -> float:
        """Go on until it is so; when that was."""
        for _ in range(within_s):
            if wanted(self.step):
                return self.now_s
            self.go()
        raise AssertionError(f"not within {within_s} s")

    def order(self, order: Order) -> OrderResult:
        return self.lights.order(order, self.now_s)

    @property
    def aspects(self) -> set[Aspect]:
        return set(self.step.aspects.values())

    @property
    def mode(self) -> SignalMode:
        return self.step.decision.mode


def in_mode(mode: SignalMode) -> Callable[[Step], bool]:
    return lambda step: step.decision.mode is mode


def in_stage(stage: str) -> Callable[[Step], bool]:
    return lambda step: step.decision.interval is Interval.GREEN and step.decision.stage == stage


def test_start_up_is_all_red_and_then_its_stage() -> None:
    clock = Clock(structs.replace(crossroads(), startup=StartUp(stage="ew", flash_s=4.0, all_red_s=6.0)))
    seen = [clock.step, *(clock.go() for _ in range(10))]
    assert [set(step.aspects.values()) for step in seen[:4]] == [{Aspect.FLASHING_RED}] * 4
    assert [set(step.aspects.values()) for step in seen[4:10]] == [{Aspect.RED}] * 6
    assert seen[9].decision.interval is Interval.START_UP
    assert in_stage("ew")(seen[10])


def test_a_plan_by_its_own_times() -> None:
    clock = Clock(crossroads())
    clock.go(130)
    assert clock.greens == [("ns", 6.0), ("ew", 36.0), ("ns", 61.0), ("ew", 91.0), ("ns", 116.0)]
    assert clock.step.decision.algorithm == "fixed"
    assert {why for _, why in clock.ended} == {Termination.FORCE_OFF}


def test_steps_of_a_tenth_of_a_second_keep_the_same_times() -> None:
    lights = Lights(crossroads(), 0.0)
    begins_s: list[tuple[str | None, float]] = []
    for i in range(1300):
        step = lights.step(i * 0.1, None)
        if step.decision.interval is Interval.GREEN and (not begins_s or begins_s[-1][0] != step.decision.stage):
            begins_s.append((step.decision.stage, round(i * 0.1, 1)))
    assert begins_s == [("ns", 6.0), ("ew", 36.0), ("ns", 61.0), ("ew", 91.0), ("ns", 116.0)]


def test_a_green_ends_to_the_step_and_not_to_the_second() -> None:
    base = crossroads()
    plan = structs.replace(
        base.plans[0], stages=(PlanStage(stage="ns", green_s=12.3), PlanStage(stage="ew", green_s=9.0))
    )
    lights = Lights(structs.replace(base, plans=(plan,)), 0.0)
    yellow = (i for i in range(400) if Aspect.YELLOW in lights.step(i * 0.1, None).aspects.values())
    assert next(yellow) == 60 + 123


def test_who_waits_for_no_clearance_begins_at_once() -> None:
    """People's way across takes 8 s; whom they do not hinder need not wait for that."""
    base = with_people()
    pair = ("walk-over-east", "east")
    forgotten = structs.replace(base, conflicts=tuple(one for one in base.conflicts if one != pair))
    free = structs.replace(forgotten, stages=(*base.stages, Stage(name="of no plan", movements=pair)))
    for junction, west in ((forgotten, Aspect.GREEN), (free, Aspect.RED)):
        clock = Clock(junction)
        clock.until(in_stage("ns"))
        clock.until(lambda step: step.aspects["east"] is Aspect.GREEN)
        assert clock.step.aspects["west"] is west, "what is never in one stage is kept apart, as is what conflicts"
    assert clock.step.decision.interval is Interval.RED_CLEARANCE


def test_the_chooser_decides_from_the_least_green_on_and_once_a_second() -> None:
    asked: list[Situation] = []

    def choose(situation: Situation) -> int | None:
        asked.append(situation)
        return 1 - situation.stage if situation.green_s >= 12.0 else None

    clock = Clock(crossroads(), choose)
    clock.go(30)
    assert clock.greens == [("ns", 6.0), ("ew", 23.0)]
    assert [situation.green_s for situation in asked][:6] == pytest.approx([7, 8, 9, 10, 11, 12])
    assert asked[0].red_s == pytest.approx((0.0, 13.0))
    assert clock.ended[0] == ("north", Termination.GAP_OUT)
    assert clock.step.decision.algorithm == "adaptive"


def test_a_chooser_that_says_more_is_told_on() -> None:
    clock = Clock(crossroads(), lambda situation: Chosen(None, "actuated", "the camera of east is dirty"))
    clock.go(20)
    assert clock.step.decision.algorithm == "actuated"
    assert clock.step.decision.note == "the camera of east is dirty"


def test_green_has_its_most_once_somebody_waits_and_not_before() -> None:
    base = crossroads()
    movements = tuple(structs.replace(one, max_red_s=300.0) for one in base.movements)
    clock = Clock(structs.replace(base, movements=movements), lambda situation: None)
    clock.go(80)
    assert clock.greens == [("ns", 6.0)]
    clock.lanes = tuple(Lane(is_waiting=lane.name == "east") for lane in clock.junction.lanes)
    clock.go(60)
    assert clock.ended[0] == ("north", Termination.MAX_OUT)
    assert clock.greens[1][1] == pytest.approx(81.0 + 50.0 + 5.0)


def test_who_tells_nothing_calls() -> None:
    clock = Clock(crossroads(), lambda situation: None)
    clock.lanes = None
    clock.go(70)
    assert clock.greens == [("ns", 6.0), ("ew", 61.0)]


def test_nobody_waits_longer_than_the_bound_whatever_is_chosen() -> None:
    clock = Clock(four_stages(), lambda situation: 1 if situation.stage == 0 else 0)
    clock.go(400)
    first = dict(reversed(clock.greens))
    assert first.keys() == {"north", "east", "south", "west"}
    assert max(first.values()) <= 6.0 + 120.0
    assert [stage for stage, _ in clock.greens[:3]] == ["north", "east", "north"]


def test_a_recall_is_served_in_time_also_when_nobody_calls() -> None:
    clock = Clock(crossroads(), lambda situation: None)
    clock.go(200)
    (stage, begun_s), *_ = clock.greens[1:]
    assert stage == "ew"
    assert 110.0 <= begun_s <= 120.0


def test_a_lane_that_tells_nothing_calls() -> None:
    base = crossroads()
    movements = tuple(structs.replace(one, recall=Recall.NONE) for one in base.movements)
    clock = Clock(structs.replace(base, movements=movements), lambda situation: None)
    clock.lanes = tuple(Lane(is_waiting=None if lane.name == "east" else False) for lane in base.lanes)
    clock.go(70)
    assert [stage for stage, _ in clock.greens] == ["ns", "ew"]


def test_the_plans_own_least_green_binds_the_chooser() -> None:
    base = crossroads()
    stages = tuple(structs.replace(step, min_green_s=15.0) for step in base.plans[0].stages)
    plan = structs.replace(base.plans[0], stages=stages)
    clock = Clock(structs.replace(base, plans=(plan,)), lambda situation: 1 - situation.stage)
    clock.go(60)
    assert clock.greens[:2] == [("ns", 6.0), ("ew", 26.0)]


def test_who_has_no_recall_and_no_call_is_left_out() -> None:
    base = four_stages()
    movements = tuple(
        structs.replace(one, recall=Recall.NONE if one.name == "west" else Recall.MIN) for one in base.movements
    )
    clock = Clock(structs.replace(base, movements=movements), lambda situation: 1 - min(situation.stage, 1))
    clock.go(600)
    assert {stage for stage, _ in clock.greens} == {"north", "east", "south"}
    clock.lanes = tuple(Lane(is_waiting=lane.name == "west") for lane in clock.junction.lanes)
    assert clock.until(in_stage("west")) <= 600.0 + 120.0


@pytest.mark.parametrize("answer", [99, -1, "ns", 0.5, Chosen(7)])
def test_a_chooser_that_answers_nonsense(answer: object) -> None:
    clock = Clock(crossroads(), lambda situation: answer)  # type: ignore[arg-type, return-value]
    clock.go(60)
    assert clock.greens == [("ns", 6.0), ("ew", 36.0)]
    assert any("no stage of the plan" in note for note in clock.notes)


def test_a_chooser_that_breaks() -> None:
    clock = Clock(crossroads(), lambda situation: 1 // 0)
    clock.go(60)
    assert clock.greens == [("ns", 6.0), ("ew", 36.0)]
    assert any("ZeroDivisionError" in note for note in clock.notes)
    assert clock.step.decision.algorithm == "fixed"


def test_flash_by_order_comes_after_yellow_and_ends_through_start_up() -> None:
    clock = Clock(crossroads())
    clock.go(10)
    assert clock.order(Flash(by="test")).accepted
    clock.until(lambda step: Aspect.YELLOW in step.aspects.values())
    assert clock.now_s == 13.0
    assert clock.until(in_mode(SignalMode.FLASH)) == 18.0
    assert clock.aspects == {Aspect.FLASHING_RED}
    clock.go(100)
    assert clock.aspects == {Aspect.FLASHING_RED}
    assert clock.order(Automatic(by="test")).accepted
    begun_s = clock.now_s + 1.0
    assert clock.until(in_stage("ns")) == begun_s + START_S


def test_off_goes_through_flash() -> None:
    clock = Clock(crossroads())
    clock.go(10)
    assert clock.order(Off(by="test")).accepted
    flashes_s = clock.until(in_mode(SignalMode.FLASH))
    assert clock.until(in_mode(SignalMode.OFF)) == flashes_s + 3.0
    assert clock.aspects == {Aspect.DARK}
    clock.order(Automatic(by="test"))
    clock.go()
    assert clock.aspects == {Aspect.RED}


def test_flash_that_is_called_off_while_it_is_coming() -> None:
    clock = Clock(crossroads())
    clock.go(14)
    clock.order(Flash(by="test"))
    clock.go(2)
    clock.order(Automatic(by="test"))
    clock.go(10)
    assert Aspect.GREEN in clock.aspects


def test_a_fault_flashes_refuses_orders_and_ends_through_start_up() -> None:
    clock = Clock(crossroads())
    clock.go(10)
    interlock = clock.lights.interlock
    interlock.report(FaultCode.DRIVER_FAILED, "relay 3", clock.now_s)
    for order in (
        ManualOverride(by="t", cycle_s=60.0, lane_green_s={}),
        FixedPlan(by="t", plan="day"),
        Flash(by="t"),
    ):
        answer = clock.order(order)
        assert not answer.accepted
        assert "relay 3" in answer.reason
    for second in range(1, 8):
        step = clock.step = clock.lights.step(clock.now_s + second, None)
        assert set(step.aspects.values()) == {Aspect.FLASHING_RED}
        assert step.decision.mode is SignalMode.FLASH
        assert "relay 3" in step.decision.note
    clock.now_s += 7.0
    assert clock.order(ClearFault(by="t")).accepted
    begun_s = clock.now_s + 1.0
    assert clock.until(in_stage("ns")) == begun_s + START_S


def test_an_exception_of_the_controller_flashes() -> None:
    lights = Lights(two_plans(), 0.0)
    lights.step(0.0, None)
    step = lights.step(0.1, "noon")  # type: ignore[arg-type]
    assert set(step.aspects.values()) == {Aspect.FLASHING_RED}
    assert step.fault is not None
    assert step.fault.code is FaultCode.EXCEPTION


def two_plans(**second: object) -> Junction:
    base = crossroads()
    night = Plan(name="night", stages=(PlanStage(stage="ew", green_s=10.0), PlanStage(stage="ns", green_s=12.0)))
    return structs.replace(
        base,
        plans=(*base.plans, structs.replace(night, **second)),
        schedule=(
            PlanTime(plan="day", start="06:00"),
            PlanTime(plan="night", start="22:00", days=(1, 2, 3, 4, 5)),
        ),
    )


@pytest.mark.parametrize(
    ("weekday", "hour", "plan"),
    [(1, 6, 0), (1, 21.99, 0), (1, 22, 1), (2, 5, 1), (6, 5, 1), (6, 23, 0), (7, 5, 0), (1, 5, 0)],
)
def test_the_week_has_its_plans(weekday: int, hour: float, plan: int) -> None:
    assert Schedule(two_plans()).plan_at(Local(weekday, hour * 3600.0)) == plan


def test_another_plan_takes_over_when_a_green_has_had_its_least() -> None:
    clock = Clock(two_plans(), local=Local(1, 22 * 3600.0 - 50.0))
    clock.go(48)
    assert clock.step.decision.plan == "day"
    clock.go(60)
    assert clock.step.decision.plan == "night"
    # Night begins in the middle of a green of 20 s, when it is longer already than night has it.
    assert clock.greens[:4] == [("ns", 6.0), ("ew", 36.0), ("ns", 54.0), ("ew", 71.0)]


def test_the_plan_stays_while_the_time_is_unknown() -> None:
    clock = Clock(two_plans(), local=Local(1, 23 * 3600.0))
    clock.go(20)
    assert clock.step.decision.plan == "night"
    clock.local = None
    clock.go(200)
    assert clock.step.decision.plan == "night"


def test_a_fixed_plan_by_order_and_its_end() -> None:
    clock = Clock(two_plans(), lambda situation: None, local=Local(1, 12 * 3600.0))
    clock.go(20)
    assert "did you mean night?" in clock.order(FixedPlan(by="test", plan="nigth")).reason
    assert clock.order(FixedPlan(by="test", plan="night", expires_s=100.0)).accepted
    clock.go(2)
    assert (clock.mode, clock.step.decision.plan) == (SignalMode.FIXED, "night")
    clock.go(100)
    clock.until(in_mode(SignalMode.AUTOMATIC), 20)
    assert clock.step.decision.plan == "day"
    assert any("expired" in note for note in clock.notes)
    clock.go(60)
    assert clock.step.decision.note == ""


def override(cycle_s: float, **greens_s: float) -> ManualOverride:
    return ManualOverride(by="test", cycle_s=cycle_s, lane_green_s=greens_s, expires_s=3600.0)


def test_an_override_computes_the_last_and_keeps_its_cycle() -> None:
    clock = Clock(crossroads(), lambda situation: None)
    clock.go(10)
    assert clock.order(override(70.0, north=40.0)).accepted
    clock.go(300)
    assert in_mode(SignalMode.MANUAL_OVERRIDE)(clock.step)
    begins_s = [begun_s for stage, begun_s in clock.greens if stage == "ns"]
    assert [b - a for a, b in pairwise(begins_s)][-3:] == [70.0, 70.0, 70.0]
    assert clock.greens[-1][1] - clock.greens[-2][1] in (45.0, 25.0)
    assert clock.order(Automatic(by="test")).accepted
    clock.until(in_mode(SignalMode.AUTOMATIC), 60)


@pytest.mark.parametrize(
    ("order", "words"),
    [
        (override(70.0, north=40.0, south=40.0, east=20.0, west=20.0), ""),
        (override(70.0, north=40.0, south=30.0), "share one time"),
        (override(70.0, north=40.0, east=25.0), "make it 75 s"),
        (override(70.0), "give all but one of ns (north, south); ew (east, west)"),
        (override(70.0, nroth=40.0), "did you mean north?"),
        (override(50.0, north=35.0), "cycle_s to 52 s"),
        (override(70.0, north=5.0), "needs 7 s at least"),
        (override(100.0, north=60.0), "50 s at most"),
        (override(0.0, north=40.0), "cycle_s"),
    ],
)
def test_overrides_are_refused_whole_with_what_would_do(order: ManualOverride, words: str) -> None:
    clock = Clock(crossroads())
    clock.go(10)
    answer = clock.order(order)
    assert answer.accepted is (not words)
    assert words in answer.reason
    clock.go(60)
    assert clock.mode is (SignalMode.AUTOMATIC if words else SignalMode.MANUAL_OVERRIDE)


def test_an_override_that_keeps_somebody_red_for_too_long() -> None:
    base = crossroads()
    movements = tuple(structs.replace(one, max_red_s=40.0) for one in base.movements)
    assert (
        "may be for 40 s at most"
        in Clock(structs.replace(base, movements=movements)).order(override(100.0, north=45.0)).reason
    )


def emergencies() -> Junction:
    return structs.replace(crossroads(), preemptions=(FIRE, TRAM))


def test_an_emergency_vehicle_cuts_holds_and_leaves_by_its_exit() -> None:
    clock = Clock(emergencies())
    clock.go(7)
    assert clock.order(Preempt(by="siren", preemption="fire", on=True)).accepted
    clock.go()
    assert in_mode(SignalMode.PREEMPT)(clock.step)
    assert clock.step.decision.preemption == 2
    assert clock.until(in_stage("ew")) == 8.0 + 3.0 + 2.0
    clock.go(40)
    assert in_stage("ew")(clock.step)
    clock.order(Preempt(by="siren", preemption="fire", on=False))
    clock.go()
    assert in_mode(SignalMode.AUTOMATIC)(clock.step)
    assert clock.step.decision.next_stage == "ns"


def test_an_emergency_green_lasts_for_its_dwell() -> None:
    clock = Clock(emergencies())
    clock.go(7)
    clock.order(Preempt(by="siren", preemption="fire", on=True))
    clock.go()
    clock.order(Preempt(by="siren", preemption="fire", on=False))
    begun_s = clock.until(in_stage("ew"))
    assert clock.until(in_mode(SignalMode.AUTOMATIC)) == begun_s + 10.0


def test_the_lower_number_goes_first_and_the_other_after_it() -> None:
    clock = Clock(emergencies())
    clock.go(40)
    clock.order(Preempt(by="siren", preemption="fire", on=True))
    clock.until(in_stage("ew"))
    clock.go(3)
    clock.order(Preempt(by="rail", preemption="tram", on=True))
    clock.go()
    assert clock.step.decision.preemption == 1
    clock.until(in_stage("ns"))
    clock.order(Preempt(by="rail", preemption="tram", on=False))
    clock.until(lambda step: step.decision.preemption == 2)
    clock.until(in_stage("ew"))


def test_an_input_that_is_stuck_does_not_own_the_junction() -> None:
    clock = Clock(emergencies())
    clock.go(7)
    clock.order(Preempt(by="siren", preemption="fire", on=True))
    clock.go(70)
    assert in_mode(SignalMode.AUTOMATIC)(clock.step)
    assert "fire was on for too long" in clock.step.decision.note
    clock.order(Preempt(by="siren", preemption="fire", on=False))
    clock.go()
    assert clock.step.decision.note == ""
    clock.order(Preempt(by="siren", preemption="fire", on=True))
    clock.go()
    assert in_mode(SignalMode.PREEMPT)(clock.step)


def test_an_input_that_flickered_and_is_off_is_served_like_any_other_the_next_time() -> None:
    clock = Clock(emergencies())
    clock.go(7)
    for number in range(1000):
        clock.order(Preempt(by="siren", preemption="fire", on=number % 2 == 0))
        clock.go()
        if "fire comes again" in clock.step.decision.note:
            break
    else:
        pytest.fail("it was never made to wait")
    clock.order(Preempt(by="siren", preemption="fire", on=False))
    clock.go(300)
    assert clock.step.decision.note == ""
    clock.until(lambda step: Aspect.YELLOW in step.aspects.values())
    clock.order(Preempt(by="siren", preemption="fire", on=True))
    clock.go()
    assert in_mode(SignalMode.PREEMPT)(clock.step), "an emergency vehicle waits for nobody"


def test_stages_that_no_plan_has() -> None:
    """Start-up and an emergency may have their own."""
    base = crossroads()
    junction = structs.replace(
        base,
        stages=(
            *base.stages,
            Stage(name="only-north", movements=("north",)),
            Stage(name="only-east", movements=("east",)),
        ),
        startup=StartUp(stage="only-east"),
        preemptions=(structs.replace(FIRE, stage="only-north", exit_stage=None),),
    )
    clock = Clock(junction, lambda situation: None)
    clock.go(100)
    assert [stage for stage, _ in clock.greens[:2]] == ["only-east", "ns"]
    assert clock.greens[1][1] == 6.0 + 7.0 + 5.0
    clock.order(Preempt(by="siren", preemption="fire", on=True))
    clock.until(in_stage("only-north"))
    assert clock.step.aspects["north"] is Aspect.GREEN
    clock.order(Preempt(by="siren", preemption="fire", on=False))
    clock.until(in_stage("ew"), 40)


def test_flash_by_order_ends_a_preemption() -> None:
    clock = Clock(emergencies())
    clock.go(7)
    clock.order(Preempt(by="siren", preemption="fire", on=True))
    clock.until(in_stage("ew"))
    clock.order(Flash(by="test"))
    clock.go()
    assert clock.step.decision.preemption is None
    clock.until(in_mode(SignalMode.FLASH), 30)


def test_preemptions_that_are_refused() -> None:
    clock = Clock(emergencies())
    assert "did you mean fire?" in clock.order(Preempt(by="x", preemption="fires", on=True)).reason
    clock.order(Flash(by="test"))
    clock.go(20)
    assert not clock.order(Preempt(by="x", preemption="fire", on=True)).accepted


def coordinated(offset_s: float) -> Junction:
    return crossroads(offset_s=offset_s)


@pytest.mark.parametrize("start_s", [0.0, 13.0, 20.0, 30.0, 41.0, 50.0])
def test_a_coordinated_plan_falls_into_step_and_stays(start_s: float) -> None:
    """The cycle is 55 s: 25 + 5 + 20 + 5."""
    clock = Clock(coordinated(10.0), lambda situation: None, local=Local(3, 55.0 * 1000 + start_s))
    clock.go(400)
    assert clock.step.decision.coordination == Coordination.IN_STEP
    assert clock.local is not None
    zero_s = clock.local.second_s - clock.now_s
    late_s = [(zero_s + begun_s - 10.0) % 55.0 for stage, begun_s in clock.greens if stage == "ns"]
    assert late_s[-3:] == [0.0, 0.0, 0.0]
    greens_s = [b - a - 5.0 for (_, a), (_, b) in pairwise(clock.greens)]
    assert all(7.0 <= green_s <= 50.0 for green_s in greens_s)


def test_the_way_into_step_is_the_shorter_one() -> None:
    states = set()
    for start_s in (0.0, 20.0):
        clock = Clock(coordinated(0.0), local=Local(3, 55.0 * 1000 + start_s))
        clock.go(10)
        states.add(clock.step.decision.coordination)
    assert states == {Coordination.SUBTRACTING, Coordination.ADDING}


def test_a_wall_clock_that_jumps_by_an_hour_is_caught_up_with() -> None:
    clock = Clock(coordinated(10.0), local=Local(7, 7200.0))
    clock.go(300)
    assert clock.local is not None
    clock.local = Local(7, clock.local.second_s + 3600.0)
    clock.go(400)
    assert clock.step.decision.coordination == Coordination.IN_STEP


def test_without_the_time_a_coordinated_plan_runs_free() -> None:
    clock = Clock(coordinated(10.0))
    clock.go(100)
    assert clock.step.decision.coordination == Coordination.FREE
    assert clock.greens[:3] == [("ns", 6.0), ("ew", 36.0), ("ns", 61.0)]
