"""Users and who was invited, in the database. Raises `ApiProblem`s that routes answer as they are."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

import psycopg
from psycopg.rows import class_row

from collector.db import Connection, Pool, load_queries, reading, writing
from collector.errors import ApiProblem
from collector.identity.audit import COMMAND_LINE, Actor, AuditAction, Subject, SubjectKind, audit
from collector.identity.passwords import Passwords, check_password
from collector.identity.tokens import digest, make_secret_token
from collector.ops.etag import check_version, version_of


class Role(StrEnum):
    """What a user may do, each the more."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    ADMIN = "admin"

    def at_least(self, other: "Role") -> bool:
        """Whether it may all that `other` may."""
        order = list(Role)
        return order.index(self) >= order.index(other)

    def lesser(self, other: "Role") -> "Role":
        """What both may."""
        return other if self.at_least(other) else self


class Level(StrEnum):
    """How far a user's access to a junction goes."""

    READ = "read"
    OPERATE = "operate"


@dataclass(frozen=True)
class User:
    """A user as stored."""

    id: UUID
    name: str
    display_name: str | None
    role: str
    status: str
    all_junctions: bool
    created_at: datetime
    password_changed_at: datetime | None
    signed_in_at: datetime | None

    @property
    def version(self) -> str:
        return user_version(vars(self))


@dataclass(frozen=True)
class Filter:
    """Which users, and in what order. None: whichever."""

    part: str | None = None
    """Of the name, or of the name that is shown."""
    role: Role | None = None
    status: str | None = None
    sort: str = "name"
    """`name`, `created_at` or `signed_in_at`; with a `-` before it backwards."""


@dataclass(frozen=True)
class Invited:
    """What a user gets who comes by an invitation."""

    role: Role = Role.VIEWER
    all_junctions: bool = False
    junctions: Mapping[UUID, Level] | None = None


@dataclass(frozen=True)
class Holds:
    """What opens something to a user: junctions that were granted, sessions that go on, tokens that hold."""

    n_junctions: int
    n_sessions: int
    n_api_tokens: int


@dataclass(frozen=True)
class OpenInvitation:
    """An invitation that still holds."""

    id: UUID
    role: str
    all_junctions: bool
    n_junctions: int
    invited_by: str | None
    created_at: datetime
    expires_at: datetime


_SORTS = {"name": b"lower(name)", "created_at": b"created_at", "signed_in_at": b"signed_in_at"}


