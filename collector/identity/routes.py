"""`/api/users`: signing in and out, and what users do for themselves."""

import time
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from litestar import Request, Response, delete, get, post
from litestar.datastructures import Cookie
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath, JSONBody

from collector.errors import ApiProblem
from collector.identity.access import (
    ACCESS_COOKIE,
    CSRF_COOKIE,
    REFRESH_COOKIE,
    Access,
    CurrentUser,
    address_of,
    check_csrf,
    check_own_page,
)
from collector.identity.api_tokens import ApiTokens
from collector.identity.audit import AuditLog
from collector.identity.grants import Grants
from collector.identity.sessions import Session, Sessions
from collector.identity.shapes import (
    API_TOKEN_EXAMPLE,
    ID,
    ME_EXAMPLE,
    TOKENS_EXAMPLE,
    ApiTokenItem,
    Created,
    CreatedApiToken,
    Me,
    MyJunction,
    NewApiToken,
    PasswordChange,
    RefreshBody,
    Register,
    SignIn,
    Tokens,
    answer,
    status_of,
    token_item,
)
from collector.identity.tokens import ACCESS_LIFETIME_S, REFRESH_LIFETIME_S, make_access_token, make_secret_token
from collector.identity.users import Level, Role, Users

_TAGS = ["users"]
_REFRESH_PATH = "/api/users"
_MY_JUNCTIONS = 1000
DAY_S = 86_400.0

AnyRequest = Request[Any, Any, Any]


@dataclass(frozen=True)
class Identity:
    """What the routes work with.

    Attributes:
        open_registration: whether everybody may make themself a viewer.
        secure_cookies: sent over TLS only; False on loopback.
    """

    users: Users
    sessions: Sessions
    tokens: ApiTokens
    grants: Grants
    audit_log: AuditLog
    access: Access
    open_registration: bool = False
    secure_cookies: bool = True


def identity_routes(identity: Identity) -> list[HTTPRouteHandler]:
    """All handlers of who signs in; `admin_routes` has those of who manages users."""
    return [*_session_routes(identity), *_own_routes(identity), *_token_routes(identity)]


def _session_routes(identity: Identity) -> list[HTTPRouteHandler]:
    users, sessions = identity.users, identity.sessions

    @post(
        "/api/users/login",
        operation_id="login",
        summary="Sign in",
        description="Browsers get it in cookies. After some failures each further one has to wait longer.",
        tags=_TAGS,
        status_code=200,
        responses=answer(Tokens, TOKENS_EXAMPLE, "Signed in."),
    )
    async def login(data: JSONBody[SignIn], request: AnyRequest) -> Response[Tokens]:
        check_own_page(request)
        session = await sessions.sign_in(data.name, data.password, address_of(request))
        return await _signed_in(identity, session)

    @post(
        "/api/users/refresh",
        operation_id="refresh",
        summary="Go on with a session",
        description="A refresh token is used once. One that comes again later was stolen, and ends its session.",
        tags=_TAGS,
        status_code=200,
        responses=answer(Tokens, TOKENS_EXAMPLE, "The session goes on."),
    )
    async def refresh(request: AnyRequest, data: JSONBody[RefreshBody | None] = None) -> Response[Tokens]:
        check_own_page(request)
        session = await sessions.refresh(_refresh_token(request, data), address_of(request))
        return await _signed_in(identity, session)

    @post(
        "/api/users/logout",
        operation_id="logout",
        summary="End a session",
        description="Its access tokens end with it.",
        tags=_TAGS,
        status_code=204,
    )
    async def logout(request: AnyRequest, data: JSONBody[RefreshBody | None] = None) -> Response[None]:
        await sessions.sign_out(_refresh_token(request, data))
        gone = Response(None, status_code=204)
        for name, path in ((ACCESS_COOKIE, "/"), (REFRESH_COOKIE, _REFRESH_PATH), (CSRF_COOKIE, "/")):
            gone.delete_cookie(name, path=path)
        return gone

    @post(
        "/api/users/register",
        operation_id="register",
        summary="Become a user",
        description="With an invitation, with what it gives. Without one, where that is allowed, as a viewer who"
        " sees no junction until an admin grants it.",
        tags=_TAGS,
        responses=answer(Created, {"id": ID}, "The new user.", 201),
    )
    async def register(data: JSONBody[Register], request: AnyRequest) -> Created:
        if data.invitation is None and not identity.open_registration:
            raise ApiProblem(
                403,
                "invitation_needed",
                "An invitation is needed",
                "invitation: this collector takes users by invitation only; ask an admin for one",
            )
        address = address_of(request)
        await sessions.check_registration(address)
        return Created(await users.register(data.name, data.password, data.invitation, data.display_name, address))

    return [login, refresh, logout, register]


