"""Counts of sources over time, exact at the moment of asking, with what was measured.

Where nothing was measured there is no count: `n` is None, never 0. Where only a part was measured, that is said.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from itertools import pairwise
from typing import Any
from uuid import UUID

from psycopg.rows import class_row
from psycopg.types.multirange import Multirange

from collector.counting.measured import Measured, read_measured
from collector.db import Connection, Pool, load_queries, reading
from collector.errors import ApiProblem

MAX_CELLS = 50_000
"""Sources times buckets in one answer."""
MAX_SOURCES = 1_000
_MAX_PENDING = 20_000
"""Minutes that are read from raw rows in one answer, at most."""
_WHOLE = 0.99
"""Share of a bucket that must have been measured for it to count as measured."""


class Bucket(StrEnum):
    """Length of the buckets. Hours and days begin when they do at the junction."""

    MINUTE = "1m"
    QUARTER = "15m"
    HOUR = "1h"
    DAY = "1d"

    @property
    def step_s(self) -> int:
        return _STEPS_S[self]


_STEPS_S = {Bucket.MINUTE: 60, Bucket.QUARTER: 900, Bucket.HOUR: 3600, Bucket.DAY: 86400}


class State(StrEnum):
    """How far a bucket was measured."""

    MEASURED = "measured"
    PARTLY = "partly"
    NOT_MEASURED = "not_measured"
    UNPROVEN = "unproven"
    """It counted, or may have: this kind of source does not tell when it measured."""


@dataclass(frozen=True)
class Source:
    """A line, zone or reader, and where it stands."""

    no: int
    id: UUID
    name: str
    via: str
    kind: str
    sensor: str
    camera_id: UUID | None
    camera_no: int | None
    camera_name: str | None
    device_id: UUID
    device_name: str
    junction_id: UUID | None
    junction_name: str | None
    timezone: str
    in_force: Multirange[datetime] | None
    """When its camera counted at it; None: nobody told, as from the beginning."""


@dataclass(frozen=True)
class Asked:
    """Which counts. None: no filter."""

    start: datetime
    end: datetime
    bucket: Bucket
    sources: Sequence[str] | None = None
    """Names or ids."""
    junctions: Sequence[str] | None = None
    via: Sequence[str] | None = None
    classes: Sequence[str] | None = None
    directions: Sequence[str] | None = None


@dataclass(frozen=True)
class ClassCount:
    """How many of one class in one direction; `n_inferred` of them were not seen crossing."""

    cls: str
    direction: str
    n: int
    n_inferred: int


@dataclass(frozen=True)
class Cell:
    """One bucket of one source. `n` None: nothing was measured. `measured_s` None: it cannot be told."""

    start: datetime
    end: datetime
    state: State
    measured_s: float | None
    n: int | None
    counts: tuple[ClassCount, ...]


@dataclass(frozen=True)
class SourceCounts:
    """The buckets of one source, and how fresh they are."""

    source: Source
    received_at: datetime | None
    """When its device was last heard."""
    last_at: datetime | None
    """The time of the latest record of its device; what happened later has not arrived yet."""
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Answer:
    """Counts as they were at the moment `as_of`."""

    as_of: datetime
    exact: bool
    """False: so many minutes wait to be rolled up that they were left out (`pending_minutes`)."""
    pending_minutes: int
    sources: tuple[SourceCounts, ...]


Key = tuple[int, int]
"""Source number, start of the bucket in Unix seconds."""
Tally = tuple[str, str, int, int]
"""Class, direction, n, n_inferred. A bucket may have several of a class: they are added up."""


@dataclass
class _Found:
    counts: dict[Key, list[Tally]] = field(default_factory=lambda: defaultdict(list))
    measured: Measured = field(default_factory=Measured)


class CountQueries:
    """The questions."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._queries = load_queries("counts")

    async def sources(
        self,
        *,
        sources: Sequence[str] | None = None,
        junctions: Sequence[str] | None = None,
        via: Sequence[str] | None = None,
        limit: int = MAX_SOURCES,
        offset: int = 0,
    ) -> list[Source]:
        """The sources that fit all filters."""
        async with reading(self._pool) as connection:
            return await self._sources(connection, sources, junctions, via, limit, offset)

    async def counts(self, asked: Asked) -> Answer:
        """The counts that fit, bucket by bucket.

        Raises:
            ApiProblem: a source that is named does not exist, or the answer would be too large.
        """
        _check_size(asked, 1)
        async with reading(self._pool) as connection:
            sources = await self._sources(
                connection, asked.sources, asked.junctions, asked.via, MAX_SOURCES + 1, 0
            )
            _check_known(asked, sources)
            _check_size(asked, len(sources))
            edges = {zone: await self._edges(connection, asked, zone) for zone in {s.timezone for s in sources}}
            return await self._answer(connection, asked, sources, edges)

    async def _answer(
        self,
        connection: Connection,
        asked: Asked,
        sources: Sequence[Source],
        edges: Mapping[str, Sequence[datetime]],
    ) -> Answer:
        cursor = await connection.execute(self._queries["moment"])
        row = await cursor.fetchone()
        assert row is not None
        parameters = _parameters(asked, sources, edges)
        found = _Found()
        pending = 0
        if sources:
            pending = await self._pending(connection, parameters)
            live = 0 < pending < _MAX_PENDING
            await self._count(connection, parameters, found, live=live)
            watched = [(source, source.timezone) for source in sources]
            found.measured = await read_measured(connection, watched, edges, asked.bucket.step_s, live=live)
        heard = await self._freshness(connection, sources)
        return Answer(
            as_of=row[0].astimezone(UTC),
            exact=pending < _MAX_PENDING,
            pending_minutes=pending,
            sources=tuple(
                SourceCounts(
                    source,
                    *heard.get(source.device_id, (None, None)),
                    tuple(_cells(source, edges[source.timezone], found)),
                )
                for source in sources
            ),
        )

    async def _sources(
        self,
        connection: Connection,
        sources: Sequence[str] | None,
        junctions: Sequence[str] | None,
        via: Sequence[str] | None,
        limit: int,
        offset: int,
    ) -> list[Source]:
        parameters = {
            "sources": _listed(sources),
            "junctions": _listed(junctions),
            "via": _listed(via),
            "limit": limit,
            "offset": offset,
        }
        async with connection.cursor(row_factory=class_row(Source)) as cursor:
            await cursor.execute(self._queries["sources"], parameters)
            return await cursor.fetchall()

    async def _edges(self, connection: Connection, asked: Asked, zone: str) -> list[datetime]:
        """Starts of the buckets, and the end of the last one."""
        parameters = {"from": asked.start, "to": asked.end, "step_s": asked.bucket.step_s, "zone": zone}
        cursor = await connection.execute(self._queries["buckets"], parameters)
        return [start.astimezone(UTC) for (start,) in await cursor.fetchall()]

    async def _pending(self, connection: Connection, parameters: Mapping[str, Any]) -> int:
        cursor = await connection.execute(self._queries["pending"], {**parameters, "bound": _MAX_PENDING})
        row = await cursor.fetchone()
        return int(row[0]) if row is not None else 0

    async def _count(
        self, connection: Connection, parameters: Mapping[str, Any], found: _Found, *, live: bool
    ) -> None:
        for name in ("rolled_counts", "live_counts") if live else ("rolled_counts",):
            cursor = await connection.execute(self._queries[name], parameters, prepare=False, binary=True)
            for source_no, bucket_s, *tally in await cursor.fetchall():
                found.counts[source_no, bucket_s].append(tuple(tally))

    async def _freshness(
        self, connection: Connection, sources: Iterable[Source]
    ) -> dict[UUID, tuple[datetime | None, datetime | None]]:
        devices = list({source.device_id for source in sources})
        cursor = await connection.execute(self._queries["freshness"], {"devices": devices})
        return {
            device: (_utc(received_at), _utc(last_at)) for device, received_at, last_at in await cursor.fetchall()
        }


