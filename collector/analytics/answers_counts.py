"""Answers that are made of counts: days, peak hours, before and after a change."""

from datetime import date, datetime

import msgspec

from collector.analytics.answers import EXAMPLE_LINES, EXAMPLE_PERIOD, LineItem, Period


class DayItem(msgspec.Struct, frozen=True):
    """One day there. Null: not measured.

    Attributes:
        hours: how long the day is: 24, or 23 or 25 where the clocks change.
        vehicles: all but people, at the stop lines where the lights' description names them.
        measured_share: how much of the day, as far as it is over, was measured, on average over the lanes that are
            described; where none are, over the lines whose cameras measured in the period or in the five weeks
            before it. Null: it cannot be told, as tag readers do not tell.
        unmeasured: names of those of them that were measured at no time of the day: what passed there is in no
            figure.
        cycles: that ended on this day; null: its lights told nothing then, or retention dropped them before they
            were added up.
        saturation: vehicles over what the greens could have sent, mean over `saturation_cycles` cycles of a lane,
            weighted by their green.
        overrides: orders by hand that took the lights on this day.
    """

    date: date
    from_: datetime = msgspec.field(name="from")
    to: datetime
    hours: float
    vehicles: int | None
    people: int | None
    by_class: dict[str, int]
    measured_share: float | None
    unmeasured: list[str]
    cycles: int | None
    mean_cycle_s: float | None
    saturation: float | None
    saturation_cycles: int | None
    overrides: int


class DailyAnswer(Period, frozen=True, kw_only=True):
    """Day by day. `exact` false: so much waits to be rolled up that it was left out; ask again in a minute."""

    exact: bool
    lines: list[LineItem]
    days: list[DayItem]


class HourOfWeek(msgspec.Struct, frozen=True):
    """An hour of the day on one weekday: of the `n_hours` such hours that passed, `n_measured` were measured.

    An hour was measured if it was so at all lines that should have counted then. `mean` and `p85` are vehicles per
    hour over the measured ones; null: none was.
    """

    weekday: int
    """1 is Monday."""
    hour: int
    n_hours: int
    n_measured: int
    mean: float | None
    p85: float | None


class HourOfDay(msgspec.Struct, frozen=True):
    """The same over all weekdays."""

    hour: int
    n_hours: int
    n_measured: int
    mean: float | None
    p85: float | None


class PeakHour(msgspec.Struct, frozen=True):
    """The busiest four quarters of an hour in a row, all of them measured.

    `factor`: the peak-hour factor, vehicles over four times those of the busiest quarter; 0.25 to 1.
    """

    date: date
    from_: datetime = msgspec.field(name="from")
    to: datetime
    vehicles: int
    busiest_quarter: int
    factor: float


class PeakHoursAnswer(Period, frozen=True, kw_only=True):
    """When it is busy. `proven` false: no camera tells when it measured; then hours with a count are taken."""

    exact: bool
    proven: bool
    lines: list[LineItem]
    peak: PeakHour | None
    """The busiest of all days."""
    peak_of_days: list[PeakHour]
    """Days without a whole measured hour are left out."""
    hours_of_day: list[HourOfDay]
    hours_of_week: list[HourOfWeek]


class Side(msgspec.Struct, frozen=True):
    """One side of the change: vehicles per hour over `n_hours` measured hours that have fellows on the other side.

    `mean_cycle_s` and `saturation` are of its cycles, whichever hours they lie in.
    """

    from_: datetime = msgspec.field(name="from")
    to: datetime
    plans: list[str]
    """The plans of its cycles, the most used first."""
    n_hours: int
    vehicles_per_h: float | None
    cycles: int
    mean_cycle_s: float | None
    saturation: float | None


class Difference(msgspec.Struct, frozen=True):
    """After less before, in vehicles per hour: the mean over `n_pairs` hours of the week that both sides measured.

    `low` to `high` is the 95 % confidence interval of that mean (Student's t over the pairs); null below 3 pairs.
    """

    n_pairs: int
    vehicles_per_h: float | None
    low: float | None
    high: float | None
    share: float | None
    """Of what it was before."""


