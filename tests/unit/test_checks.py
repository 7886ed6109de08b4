"""What `check` says of a camera that works, by how fast its pictures come and its model runs."""

import json

import pytest

from edge_agent.cameras.messages import Probed, Ready
from edge_agent.checks.agent import judge_camera
from edge_agent.checks.findings import Verdict
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
