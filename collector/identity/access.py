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
from litestar.enums import ScopeType
from litestar.handlers import BaseRouteHandler

from collector.db import VIEWER
from collector.errors import ApiProblem
from collector.identity.audit import Actor
from collector.identity.grants import Grants, Rights
from collector.identity.sessions import Sessions
from collector.identity.tokens import API_PREFIX, read_access_token
from collector.identity.users import Level, Role

ACCESS_COOKIE = "stopline_access"
REFRESH_COOKIE = "stopline_refresh"
CSRF_COOKIE = "stopline_csrf"
CSRF_HEADER = "X-CSRF-Token"
_OWN_SITES = {"same-origin", "none"}
_SAFE_METHODS = {"GET", "HEAD", "OPTIONS"}
_STATE_KEY = "stopline_user"

AnyConnection = ASGIConnection[Any, Any, Any, Any]
Guard = Callable[[AnyConnection, BaseRouteHandler], Awaitable[None]]


@dataclass(frozen=True)
class CurrentUser(Actor):
    """Whoever asks; as an `Actor` they are written down in the audit log."""

    id: UUID
    role: Role
    """The lesser of the user's and, where they sent an API token, the token's."""
    sees_all: bool
    """All junctions; else those that were granted."""
    token_version: int | None = None
    """Of the session; it ends when the user's version goes on. None: an API token was sent."""
    session_id: UUID | None = None
    token_id: UUID | None = None
    """Of the API token that was sent."""

    @property
    def by_api_token(self) -> bool:
        return self.token_id is not None


class Access:
    """Finds out who asks, and what they may. Used by one event loop."""

    def __init__(
        self,
        sessions: Sessions,
        grants: Grants,
        found: Callable[[AnyConnection, CurrentUser], None] = lambda *_: None,
    ) -> None:
        """`found` is told of each request of which it is known who sent it."""
        self._sessions = sessions
        self._found = found
        self._grants = grants
        self._key: bytes | None = None

    async def key(self) -> bytes:
        """What access tokens are signed with."""
        if self._key is None:
            self._key = await self._sessions.signing_key()
        return self._key

    async def current_user(self, connection: AnyConnection) -> CurrentUser | None:
        """Whoever sent this request; None: nobody who signed in.

        Raises ApiProblem: 401 for a token that does not hold, 403 for a cookie without the CSRF header.
        """
        state = connection.scope["state"]
        if _STATE_KEY not in state:
            state[_STATE_KEY] = user = await self._find(connection)
            if user is not None:
                self._found(connection, user)
        found: CurrentUser | None = state[_STATE_KEY]
        return found

    async def _find(self, connection: AnyConnection) -> CurrentUser | None:
        header = connection.headers.get("authorization")
        if header is not None:
            scheme, _, token = header.partition(" ")
            if scheme.lower() != "bearer":
                raise _refused(f"the header Authorization must be `Bearer <token>`, not {scheme[:20]!r}")
            return await self._of_bearer(token.strip(), address_of(connection))
        cookie = connection.cookies.get(ACCESS_COOKIE)
        if cookie is None:
            return None
        check_csrf(connection)
        if connection.scope["type"] == ScopeType.WEBSOCKET:
            # A browser opens one for any page, and it changes nothing: only where it comes from tells.
            check_own_page(connection)
        return await self._of_access_token(cookie, address_of(connection))

    async def _of_bearer(self, token: str, address: str) -> CurrentUser:
        if not token.startswith(API_PREFIX):
            return await self._of_access_token(token, address)
        found = await self._sessions.of_api_token(token)
        if found is None:
            raise _refused("the API token does not hold: it was revoked, is over, or never was")
        user_id, name, role, sees_all, token_id = found
        return CurrentUser(user_id, name, address, role, sees_all, token_id=token_id)

    async def _of_access_token(self, token: str, address: str) -> CurrentUser:
        claims = read_access_token(await self.key(), token, time.time())
        if claims is None:
            raise _refused("the access token does not hold; refresh it, or sign in")
        found = await self._sessions.of_user(claims.user_id, claims.session_id)
        if found is None or found[2] != claims.version:
            raise _refused("the session was ended; sign in")
        name, role, version, sees_all = found
        return CurrentUser(claims.user_id, name, address, role, sees_all, version, claims.session_id)

    def requires(self, role: Role) -> Guard:
        """A guard that lets in whoever has at least this role, and bounds what the request reads."""

        async def guard(connection: AnyConnection, _: BaseRouteHandler) -> None:
            check_role(await self.needed_user(connection), role)

        return guard

    async def needed_user(self, connection: AnyConnection) -> CurrentUser:
        """Whoever sent this request; what it reads from now on is bounded to what they may see.

        Raises ApiProblem: nobody signed in, or as `current_user`.
        """
        user = await self.current_user(connection)
        if user is None:
            raise ApiProblem(
                401, "sign_in_needed", "Please sign in", "this needs a user: sign in, or send a token"
            )
        VIEWER.set(None if user.sees_all else user.id)
        return user

    async def may_operate(self, connection: AnyConnection, junction_id: UUID) -> CurrentUser:
        """Whoever sent this request, if they may operate the junction.

        Raises ApiProblem: 404 where they do not see the junction, or there is none, which look alike; 403 where
        they see it and may not operate it; 401 where nobody signed in.
        """
        user = await self.needed_user(connection)
        level = await self._grants.level(user.id, junction_id)
        if level is None:
            raise ApiProblem(404, "junction_unknown", "No such junction", f"there is no junction {junction_id}")
        check_role(user, Role.OPERATOR)
        if level is not Level.OPERATE:
            raise ApiProblem(
                403,
                "junction_read_only",
                "Not allowed",
                f"{user.name} may read this junction and not operate it; an admin can grant that",
            )
        return user

    async def still(self, who: CurrentUser | UUID) -> Rights | None:
        """What a user may by now; None: nothing any more. For streams that stay open: ask every 30 s or so.

        Given a `CurrentUser`, it is None as well when the session or API token that they came with has ended.
        """
        if isinstance(who, UUID):
            return await self._grants.rights(who)
        rights = await self._grants.rights(who.id, who.token_id, who.session_id)
        if rights is None or (who.token_version is not None and rights.token_version != who.token_version):
            return None
        return rights


