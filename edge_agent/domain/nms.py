"""Non-maximum suppression: of boxes that cover each other, the best one stays."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


def iou_matrix(boxes_px: Floats) -> Floats:
    """Intersection over union of each box with each: (n, 4) -> (n, n). Boxes without area overlap nothing."""
    low = np.maximum(boxes_px[:, None, :2], boxes_px[None, :, :2])
    high = np.minimum(boxes_px[:, None, 2:], boxes_px[None, :, 2:])
    shared = np.clip(high - low, 0, None).prod(axis=2)
    areas = (boxes_px[:, 2:] - boxes_px[:, :2]).prod(axis=1)
    union = areas[:, None] + areas[None, :] - shared
    return np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)


def suppress(boxes_px: Floats, scores: Floats, groups: NDArray[np.int32], iou_limit: float) -> NDArray[np.intp]:
    """Which boxes stay, best first. A box goes when a better one of its group overlaps it by more than the limit.

    Args:
        boxes_px: (n, 4): x1, y1, x2, y2.
        scores: (n,). Of two equal ones the earlier box is the better.
        groups: (n,): the class ids, or all the same to let classes suppress each other.
        iou_limit: 0..1.

    Returns:
        Indices into `boxes_px`.
    """
    order = np.argsort(-scores, kind="stable")
    covers = (iou_matrix(boxes_px[order]) > iou_limit) & (groups[order][:, None] == groups[order][None, :])
    stays = np.ones(len(order), bool)
    for i in range(len(order)):
        if stays[i]:
            stays[i + 1 :] &= ~covers[i, i + 1 :]
    return order[stays]


def suppress_detections(
    boxes_px: Floats, scores: Floats, class_ids: NDArray[np.int32], *, iou_limit: float, twin_iou: float | None
) -> NDArray[np.intp]:
    """Suppress within classes, then the twins that one object has in several.

    A van is often found as `car` and as `truck` at once. Within classes both would stay, and be counted twice; so
    boxes that all but coincide are one object, whatever they are called. A rider and his motorcycle do not
    coincide. `twin_iou` None: classes do not matter at all.
    """
    if twin_iou is None:
        return suppress(boxes_px, scores, np.zeros_like(class_ids), iou_limit)
    kept = suppress(boxes_px, scores, class_ids, iou_limit)
    one_group = np.zeros(len(kept), np.int32)
    return kept[suppress(boxes_px[kept], scores[kept], one_group, twin_iou)]
