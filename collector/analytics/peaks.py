"""When a junction is busy."""

from datetime import UTC
from typing import Any

from collector.analytics.answers_counts import HourOfDay, HourOfWeek, PeakHour, PeakHoursAnswer
from collector.analytics.counters import Counters, is_live, read_counters, read_lines
from collector.analytics.period import Asked
from collector.counting.queries import Bucket
from collector.db import Connection, load_queries


async def read_peak_hours(connection: Connection, asked: Asked) -> PeakHoursAnswer:
    """Of all hours that are over."""
    counters = await read_counters(connection, asked)
    live = await is_live(connection, asked, counters)
    hours = await read_cells(connection, asked, counters, "hours_of_week", Bucket.HOUR, live=live)
    peaks = [
        _peak(row) for row in await read_cells(connection, asked, counters, "peaks", Bucket.QUARTER, live=live)
    ]
    return PeakHoursAnswer(
        **asked.head,
        exact=live,
        proven=bool(counters.expected),
        lines=await read_lines(connection, counters, live=live),
        peak=max(peaks, key=lambda peak: peak.vehicles, default=None),
        peak_of_days=peaks,
        hours_of_day=[HourOfDay(*row[1:]) for row in hours if row[0] is None],
        hours_of_week=[HourOfWeek(*row) for row in hours if row[0] is not None],
    )


async def read_cells(
    connection: Connection, asked: Asked, counters: Counters, question: str, bucket: Bucket, **more: Any
) -> list[tuple[Any, ...]]:
    """The rows of a question of `analytics_counts.sql` that begins with `counted`."""
    queries = load_queries("analytics_counts")
    parameters = asked.parameters | counters.parameters | {"step_s": bucket.step_s} | more
    statement = queries["counted"] + b"\n" + queries[question]
    cursor = await connection.execute(statement, parameters, prepare=False)
    return await cursor.fetchall()


def _peak(row: tuple[Any, ...]) -> PeakHour:
    day, start, until, n, busiest = row
    return PeakHour(day, start.astimezone(UTC), until.astimezone(UTC), n, busiest, n / (4 * busiest))
