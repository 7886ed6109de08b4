"""The broker as it is shipped: without a certificate nobody gets in, and with one each says and hears its own."""

import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from common.brokers import Broker, MqttUnusable
from common.topics import CAR_COUNTS, GREEN_TIME, JUNCTION_STATUS, LANE_STATE, LEASE, LEASE_ASK, Qos
from edge_agent.mqtt.client import Client, Will
from tests.servers.broker import Mosquitto

SHIPPED = Path(__file__).parents[2] / "systemd/mosquitto"
WAIT_S = 30.0
ONCE = Qos.AT_LEAST_ONCE
J = "J"
ALL = [
    *(
        channel.topic(J, lane)
        for channel in (LEASE_ASK, CAR_COUNTS, LANE_STATE, LEASE, GREEN_TIME)
        for lane in ("north", "east")
    ),
    JUNCTION_STATUS.topic(J),
    "car-counts",
    "green-time",
    "stopline/K/anything",
]
OWN = {channel.topic(J, "north") for channel in (LEASE_ASK, CAR_COUNTS, LANE_STATE)}
OF_COORDINATOR = {channel.topic(J, lane) for channel in (LEASE, GREEN_TIME) for lane in ("north", "east")}
MAY_SAY = {
    "north": OWN,
    "coordinator": OF_COORDINATOR | {JUNCTION_STATUS.topic(J), "green-time"},
}
MAY_HEAR = {
    "north": {LEASE.topic(J, "north"), GREEN_TIME.topic(J, "north"), JUNCTION_STATUS.topic(J)},
    "coordinator": {
        *(c.topic(J, lane) for c in (LEASE_ASK, CAR_COUNTS, LANE_STATE) for lane in ("north", "east")),
        JUNCTION_STATUS.topic(J),
    },
    "watcher": set(ALL),
}


def wait_for(condition: Callable[[], object]) -> None:
    deadline_s = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline_s
        time.sleep(0.01)


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("keys")
    names = ["coordinator", "watcher", "north", "east", "root"]
    subprocess.run([SHIPPED / "mqtt-keys.sh", folder, "127.0.0.1", *names], check=True, capture_output=True)
    return folder


@pytest.fixture(scope="module")
def broker(keys: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mosquitto]:
    """As shipped, but for paths and port, and one more user who may do everything: the test itself."""
    folder = tmp_path_factory.mktemp("shipped")
    (folder / "acl").write_text((SHIPPED / "acl").read_text() + "\nuser root\ntopic readwrite #\n")
    text = (SHIPPED / "mosquitto.conf").read_text().replace("listener 8883\n", "")
    text = text.replace("/etc/mosquitto/stopline/acl", str(folder / "acl")).replace(
        "/etc/mosquitto/stopline", str(keys)
    )
    made = Mosquitto(folder, f"user root\n{text}")
    made.start()
    yield made
    made.stop()


def settings(broker: Mosquitto, keys: Path, who: str) -> Broker:
    cert_file, key_file = keys / f"{who}.crt", keys / f"{who}.key"
    return Broker("127.0.0.1", broker.port, True, keys / "ca.crt", cert_file, key_file, backoff_s=(1, 1))


@pytest.fixture
def connect(broker: Mosquitto, keys: Path) -> Iterator[Callable[..., Client]]:
    opened: list[Client] = []

    def open_as(who: str, *filters: str, number: int = 0, will: Will | None = None) -> Client:
        client = Client(
            settings(broker, keys, who),
            f"{who}-{number}",
            [(one, ONCE) for one in filters or ("none",)],
            will=will,
        )
        opened.append(client)
        client.open()
        wait_for(lambda: client.is_connected)
        return client

    yield open_as
    for client in opened:
        client.close()


@pytest.mark.parametrize("who", MAY_SAY)
def test_who_may_say_what(connect: Callable[..., Client], who: str) -> None:
    listener, speaker = connect("root", "#"), connect(who)
    fence = connect("root", number=1)
    subscribed(listener, fence)
    for topic in ALL:
        speaker.send(topic, f"{who} {topic}".encode(), ONCE)
    assert heard(listener, speaker, who) == MAY_SAY[who]


