"""What a message over MQTT becomes, and how much of it is new. Pure.

A lane becomes a sensor with one line, `stop line`; all that cross it go `in`. Its messages prove what it measured.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from uuid import UUID

from msgspec import structs

from collector.ingest.decode import MAX_SPAN_MS
from collector.ingest.settling import EARLIEST_MS, LATEST_AHEAD_MS
from common.codes import Direction, GapReason, Via
from common.records import Count, Frames, Gap, Log, Record, StreamQuality
from common.topics import CarCounts, GreenTime, LaneMessage, LaneState

LINE = "stop line"
MAX_NEWS = 2_000
"""Vehicles of one message. Of a total that went further, as in a long outage, the next ones bring the rest."""
_MAX_BEHIND = 1_000_000
"""A counter whose total goes further at once is not believed."""
_UNKNOWN_CLASS = "object"
_MAX_MISSING = 100
"""Runs of messages that may still come; older ones are given up."""
_CLOCK_ERROR_MS = 1_000
_WRONG_CLOCK_ERROR_MS = 3_600_000


class Unbelievable(Exception):
    """A message that can be read, and cannot be true."""


@dataclass(frozen=True, slots=True)
class Who:
    """Whose messages follow each other: one start of a program that tells of one lane."""

    channel: str
    lane: str
    sender: UUID
    boot_id: UUID


@dataclass(frozen=True, slots=True)
class Position:
    """How far they were taken in. 0: not at all. A broker that restarts may deliver in another order.

    Attributes:
        total: what they counted by then, where they tell.
        missing: first and last of each run of messages before `seq` that did not come yet.
    """

    seq: int = 0
    total: int = 0
    missing: tuple[tuple[int, int], ...] = ()

    def is_new(self, seq: int) -> bool:
        """Whether this message did not come before."""
        return seq > self.seq or any(first <= seq <= last for first, last in self.missing)

    def then(self, seq: int, total: int) -> "Position":
        """After this one came."""
        runs = [*self.missing, (self.seq + 1, seq)] if seq > self.seq else self.missing
        parts = (part for first, last in runs for part in _without(first, last, seq))
        return Position(max(self.seq, seq), max(self.total, total), tuple(parts)[-_MAX_MISSING:])


def _without(first: int, last: int, seq: int) -> Iterator[tuple[int, int]]:
    """The run from `first` to `last` without one number."""
    if not first <= seq <= last:
        yield first, last
        return
    if first < seq:
        yield first, seq - 1
    if seq < last:
        yield seq + 1, last


def who_says(message: LaneMessage) -> Who:
    """Whose message it is."""
    return Who(type(message).__name__, message.lane, message.device, message.boot_id)


def take_in(
    message: LaneMessage, before: Position | None, is_known: bool, now_ms: int
) -> tuple[list[Record], Position] | None:
    """The records of what is new in a message, numbered 1, and the position after it; None: nothing is new.

    Args:
        before: where its sender's messages stand; None: there were none since its program started.
        is_known: there were some of an earlier start.

    Raises:
        Unbelievable: more vehicles than can be.
    """
    before = before or Position()
    if isinstance(message, LaneState):
        # A last will is made when its sender connects: it comes last, with a low number.
        is_new, after = message.seq != before.seq, Position(message.seq)
    else:
        is_new = before.is_new(message.seq)
        after = before.then(message.seq, 0)
    if not is_new:
        return None
    at_ms, error_ms = _when(message.at, now_ms)
    if isinstance(message, CarCounts):
        n_news, total = _news(message, before, is_known)
        after = before.then(message.seq, total)
        records = [*_measured(message, at_ms, error_ms), *_counts(message, n_news, at_ms, error_ms)]
        return records, after
    records = [_state(message, at_ms, error_ms)] if isinstance(message, LaneState) else []
    if isinstance(message, GreenTime):
        records.append(_green_time(message, at_ms, error_ms))
    return records, after


def _when(at_ms: int, now_ms: int) -> tuple[int, int]:
    """The time of a message, and how far it may be off. A sender whose clock is wrong said it about now."""
    if EARLIEST_MS <= at_ms <= now_ms + LATEST_AHEAD_MS:
        return at_ms, _CLOCK_ERROR_MS
    return now_ms, _WRONG_CLOCK_ERROR_MS


def _news(message: CarCounts, before: Position, is_known: bool) -> tuple[int, int]:
    """How many vehicles are taken in, and the total that they make."""
    n, most = message.n or 0, MAX_NEWS
    start = 0
    if message.n_since_boot:
        # Of the first start that is heard of, nobody knows what was counted by whom before.
        start = before.total if before.seq or is_known else max(0, message.n_since_boot - n)
        n, most = max(0, message.n_since_boot - start), _MAX_BEHIND
    if n > most:
        raise Unbelievable(f"{n} vehicles at once are more than {most}")
    n = min(n, MAX_NEWS)
    return n, start + n if message.n_since_boot else 0


def _measured(message: CarCounts, at_ms: int, error_ms: int) -> Iterator[Record]:
    span_ms = min(message.span_ms, MAX_SPAN_MS)
    if message.n is None:
        yield Gap(1, at_ms, error_ms, GapReason.CAMERA_DOWN, span_ms, message.lane)
    elif span_ms:
        yield Frames(1, at_ms, error_ms, message.lane, span_ms, span_ms, 0, 0)


def _counts(message: CarCounts, n_news: int, at_ms: int, error_ms: int) -> Iterator[Record]:
    """Spread evenly over the span. What lost messages told of was before it, of a class that nobody knows now."""
    told = [name for name, n in sorted(message.by_class.items()) for _ in range(min(n, MAX_NEWS + 1))]
    if len(told) > n_news:
        told = []
    lost = max(0, n_news - max(len(told), message.n or 0))
    classes = [_UNKNOWN_CLASS] * (n_news - len(told)) + told
    span_ms = min(message.span_ms, MAX_SPAN_MS)
    for number, cls in enumerate(classes):
        place = max(0, number - lost + 1) / max(1, n_news - lost)
        when_ms = at_ms - span_ms + round(span_ms * min(1.0, place))
        off_ms = error_ms + span_ms
        yield Count(1, when_ms, off_ms, message.lane, LINE, Via.CAMERA, cls, Direction.IN)


def _state(message: LaneState, at_ms: int, error_ms: int) -> Record:
    told = [text for text in (message.aspect, message.mode) if text is not None]
    state = "ok" if message.online else "unreachable"
    return StreamQuality(1, at_ms, error_ms, message.lane, state, 0, detail=", ".join(told) or None)


def _green_time(message: GreenTime, at_ms: int, error_ms: int) -> Record:
    """A line of the log: it is what was planned, and no cycle that was."""
    keep = ("lane", "cycle_s", "green_s", "yellow_s", "red_s", "mode", "algorithm")
    context = {name: value for name, value in structs.asdict(message).items() if name in keep}
    text = f"{message.lane}: {message.green_s:g} s of green in {message.cycle_s:g} s"
    return Log(1, at_ms, error_ms, "info", "green_time", text, context)
