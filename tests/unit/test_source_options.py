"""What is asked of cameras: formats of V4L2, the Pi's own cameras, and why a network camera does not open."""

import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import pytest

from edge_agent.drivers.base import SourceUnusable
from edge_agent.drivers.sources.diagnosis import why_closed
from edge_agent.drivers.sources.live import request_format
from edge_agent.drivers.sources.opening import open_source
from edge_agent.drivers.sources.options import RtspTransport, SourceOptions
from tests.servers.network_camera import NetworkCamera, RtspCamera
from tests.servers.ports import free_port

FAKE_PICAMERA = Path(__file__).parents[1] / "servers/fake_picamera"
MJPG = cv2.VideoWriter.fourcc(*"MJPG")


class UsbCamera:
    """A USB camera as its driver shows it: two sizes; the large one is slow unless it is sent as JPEGs."""

    def __init__(self) -> None:
        self.size = [640, 480]
        self.fps = 30.0
        self.jpeg = False
        self.released = False

    def set(self, prop: int, value: float) -> bool:
        if prop == cv2.CAP_PROP_FOURCC:
            self.jpeg = value == MJPG
        elif prop == cv2.CAP_PROP_FRAME_WIDTH:
            self.size = [1280, 720] if value > 640 else [640, 480]
        elif prop == cv2.CAP_PROP_FPS:
            self.fps = value
        return True

    def get(self, prop: int) -> float:
        most = 30.0 if self.jpeg or self.size[0] == 640 else 10.0
        return {cv2.CAP_PROP_FRAME_WIDTH: self.size[0], cv2.CAP_PROP_FRAME_HEIGHT: self.size[1],
                cv2.CAP_PROP_FPS: min(self.fps, most)}[prop]  # fmt: skip

    def release(self) -> None:
        self.released = True


@pytest.mark.parametrize(
    ("options", "jpeg"),
    [
        (SourceOptions(), False),
        (SourceOptions(fps=30.0), False),
        (SourceOptions(width_px=1280, height_px=720), False),
        (SourceOptions(width_px=1280, height_px=720, fps=10.0), False),
        (SourceOptions(width_px=1280, height_px=720, fps=30.0), True),
    ],
)
def test_jpegs_are_asked_for_where_the_rate_needs_them(options: SourceOptions, jpeg: bool) -> None:
    camera: Any = UsbCamera()
    request_format(camera, "/dev/video0", options)
    assert camera.jpeg is jpeg
    assert camera.get(cv2.CAP_PROP_FPS) >= (options.fps or 0)


def test_a_size_that_the_camera_does_not_have_is_told() -> None:
    camera: Any = UsbCamera()
    with pytest.raises(SourceUnusable, match="gives pictures of 1280x720, not of 1920x1080 as asked"):
        request_format(camera, "/dev/video0", SourceOptions(width_px=1920, height_px=1080))
    assert camera.released


@pytest.mark.parametrize("path", ["/dev/null", "/dev/zero", "/dev/video99", "99"])
def test_a_device_that_is_no_camera(path: str) -> None:
    source = open_source(path)
    with pytest.raises(SourceUnusable, match=r"/dev/(null|zero) cannot be opened: is it a camera|is no camera at"):
        source.open()


PICAMERA_SCRIPT = """
import sys
from edge_agent.drivers.sources.opening import open_source
from edge_agent.drivers.sources.options import SourceOptions
source = open_source("picamera2", options=SourceOptions(width_px=640, height_px=360, fps=100.0))
assert "picamera2" not in sys.modules, "it is imported when it is used"
try:
    for _ in range(3):
        source.open()
        frames = [source.read(5.0) for _ in range(12)]
        source.close()
    print(frames[0].image.shape, frames[0].image[0, 0].tolist(), frames[-1].index - frames[0].index)
except Exception as error:
    print(type(error).__name__, error)
"""


def picamera(behaviour: str, path: Path) -> str:
    """What a process of its own says."""
    told = subprocess.run(
        [sys.executable, "-c", PICAMERA_SCRIPT],
        check=True, capture_output=True, text=True, timeout=60,
        env={"PYTHONPATH": f"{path}:{Path(__file__).parents[2]}", "STOPLINE_FAKE_PICAMERA": behaviour},
    )  # fmt: skip
    return told.stdout.strip()


@pytest.mark.parametrize(
    ("behaviour", "told"),
    [
        ("", "(360, 640, 3) [255, 0, 0] 11"),
        ("none", "SourceUnusable there is no camera 0 on this Raspberry Pi, it has 0"),
        ("busy", "SourceUnusable camera 0 does not start: Camera __init__ sequence did not complete."),
        ("breaks", "SourceUnusable picamera2: the stream ended or broke off"),
    ],
)
def test_the_pis_own_camera(behaviour: str, told: str) -> None:
    assert picamera(behaviour, FAKE_PICAMERA).startswith(told)


def test_where_picamera2_is_absent_its_package_is_named(tmp_path: Path) -> None:
    said = picamera("", tmp_path)
    assert "sudo apt install python3-picamera2" in said
    assert said.startswith("SourceUnusable")


@pytest.mark.parametrize("transport", list(RtspTransport))
def test_rtsp_goes_over_what_is_asked_for(transport: RtspTransport) -> None:
    with RtspCamera(fps=60.0) as camera:
        source = open_source(camera.url, options=SourceOptions(rtsp_transport=transport))
        source.open()
        source.read(10.0)
        source.close()
    (setup,) = [request for request in camera.requests if request.startswith("SETUP")]
    assert ("RTP/AVP/TCP" in setup) is (transport is RtspTransport.TCP)


@pytest.mark.parametrize("kind", [NetworkCamera, RtspCamera])
@pytest.mark.parametrize(
    ("credentials", "words"),
    [(None, "asks for a user and a password"), ("admin:wr0ng", "does not take this user or password")],
)
def test_a_wrong_password_is_told_and_not_shown(kind: Any, credentials: str | None, words: str) -> None:
    with kind(credentials="admin:right") as camera:
        source = open_source(camera.url_for(credentials) if credentials else camera.url)
        with pytest.raises(SourceUnusable, match=words) as failed:
            source.open()
    assert "wr0ng" not in str(failed.value)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("rtsp://no-such-camera.invalid/x", "no machine named no-such-camera.invalid is known"),
        ("rtsp://u:pw@127.0.0.1:{port}/x", "nothing listens on port"),
        ("rtsp://u:p/w@127.0.0.1:{port}/x", "makes no sense"),
        ("https://127.0.0.1:{port}/x", "nothing listens on port"),
        ("udp://", "is its address right"),
    ],
)
def test_why_a_network_camera_does_not_open(url: str, words: str) -> None:
    assert words in why_closed(url.format(port=free_port()))


@pytest.mark.parametrize("scheme", ["rtsp", "http", "rtsps"])
def test_something_else_listens_there(scheme: str) -> None:
    """It takes the connection and is deaf, as a wrong port often is."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        told = why_closed(f"{scheme}://127.0.0.1:{server.getsockname()[1]}/x", patience_s=0.2)
    assert ("does not answer" in told) is (scheme != "rtsps")
