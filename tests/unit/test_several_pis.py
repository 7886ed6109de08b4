"""A coordinator's heads at other Pis, and a lane's Pi: on a bus in memory, second by second."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any
from uuid import UUID

import msgspec
import pytest
from msgspec import structs

from common import topics
from common.codes import Aspect
from common.junction import Junction
from common.topics import (
    CAR_COUNTS,
    LEASE,
    LEASE_ASK,
    CarCounts,
    GreenTime,
    JunctionStatus,
    LaneState,
    LeaseAsk,
    Message,
    Qos,
)
from edge_agent.config.faults import ConfigError
from edge_agent.domain.signals.leases import Obeyed
from edge_agent.domain.signals.lights import Lights
from edge_agent.drivers.heads.lanes import LaneLink
from edge_agent.drivers.heads.simulated import SimulatedHeads
from edge_agent.link.messages import Crossing, SensorState
from edge_agent.mqtt.client import Came
from edge_agent.mqtt.speaking import NoBus, Speaker
from edge_agent.signals.driving import Driven, Driving
from edge_agent.signals.lane_pi import LanePi
from edge_agent.signals.loading import load_signals_config
from edge_agent.signals.several_pis import Lanes, _next_term
from tests.junctions import crossroads

JUNCTION = crossroads(min_green_s=5.0)
HEADS = {movement.name: movement.name for movement in JUNCTION.movements}
STEP_MS = 100
SIZE_LIMIT = re.compile(r"^message_size_limit (\d+)$", re.MULTILINE)
EXAMPLES = Path(__file__).parents[2] / "systemd/examples"


@dataclass
class Net:
    """All messages, delivered to everybody at the next look, unless somebody is cut off."""

    cut: set[str] = field(default_factory=set)
    boxes: dict[str, list[Came]] = field(default_factory=dict)
    said: list[Message] = field(default_factory=list)


@dataclass
class Port:
    """One Pi's end of the net."""

    net: Net
    name: str

    def take(self) -> list[Came]:
        came = self.net.boxes.get(self.name, [])
        self.net.boxes[self.name] = []
        return came

    def send(self, topic: str, payload: bytes, qos: Qos, *, retain: bool = False) -> None:
        if self.name in self.net.cut:
            return
        if not topic.startswith("green-time"):
            self.net.said.append(topics.read(topic, payload))
        for name in [*HEADS, "coordinator"]:
            if name not in self.net.cut and name != self.name:
                self.net.boxes.setdefault(name, []).append(Came(topic, payload, False))

    def close(self) -> None:
        pass


class Place:
    """A coordinator and its lanes."""

    def __init__(self, junction: Junction = JUNCTION) -> None:
        self.net, self.now_ms = Net(), 0
        speaker = Speaker(self._port("coordinator"), junction.name, "coordinator")
        self.superseded: list[int] = []
        link = LaneLink(HEADS, 7, superseded=self.superseded.append)
        self.heads = Lanes(junction, link, speaker, lambda: self.time_s("coordinator"))
        self.driving = Driving(Lights(junction, 0.0), self.heads, list(HEADS))
        self.lamps = {name: self._head(name) for name in HEADS}
        self.lanes = {name: self._lane(name) for name in HEADS}
        self.driven: Driven | None = None

    def _lane(self, name: str) -> LanePi:
        lanes: dict[str, LanePi] = {}

        def save(obeys: Obeyed) -> None:
            lanes[name].saved(obeys)

        speaker = Speaker(self._port(name), JUNCTION.name, name)
        lamps, clock = self.lamps[name], lambda: self.time_s(name)
        lanes[name] = LanePi(JUNCTION, name, name, lamps, speaker, self.now_s, clock=clock, save=save)
        return lanes[name]

    @property
    def now_s(self) -> float:
        return self.now_ms / 1000

    def time_s(self, _name: str) -> float:
        """What a party's clock shows: nothing takes time here."""
        return self.now_s

    def _port(self, name: str) -> "Port":
        return Port(self.net, name)

    def _head(self, name: str) -> SimulatedHeads:
        return SimulatedHeads([name])

    def run(self, span_s: float) -> None:
        for _ in range(int(span_s * 1000 / STEP_MS)):
            self.now_ms += STEP_MS
            for lane in self.lanes.values():
                lane.step(self.now_s)
            self.driven = self.driving.step(self.now_s, None, None)
            self.heads.tell(self.driven)

    def run_until(self, aspect: Aspect, *names: str) -> None:
        for _ in range(600):
            self.run(0.1)
            if all(self.lanes[name].aspect is aspect for name in names):
                return
        raise AssertionError(f"{names} did not become {aspect}: {self.fault}")

    @property
    def fault(self) -> str:
        assert self.driven is not None
        return f"{self.driven.fault.code}: {self.driven.fault.detail}" if self.driven.fault else ""


