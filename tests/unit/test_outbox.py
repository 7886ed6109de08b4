"""The outbox piece by piece: what it gives out, what it drops, what it survives."""

import os
import random
import sqlite3
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.batch import Rejection
from common.clock import Anchor, AnchorSource
from common.codes import DropClass, GapReason, RejectCode
from common.records import KINDS, Cycle, Gap, Log, Record
from edge_agent.outbox import Contact, Limits, Outbox, OutboxBusy, RecordRefused
from edge_agent.outbox.entries import DROP_CLASSES, Item, Lost, Row, covered, lose, squeeze, to_row, total_bytes
from edge_agent.outbox.file import PAGE_BYTES
from tests.outbox_model import START_MS, ModelCollector, count, detections, frames, stamp_at

OTHER_BOOT = "2f1c6e1e-0000-4000-8000-000000000002"
decoder: msgspec.json.Decoder[Record] = msgspec.json.Decoder(Record)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "outbox.db"


def fill(outbox: Outbox, first: int, last: int, make: Callable[[int], Record] = count) -> None:
    for serial in range(first, last + 1):
        outbox.append(make(serial), stamp_at(serial))
    assert outbox.commit()


def meet(outbox: Outbox, collector: ModelCollector, t_s: float = 10_000) -> Contact | None:
    epoch = outbox.contact_due()
    if epoch is None:
        return None
    return outbox.reconcile(epoch, collector.watermark(epoch), stamp_at(t_s))


def drain(outbox: Outbox, collector: ModelCollector, t_s: float = 10_000) -> list[Contact]:
    """Deliver everything; gives what the first contacts said."""
    contacts = []
    for _ in range(1000):
        while (contact := meet(outbox, collector, t_s)) is not None:
            contacts.append(contact)
        batch = outbox.next_batch(500, 100_000, stamp_at(t_s))
        if batch is None and outbox.contact_due() is not None:
            continue
        if batch is None:
            collector.check()
            return contacts
        outbox.ack(batch.epoch, collector.receive(batch))
        outbox.commit()
    raise AssertionError("it never drains")


def serials(first: int, last: int) -> set[str]:
    return {f"n{serial}" for serial in range(first, last + 1)}


# What goes out


def test_numbers_have_no_hole_and_survive_closing(path: Path) -> None:
    collector = ModelCollector()
    for first in (1, 11, 21):
        outbox = Outbox.open(path, stamp_at(1))
        fill(outbox, first, first + 9)
        drain(outbox, collector)
        outbox.close()
        outbox.close()
    assert [stream.watermark for stream in collector.streams.values()] == [30]
    assert set(collector.stored()) == serials(1, 30)


def test_nothing_is_given_out_before_contact(path: Path) -> None:
    outbox = Outbox.open(path, stamp_at(1))
    assert outbox.contact_due() is None
    fill(outbox, 1, 3)
    assert outbox.next_batch(10, 1000, stamp_at(5)) is None
    epoch = outbox.contact_due()
    assert epoch is not None
    outbox.reconcile(epoch, 0, stamp_at(5))
    batch = outbox.next_batch(10, 1000, stamp_at(5))
    assert batch is not None
    assert (batch.first_seq, batch.last_seq) == (1, 3)


def test_records_are_dated_when_they_are_sent(path: Path) -> None:
    outbox = Outbox.open(path, stamp_at(1, synced=False))
    record = msgspec.structs.replace(count(1), seq=77, at=5, at_error_ms=6)
    outbox.append(record, msgspec.structs.replace(stamp_at(10, synced=False), wall_ms=999))
    outbox.append(count(2), stamp_at(20, synced=True))
    outbox.commit()
    meet(outbox, ModelCollector())
    outbox.add_anchor(Anchor(stamp_at(1).boot_id, int(110e9), START_MS + 110_000, 25, AnchorSource.COLLECTOR))
    batch = outbox.next_batch(10, 1000, stamp_at(120))
    assert batch is not None
    first, second = (decoder.decode(raw) for raw in batch.records)
    assert (first.seq, first.at, first.at_error_ms) == (1, START_MS + 10_000, 25 + 10)
    assert (second.seq, second.at, second.at_error_ms) == (2, START_MS + 20_000, 0)
    assert msgspec.structs.replace(first, seq=1, at=0, at_error_ms=0) == count(1)