def subscribed(listener: Client, fence: Client) -> None:
    """Until the listener's subscription is in force."""

    def is_heard() -> bool:
        fence.send("fence", b"", ONCE)
        return any(came.topic == "fence" for came in listener.take())

    wait_for(is_heard)


def heard(listener: Client, speaker: Client, who: str) -> set[str]:
    """What of the speaker arrived, until what it says last, which it may say."""
    speaker.send(min(MAY_SAY[who]), b"the end", ONCE)
    found: set[str] = set()
    while True:
        wait_for(lambda: bool(found_in(listener, found)) or "the end" in found)
        if "the end" in found:
            return found - {"the end"}


def found_in(listener: Client, found: set[str]) -> int:
    """Take what came."""
    came = [one for one in listener.take() if one.topic != "fence"]
    found |= {"the end" if one.payload == b"the end" else one.topic for one in came}
    return len(came)


@pytest.mark.parametrize("who", MAY_HEAR)
def test_who_may_hear_what(connect: Callable[..., Client], who: str) -> None:
    listener, speaker = connect(who, "#"), connect("root")
    fence = min(MAY_HEAR[who])

    def is_subscribed() -> bool:
        speaker.send(fence, b"fence", ONCE)
        return bool(listener.take())

    wait_for(is_subscribed)
    for topic in ALL:
        speaker.send(topic, b"news", ONCE)
    speaker.send(fence, b"the end", ONCE)
    found: set[str] = set()
    while "the end" not in found:
        wait_for(lambda: found_in(listener, found))
    assert found - {"the end"} == MAY_HEAR[who]


# paho leaves the socket of a handshake that failed to the garbage collector, which warns.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_without_a_certificate_nobody_gets_in(broker: Mosquitto, keys: Path, tmp_path: Path) -> None:
    subprocess.run([SHIPPED / "mqtt-keys.sh", tmp_path, "127.0.0.1", "north"], check=True, capture_output=True)
    stranger = Broker(
        "127.0.0.1", broker.port, True, keys / "ca.crt", tmp_path / "north.crt", tmp_path / "north.key"
    )
    nobody = Broker("127.0.0.1", broker.port, True, keys / "ca.crt")
    by_name = Broker("127.0.0.1", broker.port, True, keys / "ca.crt", username="coordinator", password="x")
    with_another_ca = Broker(
        "127.0.0.1", broker.port, True, tmp_path / "ca.crt", keys / "north.crt", keys / "north.key"
    )
    before = broker.log.read_text().count("New client connected")
    clients = [
        Client(one, f"stranger-{i}", []) for i, one in enumerate((stranger, nobody, by_name, with_another_ca))
    ]
    for client in clients:
        client.open()
    friend = Client(settings(broker, keys, "north"), "friend", [("none", ONCE)])
    friend.open()
    wait_for(lambda: friend.is_connected)
    wait_for(lambda: broker.log.read_text().lower().count("openssl error") >= len(clients))
    assert not any(client.is_connected for client in clients)
    assert broker.log.read_text().count("New client connected") == before + 1
    for client in [*clients, friend]:
        client.close()


def test_keys_that_are_not_there_are_told(keys: Path) -> None:
    with pytest.raises(MqttUnusable, match=r"there is no file .*no\.crt; mqtt-keys.sh makes it"):
        Client(Broker("127.0.0.1", 1, True, keys / "ca.crt", keys / "no.crt"), "x", [])
    with pytest.raises(MqttUnusable, match="cannot be used"):
        Client(Broker("127.0.0.1", 1, True, keys / "ca.crt", keys / "north.crt", keys / "east.key"), "x", [])


def test_a_second_run_adds_and_changes_nothing(keys: Path) -> None:
    before = (keys / "north.crt").read_bytes(), (keys / "ca.key").read_bytes()
    run: list[str | Path] = [SHIPPED / "mqtt-keys.sh", keys, "127.0.0.1", "north", "west"]
    told = subprocess.run(run, check=True, capture_output=True, text=True).stdout
    assert "north.crt is there already" in told
    assert (keys / "west.key").stat().st_mode & 0o077 == 0
    assert before == ((keys / "north.crt").read_bytes(), (keys / "ca.key").read_bytes())
