"""`GET /api/analytics/junction/{id}/lanes`, `/cycles`, `/saturation`, `/arrivals` and `/waits`."""

from litestar import get
from litestar.handlers import HTTPRouteHandler

from collector.analytics.answers_lights import (
    EXAMPLE_ARRIVALS,
    EXAMPLE_CYCLE_USE,
    EXAMPLE_LANES,
    EXAMPLE_SATURATION,
    EXAMPLE_WAITS,
    ArrivalsAnswer,
    CycleUseAnswer,
    LanesAnswer,
    SaturationAnswer,
    WaitsAnswer,
)
from collector.analytics.arrivals import read_arrivals
from collector.analytics.asking import answer_by_hours
from collector.analytics.cycle_use import read_cycle_use
from collector.analytics.lanes import read_lanes
from collector.analytics.parameters import From, JunctionId, To, answers
from collector.analytics.saturation import read_saturation
from collector.analytics.waits import read_waits
from collector.db import Pool


def lights_routes(pool: Pool) -> list[HTTPRouteHandler]:
    """The handlers."""

    @get(
        "/api/analytics/junction/{junction_id:uuid}/lanes",
        operation_id="analyticsLanes",
        summary="How traffic is spread over a junction's lanes",
        tags=["analytics"],
        responses=answers(LanesAnswer, EXAMPLE_LANES),
    )
    async def lanes(junction_id: JunctionId, start: From = None, end: To = None) -> LanesAnswer:
        return await answer_by_hours(pool, junction_id, start, end, read_lanes)

    @get(
        "/api/analytics/junction/{junction_id:uuid}/cycles",
        operation_id="analyticsCycles",
        summary="What became of the cycles' time",
        description="Green, yellow, red and lost time, by lane and stage; how long cycles are, by plan.",
        tags=["analytics"],
        responses=answers(CycleUseAnswer, EXAMPLE_CYCLE_USE),
    )
    async def cycles(junction_id: JunctionId, start: From = None, end: To = None) -> CycleUseAnswer:
        return await answer_by_hours(pool, junction_id, start, end, read_cycle_use)

    @get(
        "/api/analytics/junction/{junction_id:uuid}/saturation",
        operation_id="analyticsSaturation",
        summary="How full the lanes are, and split failures",
        tags=["analytics"],
        responses=answers(SaturationAnswer, EXAMPLE_SATURATION),
    )
    async def saturation(junction_id: JunctionId, start: From = None, end: To = None) -> SaturationAnswer:
        return await answer_by_hours(pool, junction_id, start, end, read_saturation)

    @get(
        "/api/analytics/junction/{junction_id:uuid}/arrivals",
        operation_id="analyticsArrivals",
        summary="Arrivals on green",
        description="By phase and hour, from the lights' event log. At most 31 days at a time.",
        tags=["analytics"],
        responses=answers(ArrivalsAnswer, EXAMPLE_ARRIVALS),
    )
    async def arrivals(junction_id: JunctionId, start: From = None, end: To = None) -> ArrivalsAnswer:
        return await answer_by_hours(pool, junction_id, start, end, read_arrivals)

    @get(
        "/api/analytics/junction/{junction_id:uuid}/waits",
        operation_id="analyticsWaits",
        summary="How long one waits at a junction",
        description="An estimate, from queues where a camera sees them, else from cycles.",
        tags=["analytics"],
        responses=answers(WaitsAnswer, EXAMPLE_WAITS),
    )
    async def waits(junction_id: JunctionId, start: From = None, end: To = None) -> WaitsAnswer:
        return await answer_by_hours(pool, junction_id, start, end, read_waits)

    return [lanes, cycles, saturation, arrivals, waits]
