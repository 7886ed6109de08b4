"""Which rows a record becomes: one function per kind, and what each table is called by COPY.

To store a new kind, add its table here, its function, and a line in `_BUILDERS`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any
from uuid import UUID

import msgspec
from msgspec.structs import astuple
from psycopg import sql
from psycopg.types.json import Jsonb

from collector.counting.in_force import CountedAt, counted_at_in
from collector.ingest.decode import Item, Refused, raw_text
from collector.ingest.names import DeviceNames, Unknown
from collector.junctions.description import Described, described_in
from collector.junctions.lights import LIVE_CODES
from collector.junctions.lights_log import Told, told_by, told_in
from collector.realtime.events import Light, is_live_log
from common.codes import Direction, Via
from common.records import (
    CommandResult,
    Count,
    Cycle,
    Detections,
    Frames,
    Gap,
    Health,
    Log,
    Occupancy,
    SignalEvent,
    StreamQuality,
)

_PG_EPOCH_MS = 946_684_800_000
_MINUTE_MS = 60_000
_MINUTE_US = 60_000_000
_UNTOLD = "untold"
"""Reason of a gap that was itself put aside."""
_TIME = "int8"
"""A timestamptz travels as its microseconds since 2000 (`pg_time`): the same bytes, without a datetime per row."""


@dataclass(frozen=True, eq=False)
class Table:
    """A table that is filled by binary COPY."""

    name: str
    columns: dict[str, str]
    """Column -> PostgreSQL type that its values are sent as."""
    copy: bytes = field(init=False)
    types: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        columns = sql.SQL(", ").join(sql.Identifier(column) for column in self.columns)
        copy = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT binary)").format(sql.Identifier(self.name), columns)
        object.__setattr__(self, "copy", copy.as_bytes(None))
        object.__setattr__(self, "types", tuple(self.columns.values()))


def _measured(name: str, **columns: str) -> Table:
    """A table of measurements: the columns that all have, then its own."""
    return Table(name, {"at": _TIME, "at_error_ms": "int8", "seq": "int8", "stream_no": "int4"} | columns)


COUNT_EVENTS = _measured(
    "count_events",
    source_no="int4",
    cls="text",
    direction="text",
    confidence="float4",
    track="text",
    inferred="bool",
    speed_mps="float4",
)
ZONE_OCCUPANCY = _measured(
    "zone_occupancy",
    source_no="int4",
    span_ms="int8",
    n_mean="float4",
    n_max="int4",
    n_end="int4",
    entries="int4",
    exits="int4",
    dwell_mean_s="float4",
    stood_mean_s="float4",
    n_standing="int4",
    capacity="int4",
)
FRAME_METADATA = _measured(
    "frame_metadata",
    camera_no="int4",
    span_ms="int8",
    measured_ms="int8",
    n="int4",
    dropped="int4",
    width_px="int4",
    height_px="int4",
    latency_p50_ms="float4",
    latency_p95_ms="float4",
    classes="jsonb",
)
DETECTIONS = _measured("detections", camera_no="int4", boxes="jsonb")
TRAFFIC_CYCLES = _measured(
    "traffic_cycles", length_s="float4", junction="text", mode="text", algorithm="text", plan="text"
)
LANE_CYCLE_DATA = Table(
    "lane_cycle_data",
    {
        "at": _TIME,
        "seq": "int8",
        "stream_no": "int4",
        "vehicles": "int4",
        "green_s": "float4",
        "yellow_s": "float4",
        "red_s": "float4",
        "saturation": "float4",
        "lane": "text",
        "epc_ids": "text[]",
    },
)
SIGNAL_EVENTS = _measured("signal_events", code="int2", parameter="int2", junction="text")
DEVICE_HEALTH = _measured(
    "device_health",
    outbox_records="int4",
    outbox_bytes="int8",
    outbox_dropped="int8",
    clock_error_ms="int8",
    uptime_s="float8",
    cpu_percent="float4",
    memory_percent="float4",
    rss_mb="float4",
    temperature_c="float4",
    disk_free_mb="float4",
    clock_synced="bool",
    version="text",
    throttled="text",
    sensors="jsonb",
)
STREAM_QUALITY = _measured(
    "stream_quality_metrics",
    reconnects="int4",
    span_ms="int8",
    fps="float4",
    width_px="int4",
    height_px="int4",
    sensor="text",
    state="text",
    detail="text",
)
SYSTEM_LOGS = _measured("system_logs", level="text", action="text", message="text", context="jsonb")
COMMAND_RESULTS = _measured("command_results", command="text", status="text", detail="text")
INGEST_GAPS = _measured(
    "ingest_gaps",
    reason="text",
    duration_ms="int8",
    sensor="text",
    from_seq="int8",
    dropped="jsonb",
    detail="text",
)
INGEST_REJECTS = Table(
    "ingest_rejects", {"seq": "int8", "stream_no": "int4", "code": "text", "detail": "text", "raw": "text"}
)
ROLLUP_MARKS = Table("rollup_marks", {"minute": _TIME, "ref_no": "int4", "kind": "text"})

Mark = tuple[int, int, str]
"""A minute to roll up again: when it begins (`pg_time`), the source's or camera's `no`, its kind."""


def pg_time(unix_ms: int) -> int:
    """UTC ms since 1970 as PostgreSQL holds a timestamptz: microseconds since 2000."""
    return (unix_ms - _PG_EPOCH_MS) * 1000


@dataclass(slots=True)
class Rows:
    """What the records of one batch become."""

    stream_no: int
    names: DeviceNames
    now_ms: int
    by_table: dict[Table, list[tuple[Any, ...]]] = field(default_factory=dict)
    marks: set[Mark] = field(default_factory=set)
    counts: list[Count] = field(default_factory=list)
    source_ids: list[UUID] = field(default_factory=list)
    """The sources of `counts`, one by one."""
    lights: list[Light] = field(default_factory=list)
    """What those want to hear who watch the lights."""
    described: Described | None = None
    """What the device's junction is said to be, if it is."""
    told: list[Told] = field(default_factory=list)
    """What is said about who controls the junction's lights."""
    counted_at: list[CountedAt] = field(default_factory=list)
    """What cameras count at, as their agent says."""
    results: list[CommandResult] = field(default_factory=list)
    """What came of commands."""
    unknown: Unknown = field(default_factory=Unknown)
    """Names that are not known yet. If there are any, make them known and build the rows again."""

    def add(self, table: Table, row: tuple[Any, ...]) -> None:
        """Add one row. Its values stand in the order of `table.columns`."""
        rows = self.by_table.get(table)
        if rows is None:
            self.by_table[table] = [row]
        else:
            rows.append(row)


