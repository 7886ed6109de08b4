"""What `/api/users` and `/api/audit` take and give."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
from litestar.openapi.datastructures import ResponseSpec
from litestar.openapi.spec import Example
from msgspec import Meta

from collector.identity.api_tokens import ApiToken
from collector.identity.grants import Grant
from collector.identity.users import Holds, Level, Role, User

# Neither what controls nor what is not seen: two names that look alike are one.
_UNSEEN = r"\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff"
_NO_CONTROLS = rf"^[^{_UNSEEN}]*$"
_NAME = rf"^[^\s{_UNSEEN}]([^{_UNSEEN}]*[^\s{_UNSEEN}])?$"

UserName = Annotated[str, Meta(min_length=1, max_length=100, pattern=_NAME, examples=["ada"])]
Password = Annotated[str, Meta(max_length=1000, examples=["three quiet green lamps"])]
DisplayName = Annotated[str, Meta(min_length=1, max_length=100, pattern=_NO_CONTROLS)]
Days = Annotated[float, Meta(gt=0, le=3650)]
Status = Literal["active", "disabled"]


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
    invitation: Annotated[str, Meta(max_length=200)] | None = None
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


class NewUser(_Body, frozen=True):
    """A user that an admin makes. Without `all_junctions` they see none until it is granted."""

    name: UserName
    password: Password
    role: Role = Role.VIEWER
    all_junctions: bool = False
    display_name: DisplayName | None = None


class UserChange(_Body, frozen=True):
    """What is to change; what is left out stays."""

    role: Role | None = None
    status: Status | None = None
    display_name: DisplayName | None = None
    all_junctions: bool | None = None


class JunctionAccess(_Body, frozen=True):
    """How far a user's access to a junction goes. To operate it, a user needs the role `operator` as well."""

    level: Level


class InvitedTo(_Body, frozen=True):
    """A junction, and how far access to it goes."""

    junction: UUID
    level: Level = Level.READ


class Invite(_Body, frozen=True):
    """What the new user may do and see, and for how long the invitation holds."""

    role: Role = Role.VIEWER
    days: Days = 7.0
    all_junctions: bool = False
    junctions: Annotated[list[InvitedTo], Meta(max_length=1000)] = []


class NewApiToken(_Body, frozen=True):
    """For a program. `days` left out: until it is revoked."""

    name: Annotated[str, Meta(min_length=1, max_length=100, pattern=_NO_CONTROLS)]
    role: Role = Role.VIEWER
    days: Days | None = None


class Tokens(msgspec.Struct, frozen=True):
    """A session. Browsers need none of it: they have it in cookies."""

    access_token: str
    expires_in_s: int
    refresh_token: str
    token_type: Literal["bearer"] = "bearer"


class UserItem(msgspec.Struct, frozen=True):
    """A user. `all_junctions`: sees all junctions; admins do so in any case."""

    id: UUID
    version: str
    """Of what an admin may change: another where any of it is. For `If-Match`."""
    name: str
    display_name: str | None
    role: Role
    status: Status
    all_junctions: bool
    created_at: datetime
    password_changed_at: datetime | None
    signed_in_at: datetime | None


class UserDetails(UserItem, frozen=True):
    """A user, and all that opens something to them.

    `junctions` are the first 100 of the `n_junctions` that were granted, by name; all: `users/{id}/junctions`.
    """

    sees_all: bool
    """All junctions, also those that were not granted."""
    junctions: list["GrantItem"]
    n_junctions: int
    n_sessions: int
    """That may still go on."""
    n_api_tokens: int
    """That still hold."""


class UserList(msgspec.Struct, frozen=True):
    """A page of users. `next_offset` None: it was the last one."""

    users: list[UserItem]
    next_offset: int | None


class MyJunction(msgspec.Struct, frozen=True):
    """A junction that was granted to me."""

    id: UUID
    name: str
    level: Level


class Me(msgspec.Struct, frozen=True):
    """Who I am, and what I may.

    `role`: mine, or that of the API token that was sent if it is less. `all_junctions`: I see all, also those that
    were not granted. `junctions`: those that were, by name, the first 1000; `more_junctions`: there are more.
    """

    id: UUID
    name: str
    display_name: str | None
    role: Role
    status: Status
    all_junctions: bool
    junctions: list[MyJunction]
    more_junctions: bool
    created_at: datetime
    password_changed_at: datetime | None
    signed_in_at: datetime | None


class GrantItem(msgspec.Struct, frozen=True):
    """Access to one junction; by whom it was granted, if that user is still there."""

    id: UUID
    version: str
    """Of this access: another where it was granted anew. For `If-Match`."""
    name: str
    level: Level
    granted_at: datetime
    granted_by: str | None


class GrantList(msgspec.Struct, frozen=True):
    """A page of what was granted. `all_junctions`: the user sees all in any case."""

    junctions: list[GrantItem]
    all_junctions: bool
    next_offset: int | None


class Created(msgspec.Struct, frozen=True):
    """The new user."""

    id: UUID


class Invitation(msgspec.Struct, frozen=True):
    """`invitation` is shown this once."""

    id: UUID
    invitation: str
    expires_at: datetime


class InvitationItem(msgspec.Struct, frozen=True):
    """An invitation that still holds."""

    id: UUID
    role: Role
    all_junctions: bool
    n_junctions: int
    invited_by: str | None
    created_at: datetime
    expires_at: datetime


