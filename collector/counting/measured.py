"""For how long sources were measured: while their camera watched, and counted at them.

A bucket in which something was drawn or taken away is looked at by its minutes; what was watched of a minute is
spread evenly over it.
"""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Protocol

from psycopg.types.multirange import Multirange

from collector.counting.in_force import overlap_s
from collector.db import Connection, load_queries

_MINUTE = timedelta(minutes=1)
_MINUTE_S = 60

_Camera = int
_UnixS = int


class Watched(Protocol):
    """A source. `camera_no` None: it is none of a camera. `in_force` None: as from the beginning."""

    @property
    def camera_no(self) -> int | None: ...

    @property
    def in_force(self) -> Multirange[datetime] | None: ...


@dataclass
class Measured:
    """For how long cameras watched, in ms, by the beginnings of buckets, and of minutes where it takes those."""

    by_bucket: dict[tuple[_Camera, _UnixS], float] = field(default_factory=lambda: defaultdict(float))
    by_minute: dict[tuple[_Camera, _UnixS], float] = field(default_factory=lambda: defaultdict(float))

    def of(self, source: Watched, start: datetime, end: datetime) -> float | None:
        """For how many ms of a bucket a source was measured; None: it is none of a camera."""
        if source.camera_no is None:
            return None
        watched_ms = self.by_bucket.get((source.camera_no, int(start.timestamp())), 0.0)
        there_ms = 1000 * overlap_s(source.in_force, start, end)
        length_ms = 1000 * (end - start).total_seconds()
        if there_ms >= length_ms or not watched_ms or not there_ms:
            return watched_ms if there_ms else 0.0
        if end - start <= _MINUTE:
            return watched_ms * there_ms / length_ms
        found_ms = None
        while start < end:
            minute_ms = self.by_minute.get((source.camera_no, int(start.timestamp())))
            if minute_ms is not None:
                share = overlap_s(source.in_force, start, start + _MINUTE) / _MINUTE_S
                found_ms = (found_ms or 0.0) + minute_ms * share
            start += _MINUTE
        # Minutes are forgotten before their hours: then it is the most that it can have been.
        return min(watched_ms, there_ms) if found_ms is None else found_ms


async def read_measured(
    connection: Connection,
    sources: Iterable[tuple[Watched, str]],
    edges: Mapping[str, Sequence[datetime]],
    step_s: int,
    *,
    live: bool,
) -> Measured:
    """How the cameras of some sources watched.

    Args:
        sources: each with the name of its buckets' zone.
        edges: of each zone the beginnings of the buckets, and the end of the last one.
        live: also what waits to be rolled up.
    """
    zones = {source.camera_no: zone for source, zone in sources if source.camera_no is not None}
    found = Measured()
    if not zones:
        return found
    queries = load_queries("counts")
    low, high = min(starts[0] for starts in edges.values()), max(starts[-1] for starts in edges.values())
    parameters = {"cameras": list(zones), "step_s": step_s, "low": low, "high": high}
    cursor = await connection.execute(queries["rolled_coverage"], parameters, prepare=False, binary=True)
    found.by_bucket.update({(no, at_s): float(ms) for no, at_s, ms in await cursor.fetchall()})
    changed = {} if step_s == _MINUTE_S else _buckets_of_changes(sources, edges)
    if changed:
        pieces = {
            "cameras": [no for no, _ in changed],
            "starts": [start for _, start in changed],
            "ends": list(changed.values()),
        }
        cursor = await connection.execute(
            queries["coverage_minutes"], parameters | pieces, prepare=False, binary=True
        )
        found.by_minute.update({(no, at_s): float(ms) for no, at_s, ms in await cursor.fetchall()})
    if live:
        cursor = await connection.execute(queries["live_coverage"], parameters, prepare=False, binary=True)
        starts_s = {zone: [int(edge.timestamp()) for edge in starts] for zone, starts in edges.items()}
        for no, at_s, ms in await cursor.fetchall():
            of_zone = starts_s[zones[no]]
            place = bisect_right(of_zone, at_s) - 1
            if 0 <= place < len(of_zone) - 1:
                found.by_bucket[no, of_zone[place]] += ms
                found.by_minute[no, at_s] += ms
    return found


def _buckets_of_changes(
    sources: Iterable[tuple[Watched, str]], edges: Mapping[str, Sequence[datetime]]
) -> dict[tuple[_Camera, datetime], datetime]:
    """Buckets within which something was drawn or taken away: camera and beginning -> end."""
    found = {}
    for source, zone in sources:
        starts = edges[zone]
        for moment in (moment for span in source.in_force or () for moment in (span.lower, span.upper)):
            if moment is None or source.camera_no is None or not starts[0] < moment < starts[-1]:
                continue
            place = bisect_right(starts, moment) - 1
            if starts[place] != moment:
                found[source.camera_no, starts[place].astimezone(UTC)] = starts[place + 1]
    return found
