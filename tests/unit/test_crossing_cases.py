"""Each folder of tests/cases/crossing is a hard situation at a line, with what must be counted."""

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from common.codes import Direction
from edge_agent.domain.crossing import Crossing, CrossingCounter
from edge_agent.domain.frames import Detections
from edge_agent.domain.shapes import Line
from edge_agent.domain.tracking import Tracker

CASES = Path(__file__).parents[1] / "cases/crossing"


def _runs() -> list[Any]:
    folders = sorted(one.parent for one in CASES.glob("*/expected.json"))
    return [
        pytest.param(folder, every, id=f"{folder.name}-every-{every}")
        for folder in folders
        for every in json.loads((folder / "expected.json").read_text())["every"]
    ]


def _scene(folder: Path) -> dict[str, Any]:
    scene: dict[str, Any] = json.loads(gzip.decompress((folder / "detections.json.gz").read_bytes()))
    return scene


def _count(scene: dict[str, Any], every: int) -> list[Crossing]:
    lines = [Line(one["name"], tuple(map(tuple, one["points_px"]))) for one in scene["lines"]]
    width_px, height_px = scene["frame_size_px"]
    tracker, counter = Tracker(), CrossingCounter(lines, (width_px, height_px))
    crossings: list[Crossing] = []
    for t_s, boxes in scene["frames"][::every]:
        table = np.array(boxes, np.float64).reshape(-1, 6)
        found = Detections(
            table[:, :4].astype(np.float32),
            table[:, 4].astype(np.float32),
            table[:, 5].astype(np.int32),
            scene["class_names"],
        )
        crossings += counter.update(tracker.update(found, t_s), t_s)
    return crossings + counter.finish(t_s)


@pytest.mark.parametrize(("folder", "every"), _runs())
def test_counts_what_crossed(folder: Path, every: int) -> None:
    expected = json.loads((folder / "expected.json").read_text())
    crossings = _count(_scene(folder), every)
    counted = {
        line: {
            str(direction): sum(one.line == line and one.direction is direction for one in crossings)
            for direction in (Direction.IN, Direction.OUT)
        }
        for line in expected["lines"]
    }
    assert counted == expected["lines"], (folder / "README").read_text()
    if "inferred" in expected:
        assert sum(one.inferred for one in crossings) == expected["inferred"]


def test_every_case_says_why_it_is_hard() -> None:
    assert all((one.parent / "README").read_text().strip() for one in CASES.glob("*/expected.json"))