@pytest.fixture
def place() -> Place:
    made = Place()
    made.run_until(Aspect.GREEN, "north", "south")
    assert made.fault == ""
    return made


def test_stages_take_turns_and_lanes_are_told_their_times(place: Place) -> None:
    place.run_until(Aspect.GREEN, "east", "west")
    place.run_until(Aspect.GREEN, "north", "south")
    assert place.fault == ""
    place.run_until(Aspect.GREEN, "east", "west")
    told = [message for message in place.net.said if isinstance(message, GreenTime)]
    assert {message.lane for message in told} >= {"north", "south", "east", "west"}
    east = next(message for message in told if message.lane == "east")
    assert east.green_s == pytest.approx(20.0, abs=0.3)
    assert east.yellow_s == pytest.approx(3.0, abs=0.15)
    assert [m.mode for m in place.net.said if isinstance(m, JunctionStatus)][-1] == "automatic"
    states = [
        message.aspect for message in place.net.said if isinstance(message, LaneState) and message.lane == "north"
    ]
    assert states[-3:] == [Aspect.GREEN, Aspect.YELLOW, Aspect.RED]
    assert {message.ending_ms for message in place.net.said if isinstance(message, LeaseAsk)} == {5040}


class Halting(Place):
    """Every party stands still again and again, anywhere in a step, for less than is a fault; the others go on."""

    HALT_MS = (0, 0, 0, 120, 380)

    def __init__(self, random: Random) -> None:
        self.random, self.until_ms = random, dict.fromkeys([*HEADS, "coordinator"], 0)
        self.due_ms = dict(self.until_ms)
        self.under_way: list[tuple[int, Port, str, bytes, Qos]] = []
        self.shown: list[tuple[int, str, Aspect]] = []
        self.halts_ms: dict[str, int] = {}
        super().__init__()

    def time_s(self, name: str) -> float:
        return max(self.now_ms, self.until_ms[name]) / 1000

    def _port(self, name: str) -> "Port":
        return HaltingPort(self.net, name, self)

    def _head(self, name: str) -> SimulatedHeads:
        return HaltingHead(name, self)

    def halt(self, name: str) -> None:
        """Here a party stands still, if it has not yet in this step."""
        self.until_ms[name] = max(self.until_ms[name], self.now_ms) + self.halts_ms.pop(name, 0)
        if name == "coordinator":
            while self.now_ms < self.until_ms[name]:
                self._step_lanes()
                self.now_ms += 20

    def _begin(self, name: str) -> bool:
        """Whether a party's next step is due; perhaps it halts in it."""
        if self.now_ms < max(self.until_ms[name], self.due_ms[name]):
            return False
        self.due_ms[name], self.halts_ms[name] = self.now_ms + STEP_MS, self.random.choice(self.HALT_MS)
        return True

    def _step_lanes(self) -> None:
        for name, lane in self.lanes.items():
            if self._begin(name):
                lane.step(self.now_s)

    def run(self, span_s: float) -> None:
        until_ms = self.now_ms + int(span_s * 1000)
        while self.now_ms < until_ms:
            self.now_ms += 20
            self._step_lanes()
            if self._begin("coordinator"):
                self.driven = self.driving.step(self.now_s, None, None)
                self.heads.tell(self.driven)