def test_anchors_and_boots_are_remembered_for_records_of_an_earlier_boot(path: Path) -> None:
    outbox = Outbox.open(path, stamp_at(1, synced=False))
    outbox.append(count(1), stamp_at(10, synced=False))
    outbox.add_anchor(Anchor(stamp_at(1).boot_id, int(60e9), START_MS + 60_000, 25, AnchorSource.NTP))
    outbox.commit()
    outbox.close()
    outbox = Outbox.open(path, stamp_at(1, OTHER_BOOT))
    meet(outbox, ModelCollector())
    batch = outbox.next_batch(10, 1000, stamp_at(500_000, OTHER_BOOT))
    assert batch is not None
    assert decoder.decode(batch.records[0]).at == START_MS + 10_000


def test_a_batch_keeps_to_its_bounds_but_gives_one_record_at_least(path: Path) -> None:
    outbox = Outbox.open(path, stamp_at(1))
    fill(outbox, 1, 50)
    meet(outbox, ModelCollector())
    for max_records, max_bytes in ((7, 10_000), (100, 700), (100, 1)):
        batch = outbox.next_batch(max_records, max_bytes, stamp_at(99))
        assert batch is not None
        size_bytes = sum(map(len, batch.records)) + len(batch.records)
        assert len(batch.records) == 1 or (len(batch.records) <= max_records and size_bytes <= max_bytes)


@pytest.mark.parametrize(
    "record",
    [Gap(1, 0, 0, GapReason.PAUSED, 5, from_seq=1), Log(1, 0, 0, "info", "x", "m", {"k": "v" * 300_000})],
)
def test_what_can_never_be_delivered_is_refused_at_once(path: Path, record: Record) -> None:
    outbox = Outbox.open(path, stamp_at(1))
    with pytest.raises(RecordRefused):
        outbox.append(record, stamp_at(1))


def test_rejected_records_are_kept_for_a_look(path: Path) -> None:
    outbox = Outbox.open(path, stamp_at(1), Limits(quarantine_records=3))
    fill(outbox, 1, 10)
    epoch = outbox.contact_due()
    assert epoch is not None
    meet(outbox, ModelCollector())
    outbox.next_batch(10, 9999, stamp_at(99))
    rejections = [Rejection(seq, RejectCode.NOT_STORABLE, f"because {seq}") for seq in (2, 3, 5, 9, 400)]
    outbox.ack(epoch, 10, rejections)
    outbox.commit()
    assert outbox.stats().waiting == 0
    aside = outbox.quarantine()
    assert [(item.seq, item.code, item.detail) for item in aside] == [
        (seq, "not_storable", f"because {seq}") for seq in (9, 5, 3)
    ]
    assert '"n9"' in aside[0].record


def test_a_record_that_is_too_large_for_the_collector_does_not_block(path: Path) -> None:
    outbox = Outbox.open(path, stamp_at(1))
    fill(outbox, 1, 3)
    epoch = outbox.contact_due()
    assert epoch is not None
    meet(outbox, ModelCollector())
    outbox.give_up_on(epoch, 1, GapReason.TOO_LARGE, "4 GB")
    batch = outbox.next_batch(10, 9999, stamp_at(99))
    assert batch is not None
    gap = decoder.decode(batch.records[0])
    assert isinstance(gap, Gap)
    assert (gap.from_seq, gap.seq, gap.reason, gap.dropped) == (1, 1, GapReason.TOO_LARGE, {DropClass.COUNTS: 1})
    assert '"n1"' in outbox.quarantine()[0].record


def test_an_answer_about_another_epoch_changes_nothing(path: Path) -> None:
    outbox = Outbox.open(path, stamp_at(1))
    fill(outbox, 1, 3)
    outbox.ack(uuid4(), 3)
    outbox.reconcile(uuid4(), 3, stamp_at(2))
    assert outbox.stats().waiting == 3


# States that differ


