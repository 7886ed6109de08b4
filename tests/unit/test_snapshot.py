"""In a snapshot nobody can be recognised, found or not."""

import cv2
import numpy as np

from edge_agent.cameras.snapshot import LONGEST_PX, SQUARES, snapshot_jpeg
from edge_agent.domain.frames import Detections

PLATE = (900, 600, 1100, 645)
CAR = (700, 300, 1300, 760)


def street(plate: str) -> np.ndarray:
    """A 1080p picture with a car that fills a third of it, and its number plate."""
    image = np.random.default_rng(1).integers(90, 110, (1080, 1920, 3), np.uint8)
    cv2.rectangle(image, CAR[:2], CAR[2:], (40, 40, 160), -1)
    cv2.rectangle(image, PLATE[:2], PLATE[2:], (255, 255, 255), -1)
    cv2.putText(image, plate, (PLATE[0] + 6, PLATE[3] - 8), cv2.FONT_HERSHEY_SIMPLEX, 1.3, (0, 0, 0), 4)
    return image


def found(*boxes: tuple[float, ...]) -> Detections:
    array = np.asarray(boxes, np.float32).reshape(-1, 4)
    n = len(array)
    return Detections(array, np.ones(n, np.float32), np.zeros(n, np.int32), ("car",))


def taken(image: np.ndarray, detections: Detections) -> np.ndarray:
    picture = cv2.imdecode(np.frombuffer(snapshot_jpeg(image, detections), np.uint8), cv2.IMREAD_COLOR)
    return np.asarray(picture, np.uint8)


def cut(picture: np.ndarray, box: tuple[int, ...]) -> np.ndarray:
    scale = picture.shape[1] / 1920
    left, top, right, bottom = (round(value * scale) for value in box)
    return picture[top:bottom, left:right]


def test_it_is_small_whatever_the_camera_gives() -> None:
    assert taken(street("A"), found()).shape == (180, LONGEST_PX, 3)
    assert taken(np.zeros((4320, 2430, 3), np.uint8), found()).shape[0] == LONGEST_PX
    assert taken(np.zeros((1, 1, 3), np.uint8), found((0, 0, 1, 1))).shape == (1, 1, 3)
    assert taken(np.zeros((40, 60, 3), np.uint8), found()).shape == (40, 60, 3)


def test_two_plates_look_the_same() -> None:
    one, other = street("KA 4711"), street("MB 0893")
    difference = np.abs(taken(one, found(CAR)).astype(int) - taken(other, found(CAR)))
    assert difference.max() <= 8
    assert np.abs(one.astype(int) - other).max() > 200, "else this tests nothing"


def test_what_is_found_is_made_of_a_few_squares() -> None:
    rng = np.random.default_rng(2)
    image = rng.integers(0, 255, (360, 640, 3), np.uint8)
    image = cv2.GaussianBlur(image, (0, 0), 4) * 3
    box = (200.0, 100.0, 320.0, 220.0)
    inside = taken(image, found(box))[50:110, 100:160].astype(int)
    steps = np.abs(np.diff(inside, axis=1)).sum(axis=2).mean(axis=0)
    assert (steps > 12).sum() <= SQUARES + 1
    outside = taken(image, found())[50:110, 100:160].astype(int)
    assert (np.abs(np.diff(outside, axis=1)).sum(axis=2).mean(axis=0) > 12).sum() > 3 * SQUARES


def test_a_plate_that_was_not_found_has_too_few_pixels_to_be_read() -> None:
    width_px = cut(taken(street("KA 4711"), found()), PLATE).shape[1]
    assert width_px / 8 < 5, "pixels for each of eight signs"


def test_boxes_may_reach_out_of_the_picture() -> None:
    taken(street("A"), found((-50, -50, 100, 100), (1900, 1000, 2500, 1500), (5000, 5000, 5100, 5100)))
