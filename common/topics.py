"""What the Pis of one junction say to each other over MQTT: topics, payloads, and how each is to be sent.

===========================================  ===  ========  ==========================  =========================
topic below `stopline/{junction}/`           QoS  retained  from -> to                  last will
===========================================  ===  ========  ==========================  =========================
`lanes/{lane}/car-counts`                    1    no        lane's Pi -> coordinator
`lanes/{lane}/green-time`                    1    no        coordinator -> lane's Pi
`lanes/{lane}/lease/ask`                     0    no        lane's Pi -> coordinator
`lanes/{lane}/lease`                         0    no        coordinator -> lane's Pi
`lanes/{lane}/state`                         1    yes       lane's Pi -> all            `online` false
`status`                                     1    yes       coordinator -> all          `online` false
===========================================  ===  ========  ==========================  =========================

Only what informs is retained. Nothing that opens a lane ever is, nor is it kept for a client that is away: a
green that comes late is a stale green. A last will informs too; it comes late or not at all, and no light may rest
on it.

Payloads are JSON objects. They grow as the records do: members are added, with a default, and a reader ignores
those that it does not know. In a topic, a name has `%`, `/`, `+`, `#` and control characters percent-encoded.

::

    MessageError               what came over MQTT is not for us
    ├── UnknownTopic           no channel has such a topic
    └── BadPayload             the payload is not what its topic promises; says where and why
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Annotated, Literal
from urllib.parse import quote, unquote
from uuid import UUID

import msgspec
from msgspec import Meta

from common.codes import Aspect, SignalMode

ROOT = "stopline"
MAX_NAME_LENGTH = 100
MOST_TERM = 2**40
"""Terms are about the seconds since 2026, so none is higher. One that was would be the last one for ever."""
_ANY = "+"
_ENCODED = re.compile(r"[%/+#\x00-\x1f\x7f-\x9f]")
_PLACEHOLDER = re.compile(r"\{(\w+)\}")
_PLACE = re.compile(r"(?P<what>.*) - at (?P<key>`key` in )?`\$\.?(?P<where>.*)`", re.DOTALL)
_MISSING = re.compile(r"Object missing required field `(?P<where>\w+)`(?: - at `.*`)?")


class MessageError(Exception):
    """What came over MQTT cannot be used."""


class UnknownTopic(MessageError):
    """No channel has this topic."""


class BadPayload(MessageError):
    """The payload is not what the topic promises."""


class Qos(IntEnum):
    """MQTT's delivery promises that are in use here."""

    AT_MOST_ONCE = 0
    """For what is worth nothing when late: it is asked for again."""
    AT_LEAST_ONCE = 1
    """May come twice; `seq` tells."""


Name = Annotated[str, Meta(min_length=1, max_length=MAX_NAME_LENGTH)]
Nonce = Annotated[str, Meta(min_length=8, max_length=64)]
Milliseconds = Annotated[int, Meta(ge=0, le=2**53)]
Seconds = Annotated[float, Meta(ge=0.0, le=86_400.0)]
Tally = Annotated[int, Meta(ge=0, le=2**53)]


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """What every message tells of itself.

    `(device, boot_id, epoch, seq)` is its identity: a receiver drops what it has seen, and what is older.
    """

    v: Literal[1] = 1
    junction: Name
    device: UUID
    boot_id: UUID
    """Of the sender: new after each start of its program."""
    epoch: Annotated[int, Meta(ge=0, le=MOST_TERM)]
    """The coordinator's term, as far as the sender knows. Heads obey one epoch, and only a newer one after it."""
    seq: Annotated[int, Meta(ge=1, le=2**53)]
    nonce: Nonce
    at: Annotated[int, Meta(ge=-(2**53), le=2**53)]
    """UTC, ms since 1970, by the sender's clock. For people and logs; no light is timed by it."""


class LaneMessage(Message, frozen=True, kw_only=True):
    """A message of one lane, or to it."""

    lane: Name


