"""Ways to watch counts and lights: Server-Sent Events and WebSockets, of all and of one junction. All resume."""

from typing import Annotated
from uuid import UUID

from litestar import get, websocket
from litestar.handlers import HTTPRouteHandler, WebsocketRouteHandler
from litestar.openapi.datastructures import ResponseSpec
from litestar.openapi.spec import Example
from litestar.params import PathParameter, QueryParameter
from litestar.response import Stream

from collector.errors import ApiProblem
from collector.junctions.lights_routes import SignalsAnswer
from collector.realtime.events import Filter, LiveCount, LiveCycle, LiveLog, LiveMode, LiveOccupancy, LiveSignal
from collector.realtime.junction_words import (
    CarCount,
    GreenTime,
    JunctionReader,
    JunctionWords,
    LogLine,
    ModeChange,
    SignalChange,
)
from collector.realtime.streams import Ending, JunctionGone, PlainWords
from collector.realtime.transport import AnyRequest, AnySocket, Live
from collector.realtime.visitors import Visitor, visitor_of

Junction = Annotated[UUID | None, QueryParameter(name="junction", description="Only events of this junction.")]
SourceName = Annotated[
    str | None,
    QueryParameter(name="source", description="Only counts of this line, zone or reader: its name or id."),
]
LastId = Annotated[
    str | None,
    QueryParameter(
        name="last_id",
        description="Go on after this event.",
        max_length=64,
        # It is told again as it came: a line or a quotation mark in it would become events.
        pattern=r"^[0-9A-Za-z-]*(?!\n)$",
    ),
]
JunctionId = Annotated[UUID, PathParameter(description="Id of the junction.")]

_ALWAYS = (
    "`reset` (some were missed: read the store), `paused` (nothing comes until a `reset`), `dropped` (too slow)"
)
_EXAMPLE = (
    "retry: 3000\nid: 9c1f0b7e52aa-41\n\n"
    'id: 9c1f0b7e52aa-42\nevent: car_count\ndata: {"at":"2026-05-04T10:00:57.120Z","lane":"north",'
    '"detector":"stop_line","class":"car","direction":"in","via":"camera","sensor":"cam-north","source":"line",'
    '"device":"0198a6a2-6f0e-7c3e-9a51-0d6e3f1f2b11","inferred":false}\n\n'
    'id: 9c1f0b7e52aa-43\nevent: signal\ndata: {"movement":"north","phase":2,"aspect":"yellow",'
    '"since":"2026-05-04T10:00:58Z"}\n\n'
)


def live_routes(live: Live) -> list[HTTPRouteHandler]:
    """The handlers of event streams. Whoever they let in has been asked who they are."""

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
                description=f"Events `count` (data: this), {_ALWAYS}.",
                generate_examples=False,
            )
        },
    )
    async def live_counts(
        request: AnyRequest, junction: Junction = None, source: SourceName = None, last_id: LastId = None
    ) -> Stream:
        """Server-Sent Events, also as text messages of the WebSocket `/ws/live/counts`.

        A browser's EventSource resumes by itself, with `Last-Event-ID`. Users hear of the junctions they see.
        """
        visitor = await visitor_of(request, live.access)
        return await live.sse(request, visitor, Filter(junction, source), PlainWords(), last_id)

    @get(
        "/api/live",
        operation_id="live",
        summary="Counts, lights, cycles, orders and logs as they are stored",
        tags=["live"],
        media_type="text/event-stream",
        responses={
            200: ResponseSpec(
                LiveCount | LiveSignal | LiveCycle | LiveOccupancy | LiveMode | LiveLog,
                media_type="text/event-stream",
                description="Events `count`, `signal`, `cycle`, `occupancy`, `mode`, `log` (data: one of these in"
                f" this order), {_ALWAYS}.",
                generate_examples=False,
            )
        },
    )
    async def live_all(request: AnyRequest, junction: Junction = None, last_id: LastId = None) -> Stream:
        """As `liveCounts`, with what the lights do; also at the WebSocket `/ws/live`."""
        visitor = await visitor_of(request, live.access)
        return await live.sse(request, visitor, Filter(junction, lights=True), PlainWords(), last_id)

    return [live_counts, live_all]


