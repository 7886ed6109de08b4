"""A manual override: a cycle and a green for each lane, the last one's computed; refused whole where it cannot be.

A lane's green is that of the stages in which it goes. Lanes of one stage share a time. What the cycle has left
after greens, yellows and clearances is the green of the stage of which no lane was given.
"""

import difflib
from collections.abc import Collection, Mapping, Sequence

from common.commands import ManualOverride
from common.junction_times import intergreens_s, lanes_of, longest_reds_s
from edge_agent.domain.signals.layout import Layout
from edge_agent.domain.signals.program import Program

AGREES_S = 0.5
"""Times that were given twice may differ by this."""


class OverrideError(Exception):
    """The override cannot be carried out; says why, and what could be."""


def override(layout: Layout, order: ManualOverride, plan: int) -> Program:
    """The program of an override, in the order of stages of a plan.

    Raises:
        OverrideError: it does not add up, or breaks a bound.
    """
    base = Program(layout, plan, is_free=True)
    stages = [layout.stage_names[step.stage] for step in base.steps]
    _check_lanes(order.lane_green_s, [lane.name for lane in layout.junction.lanes])
    greens_s = _greens_s(layout, stages, order)
    _check_bounds(base, stages, greens_s, order.cycle_s)
    _check_reds(layout, stages, greens_s)
    return Program(layout, plan, greens_s=greens_s, is_free=True)


def _check_lanes(given: Mapping[str, float], known: Collection[str]) -> None:
    for name in given:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(sorted(known))}"
            raise OverrideError(f"lane_green_s: there is no lane {name!r}; {hint}")


def _greens_s(layout: Layout, stages: Sequence[str], order: ManualOverride) -> list[float]:
    """The green of each step; the one that was left out is computed."""
    lost_s = sum(intergreens_s(layout.junction, stages))
    greens_s: list[float | None] = [None] * len(stages)
    lanes = [lanes_of(layout.junction, stage) for stage in stages]
    # A lane that goes in one stage settles that stage; one that goes in several settles the last open one of them.
    for name, green_s in sorted(order.lane_green_s.items(), key=lambda pair: sum(pair[0] in of for of in lanes)):
        _settle(name, green_s, [i for i, of in enumerate(lanes) if name in of], greens_s, layout, stages)
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
    return [green_s for green_s in greens_s if green_s is not None]


def _settle(
    lane: str,
    green_s: float,
    steps: Sequence[int],
    greens_s: list[float | None],
    layout: Layout,
    stages: Sequence[str],
) -> None:
    """Let a lane's time decide the one step of it that is open."""
    if not steps:
        raise OverrideError(f"lane_green_s.{lane}: the lane goes in no stage of the plan")
    between_s = intergreens_s(layout.junction, stages)
    following = {i: (i + 1) % len(stages) for i in steps}
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


def _check_bounds(base: Program, stages: Sequence[str], greens_s: Sequence[float], cycle_s: float) -> None:
    for name, step, green_s in zip(stages, base.steps, greens_s, strict=True):
        if green_s < step.least_s - 1e-6:
            raise OverrideError(
                f"stage {name} would be green for {green_s:g} s, and needs {step.least_s:g} s at least: lengthen "
                f"cycle_s to {cycle_s + step.least_s - green_s:g} s, or shorten the other lanes"
            )
        if green_s > step.most_s + 1e-6:
            raise OverrideError(
                f"stage {name} would be green for {green_s:g} s, and may be for {step.most_s:g} s at most: "
                f"shorten cycle_s, or lengthen the other lanes"
            )


def _check_reds(layout: Layout, stages: Sequence[str], greens_s: Sequence[float]) -> None:
    reds_s = longest_reds_s(layout.junction, stages, greens_s)
    for name, most_s in zip(layout.names, layout.max_red_s, strict=True):
        if (red_s := reds_s.get(name, 0.0)) > most_s:
            raise OverrideError(
                f"{name} would be red for {red_s:g} s, and may be for {most_s:g} s at most: shorten cycle_s"
            )
