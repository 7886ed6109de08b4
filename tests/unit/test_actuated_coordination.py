"""Actuated coordination: other stages may leave time to the first one; cycle and offset stay what they are."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from msgspec import structs

from common.codes import SignalMode
from common.hires import Coordination
from common.junction import Algorithm, Junction, Plan, PlanStage, Stage
from common.junction_checks import faults, least_reach_s
from common.junction_times import (
    ROUNDING_S,
    HeldUp,
    bounds_s,
    cycle_s,
    held_up,
    late_plans,
    longest_reds_s,
    most_left_s,
    splits_s,
)
from common.schedule import Local
from edge_agent.domain.signals.hires import Recorder
from edge_agent.domain.signals.interlock import Limits
from edge_agent.domain.signals.lights import Lights, Step
from edge_agent.domain.signals.steps import Interval, Lane, Situation, Termination
from edge_agent.signals.senses import ladder
from tests.junctions import APPROACHES, four_stages
from tests.lights import Judge, random_junction

OFFSET_S = 10.0
CYCLE_S = 80.0
"""Of `arterial`: four greens of 15 s, each with yellow 3 s and clearance 2 s behind it."""
FLOWS: dict[str, bool | None] = dict.fromkeys(APPROACHES, True)
EMPTY: dict[str, bool | None] = dict.fromkeys(APPROACHES, False)


def arterial(**changes: object) -> Junction:
    """Four stages in step with the neighbours; the north's is the coordinated one, and may have 50 s."""
    base = four_stages()
    plan = structs.replace(
        base.plans[0], offset_s=OFFSET_S, actuated_coordination=True, algorithm=Algorithm.ACTUATED
    )
    return structs.replace(base, plans=(structs.replace(plan, **changes),))


def held_up_arterial(east_s: float = 4.0) -> Junction:
    """In which north, which clears for long, is followed by a short stage that it does not conflict with."""
    base = arterial(actuated_coordination=False)
    changes = {"north": {"yellow_s": 6.0, "red_clearance_s": 6.0}, "east": {"min_green_s": 4.0}}
    plan = base.plans[0]
    stages = (structs.replace(one, green_s=east_s) if one.stage == "east" else one for one in plan.stages)
    return structs.replace(
        base,
        movements=tuple(structs.replace(one, **changes.get(one.name, {})) for one in base.movements),
        conflicts=tuple(pair for pair in base.conflicts if set(pair) != {"north", "east"}),
        stages=(*base.stages, Stage(name="of no plan", movements=("north", "east"))),
        plans=(structs.replace(plan, stages=tuple(stages)),),
    )


@dataclass(frozen=True)
class Green:
    """One stage's green, by the wall clock."""

    stage: str
    from_s: float
    to_s: float
    why: frozenset[Termination]
    state: int | None

    @property
    def length_s(self) -> float:
        return self.to_s - self.from_s


class Street:
    """A junction in steps, beside a wall clock that runs as the monotonic one does."""

    def __init__(self, junction: Junction, choose: Callable[[Situation], object], grain_s: float = 1.0) -> None:
        assert faults(junction) == []
        self.junction, self.grain_s = junction, grain_s
        self.lights = Lights(junction, 0.0, choose=choose, limits=Limits(late_step_s=1.1))  # type: ignore[arg-type]
        self.judge = Judge(junction, grain_s)
        self.wall_s = 36_000.0
        self.n_steps = 0
        self.greens: list[Green] = []
        self.notes: set[str] = set()
        self.algorithms: set[str] = set()
        self._began: tuple[str, float] | None = None
        self._state: int | None = None

    @property
    def now_s(self) -> float:
        return self.n_steps * self.grain_s

    def go(self, span_s: float, lanes: Callable[[Step | None], Sequence[Lane]]) -> list[Step]:
        steps: list[Step] = []
        for _ in range(round(span_s / self.grain_s)):
            steps.append(self._step(lanes(steps[-1] if steps else None)))
        return steps

    def _step(self, lanes: Sequence[Lane]) -> Step:
        wall_s = self.wall_s + self.now_s
        step = self.lights.step(self.now_s, Local(2, wall_s), lanes)
        assert step.fault is None, step.fault
        preempting = step.decision.mode is SignalMode.PREEMPT
        self.judge.look(step.aspects, self.now_s, preempting=preempting, judges_waiting=False)
        self.n_steps += 1
        decision = step.decision
        self.notes.add(decision.note)
        self.algorithms.add(decision.algorithm)
        stage = decision.stage if decision.interval is Interval.GREEN else None
        if self._began is not None and stage != self._began[0]:
            why = frozenset(decision.ended.values())
            self.greens.append(Green(*self._began, wall_s, why, self._state))
            self._began = None
        if self._began is None and stage is not None:
            self._began = (stage, wall_s)
        self._state = decision.coordination
        return step


