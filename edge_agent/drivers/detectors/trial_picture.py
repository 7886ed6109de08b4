"""The picture that a model is tried on."""

from pathlib import Path

import cv2
import numpy as np

from edge_agent.domain.frames import Image
from edge_agent.drivers.base import DetectorError
from edge_agent.drivers.sim.source import SceneSource

_SCENE, _AT_S = "night", 30.0
"""A moment of a simulated street in which models of real streets recognise something."""
_MOMENTS = (("night", 33.0), ("night", 45.0), ("night", 100.0), ("road", 45.0), ("road", 100.0))
"""In one of these each of them does, whatever its size."""


def picture_from(path: Path | None) -> tuple[Image, str]:
    """The picture in a file, or a simulated one, and what it is, in words.

    Raises:
        DetectorError: there is no picture in the file.
    """
    if path is None:
        return SceneSource(_SCENE, realtime=False).picture(_AT_S), f"sim:{_SCENE}, a simulated street"
    image = cv2.imread(str(path), cv2.IMREAD_COLOR) if path.is_file() else None
    if image is None:
        raise DetectorError(f"{path} is no picture that can be read; give a JPEG or PNG file")
    return np.asarray(image, np.uint8), str(path)


def pictures_from(path: Path | None) -> list[Image]:
    """The picture in a file, or several simulated ones.

    Raises:
        DetectorError: there is no picture in the file.
    """
    if path is None:
        return [SceneSource(name, realtime=False).picture(at_s) for name, at_s in _MOMENTS]
    return [picture_from(path)[0]]
