"""The model that ships, as a technician would try it: on streets it never saw, drawn and real."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from edge_agent.drivers.sim.source import SceneSource


def count(source: str, *arguments: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "edge_agent", "count", source, "--model", "bundled", *arguments, "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout)["lines"]
    return result


@pytest.mark.parametrize(
    ("name", "fps", "classes", "off"),
    [
        ("road", 10, "car,bus,truck,motorcycle", 0),
        ("overhead", 5, "car,bus,truck,motorcycle", 0),
        ("night", 8, "car,bus,truck,motorcycle", 0),
        ("path", 8, "person", 1),
    ],
)
def test_the_simulators_own_scenes_are_counted(name: str, fps: int, classes: str, off: int) -> None:
    """None of them was trained on. People go side by side: one more or less may be told in each direction.

    What crosses within a second of the end may be told on either side of it.
    """
    n, seconds = fps * 45, 45 - 1 / fps
    line = count(f"sim:{name}", "--fps", str(fps), "--frames", f"1-{n}", "--classes", classes)["street"]
    certain, late = (SceneSource(name, realtime=False).truth(0, seconds + more) for more in (-1.0, 1.0))
    assert len(certain) >= 12
    for way in ("in", "out"):
        n_least, n_most = (sum(str(one.direction) == way for one in told) for told in (certain, late))
        assert n_least - off <= line[way] <= n_most + off


@pytest.mark.parametrize("every", [1, 3, 6])
def test_real_cars_from_straight_above(test_data: Path, every: int) -> None:
    clip = str(test_data / "clips/overhead_cars.mp4")
    line = count(clip, "--line", "gate:0,216,768,216", "--frames", f"1-377:{every}")["gate"]
    assert (line["out"], line["in"]) == (2, 2)
    assert line["by_class"] == {"car": 4}


def test_a_real_junction_within_a_sixth(test_data: Path) -> None:
    """45 vehicles, give or take 2: harder than what it is meant for, and told in docs/bundled-model.md."""
    clip = str(test_data / "clips/junction")
    line = count(clip, "--line", "mid:0,180,640,180", "--frames", "16-452:6")["mid"]
    assert abs(line["total"] - 45) <= 7
