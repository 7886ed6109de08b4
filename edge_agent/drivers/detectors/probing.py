"""Whether a model is sound: it is shown some pictures before the first real one, and what it says is judged.

A model that is broken often says nothing at all, which would be taken for an empty street.
"""

from collections.abc import Callable, Iterator, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_agent.domain.frames import Image
from edge_agent.drivers.base import DetectorError
from edge_agent.drivers.detectors.decoders.base import Decoder, Floats, Outputs

PROBE_SIZE_PX = (320, 192)
_VEHICLES = ((60, 120, 70, (40, 40, 170)), (190, 100, 46, (200, 200, 200)), (150, 72, 24, (30, 30, 30)))
"""Left edge, top and length in pixels, and paint."""
MANY_IN_NOISE = 10
"""A model that finds so many things in noise is not right, or not fed rightly."""
_FEW_IN_NOISE = 2
"""What a model that is fed rightly may find there. One that learnt from drawings finds more, however it is fed."""
_NOISE_SCORE = 0.1
_WAVER_SCORE = 0.01


def noise() -> Image:
    """A picture of nothing, in which a sound model finds next to nothing."""
    width, height = PROBE_SIZE_PX
    return np.random.default_rng(3).integers(0, 256, (height, width, 3), dtype=np.uint8)


def drawn_street() -> Image:
    """A plain drawing: sky, a road, some vehicles as boxes with windows and wheels."""
    width, height = PROBE_SIZE_PX
    picture = np.full((height, width, 3), (190, 170, 150), np.uint8)
    picture[height // 3 :] = (70, 110, 80)
    road = np.asarray([(width * 2 // 5, height // 3), (width * 3 // 5, height // 3), (width, height), (0, height)])
    cv2.fillPoly(picture, [road.astype(np.int32)], (90, 90, 90))
    for x, y, size, paint in _VEHICLES:
        cv2.rectangle(picture, (x, y), (x + size, y + size // 2), paint, -1)
        cv2.rectangle(picture, (x + size // 5, y - size // 4), (x + 4 * size // 5, y + size // 8), paint, -1)
        cv2.rectangle(picture, (x + size // 4, y - size // 5), (x + 3 * size // 4, y), (60, 50, 40), -1)
        for wheel in (x + size // 5, x + 4 * size // 5):
            cv2.circle(picture, (wheel, y + size // 2), max(2, size // 8), (15, 15, 15), -1)
    return picture


def more_pictures() -> Iterator[Image]:
    """Others, for a model that is under suspicion: stripes, coarse noise, the street enlarged and inverted."""
    width, height = PROBE_SIZE_PX
    stripes = np.zeros((height, width, 3), np.uint8)
    stripes[:, ::16], stripes[::16] = 255, 255
    yield stripes
    coarse = np.random.default_rng(5).integers(0, 256, (height // 24, width // 24, 3), dtype=np.uint8)
    yield np.asarray(cv2.resize(coarse, PROBE_SIZE_PX), np.uint8)
    street = drawn_street()
    yield np.ascontiguousarray(street[60:180, 40:240])
    yield 255 - street


def judge(decoder: Decoder, runs: Sequence[Outputs], more_runs: Callable[[], Iterator[Outputs]]) -> None:
    """Refuse a model that cannot be sound.

    Args:
        runs: what it gave for pictures that differ as much as pictures can.
        more_runs: what it gives for others; asked for only if `runs` leave a suspicion.

    Raises:
        DetectorError: NaN, the same for every picture, or not one score that differs from the others.
    """
    for outputs in runs:
        if any(_has_nan(output) for output in outputs):
            raise DetectorError("the model gives numbers that are none (NaN); the file, or its export, is broken")
    if decoder.rates_everything:
        if all(_same(outputs, runs[0]) for outputs in runs[1:]):
            raise DetectorError(
                "the model gives the same output for every picture, whatever it shows; its quantisation or its "
                "export is broken"
            )
        scores = [_scores(decoder, outputs) for outputs in runs]
        if _says_nothing(scores):
            scores += [_scores(decoder, outputs) for outputs in more_runs()]
        if _says_nothing(scores):
            value = float(scores[0][0]) if scores[0].size else 0.0
            raise DetectorError(
                f"the model gives every place of every picture the same score, {value:.3g}: it would never find "
                "anything; its quantisation is probably broken, so take the float32 file"
            )


def n_in_noise(decoder: Decoder, runs: Sequence[Outputs]) -> int:
    """How many things a model found in noise. `runs`: for an empty picture, for noise, for the drawn street."""
    return int(np.count_nonzero(_scores(decoder, runs[1]) >= _NOISE_SCORE))


def is_fed_better(n_before: int, decoder: Decoder, runs: Sequence[Outputs]) -> bool:
    """Whether `runs`, with the pictures fed in another way, speak for that way.

    Fed with numbers that are far too large, a model finds a lot where nothing is: `n_before` in noise. Fed with
    far too small ones, it sees black and finds nothing, not even a little; so the other way has to give it
    something to waver about.
    """
    wavers = max(float(_scores(decoder, outputs).max(initial=0.0)) for outputs in runs[1:]) >= _WAVER_SCORE
    return n_in_noise(decoder, runs) <= min(_FEW_IN_NOISE, n_before // 10) and wavers


def _scores(decoder: Decoder, outputs: Outputs) -> Floats:
    return decoder.decode(outputs, 0.0).scores


def _says_nothing(scores: Sequence[Floats]) -> bool:
    together = np.concatenate(scores)
    return together.size == 0 or float(np.ptp(together)) == 0.0


def _has_nan(output: NDArray[np.generic]) -> bool:
    return bool(np.issubdtype(output.dtype, np.floating) and np.isnan(output).any())


def _same(one: Outputs, other: Outputs) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))
