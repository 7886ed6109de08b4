"""An outbox on files that are damaged and disks that refuse: it always works, and tells what is missing."""

import os
import random
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from common.codes import GapReason
from edge_agent.outbox import Contact, Limits, Outbox, OutboxBusy
from edge_agent.sqlite_file import PAGE_BYTES
from tests.outbox_model import (
    ModelCollector,
    count,
    drain,
    fill,
    frames,
    meet,
    serials,
    stamp_at,
)

OTHER_BOOT = "2f1c6e1e-0000-4000-8000-000000000002"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "outbox.db"


@pytest.mark.parametrize(
    ("pragma", "value"),
    [("synchronous", 2), ("mmap_size", 0), ("page_size", PAGE_BYTES), ("wal_autocheckpoint", 1024)],
)
def test_the_file_is_set_up_to_outlive_a_power_cut(path: Path, pragma: str, value: int) -> None:
    outbox = Outbox.open(path, stamp_at(1))
    assert outbox._file.pragma(pragma) == value
    db = outbox._file._db
    assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert db.execute("PRAGMA locking_mode").fetchone() == ("exclusive",)
    assert not path.with_name("outbox.db-shm").exists()


def test_a_second_agent_cannot_open_it(path: Path) -> None:
    outbox = Outbox.open(path, stamp_at(1))
    with pytest.raises(OutboxBusy, match="another process"):
        Outbox.open(path, stamp_at(1))
    fill(outbox, 1, 3)


@pytest.mark.parametrize("content", [b"", b"not a database" * 1000, None])
def test_rubbish_is_moved_aside_and_told(path: Path, content: bytes | None) -> None:
    if content is None:
        other = sqlite3.connect(path)
        other.execute("CREATE TABLE entries (what)")
        other.close()
    else:
        path.write_bytes(content)
    outbox, collector = Outbox.open(path, stamp_at(1)), ModelCollector()
    fill(outbox, 1, 10)
    drain(outbox, collector)
    assert set(collector.stored()) == serials(1, 10)
    if content != b"":
        assert [gap.reason for gap in collector.time_gaps()] == [GapReason.OUTBOX_CORRUPT]
        assert path.with_name("outbox.db.damaged1").exists()


@pytest.mark.parametrize("seed", range(12))
def test_a_damaged_file_is_salvaged_as_far_as_it_can_be_read(path: Path, seed: int) -> None:
    """Random pages are overwritten. What can be read keeps its numbers; what cannot becomes tombstones."""
    rng = random.Random(seed)
    outbox, collector = Outbox.open(path, stamp_at(1)), ModelCollector()
    fill(outbox, 1, 500)
    meet(outbox, collector)
    batch = outbox.next_batch(50, 10**6, stamp_at(600))
    assert batch is not None
    collector.receive(batch)
    outbox.close()
    content = bytearray(path.read_bytes())
    n_pages = len(content) // PAGE_BYTES
    for page in rng.sample(range(1, n_pages), 4):
        content[page * PAGE_BYTES : (page + 1) * PAGE_BYTES] = rng.randbytes(PAGE_BYTES)
    path.write_bytes(content)
    outbox = Outbox.open(path, stamp_at(700))
    fill(outbox, 1001, 1010)
    drain(outbox, collector)
    assert serials(1001, 1010) <= set(collector.stored())
    n_old = len(set(collector.stored()) - serials(1001, 1010))
    assert n_old >= 50
    if len(collector.streams) == 2 and collector.time_gaps():
        assert [gap.reason for gap in collector.time_gaps()] == [GapReason.OUTBOX_CORRUPT]
        assert "outbox.db.damaged1" in str(collector.time_gaps()[0].detail)
    assert {gap.reason for gap in collector.gaps()} <= {GapReason.OUTBOX_CORRUPT}


def test_a_row_that_rots_is_put_aside_alone(path: Path) -> None:
    outbox, collector = Outbox.open(path, stamp_at(1)), ModelCollector()
    fill(outbox, 1, 10)
    outbox._file._db.execute("UPDATE entries SET tail = ',\"cam\"' WHERE key & 0xff = 4")
    outbox._file._db.execute("UPDATE entries SET kind = 'cownt' WHERE key & 0xff = 5")
    outbox._file._db.execute("UPDATE entries SET boottime_ms = 'x' WHERE key & 0xff = 6")
    outbox._file._db.execute("DELETE FROM entries WHERE key & 0xff = 8")
    drain(outbox, collector)
    assert set(collector.stored()) == serials(1, 3) | {"n7", "n9", "n10"}
    assert [(gap.reason, gap.from_seq, gap.seq) for gap in collector.gaps()] == [
        (GapReason.OUTBOX_CORRUPT, seq, seq) for seq in (4, 5, 6, 8)
    ]
    assert len(outbox.quarantine()) == 3


