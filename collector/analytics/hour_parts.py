"""What the cycles and zones of a time add up to; parts of it are added up to more."""

from collections import Counter
from collections.abc import Iterable

import msgspec

from common.junction import name_order


class Lane(msgspec.Struct, array_like=True, frozen=True):
    """Cycles of a lane that ended in the time.

    Attributes:
        vehicles: None: not counted in any of them.
        counted_green_s, counted_s: green and length of those in which vehicles were counted.
        n_measured: those whose saturation is known; what follows is of them, and `weighted_green_s` their green
            times saturation.
    """

    lane: str
    n: int
    green_s: float
    yellow_s: float
    red_s: float
    vehicles: int | None
    counted_green_s: float
    counted_s: float
    n_measured: int
    n_saturated: int
    weighted_green_s: float
    measured_green_s: float
    measured_s: float
    measured_vehicles: int

    @property
    def saturation(self) -> float | None:
        return self.weighted_green_s / self.measured_green_s if self.measured_green_s > 0 else None


class Length(msgspec.Struct, array_like=True, frozen=True):
    """How many cycles of a plan, algorithm and mode were so long."""

    plan: str | None
    algorithm: str
    mode: str
    length_s: float
    n: int


class Zone(msgspec.Struct, array_like=True, frozen=True):
    """A zone, by its number as a source: vehicles in it times seconds, how many left, and for how long it told."""

    no: int
    vehicle_s: float
    exits: int
    measured_s: float


def add_lanes(lanes: Iterable[Lane]) -> list[Lane]:
    """Those of one name as one, in `name_order`."""
    grouped: dict[str, list[Lane]] = {}
    for one in lanes:
        grouped.setdefault(one.lane, []).append(one)
    return [_sum(grouped[name]) for name in sorted(grouped, key=name_order)]


def _sum(lanes: list[Lane]) -> Lane:
    counted = [one.vehicles for one in lanes if one.vehicles is not None]
    return Lane(
        lane=lanes[0].lane,
        n=sum(one.n for one in lanes),
        green_s=sum(one.green_s for one in lanes),
        yellow_s=sum(one.yellow_s for one in lanes),
        red_s=sum(one.red_s for one in lanes),
        vehicles=sum(counted) if counted else None,
        counted_green_s=sum(one.counted_green_s for one in lanes),
        counted_s=sum(one.counted_s for one in lanes),
        n_measured=sum(one.n_measured for one in lanes),
        n_saturated=sum(one.n_saturated for one in lanes),
        weighted_green_s=sum(one.weighted_green_s for one in lanes),
        measured_green_s=sum(one.measured_green_s for one in lanes),
        measured_s=sum(one.measured_s for one in lanes),
        measured_vehicles=sum(one.measured_vehicles for one in lanes),
    )


def add_lengths(lengths: Iterable[Length]) -> list[Length]:
    """Equal ones as one, in order."""
    found: Counter[tuple[str | None, str, str, float]] = Counter()
    for one in lengths:
        found[one.plan, one.algorithm, one.mode, one.length_s] += one.n
    return [Length(*key, n) for key, n in sorted(found.items(), key=lambda item: (item[0][0] or "", item[0][1:]))]


def add_zones(zones: Iterable[Zone]) -> list[Zone]:
    """Those of one number as one."""
    grouped: dict[int, list[Zone]] = {}
    for one in zones:
        grouped.setdefault(one.no, []).append(one)
    return [
        Zone(
            no,
            sum(one.vehicle_s for one in some),
            sum(one.exits for one in some),
            sum(one.measured_s for one in some),
        )
        for no, some in sorted(grouped.items())
    ]