class HaltingHead(SimulatedHeads):
    def __init__(self, name: str, place: Halting) -> None:
        super().__init__([name])
        self.name, self.place, self.aspect = name, place, Aspect.RED

    def show(self, aspects: Mapping[str, Aspect], now_s: float) -> None:
        if self.place.random.random() < 0.7:
            self.place.halt(self.name)
        super().show(aspects, now_s)
        if aspects[self.name] is not self.aspect:
            self.aspect = aspects[self.name]
            self.place.shown.append((round(self.place.time_s(self.name) * 1000), self.name, self.aspect))
        self.place.halt(self.name)


@dataclass
class HaltingPort(Port):
    place: Halting

    def take(self) -> list[Came]:
        if self.place.random.random() < 0.5:
            self.place.halt(self.name)
        here_ms = round(self.place.time_s(self.name) * 1000)
        due = [one for one in self.place.under_way if one[0] <= here_ms]
        self.place.under_way = [one for one in self.place.under_way if one[0] > here_ms]
        for _, port, topic, payload, qos in due:
            Port.send(port, topic, payload, qos)
        return super().take()

    def send(self, topic: str, payload: bytes, qos: Qos, *, retain: bool = False) -> None:
        self.place.halt(self.name)
        self.place.under_way.append((round(self.place.time_s(self.name) * 1000), self, topic, payload, qos))


@pytest.mark.parametrize("seed", range(2))
def test_where_parties_stand_still_in_a_step_every_yellow_and_clearance_is_as_long_as_described(seed: int) -> None:
    place = Halting(Random(seed))
    place.run(150.0)
    rules = {one.name: one for one in JUNCTION.movements}
    since, ended_ms = dict.fromkeys(HEADS, (0, Aspect.RED)), dict.fromkeys(HEADS, 0)
    n_yellow = n_cleared = 0
    for at_ms, name, aspect in sorted(place.shown):
        before_ms, before = since[name]
        if before is Aspect.YELLOW and aspect is Aspect.RED:
            n_yellow += 1
            ended_ms[name] = at_ms
            assert at_ms - before_ms >= rules[name].yellow_s * 1000 - 1
        for rival in HEADS:
            if aspect is Aspect.GREEN and {name, rival} in [{*pair} for pair in JUNCTION.conflicts]:
                n_cleared += since[rival][0] > 0
                assert since[rival][1] in (Aspect.RED, Aspect.FLASHING_RED)
                assert at_ms - ended_ms[rival] >= rules[rival].red_clearance_s * 1000 - 1
        since[name] = at_ms, aspect
    assert min(n_yellow, n_cleared) > 5


def test_a_lane_that_is_cut_off_makes_all_flash_and_its_return_mends_it(place: Place) -> None:
    place.net.cut.add("south")
    place.run(3.5)
    assert place.fault.startswith("link_lost: not heard: south; look after power")
    place.run(4.0)
    assert {lane.aspect for lane in place.lanes.values()} == {Aspect.FLASHING_RED}
    place.net.cut.clear()
    place.run(1.0)
    assert place.fault, "not before the wait is over"
    place.run_until(Aspect.GREEN, "north", "south")
    assert place.fault == ""


def test_lanes_that_say_that_they_go_together_make_all_flash_at_once(place: Place) -> None:
    lie = next(one for one in reversed(place.net.said) if isinstance(one, LeaseAsk) and one.lane == "east")
    lie = structs.replace(lie, seq=lie.seq + 1, holds=True, aspect=Aspect.GREEN)
    topic = LEASE_ASK.topic(JUNCTION.name, "east")
    place.net.boxes["coordinator"].append(Came(topic, topics.write(lie), False))
    place.run(0.2)
    assert place.fault.startswith("conflict: ")
    assert "east" in place.fault


