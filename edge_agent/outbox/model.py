"""The values that an outbox is set up with, keeps, and gives out."""

from dataclasses import dataclass
from enum import Enum
from uuid import UUID

import msgspec

from edge_agent.outbox.file import MIN_CAP_BYTES, GenerationRow

STREAM = "main"
"""The stream that records go to unless another is named."""


class Limits(msgspec.Struct, frozen=True):
    """How large an outbox may become."""

    cap_bytes: int = 256 * 1024 * 1024
    """File and WAL together. Beyond it records are dropped by class."""
    memory_bytes: int = 4 * 1024 * 1024
    """Records that wait in memory while the disk refuses them; beyond it they are dropped by class."""
    memory_cap_bytes: int = 16 * 1024 * 1024
    """`cap_bytes` of an outbox that lives in memory because there is no disk to write to."""
    quarantine_records: int = 200
    check_s: float = 20.0
    """How long the file may be checked for damage at start; one not finished by then is taken as sound."""

    def __post_init__(self) -> None:
        for name in ("cap_bytes", "memory_cap_bytes"):
            if getattr(self, name) < MIN_CAP_BYTES:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be at least {MIN_CAP_BYTES}")
        if self.memory_bytes < 64 * 1024:
            raise ValueError(f"memory_bytes is {self.memory_bytes}; it must be at least {64 * 1024}")


class OutgoingBatch(msgspec.Struct, frozen=True):
    """A contiguous run of one epoch, ready to be sent."""

    stream: str
    epoch: UUID
    first_seq: int
    last_seq: int
    records: list[bytes]
    """Each a whole JSON record."""


class Contact(Enum):
    """How the collector's watermark compares with what the outbox knows."""

    AS_EXPECTED = "as_expected"
    COLLECTOR_BEHIND = "collector_behind"
    """It lost what it had acknowledged; a tombstone tells it so."""
    COLLECTOR_AHEAD = "collector_ahead"
    """It has what was never sent from this file; newer records got a new epoch."""


class OutboxStats(msgspec.Struct, frozen=True):
    """How an outbox stands."""

    durable: bool
    """Whether the last commit reached a disk."""
    trouble: str | None
    """What is wrong, for people."""
    waiting: int
    """Sequence numbers not yet acknowledged, committed or not."""
    uncommitted: int
    size_bytes: int
    dropped: int
    """Records dropped since the outbox was made; each is covered by a tombstone."""


class QuarantinedRecord(msgspec.Struct, frozen=True):
    """A record that the collector put aside, or that could not be sent."""

    epoch: str
    seq: int
    code: str
    detail: str
    record: str


@dataclass(slots=True)
class Generation:
    """The state of one generation. Positions count from 1 in the file; a seq on the wire is position - base."""

    no: int
    stream: str
    epoch: UUID
    base: int = 0
    """Position after which this epoch begins."""
    acked: int = 0
    """The collector has everything up to this position."""
    stored_acked: int = 0
    """`acked` as it is on the disk; what lies between waits to be deleted."""
    last: int = 0
    """Position of the newest entry on the disk."""
    sent: int = 0
    """Highest position that was handed out since contact."""
    opened: int | None = None
    """None: in contact. Else `last` when the file was first opened after the last contact."""

    @classmethod
    def of(cls, row: GenerationRow) -> "Generation":
        """As it is on the disk."""
        return cls(
            no=row.no,
            stream=row.stream,
            epoch=row.epoch,
            base=row.base,
            acked=row.acked,
            stored_acked=row.acked,
            last=row.last,
            sent=row.acked,
            opened=row.opened,
        )
