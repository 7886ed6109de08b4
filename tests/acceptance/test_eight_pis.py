"""An hour at a junction of eight Pis: eight processes, a real broker that is restarted, a judge of all lamps."""

import json
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from common import topics
from common.codes import SignalMode
from common.junction import MovementKind
from common.topics import GreenTime, JunctionStatus, LaneState
from tests.junctions import with_people
from tests.servers.broker import Mosquitto
from tests.servers.lane_pi import COORDINATOR, HEADS, TIMES

CHECKOUT = Path(__file__).parents[2]
HOUR_S = 3600
BROKER_STOPS_S, BROKER_AWAY_S = 1800, 60
PATIENCE_S = 120.0
JUNCTION = with_people()
GOING = {"green", "yellow"}


class Pi:
    """One process."""

    def __init__(self, role: str, port: int, number: int) -> None:
        rate = 1.0 + (number % 3 - 1) * TIMES.drift
        command = [sys.executable, "-m", "tests.servers.lane_pi", role, str(port)]
        self._process = subprocess.Popen(
            [*command, f"--began={number * 1234.5}", f"--rate={rate}"],
            cwd=CHECKOUT,
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self.told: dict[str, Any] = {}

    def tell(self, now_s: float, n_coming: int) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"[{now_s}, {n_coming}]\n")
        self._process.stdin.flush()

    def hear(self) -> None:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "a Pi has died"
        self.told = json.loads(line)

    def end(self) -> None:
        self._process.kill()
        self._process.communicate()


class Judge:
    """Sees the lamps of all heads, second by second, and nothing else."""

    def __init__(self) -> None:
        self.lit: dict[str, set[str]] = {head: {"red"} for head in HEADS}
        self.since_s = dict.fromkeys(HEADS, 0)
        self.went_s = dict.fromkeys(HEADS, -100)
        self.greens: Counter[str] = Counter()
        self._movements = {movement.name: movement for movement in JUNCTION.movements}
        self.rivals = {
            head: [h for h, other in HEADS.items() if {(mine, other), (other, mine)} & set(JUNCTION.conflicts)]
            for head, mine in HEADS.items()
        }

    def see(self, now_s: int, lit: dict[str, set[str]]) -> None:
        for head, colours in lit.items():
            if colours & GOING:
                for rival in self.rivals[head]:
                    assert not lit[rival] & GOING, f"at {now_s} s {head} and {rival} both go"
            if colours != self.lit[head]:
                self._change(now_s, head, colours)
        self.lit = lit
        self.went_s |= {head: now_s for head, colours in lit.items() if colours & GOING}

    def _change(self, now_s: int, head: str, colours: set[str]) -> None:
        before, lasted_s = self.lit[head], now_s - self.since_s[head]
        movement = self._movements[HEADS[head]]
        if "green" in colours:
            assert before == {"red"}, f"at {now_s} s {head} went from {before} to green"
            self.greens[head] += 1
            for rival in self.rivals[head]:
                clear_s = now_s - self.went_s[rival] - 1
                needed_s = self._movements[HEADS[rival]].red_clearance_s
                assert clear_s >= needed_s - 1, f"at {now_s} s {head} is green {clear_s} s after {rival}"
        if before == {"green"} and movement.kind is MovementKind.VEHICLE and colours == {"red"}:
            raise AssertionError(f"at {now_s} s {head} went from green to red")
        if before == {"yellow"} and colours == {"red"}:
            assert lasted_s >= movement.yellow_s, f"at {now_s} s {head} was yellow for {lasted_s} s"
        self.since_s[head] = now_s


