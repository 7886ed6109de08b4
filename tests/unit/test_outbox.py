"""The outbox piece by piece: what it takes in and gives out, and what it does when states differ."""

from pathlib import Path
from uuid import uuid4

import msgspec
import pytest

from common.batch import Rejection
from common.clock import UNKNOWN_ERROR_MS, Anchor, AnchorSource, Resolved
from common.codes import DropClass, GapReason, RejectCode
from common.records import Gap, Log, Record
from edge_agent.outbox import Contact, Limits, Outbox, RecordRefused
from tests.outbox_model import START_MS, ModelCollector, count, drain, fill, meet, serials, stamp_at

OTHER_BOOT = "2f1c6e1e-0000-4000-8000-000000000002"
decoder: msgspec.json.Decoder[Record] = msgspec.json.Decoder(Record)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "outbox.db"


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


@pytest.mark.parametrize(
    "rtc_ms", [946_684_800_000, START_MS - 3_600_000, START_MS + 63_000, START_MS + 2 * 365 * 86_400_000]
)
def test_before_the_time_is_known_a_boot_could_be_at_any(path: Path, rtc_ms: int) -> None:
    """A Pi's clock begins in 2000, or with what was saved at the stop, however long ago that was."""
    outbox = Outbox.open(path, stamp_at(1))
    outbox.add_anchor(Anchor(stamp_at(1).boot_id, int(1e9), START_MS + 1000, 5, AnchorSource.NTP))
    outbox.append(count(1), stamp_at(60))
    outbox.commit()
    outbox.close()
    start = msgspec.structs.replace(stamp_at(3, OTHER_BOOT, synced=False), wall_ms=rtc_ms)
    outbox = Outbox.open(path, start)
    assert outbox.resolve(start, start).at_error_ms == UNKNOWN_ERROR_MS
    before = outbox.resolve(stamp_at(60), start)
    assert (before.at_ms, before.at_error_ms) == (START_MS + 60_000, 0), "what is known stays so"
    five_days_ms = START_MS + 5 * 86_400_000
    outbox.add_anchor(Anchor(OTHER_BOOT, int(9e9), five_days_ms + 9000, 5, AnchorSource.COLLECTOR))
    assert outbox.resolve(start, start) == Resolved(five_days_ms + 3000, 6)


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
