"""The proof that nothing was lost: per device and stream, what came, and that it adds up.

The counters of a stream change in the transaction that stores its records, and retention never touches them. The
audit does not trust them: it counts the rows themselves.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg import sql
from psycopg.rows import class_row, dict_row

from collector.db import Connection, Pool, load_queries, reading
from collector.fleet.devices import Device, read_devices

MAX_GAPS = 100
"""Latest gaps that are listed per stream."""
_AUDIT_TIMEOUT_S = 4 * 3600.0

RECORD_TABLES = (
    "count_events",
    "zone_occupancy",
    "frame_metadata",
    "detections",
    "traffic_cycles",
    "signal_events",
    "device_health",
    "stream_quality_metrics",
    "system_logs",
    "command_results",
)
"""Tables in which a row is a record of its own."""


@dataclass(frozen=True)
class Gap:
    """Something that is known to be missing. `from_seq` None: a time that was not measured, no lost record."""

    stream_no: int
    seq: int
    from_seq: int | None
    at: datetime
    duration_ms: int
    reason: str
    sensor: str | None
    dropped: dict[str, int]
    detail: str | None


@dataclass(frozen=True)
class Stream:
    """One stream of a device, of one epoch. `lost_in_gaps` is `lost`, counted from the gaps themselves."""

    no: int
    device_id: UUID
    stream: str
    epoch: UUID
    last_seq: int
    stored: int
    rejected: int
    lost: int
    first_received_at: datetime
    last_received_at: datetime
    last_at: datetime | None
    n_gaps: int
    lost_in_gaps: int
    rejects_kept: int

    @property
    def adds_up(self) -> bool:
        """Every number up to the last is stored, rejected, or known to be lost."""
        return self.last_seq == self.stored + self.rejected + self.lost and self.lost == self.lost_in_gaps


@dataclass(frozen=True)
class DeviceCompleteness:
    """A device, its streams, and the latest gaps of each by the stream's number."""

    device: Device
    streams: tuple[Stream, ...]
    gaps: dict[int, list[Gap]]


@dataclass(frozen=True)
class Finding:
    """Something that does not add up. `kind`: miscounted, duplicate, hole or rollup."""

    kind: str
    detail: str


async def completeness(
    pool: Pool, devices: Sequence[str] | None = None, *, limit: int = 100, offset: int = 0
) -> list[DeviceCompleteness]:
    """What each device sent, as of one moment; `devices` are names or ids, None: all."""
    queries = load_queries("fleet")
    async with reading(pool) as connection:
        found = await read_devices(connection, devices, limit, offset)
        streams = defaultdict(list)
        async with connection.cursor(row_factory=class_row(Stream)) as cursor:
            await cursor.execute(queries["streams"], {"devices": [device.id for device in found]})
            for stream in await cursor.fetchall():
                streams[stream.device_id].append(stream)
        gaps = defaultdict(list)
        async with connection.cursor(row_factory=class_row(Gap)) as cursor:
            numbers = [stream.no for each in streams.values() for stream in each if stream.n_gaps]
            await cursor.execute(queries["gaps"], {"streams": numbers, "limit": MAX_GAPS})
            for gap in await cursor.fetchall():
                gaps[gap.stream_no].append(gap)
    return [
        DeviceCompleteness(
            device,
            tuple(streams[device.id]),
            {stream.no: gaps[stream.no] for stream in streams[device.id]},
        )
        for device in found
    ]


async def audit(pool: Pool, *, limit: int = 100) -> list[Finding]:
    """Reads every row and holds it against the counters and rollups; at most `limit` findings of each kind.

    It may take hours on a large store. It sees one moment, and blocks nobody.
    """
    async with reading(pool, statement_timeout_s=_AUDIT_TIMEOUT_S) as connection:
        return [
            *await _find(connection, "audit_streams", limit, _miscounted),
            *await _find(connection, "audit_duplicates", limit, _duplicate),
            *await _find(connection, "audit_holes", limit, _hole),
            *await _find(connection, "audit_rollups", limit, _rollup),
        ]


async def _find(connection: Connection, name: str, limit: int, tell: Any) -> list[Finding]:
    statement = load_queries("fleet")[name]
    if b"{rows}" in statement:
        statement = statement.replace(b"{rows}", _all_records().as_bytes(connection))
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(statement, {"limit": limit}, prepare=False)
        return [tell(row) for row in await cursor.fetchall()]


def _all_records() -> sql.Composed:
    """Stream and number of all records that have a row."""
    # A log that somebody posted belongs to no stream.
    rows = sql.SQL("SELECT stream_no, seq FROM {} WHERE stream_no IS NOT NULL")
    each = [rows.format(sql.Identifier(table)) for table in RECORD_TABLES]
    gaps = sql.SQL("SELECT stream_no, seq FROM ingest_gaps WHERE from_seq IS NULL")
    return sql.SQL(" UNION ALL ").join([*each, gaps])


def _miscounted(row: dict[str, Any]) -> Finding:
    return Finding(
        "miscounted",
        f"stream {row['stream']} (no {row['no']}) of device {row['device_id']}, epoch {row['epoch']}: last seq"
        f" {row['last_seq']}, stored {row['stored']} (rows {row['present']} + expired {row['expired']}), rejected"
        f" {row['rejected']} (kept {row['rejects_kept']}), lost {row['lost']} (in gaps {row['lost_in_gaps']})",
    )


def _duplicate(row: dict[str, Any]) -> Finding:
    return Finding("duplicate", f"stream no {row['stream_no']}: record {row['seq']} is there {row['n']} times")


def _hole(row: dict[str, Any]) -> Finding:
    return Finding(
        "hole", f"stream no {row['stream_no']}: nothing accounts for records {row['from_seq']} to {row['to_seq']}"
    )


def _rollup(row: dict[str, Any]) -> Finding:
    return Finding(
        "rollup",
        f"source no {row['source_no']}, minute {row['minute'].isoformat()}, {row['cls']} {row['direction']}:"
        f" {row['raw']} rows, but {row['rolled']} in the rollup",
    )
