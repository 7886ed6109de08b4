"""`GET /api/fleet/completeness`."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

import msgspec
from litestar import get
from litestar.handlers import HTTPRouteHandler
from litestar.openapi.datastructures import ResponseSpec
from litestar.openapi.spec import Example
from litestar.params import QueryParameter

from collector.db import Pool
from collector.fleet.completeness import MAX_GAPS, DeviceCompleteness, Gap, Stream, completeness
from collector.ops.parameters import Limit, Offset


class GapItem(msgspec.Struct, frozen=True):
    """What is missing, and why: the `duration_ms` before `at`.

    With `from_seq`, the records `from_seq` to `seq` were made and then lost. Without, a time was not measured.
    """

    seq: int
    from_seq: int | None
    at: datetime
    duration_ms: int
    reason: str
    sensor: str | None
    dropped: dict[str, int]
    detail: str | None


class StreamItem(msgspec.Struct, frozen=True):
    """One stream of one epoch. `adds_up`: each record up to `last_seq` is stored, rejected or known to be lost."""

    stream: str
    epoch: UUID
    last_seq: int
    stored: int
    rejected: int
    lost: int
    adds_up: bool
    first_received_at: datetime
    last_received_at: datetime
    last_at: datetime | None
    n_gaps: int
    gaps: list[GapItem]
    """The latest of them."""


class DeviceItem(msgspec.Struct, frozen=True):
    """A device and its streams."""

    id: UUID
    name: str
    status: str
    junction: str | None
    adds_up: bool
    streams: list[StreamItem]


class Completeness(msgspec.Struct, frozen=True):
    """A page of devices. `next_offset` None: it was the last one."""

    adds_up: bool
    devices: list[DeviceItem]
    next_offset: int | None


_EXAMPLE = {
    "adds_up": True,
    "devices": [
        {
            "id": "5d1c0e0a-7c1b-4d43-8f34-6f2c2b0c7d01",
            "name": "pi north",
            "status": "active",
            "junction": "Market Square",
            "adds_up": True,
            "streams": [
                {
                    "stream": "main",
                    "epoch": "5e0f5cf7-66a6-4fd0-8be2-2d5b7b6c1b21",
                    "last_seq": 120_000,
                    "stored": 119_499,
                    "rejected": 1,
                    "lost": 500,
                    "adds_up": True,
                    "first_received_at": "2026-05-01T04:00:00Z",
                    "last_received_at": "2026-05-04T10:00:58Z",
                    "last_at": "2026-05-04T10:00:57Z",
                    "n_gaps": 1,
                    "gaps": [
                        {
                            "seq": 80_500,
                            "from_seq": 80_001,
                            "at": "2026-05-02T11:20:00Z",
                            "duration_ms": 5_000_000,
                            "reason": "outbox_full",
                            "sensor": None,
                            "dropped": {"frames": 500},
                            "detail": None,
                        }
                    ],
                }
            ],
        }
    ],
    "next_offset": None,
}

Devices = Annotated[
    list[str] | None, QueryParameter(name="device", description="Name or id of a device; repeatable.")
]


def fleet_routes(pool: Pool) -> list[HTTPRouteHandler]:
    """The handlers."""

    @get(
        "/api/fleet/completeness",
        operation_id="completeness",
        summary="The proof that nothing was lost",
        description=(
            "Per device and stream: the last sequence number, how many records are stored, rejected and known to"
            f" be lost, and that they add up; with the {MAX_GAPS} latest known gaps of each stream."
        ),
        tags=["fleet"],
        responses={
            200: ResponseSpec(Completeness, description="A page of devices.", examples=[Example(value=_EXAMPLE)])
        },
    )
    async def fleet_completeness(device: Devices = None, limit: Limit = 100, offset: Offset = 0) -> Completeness:
        found = await completeness(pool, device, limit=limit + 1, offset=offset)
        devices = [_device(each) for each in found[:limit]]
        return Completeness(
            adds_up=all(each.adds_up for each in devices),
            devices=devices,
            next_offset=offset + limit if len(found) > limit else None,
        )

    return [fleet_completeness]


def _device(found: DeviceCompleteness) -> DeviceItem:
    device = found.device
    streams = [stream_item(stream, found.gaps[stream.no]) for stream in found.streams]
    adds_up = all(stream.adds_up for stream in streams)
    return DeviceItem(device.id, device.name, device.status, device.junction_name, adds_up, streams)


def stream_item(stream: Stream, gaps: list[Gap]) -> StreamItem:
    """A stream as it is told, with its latest gaps."""
    return StreamItem(
        stream=stream.stream,
        epoch=stream.epoch,
        last_seq=stream.last_seq,
        stored=stream.stored,
        rejected=stream.rejected,
        lost=stream.lost,
        adds_up=stream.adds_up,
        first_received_at=stream.first_received_at,
        last_received_at=stream.last_received_at,
        last_at=stream.last_at,
        n_gaps=stream.n_gaps,
        gaps=[_gap(gap) for gap in gaps],
    )


def _gap(gap: Gap) -> GapItem:
    return GapItem(gap.seq, gap.from_seq, gap.at, gap.duration_ms, gap.reason, gap.sensor, gap.dropped, gap.detail)