def test_a_lane_whose_lamp_fails_makes_all_flash_until_somebody_clears_it_there(place: Place) -> None:
    place.lamps["south"].stuck["south", Aspect.RED] = True
    place.run(2.0)
    assert place.lanes["south"].fault is not None
    place.run(4.0)
    assert place.fault.startswith("link_lost: south")
    assert place.lanes["north"].aspect is Aspect.FLASHING_RED
    assert not place.lanes["south"].clear(place.now_s).accepted, "too early"
    place.lamps["south"].stuck.clear()
    place.run(10.0)
    assert place.lanes["south"].clear(place.now_s).accepted
    place.run_until(Aspect.GREEN, "north", "south")


def test_a_lane_that_cannot_save_whom_it_obeys_asks_nothing() -> None:
    place = Place()
    place.lanes["south"]._save = lambda _: None
    place.run(12.0)
    assert place.lanes["south"].aspect is Aspect.FLASHING_RED
    assert place.fault.startswith("link_lost")
    asked = {message.lane for message in place.net.said if isinstance(message, LeaseAsk) and message.coordinator}
    assert asked == {"north", "east", "west"}


def test_a_newer_coordinator_ends_this_one(place: Place) -> None:
    lane = place.lanes["south"]
    lane._head._obeys = Obeyed(9, "11111111-2222-3333-4444-555555555555")
    lane._saved = lane._saving = lane._head._obeys
    place.run(2.0)
    assert place.fault.startswith("link_lost: lanes obey another coordinator (term 9; ours is 7)")
    assert place.superseded == [9]
    place.run(20.0)
    assert {one.aspect for one in place.lanes.values()} == {Aspect.FLASHING_RED}


def test_an_ending_coordinator_takes_the_greens_away(place: Place) -> None:
    place.run(6.0)
    place.heads.close()
    for lane in place.lanes.values():
        place.now_ms += 1
        lane.step(place.now_s)
    assert place.lanes["north"].aspect is Aspect.YELLOW


def count(n_since_boot: int, n: int | None = 1, boot: int = 1, device: int = 1, lane: str = "north") -> bytes:
    message = CarCounts(
        junction=JUNCTION.name,
        device=UUID(int=device),
        boot_id=UUID(int=boot),
        epoch=1,
        seq=1,
        nonce="12345678",
        at=0,
        lane=lane,
        span_ms=1000,
        n=n,
        n_since_boot=n_since_boot,
    )
    return topics.write(message)


@pytest.mark.parametrize(
    ("told", "crossed"),
    [
        ([count(1), count(2)], 2),
        ([count(1), count(1)], 1),
        ([count(1), count(5)], 5),
        ([count(500, n=2), count(501)], 3),
        ([count(5, n=5), count(3, boot=2), count(4, boot=2)], 9),
        ([count(5, n=5), count(3, boot=2), count(5), count(3, boot=2), count(6)], 9),
        ([count(2, n=2), count(7, n=7, device=2), count(3), count(8, device=2)], 11),
        ([count(0, n=None)], 0),
        ([count(1, lane="no lane of ours")], 0),
    ],
    ids=[
        "one by one",
        "doubled",
        "lost ones",
        "of before our start",
        "restart",
        "late ones",
        "two Pis",
        "none",
        "odd",
    ],
)
def test_a_lanes_counts_are_taken_once(told: Sequence[bytes], crossed: int) -> None:
    place = Place()
    box = place.net.boxes.setdefault("coordinator", [])
    box += [Came(CAR_COUNTS.topic(JUNCTION.name, json.loads(one)["lane"]), one, False) for one in told]
    place.driving.step(0.1, None, None)
    sensed = place.heads.sensed(5)
    assert sum(isinstance(one, Crossing) and one.sensor == "cam-north" for one in sensed) == crossed
    states = [one for one in sensed if isinstance(one, SensorState)]
    assert all(one.measures is not (told == [count(0, n=None)]) for one in states)


