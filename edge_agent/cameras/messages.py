"""What the agent and its camera processes tell each other. Neither side needs the other's libraries for it.

To the process, once, on its standard input: a `CameraJob`. From it, over a pipe of its own: messages, each with
its length in four bytes before it. Times are CLOCK_BOOTTIME in ns, the same clock in all processes of a machine;
the agent makes stamps of them.
"""

import signal
import struct

import msgspec

from common.codes import Direction, GapReason
from common.records import Record
from edge_agent.domain.focus import Focus
from edge_agent.drivers.sources.options import SourceOptions

LENGTH = struct.Struct("<I")
MAX_MESSAGE_BYTES = 4 * 1024 * 1024
"""Longer than any record may be. A larger length is a sign that the two have lost step."""

SNAPSHOT_SIGNAL = signal.SIGUSR1
"""Tells a process that is `Ready` that a picture is wanted. It sends a `Snapshot` with its next one."""

Shape = tuple[str, tuple[tuple[float, float], ...], str]
"""Name, points in pixels, anchor: what makes a line."""
ZoneShape = tuple[str, tuple[tuple[float, float], ...], str, int | None, float]
"""The same of a zone, its capacity, and after how many seconds who stands in it is parked."""
TurnRule = tuple[str, tuple[str, Direction], tuple[str, Direction], float]
"""Name, the line and direction of coming, those of leaving, the most seconds in between."""


class CameraJob(msgspec.Struct, frozen=True):
    """What a camera process is to do."""

    camera: str
    source: str
    model: str
    fps: float | None
    threads: int
    birth_score: float | None
    """A detection makes a new vehicle from this score on; None: as is usual."""
    classes: tuple[str, ...] | None
    lines: tuple[Shape, ...]
    zones: tuple[ZoneShape, ...]
    black_after_s: float
    frozen_after_s: float
    decoder: str | None = None
    normalisation: str | None = None
    input_size_px: tuple[int, int] | None = None
    provider: str = "cpu"
    """These four: how the model is read, fed and run, as `ModelOptions` has it."""
    turns: tuple[TurnRule, ...] = ()
    ground_points: tuple[tuple[float, float, float, float], ...] = ()
    """What the camera is calibrated by: x_px, y_px, x_m, y_m."""
    options: SourceOptions = SourceOptions()
    focus: Focus = Focus()
    size_px: tuple[int, int] | None = None
    """Width and height that its pictures had before; others are refused where anything is drawn on them."""
    silence_s: float = 30.0
    """A source that gives no picture for so long is given up."""
    sysfs: str = "/sys"
    """Where the kernel tells how hot it is."""
    probe: bool = False
    """Only open everything, look at some pictures, tell what they are like, and end."""
    snapshot: bool = False
    """The same, and give one of them."""
    live: bool = False
    """Tell at once what changes in its zones: lights go by it."""


class Ready(msgspec.Struct, frozen=True, tag="ready"):
    """The model is loaded, the source open, and the first picture was seen. What is measured begins here."""

    boottime_ns: int
    width_px: int
    height_px: int
    warm_up_ms: float
    """How long the model took for its first picture."""
    calibration: str | None = None
    """How good it is, in words, where there is one."""
    unknown_classes: tuple[str, ...] = ()
    """Classes that are to be counted and that the model does not know."""
    lines: tuple[str, ...] = ()
    zones: tuple[str, ...] = ()
    turns: tuple[str, ...] = ()
    """What is counted at."""


class Probed(msgspec.Struct, frozen=True, tag="probed"):
    """The answer to a probe: how fast pictures come, and how long the model takes for one."""

    fps: float
    model_ms: float


class Fact(msgspec.Struct, frozen=True, tag="fact"):
    """A record, ready but for its numbers, and when it happened."""

    boottime_ns: int
    record: Record
    open_block: "Fact | None" = None
    """What was measured by when this was found out, and is not told yet: kept together with it, so that no count
    lies outside of what was measured."""


class InZone(msgspec.Struct, frozen=True):
    """What is in a zone now."""

    zone: str
    n: int
    n_standing: int
    capacity: int | None


class ZonesSeen(msgspec.Struct, frozen=True, tag="zones"):
    """What a picture showed in the zones: sent when it changes, and about once a second while pictures come."""

    boottime_ns: int
    """When the picture was taken."""
    zones: tuple[InZone, ...]


class Beat(msgspec.Struct, frozen=True, tag="beat"):
    """The process goes on. Sent by the loop that does the work, about once a second.

    `open_block` is what was measured since the last block that was sent: if the process dies, that stands.
    """

    boottime_ns: int
    state: str
    fps: float
    dropped: int
    """Since the process began."""
    latency_ms: float | None
    open_block: Fact | None
    zones: tuple[InZone, ...] = ()
    detail: str = ""
    """Why fewer pictures are looked at than was asked for, for people."""


class Snapshot(msgspec.Struct, frozen=True, tag="snapshot"):
    """A picture that was asked for, in which nobody can be recognised."""

    jpeg: bytes


class Failed(msgspec.Struct, frozen=True, tag="failed"):
    """The process cannot go on and ends. `message` says what to do about it."""

    reason: GapReason
    message: str


class Finished(msgspec.Struct, frozen=True, tag="finished"):
    """The process was asked to end and has told everything."""


Message = Ready | Probed | Snapshot | Fact | ZonesSeen | Beat | Failed | Finished

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Message)


def encode_job(job: CameraJob) -> bytes:
    """The job as it goes over standard input."""
    return msgspec.json.encode(job)


def decode_job(text: bytes) -> CameraJob:
    """The job that came over standard input.

    Raises:
        msgspec.DecodeError: it is none.
    """
    return msgspec.json.decode(text, type=CameraJob)


def encode(message: Message) -> bytes:
    """The message with its length before it."""
    body = _encoder.encode(message)
    return LENGTH.pack(len(body)) + body


def decode(body: bytes) -> Message:
    """The message that `body`, without the length, stands for.

    Raises:
        msgspec.DecodeError: it is none.
    """
    message: Message = _decoder.decode(body)
    return message
