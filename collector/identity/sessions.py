"""Signing in and out, and what shows later that somebody did. Raises `ApiProblem`s that routes answer as they are.

Failed sign-ins are counted in the database, so that all workers refuse together: by the name, by where they come
from, and by both. What failed for a name elsewhere does not count where its user has signed in of late: else who
knows a name could keep its user out. Each password is checked in a turn, and in it is asked once more whether to
check it at all: of thousands that come at once, hardly more are checked than of those that come in a row.
"""

import ipaddress
import logging
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

from collector.db import Connection, Pool, load_queries, reading, writing
from collector.errors import ApiProblem
from collector.identity.audit import Actor, AuditAction, Subject, audit
from collector.identity.passwords import Passwords, check_password
from collector.identity.tokens import KEY_BYTES, REFRESH_LIFETIME_S, digest, make_secret_token
from collector.identity.users import Role, no_such_user, user_subject

_log = logging.getLogger(__name__)

SIGNING_KEY = "access_token_key"
_RACE_GRACE_S = 10.0
"""Two tabs of one browser may refresh at the same moment: the later one is told to use what the other got."""
_FREE_FAILURES = 5
_FREE_PER_ADDRESS = 4 * _FREE_FAILURES
_MOST_BLOCKED_S = 900.0
_FORGET_FAILURES_S = 3600.0
_FAMILIAR_S = 30 * 86_400.0
"""So long a network stays one where a user has signed in of late."""


@dataclass(frozen=True)
class Session:
    """A user who is signed in, and the token for going on."""

    id: UUID
    user_id: UUID
    token_version: int
    refresh_token: str


