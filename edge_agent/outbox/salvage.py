"""A damaged outbox file is read as far as it can be read, into a new one; the old one is kept beside it.

Records keep their epoch and numbers where the file still tells them, so that nothing is delivered twice; numbers
that cannot be read become tombstones. Nothing is ever added to a salvaged generation, since its end may be gone.

The new file is built under another name and put in place by renaming, so that a power cut during a salvage only
means that it is done again.
"""

import logging
import os
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing
from itertools import chain, groupby
from pathlib import Path
from time import monotonic
from typing import Any
from uuid import UUID, uuid4

import msgspec

from common.clock import Anchor, AnchorSource, Boot, Stamp
from common.codes import GapReason
from edge_agent.outbox.chronicle import Chronicle
from edge_agent.outbox.codec import Damaged, to_entry, to_item
from edge_agent.outbox.entries import Lost
from edge_agent.outbox.file import GENERATION_SHIFT, EntryRow, OutboxFile, key_of, position_of, wal_of
from edge_agent.outbox.model import STREAM

logger = logging.getLogger(__name__)

KEEP_FILES = 2
"""So many damaged files are kept for a look at them."""
SALVAGE_S = 60.0
"""Longest time that is spent on reading a damaged file."""
_MAX_PROBES = 20_000
_COPY_ROWS = 1000


class Known(msgspec.Struct, frozen=True):
    """What is known of a generation: from the damaged file or from the memory of a running agent."""

    stream: str
    epoch: UUID
    base: int
    acked: int
    opened: int | None
    last: int
    """It is known to have reached this position; 0: only what can be read tells."""


class Report(msgspec.Struct, frozen=True):
    """What came of a salvage."""

    kept_as: str
    n_read: int
    n_missing: int
    """Numbers that must have been there and could not be read."""

    def __str__(self) -> str:
        return (
            f"{self.n_read} records could be read, {self.n_missing} could not; records newer than these may be "
            f"missing without a number. The damaged file is kept as {self.kept_as}"
        )


def new_name(path: Path) -> Path:
    """Where a salvage builds the new file."""
    return path.with_name(path.name + ".new")


def finish_interrupted(path: Path) -> None:
    """Bring a salvage that a power cut stopped to its end, or to its beginning."""
    fresh = new_name(path)
    if path.exists():
        _unlink(fresh)
        return
    # A log that stayed behind belongs to the file that was moved away. SQLite would apply it to the new one.
    wal_of(path).unlink(missing_ok=True)
    if fresh.exists():
        fresh.rename(path)


def rebuild(path: Path, cap_bytes: int, now: Stamp, known: dict[int, Known] | None = None) -> Report:
    """Put a new outbox with all that can be read in the place of the damaged one at `path`, which is closed.

    Args:
        known: what a running agent knows of its generations, by number; better than what the file says.

    Raises:
        OSError, sqlite3.Error: the disk refuses. The damaged file is where it was.
    """
    fresh = new_name(path)
    _unlink(fresh)
    kept = _free_name(path)
    with closing(OutboxFile(fresh, cap_bytes)) as target, closing(_open_damaged(path)) as source:
        n_read, n_missing = _copy_all(source, target, now, known or {})
    _rename(path, kept)
    fresh.rename(path)
    _sync_folder(path.parent)
    _forget_old(path)
    report = Report(kept.name, n_read, n_missing)
    logger.error("the outbox was damaged: %s", report, extra={"action": "outbox_salvaged"})
    return report


def start_over(path: Path) -> Report:
    """Move the damaged file aside unread: nothing can be made of it."""
    kept = _free_name(path)
    _rename(path, kept)
    _forget_old(path)
    return Report(kept.name, 0, 0)


