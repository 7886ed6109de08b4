"""`GET /api/analytics/junction/{id}/daily`, `/peak-hours` and `/throughput`."""

from typing import Annotated

from litestar import get
from litestar.handlers import HTTPRouteHandler
from litestar.openapi.spec import Example
from litestar.params import QueryParameter

from collector.analytics.answers_counts import (
    EXAMPLE_DAILY,
    EXAMPLE_PEAK_HOURS,
    EXAMPLE_THROUGHPUT,
    DailyAnswer,
    PeakHoursAnswer,
    ThroughputAnswer,
)
from collector.analytics.days import read_days
from collector.analytics.parameters import From, JunctionId, To, answers
from collector.analytics.peaks import read_peak_hours
from collector.analytics.period import read_asked
from collector.analytics.throughput import read_throughput
from collector.counting.queries import Bucket
from collector.db import Pool, reading

Change = Annotated[
    str | None,
    QueryParameter(
        name="change",
        description=(
            "When something was changed: RFC 3339 time, or a date there, at whose beginning it was. Default: when"
            " the cycles last tell of a plan that had not run in the period before."
        ),
        examples=[Example(value="2026-05-07")],
    ),
]


def count_routes(pool: Pool) -> list[HTTPRouteHandler]:
    """The handlers."""

    @get(
        "/api/analytics/junction/{junction_id:uuid}/daily",
        operation_id="analyticsDaily",
        summary="A junction day by day",
        description="Exact at the moment of asking, late data included. Days begin at the junction's midnight.",
        tags=["analytics"],
        responses=answers(DailyAnswer, EXAMPLE_DAILY),
    )
    async def daily(junction_id: JunctionId, start: From = None, end: To = None) -> DailyAnswer:
        async with reading(pool) as connection:
            return await read_days(connection, await read_asked(connection, junction_id, start, end, Bucket.DAY))

    @get(
        "/api/analytics/junction/{junction_id:uuid}/peak-hours",
        operation_id="analyticsPeakHours",
        summary="When a junction is busy",
        description=(
            "Vehicles per hour, by hour of the day and by weekday, over hours that were measured; and the busiest"
            " hour of each day, in quarters of an hour."
        ),
        tags=["analytics"],
        responses=answers(PeakHoursAnswer, EXAMPLE_PEAK_HOURS),
    )
    async def peak_hours(junction_id: JunctionId, start: From = None, end: To = None) -> PeakHoursAnswer:
        async with reading(pool) as connection:
            return await read_peak_hours(connection, await read_asked(connection, junction_id, start, end))

    @get(
        "/api/analytics/junction/{junction_id:uuid}/throughput",
        operation_id="analyticsThroughput",
        summary="A junction before and after a change",
        description=(
            "Compares the same hours of the week. What a junction carries follows what comes: a difference is no"
            " proof that the change made it."
        ),
        tags=["analytics"],
        responses=answers(ThroughputAnswer, EXAMPLE_THROUGHPUT),
    )
    async def throughput(
        junction_id: JunctionId, start: From = None, end: To = None, change: Change = None
    ) -> ThroughputAnswer:
        async with reading(pool) as connection:
            asked = await read_asked(connection, junction_id, start, end)
            return await read_throughput(connection, asked, change)

    return [daily, peak_hours, throughput]
