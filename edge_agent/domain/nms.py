"""Non-maximum suppression: of boxes that cover each other, the best one stays."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


def covering(boxes_px: Floats, *iou_limits: float) -> list[NDArray[np.bool_]]:
    """Which boxes overlap which by more than each limit of intersection over union: (n, 4) -> (n, n) per limit.

    Boxes without area overlap nothing.
    """
    sides = np.ascontiguousarray(boxes_px.T)
    low, high = sides[:2], sides[2:]
    # x and y at once: at these sizes, a call of numpy costs more than its arithmetic.
    spans = np.minimum(high[:, :, None], high[:, None])
    spans -= np.maximum(low[:, :, None], low[:, None])
    # One of the two is enough: without overlap the product is not above 0 then, and 0 is never above a limit.
    np.maximum(spans[0], 0, out=spans[0])
    shared = np.multiply(spans[0], spans[1], out=spans[0])
    widths, heights = high - low
    areas = widths * heights
    union = np.add.outer(areas, areas)
    union -= shared
    return [np.greater(shared, np.multiply(union, np.float32(limit), out=spans[1])) for limit in iou_limits]


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
    covers &= np.equal.outer(ordered, ordered)
    return order[_best(covers)]


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
    covers &= np.equal.outer(classes, classes)
    kept = _best(covers)
    return order[kept][_best(twins[np.ix_(kept, kept)])]


def _best(covers: NDArray[np.bool_]) -> list[int]:
    """Of n boxes in order, best first, those that no better one that stays covers: (n, n) -> indices."""
    n = len(covers)
    # One number of n bits for each row: Python is quicker with those than numpy with rows.
    rows = np.packbits(covers, axis=1, bitorder="little")
    stays, left = [], (1 << n) - 1
    while left:
        bit = left & -left
        i = bit.bit_length() - 1
        stays.append(i)
        left &= ~(bit | int.from_bytes(rows[i].tobytes(), "little"))
    return stays