def test_a_collector_put_back_is_told_what_it_lost(path: Path) -> None:
    outbox, collector = Outbox.open(path, stamp_at(1)), ModelCollector()
    fill(outbox, 1, 20)
    drain(outbox, collector)
    saved = collector.copy()
    fill(outbox, 21, 50)
    drain(outbox, collector)
    fill(outbox, 51, 60)
    batch = outbox.next_batch(500, 9999, stamp_at(99))
    assert batch is not None
    assert batch.first_seq == 51
    assert outbox.reconcile(batch.epoch, 20, stamp_at(100)) is Contact.COLLECTOR_BEHIND
    drain(outbox, saved)
    assert set(saved.stored()) == serials(1, 20) | serials(51, 60)
    assert [(gap.reason, gap.from_seq, gap.seq) for gap in saved.gaps()] == [(GapReason.COLLECTOR_LOST, 21, 50)]


def test_an_acknowledgement_that_is_not_on_the_disk_yet_can_be_taken_back(path: Path) -> None:
    outbox = Outbox.open(path, stamp_at(1))
    fill(outbox, 1, 20)
    epoch = outbox.contact_due()
    assert epoch is not None
    meet(outbox, ModelCollector())
    outbox.next_batch(20, 9999, stamp_at(30))
    outbox.ack(epoch, 20)
    collector = ModelCollector()
    assert outbox.reconcile(epoch, 5, stamp_at(30)) is Contact.AS_EXPECTED
    outbox.commit()
    assert collector.lost() == 0


@pytest.mark.parametrize("n_offline_opens", [0, 1, 3])
def test_a_file_put_back_gets_a_new_epoch_and_nothing_new_passes_for_old(path: Path, n_offline_opens: int) -> None:
    collector = ModelCollector()
    outbox = Outbox.open(path, stamp_at(1))
    fill(outbox, 1, 5)
    drain(outbox, collector)
    fill(outbox, 6, 10)
    outbox.close()
    image = path.read_bytes()
    outbox = Outbox.open(path, stamp_at(20))
    fill(outbox, 11, 30)
    drain(outbox, collector)
    outbox.close()
    path.write_bytes(image)
    for index in range(n_offline_opens + 1):
        outbox = Outbox.open(path, stamp_at(40))
        fill(outbox, 101 + 10 * index, 110 + 10 * index)
        if index < n_offline_opens:
            outbox.close()
    assert Contact.COLLECTOR_AHEAD in drain(outbox, collector)
    last = 110 + 10 * n_offline_opens
    assert set(collector.stored()) == serials(1, 30) | serials(101, last)
    assert collector.lost() == 0
    assert len(collector.streams) == 2
    outbox.close()
    outbox = Outbox.open(path, stamp_at(50))
    fill(outbox, 200, 210)
    assert drain(outbox, collector) == [Contact.AS_EXPECTED]
    assert len(collector.streams) == 2


def test_a_copied_card_does_not_share_an_epoch(path: Path, tmp_path: Path) -> None:
    collector = ModelCollector()
    outbox = Outbox.open(path, stamp_at(1), host="pi-a")
    fill(outbox, 1, 5)
    drain(outbox, collector)
    fill(outbox, 6, 10)
    outbox.close()
    copied = tmp_path / "copy.db"
    copied.write_bytes(path.read_bytes())
    first, second = (Outbox.open(p, stamp_at(20), host=h) for p, h in ((path, "pi-a"), (copied, "pi-b")))
    fill(first, 11, 20)
    fill(second, 21, 30)
    drain(first, collector)
    drain(second, collector)
    assert set(collector.stored()) == serials(1, 30)


def test_two_that_send_under_one_epoch_at_once_are_told_apart(path: Path, tmp_path: Path) -> None:
    collector = ModelCollector()
    outbox = Outbox.open(path, stamp_at(1))
    fill(outbox, 1, 5)
    drain(outbox, collector)
    outbox.close()
    copied = tmp_path / "copy.db"
    copied.write_bytes(path.read_bytes())
    first, second = Outbox.open(path, stamp_at(20)), Outbox.open(copied, stamp_at(20))
    drain(first, collector)
    drain(second, collector)
    fill(first, 11, 20)
    fill(second, 21, 23)
    drain(first, collector)
    drain(second, collector)
    assert set(collector.stored()) == serials(1, 5) | serials(11, 23)


