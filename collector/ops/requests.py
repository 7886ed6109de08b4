"""Around the whole application: an id for each request, a figure for each answer.

Plain ASGI, and thin, since every batch of the fleet passes here.
"""

import secrets
from typing import Any

from litestar.enums import ScopeType
from litestar.types import ASGIApp, Message, Receive, Scope, Send

from collector.ops.metrics import Metrics

REQUEST_ID_HEADER = b"x-request-id"
_MAX_ID_CHARS = 64


class RequestObserver:
    """Wraps an ASGI application."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics
        self._counters: dict[tuple[str, int], Any] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != ScopeType.HTTP:
            await self._app(scope, receive, send)
            return
        request_id = _request_id(scope)
        scope.setdefault("state", {})["request_id"] = request_id.decode()

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), (REQUEST_ID_HEADER, request_id)]
                self._count(scope, message["status"])
            await send(message)

        await self._app(scope, receive, send_with_id)

    def _count(self, scope: Scope, status: int) -> None:
        """By the route's template, not by its path: a series per path would have no bound."""
        key = (scope.get("path_template") or "unknown", status)
        counter = self._counters.get(key)
        if counter is None:
            counter = self._counters[key] = self._metrics.requests.labels(*key)
        counter.inc()


def _request_id(scope: Scope) -> bytes:
    """The caller's own id where it gave a decent one, so that logs of both sides can be joined."""
    for name, value in scope["headers"]:
        if name == REQUEST_ID_HEADER:
            is_decent = len(value) <= _MAX_ID_CHARS and value.replace(b"-", b"").isalnum()
            return value if is_decent else secrets.token_hex(8).encode()
    return secrets.token_hex(8).encode()
