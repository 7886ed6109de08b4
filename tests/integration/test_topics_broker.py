"""The channels on a real broker: what a client that comes late finds, and what a client that dies leaves."""

import contextlib
import json
import queue
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import msgspec
import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from common import topics
from common.topics import CHANNELS, LANE_STATE, Channel, LaneState, Message

CASES = Path(__file__).parents[1] / "cases/mqtt/v1"
SAMPLE_OF = {
    "CarCounts": "car_counts",
    "GreenTime": "green_time",
    "LeaseAsk": "lease_ask",
    "Lease": "lease",
    "LaneState": "lane_state",
    "JunctionStatus": "junction_status",
}
_WAIT_S = 20.0


class Client:
    """A client whose callbacks end up in queues."""

    def __init__(self, port: int, will: tuple[str, LaneState] | None = None) -> None:
        self.messages: queue.Queue[mqtt.MQTTMessage] = queue.Queue()
        self._events: queue.Queue[str] = queue.Queue()
        self.client = mqtt.Client(CallbackAPIVersion.VERSION2)
        self.client.on_connect = lambda *_: self._events.put("connected")
        self.client.on_subscribe = lambda *_: self._events.put("subscribed")
        self.client.on_message = lambda _client, _data, message: self.messages.put(message)
        if will is not None:
            topic, message = will
            self.client.will_set(topic, topics.write(message), int(LANE_STATE.qos), LANE_STATE.retain)
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()
        assert self._events.get(timeout=_WAIT_S) == "connected"

    def publish(self, channel: Channel, topic: str, message: Message) -> None:
        self.client.publish(topic, topics.write(message), int(channel.qos), channel.retain).wait_for_publish(
            _WAIT_S
        )

    def subscribe(self, *filters: str) -> None:
        self.client.subscribe([(one, 1) for one in filters])
        assert self._events.get(timeout=_WAIT_S) == "subscribed"

    def die(self) -> None:
        """Break the connection without a goodbye."""
        connection = self.client.socket()
        assert isinstance(connection, socket.socket)
        connection.shutdown(socket.SHUT_RDWR)
        self.client.loop_stop()

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


@pytest.fixture
def connect(broker_port: int) -> Iterator[Any]:
    with contextlib.ExitStack() as opened:

        def open_client(**options: Any) -> Client:
            client = Client(broker_port, **options)
            opened.callback(client.close)
            return client

        yield open_client


def sample(channel: Channel, junction: str) -> Message:
    """A message of this channel, from the recorded ones, for another junction."""
    case = json.loads((CASES / f"{SAMPLE_OF[channel.payload.__name__]}.json").read_text())
    return msgspec.convert(case["payload"] | {"junction": junction}, channel.payload)


def topic_of(channel: Channel, message: Message) -> str:
    return channel.topic(message.junction, getattr(message, "lane", None))


@pytest.mark.parametrize("channel", CHANNELS, ids=lambda channel: channel.payload.__name__)
def test_a_listener_gets_each_message_and_a_late_one_only_what_informs(connect: Any, channel: Channel) -> None:
    message = sample(channel, f"J {uuid4()}")
    topic = topic_of(channel, message)
    early = connect()
    early.subscribe(channel.subscription(message.junction))
    sender = connect()
    sender.publish(channel, topic, message)
    got = early.messages.get(timeout=_WAIT_S)
    assert topics.read(got.topic, got.payload) == message

    late = connect()
    # The second subscription is a fence: its own message comes after all that the broker had kept.
    late.subscribe(channel.subscription(message.junction), f"fence/{message.junction}")
    sender.client.publish(f"fence/{message.junction}", b"", 1)
    kept = late.messages.get(timeout=_WAIT_S)
    if channel.retain:
        assert kept.retain
        assert topics.read(kept.topic, kept.payload) == message
    else:
        assert kept.topic.startswith("fence/")


def test_a_lane_that_dies_is_seen_to_be_offline(connect: Any) -> None:
    online = sample(LANE_STATE, f"J {uuid4()}")
    assert isinstance(online, LaneState)
    topic = topic_of(LANE_STATE, online)
    will = msgspec.structs.replace(online, online=False, aspect=None, seq=online.seq + 1)
    watcher = connect()
    watcher.subscribe(topic)
    lane = connect(will=(topic, will))
    lane.publish(LANE_STATE, topic, online)
    assert topics.read(topic, watcher.messages.get(timeout=_WAIT_S).payload) == online
    lane.die()
    assert topics.read(topic, watcher.messages.get(timeout=_WAIT_S).payload) == will