class Traffic:
    """On some lanes somebody crosses every two seconds of green; the others are empty. Some tell nothing."""

    def __init__(self, junction: Junction, flows: dict[str, bool | None]) -> None:
        self._names = [lane.name for lane in junction.lanes]
        self.flows = flows
        self._n = dict.fromkeys(self._names, 0)
        self._headway_s = dict.fromkeys(self._names, float("inf"))

    def __call__(self, step: Step | None) -> list[Lane]:
        return [self._lane(name, step) for name in self._names]

    def _lane(self, name: str, step: Step | None) -> Lane:
        flows = self.flows[name]
        if flows is None:
            return Lane(usual_vps=0.0)
        self._headway_s[name] += 1.0
        if flows and step is not None and step.aspects[name] == "green" and self._headway_s[name] >= 2.0:
            self._n[name] += 1
            self._headway_s[name] = 0.0
        return Lane(n_crossed=self._n[name], headway_s=self._headway_s[name], is_waiting=flows)


def settled(street: Street, stage: str) -> list[Green]:
    """The last greens of a stage that were planned in step."""
    return [green for green in street.greens if green.stage == stage][-3:]


def on_cycle(at_s: float, cycle: float = CYCLE_S, offset_s: float = OFFSET_S) -> float:
    """After the plan's zero."""
    return (at_s - offset_s) % cycle


def drive(junction: Junction, flows: dict[str, bool | None], cycles: int = 10) -> Street:
    street = Street(junction, ladder(junction))
    street.go(cycles * CYCLE_S, Traffic(junction, flows))
    assert street.greens[-1].state == Coordination.IN_STEP
    return street


def test_what_nobody_needs_is_the_coordinated_stages_and_its_green_ends_at_its_moment() -> None:
    street = drive(arterial(), FLOWS | {"east": False, "west": False})
    for green in settled(street, "north"):
        assert (on_cycle(green.to_s), green.length_s) == (15.0, 15.0 + 2 * 8.0)
        assert green.why == {Termination.FORCE_OFF}
    for name in ("east", "west"):
        assert {(green.length_s, green.why) for green in settled(street, name)} == {
            (7.0, frozenset({Termination.GAP_OUT}))
        }
    assert {green.length_s for green in settled(street, "south")} == {15.0}, "no more than its own split"
    assert street.algorithms == {"fixed", "", "actuated"}


def test_with_traffic_everywhere_it_is_the_plan_as_it_stands() -> None:
    busy = drive(arterial(), FLOWS)
    fixed = drive(arterial(actuated_coordination=False), FLOWS)
    assert [(green.stage, green.from_s, green.to_s) for green in busy.greens] == [
        (green.stage, green.from_s, green.to_s) for green in fixed.greens
    ]


def test_a_lane_that_tells_nothing_keeps_its_split_and_without_detectors_all_do() -> None:
    street = drive(arterial(), FLOWS | {"east": None, "south": False, "west": False})
    assert {green.length_s for green in settled(street, "east")} == {15.0}
    assert {green.length_s for green in settled(street, "south")} == {7.0}

    blind = drive(arterial(), dict.fromkeys(APPROACHES))
    assert {green.length_s for name in APPROACHES for green in settled(blind, name)} == {15.0}
    assert "fixed decides instead of actuated: no stop line tells of north, east, south, west" in blind.notes