def test_a_file_that_breaks_while_in_use_is_salvaged_without_a_restart(path: Path) -> None:
    outbox, collector = Outbox.open(path, stamp_at(1)), ModelCollector()
    fill(outbox, 1, 400)
    drain(outbox, collector)
    fill(outbox, 401, 2400)
    outbox._file._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    outbox._file._db.execute("PRAGMA shrink_memory")
    with path.open("r+b") as file:
        file.seek(80 * PAGE_BYTES)
        file.write(b"\xff" * 4096)
    outbox.append(count(3000), stamp_at(3000))
    drain(outbox, collector)
    assert "n3000" in collector.stored()
    assert 0 < collector.lost() < 100
    assert len(collector.stored()) + collector.lost() == 2401
    assert {gap.reason for gap in collector.gaps()} == {GapReason.OUTBOX_CORRUPT}
    (told,) = collector.time_gaps()
    assert told.reason is GapReason.OUTBOX_CORRUPT
    assert f" {collector.lost()} could not" in str(told.detail)


def test_damaged_files_do_not_pile_up(path: Path) -> None:
    for _ in range(5):
        path.write_bytes(b"rubbish" * 1000)
        Outbox.open(path, stamp_at(1)).close()
    assert sorted(p.name for p in path.parent.iterdir()) == [
        "outbox.db",
        "outbox.db.damaged4",
        "outbox.db.damaged5",
    ]


def test_a_salvage_cut_short_is_done_again(path: Path) -> None:
    outbox = Outbox.open(path, stamp_at(1))
    fill(outbox, 1, 5)
    outbox.close()
    fresh = path.with_name("outbox.db.new")
    fresh.write_bytes(b"half a file")
    Outbox.open(path, stamp_at(2)).close()
    assert not fresh.exists()


def test_a_salvage_cut_short_at_its_end_is_finished_without_the_old_log(path: Path) -> None:
    """The damaged file was moved away, its log was not: applied to the new file it would bring old pages back."""
    outbox = Outbox.open(path, stamp_at(1))
    fill(outbox, 1, 5)
    log = path.with_name("outbox.db-wal").read_bytes()
    outbox.close()
    outbox = Outbox.open(path, stamp_at(2))
    fill(outbox, 6, 300)
    outbox.close()
    path.rename(path.with_name("outbox.db.new"))
    path.with_name("outbox.db-wal").write_bytes(log)
    outbox = Outbox.open(path, stamp_at(3))
    assert outbox.stats().waiting == 300
    assert [p.name for p in path.parent.glob("*.damaged*")] == []


# Disks that refuse


def test_without_a_folder_to_write_it_lives_in_memory_and_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    outbox, collector = Outbox.open(tmp_path / "file/outbox.db", stamp_at(1)), ModelCollector()
    for serial in range(1, 11):
        outbox.append(count(serial), stamp_at(serial))
    assert not outbox.commit()
    stats = outbox.stats()
    assert not stats.durable
    assert "memory only" in str(stats.trouble)
    drain(outbox, collector)
    assert set(collector.stored()) == serials(1, 10)
    assert [gap.reason for gap in collector.time_gaps()] == [GapReason.DISK_ERROR]


def test_from_memory_it_returns_to_the_disk_with_everything_as_soon_as_there_is_one(tmp_path: Path) -> None:
    folder, collector = tmp_path / "folder", ModelCollector()
    outbox = Outbox.open(folder / "outbox.db", stamp_at(1))
    fill(outbox, 1, 10)
    outbox.close()
    aside = folder.rename(tmp_path / "aside")
    folder.write_text("")
    outbox = Outbox.open(folder / "outbox.db", stamp_at(20, OTHER_BOOT))
    assert outbox.in_memory
    for serial in range(21, 51):
        outbox.append(count(serial), stamp_at(serial, OTHER_BOOT))
    outbox.commit()
    meet(outbox, collector)
    batch = outbox.next_batch(11, 10**6, stamp_at(60, OTHER_BOOT))
    assert batch is not None
    outbox.ack(batch.epoch, collector.receive(batch))
    batch = outbox.next_batch(5, 10**6, stamp_at(60, OTHER_BOOT))
    assert batch is not None
    collector.receive(batch)
    outbox.append(count(51), stamp_at(51, OTHER_BOOT))
    assert not outbox.return_to_disk(stamp_at(61, OTHER_BOOT))
    folder.unlink()
    aside.rename(folder)
    start, last = stamp_at(20, OTHER_BOOT), stamp_at(10)
    assert outbox.downtimes(start) == ()
    assert outbox.return_to_disk(stamp_at(62, OTHER_BOOT))
    ((end, *_),) = [(d.end, d.start) for d in outbox.downtimes(start)]
    assert (end.boot_id, end.boottime_ns) == (last.boot_id, last.boottime_ns), "and not when the disk came back"
    assert outbox.commit()
    assert outbox.stats().durable
    outbox.close()
    outbox = Outbox.open(folder / "outbox.db", stamp_at(70, OTHER_BOOT))
    drain(outbox, collector)
    assert set(collector.stored()) == serials(1, 10) | serials(21, 51)
    assert collector.lost() == 0


