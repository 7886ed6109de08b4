"""The command line of `count`: what it understands, and what it says about the rest."""

import argparse
import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from common.codes import Direction
from edge_agent.count.plan import (
    UsageError,
    add_count_parser,
    parse_frames,
    parse_ground_point,
    parse_line,
    parse_turn,
    parse_zone,
)


def count(*arguments: str) -> int:
    parser = argparse.ArgumentParser()
    add_count_parser(parser.add_subparsers(required=True))
    args = parser.parse_args(["count", *arguments])
    return int(args.run(args))


def test_lines_and_zones_in_words() -> None:
    line = parse_line("north:side:0,180.5,640,180")
    assert (line.name, line.points_px) == ("north:side", ((0.0, 180.5), (640.0, 180.0)))
    assert len(parse_line("bent:0,0,10,10,20,0").points_px) == 3
    assert parse_zone("box:0,0,10,0,10,10").points_px == ((0, 0), (10, 0), (10, 10))


@pytest.mark.parametrize(
    "text", ["", "mid", "mid:", "mid:1,2", "mid:1,2,3", "mid:1,2,3,x", ":1,2,3,4", "mid 1,2,3,4"]
)
def test_a_line_in_other_words(text: str) -> None:
    with pytest.raises(UsageError, match="write NAME:X1,Y1,X2,Y2"):
        parse_line(text)


@pytest.mark.parametrize(
    ("text", "frames"), [("16-452", ((16, 452), 1)), ("1-1", ((1, 1), 1)), ("16-452:3", ((16, 452), 3))]
)
def test_frames(text: str, frames: tuple[tuple[int, int], int]) -> None:
    assert parse_frames(text) == frames


@pytest.mark.parametrize("text", ["", "16", "-5", "5-", "a-b", "0-5", "9-5", "1-5:0", "1-5:x", "1.5-3"])
def test_frames_in_other_words(text: str) -> None:
    with pytest.raises(UsageError, match="--frames"):
        parse_frames(text)


WIDE = ("100,100,-5,30", "900,100,5,30", "900,300,3,10", "100,300,-3,10")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nowhere.mp4", "--line", "a:0,0,9,9"], "there is no file or folder nowhere.mp4"),
        (
            ["sim:road", "--model", "yolox-tiny", "--models-dir", "/nowhere"],
            "models pull yolox-tiny --to /nowhere",
        ),
        (["sim:road", "--model", "mine", "--models-dir", "/nowhere"], "there is no model 'mine' in /nowhere"),
        (["sim:road", "--input-size", "big"], "write WIDTHxHEIGHT"),
        (["sim:road", "--line", "a:0,0,0,0"], "line 'a'"),
        (["sim:road", "--line", "a:0,0,900,0", "--frames", "1-2"], "outside of the picture, which is 640x360"),
        (["sim:road", "--line", "a:0,0,9,9", "--zone", "a:0,0,9,0,9,9"], "'a' is used twice"),
        (["sim:road", "--score", "7"], "--score 7"),
        (["sim:road", "--classes", ","], "no class is named"),
        (["sim:road", "--camera", "north"], "give --config too"),
        (["sim:road", "--fps", "-3"], "--fps -3: write a number above 0"),
        (["sim:road", "--fps", "0"], "--fps 0: write a number above 0"),
        (["sim:road", "--turn", "t:a"], "in quotation marks, since a shell takes > for itself"),
        (["sim:road", "--fps", "0.5"], "0.5 pictures a second are too few to follow anybody; 1 is the least"),
        (["sim:road", "--fps", "10", "--frames", "1-90:20"], "0.5 pictures a second are too few"),
        (["sim:road", "--preview", "out.avi", "--frames", "1-2"], "must end in .mp4"),
        (["sim:road", "--preview", "no/such/out.mp4", "--frames", "1-2"], "there is no folder"),
        (["sim:road", "--config", "nowhere.toml"], "nowhere.toml"),
        (["sim:road", "--turn", "t:a>b"], "turn 't': there is no line 'a'; there is 'street'"),
        (["sim:road", "--turn", "street:street/in>street/out"], "'street' is used twice"),
        (["sim:road", "--turn", "t:street/in>street/in"], "begins and ends with the same"),
        (["sim:road", "--turn", "t:street/in>street/out:0"], "within_s is 0"),
        (["sim:road", "--ground", "1,2,3,4"], "a calibration needs 4 to 32 points, not 1"),
        (
            ["sim:road", "--frames", "1-2", *(f"--ground={p}" for p in WIDE)],
            "calibration: point 2 (900, 100) is outside of the picture",
        ),
        (["sim:road", "--zone", "z:0,0,90,90,90,0,0,90"], "zone 'z' crosses itself"),
        (["sim:road", "--zone", "z:0,0,90,90,0,0"], "two ends of a piece are the same"),
    ],
)
def test_refused_with_status_2(capsys: pytest.CaptureFixture[str], arguments: list[str], words: str) -> None:
    assert count(*arguments) == 2
    told = capsys.readouterr()
    assert words in told.err
    assert told.err.startswith("stopline-agent count: ")
    assert told.out == ""