def test_no_more_is_left_than_the_coordinated_stage_may_have() -> None:
    first, *others = arterial().plans[0].stages
    tight = arterial(stages=(structs.replace(first, max_green_s=20.0), *others))
    assert most_left_s(tight, tight.plans[0]) == 5.0
    street = drive(tight, EMPTY)
    assert {green.length_s for green in settled(street, "north")} == {20.0}
    assert {on_cycle(green.to_s) for green in settled(street, "north")} == {15.0}

    movements = tuple(structs.replace(one, max_red_s=75.0) for one in tight.movements)
    patient = structs.replace(arterial(), movements=movements)
    # Red for the 62 s of the plan (3 of the 80 are its own yellow), a second for each stage, and what was left.
    assert most_left_s(patient, patient.plans[0]) == 75.0 - 62.0 - 4.0
    assert {on_cycle(g.to_s) for g in settled(drive(patient, EMPTY), "north")} == {15.0}


def test_the_log_tells_the_cycles_zero_where_it_is_and_why_greens_ended() -> None:
    junction = arterial()
    street, recorder = Street(junction, ladder(junction)), Recorder(junction)
    steps = street.go(6 * CYCLE_S, Traffic(junction, EMPTY))
    events = [
        event
        for n, step in enumerate(steps)
        for event in recorder.step(float(n), step.decision, step.aspects, step.fault)
    ]
    zeros = [on_cycle(street.wall_s + event.at_s) for event in events if (event.code, event.parameter) == (150, 5)]
    assert zeros[-3:] == [0.0, 0.0, 0.0], "in the middle of a green that began early"
    phases = {name: 2 * n for n, name in enumerate(APPROACHES, 1)}
    why = {(event.code, event.parameter) for event in events[-300:] if event.code in (4, 5, 6)}
    assert why == {(6, phases["north"]), *((4, phases[name]) for name in ("east", "south", "west"))}


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"offset_s": None}, "is for a coordinated plan; give it an offset_s"),
        (
            {"algorithm": Algorithm.WEBSTER},
            "greens do not end early by webster; make algorithm adaptive or actuated",
        ),
    ],
)
def test_a_plan_that_cannot_be_so_is_refused(changes: dict[str, object], complaint: str) -> None:
    (found,) = faults(arterial(**changes))
    assert found.path == "plans[0].actuated_coordination"
    assert found.message.startswith(complaint)


def test_a_movement_of_two_stages_has_the_time_between_them_too() -> None:
    base = four_stages()
    first = structs.replace(base.stages[0], movements=("north", "south"))
    no_conflict = tuple(pair for pair in base.conflicts if set(pair) != {"north", "south"})
    junction = structs.replace(base, stages=(first, *base.stages[1:]), conflicts=no_conflict)
    order = ("south", "north", "east", "west")
    plan = structs.replace(
        base.plans[0], stages=tuple(PlanStage(stage=name, green_s=15.0) for name in order), offset_s=0.0
    )
    assert splits_s(junction, plan) == {"south": 35.0, "north": 20.0, "east": 20.0, "west": 20.0}


def test_a_clearance_that_outlasts_a_short_stage_is_told_and_makes_the_plan_late() -> None:
    """North clears for 12 s; east, which it does not conflict with, and its own clearance take 9 of them."""
    junction = held_up_arterial()
    (plan,) = junction.plans
    assert held_up(junction, plan) == [HeldUp("south", "north", "north", ("east",), 3.0)]
    (told,) = late_plans(junction)
    assert told.startswith(
        "plan day: south begins 3 s late in every cycle, since north still clears from its green"
    )
    assert "give east 3 s more green" in told
    street = Street(junction, lambda _: None)
    street.go(8 * cycle_s(junction, plan), Traffic(junction, FLOWS))
    by_stage = {name: settled(street, name) for name in APPROACHES}
    ends_s = [green.to_s for green in street.greens if green.stage == "north"]
    assert {min(one.from_s - end_s for end_s in ends_s if end_s < one.from_s) for one in by_stage["south"]} == {
        12.0
    }
    assert any(green.state == Coordination.SUBTRACTING for one in by_stage.values() for green in one)

    mended = held_up_arterial(east_s=7.0)
    assert late_plans(mended) == []
    street = Street(mended, lambda _: None)
    street.go(8 * cycle_s(mended, mended.plans[0]), Traffic(mended, FLOWS))
    assert {green.state for name in APPROACHES for green in settled(street, name)} == {Coordination.IN_STEP}


