"""What devices tell of commands, read out of their records. What makes no sense is a record like any other."""

from collections.abc import Iterable
from dataclasses import dataclass
from uuid import UUID

from common.records import CommandResult
from common.remote import CommandStatus

_STATES = frozenset(CommandStatus)


@dataclass(frozen=True, slots=True)
class Result:
    """What one device told of one command."""

    device: UUID
    command: UUID
    state: str
    at_ms: int
    detail: str | None


def first_results(told: Iterable[tuple[UUID, CommandResult]]) -> list[Result]:
    """One for each command of each device: the first word stands."""
    found: dict[tuple[UUID, UUID], Result] = {}
    for device, record in told:
        command = _uuid(record.command)
        if command is not None and record.status in _STATES:
            result = Result(device, command, record.status, record.at, record.detail)
            found.setdefault((device, command), result)
    return list(found.values())


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None
