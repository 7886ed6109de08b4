"""What lanes tell out of their detectors, and which detectors are not believed."""

import math

import msgspec
import pytest

from common.junction import Detector, DetectorKind, Junction, Lane
from edge_agent.domain.signals.sensing import Edge, Sensing
from edge_agent.domain.signals.steps import Lane as Told
from tests.junctions import crossroads

NORTH, EAST = 0, 1
NS, EW = frozenset({"north", "south"}), frozenset({"east", "west"})
LANES = ("north", "east", "south", "west")


class Street:
    """A junction's sensors, second by second: all of them measure unless said otherwise."""

    def __init__(self, junction: Junction | None = None, hour: int | None = None) -> None:
        self.junction = junction or crossroads()
        self.sensing = Sensing(self.junction, 0.0)
        self.hour = hour
        self.now_s = 0.0
        self.silent: set[str] = set()
        """Sensors that say they measure, and tell nothing."""
        self.gone: set[str] = set()
        """Sensors that say nothing at all."""
        self.zones = {d.lane: (0, 0) for d in self.junction.detectors if d.kind is DetectorKind.APPROACH}
        self.green = NS
        self.told: tuple[Told, ...] = ()

    def second(self) -> tuple[Told, ...]:
        """One second goes by."""
        self.now_s += 1.0
        for sensor in {d.sensor for d in self.junction.detectors} - self.gone:
            self.sensing.sensor(sensor, self.now_s, True)
        for lane, (n, n_standing) in self.zones.items():
            if f"cam-{lane}" not in self.gone:
                self.zone(lane, n, n_standing)
        self.told = self.sensing.step(self.now_s, self.green, self.hour)
        return self.told

    def cross(self, lane: str, source: str = "stop", at_s: float | None = None) -> None:
        if f"cam-{lane}" not in self.silent:
            self.sensing.crossing(f"cam-{lane}", source, self.now_s if at_s is None else at_s)

    def zone(self, lane: str, n: int, n_standing: int) -> None:
        self.zones[lane] = (n, n_standing)
        self.sensing.presence(f"cam-{lane}", "approach", self.now_s, n, n_standing)

    def traffic(self, seconds: int, every_s: int = 10, lanes: tuple[str, ...] = LANES) -> None:
        """Vehicles on all these lanes; greens change each 30 s."""
        for _ in range(seconds):
            self.second()
            self.green = NS if self.now_s % 60 < 30 else EW
            if self.now_s % every_s == 0:
                for lane in lanes:
                    self.cross(lane)
                    self.zone(lane, 1, 0)
                    self.zone(lane, 0, 0)

    def doubts(self) -> dict[tuple[str, str], str]:
        return {(r.lane, r.source): r.doubt for r in self.sensing.reports()}


def test_before_anything_is_told_nothing_is_measured() -> None:
    sensing = Sensing(crossroads(), 0.0)
    assert sensing.step(1.0, NS) == (Told(),) * 4


def test_crossings_presence_and_calls_of_a_lane() -> None:
    street = Street()
    street.second()
    street.cross("north")
    street.zone("east", 3, 2)
    street.now_s += 1.5
    told = street.second()
    assert told[NORTH] == Told(1, 2.5, 0, 0, False)
    assert told[EAST] == Told(0, math.inf, 3, 1, True)


def test_a_sensor_that_does_not_measure_is_not_an_empty_lane() -> None:
    street = Street()
    street.second()
    street.sensing.sensor("cam-east", street.now_s, False, "the picture is black")
    street.gone.add("cam-east")
    told = street.second()
    assert (told[EAST].n_crossed, told[EAST].n_near, told[EAST].is_waiting) == (None, None, None)
    assert {r.why for r in street.sensing.reports()} == {"the picture is black"}


def test_a_sensor_that_falls_silent_does_not_measure_after_some_seconds_and_comes_back() -> None:
    street = Street()
    street.traffic(60)
    street.gone.add("cam-east")
    for _ in range(5):
        street.second()
    assert street.told[EAST].n_crossed is None
    assert street.doubts() == {("east", "stop"): "absent", ("east", "approach"): "absent"}
    street.gone.clear()
    street.second()
    assert street.told[EAST].n_crossed is not None
    assert street.doubts() == {}


def two_lines(kind: DetectorKind = DetectorKind.STOP_LINE) -> Junction:
    """A reader besides the camera on the north lane."""
    base = crossroads()
    reader = Detector(channel=50, lane="north", kind=kind, sensor="reader", source="antenna")
    return msgspec.structs.replace(base, detectors=(*base.detectors, reader))


def test_a_camera_whose_zone_tells_nothing_is_no_empty_zone() -> None:
    street = Street()
    street.traffic(20)
    del street.zones["east"]
    for _ in range(5):
        street.second()
    told = street.told[EAST]
    assert (told.n_near, told.n_moving, told.is_waiting) == (None, None, None)
    assert told.n_crossed is not None
    assert street.doubts() == {("east", "approach"): "absent"}


