"""Network cameras as they are: silent, frozen, black, turned, unplugged. What was not measured is a gap."""

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from common.records import Count, Frames
from tests.integration.camera_helpers import HASTY, Watched, job, kinds, watching
from tests.servers.network_camera import NetworkCamera, RtspCamera
from tests.servers.pictures import PERIOD_S, SIZE, crosses_middle_s, street

pytestmark = pytest.mark.anyio
FAKE_PICAMERA = Path(__file__).parents[1] / "servers/fake_picamera"
LINE = ("middle", ((0.0, SIZE[1] / 2), (float(SIZE[0]), SIZE[1] / 2)), "auto")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def http_camera() -> Iterator[NetworkCamera]:
    with NetworkCamera() as camera:
        yield camera


@pytest.fixture
def rtsp_camera() -> Iterator[NetworkCamera]:
    with RtspCamera() as camera:
        yield camera


def gap_s(camera: Watched, reason: str) -> float:
    """How long nothing was measured for that reason."""
    return sum(length_s for kind, length_s in camera.account() if kind == reason)


async def test_a_camera_that_goes_silent_is_given_up_and_tried_again(rtsp_camera: NetworkCamera) -> None:
    """It keeps the connection and sends nothing, as if its program hung."""
    async with watching(job(rtsp_camera.url)) as camera:
        await camera.until_measuring()
        first_pid = camera.view.pid
        rtsp_camera.silent = True
        await camera.until(lambda: camera.view.restarts == 1)
        assert camera.view.state == "unreachable"
        rtsp_camera.silent = False
        await camera.until(lambda: camera.view.state == "ok")
        assert camera.view.pid != first_pid
        await camera.until_measuring()
    assert kinds(camera) == ["agent_down", "measured", "camera_down", "measured"]
    assert 8 < gap_s(camera, "camera_down") < 40


async def test_a_driver_that_never_returns_is_left_behind_with_its_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(FAKE_PICAMERA))
    monkeypatch.setenv("STOPLINE_FAKE_PICAMERA", "hangs")
    async with watching(job("picamera2", silence_s=3.0), params=HASTY) as camera:
        await camera.until(lambda: camera.view.restarts >= 1)
        assert "picamera2 gave no picture" in camera.view.detail
        await camera.until(lambda: camera.view.state == "ok")
    assert kinds(camera)[:3] == ["agent_down", "measured", "camera_down"]


async def test_a_process_that_cannot_end_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    """It has said that its camera broke down, and hangs in the driver on its way out."""
    monkeypatch.setenv("PYTHONPATH", str(FAKE_PICAMERA))
    monkeypatch.setenv("STOPLINE_FAKE_PICAMERA", "breaks and hangs")
    async with watching(job("picamera2"), params=HASTY) as camera:
        await camera.until(lambda: camera.view.restarts >= 1)
        assert "picamera2: the stream ended or broke off" in camera.view.detail
    assert kinds(camera)[-1] == "camera_down"


async def test_a_stream_that_freezes_and_one_that_goes_black(http_camera: NetworkCamera) -> None:
    async with watching(job(http_camera.url, frozen_after_s=2.0)) as camera:
        await camera.until_measuring()
        http_camera.picture = lambda _: street(0.5)
        await camera.until(lambda: camera.view.state == "frozen")
        http_camera.picture = lambda t_s: street(t_s) // 32
        await camera.until(lambda: camera.view.state == "black")
        http_camera.picture = street
        await camera.until(lambda: camera.view.state == "ok")
        pid, restarts = camera.view.pid, camera.view.restarts
        assert pid is not None
    assert restarts == 0, "the camera still gives pictures: there is nothing to reconnect"
    assert kinds(camera, stalls=False) == ["agent_down", "measured", "camera_frozen", "camera_black", "measured"]
    assert gap_s(camera, "camera_frozen") >= 1.9


