"""Which box belongs to which track: how unlikely each pair is, and the best pairing of all.

The cost of a pair is the negative log likelihood that this track shows itself in this box: how far the box is
from where the track is expected, in units of how sure that expectation is. A track whose speed is not known yet
expects its box anywhere around, and the wider so the longer the time between frames; one that is known well
expects it in one place and wins there.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from edge_agent.domain.motion_model import POSITION, VAR_P

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class AssociationParams:
    """Gates and weights. Distances are in box sizes (the square root of its area).

    Attributes:
        place_error: by how much a box may jump by itself, as when a part of it is hidden; standard deviation.
        size_error: the same for the logarithm of its width and height.
        gate: largest squared distance, in standard deviations, that a pair may have.
        unlikely: a pair that costs more than this is no pair.
        class_change: extra cost where the box's class is not the track's.
        part_share, part_score: a box of which more than this share lies within another one, and whose score is
            less than this share of the other's, is a part of it: a cab, a shadow, a reflection.
    """

    place_error: float = 0.12
    size_error: float = 0.25
    gate: float = 12.0
    unlikely: float = 10.0
    class_change: float = 1.5
    part_share: float = 0.7
    part_score: float = 0.85


def pair_costs(
    states: Floats,
    track_classes: NDArray[np.int64],
    measured_px: Floats,
    classes: NDArray[np.int64],
    params: AssociationParams,
) -> Floats:
    """Cost of each pair, (tracks, boxes); infinite beyond the gate.

    Args:
        states: (5, tracks, 4), predicted to now (see `motion_model`).
        measured_px: (boxes, 4) as centre and size.
    """
    expected = states[POSITION]
    area = expected[:, 2] * expected[:, 3]
    spread = states[VAR_P, :, :2] + (params.place_error**2 * area)[:, None]
    distance = _squared_gap(expected[:, 0], measured_px[:, 0], spread[:, 0])
    distance += _squared_gap(expected[:, 1], measured_px[:, 1], spread[:, 1])
    sizes, measured_sizes = np.log(expected[:, 2:]), np.log(measured_px[:, 2:])
    size_var = params.size_error**2 + states[VAR_P, :, 2:] / np.square(expected[:, 2:])
    distance += _squared_gap(sizes[:, 0], measured_sizes[:, 0], size_var[:, 0])
    distance += _squared_gap(sizes[:, 1], measured_sizes[:, 1], size_var[:, 1])
    too_far = distance > params.gate
    distance += np.log(spread[:, 0] * spread[:, 1] / np.square(area))[:, None]
    distance += params.class_change * (track_classes[:, None] != classes)
    distance[too_far] = np.inf
    return distance


def _squared_gap(expected: Floats, measured: Floats, variance: Floats) -> Floats:
    gap = expected[:, None] - measured
    gap *= gap
    gap /= variance[:, None]
    return gap


def best_pairs(costs: Floats, unlikely: float) -> tuple[Ints, Ints]:
    """The pairing that costs least in all, where leaving a track without a box costs `unlikely`.

    Returns:
        Rows and columns of `costs`, in pairs.
    """
    possible = costs < unlikely
    if not possible.any():
        return np.empty(0, np.intp), np.empty(0, np.intp)
    rows, columns = linear_sum_assignment(np.where(possible, costs, unlikely))
    real = possible[rows, columns]
    return rows[real], columns[real]


def overlaps(first_px: Floats, second_px: Floats) -> Floats:
    """Intersection over union of each pair, (n, m), of boxes (n, 4) and (m, 4) as corners with an area."""
    shared = shared_areas_px2(first_px, second_px)
    areas = (first_px[:, 2] - first_px[:, 0]) * (first_px[:, 3] - first_px[:, 1])
    others = (second_px[:, 2] - second_px[:, 0]) * (second_px[:, 3] - second_px[:, 1])
    return np.asarray(shared / (areas[:, None] + others - shared))


def shared_areas_px2(first_px: Floats, second_px: Floats) -> Floats:
    """Area of the intersection of each pair, (n, m), of boxes (n, 4) and (m, 4) as corners."""
    width = np.minimum(first_px[:, 2, None], second_px[:, 2])
    width -= np.maximum(first_px[:, 0, None], second_px[:, 0])
    height = np.minimum(first_px[:, 3, None], second_px[:, 3])
    height -= np.maximum(first_px[:, 1, None], second_px[:, 1])
    np.maximum(width, 0.0, out=width)
    np.maximum(height, 0.0, out=height)
    width *= height
    return width


def without_doubles(corners_px: Floats, scores: Floats, same_overlap: float) -> NDArray[np.bool_]:
    """Mask, (n,), of the boxes that are not a worse copy of a better one, whatever its class.

    Detectors often give one vehicle twice, as a car and as a truck.
    """
    keep = np.ones(len(scores), np.bool_)
    if len(scores) < 2:
        return keep
    doubles = overlaps(corners_px, corners_px) > same_overlap
    np.fill_diagonal(doubles, False)
    suspects = np.flatnonzero(doubles.any(axis=1))
    for i in suspects[np.argsort(-scores[suspects], kind="stable")]:
        if keep[i]:
            keep[suspects[doubles[i, suspects]]] = False
    return keep


def parts_of_others(
    corners_px: Floats, scores: Floats, candidates: Ints, params: AssociationParams
) -> NDArray[np.bool_]:
    """Mask, (candidates,), of those that are probably but a part of what another box shows whole."""
    these = corners_px[candidates]
    areas = (these[:, 2] - these[:, 0]) * (these[:, 3] - these[:, 1])
    within = shared_areas_px2(these, corners_px) > params.part_share * areas[:, None]
    weaker = scores[candidates][:, None] < params.part_score * scores
    return np.asarray((within & weaker).any(axis=1))
