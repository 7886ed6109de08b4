"""By which lines, zones or readers a junction's traffic is counted, and when each of them should have measured."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import pairwise
from typing import Any

from psycopg.rows import class_row
from psycopg.types.multirange import Multirange

from collector.analytics.answers import LineItem
from collector.analytics.hours import hour_edges
from collector.analytics.period import Asked
from collector.counting.in_force import Span, spans_within
from collector.counting.measured import Measured, read_measured
from collector.counting.queries import Bucket
from collector.db import Connection, load_queries
from common.codes import Via
from common.junction import DetectorKind, Junction

_MAX_PENDING = 20_000
"""Minutes that are read from raw rows in one answer, at most."""


@dataclass(frozen=True)
class Source:
    """A line, zone or reader of the junction."""

    no: int
    name: str
    sensor: str
    via: str
    kind: str
    camera_no: int | None
    in_force: Multirange[datetime] | None = None
    """When its camera counted at it; None: nobody told, as from the beginning."""


@dataclass(frozen=True)
class Line:
    """What counts a part of the junction's traffic.

    Attributes:
        name: of the lane, where the lights' description names its stop line; else the source's, with its sensor
            where several have the same.
        source: None: nobody has told of the one that is described.
        due: when it should have measured.
    """

    name: str
    sensor: str
    counts_at: str
    source: Source | None
    due: Sequence[Span] = ()

    def measured_s(self, measured: Measured, edges: Sequence[datetime]) -> float | None:
        """For how long it was measured in the buckets between some edges; None: it cannot be told."""
        if self.source is None:
            return 0.0
        if self.source.camera_no is None:
            return None
        return sum((measured.of(self.source, start, end) or 0.0) for start, end in pairwise(edges)) / 1000


@dataclass(frozen=True)
class Counters:
    """What counts the junction's traffic, once each.

    Attributes:
        cameras: of these lines.
        expected: those of them that should have measured in the period: all that did, or did shortly before.
    """

    asked: Asked
    lines: Sequence[Line]
    cameras: Sequence[int]
    expected: Sequence[int]

    @property
    def sources(self) -> list[Source]:
        """Those of the lines."""
        return [line.source for line in self.lines if line.source is not None]

    @property
    def parameters(self) -> dict[str, Any]:
        """For statements."""
        duties = list(self._duties())
        return {
            "sources": [source.no for source in self.sources],
            "cameras": list(self.cameras),
            "expected": list(self.expected),
            "duty_cameras": [camera_no for camera_no, _, _, _ in duties],
            "duty_starts": [start for _, start, _, _ in duties],
            "duty_ends": [end for _, _, end, _ in duties],
            "duty_counts": [counts for _, _, _, counts in duties],
        }

    def _duties(self) -> Iterator[tuple[int, datetime, datetime, bool]]:
        """When each camera should have measured, and whether it then counted at all lines where it should."""
        for camera_no in self.expected:
            spans = [
                (line.due, spans_within(line.source.in_force, self.asked.start, self.asked.end))
                for line in self.lines
                if line.source is not None and line.source.camera_no == camera_no
            ]
            moments = {moment for of_line in spans for some in of_line for span in some for moment in span}
            for start, end in pairwise(sorted(moments)):
                counts = [_covers(there, start) for due, there in spans if _covers(due, start)]
                if counts:
                    yield camera_no, start, end, all(counts)

    async def read_measured(
        self, connection: Connection, edges: Sequence[datetime], step_s: int, *, live: bool
    ) -> Measured:
        """How long they measured, by buckets of their zone."""
        zone = self.asked.place.ref.timezone
        sources = [(source, zone) for source in self.sources]
        return await read_measured(connection, sources, {zone: edges}, step_s, live=live)

    def told(self, measured: Measured, edges: Sequence[datetime]) -> list[LineItem]:
        """Each line, and how much of the period it was measured, as far as that is over."""
        return [
            LineItem(line.name, line.sensor, line.counts_at, self._share(line, measured, edges))
            for line in self.lines
        ]

    def _share(self, line: Line, measured: Measured, edges: Sequence[datetime]) -> float | None:
        measured_s = line.measured_s(measured, edges)
        due_s = self.due_s(line.due or [(edges[0], edges[-1])], edges[0], edges[-1])
        return None if measured_s is None or due_s <= 0.0 else min(1.0, measured_s / due_s)

    def due_s(self, due: Sequence[Span], start: datetime, end: datetime) -> float:
        """For how long of a time it should have measured, as far as that is over."""
        end = min(end, self.asked.place.as_of)
        return sum(max(0.0, (min(last, end) - max(first, start)).total_seconds()) for first, last in due)


def _covers(spans: Sequence[Span], moment: datetime) -> bool:
    return any(start <= moment < end for start, end in spans)


async def read_counters(connection: Connection, asked: Asked) -> Counters:
    """What counts the junction's traffic."""
    queries = load_queries("analytics")
    async with connection.cursor(row_factory=class_row(Source)) as cursor:
        await cursor.execute(queries["sources"], asked.parameters)
        sources = await cursor.fetchall()
    lanes = stop_lines(sources, asked.place.described)
    lines = lanes if any(line.source for line in lanes) else _all_of_a_kind(sources, asked)
    cameras = sorted(
        {line.source.camera_no for line in lines if line.source and line.source.camera_no is not None}
    )
    found = await connection.execute(queries["expected_cameras"], asked.parameters | {"cameras": cameras})
    expected = [no for (no,) in await found.fetchall()] or cameras
    told = [
        replace(line, due=_due(line.source, asked, is_lane=lines is lanes, expected=expected)) for line in lines
    ]
    return Counters(asked, told, cameras, expected)


