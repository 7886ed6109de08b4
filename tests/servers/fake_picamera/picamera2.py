"""Stands in for Raspberry Pi's `picamera2` in a process that has this folder on its path.

It takes what the real one takes, refuses what that refuses, and runs out of buffers as that does. Its pictures are
a still scene with noise, 20 a second, with a mark at the top left: blue, as bytes 255, 0, 0.
`STOPLINE_FAKE_PICAMERA` may say `none` (no camera is there), `busy`, `breaks` (the tenth picture fails),
`breaks and hangs` (and then the process does not end, as when a driver holds it) or `hangs` (the tenth picture
never comes).
"""

import atexit
import os
import time
from typing import Any, ClassVar

import numpy as np

if os.environ.get("STOPLINE_FAKE_PICAMERA") == "breaks and hangs":
    atexit.register(lambda: time.sleep(3600))

_SCENE = np.random.default_rng(2).integers(60, 200, (1080, 1920, 3), np.uint8)


def _behaviour() -> str:
    return os.environ.get("STOPLINE_FAKE_PICAMERA", "")


class Request:
    """One completed picture; its buffer is the camera's until `release`."""

    def __init__(self, camera: "Picamera2") -> None:
        self._camera: Picamera2 | None = camera
        width, height = camera.config["main"]["size"]
        self._picture = _SCENE[:height, :width] + np.uint8(np.random.default_rng().integers(0, 20))
        self._picture[:8, :8] = (255, 0, 0)

    def make_array(self, name: str) -> np.ndarray[Any, Any]:
        assert self._camera is not None, "the buffer was given back"
        assert name == "main"
        return self._picture

    def get_metadata(self) -> dict[str, Any]:
        return {"SensorTimestamp": time.clock_gettime_ns(time.CLOCK_BOOTTIME)}

    def release(self) -> None:
        assert self._camera is not None, "released twice"
        self._camera.n_lent -= 1
        self._camera = None


class Picamera2:
    """As the real one; opening a camera twice is refused."""

    in_use: ClassVar[set[int]] = set()

    def __init__(self, camera_num: int = 0) -> None:
        if camera_num in self.in_use or _behaviour() == "busy":
            raise RuntimeError("Camera __init__ sequence did not complete.")
        self.in_use.add(camera_num)
        self._number = camera_num
        self.config: dict[str, Any] = {}
        self.n_lent = 0
        self._n_given = 0
        self._started = False

    @staticmethod
    def global_camera_info() -> list[dict[str, Any]]:
        return [] if _behaviour() == "none" else [{"Model": "imx708", "Num": 0}]

    def create_video_configuration(
        self, main: dict[str, Any], buffer_count: int = 6, controls: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        assert main["format"] == "RGB888"
        assert set(controls or {}) <= {"FrameRate"}
        return {"main": main, "buffer_count": buffer_count, "controls": controls or {}}

    def configure(self, camera_config: dict[str, Any]) -> None:
        if self._started:
            raise RuntimeError("Camera must be stopped before configuring")
        self.config = camera_config

    def start(self) -> None:
        if not self.config:
            raise RuntimeError("Camera has not been configured")
        self._started = True

    def capture_request(self) -> Request:
        if not self._started:
            raise RuntimeError("Camera has not been started")
        self._n_given += 1
        if _behaviour().startswith("breaks") and self._n_given > 10:
            raise RuntimeError("Camera frontend has timed out!")
        while _behaviour() == "hangs" and self._n_given > 10:
            time.sleep(1)
        self.n_lent += 1
        if self.n_lent >= self.config["buffer_count"]:
            raise AssertionError("all buffers are lent: the real one would wait for ever")
        time.sleep(1 / self.config["controls"].get("FrameRate", 20.0))
        return Request(self)

    def stop(self) -> None:
        self._started = False

    def close(self) -> None:
        self.stop()
        self.in_use.discard(self._number)
