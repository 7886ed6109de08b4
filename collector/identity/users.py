"""Users and their sessions, in the database. Raises `ApiProblem`s that routes answer as they are."""

import ipaddress
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID, uuid4

from psycopg.rows import class_row

from collector.db import Connection, Pool, load_queries, reading, writing
from collector.errors import ApiProblem
from collector.identity.passwords import Passwords, check_password
from collector.identity.tokens import (
    API_PREFIX,
    KEY_BYTES,
    REFRESH_LIFETIME_S,
    digest,
    make_secret_token,
)

_log = logging.getLogger(__name__)

SIGNING_KEY = "access_token_key"
_RACE_GRACE_S = 10.0
"""Two tabs of one browser may refresh at the same moment: the later one is told to use what the other got."""
_FREE_FAILURES = 5
_MOST_BLOCKED_S = 900.0
_FORGET_FAILURES_S = 3600.0


class Role(StrEnum):
    """What a user may do, each the more."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    ADMIN = "admin"

    def at_least(self, other: "Role") -> bool:
        """Whether it may all that `other` may."""
        order = list(Role)
        return order.index(self) >= order.index(other)


@dataclass(frozen=True)
class User:
    """A user as stored."""

    id: UUID
    name: str
    display_name: str | None
    role: str
    status: str
    token_version: int
    created_at: datetime
    password_changed_at: datetime | None
    signed_in_at: datetime | None


@dataclass(frozen=True)
class ApiToken:
    """What is known of a token beside itself."""

    id: UUID
    name: str
    role: str
    created_at: datetime
    expires_at: datetime | None
    used_at: datetime | None


@dataclass(frozen=True)
class Session:
    """A user who is signed in, and the token for going on."""

    user_id: UUID
    token_version: int
    refresh_token: str


class Users:
    """All users of a collector."""

    def __init__(self, pool: Pool, passwords: Passwords) -> None:
        self._pool = pool
        self._passwords = passwords
        self._queries = load_queries("identity")

    async def signing_key(self) -> bytes:
        """The key that access tokens are signed with; made at first need, and shared by all workers."""
        async with writing(self._pool) as connection:
            value = make_secret_token().encode()[:KEY_BYTES]
            await connection.execute(self._queries["make_secret"], {"name": SIGNING_KEY, "value": value})
            row = await self._one(connection, "secret", name=SIGNING_KEY)
        assert row is not None
        return bytes(row[0])

    # Users

    async def create(self, name: str, password: str, role: Role, *, display_name: str | None = None) -> UUID:
        """Raises ApiProblem: the name is taken, or the password cannot be."""
        check_password(password, name)
        password_hash = await self._passwords.hash(password)
        async with writing(self._pool) as connection:
            return await self._create(connection, name, password_hash, role, display_name)

    async def register(self, name: str, password: str, invitation: str | None, display_name: str | None) -> UUID:
        """A user who makes themself: by an invitation, or (None) as a viewer.

        Raises ApiProblem: also where the invitation does not hold.
        """
        check_password(password, name)
        password_hash = await self._passwords.hash(password)
        async with writing(self._pool) as connection:
            role = Role.VIEWER
            if invitation is not None:
                row = await self._one(connection, "take_invitation", hash=digest(invitation))
                if row is None:
                    raise ApiProblem(
                        403,
                        "invitation_invalid",
                        "The invitation does not hold",
                        "invitation: it was used, is over, or never was; ask for a new one",
                    )
                role = Role(row[0])
            user_id = await self._create(connection, name, password_hash, role, display_name)
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

    async def page(self, limit: int, offset: int) -> Sequence[User]:
        """Users by name."""
        async with (
            reading(self._pool, unbounded=True) as connection,
            connection.cursor(row_factory=class_row(User)) as cursor,
        ):
            await cursor.execute(self._queries["users"], {"limit": limit, "offset": offset})
            return await cursor.fetchall()

    async def update(
        self,
        user_id: UUID,
        *,
        role: Role | None = None,
        status: str | None = None,
        display_name: str | None = None,
    ) -> None:
        """Raises ApiProblem: there is no such user, or no admin would be left."""
        async with writing(self._pool) as connection:
            if (role is not None and role is not Role.ADMIN) or status == "disabled":
                await self._run(connection, "lock_admins")
                row = await self._one(connection, "n_other_admins", id=user_id)
                if row is not None and row[0] == 0:
                    raise ApiProblem(
                        409, "last_admin", "The last admin", "nobody could manage users: make another admin first"
                    )
            values = {"role": role, "status": status, "display_name": display_name}
            if await self._one(connection, "update_user", id=user_id, **values) is None:
                raise _no_such_user(user_id)
            if status == "disabled":
                await self._run(connection, "end_sessions", user_id=user_id)

    async def invite(self, role: Role, invited_by: UUID, lifetime_s: float) -> tuple[str, datetime]:
        """An invitation's token, and until when it holds."""
        token = make_secret_token()
        async with writing(self._pool) as connection:
            row = await self._one(
                connection,
                "create_invitation",
                hash=digest(token),
                role=role,
                invited_by=invited_by,
                lifetime_s=lifetime_s,
            )
        assert row is not None
        return token, row[0]

    # Passwords and sessions

    async def sign_in(self, name: str, password: str, address: str) -> Session:
        """Raises ApiProblem: 401 for a wrong name or password alike, 429 after too many of them."""
        keys = (f"name:{name.lower()[:100]}", f"address:{_network(address)}")
        await self._check_block(keys)
        async with reading(self._pool, unbounded=True) as connection:
            row = await self._one(connection, "user_to_sign_in", name=name)
        user_id, known_hash, version, _, status = row if row is not None else (None, None, 0, "", "")
        verdict = await self._passwords.verify(password, known_hash)
        if user_id is None or not verdict.is_right or status != "active":
            await self._note_failure(keys)
            raise ApiProblem(401, "sign_in_refused", "Sign-in refused", "the name or the password is wrong")
        rehashed = await self._passwords.hash(password) if verdict.rehash else None
        async with writing(self._pool) as connection:
            if rehashed is not None:
                await self._run(connection, "rehash", id=user_id, password_hash=rehashed, old=known_hash)
            await self._run(connection, "forget_failures", key=keys[0])
            await self._run(connection, "note_sign_in", id=user_id)
            await self._run(connection, "forget_old_sessions")
            return await self._session(connection, user_id, version, uuid4())

    async def refresh(self, token: str) -> Session:
        """Go on with a session: the token's successor.

        Raises ApiProblem (401): the token does not hold. If it was used before, its whole session ends.
        """
        async with writing(self._pool) as connection:
            used = await self._one(connection, "use_refresh_token", hash=digest(token))
            if used is not None:
                family, user_id = used
                user = await self._one(connection, "session_user", id=user_id)
                if user is not None:
                    return await self._session(connection, user_id, user[2], family)
            refusal = await self._refuse_refresh(connection, token)
        raise refusal

    async def _refuse_refresh(self, connection: Connection, token: str) -> ApiProblem:
        row = await self._one(connection, "refresh_token", hash=digest(token), grace_s=_RACE_GRACE_S)
        if row is None:
            return _no_session("it is not known")
        family, user_id, was_used, is_revoked, is_expired, was_used_now = row
        if was_used_now and not is_revoked:
            return ApiProblem(
                401, "refresh_raced", "Refreshed already", "another tab just did: use the token that it got"
            )
        if was_used and not is_revoked:
            await self._run(connection, "end_family", family=family)
            _log.warning(
                "A refresh token came twice; its session was ended",
                extra={"action": "refresh_reuse", "user": str(user_id)},
            )
            return _no_session("it was used before; the session was ended, since somebody else may have it")
        return _no_session("it is over" if is_expired else "the session was ended")

    async def sign_out(self, token: str) -> None:
        """End the session of a refresh token. One that is not known is no error."""
        async with writing(self._pool) as connection:
            row = await self._one(connection, "refresh_token", hash=digest(token), grace_s=_RACE_GRACE_S)
            if row is not None:
                await self._run(connection, "end_family", family=row[0])

    async def change_password(self, user_id: UUID, old: str, new: str, address: str) -> Session:
        """All sessions end, and a new one begins.

        Raises ApiProblem: the old one is wrong, or the new one cannot be taken.
        """
        user = await self.find(user_id)
        if user is None:
            raise _no_such_user(user_id)
        keys = (f"name:{user.name.lower()[:100]}", f"address:{_network(address)}")
        await self._check_block(keys)
        async with reading(self._pool, unbounded=True) as connection:
            row = await self._one(connection, "user_to_sign_in", name=user.name)
        if not (await self._passwords.verify(old, row[1] if row else None)).is_right:
            await self._note_failure(keys)
            raise ApiProblem(
                403, "password_wrong", "The password is wrong", "old_password: it is not the present one"
            )
        await self.set_password(user_id, new)
        changed = await self.find(user_id)
        assert changed is not None
        async with writing(self._pool) as connection:
            return await self._session(connection, user_id, changed.token_version, uuid4())

    async def set_password(self, user_id: UUID, password: str) -> None:
        """As an admin does. All sessions and access tokens of the user end.

        Raises ApiProblem: there is no such user, or the password cannot be taken.
        """
        user = await self.find(user_id)
        if user is None:
            raise _no_such_user(user_id)
        check_password(password, user.name)
        password_hash = await self._passwords.hash(password)
        async with writing(self._pool) as connection:
            await self._run(connection, "set_password", id=user_id, password_hash=password_hash)
            await self._run(connection, "end_sessions", user_id=user_id)
            await self._run(connection, "forget_failures", key=f"name:{user.name.lower()[:100]}")

    # Who asks

    async def of_session(self, user_id: UUID) -> tuple[str, Role, int, bool] | None:
        """Name, role and token version of an active user, and whether they see all junctions."""
        async with reading(self._pool, unbounded=True) as connection:
            row = await self._one(connection, "session_user", id=user_id)
        return None if row is None else (row[0], Role(row[1]), row[2], row[3])

    async def of_api_token(self, token: str) -> tuple[UUID, str, Role, bool, UUID] | None:
        """Id, name and role of the user of a token that holds, whether they see all junctions, and the token's id.

        The role is the lesser of the user's and the token's.
        """
        async with writing(self._pool) as connection:
            row = await self._one(connection, "api_token_user", hash=digest(token))
        if row is None:
            return None
        role, limit = Role(row[2]), Role(row[3])
        return row[0], row[1], limit if role.at_least(limit) else role, row[4], row[5]

    # API tokens

    async def create_api_token(
        self, user_id: UUID, name: str, role: Role, lifetime_s: float | None
    ) -> tuple[str, ApiToken]:
        """The token, which is told this once, and what is kept of it."""
        token = make_secret_token(API_PREFIX)
        values = {"user_id": user_id, "name": name, "hash": digest(token), "role": role, "lifetime_s": lifetime_s}
        async with writing(self._pool) as connection:
            row = await self._one(connection, "create_api_token", **values)
        assert row is not None
        return token, ApiToken(row[0], name, role, row[1], row[2], None)

    async def api_tokens(self, user_id: UUID) -> Sequence[ApiToken]:
        """Those that were not revoked."""
        async with (
            reading(self._pool, unbounded=True) as connection,
            connection.cursor(row_factory=class_row(ApiToken)) as cursor,
        ):
            await cursor.execute(self._queries["api_tokens"], {"user_id": user_id})
            return await cursor.fetchall()

    async def revoke_api_token(self, user_id: UUID, token_id: UUID) -> None:
        """Raises ApiProblem: the user has no such token."""
        async with writing(self._pool) as connection:
            if await self._one(connection, "revoke_api_token", id=token_id, user_id=user_id) is None:
                raise ApiProblem(404, "token_unknown", "No such token", f"you have no token {token_id}")

    # Parts

    async def _create(
        self, connection: Connection, name: str, password_hash: str, role: Role, display_name: str | None
    ) -> UUID:
        values = {"name": name, "display_name": display_name, "password_hash": password_hash, "role": role}
        row = await self._one(connection, "create_user", **values)
        if row is None:
            raise ApiProblem(409, "name_taken", "The name is taken", f"name: there is a user {name!r} already")
        found: UUID = row[0]
        return found

    async def _session(self, connection: Connection, user_id: UUID, version: int, family: UUID) -> Session:
        token = make_secret_token()
        values = {"hash": digest(token), "family": family, "user_id": user_id, "lifetime_s": REFRESH_LIFETIME_S}
        await self._run(connection, "begin_session", **values)
        return Session(user_id, version, token)

    async def _check_block(self, keys: tuple[str, ...]) -> None:
        async with reading(self._pool, unbounded=True) as connection:
            row = await self._one(connection, "blocked_for_s", keys=list(keys))
        if row is not None and row[0] is not None:
            raise ApiProblem(
                429,
                "sign_in_throttled",
                "Too many failed sign-ins",
                f"try again in {max(1, round(row[0]))} s",
                retry_after_s=float(row[0]),
            )

    async def _note_failure(self, keys: tuple[str, ...]) -> None:
        async with writing(self._pool) as connection:
            for key, free in zip(keys, (_FREE_FAILURES, 4 * _FREE_FAILURES), strict=True):
                await self._run(
                    connection,
                    "note_failure",
                    key=key,
                    free=free,
                    most_s=_MOST_BLOCKED_S,
                    forget_s=_FORGET_FAILURES_S,
                )

    async def _one(self, connection: Connection, query: str, **values: Any) -> tuple[Any, ...] | None:
        cursor = await connection.execute(self._queries[query], values)
        return await cursor.fetchone()

    async def _run(self, connection: Connection, query: str, **values: Any) -> None:
        await connection.execute(self._queries[query], values)


def _network(address: str) -> str:
    """What one customer holds: an address, or in IPv6 a network of many."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    return str(ipaddress.ip_network((parsed, 64), strict=False)) if parsed.version == 6 else str(parsed)


def _no_such_user(user_id: UUID) -> ApiProblem:
    return ApiProblem(404, "user_unknown", "No such user", f"there is no user {user_id}")


def _no_session(why: str) -> ApiProblem:
    return ApiProblem(401, "refresh_refused", "Please sign in", f"the refresh token does not hold: {why}")
