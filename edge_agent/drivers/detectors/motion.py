"""The `motion` detector: finds what moves before a still background. Needs no model, tells no classes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_agent.domain.classes import MOVING_OBJECT
from edge_agent.domain.frames import Detections, Image
from edge_agent.drivers.detectors.background import OBJECT, Background, BackgroundParams

Mask = NDArray[np.uint8]
Ints = NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class MotionParams:
    """How motion becomes objects. The defaults suit a fixed camera over a street.

    Attributes:
        work_width_px: pictures wider than this are shrunk first.
        min_area_share: smallest object, as a share of the picture.
        bridge_share: parts that are no further apart than this share of the picture's width are one object.
        one_share: an area that fills so much of its convex outline is one object, shadow or not.
        sure_share: an area of which so much cannot be shadow is not taken for one dark object.
    """

    work_width_px: int = 320
    min_area_share: float = 0.0008
    bridge_share: float = 0.012
    sure_share: float = 0.5
    one_share: float = 1.0


class MotionDetector:
    """Objects are connected areas that differ from the background (see `background`).

    The first picture is all background, and so is the first one of another size: nothing is found in it.
    """

    _CLASSES = (MOVING_OBJECT,)

    def __init__(self, params: MotionParams | None = None, background: BackgroundParams | None = None) -> None:
        self._params = params or MotionParams()
        self._background_params = background or BackgroundParams()
        self._size_px: tuple[int, int] | None = None

    @property
    def class_names(self) -> Sequence[str]:
        return self._CLASSES

    def detect(self, image: Image) -> Detections:
        height, width = image.shape[:2]
        if self._size_px != (width, height):
            self._start_over((width, height))
        levels = self._background.foreground(self._shrunk(image))
        boxes, scores = self._objects(levels)
        scale = np.asarray([width / levels.shape[1], height / levels.shape[0]] * 2, np.float32)
        return Detections(boxes * scale, scores, np.zeros(len(boxes), np.int32), self._CLASSES)

    def close(self) -> None:
        self._size_px = None

    def _start_over(self, size_px: tuple[int, int]) -> None:
        self._size_px = size_px
        ratio = min(1.0, self._params.work_width_px / size_px[0])
        self._work_px = max(1, round(size_px[0] * ratio)), max(1, round(size_px[1] * ratio))
        bridge = max(3, round(self._work_px[0] * self._params.bridge_share)) | 1
        self._open_kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (3, 3))
        self._bridge_kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (bridge, bridge))
        self._background = Background(self._background_params)

    def _shrunk(self, image: Image) -> Image:
        if (image.shape[1], image.shape[0]) == self._work_px:
            return image
        return np.asarray(cv2.resize(image, self._work_px, interpolation=cv2.INTER_AREA), np.uint8)

    def _solid(self, mask: NDArray[np.bool_]) -> Mask:
        """Without specks, and with the parts of one object joined."""
        opened = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_OPEN, self._open_kernel)
        return np.asarray(cv2.morphologyEx(opened, cv2.MORPH_CLOSE, self._bridge_kernel), np.uint8)

    def _objects(self, levels: Mask) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Boxes (n, 4) in pixels of `levels`, and how well each is filled, as its score.

        A grey car on grey asphalt looks like a shadow but for its lamps and windows; a white one throws a shadow
        that may join it to the next. So where most of an area may be shadow it is one dark object, if it holds
        anything else at all; where little is, the shadow is left out, and what remains may be several.
        """
        areas, labels = _areas(self._solid(levels > 0), self._min_area_px(levels))
        sure = self._solid(levels == OBJECT)
        sure_px = np.bincount(labels.ravel(), sure.ravel(), minlength=int(labels.max()) + 1)
        found: list[NDArray[np.int32]] = []
        for number, area in areas:
            share = sure_px[number] / area[cv2.CC_STAT_AREA]
            if share >= self._params.sure_share and not self._is_one(area, number, labels):
                found += self._parts(area, number, labels, sure)
            elif share >= self._params.sure_share / 5:
                found.append(area)
        stats = np.asarray(found, np.float32).reshape(-1, 5)
        boxes = np.hstack([stats[:, :2], stats[:, :2] + stats[:, 2:4]])
        filled = stats[:, cv2.CC_STAT_AREA] / np.maximum(1, stats[:, 2] * stats[:, 3])
        return boxes, np.clip(0.5 + filled / 2, 0, 1).astype(np.float32)

    def _is_one(self, area: NDArray[np.int32], number: int, labels: Ints) -> bool:
        """Whether an area has the full, convex outline of one vehicle. One with its shadow has a corner."""
        x, y, width, height, area_px = (int(value) for value in area)
        inside = (labels[y : y + height, x : x + width] == number).astype(np.uint8)
        outlines, _ = cv2.findContours(inside, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
        hull_px = cv2.contourArea(cv2.convexHull(max(outlines, key=cv2.contourArea)))
        return area_px >= self._params.one_share * max(1.0, hull_px)

    def _parts(self, area: NDArray[np.int32], number: int, labels: Ints, sure: Mask) -> list[NDArray[np.int32]]:
        """The objects of one area, without its shadows."""
        x, y, width, height, area_px = (int(value) for value in area)
        window = np.s_[y : y + height, x : x + width]
        inside = np.where(labels[window] == number, sure[window], np.uint8(0))
        parts, _ = _areas(inside, max(self._min_area_px(labels), 0.1 * area_px))
        return [part + np.asarray([x, y, 0, 0, 0], np.int32) for _, part in parts]

    def _min_area_px(self, picture: NDArray[Any]) -> float:
        return self._params.min_area_share * picture.size


def _areas(mask: Mask, min_area_px: float) -> tuple[list[tuple[int, NDArray[np.int32]]], Ints]:
    """Large connected areas as number and (x, y, width, height, pixels), and the number of each pixel."""
    n, labels, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    large = [number for number in range(1, n) if stats[number, cv2.CC_STAT_AREA] >= min_area_px]
    return [(number, np.asarray(stats[number], np.int32)) for number in large], np.asarray(labels, np.int32)
