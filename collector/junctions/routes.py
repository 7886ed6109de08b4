"""`GET /api/junctions`."""

from datetime import UTC, datetime
from typing import Annotated
from uuid import UUID

import msgspec
from litestar import get
from litestar.handlers import HTTPRouteHandler
from litestar.openapi.datastructures import ResponseSpec
from litestar.openapi.spec import Example
from litestar.params import QueryParameter

from collector.db import Pool
from collector.junctions.queries import Freshness, Junction, read_junctions


class JunctionItem(msgspec.Struct, frozen=True):
    """A junction. `counts_today` null: nothing was measured since midnight there (`today_from`).

    Where cameras count it is what they counted; what tag readers counted of the same vehicles is not added.
    """

    id: UUID
    name: str
    timezone: str
    location: str | None
    latitude: float | None
    longitude: float | None
    devices: int
    active_devices: int
    """Of them, those that were not revoked."""
    sources: int
    state: Freshness
    """`live`: heard within 2 minutes, `late`: within 15, `silent`: longer ago, `never`."""
    received_at: datetime | None
    """When it was last heard."""
    last_at: datetime | None
    """The time of its latest record."""
    today_from: datetime
    counts_today: int | None
    has_lights: bool
    """Its lights have told what they are: `/api/junctions/{id}/signals` has more."""


class JunctionList(msgspec.Struct, frozen=True):
    """A page of junctions. `next_offset` None: it was the last one."""

    junctions: list[JunctionItem]
    next_offset: int | None


_EXAMPLE = {
    "junctions": [
        {
            "id": "8f3f9a70-1f9d-4a7c-8a50-3f1f0c1e2d3a",
            "name": "Market Square",
            "timezone": "Europe/Berlin",
            "location": None,
            "latitude": None,
            "longitude": None,
            "devices": 4,
            "active_devices": 4,
            "sources": 4,
            "state": "live",
            "received_at": "2026-05-04T10:00:58Z",
            "last_at": "2026-05-04T10:00:57Z",
            "today_from": "2026-05-03T22:00:00Z",
            "counts_today": 8123,
            "has_lights": True,
        }
    ],
    "next_offset": None,
}

Junctions = Annotated[
    list[str] | None, QueryParameter(name="junction", description="Name or id of a junction; repeatable.")
]
Limit = Annotated[int, QueryParameter(name="limit", ge=1, le=1000, description="How many to return.")]
Offset = Annotated[int, QueryParameter(name="offset", ge=0, description="How many to leave out first.")]


def junction_routes(pool: Pool) -> list[HTTPRouteHandler]:
    """The handlers."""

    @get(
        "/api/junctions",
        operation_id="junctions",
        summary="The junctions, and how they are today",
        tags=["junctions"],
        responses={
            200: ResponseSpec(JunctionList, description="A page of them.", examples=[Example(value=_EXAMPLE)])
        },
    )
    async def junctions(junction: Junctions = None, limit: Limit = 100, offset: Offset = 0) -> JunctionList:
        found = await read_junctions(pool, junction, limit=limit + 1, offset=offset)
        items = [_item(each) for each in found[:limit]]
        return JunctionList(items, offset + limit if len(found) > limit else None)

    return [junctions]


def _item(junction: Junction) -> JunctionItem:
    return JunctionItem(
        id=junction.id,
        name=junction.name,
        timezone=junction.timezone,
        location=junction.location,
        latitude=junction.latitude,
        longitude=junction.longitude,
        devices=junction.devices,
        active_devices=junction.active_devices,
        sources=junction.sources,
        state=junction.state,
        received_at=junction.received_at,
        last_at=junction.last_at,
        today_from=junction.today.astimezone(UTC),
        counts_today=junction.counts_today,
        has_lights=junction.has_lights,
    )