def _due(source: Source | None, asked: Asked, *, is_lane: bool, expected: Sequence[int]) -> Sequence[Span]:
    """A lane should be counted all the time. So should what counts at the end of the period where no lanes are
    described, as if it had been drawn at its beginning; what was taken away before, while it was there; and what
    belongs to a camera that is silent for weeks, never. Readers do not tell when they measured."""
    if source is not None and source.camera_no is None:
        return ()
    if is_lane:
        return [(asked.start, asked.end)]
    if source is None or source.camera_no not in expected:
        return ()
    there = spans_within(source.in_force, asked.start, asked.end)
    end = min(asked.end, asked.place.as_of)
    if any(start < end <= until for start, until in there):
        return [(asked.start, asked.end)]
    return there


def _all_of_a_kind(sources: Sequence[Source], asked: Asked) -> list[Line]:
    """All camera lines, else all zones, else all readers; of what was there in the period, if anything was."""
    there = [source for source in sources if spans_within(source.in_force, asked.start, asked.end)]
    for some in (there, sources):
        for via, kind in ((Via.CAMERA, "line"), (Via.CAMERA, "zone"), (Via.RFID, "reader")):
            if any((source.via, source.kind) == (via, kind) for source in some):
                chosen = [source for source in sources if (source.via, source.kind) == (via, kind)]
                by_name = Counter(source.name for source in chosen)
                return [
                    Line(
                        source.name if by_name[source.name] == 1 else f"{source.sensor}/{source.name}",
                        source.sensor,
                        source.name,
                        source,
                    )
                    for source in chosen
                ]
    return []


def stop_lines(sources: Sequence[Source], described: Junction | None) -> list[Line]:
    """The lanes whose stop line is described, each with one source, so that every vehicle is counted once: a
    camera's rather than a reader's."""
    known = {(source.sensor, source.name): source for source in sources if source.kind != "zone"}
    found: dict[str, Line] = {}
    for one in described.detectors if described else ():
        if one.kind is not DetectorKind.STOP_LINE:
            continue
        source = known.get((one.sensor, one.source))
        before = found.get(one.lane)
        if before is None or _is_better(source, before.source):
            found[one.lane] = Line(one.lane, one.sensor, one.source, source)
    return list(found.values())


def _is_better(source: Source | None, before: Source | None) -> bool:
    if source is None or before is None:
        return source is not None
    return before.via == Via.RFID and source.via == Via.CAMERA


async def read_lines(connection: Connection, counters: Counters, *, live: bool) -> list[LineItem]:
    """The lines of a period in hours, and how much of it each was measured."""
    asked = counters.asked
    edges = await hour_edges(connection, asked.place.ref.timezone, asked.start, asked.end)
    return counters.told(await counters.read_measured(connection, edges, Bucket.HOUR.step_s, live=live), edges)


async def is_live(connection: Connection, asked: Asked, counters: Counters) -> bool:
    """Whether minutes that wait to be rolled up are few enough to be read from their raw rows."""
    parameters = asked.parameters | counters.parameters | {"bound": _MAX_PENDING}
    cursor = await connection.execute(load_queries("counts")["pending"], parameters)
    row = await cursor.fetchone()
    return row is not None and int(row[0]) < _MAX_PENDING
