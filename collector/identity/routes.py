"""`/api/users`: signing in and out, and who there is."""

import time
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
from litestar import Request, Response, delete, get, patch, post
from litestar.datastructures import Cookie
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath, JSONBody, QueryParameter
from msgspec import Meta

from collector.errors import ApiProblem
from collector.identity.access import (
    ACCESS_COOKIE,
    CSRF_COOKIE,
    REFRESH_COOKIE,
    Access,
    CurrentUser,
    address_of,
    check_csrf,
)
from collector.identity.tokens import ACCESS_LIFETIME_S, REFRESH_LIFETIME_S, make_access_token, make_secret_token
from collector.identity.users import ApiToken, Role, Session, User, Users

_TAGS = ["users"]
_REFRESH_PATH = "/api/users"
_DAY_S = 86_400.0

UserName = Annotated[str, Meta(min_length=1, max_length=100, pattern=r"^\S(.*\S)?$", examples=["ada"])]
Password = Annotated[str, Meta(max_length=1000, examples=["three quiet green lamps"])]
DisplayName = Annotated[str, Meta(min_length=1, max_length=100)]
Days = Annotated[float, Meta(gt=0, le=3650)]

AnyRequest = Request[Any, Any, Any]


class _Body(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What clients send."""


class SignIn(_Body, frozen=True):
    """A name and a password."""

    name: UserName
    password: Password


class Register(_Body, frozen=True):
    """A new user. `invitation` may be left out where the collector lets everybody register."""

    name: UserName
    password: Password
    invitation: str | None = None
    display_name: DisplayName | None = None


class RefreshBody(_Body, frozen=True):
    """For programs; browsers send a cookie."""

    refresh_token: str | None = None


class PasswordChange(_Body, frozen=True):
    """The present password, and the one from now on."""

    old_password: Password
    new_password: Password


class PasswordReset(_Body, frozen=True):
    """What an admin sets; to be told to the user, who changes it."""

    password: Password


class UserChange(_Body, frozen=True):
    """What is to change; what is left out stays."""

    role: Role | None = None
    status: Literal["active", "disabled"] | None = None
    display_name: DisplayName | None = None


class Invite(_Body, frozen=True):
    """What the new user may do, and for how long the invitation holds."""

    role: Role = Role.VIEWER
    days: Days = 7.0


class NewApiToken(_Body, frozen=True):
    """For a program. `days` left out: until it is revoked."""

    name: Annotated[str, Meta(min_length=1, max_length=100)]
    role: Role = Role.VIEWER
    days: Days | None = None


class Tokens(msgspec.Struct, frozen=True):
    """A session. Browsers need none of it: they have it in cookies."""

    access_token: str
    expires_in_s: int
    refresh_token: str
    token_type: Literal["bearer"] = "bearer"


class UserItem(msgspec.Struct, frozen=True):
    """A user."""

    id: UUID
    name: str
    display_name: str | None
    role: Role
    status: Literal["active", "disabled"]
    created_at: datetime
    password_changed_at: datetime | None
    signed_in_at: datetime | None


class UserList(msgspec.Struct, frozen=True):
    """A page of users. `next_offset` None: it was the last one."""

    users: list[UserItem]
    next_offset: int | None


class Created(msgspec.Struct, frozen=True):
    """The new user."""

    id: UUID


class Invitation(msgspec.Struct, frozen=True):
    """Shown this once."""

    invitation: str
    expires_at: datetime


class ApiTokenItem(msgspec.Struct, frozen=True):
    """What is known of a token."""

    id: UUID
    name: str
    role: Role
    created_at: datetime
    expires_at: datetime | None
    used_at: datetime | None


class CreatedApiToken(msgspec.Struct, frozen=True):
    """Shown this once."""

    token: str
    details: ApiTokenItem


Limit = Annotated[int, QueryParameter(name="limit", ge=1, le=1000, description="How many to return.")]
Offset = Annotated[int, QueryParameter(name="offset", ge=0, description="How many to leave out first.")]


@dataclass(frozen=True)
class Identity:
    """What the routes work with.

    Attributes:
        open_registration: whether everybody may make themself a viewer.
        secure_cookies: sent over TLS only; False on loopback.
    """

    users: Users
    access: Access
    open_registration: bool = False
    secure_cookies: bool = True


def identity_routes(identity: Identity) -> list[HTTPRouteHandler]:
    """All handlers."""
    return [*_session_routes(identity), *_own_routes(identity), *_token_routes(identity), *_admin_routes(identity)]


def _session_routes(identity: Identity) -> list[HTTPRouteHandler]:
    users = identity.users

    @post("/api/users/login", operation_id="login", summary="Sign in", tags=_TAGS, status_code=200)
    async def login(data: JSONBody[SignIn], request: AnyRequest) -> Response[Tokens]:
        session = await users.sign_in(data.name, data.password, address_of(request))
        return await _signed_in(identity, session)

    @post(
        "/api/users/refresh", operation_id="refresh", summary="Go on with a session", tags=_TAGS, status_code=200
    )
    async def refresh(request: AnyRequest, data: JSONBody[RefreshBody | None] = None) -> Response[Tokens]:
        session = await users.refresh(_refresh_token(request, data))
        return await _signed_in(identity, session)

    @post("/api/users/logout", operation_id="logout", summary="End a session", tags=_TAGS, status_code=204)
    async def logout(request: AnyRequest, data: JSONBody[RefreshBody | None] = None) -> Response[None]:
        await users.sign_out(_refresh_token(request, data))
        gone = Response(None, status_code=204)
        for name, path in ((ACCESS_COOKIE, "/"), (REFRESH_COOKIE, _REFRESH_PATH), (CSRF_COOKIE, "/")):
            gone.delete_cookie(name, path=path)
        return gone

    @post("/api/users/register", operation_id="register", summary="Become a user", tags=_TAGS)
    async def register(data: JSONBody[Register]) -> Created:
        if data.invitation is None and not identity.open_registration:
            raise ApiProblem(
                403,
                "invitation_needed",
                "An invitation is needed",
                "invitation: this collector takes users by invitation only; ask an admin for one",
            )
        return Created(await users.register(data.name, data.password, data.invitation, data.display_name))

    return [login, refresh, logout, register]


def _own_routes(identity: Identity) -> list[HTTPRouteHandler]:
    users, access = identity.users, identity.access

    @get("/api/users/me", operation_id="me", summary="Who I am", tags=_TAGS, guards=[access.requires(Role.VIEWER)])
    async def me(request: AnyRequest) -> UserItem:
        current = await _current(access, request)
        user = await users.find(current.id)
        assert user is not None
        return _item(user)

    @post(
        "/api/users/me/password",
        operation_id="change_password",
        summary="Change my password",
        description="All sessions and access tokens end, and a new session begins.",
        tags=_TAGS,
        status_code=200,
        guards=[access.requires(Role.VIEWER)],
    )
    async def change_password(data: JSONBody[PasswordChange], request: AnyRequest) -> Response[Tokens]:
        current = await _current(access, request)
        if current.by_api_token:
            raise ApiProblem(
                403, "person_needed", "Not for programs", "a password is changed by who signed in with it"
            )
        session = await users.change_password(
            current.id, data.old_password, data.new_password, address_of(request)
        )
        return await _signed_in(identity, session)

    return [me, change_password]


def _token_routes(identity: Identity) -> list[HTTPRouteHandler]:
    users, access = identity.users, identity.access
    signed_in = [access.requires(Role.VIEWER)]

    @get("/api/users/me/tokens", operation_id="api_tokens", summary="My API tokens", tags=_TAGS, guards=signed_in)
    async def tokens(request: AnyRequest) -> list[ApiTokenItem]:
        current = await _current(access, request)
        return [_token(each) for each in await users.api_tokens(current.id)]

    @post(
        "/api/users/me/tokens",
        operation_id="create_api_token",
        summary="A new API token",
        tags=_TAGS,
        guards=signed_in,
    )
    async def create(data: JSONBody[NewApiToken], request: AnyRequest) -> CreatedApiToken:
        current = await _current(access, request)
        if not current.role.at_least(data.role):
            raise ApiProblem(
                403, "role_too_low", "Not allowed", f"role: you are {current.role}, and cannot give more"
            )
        lifetime_s = None if data.days is None else data.days * _DAY_S
        token, kept = await users.create_api_token(current.id, data.name, data.role, lifetime_s)
        return CreatedApiToken(token, _token(kept))

    @delete(
        "/api/users/me/tokens/{token_id:uuid}",
        operation_id="revoke_api_token",
        summary="Revoke one of my API tokens",
        tags=_TAGS,
        guards=signed_in,
    )
    async def revoke(token_id: FromPath[UUID], request: AnyRequest) -> None:
        await users.revoke_api_token((await _current(access, request)).id, token_id)

    return [tokens, create, revoke]


def _admin_routes(identity: Identity) -> list[HTTPRouteHandler]:
    users, access = identity.users, identity.access
    admins = [access.requires(Role.ADMIN)]

    @get("/api/users", operation_id="users", summary="All users", tags=_TAGS, guards=admins)
    async def list_users(limit: Limit = 100, offset: Offset = 0) -> UserList:
        found = await users.page(limit + 1, offset)
        return UserList([_item(each) for each in found[:limit]], offset + limit if len(found) > limit else None)

    @patch(
        "/api/users/{user_id:uuid}", operation_id="change_user", summary="Change a user", tags=_TAGS, guards=admins
    )
    async def change(user_id: FromPath[UUID], data: JSONBody[UserChange]) -> UserItem:
        await users.update(user_id, role=data.role, status=data.status, display_name=data.display_name)
        found = await users.find(user_id)
        assert found is not None
        return _item(found)

    @post("/api/users/{user_id:uuid}/password", operation_id="reset_password", summary="Set a user's password",
          tags=_TAGS, status_code=204, guards=admins)  # fmt: skip
    async def reset(user_id: FromPath[UUID], data: JSONBody[PasswordReset]) -> None:
        await users.set_password(user_id, data.password)

    @post("/api/users/invitations", operation_id="invite", summary="Invite somebody", tags=_TAGS, guards=admins)
    async def invite(data: JSONBody[Invite], request: AnyRequest) -> Invitation:
        current = await _current(access, request)
        token, expires_at = await users.invite(data.role, current.id, data.days * _DAY_S)
        return Invitation(token, expires_at)

    return [list_users, change, reset, invite]


async def _current(access: Access, request: AnyRequest) -> CurrentUser:
    user = await access.current_user(request)
    assert user is not None, "the route has no guard"
    return user


async def _signed_in(identity: Identity, session: Session) -> Response[Tokens]:
    key = await identity.access.key()
    token = make_access_token(key, session.user_id, session.token_version, time.time())
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


def _item(user: User) -> UserItem:
    return UserItem(
        id=user.id,
        name=user.name,
        display_name=user.display_name,
        role=Role(user.role),
        status="active" if user.status == "active" else "disabled",
        created_at=user.created_at,
        password_changed_at=user.password_changed_at,
        signed_in_at=user.signed_in_at,
    )


def _token(token: ApiToken) -> ApiTokenItem:
    return ApiTokenItem(token.id, token.name, Role(token.role), token.created_at, token.expires_at, token.used_at)