def build_rows(
    items: Sequence[Item], raws: Sequence[msgspec.Raw], stream_no: int, names: DeviceNames, now_ms: int
) -> Rows:
    """The rows of `items`, whose texts are `raws`; `now_ms` is now. Look at `unknown` before they are used."""
    rows = Rows(stream_no, names, now_ms)
    for kind, run in groupby(zip(items, raws, strict=True), key=_kind_of):
        if kind is Count:
            _counts(rows, [item for item, _ in run])
            continue
        for item, raw in run:
            if isinstance(item, Refused):
                _refused(rows, item, raw)
            else:
                _BUILDERS[kind](rows, item)
    return rows


def _refused(rows: Rows, item: Refused, raw: msgspec.Raw) -> None:
    """A gap that is put aside itself still tells that the records before it were lost."""
    rows.add(INGEST_REJECTS, (item.seq, rows.stream_no, item.code, item.detail, raw_text(raw)))
    if item.first_seq < item.seq:
        detail = f"told by record {item.seq}, which was put aside"
        told = (_UNTOLD, 0, None, item.first_seq, _json({}), detail)
        rows.add(INGEST_GAPS, (pg_time(rows.now_ms), 0, item.seq - 1, rows.stream_no, *told))


def _kind_of(pair: tuple[Item, msgspec.Raw]) -> type:
    return type(pair[0])


def _counts(rows: Rows, records: Sequence[Any]) -> None:
    """The hot path: most of what ever arrives goes through this loop."""
    sources, stream_no = rows.names.sources, rows.stream_no
    table = rows.by_table.setdefault(COUNT_EVENTS, [])
    for record in records:
        seq, at, at_error_ms, sensor, name, via, cls, direction, *rest = astuple(record)
        source = sources.get((sensor, name, via))
        if source is None:
            rows.unknown.sources[sensor, name, via] = _kind(record)
            continue
        at_us = (at - _PG_EPOCH_MS) * 1000
        table.append((at_us, at_error_ms, seq, stream_no, source.no, cls, direction, *rest))
        rows.marks.add((at_us - at_us % _MINUTE_US, source.no, "count"))
        rows.counts.append(record)
        rows.source_ids.append(source.id)


_KINDS = {Via.RFID: "reader", Via.TURN: "turn", Via.UNPAIRED: "unpaired"}


def _kind(record: Count) -> str:
    """What a source is that is seen for the first time, with this record."""
    if record.via in _KINDS:
        return _KINDS[record.via]
    return "zone" if record.direction is Direction.NONE else "line"


def _occupancy(rows: Rows, r: Occupancy) -> None:
    key = (r.sensor, r.zone, Via.CAMERA)
    source = rows.names.sources.get(key)
    if source is None:
        rows.unknown.sources[key] = "zone"
        return
    payload = (r.span_ms, r.n_mean, r.n_max, r.n_end, r.entries, r.exits, r.dwell_mean_s)
    rows.add(ZONE_OCCUPANCY, (*_head(rows, r), source.no, *payload, r.stood_mean_s, r.n_standing, r.capacity))
    rows.lights.append(r)


