"""How traffic is spread over a junction's lanes."""

from collections.abc import Sequence

from psycopg.rows import dict_row

from collector.analytics.answers_lights import Basis, LaneItem, LanesAnswer
from collector.analytics.period import Asked, is_live, read_counters
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
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(load_queries("analytics_lights")["lanes"], asked.parameters, prepare=False)
        rows = await cursor.fetchall()
    shares = _shares([_rate(row["vehicles"], row["measured_s"]) for row in rows])
    known = approaches(asked.place.described)
    return [
        LaneItem(
            lane=row["lane"],
            approach=known.get(row["lane"]),
            vehicles=row["vehicles"],
            measured_s=row["measured_s"],
            measured_share=_over(row["measured_s"], row["green_s"] + row["yellow_s"] + row["red_s"]),
            vehicles_per_h=_rate(row["vehicles"], row["measured_s"]),
            share=share,
            green_s=row["green_s"],
            vehicles_per_green_s=_over(row["vehicles"], row["measured_green_s"]),
        )
        for row, share in zip(rows, shares, strict=True)
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
    found = [(source, *told[source.no]) for source in counters.sources]
    can_tell = all(measured_s is not None for _, _, measured_s in found)
    rates = [_rate(n, measured_s) if can_tell else float(n) for _, n, measured_s in found]
    period_s = (min(asked.end, asked.place.as_of) - asked.start).total_seconds()
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


def _rate(vehicles: int | None, measured_s: float | None) -> float | None:
    return None if vehicles is None or not measured_s else vehicles * 3600 / measured_s


def _over(part: float | None, whole: float) -> float | None:
    return None if part is None or whole <= 0 else part / whole


def _shares(rates: Sequence[float | None]) -> list[float | None]:
    total = sum(rate for rate in rates if rate is not None)
    return [None if rate is None or not total else rate / total for rate in rates]
