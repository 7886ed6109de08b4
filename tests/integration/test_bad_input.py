"""What people hand in by mistake: by the command line and by the agent it is told, and nothing crashes."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_agent.count.plan import Plan
from edge_agent.count.run import Outcome, count
from edge_agent.domain.shapes import Line
from edge_agent.drivers.base import SourceUnusable
from tests.integration.camera_helpers import job, kinds, watching
from tests.servers.pictures import SIZE, street

N = 20
RATE = 10.0


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def video(path: Path, fourcc: str) -> Path:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*fourcc), RATE, SIZE)
    for number in range(N):
        writer.write(street(number / RATE))
    writer.release()
    return path


def half(path: Path) -> Path:
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    return path


def pictures(folder: Path, change: Callable[[int, np.ndarray], np.ndarray], n: int = N) -> Path:
    """A folder with a box that crosses the middle, each picture changed in some way."""
    for number in range(n):
        cv2.imwrite(str(folder / f"{number}.png"), change(number, street(number / RATE)))
    return folder


def counted(source: Path | str, size: tuple[int, int] = SIZE) -> Outcome:
    line = Line("middle", ((-0.5, size[1] / 2), (size[0] + 0.5, size[1] / 2)))
    return count(Plan(str(source), "motion", (line,), (), None, RATE, None, 1, None))


@pytest.mark.parametrize(
    "change",
    [
        lambda _, image: image[:, :, 0],
        lambda _, image: image.astype(np.uint16) * 257,
        lambda _, image: image[:, :, 0].astype(np.uint16) * 257,
        lambda _, image: np.dstack([image, image[:, :, 0]]),
    ],
    ids=["grey", "deep", "deep and grey", "transparent"],
)
def test_grey_and_deep_pictures_are_counted_in(
    tmp_path: Path, change: Callable[[int, np.ndarray], np.ndarray]
) -> None:
    outcome = counted(pictures(tmp_path, change))
    assert outcome.problem is None
    assert len(outcome.lines["middle"]) == 1


def test_pictures_of_one_pixel_and_of_8k_are_looked_at(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    one = counted(pictures(tmp_path / "one", lambda n, _: np.full((1, 1, 3), 50 * n, np.uint8), 3), (1, 1))
    assert (one.frames, one.problem) == (3, None)
    (tmp_path / "big").mkdir()
    image = np.full((4320, 7680, 3), 99, np.uint8)
    for number in range(2):
        cv2.imwrite(str(tmp_path / "big" / f"{number}.jpg"), image)
    assert counted(tmp_path / "big", (7680, 4320)).frames == 2


def test_a_folder_of_mixed_sizes_is_counted_up_to_the_change_and_says_so(tmp_path: Path) -> None:
    outcome = counted(pictures(tmp_path, lambda n, image: image if n < 15 else cv2.rotate(image, 0)))
    assert outcome.frames == 15
    assert outcome.problem is not None
    assert "changed its size from 320x240 to 240x320" in outcome.problem
    assert outcome.gaps[-1].to_s is None


@pytest.mark.parametrize(("name", "fourcc"), [("v.avi", "MJPG"), ("v.mkv", "mp4v")])
def test_what_was_there_of_a_truncated_video_is_counted(tmp_path: Path, name: str, fourcc: str) -> None:
    outcome = counted(half(video(tmp_path / name, fourcc)))
    assert 0 < outcome.frames < N
    assert outcome.problem is not None
    assert f"of {N} pictures" in outcome.problem


BAD = {
    "zero.mp4": r"is empty \(0 bytes\)",
    "cut.mp4": "is not a video that can be decoded, or it is damaged",
    "text.mp4": "is not a video that can be decoded, or it is damaged",
    "empty": "holds no pictures",
    "/dev/null": "cannot be opened: is it a camera",
    "absent.mp4": "there is no file or folder",
}


def bad(folder: Path, name: str) -> str:
    (folder / "zero.mp4").touch()
    half(video(folder / "cut.mp4", "mp4v"))
    (folder / "text.mp4").write_text("no video at all" * 100)
    (folder / "empty").mkdir()
    return name if name.startswith("/") else str(folder / name)


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_used_at_all_is_told(tmp_path: Path, name: str) -> None:
    with pytest.raises(SourceUnusable, match=BAD[name]) as failed:
        counted(bad(tmp_path, name))
    assert name in str(failed.value)


@pytest.mark.anyio
@pytest.mark.parametrize("name", ["zero.mp4", "/dev/null"])
async def test_the_agent_tells_it_too_and_goes_on_trying(tmp_path: Path, name: str) -> None:
    async with watching(job(bad(tmp_path, name))) as camera:
        await camera.until(lambda: camera.view.restarts >= 2)
        assert name in camera.view.detail
    assert kinds(camera) == ["agent_down", "camera_down"]


@pytest.mark.anyio
async def test_the_agent_does_not_count_on_in_a_folder_of_mixed_sizes(tmp_path: Path) -> None:
    source = pictures(tmp_path, lambda n, image: image if n < 15 else cv2.rotate(image, 0))
    async with watching(job(str(source))) as camera:
        await camera.until(lambda: camera.view.restarts >= 1)
        assert "changed its size from 320x240 to 240x320" in camera.view.detail
    assert kinds(camera)[:3] == ["agent_down", "measured", "camera_down"]
