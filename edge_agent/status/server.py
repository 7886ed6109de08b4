"""A very small web server for the status page: GET and HEAD of two paths, nothing else.

It is bound to the loopback unless told otherwise, and bears what the network may send: it reads little, waits
briefly, and serves few at a time.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable

logger = logging.getLogger(__name__)

MAX_HEAD_BYTES = 8192
_PATIENCE_S = 5.0
_MAX_AT_ONCE = 16
_REASONS = {
    200: "OK",
    400: "Bad Request",
    404: "Not Found",
    405: "Method Not Allowed",
    431: "Too Large",
    503: "Busy",
}
_HEADERS = (
    "Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\nReferrer-Policy: no-referrer\r\n"
    "Content-Security-Policy: default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'\r\n"
    "Connection: close\r\n"
)

Page = tuple[str, bytes]
"""Content type and content."""


class StatusServer:
    """Serves pages that are made at each request.

    Args:
        pages: what to answer, by path.
    """

    def __init__(self, pages: dict[str, Callable[[], Page]]) -> None:
        self._pages = pages
        self._n_open = 0

    @contextlib.asynccontextmanager
    async def serving(self, host: str, port: int) -> AsyncIterator[tuple[str, int]]:
        """Serve; gives the address it listens on.

        Raises:
            OSError: the address cannot be used.
        """
        server = await asyncio.start_server(self._serve, host, port, limit=MAX_HEAD_BYTES)
        try:
            address = server.sockets[0].getsockname()
            yield address[0], address[1]
        finally:
            server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._n_open += 1
        try:
            async with asyncio.timeout(_PATIENCE_S):
                status, body_wanted, page = await self._answer(reader)
                writer.write(_response(status, page, body_wanted=body_wanted))
                writer.close()
                await writer.wait_closed()
        except (OSError, TimeoutError):
            # Whoever goes away early, or neither speaks nor listens, is no business of ours.
            writer.transport.abort()
        finally:
            self._n_open -= 1

    async def _answer(self, reader: asyncio.StreamReader) -> tuple[int, bool, Page]:
        if self._n_open > _MAX_AT_ONCE:
            return 503, True, _plain("too many at once")
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.LimitOverrunError:
            return 431, True, _plain("the request is too large")
        except asyncio.IncompleteReadError:
            return 400, True, _plain("this is no HTTP request")
        words = head.split(b"\r\n", 1)[0].decode("latin-1").split(" ")
        if len(words) != 3 or not words[2].startswith("HTTP/"):
            return 400, True, _plain("this is no HTTP request")
        method, path = words[0], words[1].partition("?")[0]
        if method not in ("GET", "HEAD"):
            return 405, True, _plain("only GET and HEAD")
        if path not in self._pages:
            return 404, method == "GET", _plain(f"there is {', '.join(self._pages)}")
        return 200, method == "GET", self._pages[path]()


def _plain(text: str) -> Page:
    return "text/plain; charset=utf-8", text.encode()


def _response(status: int, page: Page, *, body_wanted: bool) -> bytes:
    content_type, body = page
    allow = "Allow: GET, HEAD\r\n" if status == 405 else ""
    head = (
        f"HTTP/1.1 {status} {_REASONS[status]}\r\nContent-Type: {content_type}\r\n"
        f"Content-Length: {len(body)}\r\n{allow}{_HEADERS}\r\n"
    )
    return head.encode("latin-1") + (body if body_wanted else b"")
