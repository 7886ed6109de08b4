"""From a picture to a model's input tensor, and back from its pixels to the picture's."""

from dataclasses import dataclass, field
from enum import Enum

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_agent.domain.frames import Image

Floats = NDArray[np.float32]
_MOST_AT_ONCE = 2.5
"""By this factor a picture may become less wide in the last step, which looks at two pixels each way."""
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
        dtype: float32, float16 or uint8. What takes bytes scales them itself: mean and std are not used then.
        channels_last: (1, height, width, 3) instead of (1, 3, height, width).
    """

    width_px: int
    height_px: int
    fit: Fit = Fit.TOP_LEFT
    channels: tuple[int, int, int] = BGR
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    fill: float = 114.0
    dtype: type[np.generic] = np.float32
    channels_last: bool = False


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a picture lies in the input: `input = picture * scale + offset`, for x and y each."""

    picture_size_px: tuple[int, int]
    inner_size_px: tuple[int, int]
    offset_px: tuple[int, int]
    _offsets_px: Floats = field(init=False, repr=False, compare=False)
    _scales: Floats = field(init=False, repr=False, compare=False)
    _most_px: Floats = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """What `to_picture` needs for each box, worked out once."""
        for name, pair in (
            ("_offsets_px", self.offset_px),
            ("_scales", self.scale),
            ("_most_px", self.picture_size_px),
        ):
            object.__setattr__(self, name, np.array(pair * 2, np.float32))

    @property
    def scale(self) -> tuple[float, float]:
        """Input pixels per picture pixel, as x and y. The two differ by rounding only, unless it was stretched."""
        (width, height), (inner_width, inner_height) = self.picture_size_px, self.inner_size_px
        return inner_width / width, inner_height / height

    def to_picture(self, boxes_px: Floats) -> Floats:
        """Boxes (n, 4) from input pixels to picture pixels, clipped to the picture."""
        placed = boxes_px - self._offsets_px
        placed /= self._scales
        np.maximum(placed, np.float32(0), out=placed)
        np.minimum(placed, self._most_px, out=placed)
        return placed


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
        bytes_wanted = wanted.dtype is np.uint8
        mean = np.zeros(3, np.float32) if bytes_wanted else np.asarray(wanted.mean, np.float32)
        std = np.ones(3, np.float32) if bytes_wanted else np.asarray(wanted.std, np.float32)
        self._mean, self._factor = mean[:, None, None], np.float32(1) / std[:, None, None]
        self._as_they_are = not mean.any() and bool((std == 1).all())
        size = wanted.height_px, wanted.width_px
        self._tensor = np.empty((1, *size, 3) if wanted.channels_last else (1, 3, *size), wanted.dtype)
        # The same memory, colour by colour, whatever its order.
        planes = self._tensor[0].transpose(2, 0, 1) if wanted.channels_last else self._tensor[0]
        self._planes: NDArray[np.generic] = planes
        self._placement: Placement | None = None

    def fill(self, image: Image) -> tuple[NDArray[np.generic], Placement]:
        """The tensor of a picture, good until the next call, and where the picture lies.

        Raises:
            ValueError: it is no colour picture of 8 bits.
        """
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or image.size == 0:
            raise ValueError(
                f"a picture of {' x '.join(map(str, image.shape))} {image.dtype} cannot be looked at; "
                "it has to be height x width x 3 colours of 8 bits"
            )
        height, width = image.shape[:2]
        if self._placement is None or self._placement.picture_size_px != (width, height):
            self._prepare((width, height))
        placement = self._placement
        assert placement is not None
        image = image[:: self._row_step]
        for smaller in self._smaller:
            image = _halved(image, smaller)
        cv2.resize(image, placement.inner_size_px, dst=self._shrunk, interpolation=cv2.INTER_LINEAR)
        cv2.split(self._shrunk, self._by_colour)
        self._write()
        return self._tensor, placement

    def _prepare(self, picture_size_px: tuple[int, int]) -> None:
        self._placement = placement = place(picture_size_px, self._wanted)
        (x, y), (width, height) = placement.offset_px, placement.inner_size_px
        self._row_step, sizes = _steps(picture_size_px, placement.inner_size_px)
        self._smaller = [np.empty((*size[::-1], 3), np.uint8) for size in sizes]
        self._shrunk = np.empty((height, width, 3), np.uint8)
        # In the model's order: OpenCV fills them in its own.
        self._colours = np.empty((3, height, width), np.uint8)
        self._by_colour = [self._colours[self._wanted.channels.index(colour)] for colour in range(3)]
        background = (np.float32(self._wanted.fill) - self._mean) * self._factor
        self._planes[:] = background.astype(self._wanted.dtype)
        self._covered = self._planes[:, y : y + height, x : x + width]

    def _write(self) -> None:
        if self._as_they_are:
            np.copyto(self._covered, self._colours, casting="unsafe")
        elif self._wanted.dtype is np.float32:
            np.subtract(self._colours, self._mean, out=self._covered, dtype=np.float32)
            np.multiply(self._covered, self._factor, out=self._covered)
        else:
            np.copyto(self._covered, (self._colours - self._mean) * self._factor, casting="unsafe")


def _steps(picture_size_px: tuple[int, int], inner_size_px: tuple[int, int]) -> tuple[int, list[tuple[int, int]]]:
    """How a picture is brought near its size in the input: every how many rows of it are looked at, and the sizes
    that it is halved to.

    Bilinear sampling alone reads four pixels and skips the others, so that small vehicles flicker when a large
    picture shrinks. Averaging 2x2 pixels is the one exact reduction that costs next to nothing. Where it would be
    due twice, half of the rows are enough, two for each of the input: the time goes into fetching a large picture
    from memory, and models find the same in it.
    """
    (width, height), (inner_width, inner_height) = picture_size_px, inner_size_px
    row_step = 2 if width >= 4 * inner_width and height >= 4 * inner_height else 1
    height //= row_step
    sizes = []
    while width >= 2 * inner_width and height >= 2 * inner_height:
        width, height = width // 2, height // 2
        sizes.append((width, height))
    if row_step > 1 and width >= _MOST_AT_ONCE * inner_width:
        sizes.append((width // 2, height))
    return row_step, sizes


def _halved(picture: NDArray[np.uint8], half: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Averages of 2x2 or 2x1 pixels, written into `half`: fresh memory would cost more than the averaging."""
    height, width = half.shape[:2]
    both = len(picture) > height
    # At exactly half the width, linear interpolation is the average of two; what averages areas is slow there.
    how = cv2.INTER_AREA if both else cv2.INTER_LINEAR
    cv2.resize(picture[: 2 * height, : 2 * width], (width, height), dst=half, interpolation=how)
    return half
