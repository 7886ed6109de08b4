"""The records an agent sends. Frozen, append-only, and the hot path of both sides.

A record travels as a JSON array that begins with its kind: `["count", seq, at, at_error_ms, ...]`.

* `seq` numbers a stream's records from 1 without a hole; `(device, stream, epoch, seq)` is a record's identity.
* `at` is the one absolute time in a record: UTC, in ms since 1970. All other times are durations that lead
  up to it, so that a clock that was wrong when the record was made can be mended in one place.
* `at_error_ms` is how far `at` may be off either way. 0 says that the clock was synchronised.

How they change: a field is only ever added, at the end, with a default. Older collectors ignore what
follows the fields they know; `tests/cases/wire/` holds samples of every kind that must parse for ever.
"""

from typing import Annotated

import msgspec
from msgspec import Meta

from common.codes import Direction, DropClass, GapReason, Via

Seq = Annotated[int, Meta(ge=1, le=2**62)]
UnixMs = Annotated[int, Meta(ge=-(2**53), le=2**53)]
DurationMs = Annotated[int, Meta(ge=0, le=2**53)]
Tally = Annotated[int, Meta(ge=0, le=2**31 - 1)]
Share = Annotated[float, Meta(ge=0.0, le=1.0)]
Magnitude = Annotated[float, Meta(ge=0.0, le=1e15)]
Name = Annotated[str, Meta(min_length=1, max_length=100)]
Text = Annotated[str, Meta(max_length=8000)]
Scalar = str | int | float | bool | None


class _Record(msgspec.Struct, frozen=True, array_like=True):
    seq: Seq
    at: UnixMs
    at_error_ms: DurationMs


class Count(_Record, frozen=True, array_like=True, tag="count"):
    """One vehicle or person crossed a line, passed a reader, entered a zone or ended a turn, at `at`."""

    sensor: Name
    """The camera or reader."""
    source: Name
    """The line, zone, turn or reader that counted; unique within the device."""
    via: Via
    cls: Name
    """`car`, `bus`, `person`, ...; `object` where no class was told."""
    direction: Direction
    confidence: Share | None = None
    track: Text | None = None
    """The track's id, or the tag's EPC."""
    inferred: bool = False
    """The crossing itself was not seen; the track was first seen just past the line."""
    speed_mps: Magnitude | None = None


class Occupancy(_Record, frozen=True, array_like=True, tag="occupancy"):
    """How full a zone was over the `span_ms` that end at `at`."""

    sensor: Name
    zone: Name
    span_ms: DurationMs
    n_mean: Magnitude
    n_max: Tally
    n_end: Tally
    entries: Tally = 0
    exits: Tally = 0
    dwell_mean_s: Magnitude | None = None
    """Mean stay of the visits that ended within the span; none ended: None."""
    stood_mean_s: Magnitude | None = None
    """How long of it they stood still; none ended, or not told: None."""
    n_standing: Tally | None = None
    """How many of `n_end` stand; the others move. Not told: None."""
    capacity: Tally | None = None
    """How many the zone is meant for, as configured."""


class ClassRange(msgspec.Struct, frozen=True, array_like=True):
    """How many objects of one class a frame showed, over the frames of a block."""

    n_min: Tally
    n_mean: Magnitude
    n_max: Tally


class Frames(_Record, frozen=True, array_like=True, tag="frames"):
    """A packed block of one camera's frames: the `span_ms` that end at `at`.

    It is also the proof of measurement: `measured_ms` of `span_ms` were watched. Where no block covers a time,
    nothing was measured then.
    """

    sensor: Name
    span_ms: DurationMs
    measured_ms: DurationMs
    n: Tally
    """Frames that went through the detector."""
    dropped: Tally
    """Frames that the camera gave and that were skipped for newer ones."""
    classes: dict[Name, ClassRange] = {}
    latency_p50_ms: Magnitude | None = None
    """Detector time per frame."""
    latency_p95_ms: Magnitude | None = None
    width_px: Tally | None = None
    height_px: Tally | None = None


class Box(msgspec.Struct, frozen=True, array_like=True):
    """One detection, in pixels of the frame as the camera gave it."""

    cls: Name
    score: Share
    x1_px: float
    y1_px: float
    x2_px: float
    y2_px: float
    track: Name | None = None


class Detections(_Record, frozen=True, array_like=True, tag="detections"):
    """The boxes of one sampled frame. Off unless asked for."""

    sensor: Name
    boxes: Annotated[list[Box], Meta(max_length=1000)]


