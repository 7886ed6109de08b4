"""How many requests one reader may send a minute, so that one program in a loop does not slow the others down.

A reader is a session or an API token, and else an address. A token that nobody has found to hold yet is no reader
of its own: whoever makes up a new one for each request would have no limit. Each worker counts by itself. Devices
are not limited here: what they send is paced by the answers to it.
"""

import hashlib
import time
from datetime import timedelta

from litestar import Request
from litestar.middleware.rate_limit import RateLimitConfig
from litestar.stores.memory import MemoryStore

from collector.identity.access import ACCESS_COOKIE, AnyConnection, CurrentUser
from collector.identity.sessions import network_of

_NOT_LIMITED = (r"^/api/ingest/", r"^/api/device/")
_ONLY = "/api/"
_MOST_KNOWN = 100_000
_FORGET_EVERY_S = 60.0
STORE = "rate_limit"
"""By this name the application has a `ForgettingStore`."""


class Readers:
    """Tells readers apart. Used by one event loop."""

    def __init__(self) -> None:
        self._known: dict[bytes, str] = {}

    def note(self, connection: AnyConnection, user: CurrentUser) -> None:
        """What a request showed holds: from now on it counts as of that session or API token."""
        shown = _shown(connection)
        if shown is not None and shown not in self._known:
            if len(self._known) >= _MOST_KNOWN:
                del self._known[next(iter(self._known))]
            self._known[shown] = str(user.token_id or user.session_id or user.id)

    def name(self, request: Request) -> str:  # type: ignore[type-arg]
        """Of whoever sends a request."""
        shown = _shown(request)
        known = None if shown is None else self._known.get(shown)
        return known or (network_of(request.client.host) if request.client else "unknown")


class ForgettingStore(MemoryStore):
    """Forgets what is over by itself; the one that it is made of does so only where it is asked for again."""

    __slots__ = ("_forget_at_s", "_forget_every_s")

    def __init__(self, forget_every_s: float = _FORGET_EVERY_S) -> None:
        super().__init__()
        self._forget_every_s = forget_every_s
        self._forget_at_s = time.monotonic() + forget_every_s

    async def get(self, key: str, renew_for: int | timedelta | None = None) -> bytes | None:
        if time.monotonic() >= self._forget_at_s:
            self._forget_at_s = time.monotonic() + self._forget_every_s
            await self.delete_expired()
        return await super().get(key, renew_for)


def limit_requests(per_minute: int, readers: Readers) -> RateLimitConfig:
    """The middleware's settings."""
    return RateLimitConfig(
        rate_limit=("minute", per_minute),
        exclude=list(_NOT_LIMITED),
        identifier_for_request=readers.name,
        check_throttle_handler=_is_limited,
        store=STORE,
    )


def _is_limited(request: Request) -> bool:  # type: ignore[type-arg]
    return request.url.path.startswith(_ONLY)


def _shown(connection: AnyConnection) -> bytes | None:
    """What a request shows to be let in, in short; None: nothing."""
    shown = connection.headers.get("authorization") or connection.cookies.get(ACCESS_COOKIE)
    return hashlib.sha256(shown.encode("utf-8", "surrogatepass")).digest() if shown else None
