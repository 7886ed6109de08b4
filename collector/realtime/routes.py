"""Two ways to watch counts and lights: Server-Sent Events and a WebSocket. Both resume from an id."""

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated, Any
from uuid import UUID

import msgspec
from litestar import Request, WebSocket, get, websocket
from litestar.exceptions import WebSocketDisconnect
from litestar.handlers import HTTPRouteHandler, WebsocketRouteHandler
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import QueryParameter
from litestar.response import Stream

from collector.errors import ApiProblem
from collector.realtime.events import Filter, LiveCount, LiveCycle, LiveMode, LiveOccupancy, LiveSignal
from collector.realtime.hub import Event, Hub, Subscription, TooManyListeners

HEARTBEAT_S = 10.0
SLOW_READER_CODE = 4408
"""WebSocket close code for a listener that read too slowly."""
_ENCODE = msgspec.json.Encoder()

Junction = Annotated[UUID | None, QueryParameter(name="junction", description="Only counts of this junction.")]
SourceName = Annotated[
    str | None,
    QueryParameter(name="source", description="Only counts of this line, zone or reader: its name or id."),
]
LastId = Annotated[
    str | None, QueryParameter(name="last_id", description="Go on after this event.", max_length=64)
]


def _subscribe(hub: Hub, wanted: Filter, last_id: str | None) -> Subscription:
    try:
        return hub.subscribe(wanted, last_id)
    except TooManyListeners as error:
        raise ApiProblem(
            503, "too_many_listeners", "Too many listeners", str(error), retry_after_s=30.0
        ) from error


def sse_text(event: Event) -> bytes:
    """An event as Server-Sent Events writes it."""
    data = _ENCODE.encode(event.data) if event.data is not None else _notice(event)
    return b"id: %b\nevent: %b\ndata: %b\n\n" % (event.id.encode(), event.kind.encode(), data)


def _notice(event: Event) -> bytes:
    if event.kind == "reset":
        return b'{"reason":"events were missed: read the store, then go on from here"}'
    return b'{"reason":"slow_reader"}'


async def sse_stream(
    hub: Hub, subscription: Subscription, heartbeat_s: float = HEARTBEAT_S
) -> AsyncIterator[bytes]:
    """The body of an event stream. A comment is sent when nothing else is, so that no proxy cuts it."""
    try:
        yield b"retry: 3000\nid: %b\n\n" % subscription.start_id.encode()
        while True:
            events = await subscription.read(heartbeat_s)
            yield b"".join(map(sse_text, events)) or b": still here\n\n"
            if subscription.dropped or subscription.ended:
                return
    finally:
        hub.unsubscribe(subscription)


def live_routes(hub: Hub, heartbeat_s: float = HEARTBEAT_S) -> list[HTTPRouteHandler | WebsocketRouteHandler]:
    """The handlers."""

    @get(
        "/api/live/counts",
        operation_id="liveCounts",
        summary="Counts as they are stored",
        tags=["live"],
        media_type="text/event-stream",
        responses={
            200: ResponseSpec(
                LiveCount,
                media_type="text/event-stream",
                description="Events `count` (data: this), `reset` (some were missed), `dropped` (too slow).",
                generate_examples=False,
            )
        },
    )
    async def live_counts(
        request: Request[Any, Any, Any],
        junction: Junction = None,
        source: SourceName = None,
        last_id: LastId = None,
    ) -> Stream:
        """Server-Sent Events. A browser's EventSource resumes by itself, with `Last-Event-ID`."""
        return _sse(hub, request, Filter(junction, source), last_id, heartbeat_s)

    @get(
        "/api/live",
        operation_id="live",
        summary="Counts, lights and cycles as they are stored",
        tags=["live"],
        media_type="text/event-stream",
        responses={
            200: ResponseSpec(
                LiveCount | LiveSignal | LiveCycle | LiveOccupancy | LiveMode,
                media_type="text/event-stream",
                description="Events `count`, `signal`, `cycle`, `occupancy`, `mode` (data: one of these in this"
                " order), `reset` (some were missed), `dropped` (too slow).",
                generate_examples=False,
            )
        },
    )
    async def live(request: Request[Any, Any, Any], junction: Junction = None, last_id: LastId = None) -> Stream:
        """Server-Sent Events, as `liveCounts`, with what the lights do."""
        return _sse(hub, request, Filter(junction, lights=True), last_id, heartbeat_s)

    @websocket("/ws/live/counts")
    async def live_counts_ws(
        socket: WebSocket[Any, Any, Any],
        junction: Junction = None,
        source: SourceName = None,
        last_id: LastId = None,
    ) -> None:
        """The same events as text messages: `{"id", "event", "data"}`; `heartbeat` when nothing else is sent."""
        await _serve_socket(hub, socket, Filter(junction, source), last_id, heartbeat_s)

    @websocket("/ws/live")
    async def live_ws(socket: WebSocket[Any, Any, Any], junction: Junction = None, last_id: LastId = None) -> None:
        """The events of `/api/live` as text messages."""
        await _serve_socket(hub, socket, Filter(junction, lights=True), last_id, heartbeat_s)

    return [live_counts, live, live_counts_ws, live_ws]


def _sse(
    hub: Hub, request: Request[Any, Any, Any], wanted: Filter, last_id: str | None, heartbeat_s: float
) -> Stream:
    after = request.headers.get("last-event-id") or last_id
    return Stream(
        sse_stream(hub, _subscribe(hub, wanted, after), heartbeat_s),
        media_type="text/event-stream",
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )


async def _serve_socket(
    hub: Hub, socket: WebSocket[Any, Any, Any], wanted: Filter, last_id: str | None, heartbeat_s: float
) -> None:
    await socket.accept()
    try:
        subscription = hub.subscribe(wanted, last_id)
    except TooManyListeners as error:
        await socket.close(1013, str(error))
        return
    try:
        await _converse(socket, subscription, heartbeat_s)
    finally:
        hub.unsubscribe(subscription)


async def _converse(socket: WebSocket[Any, Any, Any], subscription: Subscription, heartbeat_s: float) -> None:
    """Send until the other side leaves, which only shows when something is read from it."""
    sending = asyncio.create_task(_send_events(socket, subscription, heartbeat_s))
    leaving = asyncio.create_task(_until_gone(socket))
    try:
        await asyncio.wait({sending, leaving}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (sending, leaving):
            task.cancel()
        results = await asyncio.gather(sending, leaving, return_exceptions=True)
    for result in results:
        if isinstance(result, Exception) and not isinstance(result, WebSocketDisconnect):
            raise result


async def _send_events(socket: WebSocket[Any, Any, Any], subscription: Subscription, heartbeat_s: float) -> None:
    while True:
        events = await subscription.read(heartbeat_s)
        for event in events:
            await socket.send_text(ws_text(event))
        if subscription.dropped:
            await socket.close(SLOW_READER_CODE, "slow_reader")
            return
        if not events:
            await socket.send_text('{"event":"heartbeat"}')


def ws_text(event: Event) -> str:
    """An event as a WebSocket message."""
    data = msgspec.Raw(_ENCODE.encode(event.data) if event.data is not None else _notice(event))
    return _ENCODE.encode({"id": event.id, "event": event.kind, "data": data}).decode()


async def _until_gone(socket: WebSocket[Any, Any, Any]) -> None:
    while True:
        await socket.receive_data(mode="text")
