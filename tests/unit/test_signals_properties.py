"""Whatever is ordered, chosen, called or late, the lights keep every rule, by a judge that shares no code.

S1 to S8, L1 and L2 are the rules' names in `tests/lights.py`.
"""

import random

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from common.codes import Aspect, SignalMode
from common.commands import Automatic, ClearFault, FixedPlan, Flash, ManualOverride, Off, Preempt
from common.junction import Junction, Recall
from common.schedule import Local
from edge_agent.domain.signals.interlock import Limits
from edge_agent.domain.signals.lights import Lights, Step
from edge_agent.domain.signals.steps import Chosen, FaultCode, Lane, Situation
from tests.lights import STEADY, Judge, junctions

LATE_S = 1.01
GRAINS_S = (0.1, 0.25, 0.5, 1.0)


class Fickle:
    """Chooses anything, also what is not there, and sometimes breaks."""

    def __init__(self, junction: Junction, rng: random.Random) -> None:
        self._n_stages, self._rng = len(junction.stages), rng
        self.temper = rng.choice(["stubborn", "restless", "random", "broken", "fickle"])

    def __call__(self, situation: Situation) -> int | Chosen | None:
        temper = self._rng.choice(["random", "broken", "stubborn"]) if self.temper == "fickle" else self.temper
        if temper == "stubborn":
            return None
        if temper == "restless":
            return (situation.stage + 1) % self._n_stages
        if temper == "broken" and self._rng.random() < 0.5:
            raise ZeroDivisionError("the chooser broke")
        chosen = self._rng.randrange(-2, self._n_stages + 2)
        return Chosen(chosen, "odd", by_plan=self._rng.random() < 0.2) if self._rng.random() < 0.5 else chosen


class Drive:
    """One junction's lights, judged in every step."""

    def __init__(self, junction: Junction, rng: random.Random, grain_s: float) -> None:
        self.junction, self.rng, self.grain_s = junction, rng, grain_s
        self.chooser = Fickle(junction, rng)
        self.now_s = rng.choice([0.0, 1e6]) + rng.random()
        self.lights = Lights(junction, self.now_s, choose=self.chooser, limits=Limits(late_step_s=LATE_S))
        self.judge = Judge(junction, grain_s)
        self.waiting: list[bool | None] = [False] * len(junction.lanes)
        self.wall_s = rng.uniform(0.0, 86_400.0)
        self.knows_wall = True
        self.disturbed = False
        self.ends = False
        """Flash or off was ordered: nobody is served any more."""
        self.last: Step | None = None

    def step(self, *, late_s: float = 0.0) -> Step:
        gap_s = self.grain_s * self.rng.choice([0.5, 1.0, 1.0, 1.0]) + late_s
        self.now_s += gap_s
        self.wall_s = (self.wall_s + gap_s) % 86_400.0
        local = Local(1, self.wall_s) if self.knows_wall else None
        lanes = [Lane(is_waiting=waits) for waits in self.waiting]
        step = self.lights.step(self.now_s, local, lanes)
        if self.last is not None:
            was, is_ = self.last.decision, step.decision
            self.disturbed |= (was.plan, was.mode) != (is_.plan, is_.mode)
        self.last = step
        self.judge.look(
            step.aspects,
            self.now_s,
            preempting=step.decision.mode is SignalMode.PREEMPT,
            calling=self.calling(),
            disturbed=self.disturbed or self.ends,
            judges_waiting=step.decision.interval not in ("flash", "off", "start_up"),
        )
        self.disturbed = False
        return step

    def calling(self) -> set[str]:
        index = {lane.name: i for i, lane in enumerate(self.junction.lanes)}
        return {
            movement.name
            for movement in self.junction.movements
            if movement.recall is not Recall.NONE
            or any(self.waiting[index[lane]] is not False for lane in movement.lanes)
        }

    def call(self, share: float) -> None:
        self.waiting = [
            self.rng.choice([True, None]) if self.rng.random() < share else False for _ in self.waiting
        ]


