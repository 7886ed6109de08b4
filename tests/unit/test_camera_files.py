"""Files as people have them: deep, grey, transparent, empty, cut off, misnamed, of changing size."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edge_agent.drivers.base import SourceEnded, SourceUnusable
from edge_agent.drivers.sources.files import as_bgr, read_picture
from edge_agent.drivers.sources.opening import open_source

NOISE = np.random.default_rng(3).integers(0, 256, (40, 60, 3), dtype=np.uint8)


def write_video(path: Path, *, n: int = 30, fps: float = 10.0) -> Path:
    """Each picture's grey level is 8 times its number."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), fps, (64, 48))
    for number in range(n):
        writer.write(np.full((48, 64, 3), 8 * number, np.uint8))
    writer.release()
    return path


def read_all(spec: Path, **arguments: Any) -> list[tuple[int, float, int]]:
    """Number, time and level of each picture."""
    source = open_source(str(spec), **arguments)
    source.open()
    found = []
    try:
        while True:
            frame = source.read(1.0)
            found.append((frame.index, round(frame.t_s, 3), round(float(frame.image.mean()) / 8)))
    except SourceEnded:
        return found
    finally:
        source.close()


def test_a_video_is_read_whole(tmp_path: Path) -> None:
    found = read_all(write_video(tmp_path / "v.mp4"))
    assert found == [(n, round(n / 10, 3), n) for n in range(30)]


@pytest.mark.parametrize(("fps", "numbers"), [(5, range(0, 30, 2)), (2, range(0, 30, 5)), (60, range(30))])
def test_a_lower_rate_takes_every_so_many_and_keeps_their_times(
    tmp_path: Path, fps: float, numbers: range
) -> None:
    found = read_all(write_video(tmp_path / "v.mp4"), fps=fps)
    assert found == [(n, round(n / 10, 3), n) for n in numbers]


def test_a_rate_that_does_not_divide_is_met_on_average(tmp_path: Path) -> None:
    found = read_all(write_video(tmp_path / "v.mp4"), fps=4)
    assert 11 <= len(found) <= 13
    assert max(np.diff([t_s for _, t_s, _ in found])) <= 0.31


@pytest.mark.parametrize(("frames", "every", "numbers"), [((1, 3), 1, [0, 1, 2]), ((11, 20), 3, [10, 13, 16, 19])])
def test_a_range_of_a_video(tmp_path: Path, frames: tuple[int, int], every: int, numbers: list[int]) -> None:
    found = read_all(write_video(tmp_path / "v.mp4"), frames=frames, every=every)
    assert [(index, level) for index, _, level in found] == [(n, n) for n in numbers]


def test_a_range_beyond_the_end_is_told(tmp_path: Path) -> None:
    with pytest.raises(SourceUnusable, match="holds 30 pictures; there is no picture 40"):
        read_all(write_video(tmp_path / "v.mp4"), frames=(1, 40))


def test_a_cut_off_video_does_not_end_like_a_whole_one(tmp_path: Path) -> None:
    path = tmp_path / "v.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (64, 48))
    for _ in range(30):
        writer.write(cv2.resize(NOISE, (64, 48)))
    writer.release()
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(SourceUnusable, match=r"breaks off after \d+ of 30 pictures"):
        read_all(path)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("v.mp4", None, "there is no file or folder"),
        ("v.mp4", b"", r"is empty \(0 bytes\)"),
        ("v.mp4", b"not a video at all" * 100, "not a video that can be decoded"),
        ("p.jpg", b"", r"is empty \(0 bytes\)"),
        ("p.jpg", b"not a picture at all", "not a picture that can be decoded"),
    ],
)
def test_broken_files(tmp_path: Path, name: str, content: bytes | None, words: str) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(SourceUnusable, match=words) as failed:
        read_all(tmp_path / name)
    assert name in str(failed.value)


def test_a_cut_off_mp4_cannot_be_opened(tmp_path: Path) -> None:
    path = write_video(tmp_path / "v.mp4")
    path.write_bytes(path.read_bytes()[:-400])
    with pytest.raises(SourceUnusable, match=r"damaged|breaks off"):
        read_all(path)


