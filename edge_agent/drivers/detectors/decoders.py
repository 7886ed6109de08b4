"""What the outputs of known families of models mean.

A model file says nothing about its family. `recognise` tells it from the shapes of a model's inputs and outputs,
as seen in one run on an empty picture; each family is one `Decoder`, and adding one means adding it to `FAMILIES`.
Decoding happens in the pixels of the model's input; the caller maps boxes back to the picture and suppresses.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from edge_agent.drivers.base import DetectorError
from edge_agent.drivers.detectors.letterbox import RGB, Fit, InputFormat

Floats = NDArray[np.float32]
IMAGENET_BGR_MEAN, IMAGENET_BGR_STD = (103.53, 116.28, 123.675), (57.375, 57.12, 58.395)
IMAGENET_RGB_MEAN, IMAGENET_RGB_STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)


@dataclass(frozen=True, slots=True)
class Signature:
    """A model's outside.

    Attributes:
        inputs: name and shape of each; sizes that the model leaves open are None.
        outputs: name and the shape that a run gave.
    """

    inputs: Mapping[str, tuple[int | None, ...]]
    outputs: Mapping[str, tuple[int, ...]]

    @property
    def picture(self) -> tuple[str, int, int]:
        """Name, width and height of the input that takes the picture.

        Raises:
            DetectorError: there is none, or it leaves its size open.
        """
        for name, shape in self.inputs.items():
            if len(shape) == 4 and shape[1] == 3:
                height, width = shape[2:]
                if height is None or width is None:
                    raise DetectorError(
                        f"the model's input {name!r} leaves its size open; export it for one size, such as 416x416"
                    )
                return name, width, height
        raise DetectorError(
            f"the model has no input for a picture (batch x 3 x height x width); it has {_shapes(self.inputs)}"
        )


@dataclass(frozen=True, slots=True)
class Candidates:
    """Boxes that a model proposes, before suppression, in pixels of its input.

    Attributes:
        boxes_px: (n, 4): x1, y1, x2, y2.
        scores: (n,), each at least the threshold asked for.
        class_ids: (n,).
    """

    boxes_px: Floats
    scores: Floats
    class_ids: NDArray[np.int32]


class Decoder(Protocol):
    """One family of models, bound to one model's sizes."""

    @property
    def family(self) -> str:
        """Its name, for people."""

    @property
    def input_format(self) -> InputFormat:
        """What it is fed with."""

    @property
    def n_classes(self) -> int | None:
        """How many classes it tells apart; None if its outputs do not show it."""

    @property
    def needs_suppression(self) -> bool:
        """False for models that give each object once by themselves."""

    def decode(self, outputs: Sequence[NDArray[np.generic]], threshold: float) -> Candidates:
        """Candidates of one picture.

        Args:
            outputs: in the order of the model.

        Raises:
            DetectorError: scores that are no probabilities.
        """


def recognise(signature: Signature) -> Decoder:
    """The decoder for a model that looks like this.

    Raises:
        DetectorError: no family looks like it; the message shows its outputs and what is supported.
    """
    for family in FAMILIES:
        decoder = family(signature)
        if decoder is not None:
            return decoder
    raise DetectorError(
        f"the model's outputs are of no kind that is known here: {_shapes(signature.outputs)}. Supported are "
        "YOLOX, NanoDet, PicoDet and FastestDet, exported without suppression, and the DETR family with "
        "the outputs labels, boxes and scores"
    )


class YoloX:
    """YOLOX: one row of x, y, w, h, objectness and class scores per cell, in units of the cell."""

    family = "YOLOX"
    needs_suppression = True
    _STRIDES = ((8, 16, 32), (8, 16, 32, 64))
    _MAX_CLASSES = 1000

    def __init__(self, width_px: int, height_px: int, strides: Sequence[int], n_classes: int) -> None:
        self.input_format = InputFormat(width_px, height_px)
        self.n_classes: int | None = n_classes
        self._corners, self._strides = _cells(width_px, height_px, strides)

    @classmethod
    def recognise(cls, signature: Signature) -> "YoloX | None":
        shapes = list(signature.outputs.values())
        if len(shapes) != 1 or len(shapes[0]) != 3 or not 1 <= shapes[0][2] - 5 <= cls._MAX_CLASSES:
            return None
        _, width, height = signature.picture
        for strides in cls._STRIDES:
            if shapes[0][1] == sum(_n_cells(width, height, stride) for stride in strides):
                return cls(width, height, strides, shapes[0][2] - 5)
        return None

    def decode(self, outputs: Sequence[NDArray[np.generic]], threshold: float) -> Candidates:
        rows = _floats(outputs[0])[0]
        objectness = rows[:, 4]
        _check_probabilities(objectness, "objectness")
        # A score is a product of two numbers up to 1: a row whose objectness is too low cannot come back.
        (likely,) = np.nonzero(objectness >= threshold)
        rows = rows[likely]
        _check_probabilities(rows[:, 5:], "class scores")
        picks, scores, class_ids = _best_class(rows[:, 5:] * rows[:, 4:5], threshold)
        rows, cells = rows[picks], likely[picks]
        stride = self._strides[cells][:, None]
        centres = (rows[:, :2] + self._corners[cells]) * stride
        halves = np.exp(rows[:, 2:4]) * stride / 2
        return Candidates(np.hstack([centres - halves, centres + halves]), scores, class_ids)


