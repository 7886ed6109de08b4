"""Where vehicles are, for the lines and zones that share it."""

import numpy as np

from edge_agent.domain.reference import ReferencePoints
from edge_agent.domain.shapes import Anchor
from edge_agent.domain.tracking import Tracks

SIZE_PX = (640, 480)


def tracks(*ids_and_boxes: tuple[int, tuple[float, float, float, float]]) -> Tracks:
    n = len(ids_and_boxes)
    seen, moves = np.ones(n, np.bool_), np.zeros((n, 4))
    boxes = np.array([box for _, box in ids_and_boxes], float).reshape(n, 4)
    ids, classes = np.array([one for one, _ in ids_and_boxes], np.int64), np.zeros(n, np.int64)
    return Tracks(ids, boxes, moves, classes, np.ones(n), seen, seen, ~seen, np.zeros(n), np.zeros(n), ("car",))


def test_each_track_has_its_own_size_where_as_many_others_come_as_go() -> None:
    """The first is known to be 80 px high when the lower edge cuts it; the third is not as high as the second."""
    shared = ReferencePoints(SIZE_PX)
    shared.bodies(tracks((1, (100, 300, 200, 380)), (2, (400, 300, 500, 390))), 0.0)
    cut = 440.0, 480.0
    bodies = shared.bodies(tracks((1, (100, cut[0], 200, cut[1])), (3, (400, cut[0], 500, cut[1]))), 0.1)
    assert bodies.points_px[Anchor.BOTTOM][:, 1].tolist() == [440 + 80, 480]
    shared.bodies(tracks(), 0.2)
    bodies = shared.bodies(tracks((4, (100, cut[0], 200, cut[1]))), 0.3)
    assert bodies.points_px[Anchor.BOTTOM][:, 1].tolist() == [480], "nothing is left of who was there before"


def test_who_asks_for_the_same_frame_gets_the_same_and_learns_nothing_twice() -> None:
    shared, frame = ReferencePoints(SIZE_PX), tracks((1, (100, 300, 200, 380)))
    bodies = shared.bodies(frame, 0.0)
    assert shared.bodies(frame, 0.0) is bodies
    shared.forget()
    assert shared.bodies(frame, 0.0) is not bodies
