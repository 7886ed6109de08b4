"""Whether two models are the same detector at two input sizes: both are shown one scene, pixel for pixel."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from edge_agent.domain.frames import Detections, Image
from edge_agent.drivers.base import DetectorError
from edge_agent.drivers.detectors.choices import ModelOptions
from edge_agent.drivers.detectors.onnx import OnnxDetector

_SURE_SCORE = 0.3
_SAME_IOU = 0.75
_MOST = 0.6
"""Share of what one finds that the other finds as well: the input's edge is elsewhere, which changes a little."""
_FILL = 114


def check_likeness(path: Path, other: Path, pictures: Sequence[Image], options: ModelOptions) -> None:
    """Compare what two models find where neither shrinks the pictures more than the other.

    Raises:
        DetectorError: they are not the same; or nothing is found in the pictures, so that it cannot be told.
    """
    first = OnnxDetector(path, classes=None, score_threshold=_SURE_SCORE, options=options)
    try:
        second = OnnxDetector(other, classes=None, score_threshold=_SURE_SCORE, options=options)
    except DetectorError as error:
        raise DetectorError(
            f"it is bound to its own size; export it for the one that is wanted, or choose another model ({error})"
        ) from error
    sizes = first.input_size_px, second.input_size_px
    most_px = min(size[0] for size in sizes), min(size[1] for size in sizes)
    n_first = n_second = n_alike = 0
    for picture in pictures:
        patch = _shrunk(picture, most_px)
        found, again = (one.detect(_in_corner(patch, one.input_size_px)) for one in (first, second))
        n_first, n_second = n_first + len(found), n_second + len(again)
        n_alike += sum(_is_in(found, row, again) for row in range(len(found)))
    if not n_first:
        raise DetectorError(
            "nothing is found in this picture, so it cannot be told whether it still works; give one that shows "
            "traffic with --picture"
        )
    if n_alike < _MOST * max(n_first, n_second):
        raise DetectorError(
            f"of {n_first} objects that it finds in a picture it finds {n_alike} at that size, {n_second} in all. "
            "Try a picture of your own street with --picture, or export the model for that size"
        )


def _shrunk(picture: Image, most_px: tuple[int, int]) -> Image:
    height, width = picture.shape[:2]
    ratio = min(most_px[0] / width, most_px[1] / height)
    size_px = max(1, round(width * ratio)), max(1, round(height * ratio))
    return np.asarray(cv2.resize(picture, size_px, interpolation=cv2.INTER_AREA), np.uint8)


def _in_corner(patch: Image, size_px: tuple[int, int]) -> Image:
    """A picture of exactly the model's size, so that it is not scaled."""
    whole = np.full((size_px[1], size_px[0], 3), _FILL, np.uint8)
    whole[: patch.shape[0], : patch.shape[1]] = patch
    return whole


def _is_in(found: Detections, row: int, others: Detections) -> bool:
    box = found.boxes_px[row]
    sides = np.minimum(others.boxes_px[:, 2:], box[2:]) - np.maximum(others.boxes_px[:, :2], box[:2])
    shared = np.maximum(sides, 0).prod(axis=1)
    areas = (others.boxes_px[:, 2:] - others.boxes_px[:, :2]).prod(axis=1) + (box[2:] - box[:2]).prod() - shared
    same = (shared > _SAME_IOU * areas) & (others.class_ids == found.class_ids[row])
    return bool(same.any())
