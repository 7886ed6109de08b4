"""How long one waits at a junction: an estimate."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from psycopg.rows import class_row

from collector.analytics.answers_lights import Wait, WaitMethod, WaitsAnswer
from collector.analytics.counters import Source
from collector.analytics.hour_parts import Lane
from collector.analytics.hours import Hour, Part, read_hours
from collector.analytics.lane_hours import by_lane
from collector.analytics.period import Asked
from collector.db import Connection, load_queries
from common.junction import DetectorKind, name_order

_OVERFLOW_H = 1.0
_RANDOMNESS = 0.5
"""The HCM's k for arrivals and services as by chance."""


@dataclass(frozen=True)
class _Hour:
    """`total_s`: of all vehicles together. `n` None: not measured."""

    hour: Hour
    method: WaitMethod
    total_s: float
    n: int | None
    measured_s: float


async def read_waits(connection: Connection, asked: Asked) -> WaitsAnswer:
    """By lane, from the approach zone of a lane that has one and told who left it, else from cycles."""
    read = await read_hours(connection, asked, Part.CYCLES | Part.ZONES)
    of_zones = _of_zones(read, await _approach_zones(connection, asked))
    of_cycles = by_lane(read)
    described = asked.place.described
    known = {lane.name for lane in described.lanes} if described else set()
    hours, totals = [], []
    for lane in sorted(known | of_cycles.keys() | of_zones.keys(), key=name_order):
        zones, cycles = of_zones.get(lane, []), [_webster(hour, one) for hour, one in of_cycles.get(lane, ())]
        found = zones if any(one.n for one in zones) or not cycles else cycles
        hours += [_wait(lane, [one], one.hour.start, one.hour.until) for one in found]
        totals.append(_wait(lane, found, asked.start, asked.end))
    return WaitsAnswer(**asked.head, lanes=totals, hours=hours)


def _of_zones(hours: Sequence[Hour], lanes: Mapping[int, str]) -> dict[str, list[_Hour]]:
    """`lanes`: of each zone's number."""
    found: dict[str, list[_Hour]] = {}
    for hour in hours:
        for one in hour.zones:
            if one.no in lanes:
                told = _Hour(hour, WaitMethod.LITTLE, one.vehicle_s, one.exits, one.measured_s)
                found.setdefault(lanes[one.no], []).append(told)
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


def _webster(hour: Hour, one: Lane) -> _Hour:
    wait_s, vehicles = 0.0, one.measured_vehicles
    if one.n_measured and vehicles:
        cycle_s, green_s = one.measured_s / one.n_measured, one.measured_green_s / one.n_measured
        wait_s = delay_s(cycle_s, green_s, one.saturation or 0.0, vehicles * 3600 / one.measured_s)
    n = vehicles if one.n_measured else None
    return _Hour(hour, WaitMethod.WEBSTER, wait_s * vehicles, n, one.measured_s)


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
