"""`GET /api/analytics/junction/{id}/overrides` and `GET /api/analytics/devices`."""

from typing import Annotated

from litestar import get
from litestar.handlers import HTTPRouteHandler
from litestar.params import QueryParameter

from collector.analytics.answers_people import (
    EXAMPLE_DEVICES,
    EXAMPLE_OVERRIDES,
    DevicesAnswer,
    DeviceState,
    OverridesAnswer,
)
from collector.analytics.devices import DevicesAsked, read_device_health
from collector.analytics.overrides import read_overrides
from collector.analytics.parameters import From, JunctionId, To, answers
from collector.analytics.period import read_asked
from collector.db import Pool, reading
from collector.ops.parameters import Limit, Offset

Junctions = Annotated[
    list[str] | None, QueryParameter(name="junction", description="Name or id of a junction; repeatable.")
]
States = Annotated[
    list[DeviceState] | None, QueryParameter(name="state", description="Only devices in it; repeatable.")
]
Days = Annotated[
    int, QueryParameter(name="days", ge=1, le=35, description="How many days to tell of, today being the last.")
]


def people_routes(pool: Pool) -> list[HTTPRouteHandler]:
    """The handlers."""

    @get(
        "/api/analytics/junction/{junction_id:uuid}/overrides",
        operation_id="analyticsOverrides",
        summary="Who took a junction's lights by hand",
        description="Orders belong to when the lights took them, or when they were given if they never did.",
        tags=["analytics"],
        responses=answers(OverridesAnswer, EXAMPLE_OVERRIDES),
    )
    async def overrides(junction_id: JunctionId, start: From = None, end: To = None) -> OverridesAnswer:
        async with reading(pool) as connection:
            return await read_overrides(connection, await read_asked(connection, junction_id, start, end))

    @get(
        "/api/analytics/devices",
        operation_id="analyticsDevices",
        summary="How the devices are, and were",
        description="Revoked devices are left out.",
        tags=["analytics"],
        responses=answers(DevicesAnswer, EXAMPLE_DEVICES),
    )
    async def devices(
        junction: Junctions = None, states: States = None, days: Days = 7, limit: Limit = 100, offset: Offset = 0
    ) -> DevicesAnswer:
        asked = DevicesAsked(junction, states, days, limit, offset)
        async with reading(pool) as connection:
            return await read_device_health(connection, asked)

    return [overrides, devices]
