"""What a junction carried before and after a change."""

import math
from datetime import UTC, datetime
from statistics import NormalDist
from typing import Any

from psycopg.rows import dict_row

from collector.analytics.answers import as_kept
from collector.analytics.answers_counts import Difference, PlanChange, Side, ThroughputAnswer
from collector.analytics.counters import is_live, read_counters, read_lines
from collector.analytics.peaks import read_cells
from collector.analytics.period import Asked
from collector.counting.queries import Bucket
from collector.db import Connection, load_queries
from collector.errors import ApiProblem
from collector.ops.parameters import moment_or_date, unusable

_LEAST_PAIRS = 3


async def read_throughput(connection: Connection, asked: Asked, change: str | None) -> ThroughputAnswer:
    """Before and after `change`; None: the latest new plan that the cycles tell of.

    Raises:
        ApiProblem: there is no change, or it lies outside.
    """
    changes = await _changes(connection, asked)
    at = await _moment(connection, asked, change, changes)
    counters = await read_counters(connection, asked)
    live = await is_live(connection, asked, counters)
    [pairs] = await read_cells(connection, asked, counters, "pairs", Bucket.HOUR, change=at, live=live)
    n_pairs, n_before, n_after, mean_before, mean_after, mean, deviation = pairs
    cycles_before, cycles_after = await _cycles_of_sides(connection, asked, at)
    return ThroughputAnswer(
        **asked.head,
        exact=live,
        lines=await read_lines(connection, counters, live=live),
        change=at,
        found=change is None,
        changes=changes,
        before=Side(from_=asked.start, to=at, n_hours=n_before, vehicles_per_h=mean_before, **cycles_before),
        after=Side(from_=at, to=asked.end, n_hours=n_after, vehicles_per_h=mean_after, **cycles_after),
        difference=_difference(n_pairs, mean_before, mean, deviation),
    )


async def _changes(connection: Connection, asked: Asked) -> list[PlanChange]:
    cursor = await connection.execute(load_queries("analytics_counts")["changes"], asked.parameters, prepare=False)
    return [PlanChange(at.astimezone(UTC), before, plan) for at, before, plan in await cursor.fetchall()]


async def _moment(connection: Connection, asked: Asked, change: str | None, changes: list[PlanChange]) -> datetime:
    if change is None:
        if not changes:
            raise ApiProblem(
                404,
                "change_unknown",
                "No change was found",
                "change: the cycles tell of no new plan between `from` and `to`; say when the change was",
                parameter="change",
            )
        return changes[0].at
    told = moment_or_date("change", change)
    if not isinstance(told, datetime):
        parameters = {"date": told, "zone": asked.place.ref.timezone}
        cursor = await connection.execute(load_queries("analytics_counts")["day_start"], parameters)
        row = await cursor.fetchone()
        assert row is not None
        told = row[0]
    if not asked.start < told < asked.end:
        raise unusable("change", f"{change} does not lie between `from` and `to`")
    return told.astimezone(UTC)


async def _cycles_of_sides(connection: Connection, asked: Asked, change: datetime) -> list[dict[str, Any]]:
    """What the cycles before the change add up to, and those after it."""
    async with connection.cursor(row_factory=dict_row) as cursor:
        parameters: dict[str, Any] = asked.parameters | {"change": change}
        await cursor.execute(load_queries("analytics_counts")["cycles_of_sides"], parameters, prepare=False)
        rows = await cursor.fetchall()
    for row in rows:
        del row["is_after"]
        row |= {name: as_kept(row[name]) for name in ("mean_cycle_s", "saturation")}
    return rows


def _difference(n_pairs: int, before: float | None, mean: float | None, deviation: float | None) -> Difference:
    low = high = None
    if n_pairs >= _LEAST_PAIRS and mean is not None and deviation is not None:
        margin = t_quantile(0.975, n_pairs - 1) * deviation / math.sqrt(n_pairs)
        low, high = mean - margin, mean + margin
    share = mean / before if mean is not None and before else None
    return Difference(n_pairs, mean, low, high, share)


def t_quantile(p: float, freedom: int) -> float:
    """Of Student's t, for 2 degrees of freedom or more; off by less than 0.3 % at p = 0.975 (Cornish-Fisher)."""
    if freedom == 2:
        return (2 * p - 1) / math.sqrt(2 * p * (1 - p))
    z = NormalDist().inv_cdf(p)
    terms = (
        z,
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return float(sum(term / freedom**power for power, term in enumerate(terms)))
