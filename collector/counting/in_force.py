"""When a camera counted at a line, zone or turn: since it was drawn, and until it was taken away.

Its agent tells it with a `log` record. What is not told by anybody counts as always: older agents say nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import chain

import msgspec
from psycopg.types.multirange import Multirange

from common.codes import Via
from common.records import SOURCES_ACTION, Log, Name

_KINDS = {"lines": ("line", Via.CAMERA), "zones": ("zone", Via.CAMERA), "turns": ("turn", Via.TURN)}
_NAMES = msgspec.json.Decoder(list[Name])

Span = tuple[datetime, datetime]
"""From when until when."""


@dataclass(frozen=True, slots=True)
class CountedAt:
    """What a camera counts at from `at_ms` on, in ms since 1970.

    Attributes:
        sources: the kind of each, by name and how it counts.
    """

    sensor: str
    at_ms: int
    sources: Mapping[tuple[str, Via], str]


def counted_at_in(log: Log) -> CountedAt | None:
    """What a log tells; None where it tells nothing of it, or nothing that can be read here."""
    if log.action != SOURCES_ACTION:
        return None
    try:
        sensor = msgspec.convert(log.context.get("sensor"), Name)
        told = {kind: _NAMES.decode(str(log.context.get(kind))) for kind in _KINDS}
        names = "".join((sensor, *chain.from_iterable(told.values()))).encode()
    except (msgspec.MsgspecError, UnicodeEncodeError, RecursionError):
        return None
    if b"\0" in names:
        return None
    sources = {(name, via): of for kind, (of, via) in _KINDS.items() for name in told[kind]}
    return CountedAt(sensor, log.at, sources)


def spans_within(in_force: Multirange[datetime] | None, start: datetime, end: datetime) -> list[Span]:
    """When it was there from `start` to `end`, in order. None: always."""
    if in_force is None:
        return [(start, end)] if start < end else []
    spans = (
        (
            start if span.lower is None else max(start, span.lower),
            end if span.upper is None else min(end, span.upper),
        )
        for span in in_force
        if not span.isempty
    )
    return sorted((first, last) for first, last in spans if first < last)


def overlap_s(in_force: Multirange[datetime] | None, start: datetime, end: datetime) -> float:
    """For how long of `start` to `end` it was there. None: always."""
    return sum((last - first).total_seconds() for first, last in spans_within(in_force, start, end))
