"""Which model for which machine: what a picture costs by model, input size and threads, and what is counted.

Times are of this machine, of the quickest fifth of the pictures. With one thread it is processor time, which other
programs hardly change; with more it is the clock on the wall, and nothing else should run. Look at the ratios
between the rows, and run it on your own Pi. Counts are of the junction clip, whose truth was read by eye, at every
sixth of its 30 pictures a second, which is about what a Pi 4 manages. One clip is not a city.
"""

import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import onnx

from common.codes import Direction
from edge_agent.counting import Pipeline
from edge_agent.domain.classes import VEHICLES
from edge_agent.domain.frames import Frame, Image
from edge_agent.domain.shapes import Line
from edge_agent.drivers.base import Detector
from edge_agent.drivers.detectors.motion import MotionDetector
from edge_agent.drivers.detectors.onnx import OnnxDetector, load_detector
from edge_agent.models.store import model_path
from tests.bench.bench_vision import data_folder, pictures, undisturbed

THREADS = (1, 2, 3, 4)
TRUTH = "21 + 24"
PER_S = 5
LINE = Line("mid", ((0, 180), (640, 180)))
OTHER_SIZES = ((416, 256), (320, 320), (320, 192), (256, 160))
"""Sizes that YOLOX-Nano is set to beside its own. The pictures are 640x360: a wide input has less to fill up."""
_TIMED = 30


def models(data: Path, folder: Path) -> Iterator[Path]:
    """The one that ships, those at hand, and YOLOX-Nano for other input sizes."""
    yield model_path("bundled")
    for path in sorted((data / "models").glob("*.onnx")):
        yield path
        if path.stem.startswith("yolox_nano"):
            yield from (resized(path, size_px, folder) for size_px in OTHER_SIZES)


def resized(path: Path, size_px: tuple[int, int], folder: Path) -> Path:
    """The same model for an input of another size, which its layers allow."""
    model = onnx.load(str(path))
    sides = model.graph.input[0].type.tensor_type.shape.dim
    sides[3].dim_value, sides[2].dim_value = size_px
    for output in model.graph.output:
        output.type.tensor_type.ClearField("shape")
    del model.graph.value_info[:]
    target = folder / f"{path.stem}_as_{size_px[0]}x{size_px[1]}.onnx"
    onnx.save(model, str(target))
    return target


def picture_ms(detector: Detector, shown: list[Image], threads: int) -> float:
    """For one picture, from the picture to the boxes."""
    clock_s = time.process_time if threads == 1 else time.perf_counter
    times_ms = []
    for image in shown[:_TIMED]:
        began_s = clock_s()
        detector.detect(image)
        times_ms.append((clock_s() - began_s) * 1000)
    return undisturbed(times_ms)


def counted(detector: Detector, shown: list[Image]) -> str:
    """How many went in (down) and out (up), and in all."""
    pipeline = Pipeline(detector, [LINE], [])
    crossings = []
    for number, image in enumerate(shown):
        crossings += pipeline.process(Frame(image, number / PER_S, number)).crossings
    crossings += pipeline.finish(len(shown) / PER_S).crossings
    n_in = sum(crossing.direction is Direction.IN for crossing in crossings)
    return f"{n_in:>3} + {len(crossings) - n_in:<3} = {len(crossings)}"


def loaded(path: Path, threads: int) -> OnnxDetector:
    """As a camera process loads it: OpenCV gets as many threads as the model."""
    cv2.setNumThreads(threads)
    detector = load_detector(str(path), classes=VEHICLES, threads=threads)
    assert isinstance(detector, OnnxDetector)
    return detector


def row(path: Path, shown: list[Image], every: list[Image], n_cores: int) -> str:
    """One line of the table."""
    detector, times = loaded(path, 1), []
    for threads in THREADS:
        if threads > n_cores:
            times.append(f"{'-':>14}")
            continue
        detector = loaded(path, threads)
        times.append(timed(detector, shown, threads))
    size = "x".join(map(str, detector.input_size_px))
    mb = path.stat().st_size / 1e6
    name = "bundled" if path == model_path("bundled") else path.stem[:34]
    return f"{name:<34} {mb:>5.1f} {size:<8} {' '.join(times)}   {counted(detector, every)}"


def timed(detector: Detector, shown: list[Image], threads: int) -> str:
    """One field of the table: ms for a picture, and how many a second that makes."""
    ms = picture_ms(detector, shown, threads)
    return f"{ms:>7.1f} {1000 / ms:>6.1f}"


def motion_row(shown: list[Image], every: list[Image]) -> str:
    """The line of what needs no model. It learns the street first, and counts all that moves."""
    cv2.setNumThreads(1)
    times = [timed(MotionDetector(), shown, 1), *[f"{'-':>14}"] * (len(THREADS) - 1)]
    return f"{'motion (no model)':<34} {'-':>5} {'-':<8} {' '.join(times)}   {counted(MotionDetector(), every)}"


def main() -> None:
    data = data_folder()
    if not data.is_dir():
        print(f"NOT MEASURED: no real clips and models at {data}; STOPLINE_TEST_DATA names their folder")
        return
    n_cores = len(os.sched_getaffinity(0))
    shown = pictures(data)
    every = pictures(data, last=452)
    print(f"{n_cores} cores. Per number of threads: ms for a picture of 640x360, and pictures a second")
    heads = " ".join(f"{f'{n} threads' if n > 1 else '1 thread':>14}" for n in THREADS)
    print(f"{'model':<34} {'MB':>5} {'sees':<8} {heads}   counted, truth {TRUTH} = 45")
    with tempfile.TemporaryDirectory() as folder:
        print(motion_row(shown, every), flush=True)
        for path in models(data, Path(folder)):
            print(row(path, shown, every, n_cores), flush=True)


if __name__ == "__main__":
    main()