class TestFusion:
    def test_one_vehicle_that_two_detectors_tell_of_is_one(self) -> None:
        street = Street(two_lines())
        street.second()
        street.sensing.crossing("reader", "antenna", 1.0)
        street.sensing.crossing("cam-north", "stop", 1.6)
        assert street.second()[NORTH].n_crossed == 1

    def test_two_close_vehicles_that_both_tell_of_are_two(self) -> None:
        street = Street(two_lines())
        street.second()
        for at_s in (1.0, 2.2):
            street.sensing.crossing("reader", "antenna", at_s)
            street.sensing.crossing("cam-north", "stop", at_s + 0.3)
        assert street.second()[NORTH].n_crossed == 2

    def test_each_may_see_what_the_other_misses(self) -> None:
        street = Street(two_lines())
        street.second()
        for at_s in (1.0, 11.0):
            street.sensing.crossing("reader", "antenna", at_s)
        for at_s in (6.0, 11.2, 16.0):
            street.sensing.crossing("cam-north", "stop", at_s)
        assert street.second()[NORTH].n_crossed == 4

    def test_the_other_one_is_enough(self) -> None:
        street = Street(two_lines())
        street.traffic(30)
        street.gone.add("cam-north")
        for _ in range(10):
            street.second()
        before = street.told[NORTH].n_crossed
        assert before is not None
        street.sensing.crossing("reader", "antenna", street.now_s)
        assert street.second()[NORTH].n_crossed == before + 1

    def test_disagreement_is_reported(self) -> None:
        street = Street(two_lines())
        for i in range(40):
            street.traffic(10)
            if i % 4 == 0:
                street.sensing.crossing("reader", "antenna", street.now_s)
        assert street.doubts() == {("north", "antenna"): "disagrees"}

    def test_a_button_calls_until_its_green(self) -> None:
        base = crossroads()
        walk = Detector(channel=60, lane="walk", kind=DetectorKind.BUTTON, sensor="button", source="push")
        lane = Lane(name="walk", approach="north")
        movement = msgspec.structs.replace(base.movements[1], name="walk", phase=10, lanes=("walk",))
        junction = msgspec.structs.replace(
            base,
            lanes=(*base.lanes, lane),
            detectors=(*base.detectors, walk),
            movements=(*base.movements, movement),
        )
        street = Street(junction)
        street.second()
        assert street.told[4].is_waiting is False
        street.sensing.crossing("button", "push", street.now_s)
        assert street.second()[4].is_waiting is True
        street.green = frozenset({"walk"})
        assert street.second()[4].is_waiting is False

    def test_a_button_that_is_held_calls_as_long_and_one_that_sticks_is_not_believed(self) -> None:
        street = Street(with_contact("walk", DetectorKind.BUTTON))
        street.second()
        street.sensing.contact("pin", street.now_s, True)
        assert street.second()[4].is_waiting is True
        street.green = frozenset({"walk"})
        assert street.second()[4].is_waiting is False
        street.green = NS
        assert street.second()[4].is_waiting is True, "it is held still"
        street.sensing.contact("pin", street.now_s, False)
        assert street.second()[4].is_waiting is False
        street.sensing.contact("pin", street.now_s, True)
        street.now_s += 900.0
        street.second()
        assert street.doubts() == {("walk", "pin"): "stuck"}
        assert street.told[4] == Told(), "not measured: it is called as if somebody stood there"

    def test_a_vehicle_has_crossed_when_it_leaves_the_loop_and_stands_before_that(self) -> None:
        street = Street(with_contact("loop", DetectorKind.STOP_LINE))
        street.second()
        street.sensing.contact("pin", street.now_s, True)
        street.sensing.contact("pin", street.now_s, True)
        told = street.second()[4]
        assert (told.n_crossed, told.is_waiting) == (0, True)
        street.sensing.contact("pin", street.now_s, False)
        told = street.second()[4]
        assert (told.n_crossed, told.is_waiting, told.headway_s) == (1, False, 1.0)
        assert street.sensing.edges()[-2:] == (Edge(1.0, 82, 60), Edge(2.0, 81, 60)), "on and off as they were"


def with_contact(lane: str, kind: DetectorKind) -> Junction:
    """The crossroads, and a lane of which a contact tells."""
    base = crossroads()
    movement = msgspec.structs.replace(base.movements[1], name=lane, phase=10, lanes=(lane,))
    contact = Detector(channel=60, lane=lane, kind=kind, sensor="contacts", source="pin")
    return msgspec.structs.replace(
        base,
        lanes=(*base.lanes, Lane(name=lane, approach="north")),
        detectors=(*base.detectors, contact),
        movements=(*base.movements, movement),
    )