class LightsKeepTheRules(RuleBasedStateMachine):
    """Orders, preemptions, calls, choosers and steps as they come. No fault, ever."""

    drive: Drive

    @initialize(junction=junctions(), seed=st.integers(0, 2**32), grain_s=st.sampled_from(GRAINS_S))
    def begin(self, junction: Junction, seed: int, grain_s: float) -> None:
        self.drive = Drive(junction, random.Random(seed), grain_s)

    @rule(n=st.integers(1, 60), share=st.sampled_from([None, 0.0, 0.3, 1.0]))
    def go_on(self, n: int, share: float | None) -> None:
        if share is not None:
            self.drive.call(share)
        for _ in range(n):
            self.drive.step()
            assert self.drive.lights.interlock.fault is None

    @rule(temper=st.sampled_from(["stubborn", "restless", "random", "broken", "fickle"]))
    def change_temper(self, temper: str) -> None:
        self.drive.chooser.temper = temper

    @rule(n=st.integers(0, 3), expires_s=st.sampled_from([None, 10.0, 100.0]))
    def order_fixed(self, n: int, expires_s: float | None) -> None:
        order = FixedPlan(by="test", plan=f"plan-{n}", expires_s=expires_s)
        accepted = self.drive.lights.order(order, self.drive.now_s).accepted
        assert accepted is (n < len(self.drive.junction.plans))
        self.drive.ends &= not accepted

    @rule(cycle_s=st.floats(0.0, 300.0), greens_s=st.lists(st.floats(0.0, 60.0), max_size=16))
    def order_override(self, cycle_s: float, greens_s: list[float]) -> None:
        lanes = {lane.name: green_s for lane, green_s in zip(self.drive.junction.lanes, greens_s, strict=False)}
        order = ManualOverride(by="test", cycle_s=cycle_s, lane_green_s=lanes, expires_s=60.0)
        self.drive.ends &= not self.drive.lights.order(order, self.drive.now_s).accepted

    @rule(kind=st.sampled_from([Automatic, Automatic, Flash, Off]))
    def order_mode(self, kind: type[Automatic | Flash | Off]) -> None:
        assert self.drive.lights.order(kind(by="test"), self.drive.now_s).accepted
        self.drive.ends = kind is not Automatic

    @precondition(lambda self: self.drive.junction.preemptions)
    @rule(on=st.booleans(), which=st.integers(0, 9))
    def preempt(self, on: bool, which: int) -> None:
        described = self.drive.junction.preemptions
        name = described[which % len(described)].name
        self.drive.lights.order(Preempt(by="test", preemption=name, on=on), self.drive.now_s)

    @rule(hours=st.floats(-30.0, 30.0), knows=st.booleans())
    def jump_wall_clock(self, hours: float, knows: bool) -> None:
        self.drive.wall_s = (self.drive.wall_s + 3600.0 * hours) % 86_400.0
        self.drive.knows_wall = knows

    @rule(kind=st.sampled_from(["late", "back", "told", "unread"]))
    def break_something_and_clear(self, kind: str) -> None:
        """A fault flashes at once, is kept, and is left through start-up only (S6, S7, L2)."""
        drive, interlock = self.drive, self.drive.lights.interlock
        is_steady = set(drive.step().aspects.values()) <= STEADY
        if kind == "late" and is_steady:
            drive.step(late_s=LATE_S)
        elif kind == "back":
            drive.now_s -= 3.0
            drive.step()
        elif kind == "unread":
            interlock.read_back({}, drive.now_s)
            interlock.read_back({}, drive.now_s + 0.3)
        else:
            interlock.report(FaultCode.DRIVER_FAILED, "told", drive.now_s)
        assert interlock.fault is not None
        for _ in range(3):
            assert set(drive.step().aspects.values()) == {Aspect.FLASHING_RED}
        assert not drive.lights.order(ClearFault(by="test"), drive.now_s).accepted
        assert not drive.lights.order(FixedPlan(by="test", plan="plan-0"), drive.now_s).accepted
        while drive.lights.interlock.fault is not None:
            assert set(drive.step().aspects.values()) == {Aspect.FLASHING_RED}
            drive.lights.order(ClearFault(by="test"), drive.now_s)

    @invariant()
    def there_is_no_fault(self) -> None:
        if hasattr(self, "drive"):
            assert self.drive.lights.interlock.fault is None


@given(
    junction=junctions(),
    seed=st.integers(0, 2**32),
    grain_s=st.sampled_from([0.25, 1.0]),
    temper=st.sampled_from(["stubborn", "restless", "random", "fickle"]),
    share=st.sampled_from([0.0, 0.2, 1.0]),
)
@settings(max_examples=40)
def test_everybody_who_calls_or_has_a_recall_is_served_in_time(
    junction: Junction, seed: int, grain_s: float, temper: str, share: float
) -> None:
    """L1, undisturbed and for long: the judge's bound is `max_red_s`."""
    drive = Drive(junction, random.Random(seed), grain_s)
    drive.chooser.temper, drive.knows_wall = temper, False
    for i in range(800):
        if i % 25 == 0:
            drive.call(share)
        drive.step()
        # Where steps are fine, the bound is kept to the second.
        assert grain_s > 0.25 or not drive.lights.interlock.starving
    assert drive.lights.interlock.fault is None


TestLightsKeepTheRules = LightsKeepTheRules.TestCase
TestLightsKeepTheRules.settings = settings(max_examples=30, stateful_step_count=30)
