"""`/api/fleet/devices`: which devices there are, how each is, and what admins change of them."""

from datetime import UTC, datetime
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
from litestar import Request, Response, get, patch, post
from litestar.handlers import HTTPRouteHandler
from litestar.openapi.datastructures import ResponseSpec
from litestar.openapi.spec import Example
from litestar.params import FromPath, JSONBody, QueryParameter
from msgspec import Meta

from collector.db import Pool
from collector.fleet.changes import DeviceChanges, no_device
from collector.fleet.device_items import DeviceList, DeviceStoryItem, device_item, story_item
from collector.fleet.overview import DeviceState, Order, Wanted, read_page, read_story
from collector.identity.access import Access
from collector.identity.users import Role
from collector.ops.etag import NOT_MODIFIED, etagged
from collector.ops.parameters import Limit, Offset

_TAGS = ["fleet"]
_NO_NUL = r"^[^\x00]*$"

DeviceName = Annotated[str, Meta(min_length=1, max_length=100, pattern=r"^[^\x00]+$", examples=["pi north"])]
AnyRequest = Request[Any, Any, Any]


class DeviceChange(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is to change; what is left out stays."""

    name: DeviceName | None = None
    junction: UUID | None = None
    """The junction where it stands. One that counted somewhere cannot move: a Pi that moves is enrolled anew."""


class SeenUntil(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Rejects that came up to then were dealt with; left out: those until now."""

    until: Annotated[datetime, Meta(tz=True)] | None = None


DEVICE_EXAMPLE = {
    "id": "5d1c0e0a-7c1b-4d43-8f34-6f2c2b0c7d01",
    "name": "pi north",
    "junction": {"id": "8f3f9a70-1f9d-4a7c-8a50-3f1f0c1e2d3a", "name": "Market Square"},
    "status": "active",
    "state": "healthy",
    "received_at": "2026-05-04T10:00:58Z",
    "last_at": "2026-05-04T10:00:57Z",
    "created_at": "2026-05-01T04:00:00Z",
    "revoked_at": None,
    "health_at": "2026-05-04T10:00:30Z",
    "version": "0.1.0",
    "uptime_s": 86400.5,
    "cpu_percent": 63.1,
    "memory_percent": 41.0,
    "temperature_c": 61.8,
    "disk_free_mb": 10240.0,
    "throttled": None,
    "clock": {"synced": True, "error_ms": 4},
    "outbox": {"records": 17, "bytes": 5120, "dropped": 500},
    "sensors": [
        {"name": "north", "state": "ok", "fps": 6.2, "dropped": 12, "latency_ms": 151.5, "restarts": 1},
    ],
    "made": 120_000,
    "stored": 119_499,
    "rejected": 1,
    "lost": 500,
    "adds_up": True,
    "rejects_open": 1,
    "gaps_last_day": 0,
    "lost_last_day": 0,
}
_LIST_EXAMPLE = {"as_of": "2026-05-04T10:01:00Z", "devices": [DEVICE_EXAMPLE], "next_offset": None}
_STORY_EXAMPLE = {
    "as_of": "2026-05-04T10:01:00Z",
    "device": DEVICE_EXAMPLE,
    "streams": [],
    "health": [
        {
            "at": "2026-05-04T09:45:00Z",
            "temperature_c": 62.4,
            "outbox_records": 40,
            "disk_free_mb": 10240.0,
            "cpu_percent": 71.0,
        }
    ],
    "sensor_history": [
        {
            "at": "2026-05-04T08:10:00Z",
            "sensor": "north",
            "state": "frozen",
            "span_ms": 60_000,
            "fps": None,
            "reconnects": 2,
            "detail": "the same picture for 30 s",
        }
    ],
}

Text = Annotated[str, Meta(max_length=100, pattern=_NO_NUL)]
Junctions = Annotated[
    list[Text] | None, QueryParameter(name="junction", description="Name or id of a junction; repeatable.")
]
States = Annotated[
    list[DeviceState] | None,
    QueryParameter(name="state", description="`healthy`, `warning`, `critical` or `never`; repeatable."),
]
Status = Annotated[
    Literal["active", "revoked"] | None, QueryParameter(name="status", description="Whether it may send.")
]
Part = Annotated[
    str | None,
    QueryParameter(
        name="q", max_length=100, pattern=_NO_NUL, description="Part of the name of the device or its junction."
    ),
]
Sort = Annotated[
    Order,
    QueryParameter(
        name="sort", description="`name`, or `received_at`: who is silent for longest first. `-` turns it round."
    ),
]


def device_routes(pool: Pool, access: Access) -> list[HTTPRouteHandler]:
    """The handlers. Who may read is for the router to say; who may change is said here."""
    return [*_reading_routes(pool), *_changing_routes(pool, access)]


def _reading_routes(pool: Pool) -> list[HTTPRouteHandler]:
    @get(
        "/api/fleet/devices",
        operation_id="devices",
        summary="The devices, and how each is",
        description=(
            "Per device: when it was last heard, its health, its sensors, what waits in its outbox, whether its"
            " records add up, and how many were put aside or lost lately."
        ),
        tags=_TAGS,
        responses={
            200: ResponseSpec(DeviceList, description="A page of them.", examples=[Example(value=_LIST_EXAMPLE)]),
            **NOT_MODIFIED,
        },
    )
    async def devices(
        request: AnyRequest,
        junction: Junctions = None,
        states: States = None,
        status: Status = None,
        q: Part = None,
        sort: Sort = Order.NAME,
        limit: Limit = 100,
        offset: Offset = 0,
    ) -> Response[DeviceList]:
        wanted = Wanted((), junction or (), states or (), status, q)
        found = await read_page(pool, wanted, order=sort, limit=limit + 1, offset=offset)
        as_of = found[0].as_of if found else datetime.now(UTC)
        items = [device_item(each) for each in found[:limit]]
        answer = DeviceList(as_of, items, offset + limit if len(found) > limit else None)
        return etagged(request, answer, known_by=(items, answer.next_offset))

    @get(
        "/api/fleet/devices/{device_id:uuid}",
        operation_id="device",
        summary="One device, its streams and its last day",
        tags=_TAGS,
        responses={
            200: ResponseSpec(DeviceStoryItem, description="It.", examples=[Example(value=_STORY_EXAMPLE)]),
            **NOT_MODIFIED,
        },
    )
    async def device(device_id: FromPath[UUID], request: AnyRequest) -> Response[DeviceStoryItem]:
        story = await _story(pool, device_id)
        return etagged(request, story, known_by=msgspec.structs.replace(story, as_of=story.device.created_at))

    return [devices, device]


def _changing_routes(pool: Pool, access: Access) -> list[HTTPRouteHandler]:
    changes = DeviceChanges(pool)
    admins = [access.requires(Role.ADMIN)]

    @patch(
        "/api/fleet/devices/{device_id:uuid}",
        operation_id="change_device",
        summary="Change a device's name, or tell where it stands",
        description="A junction is taken from a device that has none, or has sent nothing yet; else it is a 409.",
        tags=_TAGS,
        guards=admins,
    )
    async def change(
        device_id: FromPath[UUID], data: JSONBody[DeviceChange], request: AnyRequest
    ) -> DeviceStoryItem:
        who = await access.needed_user(request)
        await changes.change(device_id, who, name=data.name, junction_id=data.junction)
        return await _story(pool, device_id)

    @post(
        "/api/fleet/devices/{device_id:uuid}/revoke",
        operation_id="revoke_device",
        summary="Take in nothing more from a device",
        description="What it sent stays. It is trusted again when it is enrolled again.",
        tags=_TAGS,
        status_code=200,
        guards=admins,
    )
    async def revoke(device_id: FromPath[UUID], request: AnyRequest) -> DeviceStoryItem:
        await changes.revoke(device_id, await access.needed_user(request))
        return await _story(pool, device_id)

    @post(
        "/api/fleet/devices/{device_id:uuid}/rejects/seen",
        operation_id="mark_rejects_seen",
        summary="Mark what was put aside as seen",
        description="The records stay; they no longer count as open.",
        tags=_TAGS,
        status_code=200,
        guards=admins,
    )
    async def seen(
        device_id: FromPath[UUID], request: AnyRequest, data: JSONBody[SeenUntil | None] = None
    ) -> DeviceStoryItem:
        until = data.until if data is not None and data.until is not None else datetime.now(UTC)
        await changes.mark_rejects_seen(device_id, until, await access.needed_user(request))
        return await _story(pool, device_id)

    return [change, revoke, seen]


async def _story(pool: Pool, device_id: UUID) -> DeviceStoryItem:
    found = await read_story(pool, device_id)
    if found is None:
        raise no_device(device_id)
    return story_item(found)
