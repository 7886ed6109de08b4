"""What the cameras of the tests show: a still street with noise, and a box that drives across it now and then."""

import cv2
import numpy as np

Size = tuple[int, int]
SIZE: Size = (320, 240)
PERIOD_S = 4.0
VISIBLE_S = 2.0
"""Of each period the box is in the picture for so long, from the top edge to the bottom edge, at even speed."""


def street(t_s: float, size: Size = SIZE) -> np.ndarray:
    """The picture at a moment, (h, w, 3); the same each time but for its noise."""
    width, height = size
    rng = np.random.default_rng(5)
    image = rng.integers(90, 110, (height, width, 3), np.uint8)
    phase_s = t_s % PERIOD_S
    if phase_s < VISIBLE_S:
        y = round(phase_s / VISIBLE_S * (height + 60)) - 60
        cv2.rectangle(image, (width // 2 - 30, y), (width // 2 + 30, y + 50), (30, 40, 220), -1)
    noise = np.random.default_rng(int(t_s * 1000)).integers(0, 6, image.shape, np.uint8)
    return np.asarray(image + noise, np.uint8)


def crosses_middle_s(n: int) -> float:
    """When the middle of the `n`-th box is in the middle of the picture."""
    return n * PERIOD_S + VISIBLE_S * (SIZE[1] / 2 + 35) / (SIZE[1] + 60)


def jpeg(image: np.ndarray) -> bytes:
    """As a camera codes it."""
    ok, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 90])
    assert ok
    return data.tobytes()
