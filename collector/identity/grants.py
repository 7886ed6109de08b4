"""Which junctions a user sees and may operate.

Admins, and users with `all_junctions`, see all; others those that were granted. To operate one, a user needs the
role of an operator besides the level.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg.rows import class_row

from collector.db import Connection, Pool, load_queries, reading, writing
from collector.errors import ApiProblem
from collector.identity.audit import Actor, AuditAction, audit
from collector.identity.users import Level, Role, no_such_user, user_subject
from collector.ops.etag import check_version, version_of


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


@dataclass(frozen=True)
class Grant:
    """A user's access to one junction."""

    id: UUID
    name: str
    level: str
    granted_at: datetime
    granted_by: str | None

    @property
    def version(self) -> str:
        return version_of([self.level, self.granted_at])


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

    async def rights(
        self, user_id: UUID, token_id: UUID | None = None, session_id: UUID | None = None
    ) -> Rights | None:
        """None: there is no such active user, or the API token or session with which they came has ended."""
        async with reading(self._pool, unbounded=True) as connection:
            values = {"user_id": user_id, "token_id": token_id, "session_id": session_id}
            row = await self._one(connection, "rights", **values)
        if row is None:
            return None
        role, sees_all, version, limit, ids, levels = row
        if token_id is not None and limit is None:
            return None
        role = Role(role) if limit is None else Role(role).lesser(Role(limit))
        return Rights(user_id, role, sees_all, dict(zip(ids, map(Level, levels), strict=True)), version)

    async def page(self, user_id: UUID, limit: int, offset: int) -> Sequence[Grant]:
        """What was granted to a user, by the junction's name."""
        async with (
            reading(self._pool, unbounded=True) as connection,
            connection.cursor(row_factory=class_row(Grant)) as cursor,
        ):
            values = {"user_id": user_id, "limit": limit, "offset": offset}
            await cursor.execute(self._queries["granted"], values)
            return await cursor.fetchall()

    async def junction_named(self, name: str) -> UUID | None:
        """A junction's id, by its name or by the id itself."""
        async with reading(self._pool, unbounded=True) as connection:
            row = await self._one(connection, "junction_named", name=name)
        return None if row is None else row[0]

    async def grant(
        self,
        by: Actor,
        user_id: UUID,
        junction_id: UUID,
        level: Level,
        versions: Collection[str] | None = None,
    ) -> Grant:
        """Grant access, or change its level. Granted already, nothing happens.

        `versions`: one of which it has to have (`check_version`). Raises ApiProblem: there is no such user, or no
        such junction.
        """
        async with writing(self._pool) as connection:
            user, junction = await self._names(connection, user_id, junction_id)
            values = {"user_id": user_id, "junction_id": junction_id, "level": level, "by": by.id}
            found = await self._granted(connection, user_id, junction_id)
            row = await self._one(connection, "grant", **values)
            if row is not None:
                check_version(versions, found.version if found else None, f"what {user} may at {junction}")
                before = None if row[0] is None else {"level": row[0], "junction": junction}
                after = {"level": level, "junction": junction}
                await audit(
                    connection,
                    by,
                    AuditAction.ACCESS_GRANTED,
                    user_subject(user_id, user),
                    junction_id=junction_id,
                    before=before,
                    after=after,
                )
            found = await self._granted(connection, user_id, junction_id)
        assert found is not None
        return found

    async def withdraw(
        self, by: Actor, user_id: UUID, junction_id: UUID, versions: Collection[str] | None = None
    ) -> None:
        """`versions`: one of which it has to have (`check_version`).

        Raises ApiProblem: there is no such user or junction, or the user was not granted it.
        """
        async with writing(self._pool) as connection:
            user, junction = await self._names(connection, user_id, junction_id)
            found = await self._granted(connection, user_id, junction_id)
            row = await self._one(connection, "withdraw", user_id=user_id, junction_id=junction_id)
            if row is None:
                raise ApiProblem(
                    404, "access_unknown", "No such access", f"{user} was not granted the junction {junction}"
                )
            check_version(versions, found.version if found else None, f"what {user} may at {junction}")
            await audit(
                connection,
                by,
                AuditAction.ACCESS_WITHDRAWN,
                user_subject(user_id, user),
                junction_id=junction_id,
                before={"level": row[0], "junction": junction},
            )

    async def _names(self, connection: Connection, user_id: UUID, junction_id: UUID) -> tuple[str, str]:
        """Of both; the user is locked, so that grants of one user come one after the other."""
        user = await self._one(connection, "lock_user", user_id=user_id)
        if user is None:
            raise no_such_user(user_id)
        junction = await self._one(connection, "junction_name", junction_id=junction_id)
        if junction is None:
            raise ApiProblem(404, "junction_unknown", "No such junction", f"there is no junction {junction_id}")
        return user[0], junction[0]

    async def _granted(self, connection: Connection, user_id: UUID, junction_id: UUID) -> Grant | None:
        async with connection.cursor(row_factory=class_row(Grant)) as cursor:
            values = {"user_id": user_id, "junction_id": junction_id}
            await cursor.execute(self._queries["grant_of"], values)
            return await cursor.fetchone()

    async def _one(self, connection: Connection, query: str, **values: Any) -> tuple[Any, ...] | None:
        cursor = await connection.execute(self._queries[query], values)
        return await cursor.fetchone()
