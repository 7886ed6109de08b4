"""A command as the collector knows it: an order for one device, who gave it, and how far it has come."""

from collections.abc import Sequence
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

import msgspec

from common.commands import Order

_OWN = frozenset({"order", "by", "why"})


class CommandState(StrEnum):
    """How far a command has come."""

    QUEUED = "queued"
    DELIVERED = "delivered"
    """The device has it, or was just being given it."""
    APPLIED = "applied"
    REFUSED = "refused"
    EXPIRED = "expired"
    """It was not delivered, or not given to the lights, in time: they never got it."""
    FAILED = "failed"
    """It is not known what became of it. Where the lights' log tells later that they took it, it was applied."""


class CommandItem(msgspec.Struct, frozen=True, kw_only=True):
    """An order to the lights of a junction, and what came of it."""

    id: UUID
    junction: UUID
    device: UUID
    mode: str
    """What it asks for: `automatic`, `manual_override`, `fixed`, `flash`, `off`."""
    settings: dict[str, Any]
    """What else it says, such as `cycle_s` and `lane_green_s`."""
    by: str
    why: str
    issued_at: datetime
    expires_at: datetime
    """What is not with the lights by then never gets there."""
    state: CommandState
    delivered_at: datetime | None
    settled_at: datetime | None
    """When the lights took it or refused it, by the device's clock; or when it was given up."""
    detail: str | None
    """Why it was refused, or failed: in the lights' own words."""


def command_item(row: Sequence[Any]) -> CommandItem:
    """From the columns that all statements about commands return, see `sql/remote.sql`."""
    identity, junction, device, order, by, state, detail, *times = row
    told: dict[str, Any] = msgspec.json.decode(order)
    issued_at, expires_at, delivered_at, settled_at = (one and one.astimezone(UTC) for one in times)
    return CommandItem(
        id=identity,
        junction=junction,
        device=device,
        mode=told["order"],
        settings={name: value for name, value in told.items() if name not in _OWN},
        by=by,
        why=told.get("why", ""),
        issued_at=issued_at,
        expires_at=expires_at,
        state=CommandState(state),
        delivered_at=delivered_at,
        settled_at=settled_at,
        detail=detail,
    )


def order_in(row: Sequence[Any]) -> Order:
    """The order itself. Raises msgspec.MsgspecError: it is one of a later version."""
    order: Order = msgspec.json.decode(row[3], type=Order)
    return order
