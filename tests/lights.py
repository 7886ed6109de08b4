"""What the tests of lights share: random junctions that are free of faults, and a judge of what is shown.

The judge knows the rules by the description alone. It shares no code with the interlock or the controller, so that
what they have in common cannot be wrong in all three.
"""

import math
import random
from collections.abc import Collection, Mapping
from itertools import combinations

from hypothesis import strategies as st
from msgspec import structs

from common.codes import Aspect
from common.junction import (
    Algorithm,
    Junction,
    Lane,
    Movement,
    MovementKind,
    Plan,
    PlanStage,
    Preemption,
    Recall,
    Stage,
    StartUp,
)
from common.junction_checks import faults, least_reach_s
from common.junction_times import ROUNDING_S, cycle_s, longest_reds_s

EPSILON_S = 1e-3
STEADY = {Aspect.RED, Aspect.YELLOW, Aspect.GREEN}
GO = {Aspect.GREEN, Aspect.YELLOW, Aspect.FLASHING_YELLOW}


def junctions(max_movements: int = 16) -> st.SearchStrategy[Junction]:
    """Random junctions without faults; they become smaller while a failure is narrowed down."""
    return st.builds(
        random_junction,
        st.integers(1, max_movements),
        st.integers(1, 6),
        st.integers(1, 3),
        st.integers(0, 2**32),
    )


def random_junction(n_movements: int, n_stages: int, n_plans: int, seed: int) -> Junction:
    """One of them; the same for the same arguments."""
    rng = random.Random(seed)
    movements = [_movement(i, rng) for i in range(n_movements)]
    names = [movement.name for movement in movements]
    members = [{rng.choice(names)} for _ in range(n_stages)]
    for name in names:
        for stage in rng.sample(members, rng.choice([1, 1, 1, min(2, n_stages)])):
            stage.add(name)
    together = {(a, b) for stage in members for a in stage for b in stage}
    apart = [(a, b) for i, a in enumerate(names) for b in names[:i] if (a, b) not in together]
    # Of the others, some are forgotten, and some may go together by a stage of no plan.
    conflicts = tuple((a, b) for a, b in apart if rng.random() < 0.8 or "walk" in a + b)
    free = [pair for pair in apart if pair not in conflicts and rng.random() < 0.5]
    junction = Junction(
        name="random",
        lanes=tuple(Lane(name=lane, approach="all") for one in movements for lane in one.lanes)
        or (Lane(name="spare", approach="all"),),
        movements=tuple(movements),
        conflicts=conflicts,
        stages=tuple(Stage(name=f"stage-{i}", movements=tuple(sorted(one))) for i, one in enumerate(members)),
        plans=(Plan(name="none yet", stages=()),),
        startup=StartUp(
            stage=f"stage-{rng.randrange(n_stages)}",
            flash_s=rng.choice([0.0, 0.0, 3.0]),
            all_red_s=rng.choice([3.0, 6.0]),
        ),
        preemptions=tuple(
            Preemption(
                name=f"engine-{i}",
                number=i + 1,
                stage=f"stage-{rng.randrange(n_stages)}",
                min_dwell_s=rng.choice([3.0, 7.0]),
                max_presence_s=rng.choice([20.0, 120.0]),
                entry_min_green_s=rng.choice([0.0, 2.0]),
                exit_stage=rng.choice([None, f"stage-{rng.randrange(n_stages)}"]),
            )
            for i in range(rng.randrange(3))
        ),
    )
    spare = tuple(Stage(name=f"spare-{i}", movements=pair) for i, pair in enumerate(free))
    junction = structs.replace(junction, stages=(*junction.stages, *spare))
    finished = _with_plans(junction, n_plans, rng)
    assert faults(finished) == []
    return finished


def _movement(i: int, rng: random.Random) -> Movement:
    # The first is a vehicle's, so that there is a lane.
    if i and rng.random() < 0.25:
        return Movement(
            name=f"walk-{i}",
            phase=i + 1,
            kind=MovementKind.PEDESTRIAN,
            yellow_s=0.0,
            min_green_s=rng.choice([4.0, 7.0]),
            max_green_s=60.0,
            red_clearance_s=rng.choice([3.0, 9.5, 14.0]),
            recall=rng.choice(list(Recall)),
        )
    return Movement(
        name=f"way-{i}",
        phase=i + 1,
        lanes=(f"lane-{i}",),
        yellow_s=rng.choice([3.0, 3.0, 3.3, 4.5, 6.0]),
        min_green_s=rng.choice([1.0, 5.0, 7.0, 10.5]),
        max_green_s=rng.choice([15.0, 30.0, 50.0]),
        red_clearance_s=rng.choice([0.0, 1.0, 2.0, 2.4, 6.0]),
        recall=rng.choice([Recall.MIN, Recall.MIN, Recall.NONE, Recall.MAX]),
    )


