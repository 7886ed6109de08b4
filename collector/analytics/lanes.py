"""How traffic is spread over a junction's lanes."""

from collections.abc import Sequence

from collector.analytics.answers_lights import Basis, LaneItem, LanesAnswer
from collector.analytics.counters import is_live, read_counters
from collector.analytics.hours import Part, hour_edges, read_hours
from collector.analytics.lane_hours import all_lanes
from collector.analytics.period import Asked
from collector.counting.queries import Bucket
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
    parameters = asked.parameters | counters.parameters | {"live": live}
    cursor = await connection.execute(
        load_queries("analytics_counts")["by_source"], parameters, prepare=False, binary=True
    )
    counted: dict[int, int] = dict(await cursor.fetchall())
    edges = await hour_edges(connection, asked.place.ref.timezone, asked.start, asked.end)
    measured = await counters.read_measured(connection, edges, Bucket.HOUR.step_s, live=live)
    found = [
        (line, counted.get(line.source.no, 0) if line.source else 0, line.measured_s(measured, edges))
        for line in counters.lines
    ]
    can_tell = all(measured_s is not None for _, _, measured_s in found)
    rates = [_rate(n, measured_s) if can_tell else float(n) for _, n, measured_s in found]
    period_s = (min(asked.end, asked.place.as_of) - asked.start).total_seconds()
    known = approaches(asked.place.described)
    items = [
        LaneItem(
            lane=line.name,
            approach=known.get(line.name),
            vehicles=n if n or measured_s else None,
            measured_s=measured_s,
            measured_share=None if measured_s is None else _over(min(measured_s, period_s), period_s),
            vehicles_per_h=_rate(n, measured_s),
            share=share,
            green_s=None,
            vehicles_per_green_s=None,
        )
        for (line, n, measured_s), share in zip(found, _shares(rates), strict=True)
    ]
    return LanesAnswer(**asked.head, basis=Basis.COUNTS, exact=live, lanes=items)


def _rate(vehicles: int | None, measured_s: float | None) -> float | None:
    return None if vehicles is None or not measured_s else vehicles * 3600 / measured_s


def _over(part: float | None, whole: float) -> float | None:
    return None if part is None or whole <= 0 else part / whole


def _shares(rates: Sequence[float | None]) -> list[float | None]:
    total = sum(rate for rate in rates if rate is not None)
    return [None if rate is None or not total else rate / total for rate in rates]
