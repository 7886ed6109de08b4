"""YOLO heads with their decoding inside: v5 with objectness, v8 and later without, and those without suppression.

All are fed alike: RGB, 0 to 1, the picture in the middle of a grey surround.
"""

from collections.abc import Sequence

import numpy as np

from edge_agent.drivers.detectors.decoders.base import (
    MAX_CLASSES,
    UNIT_STD,
    Candidates,
    Decoder,
    Floats,
    Outputs,
    PictureInput,
    Signature,
    check_finite,
    check_probabilities,
    floats,
    from_centres,
    n_cells,
)
from edge_agent.drivers.detectors.letterbox import RGB, Fit, InputFormat

_STRIDES = ((8, 16, 32), (8, 16, 32, 64), (4, 8, 16, 32))
"""Of the usual models, of those for large pictures (P6), and of those for small objects (P2)."""


def _fed(picture: PictureInput) -> InputFormat:
    return InputFormat(picture.width_px, picture.height_px, Fit.CENTRE, RGB, std=UNIT_STD)


def _cell_counts(picture: PictureInput) -> set[int]:
    return {n_cells(picture.width_px, picture.height_px, strides) for strides in _STRIDES}


class YoloV5(Decoder):
    """YOLOv5 (v7 too): three anchors a cell, rows of x, y, w, h in pixels, objectness, class scores."""

    kind = "yolov5"
    family = "YOLOv5"
    _ANCHORS = 3

    def __init__(self, picture: PictureInput, n_classes: int) -> None:
        self.input_format = _fed(picture)
        self.n_classes = n_classes

    @classmethod
    def recognise(cls, signature: Signature) -> "YoloV5 | None":
        # Exported whole, it also gives the three maps that the first output was made of.
        shapes = signature.output_shapes[:1]
        if not shapes or len(shapes[0]) != 3 or not 1 <= shapes[0][2] - 5 <= MAX_CLASSES:
            return None
        if any(len(shape) != 5 for shape in signature.output_shapes[1:]):
            return None
        n_rows, picture = shapes[0][1], signature.picture
        if n_rows % cls._ANCHORS or n_rows // cls._ANCHORS not in _cell_counts(picture):
            return None
        return cls(picture, shapes[0][2] - 5)

    def decode(self, outputs: Outputs, threshold: float) -> Candidates:
        rows = floats(outputs[0])[0]
        check_probabilities(rows[:, 4], "objectness")
        # A score is a product of two numbers up to 1: a row whose objectness is too low cannot come back.
        rows = rows[rows[:, 4] >= threshold]
        classes = rows[:, 5:]
        check_probabilities(classes, "class scores")
        class_ids = classes.argmax(axis=1)
        scores = rows[:, 4] * classes[np.arange(len(classes)), class_ids]
        (picks,) = np.nonzero(scores >= threshold)
        return Candidates(from_centres(rows[picks]), scores[picks], class_ids[picks].astype(np.int32))


class YoloV8(Decoder):
    """YOLOv8, 9, 11, 12: per cell x, y, w, h in pixels and class scores, as columns or as rows."""

    kind = "yolov8"
    family = "YOLOv8"

    def __init__(self, picture: PictureInput, n_classes: int, *, in_rows: bool) -> None:
        """`in_rows`: one row for each cell, instead of one column."""
        self.input_format = _fed(picture)
        self.n_classes = n_classes
        self._in_rows = in_rows

    @classmethod
    def recognise(cls, signature: Signature) -> "YoloV8 | None":
        shapes = signature.output_shapes
        if len(shapes) != 1 or len(shapes[0]) != 3:
            return None
        _, first, second = shapes[0]
        counts = _cell_counts(signature.picture)
        for n_places, depth, in_rows in ((second, first, False), (first, second, True)):
            if n_places in counts and 1 <= depth - 4 <= MAX_CLASSES:
                return cls(signature.picture, depth - 4, in_rows=in_rows)
        return None

    def decode(self, outputs: Outputs, threshold: float) -> Candidates:
        table = floats(outputs[0])[0]
        columns = table.T if self._in_rows else table
        classes = columns[4:]
        best = classes.max(axis=0)
        check_finite(best, "class scores")
        (picks,) = np.nonzero(best >= threshold)
        check_probabilities(classes[:, picks], "class scores")
        class_ids = classes[:, picks].argmax(axis=0).astype(np.int32)
        return Candidates(from_centres(np.ascontiguousarray(columns[:4, picks].T)), best[picks], class_ids)

    def settle(self, runs: Sequence[Outputs]) -> Decoder:
        for outputs in runs:
            # While it runs, only what reaches the threshold is looked at: logits, nearly all negative, would not.
            table = floats(outputs[0])[0]
            check_probabilities(table[:, 4:] if self._in_rows else table[4:], "class scores")
        return self


class EndToEnd(Decoder):
    """YOLOv10, YOLO26 and exports with suppression inside: rows of x1, y1, x2, y2 in pixels, score, class."""

    kind = "end-to-end"
    family = "end-to-end YOLO"
    needs_suppression = False
    _WIDTH = 6

    def __init__(self, picture: PictureInput) -> None:
        self.input_format = _fed(picture)

    @classmethod
    def recognise(cls, signature: Signature) -> "EndToEnd | None":
        shapes = signature.output_shapes
        if len(shapes) != 1 or len(shapes[0]) != 3 or shapes[0][2] != cls._WIDTH:
            return None
        return cls(signature.picture)

    def decode(self, outputs: Outputs, threshold: float) -> Candidates:
        rows = floats(outputs[0])[0]
        check_probabilities(rows[:, 4], "scores")
        kept: Floats = rows[rows[:, 4] >= threshold]
        return Candidates(kept[:, :4], kept[:, 4], kept[:, 5].astype(np.int32))
