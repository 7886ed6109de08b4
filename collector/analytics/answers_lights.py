"""Answers that are made of cycles and of the lights' event log."""

from datetime import datetime
from enum import StrEnum

import msgspec

from collector.analytics.answers import EXAMPLE_PERIOD, Period


class Basis(StrEnum):
    """What an answer was made of."""

    CYCLES = "cycles"
    """Vehicles of the lights' cycle records."""
    COUNTS = "counts"
    """Counts of lines or readers: the junction has told no cycle in that time."""


class LaneItem(msgspec.Struct, frozen=True):
    """What a lane carried.

    Attributes:
        approach: as described; null: the lane is not.
        vehicles: in the time that was measured, `measured_s`; null: none was, or it is not known how much.
        vehicles_per_h: in the measured time.
        share: of the junction's `vehicles_per_h`, so that a lane that was not measured for half a day does not
            look half as busy.
        green_s: in all cycles; null where there are none.
        vehicles_per_green_s: in measured cycles.
        measured_share: of the period's time in cycles, or of the period itself where there are none.
    """

    lane: str
    approach: str | None
    vehicles: int | None
    measured_s: float | None
    measured_share: float | None
    vehicles_per_h: float | None
    share: float | None
    green_s: float | None
    vehicles_per_green_s: float | None


class LanesAnswer(Period, frozen=True, kw_only=True):
    """How traffic is spread over the lanes; without cycles a lane is a source: a line, or a reader."""

    basis: Basis
    exact: bool
    lanes: list[LaneItem]


class LaneUse(msgspec.Struct, frozen=True):
    """Shares of the time in cycles in which a lane had green, yellow, red; they add up to 1."""

    lane: str
    approach: str | None
    green_share: float
    yellow_share: float
    red_share: float


class StageUse(msgspec.Struct, frozen=True):
    """A stage in the event log: how much of the time that the log covers it was green, and how much its greens'
    ends took until somebody had green again: yellow, then lost."""

    stage: str
    green_share: float
    yellow_share: float
    lost_share: float


class CycleGroup(msgspec.Struct, frozen=True):
    """Cycles of one plan, algorithm and mode, and how long they were."""

    plan: str | None
    algorithm: str
    mode: str
    cycles: int
    mean_s: float
    p15_s: float
    p50_s: float
    p85_s: float


class CycleUseAnswer(Period, frozen=True, kw_only=True):
    """What became of the cycles' time.

    Attributes:
        cycles_share: of the period that lies in cycles; the rest was flash, darkness, or is not known.
        log_s: how much of the period the event log covers, but for flash; the shares that follow are of it. Null,
            as all that is made of the log: the lights are not described, or the period is longer than 31 days.
        lost_share: while nobody had green or yellow.
    """

    cycles: int
    cycles_s: float
    cycles_share: float
    mean_s: float | None
    p15_s: float | None
    p50_s: float | None
    p85_s: float | None
    groups: list[CycleGroup]
    lanes: list[LaneUse]
    log_s: float | None
    green_share: float | None
    yellow_share: float | None
    lost_share: float | None
    stages: list[StageUse] | None


class LaneSaturation(msgspec.Struct, frozen=True):
    """Degree of saturation: vehicles over what the lane's saturation flow could have sent in its greens.

    Attributes:
        from_, to: an hour there, or the period.
        saturation: over the `n_measured` of `n_cycles` cycles that were measured and had green; null: none was.
        n_saturated: of them, those at 1 or more. Stop line counts tell of no more than was served, so a lane with
            a queue that never ends stays near 1.
    """

    lane: str
    from_: datetime = msgspec.field(name="from")
    to: datetime
    n_cycles: int
    n_measured: int
    saturation: float | None
    n_saturated: int


class SplitFailures(msgspec.Struct, frozen=True):
    """Greens of a phase that did not serve their queue, as its presence detectors saw them.

    Attributes:
        from_, to: an hour there, or the period. A cycle belongs to where its first 5 s of red end.
        n_cycles: greens whose presence is known, with all that follows them.
        n_failures: of them, those with somebody there for 80 % of green and of the first 5 s of red.
        green_occupancy, red_occupancy: mean share of the time in which somebody was there.
    """

    phase: int
    movement: str
    lanes: list[str]
    from_: datetime = msgspec.field(name="from")
    to: datetime
    n_cycles: int
    n_failures: int
    green_occupancy: float | None
    red_occupancy: float | None


class SaturationAnswer(Period, frozen=True, kw_only=True):
    """How full the lanes were.

    `split_failures` null: no presence detector is described (an approach zone is one), or the period is longer
    than 31 days. Then `n_saturated` of the lanes is what there is.
    """

    lanes: list[LaneSaturation]
    lane_hours: list[LaneSaturation]
    split_failures: list[SplitFailures] | None
    split_failure_hours: list[SplitFailures] | None


class ArrivalDetector(StrEnum):
    """Where arrivals were told."""

    ADVANCE = "advance"
    STOP_LINE = "stop_line"
    """Where who stands in a queue passes only once it is green: the share says how many did not run into red."""


