"""Non-maximum suppression: of boxes that cover each other, the best one stays.

OpenCV does it. A detector gives some 200 boxes for 20 vehicles, and in numpy the pairs of them cost several times
as much as here.
"""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Places = NDArray[np.intp]

_ANY_SCORE = 0.0


def suppress(boxes_px: Floats, scores: Floats, iou_limit: float) -> Places:
    """Which boxes stay, best first. A box goes when a better one overlaps it by more than the limit.

    Args:
        boxes_px: (n, 4): x1, y1, x2, y2; each has an area.
        scores: (n,), above 0. Of two equal ones the earlier box is the better.
        iou_limit: of intersection over union, 0..1.

    Returns:
        Indices into `boxes_px`.
    """
    return _best(_rectangles(boxes_px), scores, iou_limit)


def suppress_by_class(
    boxes_px: Floats, scores: Floats, class_ids: NDArray[np.int32], *, iou_limit: float, twin_iou: float
) -> Places:
    """Suppress within classes, then the twins that one object has in several.

    A van is often found as `car` and as `truck` at once. Within classes both would stay, and be counted twice; so
    boxes that all but coincide are one object, whatever they are called. A rider and his motorcycle do not
    coincide.
    """
    rectangles = _rectangles(boxes_px)
    kept = _best_by_class(rectangles, scores, class_ids, iou_limit)
    return kept.take(_best(rectangles.take(kept, axis=0), scores.take(kept), twin_iou))


def _rectangles(boxes_px: Floats) -> NDArray[np.float64]:
    """(n, 4): x, y, width, height."""
    rectangles = boxes_px.astype(np.float64)
    rectangles[:, 2:] -= rectangles[:, :2]
    return rectangles


# OpenCV's stubs ask for sequences where it takes arrays as well, and those quicker. For none it gives a tuple.


def _best(rectangles: Any, scores: Any, iou_limit: float) -> Places:
    return np.asarray(cv2.dnn.NMSBoxes(rectangles, scores, _ANY_SCORE, iou_limit), np.intp)


def _best_by_class(rectangles: Any, scores: Any, class_ids: Any, iou_limit: float) -> Places:
    found = cv2.dnn.NMSBoxesBatched(rectangles, scores, class_ids, _ANY_SCORE, iou_limit)
    return np.asarray(found, np.intp)