class DistributionHead:
    """NanoDet and PicoDet: per stride class scores, and distances to the four sides as distributions over bins."""

    needs_suppression = True
    _BINS = 8

    def __init__(
        self,
        family: str,
        input_format: InputFormat,
        levels: Sequence[tuple[int, int, int]],
        n_classes: int,
        cell_centre: float,
    ) -> None:
        """`levels`: index of the scores, index of the distances, stride; `cell_centre`: in units of the cell."""
        self.family = family
        self.input_format = input_format
        self.n_classes: int | None = n_classes
        self._levels = [
            (
                scores,
                distances,
                stride,
                (_grid(input_format.width_px, input_format.height_px, stride) + cell_centre) * stride,
            )
            for scores, distances, stride in levels
        ]

    @classmethod
    def recognise(cls, signature: Signature) -> "DistributionHead | None":
        shapes = list(signature.outputs.values())
        n = len(shapes) // 2
        if len(shapes) not in (6, 8) or any(len(shape) != 3 for shape in shapes):
            return None
        if any(shape[2] != 4 * cls._BINS for shape in shapes[n:]) or len({shape[2] for shape in shapes[:n]}) != 1:
            return None
        _, width, height = signature.picture
        levels = [(i, i + n, 8 * 2**i) for i in range(n)]
        if any(shapes[i][1] != _n_cells(width, height, stride) for i, _, stride in levels):
            return None
        return cls._of(n, width, height, levels, shapes[0][2])

    @classmethod
    def _of(
        cls, n_levels: int, width: int, height: int, levels: list[tuple[int, int, int]], n_classes: int
    ) -> "DistributionHead":
        if n_levels == 3:
            fed = InputFormat(width, height, Fit.CENTRE, mean=IMAGENET_BGR_MEAN, std=IMAGENET_BGR_STD, fill=0.0)
            return cls("NanoDet", fed, levels, n_classes, cell_centre=0.5)
        fed = InputFormat(width, height, Fit.STRETCH, RGB, IMAGENET_RGB_MEAN, IMAGENET_RGB_STD)
        return cls("PicoDet", fed, levels, n_classes, cell_centre=0.5)

    def decode(self, outputs: Sequence[NDArray[np.generic]], threshold: float) -> Candidates:
        found = [
            self._decode_level(
                _floats(outputs[scores])[0], _floats(outputs[distances])[0], stride, centres, threshold
            )
            for scores, distances, stride, centres in self._levels
        ]
        return Candidates(
            np.concatenate([level.boxes_px for level in found]),
            np.concatenate([level.scores for level in found]),
            np.concatenate([level.class_ids for level in found]),
        )

    def _decode_level(
        self, scores: Floats, bins: Floats, stride: int, centres: Floats, threshold: float
    ) -> Candidates:
        _check_probabilities(scores, "class scores")
        picks, best, class_ids = _best_class(scores, threshold)
        weights = _softmax(bins[picks].reshape(-1, 4, self._BINS))
        distances = weights @ np.arange(self._BINS, dtype=np.float32) * stride
        middle = centres[picks]
        return Candidates(np.hstack([middle - distances[:, :2], middle + distances[:, 2:]]), best, class_ids)


