"""What is masked is seen by nobody, and what is turned lies as it was drawn."""

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from common.codes import GapReason
from edge_agent.domain.picture import PictureWatch
from edge_agent.domain.shapes import Zone
from edge_agent.drivers.base import SourceUnusable
from edge_agent.drivers.sim.source import SceneSource
from edge_agent.drivers.sources.opening import open_source
from edge_agent.drivers.sources.options import SourceOptions
from edge_agent.drivers.sources.prepared import Painter, as_drawn

SIZE = (60, 40)
LEFT = Zone("left", ((0, 0), (29, 0), (29, 39), (0, 39)))
TOP = Zone("top", ((0, 0), (59, 0), (59, 19), (0, 19)))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Ten pictures that are white but for a red corner at the top left."""
    image = np.full((SIZE[1], SIZE[0], 3), 255, np.uint8)
    image[:10, :10] = (0, 0, 255)
    for number in range(10):
        cv2.imwrite(str(tmp_path / f"{number}.png"), image)
    return tmp_path


def first_image(folder: Path, options: SourceOptions) -> np.ndarray:
    source = open_source(str(folder), options=options)
    source.open()
    image = source.read(1.0).image
    source.close()
    return image


def corners(image: np.ndarray) -> dict[str, bool]:
    """Which corners are red."""
    places = {"top left": (0, 0), "top right": (0, -1), "bottom left": (-1, 0), "bottom right": (-1, -1)}
    return {name: tuple(image[place]) == (0, 0, 255) for name, place in places.items()}


@pytest.mark.parametrize(
    ("rotation_deg", "size", "corner"),
    [(0, (60, 40), "top left"), (90, (40, 60), "top right"), (180, (60, 40), "bottom right"),
     (270, (40, 60), "bottom left")],
)  # fmt: skip
def test_pictures_are_turned_clockwise(
    folder: Path, rotation_deg: int, size: tuple[int, int], corner: str
) -> None:
    image = first_image(folder, SourceOptions(rotation_deg=rotation_deg))
    assert (image.shape[1], image.shape[0]) == size
    assert [name for name, red in corners(image).items() if red] == [corner]


def test_masks_are_painted_also_where_they_overlap(folder: Path) -> None:
    image = first_image(folder, SourceOptions(masks=(LEFT, TOP)))
    assert not image[:20].any()
    assert not image[:, :30].any()
    assert (image[20:, 30:] == 255).all()


def test_masks_are_drawn_on_the_turned_picture(folder: Path) -> None:
    top = Zone("top", ((0, 0), (39, 0), (39, 19), (0, 19)))
    image = first_image(folder, SourceOptions(rotation_deg=90, masks=(top,)))
    assert not image[:20].any()
    assert (image[20:] == 255).all()


def test_a_mask_of_another_picture_hides_nothing_and_is_refused(folder: Path) -> None:
    with pytest.raises(SourceUnusable, match=r"mask 'far': its point \(0, 300\) is outside .* 60x40"):
        first_image(folder, SourceOptions(masks=(Zone("far", ((0, 300), (59, 300), (59, 350))),)))
    whole = Zone("all", ((0, 0), (60, 0), (60, 40), (0, 40)))
    with pytest.raises(SourceUnusable, match="nothing is left to look at"):
        first_image(folder, SourceOptions(masks=(whole,)))


def test_a_scene_behind_masks_is_still_known_as_one() -> None:
    masked = open_source("sim:road", options=SourceOptions(masks=(LEFT,)))
    assert isinstance(as_drawn(masked), SceneSource)
    turned = open_source("sim:road", options=SourceOptions(rotation_deg=90))
    assert not isinstance(as_drawn(turned), SceneSource), "its line does not lie where the turned picture shows it"


def watched(images: Iterator[np.ndarray], *masks: Zone) -> list[GapReason | None]:
    watch = PictureWatch(black_after_s=2.0, frozen_after_s=4.0, masks=masks)
    return [watch.update(image, float(t_s)).reason for t_s, image in enumerate(images)]


def painted(image: np.ndarray) -> np.ndarray:
    image = image.copy()
    cv2.fillPoly(image, [np.asarray(MOST.points_px, np.int32)], (0, 0, 0))
    return image


MOST = Zone("most", ((0, 0), (319, 0), (319, 220), (0, 220)))


def test_a_mask_makes_no_picture_black() -> None:
    """Of what is left, one lamp is enough: it is few of all pixels, and many of those that count."""
    rng = np.random.default_rng(1)

    def lamp() -> np.ndarray:
        image = rng.integers(0, 4, (240, 320, 3), np.uint8)
        image[228:232, 100:104] = 255
        return painted(image)

    assert set(watched((lamp() for _ in range(8)), MOST)) == {None}
    assert watched(lamp() for _ in range(8))[-1] is GapReason.CAMERA_BLACK, "else this tests nothing"


def test_a_mask_does_not_hide_that_the_rest_is_of_one_colour() -> None:
    blue = painted(np.full((240, 320, 3), (200, 40, 0), np.uint8))
    assert watched((blue for _ in range(4)), MOST)[-1] is GapReason.CAMERA_BLACK
    assert watched(blue for _ in range(4))[-1] is None, "else this tests nothing"


def test_a_frozen_picture_is_found_behind_a_mask() -> None:
    image = painted(np.random.default_rng(1).integers(0, 255, (240, 320, 3), np.uint8))
    assert watched((image for _ in range(6)), MOST)[-1] is GapReason.CAMERA_FROZEN


def test_pictures_are_painted_in_place_where_that_can_be() -> None:
    image = np.full((SIZE[1], SIZE[0], 3), 9, np.uint8)
    painter = Painter((LEFT,), SIZE)
    assert np.shares_memory(painter.paint(image), image)
    part_of_more = np.full((SIZE[1], SIZE[0], 4), 9, np.uint8)[:, :, :3]
    assert not painter.paint(part_of_more)[:, :30].any()
