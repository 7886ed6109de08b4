"""What flows through the vision side. Each stage adds facts in a new type; nothing is changed in place.

Pixels are those of the frame as the camera gave it: x to the right, y downwards, (0, 0) the top left corner of
the picture. Times are seconds on one monotonic clock per source, the moment of exposure as well as it is known.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
"""(height, width, 3), BGR."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One picture."""

    image: Image
    t_s: float
    index: int
    """Number of the frame at its source, from 0; skipped frames leave holes."""


@dataclass(frozen=True, slots=True)
class Detections:
    """What a detector found in one frame, in no order.

    Attributes:
        boxes_px: (n, 4) float32: x1, y1, x2, y2 with x1 <= x2 and y1 <= y2.
        scores: (n,) float32 in 0..1.
        class_ids: (n,) int32, indices into `class_names`.
        class_names: all classes that the detector knows.
    """

    boxes_px: NDArray[np.float32]
    scores: NDArray[np.float32]
    class_ids: NDArray[np.int32]
    class_names: Sequence[str]

    def __len__(self) -> int:
        return len(self.scores)

    def where(self, keep: NDArray[Any]) -> "Detections":
        """Those detections that the boolean mask or index array `keep` picks."""
        return Detections(self.boxes_px[keep], self.scores[keep], self.class_ids[keep], self.class_names)

    @staticmethod
    def none(class_names: Sequence[str]) -> "Detections":
        """A frame that was looked at and is empty. Not the same as a frame that was not looked at."""
        return Detections(
            np.empty((0, 4), np.float32), np.empty(0, np.float32), np.empty(0, np.int32), class_names
        )
