"""A detector that looks at a part of the picture only."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edge_agent.domain.focus import Focus
from edge_agent.domain.frames import Detections, Image
from edge_agent.domain.geometry import inside_distance_px
from edge_agent.drivers.base import Detector, DetectorError


def focused(detector: Detector, focus: Focus) -> Detector:
    """`detector`, kept to what `focus` says.

    Args:
        detector: it is closed with this one.

    Raises:
        DetectorError: `focus` names a class that the model does not know.
    """
    return FocusedDetector(detector, focus) if focus != Focus() else detector


class FocusedDetector:
    """Gives the detector a part of the picture; boxes come back in pixels of the whole."""

    def __init__(self, detector: Detector, focus: Focus) -> None:
        self._detector = detector
        self._focus = focus
        _check_scores(focus, detector.class_names)

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


def _check_scores(focus: Focus, names: Sequence[str]) -> None:
    unknown = sorted(set(focus.scores) - set(names))
    if unknown:
        known = ", ".join(names[:20]) + (", ..." if len(names) > 20 else "")
        raise DetectorError(f"scores names {', '.join(unknown)}, which the model does not know; it knows {known}")
