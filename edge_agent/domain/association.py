"""Which box belongs to which track: how unlikely each pair is, and the best pairing of all.

The cost of a pair is the negative log likelihood that this track shows itself in this box: how far the box is
from where the track is expected, in units of how sure that expectation is. A track whose speed is not known yet
expects its box anywhere around, and the wider so the longer the time between frames; one that is known well
expects it in one place and wins there.
"""

from dataclasses import dataclass

import lap
import numpy as np
from numpy.typing import NDArray

from edge_agent.domain.motion_model import POSITION, VAR_P

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class AssociationParams:
    """Gates and weights. Distances are in box sizes (the square root of its area).

    Attributes:
        place_error: by how much a box may jump by itself, as when a part of it is hidden; standard deviation.
        size_error: the same for the logarithm of its width and height.
        known_place: most that the place of a track whose speed is known may be unsure, however long it was lost.
        unknown_place: the same for a track whose speed is not known yet.
        gate: largest squared distance, in standard deviations, that a pair may have.
        unlikely: a pair that costs more than this is no pair.
        class_change: extra cost where the box's class is not the track's.
        missed_cost: extra cost for each second for which a moving track should have been seen and was not: the
            longer, the less likely that it is still there.
        poor_missed_cost: as much more for a box with a poor score: it hardly proves that who was lost is there.
        same_overlap: two boxes that overlap more than this (IoU) are one object seen twice.
        part_share: a box of which more than this share lies within a better one may be a part of what that shows,
        part_size: if its area is at least this share of the other's (a motorcycle before a bus is not a part),
        part_score: and surely is if its score is less than this share of the other's;
        doubt_score: if less than this one, it is doubtful, and begins no track.
    """

    place_error: float = 0.12
    size_error: float = 0.35
    known_place: float = 0.35
    unknown_place: float = 2.0
    gate: float = 12.0
    unlikely: float = 10.0
    class_change: float = 1.5
    missed_cost: float = 4.0
    poor_missed_cost: float = 3.0
    same_overlap: float = 0.7
    part_share: float = 0.6
    part_size: float = 0.12
    part_score: float = 0.5
    doubt_score: float = 0.85


def pair_costs(
    states: Floats,
    track_classes: NDArray[np.int64],
    known: NDArray[np.bool_],
    missed_s: Floats | None,
    measured_px: Floats,
    classes: NDArray[np.int64],
    params: AssociationParams,
) -> Floats:
    """Cost of each pair, (tracks, boxes); infinite beyond the gate.

    Args:
        states: (14, tracks), predicted to now (see `motion_model`).
        known: (tracks,) whether the track's speed is known, so that it must be about where it is expected.
        missed_s: (tracks,) for how long it should have been seen and was not; None: nobody was missed.
        measured_px: (4, boxes) as centre and size.
    """
    # Variances of place are shares of the area, those of size are of logarithms: neither has a unit.
    area = states[2] * states[3]
    unsure, certain = states[VAR_P]
    spread = np.minimum(unsure / area, np.where(known, params.known_place**2, params.unknown_place**2))
    spread += params.place_error**2
    doubt = np.log(spread)
    doubt *= 2.0
    if missed_s is not None:
        doubt += params.missed_cost * missed_s
    spread *= area
    weights = np.empty((4, states.shape[1]))
    weights[:2] = 1.0 / spread
    sizes = states[2:4] * states[2:4]
    np.divide(sizes, certain + params.size_error**2 * sizes, out=weights[2:])
    costs = _squared_gaps(states[POSITION], measured_px, weights)
    too_far = costs > params.gate
    costs += doubt[:, None]
    costs += params.class_change * (track_classes[:, None] != classes)
    np.putmask(costs, too_far, np.inf)
    return costs


