"""Whether a camera's picture can be believed: not black, and not the same one again and again.

A sensor always has noise, so a picture of which no pixel changes for many seconds is not live. A coded stream may
repeat a still scene exactly from one key frame to the next, some seconds at most.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from common.codes import GapReason
from edge_agent.domain.frames import Image
from edge_agent.domain.geometry import inside_distance_px
from edge_agent.domain.measuring import GOOD, Verdict
from edge_agent.domain.shapes import Zone

_STEP_PX = 4
"""Every so many pixels are looked at, each way."""
DARK_LEVEL = 20
"""Of 255: below it lies nearly all of a picture that is black; video black is 16, and sensors have noise."""
_LIT_SHARE = 0.0003
"""A hot pixel of the sensor is no light; a lamp is larger."""
_NOISE_RANGE = 16
_PAINT_EDGE_PX = 2.0
"""So far from a mask's border a pixel may be painted or not."""
UNIFORM_SPREAD = 1.0
"""A picture whose pixels differ by less than this shows nothing, whatever its colour: "no signal" may be blue."""


def shows_nothing(sample: NDArray[np.uint8]) -> bool:
    """Whether `sample`, (h, w, 3) or (n, 3), is black or of one colour. A single lamp at night is something."""
    if np.count_nonzero(sample >= DARK_LEVEL) < _LIT_SHARE * sample.size:
        return True
    pixels = sample.reshape(-1, 3)
    if int(np.ptp(pixels, axis=0).max()) > _NOISE_RANGE:
        return False
    return float(pixels.std(axis=0).max()) < UNIFORM_SPREAD


class PictureWatch:
    """Judges frame after frame. Pure: time is an argument, in seconds of the source's clock."""

    def __init__(self, *, black_after_s: float, frozen_after_s: float, masks: Sequence[Zone] = ()) -> None:
        """`masks`: what is painted over in the pictures; it tells nothing of the camera."""
        self._masks = masks
        self._open: NDArray[np.bool_] | None = None
        self._black_after_s = black_after_s
        self._frozen_after_s = frozen_after_s
        self._sample: NDArray[np.uint8] | None = None
        self._same_since_s = 0.0
        self._black_since_s: float | None = None

    def update(self, image: Image, t_s: float) -> Verdict:
        """What is known of the picture with this frame."""
        sample = self._unmasked(image[::_STEP_PX, ::_STEP_PX])
        unchanged = self._sample is not None and np.array_equal(sample, self._sample)
        if not unchanged:
            # A copy, since a view would keep the whole picture alive, or see the next one in a driver's buffer.
            self._sample, self._same_since_s = sample.copy(), t_s
            self._note_black(sample, t_s)
        if self._black_since_s is not None:
            bad = t_s - self._black_since_s >= self._black_after_s
            return Verdict(GapReason.CAMERA_BLACK if bad else None, self._black_since_s)
        if not unchanged:
            return GOOD
        bad = t_s - self._same_since_s >= self._frozen_after_s
        return Verdict(GapReason.CAMERA_FROZEN if bad else None, self._same_since_s)

    def _note_black(self, sample: NDArray[np.uint8], t_s: float) -> None:
        if not shows_nothing(sample):
            self._black_since_s = None
        elif self._black_since_s is None:
            self._black_since_s = t_s

    def _unmasked(self, sample: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The pixels of `sample`, (h, w, 3), that are not painted over; (n, 3) where there are masks."""
        if not self._masks:
            return sample
        if self._open is None or self._open.shape != sample.shape[:2]:
            self._open = _outside(self._masks, (sample.shape[0], sample.shape[1]))
        return np.asarray(sample[self._open], np.uint8)


def _outside(masks: Sequence[Zone], shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Which of the pixels that are looked at lie in no mask, (h, w); all, if that leaves none."""
    outside = np.ones(shape, np.bool_)
    columns = np.arange(shape[1], dtype=np.float64)
    # Row by row, since all at once would take many times the memory of the picture.
    for row in range(shape[0]):
        points_px = np.stack([columns, np.full(shape[1], float(row))], axis=1) * _STEP_PX
        for mask in masks:
            outside[row] &= inside_distance_px(mask, points_px) < -_PAINT_EDGE_PX
    return outside if outside.any() else np.ones(shape, np.bool_)
