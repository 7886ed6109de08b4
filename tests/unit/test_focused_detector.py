"""A part of the picture, some regions, and a threshold for each class."""

from collections.abc import Sequence

import numpy as np
import pytest

from edge_agent.domain.focus import Focus
from edge_agent.domain.frames import Detections, Image
from edge_agent.domain.shapes import Zone
from edge_agent.drivers.base import DetectorError
from edge_agent.drivers.detectors.focused import focused

NAMES = ("person", "car")


class Marks:
    """Finds every pixel that is not black: as large as one, with its green as score and its red as class."""

    class_names: Sequence[str] = NAMES

    def __init__(self) -> None:
        self.sizes: list[tuple[int, ...]] = []
        self.closed = False

    def detect(self, image: Image) -> Detections:
        self.sizes.append(image.shape)
        y, x = np.nonzero(image[:, :, 1])
        boxes = np.stack([x, y, x + 1, y + 1], axis=1).astype(np.float32)
        return Detections(boxes, image[y, x, 1].astype(np.float32) / 100, image[y, x, 2].astype(np.int32), NAMES)

    def close(self) -> None:
        self.closed = True


def picture(*marks: tuple[int, int, str, int]) -> Image:
    """100 x 80, with marks at (x, y) of a class and a score in percent."""
    image = np.zeros((80, 100, 3), np.uint8)
    for x, y, cls, score in marks:
        image[y, x] = (0, score, NAMES.index(cls))
    return image


def places(found: Detections) -> list[tuple[int, int]]:
    return [(int(x), int(y)) for x, y in found.boxes_px[:, :2]]


def test_without_a_focus_nothing_stands_between() -> None:
    marks = Marks()
    assert focused(marks, Focus()) is marks


def test_boxes_of_a_crop_come_back_in_pixels_of_the_whole() -> None:
    marks = Marks()
    detector = focused(marks, Focus(crop_px=(20, 10, 60, 40)))
    found = detector.detect(picture((20, 10, "car", 50), (59, 39, "car", 50), (60, 39, "car", 50)))
    assert marks.sizes == [(30, 40, 3)]
    assert found.boxes_px.tolist() == [[20, 10, 21, 11], [59, 39, 60, 40]]
    detector.close()
    assert marks.closed


def test_a_crop_that_does_not_fit_is_told() -> None:
    detector = focused(Marks(), Focus(crop_px=(20, 10, 101, 40)))
    with pytest.raises(DetectorError, match=r"crop \[20, 10, 101, 40\] reaches out of the picture, .* 100x80"):
        detector.detect(picture())


def test_what_is_outside_of_all_regions_is_left_out() -> None:
    regions = tuple(Zone(str(x), ((x, 0), (x + 10, 0), (x + 10, 79), (x, 79))) for x in (10, 50))
    detector = focused(Marks(), Focus(regions=regions))
    found = detector.detect(picture(*((x, 40, "car", 50) for x in (5, 12, 30, 55, 70))))
    assert places(found) == [(12, 40), (55, 40)]
    assert len(detector.detect(picture())) == 0


def test_a_class_that_the_model_does_not_know_is_told() -> None:
    with pytest.raises(DetectorError, match="scores names persn, which the model does not know; it knows person"):
        focused(Marks(), Focus(scores={"persn": 0.5}))
