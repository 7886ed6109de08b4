"""Which plan is in force, by the clock on the wall of the junction.

Only what the wall clock shows decides, so summer time needs no care: an hour that it leaves out or shows twice
begins a plan once, twice or a little late, and every change waits for a safe point anyway. While the time is not
known, the plan stays what it is.
"""

from dataclasses import dataclass

from common.junction import Junction


@dataclass(frozen=True, slots=True)
class Local:
    """The time in the junction's own time zone, as the caller knows it.

    Attributes:
        weekday: 1 is Monday.
        second_s: since midnight by the wall clock, 0 to 86,400.
    """

    weekday: int
    second_s: float


def plan_at(junction: Junction, local: Local) -> int:
    """The index of the plan that the schedule has at `local`; the first plan where there is no schedule."""
    raise NotImplementedError
