"""The outbox's SQLite file: the only module that speaks SQL to it.

One connection, made and used by one thread; see `edge_agent.sqlite_file` for how it is kept safe.

The WAL is written back after `_CHECKPOINT_BYTES`, so it stays near that size; the main file grows up to the cap
less `WAL_RESERVE_BYTES`, which `PRAGMA max_page_count` holds as a last line.
"""

import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from importlib.resources import files
from pathlib import Path
from time import monotonic
from typing import NamedTuple
from uuid import UUID

from common.clock import Anchor, AnchorSource, Boot
from common.codes import DropClass
from edge_agent.outbox.entries import DROP_CLASSES
from edge_agent.sqlite_file import cap, make_durable, number, transaction

APPLICATION_ID = 0x53746F70
SCHEMA_VERSION = 1
WAL_RESERVE_BYTES = 2 * 1024 * 1024
MIN_CAP_BYTES = 4 * 1024 * 1024
_CHECKPOINT_BYTES = 1024 * 1024
_CACHE_KIB = 1024
GENERATION_SHIFT = 40
_NS_PER_MS = 1_000_000


class EntryRow(NamedTuple):
    """One row of `entries`."""

    key: int
    covers: int | None
    kind: str | None
    boot: int
    boottime_ms: int
    wall_ms: int | None
    tail: bytes


class GenerationRow(NamedTuple):
    """One row of `generations`, with its last position."""

    no: int
    stream: str
    epoch: UUID
    base: int
    acked: int
    opened: int | None
    last: int