def _with_plans(junction: Junction, n_plans: int, rng: random.Random) -> Junction:
    """Plans of all stages but spare ones in random order, and bounds of red that can just be kept, or more."""
    plans = []
    for i in range(n_plans):
        order = [stage.name for stage in junction.stages if not stage.name.startswith("spare")]
        rng.shuffle(order)
        if len(order) > 2 and rng.random() < 0.3:
            order.insert(rng.randrange(len(order)), rng.choice(order))
        plan = Plan(
            name=f"plan-{i}",
            algorithm=rng.choice([Algorithm.ADAPTIVE, Algorithm.FIXED]),
            stages=tuple(
                PlanStage(stage=name, green_s=rng.choice([11.0, 12.5, 15.0]), min_green_s=rng.choice([None, 11.0]))
                for name in order
            ),
        )
        if rng.random() < 0.3:
            plan = structs.replace(plan, offset_s=rng.uniform(0.0, 0.99) * cycle_s(junction, plan))
            may_be_actuated = plan.algorithm is Algorithm.ADAPTIVE and len(order) > 1
            plan = structs.replace(plan, actuated_coordination=may_be_actuated and rng.random() < 0.7)
        plans.append(plan)
    junction = structs.replace(junction, plans=tuple(plans))
    slack_s = rng.choice([0.0, 0.0, 20.0, 60.0])
    movements = []
    for movement in junction.movements:
        reds_s = [_red_s(junction, plan, movement.name) for plan in plans]
        movements.append(structs.replace(movement, max_red_s=max(reds_s) + slack_s))
    return structs.replace(junction, movements=tuple(movements))


def _red_s(junction: Junction, plan: Plan, movement: str) -> float:
    names = [step.stage for step in plan.stages]
    own_s = longest_reds_s(junction, names, [step.green_s for step in plan.stages])[movement]
    return max(own_s, least_reach_s(junction, plan)[movement]) + ROUNDING_S * len(names)


def _apart(junction: Junction) -> set[tuple[str, str]]:
    """Who must not go together: in conflict, or in no stage together, from no common lane, and none gives way."""
    found = set(junction.conflicts)
    for a, b in combinations(junction.movements, 2):
        meets = any({a.name, b.name} <= set(stage.movements) for stage in junction.stages)
        gives_way = a.name in b.gives_way_to or b.name in a.gives_way_to
        if not (meets or gives_way or set(a.lanes) & set(b.lanes)):
            found.add((a.name, b.name))
    return found


