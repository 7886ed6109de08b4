"""The command line of `count`: what it understands, and what it says about the rest."""

import argparse
import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_agent.count.plan import UsageError, add_count_parser, parse_frames, parse_line, parse_zone


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
        (["sim:road", "--fps", "-3"], "-3 pictures per second"),
        (["sim:road", "--preview", "out.avi", "--frames", "1-2"], "must end in .mp4"),
        (["sim:road", "--preview", "no/such/out.mp4", "--frames", "1-2"], "there is no folder"),
        (["sim:road", "--config", "nowhere.toml"], "nowhere.toml"),
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
    assert list(gate["crossings"][0]) == ["t_s", "frame", "direction", "class", "track", "inferred"]
    for crossing in gate["crossings"]:
        assert (crossing["frame"] - 2) / 30 <= crossing["t_s"] <= (crossing["frame"] - 1) / 30 + 1e-3
    assert list(told["zones"]["all"]) == ["max", "visits"]
    assert told["zones"]["all"]["max"] >= 1
    assert list(told["zones"]["all"]["visits"][0]) == ["from_s", "to_s", "class", "track"]
    assert told["gaps"] == []


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


def test_pictures_far_apart_by_intention_are_no_gap(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    for number in range(5):
        cv2.imwrite(str(tmp_path / f"{number}.png"), rng.integers(60, 200, (40, 40, 3)).astype(np.uint8))
    assert count(str(tmp_path), "--line", "a:0,20,40,20", "--fps", "0.2", "--json") == 0
    assert json.loads(capsys.readouterr().out)["measured_s"] == 20


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