def _own_routes(identity: Identity) -> list[HTTPRouteHandler]:
    users, sessions, access = identity.users, identity.sessions, identity.access
    signed_in = [access.requires(Role.VIEWER)]

    @get(
        "/api/users/me",
        operation_id="me",
        summary="Who I am, and which junctions I see",
        tags=_TAGS,
        guards=signed_in,
        responses=answer(Me, ME_EXAMPLE, "Who I am."),
    )
    async def me(request: AnyRequest) -> Me:
        current = await access.needed_user(request)
        user = await users.find(current.id)
        assert user is not None
        granted = await identity.grants.page(current.id, _MY_JUNCTIONS + 1, 0)
        return Me(
            id=user.id,
            name=user.name,
            display_name=user.display_name,
            role=current.role,
            status=status_of(user),
            all_junctions=current.sees_all,
            junctions=[MyJunction(each.id, each.name, Level(each.level)) for each in granted[:_MY_JUNCTIONS]],
            more_junctions=len(granted) > _MY_JUNCTIONS,
            created_at=user.created_at,
            password_changed_at=user.password_changed_at,
            signed_in_at=user.signed_in_at,
        )

    @post(
        "/api/users/me/password",
        operation_id="change_password",
        summary="Change my password",
        description="All sessions and access tokens end, and a new session begins. API tokens go on.",
        tags=_TAGS,
        status_code=200,
        guards=signed_in,
        responses=answer(Tokens, TOKENS_EXAMPLE, "The new session."),
    )
    async def change_password(data: JSONBody[PasswordChange], request: AnyRequest) -> Response[Tokens]:
        current = await _person(access, request, "a password is changed by who signed in with it")
        session = await sessions.change_password(current, data.old_password, data.new_password)
        return await _signed_in(identity, session)

    return [me, change_password]


def _token_routes(identity: Identity) -> list[HTTPRouteHandler]:
    tokens, access = identity.tokens, identity.access
    signed_in = [access.requires(Role.VIEWER)]

    @get(
        "/api/users/me/tokens",
        operation_id="api_tokens",
        summary="My API tokens",
        tags=_TAGS,
        guards=signed_in,
        responses=answer(list[ApiTokenItem], [API_TOKEN_EXAMPLE], "Those that were not revoked."),
    )
    async def mine(request: AnyRequest) -> list[ApiTokenItem]:
        current = await access.needed_user(request)
        return [token_item(each) for each in await tokens.of_user(current.id)]

    @post(
        "/api/users/me/tokens",
        operation_id="create_api_token",
        summary="A new API token",
        description="It acts as me, for my junctions, with the role that is asked for or mine if that is less.",
        tags=_TAGS,
        guards=signed_in,
        responses=answer(
            CreatedApiToken, {"token": "stl_Zk3q0lq2b0m5", "details": API_TOKEN_EXAMPLE}, "The token.", 201
        ),
    )
    async def create(data: JSONBody[NewApiToken], request: AnyRequest) -> CreatedApiToken:
        current = await _person(access, request, "a person makes tokens: else a stolen one never ends")
        if not current.role.at_least(data.role):
            raise ApiProblem(
                403, "role_too_low", "Not allowed", f"role: you are {current.role}, and cannot give more"
            )
        lifetime_s = None if data.days is None else data.days * DAY_S
        token, kept = await tokens.create(current, data.name, data.role, lifetime_s)
        return CreatedApiToken(token, token_item(kept))

    @delete(
        "/api/users/me/tokens/{token_id:uuid}",
        operation_id="revoke_api_token",
        summary="Revoke one of my API tokens",
        description="An API token revokes itself alone.",
        tags=_TAGS,
        guards=signed_in,
    )
    async def revoke(token_id: FromPath[UUID], request: AnyRequest) -> None:
        current = await access.needed_user(request)
        if current.token_id != token_id:
            await _person(access, request, "a program's token revokes itself alone: others may do more than it")
        await tokens.revoke(current, current.id, token_id)

    return [mine, create, revoke]


async def _person(access: Access, request: AnyRequest, why: str) -> CurrentUser:
    """Whoever signed in, which an API token did not."""
    current = await access.needed_user(request)
    if current.by_api_token:
        raise ApiProblem(403, "person_needed", "Not for programs", why)
    return current


async def _signed_in(identity: Identity, session: Session) -> Response[Tokens]:
    key = await identity.access.key()
    token = make_access_token(key, session.user_id, session.token_version, time.time(), session.id)
    cookies = [
        _cookie(identity, ACCESS_COOKIE, token, "/", ACCESS_LIFETIME_S),
        _cookie(identity, REFRESH_COOKIE, session.refresh_token, _REFRESH_PATH, REFRESH_LIFETIME_S),
        # Our own pages read this one, and send it back as a header.
        _cookie(identity, CSRF_COOKIE, make_secret_token(), "/", REFRESH_LIFETIME_S, httponly=False),
    ]
    return Response(
        Tokens(token, ACCESS_LIFETIME_S, session.refresh_token),
        status_code=200,
        cookies=cookies,
        headers={"Cache-Control": "no-store"},
    )


def _cookie(
    identity: Identity, name: str, value: str, path: str, max_age_s: int, *, httponly: bool = True
) -> Cookie:
    return Cookie(
        key=name,
        value=value,
        path=path,
        max_age=max_age_s,
        httponly=httponly,
        secure=identity.secure_cookies,
        samesite="strict",
    )


def _refresh_token(request: AnyRequest, data: RefreshBody | None) -> str:
    if data is not None and data.refresh_token is not None:
        return data.refresh_token
    token = request.cookies.get(REFRESH_COOKIE)
    if token is None:
        raise ApiProblem(401, "refresh_refused", "Please sign in", "refresh_token: there is none, nor its cookie")
    check_csrf(request)
    return token
