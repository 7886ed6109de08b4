"""Suppression gives what OpenCV's gives, and does more where classes meet."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.domain.nms import covering, suppress, suppress_detections


@st.composite
def scored_boxes(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Boxes on a coarse raster, so that many overlap, with scores that all differ, in up to three classes."""
    n = draw(st.integers(0, 40))
    corner = st.integers(0, 30)
    size = st.integers(1, 20)
    rows = draw(st.lists(st.tuples(corner, corner, size, size), min_size=n, max_size=n))
    boxes = np.asarray([(x * 4, y * 4, x * 4 + w * 4, y * 4 + h * 4) for x, y, w, h in rows], np.float32)
    ranks = draw(st.permutations(range(n)))
    scores = np.asarray([0.1 + 0.8 * (rank + 1) / (n + 1) for rank in ranks], np.float32)
    classes = np.asarray(draw(st.lists(st.integers(0, 2), min_size=n, max_size=n)), np.int32)
    return boxes.reshape(-1, 4), scores, classes


# OpenCV rounds differently at an exact tie of IoU and limit; a limit that no raster box hits keeps both exact.
LIMIT = 0.4517


@given(scored_boxes())
def test_within_one_class_it_is_opencvs(found: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    boxes, scores, _ = found
    ours = suppress(boxes, scores, np.zeros(len(scores), np.int32), LIMIT)
    wide = [(x1, y1, x2 - x1, y2 - y1) for x1, y1, x2, y2 in boxes.tolist()]
    theirs = cv2.dnn.NMSBoxes(wide, scores.tolist(), 0.0, LIMIT) if wide else []
    assert list(ours) == list(theirs)


@given(scored_boxes())
def test_between_classes_it_is_opencvs_batched(found: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    boxes, scores, classes = found
    ours = suppress(boxes, scores, classes, LIMIT)
    wide = [(x1, y1, x2 - x1, y2 - y1) for x1, y1, x2, y2 in boxes.tolist()]
    theirs = cv2.dnn.NMSBoxesBatched(wide, scores.tolist(), classes.tolist(), 0.0, LIMIT) if wide else []
    assert sorted(ours) == sorted(theirs)


def test_boxes_without_area_overlap_nothing() -> None:
    boxes = np.asarray([(5, 5, 5, 5), (5, 5, 5, 5), (0, 0, 10, 10)], np.float32)
    for limit in (0.0, 0.5):
        assert (covering(boxes, limit)[0] == np.diag([False, False, True])).all()


def test_the_limit_itself_is_not_exceeded() -> None:
    half = np.asarray([(0, 0, 10, 10), (0, 0, 10, 5)], np.float32)
    below, at = covering(half, 0.49, 0.5)
    assert below[0, 1]
    assert not at[0, 1]


def test_nothing_stays_nothing() -> None:
    none = np.empty((0, 4), np.float32), np.empty(0, np.float32), np.empty(0, np.int32)
    assert len(suppress_detections(*none, iou_limit=0.5, twin_iou=0.7)) == 0


@pytest.mark.parametrize(
    ("twin_iou", "kept"),
    [(0.75, [0, 2]), (None, [0]), (0.999, [0, 1, 2])],
    ids=["a van found twice is one", "classes do not matter", "classes matter alone"],
)
def test_twins_of_two_classes(twin_iou: float | None, kept: list[int]) -> None:
    van_as_truck, van_as_car, rider = (0, 0, 100, 100), (2, 0, 102, 100), (0, 0, 100, 60)
    boxes = np.asarray([van_as_truck, van_as_car, rider], np.float32)
    scores, classes = np.asarray([0.9, 0.8, 0.7], np.float32), np.asarray([7, 2, 0], np.int32)
    assert list(suppress_detections(boxes, scores, classes, iou_limit=0.45, twin_iou=twin_iou)) == kept