def test_a_cut_off_jpeg_is_no_picture(tmp_path: Path) -> None:
    ok, data = cv2.imencode(".jpg", NOISE)
    assert ok
    (tmp_path / "p.jpg").write_bytes(data.tobytes()[:-200])
    with pytest.raises(SourceUnusable, match="cut off"):
        read_picture(tmp_path / "p.jpg")


@pytest.mark.parametrize(
    ("name", "pixels"),
    [
        ("grey.png", NOISE[:, :, 0]),
        ("deep.png", NOISE.astype(np.uint16) * 257),
        ("deep_grey.png", NOISE[:, :, 0].astype(np.uint16) * 257),
        ("alpha.png", np.dstack([NOISE, NOISE[:, :, 0]])),
        ("plain.bmp", NOISE),
        ("one.png", NOISE[:1, :1]),
    ],
)
def test_any_picture_becomes_bgr(tmp_path: Path, name: str, pixels: np.ndarray) -> None:
    assert cv2.imwrite(str(tmp_path / name), pixels)
    image = read_picture(tmp_path / name)
    assert image.dtype == np.uint8
    assert image.shape == (*pixels.shape[:2], 3)
    expected = NOISE[: pixels.shape[0], : pixels.shape[1]]
    expected = np.dstack([expected[:, :, 0]] * 3) if pixels.ndim == 2 else expected
    assert np.abs(image.astype(int) - expected).max() <= 1


def test_an_8k_picture(tmp_path: Path) -> None:
    assert cv2.imwrite(str(tmp_path / "big.jpg"), np.full((4320, 7680, 3), 99, np.uint8))
    assert read_picture(tmp_path / "big.jpg").shape == (4320, 7680, 3)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("shape", [(4, 5), (4, 5, 1), (4, 5, 3), (4, 5, 4)])
def test_what_cameras_give(dtype: type, shape: tuple[int, ...]) -> None:
    full: np.ndarray[Any, Any] = np.full(shape, np.iinfo(dtype).max, dtype)
    assert np.array_equal(as_bgr(full), np.full((4, 5, 3), 255, np.uint8))


def test_a_folder_is_read_in_natural_order_at_its_rate(tmp_path: Path) -> None:
    for number in (1, 2, 10):
        cv2.imwrite(str(tmp_path / f"p{number}.png"), np.full((4, 4, 3), 8 * number, np.uint8))
    (tmp_path / "notes.txt").write_text("no picture")
    assert read_all(tmp_path) == [(0, 0.0, 1), (1, 0.033, 2), (2, 0.067, 10)]
    assert read_all(tmp_path, fps=5) == [(0, 0.0, 1), (1, 0.2, 2), (2, 0.4, 10)]
    assert read_all(tmp_path, fps=5, frames=(2, 3)) == [(1, 0.2, 2), (2, 0.4, 10)]
    assert read_all(tmp_path, fps=5, every=2) == [(0, 0.0, 1), (2, 0.4, 10)]


def test_an_empty_folder_and_a_number_too_high(tmp_path: Path) -> None:
    with pytest.raises(SourceUnusable, match="holds no pictures"):
        read_all(tmp_path)
    cv2.imwrite(str(tmp_path / "1.png"), NOISE)
    with pytest.raises(SourceUnusable, match="holds 1 pictures; there is no picture 2"):
        read_all(tmp_path, frames=(1, 2))


def test_a_change_of_size_is_told(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "1.png"), NOISE)
    cv2.imwrite(str(tmp_path / "2.png"), NOISE[:20])
    with pytest.raises(SourceUnusable, match=r"2\.png: the picture changed its size from 60x40 to 60x20"):
        read_all(tmp_path)


def test_a_video_without_times_uses_its_rate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_video(tmp_path / "v.mp4", n=5)
    true = cv2.VideoCapture

    class Timeless:
        """A container that tells no times, as raw streams do."""

        def __init__(self, *arguments: object) -> None:
            self._capture = true(*arguments)

        def get(self, what: int) -> float:
            return 0.0 if what == cv2.CAP_PROP_POS_MSEC else self._capture.get(what)

        def __getattr__(self, name: str) -> object:
            return getattr(self._capture, name)

    monkeypatch.setattr(cv2, "VideoCapture", Timeless)
    assert read_all(path) == [(n, round(n / 10, 3), n) for n in range(5)]
