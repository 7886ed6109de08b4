"""Says things in the words of `common.topics`, and understands them: leases as the state machines have them."""

import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar
from uuid import NAMESPACE_URL, UUID, uuid4, uuid5

from common import topics
from common.topics import CHANNELS, Channel, Lease, LeaseAsk, Message, MessageError, Qos
from edge_agent.domain.signals.leases import Answer, Ask, Obeyed
from edge_agent.mqtt.client import Came

_M = TypeVar("_M", bound=Message)
_BY_TYPE = {channel.payload: channel for channel in CHANNELS}


class Bus(Protocol):
    """What carries messages; `edge_agent.mqtt.client.Client` is one. Nothing waits."""

    def take(self) -> list[Came]:
        """What came since the last call."""

    def send(self, topic: str, payload: bytes, qos: Qos, *, retain: bool = False) -> None:
        """Send, if possible."""

    def close(self) -> None:
        """Hang up."""


class NoBus:
    """Before there is a connection: what the broker is to say for a dead Pi is made before it."""

    def take(self) -> list[Came]:
        """Nothing."""
        return []

    def send(self, topic: str, payload: bytes, qos: Qos, *, retain: bool = False) -> None:
        """Into the void."""

    def close(self) -> None:
        """Nothing to do."""


@dataclass(slots=True)
class Speaker:
    """One Pi's voice.

    Args:
        place: what it is at the junction: `coordinator`, or a head's name; the device's id follows from both.
        flat: say car counts and green times on the old flat topics too.

    Attributes:
        boot: new after each start of the program.
        n_bad: messages that could not be understood.
    """

    bus: Bus
    junction: str
    place: str
    flat: bool = False
    boot: UUID = field(default_factory=uuid4)
    n_bad: int = 0
    _seqs: Counter[str] = field(default_factory=Counter)

    @property
    def device(self) -> UUID:
        """The same at every start."""
        return uuid5(NAMESPACE_URL, f"stopline/{topics.encode(self.junction)}/{topics.encode(self.place)}")

    def make(self, kind: type[_M], epoch: int, *, seq: int | None = None, **members: Any) -> _M:
        """A message with all that each tells of itself."""
        self._seqs[kind.__name__] += 1
        own = self._seqs[kind.__name__]
        members.setdefault("nonce", f"{self.boot}.{own}")
        return kind(
            junction=self.junction,
            device=self.device,
            boot_id=self.boot,
            epoch=epoch,
            seq=own if seq is None else seq,
            at=time.time_ns() // 1_000_000,
            **members,
        )

    def say(self, message: Message) -> None:
        """Send it the way its channel promises."""
        channel = _BY_TYPE[type(message)]
        payload = topics.write(message)
        self.bus.send(topic_of(channel, message), payload, channel.qos, retain=channel.retain)
        if self.flat and channel.flat_topic is not None:
            self.bus.send(channel.flat_topic, payload, channel.qos)

    def hear(self) -> Iterator[Message]:
        """What came and can be understood. What was retained tells of the past, and is left out."""
        for came in self.bus.take():
            if came.retained:
                continue
            try:
                message = topics.read(came.topic, came.payload)
            except MessageError:
                self.n_bad += 1
                continue
            if message.junction == self.junction:
                yield message

    def ask(self, ask: Ask) -> None:
        """Say what a head asks."""
        obeys = ask.obeys
        self.say(
            self.make(
                LeaseAsk,
                obeys.epoch if obeys else 0,
                seq=ask.seq,
                lane=ask.head,
                nonce=ask.nonce,
                wanted_ms=0,
                coordinator=UUID(obeys.boot) if obeys else None,
                holds=ask.holds,
                aspect=ask.aspect,
                heard=ask.heard,
                ending_ms=round(ask.ending_s * 1000),
            )
        )

    def answer(self, answer: Answer) -> None:
        """Say what a coordinator answers."""
        self.say(
            self.make(
                Lease,
                answer.coordinator.epoch,
                seq=answer.seq,
                lane=answer.head,
                answers=answer.answers,
                granted_ms=int(answer.granted_s * 1000),
                aspect=answer.aspect,
            )
        )


def topic_of(channel: Channel, message: Message) -> str:
    """Where it goes."""
    return channel.topic(message.junction, getattr(message, "lane", None))


def ask_in(message: LeaseAsk) -> Ask | None:
    """What the head asks; None: nobody knows what is lit there, so it cannot be taken for anything."""
    if message.aspect is None:
        return None
    obeys = Obeyed(message.epoch, str(message.coordinator)) if message.coordinator else None
    return Ask(
        message.lane,
        str(message.boot_id),
        message.seq,
        message.nonce,
        obeys,
        message.holds,
        message.aspect,
        message.heard,
        message.ending_ms / 1000,
    )


def answer_in(message: Lease) -> Answer:
    """What the coordinator answers."""
    return Answer(
        message.lane,
        Obeyed(message.epoch, str(message.boot_id)),
        message.seq,
        message.answers,
        message.granted_ms / 1000,
        message.aspect,
    )