class Judge:
    """Looks at what is shown, step by step, and asserts every rule.

    Args:
        grain_s: how far steps lie apart at most; waiting is judged to that.
    """

    def __init__(self, junction: Junction, grain_s: float) -> None:
        self._movements = {movement.name: movement for movement in junction.movements}
        self._conflicts = _apart(junction)
        longest_s = max(one.yellow_s + one.red_clearance_s for one in junction.movements)
        self._all_red_s = max(junction.startup.all_red_s, longest_s)
        self._cut_s = min((one.entry_min_green_s for one in junction.preemptions), default=math.inf)
        self._grain_s = grain_s
        # A round lasts longer than described where steps are coarse: yellow, clearance and green of each stage.
        n_steps = max(len(plan.stages) for plan in junction.plans)
        self._late_s = max(0.0, 3.0 * grain_s - ROUNDING_S) * n_steps + grain_s + 1.0
        self._now: dict[str, Aspect] = {}
        self._since_s: dict[str, float] = {}
        self._red_s: float | None = None
        self._had_green = False
        self._waits_s: dict[str, float] = {}
        self.n_greens = 0
        self.served: set[str] = set()

    def look(
        self,
        shown: Mapping[str, Aspect],
        now_s: float,
        *,
        preempting: bool = False,
        calling: Collection[str] = (),
        disturbed: bool = False,
        judges_waiting: bool = True,
    ) -> None:
        """Judge one step.

        Args:
            calling: movements that have somebody waiting, or a recall.
            disturbed: waiting counts anew, as after another plan was ordered.
        """
        assert shown.keys() == self._movements.keys()
        self._one_steady_colour(shown)
        for a, b in self._conflicts:
            assert not (shown[a] in GO and shown[b] in GO), f"S1: {a} {shown[a]}, {b} {shown[b]}"
        for name, aspect in shown.items():
            if self._now and self._now[name] is not aspect:
                self._change(name, aspect, shown, now_s, preempting)
        for name, aspect in shown.items():
            if not self._now or self._now[name] is not aspect:
                self._since_s[name] = now_s
        self._follow_startup(shown, now_s)
        self._now = dict(shown)
        self._wait(calling, now_s, disturbed or preempting or not judges_waiting)

    def _one_steady_colour(self, shown: Mapping[str, Aspect]) -> None:
        if any(aspect in STEADY for aspect in shown.values()):
            assert all(aspect in STEADY for aspect in shown.values()), f"S5: {dict(shown)}"

    def _change(
        self, name: str, aspect: Aspect, shown: Mapping[str, Aspect], now_s: float, preempting: bool
    ) -> None:
        movement, was, for_s = self._movements[name], self._now[name], now_s - self._since_s[name]
        if aspect is Aspect.FLASHING_RED:
            return
        people = movement.kind is MovementKind.PEDESTRIAN
        if was is Aspect.GREEN:
            assert aspect is (Aspect.RED if people else Aspect.YELLOW), f"S3: {name} {was} -> {aspect}"
            least_s = min(movement.min_green_s, self._cut_s) if preempting else movement.min_green_s
            assert for_s > least_s - EPSILON_S, f"S4: {name} green for {for_s}"
        elif was is Aspect.YELLOW:
            assert aspect is Aspect.RED, f"S3: {name} {was} -> {aspect}"
            assert movement.yellow_s - EPSILON_S < for_s < movement.yellow_s + self._grain_s + EPSILON_S, "S3"
        elif was is Aspect.RED:
            assert aspect is Aspect.GREEN, f"S3: {name} {was} -> {aspect}"
            self._begins(name, shown, now_s)
        elif was is Aspect.FLASHING_YELLOW:
            assert aspect is Aspect.YELLOW, f"S3: {name} {was} -> {aspect}"
        else:
            assert aspect in (Aspect.RED, Aspect.DARK, Aspect.FLASHING_YELLOW), f"L2: {name} {was} -> {aspect}"
            assert not (was is Aspect.DARK and aspect is Aspect.FLASHING_YELLOW), (
                "L2: from dark to flashing yellow"
            )
            if aspect is Aspect.FLASHING_YELLOW:
                self._cautions(name, now_s)

    def _begins(self, name: str, shown: Mapping[str, Aspect], now_s: float) -> None:
        self.n_greens += 1
        self.served.add(name)
        assert self._had_green or (
            self._red_s is not None and now_s - self._red_s > self._all_red_s - EPSILON_S
        ), "S7: green before start-up was over"
        for pair in self._conflicts:
            if name in pair:
                rival = pair[0] if pair[1] == name else pair[1]
                assert shown[rival] is Aspect.RED, "S2"
                red_s = now_s - self._since_s[rival] if self._now[rival] is Aspect.RED else 0.0
                assert red_s > self._movements[rival].red_clearance_s - EPSILON_S, (
                    f"S2: {name} green after {rival} was red for {red_s} s"
                )

    def _cautions(self, name: str, now_s: float) -> None:
        for pair in self._conflicts:
            if name in pair:
                rival = self._movements[pair[0] if pair[1] == name else pair[1]]
                least_s = rival.yellow_s + rival.red_clearance_s
                red_s = now_s - self._since_s[rival.name]
                assert red_s > least_s - EPSILON_S, f"S2: {name} flashes yellow {red_s} s after {rival.name}"

    def _follow_startup(self, shown: Mapping[str, Aspect], now_s: float) -> None:
        if any(aspect not in STEADY for aspect in shown.values()):
            self._had_green, self._red_s = False, None
        elif Aspect.GREEN in shown.values():
            self._had_green = True
        elif self._red_s is None and not self._had_green and Aspect.YELLOW not in shown.values():
            self._red_s = now_s

    def _wait(self, calling: Collection[str], now_s: float, disturbed: bool) -> None:
        if disturbed or not self._had_green:
            self._waits_s = {}
        for name, aspect in self._now.items():
            if aspect is not Aspect.RED or name not in calling or not self._had_green:
                self._waits_s.pop(name, None)
                continue
            waited_s = now_s - self._waits_s.setdefault(name, now_s)
            most_s = self._movements[name].max_red_s + self._late_s
            assert waited_s < most_s, f"L1: {name} waits for {waited_s} s, and should for {most_s} s at most"