class OutboxFile:
    """An open outbox file. Every method may raise `sqlite3.Error`, and then nothing was changed."""

    def __init__(self, path: Path | None, cap_bytes: int, check_s: float = 0.0) -> None:
        """Open the file at `path`, or one in memory, and make it an outbox if it is new.

        Args:
            cap_bytes: most that file and WAL may take up together.
            check_s: for how long an existing file may be checked for damage; after that it is taken as sound.

        Raises:
            sqlite3.Error: `sqlite3.DatabaseError` itself (not one of its subclasses) where the file is damaged.
        """
        self.path = path
        self.main_cap_bytes = cap_bytes - WAL_RESERVE_BYTES
        self.closed = False
        self._db = sqlite3.connect(path or ":memory:", timeout=1.0, isolation_level=None)
        try:
            self._set_up()
            if path is not None:
                self._check(check_s)
        except BaseException:
            self._db.close()
            raise

    def _set_up(self) -> None:
        db = self._db
        make_durable(db, checkpoint_bytes=_CHECKPOINT_BYTES, wal_bytes=WAL_RESERVE_BYTES, cache_kib=_CACHE_KIB)
        cap(db, self.main_cap_bytes)
        if self.pragma("user_version") == 0 and self.pragma("page_count") <= 1:
            schema = files("edge_agent").joinpath("sql/outbox.sql").read_text("utf-8")
            db.executescript(
                f"BEGIN IMMEDIATE;\n{schema}\nPRAGMA application_id={APPLICATION_ID};"
                f"PRAGMA user_version={SCHEMA_VERSION};\nCOMMIT;"
            )

    def _check(self, check_s: float) -> None:
        """Refuse a file that is damaged, or that is not an outbox of this version."""
        version, application = self.pragma("user_version"), self.pragma("application_id")
        if (version, application) != (SCHEMA_VERSION, APPLICATION_ID):
            raise sqlite3.DatabaseError(f"not an outbox of version {SCHEMA_VERSION}: version {version}")
        deadline_s = monotonic() + check_s
        self._db.set_progress_handler(lambda: monotonic() > deadline_s, 100_000)
        try:
            answers = [str(row[0]) for row in self._db.execute("PRAGMA quick_check(5)")]
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_INTERRUPT:
                raise
            answers = ["ok"]
        finally:
            self._db.set_progress_handler(None, 0)
        if answers != ["ok"]:
            raise sqlite3.DatabaseError("; ".join(answers))

    def pragma(self, name: str) -> int:
        """The value of a pragma that is a number."""
        return number(self._db, name)

    def transaction(self) -> AbstractContextManager[None]:
        """All or nothing; on the disk when it returns."""
        return transaction(self._db)

    def close(self) -> None:
        """Write the WAL back and close. May be called twice."""
        self.closed = True
        self._db.close()

    # Size

    def live_bytes(self) -> int:
        """Bytes of the main file in use; free pages inside it are not."""
        return (self.pragma("page_count") - self.pragma("freelist_count")) * self.pragma("page_size")

    def size_bytes(self) -> int:
        """What the file and its WAL take up on the disk."""
        if self.path is None:
            return self.pragma("page_count") * self.pragma("page_size")
        return sum(p.stat().st_size for p in (self.path, wal_of(self.path)) if p.exists())

    # Generations

    def generations(self) -> list[GenerationRow]:
        """All, oldest first."""
        rows = self._db.execute(
            "SELECT no, stream, epoch, base, acked, opened, (SELECT max(key) FROM entries"
            " WHERE key BETWEEN no << 40 AND ((no + 1) << 40) - 1) FROM generations ORDER BY no"
        )
        return [
            GenerationRow(no, stream, UUID(epoch), base, acked, opened, max(acked, position_of(key) if key else 0))
            for no, stream, epoch, base, acked, opened, key in rows
        ]

    def add_generation(self, stream: str, epoch: UUID, base: int, acked: int, opened: int | None) -> int:
        """A new one; gives its number."""
        cursor = self._db.execute(
            "INSERT INTO generations (stream, epoch, base, acked, opened) VALUES (?, ?, ?, ?, ?)",
            (stream, str(epoch), base, acked, opened),
        )
        return int(cursor.lastrowid or 0)

    def set_generation(self, no: int, acked: int, opened: int | None) -> None:
        """Note how far it is acknowledged, and whether it was in contact."""
        self._db.execute("UPDATE generations SET acked = ?, opened = ? WHERE no = ?", (acked, opened, no))

    def rename_generation(self, no: int, epoch: UUID, base: int) -> None:
        """A new epoch begins after position `base`; the generation is in contact, and empty up to there."""
        self._db.execute(
            "UPDATE generations SET epoch = ?, base = ?, acked = ?, opened = NULL WHERE no = ?",
            (str(epoch), base, base, no),
        )

    def delete_generation(self, no: int) -> None:
        """It is empty and closed."""
        self._db.execute("DELETE FROM generations WHERE no = ?", (no,))

    # Entries

    def insert(self, rows: Iterable[EntryRow]) -> None:
        """Add rows, in order of their keys."""
        self._db.executemany("INSERT INTO entries VALUES (?, ?, ?, ?, ?, ?, ?)", rows)

    def read(self, from_key: int, to_key: int, limit: int) -> list[EntryRow]:
        """The first `limit` rows between two keys, both included."""
        rows = self._db.execute(
            "SELECT key, covers, kind, boot, boottime_ms, wall_ms, tail FROM entries"
            " WHERE key BETWEEN ? AND ? ORDER BY key LIMIT ?",
            (from_key, to_key, limit),
        )
        return [EntryRow._make(row) for row in rows]

    def delete(self, from_key: int, to_key: int) -> None:
        """Remove the rows between two keys, both included."""
        self._db.execute("DELETE FROM entries WHERE key BETWEEN ? AND ?", (from_key, to_key))

    def first_of_class(self, drop_class: DropClass, spans: Sequence[tuple[int, int]]) -> int | None:
        """The key of the oldest record of a class within key spans; None: there is none."""
        kinds = [kind for kind, its_class in DROP_CLASSES.items() if its_class is drop_class]
        marks = ", ".join("?" * len(kinds))
        for from_key, to_key in spans:
            row = self._db.execute(
                f"SELECT key FROM entries WHERE key BETWEEN ? AND ? AND kind IN ({marks}) ORDER BY key LIMIT 1",
                (from_key, to_key, *kinds),
            ).fetchone()
            if row:
                return int(row[0])
        return None

    def key_before(self, key: int) -> int | None:
        """The key of the row before `key`."""
        row = self._db.execute("SELECT max(key) FROM entries WHERE key < ?", (key,)).fetchone()
        return None if row[0] is None else int(row[0])

    # Boots and anchors

    def boots(self) -> list[tuple[int, Boot]]:
        """All boots with their numbers, oldest first, each as far as anything says that it ran."""
        rows = self._db.execute(
            "SELECT no, boot_id, max(last_ms, coalesce(seen_ms, 0)) FROM boots LEFT JOIN"
            " (SELECT boot, max(boottime_ms) AS seen_ms FROM entries GROUP BY boot) ON boot = no ORDER BY no"
        )
        return [(no, Boot(boot_id, last_ms * _NS_PER_MS)) for no, boot_id, last_ms in rows]

    def put_boots(self, boots: Iterable[tuple[int, Boot]]) -> None:
        """Add boots, or note how far they ran."""
        self._db.executemany(
            "INSERT INTO boots VALUES (?, ?, ?) ON CONFLICT (no) DO UPDATE SET last_ms = excluded.last_ms",
            [(no, boot.boot_id, boot.last_boottime_ns // _NS_PER_MS) for no, boot in boots],
        )

    def forget_boots(self, keep: int) -> None:
        """Remove old boots and their anchors, save those with entries and the `keep` before them."""
        first = "(SELECT coalesce(min(boot), (SELECT max(no) FROM boots)) FROM entries)"
        kept = f"SELECT no FROM boots WHERE no < {first} ORDER BY no DESC LIMIT ?"
        self._db.execute(f"DELETE FROM boots WHERE no < {first} AND no NOT IN ({kept})", (keep,))
        self._db.execute("DELETE FROM anchors WHERE boot NOT IN (SELECT no FROM boots)")

    def anchors(self) -> list[Anchor]:
        """All anchors."""
        rows = self._db.execute(
            "SELECT boot_id, boottime_ms, wall_ms, error_ms, source FROM anchors JOIN boots ON no = boot"
        )
        return [
            Anchor(boot_id, boottime_ms * _NS_PER_MS, wall_ms, error_ms, AnchorSource(source))
            for boot_id, boottime_ms, wall_ms, error_ms, source in rows
        ]

    def replace_anchors(self, anchors: Iterable[tuple[int, Anchor]]) -> None:
        """Store these anchors, each with its boot's number, in the place of all."""
        self._db.execute("DELETE FROM anchors")
        self._db.executemany(
            "INSERT INTO anchors VALUES (?, ?, ?, ?, ?)",
            [(no, a.boottime_ns // _NS_PER_MS, a.wall_ms, a.error_ms, a.source.value) for no, a in anchors],
        )

    # Quarantine and notes

    def put_aside(self, rows: Iterable[tuple[str, int, str, str, str]], keep: int) -> None:
        """Add (epoch, seq, code, detail, record) to the quarantine, and keep its newest `keep`."""
        self._db.executemany(
            "INSERT INTO quarantine (epoch, seq, code, detail, record) VALUES (?, ?, ?, ?, ?)", rows
        )
        self._db.execute("DELETE FROM quarantine WHERE id <= (SELECT max(id) FROM quarantine) - ?", (keep,))

    def quarantine(self) -> list[tuple[str, int, str, str, str]]:
        """What was put aside, newest first."""
        return self._db.execute(
            "SELECT epoch, seq, code, detail, record FROM quarantine ORDER BY id DESC"
        ).fetchall()

    def note(self, name: str) -> str | None:
        """A value kept under a name."""
        row = self._db.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
        return None if row is None else str(row[0])

    def set_note(self, name: str, value: str) -> None:
        """Keep a value under a name."""
        self._db.execute(
            "INSERT INTO meta VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value", (name, value)
        )


def key_of(no: int, position: int) -> int:
    """The key of a position of a generation."""
    return no << GENERATION_SHIFT | position


def position_of(key: int) -> int:
    """The position in a key."""
    return key & ((1 << GENERATION_SHIFT) - 1)


def wal_of(path: Path) -> Path:
    """The name of a file's write-ahead log."""
    return path.with_name(path.name + "-wal")


def is_corrupt(error: sqlite3.Error) -> bool:
    """Whether an error says that the file is damaged, rather than that the disk is full or busy."""
    code = getattr(error, "sqlite_errorcode", None)
    if code is None:
        return type(error) is sqlite3.DatabaseError
    return code & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_SCHEMA)


def is_busy(error: sqlite3.Error) -> bool:
    """Whether an error says that another process holds the file."""
    code = getattr(error, "sqlite_errorcode", None)
    return code is not None and code & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
