"""How a live stream goes over the wire: as Server-Sent Events, or as messages of a WebSocket."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from litestar import Request, WebSocket
from litestar.exceptions import WebSocketDisconnect
from litestar.response import Stream

from collector.errors import ApiProblem
from collector.identity.access import Access, check_own_page
from collector.realtime.events import Filter
from collector.realtime.hub import Hub, TooManyListeners
from collector.realtime.streams import Ending, LiveStream, Message, Words
from collector.realtime.visitors import Visitor, visitor_of

AnySocket = WebSocket[Any, Any, Any]
AnyRequest = Request[Any, Any, Any]


class Live:
    """What the routes need: the hub, and who may listen (`access` None: whoever reaches the collector)."""

    def __init__(self, hub: Hub, access: Access | None, heartbeat_s: float) -> None:
        self._hub = hub
        self.access = access
        self._heartbeat_s = heartbeat_s

    def stream(self, visitor: Visitor, wanted: Filter, words: Words, last_id: str | None) -> LiveStream:
        """Raises TooManyListeners."""
        return LiveStream(self._hub, visitor, wanted, words, last_id, self._heartbeat_s)

    async def sse(
        self, request: AnyRequest, visitor: Visitor, wanted: Filter, words: Words, last_id: str | None
    ) -> Stream:
        """The answer to a request. Raises ApiProblem."""
        after = request.headers.get("last-event-id") or last_id
        try:
            stream = self.stream(visitor, wanted, words, after)
        except TooManyListeners as error:
            raise ApiProblem(
                503, "too_many_listeners", "Too many listeners", str(error), retry_after_s=30.0
            ) from error
        return Stream(
            _sse_body(stream),
            media_type="text/event-stream",
            headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
        )

    async def enter(self, socket: AnySocket) -> Visitor | None:
        """Takes the connection in. None: it was closed again, nobody signed in.

        A page of another site is refused before that, also where no user is needed: it could read what only this
        machine may. Where a token is sent it was no page.
        """
        if "authorization" not in socket.headers:
            check_own_page(socket)
        try:
            visitor = await visitor_of(socket, self.access)
        except ApiProblem as problem:
            if problem.status != 401:
                raise
            await socket.accept()
            await socket.close(*_closing(Ending.SIGN_IN, problem.detail))
            return None
        await socket.accept()
        return visitor

    async def serve(
        self, socket: AnySocket, visitor: Visitor, wanted: Filter, words: Words, last_id: str | None
    ) -> None:
        """Tell an accepted connection until it ends, and close it."""
        try:
            stream = self.stream(visitor, wanted, words, last_id)
        except TooManyListeners as error:
            await socket.close(*_closing(Ending.TOO_MANY, str(error)))
            return
        try:
            await _converse(socket, stream)
        finally:
            stream.close()


def _closing(ending: Ending, detail: str = "") -> tuple[int, str]:
    """Code and reason, which may have 123 bytes."""
    code, reason = ending.value
    return code, f"{reason}: {detail}"[:100] if detail else reason


def sse_text(message: Message) -> bytes:
    """A message as Server-Sent Events write it."""
    return b"id: %b\nevent: %b\ndata: %b\n\n" % (message.id.encode(), message.kind.encode(), message.data)


async def _sse_body(stream: LiveStream) -> AsyncIterator[bytes]:
    """A comment is sent when nothing else is, so that no proxy cuts it."""
    try:
        yield b"retry: 3000\nid: %b\n\n" % stream.start_id.encode()
        async for messages in stream.messages():
            yield b"".join(map(sse_text, messages)) or b": still here\n\n"
    finally:
        stream.close()


def ws_text(message: Message) -> str:
    """A message as a WebSocket carries it."""
    return f'{{"id":"{message.id}","event":"{message.kind}","data":{message.data.decode()}}}'


async def _converse(socket: AnySocket, stream: LiveStream) -> None:
    """Send until the other side leaves, which only shows when something is read from it."""
    sending = asyncio.create_task(_send(socket, stream))
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


async def _send(socket: AnySocket, stream: LiveStream) -> None:
    async for messages in stream.messages():
        for message in messages:
            await socket.send_text(ws_text(message))
        if not messages and stream.ending is None:
            await socket.send_text('{"event":"heartbeat"}')
    if stream.ending is not None:
        await socket.close(*_closing(stream.ending))


async def _until_gone(socket: AnySocket) -> None:
    while True:
        await socket.receive_data(mode="text")
