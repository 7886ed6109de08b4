"""Keeping step with the neighbours: a common cycle, and an offset from a common zero.

The zero is midnight by the wall clock of the junction, then every cycle. Where the first stage's green begins at
another moment than the offset says, each green is made longer or shorter within its bounds until it fits: in
whichever way takes fewer rounds. A wall clock that jumps, as with summer time, is one more thing to be caught up
with. Greens are planned when they begin, so nothing is cut.
"""

import math

from common.hires import Coordination
from common.schedule import Local
from edge_agent.domain.signals.program import Program

IN_STEP_S = 1.5
"""Steps are no finer than the controller's, so a little is always left to be made good."""


def lag_s(program: Program, position: int, local: Local) -> float:
    """How late a step's green begins at `local`, from -cycle/2 to cycle/2; negative: it is early."""
    cycle_s = program.cycle_s
    late_s = (local.second_s - (program.offset_s or 0.0) - program.begins_s[position]) % cycle_s
    return late_s - cycle_s if late_s > cycle_s / 2.0 else late_s


def planned_green_s(program: Program, position: int, local: Local | None) -> tuple[float, Coordination]:
    """How long the green that begins now is to be, and what state that is.

    Args:
        local: now; None: the time is not known, so the plan runs by itself.
    """
    step = program.steps[position]
    if program.offset_s is None or local is None:
        return step.green_s, Coordination.FREE
    late_s = lag_s(program, position, local)
    if abs(late_s) <= IN_STEP_S:
        return _within(step.green_s - late_s, step.least_s, step.most_s), Coordination.IN_STEP
    shorter_s, longer_s = late_s % program.cycle_s, -late_s % program.cycle_s
    room_down_s = sum(max(0.0, one.green_s - one.least_s) for one in program.steps)
    room_up_s = sum(max(0.0, one.most_s - one.green_s) for one in program.steps)
    if _rounds(shorter_s, room_down_s) < _rounds(longer_s, room_up_s):
        return _within(step.green_s - shorter_s, step.least_s, step.most_s), Coordination.SUBTRACTING
    return _within(step.green_s + longer_s, step.least_s, step.most_s), Coordination.ADDING


def _rounds(needed_s: float, room_s: float) -> float:
    return needed_s / room_s if room_s > 0.0 else math.inf


def _within(green_s: float, least_s: float, most_s: float) -> float:
    return min(max(green_s, least_s), max(least_s, most_s))
