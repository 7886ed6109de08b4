"""A detector that looks at a part of the picture only, and asks more or less of some classes."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edge_agent.domain.focus import Focus
from edge_agent.domain.frames import Detections, Image
from edge_agent.domain.geometry import inside_distance_px
from edge_agent.drivers.base import Detector, DetectorError


def focused(detector: Detector, focus: Focus, threshold: float) -> Detector:
    """`detector`, kept to what `focus` says.

    Args:
        detector: tells what it finds from `focus.lowest_score(threshold)` on. It is closed with this one.
        threshold: smallest score of the classes that `focus` does not name.

    Raises:
        DetectorError: `focus` names a class that the model does not know.
    """
    return FocusedDetector(detector, focus, threshold) if focus != Focus() else detector


class FocusedDetector:
    """Gives the detector a part of the picture; boxes come back in pixels of the whole."""

    def __init__(self, detector: Detector, focus: Focus, threshold: float) -> None:
        self._detector = detector
        self._focus = focus
        self._thresholds = _thresholds(detector.class_names, focus, threshold)

    @property
    def class_names(self) -> Sequence[str]:
        return self._detector.class_names

    def detect(self, image: Image) -> Detections:
        found = self._detector.detect(self._part(image))
        if self._focus.crop_px is not None:
            left, top, _, _ = self._focus.crop_px
            boxes = found.boxes_px + np.asarray([left, top, left, top], np.float32)
            found = Detections(boxes, found.scores, found.class_ids, found.class_names)
        keep = self._in_regions(found)
        if self._thresholds is not None:
            keep &= found.scores >= self._thresholds[found.class_ids]
        return found if keep.all() else found.where(keep)

    def close(self) -> None:
        self._detector.close()

    def _part(self, image: Image) -> Image:
        if self._focus.crop_px is None:
            return image
        left, top, right, bottom = self._focus.crop_px
        height, width = image.shape[:2]
        if right > width or bottom > height:
            raise DetectorError(
                f"crop [{left}, {top}, {right}, {bottom}] reaches out of the picture, which is {width}x{height}; "
                "draw it on a picture of this camera"
            )
        return image[top:bottom, left:right]

    def _in_regions(self, found: Detections) -> NDArray[np.bool_]:
        inside = np.full(len(found), not self._focus.regions)
        middles = (found.boxes_px[:, :2] + found.boxes_px[:, 2:]).astype(np.float64) / 2
        for region in self._focus.regions:
            inside |= inside_distance_px(region, middles) >= 0
        return inside


def _thresholds(names: Sequence[str], focus: Focus, threshold: float) -> NDArray[np.float32] | None:
    """Smallest score by class id; None: no class is treated in a way of its own."""
    unknown = sorted(set(focus.scores) - set(names))
    if unknown:
        known = ", ".join(names[:20]) + (", ..." if len(names) > 20 else "")
        raise DetectorError(f"scores names {', '.join(unknown)}, which the model does not know; it knows {known}")
    if not focus.scores:
        return None
    return np.asarray([focus.scores.get(name, threshold) for name in names], np.float32)
