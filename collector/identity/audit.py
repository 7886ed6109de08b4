"""The audit log: who did what to whom, from where. Written in the transaction of what was done, and never changed.

Passwords, tokens and what else opens something never go in.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from collector.db import Connection, Pool, load_queries, reading


class AuditAction(StrEnum):
    """What is written down."""

    SIGNED_IN = "signed_in"
    SIGN_IN_BLOCKED = "sign_in_blocked"
    """So many sign-ins failed that the next has to wait."""
    SESSION_STOLEN = "session_stolen"
    """A refresh token came twice; its session was ended."""
    PASSWORD_CHANGED = "password_changed"
    PASSWORD_RESET = "password_reset"
    USER_CREATED = "user_created"
    USER_CHANGED = "user_changed"
    INVITED = "invited"
    INVITATION_REVOKED = "invitation_revoked"
    ACCESS_GRANTED = "access_granted"
    ACCESS_WITHDRAWN = "access_withdrawn"
    TOKEN_MADE = "token_made"
    TOKEN_REVOKED = "token_revoked"
    JUNCTION_CREATED = "junction_created"
    JUNCTION_CHANGED = "junction_changed"
    JUNCTION_DELETED = "junction_deleted"
    MODE_ORDERED = "mode_ordered"
    DEVICE_CHANGED = "device_changed"
    DEVICE_REVOKED = "device_revoked"
    REJECTS_SEEN = "rejects_seen"
    """What a device's records that were put aside had to tell was dealt with, up to a moment."""


class SubjectKind(StrEnum):
    """What it was done to."""

    USER = "user"
    JUNCTION = "junction"
    INVITATION = "invitation"
    API_TOKEN = "api_token"
    COMMAND = "command"
    DEVICE = "device"


@dataclass(frozen=True)
class Actor:
    """Who does it. `id` None: nobody who signed in."""

    id: UUID | None
    name: str
    address: str
    """Where from: an IP address, or `command line`."""


COMMAND_LINE = Actor(None, "(command line)", "command line")
"""Whoever may run the collector's commands on its machine."""


@dataclass(frozen=True)
class Subject:
    """What it is done to; a name so that it can be read when the thing is gone."""

    kind: SubjectKind
    id: UUID | None
    name: str


async def audit(
    connection: Connection,
    who: Actor,
    action: AuditAction,
    subject: Subject,
    *,
    junction_id: UUID | None = None,
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
) -> None:
    """Write down one deed, in the caller's transaction: it is done and written down, or neither.

    `before` and `after`: what changed, as JSON can tell it; None where there was nothing, or is nothing.
    """
    await connection.execute(
        load_queries("audit")["write"],
        {
            "user_id": who.id,
            "user_name": who.name,
            "address": who.address,
            "action": action,
            "subject_kind": subject.kind,
            "subject_id": subject.id,
            "subject_name": subject.name,
            "junction_id": junction_id,
            "before": None if before is None else Jsonb(dict(before)),
            "after": None if after is None else Jsonb(dict(after)),
        },
    )


@dataclass(frozen=True)
class Wanted:
    """Which entries. None: whichever."""

    user_id: UUID | None = None
    """Who did it, or whom it was done to."""
    actions: Sequence[AuditAction] | None = None
    junction_id: UUID | None = None
    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True)
class Entry:
    """A deed as written down."""

    no: int
    at: datetime
    user_id: UUID | None
    user_name: str
    address: str
    action: str
    subject_kind: str
    subject_id: UUID | None
    subject_name: str
    junction_id: UUID | None
    before: dict[str, Any] | None
    after: dict[str, Any] | None


class AuditLog:
    """Reads what `audit` wrote."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._queries = load_queries("audit")

    async def page(self, wanted: Wanted, limit: int, before: int | None) -> Sequence[Entry]:
        """The latest first; `before` an entry's `no`, or from the latest on."""
        values = {
            "user_id": wanted.user_id,
            "actions": None if wanted.actions is None else list(wanted.actions),
            "junction_id": wanted.junction_id,
            "since": wanted.since,
            "until": wanted.until,
            "before": before,
            "limit": limit,
        }
        async with (
            reading(self._pool, unbounded=True) as connection,
            connection.cursor(row_factory=class_row(Entry)) as cursor,
        ):
            # Planned for these values: a plan for any would not use what is selective.
            await cursor.execute(self._queries["entries"], values, prepare=False)
            return await cursor.fetchall()
