"""The Raspberry Pi's own cameras, by way of `picamera2`, which comes with Raspberry Pi OS and not from PyPI."""

import importlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_agent.drivers.base import SourceUnusable
from edge_agent.drivers.sources.options import SourceOptions

DEFAULT_SIZE_PX = (1280, 720)
_FORMAT = "RGB888"
"""Named after the order of the bits in a word: as bytes in memory it is blue, green, red."""
_BUFFERS = 3


class PicameraCapture:
    """One camera, in the manner of `cv2.VideoCapture`: `grab` waits for a picture, `retrieve` gives it.

    Raises:
        SourceUnusable: with what to do about it.
    """

    def __init__(self, number: int, options: SourceOptions) -> None:
        picamera2 = _module()
        found = picamera2.Picamera2.global_camera_info()
        if number >= len(found):
            raise SourceUnusable(
                f"there is no camera {number} on this Raspberry Pi, it has {len(found)}; see rpicam-hello "
                "--list-cameras, and whether the ribbon cable sits firmly"
            )
        self._request: Any = None
        try:
            self._camera = picamera2.Picamera2(number)
            self._start(options)
        except (RuntimeError, OSError, IndexError, ValueError) as error:
            self.release()
            raise SourceUnusable(
                f"camera {number} does not start: {error}; is another program using it?"
            ) from error

    def _start(self, options: SourceOptions) -> None:
        size = options.width_px or DEFAULT_SIZE_PX[0], options.height_px or DEFAULT_SIZE_PX[1]
        controls = {"FrameRate": options.fps} if options.fps else {}
        self._camera.configure(
            self._camera.create_video_configuration(
                main={"size": size, "format": _FORMAT}, buffer_count=_BUFFERS, controls=controls
            )
        )
        self._camera.start()

    def isOpened(self) -> bool:
        """Always, since it would not have been made else."""
        return True

    def grab(self) -> bool:
        """Wait for the next picture. False: the camera is gone."""
        self._give_back()
        try:
            self._request = self._camera.capture_request()
        except (RuntimeError, OSError, TimeoutError):
            return False
        return self._request is not None

    def retrieve(self) -> tuple[bool, NDArray[Any] | None]:
        """The picture that was grabbed; a copy, since the camera wants its buffer back."""
        if self._request is None:
            return False, None
        image = np.array(self._request.make_array("main"))
        self._give_back()
        return True, image

    def release(self) -> None:
        """Give the camera back. May be called twice."""
        self._give_back()
        camera, self._camera = getattr(self, "_camera", None), None
        if camera is not None:
            camera.close()

    def _give_back(self) -> None:
        request, self._request = self._request, None
        if request is not None:
            request.release()


def _module() -> Any:
    """`picamera2`, imported only when it is wanted: it is on no other machine."""
    try:
        return importlib.import_module("picamera2")
    except ImportError as error:
        raise SourceUnusable(
            "picamera2 is not installed for this Python: sudo apt install python3-picamera2, and make the virtual "
            f"environment with --system-site-packages ({error})"
        ) from error