class PlanChange(msgspec.Struct, frozen=True):
    """A plan that ran for the first time in the period. `plan_before` null: no plan was named."""

    at: datetime
    plan_before: str | None
    plan: str | None


class ThroughputAnswer(Period, frozen=True, kw_only=True):
    """Before and after a change. `changes` are what the cycles tell of new plans, the latest first."""

    exact: bool
    lines: list[LineItem]
    change: datetime
    found: bool
    """It was found in the cycles, not given."""
    changes: list[PlanChange]
    before: Side
    after: Side
    difference: Difference


EXAMPLE_DAILY = EXAMPLE_PERIOD | {
    "exact": True,
    "lines": EXAMPLE_LINES,
    "days": [
        {
            "date": "2026-05-04",
            "from": "2026-05-03T22:00:00Z",
            "to": "2026-05-04T22:00:00Z",
            "hours": 24.0,
            "vehicles": 18_412,
            "people": 913,
            "by_class": {"bus": 210, "car": 17_902, "person": 913, "truck": 300},
            "measured_share": 0.998,
            "unmeasured": [],
            "cycles": 1_380,
            "mean_cycle_s": 62.4,
            "saturation": 0.71,
            "saturation_cycles": 5_520,
            "overrides": 1,
        },
        {
            "date": "2026-05-05",
            "from": "2026-05-04T22:00:00Z",
            "to": "2026-05-05T22:00:00Z",
            "hours": 24.0,
            "vehicles": None,
            "people": None,
            "by_class": {},
            "measured_share": 0.0,
            "unmeasured": ["north", "east"],
            "cycles": None,
            "mean_cycle_s": None,
            "saturation": None,
            "saturation_cycles": 0,
            "overrides": 0,
        },
    ],
}
_EXAMPLE_PEAK = {
    "date": "2026-05-07",
    "from": "2026-05-07T05:15:00Z",
    "to": "2026-05-07T06:15:00Z",
    "vehicles": 1_702,
    "busiest_quarter": 463,
    "factor": 0.919,
}
EXAMPLE_PEAK_HOURS = EXAMPLE_PERIOD | {
    "exact": True,
    "proven": True,
    "lines": EXAMPLE_LINES,
    "peak": _EXAMPLE_PEAK,
    "peak_of_days": [_EXAMPLE_PEAK],
    "hours_of_day": [{"hour": 7, "n_hours": 7, "n_measured": 6, "mean": 1_310.5, "p85": 1_602.0}],
    "hours_of_week": [{"weekday": 4, "hour": 7, "n_hours": 1, "n_measured": 1, "mean": 1_655.0, "p85": 1_655.0}],
}
EXAMPLE_THROUGHPUT = EXAMPLE_PERIOD | {
    "exact": True,
    "lines": EXAMPLE_LINES,
    "change": "2026-05-07T01:00:12Z",
    "found": True,
    "changes": [{"at": "2026-05-07T01:00:12Z", "plan_before": "day", "plan": "day 2"}],
    "before": {
        "from": "2026-05-03T22:00:00Z",
        "to": "2026-05-07T01:00:12Z",
        "plans": ["day"],
        "n_hours": 74,
        "vehicles_per_h": 764.2,
        "cycles": 4_290,
        "mean_cycle_s": 63.1,
        "saturation": 0.78,
    },
    "after": {
        "from": "2026-05-07T01:00:12Z",
        "to": "2026-05-10T22:00:00Z",
        "plans": ["day 2"],
        "n_hours": 74,
        "vehicles_per_h": 801.9,
        "cycles": 5_011,
        "mean_cycle_s": 57.0,
        "saturation": 0.73,
    },
    "difference": {"n_pairs": 74, "vehicles_per_h": 37.7, "low": 12.1, "high": 63.3, "share": 0.0493},
}
