"""What pictures cost before anything looks at them: reading JPEGs over HTTP, masks, turning.

python -m tests.bench.bench_sources
"""

import contextlib
import time
from collections.abc import Callable

import cv2
import numpy as np

from edge_agent.domain.shapes import Zone
from edge_agent.drivers.base import FrameSource
from edge_agent.drivers.sources.live import LiveSource, Opening
from edge_agent.drivers.sources.opening import open_source
from edge_agent.drivers.sources.prepared import Painter
from tests.bench import report
from tests.servers.network_camera import NetworkCamera

SIZE = (1280, 720)
_SECONDS = 8.0
_CAMERA_FPS = 25.0
_LOOKED_AT_FPS = 5.0
_ROUNDS = 200


def main() -> None:
    """All figures."""
    scene = np.random.default_rng(1).integers(0, 255, (45, 80, 3), np.uint8)
    image = np.asarray(cv2.resize(scene, SIZE), np.uint8)
    reading(image)
    preparing(image)


def reading(image: np.ndarray) -> None:
    """Processor time of camera and reader, which share this process: the camera's part is the same in both."""
    with NetworkCamera(picture=lambda _: image, fps=_CAMERA_FPS) as camera:
        url = camera.url
        by_ffmpeg = Opening(url, lambda: cv2.VideoCapture(url, cv2.CAP_FFMPEG), str)
        ffmpeg_s = reading_s(LiveSource(by_ffmpeg, fps=_LOOKED_AT_FPS))
        own_s = reading_s(open_source(url, fps=_LOOKED_AT_FPS))
    share, ffmpeg_share = own_s / _SECONDS, ffmpeg_s / _SECONDS
    report.plain("JPEGs over HTTP, 5 of 25 a second looked at", share, "of a core", f"FFmpeg: {ffmpeg_share:.3g}")
    report.limit("the same, beside FFmpeg in the same run", share / ffmpeg_share, 1.0, "")


def reading_s(source: FrameSource) -> float:
    """Processor seconds of this process, camera included, for some seconds of pictures."""
    with contextlib.closing(source):
        source.open()
        source.read(10.0)
        began_s, until_s = time.process_time(), time.monotonic() + _SECONDS
        while time.monotonic() < until_s:
            source.read(5.0)
        return time.process_time() - began_s


def preparing(image: np.ndarray) -> None:
    """Two masks over a good part of the picture, and a quarter turn, beside the decoding of the picture."""
    width, height = SIZE
    half = Zone("half", ((0, 0), (width / 2, 0), (width / 2, height), (0, height)))
    corner = Zone("corner", ((width, 0), (width, height), (width * 0.7, height)))
    painter = Painter((half, corner), SIZE)
    data = cv2.imencode(".jpg", image)[1]
    decode_s = per_round_s(lambda: cv2.imdecode(data, cv2.IMREAD_COLOR))
    paint_s = per_round_s(lambda: painter.paint(image))
    turn_s = per_round_s(lambda: cv2.rotate(image, cv2.ROTATE_90_CLOCKWISE))
    report.plain("decoding a JPEG", decode_s * 1000, "ms")
    report.limit("two masks, as a share of decoding", paint_s / decode_s, 0.2, "")
    report.limit("a quarter turn, as a share of decoding", turn_s / decode_s, 0.5, "")


def per_round_s(work: Callable[[], object]) -> float:
    """Seconds for one call of `work`."""
    began_s = time.perf_counter()
    for _ in range(_ROUNDS):
        work()
    return (time.perf_counter() - began_s) / _ROUNDS


if __name__ == "__main__":
    main()
