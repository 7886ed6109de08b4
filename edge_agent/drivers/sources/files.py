"""Sources with an end: video files and folders of pictures. They are read picture by picture, and none is lost."""

import math
import re
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_agent.domain.frames import Frame, Image
from edge_agent.drivers.base import SourceEnded, SourceUnusable

PICTURE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm")
DEFAULT_FOLDER_FPS = 30.0
_MISSING_SHARE = 0.02
"""A file that gives so much less than it promises is cut off; the figures of containers are off by one or two."""


class FolderSource:
    """A folder of pictures in natural order of their names (`2.jpg` before `10.jpg`), or one picture."""

    live = False

    def __init__(
        self, path: Path, *, fps: float | None, frames: tuple[int, int] | None = None, every: int = 1
    ) -> None:
        """
        Args:
            fps: the rate at which the pictures were taken; None: 30.
            frames: first and last picture by their place in the order, from 1.
            every: give every so many only.
        """
        self._path = path
        self._fps = fps or DEFAULT_FOLDER_FPS
        self._frames = frames
        self._every = every
        self._files: list[Path] = []
        self._next_index = 0
        self._size = SizeGuard()

    def open(self) -> None:
        if not self._path.exists():
            raise SourceUnusable(f"there is no file or folder {self._path}")
        self._files = _pictures_in(self._path)
        if not self._files:
            raise SourceUnusable(f"{self._path} holds no pictures ({', '.join(PICTURE_SUFFIXES)})")
        first, last = self._frames or (1, len(self._files))
        if last > len(self._files):
            raise SourceUnusable(f"{self._path} holds {len(self._files)} pictures; there is no picture {last}")
        self._next_index = first - 1
        self._files = self._files[:last]
        self._size = SizeGuard()

    def read(self, timeout_s: float) -> Frame:
        index = self._next_index
        if index >= len(self._files):
            raise SourceEnded(f"all pictures of {self._path} were read")
        self._next_index = index + self._every
        path = self._files[index]
        image = self._size.checked(read_picture(path), str(path))
        return Frame(image, index / self._fps, index)

    def close(self) -> None:
        self._files = []


class VideoSource:
    """A video file. Pictures keep the times that the file gives them."""

    live = False

    def __init__(
        self, address: str, *, name: str, fps: float | None, frames: tuple[int, int] | None = None, every: int = 1
    ) -> None:
        """
        Args:
            address: a path, or the address of a file on a web server.
            name: what to call it in messages.
            fps: give no more pictures per second than this; None gives all.
            frames: first and last picture, from 1.
        """
        self._address = address
        self._name = name
        self._fps = fps
        self._frames = frames
        self._every = every
        self._capture: cv2.VideoCapture | None = None

    def open(self) -> None:
        self._check_file()
        capture = cv2.VideoCapture(self._address, cv2.CAP_FFMPEG)
        if not capture.isOpened():
            raise SourceUnusable(f"{self._name} is not a video that can be decoded, or it is damaged")
        self._capture = capture
        self._own_fps = _sane_fps(capture.get(cv2.CAP_PROP_FPS))
        self._promised = max(0, int(capture.get(cv2.CAP_PROP_FRAME_COUNT)))
        self._next_index = 0
        self._due_s = -math.inf
        self._last_s = -math.inf
        self._size = SizeGuard()

    def read(self, timeout_s: float) -> Frame:
        if self._capture is None:
            raise SourceUnusable(f"{self._name} is not open")
        while True:
            index, t_s = self._grab(self._capture)
            if self._is_wanted(index, t_s):
                return Frame(self._retrieve(self._capture), t_s, index)

    def close(self) -> None:
        if self._capture is not None:
            self._capture.release()
            self._capture = None

    def _check_file(self) -> None:
        if "://" in self._address:
            return
        path = Path(self._address)
        if not path.exists():
            raise SourceUnusable(
                f"there is no file or folder {self._name}; a camera's address begins with rtsp:// or http://"
            )
        if path.stat().st_size == 0:
            raise SourceUnusable(f"{self._name} is empty (0 bytes)")

    def _grab(self, capture: cv2.VideoCapture) -> tuple[int, float]:
        """Step to the next picture: its number, from 0, and its time."""
        index = self._next_index
        if self._frames is not None and index >= self._frames[1]:
            raise SourceEnded(f"the last picture asked for of {self._name} was read")
        if not capture.grab():
            self._end(index)
        self._next_index = index + 1
        t_s = float(capture.get(cv2.CAP_PROP_POS_MSEC)) / 1000
        # Some containers give no times, or times that stand still: the rate of the file has to do then.
        if not t_s > self._last_s or (index > 0 and t_s == 0):
            t_s = max(index / self._own_fps, self._last_s + 0.1 / self._own_fps)
        self._last_s = t_s
        return index, t_s

    def _end(self, index: int) -> None:
        """Raise what the end of the pictures means after `index` of them."""
        if index == 0:
            raise SourceUnusable(f"{self._name} holds no picture that can be decoded")
        if self._frames is not None:
            raise SourceUnusable(f"{self._name} holds {index} pictures; there is no picture {self._frames[1]}")
        if self._promised - index > max(2, _MISSING_SHARE * self._promised):
            raise SourceUnusable(
                f"{self._name} is cut off or damaged: it breaks off after {index} of {self._promised} pictures"
            )
        raise SourceEnded(f"{self._name} is over")

    def _is_wanted(self, index: int, t_s: float) -> bool:
        first = self._frames[0] - 1 if self._frames is not None else 0
        if index < first or (index - first) % self._every:
            return False
        if self._fps is None:
            return True
        # A little early is in time: rounded timestamps must not cost every other picture.
        if t_s < self._due_s - 0.25 / self._own_fps:
            return False
        if not math.isfinite(self._due_s):
            self._due_s = t_s
        self._due_s = max(self._due_s + 1 / self._fps, t_s + 1 / self._fps - 1 / self._own_fps)
        return True

    def _retrieve(self, capture: cv2.VideoCapture) -> Image:
        ok, image = capture.retrieve()
        if not ok or image is None:
            raise SourceUnusable(f"{self._name}: picture {self._next_index} cannot be decoded")
        return self._size.checked(as_bgr(image), self._name)