class CarCounts(LaneMessage, frozen=True, kw_only=True):
    """What came over a lane's stop line in the `span_ms` until it was sent."""

    span_ms: Milliseconds
    n: Tally | None
    """None: not measured."""
    by_class: dict[Name, Tally] = {}
    n_since_boot: Tally = 0
    """Counts up, so that a message that was lost loses no vehicle."""


class GreenTime(LaneMessage, frozen=True, kw_only=True):
    """How a lane's next cycle is planned. It tells; the lease is what permits."""

    cycle_s: Seconds
    green_s: Seconds
    yellow_s: Seconds
    red_s: Seconds
    mode: SignalMode
    algorithm: Name


class LeaseAsk(LaneMessage, frozen=True, kw_only=True):
    """A lane asks for green. Its nonce is new each time; the lease counts from the moment of asking."""

    wanted_ms: Milliseconds
    coordinator: UUID | None = None
    """Whom the lane obeys, by its `boot_id`: the one of `epoch`. None: nobody yet."""
    holds: bool = True
    """False: the head is red, has no lease, and will use no answer to an earlier ask."""
    aspect: Aspect | None = None
    """What is lit. None: unknown."""
    heard: Annotated[int, Meta(ge=0, le=2**53)] = 0
    """`seq` of the newest answer that came: whoever sent it knows that both ways were open since then."""
    ending_ms: Milliseconds = 0
    """So long after its lease it may be until the head is red, as this Pi was told itself: yellow, and late steps.
    0: no longer than the coordinator was told."""


class Lease(LaneMessage, frozen=True, kw_only=True):
    """The answer to one `LeaseAsk`, and to no other.

    The lane may show green until `granted_ms` after *it asked*, by its own monotonic clock, less the drift bound.
    """

    answers: Nonce
    """The nonce of the ask. One ask may be answered again, as when a green has to end; the higher `seq` holds."""
    granted_ms: Milliseconds
    """0: refused."""
    aspect: Aspect = Aspect.RED
    """What to show without a lease: red, flashing red or dark."""


class LaneState(LaneMessage, frozen=True, kw_only=True):
    """What a lane shows. Retained, so it may be old; for people, never a ground for a green elsewhere."""

    online: bool
    aspect: Aspect | None = None
    """None: unknown."""
    aspect_since_ms: Milliseconds | None = None
    """How long it has been shown."""
    mode: SignalMode | None = None


class JunctionStatus(Message, frozen=True, kw_only=True):
    """How the junction is, by its coordinator."""

    online: bool
    mode: SignalMode | None = None
    fault: Annotated[str, Meta(max_length=1000)] | None = None
    version: Annotated[str, Meta(max_length=100)] | None = None


@dataclass(frozen=True, slots=True)
class Channel:
    """One kind of message: where it goes, what it is, and how it is sent.

    Attributes:
        pattern: the topic, with `{junction}` and perhaps `{lane}`.
        has_will: the sender leaves a last will here: the same payload with `online` false.
        flat_topic: the topic without a junction that older set-ups listen to, or None. Used only where it is
            switched on; the payload is the same.
    """

    pattern: str
    payload: type[Message]
    qos: Qos
    retain: bool
    has_will: bool = False
    flat_topic: str | None = None

    def topic(self, junction: str, lane: str | None = None) -> str:
        """The topic for these names.

        Raises:
            ValueError: a name is empty, too long or cannot be encoded, or a lane is given where none belongs.
        """
        return self._fill({"junction": junction} | ({} if lane is None else {"lane": lane}))

    def subscription(self, junction: str | None = None) -> str:
        """The filter that gets this channel from all lanes, of one junction or of all."""
        names: dict[str, str | None] = dict.fromkeys(_PLACEHOLDER.findall(self.pattern))
        return self._fill(names | ({} if junction is None else {"junction": junction}))

    def names(self, topic: str) -> dict[str, str] | None:
        """The names in `topic`, or None where it is not of this channel."""
        expression = _PLACEHOLDER.sub(r"(?P<\1>[^/]+)", self.pattern)
        match = re.fullmatch(expression, topic)
        return {name: unquote(text) for name, text in match.groupdict().items()} if match else None

    def _fill(self, names: Mapping[str, str | None]) -> str:
        wanted = set(_PLACEHOLDER.findall(self.pattern))
        if wanted != names.keys():
            raise ValueError(f"the topic {self.pattern} needs {sorted(wanted)}, and was given {sorted(names)}")
        return self.pattern.format_map(
            {name: _ANY if text is None else encode(text) for name, text in names.items()}
        )


