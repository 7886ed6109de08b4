"""NanoDet and PicoDet: distances to the four sides of a box, as distributions over bins."""

from collections.abc import Sequence

import numpy as np

from edge_agent.drivers.detectors.decoders.base import (
    IMAGENET_BGR_MEAN,
    IMAGENET_BGR_STD,
    IMAGENET_RGB_MEAN,
    IMAGENET_RGB_STD,
    Candidates,
    Decoder,
    Floats,
    Outputs,
    Signature,
    best_class,
    check_probabilities,
    floats,
    grid,
    n_cells,
    softmax,
)
from edge_agent.drivers.detectors.letterbox import RGB, Fit, InputFormat


class DistributionHead(Decoder):
    """NanoDet and PicoDet: per stride class scores, and distances to the four sides as distributions over bins."""

    sure_score = 0.4
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
        self.family, self.kind = family, family.lower()
        self.input_format = input_format
        self.n_classes = n_classes
        self._levels = [
            (
                scores,
                distances,
                stride,
                (grid(input_format.width_px, input_format.height_px, stride) + cell_centre) * stride,
            )
            for scores, distances, stride in levels
        ]

    @classmethod
    def recognise(cls, signature: Signature) -> "DistributionHead | None":
        shapes = signature.output_shapes
        n = len(shapes) // 2
        if len(shapes) not in (6, 8) or any(len(shape) != 3 for shape in shapes):
            return None
        if any(shape[2] != 4 * cls._BINS for shape in shapes[n:]) or len({shape[2] for shape in shapes[:n]}) != 1:
            return None
        picture = signature.picture
        width, height = picture.width_px, picture.height_px
        levels = [(i, i + n, 8 * 2**i) for i in range(n)]
        if any(shapes[i][1] != n_cells(width, height, [stride]) for i, _, stride in levels):
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

    def decode(self, outputs: Outputs, threshold: float) -> Candidates:
        found = [
            self._decode_level(
                floats(outputs[scores])[0], floats(outputs[distances])[0], stride, centres, threshold
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
        check_probabilities(scores, "class scores")
        picks, best, class_ids = best_class(scores, threshold)
        weights = softmax(bins[picks].reshape(-1, 4, self._BINS))
        distances = weights @ np.arange(self._BINS, dtype=np.float32) * stride
        middle = centres[picks]
        return Candidates(np.hstack([middle - distances[:, :2], middle + distances[:, 2:]]), best, class_ids)
