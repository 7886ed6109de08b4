"""A manual override: a cycle and a green for each lane, the last one's computed; refused whole where it cannot be.

A lane's green is that of the stages in which it goes. Lanes of one stage share a time. What the cycle has left
after greens, yellows and clearances is the green of the stage of which no lane was given.

The lights and the collector both compute by this, so that who orders sees beforehand what the lights will do.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from common.commands import FixedPlan, ManualOverride, Order, OrderResult, Preempt
from common.junction import Junction, Plan
from common.junction_shape import hint
from common.junction_times import bounds_s, intergreen_split_s, intergreens_s, lanes_of, longest_reds_s

AGREES_S = 0.5
"""Times that were given twice may differ by this."""


class OverrideError(Exception):
    """The override cannot be carried out; says why, and what could be."""


@dataclass(frozen=True, slots=True)
class StageTime:
    """One stage of an override's round.

    Attributes:
        lanes: that are green in it, in the description's order.
        is_computed: its green is what the others leave of the cycle.
        yellow_s: after it.
        red_clearance_s: after that, until all of the next stage is green.
    """

    stage: str
    lanes: tuple[str, ...]
    green_s: float
    is_computed: bool
    yellow_s: float
    red_clearance_s: float


def check_order(junction: Junction, order: Order, plan: int = 0) -> OrderResult:
    """Whether an order fits a junction's description, whatever its lights do at the moment.

    Args:
        plan: the index of the plan that is in force; an override keeps its order of stages.
    """
    if isinstance(order, ManualOverride):
        try:
            override_times(junction, plan, order)
        except OverrideError as error:
            return OrderResult(accepted=False, reason=str(error))
    elif isinstance(order, FixedPlan):
        return _known("plan", order.plan, [one.name for one in junction.plans])
    elif isinstance(order, Preempt):
        return _known("preemption", order.preemption, [one.name for one in junction.preemptions])
    return OrderResult(accepted=True)


def override_times(junction: Junction, plan: int, order: ManualOverride) -> list[StageTime]:
    """What an override makes of a plan: its stages, in its order.

    Args:
        junction: free of faults (`common.junction_checks`).
        plan: its index in the description.

    Raises:
        OverrideError: it does not add up, or breaks a bound.
    """
    base = junction.plans[plan]
    stages = [step.stage for step in base.stages]
    _check_lanes(order.lane_green_s, [lane.name for lane in junction.lanes])
    greens_s, computed = _greens_s(junction, stages, order)
    _check_bounds(junction, base, greens_s, order.cycle_s)
    _check_reds(junction, stages, greens_s)
    found = []
    for i, (stage, green_s) in enumerate(zip(stages, greens_s, strict=True)):
        going = lanes_of(junction, stage)
        lanes = tuple(lane.name for lane in junction.lanes if lane.name in going)
        between_s = intergreen_split_s(junction, stage, stages[(i + 1) % len(stages)])
        found.append(StageTime(stage, lanes, green_s, i == computed, *between_s))
    return found


def _known(what: str, name: str, known: Sequence[str]) -> OrderResult:
    if name in known:
        return OrderResult(accepted=True)
    return OrderResult(accepted=False, reason=f"there is no {what} {name!r}; {hint(name, known)}")


def _check_lanes(given: Collection[str], known: Collection[str]) -> None:
    for name in given:
        if name not in known:
            raise OverrideError(f"lane_green_s: there is no lane {name!r}; {hint(name, sorted(known))}")


def _greens_s(junction: Junction, stages: Sequence[str], order: ManualOverride) -> tuple[list[float], int | None]:
    """The green of each step, and which was left out and so is computed."""
    between_s = intergreens_s(junction, stages)
    lost_s = sum(between_s)
    lanes = [lanes_of(junction, stage) for stage in stages]
    greens_s = _given_greens_s(lanes, between_s, order.lane_green_s)
    open_steps = [i for i, green_s in enumerate(greens_s) if green_s is None]
    known_s = sum(green_s for green_s in greens_s if green_s is not None)
    left_s = order.cycle_s - lost_s - known_s
    if len(open_steps) > 1:
        names = "; ".join(f"{stages[i]} ({', '.join(sorted(lanes[i])) or 'no lanes'})" for i in open_steps)
        raise OverrideError(f"lane_green_s: only one stage's time can be computed; give all but one of {names}")
    if not open_steps and abs(left_s) > AGREES_S:
        raise OverrideError(
            f"cycle_s: {order.cycle_s:g} s is not what the greens ({known_s:g} s) and the yellows and clearances "
            f"between them ({lost_s:g} s) add up to; make it {known_s + lost_s:g} s, or leave one lane out"
        )
    if open_steps:
        greens_s[open_steps[0]] = round(left_s, 3)
    return [green_s for green_s in greens_s if green_s is not None], open_steps[0] if open_steps else None


def _given_greens_s(
    lanes: Sequence[Collection[str]], between_s: Sequence[float], given: Mapping[str, float]
) -> list[float | None]:
    greens_s: list[float | None] = [None] * len(lanes)
    # A lane that goes in one stage settles that stage; one that goes in several settles the last open one of them.
    for name, green_s in sorted(given.items(), key=lambda pair: sum(pair[0] in of for of in lanes)):
        _settle(name, green_s, [i for i, of in enumerate(lanes) if name in of], greens_s, between_s)
    return greens_s


def _settle(
    lane: str,
    green_s: float,
    steps: Sequence[int],
    greens_s: list[float | None],
    between_s: Sequence[float],
) -> None:
    """Let a lane's time decide the one step of it that is open."""
    if not steps:
        raise OverrideError(f"lane_green_s.{lane}: the lane goes in no stage of the plan")
    following = {i: (i + 1) % len(between_s) for i in steps}
    known_s = sum(greens_s[i] or 0.0 for i in steps)
    known_s += sum(between_s[i] for i in steps if following[i] in steps and len(steps) > 1)
    open_steps = [i for i in steps if greens_s[i] is None]
    if len(open_steps) == 1:
        greens_s[open_steps[0]] = green_s - known_s
    elif not open_steps and abs(green_s - known_s) > AGREES_S:
        raise OverrideError(
            f"lane_green_s.{lane}: it is green with lanes whose time is {known_s:g} s already, not {green_s:g} s: "
            "lanes that go together share one time"
        )


def _check_bounds(junction: Junction, plan: Plan, greens_s: Sequence[float], cycle_s: float) -> None:
    for step, green_s in zip(plan.stages, greens_s, strict=True):
        least_s, most_s = bounds_s(junction, step)
        if green_s < least_s - 1e-6:
            raise OverrideError(
                f"stage {step.stage} would be green for {green_s:g} s, and needs {least_s:g} s at least: lengthen "
                f"cycle_s to {cycle_s + least_s - green_s:g} s, or shorten the other lanes"
            )
        if green_s > most_s + 1e-6:
            raise OverrideError(
                f"stage {step.stage} would be green for {green_s:g} s, and may be for {most_s:g} s at most: "
                f"shorten cycle_s, or lengthen the other lanes"
            )


def _check_reds(junction: Junction, stages: Sequence[str], greens_s: Sequence[float]) -> None:
    reds_s = longest_reds_s(junction, stages, greens_s)
    for movement in junction.movements:
        if (red_s := reds_s.get(movement.name, 0.0)) > movement.max_red_s:
            raise OverrideError(
                f"{movement.name} would be red for {red_s:g} s, and may be for {movement.max_red_s:g} s at most: "
                "shorten cycle_s"
            )
