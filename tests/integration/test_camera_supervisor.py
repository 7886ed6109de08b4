"""Camera processes as they are: they crash, hang, lose their camera. All of the camera's time is accounted for."""

import os
import signal
from itertools import groupby
from pathlib import Path

import cv2
import numpy as np
import pytest

from common.codes import GapReason, Via
from common.records import SOURCES_ACTION, Count, Frames, Gap, Log, StreamQuality
from edge_agent.cameras.messages import Fact, Ready
from edge_agent.cameras.supervisor import SupervisorParams, retry_delay_s
from tests.integration.camera_helpers import HASTY, PATIENT, Watched, job, kinds, watching

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def video(path: Path, *parts: tuple[str, float]) -> Path:
    """A video of `noise` and `black` parts of so many seconds, 10 pictures a second."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (160, 120))
    rng = np.random.default_rng(1)
    for kind, length_s in parts:
        still = rng.integers(60, 200, (120, 160, 3), np.uint8)
        for _ in range(round(length_s * 10)):
            noise = rng.integers(0, 20, still.shape, np.uint8)
            writer.write(still + noise if kind == "noise" else np.zeros_like(still))
    writer.release()
    return path


async def test_a_camera_is_counted_and_ends_in_good_order() -> None:
    async with watching(job("sim:road")) as camera:
        await camera.until(lambda: camera.of(Frames) and len(camera.of(Count)) > 3)
        pid = camera.view.pid
        assert pid is not None
    assert kinds(camera, stalls=False) == ["agent_down", "measured"]
    counts = camera.of(Count)
    assert {count.via for count in counts} == {Via.CAMERA, Via.TRUTH}
    assert {count.source for count in counts} == {"street"}
    (told,) = [log for log in camera.of(Log) if log.action == SOURCES_ACTION]
    assert told.message == "camera north counts at street"
    assert told.context == {"sensor": "north", "lines": '["street"]', "zones": "[]", "turns": "[]"}
    block = camera.of(Frames)[0]
    # 10 a second for 10 s; a busy machine takes every second, or third.
    assert 25 <= block.n <= 110
    assert (block.width_px, block.height_px) == (640, 360)
    assert camera.view.tallies["street"].total == sum(count.via is Via.CAMERA for count in counts)
    assert not Path(f"/proc/{pid}").exists()


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSEGV])
async def test_a_process_that_dies_is_started_again(how: signal.Signals) -> None:
    async with watching(job("sim:road")) as camera:
        await camera.until_measuring()
        assert camera.view.pid is not None
        os.kill(camera.view.pid, how)
        await camera.until(lambda: camera.view.restarts == 1 and camera.view.state == "ok")
        await camera.until(lambda: camera.records and isinstance(camera.records[-1][1], Count | Frames))
    assert kinds(camera) == ["agent_down", "measured", "camera_down", "measured"]
    lost = [length_s for kind, length_s in camera.account() if kind == "camera_down"]
    assert sum(lost) < 20
    failures = [record for record in camera.of(StreamQuality) if record.state == "unreachable"]
    assert how.name in (failures[0].detail or "")
    assert len([log for log in camera.of(Log) if log.action == SOURCES_ACTION]) == 1, "it is as it was"


async def test_a_process_that_hangs_is_killed() -> None:
    async with watching(job("sim:road"), params=HASTY) as camera:
        await camera.until_measuring()
        pid = camera.view.pid
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)
        n_alive = camera.n_alive
        await camera.until(lambda: camera.view.state == "unreachable")
        assert "hangs" in camera.view.detail
        assert camera.n_alive > n_alive, "the supervisor itself was alive all the time"
        await camera.until(lambda: camera.view.state == "ok")
        assert camera.view.pid != pid
    assert "camera_down" in kinds(camera)


async def test_a_camera_that_is_not_there_and_comes(tmp_path: Path) -> None:
    path = tmp_path / "later.avi"
    async with watching(job(str(path))) as camera:
        await camera.until(lambda: camera.view.restarts >= 2)
        assert camera.view.state == "unreachable"
        assert "later.avi" in camera.view.detail
        video(tmp_path / "made.avi", ("noise", 20)).rename(path)
        await camera.until(lambda: camera.view.state == "ok" and camera.view.fps)
    assert kinds(camera) == ["agent_down", "camera_down", "measured"]


async def test_black_is_not_measured(tmp_path: Path) -> None:
    source = video(tmp_path / "v.avi", ("noise", 4), ("black", 4), ("noise", 60))
    async with watching(job(str(source))) as camera:
        await camera.until(lambda: camera.view.state == "black")
        await camera.until(lambda: camera.view.state == "ok" and len(camera.of(Gap)) >= 2)
    told = camera.account()
    assert kinds(camera, stalls=False) == ["agent_down", "measured", "camera_black", "measured"]
    (black_s,) = [length_s for kind, length_s in told if kind == "camera_black"]
    # Less off than it takes to notice: it begins with the first black picture. Not all of them are looked at.
    assert black_s == pytest.approx(4.0, abs=0.9)
    told_of = [(state, len(list(some))) for state, some in groupby(one.state for one in camera.of(StreamQuality))]
    assert [state for state, _ in told_of[:3]] == ["ok", "black", "ok"]
    assert min(n for _, n in told_of[:2]) >= 2, "each state at its beginning and at its end"


async def test_no_moment_is_told_twice_when_it_turns_out_that_pictures_were_late() -> None:
    """The first picture came late, and the process learns by later ones how late: they were taken before that."""
    camera = Watched(job("sim:road"), None, PATIENT)
    began_ns = camera.began_ns
    first_ns, to_ns = began_ns + 2_000_000_000, began_ns + 5_000_000_000
    tell = camera.supervisor._take
    await tell(Ready(first_ns, 640, 360, 1.0, None, (), ("street",), (), ()))
    await tell(Fact(to_ns, Frames(1, 0, 0, "north", 3300, 3300, 30, 0)))
    await tell(Fact(to_ns + 1_000_000_000, Gap(1, 0, 0, GapReason.CAMERA_BLACK, 1200, sensor="north")))
    assert [kind for kind, _ in camera.account()] == ["agent_down", "measured", "camera_black"]
    (block,) = camera.of(Frames)
    assert (block.span_ms, block.measured_ms, block.n) == (3000, 3000, 30)


async def test_a_video_goes_round_and_the_cut_is_not_measured(tmp_path: Path) -> None:
    source = video(tmp_path / "v.avi", ("noise", 3))
    async with watching(job(str(source))) as camera:
        await camera.until(lambda: len(camera.of(Gap)) >= 3)
    assert kinds(camera)[:4] == ["agent_down", "measured", "camera_down", "measured"]


async def test_a_line_outside_the_picture_is_named() -> None:
    bad = job("sim:road", lines=(("far", ((0.0, 900.0), (640.0, 900.0)), "auto"),))
    async with watching(bad) as camera:
        await camera.until(lambda: camera.view.restarts >= 1)
        assert "line 'far'" in camera.view.detail
        assert "900" in camera.view.detail
        assert "640x360" in camera.view.detail


async def test_a_broken_model_is_told_as_such(tmp_path: Path) -> None:
    model = tmp_path / "broken.onnx"
    model.write_bytes(b"no model")
    async with watching(job("sim:road", model=str(model))) as camera:
        await camera.until(lambda: camera.view.restarts >= 2)
        assert camera.view.state == "failed"
        assert "broken.onnx" in camera.view.detail
    assert kinds(camera) == ["agent_down", "model_failed"]


async def test_no_secret_comes_through() -> None:
    async with watching(job("rtsp://admin:s3cret@127.0.0.1:9/x")) as camera:
        await camera.until(lambda: camera.view.restarts >= 1)
    told = repr(camera.records) + camera.view.detail
    assert "127.0.0.1" in told
    assert "s3cret" not in told


def test_waiting_grows_to_a_cap() -> None:
    params = SupervisorParams(retry_first_s=1.0, retry_cap_s=60.0)
    assert [retry_delay_s(n, params, 1.0) for n in (1, 2, 3, 7, 100)] == [1, 2, 4, 60, 60]
    assert retry_delay_s(3, params, 0.0) == 2.0