class LaneCycle(msgspec.Struct, frozen=True, array_like=True):
    """What one lane got and gave in one signal cycle. `vehicles` None: not measured."""

    lane: Name
    vehicles: Tally | None
    green_s: Magnitude
    yellow_s: Magnitude
    red_s: Magnitude
    saturation: Magnitude | None = None
    """Degree of saturation, demand over capacity."""
    epcs: list[Name] = []


class Cycle(_Record, frozen=True, array_like=True, tag="cycle"):
    """One signal cycle of a junction, the `length_s` that end at `at`."""

    junction: Name
    length_s: Magnitude
    mode: Name
    algorithm: Name
    lanes: Annotated[list[LaneCycle], Meta(max_length=64)]
    plan: Name | None = None


class SignalEvent(_Record, frozen=True, array_like=True, tag="signal_event"):
    """One entry of the high-resolution event log, in the standard (Indiana) enumerations."""

    junction: Name
    code: Annotated[int, Meta(ge=0, le=32767)]
    parameter: Annotated[int, Meta(ge=0, le=32767)]


class SensorHealth(msgspec.Struct, frozen=True, array_like=True):
    """One camera or reader, at the moment of a health record."""

    sensor: Name
    state: Name
    fps: Magnitude | None = None
    dropped: Tally = 0
    latency_ms: Magnitude | None = None
    restarts: Tally = 0


class Health(_Record, frozen=True, array_like=True, tag="health"):
    """How the Pi is. None: this machine cannot tell."""

    version: Name
    uptime_s: Magnitude
    cpu_percent: Magnitude | None
    memory_percent: Magnitude | None
    rss_mb: Magnitude | None
    """Memory of the agent and its camera processes."""
    temperature_c: float | None
    disk_free_mb: Magnitude | None
    outbox_records: Tally
    outbox_bytes: DurationMs
    outbox_dropped: DurationMs
    """Records that the outbox had to drop since it was made; each is covered by a gap."""
    clock_synced: bool
    clock_error_ms: DurationMs | None = None
    sensors: list[SensorHealth] = []
    throttled: str | None = None
    """Raspberry Pi firmware flags in words: under-voltage, throttled, ..."""


class StreamQuality(_Record, frozen=True, array_like=True, tag="stream_quality"):
    """A sensor's signal over the `span_ms` that end at `at`: written when it changes, and now and then."""

    sensor: Name
    state: Name
    """`ok`, `unreachable`, `frozen`, `black`, ..."""
    span_ms: DurationMs
    fps: Magnitude | None = None
    reconnects: Tally = 0
    width_px: Tally | None = None
    height_px: Tally | None = None
    detail: Text | None = None


class Log(_Record, frozen=True, array_like=True, tag="log"):
    """A line of the agent's log that the collector should see."""

    level: Name
    action: Name
    message: Text
    context: dict[str, Scalar] = {}


SOURCES_ACTION = "camera_sources"
"""The action of the `log` by which an agent tells what a camera counts at from then on: `sensor`, and `lines`,
`zones` and `turns` as JSON lists of names. What is not among them is not measured from then on."""


class CommandResult(_Record, frozen=True, array_like=True, tag="command_result"):
    """What became of a command from the collector."""

    command: Name
    status: Name
    detail: Text | None = None


class Gap(_Record, frozen=True, array_like=True, tag="gap"):
    """Something is missing for the `duration_ms` that end at `at`, and this says what and why.

    With `from_seq` None it is a record like any other: a time that was not measured. With `from_seq` it stands
    *in the place of* the records `from_seq..seq` of its stream, which were made and then lost: they number
    `seq - from_seq + 1`, and no record of its own is added.
    """

    reason: GapReason
    duration_ms: DurationMs
    sensor: Name | None = None
    from_seq: Seq | None = None
    dropped: dict[DropClass, Tally] = {}
    """How many of each class were lost, where that is known."""
    detail: Text | None = None


Record = (
    Count
    | Occupancy
    | Frames
    | Detections
    | Cycle
    | SignalEvent
    | Health
    | StreamQuality
    | Log
    | CommandResult
    | Gap
)
"""Any record of the wire; msgspec tells them apart by the first element."""

KINDS: dict[str, type[Record]] = {
    "count": Count,
    "occupancy": Occupancy,
    "frames": Frames,
    "detections": Detections,
    "cycle": Cycle,
    "signal_event": SignalEvent,
    "health": Health,
    "stream_quality": StreamQuality,
    "log": Log,
    "command_result": CommandResult,
    "gap": Gap,
}


def first_covered_seq(record: Record) -> int:
    """The first sequence number that `record` accounts for: its own, or a gap's `from_seq`."""
    if isinstance(record, Gap) and record.from_seq is not None:
        return record.from_seq
    return record.seq