class Arrivals(msgspec.Struct, frozen=True):
    """Arrivals at a phase. All null: it has no such detector.

    Attributes:
        from_, to: an hour there, or the period.
        log_s: how much of that the event log covers.
        n, n_on_green: arrivals while the log knew what the phase showed.
        share: of those on green; null: nobody came.
        green_share: how much of `log_s` was green.
        platoon_ratio: `share` over `green_share`; 1: they came as by chance, more: in platoons that met green.
    """

    phase: int
    movement: str
    lanes: list[str]
    detector: ArrivalDetector | None
    from_: datetime = msgspec.field(name="from")
    to: datetime
    log_s: float
    n: int | None
    n_on_green: int | None
    share: float | None
    green_share: float | None
    platoon_ratio: float | None


class ArrivalsAnswer(Period, frozen=True, kw_only=True):
    """Who came when it was green. At most 31 days at a time."""

    phases: list[Arrivals]
    hours: list[Arrivals]


class WaitMethod(StrEnum):
    """How a wait was estimated."""

    LITTLE = "little"
    """From the approach zone: how many were in it on average, over how many left it per second. The way through
    the zone is in it; what stands beyond the zone is not."""
    WEBSTER = "webster"
    """From cycles: uniform delay, plus the overflow delay of the HCM for one hour, which grows with saturation."""


class Wait(msgspec.Struct, frozen=True):
    """Mean wait per vehicle at a lane.

    Attributes:
        from_, to: an hour there, or the period.
        method: null: neither zone nor cycles tell, and nothing is known.
        wait_s: null: not measured, or nobody came.
        n: vehicles that it is the mean of.
        measured_s: how much of the time was measured.
    """

    lane: str
    from_: datetime = msgspec.field(name="from")
    to: datetime
    method: WaitMethod | None
    wait_s: float | None
    n: int | None
    measured_s: float


class WaitsAnswer(Period, frozen=True, kw_only=True):
    """How long one waits. An estimate: nobody is followed."""

    lanes: list[Wait]
    hours: list[Wait]


_HOUR = {"from": "2026-05-04T05:00:00Z", "to": "2026-05-04T06:00:00Z"}
_WHOLE = {"from": EXAMPLE_PERIOD["from"], "to": EXAMPLE_PERIOD["to"]}
EXAMPLE_LANES = EXAMPLE_PERIOD | {
    "basis": "cycles",
    "exact": True,
    "lanes": [
        {
            "lane": "north",
            "approach": "north",
            "vehicles": 31_022,
            "measured_s": 601_200.0,
            "measured_share": 0.994,
            "vehicles_per_h": 185.8,
            "share": 0.31,
            "green_s": 254_000.0,
            "vehicles_per_green_s": 0.122,
        }
    ],
}
EXAMPLE_CYCLE_USE = EXAMPLE_PERIOD | {
    "cycles": 9_702,
    "cycles_s": 604_100.0,
    "cycles_share": 0.9988,
    "mean_s": 62.3,
    "p15_s": 48.0,
    "p50_s": 61.0,
    "p85_s": 79.0,
    "groups": [
        {
            "plan": "day",
            "algorithm": "adaptive",
            "mode": "automatic",
            "cycles": 9_702,
            "mean_s": 62.3,
            "p15_s": 48.0,
            "p50_s": 61.0,
            "p85_s": 79.0,
        }
    ],
    "lanes": [
        {
            "lane": "north",
            "approach": "north",
            "green_share": 0.44,
            "yellow_share": 0.048,
            "red_share": 0.512,
        }
    ],
    "log_s": 604_800.0,
    "green_share": 0.84,
    "yellow_share": 0.096,
    "lost_share": 0.064,
    "stages": [{"stage": "ns", "green_share": 0.44, "yellow_share": 0.048, "lost_share": 0.032}],
}
EXAMPLE_SATURATION = EXAMPLE_PERIOD | {
    "lanes": [
        {"lane": "north", **_WHOLE, "n_cycles": 9_702, "n_measured": 9_640, "saturation": 0.71, "n_saturated": 212}
    ],
    "lane_hours": [
        {"lane": "north", **_HOUR, "n_cycles": 58, "n_measured": 58, "saturation": 0.93, "n_saturated": 11}
    ],
    "split_failures": [
        {
            "phase": 2,
            "movement": "north",
            "lanes": ["north"],
            **_WHOLE,
            "n_cycles": 9_690,
            "n_failures": 301,
            "green_occupancy": 0.52,
            "red_occupancy": 0.41,
        }
    ],
    "split_failure_hours": [
        {
            "phase": 2,
            "movement": "north",
            "lanes": ["north"],
            **_HOUR,
            "n_cycles": 58,
            "n_failures": 14,
            "green_occupancy": 0.81,
            "red_occupancy": 0.66,
        }
    ],
}
_EXAMPLE_ARRIVALS = {
    "phase": 2,
    "movement": "north",
    "lanes": ["north"],
    "detector": "advance",
    **_HOUR,
    "log_s": 3_600.0,
    "n": 240,
    "n_on_green": 150,
    "share": 0.625,
    "green_share": 0.44,
    "platoon_ratio": 1.42,
}
EXAMPLE_ARRIVALS = EXAMPLE_PERIOD | {
    "phases": [_EXAMPLE_ARRIVALS | _WHOLE],
    "hours": [_EXAMPLE_ARRIVALS],
}
_EXAMPLE_WAIT = {"lane": "north", **_HOUR, "method": "little", "wait_s": 17.2, "n": 236, "measured_s": 3_600.0}
EXAMPLE_WAITS = EXAMPLE_PERIOD | {"lanes": [_EXAMPLE_WAIT | _WHOLE], "hours": [_EXAMPLE_WAIT]}
