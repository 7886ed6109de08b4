"""Working hours, heat, and cores that several cameras share, with processes as they are."""

import contextlib
import itertools
import re
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import cv2
import psutil
import pytest

from common.records import Frames, StreamQuality
from edge_agent.cameras.hours import Hours
from edge_agent.cameras.jobs import threads_per_camera
from edge_agent.domain.schedule import Weekday, window
from tests.integration.agent_helpers import RunningAgent, exported, write_config
from tests.integration.camera_helpers import Watched, job, kinds, watching
from tests.servers.pictures import SIZE, street

pytestmark = pytest.mark.anyio
DAY = window(Weekday, "06:00", "22:00")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class WallClock:
    """A wall clock that shows what it is told."""

    def __init__(self, shown: str) -> None:
        self.put(shown)

    def put(self, shown: str) -> None:
        self.now = datetime.fromisoformat(f"2026-11-26T{shown}+01:00")

    def hours(self) -> Hours:
        return Hours((DAY,), lambda: self.now)


async def test_a_camera_is_closed_outside_of_its_hours_and_says_until_when() -> None:
    clock = WallClock("21:59")
    # Few pictures: on a busy machine it would else be too slow, and that is not what is looked at.
    async with watching(job("sim:road", fps=4.0), clock.hours()) as camera:
        await camera.until_measuring()
        clock.put("22:00")
        await camera.until(lambda: camera.view.state == "paused")
        assert camera.view.pid is None
        assert camera.view.detail == "by its schedule, until Fri 06:00"
        n_alive = camera.n_alive
        await camera.until(lambda: camera.n_alive > n_alive + 1)
        clock.put("06:00")
        await camera.until(lambda: camera.view.state == "ok")
        await camera.until_measuring()
    assert kinds(camera) == ["agent_down", "measured", "paused", "camera_down", "measured"]
    assert camera.view.restarts == 0, "that was no failure"
    (told, *_) = [record for record in camera.of(StreamQuality) if record.state == "paused"]
    assert told.detail == "by its schedule, until Fri 06:00"


async def test_nothing_is_started_before_its_hours() -> None:
    clock = WallClock("05:00")
    async with watching(job("/dev/video99"), clock.hours()) as camera:
        await camera.until(lambda: camera.n_alive > 2)
        assert (camera.view.state, camera.view.pid) == ("paused", None)
    assert kinds(camera)[-1] == "paused"


def test_an_agent_goes_by_the_schedule_of_its_configuration(tmp_path: Path) -> None:
    config = write_config(tmp_path, {"name": "north", "source": "sim:road"}, timezone="Asia/Tokyo")
    in_three_days = list(Weekday)[(datetime.now(ZoneInfo("Asia/Tokyo")).weekday() + 3) % 7]
    schedule = f'[[cameras.schedule]]\ndays = ["{in_three_days}"]\nstart = "06:00"\nend = "07:00"\n'
    config.write_text(config.read_text() + schedule)
    with RunningAgent(config) as running:
        running.until(lambda: running.status()["cameras"][0]["state"] == "paused")
        (camera,) = running.status()["cameras"]
        assert camera["detail"] == f"by its schedule, until {in_three_days.capitalize()} 06:00"
        assert not psutil.Process(running.process.pid).children()
        assert running.stop() == 0
    gaps = [record for record in exported(config) if record[0] == "gap" and record[6] == "north"]
    assert gaps[-1][4] == "paused"


def put_temperature(sysfs: Path, temperature_c: float) -> None:
    zone = sysfs / "class/thermal/thermal_zone0"
    zone.mkdir(parents=True, exist_ok=True)
    (zone / "type").write_text("cpu-thermal\n")
    (zone / "temp").write_text(f"{temperature_c * 1000:.0f}\n")


async def test_a_hot_processor_takes_fewer_pictures_and_says_so(tmp_path: Path) -> None:
    put_temperature(tmp_path, 60)
    # No more than a busy machine can take: else it is too slow from the first to the last.
    async with watching(job("sim:road", sysfs=str(tmp_path), fps=6.0)) as camera:
        await camera.until_measuring()
        await camera.until(lambda: camera.view.detail == "")  # a busy machine may be too slow at first
        put_temperature(tmp_path, 81)
        # And again later: then it is half of less, or of a rate that a standing machine makes look lower.
        await camera.until(lambda: camera.view.detail.startswith("too hot: "))
        assert camera.view.state == "ok"
        taken, of = _rates(camera.view.detail)
        assert of == pytest.approx(6.0, abs=1.0)
        assert taken <= 0.5 * of
        await camera.until(lambda: (camera.view.fps or 6.0) < 4.2)
    assert kinds(camera, stalls=False) == ["agent_down", "measured"], (
        "it is measured all the time, only less often"
    )
    for block in camera.of(Frames):
        expected = block.span_ms / 1000 * 6
        assert block.n + block.dropped == pytest.approx(expected, abs=0.25 * expected + 4)
    assert any((record.detail or "").startswith("too hot: ") for record in camera.of(StreamQuality))


def _rates(detail: str) -> tuple[float, float]:
    """How many pictures a second are taken, and of how many, by the words that tell it."""
    told = re.fullmatch(r"too hot: (\S+) of (\S+) pictures a second", detail)
    assert told, detail
    return float(told[1]), float(told[2])


async def test_a_video_is_slowed_down_like_a_camera(tmp_path: Path) -> None:
    put_temperature(tmp_path, 81)
    writer = cv2.VideoWriter(str(tmp_path / "v.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 10, SIZE)
    for number in range(200):
        writer.write(street(number / 10))
    writer.release()
    async with watching(job(str(tmp_path / "v.avi"), sysfs=str(tmp_path), fps=None)) as camera:
        await camera.until(lambda: (camera.view.fps or 10.0) < 7.0)
    assert sum(block.dropped for block in camera.of(Frames)) > 0


async def test_cameras_share_the_cores_fairly() -> None:
    """Each asks for more than a third of the machine can give.

    A rate is the mean of some seconds: the first ones are of when the others were not there yet, and now and then
    a busy machine leaves one waiting. It does not do so again and again.
    """
    assert [threads_per_camera(4, n) for n in (1, 2, 3, 4, 9)] == [3, 2, 1, 1, 1]
    async with contextlib.AsyncExitStack() as stack:
        cameras: list[Watched] = [
            await stack.enter_async_context(watching(job("sim:road", camera=f"c{n}", fps=120.0))) for n in range(3)
        ]
        for n_looks in itertools.count(1):
            for camera in cameras:
                await camera.until_measuring()
            rates = [camera.view.fps or 0.0 for camera in cameras]
            if n_looks >= 4 and min(rates) > 0.4 * max(rates):
                break
            assert n_looks < 30, rates