def test_while_the_disk_refuses_records_wait_in_memory_and_can_be_sent_from_there(path: Path) -> None:
    outbox, collector = Outbox.open(path, stamp_at(1)), ModelCollector()
    fill(outbox, 1, 10)
    drain(outbox, collector)
    fill(outbox, 11, 20)
    outbox._file._db.execute("PRAGMA query_only=1")
    for serial in range(21, 31):
        outbox.append(count(serial), stamp_at(serial))
    assert not outbox.commit()
    assert "wait in memory" in str(outbox.stats().trouble)
    batch = outbox.next_batch(15, 10**6, stamp_at(99))
    assert batch is not None
    assert batch.last_seq == 25
    outbox.ack(batch.epoch, collector.receive(batch))
    assert outbox.stats().waiting == 5
    outbox._file._db.execute("PRAGMA query_only=0")
    assert outbox.commit()
    assert outbox.stats().trouble is None
    drain(outbox, collector)
    assert set(collector.stored()) == serials(1, 30)
    assert len(collector.streams) == 1


def test_after_a_crash_what_was_sent_from_memory_is_not_mixed_up(path: Path) -> None:
    outbox, collector = Outbox.open(path, stamp_at(1)), ModelCollector()
    fill(outbox, 1, 10)
    drain(outbox, collector)
    outbox._file._db.execute("PRAGMA query_only=1")
    for serial in range(11, 21):
        outbox.append(count(serial), stamp_at(serial))
    outbox.commit()
    drain(outbox, collector)
    outbox._file.close()
    outbox = Outbox.open(path, stamp_at(30))
    fill(outbox, 31, 36)
    assert Contact.COLLECTOR_AHEAD in drain(outbox, collector)
    assert set(collector.stored()) == serials(1, 20) | serials(31, 36)


def test_when_memory_is_full_too_the_least_valuable_is_dropped_and_told(path: Path) -> None:
    outbox = Outbox.open(path, stamp_at(1), Limits(memory_bytes=64 * 1024))
    collector = ModelCollector()
    fill(outbox, 1, 1)
    outbox._file._db.execute("PRAGMA query_only=1")
    outbox.append(count(2), stamp_at(2))
    outbox.commit()
    for serial in range(3, 2000):
        outbox.append(frames(serial, 80) if serial % 10 else count(serial), stamp_at(serial))
        assert outbox._waiting.size_bytes <= 64 * 1024
    outbox._file._db.execute("PRAGMA query_only=0")
    outbox.commit()
    drain(outbox, collector)
    assert {f"n{serial}" for serial in range(10, 2000, 10)} <= set(collector.stored())
    assert len(collector.stored()) + collector.lost() == 1999
    assert {gap.reason for gap in collector.gaps()} == {GapReason.DISK_ERROR}
    assert outbox.stats().dropped == collector.lost()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MiB, as a folder."""
    if os.geteuid() != 0:
        pytest.skip("needs root to mount a small file system")
    folder = tmp_path / "disk"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], check=True)
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def enlarge(disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,size=16m", disk], check=True)


def test_a_file_system_that_is_really_full(small_disk: Path) -> None:
    path, collector, serial = small_disk / "outbox.db", ModelCollector(), 0
    outbox = Outbox.open(path, stamp_at(1))
    durable = True
    while durable:
        for _ in range(200):
            serial += 1
            outbox.append(count(serial), stamp_at(serial))
        durable = outbox.commit()
        assert serial < 100_000
    assert "full" in str(outbox.stats().trouble)
    assert outbox.stats().waiting == serial
    enlarge(small_disk)
    assert outbox.commit()
    outbox.close()
    outbox = Outbox.open(path, stamp_at(serial))
    drain(outbox, collector)
    assert set(collector.stored()) == serials(1, serial)
    outbox.close()


def test_a_damaged_file_on_a_full_disk_is_salvaged_when_there_is_room(small_disk: Path) -> None:
    path, collector = small_disk / "outbox.db", ModelCollector()
    outbox = Outbox.open(path, stamp_at(1))
    fill(outbox, 1, 2000)
    outbox.close()
    with path.open("r+b") as file:
        file.seek(50 * PAGE_BYTES)
        file.write(b"\xff" * PAGE_BYTES)
    with suppress(OSError), (small_disk / "ballast").open("wb", buffering=0) as file:
        while True:
            file.write(b"x" * 4096)
    outbox = Outbox.open(path, stamp_at(3000))
    assert outbox.in_memory
    outbox.append(count(3001), stamp_at(3001))
    outbox.commit()
    assert not outbox.return_to_disk(stamp_at(3002))
    enlarge(small_disk)
    assert outbox.return_to_disk(stamp_at(3003))
    assert outbox.commit()
    drain(outbox, collector)
    assert "n3001" in collector.stored()
    assert len(collector.stored()) + collector.lost() == 2001
    assert 0 < collector.lost() < 50
    outbox.close()
