"""`stopline-agent timing`: what it prints, draws and refuses."""

import json
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from edge_agent.cli import main
from edge_agent.domain.signals.log_rows import DETECTOR_COLUMNS, EVENT_COLUMNS, LogRow, to_event_rows
from tests.synthetic_log import DAY, DETECTORS, synthetic_log, write_csv

SVG = "{http://www.w3.org/2000/svg}"
ROAD = """
title = "Main <Street>"
cycle_s = 60
out_kmh = 36
[[junctions]]
name = "a & b"
at_m = 0
out_green_s = 30
[[junctions]]
name = "c"
at_m = 300
out_green_s = 30
[[junctions]]
name = "d"
at_m = 600
out_green_s = 30
"""


def told(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> str:
    assert main(["timing", *arguments]) == code
    out, error = capsys.readouterr()
    return error if code == 2 else out


def test_clearances(capsys: pytest.CaptureFixture[str]) -> None:
    given = ["clearance", "--speed-kmh", "50", "--width-m", "20", "--crossing-m", "9.6"]
    assert json.loads(told(capsys, *given, "--json")) == {
        "yellow_s": 3.3,
        "red_clearance_s": 1.9,
        "yellow_by_formula_s": 3.277,
        "red_by_formula_s": 1.872,
        "walk_clearance_s": 8.0,
    }
    assert "yellow_s = 3.3 " in told(capsys, *given)


def test_splits(capsys: pytest.CaptureFixture[str]) -> None:
    found = json.loads(told(capsys, "splits", "450:1800:5", "675:1800", "--lost-s", "10", "--json"))
    assert found["cycle_s"] == 54.0
    assert [stage["green_s"] for stage in found["stages"]] == [17.6, 26.4]
    assert "more come than can go" in told(capsys, "splits", "1800:1800", "900:1800", "--lost-s", "10")


def test_a_wave_from_a_file_and_its_picture(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    road, picture = tmp_path / "road.toml", tmp_path / "wave.svg"
    road.write_text(ROAD)
    found = json.loads(told(capsys, "wave", str(road), "--svg", str(picture), "--json"))
    assert found["offsets_s"] == {"a & b": 0.0, "c": 30.0, "d": 0.0}
    assert (found["out_s"], found["back_s"], found["attainability"]) == (30.0, 30.0, 1.0)
    root = ET.parse(picture).getroot()
    texts = ["".join(one.itertext()) for one in root.iter(f"{SVG}text")]
    assert {"Main <Street>", "a & b", "300 m, offset 30 s", "time in s", "distance in m"} <= set(texts)


def test_the_bands_of_the_picture_cross_every_junction_at_green(tmp_path: Path) -> None:
    """Corners of each band, against the green bars that the picture itself shows."""
    road, picture = tmp_path / "road.toml", tmp_path / "wave.svg"
    road.write_text(ROAD)
    assert main(["timing", "wave", str(road), "--svg", str(picture)]) == 0
    root = ET.parse(picture).getroot()
    bars = [
        (float(one.attrib["x"]), float(one.attrib["y"]), float(one.attrib["width"]))
        for one in root.iter(f"{SVG}rect")
        if one.attrib.get("fill") == "#1a9850"
    ]
    bands = [one.attrib["points"] for one in root.iter(f"{SVG}polygon")]
    corners = [tuple(map(float, point.split(","))) for points in bands for point in points.split()]
    left = min(x for x, _, _ in bars)
    right = max(x + width for x, _, width in bars)
    inside = [(x, y) for x, y in corners if left < x < right - 1.0]
    assert len(bands) >= 6
    assert len(inside) > 10
    for x, y in inside:
        assert any(
            abs(top - y) < 10.0 and from_x - 0.2 <= x <= from_x + width + 0.2 for from_x, top, width in bars
        )


def test_a_wave_from_the_command_line_says_what_else_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    given = ["wave", "--cycle-s", "90", "--speed-kmh", "50", "--junction", "A:0:42:38", "--junction", "B:320:36"]
    text = told(capsys, *given)
    assert "offset_s = " in text
    assert "the widest sum is 36.0 s out and 0.0 s back: --balance 0" in text
    assert "the way back has no band at all" in told(capsys, *given, "--balance", "0")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["clearance", "--speed-kmh", "20", "--width-m", "40"], "8.3 s, and 6 s is the most"),
        (["splits", "450-1800", "--lost-s", "10"], "'450-1800' is no stage"),
        (["splits", "450:0", "--lost-s", "10"], "'450:0' is no stage"),
        (["wave"], "name a FILE.toml"),
        (["wave", "--cycle-s", "60", "--junction", "A:0"], "'A:0' is no junction"),
        (["wave", "nowhere.toml"], "nowhere.toml"),
        (["log", "nowhere.csv"], "nowhere.csv"),
    ],
)
def test_what_makes_no_sense_is_refused(
    capsys: pytest.CaptureFixture[str], arguments: list[str], says: str
) -> None:
    assert says in told(capsys, *arguments, code=2)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("cycle_s = 60", "cycle_s = -60"), "$.cycle_s"),
        (("out_green_s = 30", "out_green = 30"), "out_green"),
        (("at_m = 300", "at_m = 700"), "d lies at 600 m, which is not beyond c"),
        (('name = "c"', "name = c"), "is no TOML"),
    ],
)
def test_a_road_that_is_none_says_where(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, change: tuple[str, str], says: str
) -> None:
    road = tmp_path / "road.toml"
    road.write_text(ROAD.replace(*change))
    assert says in told(capsys, "wave", str(road), code=2)


def test_what_a_log_tells(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    log, detectors = tmp_path / "log.csv", tmp_path / "detectors.csv"
    write_csv(log, EVENT_COLUMNS, to_event_rows(synthetic_log(60), "7", DAY))
    write_csv(detectors, DETECTOR_COLUMNS, DETECTORS)
    found = json.loads(told(capsys, "log", str(log), "--detectors", str(detectors), "--conflict", "2:4", "--json"))
    assert found["findings"] == []
    assert found["phases"]["2"] == {
        **{"gap_out": 12, "max_out": 36, "force_off": 12, "split_failures": 24},
        **{"arrivals": 180, "on_green": 0.6, "wait_mean_s": 23.2, "wait_max_s": 31.5},
    }
    assert "no findings" in told(capsys, "log", str(log))


def test_a_log_with_findings_and_one_of_several_devices(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    log = tmp_path / "log.csv"
    rows = to_event_rows([LogRow(0.0, 82, 1), LogRow(1.0, 82, 1)], "7", DAY)
    write_csv(log, EVENT_COLUMNS, rows)
    assert "82/1: it is on already" in told(capsys, "log", str(log), code=1)
    write_csv(log, EVENT_COLUMNS, [*rows, *to_event_rows([LogRow(0.0, 82, 1)], "8", DAY)])
    assert "choose one with --device: 7, 8" in told(capsys, "log", str(log), code=2)
    assert "no findings" in told(capsys, "log", str(log), "--device", "8")
