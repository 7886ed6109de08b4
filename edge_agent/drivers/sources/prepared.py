"""Turns pictures and paints over what nobody may see, before anything else gets hold of them."""

from collections.abc import Sequence
from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_agent.domain.frames import Frame, Image
from edge_agent.domain.shapes import Zone, check_inside
from edge_agent.drivers.base import FrameSource, SourceUnusable
from edge_agent.drivers.sources.options import SourceOptions

_TURNS = {90: cv2.ROTATE_90_CLOCKWISE, 180: cv2.ROTATE_180, 270: cv2.ROTATE_90_COUNTERCLOCKWISE}


def prepared(source: FrameSource, options: SourceOptions) -> FrameSource:
    """`source` with its pictures turned and masked, if that is asked for."""
    return PreparedSource(source, options) if options.rotation_deg or options.masks else source


def as_drawn(source: FrameSource) -> FrameSource:
    """The source below, if its pictures lie as it makes them: only masked, or not prepared at all."""
    if isinstance(source, PreparedSource) and not source.turned:
        return source.below
    return source


class PreparedSource:
    """A source whose pictures are turned first, and then masked."""

    def __init__(self, source: FrameSource, options: SourceOptions) -> None:
        self.below = source
        self._turn = _TURNS.get(options.rotation_deg)
        self._masks = options.masks
        self._painter: Painter | None = None

    @property
    def turned(self) -> bool:
        """Whether its pictures are not as its source gives them."""
        return self._turn is not None

    @property
    def live(self) -> bool:
        return self.below.live

    def open(self) -> None:
        self._painter = None
        self.below.open()

    def read(self, timeout_s: float) -> Frame:
        """As the source's own; a mask that does not fit the picture makes it `SourceUnusable`."""
        frame = self.below.read(timeout_s)
        image = frame.image
        if self._turn is not None:
            image = np.asarray(cv2.rotate(image, self._turn), np.uint8)
        if self._masks:
            self._painter = self._painter or Painter(self._masks, (image.shape[1], image.shape[0]))
            image = self._painter.paint(image)
        return replace(frame, image=image)

    def close(self) -> None:
        self.below.close()


class Painter:
    """Paints polygons over, in pictures of one size.

    Raises:
        SourceUnusable: a mask does not lie in the picture, or nothing of it is left.
    """

    def __init__(self, masks: Sequence[Zone], size_px: tuple[int, int]) -> None:
        try:
            for mask in masks:
                check_inside(mask, size_px, kind="mask")
        except ValueError as error:
            # Drawn on a picture of another size, it would leave open what it is to hide.
            raise SourceUnusable(str(error)) from error
        # One by one, since where two polygons of one call overlap nothing is painted.
        self._corners: list[NDArray[np.int32]] = [np.rint(mask.points_px).astype(np.int32) for mask in masks]
        trial = self.paint(np.full((size_px[1], size_px[0], 3), 255, np.uint8))
        if not trial.any():
            raise SourceUnusable("the masks cover the whole picture: nothing is left to look at")

    def paint(self, image: Image) -> Image:
        """The picture with black where it is masked; painted in place where that is possible."""
        image = np.require(image, np.uint8, ["C", "W"])
        for corners in self._corners:
            cv2.fillPoly(image, [corners], (0, 0, 0))
        return image
