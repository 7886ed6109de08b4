"""YOLOX: one row of x, y, w, h, objectness and class scores per cell."""

from collections.abc import Sequence
from typing import Self

import numpy as np

from edge_agent.drivers.detectors.decoders.base import (
    MAX_CLASSES,
    Candidates,
    Decoder,
    Floats,
    Outputs,
    Signature,
    cells,
    check_finite,
    check_probabilities,
    check_range,
    floats,
    from_centres,
    look_like_logits,
    n_cells,
    sigmoid,
)
from edge_agent.drivers.detectors.letterbox import InputFormat


class YoloX(Decoder):
    """YOLOX, with boxes in units of the cell, or decoded already; with scores, or before their sigmoid."""

    kind = "yolox"
    family = "YOLOX"
    _STRIDES = ((8, 16, 32), (8, 16, 32, 64))

    def __init__(
        self,
        width_px: int,
        height_px: int,
        strides: Sequence[int],
        n_classes: int,
        *,
        in_pixels: bool = False,
        objectness_logits: bool = False,
        class_logits: bool = False,
    ) -> None:
        """`in_pixels`: boxes come decoded. The logits: a sigmoid is still to be taken of them."""
        self.input_format = InputFormat(width_px, height_px)
        self.n_classes = n_classes
        self._levels = strides
        self._in_pixels = in_pixels
        self._objectness_logits, self._class_logits = objectness_logits, class_logits
        self._corners, self._strides = cells(width_px, height_px, strides)
        self._origins_px = self._corners * self._strides[:, None]
        self._half_strides = self._strides[:, None] / 2

    @classmethod
    def recognise(cls, signature: Signature) -> Self | None:
        shapes = signature.output_shapes
        if len(shapes) != 1 or len(shapes[0]) != 3 or not 1 <= shapes[0][2] - 5 <= MAX_CLASSES:
            return None
        picture = signature.picture
        for strides in cls._STRIDES:
            if shapes[0][1] == n_cells(picture.width_px, picture.height_px, strides):
                return cls(picture.width_px, picture.height_px, strides, shapes[0][2] - 5)
        return None

    def settle(self, runs: Sequence[Outputs]) -> "YoloX":
        rows = [floats(outputs[0])[0] for outputs in runs]
        return YoloX(
            self.input_format.width_px,
            self.input_format.height_px,
            self._levels,
            self.n_classes or 0,
            in_pixels=self._centres_are_in_pixels(np.concatenate(rows), len(runs)),
            objectness_logits=look_like_logits([part[:, 4] for part in rows]),
            class_logits=look_like_logits([part[:, 5:] for part in rows]),
        )

    def _centres_are_in_pixels(self, rows: Floats, n_runs: int) -> bool:
        """A cell's box has its centre in or near the cell: by which reading of the numbers is that so?"""
        corners, strides = np.tile(self._corners, (n_runs, 1)), np.tile(self._strides, n_runs)[:, None]
        raw_off = np.median(np.abs(rows[:, :2] - 0.5))
        decoded_off = np.median(np.abs(rows[:, :2] / strides - corners - 0.5))
        return bool(decoded_off < raw_off)

    def decode(self, outputs: Outputs, threshold: float) -> Candidates:
        rows = floats(outputs[0])[0]
        # A copy, since this column is looked at several times, and each time all rows would be fetched for it.
        likely = self._likely(rows[:, 4].copy(), threshold)
        rows = rows.take(likely, axis=0)
        classes = rows[:, 5:]
        class_ids = classes.argmax(axis=1)
        # To look each up where it is known to be costs less than to search again.
        best = rows.reshape(-1).take(np.arange(5, rows.size, rows.shape[1]) + class_ids)
        if self._class_logits:
            check_finite(best, "class scores")
            best = sigmoid(best)
        elif best.size:
            # NaN is taken for the largest, so it is among the best.
            check_range(float(classes.min()), float(best.max()), "class scores")
        best *= sigmoid(rows[:, 4]) if self._objectness_logits else rows[:, 4]
        picks = (best >= threshold).nonzero()[0]
        boxes = self._boxes(rows[:, :4].take(picks, axis=0), likely.take(picks))
        return Candidates(boxes, best.take(picks), class_ids.take(picks).astype(np.int32))

    def _likely(self, objectness: Floats, threshold: float) -> np.ndarray[tuple[int], np.dtype[np.intp]]:
        """A score is a product of two numbers up to 1: a row whose objectness is too low cannot come back."""
        if not self._objectness_logits:
            check_probabilities(objectness, "objectness")
            return (objectness >= threshold).nonzero()[0]
        check_finite(objectness, "objectness")
        # Compared as logits, which spares the sigmoid of thousands of rows; the rounding is left to the product.
        least = np.log(threshold / (1 - threshold)) - 1e-4 if 0 < threshold < 1 else -np.inf
        return np.flatnonzero(objectness >= least)

    def _boxes(self, rows: Floats, picks: np.ndarray[tuple[int], np.dtype[np.intp]]) -> Floats:
        if self._in_pixels:
            return from_centres(rows)
        origin, half_stride = self._origins_px.take(picks, axis=0), self._half_strides.take(picks, axis=0)
        # Strides are powers of two, so the order of these does not matter to the last bit.
        centres = rows[:, :2] * (half_stride + half_stride)
        centres += origin
        # What is too large becomes infinite, and is told as such by whoever asked.
        with np.errstate(over="ignore"):
            halves = np.exp(rows[:, 2:4])
            halves *= half_stride
        boxes = np.empty((len(rows), 4), np.float32)
        np.subtract(centres, halves, out=boxes[:, :2])
        np.add(centres, halves, out=boxes[:, 2:])
        return boxes
