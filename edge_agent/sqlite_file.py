"""How SQLite is spoken to on an SD card: by one connection, each commit on the disk before it is said to be.

The connection locks the file for itself (so that no second program can start on it, and no shared memory is
mapped), keeps a WAL, and has the disk confirm every commit (`synchronous=FULL`). SQLite before 3.51.3 can damage a
WAL that several connections write to; here there is one. Shared by the agent's outbox and the lights' spool.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

PAGE_BYTES = 1024
"""Small commits write a third less with these than with the usual 4096, and what is written wears an SD card."""


def make_durable(db: sqlite3.Connection, *, checkpoint_bytes: int, wal_bytes: int, cache_kib: int) -> None:
    """Set a new connection up. The WAL is written back after `checkpoint_bytes`, so it stays near that size.

    Raises:
        sqlite3.Error: the file cannot be had, or is none.
    """
    db.execute(f"PRAGMA page_size={PAGE_BYTES}")
    for setting in ("locking_mode=EXCLUSIVE", "journal_mode=WAL", "synchronous=FULL", "mmap_size=0"):
        db.execute(f"PRAGMA {setting}").fetchall()
    db.execute(f"PRAGMA wal_autocheckpoint={checkpoint_bytes // PAGE_BYTES}").fetchall()
    db.execute(f"PRAGMA journal_size_limit={wal_bytes}").fetchall()
    db.execute(f"PRAGMA cache_size=-{cache_kib}")


def cap(db: sqlite3.Connection, most_bytes: int) -> None:
    """Refuse to let the main file grow beyond `most_bytes`: a last line of defence."""
    db.execute(f"PRAGMA max_page_count={most_bytes // number(db, 'page_size')}").fetchall()


def number(db: sqlite3.Connection, pragma: str) -> int:
    """The value of a pragma that is a number."""
    return int(db.execute(f"PRAGMA {pragma}").fetchone()[0])


@contextmanager
def transaction(db: sqlite3.Connection) -> Iterator[None]:
    """All or nothing; on the disk when it returns."""
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise
