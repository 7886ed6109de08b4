"""The motion detector on pictures made for one question each: light, shadows, ghosts, queues."""

from typing import Any

import cv2
import numpy as np
import pytest

from edge_agent.domain.frames import Detections, Image
from edge_agent.drivers.detectors.background import BackgroundParams
from edge_agent.drivers.detectors.motion import MotionDetector

SIZE = (320, 180)
CAR = (60, 30)
"""Width and height."""


class Street:
    """A textured street with noise, on which rectangles stand for vehicles."""

    def __init__(self) -> None:
        rng = np.random.default_rng(5)
        coarse = rng.normal(110, 14, (18, 32, 3)).astype(np.float32)
        self._road: np.ndarray[Any, Any] = cv2.resize(coarse, SIZE, interpolation=cv2.INTER_LINEAR)
        self._road[80:84] = 200
        self._rng = rng

    def picture(
        self, *cars: tuple[int, int], colour: float = 220, gain: float = 1.0, shadow: tuple[int, int] | None = None
    ) -> Image:
        picture = self._road.copy()
        if shadow is not None:
            x, y = shadow
            picture[y : y + CAR[1], x : x + CAR[0]] *= 0.7
        for x, y in cars:
            picture[max(0, y) : y + CAR[1], max(0, x) : x + CAR[0]] = colour
        noisy = picture * gain + self._rng.normal(0, 2, picture.shape)
        return np.asarray(np.clip(noisy, 0, 255), np.uint8)


@pytest.fixture
def street() -> Street:
    return Street()


@pytest.fixture
def detector(street: Street) -> MotionDetector:
    """One that has seen the empty street."""
    detector = MotionDetector()
    for _ in range(10):
        assert len(detector.detect(street.picture())) == 0
    return detector


def boxes(found: Detections) -> list[list[int]]:
    return sorted(np.rint(found.boxes_px).astype(int).tolist())


def near(found: Detections, *cars: tuple[int, int], within: int = 3) -> bool:
    expected = sorted([x, y, x + CAR[0], y + CAR[1]] for x, y in cars)
    return len(found) == len(cars) and bool((np.abs(np.asarray(boxes(found)) - expected) <= within).all())


def test_the_first_picture_is_all_background(street: Street) -> None:
    assert len(MotionDetector().detect(street.picture((100, 60)))) == 0


def test_a_car_is_boxed_where_it_is(detector: MotionDetector, street: Street) -> None:
    for x in range(20, 240, 8):
        assert near(detector.detect(street.picture((x, 60))), (x, 60))


def test_two_side_by_side_are_two(detector: MotionDetector, street: Street) -> None:
    assert near(detector.detect(street.picture((100, 40), (100, 80))), (100, 40), (100, 80))


@pytest.mark.parametrize("gain", [0.6, 0.8, 1.25])
def test_a_jump_of_exposure_finds_nothing_new(detector: MotionDetector, street: Street, gain: float) -> None:
    assert len(detector.detect(street.picture(gain=gain))) == 0
    assert near(detector.detect(street.picture((100, 60), gain=gain, colour=20)), (100, 60))


def test_a_new_scene_is_learned_anew(detector: MotionDetector, street: Street) -> None:
    upside_down = np.ascontiguousarray(255 - street.picture()[::-1])
    assert len(detector.detect(upside_down)) == 0
    assert len(detector.detect(upside_down)) == 0


def test_a_shadow_is_not_part_of_the_car(detector: MotionDetector, street: Street) -> None:
    found = detector.detect(street.picture((100, 60), shadow=(120, 75)))
    assert near(found, (100, 60), within=4)


def test_a_shadow_alone_is_nothing(detector: MotionDetector, street: Street) -> None:
    assert len(detector.detect(street.picture(shadow=(100, 60)))) == 0


def test_a_waiting_car_stays(detector: MotionDetector, street: Street) -> None:
    for x in range(20, 100, 8):
        detector.detect(street.picture((x, 60)))
    assert all(near(detector.detect(street.picture((100, 60))), (100, 60)) for _ in range(300))


def test_a_parked_car_becomes_background_and_leaves_no_ghost(street: Street) -> None:
    detector = MotionDetector(background=BackgroundParams(park_frames=40))
    detector.detect(street.picture())
    for _ in range(60):
        found = detector.detect(street.picture((100, 60)))
    assert len(found) == 0
    for x in range(100, 260, 8):
        detector.detect(street.picture((x, 60)))
    for _ in range(20):
        found = detector.detect(street.picture())
    assert len(found) == 0


def test_a_car_in_the_first_picture_leaves_no_ghost(street: Street) -> None:
    detector = MotionDetector()
    for x in range(100, 320, 8):
        detector.detect(street.picture((x, 60)))
    for _ in range(20):
        found = detector.detect(street.picture())
    assert len(found) == 0


def test_a_long_even_bus_is_no_ghost_while_it_passes(detector: MotionDetector, street: Street) -> None:
    for x in range(-200, 320, 3):
        picture = street.picture()
        left, right = max(0, x), max(0, min(SIZE[0], x + 200))
        picture[50:110, left:right] = 60
        found = detector.detect(picture)
        if right - left > 60:
            assert boxes(found) == [[pytest.approx(v, abs=3) for v in (left, 50, right, 110)]]
    assert len(detector.detect(street.picture())) == 0


def test_noise_and_specks_are_nothing(detector: MotionDetector, street: Street) -> None:
    for _ in range(50):
        picture = street.picture()
        picture[60:62, 100:102] = 255
        assert len(detector.detect(picture)) == 0


def test_another_size_starts_over(detector: MotionDetector, street: Street) -> None:
    larger = np.asarray(cv2.resize(street.picture(), (640, 360)), np.uint8)
    assert len(detector.detect(larger)) == 0
    with_car = np.asarray(cv2.resize(street.picture((100, 60)), (640, 360)), np.uint8)
    assert boxes(detector.detect(with_car)) == [[pytest.approx(v, abs=5) for v in (200, 120, 320, 180)]]


@pytest.mark.parametrize("size", [(1, 1), (2, 300), (7680, 4320)])
def test_any_size(size: tuple[int, int]) -> None:
    detector = MotionDetector()
    for level in (100, 101, 180):
        found = detector.detect(np.full((size[1], size[0], 3), level, np.uint8))
        assert (found.boxes_px <= [*size, *size]).all()
