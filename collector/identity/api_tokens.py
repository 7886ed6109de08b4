"""Tokens for programs. They act as their user, with the user's role or a lesser one, for the user's junctions."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg.rows import class_row

from collector.db import Connection, Pool, load_queries, reading, writing
from collector.errors import ApiProblem
from collector.identity.audit import Actor, AuditAction, Subject, SubjectKind, audit
from collector.identity.tokens import API_PREFIX, digest, make_secret_token
from collector.identity.users import Role


@dataclass(frozen=True)
class ApiToken:
    """What is known of a token beside itself."""

    id: UUID
    name: str
    role: str
    created_at: datetime
    expires_at: datetime | None
    used_at: datetime | None


class ApiTokens:
    """The API tokens of all users."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._queries = load_queries("identity")

    async def create(self, who: Actor, name: str, role: Role, lifetime_s: float | None) -> tuple[str, ApiToken]:
        """The token, which is told this once, and what is kept of it."""
        token = make_secret_token(API_PREFIX)
        values = {"user_id": who.id, "name": name, "hash": digest(token), "role": role, "lifetime_s": lifetime_s}
        async with writing(self._pool) as connection:
            row = await self._one(connection, "create_api_token", **values)
            assert row is not None
            token_id, created_at, expires_at = row
            after = {"role": role, "expires_at": expires_at.isoformat() if expires_at else None}
            await audit(connection, who, AuditAction.TOKEN_MADE, _subject(token_id, name), after=after)
        return token, ApiToken(token_id, name, role, created_at, expires_at, None)

    async def of_user(self, user_id: UUID) -> Sequence[ApiToken]:
        """Those that were not revoked."""
        async with (
            reading(self._pool, unbounded=True) as connection,
            connection.cursor(row_factory=class_row(ApiToken)) as cursor,
        ):
            await cursor.execute(self._queries["api_tokens"], {"user_id": user_id})
            return await cursor.fetchall()

    async def revoke(self, by: Actor, user_id: UUID, token_id: UUID) -> None:
        """Raises ApiProblem: the user has no such token."""
        async with writing(self._pool) as connection:
            row = await self._one(connection, "revoke_api_token", id=token_id, user_id=user_id)
            if row is None:
                raise ApiProblem(404, "token_unknown", "No such token", f"the user has no token {token_id}")
            await audit(connection, by, AuditAction.TOKEN_REVOKED, _subject(token_id, row[0]))

    async def _one(self, connection: Connection, query: str, **values: Any) -> tuple[Any, ...] | None:
        cursor = await connection.execute(self._queries[query], values)
        return await cursor.fetchone()


def _subject(token_id: UUID, name: str) -> Subject:
    return Subject(SubjectKind.API_TOKEN, token_id, name)
