"""Whether a camera's picture can be believed: not black, and not the same one again and again.

A sensor always has noise, so a picture of which no pixel changes for many seconds is not live. A coded stream may
repeat a still scene exactly from one key frame to the next, some seconds at most.
"""

import numpy as np
from numpy.typing import NDArray

from common.codes import GapReason
from edge_agent.domain.frames import Image
from edge_agent.domain.measuring import GOOD, Verdict

_STEP_PX = 4
"""Every so many pixels are looked at, each way."""
DARK_LEVEL = 20
"""Of 255: below it lies nearly all of a picture that is black; video black is 16, and sensors have noise."""
_LIT_SHARE = 0.0003
"""A hot pixel of the sensor is no light; a lamp is larger."""
_NOISE_RANGE = 16
UNIFORM_SPREAD = 1.0
"""A picture whose pixels differ by less than this shows nothing, whatever its colour: "no signal" may be blue."""


def shows_nothing(sample: NDArray[np.uint8]) -> bool:
    """Whether `sample`, (h, w, 3), is black or of one colour. A single lamp at night is something."""
    if np.count_nonzero(sample >= DARK_LEVEL) < _LIT_SHARE * sample.size:
        return True
    pixels = sample.reshape(-1, 3)
    if int(np.ptp(pixels, axis=0).max()) > _NOISE_RANGE:
        return False
    return float(pixels.std(axis=0).max()) < UNIFORM_SPREAD


class PictureWatch:
    """Judges frame after frame. Pure: time is an argument, in seconds of the source's clock."""

    def __init__(self, *, black_after_s: float, frozen_after_s: float) -> None:
        self._black_after_s = black_after_s
        self._frozen_after_s = frozen_after_s
        self._sample: NDArray[np.uint8] | None = None
        self._same_since_s = 0.0
        self._black_since_s: float | None = None

    def update(self, image: Image, t_s: float) -> Verdict:
        """What is known of the picture with this frame."""
        sample = image[::_STEP_PX, ::_STEP_PX]
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
