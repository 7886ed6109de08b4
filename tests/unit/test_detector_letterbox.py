"""The input tensor is what OpenCV's own functions make of a picture, and boxes find their way back."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.drivers.detectors.letterbox import BGR, RGB, Fit, InputFormat, Letterbox, place


def picture(width: int, height: int) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (height, width, 3), dtype=np.uint8)


def reference(image: np.ndarray, wanted: InputFormat) -> np.ndarray:
    """The same by OpenCV alone: resize, copyMakeBorder, blobFromImage."""
    height, width = image.shape[:2]
    if wanted.fit is Fit.STRETCH:
        inner = cv2.resize(image, (wanted.width_px, wanted.height_px))
    else:
        ratio = min(wanted.width_px / width, wanted.height_px / height)
        inner = cv2.resize(image, (int(width * ratio), int(height * ratio)))
    right, below = wanted.width_px - inner.shape[1], wanted.height_px - inner.shape[0]
    left, above = (right // 2, below // 2) if wanted.fit is Fit.CENTRE else (0, 0)
    whole = cv2.copyMakeBorder(
        inner, above, below - above, left, right - left, cv2.BORDER_CONSTANT, value=(wanted.fill,) * 3
    )
    blob = cv2.dnn.blobFromImage(whole, swapRB=wanted.channels == RGB)
    mean, std = (np.asarray(v, np.float32).reshape(1, 3, 1, 1) for v in (wanted.mean, wanted.std))
    return (blob - mean) / std


@pytest.mark.parametrize("size", [(640, 360), (360, 640), (416, 416), (300, 100), (20, 15)])
@pytest.mark.parametrize("fit", list(Fit))
@pytest.mark.parametrize("channels", [BGR, RGB], ids=["bgr", "rgb"])
def test_tensor_is_opencvs(size: tuple[int, int], fit: Fit, channels: tuple[int, int, int]) -> None:
    wanted = InputFormat(416, 320, fit, channels, mean=(103.5, 116.3, 123.7), std=(57.4, 57.1, 58.4), fill=114)
    image = picture(*size)
    tensor, _ = Letterbox(wanted).fill(image)
    assert tensor.dtype == np.float32
    np.testing.assert_allclose(tensor.astype(np.float32), reference(image, wanted), atol=2e-5)


def test_a_second_picture_of_another_size_leaves_nothing_of_the_first() -> None:
    wanted = InputFormat(64, 64)
    letterbox = Letterbox(wanted)
    letterbox.fill(picture(64, 64))
    tensor, _ = letterbox.fill(picture(64, 16))
    assert (tensor[:, :, 16:] == 114).all()


@pytest.mark.parametrize(("size", "stripe_px"), [((1024, 1024), 1), ((800, 450), 2)])
def test_shrinking_far_averages_instead_of_skipping(size: tuple[int, int], stripe_px: int) -> None:
    stripes = np.zeros((size[1], size[0], 3), np.uint8)
    stripes[:, np.arange(size[0]) // stripe_px % 2 == 0] = 200
    tensor, placement = Letterbox(InputFormat(128, 128)).fill(stripes)
    tensor = tensor[:, :, : placement.inner_size_px[1]]
    assert np.ptp(tensor) <= 1
    assert abs(float(tensor.mean()) - 100) <= 1


LARGE = [(1920, 1080), (2560, 1440), (3840, 2160), (1665, 937), (1081, 1921)]


@pytest.mark.parametrize("size", LARGE)
def test_a_large_picture_keeps_its_place(size: tuple[int, int]) -> None:
    """Of a picture that grows lighter to the right and downwards, each input pixel has the shade of its place."""
    columns, rows = (np.arange(side) * (250 / side) for side in size)
    image = np.empty((size[1], size[0], 3), np.uint8)
    image[..., 0], image[..., 1], image[..., 2] = columns, rows[:, None], 100
    tensor, placement = Letterbox(InputFormat(416, 416)).fill(image)
    width, height = placement.inner_size_px
    seen = tensor[0, :, :height, :width].astype(np.float32)
    # Half a shade less, since the picture's were rounded down.
    right, down = ((np.arange(side) + 0.5) * (250 / side) - 0.5 for side in (width, height))
    np.testing.assert_allclose(seen[0], np.tile(right, (height, 1)), atol=1.2)
    np.testing.assert_allclose(seen[1], np.tile(down[:, None], (1, width)), atol=1.2)
    assert (seen[2] == 100).all()


@pytest.mark.parametrize("size", LARGE)
def test_noise_of_a_large_picture_is_averaged_away(size: tuple[int, int]) -> None:
    image = picture(*size)
    tensor, placement = Letterbox(InputFormat(416, 416)).fill(image)
    width, height = placement.inner_size_px
    # Of the 16 pixels or more for each of the input, so many are looked at as leave 0.4 of the noise.
    assert tensor[0, :, :height, :width].std() < 0.4 * image.std()


@pytest.mark.parametrize("size", [(1, 1), (1, 1000), (5000, 1), (7680, 4320)])
@pytest.mark.parametrize("fit", list(Fit))
def test_any_size_fits(size: tuple[int, int], fit: Fit) -> None:
    tensor, placement = Letterbox(InputFormat(416, 416, fit)).fill(np.zeros((size[1], size[0], 3), np.uint8))
    assert tensor.shape == (1, 3, 416, 416)
    assert min(placement.inner_size_px) >= 1


@given(st.integers(8, 4000), st.integers(8, 4000), st.sampled_from(list(Fit)), st.floats(0, 1), st.floats(0, 1))
def test_boxes_come_back_to_where_they_were(width: int, height: int, fit: Fit, left: float, top: float) -> None:
    placement = place((width, height), InputFormat(416, 320, fit))
    box = np.asarray([[left * width * 0.8, top * height * 0.8, width * 0.95, height * 0.95]], np.float32)
    scale = np.tile(np.asarray(placement.scale), 2)
    there = (box * scale + np.tile(np.asarray(placement.offset_px), 2)).astype(np.float32)
    np.testing.assert_allclose(placement.to_picture(there), box, atol=0.02 * max(width, height) / 100 + 0.01)


def test_boxes_are_clipped_to_the_picture() -> None:
    placement = place((640, 360), InputFormat(416, 416))
    assert placement.to_picture(np.asarray([[-50, -50, 999, 999]], np.float32)).tolist() == [[0, 0, 640, 360]]
