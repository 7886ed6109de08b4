"""What is drawn into pictures: there, in its colours, legible at any size, and nowhere outside of the picture."""

import cv2
import numpy as np
import pytest

from edge_agent.domain.shapes import Line, Zone
from edge_agent.domain.tracking import Tracks
from edge_agent.preview.drawing import Counts, Painter, as_jpeg, draw_ways, fitted, middle_and_right


def tracks(*boxes: tuple[float, float, float, float], confirmed: bool = True, seen: bool = True) -> Tracks:
    n = len(boxes)
    return Tracks(
        ids=np.arange(1, n + 1),
        boxes_px=np.array(boxes, np.float64).reshape(-1, 4),
        velocities_px_s=np.zeros((n, 4)),
        class_ids=np.zeros(n, np.int64),
        confidences=np.ones(n),
        seen=np.full(n, seen),
        confirmed=np.full(n, confirmed),
        standing=np.zeros(n, np.bool_),
        born_s=np.zeros(n),
        seen_s=np.zeros(n),
        class_names=("car",),
    )


def blank(width: int = 640, height: int = 360) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return np.zeros((height, width, 3), np.uint8)


def test_in_is_to_the_right_of_the_line() -> None:
    middle, right = middle_and_right(np.array([(0.0, 100.0), (10.0, 100.0), (110.0, 100.0)]))
    assert middle.tolist() == [60, 100]
    # Drawn from left to right: downwards.
    assert right.tolist() == [0, 1]


def test_arrows_show_in_below_and_out_above() -> None:
    picture = blank()
    painter = Painter([Line("l", ((0, 180), (640, 180)))])
    painter.paint(picture, tracks(), 0.0, Counts({"l": (3, 4)}))
    blue = picture[..., 0].astype(int) - picture[..., 2]
    below, above = blue[190:260], blue[100:170]
    assert (below > 60).sum() > 50 > (below < -60).sum()
    assert (above < -60).sum() > 50 > (above > 60).sum()


def test_a_line_lights_up_when_it_is_crossed() -> None:
    painter = Painter([Line("l", ((0, 180), (640, 180)))])
    colours = []
    for t_s, crossed in ((0.0, ()), (1.0, ("l",)), (1.3, ()), (1.5, ())):
        picture = blank()
        painter.paint(picture, tracks(), t_s, Counts({"l": (0, 0)}, crossed=crossed))
        colours.append(tuple(picture[180, 600].tolist()))
    assert colours[0] == colours[3] != colours[1] == colours[2]


@pytest.mark.parametrize("width", [320, 640, 1920, 3840])
def test_strokes_and_letters_grow_with_the_picture(width: int) -> None:
    """The box's edge is about a 400th of the picture's width, at least a pixel; so it is seen everywhere."""
    height = width * 9 // 16
    picture = blank(width, height)
    Painter().paint(picture, tracks((0.4 * width, 0.4 * height, 0.6 * width, 0.6 * height)), 0.0, Counts())
    across = np.flatnonzero(picture[height // 2, : width // 2].sum(axis=1))
    assert max(1, width // 640) <= len(across) <= max(2, width // 200)
    label = picture[: round(0.4 * height) - 1]
    assert np.count_nonzero(label.sum(axis=(1, 2))) > 0.015 * width


def test_all_is_scaled_with_the_picture() -> None:
    """On a page the picture is smaller than the frame; coordinates are those of the frame."""
    frame = blank(3840, 2160)
    picture, scale = fitted(frame, 960)
    assert (picture.shape, scale) == ((540, 960, 3), 0.25)
    Painter().paint(picture, tracks((1920, 1080, 2880, 1620), confirmed=False), 0.0, Counts(), scale=scale)
    rows, columns = np.nonzero(picture.any(axis=2))
    assert (columns.min(), columns.max()) == pytest.approx((480, 720), abs=2)
    assert (rows.min(), rows.max()) == pytest.approx((270, 405), abs=2)
    small, same = fitted(blank(320, 180), 960)
    assert (small.shape, same) == ((180, 320, 3), 1.0)


def test_trails_end_after_a_while_and_are_those_of_their_tracks() -> None:
    painter = Painter()
    for step in range(11):
        painter.note(tracks((10.0 * step, 100, 10.0 * step + 40, 140)), step / 10)
    picture = blank()
    painter.paint(picture, tracks(), 1.0, Counts())
    assert picture[138:143, 30:110].any(axis=(0, 2)).all()
    painter.note(tracks(), 3.0)
    empty = blank()
    painter.paint(empty, tracks(), 3.0, Counts())
    assert not empty.any()


def test_what_was_not_seen_is_not_drawn() -> None:
    picture = blank()
    Painter().paint(picture, tracks((100, 100, 200, 200), seen=False), 0.0, Counts())
    assert not picture.any()


@pytest.mark.parametrize("size", [(1, 1), (3, 2), (640, 360)])
def test_shapes_and_boxes_beyond_the_picture_do_no_harm(size: tuple[int, int]) -> None:
    picture = blank(*size)
    far = 1e7
    painter = Painter(
        [Line("a line with a rather long name", ((-1, -1), (far, 2)))],
        [Zone("z", ((-50, -50), (far, 0), (0, far)))],
    )
    painter.note(tracks((-far, -far, far, far)), 0.0)
    painter.paint(picture, tracks((-far, -far, far, far)), 0.0, Counts({}, {"z": 3}))
    draw_ways(picture, [np.array([(0.0, 0.0), (far, far)])])
    assert picture.shape == (size[1], size[0], 3)


def test_zones_are_tinted_and_say_how_many_are_in() -> None:
    picture = np.full((360, 640, 3), 100, np.uint8)
    zone = Zone("z", ((200, 100), (400, 100), (400, 300), (200, 300)))
    Painter([], [zone]).paint(picture, tracks(), 0.0, Counts(occupancy={"z": 2}))
    assert picture[250, 350, 0] > 120
    assert picture[250, 450].tolist() == [100, 100, 100]
    assert picture[250, 350].tolist() != picture[250, 450].tolist()


def test_a_jpeg_is_a_jpeg() -> None:
    picture = np.full((36, 64, 3), 200, np.uint8)
    again = cv2.imdecode(np.frombuffer(as_jpeg(picture), np.uint8), cv2.IMREAD_COLOR)
    assert again is not None
    assert np.abs(again.astype(int) - 200).max() <= 2
