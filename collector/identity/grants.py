"""Which junctions a user sees and may operate.

Admins, and users with `all_junctions`, see all; others those that were granted. To operate one, a user needs the
role of an operator besides the level.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from uuid import UUID

from collector.db import Connection, Pool, load_queries, reading
from collector.identity.users import Role


class Level(StrEnum):
    """How far a user's access to a junction goes."""

    READ = "read"
    OPERATE = "operate"


@dataclass(frozen=True)
class Rights:
    """What a user may at one moment."""

    user_id: UUID
    role: Role
    """The lesser of the user's and their API token's."""
    sees_all: bool
    junctions: Mapping[UUID, Level]
    """Those that were granted, also to a user who sees all."""
    token_version: int

    def sees(self, junction_id: UUID | None) -> bool:
        """What belongs to no junction is seen by those who see all."""
        return self.sees_all or (junction_id is not None and junction_id in self.junctions)

    def may_operate(self, junction_id: UUID) -> bool:
        granted = self.sees_all or self.junctions.get(junction_id) is Level.OPERATE
        return granted and self.role.at_least(Role.OPERATOR)


class Grants:
    """Access of all users, in the database."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._queries = load_queries("grants")

    async def level(self, user_id: UUID, junction_id: UUID) -> Level | None:
        """None: the user does not see it, or there is no such junction."""
        async with reading(self._pool, unbounded=True) as connection:
            row = await self._one(connection, "level", user_id=user_id, junction_id=junction_id)
        return None if row is None else Level(row[0])

    async def rights(self, user_id: UUID, token_id: UUID | None = None) -> Rights | None:
        """None: there is no such active user, or the API token with which they came does not hold any more."""
        async with reading(self._pool, unbounded=True) as connection:
            row = await self._one(connection, "rights", user_id=user_id, token_id=token_id)
        if row is None:
            return None
        role, sees_all, version, limit, ids, levels = row
        if token_id is not None and limit is None:
            return None
        role = Role(role) if limit is None or Role(limit).at_least(Role(role)) else Role(limit)
        return Rights(user_id, role, sees_all, dict(zip(ids, map(Level, levels), strict=True)), version)

    async def _one(self, connection: Connection, query: str, **values: Any) -> tuple[Any, ...] | None:
        cursor = await connection.execute(self._queries[query], values)
        return await cursor.fetchone()
