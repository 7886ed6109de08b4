"""What the API tells of devices."""

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

import msgspec

from collector.counting.routes import JunctionRef
from collector.fleet.overview import DeviceState, DeviceStory, HealthMoment, SeenDevice, SensorMoment
from collector.fleet.routes import StreamItem, stream_item
from common.records import SensorHealth


class ClockItem(msgspec.Struct, frozen=True):
    """Whether its clock is synchronised, and by how much it may be off; null: not known."""

    synced: bool
    error_ms: int | None


class OutboxItem(msgspec.Struct, frozen=True):
    """What waits on the device to be sent. `dropped`: records it had to drop ever; each is covered by a gap."""

    records: int
    bytes: int
    dropped: int


class SensorItem(msgspec.Struct, frozen=True):
    """A camera or tag reader, as its device told at `health_at`."""

    name: str
    state: str
    """`ok`, or what is wrong: `unreachable`, `frozen`, `black`, ..."""
    fps: float | None
    dropped: int
    latency_ms: float | None
    restarts: int


class DeviceHealthItem(msgspec.Struct, frozen=True):
    """A device and how it is. Null is what it has not told, or what its machine cannot tell."""

    id: UUID
    name: str
    junction: JunctionRef | None
    status: Literal["active", "revoked"]
    state: DeviceState
    """`healthy`: heard less than 5 minutes ago, `warning`: less than 15, `critical`: longer, `never`."""
    received_at: datetime | None
    """When it was last heard."""
    last_at: datetime | None
    """The time of its latest record."""
    created_at: datetime
    revoked_at: datetime | None
    health_at: datetime | None
    """When it told what follows, up to the sensors."""
    version: str | None
    uptime_s: float | None
    cpu_percent: float | None
    memory_percent: float | None
    temperature_c: float | None
    disk_free_mb: float | None
    throttled: str | None
    """What its firmware complains of: under-voltage, ..."""
    clock: ClockItem | None
    outbox: OutboxItem | None
    sensors: list[SensorItem]
    made: int
    """Records it made, over all its streams: as many as were stored, rejected and lost."""
    stored: int
    rejected: int
    lost: int
    adds_up: bool
    rejects_open: int
    """Records that were put aside and not marked as seen; counted up to 1000 a stream."""
    gaps_last_day: int
    lost_last_day: int


class DeviceList(msgspec.Struct, frozen=True):
    """A page of devices at the moment `as_of`. `next_offset` null: it was the last one."""

    as_of: datetime
    devices: list[DeviceHealthItem]
    next_offset: int | None


class HealthMomentItem(msgspec.Struct, frozen=True):
    """The quarter of an hour that begins at `at`: the worst of each. A quarter that is missing was not told."""

    at: datetime
    temperature_c: float | None
    outbox_records: int
    disk_free_mb: float | None
    cpu_percent: float | None


class SensorMomentItem(msgspec.Struct, frozen=True):
    """What a sensor told of its signal over the `span_ms` that end at `at`."""

    at: datetime
    sensor: str
    state: str
    span_ms: int
    fps: float | None
    reconnects: int
    detail: str | None


class DeviceStoryItem(msgspec.Struct, frozen=True):
    """One device, its streams with their latest gaps, and its last day."""

    as_of: datetime
    device: DeviceHealthItem
    streams: list[StreamItem]
    health: list[HealthMomentItem]
    sensor_history: list[SensorMomentItem]
    """Newest first."""


def device_item(device: SeenDevice) -> DeviceHealthItem:
    """A device as it is told."""
    told = {name: getattr(device, name) for name in _SAME_NAMES}
    return DeviceHealthItem(
        junction=_junction(device),
        state=device.state,
        clock=None if device.clock_synced is None else ClockItem(device.clock_synced, device.clock_error_ms),
        outbox=_outbox(device),
        sensors=[_sensor(each) for each in device.sensors or []],
        **told,
    )


_SAME_NAMES = (
    *("id", "name", "status", "received_at", "last_at", "created_at", "revoked_at", "health_at", "version"),
    *("uptime_s", "cpu_percent", "memory_percent", "temperature_c", "disk_free_mb", "throttled"),
    *("made", "stored", "rejected", "lost", "adds_up", "rejects_open", "gaps_last_day", "lost_last_day"),
)


def story_item(story: DeviceStory) -> DeviceStoryItem:
    """All of one device as it is told."""
    return DeviceStoryItem(
        as_of=story.device.as_of,
        device=device_item(story.device),
        streams=[stream_item(stream, story.gaps[stream.no]) for stream in story.streams],
        health=[_health(each) for each in story.health],
        sensor_history=[_moment(each) for each in story.sensors],
    )


def _junction(device: SeenDevice) -> JunctionRef | None:
    if device.junction_id is None or device.junction_name is None:
        return None
    return JunctionRef(device.junction_id, device.junction_name)


def _outbox(device: SeenDevice) -> OutboxItem | None:
    if device.outbox_records is None or device.outbox_bytes is None or device.outbox_dropped is None:
        return None
    return OutboxItem(device.outbox_records, device.outbox_bytes, device.outbox_dropped)


def _sensor(row: list[Any]) -> SensorItem:
    told = msgspec.convert(row, SensorHealth)
    return SensorItem(told.sensor, told.state, told.fps, told.dropped, told.latency_ms, told.restarts)


def _health(moment: HealthMoment) -> HealthMomentItem:
    return HealthMomentItem(
        moment.at, moment.temperature_c, moment.outbox_records, moment.disk_free_mb, moment.cpu_percent
    )


def _moment(moment: SensorMoment) -> SensorMomentItem:
    return SensorMomentItem(
        moment.at, moment.sensor, moment.state, moment.span_ms, moment.fps, moment.reconnects, moment.detail
    )
