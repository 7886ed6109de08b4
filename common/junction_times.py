"""Times that follow from a junction's description: clearances between stages, bounds of greens, cycles.

All in seconds. The junction's names are taken to be right; `junction_checks` tells where they are not.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from common.junction import Junction, Movement, Plan, PlanStage, conflict_pairs

ROUNDING_S = 1.0
"""A step of control may be so coarse, and each stage of a round last longer by it."""


_LEAST_LATE_S = 1e-6


def rivals(junction: Junction) -> dict[str, frozenset[str]]:
    """Of each movement those that conflict with it."""
    found: dict[str, set[str]] = {movement.name: set() for movement in junction.movements}
    for a, b in conflict_pairs(junction):
        found[a].add(b)
        found[b].add(a)
    return {name: frozenset(others) for name, others in found.items()}


def start_red_s(junction: Junction) -> float:
    """How long all is red before the first green: a green that was cut off before may need its yellow, too."""
    return max(junction.startup.all_red_s, *(clearance_s(movement) for movement in junction.movements))


def movements_of(junction: Junction, stage: str) -> tuple[Movement, ...]:
    """The movements that are green in a stage."""
    names = next(one.movements for one in junction.stages if one.name == stage)
    return tuple(movement for movement in junction.movements if movement.name in names)


def lanes_of(junction: Junction, stage: str) -> frozenset[str]:
    """The lanes that are green in a stage."""
    return frozenset(lane for movement in movements_of(junction, stage) for lane in movement.lanes)


def clearance_s(movement: Movement) -> float:
    """From the end of a movement's green to the green of what conflicts with it: yellow and red clearance."""
    return movement.yellow_s + movement.red_clearance_s


def intergreen_s(junction: Junction, leaving: str, coming: str) -> float:
    """From the end of one stage's green until all of another is green; 0 where nothing that goes conflicts.

    Movements of both stay green, and each new one begins as soon as those that conflict with it are cleared.
    """
    return sum(intergreen_split_s(junction, leaving, coming))


def intergreen_split_s(junction: Junction, leaving: str, coming: str) -> tuple[float, float]:
    """The same in two parts: yellow, and red clearance, of the movement that takes longest to clear."""
    old, new = movements_of(junction, leaving), movements_of(junction, coming)
    conflicts = rivals(junction)
    clearing = [
        goes
        for goes in old
        for comes in new
        if goes not in new and comes not in old and goes.name in conflicts[comes.name]
    ]
    slowest = max(clearing, key=clearance_s, default=None)
    return (0.0, 0.0) if slowest is None else (slowest.yellow_s, slowest.red_clearance_s)


def hard_min_s(movements: Collection[Movement]) -> float:
    """The shortest green of a stage that all its movements allow."""
    return max((movement.min_green_s for movement in movements), default=0.0)


def bounds_s(junction: Junction, step: PlanStage) -> tuple[float, float]:
    """The least and the most green of a plan's stage."""
    movements = movements_of(junction, step.stage)
    least_s = hard_min_s(movements) if step.min_green_s is None else step.min_green_s
    most_s = min((movement.max_green_s for movement in movements), default=least_s)
    return least_s, most_s if step.max_green_s is None else step.max_green_s


def intergreens_s(junction: Junction, stages: Sequence[str]) -> tuple[float, ...]:
    """After each stage of an order, until the next one is green; after the last until the first."""
    following = (*stages[1:], *stages[:1])
    return tuple(intergreen_s(junction, a, b) for a, b in zip(stages, following, strict=True))


def cycle_s(junction: Junction, plan: Plan) -> float:
    """How long a plan's round takes at its own greens."""
    stages = [step.stage for step in plan.stages]
    return sum(step.green_s for step in plan.stages) + sum(intergreens_s(junction, stages))


def splits_s(junction: Junction, plan: Plan) -> dict[str, float]:
    """Of each movement that a plan serves, what it has of a round: greens with their yellow and red clearance."""
    stages = [movements_of(junction, step.stage) for step in plan.stages]
    between_s = intergreens_s(junction, [step.stage for step in plan.stages])
    found: dict[str, float] = {}
    for i, step in enumerate(plan.stages):
        following = stages[(i + 1) % len(stages)]
        for movement in stages[i]:
            end_s = between_s[i] if movement in following else clearance_s(movement)
            found[movement.name] = found.get(movement.name, 0.0) + step.green_s + end_s
    return found


