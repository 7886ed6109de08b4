"""What a model is, and how it does on a picture: for people who choose one."""

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from edge_agent.domain.frames import Detections, Image
from edge_agent.drivers.detectors.choices import ModelOptions
from edge_agent.drivers.detectors.metadata import Metadata
from edge_agent.drivers.detectors.onnx import OnnxDetector

_WARM_UP = 2
_RUNS = 7
SHOWN_SCORE = 0.25
"""Weaker detections are not told here: they alone make no vehicle."""


@dataclass(frozen=True, slots=True)
class Trial:
    """One model, tried.

    Attributes:
        kind: its decoder, as a configuration names it.
        normalisation: what it is fed with, likewise.
        ms_by_threads: for one picture, everything included, on this machine while it is as busy as it is.
        found: in the picture.
    """

    family: str
    kind: str
    normalisation: str
    input_size_px: tuple[int, int]
    class_names: tuple[str, ...]
    metadata: Metadata
    ms_by_threads: dict[int, float]
    found: Detections


def try_model(path: Path, picture: Image, threads: Sequence[int], options: ModelOptions | None = None) -> Trial:
    """Load a model and show it a picture, with each number of threads.

    Raises:
        DetectorError: it cannot be used; saying why.
    """
    chosen = options or ModelOptions()
    took_ms: dict[int, float] = {}
    for n in threads:
        detector = OnnxDetector(
            path, classes=None, score_threshold=SHOWN_SCORE, options=replace(chosen, threads=n)
        )
        found = detector.detect(picture)
        took_ms[n] = _median_ms(detector, picture)
        detector.close()
    return Trial(
        family=detector.family,
        kind=detector.kind,
        normalisation=detector.normalisation,
        input_size_px=detector.input_size_px,
        class_names=tuple(detector.class_names),
        metadata=detector.metadata,
        ms_by_threads=took_ms,
        found=found,
    )


def _median_ms(detector: OnnxDetector, picture: Image) -> float:
    times_s = []
    for _ in range(_WARM_UP + _RUNS):
        began_s = time.perf_counter()
        detector.detect(picture)
        times_s.append(time.perf_counter() - began_s)
    return statistics.median(times_s[_WARM_UP:]) * 1000
