"""Which plan is in force, by the clock on the wall of the junction.

Only what the wall clock shows decides, so summer time needs no care: an hour that it leaves out or shows twice
begins a plan once, twice or a little late, and every change waits for a safe point anyway. While the time is not
known, the plan stays what it is.
"""

from bisect import bisect_right
from dataclasses import dataclass

from common.junction import Junction, PlanTime

_DAY_MIN = 24 * 60


@dataclass(frozen=True, slots=True)
class Local:
    """The time in the junction's own time zone, as the caller knows it.

    Attributes:
        weekday: 1 is Monday.
        second_s: since midnight by the wall clock, 0 to 86,400.
    """

    weekday: int
    second_s: float


class Schedule:
    """The week's plans, sorted once."""

    def __init__(self, junction: Junction) -> None:
        index = {plan.name: i for i, plan in enumerate(junction.plans)}
        starts = sorted(
            ((day - 1) * _DAY_MIN + start_min(entry), index[entry.plan])
            for entry in junction.schedule
            for day in entry.days
        )
        self._starts_min = [minute for minute, _ in starts]
        self._plans = [plan for _, plan in starts]

    def plan_at(self, local: Local) -> int:
        """The index of the plan in force: that which began last, in this week or before. Without a schedule, the
        first plan."""
        if not self._plans:
            return 0
        minute = (local.weekday - 1) * _DAY_MIN + local.second_s / 60.0
        return self._plans[bisect_right(self._starts_min, minute) - 1]


def start_min(entry: PlanTime) -> int:
    """When a plan begins, in minutes since midnight."""
    hours, minutes = entry.start.split(":")
    return int(hours) * 60 + int(minutes)
