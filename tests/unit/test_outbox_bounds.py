"""What an outbox drops when it is full, and how it tells."""

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.codes import DropClass, GapReason
from common.records import KINDS, Cycle, Log, Record
from edge_agent.outbox import Limits, Outbox
from edge_agent.outbox.entries import DROP_CLASSES, Item, Lost, Row, covered, lose, squeeze, to_row, total_bytes
from edge_agent.outbox.waiting import Waiting
from tests.outbox_model import (
    START_MS,
    ModelCollector,
    count,
    detections,
    drain,
    fill,
    frames,
    meet,
    serials,
    stamp_at,
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "outbox.db"


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


@pytest.mark.parametrize("key", ["cap_bytes", "memory_bytes", "memory_cap_bytes"])
def test_limits_that_make_no_sense_are_refused(key: str) -> None:
    with pytest.raises(ValueError, match=f"{key} is 1000"):
        Limits(**{key: 1000})


def test_every_kind_of_record_has_a_drop_class() -> None:
    assert set(DROP_CLASSES) == set(KINDS)
    assert set(DROP_CLASSES.values()) == set(DropClass)


def test_in_memory_no_count_of_one_stream_is_dropped_while_another_has_frames() -> None:
    waiting = Waiting()
    for serial in range(1, 101):
        waiting.add("first", to_row(count(serial), stamp_at(serial)))
        waiting.add("second", to_row(frames(serial, padding=80), stamp_at(serial)))
    whole_bytes = waiting.size_bytes
    under_way = {"second": 10}
    assert waiting.squeeze(whole_bytes * 3 // 4, GapReason.DISK_ERROR, under_way) < 90
    assert all(isinstance(item, Row) for item in [*waiting.of("first"), *waiting.of("second")[:10]])
    assert waiting.size_bytes <= whole_bytes * 3 // 4
    waiting.squeeze(0, GapReason.DISK_ERROR, under_way)
    assert [len(waiting.of(stream)) for stream in ("first", "second")] == [1, 11]
    assert waiting.covers == 200


def test_a_record_in_memory_that_was_given_up_weighs_no_more() -> None:
    waiting = Waiting()
    waiting.add("main", to_row(frames(1, padding=5000), stamp_at(1)))
    waiting.lose_first("main", GapReason.TOO_LARGE)
    waiting.take("main", 1)
    assert waiting.size_bytes == 0
