"""What can be exported, and which columns it has. Names tell units; what was not measured is empty."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType


class What(StrEnum):
    """What is exported."""

    COUNTS = "counts"
    """Each crossing, passage and visit."""
    ROLLUPS = "rollups"
    """Counts per bucket, with what was measured: a row also for a bucket without any."""
    CYCLES = "cycles"
    LANES = "lanes"
    """The lanes of each cycle."""
    EVENTS = "events"
    """The high-resolution log of the lights."""
    OCCUPANCY = "occupancy"
    HEALTH = "health"
    OVERRIDES = "overrides"


class Kind(StrEnum):
    """What a column holds."""

    TEXT = "text"
    INT = "int"
    FLOAT = "float"
    BOOL = "bool"
    TIME = "time"


@dataclass(frozen=True, slots=True)
class Column:
    """One column. Any value may be missing."""

    name: str
    kind: Kind


class Measure(StrEnum):
    """What tells how much of the range was measured."""

    SOURCES = "sources"
    STREAMS = "streams"
    NOTHING = "nothing"


@dataclass(frozen=True)
class Table:
    """Rows that `sql/export.sql` reads by the block of the same name.

    Attributes:
        key: what the rows are ordered by, and their first columns in the query; a page goes on after it. Next
            comes the local time, then the columns, then how much of the range was measured.
        series: the time series that the rows are of, if they are.
    """

    key: Mapping[str, object]
    columns: tuple[Column, ...]
    series: str | None
    measure: Measure


def _columns(text: str) -> tuple[Column, ...]:
    """From `name:kind` words; without a kind it is a text."""
    pairs = (word.partition(":") for word in text.split())
    return tuple(Column(name, Kind(kind or "text")) for name, _, kind in pairs)


_RECORD: Mapping[str, object] = MappingProxyType({"stream_no": -1, "seq": -1})
_NO_ID = "00000000-0000-0000-0000-000000000000"
_AT = _columns("junction at_utc:time at_local")
_RANGE = _columns("range_from_utc:time range_to_utc:time range_measured_s:float")

TABLES: Mapping[What, Table] = MappingProxyType(
    {
        What.COUNTS: Table(
            _RECORD,
            _columns(
                "device sensor source via kind class direction inferred:bool confidence:float track"
                " speed_mps:float at_error_ms:int"
            ),
            "count_events",
            Measure.SOURCES,
        ),
        What.CYCLES: Table(
            _RECORD,
            _columns("device length_s:float mode algorithm plan at_error_ms:int"),
            "traffic_cycles",
            Measure.STREAMS,
        ),
        What.LANES: Table(
            {**_RECORD, "lane": ""},
            _columns(
                "device lane vehicles:int green_s:float yellow_s:float red_s:float saturation:float tags:int"
            ),
            "lane_cycle_data",
            Measure.STREAMS,
        ),
        What.EVENTS: Table(
            _RECORD,
            _columns("device code:int parameter:int at_error_ms:int"),
            "signal_events",
            Measure.NOTHING,
        ),
        What.OCCUPANCY: Table(
            _RECORD,
            _columns(
                "device sensor zone span_ms:int n_mean:float n_max:int n_end:int n_standing:int capacity:int"
                " entries:int exits:int dwell_mean_s:float stood_mean_s:float at_error_ms:int"
            ),
            "zone_occupancy",
            Measure.SOURCES,
        ),
        What.HEALTH: Table(
            _RECORD,
            _columns(
                "device version uptime_s:float cpu_percent:float memory_percent:float rss_mb:float"
                " temperature_c:float disk_free_mb:float outbox_records:int outbox_bytes:int outbox_dropped:int"
                " clock_synced:bool clock_error_ms:int throttled at_error_ms:int"
            ),
            "device_health",
            Measure.NOTHING,
        ),
        What.OVERRIDES: Table(
            {"id": _NO_ID},
            _columns(
                "user mode settings_json why began_at_utc:time ended_at_utc:time ended_by duration_s:float origin"
            ),
            None,
            Measure.NOTHING,
        ),
    }
)
_ROLLUPS = _columns(
    "junction from_utc:time from_local to_utc:time device sensor source via kind class direction n:int"
    " inferred:int state measured_s:float bucket_s:int"
)


def columns_of(what: What) -> tuple[Column, ...]:
    """All columns of an export, in order."""
    if what is What.ROLLUPS:
        return _ROLLUPS + _RANGE
    return _AT + TABLES[what].columns + _RANGE