class InvitationList(msgspec.Struct, frozen=True):
    """Those that still hold, the latest first; 1000 at most."""

    invitations: list[InvitationItem]


class ApiTokenItem(msgspec.Struct, frozen=True):
    """What is known of a token."""

    id: UUID
    name: str
    role: Role
    created_at: datetime
    expires_at: datetime | None
    used_at: datetime | None


class CreatedApiToken(msgspec.Struct, frozen=True):
    """`token` is shown this once."""

    token: str
    details: ApiTokenItem


class AuditSubject(msgspec.Struct, frozen=True):
    """What it was done to. `name` as it was then; empty: it has none."""

    kind: str
    id: UUID | None
    name: str


class AuditItem(msgspec.Struct, frozen=True):
    """Who did what, when and from where. `user_id` null: nobody who signed in.

    `before` and `after` tell what changed.
    """

    no: int
    at: datetime
    user_id: UUID | None
    user_name: str
    address: str
    action: str
    subject: AuditSubject
    junction_id: UUID | None
    before: dict[str, Any] | None
    after: dict[str, Any] | None


class AuditList(msgspec.Struct, frozen=True):
    """A page, the latest first. `next`: give it as `cursor` for the page after; null: it was the last one."""

    entries: list[AuditItem]
    next: int | None


def user_item(user: User) -> UserItem:
    """A user as told."""
    return UserItem(**_user_fields(user))


def user_details(user: User, granted: Sequence[Grant], holds: Holds) -> UserDetails:
    """A user with their access as told. `granted`: the first of what was."""
    return UserDetails(
        **_user_fields(user),
        sees_all=user.all_junctions or user.role == Role.ADMIN,
        junctions=[grant_item(each) for each in granted],
        n_junctions=holds.n_junctions,
        n_sessions=holds.n_sessions,
        n_api_tokens=holds.n_api_tokens,
    )


def _user_fields(user: User) -> dict[str, Any]:
    return {
        "id": user.id,
        "version": user.version,
        "name": user.name,
        "display_name": user.display_name,
        "role": Role(user.role),
        "status": status_of(user),
        "all_junctions": user.all_junctions,
        "created_at": user.created_at,
        "password_changed_at": user.password_changed_at,
        "signed_in_at": user.signed_in_at,
    }


def grant_item(grant: Grant) -> GrantItem:
    """A user's access to a junction as told."""
    level = Level(grant.level)
    return GrantItem(grant.id, grant.version, grant.name, level, grant.granted_at, grant.granted_by)


def status_of(user: User) -> Status:
    """A user's status as told."""
    return "active" if user.status == "active" else "disabled"


def token_item(token: ApiToken) -> ApiTokenItem:
    """A token as told."""
    return ApiTokenItem(token.id, token.name, Role(token.role), token.created_at, token.expires_at, token.used_at)


def answer(kind: Any, example: Any, description: str = "Done.", status: int = 200) -> dict[int, ResponseSpec]:
    """How a route describes its answer."""
    return {status: ResponseSpec(kind, description=description, examples=[Example(value=example)])}


ID = "8f3f9a70-1f9d-4a7c-8a50-3f1f0c1e2d3a"
_WHEN = "2026-05-04T10:00:57Z"
_VERSION = "6d1f0b7c2e5a9384"
USER_EXAMPLE = {
    "id": ID,
    "version": _VERSION,
    "name": "ada",
    "display_name": "Ada L.",
    "role": "operator",
    "status": "active",
    "all_junctions": False,
    "created_at": _WHEN,
    "password_changed_at": _WHEN,
    "signed_in_at": None,
}
ME_EXAMPLE = {name: value for name, value in USER_EXAMPLE.items() if name != "version"} | {
    "junctions": [{"id": ID, "name": "Market Square", "level": "operate"}],
    "more_junctions": False,
}
GRANT_EXAMPLE = {
    "id": ID,
    "version": _VERSION,
    "name": "Market Square",
    "level": "operate",
    "granted_at": _WHEN,
    "granted_by": "grace",
}
USER_DETAILS_EXAMPLE = USER_EXAMPLE | {
    "sees_all": False,
    "junctions": [GRANT_EXAMPLE],
    "n_junctions": 1,
    "n_sessions": 2,
    "n_api_tokens": 0,
}
TOKENS_EXAMPLE = {
    "access_token": "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.e30.signature",
    "expires_in_s": 900,
    "refresh_token": "Zk3q0lq2b0m5q1b3mJm3gk0nJ0o6r4mB8w3yQnq1a2c",
    "token_type": "bearer",
}
API_TOKEN_EXAMPLE = {
    "id": ID,
    "name": "nightly export",
    "role": "viewer",
    "created_at": _WHEN,
    "expires_at": None,
    "used_at": _WHEN,
}
INVITATION_EXAMPLE = {
    "id": ID,
    "role": "operator",
    "all_junctions": False,
    "n_junctions": 1,
    "invited_by": "grace",
    "created_at": _WHEN,
    "expires_at": "2026-05-11T10:00:57Z",
}
AUDIT_EXAMPLE = {
    "no": 4711,
    "at": _WHEN,
    "user_id": ID,
    "user_name": "grace",
    "address": "192.0.2.7",
    "action": "access_granted",
    "subject": {"kind": "user", "id": ID, "name": "ada"},
    "junction_id": ID,
    "before": {"level": "read", "junction": "Market Square"},
    "after": {"level": "operate", "junction": "Market Square"},
}
