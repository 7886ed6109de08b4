"""Looks into an outbox without changing it: for a technician, and to rescue records from an SD card.

A copy is opened, never the file itself: opening would change it, and it may lie on a card that can only be read.
While the copy is made no agent can start on the file; where one runs, there is no copying.
"""

import contextlib
import fcntl
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from common.clock import Stamp
from edge_agent.outbox.chronicle import Chronicle
from edge_agent.outbox.codec import Damaged, encode_lost, to_item
from edge_agent.outbox.entries import Lost, encode_row
from edge_agent.outbox.errors import OutboxBusy, OutboxError
from edge_agent.outbox.file import EntryRow, GenerationRow, OutboxFile, key_of, position_of, wal_of

_SHARED_LOCK_AT, _SHARED_LOCK_BYTES = 0x40000002, 510
"""Where SQLite puts the locks of readers; whoever writes, or wants the file alone, holds them all."""
_NO_CAP_BYTES = 2**50
_CHECK_S = 3600.0
_PAGE_ROWS = 1000


class OutboxAbsent(OutboxError):
    """There is no outbox at that path."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """One record that waits, as it would be sent now: it accounts for `from_seq..seq` of its epoch."""

    stream: str
    epoch: UUID
    from_seq: int
    seq: int
    kind: str
    """`lost` for the tombstone of records that had to be dropped."""
    record: bytes


@dataclass(frozen=True, slots=True)
class Flaw:
    """Something in the file that should not be so."""

    epoch: UUID
    seq: int
    what: str


class OutboxReader:
    """A copy of an outbox. Made by `reading`."""

    def __init__(self, file: OutboxFile, now: Stamp) -> None:
        """Use `reading`."""
        self._file = file
        self._chronicle = Chronicle(file.boots(), file.anchors())
        self._now = now

    @property
    def generations(self) -> list[GenerationRow]:
        """Its epochs, oldest first."""
        return self._file.generations()

    @property
    def dropped(self) -> int:
        """Records dropped since it was made."""
        return int(self._file.note("dropped") or 0)

    def quarantine(self) -> list[tuple[str, int, str, str, str]]:
        """(epoch, seq, code, detail, record) of what was put aside, newest first."""
        return self._file.quarantine()

    def read(self) -> Iterator[Waiting | Flaw]:
        """Everything that waits, in order, and what is wrong with it."""
        for generation in self._file.generations():
            expected = generation.acked + 1
            for row in self._rows(generation):
                position, covers = position_of(row.key), row.covers or 1
                if position - covers + 1 != expected:
                    missing = f"{position - covers + 1 - expected} numbers are missing before it"
                    yield Flaw(generation.epoch, position - generation.base, missing)
                expected = position + 1
                yield self._entry(generation, row, position - covers + 1, position)

    def _rows(self, generation: GenerationRow) -> Iterator[EntryRow]:
        from_key, last_key = key_of(generation.no, 0), key_of(generation.no + 1, 0) - 1
        while rows := self._file.read(from_key, last_key, _PAGE_ROWS):
            yield from rows
            from_key = rows[-1].key + 1

    def _entry(self, generation: GenerationRow, row: EntryRow, first: int, last: int) -> Waiting | Flaw:
        from_seq, seq = first - generation.base, last - generation.base
        try:
            item = to_item(row, self._chronicle)
        except Damaged as error:
            return Flaw(generation.epoch, seq, f"the row is damaged: {error}")
        if isinstance(item, Lost):
            since = self._chronicle.resolve(item.since, self._now)
            until = self._chronicle.resolve(item.until, self._now)
            record, kind = encode_lost(item, from_seq, seq, since, until), "lost"
        else:
            at = self._chronicle.resolve(item.stamp, self._now)
            record, kind = encode_row(item.kind, seq, at.at_ms, at.at_error_ms, item.tail), item.kind
        return Waiting(generation.stream, generation.epoch, from_seq, seq, kind, record)


@contextlib.contextmanager
def reading(path: Path, now: Stamp) -> Iterator[OutboxReader]:
    """A copy of the outbox at `path`, to be read.

    Raises:
        OutboxAbsent: there is no file.
        OutboxBusy: an agent has it open.
        sqlite3.DatabaseError: it is damaged.
        OSError: it cannot be read, or there is no room for the copy (TMPDIR says where that is made).
    """
    with tempfile.TemporaryDirectory(prefix="stopline-outbox-") as folder:
        copy = Path(folder) / path.name
        _copy_locked(path, copy)
        file = OutboxFile(copy, _NO_CAP_BYTES, _CHECK_S)
        try:
            yield OutboxReader(file, now)
        finally:
            file.close()


def _copy_locked(path: Path, copy: Path) -> None:
    if not path.is_file():
        raise OutboxAbsent(f"there is no outbox {path}")
    with path.open("rb") as original:
        try:
            fcntl.lockf(original, fcntl.LOCK_SH | fcntl.LOCK_NB, _SHARED_LOCK_BYTES, _SHARED_LOCK_AT)
        except BlockingIOError as error:
            raise OutboxBusy(f"an agent runs on {path}; stop it first") from error
        for source, target in ((path, copy), (wal_of(path), wal_of(copy))):
            if source.exists():
                shutil.copyfile(source, target)
