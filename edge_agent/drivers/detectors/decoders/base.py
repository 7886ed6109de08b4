"""What all families share: how a model looks from outside, what a decoder promises, and the arithmetic.

Decoding happens in the pixels of the model's input; the caller maps boxes back to the picture and suppresses.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from edge_agent.drivers.base import DetectorError
from edge_agent.drivers.detectors.letterbox import InputFormat
from edge_agent.drivers.detectors.metadata import Metadata

Floats = NDArray[np.float32]
Outputs = Sequence[NDArray[np.generic]]
"""Of one picture, in the order of the model."""

IMAGENET_BGR_MEAN, IMAGENET_BGR_STD = (103.53, 116.28, 123.675), (57.375, 57.12, 58.395)
IMAGENET_RGB_MEAN, IMAGENET_RGB_STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
UNIT_STD = (255.0, 255.0, 255.0)
MAX_CLASSES = 1000
COMMON_SURE_SCORE = 0.3
"""Of YOLO models. The tracker's figures are made for scores like theirs."""


@dataclass(frozen=True, slots=True)
class PictureInput:
    """The input that takes the picture.

    Attributes:
        channels_last: rows, columns, colours; else colours, rows, columns.
    """

    name: str
    width_px: int
    height_px: int
    channels_last: bool


@dataclass(frozen=True, slots=True)
class Signature:
    """A model's outside.

    Attributes:
        inputs: name and shape of each; sizes that the model leaves open are None.
        outputs: name and the shape that a run gave.
    """

    inputs: Mapping[str, tuple[int | None, ...]]
    outputs: Mapping[str, tuple[int, ...]]
    metadata: Metadata = field(default_factory=Metadata)

    @property
    def picture(self) -> PictureInput:
        """The input that takes the picture.

        Raises:
            DetectorError: there is none, or it leaves its size open.
        """
        name, channels_last = self.find_picture()
        shape = self.inputs[name]
        height, width = shape[1:3] if channels_last else shape[2:4]
        if height is None or width is None:
            raise DetectorError(
                f"the model's input {name!r} leaves its size open; say with input_size for which it was trained, "
                "such as 416x416, or export it for one size"
            )
        return PictureInput(name, width, height, channels_last)

    def find_picture(self) -> tuple[str, bool]:
        """Name of the input that takes the picture, and whether its colours come last.

        Raises:
            DetectorError: there is none.
        """
        for name, shape in self.inputs.items():
            if len(shape) == 4 and 3 in (shape[1], shape[3]):
                return name, shape[1] != 3
        raise DetectorError(
            f"the model has no input for a picture (batch x 3 x height x width, or batch x height x width x 3); "
            f"it has {shapes_text(self.inputs)}"
        )

    @property
    def output_shapes(self) -> list[tuple[int, ...]]:
        return list(self.outputs.values())


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

    def where(self, keep: NDArray[np.intp]) -> "Candidates":
        """Those at these places."""
        return Candidates(self.boxes_px.take(keep, axis=0), self.scores.take(keep), self.class_ids.take(keep))


class Decoder(ABC):
    """One family of models, bound to one model's sizes.

    Attributes:
        kind: its name in a configuration.
        family: its name, for people.
        input_format: what it is usually fed with.
        n_classes: how many classes it tells apart; None if its outputs do not show it.
        default_names: what its classes are called where the file names none; None: COCO's 80 if the number fits.
        sure_score: the score from which on a detection is usually taken for a thing; families differ much in that.
        needs_suppression: False for models that give each object once by themselves.
        rates_everything: whether each run gives a score for each place, so that one which never gives any score
            above 0 is broken.
    """

    kind: str
    family: str
    input_format: InputFormat
    n_classes: int | None = None
    default_names: Sequence[str] | None = None
    sure_score: float = COMMON_SURE_SCORE
    needs_suppression = True
    rates_everything = True

    @abstractmethod
    def decode(self, outputs: Outputs, threshold: float) -> Candidates:
        """Candidates of one picture.

        Raises:
            DetectorError: scores that are no probabilities.
        """

    def settle(self, runs: Sequence[Outputs]) -> "Decoder":
        """The decoder for this very model, of variants whose outputs have the same shapes.

        Args:
            runs: what the model gave for some pictures that show nothing, or next to nothing.
        """
        return self


