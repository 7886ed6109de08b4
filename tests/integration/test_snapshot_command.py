"""`stopline-agent snapshot`: from a running agent or the camera itself, masked and written down."""

import json
import socket
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import cv2
import pytest

from edge_agent.control import socket_path
from tests.integration.agent_helpers import RunningAgent, agent, exported, write_config

MASK = [[0, 0], [320, 0], [320, 360], [0, 360]]
CAMERA = {"name": "north", "source": "sim:road", "fps": 10.0, "crop": [320, 0, 640, 360]}


@pytest.fixture
def folder() -> Iterator[Path]:
    """With a short name, as sockets want it."""
    with tempfile.TemporaryDirectory(prefix="sl") as name:
        yield Path(name)


def config_in(folder: Path) -> Path:
    config = write_config(folder, CAMERA)
    config.write_text(config.read_text() + f"[[cameras.masks]]\npoints = {json.dumps(MASK)}\n")
    return config


def check_picture(path: Path) -> None:
    image = cv2.imread(str(path))
    assert image is not None
    assert image.shape == (180, 320, 3)
    assert image[:, :155].max() < 20, "masked"
    assert image[:, 170:].mean() > 40


def logged(config: Path) -> list[list[object]]:
    return [record for record in exported(config) if record[0] == "log" and record[5] == "snapshot"]


def test_a_running_agent_is_asked_and_writes_it_down(folder: Path) -> None:
    config, out = config_in(folder), folder / "p.jpg"
    with RunningAgent(config) as running:
        running.until(lambda: running.status()["cameras"][0]["state"] == "ok")
        path = socket_path(folder / "state")
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        with socket.socket(socket.AF_UNIX) as rude:
            rude.connect(str(path))
            rude.sendall(b"[1, 2]\n")
            assert b"there is no camera None; there is north" in rude.recv(4096)
        with socket.socket(socket.AF_UNIX) as rude:
            rude.connect(str(path))
            rude.sendall(b"nonsense\n")
            assert rude.recv(4096) == b""
        told = agent("snapshot", "--config", config, "north", "--out", out)
        assert told.returncode == 0, told.stderr
        line = running.until_said("snapshot")
        assert running.stop() == 0
    assert not path.exists()
    check_picture(out)
    (record,) = logged(config)
    assert line["who"] in str(record[6])
    assert not [path for path in (folder / "state").rglob("*") if path.suffix in (".jpg", ".png")]


def test_without_an_agent_the_camera_is_opened(folder: Path) -> None:
    config, out = config_in(folder), folder / "p.jpg"
    told = agent("snapshot", "--config", config, "north", "--out", out)
    assert told.returncode == 0, told.stderr
    assert "that you took it is in the log" in told.stdout
    check_picture(out)
    (record,) = logged(config)
    assert "a snapshot of camera north was taken by" in str(record[6])


@pytest.mark.parametrize(
    ("camera", "out", "words"),
    [
        ("south", "p.jpg", "there is no camera 'south'; there is north"),
        ("north", "no/p.jpg", "cannot be written"),
        ("north", "p.png", "p.png: give the picture a name that ends in .jpg or .jpeg"),
    ],
)
def test_what_is_asked_wrongly_is_told_before_anything_opens(
    folder: Path, camera: str, out: str, words: str
) -> None:
    told = agent("snapshot", "--config", config_in(folder), camera, "--out", folder / out)
    assert told.returncode == 2
    assert words in told.stderr
    assert not (folder / "state").exists()


def test_a_camera_that_does_not_open_gives_none_and_nothing_is_written(folder: Path) -> None:
    config = write_config(folder, {"name": "c", "source": "rtsp://u:s3cret@127.0.0.1:9/x"})
    told = agent("snapshot", "--config", config, "c", "--out", folder / "p.jpg")
    assert told.returncode == 1
    assert "nothing listens on port" in told.stderr
    assert "s3cret" not in told.stderr
    assert not (folder / "p.jpg").exists()
    assert not logged(config)
