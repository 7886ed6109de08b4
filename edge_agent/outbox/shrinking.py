"""How an outbox file is made smaller when it reaches its cap."""

from collections.abc import Iterator, Sequence

from common.clock import Stamp
from common.codes import DropClass, GapReason
from edge_agent.outbox.chronicle import Chronicle
from edge_agent.outbox.codec import to_entry, to_item_or_tombstone
from edge_agent.outbox.entries import Row, squeeze
from edge_agent.outbox.file import GENERATION_SHIFT, EntryRow, OutboxFile, key_of, position_of

_ROWS = 1000


def shrink(
    file: OutboxFile, chronicle: Chronicle, spans: Sequence[tuple[int, int]], target_bytes: int, now: Stamp
) -> Iterator[int]:
    """Drop records class by class, oldest first, until the file's live pages are below `target_bytes`.

    Gives after each transaction how many records it dropped; ends as well when nothing is left to drop.

    Args:
        spans: of keys, oldest first, within which records may be dropped.
    """
    for drop_class in DropClass:
        while file.live_bytes() > target_bytes:
            n_dropped = _drop_some(file, chronicle, spans, drop_class, now)
            if n_dropped == 0:
                break
            yield n_dropped


def _drop_some(
    file: OutboxFile, chronicle: Chronicle, spans: Sequence[tuple[int, int]], drop_class: DropClass, now: Stamp
) -> int:
    """Drop a class from the oldest run of rows that has it. 0: none has.

    What stays of the run is written anew, since rows taken out here and there leave no page empty.
    """
    first = file.first_of_class(drop_class, spans)
    if first is None:
        return 0
    low, high = next(span for span in spans if span[0] <= first <= span[1])
    before = file.key_before(first)
    rows = file.read(first if before is None else max(before, low), high, _ROWS)
    items = [to_item_or_tombstone(row, chronicle, now) for row in rows]
    kept = squeeze(items, 1 << 62, GapReason.OUTBOX_FULL, classes=(drop_class,))
    no, position = rows[0].key >> GENERATION_SHIFT, position_of(rows[0].key) - items[0].covers
    entries: list[EntryRow] = []
    for item in kept:
        position += item.covers
        entries.append(to_entry(key_of(no, position), item, chronicle))
    with file.transaction():
        file.delete(rows[0].key, rows[-1].key)
        file.insert(entries)
    return sum(isinstance(item, Row) for item in items) - sum(isinstance(item, Row) for item in kept)