class Sessions:
    """All sessions of a collector."""

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

    # Signing in

    async def sign_in(self, name: str, password: str, address: str) -> Session:
        """Raises ApiProblem: 401 for a wrong name or password alike, 429 after too many of them."""
        user_id, known_hash, stored_name, rehash = await self._check(name, password, address)
        rehashed = await self._passwords.hash(password) if rehash else None
        async with writing(self._pool) as connection:
            row = await self._one(connection, "note_sign_in", id=user_id, known_hash=known_hash)
            if row is None:
                raise _refused()
            if rehashed is not None:
                await self._run(connection, "rehash", id=user_id, password_hash=rehashed, old=known_hash)
            # Those of the name alone stay: they may be somebody else's, who would get as many free tries again.
            await self._run(connection, "forget_failures", key=_pair_key(name, address))
            await self._note_network(connection, user_id, address)
            await self._run(connection, "forget_old_sessions")
            who = Actor(user_id, stored_name, address)
            await audit(connection, who, AuditAction.SIGNED_IN, user_subject(user_id, stored_name))
            return await self._begin(connection, user_id, row[0], uuid4())

    async def _check(self, name: str, password: str, address: str) -> tuple[UUID, str, str, bool]:
        """Id, hash and name of the user with this password, and whether to hash it anew."""
        keys = (_pair_key(name, address), _name_key(name), f"address:{network_of(address)}")
        await self._check_block(keys, name, address)
        async with self._passwords.turn():
            await self._check_block(keys, name, address)
            async with reading(self._pool, unbounded=True) as connection:
                row = await self._one(connection, "user_to_sign_in", name=name)
            user_id, known_hash, status, stored_name = row or (None, None, "", "")
            verdict = await self._passwords.verify(password, known_hash)
            if user_id is None or not verdict.is_right or status != "active":
                await self._note_failure(keys, user_subject(user_id, stored_name or "(unknown)"), address)
                raise _refused()
        assert isinstance(known_hash, str)
        return user_id, known_hash, stored_name, verdict.rehash

    async def check_registration(self, address: str) -> None:
        """Raises ApiProblem (429) for who tries to become a user too often."""
        key = f"register:{network_of(address)}"
        async with writing(self._pool) as connection:
            # One after the other, so that of many at once no more get through than of many in a row.
            await self._run(connection, "make_attempts", key=key)
            row = await self._one(connection, "lock_attempts", key=key)
            if row is not None and row[0] is not None and row[0] > 0:
                raise _throttled(row[0])
            await self._count_failure(connection, key, _FREE_PER_ADDRESS)

    # Going on, and ending

    async def refresh(self, token: str, address: str) -> Session:
        """Go on with a session: the token's successor.

        Raises ApiProblem (401): the token does not hold. If it was used before, its whole session ends.
        """
        async with writing(self._pool) as connection:
            await self._run(connection, "lock_owner", hash=digest(token))
            used = await self._one(connection, "use_refresh_token", hash=digest(token))
            if used is not None:
                family, user_id = used
                user = await self._one(connection, "session_user", id=user_id, session_id=None)
                if user is not None:
                    return await self._begin(connection, user_id, user[2], family)
            refusal = await self._refuse_refresh(connection, token, address)
        raise refusal

    async def _refuse_refresh(self, connection: Connection, token: str, address: str) -> ApiProblem:
        row = await self._one(connection, "refresh_token", hash=digest(token), grace_s=_RACE_GRACE_S)
        if row is None:
            return _no_session("it is not known")
        family, user_id, was_used, is_revoked, is_expired, was_used_now, name = row
        if was_used_now and not is_revoked:
            return ApiProblem(
                401, "refresh_raced", "Refreshed already", "another tab just did: use the token that it got"
            )
        if was_used and not is_revoked:
            await self._run(connection, "end_family", family=family)
            who = Actor(None, "(unknown)", address)
            await audit(connection, who, AuditAction.SESSION_STOLEN, user_subject(user_id, name))
            _log.warning(
                "A refresh token came twice; its session was ended",
                extra={"action": "refresh_reuse", "user": str(user_id)},
            )
            return _no_session("it was used before; the session was ended, since somebody else may have it")
        return _no_session("it is over" if is_expired else "the session was ended")

    async def sign_out(self, token: str) -> None:
        """End the session of a refresh token. One that is not known is no error."""
        async with writing(self._pool) as connection:
            await self._run(connection, "lock_owner", hash=digest(token))
            row = await self._one(connection, "refresh_token", hash=digest(token), grace_s=_RACE_GRACE_S)
            if row is not None:
                await self._run(connection, "end_family", family=row[0])

    # Passwords

    async def change_password(self, who: Actor, old: str, new: str) -> Session:
        """All sessions end, and a new one begins.

        Raises ApiProblem: the old one is wrong, or the new one cannot be taken.
        """
        assert who.id is not None
        await self._check_present(who, old)
        password_hash = await self._hashed(who.name, new)
        async with writing(self._pool) as connection:
            version = await self._replace(connection, who, who.id, password_hash, AuditAction.PASSWORD_CHANGED)
            await self._note_network(connection, who.id, who.address)
            return await self._begin(connection, who.id, version, uuid4())

    async def _check_present(self, who: Actor, password: str) -> None:
        try:
            await self._check(who.name, password, who.address)
        except ApiProblem as problem:
            if problem.status != 401:
                raise
            raise ApiProblem(
                403, "password_wrong", "The password is wrong", "old_password: it is not the present one"
            ) from problem

    async def reset_password(self, by: Actor, user_id: UUID, password: str) -> None:
        """As an admin does. All sessions and access tokens of the user end.

        Raises ApiProblem: there is no such user, or the password cannot be taken.
        """
        async with reading(self._pool, unbounded=True) as connection:
            row = await self._one(connection, "user_name", id=user_id)
        if row is None:
            raise no_such_user(user_id)
        password_hash = await self._hashed(row[0], password)
        async with writing(self._pool) as connection:
            await self._replace(connection, by, user_id, password_hash, AuditAction.PASSWORD_RESET)

    async def _hashed(self, name: str, password: str) -> str:
        check_password(password, name)
        return await self._passwords.hash(password)

    async def _replace(
        self, connection: Connection, by: Actor, user_id: UUID, password_hash: str, action: AuditAction
    ) -> int:
        """The user's next token version; the one before, and all sessions, end."""
        row = await self._one(connection, "set_password", id=user_id, password_hash=password_hash)
        if row is None:
            raise no_such_user(user_id)
        version, name = row
        await self._run(connection, "end_sessions", user_id=user_id)
        # Whoever had the old one may have signed in as well.
        await self._run(connection, "forget_networks", user_id=user_id)
        await self._run(connection, "forget_failures_of", key=_name_key(name), name=name)
        await audit(connection, by, action, user_subject(user_id, name))
        found: int = version
        return found

    # Who asks

    async def of_user(self, user_id: UUID, session_id: UUID | None) -> tuple[str, Role, int, bool] | None:
        """Name, role and token version of an active user, and whether they see all junctions.

        None also where the session that is named has ended.
        """
        async with reading(self._pool, unbounded=True) as connection:
            row = await self._one(connection, "session_user", id=user_id, session_id=session_id)
        return None if row is None else (row[0], Role(row[1]), row[2], row[3])

    async def of_api_token(self, token: str) -> tuple[UUID, str, Role, bool, UUID] | None:
        """Id, name and role of the user of a token that holds, whether they see all junctions, and the token's id.

        The role is the lesser of the user's and the token's.
        """
        async with writing(self._pool) as connection:
            row = await self._one(connection, "api_token_user", hash=digest(token))
        if row is None:
            return None
        return row[0], row[1], Role(row[2]).lesser(Role(row[3])), row[4], row[5]

    # Parts

    async def _begin(self, connection: Connection, user_id: UUID, version: int, family: UUID) -> Session:
        token = make_secret_token()
        values = {"hash": digest(token), "family": family, "user_id": user_id, "lifetime_s": REFRESH_LIFETIME_S}
        await self._run(connection, "begin_session", **values)
        return Session(family, user_id, version, token)

    async def _note_network(self, connection: Connection, user_id: UUID, address: str) -> None:
        values = {"user_id": user_id, "network": network_of(address), "familiar_s": _FAMILIAR_S}
        await self._run(connection, "note_network", **values)

    async def _check_block(self, keys: tuple[str, ...], name: str, address: str) -> None:
        values = {"name_key": _name_key(name), "name": name, "network": network_of(address)}
        async with reading(self._pool, unbounded=True) as connection:
            row = await self._one(connection, "blocked_for_s", keys=list(keys), familiar_s=_FAMILIAR_S, **values)
        if row is not None and row[0] is not None:
            raise _throttled(float(row[0]))

    async def _note_failure(self, keys: tuple[str, ...], user: Subject, address: str) -> None:
        """What was typed as a name is kept only where a user has it: it may have been a password."""
        free = (_FREE_FAILURES, _FREE_FAILURES, _FREE_PER_ADDRESS)
        async with writing(self._pool) as connection:
            counted = [await self._count_failure(connection, *each) for each in zip(keys, free, strict=True)]
            blocked = [(s, n, key) for (n, s), key in zip(counted, keys, strict=True) if s is not None]
            if blocked:
                blocked_s, n, key = max(blocked, key=lambda one: one[0])
                after = {"by": key.partition(":")[0], "failures": n, "blocked_s": round(blocked_s)}
                who = Actor(None, "(unknown)", address)
                await audit(connection, who, AuditAction.SIGN_IN_BLOCKED, user, after=after)

    async def _count_failure(self, connection: Connection, key: str, free: int) -> tuple[int, float | None]:
        """How many there were, and for how long there may be none now."""
        values = {"key": key, "free": free, "most_s": _MOST_BLOCKED_S, "forget_s": _FORGET_FAILURES_S}
        row = await self._one(connection, "note_failure", **values)
        assert row is not None
        return row[0], row[1]

    async def _one(self, connection: Connection, query: str, **values: Any) -> tuple[Any, ...] | None:
        cursor = await connection.execute(self._queries[query], values)
        return await cursor.fetchone()

    async def _run(self, connection: Connection, query: str, **values: Any) -> None:
        await connection.execute(self._queries[query], values)


def network_of(address: str) -> str:
    """What one customer holds: an address, or in IPv6 a network of many."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv6Address):
        parsed = parsed.ipv4_mapped or parsed
    return str(ipaddress.ip_network((parsed, 64), strict=False)) if parsed.version == 6 else str(parsed)


def _name_key(name: str) -> str:
    return f"name:{name}"


def _pair_key(name: str, address: str) -> str:
    return f"name and address:{network_of(address)}\n{name}"


def _throttled(wait_s: float) -> ApiProblem:
    told = f"try again in {max(1, round(wait_s))} s"
    return ApiProblem(429, "sign_in_throttled", "Too many attempts", told, retry_after_s=wait_s)


def _refused() -> ApiProblem:
    return ApiProblem(401, "sign_in_refused", "Sign-in refused", "the name or the password is wrong")


def _no_session(why: str) -> ApiProblem:
    return ApiProblem(401, "refresh_refused", "Please sign in", f"the refresh token does not hold: {why}")