def _parameters(
    asked: Asked, sources: Sequence[Source], edges: Mapping[str, Sequence[datetime]]
) -> dict[str, Any]:
    return {
        "sources": [source.no for source in sources],
        "zones": [source.timezone for source in sources],
        "cameras": list({source.camera_no for source in sources if source.camera_no is not None}),
        "step_s": asked.bucket.step_s,
        "low": min((starts[0] for starts in edges.values()), default=asked.start),
        "high": max((starts[-1] for starts in edges.values()), default=asked.end),
        "classes": _listed(asked.classes),
        "directions": _listed(asked.directions),
    }


def _cells(source: Source, edges: Sequence[datetime], found: _Found) -> Iterable[Cell]:
    for start, end in pairwise(edges):
        start_s = int(start.timestamp())
        counts = _add_up(found.counts.get((source.no, start_s), ()))
        n = sum(count.n for count in counts)
        measured_ms = found.measured.of(source, start, end)
        measured_s = None if measured_ms is None else round(measured_ms) / 1000
        state = _state(measured_s, (end - start).total_seconds(), n)
        known = n > 0 or state in (State.MEASURED, State.PARTLY)
        yield Cell(start, end, state, measured_s, n if known else None, counts)


def _add_up(tallies: Sequence[Tally]) -> tuple[ClassCount, ...]:
    """One count per class and direction, in order; none that is zero."""
    sums: dict[tuple[str, str], tuple[int, int]] = {}
    for cls, direction, n, n_inferred in tallies:
        n_before, inferred_before = sums.get((cls, direction), (0, 0))
        sums[cls, direction] = (n_before + n, inferred_before + n_inferred)
    return tuple(ClassCount(*key, *sums[key]) for key in sorted(sums) if sums[key][0])


