"""The lights' spool: gapless, durable, bounded, and never silent about what is gone."""

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from common.codes import DropClass, GapReason
from common.records import Cycle, Gap, LaneCycle, Log, SignalEvent
from edge_agent.link.messages import Spooled
from edge_agent.link.spool import MAX_QUEUED, WINDOW_RECORDS, Spool
from edge_agent.link.spool_file import MIN_BYTES, SpoolRecord
from tests.outbox_model import BOOT, stamp_at
from tests.waiting import until


def event(serial: int) -> SignalEvent:
    return SignalEvent(1, 0, 0, f"n{serial}", serial % 200, serial % 16)


def cycle(serial: int, padding: int = 0) -> Cycle:
    lane = LaneCycle("north", serial, 20.0, 3.0, 37.0, epcs=["e" * 70] * (padding // 72))
    return Cycle(1, 0, 0, f"n{serial}", 60.0, "automatic", "adaptive", [lane])


@contextmanager
def spooling(path: Path, max_bytes: int = MIN_BYTES) -> Iterator[Spool]:
    spool = Spool(path, max_bytes, commit_interval_s=0.01)
    try:
        yield spool
    finally:
        spool.close(60)


def taken_out(spool: Spool, up_to: int, *, after: int = 0, take: bool = True) -> list[Spooled]:
    """Everything up to a number, as an agent takes it."""
    found: list[Spooled] = []

    def more() -> bool:
        rows = spool.after(found[-1].no if found else after, 50)
        found.extend(rows)
        if rows and take:
            spool.taken(rows[-1].no)
        return bool(found) and found[-1].no >= up_to

    until(more)
    return found


def put_many(spool: Spool, first: int, last: int, cycle_each: int = 0) -> None:
    for serial in range(first, last + 1):
        is_cycle = cycle_each and serial % cycle_each == 0
        spool.put(cycle(serial) if is_cycle else event(serial), stamp_at(serial))
        if serial % 1000 == 0:
            until(lambda: spool.n_waiting < 1 << 40 and not spool._queue)


def test_records_come_back_in_order_with_gapless_numbers(tmp_path: Path) -> None:
    with spooling(tmp_path / "spool.db") as spool:
        put_many(spool, 1, 3 * WINDOW_RECORDS)
        rows = taken_out(spool, 3 * WINDOW_RECORDS)
        assert [row.no for row in rows] == list(range(1, 3 * WINDOW_RECORDS + 1))
        assert [row.record for row in rows] == [event(row.no) for row in rows]
        assert [row.stamp for row in rows] == [stamp_at(row.no) for row in rows]
        assert {row.spool for row in rows} == {spool.name}
        assert spool.trouble is None


def test_what_was_not_taken_is_handed_out_again_by_the_next_daemon(tmp_path: Path) -> None:
    with spooling(tmp_path / "spool.db") as spool:
        put_many(spool, 1, 20)
        taken_out(spool, 20, take=False)
        spool.taken(12)
        name = spool.name
    with spooling(tmp_path / "spool.db") as spool:
        put_many(spool, 21, 25)
        rows = taken_out(spool, 25)
        assert spool.name == name
        assert [row.no for row in rows] == list(range(13, 26))
        assert [row.record for row in rows] == [event(no) for no in range(13, 26)]
    with spooling(tmp_path / "spool.db") as spool:
        spool.put(Log(1, 0, 0, "info", "a", "b"), stamp_at(26, boot="other"))
        (row,) = taken_out(spool, 26)
        assert row.stamp == stamp_at(26, boot="other")
        until(lambda: spool.n_waiting == 0)
    assert sqlite3.connect(tmp_path / "spool.db").execute("SELECT count(*) FROM records").fetchone() == (0,)


def test_going_back_hands_out_the_same_again(tmp_path: Path) -> None:
    with spooling(tmp_path / "spool.db") as spool:
        put_many(spool, 1, 2 * WINDOW_RECORDS)
        first = taken_out(spool, 2 * WINDOW_RECORDS, take=False)
        assert taken_out(spool, 2 * WINDOW_RECORDS, take=False) == first
        spool.taken(10)
        spool.taken(5)
        assert taken_out(spool, 2 * WINDOW_RECORDS, take=False) == first[10:]


def accounted(rows: list[Spooled]) -> int:
    """The last number; fails where one is not accounted for."""
    last = 0
    for row in rows:
        assert row.no - row.covers == last
        last = row.no
    return last


def dropped(rows: list[Spooled]) -> int:
    return sum(sum(row.record.dropped.values()) for row in rows if isinstance(row.record, Gap))


def test_a_full_spool_drops_events_before_cycles_and_tells_it(tmp_path: Path) -> None:
    n = 20_000
    with spooling(tmp_path / "spool.db") as spool:
        put_many(spool, 1, n, cycle_each=100)
        until(lambda: not spool._queue and not spool._pending)
        size_bytes = sum(p.stat().st_size for p in tmp_path.iterdir())
        assert size_bytes <= MIN_BYTES
        rows = taken_out(spool, n)
        assert accounted(rows) == n
        cycles = [row.record.junction for row in rows if isinstance(row.record, Cycle)]
        assert cycles == [f"n{serial}" for serial in range(100, n + 1, 100)], "they are worth more than events"
        n_events = sum(isinstance(row.record, SignalEvent) for row in rows)
        assert 0 < n_events < n - len(cycles)
        assert n_events + len(cycles) + dropped(rows) == n
        assert spool.n_dropped == dropped(rows)
    (gap, *_) = [row.record for row in rows if isinstance(row.record, Gap)]
    assert gap.reason is GapReason.OUTBOX_FULL
    assert gap.duration_ms > 0
    assert gap.dropped.keys() == {DropClass.CYCLES}
    assert "signal_event" in str(gap.detail)


def test_cycles_go_too_when_there_is_nothing_else(tmp_path: Path) -> None:
    n = 2000
    with spooling(tmp_path / "spool.db") as spool:
        for serial in range(1, n + 1):
            spool.put(cycle(serial, padding=700), stamp_at(serial))
            if serial % 500 == 0:
                until(lambda: not spool._queue)
        rows = taken_out(spool, n)
        assert accounted(rows) == n
        assert 100 < sum(isinstance(row.record, Cycle) for row in rows) < n
        assert sum(isinstance(row.record, Cycle) for row in rows) + dropped(rows) == n
        assert isinstance(rows[-1].record, Cycle), "the newest stay"


@pytest.mark.parametrize("damage", ["header", "no_database", "pages"])
def test_a_damaged_file_is_moved_aside_and_told(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "spool.db"
    with spooling(path) as spool:
        put_many(spool, 1, 500)
        taken_out(spool, 500, take=False)
        name = spool.name
    content = bytearray(path.read_bytes())
    if damage == "header":
        content[16:40] = b"\xff" * 24
    elif damage == "no_database":
        content = bytearray(b"this is not a database" * 100)
    else:
        content[4096:40_000] = b"\xa5" * (40_000 - 4096)
    path.write_bytes(content)
    with spooling(path) as spool:
        spool.put(event(501), stamp_at(501))
        rows = taken_out(spool, 2)
        assert spool.name != name
    gap, record = [row.record for row in rows]
    assert isinstance(gap, Gap)
    assert gap.reason is GapReason.OUTBOX_CORRUPT
    assert "spool.db.damaged1" in str(gap.detail)
    assert record == event(501)
    assert (tmp_path / "spool.db.damaged1").read_bytes() == content


def test_a_file_that_breaks_while_in_use_is_moved_aside_too(tmp_path: Path) -> None:
    path, n = tmp_path / "spool.db", 8000
    with spooling(path) as spool:
        put_many(spool, 1, n)  # more than is cached
        until(lambda: not spool._queue and not spool._pending)
        name = spool.name
        for file in (path, path.with_name("spool.db-wal")):
            file.write_bytes(b"\xa5" * file.stat().st_size)
        last = 0

        def read_on() -> None:
            nonlocal last
            rows = spool.after(last, 50)
            last = rows[-1].no if rows else last

        until(lambda: spool.name != name, read_on)
        spool.put(event(n + 1), stamp_at(n + 1))
        rows = taken_out(spool, 2)
    assert isinstance(rows[0].record, Gap)
    assert rows[0].record.reason is GapReason.OUTBOX_CORRUPT
    assert rows[1].record == event(n + 1)


def test_a_spool_that_was_put_back_begins_anew_and_loses_nothing_new(tmp_path: Path) -> None:
    path, older = tmp_path / "spool.db", tmp_path / "older.db"
    with spooling(path) as spool:
        put_many(spool, 1, 10)
        taken_out(spool, 10, take=False)
    shutil.copy(path, older)
    with spooling(path) as spool:
        put_many(spool, 11, 30)
        name = spool.name
        assert [row.no for row in taken_out(spool, 30)] == list(range(1, 31))
    shutil.copy(older, path)
    with spooling(path) as spool:
        put_many(spool, 31, 50)
        until(lambda: spool.name is not None and not spool._queue and not spool._pending)
        spool.taken(30)  # the agent knows better
        until(lambda: spool.name != name)
        rows = taken_out(spool, 20)
        assert [(row.no, row.record) for row in rows] == [(no, event(30 + no)) for no in range(1, 21)]
        assert {row.spool for row in rows} == {spool.name}


def test_without_a_disk_memory_is_bounded_and_the_loss_is_told_when_it_comes(tmp_path: Path) -> None:
    path = tmp_path / "missing" / "spool.db"
    n = 2 * MAX_QUEUED
    with spooling(path) as spool:
        for serial in range(1, n + 1):
            record: SpoolRecord = cycle(serial) if serial % 50 == 0 else event(serial)
            spool.put(record, stamp_at(serial))
        assert spool.after(0, 10) == []
        assert "cannot be written" in str(until(lambda: spool.trouble))
        assert spool.n_waiting <= MAX_QUEUED + 1000
        path.parent.mkdir()
        rows: list[Spooled] = []
        until(lambda: len(kept(rows)) + dropped(rows) == n, lambda: rows.extend(more(spool, rows)))
        assert spool.trouble is None
    assert accounted(rows) == rows[-1].no
    assert {f"n{serial}" for serial in range(50, n + 1, 50)} <= set(kept(rows))
    (gap,) = [row.record for row in rows if isinstance(row.record, Gap)]
    assert gap.reason is GapReason.DISK_ERROR


def kept(rows: list[Spooled]) -> list[str]:
    return [row.record.junction for row in rows if isinstance(row.record, SignalEvent | Cycle)]


def more(spool: Spool, rows: list[Spooled]) -> list[Spooled]:
    return spool.after(rows[-1].no if rows else 0, 100)


def test_what_cannot_be_read_is_told_and_not_silently_left_out(tmp_path: Path) -> None:
    path = tmp_path / "spool.db"
    with spooling(path) as spool:
        put_many(spool, 1, 3)
        taken_out(spool, 3, take=False)
    db = sqlite3.connect(path)
    db.execute("UPDATE records SET body = x'00' WHERE no = 2")
    db.commit()
    db.close()
    with spooling(path) as spool:
        rows = taken_out(spool, 3)
    assert accounted(rows) == 3
    assert isinstance(rows[1].record, Gap)
    assert rows[1].record.reason is GapReason.OUTBOX_CORRUPT


def test_bounds(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least"):
        Spool(tmp_path / "spool.db", 1000)
    with spooling(tmp_path / "spool.db") as spool:
        assert spool.after(0, 10) == []
        assert stamp_at(1).boot_id == BOOT
