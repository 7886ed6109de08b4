"""`GET /api/counts` and `GET /api/sources`."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

import msgspec
from litestar import get
from litestar.handlers import HTTPRouteHandler
from litestar.openapi.datastructures import ResponseSpec
from litestar.openapi.spec import Example
from litestar.params import QueryParameter

from collector.counting.queries import (
    MAX_CELLS,
    Answer,
    Asked,
    Bucket,
    Cell,
    CountQueries,
    Source,
    SourceCounts,
    State,
)
from collector.db import Pool
from collector.ops.parameters import Limit, Offset, time_range
from common.codes import Direction, Via


class JunctionRef(msgspec.Struct, frozen=True):
    """The junction that a source stands at."""

    id: UUID
    name: str


class CameraRef(msgspec.Struct, frozen=True):
    """The camera that a source looks through."""

    id: UUID
    name: str


class DeviceRef(msgspec.Struct, frozen=True):
    """The Pi that a source belongs to."""

    id: UUID
    name: str


class SourceInfo(msgspec.Struct, frozen=True):
    """A line, zone, turn or reader; or `unpaired`: what a line counted that no turn accounts for.

    `timezone` is its junction's: its hours and days begin when they do there.
    """

    id: UUID
    name: str
    kind: str
    via: Via
    sensor: str
    timezone: str
    device: DeviceRef
    junction: JunctionRef | None
    camera: CameraRef | None


class SourceList(msgspec.Struct, frozen=True):
    """A page of sources. `next_offset` None: it was the last one."""

    sources: list[SourceInfo]
    next_offset: int | None


class CountItem(msgspec.Struct, frozen=True):
    """How many of a class went in a direction; `inferred` of `n` were first seen just behind the line."""

    class_: str = msgspec.field(name="class")
    direction: Direction
    n: int
    inferred: int


class BucketItem(msgspec.Struct, frozen=True):
    """One bucket. `n` null: nothing was measured, so there is no count. `measured_s` null: it cannot be told."""

    from_: datetime = msgspec.field(name="from")
    to: datetime
    state: State
    measured_s: float | None
    n: int | None
    counts: list[CountItem]


class SourceSeries(msgspec.Struct, frozen=True):
    """The buckets of one source.

    `received_at` tells when its device was last heard, `last_at` the time of its latest record: what happened
    after that has not arrived yet.
    """

    source: SourceInfo
    received_at: datetime | None
    last_at: datetime | None
    buckets: list[BucketItem]


class CountsAnswer(msgspec.Struct, frozen=True):
    """Counts as they were at `as_of`.

    They hold every record that was stored by then, unless `exact` is false: then `pending_minutes` or more wait to
    be rolled up and are left out.
    """

    as_of: datetime
    exact: bool
    pending_minutes: int
    bucket: Bucket
    sources: list[SourceSeries]


_EXAMPLE_SOURCE = {
    "id": "0b8f6a52-52a8-4c0c-9a3e-0f6f7a1f0f11",
    "name": "stop line",
    "kind": "line",
    "via": "camera",
    "sensor": "north",
    "timezone": "Europe/Berlin",
    "device": {"id": "5d1c0e0a-7c1b-4d43-8f34-6f2c2b0c7d01", "name": "pi north"},
    "junction": {"id": "8f3f9a70-1f9d-4a7c-8a50-3f1f0c1e2d3a", "name": "Market Square"},
    "camera": {"id": "c1a7f2de-3b57-4a43-9a1f-2b1c3d4e5f60", "name": "north"},
}
_EXAMPLE_COUNTS = {
    "as_of": "2026-05-04T10:01:00Z",
    "exact": True,
    "pending_minutes": 1,
    "bucket": "1h",
    "sources": [
        {
            "source": _EXAMPLE_SOURCE,
            "received_at": "2026-05-04T10:00:58Z",
            "last_at": "2026-05-04T10:00:57Z",
            "buckets": [
                {
                    "from": "2026-05-04T08:00:00Z",
                    "to": "2026-05-04T09:00:00Z",
                    "state": "measured",
                    "measured_s": 3598.2,
                    "n": 412,
                    "counts": [
                        {"class": "bus", "direction": "in", "n": 12, "inferred": 0},
                        {"class": "car", "direction": "in", "n": 400, "inferred": 3},
                    ],
                },
                {
                    "from": "2026-05-04T09:00:00Z",
                    "to": "2026-05-04T10:00:00Z",
                    "state": "not_measured",
                    "measured_s": 0.0,
                    "n": None,
                    "counts": [],
                },
            ],
        }
    ],
}

Sources = Annotated[
    list[str] | None,
    QueryParameter(name="source", description="Name or id of a line, zone or reader; repeatable."),
]
Junctions = Annotated[
    list[str] | None, QueryParameter(name="junction", description="Name or id of a junction; repeatable.")
]
Vias = Annotated[list[Via] | None, QueryParameter(name="via", description="How it was counted; repeatable.")]
From = Annotated[
    str | None,
    QueryParameter(
        name="from",
        description="RFC 3339 time; the buckets begin with the one that it lies in. Default: a day before `to`.",
        examples=[Example(value="2026-05-04T00:00:00+02:00")],
    ),
]
To = Annotated[
    str | None,
    QueryParameter(
        name="to",
        description="RFC 3339 time that the last bucket reaches. Default: now.",
        examples=[Example(value="2026-05-05T00:00:00+02:00")],
    ),
]
BucketSize = Annotated[
    Bucket,
    QueryParameter(name="bucket", description="Length of the buckets. Days begin at the junction's midnight."),
]
Classes = Annotated[
    list[str] | None, QueryParameter(name="class", description="Only these classes, such as `car`; repeatable.")
]
Directions = Annotated[
    list[Direction] | None, QueryParameter(name="direction", description="Only these directions; repeatable.")
]


def counting_routes(pool: Pool) -> list[HTTPRouteHandler]:
    """The handlers."""
    queries = CountQueries(pool)

    @get(
        "/api/counts",
        operation_id="counts",
        summary="Counts per bucket, with what was measured",
        description=(
            "Exact at the moment of asking: what was stored just now is in it. Where nothing was measured, `n` is"
            f" null, never 0. At most {MAX_CELLS:,} buckets, over all sources."
        ),
        tags=["counts"],
        responses={
            200: ResponseSpec(CountsAnswer, description="The counts.", examples=[Example(value=_EXAMPLE_COUNTS)])
        },
    )
    async def counts(
        source: Sources = None,
        junction: Junctions = None,
        via: Vias = None,
        start: From = None,
        end: To = None,
        bucket: BucketSize = Bucket.HOUR,
        classes: Classes = None,
        direction: Directions = None,
    ) -> CountsAnswer:
        since, until = time_range(start, end)
        asked = Asked(since, until, bucket, source, junction, via, classes, direction)
        return _tell(await queries.counts(asked), bucket)

    @get(
        "/api/sources",
        operation_id="sources",
        summary="The lines, zones and readers that count",
        tags=["counts"],
        responses={
            200: ResponseSpec(
                SourceList,
                description="A page of them.",
                examples=[Example(value={"sources": [_EXAMPLE_SOURCE], "next_offset": None})],
            )
        },
    )
    async def sources(
        source: Sources = None,
        junction: Junctions = None,
        via: Vias = None,
        limit: Limit = 100,
        offset: Offset = 0,
    ) -> SourceList:
        found = await queries.sources(sources=source, junctions=junction, via=via, limit=limit + 1, offset=offset)
        more = len(found) > limit
        return SourceList([_source(each) for each in found[:limit]], offset + limit if more else None)

    return [counts, sources]


def _tell(answer: Answer, bucket: Bucket) -> CountsAnswer:
    series = [_series(each) for each in answer.sources]
    return CountsAnswer(answer.as_of, answer.exact, answer.pending_minutes, bucket, series)


def _series(counts: SourceCounts) -> SourceSeries:
    buckets = [_bucket(cell) for cell in counts.cells]
    return SourceSeries(_source(counts.source), counts.received_at, counts.last_at, buckets)


def _bucket(cell: Cell) -> BucketItem:
    counts = [CountItem(each.cls, Direction(each.direction), each.n, each.n_inferred) for each in cell.counts]
    return BucketItem(cell.start, cell.end, cell.state, cell.measured_s, cell.n, counts)


def _source(source: Source) -> SourceInfo:
    junction = camera = None
    if source.junction_id is not None and source.junction_name is not None:
        junction = JunctionRef(source.junction_id, source.junction_name)
    if source.camera_id is not None and source.camera_name is not None:
        camera = CameraRef(source.camera_id, source.camera_name)
    return SourceInfo(
        id=source.id,
        name=source.name,
        kind=source.kind,
        via=Via(source.via),
        sensor=source.sensor,
        timezone=source.timezone,
        device=DeviceRef(source.device_id, source.device_name),
        junction=junction,
        camera=camera,
    )
