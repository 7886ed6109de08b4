"""Non-maximum suppression: of boxes that cover each other, the best one stays."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


def iou_matrix(boxes_px: Floats) -> Floats:
    """Intersection over union of each box with each: (n, 4) -> (n, n). Boxes without area overlap nothing."""
    x1, y1, x2, y2 = np.ascontiguousarray(boxes_px.T)
    shared = np.maximum(np.minimum.outer(x2, x2) - np.maximum.outer(x1, x1), 0)
    shared *= np.maximum(np.minimum.outer(y2, y2) - np.maximum.outer(y1, y1), 0)
    areas = (x2 - x1) * (y2 - y1)
    union = np.add.outer(areas, areas)
    union -= shared
    return np.asarray(np.divide(shared, union, out=np.zeros_like(shared), where=union > 0), np.float32)


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
    ordered = groups[order]
    return order[_best(iou_matrix(boxes_px[order]) > iou_limit, np.equal.outer(ordered, ordered))]


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
    order = np.argsort(-scores, kind="stable")
    overlaps, classes = iou_matrix(boxes_px[order]), class_ids[order]
    kept = _best(overlaps > iou_limit, np.equal.outer(classes, classes))
    twins = overlaps[np.ix_(kept, kept)] > twin_iou
    return order[kept[_best(twins)]]


def _best(covers: NDArray[np.bool_], also: NDArray[np.bool_] | None = None) -> NDArray[np.intp]:
    """Of boxes in order, best first, those that no better one that stays covers: (n, n) -> indices.

    `also`: a second condition for one to go, alike.
    """
    if also is not None:
        covers = covers & also
    stays = np.ones(len(covers), bool)
    # Most cover nothing but themselves, and need no look.
    for i in np.flatnonzero(covers.sum(axis=1) > 1).tolist():
        if stays[i]:
            stays[i + 1 :] &= ~covers[i, i + 1 :]
    return np.flatnonzero(stays)
