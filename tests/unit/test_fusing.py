"""Fusion as the agent has it: counts pass by, the outbox gets all, the lights get each vehicle once."""

import asyncio
import logging

import pytest

from common.clock import Stamp
from common.codes import Direction, Via
from common.records import Count, Frames, Log, Record
from edge_agent.cameras.view import CameraView
from edge_agent.domain.fusion import FusedCrossing, FusionParams, Sensor
from edge_agent.rfid.fusing import LaneFuser, LanePlan
from edge_agent.rfid.tap import CountTap

PLAN = LanePlan("lane", "stop", Direction.IN, "gate 1", "cam", "gate", FusionParams(min_n=3, settle_s=1.0))


class World:
    """An outbox, a clock, the sensors' states, and all that the lights were told."""

    def __init__(self) -> None:
        self.kept: list[Record] = []
        self.now_s = 1000.0
        self.views = {name: CameraView(name, state="ok") for name in ("cam", "gate")}
        self.fuser = LaneFuser([PLAN], self.views, self, self)
        self.tap = CountTap(self)
        self.tap.listeners.append(self.fuser.hear)
        self.told: list[tuple[str, FusedCrossing]] = []
        self.fuser.listeners.append(lambda lane, crossing: self.told.append((lane, crossing)))

    async def put(self, record: Record, stamp: Stamp) -> None:
        self.kept.append(record)

    def hold(self, sensor: str, block: Frames | None, stamp: Stamp) -> None:
        """This run is not killed."""

    def stamp(self) -> Stamp:
        return Stamp("boot", int(self.now_s * 1e9), 0, False)

    def count(
        self,
        t_s: float,
        via: Via = Via.CAMERA,
        direction: Direction = Direction.IN,
        source: str = "",
        track: str = "7",
    ) -> None:
        self.now_s = max(self.now_s, t_s)
        sensor, usual = ("gate", "gate 1") if via is Via.RFID else ("cam", "stop")
        record = Count(1, 0, 0, sensor, source or usual, via, "car", direction, track=track)
        asyncio.run(self.tap.put(record, Stamp("boot", int(t_s * 1e9), 0, False)))

    def check(self) -> None:
        """At the end of a span."""
        (_, fusion), *_ = self.fuser._lanes
        asyncio.run(self.fuser.tell(PLAN, fusion.check(self.now_s + 100)))

    @property
    def logs(self) -> list[Log]:
        return [record for record in self.kept if isinstance(record, Log)]


@pytest.fixture
def world() -> World:
    return World()


def test_the_outbox_gets_both_and_the_lights_one(world: World) -> None:
    world.count(1000.0)
    world.count(1001.0, Via.RFID, Direction.NONE, track="h1:a:b")
    assert len(world.kept) == 2
    assert world.told == [
        ("lane", FusedCrossing(1000.0, "car", None, Sensor.CAMERA)),
        ("lane", FusedCrossing(1000.0, "car", "h1:a:b", Sensor.CAMERA, late=True)),
    ]


@pytest.mark.parametrize(
    ("via", "direction", "source"),
    [
        (Via.CAMERA, Direction.OUT, ""),
        (Via.CAMERA, Direction.IN, "another line"),
        (Via.TRUTH, Direction.IN, ""),
        (Via.TURN, Direction.IN, ""),
        (Via.RFID, Direction.NONE, "gate 2"),
    ],
)
def test_what_does_not_belong_to_the_lane_is_left_alone(
    world: World, via: Via, direction: Direction, source: str
) -> None:
    world.count(1000.0, via, direction, source)
    assert len(world.kept) == 1
    assert world.told == []


def test_that_they_disagree_is_told_and_that_they_agree_again(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    for i in range(8):
        world.count(1000.0 + 20 * i, Via.RFID, track=f"E{i}")
    world.check()
    world.check()
    for i in range(8):
        world.count(5000.0 + 20 * i, Via.RFID, track=f"E{i}")
        world.count(5000.5 + 20 * i)
    world.check()
    assert [(log.level, log.action) for log in world.logs] == [
        ("warning", "fusion_disagrees"),
        ("info", "fusion_check"),
        ("info", "fusion_agrees"),
    ]
    assert "too few" in world.logs[1].message
    assert "missed 8 of 8" in world.logs[0].message
    assert (world.logs[0].context["tags_only"], world.logs[0].context["camera_miss"]) == (8, 1.0)
    assert (world.logs[2].context["both"], world.logs[2].context["offset_s"]) == (8, -0.5)
    assert len(caplog.records) == 1


def test_a_camera_that_does_not_measure_is_not_blamed(world: World) -> None:
    world.views["cam"].state = "black"
    for i in range(8):
        world.count(1000.0 + 20 * i, Via.RFID, track=f"E{i}")
    world.check()
    assert [log.action for log in world.logs] == ["fusion_check"]
    assert world.logs[0].context["tags_only"] == 0
    assert len(world.told) == 8, "but who it alone sees counts"


def test_a_lane_is_measured_while_one_of_its_sensors_is(world: World) -> None:
    assert world.fuser.states() == {"lane": ""}
    world.views["cam"].state = "black"
    assert world.fuser.states() == {"lane": ""}
    world.views["gate"] = CameraView("gate", "unreachable", kind="reader")
    assert world.fuser.states() == {"lane": "camera cam: black; reader gate: unreachable"}


def test_a_listener_that_fails_costs_no_record(world: World) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError

    world.tap.listeners.insert(0, fail)
    world.count(1000.0)
    asyncio.run(world.tap.put(Frames(1, 0, 0, "cam", 1000, 1000, 10, 0), world.stamp()))
    assert len(world.kept) == 2
    assert len(world.told) == 1
