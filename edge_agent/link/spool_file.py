"""The spool's file: SQLite, spoken to by one thread.

SQLite rather than segments of our own: it survives power cuts on SD cards by a format that others have tested for
decades, takes records out of the middle when room is needed, and costs 1 MB. WAL with `synchronous=FULL`, small
pages, one connection that locks the file for itself: see `edge_agent.sqlite_file`.
"""

import os
import sqlite3
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from common.clock import Stamp
from common.codes import DropClass, GapReason
from common.records import Cycle, Gap, Log, SignalEvent
from edge_agent.link.messages import Spooled
from edge_agent.sqlite_file import PAGE_BYTES, cap, make_durable, number, transaction

SpoolRecord = Cycle | SignalEvent | Log | Gap

APPLICATION_ID = 0x53746F71
SCHEMA_VERSION = 1
MIN_BYTES = 2 * 1024 * 1024
WAL_RESERVE_BYTES = 512 * 1024
LOST = "lost"
DROP_CLASSES = {
    "signal_event": DropClass.CYCLES,
    "log": DropClass.LOGS,
    "gap": DropClass.COUNTS,
    "cycle": DropClass.CYCLES,
}
"""What may be dropped, first to last, and as what it is told. One cycle is worth more than its hundred events."""
_CHECKPOINT_BYTES = 256 * 1024
_CACHE_KIB = 256
_ROW_BYTES = 32
"""What a row takes up beside its body, about."""
_SCHEMA = Path(__file__).parents[1] / "sql" / "spool.sql"
_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(SpoolRecord)


class Lost(msgspec.Struct, frozen=True):
    """What stands in the place of records that are gone."""

    reason: GapReason
    duration_ms: int
    """From the first of them to the last."""
    dropped: dict[str, int]
    """How many of each kind."""
    detail: str = ""

    def as_gap(self) -> Gap:
        """What the collector is told."""
        tally: dict[DropClass, int] = {}
        for kind, n in self.dropped.items():
            tally[DROP_CLASSES[kind]] = tally.get(DROP_CLASSES[kind], 0) + n
        kinds = ", ".join(f"{n} {kind}" for kind, n in self.dropped.items())
        detail = f"the lights' records: {self.detail or 'dropped for want of room'}"
        return Gap(
            *(1, 0, 0),
            reason=self.reason,
            duration_ms=self.duration_ms,
            dropped=tally,
            detail=f"{detail} ({kinds})" if kinds else detail,
        )


_lost_decoder = msgspec.json.Decoder(Lost)


class Row(NamedTuple):
    """One row of `records`."""

    no: int
    covers: int
    kind: str
    boot: int
    boottime_ns: int
    wall_ms: int
    synced: int
    body: bytes