# Bounds


def test_the_file_stays_under_its_cap_and_drops_the_least_valuable_first(path: Path) -> None:
    limits = Limits(cap_bytes=4 * 1024 * 1024)
    outbox, collector = Outbox.open(path, stamp_at(1), limits), ModelCollector()
    n_counts = 0
    for serial in range(1, 12_001):
        outbox.append(frames(serial, padding=80), stamp_at(serial))
        if serial % 2:
            outbox.append(count(100_000 + serial), stamp_at(serial))
            n_counts += 1
        if serial % 100 == 0:
            outbox.commit()
            assert outbox.stats().size_bytes <= limits.cap_bytes
    dropped = outbox.stats().dropped
    assert dropped > 5000
    drain(outbox, collector, 20_000)
    assert collector.lost() == dropped
    stored = set(collector.stored())
    assert sum(serial in stored for serial in (f"n{100_000 + s}" for s in range(1, 12_001, 2))) == n_counts
    assert {gap.reason for gap in collector.gaps()} == {GapReason.OUTBOX_FULL}
    assert all(set(gap.dropped) == {DropClass.FRAMES} for gap in collector.gaps())
    assert len(stored) + collector.lost() == 12_000 + n_counts
    assert outbox.stats().size_bytes <= limits.cap_bytes


def test_when_only_counts_are_there_the_oldest_go_and_one_tombstone_tells(path: Path) -> None:
    outbox, collector = Outbox.open(path, stamp_at(1), Limits(cap_bytes=4 * 1024 * 1024)), ModelCollector()
    for first in range(1, 60_000, 1000):
        fill(outbox, first, first + 999)
    drain(outbox, collector, 100_000)
    (gap,) = collector.gaps()
    assert gap.from_seq == 1
    assert gap.dropped == {DropClass.COUNTS: gap.seq}
    assert gap.at - gap.duration_ms == START_MS + 1000
    assert collector.stored()[0] == f"n{gap.seq + 1}"


def test_what_is_under_way_is_not_dropped(path: Path) -> None:
    outbox, collector = Outbox.open(path, stamp_at(1)), ModelCollector()
    fill(outbox, 1, 100, frames)
    meet(outbox, collector)
    batch = outbox.next_batch(10, 100_000, stamp_at(200))
    assert batch is not None
    outbox._file.main_cap_bytes = 1
    outbox._shrink()
    outbox._file.main_cap_bytes = 10**9
    watermark = collector.receive(batch)
    outbox.ack(batch.epoch, watermark)
    drain(outbox, collector)
    assert set(collector.stored()) == serials(1, 10)
    assert [(gap.from_seq, gap.seq) for gap in collector.gaps()] == [(11, 100)]


@st.composite
def item_lists(draw: st.DrawFn) -> list[Item]:
    makers: list[Callable[[int], Record]] = [
        count,
        frames,
        detections,
        lambda _: Cycle(1, 0, 0, "j", 90.0, "fixed", "fixed", []),
        lambda _: Log(1, 0, 0, "info", "a", "m" * 200),
    ]
    items = list[Item]()
    for serial in range(draw(st.integers(0, 40))):
        row = to_row(draw(st.sampled_from(makers))(serial), stamp_at(serial))
        reason = draw(st.sampled_from([None, None, GapReason.OUTBOX_FULL, GapReason.OUTBOX_CORRUPT]))
        items.append(row if reason is None else lose(row, reason))
    return items


def spans(items: list[Item]) -> list[tuple[int, int, Item]]:
    at, found = 0, []
    for item in items:
        found.append((at + 1, at + item.covers, item))
        at += item.covers
    return found


