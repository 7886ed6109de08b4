"""How long one waits at a junction: an estimate."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from psycopg.rows import class_row

from collector.analytics.answers_lights import Wait, WaitMethod, WaitsAnswer
from collector.analytics.hours import LaneHour, by_lane, hour_ends, read_lane_hours
from collector.analytics.period import Asked, Source
from collector.db import Connection, load_queries
from common.junction import DetectorKind

_OVERFLOW_H = 1.0
_RANDOMNESS = 0.5
"""The HCM's k for arrivals and services as by chance."""


@dataclass(frozen=True)
class _Hour:
    """`total_s`: of all vehicles together. `n` None: not measured."""

    hour: datetime
    method: WaitMethod
    total_s: float
    n: int | None
    measured_s: float


async def read_waits(connection: Connection, asked: Asked) -> WaitsAnswer:
    """By lane, from the approach zone of a lane that has one and told of it, else from cycles."""
    ends = await hour_ends(connection, asked)
    of_zones = await _of_zones(connection, asked)
    of_cycles = by_lane(await read_lane_hours(connection, asked))
    described = asked.place.described
    known = {lane.name for lane in described.lanes} if described else set()
    hours, totals = [], []
    for lane in sorted(known | of_cycles.keys() | of_zones.keys()):
        found = of_zones.get(lane) or [_webster(one) for one in of_cycles.get(lane, ())]
        hours += [_wait(lane, [one], one.hour.astimezone(UTC), ends[one.hour]) for one in found]
        totals.append(_wait(lane, found, asked.start, asked.end))
    return WaitsAnswer(**asked.head, lanes=totals, hours=hours)


async def _of_zones(connection: Connection, asked: Asked) -> dict[str, list[_Hour]]:
    zones = await _approach_zones(connection, asked)
    parameters = asked.parameters | {"zones": list(zones)}
    statement = load_queries("analytics_lights")["zone_hours"]
    cursor = await connection.execute(statement, parameters, prepare=False, binary=True)
    found: dict[str, list[_Hour]] = {}
    for no, hour, vehicle_s, exits, measured_s in await cursor.fetchall():
        found.setdefault(zones[no], []).append(_Hour(hour, WaitMethod.LITTLE, vehicle_s, exits, measured_s))
    return found


async def _approach_zones(connection: Connection, asked: Asked) -> dict[int, str]:
    """Number of the source -> lane; one of each lane."""
    async with connection.cursor(row_factory=class_row(Source)) as cursor:
        await cursor.execute(load_queries("analytics")["sources"], asked.parameters)
        known = {(one.sensor, one.name): one.no for one in await cursor.fetchall() if one.kind == "zone"}
    described = asked.place.described
    found: dict[str, int] = {}
    for one in described.detectors if described else ():
        if one.kind is DetectorKind.APPROACH and (one.sensor, one.source) in known:
            found.setdefault(one.lane, known[one.sensor, one.source])
    return {no: lane for lane, no in found.items()}


def _webster(one: LaneHour) -> _Hour:
    wait_s = 0.0
    if one.n_measured and one.vehicles:
        cycle_s, green_s = one.length_s / one.n_measured, one.green_s / one.n_measured
        wait_s = delay_s(cycle_s, green_s, one.saturation or 0.0, one.vehicles * 3600 / one.length_s)
    n = one.vehicles if one.n_measured else None
    return _Hour(one.hour, WaitMethod.WEBSTER, wait_s * one.vehicles, n, one.length_s)


def delay_s(cycle_s: float, green_s: float, saturation: float, flow_vph: float) -> float:
    """Mean delay per vehicle: uniform (Webster's first term), and overflow within an hour (HCM)."""
    share = green_s / cycle_s
    uniform_s = 0.5 * cycle_s * (1 - share) ** 2 / (1 - min(1.0, saturation) * share) if share < 1.0 else 0.0
    if saturation <= 0.0 or flow_vph <= 0.0:
        return uniform_s
    capacity_vph = flow_vph / saturation
    excess = saturation - 1
    noise = 8 * _RANDOMNESS * saturation / (capacity_vph * _OVERFLOW_H)
    return uniform_s + 900 * _OVERFLOW_H * (excess + math.sqrt(excess**2 + noise))


def _wait(lane: str, hours: Sequence[_Hour], start: datetime, end: datetime) -> Wait:
    """The mean over all vehicles of some hours."""
    n = sum(one.n or 0 for one in hours)
    return Wait(
        lane=lane,
        from_=start,
        to=end,
        method=hours[0].method if hours else None,
        wait_s=sum(one.total_s for one in hours) / n if n else None,
        n=n if any(one.n is not None for one in hours) else None,
        measured_s=sum(one.measured_s for one in hours),
    )
