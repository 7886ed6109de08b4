"""How traffic is spread over a junction's lanes."""

from collections.abc import Sequence
from datetime import datetime

from collector.analytics.answers_lights import Basis, LaneItem, LanesAnswer
from collector.analytics.hours import Part, read_hours
from collector.analytics.lane_hours import all_lanes
from collector.analytics.period import Asked, Source, is_live, read_counters
from collector.counting.in_force import overlap_s
from collector.db import Connection, load_queries
from common.junction import Junction


async def read_lanes(connection: Connection, asked: Asked) -> LanesAnswer:
    """From cycles, or where there are none from counts."""
    items = await _of_cycles(connection, asked)
    if items:
        return LanesAnswer(**asked.head, basis=Basis.CYCLES, exact=True, lanes=items)
    return await _of_counts(connection, asked)


def approaches(described: Junction | None) -> dict[str, str]:
    """Where each lane comes from."""
    return {lane.name: lane.approach for lane in described.lanes} if described else {}


async def _of_cycles(connection: Connection, asked: Asked) -> list[LaneItem]:
    found = all_lanes(await read_hours(connection, asked, Part.CYCLES))
    shares = _shares([_rate(one.vehicles, one.counted_s) for one in found])
    known = approaches(asked.place.described)
    return [
        LaneItem(
            lane=one.lane,
            approach=known.get(one.lane),
            vehicles=one.vehicles,
            measured_s=one.counted_s,
            measured_share=_over(one.counted_s, one.green_s + one.yellow_s + one.red_s),
            vehicles_per_h=_rate(one.vehicles, one.counted_s),
            share=share,
            green_s=one.green_s,
            vehicles_per_green_s=_over(one.vehicles, one.counted_green_s),
        )
        for one, share in zip(found, shares, strict=True)
    ]


async def _of_counts(connection: Connection, asked: Asked) -> LanesAnswer:
    counters = await read_counters(connection, asked)
    live = await is_live(connection, asked, counters)
    parameters = asked.parameters | counters.parameters
    parameters |= {"live": live, "camera_of": [source.camera_no for source in counters.sources]}
    cursor = await connection.execute(
        load_queries("analytics_counts")["by_source"], parameters, prepare=False, binary=True
    )
    told = {no: (n, measured_s) for no, n, measured_s in await cursor.fetchall()}
    until = min(asked.end, asked.place.as_of)
    found = [
        (source, n, _clipped(source, measured_s, asked.start, until))
        for source in counters.sources
        for n, measured_s in (told[source.no],)
    ]
    can_tell = all(measured_s is not None for _, _, measured_s in found)
    rates = [_rate(n, measured_s) if can_tell else float(n) for _, n, measured_s in found]
    period_s = (until - asked.start).total_seconds()
    items = [
        LaneItem(
            lane=source.name,
            approach=None,
            vehicles=n if n or measured_s else None,
            measured_s=measured_s,
            measured_share=None if measured_s is None else _over(min(measured_s, period_s), period_s),
            vehicles_per_h=_rate(n, measured_s),
            share=share,
            green_s=None,
            vehicles_per_green_s=None,
        )
        for (source, n, measured_s), share in zip(found, _shares(rates), strict=True)
    ]
    return LanesAnswer(**asked.head, basis=Basis.COUNTS, exact=live, lanes=items)


def _clipped(source: Source, measured_s: float | None, start: datetime, end: datetime) -> float | None:
    """What the camera measured while it counted at this source."""
    return None if measured_s is None else min(measured_s, overlap_s(source.in_force, start, end))


def _rate(vehicles: int | None, measured_s: float | None) -> float | None:
    return None if vehicles is None or not measured_s else vehicles * 3600 / measured_s


def _over(part: float | None, whole: float) -> float | None:
    return None if part is None or whole <= 0 else part / whole


def _shares(rates: Sequence[float | None]) -> list[float | None]:
    total = sum(rate for rate in rates if rate is not None)
    return [None if rate is None or not total else rate / total for rate in rates]
