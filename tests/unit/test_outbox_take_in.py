"""What others keep until the outbox has it: taken in once, with its mark, or not at all."""

import sqlite3
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from common.records import Count, Record
from edge_agent.outbox import Limits, Outbox, marks
from edge_agent.outbox.entries import Row, to_row
from edge_agent.outbox.file import MIN_CAP_BYTES
from tests.outbox_model import (
    BOOT,
    START_MS,
    ModelCollector,
    count,
    drain,
    fill,
    frames,
    meet,
    serials,
    stamp_at,
)

OTHER, THIRD = "other-boot", "third-boot"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "outbox.db"


def numbered(first: int, last: int, boot: str = BOOT, *, padding: int = 0) -> list[tuple[int, Row]]:
    """Records of a source; their serials begin at 1001."""
    make = (lambda no: frames(no, padding)) if padding else count
    return [(no, to_row(make(1000 + no), stamp_at(no, boot))) for no in range(first, last + 1)]


def reopened(outbox: Outbox, path: Path) -> Outbox:
    """As after a kill: nothing is committed any more."""
    outbox._file._db.close()
    return Outbox.open(path, stamp_at(500))


def test_what_was_taken_in_is_durable_with_its_mark_and_not_taken_twice(path: Path) -> None:
    outbox, collector = Outbox.open(path, stamp_at(1)), ModelCollector()
    outbox.append(count(1), stamp_at(1))
    assert outbox.take_in("a", numbered(1, 10), stamp_at(20))
    outbox = reopened(outbox, path)
    assert outbox.known_sources() == {"a": 10}
    assert outbox.take_in("a", numbered(5, 15), stamp_at(20))
    assert outbox.take_in("b", numbered(21, 22), stamp_at(20))
    assert outbox.known_sources() == {"a": 15, "b": 22}
    drain(outbox, collector)
    assert set(collector.stored()) == {"n1"} | serials(1001, 1015) | serials(1021, 1022)
    outbox = reopened(outbox, path)
    assert outbox.take_in("a", numbered(1, 15), stamp_at(20))
    assert outbox.next_batch(10, 10**6, stamp_at(600)) is None, "delivered ones are known too"


def test_what_the_disk_refuses_is_not_taken_in_at_all(path: Path) -> None:
    outbox, collector = Outbox.open(path, stamp_at(1)), ModelCollector()
    fill(outbox, 1, 2)
    meet(outbox, collector)
    outbox._file._db.execute("PRAGMA query_only=1")
    for _ in range(2):
        assert not outbox.take_in("a", numbered(1, 10), stamp_at(20))
    outbox.append(count(3), stamp_at(3))
    batch = outbox.next_batch(100, 10**6, stamp_at(30))
    assert batch is not None
    assert batch.last_seq == 3, "what is only in memory may be sent, but not what the source still keeps"
    outbox._file._db.execute("PRAGMA query_only=0")
    assert outbox.known_sources() == {}
    assert outbox.take_in("a", numbered(1, 10), stamp_at(20))
    drain(outbox, collector)
    assert set(collector.stored()) == serials(1, 3) | serials(1001, 1010)