def most_left_s(junction: Junction, plan: Plan) -> float:
    """How much of a cycle the other stages may leave to the first one, where coordination is actuated.

    No more than they have above their least greens, nor than the first one's most green has room for; and who was
    served early is not to be red for longer than they may, until they are served at the plan's own moment.
    """
    if plan.offset_s is None or not plan.actuated_coordination or len(plan.stages) < 2:
        return 0.0
    first, *others = plan.stages
    rooms_s = [
        sum(max(0.0, step.green_s - bounds_s(junction, step)[0]) for step in others),
        bounds_s(junction, first)[1] - first.green_s,
    ]
    names = [step.stage for step in plan.stages]
    held = {movement.name for movement in movements_of(junction, first.stage)}
    reds_s = longest_reds_s(junction, names, [step.green_s for step in plan.stages])
    for movement in junction.movements:
        if movement.name in reds_s and movement.name not in held:
            rooms_s.append(movement.max_red_s - reds_s[movement.name] - ROUNDING_S * len(names))
    return max(0.0, min(rooms_s))


def longest_reds_s(junction: Junction, stages: Sequence[str], greens_s: Sequence[float]) -> dict[str, float]:
    """How long each movement is red at most in a round of these stages with these greens; without those that none
    of the stages has."""
    between_s = intergreens_s(junction, stages)
    found: dict[str, float] = {}
    for movement in junction.movements:
        is_green = [movement in movements_of(junction, stage) for stage in stages]
        if any(is_green):
            found[movement.name] = _longest_red_s(movement, is_green, greens_s, between_s)
    return found


def _longest_red_s(
    movement: Movement, is_green: Sequence[bool], greens_s: Sequence[float], between_s: Sequence[float]
) -> float:
    longest_s, red_s = 0.0, 0.0
    n = len(is_green)
    start = is_green.index(True)
    for i in (k % n for k in range(start, start + n)):
        if is_green[i]:
            red_s = 0.0 if is_green[(i + 1) % n] else max(0.0, between_s[i] - movement.yellow_s)
        else:
            red_s += greens_s[i] + between_s[i]
        longest_s = max(longest_s, red_s)
    return longest_s


@dataclass(frozen=True, slots=True)
class HeldUp:
    """A stage that begins later than a plan says, since a movement of long before still clears.

    Attributes:
        stage: that is late.
        movement: which clears, be it to be green again itself; it was in `left`, and is not in what lies between.
        between: the stages from `left` to `stage`.
        late_s: by how much, at the plan's own greens.
    """

    stage: str
    movement: str
    left: str
    between: tuple[str, ...]
    late_s: float

    def in_words(self, plan: str) -> str:
        """What is so, and what to do about it."""
        late, between = f"{self.late_s:.3g} s", " and ".join(self.between)
        return (
            f"plan {plan}: {self.stage} begins {late} late in every cycle, since {self.movement} still clears "
            f"from its green in {self.left}; give {between} {late} more green and take it from others, or change "
            "the order"
        )


def held_up(junction: Junction, plan: Plan) -> list[HeldUp]:
    """The stages of a plan that a clearance from before the preceding stage keeps from beginning in time.

    A plan's round takes the clearances from each stage to the next. One that outlasts the whole of a short stage
    (people's way across, mostly) is in no cycle: a coordinated plan has to make good for it in each round.
    """
    names = [step.stage for step in plan.stages]
    between_s = intergreens_s(junction, names)
    # Worked out once: the lights themselves ask, between two steps.
    greens = [frozenset(movement.name for movement in movements_of(junction, name)) for name in names]
    conflicts = rivals(junction)
    found = []
    for position in range(len(names)):
        coming = greens[position] - greens[position - 1]
        held: frozenset[str] = frozenset().union(*(conflicts[name] for name in coming))
        waits_for = [one for one in junction.movements if one.name in held or one.name in coming]
        lates = (_late_for(one, plan, position, between_s, greens, is_rival=one.name in held) for one in waits_for)
        late = max((one for one in lates if one), key=lambda one: one.late_s, default=None)
        if late is not None and late.late_s > _LEAST_LATE_S:
            found.append(late)
    return found


def late_plans(junction: Junction) -> list[str]:
    """Which coordinated plans cannot be kept, why, and what to do about it."""
    return [
        one.in_words(plan.name)
        for plan in junction.plans
        if plan.offset_s is not None
        for one in held_up(junction, plan)
    ]


def _late_for(
    movement: Movement,
    plan: Plan,
    position: int,
    between_s: Sequence[float],
    greens: Sequence[frozenset[str]],
    *,
    is_rival: bool,
) -> HeldUp | None:
    """How late one position's stage is for a movement; None: it does not clear from before the preceding stage."""
    n, passed_s = len(greens), 0.0
    for back in range(1, n + 1):
        at = (position - back) % n
        passed_s += between_s[at]
        if movement.name in greens[at]:
            between = tuple(plan.stages[(at + k) % n].stage for k in range(1, back))
            needs_s = clearance_s(movement) if is_rival else movement.yellow_s
            stage, left = plan.stages[position].stage, plan.stages[at].stage
            return HeldUp(stage, movement.name, left, between, needs_s - passed_s) if between else None
        passed_s += plan.stages[at].green_s
    return None