class _Copier:
    """Copies one generation's rows in order, and fills its holes with tombstones."""

    def __init__(self, target: OutboxFile, chronicle: Chronicle, no: int, acked: int) -> None:
        self.reached = acked
        self.n_read = self.n_missing = 0
        self._target, self._chronicle, self._no = target, chronicle, no
        self._last: Stamp | None = None
        self._filled: list[EntryRow] = []

    def copy(self, row: EntryRow) -> None:
        """Take over one row, under its position; one that is damaged or already covered is left out."""
        position = position_of(row.key)
        if position <= self.reached:
            return
        try:
            item = to_item(row, self._chronicle)
        except Damaged:
            return
        stamp = item.until if isinstance(item, Lost) else item.stamp
        self.fill(position - item.covers, stamp)
        self._filled.append(to_entry(key_of(self._no, position), item, self._chronicle))
        self.reached, self._last, self.n_read = position, stamp, self.n_read + 1
        if len(self._filled) >= _COPY_ROWS:
            self.flush()

    def fill(self, position: int, until: Stamp) -> None:
        """Up to `position` there must have been something: it is lost."""
        if position <= self.reached:
            return
        lost = Lost(position - self.reached, GapReason.OUTBOX_CORRUPT, self._last or until, until, {})
        self._filled.append(to_entry(key_of(self._no, position), lost, self._chronicle))
        self.n_missing += lost.covers
        self.reached = position

    def flush(self) -> None:
        """Write what was taken over."""
        with self._target.transaction():
            self._target.insert(self._filled)
        self._filled.clear()


def _copy_all(
    source: sqlite3.Connection, target: OutboxFile, now: Stamp, known: dict[int, Known]
) -> tuple[int, int]:
    chronicle = Chronicle(_boots(source), ())
    generations = _generations(source) | known
    n_read = n_missing = 0
    done = set[int]()
    for no, rows in groupby(_rows(source, monotonic() + SALVAGE_S), key=lambda row: row.key >> GENERATION_SHIFT):
        counts = _copy_generation(no, rows, generations.get(no), target, chronicle, now)
        n_read, n_missing = n_read + counts[0], n_missing + counts[1]
        done.add(no)
    for no in sorted(set(generations) - done):
        n_missing += _copy_generation(no, (), generations[no], target, chronicle, now)[1]
    with target.transaction():
        target.put_boots(chronicle.boots())
        target.replace_anchors(_anchors(source))
        for name, value in _try(source, "SELECT name, value FROM meta"):
            target.set_note(str(name), str(value))
    return n_read, n_missing


def _copy_generation(
    no: int,
    rows: Iterable[EntryRow],
    known: Known | None,
    target: OutboxFile,
    chronicle: Chronicle,
    now: Stamp,
) -> tuple[int, int]:
    """One generation; where its epoch cannot be read, a new one begins at its first record."""
    rows = iter(rows)
    head = next(rows, None)
    if known is None:
        if head is None:
            return 0, 0
        base = position_of(head.key) - (head.covers or 1)
        known = Known(STREAM, uuid4(), base, base, base, 0)
    with target.transaction():
        new_no = target.add_generation(known.stream, known.epoch, known.base, known.acked, known.opened)
    copier = _Copier(target, chronicle, new_no, known.acked)
    for row in chain(() if head is None else (head,), rows):
        copier.copy(row)
    copier.fill(max(known.last, known.opened or 0), now)
    copier.flush()
    if known.opened is None:
        with target.transaction():
            # What the collector has beyond these was delivered before the damage.
            target.set_generation(new_no, known.acked, copier.reached)
    return copier.n_read, copier.n_missing


def _open_damaged(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, timeout=1.0, isolation_level=None)
    for pragma in ("locking_mode=EXCLUSIVE", "cell_size_check=ON", "mmap_size=0"):
        _try(db, f"PRAGMA {pragma}")
    return db


