"""What `check` says of a camera that works, by how fast its pictures come and its model runs."""

import json
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from edge_agent.cameras.messages import Probed, Ready
from edge_agent.checks.agent import judge_camera
from edge_agent.checks.findings import Verdict
from edge_agent.checks.state_folder import check_state_folder
from edge_agent.config.camera import CameraSettings

READY = Ready(1, 640, 360, 50.0)


@pytest.mark.parametrize(
    ("camera_fps", "model_ms", "verdict", "words"),
    [
        (10.0, 80.0, Verdict.OK, "about 10 a second can be looked at"),
        (10.0, 400.0, Verdict.NOTE, "badly below 3: take a smaller model"),
        (4.0, 80.0, Verdict.NOTE, "badly below 3: set the camera itself to more"),
        (10.0, 1600.0, Verdict.FAIL, "about 0.62 a second can be looked at; by less than 1 "),
        (10.0, 1600.0, Verdict.FAIL, "none of it would be measured: take a smaller model"),
        (0.5, 80.0, Verdict.FAIL, "none of it would be measured: set the camera itself to more"),
    ],
)
def test_by_less_than_one_picture_a_second_nobody_is_followed(
    camera_fps: float, model_ms: float, verdict: Verdict, words: str
) -> None:
    line = {"name": "stop", "points": [[0, 100], [640, 100]]}
    settings = {"name": "north", "source": "rtsp://cam", "lines": [line]}
    camera = CameraSettings.model_validate_json(json.dumps(settings))
    finding = judge_camera(camera, READY, Probed(camera_fps, model_ms))
    assert finding.verdict is verdict
    assert words in finding.text


@pytest.mark.parametrize(
    ("areas", "verdict", "words"),
    [
        ({"regions": [(0, 90, 640, 200)]}, Verdict.OK, "can be looked at"),
        ({"regions": [(0, 150, 640, 200), (300, 50, 320, 120)]}, Verdict.OK, "can be looked at"),
        ({"regions": [(0, 150, 640, 200)]}, Verdict.FAIL, "line 'stop' lies outside of all regions"),
        ({"masks": [(0, 50, 600, 200)]}, Verdict.OK, "can be looked at"),
        ({"masks": [(0, 50, 320, 200), (310, 50, 640, 200)]}, Verdict.FAIL, "is wholly painted over by masks"),
    ],
)
def test_a_line_on_which_nothing_is_looked_for_fails(
    areas: dict[str, list[tuple[int, int, int, int]]], verdict: Verdict, words: str
) -> None:
    line = {"name": "stop", "points": [[0, 100], [640, 100]]}
    corners = {
        kind: [{"points": [[x, y], [to_x, y], [to_x, to_y], [x, to_y]]} for x, y, to_x, to_y in places]
        for kind, places in areas.items()
    }
    settings = {"name": "north", "source": "rtsp://cam", "lines": [line], **corners}
    camera = CameraSettings.model_validate_json(json.dumps(settings))
    finding = judge_camera(camera, READY, Probed(10.0, 80.0))
    assert finding.verdict is verdict
    assert words in finding.text


def test_a_state_folder_in_memory_is_told() -> None:
    with TemporaryDirectory(dir="/dev/shm") as folder:
        told = check_state_folder(Path(folder), costs="what waits", no_room=Verdict.FAIL)
    assert told.verdict is Verdict.NOTE
    assert "in memory (tmpfs): a power cut takes away what waits; point state_dir to a disk" in told.text
