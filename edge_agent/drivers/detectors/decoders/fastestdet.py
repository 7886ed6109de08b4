"""FastestDet: one map of objectness, box and class scores."""

import numpy as np

from edge_agent.drivers.detectors.decoders.base import (
    UNIT_STD,
    Candidates,
    Decoder,
    Outputs,
    Signature,
    check_probabilities,
    floats,
    sigmoid,
)
from edge_agent.drivers.detectors.letterbox import Fit, InputFormat


class FastestDet(Decoder):
    """FastestDet: one map of objectness, box and class scores; centre by tanh, size by sigmoid."""

    kind = "fastestdet"
    family = "FastestDet"
    sure_score = 0.65

    def __init__(self, width_px: int, height_px: int, columns: int, rows: int, n_classes: int) -> None:
        self.input_format = InputFormat(width_px, height_px, Fit.STRETCH, std=UNIT_STD)
        self.n_classes = n_classes
        self._columns, self._rows = columns, rows

    @classmethod
    def recognise(cls, signature: Signature) -> "FastestDet | None":
        shapes = signature.output_shapes
        if len(shapes) != 1 or len(shapes[0]) != 4 or shapes[0][1] < 6:
            return None
        picture = signature.picture
        width, height = picture.width_px, picture.height_px
        _, depth, rows, columns = shapes[0]
        return (
            cls(width, height, columns, rows, depth - 5)
            if (columns, rows) == (width // 16, height // 16)
            else None
        )

    def decode(self, outputs: Outputs, threshold: float) -> Candidates:
        cells = floats(outputs[0])[0].reshape(5 + (self.n_classes or 0), -1)
        check_probabilities(cells[0], "objectness")
        check_probabilities(cells[5:], "class scores")
        best = cells[5:].max(axis=0)
        scores = cells[0] ** 0.6 * best**0.4
        (picks,) = np.nonzero(scores >= threshold)
        cells = cells[:, picks]
        x = (picks % self._columns + np.tanh(cells[1])) / self._columns * self.input_format.width_px
        y = (picks // self._columns + np.tanh(cells[2])) / self._rows * self.input_format.height_px
        half_w = sigmoid(cells[3]) * self.input_format.width_px / 2
        half_h = sigmoid(cells[4]) * self.input_format.height_px / 2
        boxes = np.stack([x - half_w, y - half_h, x + half_w, y + half_h], axis=1).astype(np.float32)
        return Candidates(boxes, scores[picks], cells[5:].argmax(axis=0).astype(np.int32))