def _frames(rows: Rows, r: Frames) -> None:
    camera_no = _camera_no(rows, r.sensor)
    if camera_no is None:
        return
    sizes = (r.width_px, r.height_px, r.latency_p50_ms, r.latency_p95_ms)
    payload = (r.span_ms, r.measured_ms, r.n, r.dropped, *sizes, _json(r.classes))
    rows.add(FRAME_METADATA, (*_head(rows, r), camera_no, *payload))
    first_ms = r.at - r.span_ms
    for minute_ms in range(first_ms - first_ms % _MINUTE_MS, r.at, _MINUTE_MS):
        rows.marks.add((pg_time(minute_ms), camera_no, "coverage"))


def _detections(rows: Rows, r: Detections) -> None:
    camera_no = _camera_no(rows, r.sensor)
    if camera_no is not None:
        rows.add(DETECTIONS, (*_head(rows, r), camera_no, _json(r.boxes)))


def _cycle(rows: Rows, r: Cycle) -> None:
    rows.add(TRAFFIC_CYCLES, (*_head(rows, r), r.length_s, r.junction, r.mode, r.algorithm, r.plan))
    for lane in r.lanes:
        times = (lane.green_s, lane.yellow_s, lane.red_s, lane.saturation)
        row = (pg_time(r.at), r.seq, rows.stream_no, lane.vehicles, *times, lane.lane, lane.epcs)
        rows.add(LANE_CYCLE_DATA, row)
    rows.lights.append(r)


def _signal_event(rows: Rows, r: SignalEvent) -> None:
    rows.add(SIGNAL_EVENTS, (*_head(rows, r), r.code, r.parameter, r.junction))
    if r.code in LIVE_CODES:
        rows.lights.append(r)
    told = told_by(r)
    if told is not None:
        rows.told.append(told)


def _health(rows: Rows, r: Health) -> None:
    outbox = (r.outbox_records, r.outbox_bytes, r.outbox_dropped)
    machine = (r.uptime_s, r.cpu_percent, r.memory_percent, r.rss_mb, r.temperature_c, r.disk_free_mb)
    rest = (r.clock_synced, r.version, r.throttled, _json(r.sensors))
    rows.add(DEVICE_HEALTH, (*_head(rows, r), *outbox, r.clock_error_ms, *machine, *rest))


def _stream_quality(rows: Rows, r: StreamQuality) -> None:
    picture = (r.reconnects, r.span_ms, r.fps, r.width_px, r.height_px)
    rows.add(STREAM_QUALITY, (*_head(rows, r), *picture, r.sensor, r.state, r.detail))


def _log(rows: Rows, r: Log) -> None:
    rows.add(SYSTEM_LOGS, (*_head(rows, r), r.level, r.action, r.message, _json(r.context)))
    rows.described = described_in(r) or rows.described
    rows.told += told_in(r)
    counted_at = counted_at_in(r)
    if counted_at is not None:
        _counted_at(rows, counted_at)
    if is_live_log(r):
        rows.lights.append(r)


def _counted_at(rows: Rows, told: CountedAt) -> None:
    """What was never crossed is there too: nobody came, and that was measured."""
    for (name, via), kind in told.sources.items():
        if (told.sensor, name, via) not in rows.names.sources:
            rows.unknown.sources[told.sensor, name, via] = kind
    rows.counted_at.append(told)


def _command_result(rows: Rows, r: CommandResult) -> None:
    rows.add(COMMAND_RESULTS, (*_head(rows, r), r.command, r.status, r.detail))
    rows.results.append(r)


def _gap(rows: Rows, r: Gap) -> None:
    payload = (r.reason, r.duration_ms, r.sensor, r.from_seq, _json(r.dropped), r.detail)
    rows.add(INGEST_GAPS, (*_head(rows, r), *payload))


def _head(rows: Rows, record: Any) -> tuple[int, int, int, int]:
    return pg_time(record.at), record.at_error_ms, record.seq, rows.stream_no


def _camera_no(rows: Rows, name: str) -> int | None:
    camera_no = rows.names.cameras.get(name)
    if camera_no is None:
        rows.unknown.cameras.add(name)
    return camera_no


def _json(value: Any) -> Jsonb:
    return Jsonb(value, dumps=msgspec.json.encode)


_BUILDERS: dict[type, Callable[[Rows, Any], None]] = {
    Occupancy: _occupancy,
    Frames: _frames,
    Detections: _detections,
    Cycle: _cycle,
    SignalEvent: _signal_event,
    Health: _health,
    StreamQuality: _stream_quality,
    Log: _log,
    CommandResult: _command_result,
    Gap: _gap,
}