class TestDoubt:
    def test_a_line_that_tells_nothing_while_the_camera_sees_them_leave_is_silent(self) -> None:
        street = Street(two_lines())
        street.traffic(300, lanes=("north",))
        assert street.doubts() == {("north", "antenna"): "silent"}

    def test_a_silence_that_is_usual_is_not_doubted(self) -> None:
        street = Street(hour=3)
        street.traffic(1_800, every_s=300)
        street.traffic(600, every_s=300)
        assert street.doubts() == {}

    def test_a_lane_that_falls_silent_in_the_rush_is_doubted_and_has_its_usual_demand(self) -> None:
        street = Street(hour=8)
        street.traffic(1_200)
        others = ("north", "south", "west")
        street.traffic(400, lanes=others)
        assert street.doubts() == {("east", "stop"): "silent", ("east", "approach"): "silent"}
        told = street.told[EAST]
        assert (told.n_crossed, told.n_near, told.is_waiting) == (None, None, None)
        assert told.usual_vps == pytest.approx(0.1, rel=0.1)

    def test_it_is_believed_again_when_it_tells_of_vehicles(self) -> None:
        street = Street(hour=8)
        street.traffic(1_200)
        street.traffic(400, lanes=("north", "south", "west"))
        street.traffic(60)
        assert street.doubts() == {}
        assert street.told[EAST].n_crossed is not None

    def test_when_nobody_comes_anywhere_no_detector_is_to_blame(self) -> None:
        street = Street(hour=8)
        street.traffic(1_200)
        street.traffic(2_400, lanes=())
        assert street.doubts() == {}

    def test_a_lane_that_never_told_anything_is_doubted_after_a_while(self) -> None:
        street = Street()
        street.traffic(2_400, lanes=("north", "south", "west"))
        assert street.doubts() == {("east", "stop"): "silent", ("east", "approach"): "silent"}

    def test_somebody_who_stands_through_greens_in_which_nobody_crosses_is_none(self) -> None:
        street = Street()
        street.traffic(60)
        street.zone("north", 1, 1)
        street.traffic(240, lanes=("east", "west", "south"))
        assert street.doubts() == {("north", "approach"): "stuck"}
        assert street.told[NORTH].n_near is None
        street.zone("north", 0, 0)
        street.traffic(90)
        assert street.doubts() == {}

    def test_a_queue_that_stands_through_greens_and_moves_up_is_a_queue(self) -> None:
        street = Street()
        for _ in range(40):
            street.traffic(10)
            street.zone("north", 7, 6)
        assert street.doubts() == {}

    def test_a_zone_that_was_full_for_minutes_is_not_silent_when_it_is_empty_at_last(self) -> None:
        """It becomes occupied once, and is so until the queue is gone: who comes and goes meanwhile is told of."""
        street = Street()
        for k in range(150):
            street.zone("north", 6 + k % 2, 6)
            street.second()
            if k % 10 == 0:
                street.cross("north")
        street.zone("north", 0, 0)
        street.second()
        assert street.doubts() == {}
        assert street.told[NORTH].n_near == 0

    def test_a_turn_that_gets_its_gap_only_when_the_green_is_over_is_no_stuck_zone(self) -> None:
        street = Street()
        street.zone("north", 4, 4)
        for _ in range(5):
            for second in range(30):
                street.green = NS if second < 10 else EW
                street.second()
                if second == 12:
                    street.cross("north")
        assert street.doubts() == {}

    def test_more_than_can_drive_there_is_chatter(self) -> None:
        street = Street()
        street.second()
        for k in range(40):
            street.cross("north", at_s=street.now_s + k * 0.1)
        street.now_s += 4.0
        street.second()
        assert street.doubts() == {("north", "stop"): "chattering"}
        assert street.told[NORTH].n_crossed is None
        assert street.told[NORTH].n_near is not None
        street.traffic(120)
        assert street.doubts() == {}

    def test_a_dense_platoon_is_no_chatter(self) -> None:
        street = Street()
        for _ in range(60):
            street.second()
            street.cross("north")
        assert street.doubts() == {}


class TestEdges:
    def test_a_crossing_is_on_then_off(self) -> None:
        street = Street()
        street.second()
        street.sensing.edges()
        street.cross("north")
        assert street.sensing.edges() == (Edge(1.0, 82, 1), Edge(1.0, 81, 1))
        assert street.sensing.edges() == ()

    def test_a_zone_is_on_while_somebody_is_in_it(self) -> None:
        street = Street()
        street.second()
        street.sensing.edges()
        for n in (1, 2, 0):
            street.now_s += 1.0
            street.zone("north", n, 0)
        assert street.sensing.edges() == (Edge(2.0, 82, 101), Edge(4.0, 81, 101))

    def test_faults_and_their_end_are_logged(self) -> None:
        street = Street()
        street.second()
        street.sensing.edges()
        street.gone.add("cam-north")
        for _ in range(5):
            street.second()
        street.gone.clear()
        street.second()
        codes = [(edge.code, edge.parameter) for edge in street.sensing.edges()]
        assert codes == [(84, 1), (84, 101), (83, 1), (83, 101)]


def test_what_is_no_detector_of_the_junction_is_ignored() -> None:
    street = Street()
    street.second()
    street.sensing.crossing("cam-elsewhere", "stop", 1.0)
    street.sensing.presence("cam-north", "other-zone", 1.0, 3, 3)
    street.sensing.sensor("cam-elsewhere", 1.0, False)
    assert street.second()[NORTH] == Told(0, math.inf, 0, 0, False)