def n_cells(width: int, height: int, strides: Sequence[int]) -> int:
    """Cells of all levels together."""
    return sum(-(-width // stride) * -(-height // stride) for stride in strides)


def grid(width: int, height: int, stride: int) -> Floats:
    """Column and row of each cell, row by row: (n, 2)."""
    rows, columns = np.mgrid[: -(-height // stride), : -(-width // stride)]
    return np.stack([columns.ravel(), rows.ravel()], axis=1).astype(np.float32)


def cells(width: int, height: int, strides: Sequence[int]) -> tuple[Floats, Floats]:
    """Column and row (n, 2), and stride (n,), of the cells of all levels."""
    grids = [grid(width, height, stride) for stride in strides]
    sizes = [np.full(len(places), stride, np.float32) for places, stride in zip(grids, strides, strict=True)]
    return np.concatenate(grids), np.concatenate(sizes)


def best_class(scores: Floats, threshold: float) -> tuple[NDArray[np.intp], Floats, NDArray[np.int32]]:
    """Rows of (n, classes) whose best class reaches the threshold: their numbers, best scores and class ids."""
    best = scores.max(axis=1, initial=0.0)
    (picks,) = np.nonzero(best >= threshold)
    return picks, best[picks], scores[picks].argmax(axis=1).astype(np.int32)


def check_probabilities(values: Floats, what: str) -> None:
    """Numbers that are no probabilities mean a wrong export. Taken as they are, noise would become traffic."""
    if values.size:
        check_range(float(values.min()), float(values.max()), what)


def check_range(low: float, high: float, what: str) -> None:
    """The same for the least and the largest of them."""
    # NaN fails every comparison, so it is caught here too.
    if not (low >= -1e-3 and high <= 1 + 1e-3):
        raise DetectorError(
            f"the model's {what} run from {low:.3g} to {high:.3g}, where 0 to 1 is expected; it was probably "
            "exported without its last sigmoid, or is broken"
        )


def check_finite(values: Floats, what: str) -> None:
    """NaN loses every comparison: what a broken model finds there would be missed without a word."""
    if values.size and not np.isfinite(values.max()):
        raise DetectorError(f"the model's {what} are no numbers (NaN or infinite); the file is broken")


def look_like_logits(values: Sequence[Floats]) -> bool:
    """Whether numbers that should be probabilities are what a sigmoid is still to be taken of.

    Nearly everything in pictures without objects is nothing, so most logits are far below zero.
    """
    flat = np.concatenate([part.ravel() for part in values])
    return bool(np.isfinite(flat).all() and np.median(flat) < -0.5)


def softmax(values: Floats) -> Floats:
    """Over the last axis."""
    powers: Floats = np.exp(values - values.max(axis=-1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True), np.float32)


def sigmoid(values: Floats) -> Floats:
    # Beyond 60 it is 0 or 1 in float32 anyway, and exp would overflow.
    return np.asarray(1 / (1 + np.exp(-np.clip(values, -60, 60))), np.float32)


def from_centres(rows: Floats) -> Floats:
    """(n, 4+) with centre x, centre y, width, height first -> (n, 4) corners."""
    halves = rows[:, 2:4] / 2
    return np.hstack([rows[:, :2] - halves, rows[:, :2] + halves])


def floats(values: NDArray[np.generic]) -> Floats:
    return np.asarray(values, np.float32)


def shapes_text(shapes: Mapping[str, Sequence[int | None]]) -> str:
    return ", ".join(f"{name} {'x'.join('?' if n is None else str(n) for n in s)}" for name, s in shapes.items())