def adversary(rng: random.Random) -> Callable[[Situation], int | None]:
    """Ends greens whenever it likes, or breaks."""
    share = rng.choice([0.0, 0.1, 0.9, 1.0])

    def choose(situation: Situation) -> int | None:
        if rng.random() < 0.02:
            raise ZeroDivisionError("the chooser broke")
        return len(situation.red_s) - 1 - situation.stage if rng.random() < share else None

    return choose


def some_arterial(n_movements: int, n_stages: int, seed: int) -> Junction:
    """Any junction with a plan that leaves its stages some room, and its movements some patience."""
    rng = random.Random(seed)
    base = random_junction(n_movements, n_stages, 1, seed)
    (plan,) = base.plans
    steps = []
    for name in dict.fromkeys(step.stage for step in plan.stages):
        least_s, most_s = bounds_s(base, PlanStage(stage=name, green_s=0.0))
        steps.append(PlanStage(stage=name, green_s=min(most_s - 3.0, least_s + rng.uniform(3.0, 15.0))))
    plan = Plan(name="wave", stages=tuple(steps), algorithm=Algorithm.ACTUATED, actuated_coordination=True)
    plan = structs.replace(plan, offset_s=rng.uniform(0.0, 0.99) * cycle_s(base, plan))
    reds_s = longest_reds_s(base, [one.stage for one in steps], [one.green_s for one in steps])
    # Any plan is interrupted where who waits could not be served in time in the worst order, any more.
    reach_s = least_reach_s(base, plan)
    patience_s = len(steps) * ROUNDING_S + rng.choice([2.0, 20.0, 60.0])
    movements = tuple(
        structs.replace(one, max_red_s=reds_s[one.name] + reach_s[one.name] + patience_s) for one in base.movements
    )
    return structs.replace(base, movements=movements, plans=(plan,))


def in_step(junction: Junction, grain_s: float, rng: random.Random) -> list[Green]:
    """The greens of 14 cycles, from when it is in step on. Start-up kept all red for longer than some may be."""
    (plan,) = junction.plans
    street = Street(junction, adversary(rng), grain_s)
    street.go(14 * cycle_s(junction, plan), lambda _: [Lane(is_waiting=False)] * len(junction.lanes))
    greens = street.greens[2 * len(plan.stages) :]
    states = [green.state for green in greens]
    return greens[states.index(Coordination.IN_STEP) :]


@settings(max_examples=8, deadline=None, derandomize=True)
@given(st.integers(2, 8), st.integers(2, 5), st.integers(0, 2**32), st.sampled_from([0.25, 0.5]))
def test_whatever_ends_early_cycle_offset_splits_and_minimums_are_kept(
    n_movements: int, n_stages: int, seed: int, grain_s: float
) -> None:
    junction = some_arterial(n_movements, n_stages, seed)
    (plan,) = junction.plans
    first, *others = plan.stages
    assume(faults(junction) == [] and most_left_s(junction, plan) > 1.0)
    cycle, zero_s = cycle_s(junction, plan), plan.offset_s or 0.0
    always = {Coordination.IN_STEP}
    assume(not held_up(junction, plan))
    greens = in_step(junction, grain_s, random.Random(seed))
    assert {green.state for green in greens} == always, "once in step, always"
    assert not any(Termination.MAX_OUT in green.why for green in greens)
    ends_s = [green.to_s for green in greens if green.stage == first.stage]
    late_s = [(end_s - zero_s - first.green_s + cycle / 2.0) % cycle - cycle / 2.0 for end_s in ends_s]
    assert all(-1e-6 <= one_s <= grain_s + 1e-6 for one_s in late_s[1:]), late_s
    for step in others:
        lengths_s = [green.length_s for green in greens[1:] if green.stage == step.stage]
        assert min(lengths_s) >= bounds_s(junction, step)[0] - 1e-6
        assert max(lengths_s) <= step.green_s + grain_s + 1e-6