class SpoolFile:
    """An open spool. Every method may raise `sqlite3.Error`, and then nothing was changed."""

    def __init__(self, path: Path, max_bytes: int) -> None:
        """Open the file at `path`, or make it.

        Raises:
            sqlite3.Error: `sqlite3.DatabaseError` itself (not one of its subclasses) where the file is damaged.
        """
        self.path = path
        self.main_cap_bytes = max_bytes - WAL_RESERVE_BYTES
        self._filled_bytes = self.main_cap_bytes * 14 // 16
        self._db = sqlite3.connect(path, timeout=1.0, isolation_level=None)
        try:
            self._set_up()
            self._read_state()
        except BaseException:
            self._db.close()
            raise

    def _set_up(self) -> None:
        db = self._db
        make_durable(db, checkpoint_bytes=_CHECKPOINT_BYTES, wal_bytes=WAL_RESERVE_BYTES, cache_kib=_CACHE_KIB)
        cap(db, self.main_cap_bytes)
        if number(self._db, "user_version") == 0 and number(self._db, "page_count") <= 1:
            db.executescript(
                f"BEGIN IMMEDIATE;\n{_SCHEMA.read_text('utf-8')}\nPRAGMA application_id={APPLICATION_ID};"
                f"PRAGMA user_version={SCHEMA_VERSION};"
                f"INSERT INTO spool VALUES ('{_new_name()}', 0, 0);\nCOMMIT;"
            )
        found = number(self._db, "user_version"), number(self._db, "application_id")
        if found != (SCHEMA_VERSION, APPLICATION_ID):
            raise sqlite3.DatabaseError(f"no spool of version {SCHEMA_VERSION}: version {found[0]}")
        answers = [str(row[0]) for row in db.execute("PRAGMA quick_check(3)")]
        if answers != ["ok"]:
            raise sqlite3.DatabaseError("; ".join(answers))

    def _read_state(self) -> None:
        row = self._db.execute("SELECT name, base, taken FROM spool").fetchone()
        if row is None:
            raise sqlite3.DatabaseError("the spool has no name")
        self.name, self.base, self.taken = str(row[0]), int(row[1]), int(row[2])
        last = self._db.execute("SELECT max(no) FROM records").fetchone()[0]
        self.last: int = max(self.taken, int(last or 0))
        """The newest number on the disk; like `taken`, with `base` in it."""
        self._boots = {str(boot_id): int(no) for no, boot_id in self._db.execute("SELECT no, boot_id FROM boots")}
        self._boot_ids = {no: boot_id for boot_id, no in self._boots.items()}

    def close(self) -> None:
        """Write the WAL back and close. May be called twice."""
        self._db.close()

    def live_bytes(self) -> int:
        """Bytes of the file in use; free pages inside it are not.

        Raises:
            sqlite3.DatabaseError: that is more than there is: the file is damaged. Records must not be dropped for
                want of room then.
        """
        n_pages, n_free = number(self._db, "page_count"), number(self._db, "freelist_count")
        names = (self.path, self.path.with_name(self.path.name + "-wal"))
        if n_free > n_pages or n_pages * PAGE_BYTES > sum(p.stat().st_size for p in names if p.exists()):
            raise sqlite3.DatabaseError(f"the file does not hold the {n_pages} pages that it tells of")
        return (n_pages - n_free) * PAGE_BYTES

    def is_full(self) -> bool:
        """Whether something has to be dropped."""
        return self.live_bytes() > self.main_cap_bytes * 15 // 16

    def is_well_filled(self) -> bool:
        """Whether dropping has to go on, once begun: a good part is freed at a time."""
        return self.live_bytes() > self._filled_bytes

    def commit(self, items: Sequence[tuple[SpoolRecord | Lost, Stamp]], taken: int) -> None:
        """Append records, and forget those up to `taken`; on the disk when it returns."""
        last = self.last
        with transaction(self._db):
            if taken > self.taken:
                self._db.execute("DELETE FROM records WHERE no <= ?", (taken,))
                self._db.execute("UPDATE spool SET taken = ?", (taken,))
            boots = [self._boot(stamp) for _, stamp in items]
            rows = []
            for (record, stamp), boot in zip(items, boots, strict=True):
                last += 1
                rows.append(_row(last, record, stamp, boot))
            self._insert(rows)
        self.last, self.taken = last, max(taken, self.taken)

    def begin_anew(self, delivered: int) -> None:
        """A new name; what is up to `delivered` is forgotten, and the rest counts from 1."""
        name = _new_name()
        with transaction(self._db):
            self._db.execute("DELETE FROM records WHERE no <= ?", (delivered,))
            self._db.execute("UPDATE spool SET name = ?, base = ?, taken = ?", (name, delivered, delivered))
        self.name, self.base, self.taken = name, delivered, delivered

    def read(self, after: int, limit: int) -> list[Spooled]:
        """The first `limit` records after a number, as they go over the link."""
        return [self._spooled(row) for row in self._rows(after, limit)]

    def _rows(self, after: int, limit: int) -> list[Row]:
        rows = self._db.execute(
            "SELECT no, covers, kind, boot, boottime_ns, wall_ms, synced, body FROM records"
            " WHERE no > ? ORDER BY no LIMIT ?",
            (after, limit),
        )
        return [Row._make(row) for row in rows]

    def _spooled(self, row: Row) -> Spooled:
        stamp = Stamp(self._boot_ids.get(row.boot, ""), row.boottime_ns, row.wall_ms, bool(row.synced))
        return Spooled(
            spool=self.name, no=row.no - self.base, stamp=stamp, record=_record(row), covers=max(1, row.covers)
        )

    def _insert(self, rows: Iterable[Row]) -> None:
        self._db.executemany("INSERT INTO records VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows)

    def _boot(self, stamp: Stamp) -> int:
        """The number of a boot; within a transaction."""
        if stamp.boot_id not in self._boots:
            cursor = self._db.execute(
                "INSERT INTO boots (boot_id) VALUES (?) ON CONFLICT (boot_id) DO UPDATE SET boot_id = boot_id"
                " RETURNING no",
                (stamp.boot_id,),
            )
            no = int(cursor.fetchone()[0])
            self._boots[stamp.boot_id], self._boot_ids[no] = no, stamp.boot_id
        return self._boots[stamp.boot_id]

    def drop_some(self, kind: str, after: int, limit: int = 1000) -> int:
        """Drop a kind from the oldest run after a number that has it, as many as is needed; how many records went.
        0: none is left.

        What stays of the run is written anew, since rows taken out here and there leave no page empty.
        """
        first = self._db.execute(
            "SELECT min(no) FROM records WHERE no > ? AND kind = ?", (after, kind)
        ).fetchone()[0]
        if first is None:
            return 0
        before = self._db.execute("SELECT max(no) FROM records WHERE no > ? AND no < ?", (after, first)).fetchone()
        rows = self._rows((before[0] or first) - 1, limit)
        kept, n_dropped = _without(rows, kind, self.live_bytes() - self._filled_bytes)
        with transaction(self._db):
            self._db.execute("DELETE FROM records WHERE no BETWEEN ? AND ?", (rows[0].no, rows[-1].no))
            self._insert(kept)
        return n_dropped


def _new_name() -> str:
    return f"lights-{os.urandom(16).hex()}"


def kind_of(record: SpoolRecord) -> str:
    """The kind that a record is kept under."""
    return str(record.__struct_config__.tag)


def _row(no: int, item: SpoolRecord | Lost, stamp: Stamp, boot: int) -> Row:
    kind = LOST if isinstance(item, Lost) else kind_of(item)
    return Row(no, 1, kind, boot, stamp.boottime_ns, stamp.wall_ms, stamp.synced, _encoder.encode(item))


def _record(row: Row) -> SpoolRecord:
    """The record in a row. What cannot be read is told as lost."""
    try:
        if row.kind == LOST:
            return _lost_decoder.decode(row.body).as_gap()
        record: SpoolRecord = _decoder.decode(row.body)
    except (msgspec.MsgspecError, UnicodeDecodeError, KeyError) as error:
        return Lost(GapReason.OUTBOX_CORRUPT, 0, {}, f"one could not be read: {error}").as_gap()
    return record


def _without(rows: Sequence[Row], kind: str, free_bytes: int) -> tuple[list[Row], int]:
    """`rows` without the first of a kind, until so much is gained: what goes leaves one `lost` for each run, and
    neighbouring ones become one."""
    kept: list[Row] = []
    n_dropped = 0
    for row in rows:
        if row.kind == kind and free_bytes > 0:
            free_bytes -= len(row.body) + _ROW_BYTES
            lost = Lost(GapReason.OUTBOX_FULL, 0, {kind: 1})
            row = row._replace(kind=LOST, body=_encoder.encode(lost))
            n_dropped += 1
        joined = _joined(kept[-1], row) if kept and kept[-1].kind == row.kind == LOST else None
        if joined is None:
            kept.append(row)
        else:
            kept[-1] = joined
    return kept, n_dropped


def _joined(first: Row, second: Row) -> Row | None:
    """Two `lost` as one; None: they tell of different things."""
    try:
        one, other = _lost_decoder.decode(first.body), _lost_decoder.decode(second.body)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
    if (one.reason, one.detail) != (other.reason, other.detail):
        return None
    between_ms = (second.boottime_ns - first.boottime_ns) // 1_000_000 if first.boot == second.boot else 0
    duration_ms = one.duration_ms + max(between_ms, other.duration_ms, 0)
    dropped = dict(one.dropped)
    for kind, n in other.dropped.items():
        dropped[kind] = dropped.get(kind, 0) + n
    lost = Lost(one.reason, duration_ms, dropped, one.detail)
    return second._replace(covers=first.covers + second.covers, body=_encoder.encode(lost))
