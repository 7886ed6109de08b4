"""Items to rows of the file and back, and rows to the JSON that is sent."""

from typing import Annotated

import msgspec
from msgspec import Meta

from common.clock import Resolved, Stamp
from common.codes import DropClass, GapReason
from common.records import Gap, Record
from edge_agent.outbox.chronicle import Chronicle
from edge_agent.outbox.entries import DROP_CLASSES, Item, Lost, Row, encode_row
from edge_agent.outbox.file import EntryRow
from edge_agent.outbox.model import Generation, OutgoingBatch

_NS_PER_MS = 1_000_000


class _LostTail(msgspec.Struct, frozen=True, array_like=True):
    """What a tombstone keeps beside its end: why, when it began, and how many of each class."""

    reason: GapReason
    boot: int
    boottime_ms: int
    wall_ms: int | None
    dropped: dict[DropClass, Annotated[int, Meta(ge=0)]]


_lost_decoder = msgspec.json.Decoder(_LostTail)
_record_decoder = msgspec.json.Decoder(Record)


class Damaged(Exception):
    """A row of the file does not hold what it must."""


def to_entry(key: int, item: Item, chronicle: Chronicle) -> EntryRow:
    """The row for an item, under its key."""
    if isinstance(item, Row):
        return EntryRow(key, None, item.kind, *_columns(item.stamp, chronicle), item.tail)
    since = _columns(item.since, chronicle)
    tail = msgspec.json.encode(_LostTail(item.reason, *since, item.dropped))
    return EntryRow(key, item.covers, None, *_columns(item.until, chronicle), tail)


def to_item(row: EntryRow, chronicle: Chronicle) -> Item:
    """The item in a row.

    Raises:
        Damaged: it holds something else.
    """
    try:
        stamp = _stamp(row.boot, row.boottime_ms, row.wall_ms, chronicle)
        if row.covers is None:
            if row.kind not in DROP_CLASSES:
                raise Damaged(f"kind {row.kind!r}")
            _record_decoder.decode(encode_row(row.kind, 1, 0, 0, row.tail))
            return Row(row.kind, stamp, row.tail)
        tail = _lost_decoder.decode(row.tail)
        since = _stamp(tail.boot, tail.boottime_ms, tail.wall_ms, chronicle)
        return Lost(max(1, int(row.covers)), tail.reason, since, stamp, tail.dropped)
    except (msgspec.MsgspecError, TypeError, ValueError) as error:
        raise Damaged(str(error)) from error


def tombstone(row: EntryRow, reason: GapReason, chronicle: Chronicle, now: Stamp) -> Lost:
    """What takes the place of a row that cannot be kept. Where even its time is damaged, that is `now`."""
    dropped = {DROP_CLASSES[row.kind]: 1} if row.kind in DROP_CLASSES else {}
    try:
        stamp = _stamp(row.boot, row.boottime_ms, row.wall_ms, chronicle)
    except (TypeError, ValueError):
        stamp = now
    return Lost(row.covers if isinstance(row.covers, int) else 1, reason, stamp, stamp, dropped)


def to_item_or_tombstone(row: EntryRow, chronicle: Chronicle, now: Stamp) -> Item:
    """The item in a row, or a tombstone for it where it is damaged."""
    try:
        return to_item(row, chronicle)
    except Damaged:
        return tombstone(row, GapReason.OUTBOX_CORRUPT, chronicle, now)


def text_of(row: EntryRow) -> str:
    """A row's record for people: its JSON without number and time."""
    tail = row.tail if isinstance(row.tail, bytes) else str(row.tail).encode()
    return f'["{row.kind}"' + tail.decode("utf-8", "replace")


def encode_lost(lost: Lost, from_seq: int, seq: int, since: Resolved, until: Resolved) -> bytes:
    """The gap record that stands in the place of `from_seq..seq`.

    Of a tombstone that is partly delivered only the rest is told, and then nobody knows how many of each class.
    """
    whole = seq - from_seq + 1 == lost.covers
    gap = Gap(
        seq,
        until.at_ms,
        until.at_error_ms,
        lost.reason,
        max(0, until.at_ms - since.at_ms),
        from_seq=from_seq,
        dropped=lost.dropped if whole else {},
    )
    return msgspec.json.encode(gap)


def encode_run(
    generation: Generation, items: list[tuple[int, Item]], max_bytes: int, chronicle: Chronicle, now: Stamp
) -> OutgoingBatch | None:
    """As many items as fit, each accounting for the numbers after the one before; notes how far it was sent.

    Args:
        items: each with the position that it ends at.
        max_bytes: of all records together; one is taken however large. None: there are no items.
    """
    records: list[bytes] = []
    base, reached, size_bytes = generation.base, generation.acked, 0
    for position, item in items:
        encoded = _encode_item(item, reached - base + 1, position - base, chronicle, now)
        size_bytes += sum(map(len, encoded)) + len(encoded)
        if records and size_bytes > max_bytes:
            break
        records += encoded
        reached = position
    if not records:
        return None
    generation.sent = max(generation.sent, reached)
    first = generation.acked - base + 1
    return OutgoingBatch(generation.stream, generation.epoch, first, reached - base, records)


def _encode_item(item: Item, from_seq: int, seq: int, chronicle: Chronicle, now: Stamp) -> list[bytes]:
    """The record for an item that must account for `from_seq..seq`; a hole before it, which only damage can make,
    becomes a gap of its own."""
    until = chronicle.resolve(item.stamp if isinstance(item, Row) else item.until, now)
    if isinstance(item, Lost):
        return [encode_lost(item, from_seq, seq, chronicle.resolve(item.since, now), until)]
    record = encode_row(item.kind, seq, until.at_ms, until.at_error_ms, item.tail)
    if from_seq == seq:
        return [record]
    hole = Lost(seq - from_seq, GapReason.OUTBOX_CORRUPT, item.stamp, item.stamp, {})
    return [encode_lost(hole, from_seq, seq - 1, until, until), record]


def _columns(stamp: Stamp, chronicle: Chronicle) -> tuple[int, int, int | None]:
    return chronicle.see(stamp), stamp.boottime_ns // _NS_PER_MS, stamp.wall_ms if stamp.synced else None


def _stamp(boot: int, boottime_ms: int, wall_ms: int | None, chronicle: Chronicle) -> Stamp:
    return Stamp(chronicle.boot_id(int(boot)), int(boottime_ms) * _NS_PER_MS, wall_ms or 0, wall_ms is not None)