def test_a_lane_tells_what_it_counted_and_that_it_does_not_measure() -> None:
    place = Place()
    lane = place.lanes["north"]
    lane.sense([SensorState(sensor="cam-north", at_ns=0, measures=True)], 0.0)
    lane.sense([Crossing(sensor="cam-north", source="stop", at_ns=0, cls="bus")] * 2, 0.0)
    lane.sense([Crossing(sensor="cam-north", source="another line", at_ns=0)], 0.0)
    place.run(1.0)
    lane.sense([SensorState(sensor="cam-north", at_ns=0, measures=False)], place.now_s)
    place.run(6.0)
    told = [message for message in place.net.said if isinstance(message, CarCounts)]
    assert [(one.n, one.by_class, one.n_since_boot) for one in told] == [(2, {"bus": 2}, 2), (None, {}, 2)]


def test_a_lane_never_says_more_than_its_broker_takes(place: Place) -> None:
    """The broker hangs up on whoever does, and with the connection goes the green."""
    limit = int(SIZE_LIMIT.search((EXAMPLES.parent / "mosquitto/mosquitto.conf").read_text())[1])  # type: ignore[index]
    lane = place.lanes["north"]
    names = [f"{n:03}" + "ä" * 97 for n in range(300)]
    place.net.said.clear()
    lane.sense([SensorState(sensor=name, at_ns=0, measures=True) for name in ("cam-north", *names)], place.now_s)
    lane.sense([Crossing(sensor="cam-north", source="stop", at_ns=0, cls=name) for name in names], place.now_s)
    place.run(5.0)
    counts = [one for one in place.net.said if isinstance(one, CarCounts)]
    assert [one.n for one in counts] == [300]
    assert max(len(topics.write(one)) for one in place.net.said) < limit / 2
    assert set(lane._measures) == {"cam-north"}


def test_what_is_retained_or_not_understood_is_left_out() -> None:
    place = Place()
    topic = CAR_COUNTS.topic(JUNCTION.name, "north")
    box = place.net.boxes.setdefault("coordinator", [])
    box += [Came(topic, count(5), True), Came(topic, b"{", False), Came("elsewhere", b"", False)]
    place.driving.step(0.1, None, None)
    assert place.heads.sensed(5) == []
    assert place.heads._voice.n_bad == 2


def test_counts_of_a_long_outage_come_bit_by_bit_and_an_impossible_one_takes_no_memory() -> None:
    place = Place()

    def crossed(*told: bytes) -> int:
        box = place.net.boxes.setdefault("coordinator", [])
        box.extend(Came(CAR_COUNTS.topic(JUNCTION.name, "north"), one, False) for one in told)
        place.run(0.1)
        return sum(isinstance(one, Crossing) for one in place.heads.sensed(5))

    assert [crossed(count(1, n=1)), crossed(count(46)), crossed(), crossed(), crossed()] == [1, 20, 20, 5, 0]
    assert crossed(count(2**53)) == 20
    assert place.heads._owed["north"] == 5000 - 20
    for first in range(2, 700, 200):
        crossed(*(count(1, n=1, device=device) for device in range(first, first + 200)))
    assert len(place.heads._n_crossed) <= 256


def test_a_message_that_is_nested_without_end_is_left_out_on_both_sides(place: Place) -> None:
    """It came to flash at the whole junction, until somebody cleared that, and ended a lane's daemon."""
    deep = b'{"x":' + b"[" * 5000
    for channel, who in ((LEASE_ASK, "coordinator"), (LEASE, "north")):
        place.net.boxes[who].append(Came(channel.topic(JUNCTION.name, "north"), deep, False))
    place.run(1.0)
    assert place.fault == ""
    assert place.heads._voice.n_bad == 1