def check_role(user: CurrentUser, role: Role) -> None:
    """Raises ApiProblem (403) for a user who has not at least this role."""
    if not user.role.at_least(role):
        raise ApiProblem(
            403,
            "role_too_low",
            "Not allowed",
            f"this needs the role {role}, and {user.name} is {user.role}; an admin can change that",
        )


def address_of(connection: AnyConnection) -> str:
    """Where a request comes from."""
    return connection.client.host[:100] if connection.client else "unknown"


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


def check_own_page(connection: AnyConnection) -> None:
    """Raises ApiProblem (403) for what a browser sends for a page of another site, as far as it tells.

    For what sets cookies, as a foreign form could sign its reader in as somebody else, and for WebSockets, which
    any page may open. Most browsers tell by `Sec-Fetch-Site`. Without it, a foreign page can send no JSON, and a
    WebSocket tells the page's origin.
    """
    headers = connection.headers
    site, origin = headers.get("sec-fetch-site"), headers.get("origin")
    if site is not None:
        is_foreign = site not in _OWN_SITES
    elif connection.scope["type"] == ScopeType.WEBSOCKET:
        is_foreign = origin is not None and origin.partition("://")[2] != headers.get("host")
    else:
        is_foreign = origin is not None and not headers.get("content-type", "").startswith("application/json")
    if is_foreign:
        raise ApiProblem(
            403, "foreign_page", "Not sent by our own page", "a page of another site can do nothing here"
        )


def _refused(why: str) -> ApiProblem:
    return ApiProblem(401, "token_invalid", "The token does not hold", why)
