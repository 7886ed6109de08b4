"""What readers and fused lanes tell the lights, and what the lights make of it."""

import asyncio

import msgspec
import pytest

from common.clock import Stamp
from common.codes import Direction, Via
from common.records import Count
from edge_agent.cameras.view import CameraView
from edge_agent.domain.fusion import FusedCrossing, Sensor
from edge_agent.domain.signals import event_codes
from edge_agent.domain.signals.cycles import TagPassage
from edge_agent.link.messages import Crossing, Presence, SensorState
from edge_agent.link.sensors import TagReports
from edge_agent.signals.senses import Senses
from tests.junctions import crossroads

STAMP = Stamp("boot", 5_000_000_000, 0, True)


class Link:
    """Takes what the agent says, as `LightsLink` does."""

    def __init__(self) -> None:
        self.told: list[Crossing | Presence | SensorState] = []

    def tell(self, message: Crossing | Presence | SensorState) -> bool:
        self.told.append(message)
        return True


def count(via: Via) -> Count:
    return Count(1, 0, 0, "gate", "in", via, "object", Direction.NONE, None, "E28011")


def test_passages_of_readers_are_told_and_cameras_tell_theirs_themselves() -> None:
    link = Link()
    tags = TagReports(link, [], dict)
    tags.counted(count(Via.CAMERA), STAMP)
    tags.counted(count(Via.TRUTH), STAMP)
    tags.counted(count(Via.RFID), STAMP)
    assert link.told == [Crossing(sensor="gate", source="in", at_ns=STAMP.boottime_ns, epc="E28011")]


def test_a_vehicle_of_a_fused_lane_is_told_once_and_its_tag_when_it_is_known() -> None:
    link = Link()
    tags = TagReports(link, [], dict)
    tags.fused("north", FusedCrossing(2.0, "car", None, Sensor.CAMERA))
    tags.fused("north", FusedCrossing(2.0, "car", "E28011", Sensor.CAMERA, late=True))
    tags.fused("north", FusedCrossing(2.0, "bus", None, Sensor.CAMERA, late=True))
    told = [(one.at_ns, one.epc, one.is_new) for one in link.told if isinstance(one, Crossing)]
    assert told == [(2_000_000_000, None, True), (2_000_000_000, "E28011", False)]
    assert len(link.told) == 2


async def _states(tags: TagReports) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await tags.run()


def test_readers_and_fused_lanes_tell_whether_they_measure() -> None:
    link, good, bad = Link(), CameraView("gate", kind="reader"), CameraView("yard", kind="reader")
    good.state, bad.state, bad.detail = "ok", "reader_down", "no answer"
    asyncio.run(_states(TagReports(link, [good, bad], lambda: {"north": "", "south": "both are down"})))
    told = {one.sensor: (one.measures, one.why_not) for one in link.told if isinstance(one, SensorState)}
    assert told == {
        "gate": (True, ""),
        "yard": (False, "no answer"),
        "north": (True, ""),
        "south": (False, "both are down"),
    }


def test_a_sensor_that_speaks_of_tomorrow_is_not_believed_until_then() -> None:
    """Its lane would be taken for empty: a camera that told one such moment, and then died."""
    senses = Senses(crossroads(), 0.0, lambda: 0)
    tomorrow_ns = 86_400_000_000_000
    senses.take([SensorState(sensor="cam-north", at_ns=tomorrow_ns, measures=True)], 1.0)
    senses.lanes(1.0, frozenset(), 12)
    senses.take([Crossing(sensor="cam-north", source="stop", at_ns=tomorrow_ns)], 2.0)
    lane = senses.lanes(3.0, frozenset({"north"}), 12)[0]
    assert (lane.n_crossed, lane.headway_s) == (1, 1.0)
    told, _ = senses.told()
    assert {one.at_s for one in told if isinstance(one, event_codes.Crossing)} == {2.0}
    assert senses.lanes(60.0, frozenset(), 12)[0].n_crossed is None


def test_a_tag_that_comes_late_belongs_to_its_lane_and_is_no_second_vehicle() -> None:
    senses = Senses(crossroads(), 0.0, lambda: 0)
    senses.take([SensorState(sensor="cam-north", at_ns=500_000_000, measures=True)], 0.6)
    senses.lanes(0.6, frozenset(), 12)
    crossing = Crossing(sensor="cam-north", source="stop", at_ns=1_000_000_000)
    senses.take([crossing, msgspec.structs.replace(crossing, epc="E28011", is_new=False)], 1.5)
    lane = senses.lanes(1.5, frozenset(), 12)[0]
    told, passages = senses.told()
    assert lane.n_crossed == 1
    assert [one for one in told if isinstance(one, event_codes.Crossing)] == [event_codes.Crossing(1, 1.0)]
    assert passages == [TagPassage("north", "E28011")]
