"""A small web server on the event loop: one request per connection, short heads, small bodies, and streams.

It bears what a network may send: it reads little, waits briefly, and serves few at a time.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from urllib.parse import parse_qs

import msgspec

from edge_agent.status.server import MAX_HEAD_BYTES

MAX_BODY_BYTES = 64 * 1024
MAX_AT_ONCE = 32
_PATIENCE_S = 5.0
_STREAM_PATIENCE_S = 10.0
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:;"
    " connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Connection": "close",
}


@dataclass(frozen=True, slots=True)
class Request:
    """What was asked. Names of headers are in small letters; `peer` is an IP address."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes
    peer: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What is sent back. `stream` follows the head piece by piece, each as the one before has gone out."""

    status: HTTPStatus = HTTPStatus.OK
    content_type: str = "text/plain; charset=utf-8"
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    stream: AsyncGenerator[bytes] | None = None


def as_json(tree: object, status: HTTPStatus = HTTPStatus.OK, headers: Mapping[str, str] | None = None) -> Answer:
    """An answer in JSON."""
    return Answer(status, "application/json", msgspec.json.encode(tree), headers or {})


class Bad(Exception):
    """A request that is answered by an error."""

    def __init__(self, status: HTTPStatus, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.answer = as_json({"error": message}, status, headers)


Handler = Callable[[Request], Awaitable[Answer]]


class HttpServer:
    """Hands requests to `handler`, which may raise `Bad`."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self._open: set[asyncio.Task[None]] = set()

    @contextlib.asynccontextmanager
    async def serving(self, host: str, port: int) -> AsyncIterator[int]:
        """Serve; gives the port it listens on.

        Raises:
            OSError: the address cannot be used.
        """
        server = await asyncio.start_server(self._accept, host, port, limit=MAX_HEAD_BYTES)
        try:
            yield server.sockets[0].getsockname()[1]
        finally:
            server.close()
            for task in list(self._open):
                task.cancel()
            await asyncio.gather(*self._open, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        try:
            await self._serve(reader, writer)
        except (OSError, TimeoutError):
            # Whoever goes away early, or neither speaks nor listens, is no business of ours.
            pass
        finally:
            self._open.discard(task)
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # What has left us is what counts: a slow viewer gets the newest picture next, not a queue of old ones.
        writer.transport.set_write_buffer_limits(high=0)
        try:
            if len(self._open) > MAX_AT_ONCE:
                raise Bad(HTTPStatus.SERVICE_UNAVAILABLE, "too many at once; close other tabs")
            async with asyncio.timeout(_PATIENCE_S):
                request = await _read_request(reader, writer)
            answer = await self._handler(request)
        except Bad as bad:
            answer = bad.answer
        async with asyncio.timeout(_PATIENCE_S):
            writer.write(_head(answer))
            writer.write(answer.body)
            await writer.drain()
        if answer.stream is not None:
            await _stream(answer.stream, reader, writer)
        async with asyncio.timeout(_PATIENCE_S):
            writer.close()
            await writer.wait_closed()


async def _stream(
    pieces: AsyncGenerator[bytes], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    async with contextlib.aclosing(pieces):
        async for piece in pieces:
            if reader.at_eof():
                return
            async with asyncio.timeout(_STREAM_PATIENCE_S):
                writer.write(piece)
                await writer.drain()


async def _read_request(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Request:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.LimitOverrunError as error:
        raise Bad(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "the request is too large") from error
    except asyncio.IncompleteReadError as error:
        raise Bad(HTTPStatus.BAD_REQUEST, "this is no HTTP request") from error
    first, *rest = head.decode("latin-1").split("\r\n")
    words = first.split(" ")
    if len(words) != 3 or not words[2].startswith("HTTP/1."):
        raise Bad(HTTPStatus.BAD_REQUEST, "this is no HTTP request")
    headers = {}
    for line in rest:
        name, colon, value = line.partition(":")
        if colon:
            headers[name.strip().lower()] = value.strip()
    path, _, query = words[1].partition("?")
    fields = {key: values[0] for key, values in parse_qs(query).items()}
    body = await _read_body(reader, headers)
    return Request(words[0], path, fields, headers, body, str(writer.get_extra_info("peername")[0]))


async def _read_body(reader: asyncio.StreamReader, headers: Mapping[str, str]) -> bytes:
    if "transfer-encoding" in headers:
        raise Bad(HTTPStatus.LENGTH_REQUIRED, "send the body with its length")
    length = headers.get("content-length", "0")
    if not length.isascii() or not length.isdigit():
        raise Bad(HTTPStatus.BAD_REQUEST, "the length of the body is no number")
    if int(length) > MAX_BODY_BYTES:
        raise Bad(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "the body is too large")
    try:
        return await reader.readexactly(int(length))
    except asyncio.IncompleteReadError as error:
        raise Bad(HTTPStatus.BAD_REQUEST, "the body is cut off") from error


def _head(answer: Answer) -> bytes:
    headers = {"Content-Type": answer.content_type, "Cache-Control": "no-store", **_HEADERS, **answer.headers}
    if answer.stream is None:
        headers["Content-Length"] = str(len(answer.body))
    lines = [f"HTTP/1.1 {answer.status.value} {answer.status.phrase}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
