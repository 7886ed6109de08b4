"""Sources that go on whether they are read or not: V4L2, RTSP, HTTP and picamera2. The newest picture wins."""

import logging
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import cv2
from numpy.typing import NDArray

from edge_agent.domain.frames import Frame
from edge_agent.drivers.base import SourceStalled, SourceUnusable
from edge_agent.drivers.sources.diagnosis import why_closed
from edge_agent.drivers.sources.files import SizeGuard, as_bgr
from edge_agent.drivers.sources.mjpeg import MjpegCapture
from edge_agent.drivers.sources.options import SourceOptions
from edge_agent.drivers.sources.picamera import PicameraCapture
from edge_agent.redact import redact

logger = logging.getLogger(__name__)

OPEN_TIMEOUT_S = 10.0
READ_TIMEOUT_S = 10.0
_JOIN_TIMEOUT_S = 2.0


class Capture(Protocol):
    """What is needed of `cv2.VideoCapture`. One thread calls all methods."""

    def isOpened(self) -> bool:
        """Whether there is a camera behind it."""

    def grab(self) -> bool:
        """Wait for the next picture; False: there will be none."""

    def retrieve(self) -> tuple[bool, NDArray[Any] | None]:
        """Decode the picture that was grabbed last."""

    def release(self) -> None:
        """Give the camera back."""


@dataclass(frozen=True, slots=True)
class Opening:
    """How to open a capture, and what to call it in messages."""

    name: str
    open: Callable[[], Capture]
    why_closed: Callable[[], str]
    """What to say when it does not open."""

    @staticmethod
    def device(path: str, options: SourceOptions) -> "Opening":
        """A V4L2 device."""

        def open_device() -> cv2.VideoCapture:
            if not Path(path).exists():
                raise SourceUnusable(f"there is no camera at {path}; is it plugged in, and its driver loaded?")
            capture = cv2.VideoCapture(path, cv2.CAP_V4L2)
            if capture.isOpened():
                # One buffer, else the driver hands out pictures that have waited.
                capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
                request_format(capture, path, options)
            return capture

        mend = "is it a camera, is it in use, and may this user read it (group video)?"
        return Opening(path, open_device, lambda: mend)

    @staticmethod
    def stream(url: str, name: str, options: SourceOptions) -> "Opening":
        """An address. RTSP goes over TCP unless told otherwise."""

        def open_stream() -> Capture:
            if url.lower().startswith("http:"):
                jpegs = MjpegCapture(url, OPEN_TIMEOUT_S)
                if jpegs.is_multipart:
                    return jpegs
                jpegs.release()
            # OpenCV has no other way to say it.
            os.environ["OPENCV_FFMPEG_CAPTURE_OPTIONS"] = f"rtsp_transport;{options.rtsp_transport}"
            timeouts = [
                cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, int(OPEN_TIMEOUT_S * 1000),
                cv2.CAP_PROP_READ_TIMEOUT_MSEC, int(READ_TIMEOUT_S * 1000),
            ]  # fmt: skip
            return cv2.VideoCapture(url, cv2.CAP_FFMPEG, timeouts)

        return Opening(name, open_stream, lambda: redact(why_closed(url)))

    @staticmethod
    def picamera(name: str, number: int, options: SourceOptions) -> "Opening":
        """A camera on a Raspberry Pi's own connector."""
        return Opening(name, lambda: PicameraCapture(number, options), str)


def request_format(capture: cv2.VideoCapture, name: str, options: SourceOptions) -> None:
    """Ask a V4L2 camera for a size and a rate.

    USB carries large uncompressed pictures at a few per second only. So where the camera promises less than the
    rate that is asked for it is asked for JPEGs.

    Raises:
        SourceUnusable: it gives another size: lines would not fit.
    """
    _set_format(capture, options)
    if options.fps and capture.get(cv2.CAP_PROP_FPS) < 0.9 * options.fps:
        capture.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*"MJPG"))
        _set_format(capture, options)
        given_fps = capture.get(cv2.CAP_PROP_FPS)
        if given_fps < 0.9 * options.fps:
            logger.warning(
                "%s promises %g pictures a second, not the %g asked for", name, given_fps, options.fps,
                extra={"action": "camera_slow"},
            )  # fmt: skip
    given_px = int(capture.get(cv2.CAP_PROP_FRAME_WIDTH)), int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT))
    asked_px = options.width_px or given_px[0], options.height_px or given_px[1]
    if given_px != asked_px:
        capture.release()
        raise SourceUnusable(
            f"{name} gives pictures of {given_px[0]}x{given_px[1]}, not of {asked_px[0]}x{asked_px[1]} as asked; "
            "ask for a size that it has (v4l2-ctl --list-formats-ext lists them)"
        )


