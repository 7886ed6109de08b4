"""`PUT /api/junctions/{id}/mode`, its preview, and what came of orders."""

from typing import Any
from uuid import UUID

import msgspec
from litestar import Request, Response, get, post, put
from litestar.handlers import HTTPRouteHandler
from litestar.openapi.datastructures import ResponseSpec
from litestar.openapi.spec import Example
from litestar.params import FromPath, JSONBody

from collector.errors import ApiProblem
from collector.identity.access import Access
from collector.junctions.examples import COMMAND_EXAMPLE, OVERRIDE_EXAMPLE, PREVIEW_EXAMPLE
from collector.junctions.mode_orders import ModeOrder, Preview
from collector.junctions.ordering import Ordering, OverrideItem
from collector.ops.etag import NOT_MODIFIED, etagged
from collector.ops.parameters import Limit, Offset
from collector.ops.problems import problem_specs
from collector.remote.commands import CommandItem

_TAGS = ["junctions"]
_MAX_BODY_BYTES = 64 * 1024
_TOLD = {
    401: "Nobody signed in.",
    403: "The user may read this junction, and not operate it.",
    404: "There is no such junction, or it is not this user's.",
    409: "No device is known that drives the lights, it was revoked, or too many orders wait for it.",
    422: "The lights would refuse it; `errors` tells which setting, and what would be accepted.",
}


class CommandPage(msgspec.Struct, frozen=True):
    """A page of orders, newest first. `next_offset` null: it was the last one."""

    commands: list[CommandItem]
    next_offset: int | None


class OverridePage(msgspec.Struct, frozen=True):
    """A page of overrides, newest first. `next_offset` null: it was the last one."""

    overrides: list[OverrideItem]
    next_offset: int | None


AnyRequest = Request[Any, Any, Any]


def mode_routes(ordering: Ordering, access: Access) -> list[HTTPRouteHandler]:
    """The handlers."""

    @put(
        "/api/junctions/{junction_id:uuid}/mode",
        operation_id="orderMode",
        summary="Say who decides what the lights show",
        description=(
            "The order is checked against what the lights run, and queued for the device that drives them, in"
            " place of orders that the lights have not got yet. The lights judge it once more; what came of it is"
            " told by `/commands/{command}`, and live by the event `mode`."
        ),
        tags=_TAGS,
        request_max_body_size=_MAX_BODY_BYTES,
        status_code=202,
        responses={
            202: ResponseSpec(CommandItem, description="Queued.", examples=[Example(value=COMMAND_EXAMPLE)]),
            **problem_specs(_TOLD, 401, 403, 404, 409, 422),
        },
    )
    async def order_mode(
        junction_id: FromPath[UUID], data: JSONBody[ModeOrder], request: AnyRequest
    ) -> CommandItem:
        user = await access.may_operate(request, junction_id)
        return await ordering.order(junction_id, data, user)

    @post(
        "/api/junctions/{junction_id:uuid}/mode/preview",
        operation_id="previewMode",
        summary="What the lights would make of an order",
        description="Nothing is ordered. Greens that were not given are computed as the lights will.",
        tags=_TAGS,
        request_max_body_size=_MAX_BODY_BYTES,
        status_code=200,
        responses={
            200: ResponseSpec(Preview, description="The round.", examples=[Example(value=PREVIEW_EXAMPLE)]),
            **problem_specs(_TOLD, 404, 409),
        },
    )
    async def preview_mode(junction_id: FromPath[UUID], data: JSONBody[ModeOrder]) -> Preview:
        return await ordering.preview(junction_id, data)

    return [order_mode, preview_mode, *_history_routes(ordering)]


def _history_routes(ordering: Ordering) -> list[HTTPRouteHandler]:
    @get(
        "/api/junctions/{junction_id:uuid}/commands",
        operation_id="commands",
        summary="The orders that were given from here",
        tags=_TAGS,
        responses={
            200: ResponseSpec(
                CommandPage,
                description="A page of them.",
                examples=[Example(value={"commands": [COMMAND_EXAMPLE], "next_offset": None})],
            ),
            **NOT_MODIFIED,
            **problem_specs(_TOLD, 404),
        },
    )
    async def commands(
        junction_id: FromPath[UUID], request: AnyRequest, limit: Limit = 100, offset: Offset = 0
    ) -> Response[CommandPage]:
        found = await ordering.commands(junction_id, limit=limit + 1, offset=offset)
        return etagged(request, CommandPage(found[:limit], offset + limit if len(found) > limit else None))

    @get(
        "/api/junctions/{junction_id:uuid}/commands/{command_id:uuid}",
        operation_id="command",
        summary="What came of an order",
        tags=_TAGS,
        responses={
            200: ResponseSpec(CommandItem, description="The order.", examples=[Example(value=COMMAND_EXAMPLE)]),
            **NOT_MODIFIED,
            **problem_specs(_TOLD, 404),
        },
    )
    async def command(
        junction_id: FromPath[UUID], command_id: FromPath[UUID], request: AnyRequest
    ) -> Response[CommandItem]:
        found = await ordering.commands(junction_id, command_id)
        if not found:
            raise ApiProblem(
                404, "command_unknown", "No such order", f"the junction was given no order {command_id}"
            )
        return etagged(request, found[0])

    @get(
        "/api/junctions/{junction_id:uuid}/overrides",
        operation_id="overrides",
        summary="Who took the lights out of automatic control, when, why, and for how long",
        description="By orders from here, by orders that were given beside the junction, and emergency vehicles.",
        tags=_TAGS,
        responses={
            200: ResponseSpec(
                OverridePage,
                description="A page of them.",
                examples=[Example(value={"overrides": [OVERRIDE_EXAMPLE], "next_offset": None})],
            ),
            **NOT_MODIFIED,
            **problem_specs(_TOLD, 404),
        },
    )
    async def overrides(
        junction_id: FromPath[UUID], request: AnyRequest, limit: Limit = 100, offset: Offset = 0
    ) -> Response[OverridePage]:
        found = await ordering.overrides(junction_id, limit=limit + 1, offset=offset)
        return etagged(request, OverridePage(found[:limit], offset + limit if len(found) > limit else None))

    return [commands, command, overrides]