class SizeGuard:
    """Lines are drawn on pictures of one size: a source that changes it in between cannot be counted on."""

    def __init__(self) -> None:
        self._size_px: tuple[int, int] | None = None

    def checked(self, image: Image, name: str) -> Image:
        """The same picture.

        Raises:
            SourceUnusable: its size differs from that of the first one.
        """
        size = image.shape[1], image.shape[0]
        if self._size_px is None:
            self._size_px = size
        elif size != self._size_px:
            width, height = self._size_px
            raise SourceUnusable(
                f"{name}: the picture changed its size from {width}x{height} to {size[0]}x{size[1]}; lines and "
                "zones hold for one size, so open the source again and check them"
            )
        return image


def read_picture(path: Path) -> Image:
    """A picture as 8-bit BGR, whatever it is in the file: grey, 16 bits deep, with transparency, or turned.

    Raises:
        SourceUnusable: it cannot be read, is no picture, or is cut off.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise SourceUnusable(f"{path} cannot be read: {error.strerror}") from error
    if not data:
        raise SourceUnusable(f"{path} is empty (0 bytes)")
    if data[:2] == b"\xff\xd8" and b"\xff\xd9" not in data[-4096:]:
        # The decoder fills the missing part with grey, in which nothing would be found.
        raise SourceUnusable(f"{path} is cut off: it has no end mark")
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error as error:
        raise SourceUnusable(f"{path} cannot be decoded: {error.err}") from error
    if image is None:
        raise SourceUnusable(f"{path} is not a picture that can be decoded, or it is damaged")
    return as_bgr(image)


def as_bgr(image: NDArray[Any]) -> Image:
    """An image of a decoder as (height, width, 3) bytes: cameras may be grey, or 16 bits deep."""
    narrow = np.asarray(image >> 8 if image.dtype == np.uint16 else image, np.uint8)
    if narrow.ndim == 2 or narrow.shape[2] == 1:
        return np.asarray(cv2.cvtColor(narrow, cv2.COLOR_GRAY2BGR), np.uint8)
    return narrow[:, :, :3]


def natural_order(name: str) -> list[tuple[int, str]]:
    """Sort key that puts `2.jpg` before `10.jpg`."""
    parts = re.split(r"(\d+)", name)
    return [(int(part), "") if part.isdigit() else (-1, part.lower()) for part in parts]


def _pictures_in(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    found = (entry for entry in path.iterdir() if entry.suffix.lower() in PICTURE_SUFFIXES and entry.is_file())
    return sorted(found, key=lambda entry: natural_order(entry.name))


def _sane_fps(fps: float) -> float:
    """Files without a rate give 0, NaN, or their time base."""
    return fps if math.isfinite(fps) and 1 <= fps <= 240 else 25.0
