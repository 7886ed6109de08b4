"""`stopline-agent count` as people run it, on real clips and real models, against counts read by eye."""

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
from tests.remembering import Seen, remember

TRUTH, TOLERANCE = 45, 2


def count(*arguments: str) -> dict[str, Any]:
    """Run the command; its result. Nothing may appear on stderr that it did not write on purpose."""
    done = subprocess.run(
        [sys.executable, "-m", "edge_agent", "count", *arguments, "--json"],
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    result: dict[str, Any] = json.loads(done.stdout)
    return result


@pytest.fixture(scope="module")
def seen() -> Seen:
    """What models saw in this module's tests."""
    return {}


@pytest.fixture
def count_again(
    seen: Seen, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Callable[..., dict[str, Any]]:
    """`count` in this process: at another rate it is shown the same pictures, and does not look at them anew."""

    def count(*arguments: str) -> dict[str, Any]:
        status, told = main(["count", *arguments, "--json"]), capfd.readouterr()
        assert (status, told.err) == (0, "")
        result: dict[str, Any] = json.loads(told.out)
        return result

    remember(seen, monkeypatch)
    return count


@pytest.fixture
def junction(test_data: Path) -> list[str]:
    model = test_data / "models/yolox_nano_416.onnx"
    return [str(test_data / "clips/junction"), "--model", str(model), "--line", "mid:0,180,640,180"]


@pytest.mark.parametrize(("every", "frames"), [(1, 437), (2, 219), (3, 146), (5, 88), (6, 73)])
def test_junction(
    count_again: Callable[..., dict[str, Any]], junction: list[str], every: int, frames: int
) -> None:
    """At 30, 15, 10, 6 and 5 pictures per second."""
    result = count_again(*junction, "--frames", f"16-452:{every}", "--fps", "30")
    assert result["frames"] == frames
    assert result["measured_s"] == pytest.approx(436 / 30, abs=0.2)
    assert result["gaps"] == []
    line = result["lines"]["mid"]
    assert abs(line["total"] - TRUTH) <= TOLERANCE
    assert abs(line["in"] - 21) <= 3
    assert abs(line["out"] - 24) <= 3
    assert sum(line["by_class"].values()) == line["total"]
    assert line["by_class"]["car"] >= 0.9 * line["total"]
    times = [crossing["t_s"] for crossing in line["crossings"]]
    assert times == sorted(times)
    assert 15 / 30 <= times[0] <= times[-1] <= 451 / 30


def test_junction_as_a_video_at_five_pictures_a_second(
    test_data: Path, junction: list[str], tmp_path: Path
) -> None:
    """A video's own rate is known, so `--fps` takes every sixth picture of it."""
    path = tmp_path / "junction.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 30, (640, 360))
    for number in range(16, 453):
        picture = cv2.imread(str(test_data / f"clips/junction/{number:03d}.jpg"))
        assert picture is not None
        writer.write(picture)
    writer.release()
    result = count(str(path), *junction[1:], "--fps", "5")
    assert result["frames"] == 73
    assert abs(result["lines"]["mid"]["total"] - TRUTH) <= TOLERANCE + 1  # coded a second time


@pytest.mark.parametrize("fps", [None, 4])
def test_cars_from_above_by_motion(test_data: Path, fps: float | None) -> None:
    """Two drive up; two drive down, one of them beside another; and the exposure jumps."""
    rate = ["--fps", str(fps)] if fps else []
    clip = str(test_data / "clips/overhead_cars.mp4")
    line = count(clip, "--model", "motion", "--line", "gate:0,216,768,216", *rate)["lines"]["gate"]
    assert (line["out"], line["in"]) == (2, 2)
    assert line["by_class"] == {"object": 4}


@pytest.mark.parametrize("fps", [10, 5])
def test_cars_from_above_by_a_model_of_any_class(
    count_again: Callable[..., dict[str, Any]], test_data: Path, fps: int
) -> None:
    """COCO models call cars that are seen from above other things; without classes they count them."""
    clip, model = str(test_data / "clips/overhead_cars.mp4"), str(test_data / "models/yolox_nano_416.onnx")
    line = ("--line", "gate:0,216,768,216", "--classes", "any", "--fps", str(fps))
    result = count_again(clip, "--model", model, *line)
    assert (result["lines"]["gate"]["out"], result["lines"]["gate"]["in"]) == (2, 2)
    assert "car" not in result["lines"]["gate"]["by_class"]


@pytest.mark.parametrize("name", ["road", "overhead", "night"])
def test_simulated_streets_are_counted_exactly(name: str) -> None:
    fps, n = 8, 8 * 75
    line = count(f"sim:{name}", "--fps", str(fps), "--frames", f"1-{n}")["lines"]["street"]
    truth = SceneSource(name, realtime=False).truth(0, (n - 1) / fps)
    # One that crosses in the last moment may be told on either side of the end.
    certain = SceneSource(name, realtime=False).truth(0, (n - 1) / fps - 1.0)
    late = SceneSource(name, realtime=False).truth(0, (n - 1) / fps + 1.0)
    assert len(truth) > 20  # and some wait at the stop line on the way
    for way in ("in", "out"):
        n_least, n_most = (sum(str(c.direction) == way for c in told) for told in (certain, late))
        assert n_least <= line[way] <= n_most


def test_a_truncated_video_is_told_and_not_taken_for_whole(tmp_path: Path) -> None:
    path = tmp_path / "cut.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (640, 360))
    street = SceneSource("overhead", realtime=False)
    for number in range(40):
        writer.write(street.picture(number / 10))
    writer.release()
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    done = subprocess.run(
        [sys.executable, "-m", "edge_agent", "count", str(path), "--line", "a:0,180,640,180", "--json"],
        capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    result = json.loads(done.stdout)
    assert [(gap["to_s"], gap["reason"]) for gap in result["gaps"]] == [(None, "camera_down")]
    assert "breaks off after" in done.stderr


def test_errors_are_one_line_and_status_2(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "edge_agent", "count", str(tmp_path / "nowhere.mp4"), "--line", "a:0,0,9,9"],
        capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "nowhere.mp4" in done.stderr
