"""What the agent and its reader processes tell each other.

To the process, once, on its standard input: a `ReaderJob`. From it, over a pipe of its own: one JSON value a line.
Times are CLOCK_BOOTTIME in ns, the same clock in all processes of a machine.
"""

import msgspec

from edge_agent.drivers.tags.options import ReaderOptions


class ReaderJob(msgspec.Struct, frozen=True):
    """What a reader process is to do."""

    reader: str
    options: ReaderOptions


class Opened(msgspec.Struct, frozen=True, tag="opened"):
    """The reader answers. What is measured begins here."""

    at_ns: int


class TagSeen(msgspec.Struct, frozen=True, array_like=True):
    """One reading; as `edge_agent.drivers.base.TagRead`, on the machine's clock."""

    epc: str
    antenna: int
    at_ns: int
    rssi_dbm: float | None

    @property
    def t_s(self) -> float:
        """When, in s of CLOCK_BOOTTIME."""
        return self.at_ns / 1e9


class Looked(msgspec.Struct, frozen=True, tag="looked"):
    """The process goes on at `now_ns`, its reader was well until `well_ns`, and this was read since the message
    before. Sent at once when a tag is there, and about once a second when none is."""

    now_ns: int
    well_ns: int
    seen: tuple[TagSeen, ...] = ()


class Failed(msgspec.Struct, frozen=True, tag="failed"):
    """The reader failed, and the process ends. `message` says what to do about it."""

    message: str


class Finished(msgspec.Struct, frozen=True, tag="finished"):
    """The process was asked to end, or a recording is over (`over`)."""

    over: bool = False


Message = Opened | Looked | Failed | Finished

MAX_MESSAGE_BYTES = 1_000_000
_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Message)
_jobs = msgspec.json.Decoder(ReaderJob)


def encode_job(job: ReaderJob) -> bytes:
    """The job as it goes over standard input."""
    return _encoder.encode(job)


def decode_job(text: bytes) -> ReaderJob:
    """The job that came over standard input.

    Raises:
        msgspec.DecodeError: it is none.
    """
    return _jobs.decode(text)


def encode(message: Message) -> bytes:
    """The message as a line."""
    return _encoder.encode(message) + b"\n"


def decode(line: bytes) -> Message:
    """The message that a line stands for.

    Raises:
        msgspec.DecodeError: it is none.
    """
    message: Message = _decoder.decode(line)
    return message
