"""What the event log's recorder gives, and what it is told that it cannot see for itself. See `common.hires`."""

from dataclasses import dataclass
from enum import StrEnum

from common.hires import Code
from common.records import SignalEvent


class Trouble(StrEnum):
    """What ails a detector."""

    OTHER = "other"
    SILENT = "silent"
    """It tells nothing, though it should have."""
    UNREACHABLE = "unreachable"
    """Its camera or reader is gone."""
    STUCK = "stuck"
    """It tells of the same vehicle for ever."""
    CHATTER = "chatter"
    """It tells of more vehicles than can be."""


@dataclass(frozen=True, slots=True)
class Event:
    """One row of the log. `at_s` is monotonic, on the clock of the steps."""

    code: Code
    parameter: int
    at_s: float


@dataclass(frozen=True, slots=True)
class Crossing:
    """A vehicle crossed a stop line or an advance line, or a tag was read: on and off again."""

    channel: int
    at_s: float


@dataclass(frozen=True, slots=True)
class Presence:
    """A zone was entered by the first, or left by the last; a button was pressed or let go."""

    channel: int
    at_s: float
    is_on: bool


@dataclass(frozen=True, slots=True)
class DetectorHealth:
    """A detector is in trouble from now on, or is well again (None)."""

    channel: int
    at_s: float
    trouble: Trouble | None


@dataclass(frozen=True, slots=True)
class PreemptCall:
    """An emergency vehicle's call came or went."""

    preemption: str
    at_s: float
    is_on: bool


@dataclass(frozen=True, slots=True)
class ClockSet:
    """The wall clock was set by so much; monotonic time went on as before."""

    at_s: float
    correction_s: float


Told = Crossing | Presence | DetectorHealth | PreemptCall | ClockSet


def to_record(junction: str, event: Event) -> SignalEvent:
    """`event` for the collector; its number and time are filled in when it is sent, by the stamp of `at_s`."""
    return SignalEvent(1, 0, 0, junction, int(event.code), event.parameter)
