"""Closed vocabularies of the wire. A value is never renamed or reused; new ones are added at the end."""

from enum import StrEnum


class Direction(StrEnum):
    """Way across a directed line: IN goes from its left side to its right, OUT the other way."""

    IN = "in"
    OUT = "out"
    NONE = "none"
    """No direction is known: a tag passage, or a visit of a zone."""


class Via(StrEnum):
    """What kind of sensor made a count, or what it was concluded from."""

    CAMERA = "camera"
    RFID = "rfid"
    TRUTH = "truth"
    """The known truth of a simulator, sent beside its counts so that the two can be compared."""
    TURN = "turn"
    """Two crossings of one vehicle, in over one line and out over another. Its lines counted it already."""
    UNPAIRED = "unpaired"
    """A crossing that belongs to a turn, but to none that was seen whole. Its line counted it already."""


class GapReason(StrEnum):
    """Why something is missing: it was not measured, or measured and then dropped."""

    AGENT_DOWN = "agent_down"
    CAMERA_DOWN = "camera_down"
    CAMERA_FROZEN = "camera_frozen"
    CAMERA_BLACK = "camera_black"
    MODEL_FAILED = "model_failed"
    PAUSED = "paused"
    OUTBOX_FULL = "outbox_full"
    OUTBOX_CORRUPT = "outbox_corrupt"
    DISK_ERROR = "disk_error"
    COLLECTOR_LOST = "collector_lost"
    """The collector asks for records that it had acknowledged: its database was put back to an older state."""
    TOO_LARGE = "too_large"
    """One record alone was larger than the collector takes in. The agent keeps it in its quarantine."""
    READER_DOWN = "reader_down"
    """A tag reader did not answer."""
    TOO_SLOW = "too_slow"
    """Fewer pictures were looked at than it takes to follow anybody."""


class DropClass(StrEnum):
    """What a full outbox drops, first to last. Cycles go last: a city's signal timing rests on them."""

    DETECTIONS = "detections"
    FRAMES = "frames"
    HEALTH = "health"
    LOGS = "logs"
    OCCUPANCY = "occupancy"
    COUNTS = "counts"
    CYCLES = "cycles"


class RejectCode(StrEnum):
    """Why the collector put one record aside instead of storing it. Its raw text is kept."""

    MALFORMED = "malformed"
    """Not a record: wrong shape, wrong type, or a value out of its bounds."""
    UNKNOWN_KIND = "unknown_kind"
    """A kind this collector does not know yet. It can be taken in again after an upgrade."""
    TIME_IMPLAUSIBLE = "time_implausible"
    """`at` lies before Stopline existed or in the future."""
    NOT_STORABLE = "not_storable"
    """The database refused it; `detail` tells why."""


class ProblemCode(StrEnum):
    """`code` of an RFC 9457 problem that a collector answers to an agent."""

    BATCH_MALFORMED = "batch_malformed"
    BATCH_TOO_LARGE = "batch_too_large"
    ENCODING_UNKNOWN = "encoding_unknown"
    VERSION_UNKNOWN = "version_unknown"
    SEQUENCE_GAP = "sequence_gap"
    TOKEN_MISSING = "token_missing"
    TOKEN_INVALID = "token_invalid"
    TOKEN_TIME = "token_time"
    """The token's times do not fit; `server_time` in the problem tells the collector's."""
    DEVICE_UNKNOWN = "device_unknown"
    DEVICE_REVOKED = "device_revoked"
    DEVICE_MISMATCH = "device_mismatch"
    OVERLOADED = "overloaded"
    STORE_UNAVAILABLE = "store_unavailable"
    STREAMS_EXHAUSTED = "streams_exhausted"
    """The device has begun so many streams that no more are taken from it."""


class SignalMode(StrEnum):
    """Who decides what the lights of a junction show."""

    AUTOMATIC = "automatic"
    MANUAL_OVERRIDE = "manual_override"
    FIXED = "fixed"
    FLASH = "flash"
    PREEMPT = "preempt"
    OFF = "off"


class Aspect(StrEnum):
    """What a signal head shows. Outside flash and dark it is exactly one steady colour."""

    RED = "red"
    YELLOW = "yellow"
    GREEN = "green"
    FLASHING_RED = "flashing_red"
    FLASHING_YELLOW = "flashing_yellow"
    DARK = "dark"
