"""What an outbox holds, and how it is made smaller without lying. Pure.

A stream's content is a list of items, oldest first: `Row` is a record, `Lost` is a tombstone in the place of
records that had to be dropped. Every item covers one or more sequence numbers; numbers follow from the position,
so no item carries one. Whatever happens to a list here, the sum of what it covers stays the same.
"""

from collections.abc import Iterable, Sequence

import msgspec

from common.clock import Stamp
from common.codes import DropClass, GapReason
from common.records import Gap, Record
from edge_agent.outbox.errors import RecordRefused

MAX_RECORD_BYTES = 256 * 1024
"""Largest encoded record that is taken in; a frame with 1000 detections is 60 kB."""
ROW_OVERHEAD_BYTES = 32
LOST_BYTES = 96
_MAX_TALLY = 2**31 - 1

DROP_CLASSES: dict[str, DropClass] = {
    "detections": DropClass.DETECTIONS,
    "frames": DropClass.FRAMES,
    "health": DropClass.HEALTH,
    "stream_quality": DropClass.HEALTH,
    "log": DropClass.LOGS,
    "occupancy": DropClass.OCCUPANCY,
    "count": DropClass.COUNTS,
    "gap": DropClass.COUNTS,
    "cycle": DropClass.CYCLES,
    "signal_event": DropClass.CYCLES,
    "command_result": DropClass.CYCLES,
}
"""Which class a kind of record is dropped with. Gaps of measurement go with the counts that they explain."""


class Row(msgspec.Struct, frozen=True):
    """One record, encoded all but its `seq`, `at` and `at_error_ms`, which are known when it is sent."""

    kind: str
    stamp: Stamp
    tail: bytes
    """The record's JSON from the comma after `at_error_ms` to the closing bracket."""

    @property
    def covers(self) -> int:
        """How many sequence numbers this accounts for."""
        return 1

    @property
    def size_bytes(self) -> int:
        """What it takes up, about."""
        return len(self.tail) + ROW_OVERHEAD_BYTES


class Lost(msgspec.Struct, frozen=True):
    """`covers` records that were made between `since` and `until`, and then lost."""

    covers: int
    reason: GapReason
    since: Stamp
    until: Stamp
    dropped: dict[DropClass, int]
    """How many of each class, where that is known."""

    @property
    def size_bytes(self) -> int:
        """What it takes up, about."""
        return LOST_BYTES


Item = Row | Lost

_encoder = msgspec.json.Encoder()


def to_row(record: Record, stamp: Stamp) -> Row:
    """`record` ready to be kept. Its `seq`, `at` and `at_error_ms` are placeholders and are left out.

    Raises:
        RecordRefused: it is too large, or a gap that names sequence numbers, which only the outbox may do.
    """
    kind = record.__struct_config__.tag
    if not isinstance(kind, str) or kind not in DROP_CLASSES:
        raise RecordRefused(f"unknown kind of record: {kind!r}; allowed are {', '.join(DROP_CLASSES)}")
    if isinstance(record, Gap) and record.from_seq is not None:
        raise RecordRefused("a gap put into the outbox must not have from_seq: the outbox gives out numbers")
    encoded = _encoder.encode(record)
    if len(encoded) > MAX_RECORD_BYTES:
        raise RecordRefused(f"a {kind} record of {len(encoded)} bytes; at most {MAX_RECORD_BYTES} can be sent")
    head = f'["{kind}",{record.seq},{record.at},{record.at_error_ms}'
    return Row(kind, stamp, encoded[len(head) :])


def encode_row(kind: str, seq: int, at_ms: int, at_error_ms: int, tail: bytes) -> bytes:
    """The record's JSON with its number and time filled in."""
    return b'["%s",%d,%d,%d%s' % (kind.encode(), seq, at_ms, at_error_ms, tail)


def lose(row: Row, reason: GapReason) -> Lost:
    """The tombstone for one record."""
    return Lost(1, reason, row.stamp, row.stamp, {DROP_CLASSES[row.kind]: 1})


def covered(items: Iterable[Item]) -> int:
    """How many sequence numbers `items` account for."""
    return sum(item.covers for item in items)


def total_bytes(items: Iterable[Item]) -> int:
    """What `items` take up, about."""
    return sum(item.size_bytes for item in items)


def squeeze(
    items: Sequence[Item],
    free_bytes: int,
    reason: GapReason,
    *,
    classes: Iterable[DropClass] = tuple(DropClass),
    keep_first: int = 0,
) -> list[Item]:
    """`items` with records dropped until `free_bytes` are gained or nothing is left to drop.

    Drops class by class in the order of `classes`, oldest first within a class. A dropped run becomes one
    tombstone in its place, and neighbouring tombstones of one reason become one.

    Args:
        keep_first: so many items at the front stay as they are; they are under way to the collector.
    """
    fixed, rest = list(items[:keep_first]), merge(items[keep_first:])
    free_bytes -= total_bytes(items[keep_first:]) - total_bytes(rest)
    for drop_class in classes:
        if free_bytes <= 0:
            break
        rest, gained_bytes = _drop_class(rest, free_bytes, reason, drop_class)
        free_bytes -= gained_bytes
    return fixed + rest


def merge(items: Iterable[Item]) -> list[Item]:
    """`items` with neighbouring tombstones of one reason made one."""
    return _drop_class(items, 0, GapReason.OUTBOX_FULL, DropClass.DETECTIONS)[0]


def _drop_class(
    items: Iterable[Item], free_bytes: int, reason: GapReason, drop_class: DropClass
) -> tuple[list[Item], int]:
    """`items` after dropping up to `free_bytes` of one class, and the bytes gained."""
    kept: list[Item] = []
    gained_bytes = 0
    for item in items:
        size_bytes = item.size_bytes
        if isinstance(item, Row) and gained_bytes < free_bytes and DROP_CLASSES[item.kind] is drop_class:
            item = lose(item, reason)
        last = kept[-1] if kept else None
        if isinstance(item, Lost) and isinstance(last, Lost) and last.reason is item.reason:
            kept[-1] = _join(last, item)
            gained_bytes += size_bytes
        else:
            kept.append(item)
            gained_bytes += size_bytes - item.size_bytes
    return kept, gained_bytes


def _join(first: Lost, second: Lost) -> Lost:
    tally = dict(first.dropped)
    for drop_class, n in second.dropped.items():
        tally[drop_class] = min(tally.get(drop_class, 0) + n, _MAX_TALLY)
    return Lost(first.covers + second.covers, first.reason, first.since, second.until, tally)