@pytest.mark.parametrize("size", [(SIZE[0] * 2, SIZE[1] * 2), (SIZE[1], SIZE[0])], ids=["larger", "portrait"])
async def test_lines_do_not_count_on_pictures_of_another_size(
    http_camera: NetworkCamera, size: tuple[int, int]
) -> None:
    """In a larger picture they would fit, and be in the wrong place."""
    line = ("low", ((0.0, 100.0), (200.0, 100.0)), "auto")
    async with watching(job(http_camera.url, lines=(line,))) as camera:
        await camera.until_measuring()
        http_camera.picture = lambda t_s: street(t_s, size)
        told = f"changed from {SIZE[0]}x{SIZE[1]} to {size[0]}x{size[1]}"
        await camera.until(lambda: told in camera.view.detail)
        assert camera.view.state == "unreachable"
        http_camera.picture = street
        await camera.until(lambda: camera.view.state == "ok")
        assert camera.view.size_px == SIZE
        await camera.until_measuring()
    assert kinds(camera, stalls=False) == ["agent_down", "measured", "camera_down", "measured"]


async def test_a_camera_that_is_unplugged_and_comes_back_counts_on(http_camera: NetworkCamera) -> None:
    """A box crosses every few seconds, camera or not: those that it saw are counted, each once, and no other."""
    async with watching(job(http_camera.url, lines=(LINE,), fps=None)) as camera:
        await camera.until(lambda: len(camera.of(Count)) >= 2)
        pulled_ns = camera.clock.stamp().boottime_ns
        http_camera.stop()
        await camera.until(lambda: camera.view.restarts >= 2)
        http_camera.start()
        back_ns = camera.clock.stamp().boottime_ns
        await camera.until(lambda: camera.view.state == "ok")
        n_before = len(camera.of(Count))
        await camera.until(lambda: len(camera.of(Count)) >= n_before + 2)
    assert kinds(camera, stalls=False) == ["agent_down", "measured", "camera_down", "measured"]
    spans = measured_spans(camera)
    (gap_from_ns, gap_to_ns) = max(
        ((a[1], b[0]) for a, b in itertools.pairwise(spans)), key=lambda gap: gap[1] - gap[0]
    )
    assert abs(gap_from_ns - pulled_ns) < 1e9, "the gap begins with the last picture"
    assert gap_to_ns > back_ns
    # Where the machine took but some of the pictures, they were late as well: boxes cannot be told apart.
    spans = measured_spans(camera, least_fps=0.5 * http_camera.fps)
    counted = [
        nearest_crossing(http_camera, at_ns)
        for at_ns, record in camera.records
        if isinstance(record, Count) and any(from_ns <= at_ns <= to_ns for from_ns, to_ns in spans)
    ]
    assert len(counted) == len(set(counted)), "none is counted twice"
    assert expected_crossings(http_camera, spans) <= set(counted)


def measured_spans(camera: Watched, *, least_fps: float = 0.0) -> list[tuple[int, int]]:
    """What was measured, in ns, neighbours joined; where so many pictures a second were looked at."""
    spans: list[tuple[int, int]] = []
    for to_ns, record in camera.records:
        if isinstance(record, Frames) and record.span_ms and record.n >= least_fps * record.span_ms / 1000:
            from_ns = to_ns - record.span_ms * 1_000_000
            if spans and from_ns - spans[-1][1] < 50_000_000:
                from_ns = spans.pop()[0]
            spans.append((from_ns, to_ns))
    return spans


def street_s(network: NetworkCamera, at_ns: int) -> float:
    """The time of the street at a moment of CLOCK_BOOTTIME."""
    return at_ns / 1e9 - network.made_boottime_s


def nearest_crossing(network: NetworkCamera, at_ns: int) -> int:
    """Which box it was."""
    at_s = street_s(network, at_ns)
    n = round((at_s - crosses_middle_s(0)) / PERIOD_S)
    assert abs(at_s - crosses_middle_s(n)) < 0.7, "a count where no box crossed"
    return n


def expected_crossings(network: NetworkCamera, spans: list[tuple[int, int]]) -> set[int]:
    """Boxes of which both sides of the line were measured, with time for the background to be learnt."""
    found = set()
    for from_ns, to_ns in spans:
        from_s, to_s = street_s(network, from_ns), street_s(network, to_ns)
        found |= {n for n in range(1000) if from_s + 3.0 < crosses_middle_s(n) < to_s - 1.0}
    return found
