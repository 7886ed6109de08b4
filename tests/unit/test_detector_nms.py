"""Suppression gives what the plain rule gives, box by box, and does more where classes meet."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.drivers.detectors.suppression import suppress, suppress_by_class


@st.composite
def scored_boxes(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Boxes on a coarse raster, so that many overlap, with scores of which some are equal, in three classes."""
    n = draw(st.integers(0, 40))
    corner = st.integers(0, 30)
    size = st.integers(1, 20)
    rows = draw(st.lists(st.tuples(corner, corner, size, size), min_size=n, max_size=n))
    boxes = np.asarray([(x * 4, y * 4, x * 4 + w * 4, y * 4 + h * 4) for x, y, w, h in rows], np.float32)
    scores = draw(st.lists(st.integers(1, 30), min_size=n, max_size=n))
    classes = draw(st.lists(st.integers(0, 2), min_size=n, max_size=n))
    return boxes.reshape(-1, 4), np.asarray(scores, np.float32) / 30, np.asarray(classes, np.int32)


# A limit that no box of the raster meets exactly: what rounding does there is nobody's concern.
LIMIT, TWINS = 0.4517, 0.7517


def by_hand(boxes: np.ndarray, scores: np.ndarray, groups: np.ndarray, limit: float) -> list[int]:
    """The rule as one would tell it."""
    stay: list[int] = []
    for one in sorted(range(len(scores)), key=lambda one: -scores[one]):
        if all(groups[one] != groups[other] or overlap(boxes[one], boxes[other]) <= limit for other in stay):
            stay.append(one)
    return stay


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    shared = max(width, 0) * max(height, 0)
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (a, b)]
    return float(shared / (sum(areas) - shared))


@given(scored_boxes())
def test_without_classes(found: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    boxes, scores, _ = found
    assert suppress(boxes, scores, LIMIT).tolist() == by_hand(boxes, scores, np.zeros(len(scores)), LIMIT)


@given(scored_boxes())
def test_within_classes_and_then_the_twins(found: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    boxes, scores, classes = found
    ours = suppress_by_class(boxes, scores, classes, iou_limit=LIMIT, twin_iou=TWINS)
    kept = by_hand(boxes, scores, classes, LIMIT)
    alone = by_hand(boxes[kept], scores[kept], np.zeros(len(kept)), TWINS)
    assert ours.tolist() == [kept[one] for one in alone]


def test_nothing_stays_nothing() -> None:
    none = np.empty((0, 4), np.float32), np.empty(0, np.float32)
    assert len(suppress(*none, 0.5)) == 0
    assert len(suppress_by_class(*none, np.empty(0, np.int32), iou_limit=0.5, twin_iou=0.7)) == 0


@pytest.mark.parametrize(
    ("twin_iou", "kept"),
    [(0.75, [0, 2]), (0.999, [0, 1, 2])],
    ids=["a van found twice is one", "classes matter alone"],
)
def test_twins_of_two_classes(twin_iou: float, kept: list[int]) -> None:
    van_as_truck, van_as_car, rider = (0, 0, 100, 100), (2, 0, 102, 100), (0, 0, 100, 60)
    boxes = np.asarray([van_as_truck, van_as_car, rider], np.float32)
    scores, classes = np.asarray([0.9, 0.8, 0.7], np.float32), np.asarray([7, 2, 0], np.int32)
    assert suppress_by_class(boxes, scores, classes, iou_limit=0.45, twin_iou=twin_iou).tolist() == kept
    assert suppress(boxes, scores, 0.45).tolist() == [0]
