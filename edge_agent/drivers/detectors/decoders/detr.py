"""The DETR family: with its post-processing inside, or as its heads give it."""

import numpy as np

from edge_agent.domain.classes import COCO_91
from edge_agent.drivers.detectors.decoders.base import (
    IMAGENET_RGB_MEAN,
    IMAGENET_RGB_STD,
    UNIT_STD,
    Candidates,
    Decoder,
    Outputs,
    Signature,
    best_class,
    check_finite,
    check_probabilities,
    floats,
    from_centres,
    sigmoid,
    softmax,
)
from edge_agent.drivers.detectors.letterbox import RGB, Fit, InputFormat


class Detr(Decoder):
    """RT-DETR, D-FINE, DEIM with their post-processing inside: labels, boxes and scores, each object once."""

    kind = "detr"
    family = "DETR"
    sure_score = 0.5
    needs_suppression = False

    def __init__(self, width_px: int, height_px: int, order: tuple[int, int, int]) -> None:
        """`order`: where labels, boxes and scores stand among the outputs."""
        self.input_format = InputFormat(width_px, height_px, Fit.STRETCH, RGB, std=UNIT_STD)
        self._order = order

    @classmethod
    def recognise(cls, signature: Signature) -> "Detr | None":
        names = list(signature.outputs)
        if set(names) != {"labels", "boxes", "scores"} or len(signature.inputs) != 2:
            return None
        picture = signature.picture
        width, height = picture.width_px, picture.height_px
        return cls(width, height, (names.index("labels"), names.index("boxes"), names.index("scores")))

    def decode(self, outputs: Outputs, threshold: float) -> Candidates:
        labels, boxes, scores = (np.asarray(outputs[i]) for i in self._order)
        flat = floats(scores).reshape(-1)
        check_probabilities(flat, "scores")
        keep = flat >= threshold
        return Candidates(
            floats(boxes).reshape(-1, 4)[keep], flat[keep], labels.reshape(-1)[keep].astype(np.int32)
        )


class DetrHeads(Decoder):
    """The heads alone: for each query logits of all classes, and centre and size in shares of the picture.

    The first DETR takes a softmax that has "no object" as its last class; all later ones a sigmoid for each class.
    """

    kind = "detr-raw"
    family = "DETR (heads)"
    sure_score = 0.5
    needs_suppression = False
    _NAMES = (("pred_logits", "pred_boxes"), ("logits", "pred_boxes"), ("labels", "dets"))
    _SOFTMAX_DEPTH = 92
    """COCO's 91 numbers and "no object"."""

    def __init__(
        self, width_px: int, height_px: int, order: tuple[int, int], n_classes: int, *, normalised: bool
    ) -> None:
        """`order`: where logits and boxes stand among the outputs; `normalised`: fed by ImageNet's mean."""
        mean, std = (IMAGENET_RGB_MEAN, IMAGENET_RGB_STD) if normalised else ((0.0, 0.0, 0.0), UNIT_STD)
        self.input_format = InputFormat(width_px, height_px, Fit.STRETCH, RGB, mean, std)
        self._softmax = n_classes == self._SOFTMAX_DEPTH
        self.n_classes = n_classes - 1 if self._softmax else n_classes
        self._order = order
        self.default_names = COCO_91 if self.n_classes == len(COCO_91) else None

    @classmethod
    def recognise(cls, signature: Signature) -> "DetrHeads | None":
        names = list(signature.outputs)
        for logits, boxes in cls._NAMES:
            if logits not in names or boxes not in names:
                continue
            shape = signature.outputs[logits]
            if len(shape) != 3 or signature.outputs[boxes] != (1, shape[1], 4):
                continue
            picture = signature.picture
            # The first DETR (softmax) and RF-DETR (`dets`) are fed by ImageNet's mean, RT-DETR and D-FINE are not.
            normalised = shape[2] == cls._SOFTMAX_DEPTH or boxes == "dets"
            order = names.index(logits), names.index(boxes)
            return cls(picture.width_px, picture.height_px, order, shape[2], normalised=normalised)
        return None

    def decode(self, outputs: Outputs, threshold: float) -> Candidates:
        logits, boxes = (floats(outputs[place])[0] for place in self._order)
        check_finite(logits, "class scores")
        scores = softmax(logits)[:, :-1] if self._softmax else sigmoid(logits)
        picks, best, class_ids = best_class(scores, threshold)
        size = np.asarray([self.input_format.width_px, self.input_format.height_px] * 2, np.float32)
        return Candidates(from_centres(boxes[picks]) * size, best, class_ids)