def _set_format(capture: cv2.VideoCapture, options: SourceOptions) -> None:
    wishes = {
        cv2.CAP_PROP_FRAME_WIDTH: options.width_px,
        cv2.CAP_PROP_FRAME_HEIGHT: options.height_px,
        cv2.CAP_PROP_FPS: options.fps,
    }
    for prop, wish in wishes.items():
        if wish is not None:
            capture.set(prop, wish)


class LiveSource:
    """A camera behind `cv2.VideoCapture`.

    A thread takes every picture off the camera, so that none waits in a buffer and grows old, and decodes one only
    when the reader waits for it: it is the newest then, and pictures that nobody will see cost next to nothing.
    """

    live = True

    def __init__(
        self, opening: Opening, *, fps: float | None, monotonic_s: Callable[[], float] = time.monotonic
    ) -> None:
        """`fps`: give no more pictures per second than this; None gives all there is time for."""
        self._opening = opening
        self._period_s = 1 / fps if fps else 0.0
        self._monotonic_s = monotonic_s
        self._grabber: _Grabber | None = None

    def open(self) -> None:
        self.close()
        capture = self._opening.open()
        if not capture.isOpened():
            raise SourceUnusable(f"{self._opening.name} cannot be opened: {self._opening.why_closed()}")
        self._grabber = _Grabber(capture, self._opening.name, self._period_s, self._monotonic_s)
        self._size = SizeGuard()

    def read(self, timeout_s: float) -> Frame:
        if self._grabber is None:
            raise SourceUnusable(f"{self._opening.name} is not open")
        frame = self._grabber.next(timeout_s)
        self._size.checked(frame.image, self._opening.name)
        return frame

    def close(self) -> None:
        if self._grabber is not None:
            self._grabber.stop()
            self._grabber = None


class _Grabber:
    """The thread that empties a capture. It alone touches the capture once it runs, and releases it at its end."""

    def __init__(self, capture: Capture, name: str, period_s: float, monotonic_s: Callable[[], float]) -> None:
        self._capture = capture
        self._name = name
        self._period_s = period_s
        self._monotonic_s = monotonic_s
        self._changed = threading.Condition()
        self._wanted = False
        self._frame: Frame | None = None
        self._over: str | None = None
        self._stopping = False
        # A daemon: a read that hangs in the driver must not keep the process from ending.
        self._thread = threading.Thread(target=self._run, name="camera-grabber", daemon=True)
        self._thread.start()

    def next(self, timeout_s: float) -> Frame:
        """The first picture that is exposed after this call."""
        with self._changed:
            # One that came after an earlier call had given up is old by now.
            self._frame, self._wanted = None, True
            self._changed.wait_for(self._has_news, timeout_s)
            return self._take(timeout_s)

    def stop(self) -> None:
        """End the thread. One that hangs in the driver is left behind; it releases the capture when it wakes."""
        self._stopping = True
        self._thread.join(_JOIN_TIMEOUT_S)
        if self._thread.is_alive():
            logger.warning(
                "%s hangs in its driver and cannot be closed; it is left behind", self._name,
                extra={"action": "camera_hangs"},
            )  # fmt: skip

    def _has_news(self) -> bool:
        return self._frame is not None or self._over is not None

    def _take(self, waited_s: float) -> Frame:
        frame, self._frame = self._frame, None
        if frame is not None:
            return frame
        if self._over is not None:
            raise SourceUnusable(f"{self._name}: {self._over}")
        raise SourceStalled(f"{self._name} gave no picture for {waited_s:.3g} s")

    def _run(self) -> None:
        index, due_s = -1, self._monotonic_s()
        try:
            while not self._stopping:
                if not self._capture.grab():
                    self._finish("the stream ended or broke off")
                    return
                index += 1
                now_s = self._monotonic_s()
                if self._wanted and now_s >= due_s:
                    due_s = max(due_s, now_s - self._period_s) + self._period_s
                    self._deliver(index, now_s)
        except cv2.error as error:
            self._finish(f"the driver failed: {error.err}")
        finally:
            self._capture.release()

    def _deliver(self, index: int, now_s: float) -> None:
        ok, image = self._capture.retrieve()
        if not ok or image is None:
            # One damaged picture; the next may be whole.
            return
        self._hand_over(Frame(as_bgr(image), now_s, index))

    def _hand_over(self, frame: Frame) -> None:
        with self._changed:
            self._frame, self._wanted = frame, False
            self._changed.notify()

    def _finish(self, reason: str) -> None:
        with self._changed:
            self._over = reason
            self._changed.notify()
