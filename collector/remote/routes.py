"""`GET /api/device/commands`, on which devices wait for orders. What is said there: see `common.remote`."""

import asyncio
import time
from collections.abc import Collection
from typing import Annotated, Any
from uuid import UUID

import msgspec
from litestar import Request, get
from litestar.enums import MediaType
from litestar.handlers import HTTPRouteHandler
from litestar.openapi.datastructures import ResponseSpec
from litestar.openapi.spec import Example
from litestar.params import QueryParameter
from litestar.response.base import ASGIResponse

from collector.errors import ApiProblem
from collector.identity.device_tokens import DeviceTokens
from collector.ops.clock import unix_ms
from collector.remote.desk import Desk
from common.batch import Problem
from common.remote import COMMANDS_PATH, MAX_KNOWN, MAX_WAIT_S, CommandList

AnyRequest = Request[Any, Any, Any]

_ENCODE = msgspec.json.Encoder()
_TOLD = {
    400: "What is asked for makes no sense.",
    401: "The token is missing or cannot be accepted; slow down.",
    403: "The device is unknown or revoked; slow down.",
    503: "The database cannot be read now; wait `Retry-After` seconds.",
}
_EXAMPLE = {
    "commands": [
        {
            "id": "0198f3a2-7a4e-7c3b-9d55-0123456789ab",
            "order": {
                "order": "manual_override",
                "by": "ada (collector)",
                "why": "the fair",
                "cycle_s": 70.0,
                "lane_green_s": {"north": 40.0},
                "expires_s": 3600.0,
            },
            "expires_in_s": 58.7,
        }
    ],
    "server_time": 1767225600000,
    "v": 1,
    "waited_s": 12.3,
}


def remote_routes(tokens: DeviceTokens, desk: Desk) -> list[HTTPRouteHandler]:
    """The handlers."""

    @get(
        COMMANDS_PATH,
        operation_id="deviceCommands",
        summary="Wait for orders to the lights",
        tags=["devices"],
        security=[{"deviceToken": []}],
        responses={
            200: ResponseSpec(
                CommandList,
                description="Orders to carry out, oldest first; empty when none came in time.",
                generate_examples=False,
                examples=[Example(summary="An override", value=_EXAMPLE)],
            ),
            **{
                code: ResponseSpec(Problem, description=text, generate_examples=False)
                for code, text in _TOLD.items()
            },
        },
    )
    async def device_commands(
        request: AnyRequest,
        wait_s: Annotated[
            float,
            QueryParameter(description="Answered after so long in any case.", ge=0.0, le=MAX_WAIT_S),
        ] = 0.0,
        known: Annotated[
            list[UUID] | None,
            QueryParameter(description="Commands not to be given: the device has them.", max_items=MAX_KNOWN),
        ] = None,
    ) -> ASGIResponse:
        """Answered at once if there are orders, else as soon as there are.

        A device carries each out once, and tells what came of it by a record `command_result`; until that is
        stored it may be given the order again.
        """
        leaving = asyncio.create_task(_until_gone(request))
        try:
            commands = await _commands(request.headers.get("authorization"), wait_s, known or (), leaving)
        finally:
            leaving.cancel()
        return ASGIResponse(
            body=_ENCODE.encode(commands), media_type=MediaType.JSON, headers={"Cache-Control": "no-store"}
        )

    async def _commands(
        authorization: str | None, wait_s: float, known: Collection[UUID], leaving: asyncio.Task[None]
    ) -> CommandList:
        if not 0.0 <= wait_s <= MAX_WAIT_S:
            detail = f"wait_s has to be from 0 to {MAX_WAIT_S:g}"
            raise ApiProblem(400, "parameter_invalid", "A parameter cannot be used", detail, parameter="wait_s")
        began_s = time.monotonic()
        device = await tokens.verify(authorization, time.time())
        found = await desk.commands(device, frozenset(known), wait_s, leaving)
        return CommandList(found, server_time=unix_ms(), waited_s=round(time.monotonic() - began_s, 3))

    return [device_commands]


async def _until_gone(request: AnyRequest) -> None:
    """Returns when the device has closed its connection, as one that is stopped does."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