def test_a_term_that_cannot_be_is_believed_neither_of_a_lane_nor_of_the_disk(place: Place, tmp_path: Path) -> None:
    """The one after it would be none that lanes read: no start could ever end that."""
    asks = [message for message in place.net.said if isinstance(message, LeaseAsk)]
    for epoch in (2**53, topics.MOST_TERM + 1):
        lie = msgspec.json.encode(structs.replace(asks[-1], epoch=epoch, seq=2**50))
        place.net.boxes["coordinator"].append(Came(LEASE_ASK.topic(JUNCTION.name, asks[-1].lane), lie, False))
    place.run(1.0)
    assert (place.superseded, place.fault) == ([], "")
    path = tmp_path / "lease-term"
    for kept in (2**53, topics.MOST_TERM, -1):
        path.write_text(str(kept))
        assert 0 < _next_term(path) < 2**33
    path.write_text(str(topics.MOST_TERM - 1))
    assert _next_term(path) == topics.MOST_TERM


def test_the_flat_topics_say_the_same_where_they_are_switched_on() -> None:
    sent: list[tuple[str, Any]] = []

    class Recorder(NoBus):
        def send(self, topic: str, payload: bytes, qos: Qos, *, retain: bool = False) -> None:
            sent.append((topic, payload))

    for flat in (False, True):
        speaker = Speaker(Recorder(), "J", "north", flat=flat)
        speaker.say(speaker.make(CarCounts, 1, lane="north", span_ms=1, n=1))
    assert [topic for topic, _ in sent] == [CAR_COUNTS.topic("J", "north")] * 2 + ["car-counts"]
    assert sent[1][1] == sent[2][1]


def config(folder: Path, rest: str, heads: str = 'driver = "lanes"') -> str:
    """What is wrong with it; empty: nothing."""
    (folder / "junction.json").write_bytes(msgspec.json.encode(JUNCTION))
    path = folder / "signals.toml"
    path.write_text(f'state_dir = "s"\njunction_file = "junction.json"\n[heads]\n{heads}\n{rest}')
    try:
        load_signals_config(path, {})
    except ConfigError as error:
        return str(error)
    return ""


MQTT = '[mqtt]\nhost = "broker"\n'


@pytest.mark.parametrize(
    ("rest", "heads", "complaint"),
    [
        (MQTT, 'driver = "lanes"', ""),
        (MQTT + '[lane]\nmovement = "north"', 'driver = "simulated"', ""),
        ("", 'driver = "lanes"', "mqtt: is missing"),
        ('[lane]\nmovement = "north"', 'driver = "simulated"', "mqtt: is missing"),
        (
            MQTT + '[lane]\nmovement = "nroth"',
            'driver = "simulated"',
            'lane.movement = "nroth": the junction has no',
        ),
        (MQTT + '[lane]\nmovement = "north"', 'driver = "lanes"', "a lane's Pi drives its own head"),
        (MQTT + '[heads.lanes]\np1 = "north"', 'driver = "lanes"', "has no head for east, south, west"),
        (MQTT + '[heads.lanes]\np1 = "up"', 'driver = "lanes"', "heads.lanes.p1"),
        (
            MQTT + '[lane]\nmovement = "north"\n[heads.lamps.north]\nred = 2\nyellow = 3\ngreen = 9\n',
            'driver = "gpio"',
            "",
        ),
    ],
)
def test_a_configuration_of_several_pis_is_checked(tmp_path: Path, rest: str, heads: str, complaint: str) -> None:
    found = config(tmp_path, rest, heads)
    assert complaint in found if complaint else not found


@pytest.mark.parametrize("name", ["signals-coordinator.toml", "signals-lane.toml"])
def test_the_samples_are_sound(name: str) -> None:
    read = load_signals_config(EXAMPLES / name, {})
    assert read.mqtt is not None
    assert read.mqtt.tls
    assert (read.lane is not None) == (name == "signals-lane.toml")