def test_nothing_to_count_at(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "1.png"), np.zeros((40, 40, 3), np.uint8))
    assert count(str(tmp_path)) == 2
    assert "give a --line or a --zone" in capsys.readouterr().err


def test_the_shape_of_the_result(capsys: pytest.CaptureFixture[str]) -> None:
    assert count("sim:overhead", "--frames", "1-200", "--zone", "all:100,10,540,10,540,350,100,350",
                 "--line", "gate:0,180,640,180", "--json") == 0  # fmt: skip
    told = json.loads(capsys.readouterr().out)
    assert list(told) == ["frames", "measured_s", "lines", "zones", "gaps"]
    assert told["frames"] == 200
    assert told["measured_s"] == pytest.approx(199 / 30, abs=0.01)
    gate = told["lines"]["gate"]
    assert list(gate) == ["total", "in", "out", "by_class", "crossings"]
    assert gate["total"] == gate["in"] + gate["out"] == len(gate["crossings"]) == gate["by_class"]["object"] > 0
    assert list(gate["crossings"][0]) == [
        "t_s",
        "frame",
        "direction",
        "class",
        "track",
        "inferred",
        "speed_mps",
        "length_m",
    ]
    for crossing in gate["crossings"]:
        assert (crossing["frame"] - 2) / 30 <= crossing["t_s"] <= (crossing["frame"] - 1) / 30 + 1e-3
    assert gate["crossings"][0]["speed_mps"] is None, "the camera is not calibrated"
    assert list(told["zones"]["all"]) == ["max", "max_standing", "capacity", "visits"]
    assert told["zones"]["all"]["max"] >= 1
    assert list(told["zones"]["all"]["visits"][0]) == ["from_s", "to_s", "class", "track", "stood_s"]
    assert told["gaps"] == []


def test_turns_in_words() -> None:
    turn = parse_turn("north: left:north:side>east:40.5")
    assert (turn.name, turn.entry, turn.exit) == (
        "north: left:north",
        ("side", Direction.IN),
        ("east", Direction.OUT),
    )
    assert turn.within_s == 40.5
    turn = parse_turn("t:a/out>b/c/in")
    assert (turn.entry, turn.exit, turn.within_s) == (("a", Direction.OUT), ("b/c", Direction.IN), 60.0)
    assert parse_turn("t:a>b:c").exit[0] == "b:c"
    assert parse_ground_point("1,2.5,-3,4e1") == (1, 2.5, -3, 40)


@pytest.mark.parametrize("text", ["", "t", "t:a", "t:>b", ":a>b", "a>b", "t:a>", "t:a<b"])
def test_a_turn_in_other_words(text: str) -> None:
    with pytest.raises(UsageError, match="write NAME:FROM>TO or"):
        parse_turn(text)


@pytest.mark.parametrize("text", ["", "1,2,3", "1,2,3,4,5", "1,2,3,x"])
def test_a_ground_point_in_other_words(text: str) -> None:
    with pytest.raises(UsageError, match="write X_PX,Y_PX,X_M,Y_M"):
        parse_ground_point(text)


GROUND = [
    f"--ground={p}" for p in ("129,253,-7,12", "511,253,7,12", "394,60,7,40", "246,60,-7,40", "320,164,0,19")
]
CROSSED = ["--line", "far:0,60,640,60", "--line", "near:0,185,640,185", "--turn", "towards:far/in>near/in:20"]


