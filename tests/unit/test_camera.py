"""What a source's name says, and what is refused before anything opens."""

from typing import Any

import pytest

from edge_agent.drivers.base import SourceUnusable
from edge_agent.drivers.sim.source import SceneSource
from edge_agent.drivers.sources.files import FolderSource, VideoSource, natural_order
from edge_agent.drivers.sources.live import LiveSource
from edge_agent.drivers.sources.opening import open_source


@pytest.mark.parametrize(
    ("spec", "kind"),
    [
        ("clip.mp4", VideoSource),
        ("picture.PNG", FolderSource),
        (".", FolderSource),
        ("0", LiveSource),
        ("/dev/video2", LiveSource),
        ("rtsp://user:secret@10.0.0.2/stream", LiveSource),
        ("http://10.0.0.2/mjpeg?token=1", LiveSource),
        ("https://example.org/clip.mp4", VideoSource),
        ("sim:road", SceneSource),
        ("sim:night:7", SceneSource),
    ],
)
def test_kind(spec: str, kind: type) -> None:
    source = open_source(spec)
    assert type(source) is kind
    assert source.live is (kind in (LiveSource, SceneSource))


def test_a_simulated_street_can_be_read_to_its_end() -> None:
    assert not open_source("sim:road", frames=(1, 5), realtime=False).live


@pytest.mark.parametrize(
    ("spec", "arguments", "words"),
    [
        ("sim:", {}, "no simulated scene"),
        ("sim:road:x", {}, "sim:NAME:SEED"),
        ("sim:road:1:2", {}, "sim:NAME:SEED"),
        ("clip.mp4", {"fps": 0}, "0 pictures per second make no sense"),
        ("clip.mp4", {"fps": float("nan")}, "make no sense"),
        ("clip.mp4", {"frames": (0, 5)}, "make no range"),
        ("clip.mp4", {"frames": (5, 4)}, "make no range"),
        ("clip.mp4", {"every": 0}, "makes no sense"),
        ("0", {"frames": (1, 5)}, "is live"),
    ],
)
def test_refused(spec: str, arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(SourceUnusable, match=words):
        open_source(spec, **arguments)


@pytest.mark.parametrize(
    "spec", ["rtsp://user:secret@127.0.0.1:1/x", "http://user:se@cr/et@127.0.0.1:1/x?pwd=secret"]
)
def test_no_password_in_messages(spec: str, capfd: pytest.CaptureFixture[str]) -> None:
    source = open_source(spec)
    with pytest.raises(SourceUnusable, match="cannot be opened") as failed:
        source.open()
    assert "127.0.0.1" in str(failed.value)
    shown = str(failed.value) + "".join(capfd.readouterr())
    assert "secret" not in shown
    assert "se@cr/et" not in shown


def test_natural_order() -> None:
    names = ["10.jpg", "2.jpg", "a10.jpg", "A2.jpg", "1b.jpg", "001.jpg"]
    assert sorted(names, key=natural_order) == ["001.jpg", "1b.jpg", "2.jpg", "10.jpg", "A2.jpg", "a10.jpg"]
