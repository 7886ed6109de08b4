"""Keeping step with the neighbours: a common cycle, and an offset from a common zero.

The zero is midnight by the wall clock of the junction, then every cycle. Where the first stage's green begins at
another moment than the offset says, each green is made longer or shorter within its bounds until it fits: in
whichever way takes fewer rounds. A wall clock that jumps, as with summer time, is one more thing to be caught up
with. Greens are planned when they begin, so nothing is cut.

Where coordination is actuated, the other stages may end before their time. All that follows begins early then, has
its own green at most, and so is early or in time; the first stage's green begins early too, and ends at its moment
(the yield point), as if nothing had been. So cycle and offset are kept, and whoever comes with the wave from the
neighbour finds the green that the plan promises, or more.
"""

import math
from dataclasses import dataclass

from common.hires import Coordination
from common.schedule import Local
from edge_agent.domain.signals.program import Program

IN_STEP_S = 1.5
"""Steps are no finer than the controller's, so a little is always left to be made good."""


@dataclass(frozen=True, slots=True)
class Planned:
    """What a green that begins now is to be.

    Attributes:
        green_s: how long.
        state: of coordination.
        may_end_s: after so much of it, it may end where nobody comes any more; None: it may not.
        zero_s: so long after its beginning the plan's cycle begins; None: not in this green.
    """

    green_s: float
    state: Coordination
    may_end_s: float | None = None
    zero_s: float | None = None


def lag_s(program: Program, position: int, local: Local) -> float:
    """How late a step's green begins at `local`, from -cycle/2 to cycle/2; negative: it is early.

    Where coordination is actuated, it is early if it can be that.
    """
    cycle_s = program.cycle_s
    late_s = (local.second_s - (program.offset_s or 0.0) - program.begins_s[position]) % cycle_s
    early_s = cycle_s - late_s
    is_early = late_s > cycle_s / 2.0 or (late_s > IN_STEP_S and early_s <= program.left_s)
    return -early_s if is_early else late_s


def planned_green(program: Program, position: int, local: Local | None) -> Planned:
    """How the green that begins now is to be.

    Args:
        local: now; None: the time is not known, so the plan runs by itself.
    """
    step = program.steps[position]
    if program.offset_s is None or local is None:
        return Planned(step.green_s, Coordination.FREE)
    late_s = lag_s(program, position, local)
    if abs(late_s) <= IN_STEP_S or -program.left_s - IN_STEP_S <= late_s < 0.0 < program.left_s:
        return _in_step(program, position, late_s)
    shorter_s, longer_s = late_s % program.cycle_s, -late_s % program.cycle_s
    room_down_s = sum(max(0.0, one.green_s - one.least_s) for one in program.steps)
    room_up_s = sum(max(0.0, one.most_s - one.green_s) for one in program.steps)
    if _rounds(shorter_s, room_down_s) < _rounds(longer_s, room_up_s):
        green_s, state = step.green_s - shorter_s, Coordination.SUBTRACTING
    else:
        green_s, state = step.green_s + longer_s, Coordination.ADDING
    zero_s = 0.0 if position == 0 else None
    return Planned(_within(green_s, step.least_s, step.most_s), state, zero_s=zero_s)


def _in_step(program: Program, position: int, late_s: float) -> Planned:
    """The first stage's green ends at its moment; another one that is early by what was left has its own time."""
    step = program.steps[position]
    if position == 0 or program.left_s == 0.0:
        green_s = _within(step.green_s - late_s, step.least_s, step.most_s)
        early_s = max(0.0, -late_s) if program.left_s else 0.0
        return Planned(green_s, Coordination.IN_STEP, zero_s=early_s if position == 0 else None)
    green_s = _within(step.green_s - max(0.0, late_s), step.least_s, step.most_s)
    may_leave_s = max(0.0, program.left_s - max(0.0, -late_s))
    return Planned(green_s, Coordination.IN_STEP, may_end_s=max(step.least_s, green_s - may_leave_s))


def _rounds(needed_s: float, room_s: float) -> float:
    return needed_s / room_s if room_s > 0.0 else math.inf


def _within(green_s: float, least_s: float, most_s: float) -> float:
    return min(max(green_s, least_s), max(least_s, most_s))
