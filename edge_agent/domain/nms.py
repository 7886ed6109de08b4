"""Non-maximum suppression: of boxes that cover each other, the best one stays."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


def covering(boxes_px: Floats, *iou_limits: float) -> list[NDArray[np.bool_]]:
    """Which boxes overlap which by more than each limit of intersection over union: (n, 4) -> (n, n) per limit.

    Boxes without area overlap nothing.
    """
    x1, y1, x2, y2 = np.ascontiguousarray(boxes_px.T)
    shared = np.maximum(np.minimum.outer(x2, x2) - np.maximum.outer(x1, x1), 0)
    shared *= np.maximum(np.minimum.outer(y2, y2) - np.maximum.outer(y1, y1), 0)
    areas = (x2 - x1) * (y2 - y1)
    union = np.add.outer(areas, areas)
    union -= shared
    return [np.asarray(shared > np.float32(limit) * union, np.bool_) for limit in iou_limits]


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
    (covers,) = covering(boxes_px[order], iou_limit)
    return order[_best(covers & np.equal.outer(ordered, ordered))]


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
    classes = class_ids[order]
    covers, twins = covering(boxes_px[order], iou_limit, twin_iou)
    kept = _best(covers & np.equal.outer(classes, classes))
    return order[kept[_best(twins[np.ix_(kept, kept)])]]


def _best(covers: NDArray[np.bool_]) -> NDArray[np.intp]:
    """Of boxes in order, best first, those that no better one that stays covers: (n, n) -> indices."""
    stays = np.ones(len(covers), bool)
    # Most cover nothing but themselves, and need no look.
    for i in np.flatnonzero(covers.sum(axis=1) > 1).tolist():
        if stays[i]:
            stays[i + 1 :] &= ~covers[i, i + 1 :]
    return np.flatnonzero(stays)
