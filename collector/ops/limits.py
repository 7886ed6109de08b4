"""How many requests one reader may send a minute, so that one program in a loop does not slow the others down.

A reader is a session or an API token, and else an address. Each worker counts by itself. Devices are not limited
here: what they send is paced by the answers to it.
"""

import hashlib

from litestar import Request
from litestar.middleware.rate_limit import RateLimitConfig

from collector.identity.access import ACCESS_COOKIE

_NOT_LIMITED = (r"^/api/ingest/", r"^/api/device/")
_ONLY = "/api/"


def limit_requests(per_minute: int) -> RateLimitConfig:
    """The middleware's settings."""
    return RateLimitConfig(
        rate_limit=("minute", per_minute),
        exclude=list(_NOT_LIMITED),
        identifier_for_request=_reader,
        check_throttle_handler=_is_limited,
    )


def _is_limited(request: Request) -> bool:  # type: ignore[type-arg]
    return request.url.path.startswith(_ONLY)


def _reader(request: Request) -> str:  # type: ignore[type-arg]
    shown = request.headers.get("authorization") or request.cookies.get(ACCESS_COOKIE)
    if shown:
        return hashlib.sha256(shown.encode()).hexdigest()
    return request.client.host if request.client else "unknown"