def junction_live_route(live: Live, reader: JunctionReader) -> HTTPRouteHandler:
    """The handler of a junction's event stream."""

    @get(
        "/api/junctions/{junction_id:uuid}/live",
        operation_id="junctionLive",
        summary="What a junction does, as it is stored",
        tags=["live"],
        media_type="text/event-stream",
        responses={
            200: ResponseSpec(
                SignalsAnswer | CarCount | GreenTime | SignalChange | ModeChange | LogLine,
                media_type="text/event-stream",
                description="Events `snapshot`, `car_count`, `green_time`, `signal`, `mode`, `log` (data: one of"
                f" these in this order), {_ALWAYS}.",
                examples=[Example(value=_EXAMPLE)],
            )
        },
    )
    async def junction_live(request: AnyRequest, junction_id: JunctionId, last_id: LastId = None) -> Stream:
        """Server-Sent Events: first a `snapshot` (as `junctionSignals`), then what changes, or was missed since
        `last_id`. After a `reset` there is a new `snapshot`.

        The WebSocket `/ws/junction/{junction_id}` sends the same as text messages `{"id", "event", "data"}`, and
        `{"event": "heartbeat"}` when nothing else is sent for 10 s. It takes the cookie of a page of this host, or
        a token in `Authorization`. It is closed with 4401: sign in; 4404: no such junction, or not for you; 4408:
        read too slowly, come back with the last id; 1012, 1013: come back later.
        """
        visitor = await visitor_of(request, live.access)
        try:
            await _check(visitor, junction_id, reader)
        except JunctionGone:
            raise ApiProblem(
                404, "junction_unknown", "No such junction", f"there is no junction {junction_id}"
            ) from None
        words = JunctionWords(junction_id, reader)
        return await live.sse(request, visitor, Filter(junction_id, lights=True), words, last_id)

    return junction_live


def live_sockets(live: Live, reader: JunctionReader) -> list[WebsocketRouteHandler]:
    """The handlers of WebSockets, which ask themselves who comes: a guard could not say why it refuses."""

    @websocket("/ws/live/counts")
    async def live_counts_ws(
        socket: AnySocket, junction: Junction = None, source: SourceName = None, last_id: LastId = None
    ) -> None:
        """The events of `/api/live/counts` as text messages: `{"id", "event", "data"}`, and `heartbeat`."""
        if visitor := await live.enter(socket):
            await live.serve(socket, visitor, Filter(junction, source), PlainWords(), last_id)

    @websocket("/ws/live")
    async def live_ws(socket: AnySocket, junction: Junction = None, last_id: LastId = None) -> None:
        """The events of `/api/live` as text messages."""
        if visitor := await live.enter(socket):
            await live.serve(socket, visitor, Filter(junction, lights=True), PlainWords(), last_id)

    @websocket("/ws/junction/{junction_id:uuid}")
    async def junction_ws(socket: AnySocket, junction_id: JunctionId, last_id: LastId = None) -> None:
        """The events of `/api/junctions/{junction_id}/live` as text messages."""
        visitor = await live.enter(socket)
        if visitor is None:
            return
        if not visitor.sees(junction_id):
            await socket.close(*Ending.UNKNOWN.value)
            return
        words = JunctionWords(junction_id, reader)
        await live.serve(socket, visitor, Filter(junction_id, lights=True), words, last_id)

    return [live_counts_ws, live_ws, junction_ws]


async def _check(visitor: Visitor, junction: UUID, reader: JunctionReader) -> None:
    """Raises JunctionGone: there is no such junction, or not for them, which look alike."""
    if not visitor.sees(junction):
        raise JunctionGone
    await reader.read(junction)
