"""The audit log: who did what to whom, from where. Written in the transaction of what was done, and never changed.

Passwords, tokens and what else opens something never go in.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb

from collector.db import Connection, load_queries


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
    ACCESS_GRANTED = "access_granted"
    ACCESS_WITHDRAWN = "access_withdrawn"
    TOKEN_MADE = "token_made"
    TOKEN_REVOKED = "token_revoked"
    JUNCTION_CREATED = "junction_created"
    JUNCTION_CHANGED = "junction_changed"
    MODE_ORDERED = "mode_ordered"


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
