"""`count` and the agent see the same prepared picture: masked, turned, cropped, by the camera's settings."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import pytest

from edge_agent.cli import main
from tests.integration.agent_helpers import write_config
from tests.servers.pictures import street

Counted = Callable[..., dict[str, Any]]
N = 24
LINE = "middle:0,120,320,120"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A box drives once from the top to the bottom, in the middle of 320 x 240 pixels."""
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for number in range(N):
        cv2.imwrite(str(pictures / f"{number}.png"), street(number / 10))
    return tmp_path


@pytest.fixture
def counted(folder: Path, capsys: pytest.CaptureFixture[str]) -> Counted:
    """Counts with more settings of the camera, at a line; what the line counted."""

    def count(settings: str, line: str = LINE) -> dict[str, Any]:
        return _count(folder, settings, line, capsys)

    return count


def _count(folder: Path, settings: str, line: str, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    config = write_config(folder, {"name": "c", "source": "0", "fps": 10.0})
    config.write_text(config.read_text() + settings)
    arguments = ["count", str(folder / "pictures"), "--config", str(config), "--line", line, "--json"]
    code, told = main(arguments), capsys.readouterr()
    assert code == 0, told.err
    found: dict[str, Any] = json.loads(told.out)["lines"]["middle"]
    return found


@pytest.mark.parametrize(
    ("settings", "total"),
    [
        ("", 1),
        ("[[cameras.masks]]\npoints = [[100, 0], [220, 0], [220, 240], [100, 240]]\n", 0),
        ("[[cameras.masks]]\npoints = [[0, 0], [90, 0], [90, 240], [0, 240]]\n", 1),
        ("crop = [80, 0, 240, 240]\n", 1),
        ("crop = [0, 0, 80, 240]\n", 0),
        ("[[cameras.regions]]\npoints = [[80, 0], [240, 0], [240, 240], [80, 240]]\n", 1),
        ("[[cameras.regions]]\npoints = [[0, 0], [80, 0], [80, 240], [0, 240]]\n", 0),
    ],
    ids=["plain", "masked", "masked beside", "crop", "crop beside", "region", "region beside"],
)
def test_what_is_hidden_is_not_counted(counted: Counted, settings: str, total: int) -> None:
    assert counted(settings)["total"] == total


@pytest.mark.parametrize(
    ("rotation", "line", "way"),
    [(90, "middle:120,0,120,320", "in"), (180, LINE, "out"), (270, "middle:120,0,120,320", "out")],
)
def test_lines_lie_on_the_turned_picture(counted: Counted, rotation: int, line: str, way: str) -> None:
    """What drove down drives left when turned by 90 degrees: from the left side of a line drawn downwards."""
    found = counted(f"rotation = {rotation}\n", line)
    assert (found["total"], found[way]) == (1, 1)