def test_without_a_disk_nothing_is_taken_in(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.write_text("no folder")
    outbox = Outbox.open(folder / "outbox.db", stamp_at(1))
    assert outbox.in_memory
    assert not outbox.take_in("a", numbered(1, 10), stamp_at(20))
    assert outbox.stats().waiting == 1, "only the gap that tells of the disk"
    folder.unlink()
    assert outbox.return_to_disk(stamp_at(21))
    assert outbox.take_in("a", numbered(1, 10), stamp_at(22))


def test_marks_survive_a_salvage(path: Path) -> None:
    outbox = Outbox.open(path, stamp_at(1))
    assert outbox.take_in("a", numbered(1, 400), stamp_at(500))
    outbox.close()
    content = bytearray(path.read_bytes())
    content[-12 * 1024 : -8 * 1024] = b"\xa5" * 4096
    path.write_bytes(content)
    outbox = Outbox.open(path, stamp_at(501))
    assert (path.parent / "outbox.db.damaged1").exists()
    assert outbox.known_sources() == {"a": 400}


def test_many_come_in_transactions_each_with_its_mark(path: Path) -> None:
    outbox = Outbox.open(path, stamp_at(1), Limits(cap_bytes=MIN_CAP_BYTES))
    statements: list[str] = []
    outbox._file._db.set_trace_callback(statements.append)
    assert outbox.take_in("a", numbered(1, 20, padding=10_000), stamp_at(99))
    n_marks = sum("INSERT INTO meta VALUES ('marks'" in statement for statement in statements)
    assert n_marks == statements.count("COMMIT") > 3
    assert outbox.known_sources() == {"a": 20}


@pytest.mark.parametrize("synced", [True, False])
def test_records_of_an_earlier_boot_that_the_agent_never_saw_do_not_confuse_the_present_one(
    path: Path, synced: bool
) -> None:
    outbox = Outbox.open(path, stamp_at(1))
    fill(outbox, 1, 3)
    outbox.close()
    # OTHER ran for a day without an agent, from START + 10,000 s on; THIRD is the present boot.
    present = stamp_at(50, THIRD)
    now = msgspec.structs.replace(present, wall_ms=START_MS + 100_000_000, synced=True)
    outbox = Outbox.open(path, now)
    outbox.append(count(4), msgspec.structs.replace(now, synced=False, wall_ms=0))
    old = msgspec.structs.replace(
        stamp_at(80_000, OTHER), wall_ms=START_MS + 90_000_000 if synced else 0, synced=synced
    )
    assert outbox.take_in("a", [(1, to_row(count(1001), old))], now)
    outbox = reopened(outbox, path)
    epoch = outbox.contact_due()
    assert epoch is not None
    later = msgspec.structs.replace(now, boottime_ns=now.boottime_ns + 10**9, wall_ms=now.wall_ms + 1000)
    outbox.reconcile(epoch, 0, later)
    batch = outbox.next_batch(100, 10**6, later)
    assert batch is not None
    decoder: msgspec.json.Decoder[Record] = msgspec.json.Decoder(Record)
    records = [decoder.decode(raw) for raw in batch.records]
    (ours,) = [one for one in records if isinstance(one, Count) and one.track == "n4"]
    (theirs,) = [one for one in records if isinstance(one, Count) and one.track == "n1001"]
    assert abs(ours.at - now.wall_ms) <= max(ours.at_error_ms, 2000), "of the present boot"
    if synced:
        assert (theirs.at, theirs.at_error_ms) == (START_MS + 90_000_000, 0)
    else:
        assert theirs.at <= now.wall_ms
        assert abs(theirs.at - (START_MS + 90_000_000)) <= theirs.at_error_ms


def test_a_file_of_an_older_version_goes_on(path: Path) -> None:
    outbox = Outbox.open(path, stamp_at(1))
    fill(outbox, 1, 5)
    outbox.close()
    with closing(sqlite3.connect(path)) as db:
        # Boots were numbered one by one, and there were no marks.
        db.execute("UPDATE boots SET no = 1")
        db.execute("UPDATE entries SET boot = 1")
        db.execute("DELETE FROM meta WHERE name = ?", (marks.NOTE,))
        db.commit()
    outbox, collector = Outbox.open(path, stamp_at(50, OTHER)), ModelCollector()
    assert outbox.known_sources() == {}
    assert outbox.take_in("a", numbered(1, 3, THIRD), stamp_at(60, OTHER))
    assert outbox.take_in("a", numbered(4, 5, BOOT), stamp_at(60, OTHER))
    drain(outbox, collector)
    assert set(collector.stored()) == serials(1, 5) | serials(1001, 1005)


def test_only_so_many_sources_are_remembered() -> None:
    some: marks.Marks = ()
    for number in range(100):
        some = marks.advanced(some, f"s{number}", number + 1)
    assert len(some) == 16
    assert marks.mark_of(some, "s99") == 100
    assert marks.decode(marks.encode(some)) == some
    assert marks.decode("{") == marks.decode(None) == ()
    assert dict(marks.merged((("a", 5), ("b", 1)), (("a", 3), ("c", 2)))) == {"a": 5, "b": 1, "c": 2}
