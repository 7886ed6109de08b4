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


def overlap_s(in_force: Multirange[datetime] | None, start: datetime, end: datetime) -> float:
    """For how long of `start` to `end` it was there. None: always."""
    if in_force is None:
        return (end - start).total_seconds()
    found_s = 0.0
    for span in in_force:
        first = start if span.lower is None else max(start, span.lower)
        last = end if span.upper is None else min(end, span.upper)
        found_s += max(0.0, (last - first).total_seconds())
    return found_s
