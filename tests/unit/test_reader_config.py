"""Settings of readers and fused lanes: what they become, and what is wrong with them."""

from pathlib import Path

import pytest

from common.codes import Direction
from edge_agent.config.loading import ConfigError, parse_config
from edge_agent.config.settings import AgentConfig
from edge_agent.domain.fusion import FusionRule
from edge_agent.rfid.plans import lane_plans, reader_plans

CAMERA = """
[[cameras]]
name = "cam"
source = "0"
[[cameras.lines]]
name = "stop"
points = [[0, 1], [9, 1]]
"""
READER = '[[readers]]\nname = "gate"\ndevice = "llrp://10.0.0.9"\nepc = "raw"\n'
ANTENNAS = '[[readers.antennas]]\nnumber = 1\nname = "left"\n[[readers.antennas]]\nnumber = 2\nname = "right"\n'
LANE = '[[fused_lanes]]\nname = "lane 1"\nline = "stop"\ntags = "gate"\n'


def parse(text: str) -> AgentConfig:
    return parse_config(f'name = "pi"\n{text}', Path("/etc/agent.toml"), {}, files_must_exist=False)


def test_a_reader_becomes_a_plan() -> None:
    (plan,) = reader_plans(parse(READER + "power_dbm = 27.0\nmin_rssi_dbm = -65.0\n" + ANTENNAS))
    assert plan.sources == {1: "left", 2: "right"}
    assert plan.job.options.antennas == (1, 2)
    assert plan.job.options.power_dbm == 27.0
    assert (plan.passage.min_reads, plan.passage.min_rssi_dbm, plan.passage.order) == (2, -65.0, None)
    assert plan.mask.write("AB", 0) == "AB"


def test_antennas_in_order_are_one_lane() -> None:
    (plan,) = reader_plans(parse(READER + "order = [2, 1]\n" + ANTENNAS))
    assert plan.passage.order == (2, 1)
    assert plan.sources == {1: "right", 2: "right"}


def test_a_chip_counts_at_the_first_reading() -> None:
    (plan,) = reader_plans(parse(READER.replace("llrp://10.0.0.9", "mfrc522")))
    assert plan.passage.min_reads == 1
    assert plan.sources == {1: "gate"}


def test_a_recording_lies_beside_the_file() -> None:
    (reader,) = parse(READER.replace("llrp://10.0.0.9", "tags.csv")).readers
    assert reader.device == "/etc/tags.csv"


def test_a_fused_lane_becomes_a_plan() -> None:
    (lane,) = lane_plans(parse(CAMERA + READER + LANE + 'direction = "in"\nrule = "camera"\n'))
    assert (lane.camera, lane.line, lane.direction) == ("cam", "stop", Direction.IN)
    assert (lane.reader, lane.tags, lane.params.rule) == ("gate", "gate", FusionRule.CAMERA)
    (lane,) = lane_plans(parse(CAMERA + READER + ANTENNAS + LANE.replace('"gate"', '"right"')))
    assert (lane.reader, lane.tags, lane.direction) == ("gate", "right", None)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (READER.replace("llrp:", "http:"), "no reader is reached by http://"),
        (READER.replace("llrp://10.0.0.9", "sim:moon"), "no simulated reader 'moon'; there is road, queue"),
        (READER.replace('"raw"', '"plain"'), "must be one of: 'hmac', 'raw' or 'off'"),
        (READER + "gap_s = 20.0\n", "rearm_s must not be less than gap_s"),
        (READER + "min_reads = 0\n", "min_reads = 0: must be 1 or more"),
        (READER + "order = [1, 2]\n", "order must name two antennas that have sections"),
        (READER + "order = [1]\n" + ANTENNAS, "order must name two antennas"),
        (READER + "powr_dbm = 1.0\n", "did you mean power_dbm?"),
        (READER + ANTENNAS.replace("number = 2", "number = 1"), "two antennas have the same number"),
        (READER + ANTENNAS.replace('"right"', '"left"'), "another line, zone, turn, antenna or lane"),
        (READER.replace("llrp://10.0.0.9", "mfrc522") + ANTENNAS, "an MFRC522 has one antenna"),
        (CAMERA + READER.replace('"gate"', '"cam"'), "another camera or reader of this device"),
        (CAMERA + READER.replace('"gate"', '"stop"'), "another line, zone, turn, antenna or lane"),
        (CAMERA + READER + LANE.replace('"stop"', '"go"'), "there is no such counting line; there is stop"),
        (CAMERA + READER + LANE.replace('"gate"', '"door"'), "no such reader or antenna; there is gate"),
        (CAMERA + READER + ANTENNAS + LANE, "no such reader or antenna; there is left, right"),
        (CAMERA + READER + LANE.replace('"lane 1"', '"stop"'), "another line, zone, turn, antenna or lane"),
        (LANE, "there is no such counting line; there is none"),
        ("[epc]\nrotate_h = 0.0\n", "epc.rotate_h = 0.0: must be 1 or more"),
    ],
)
def test_a_mistake_is_named(text: str, told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(text)
    assert told in str(caught.value)


def test_a_reader_can_be_set_from_the_environment() -> None:
    environ = {"STOPLINE_READERS__GATE__DEVICE": "sim", "STOPLINE_READERS__GATE__GAP_S": "2.5"}
    config = parse_config(f'name = "pi"\n{READER}', Path("/etc/agent.toml"), environ)
    assert (config.readers[0].device, config.readers[0].gap_s) == ("sim", 2.5)
