"""`stopline-agent suggest-lines` as people run it: what it proposes is counted at, and the count is right."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import pytest

from edge_agent.cli import main
from edge_agent.drivers.sim.source import SceneSource
from tests.remembering import remember

Run = Callable[..., str]


def run(command: str, *arguments: str) -> str:
    """Run a command; what it prints. Nothing may appear on stderr that it did not write on purpose."""
    done = subprocess.run(
        [sys.executable, "-m", "edge_agent", command, *arguments],
        capture_output=True, text=True, timeout=280, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def proposed(*arguments: str, run: Run = run) -> list[dict[str, Any]]:
    """The lines that it proposes."""
    lines: list[dict[str, Any]] = json.loads(run("suggest-lines", *arguments, "--json"))["lines"]
    return lines


def counted(line: dict[str, Any], *arguments: str, run: Run = run) -> tuple[int, int]:
    """In and out of `count` at a proposed line."""
    points = ",".join(f"{value:g}" for point in line["points"] for value in point)
    told = json.loads(run("count", *arguments, "--line", f"main:{points}", "--json"))["lines"]["main"]
    return told["in"], told["out"]


def test_overhead_cars_get_a_level_line_that_counts_them(test_data: Path) -> None:
    clip = str(test_data / "clips/overhead_cars.mp4")
    best, *_ = proposed(clip)
    (_, y1), (_, y2) = best["points"]
    assert y1 == y2
    assert (best["in"], best["out"], best["share"]) == (2, 2, 1.0)
    assert counted(best, clip) == (2, 2)


@pytest.fixture
def run_here(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    """`run` in this process, where a command does not look anew at what another one saw."""

    def run(*arguments: str) -> str:
        status, told = main(arguments), capfd.readouterr()
        assert (status, told.err) == (0, "")
        return told.out

    remember({}, monkeypatch)
    return run


def test_the_junction_gets_a_line_across_all_lanes(test_data: Path, tmp_path: Path, run_here: Run) -> None:
    """45 +- 2 vehicles pass; some of them do so in the picture's corner only, where no such line reaches."""
    clip = str(test_data / "clips/junction")
    arguments = [clip, "--model", str(test_data / "models/yolox_nano_416.onnx"), "--frames", "16-452:3"]
    best, *_ = proposed(*arguments, "--picture", str(tmp_path / "lines.jpg"), run=run_here)
    n_in, n_out = counted(best, *arguments, run=run_here)
    assert abs(n_in + n_out - 45) <= 8
    assert n_in == pytest.approx(best["in"], abs=3)
    assert n_out == pytest.approx(best["out"], abs=6)
    picture = cv2.imread(str(tmp_path / "lines.jpg"))
    assert picture is not None
    assert picture.shape == (360, 640, 3)


def test_a_simulated_street_gets_a_line_that_counts_as_the_truth_does() -> None:
    street = ["sim:road", "--frames", "1-900:3", "--fps", "30"]
    best, *others = proposed(*street)
    assert others == []
    assert best["share"] > 0.9
    n_in, n_out = counted(best, *street)
    truth = [str(one.direction) for one in SceneSource("road", fps=30, realtime=False).truth(0.0, 30.0)]
    # What is between the two lines at the beginning and the end is counted at one of them only.
    assert n_in == pytest.approx(truth.count("in"), abs=2)
    assert n_out == pytest.approx(truth.count("out"), abs=2)


def test_the_camera_of_a_configuration(tmp_path: Path) -> None:
    config = tmp_path / "agent.toml"
    config.write_text(
        'name = "pi"\n[[cameras]]\nname = "a"\nsource = "sim:overhead"\n'
        '[[cameras]]\nname = "b"\nsource = "sim:road"\n'
    )
    camera = ("--config", str(config), "--camera", "a")
    told = run("suggest-lines", *camera, "--frames", "1-600:6", "--minutes", "0.3")
    assert told.startswith("# ")
    assert " in 18 s, in a picture of 640x360" in told
    assert '[[cameras.lines]]\nname = "suggested 1"\npoints = [[' in told


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "name a SOURCE, or a --config"),
        (["sim:road", "--minutes", "0"], "--minutes 0: write a number above 0"),
        (["sim:road", "--picture", "p.mp4"], "give the picture a name that ends in .jpg or .jpeg or .png"),
        (["sim:nowhere"], "there is no simulated scene"),
        (["missing.mp4"], "missing.mp4"),
        (["sim:road", "--picture", "/nowhere/x.jpg"], "its folder"),
    ],
)
def test_what_cannot_be_done_is_told(arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["suggest-lines", *arguments]) == 2
    assert told in capsys.readouterr().err


def test_too_few_vehicles(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["suggest-lines", "sim:road", "--frames", "1-60:3"]) == 1
    assert "Watch longer" in capsys.readouterr().out