def _state(measured_s: float | None, length_s: float, n: int) -> State:
    if measured_s is None:
        return State.UNPROVEN
    if measured_s >= _WHOLE * length_s:
        return State.MEASURED
    return State.PARTLY if measured_s > 0 or n > 0 else State.NOT_MEASURED


def _listed(values: Sequence[str] | None) -> list[str] | None:
    return list(values) if values else None


def _utc(moment: datetime | None) -> datetime | None:
    return moment.astimezone(UTC) if moment is not None else None


def _check_size(asked: Asked, n_sources: int) -> None:
    if n_sources > MAX_SOURCES:
        raise _bad("source", f"more than {MAX_SOURCES} sources fit: name those that you want, or a junction")
    n_buckets = (asked.end - asked.start).total_seconds() / asked.bucket.step_s
    if n_buckets * n_sources > MAX_CELLS:
        raise _bad(
            "from",
            f"{n_buckets:,.0f} buckets of {asked.bucket} for {n_sources} sources are more than {MAX_CELLS:,}:"
            " ask for a shorter time, longer buckets or fewer sources",
        )


def _check_known(asked: Asked, sources: Sequence[Source]) -> None:
    """What is named must exist: a misspelt source that counts nothing would look like an empty road."""
    for parameter, wanted, known in (
        ("source", asked.sources, {value for s in sources for value in (s.name, str(s.id))}),
        ("junction", asked.junctions, {value for s in sources for value in (s.junction_name, str(s.junction_id))}),
    ):
        for name in wanted or ():
            if name not in known:
                others = " that fits the other filters" if len(sources) or asked.via else ""
                raise ApiProblem(
                    404,
                    f"{parameter}_unknown",
                    f"There is no such {parameter}",
                    f"{parameter}={name}: there is none{others}; GET /api/sources lists what there is",
                    parameter=parameter,
                )


def _bad(parameter: str, detail: str) -> ApiProblem:
    return ApiProblem(
        400, "parameter_invalid", "A parameter cannot be used", f"{parameter}: {detail}", parameter=parameter
    )