CAR_COUNTS = Channel(
    f"{ROOT}/{{junction}}/lanes/{{lane}}/car-counts", CarCounts, Qos.AT_LEAST_ONCE, False, flat_topic="car-counts"
)
GREEN_TIME = Channel(
    f"{ROOT}/{{junction}}/lanes/{{lane}}/green-time", GreenTime, Qos.AT_LEAST_ONCE, False, flat_topic="green-time"
)
LEASE_ASK = Channel(f"{ROOT}/{{junction}}/lanes/{{lane}}/lease/ask", LeaseAsk, Qos.AT_MOST_ONCE, False)
LEASE = Channel(f"{ROOT}/{{junction}}/lanes/{{lane}}/lease", Lease, Qos.AT_MOST_ONCE, False)
LANE_STATE = Channel(
    f"{ROOT}/{{junction}}/lanes/{{lane}}/state", LaneState, Qos.AT_LEAST_ONCE, True, has_will=True
)
JUNCTION_STATUS = Channel(f"{ROOT}/{{junction}}/status", JunctionStatus, Qos.AT_LEAST_ONCE, True, has_will=True)

CHANNELS = (CAR_COUNTS, GREEN_TIME, LEASE_ASK, LEASE, LANE_STATE, JUNCTION_STATUS)


def encode(name: str) -> str:
    """`name` as one level of a topic.

    Raises:
        ValueError: it is empty, longer than `MAX_NAME_LENGTH`, or not text that UTF-8 can carry.
    """
    if not 0 < len(name) <= MAX_NAME_LENGTH:
        raise ValueError(f"the name {name!r} must have 1 to {MAX_NAME_LENGTH} characters to be part of a topic")
    if any("\ud800" <= letter <= "\udfff" for letter in name):
        raise ValueError(f"the name {name!r} holds half a character (a lone surrogate)")
    return _ENCODED.sub(lambda match: quote(match[0], safe=""), name)


def read(topic: str, payload: bytes) -> Message:
    """The message that came on `topic`, in its own type. The names inside agree with those of the topic.

    Raises:
        UnknownTopic: no channel has such a topic.
        BadPayload: the payload does not parse, or speaks of another junction or lane.
    """
    for channel in CHANNELS:
        names = channel.names(topic)
        if names is None and topic != channel.flat_topic:
            continue
        try:
            message = msgspec.json.decode(payload, type=channel.payload)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise BadPayload(f"{topic}: {_in_words(error)}") from error
        for key, name in (names or {}).items():
            if getattr(message, key) != name:
                raise BadPayload(f"{topic}: {key} is {getattr(message, key)!r}, but the topic says {name!r}")
        return message
    raise UnknownTopic(f"{topic} is none of Stopline's topics")


def write(message: Message) -> bytes:
    """The payload that `read` understands."""
    return msgspec.json.encode(message)


def _in_words(error: Exception) -> str:
    """Place and reason, as `status.online: Expected ...`."""
    text = str(error)
    if missing := _MISSING.fullmatch(text):
        return f"{missing['where']}: is missing"
    place = _PLACE.fullmatch(text)
    if place is None or not place["where"]:
        return f"payload: {place['what'] if place else text}"
    return f"{'a key of ' if place['key'] else ''}{place['where']}: {place['what']}"
