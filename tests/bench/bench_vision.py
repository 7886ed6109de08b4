"""Vision per frame: the whole pipeline against the model alone, and what the parts cost.

Figures are CPU time, of the quickest fifth of the frames: other programs on the machine push the cache of short
pieces of work out, and would be measured instead. Both sides of the ratio are taken in turns in one run.
"""

import os
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from edge_agent.counting import Pipeline
from edge_agent.domain.classes import VEHICLES
from edge_agent.domain.frames import Frame, Image
from edge_agent.domain.shapes import Line, Zone
from edge_agent.drivers.detectors.motion import MotionDetector
from edge_agent.drivers.detectors.onnx import OnnxDetector, load_detector
from edge_agent.drivers.sim.source import SceneSource
from tests.bench import report

N = 60
LINE = Line("mid", ((0, 180), (640, 180)))
ZONE = Zone("box", ((100, 200), (540, 200), (540, 340), (100, 340)))


def data_folder() -> Path:
    """Where the real clips and models are."""
    named = os.environ.get("STOPLINE_TEST_DATA")
    return Path(named) if named else Path(__file__).parents[3] / "shared/data"


def took_ms(work: Callable[[], object]) -> float:
    """CPU time of all threads, which does not grow when other programs want the cores too."""
    began_s = time.process_time()
    work()
    return (time.process_time() - began_s) * 1000


def undisturbed(times_ms: list[float]) -> float:
    """The time that a fifth of the frames do not exceed, the first ones left out."""
    return statistics.quantiles(times_ms[5:], n=5)[0]


def pictures(data: Path, last: int = 15 + 6 * N) -> list[Image]:
    """Every sixth picture of the junction: what a Pi sees at 5 a second."""
    found = [cv2.imread(str(data / f"clips/junction/{n:03d}.jpg")) for n in range(16, last + 1, 6)]
    return [np.asarray(image, np.uint8) for image in found if image is not None]


def model_against_pipeline(data: Path, size_px: tuple[int, int]) -> tuple[float, float]:
    """ms of the pipeline's frame, and of `session.run` on the same input, measured in turns."""
    # As a camera process does: OpenCV gets as many threads as the model.
    cv2.setNumThreads(1)
    detector = load_detector(str(data / "models/yolox_nano_416.onnx"), classes=VEHICLES, threads=1)
    assert isinstance(detector, OnnxDetector)
    scale = size_px[0] / 640
    line = Line("mid", ((0, 180 * scale), (640 * scale, 180 * scale)))
    zone = Zone("box", tuple((x * scale, y * scale) for x, y in ZONE.points_px))
    pipeline = Pipeline(detector, [line], [zone])
    whole, alone = [], []
    for number, image in enumerate(pictures(data)):
        frame = Frame(np.asarray(cv2.resize(image, size_px), np.uint8), number / 5, number)
        whole.append(took_ms(partial(pipeline.process, frame)))
        alone.append(took_ms(detector.run_model_again))
    return undisturbed(whole), undisturbed(alone)


def models(data: Path) -> None:
    for size_px in ((640, 360), (1280, 720), (1920, 1080)):
        whole_ms, alone_ms = model_against_pipeline(data, size_px)
        name = f"pipeline per frame / session.run, YOLOX-Nano, {size_px[0]}x{size_px[1]}"
        report.limit(name, whole_ms / alone_ms, 1.15, "x")
        report.plain("  of which the model", alone_ms, "ms")


def motion() -> None:
    street = SceneSource("road", realtime=False)
    shown = [street.picture(100 + t / 15) for t in range(N)]
    detector = MotionDetector()
    report.plain(
        "motion per frame, 640x360",
        undisturbed([took_ms(partial(detector.detect, p)) for p in shown]),
        "ms",
    )


def scenes() -> None:
    for name in ("road", "overhead", "night", "path"):
        street = SceneSource(name, realtime=False)
        street.picture(100.0)
        times = [took_ms(partial(street.picture, 100 + t / 7)) for t in range(N)]
        report.limit(f"drawing one picture of sim:{name}", undisturbed(times), 5.0, "ms")


def main() -> None:
    data = data_folder()
    if data.is_dir():
        models(data)
    else:
        print(f"not measured: no real clips and models at {data}")
    motion()
    scenes()


if __name__ == "__main__":
    main()