class Street:
    """All Pis, the broker, the judge, and the time."""

    def __init__(self, broker: Mosquitto) -> None:
        self.broker, self.judge, self.now_s = broker, Judge(), 0
        self.coordinator = Pi(COORDINATOR, broker.port, 0)
        self.lanes = {head: Pi(head, broker.port, number) for number, head in enumerate(HEADS, 1)}
        self.all = [self.coordinator, *self.lanes.values()]
        random.seed(1)

    def step(self) -> None:
        """A second passes for all."""
        self.now_s += 1
        answers = self.coordinator.told.get("sent", {})
        asks = [pi.told.get("sent", {}) for pi in self.lanes.values()]
        self.coordinator.tell(self.now_s, sum(sum(sent.values()) for sent in asks))
        for head, pi in self.lanes.items():
            pi.tell(self.now_s, answers.get(f"stopline/{JUNCTION.name}/lanes/{head}/lease", 0))
        for pi in self.all:
            pi.hear()
        self.judge.see(self.now_s, {head: set(pi.told["lit"]) for head, pi in self.lanes.items()})

    def pass_until(self, then_s: int) -> None:
        while self.now_s < then_s:
            self.step()

    def wait_for_connections(self) -> None:
        """Time goes slower until the broker has all of them: they come back by real clocks."""
        deadline_s = time.monotonic() + PATIENCE_S
        self.step()
        while not all(pi.told["connected"] for pi in self.all):
            assert time.monotonic() < deadline_s
            time.sleep(0.02)
            self.step()

    @property
    def fault(self) -> str:
        return str(self.coordinator.told["fault"])


@pytest.fixture
def street(tmp_path: Path) -> Iterator[Street]:
    broker = Mosquitto(tmp_path)
    broker.start()
    made = Street(broker)
    try:
        yield made
    finally:
        for pi in made.all:
            pi.end()
        broker.stop()


@pytest.fixture
def heard(street: Street) -> Iterator[list[topics.Message]]:
    """What a listener for people gets to hear."""
    messages: list[topics.Message] = []
    client = mqtt.Client(CallbackAPIVersion.VERSION2)

    def subscribe(*_: object) -> None:
        client.subscribe([("stopline/#", 1), ("green-time", 1)])

    client.on_connect = subscribe
    client.on_message = lambda _client, _data, message: messages.append(
        topics.read(message.topic, bytes(message.payload))
    )
    client.connect("127.0.0.1", street.broker.port)
    client.loop_start()
    yield messages
    client.disconnect()
    client.loop_stop()


@pytest.mark.long
def test_an_hour_with_eight_pis(street: Street, heard: list[topics.Message]) -> None:
    street.wait_for_connections()
    street.pass_until(BROKER_STOPS_S)
    before = Counter(street.judge.greens)
    assert street.fault == ""
    assert min(before[head] for head in HEADS) >= 15, before

    street.broker.stop()
    street.pass_until(BROKER_STOPS_S + BROKER_AWAY_S)
    assert street.fault.startswith("link_lost: not heard")
    assert {pi.told["aspect"] for pi in street.lanes.values()} == {"flashing_red"}
    street.broker.start()
    street.wait_for_connections()
    came_back_s = street.now_s
    street.pass_until(came_back_s + 200)
    assert street.fault == "", "the lost link is a fault that clears itself"
    after = street.judge.greens - before
    assert all(after[head] for head in HEADS), f"after the broker came back: {after}"

    street.pass_until(HOUR_S)
    assert {head: pi.told["fault"] for head, pi in street.lanes.items()} == dict.fromkeys(HEADS, "")
    assert_all_counted(street)
    assert_people_were_told(heard)


def assert_all_counted(street: Street) -> None:
    """Each vehicle that a lane counted came to the coordinator once, those during the broker's absence too."""
    deadline_s = time.monotonic() + PATIENCE_S
    while True:
        street.step()
        counted = {f"cam-{head}": pi.told["crossed"] for head, pi in street.lanes.items() if pi.told["crossed"]}
        arrived = street.coordinator.told["crossed"]
        assert time.monotonic() < deadline_s, (counted, arrived)
        assert all(n <= counted[name] for name, n in arrived.items()), (counted, arrived)
        if all(counted[name] - arrived.get(name, 0) <= 2 for name in counted):
            break
    assert min(counted.values()) > 100


def assert_people_were_told(heard: list[topics.Message]) -> None:
    greens = [message for message in heard if isinstance(message, GreenTime)]
    assert {message.lane for message in greens} == {"north", "east", "south", "west"}
    assert all(message.cycle_s == message.green_s + message.yellow_s + message.red_s for message in greens)
    statuses = [message for message in heard if isinstance(message, JunctionStatus)]
    assert SignalMode.AUTOMATIC in {message.mode for message in statuses}
    assert any(message.fault for message in statuses)
    assert {message.lane for message in heard if isinstance(message, LaneState)} == set(HEADS)
