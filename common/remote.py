"""Orders that reach a Pi from afar: what it asks the collector for, and what it is given.

`GET /api/device/commands?wait_s=25&known=ID&known=ID`
    `Authorization: Bearer <device token>`, as for batches. Answers 200 with a `CommandList`: at once if there is
    something, else as soon as there is, else empty after `wait_s`. `known` names what the device was given and
    has not told the end of yet; all other open commands are given, oldest first. Refusals as for batches (401,
    403, 429, 503).

What came of a command is told by a record `command_result` (`common.records.CommandResult`) in the device's
stream: `command` is its id, `status` a `CommandStatus`. Until that record is stored the command may come again;
a device carries each out once, and remembers what it has begun over a restart.
"""

from enum import StrEnum
from typing import Annotated
from uuid import UUID

import msgspec
from msgspec import Meta

from common.commands import Order
from common.records import UnixMs

COMMANDS_PATH = "/api/device/commands"
MAX_WAIT_S = 50.0
MAX_KNOWN = 100


class CommandStatus(StrEnum):
    """What a device tells of a command."""

    APPLIED = "applied"
    """The lights took it."""
    REFUSED = "refused"
    """The lights did not; they say why."""
    EXPIRED = "expired"
    """It came too late, and was not given to the lights."""
    FAILED = "failed"
    """It is not known what became of it: the device was restarted in between, or the lights did not answer."""


class Command(msgspec.Struct, frozen=True):
    """An order for the lights of the junction that the device drives."""

    id: UUID
    order: Order
    expires_in_s: Annotated[float, Meta(ge=0.0, le=86_400.0)]
    """From when this answer was sent; afterwards the device must not carry it out. A Pi's clock may be off: so a
    duration. 0: it is too late, or a later order took its place; what came of it is still to be told."""


class CommandList(msgspec.Struct, frozen=True):
    """Open commands, oldest first. `server_time` is the collector's clock."""

    commands: list[Command]
    server_time: UnixMs
    v: int = 1
    waited_s: float = 0.0
    """So long the request waited here: what more it took, the answer may have been on its way."""
