"""A picture that a technician may take away: enough to see where the camera looks, and nobody in it.

What was found is made of a few large squares, and the whole is so small that neither a face nor a number plate can
be read where nothing was found.
"""

import cv2
import numpy as np

from edge_agent.domain.frames import Detections, Image

LONGEST_PX = 320
"""At this size a number plate of a car that fills a third of the picture has four pixels for each letter."""
SQUARES = 6
"""A box is made of so many squares each way."""
_MARGIN = 0.1
_JPEG_QUALITY = 85


def snapshot_jpeg(image: Image, found: Detections) -> bytes:
    """The picture, already masked, as a small JPEG in which all that was found is unrecognisable."""
    scale = min(1.0, LONGEST_PX / max(image.shape[:2]))
    size = max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale))
    small = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
    for box in found.boxes_px:
        _coarsen(small, box * scale)
    ok, data = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    if not ok:
        raise ValueError(f"a picture of {size[0]}x{size[1]} cannot be made a JPEG")
    return data.tobytes()


def _coarsen(image: Image, box_px: np.ndarray) -> None:
    """Make a box, and a little around it, of a few large squares."""
    margin = _MARGIN * (box_px[2:] - box_px[:2])
    left, top = np.floor(np.maximum(0, box_px[:2] - margin)).astype(int)
    right, bottom = np.ceil(box_px[2:] + margin).astype(int)
    part = image[top:bottom, left:right]
    if part.size:
        few = cv2.resize(
            part, (min(SQUARES, part.shape[1]), min(SQUARES, part.shape[0])), interpolation=cv2.INTER_AREA
        )
        part[:] = cv2.resize(few, (part.shape[1], part.shape[0]), interpolation=cv2.INTER_NEAREST)
