"""Who asks, and whether they may: read from a request once, and asked by the guards of routes.

A request shows a token in `Authorization: Bearer` (an access token, or an API token `stl_...`) or in the cookie of
a browser. A browser sends its cookies wherever a page of somebody else tells it to; so what changes anything
needs, with a cookie, the header `X-CSRF-Token` with the value of the cookie `stopline_csrf`, which our pages read.
"""

import hmac
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler

from collector.db import VIEWER
from collector.errors import ApiProblem
from collector.identity.tokens import API_PREFIX, read_access_token
from collector.identity.users import Role, Users

ACCESS_COOKIE = "stopline_access"
REFRESH_COOKIE = "stopline_refresh"
CSRF_COOKIE = "stopline_csrf"
CSRF_HEADER = "X-CSRF-Token"
_SAFE_METHODS = {"GET", "HEAD", "OPTIONS"}
_STATE_KEY = "stopline_user"

AnyConnection = ASGIConnection[Any, Any, Any, Any]
Guard = Callable[[AnyConnection, BaseRouteHandler], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class CurrentUser:
    """Whoever asks."""

    id: UUID
    name: str
    role: Role
    by_api_token: bool
    sees_all: bool
    """All junctions; else those that were granted."""


class Access:
    """Finds out who asks. Used by one event loop."""

    def __init__(self, users: Users) -> None:
        self._users = users
        self._key: bytes | None = None

    async def key(self) -> bytes:
        """What access tokens are signed with."""
        if self._key is None:
            self._key = await self._users.signing_key()
        return self._key

    async def current_user(self, connection: AnyConnection) -> CurrentUser | None:
        """Whoever sent this request; None: nobody who signed in.

        Raises ApiProblem: 401 for a token that does not hold, 403 for a cookie without the CSRF header.
        """
        state = connection.scope["state"]
        if _STATE_KEY not in state:
            state[_STATE_KEY] = await self._find(connection)
        found: CurrentUser | None = state[_STATE_KEY]
        return found

    async def _find(self, connection: AnyConnection) -> CurrentUser | None:
        header = connection.headers.get("authorization")
        if header is not None:
            scheme, _, token = header.partition(" ")
            if scheme.lower() != "bearer":
                raise _refused(f"the header Authorization must be `Bearer <token>`, not {scheme[:20]!r}")
            return await self._of_bearer(token.strip())
        cookie = connection.cookies.get(ACCESS_COOKIE)
        if cookie is None:
            return None
        check_csrf(connection)
        return await self._of_access_token(cookie)

    async def _of_bearer(self, token: str) -> CurrentUser:
        if not token.startswith(API_PREFIX):
            return await self._of_access_token(token)
        found = await self._users.of_api_token(token)
        if found is None:
            raise _refused("the API token does not hold: it was revoked, is over, or never was")
        user_id, name, role, sees_all = found
        return CurrentUser(user_id, name, role, by_api_token=True, sees_all=sees_all)

    async def _of_access_token(self, token: str) -> CurrentUser:
        claims = read_access_token(await self.key(), token, time.time())
        if claims is None:
            raise _refused("the access token does not hold; refresh it, or sign in")
        found = await self._users.of_session(claims.user_id)
        if found is None or found[2] != claims.version:
            raise _refused("the session was ended; sign in")
        name, role, _, sees_all = found
        return CurrentUser(claims.user_id, name, role, by_api_token=False, sees_all=sees_all)

    def requires(self, role: Role) -> Guard:
        """A guard that lets in whoever has at least this role, and bounds what the request reads."""

        async def guard(connection: AnyConnection, _: BaseRouteHandler) -> None:
            user = await self.current_user(connection)
            if user is None:
                raise ApiProblem(
                    401, "sign_in_needed", "Please sign in", "this needs a user: sign in, or send a token"
                )
            if not user.role.at_least(role):
                raise ApiProblem(
                    403, "role_too_low", "Not allowed", f"this needs the role {role}; {user.name} is {user.role}"
                )
            VIEWER.set(None if user.sees_all else user.id)

        return guard


def check_csrf(connection: AnyConnection) -> None:
    """Raises ApiProblem (403) where a browser's cookies come without the proof that our own page sent them."""
    if connection.scope.get("method", "GET") in _SAFE_METHODS:
        return
    cookie, header = connection.cookies.get(CSRF_COOKIE, ""), connection.headers.get(CSRF_HEADER, "")
    if not cookie or not hmac.compare_digest(cookie.encode(), header.encode()):
        raise ApiProblem(
            403,
            "csrf_refused",
            "Not sent by our own page",
            f"send the value of the cookie {CSRF_COOKIE} in the header {CSRF_HEADER}",
        )


def _refused(why: str) -> ApiProblem:
    return ApiProblem(401, "token_invalid", "The token does not hold", why)
