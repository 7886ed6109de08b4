"""From a picture to a model's input tensor, and back from its pixels to the picture's."""

from dataclasses import dataclass
from enum import Enum

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_agent.domain.frames import Image

Floats = NDArray[np.float32]
RGB = (2, 1, 0)
BGR = (0, 1, 2)


class Fit(Enum):
    """How a picture comes into a model's rectangle."""

    TOP_LEFT = "top left"
    """Keeps its shape, at the top left; the rest is filled."""
    CENTRE = "centre"
    """Keeps its shape, in the middle; the rest is filled."""
    STRETCH = "stretch"
    """Fills the rectangle and loses its shape."""


@dataclass(frozen=True, slots=True)
class InputFormat:
    """What a model wants to be fed.

    The tensor is `(pixel - mean) / std`, per channel, in the order of `channels`.

    Attributes:
        width_px, height_px: of its input.
        channels: which of B, G, R comes first, second and third.
        mean, std: in the units of pixels, 0..255, in the model's channel order.
        fill: the pixel value around the picture.
    """

    width_px: int
    height_px: int
    fit: Fit = Fit.TOP_LEFT
    channels: tuple[int, int, int] = BGR
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    fill: float = 114.0


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a picture lies in the input: `input = picture * scale + offset`, for x and y each."""

    picture_size_px: tuple[int, int]
    inner_size_px: tuple[int, int]
    offset_px: tuple[int, int]

    @property
    def scale(self) -> tuple[float, float]:
        """Input pixels per picture pixel, as x and y. The two differ by rounding only, unless it was stretched."""
        (width, height), (inner_width, inner_height) = self.picture_size_px, self.inner_size_px
        return inner_width / width, inner_height / height

    def to_picture(self, boxes_px: Floats) -> Floats:
        """Boxes (n, 4) from input pixels to picture pixels, clipped to the picture."""
        origin = np.tile(np.asarray(self.offset_px, np.float32), 2)
        scale = np.tile(np.asarray(self.scale, np.float32), 2)
        limits = np.tile(np.asarray(self.picture_size_px, np.float32), 2)
        return np.asarray(np.clip((boxes_px - origin) / scale, 0, limits), np.float32)


def place(picture_size_px: tuple[int, int], wanted: InputFormat) -> Placement:
    """Where a picture of (width, height) goes. It fills the input one way, and never vanishes the other way."""
    width, height = picture_size_px
    if wanted.fit is Fit.STRETCH:
        return Placement(picture_size_px, (wanted.width_px, wanted.height_px), (0, 0))
    ratio = min(wanted.width_px / width, wanted.height_px / height)
    inner = (max(1, int(width * ratio)), max(1, int(height * ratio)))
    if wanted.fit is Fit.TOP_LEFT:
        return Placement(picture_size_px, inner, (0, 0))
    return Placement(
        picture_size_px, inner, ((wanted.width_px - inner[0]) // 2, (wanted.height_px - inner[1]) // 2)
    )


class Letterbox:
    """Fills one tensor again and again. Only what the picture covers is written; the rest stays."""

    def __init__(self, wanted: InputFormat) -> None:
        self._wanted = wanted
        self._mean = np.asarray(wanted.mean, np.float32)
        self._factor = np.float32(1) / np.asarray(wanted.std, np.float32)
        self._tensor = np.empty((1, 3, wanted.height_px, wanted.width_px), np.float32)
        self._placement: Placement | None = None
        self._resized = np.empty((0, 0, 3), np.uint8)

    def fill(self, image: Image) -> tuple[Floats, Placement]:
        """The tensor (1, 3, height, width) of a picture, good until the next call, and where the picture lies."""
        height, width = image.shape[:2]
        if self._placement is None or self._placement.picture_size_px != (width, height):
            self._prepare((width, height))
        placement = self._placement
        assert placement is not None
        smaller = _halved_towards(image, max(placement.scale))
        cv2.resize(smaller, placement.inner_size_px, dst=self._resized, interpolation=cv2.INTER_LINEAR)
        self._write(placement)
        return self._tensor, placement

    def _prepare(self, picture_size_px: tuple[int, int]) -> None:
        self._placement = place(picture_size_px, self._wanted)
        inner_width, inner_height = self._placement.inner_size_px
        self._resized = np.empty((inner_height, inner_width, 3), np.uint8)
        background = (self._wanted.fill - self._mean) * self._factor
        self._tensor[:] = background[None, :, None, None]

    def _write(self, placement: Placement) -> None:
        (x, y), (width, height) = placement.offset_px, placement.inner_size_px
        for plane, channel in enumerate(self._wanted.channels):
            target = self._tensor[0, plane, y : y + height, x : x + width]
            np.copyto(target, self._resized[:, :, channel])
            if self._mean[plane] != 0:
                target -= self._mean[plane]
            if self._factor[plane] != 1:
                target *= self._factor[plane]


def _halved_towards(image: Image, scale: float) -> Image:
    """The picture, halved while it stays larger than `scale` of its size.

    Bilinear sampling alone reads four pixels and skips the others, so that small vehicles flicker when a large
    picture shrinks. Averaging 2x2 pixels is the one exact reduction that costs next to nothing.
    """
    while scale <= 0.5 and min(image.shape[:2]) >= 2:
        height, width = image.shape[0] // 2, image.shape[1] // 2
        half = cv2.resize(image[: 2 * height, : 2 * width], (width, height), interpolation=cv2.INTER_AREA)
        image = np.asarray(half, np.uint8)
        scale *= 2
    return image