class FastestDet:
    """FastestDet: one map of objectness, box and class scores; centre by tanh, size by sigmoid."""

    family = "FastestDet"
    needs_suppression = True

    def __init__(self, width_px: int, height_px: int, columns: int, rows: int, n_classes: int) -> None:
        self.input_format = InputFormat(width_px, height_px, Fit.STRETCH, std=(255.0, 255.0, 255.0))
        self.n_classes: int | None = n_classes
        self._columns, self._rows = columns, rows

    @classmethod
    def recognise(cls, signature: Signature) -> "FastestDet | None":
        shapes = list(signature.outputs.values())
        if len(shapes) != 1 or len(shapes[0]) != 4 or shapes[0][1] < 6:
            return None
        _, width, height = signature.picture
        _, depth, rows, columns = shapes[0]
        return (
            cls(width, height, columns, rows, depth - 5)
            if (columns, rows) == (width // 16, height // 16)
            else None
        )

    def decode(self, outputs: Sequence[NDArray[np.generic]], threshold: float) -> Candidates:
        cells = _floats(outputs[0])[0].reshape(5 + (self.n_classes or 0), -1)
        _check_probabilities(cells[0], "objectness")
        _check_probabilities(cells[5:], "class scores")
        best = cells[5:].max(axis=0)
        scores = cells[0] ** 0.6 * best**0.4
        (picks,) = np.nonzero(scores >= threshold)
        cells = cells[:, picks]
        x = (picks % self._columns + np.tanh(cells[1])) / self._columns * self.input_format.width_px
        y = (picks // self._columns + np.tanh(cells[2])) / self._rows * self.input_format.height_px
        half_w = _sigmoid(cells[3]) * self.input_format.width_px / 2
        half_h = _sigmoid(cells[4]) * self.input_format.height_px / 2
        boxes = np.stack([x - half_w, y - half_h, x + half_w, y + half_h], axis=1).astype(np.float32)
        return Candidates(boxes, scores[picks], cells[5:].argmax(axis=0).astype(np.int32))


class Detr:
    """RT-DETR, D-FINE, DEIM with their post-processing inside: labels, boxes and scores, each object once."""

    family = "DETR"
    needs_suppression = False
    n_classes: int | None = None

    def __init__(self, width_px: int, height_px: int, order: tuple[int, int, int]) -> None:
        """`order`: where labels, boxes and scores stand among the outputs."""
        self.input_format = InputFormat(width_px, height_px, Fit.STRETCH, RGB, std=(255.0, 255.0, 255.0))
        self._order = order

    @classmethod
    def recognise(cls, signature: Signature) -> "Detr | None":
        names = list(signature.outputs)
        if set(names) != {"labels", "boxes", "scores"} or len(signature.inputs) != 2:
            return None
        _, width, height = signature.picture
        return cls(width, height, (names.index("labels"), names.index("boxes"), names.index("scores")))

    def decode(self, outputs: Sequence[NDArray[np.generic]], threshold: float) -> Candidates:
        labels, boxes, scores = (np.asarray(outputs[i]) for i in self._order)
        flat = _floats(scores).reshape(-1)
        _check_probabilities(flat, "scores")
        keep = flat >= threshold
        return Candidates(
            _floats(boxes).reshape(-1, 4)[keep], flat[keep], labels.reshape(-1)[keep].astype(np.int32)
        )


FAMILIES: tuple[Callable[[Signature], Decoder | None], ...] = (
    YoloX.recognise,
    DistributionHead.recognise,
    FastestDet.recognise,
    Detr.recognise,
)
"""Every family that is known, the most telling first."""


def _n_cells(width: int, height: int, stride: int) -> int:
    return -(-width // stride) * -(-height // stride)


def _grid(width: int, height: int, stride: int) -> Floats:
    """Column and row of each cell, row by row: (n, 2)."""
    rows, columns = np.mgrid[: -(-height // stride), : -(-width // stride)]
    return np.stack([columns.ravel(), rows.ravel()], axis=1).astype(np.float32)


def _cells(width: int, height: int, strides: Sequence[int]) -> tuple[Floats, Floats]:
    """Column and row (n, 2), and stride (n,), of the cells of all levels."""
    grids = [_grid(width, height, stride) for stride in strides]
    sizes = [np.full(len(grid), stride, np.float32) for grid, stride in zip(grids, strides, strict=True)]
    return np.concatenate(grids), np.concatenate(sizes)


def _best_class(scores: Floats, threshold: float) -> tuple[NDArray[np.intp], Floats, NDArray[np.int32]]:
    """Rows of (n, classes) whose best class reaches the threshold: their numbers, best scores and class ids."""
    best = scores.max(axis=1, initial=0.0)
    (picks,) = np.nonzero(best >= threshold)
    return picks, best[picks], scores[picks].argmax(axis=1).astype(np.int32)


def _check_probabilities(values: Floats, what: str) -> None:
    """Numbers that are no probabilities mean a wrong export. Taken as they are, noise would become traffic."""
    if values.size == 0:
        return
    low, high = float(values.min()), float(values.max())
    # NaN fails every comparison, so it is caught here too.
    if not (low >= -1e-3 and high <= 1 + 1e-3):
        raise DetectorError(
            f"the model's {what} run from {low:.3g} to {high:.3g}, where 0 to 1 is expected; it was probably "
            "exported without its last sigmoid, or is broken"
        )


def _softmax(values: Floats) -> Floats:
    """Over the last axis."""
    powers: Floats = np.exp(values - values.max(axis=-1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True), np.float32)


def _sigmoid(values: Floats) -> Floats:
    return np.asarray(1 / (1 + np.exp(-values)), np.float32)


def _floats(values: NDArray[np.generic]) -> Floats:
    return np.asarray(values, np.float32)


def _shapes(shapes: Mapping[str, Sequence[int | None]]) -> str:
    return ", ".join(f"{name} {'x'.join('?' if n is None else str(n) for n in s)}" for name, s in shapes.items())