@given(item_lists(), st.integers(0, 5000), st.integers(0, 10))
def test_dropping_never_leaves_a_hole_or_an_overlap(items: list[Item], free_bytes: int, keep_first: int) -> None:
    kept = squeeze(items, free_bytes, GapReason.OUTBOX_FULL, keep_first=keep_first)
    assert covered(kept) == covered(items)
    assert kept[:keep_first] == items[:keep_first]
    before = {first: item for first, _, item in spans(items)}
    for first, _, item in spans(kept):
        if isinstance(item, Row):
            assert before[first] == item
        else:
            inside = [before[n] for n in range(first, first + item.covers) if n in before]
            assert sum(item.dropped.values()) == sum(i.covers for i in inside)
    if total_bytes(items) - total_bytes(kept) < free_bytes:
        assert not [item for item in kept[keep_first:] if isinstance(item, Row)]
    for left, right in zip(kept[keep_first:], kept[keep_first + 1 :], strict=False):
        assert not (isinstance(left, Lost) and isinstance(right, Lost) and left.reason is right.reason)


@given(item_lists())
def test_classes_are_dropped_in_their_order(items: list[Item]) -> None:
    order = list(DropClass)
    for free_bytes in range(0, total_bytes(items) + 200, 150):
        kept = squeeze(items, free_bytes, GapReason.OUTBOX_FULL)
        dropped = {c for i in kept if isinstance(i, Lost) and i.reason is GapReason.OUTBOX_FULL for c in i.dropped}
        dropped -= {c for i in items if isinstance(i, Lost) for c in i.dropped}
        left = {DROP_CLASSES[item.kind] for item in kept if isinstance(item, Row)}
        for victim in dropped:
            assert not [c for c in left if order.index(c) < order.index(victim)]


# Damage


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
    assert [gap.reason for gap in collector.time_gaps()] == [GapReason.OUTBOX_CORRUPT]


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
    path.rename(fresh)
    outbox = Outbox.open(path, stamp_at(3))
    assert outbox.stats().waiting == 5


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
    assert outbox.return_to_disk(stamp_at(62, OTHER_BOOT))
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
        assert outbox._pending_bytes <= 64 * 1024
    outbox._file._db.execute("PRAGMA query_only=0")
    outbox.commit()
    drain(outbox, collector)
    assert {f"n{serial}" for serial in range(10, 2000, 10)} <= set(collector.stored())
    assert len(collector.stored()) + collector.lost() == 1999
    assert {gap.reason for gap in collector.gaps()} == {GapReason.DISK_ERROR}
    assert outbox.stats().dropped == collector.lost()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to mount a small file system")
def test_a_file_system_that_is_really_full(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    assert os.system(f"mount -t tmpfs -o size=1m tmpfs {disk}") == 0
    try:
        outbox, collector = Outbox.open(disk / "outbox.db", stamp_at(1)), ModelCollector()
        serial = 0
        durable = True
        while durable:
            for _ in range(200):
                serial += 1
                outbox.append(count(serial), stamp_at(serial))
            durable = outbox.commit()
            assert serial < 100_000
        assert "full" in str(outbox.stats().trouble)
        outbox._file.close()
        outbox = Outbox.open(disk / "outbox.db", stamp_at(serial))
        survived = outbox.stats().waiting
        assert survived == serial - 200 or not outbox.stats().durable
        (disk / "ballast").unlink(missing_ok=True)
        assert os.system(f"mount -o remount,size=8m {disk}") == 0
        outbox.close()
        outbox = Outbox.open(disk / "outbox.db", stamp_at(serial))
        assert outbox.stats().waiting == serial - 200
        fill(outbox, serial + 1, serial + 10)
        drain(outbox, collector)
        assert set(collector.stored()) == serials(1, serial - 200) | serials(serial + 1, serial + 10)
        outbox.close()
    finally:
        os.system(f"umount -l {disk}")


@pytest.mark.parametrize("key", ["cap_bytes", "memory_bytes", "memory_cap_bytes"])
def test_limits_that_make_no_sense_are_refused(key: str) -> None:
    with pytest.raises(ValueError, match=f"{key} is 1000"):
        Limits(**{key: 1000})


def test_every_kind_of_record_has_a_drop_class() -> None:
    assert set(DROP_CLASSES) == set(KINDS)
    assert set(DROP_CLASSES.values()) == set(DropClass)