def test_turns_and_speeds_in_the_result(capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["sim:road", "--frames", "1-600:3", *CROSSED, *GROUND]
    assert count(*asked, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert list(told) == ["frames", "measured_s", "calibration", "lines", "zones", "turns", "unpaired", "gaps"]
    turn = told["turns"]["towards"]
    assert list(turn) == ["total", "by_class", "events"]
    assert turn["total"] == turn["by_class"]["object"] == len(turn["events"]) == 4
    for event in turn["events"]:
        assert list(event) == ["entered_s", "left_s", "class", "track"]
        assert 0 < event["left_s"] - event["entered_s"] < 5
    unpaired = told["unpaired"].get("far", {"entries": 0})["entries"]
    assert told["lines"]["far"]["in"] == 4 + unpaired
    assert told["calibration"].startswith("5 points, mean error 0.0")
    speeds = [one["speed_mps"] for line in told["lines"].values() for one in line["crossings"]]
    assert sum(speed is not None and 7 < speed < 16 for speed in speeds) >= 0.9 * len(speeds)
    assert count("sim:road", "--frames", "1-300:3", *CROSSED, *GROUND) == 0
    table = capsys.readouterr().out
    for words in ("turn towards", "km/h on average", "calibrated by 5 points"):
        assert words in table


def test_a_turn_of_the_configuration_is_counted(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    config = tmp_path / "agent.toml"
    config.write_text("""
        name = "pi"
        [[cameras]]
        name = "north"
        source = "sim:road"
        [[cameras.lines]]
        name = "far"
        points = [[0, 60], [640, 60]]
        [[cameras.turns]]
        name = "back"
        from = "far"
        to = "far"
        within_s = 30
        [[cameras.zones]]
        name = "z"
        points = [[0, 0], [90, 0], [90, 90]]
        capacity = 3
    """)
    assert count("sim:road", "--config", str(config), "--frames", "1-90:9", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["turns"] == {"back": {"total": 0, "by_class": {}, "events": []}}
    assert told["zones"]["z"]["capacity"] == 3
    assert count("sim:road", "--config", str(config), "--frames", "1-9", "--line", "a:0,90,640,90", "--json") == 0
    assert "turns" not in json.loads(capsys.readouterr().out), "its turns are of its own lines"


def test_a_table_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    assert count("sim:overhead", "--frames", "1-60") == 0
    told = capsys.readouterr().out
    assert "60 frames, 2.0 s measured" in told
    assert "line street" in told


def test_a_broken_picture_in_the_middle_is_a_gap(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    for number in range(6):
        cv2.imwrite(str(tmp_path / f"{number}.png"), np.full((40, 40, 3), 90 + number * 9, np.uint8))
    (tmp_path / "4.png").write_bytes(b"broken")
    assert count(str(tmp_path), "--line", "a:0,20,40,20", "--fps", "10", "--json") == 1
    told = capsys.readouterr()
    result = json.loads(told.out)
    assert result["frames"] == 4
    assert [(gap["from_s"], gap["to_s"], gap["reason"]) for gap in result["gaps"]] == [(0.3, None, "camera_down")]
    assert "4.png" in told.err


def test_a_black_and_a_frozen_stretch_are_gaps(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    for number in range(60):
        black = 20 <= number < 40
        image = np.zeros((40, 40, 3)) if black else rng.integers(60, 200, (40, 40, 3))
        cv2.imwrite(str(tmp_path / f"{number}.png"), image.astype(np.uint8))
    assert count(str(tmp_path), "--line", "a:0,20,40,20", "--fps", "2", "--json") == 1
    result = json.loads(capsys.readouterr().out)
    assert [gap["reason"] for gap in result["gaps"]] == ["camera_black"]
    assert result["gaps"][0]["to_s"] - result["gaps"][0]["from_s"] == pytest.approx(10, abs=1)
    assert result["measured_s"] == pytest.approx(29.5 - 10, abs=1)


def test_preview_can_be_played(tmp_path: Path) -> None:
    path = tmp_path / "out.mp4"
    assert count("sim:overhead", "--frames", "1-40", "--fps", "20", "--preview", str(path)) == 0
    capture = cv2.VideoCapture(str(path))
    assert capture.get(cv2.CAP_PROP_FPS) == pytest.approx(20)
    pictures = []
    while (read := capture.read())[0]:
        pictures.append(read[1])
    assert len(pictures) == 40
    assert pictures[0].shape == (360, 640, 3)
    # The line across the picture is drawn in a colour that no street has.
    row = pictures[5][180, 40:300].astype(int)
    assert (row[:, 2] - row[:, 0] > 60).mean() > 0.8
