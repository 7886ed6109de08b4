"""The thin client on a real broker that goes away and comes back."""

import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from common.brokers import Broker
from common.topics import Qos
from edge_agent.mqtt.client import Client, Will
from tests.servers.broker import Mosquitto

WAIT_S = 60.0
ONCE, SOON = Qos.AT_LEAST_ONCE, Qos.AT_MOST_ONCE


def wait_for(condition: Callable[[], object]) -> None:
    deadline_s = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline_s
        time.sleep(0.01)


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    made = Mosquitto(tmp_path)
    made.start()
    yield made
    made.stop()


@pytest.fixture
def connect(broker: Mosquitto) -> Iterator[Callable[..., Client]]:
    opened: list[Client] = []

    def open_one(*filters: str, max_in: int = 256, will: Will | None = None) -> Client:
        where = Broker("127.0.0.1", broker.port, tls=False, backoff_s=(1, 1))
        name = f"client-{len(opened)}"
        client = Client(where, name, [(one, ONCE) for one in filters or ("none",)], max_in=max_in, will=will)
        opened.append(client)
        client.open()
        wait_for(lambda: client.is_connected)
        return client

    yield open_one
    for client in opened:
        client.close()
        client.close()


def came(client: Client, until: bytes) -> list[bytes]:
    """Payloads, up to and without the one that ends them."""
    got: list[bytes] = []

    def is_over() -> bool:
        got.extend(one.payload for one in client.take())
        return until in got

    wait_for(is_over)
    return got[: got.index(until)]


def heard(listener: Client, speaker: Client, topic: str, end: bytes) -> set[bytes]:
    """Payloads that came until `end` did, which is said again and again: who listens may not yet."""
    got: set[bytes] = set()

    def is_over() -> bool:
        speaker.send(topic, end, ONCE)
        got.update(one.payload for one in listener.take())
        return end in got

    wait_for(is_over)
    return got


def test_it_comes_back_by_itself_and_nothing_old_comes_with_it(
    broker: Mosquitto, connect: Callable[..., Client]
) -> None:
    listener, speaker = connect("lease"), connect()
    heard(listener, speaker, "lease", b"ready?")
    broker.stop()
    wait_for(lambda: not listener.is_connected and not speaker.is_connected)
    for number in range(500):
        speaker.send("lease", f"stale {number}".encode(), SOON)
        speaker.send("lease", f"stale {number}".encode(), ONCE)
    broker.start()
    wait_for(lambda: listener.is_connected and speaker.is_connected)
    assert heard(listener, speaker, "lease", b"fresh") <= {b"ready?", b"fresh"}


def test_what_is_retained_is_told_again_to_a_broker_that_forgot_it(
    broker: Mosquitto, connect: Callable[..., Client]
) -> None:
    speaker = connect()
    broker.hang()
    speaker.send("state", b"old", ONCE, retain=True)
    broker.kill()
    wait_for(lambda: not speaker.is_connected)
    speaker.send("state", b"new", ONCE, retain=True)
    broker.start()
    wait_for(lambda: speaker.is_connected)
    assert heard(connect("state"), speaker, "state", b"end") == {b"new", b"end"}


def test_a_flood_leaves_the_newest_and_is_counted(connect: Callable[..., Client]) -> None:
    listener, speaker = connect("flood", "end", max_in=10), connect()
    heard(listener, speaker, "flood", b"ready?")
    before, n = listener.n_dropped, 60
    for number in range(n):
        speaker.send("flood", str(number).encode(), ONCE)
    # Not by the count alone: a word from before the flood may have been pushed out as well.
    wait_for(lambda: listener._in and listener._in[-1].payload == str(n - 1).encode())
    assert listener.n_dropped - before >= n - 10
    assert came(listener, str(n - 1).encode()) == [str(number).encode() for number in range(n - 10, n - 1)]


def test_the_last_will_speaks_for_a_client_that_is_cut_off(
    broker: Mosquitto, connect: Callable[..., Client]
) -> None:
    watcher = connect("state")
    lane = connect(will=Will("state", b"gone", ONCE, True))
    heard(watcher, lane, "state", b"ready?")
    link = lane._paho.socket()
    assert isinstance(link, socket.socket)
    link.shutdown(socket.SHUT_RDWR)
    assert set(came(watcher, b"gone")) <= {b"ready?"}