def _rows(db: sqlite3.Connection, deadline_s: float) -> Iterator[EntryRow]:
    """All rows of `entries` that can be read, in order of their keys."""
    bounds = [*_try(db, "SELECT min(key) FROM entries"), *_try(db, "SELECT max(key) FROM entries")]
    keys = [row[0] for row in bounds if isinstance(row[0], int)]
    top = keys[-1] if len(keys) == 2 else (1 << 63) - 1
    yield from _range(db, keys[0] if keys else 0, top, deadline_s)


def _range(db: sqlite3.Connection, low: int, high: int, deadline_s: float) -> Iterator[EntryRow]:
    """The readable rows of a range of keys; where reading breaks off, the rest is halved until it is passed."""
    stack, probes = [(low, high)], 0
    while stack and probes < _MAX_PROBES and monotonic() < deadline_s:
        (low, high), probes = stack.pop(), probes + 1
        try:
            cursor = db.execute("SELECT * FROM entries WHERE key BETWEEN ? AND ? ORDER BY key", (low, high))
            for row in cursor:
                if isinstance(row[0], int):
                    yield EntryRow._make(row)
                    low = row[0] + 1
        except (sqlite3.Error, UnicodeDecodeError):
            if high > low:
                middle = (low + high) // 2
                stack += [(middle + 1, high), (low, middle)]


def _generations(db: sqlite3.Connection) -> dict[int, Known]:
    found: dict[int, Known] = {}
    for no, stream, epoch, base, acked, opened in _try(
        db, "SELECT no, stream, epoch, base, acked, opened FROM generations"
    ):
        try:
            bound = None if opened is None else int(opened)
            found[int(no)] = Known(str(stream), UUID(epoch), int(base), int(acked), bound, 0)
        except (TypeError, ValueError, AttributeError):
            continue
    return found


def _boots(db: sqlite3.Connection) -> list[tuple[int, Boot]]:
    rows = _try(db, "SELECT no, boot_id, last_ms FROM boots ORDER BY no")
    return [(no, Boot(boot_id, last_ms * 1_000_000)) for no, boot_id, last_ms in rows if isinstance(last_ms, int)]


def _anchors(db: sqlite3.Connection) -> list[tuple[int, Anchor]]:
    found: list[tuple[int, Anchor]] = []
    rows = _try(db, "SELECT boot, boottime_ms, wall_ms, error_ms, source FROM anchors")
    for boot, boottime_ms, wall_ms, error_ms, source in rows:
        try:
            anchor = Anchor("", int(boottime_ms) * 1_000_000, int(wall_ms), int(error_ms), AnchorSource(source))
            found.append((int(boot), anchor))
        except (TypeError, ValueError):
            continue
    return found


def _try(db: sqlite3.Connection, sql: str) -> list[Any]:
    """What a query gives until it breaks."""
    rows: list[Any] = []
    try:
        for row in db.execute(sql):
            rows.append(row)
    except (sqlite3.Error, UnicodeDecodeError):
        logger.debug("unreadable: %s", sql, extra={"action": "outbox_salvage"})
    return rows


def _free_name(path: Path) -> Path:
    """The next free name for a damaged file."""
    numbers = [int(p.suffix[8:]) for p in path.parent.glob(path.name + ".damaged*") if p.suffix[8:].isdigit()]
    return path.with_name(f"{path.name}.damaged{max(numbers, default=0) + 1}")


def _rename(path: Path, kept: Path) -> None:
    """Move a file and its log. The log second: `finish_interrupted` deals with one that stayed behind."""
    path.rename(kept)
    if wal_of(path).exists():
        wal_of(path).rename(wal_of(kept))


def _forget_old(path: Path) -> None:
    """Remove all but the newest damaged files."""
    files = [p for p in path.parent.glob(path.name + ".damaged*") if p.suffix[8:].isdigit()]
    for old in sorted(files, key=lambda p: int(p.suffix[8:]))[:-KEEP_FILES]:
        _unlink(old)


def _unlink(path: Path) -> None:
    for name in (path, wal_of(path)):
        name.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    """Make renames in a folder durable."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