class Users:
    """All users of a collector."""

    def __init__(self, pool: Pool, passwords: Passwords) -> None:
        self._pool = pool
        self._passwords = passwords
        self._queries = load_queries("identity")

    async def create(
        self,
        name: str,
        password: str,
        role: Role,
        *,
        display_name: str | None = None,
        all_junctions: bool = False,
        by: Actor = COMMAND_LINE,
    ) -> UUID:
        """Raises ApiProblem: the name is taken, or the password cannot be."""
        check_password(password, name)
        password_hash = await self._passwords.hash(password)
        async with writing(self._pool) as connection:
            gets = Invited(role, all_junctions)
            return await self._create(connection, name, password_hash, display_name, gets, by)

    async def register(
        self, name: str, password: str, invitation: str | None, display_name: str | None, address: str
    ) -> UUID:
        """A user who makes themself: by an invitation, or (None) as a viewer who sees no junction yet.

        Raises ApiProblem: also where the invitation does not hold.
        """
        check_password(password, name)
        if invitation is not None:
            async with reading(self._pool, unbounded=True) as connection:
                await self._invited(connection, "open_invitation", invitation)
        password_hash = await self._passwords.hash(password)
        async with writing(self._pool) as connection:
            gets = Invited()
            if invitation is not None:
                gets = await self._invited(connection, "take_invitation", invitation)
            by = Actor(None, name, address)
            user_id = await self._create(connection, name, password_hash, display_name, gets, by)
            if invitation is not None:
                await self._run(connection, "use_invitation", hash=digest(invitation), user_id=user_id)
            return user_id

    async def find(self, user_id: UUID) -> User | None:
        """The user, or None."""
        async with (
            reading(self._pool, unbounded=True) as connection,
            connection.cursor(row_factory=class_row(User)) as cursor,
        ):
            await cursor.execute(self._queries["user"], {"id": user_id})
            return await cursor.fetchone()

    async def holds(self, user_id: UUID) -> Holds:
        """Nothing, where there is no such user."""
        async with reading(self._pool, unbounded=True) as connection:
            row = await self._one(connection, "holds", id=user_id)
        assert row is not None
        return Holds(*row)

    async def named(self, name: str) -> User | None:
        """The user of this name, however it is spelt."""
        async with (
            reading(self._pool, unbounded=True) as connection,
            connection.cursor(row_factory=class_row(User)) as cursor,
        ):
            await cursor.execute(self._queries["user_of_name"], {"name": name})
            return await cursor.fetchone()

    async def page(self, limit: int, offset: int, wanted: Filter | None = None) -> Sequence[User]:
        """Users, by name unless told otherwise."""
        wanted = wanted or Filter()
        order = _SORTS[wanted.sort.removeprefix("-")]
        order += b" DESC NULLS LAST" if wanted.sort.startswith("-") else b" NULLS LAST"
        values = {"part": wanted.part, "role": wanted.role, "status": wanted.status}
        async with (
            reading(self._pool, unbounded=True) as connection,
            connection.cursor(row_factory=class_row(User)) as cursor,
        ):
            statement = self._queries["users"].replace(b"{order}", order)
            await cursor.execute(statement, values | {"limit": limit, "offset": offset})
            return await cursor.fetchall()

    async def update(
        self,
        by: Actor,
        user_id: UUID,
        *,
        role: Role | None = None,
        status: str | None = None,
        display_name: str | None = None,
        all_junctions: bool | None = None,
        versions: Collection[str] | None = None,
    ) -> None:
        """`versions`: one of which the user has to have (`check_version`).

        Raises ApiProblem: there is no such user, or no admin would be left.
        """
        values = {"role": role, "status": status, "display_name": display_name, "all_junctions": all_junctions}
        async with writing(self._pool) as connection:
            if (role is not None and role is not Role.ADMIN) or status == "disabled":
                await self._check_admin_left(connection, user_id)
            before = await self._state(connection, user_id)
            await self._run(connection, "update_user", id=user_id, **values)
            if status == "disabled":
                await self._run(connection, "end_sessions", user_id=user_id)
            after = await self._state(connection, user_id)
            changed = [key for key in after if after[key] != before[key]]
            if changed:
                check_version(versions, user_version(before), f"the user {after['name']}")
                await audit(
                    connection,
                    by,
                    AuditAction.USER_CHANGED,
                    user_subject(user_id, after["name"]),
                    before={key: before[key] for key in changed},
                    after={key: after[key] for key in changed},
                )

    async def _check_admin_left(self, connection: Connection, user_id: UUID) -> None:
        await self._run(connection, "lock_admins")
        row = await self._one(connection, "n_other_admins", id=user_id)
        if row is not None and row[0] == 0:
            raise ApiProblem(
                409, "last_admin", "The last admin", "nobody could manage users: make another admin first"
            )

    async def _state(self, connection: Connection, user_id: UUID) -> dict[str, Any]:
        """What an admin may change of a user, locked until the transaction ends."""
        row = await self._one(connection, "lock_user", id=user_id)
        if row is None:
            raise no_such_user(user_id)
        return dict(zip(("name", "display_name", "role", "status", "all_junctions"), row, strict=True))

    # Invitations

    async def invite(self, by: Actor, gets: Invited, lifetime_s: float) -> tuple[str, UUID, datetime]:
        """An invitation's token, its id, and until when it holds.

        Raises ApiProblem: it names a junction that there is not.
        """
        token = make_secret_token()
        async with writing(self._pool) as connection:
            values = {"hash": digest(token), "role": gets.role, "all_junctions": gets.all_junctions}
            row = await self._one(
                connection, "create_invitation", **values, invited_by=by.id, lifetime_s=lifetime_s
            )
            assert row is not None
            invitation_id, expires_at = row
            for junction_id, level in (gets.junctions or {}).items():
                try:
                    await self._run(
                        connection, "add_to_invitation", id=invitation_id, junction_id=junction_id, level=level
                    )
                except psycopg.errors.ForeignKeyViolation as error:
                    raise ApiProblem(
                        422,
                        "junction_unknown",
                        "No such junction",
                        f"junctions: there is no junction {junction_id}",
                    ) from error
            subject = Subject(SubjectKind.INVITATION, invitation_id, "")
            await audit(connection, by, AuditAction.INVITED, subject, after=_told(gets))
        return token, invitation_id, expires_at

    async def invitations(self) -> Sequence[OpenInvitation]:
        """Those that still hold, the latest first."""
        async with (
            reading(self._pool, unbounded=True) as connection,
            connection.cursor(row_factory=class_row(OpenInvitation)) as cursor,
        ):
            await cursor.execute(self._queries["invitations"])
            return await cursor.fetchall()

    async def take_back(self, by: Actor, invitation_id: UUID) -> None:
        """Raises ApiProblem: there is no such invitation that still holds."""
        async with writing(self._pool) as connection:
            if await self._one(connection, "revoke_invitation", id=invitation_id) is None:
                raise ApiProblem(
                    404, "invitation_unknown", "No such invitation", f"no invitation {invitation_id} holds"
                )
            subject = Subject(SubjectKind.INVITATION, invitation_id, "")
            await audit(connection, by, AuditAction.INVITATION_REVOKED, subject)

    async def _invited(self, connection: Connection, query: str, invitation: str) -> Invited:
        row = await self._one(connection, query, hash=digest(invitation))
        if row is None:
            raise ApiProblem(
                403,
                "invitation_invalid",
                "The invitation does not hold",
                "invitation: it was used, is over, or never was; ask for a new one",
            )
        role, all_junctions, ids, levels = row
        return Invited(Role(role), all_junctions, dict(zip(ids, map(Level, levels), strict=True)))

    # Parts

    async def _create(
        self,
        connection: Connection,
        name: str,
        password_hash: str,
        display_name: str | None,
        gets: Invited,
        by: Actor,
    ) -> UUID:
        values = {"name": name, "display_name": display_name, "password_hash": password_hash}
        row = await self._one(
            connection, "create_user", **values, role=gets.role, all_junctions=gets.all_junctions
        )
        if row is None:
            raise ApiProblem(409, "name_taken", "The name is taken", f"name: there is a user {name!r} already")
        user_id: UUID = row[0]
        for junction_id, level in (gets.junctions or {}).items():
            await self._run(connection, "add_access", user_id=user_id, junction_id=junction_id, level=level)
        await audit(connection, by, AuditAction.USER_CREATED, user_subject(user_id, name), after=_told(gets))
        return user_id

    async def _one(self, connection: Connection, query: str, **values: Any) -> tuple[Any, ...] | None:
        cursor = await connection.execute(self._queries[query], values)
        return await cursor.fetchone()

    async def _run(self, connection: Connection, query: str, **values: Any) -> None:
        await connection.execute(self._queries[query], values)


def user_version(values: Mapping[str, Any]) -> str:
    """Of what an admin may change of a user; their junctions have versions of their own."""
    return version_of([values[name] for name in ("display_name", "role", "status", "all_junctions")])


def user_subject(user_id: UUID | None, name: str) -> Subject:
    """A user, as what something was done to."""
    return Subject(SubjectKind.USER, user_id, name)


def no_such_user(user_id: UUID) -> ApiProblem:
    """What is raised for a user that there is not."""
    return ApiProblem(404, "user_unknown", "No such user", f"there is no user {user_id}")


def _told(gets: Invited) -> dict[str, Any]:
    junctions = {str(junction_id): level for junction_id, level in (gets.junctions or {}).items()}
    return {"role": gets.role, "all_junctions": gets.all_junctions, "junctions": junctions}