def _squared_gaps(expected_px: Floats, measured_px: Floats, weights: Floats) -> Floats:
    """Weighted sum of the squared gaps in place and in the logarithm of size, (tracks, boxes).

    The square of a difference is a sum of products, and so all pairs are one product of matrices.
    """
    here, there = np.empty((9, expected_px.shape[1])), np.empty((9, measured_px.shape[1]))
    own, other = here[:4], there[:4]
    own[:2], other[:2] = expected_px[:2], measured_px[:2]
    np.log(expected_px[2:], out=own[2:])
    np.log(measured_px[2:], out=other[2:])
    np.multiply(other, other, out=there[4:8])
    there[8] = 1.0
    here[4:8] = weights
    weighted = weights * own
    np.add.reduce(weighted * own, axis=0, out=here[8])
    np.multiply(weighted, -2.0, out=own)
    return np.asarray(here.T.dot(there))


def best_pairs(costs: Floats, unlikely: float) -> tuple[Ints, Ints]:
    """The pairing that costs least in all, where leaving a track without a box costs `unlikely`.

    Returns:
        Rows and columns of `costs`, in pairs.
    """
    if not costs.size:
        return np.empty(0, np.intp), np.empty(0, np.intp)
    # Where nobody's best box is another's best box as well, which is usual, there is nothing to weigh up.
    favourites = costs.argmin(axis=1)
    rows = (np.minimum.reduce(costs, axis=1) < unlikely).nonzero()[0]
    columns = favourites.take(rows)
    if len(set(columns.tolist())) == len(columns):
        return rows, columns
    # Filled up to a square here, which is three times as quick as to let `lap` do it.
    n_rows, n_columns = costs.shape
    limited = np.full((max(costs.shape),) * 2, unlikely)
    np.minimum(costs, unlikely, out=limited[:n_rows, :n_columns])
    _, chosen, _ = lap.lapjv(limited)
    rows = (limited[np.arange(n_rows), chosen[:n_rows]] < unlikely).nonzero()[0]
    return rows, chosen[rows]


def meeting_pairs(corners_px: Floats, ends_px: Floats) -> tuple[Ints, Ints] | None:
    """Indices of the boxes that meet, each pair both ways, and each box with itself. None: no two meet.

    Args:
        corners_px: (4, n).
        ends_px: (2, n), where each ends to the right and below, or a little later.
    """
    begins_before_end = corners_px[:2, :, None] < ends_px[:, None]
    meets = begins_before_end[0]
    meets &= begins_before_end[1]
    meets = meets & meets.T
    if np.count_nonzero(meets) <= len(meets):
        return None
    rows, columns = meets.nonzero()
    return rows, columns


def copies_and_parts(
    corners_px: Floats, scores: Floats, params: AssociationParams, own: NDArray[np.bool_] | None = None
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]] | None:
    """Boxes that show again what a better box shows already, whatever their classes.

    Detectors give one vehicle twice, as a car and as a truck, and give parts of it: a cab, a trailer, a shadow.

    Args:
        corners_px: (4, n), and scores, (n,), best first.
        own: (n,) boxes of things that are no part of what others are; None: there are none.

    Returns:
        Two masks, (n,): surely not an object of its own; perhaps not one, and so no reason to begin a track.
        None: nothing of either, as is usual.
    """
    n = len(scores)
    meeting = meeting_pairs(corners_px, corners_px[2:])
    if meeting is None:
        return None
    boxes, others = meeting
    worse = (boxes > others).nonzero()[0]
    boxes, others = boxes.take(worse), others.take(worse)
    box, other = corners_px.take(boxes, axis=1), corners_px.take(others, axis=1)
    sides = np.minimum(box[2:], other[2:])
    sides -= np.maximum(box[:2], other[:2])
    shared = sides[0] * sides[1]
    box[2:] -= box[:2]
    other[2:] -= other[:2]
    area, other_area = box[2] * box[3], other[2] * other[3]
    copies = shared * (1.0 + params.same_overlap) > params.same_overlap * (area + other_area)
    within = shared > params.part_share * area
    within &= area > params.part_size * other_area
    if own is not None:
        within &= own.take(boxes) <= own.take(others)
    if not (np.count_nonzero(within) or np.count_nonzero(copies)):
        return None
    score, other_score = scores.take(boxes), scores.take(others)
    surely, perhaps = np.zeros((2, n), np.bool_)
    surely[boxes[copies | (within & (score < params.part_score * other_score))]] = True
    perhaps[boxes[within & (score < params.doubt_score * other_score)]] = True
    return surely, perhaps
