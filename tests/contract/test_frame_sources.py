"""What every frame source does, judged by one suite: files, folders, simulated streets, streams, real cameras."""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_agent.drivers.base import FrameSource, SourceEnded, SourceStalled, SourceUnusable
from edge_agent.drivers.sources.opening import open_source
from tests.servers.network_camera import NetworkCamera, RtspCamera

FAKE_PICAMERA = Path(__file__).parents[1] / "servers/fake_picamera"
SIZE = (64, 48)
N = 12
Maker = Callable[[], FrameSource]
WITH_END = ["file", "folder", "scene"]
NETWORK = {"http": NetworkCamera, "rtsp": RtspCamera}
LIVE = ["live scene", *NETWORK, "picamera2", "v4l2"]


def picture(number: int) -> np.ndarray:
    image = np.full((SIZE[1], SIZE[0], 3), 40 + 10 * (number % 20), np.uint8)
    cv2.putText(image, str(number), (5, 30), cv2.FONT_HERSHEY_PLAIN, 1, (255, 255, 255))
    return image


@pytest.fixture(params=[NetworkCamera, RtspCamera], ids=["http", "rtsp"])
def camera(request: pytest.FixtureRequest) -> Iterator[NetworkCamera]:
    with request.param(fps=60.0) as camera:
        yield camera


@pytest.fixture
def http_camera() -> Iterator[NetworkCamera]:
    with NetworkCamera(fps=60.0) as camera:
        yield camera


@pytest.fixture
def rtsp_camera() -> Iterator[NetworkCamera]:
    with RtspCamera(fps=60.0) as camera:
        yield camera


@pytest.fixture
def fake_picamera2(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.syspath_prepend(FAKE_PICAMERA)
    yield
    sys.modules.pop("picamera2", None)


@pytest.fixture(params=WITH_END + LIVE)
def maker(request: pytest.FixtureRequest, tmp_path: Path) -> Maker:
    """Makes a new source of one kind, not yet open."""
    kind = request.param
    if kind == "file":
        writer = cv2.VideoWriter(str(tmp_path / "v.mp4"), cv2.VideoWriter.fourcc(*"mp4v"), 10, SIZE)
        for number in range(N):
            writer.write(picture(number))
        writer.release()
        return lambda: open_source(str(tmp_path / "v.mp4"))
    if kind == "folder":
        for number in range(N):
            cv2.imwrite(str(tmp_path / f"{number}.png"), picture(number))
        return lambda: open_source(str(tmp_path))
    if kind == "scene":
        return lambda: open_source("sim:road", frames=(1, N), realtime=False)
    if kind == "live scene":
        return lambda: open_source("sim:road")
    if kind in NETWORK:
        camera = request.getfixturevalue(f"{kind}_camera")
        return lambda: open_source(camera.url)
    if kind == "picamera2":
        request.getfixturevalue("fake_picamera2")
        return lambda: open_source("picamera2:0")
    device = next(iter(sorted(Path("/dev").glob("video*"))), None)
    if device is None:
        pytest.skip("no camera at /dev/video*: V4L2 was not tried")
    return lambda: open_source(str(device))


@pytest.fixture
def source(maker: Maker) -> Iterator[FrameSource]:
    source = maker()
    source.open()
    yield source
    source.close()


def test_pictures_are_bgr_bytes_of_one_size(source: FrameSource) -> None:
    images = [source.read(10.0).image for _ in range(3)]
    assert {image.dtype for image in images} == {np.dtype(np.uint8)}
    assert len({image.shape for image in images}) == 1
    assert images[0].ndim == 3
    assert images[0].shape[2] == 3


def test_times_and_numbers_ascend(source: FrameSource) -> None:
    frames = [source.read(10.0) for _ in range(5)]
    assert (np.diff([frame.t_s for frame in frames]) > 0).all()
    assert (np.diff([frame.index for frame in frames]) > 0).all()


def test_a_picture_is_not_overwritten_by_the_next(source: FrameSource) -> None:
    first = source.read(10.0).image
    before = first.copy()
    source.read(10.0)
    source.read(10.0)
    assert np.array_equal(first, before)


def test_close_twice_and_open_again(maker: Maker) -> None:
    source = maker()
    source.close()
    source.open()
    first = source.read(10.0)
    source.close()
    source.close()
    source.open()
    again = source.read(10.0)
    source.close()
    assert again.image.shape == first.image.shape
    if not source.live:
        assert np.array_equal(again.image, first.image)


def test_read_without_open_is_told(maker: Maker) -> None:
    source = maker()
    with pytest.raises((SourceUnusable, SourceEnded)):
        source.read(0.1)


@pytest.mark.parametrize("maker", WITH_END, indirect=True)
def test_a_source_with_an_end_gives_all_and_then_ends(source: FrameSource) -> None:
    assert not source.live
    assert [source.read(10.0).index for _ in range(N)] == list(range(N))
    for _ in range(2):
        with pytest.raises(SourceEnded):
            source.read(10.0)


@pytest.mark.parametrize("maker", LIVE, indirect=True)
def test_a_live_source_gives_the_newest_to_a_slow_reader(source: FrameSource) -> None:
    assert source.live
    first = source.read(10.0)
    time.sleep(0.6)
    second = source.read(10.0)
    assert second.t_s - first.t_s > 0.5
    assert second.index - first.index > 3


@pytest.mark.parametrize("maker", LIVE, indirect=True)
def test_live_times_are_the_monotonic_clock(source: FrameSource) -> None:
    assert abs(source.read(10.0).t_s - time.monotonic()) < 1.0


def test_a_silent_stream_stalls_and_comes_back(camera: NetworkCamera) -> None:
    with contextlib.closing(open_source(camera.url)) as source:
        source.open()
        source.read(10.0)
        camera.silent = True
        time.sleep(0.2)
        with pytest.raises(SourceStalled, match=r"gave no picture for 0\.3 s"):
            source.read(0.3)
        camera.silent = False
        source.read(10.0)


def read_on(source: FrameSource) -> None:
    """Read what is still under way."""
    for _ in range(100):
        source.read(2.0)


def test_a_stream_that_breaks_off_is_told(camera: NetworkCamera) -> None:
    with contextlib.closing(open_source(camera.url)) as source:
        source.open()
        source.read(10.0)
        camera.stop()
        with pytest.raises(SourceUnusable, match="ended or broke off"):
            read_on(source)


def test_a_lower_rate_is_kept(camera: NetworkCamera) -> None:
    with contextlib.closing(open_source(camera.url, fps=4)) as source:
        source.open()
        times = [source.read(10.0).t_s for _ in range(5)]
    assert 0.2 <= np.diff(times).mean() <= 0.35
