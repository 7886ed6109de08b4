"""Detectors that end in their own suppression: SSD as TensorFlow exports it, and boxes, labels, scores alone."""

from collections.abc import Mapping

import numpy as np

from edge_agent.domain.classes import COCO_91
from edge_agent.drivers.detectors.decoders.base import (
    UNIT_STD,
    Candidates,
    Decoder,
    Floats,
    Outputs,
    Signature,
    check_probabilities,
    floats,
)
from edge_agent.drivers.detectors.letterbox import RGB, Fit, InputFormat

_TF = {"num_detections", "detection_boxes", "detection_scores", "detection_classes"}
_PLAIN = {"boxes", "labels", "scores"}


class Ssd(Decoder):
    """Each object once, already suppressed. Classes count from 1, as COCO's 90 do, unless the file names them."""

    kind = "ssd"
    family = "SSD"
    sure_score = 0.5
    default_names = COCO_91
    needs_suppression = False
    rates_everything = False

    def __init__(self, fed: InputFormat, places: Mapping[str, int], *, normalised: bool) -> None:
        """
        Args:
            places: where `boxes`, `labels`, `scores`, and `count` if there is one, stand among the outputs.
            normalised: boxes are y1, x1, y2, x2 as shares of the picture; else x1, y1, x2, y2 in pixels.
        """
        self.input_format = fed
        self._places = places
        self._normalised = normalised

    @classmethod
    def recognise(cls, signature: Signature) -> "Ssd | None":
        # TensorFlow's names may end in the number of the output, as in `detection_boxes:0`.
        names = [name.partition(":")[0] for name in signature.outputs]
        if set(names) >= _TF:
            return cls._tensorflow(signature, names)
        if set(names) == _PLAIN and len(signature.inputs) == 1:
            picture = signature.picture
            fed = InputFormat(picture.width_px, picture.height_px, Fit.STRETCH, RGB, std=UNIT_STD)
            return cls(fed, {name: names.index(name) for name in _PLAIN}, normalised=False)
        return None

    @classmethod
    def _tensorflow(cls, signature: Signature, names: list[str]) -> "Ssd":
        picture = signature.picture
        places = {
            "boxes": names.index("detection_boxes"),
            "labels": names.index("detection_classes"),
            "scores": names.index("detection_scores"),
            "count": names.index("num_detections"),
        }
        # Made for bytes as they are; what scales them is inside.
        fed = InputFormat(picture.width_px, picture.height_px, Fit.STRETCH, RGB)
        return cls(fed, places, normalised=True)

    def decode(self, outputs: Outputs, threshold: float) -> Candidates:
        scores = floats(outputs[self._places["scores"]]).reshape(-1)
        boxes = floats(outputs[self._places["boxes"]]).reshape(-1, 4)
        labels = np.asarray(outputs[self._places["labels"]]).reshape(-1)
        if "count" in self._places:
            # What stands behind that many is left over from the model's own arrays.
            n = int(np.asarray(outputs[self._places["count"]]).reshape(-1)[0])
            scores, boxes, labels = scores[:n], boxes[:n], labels[:n]
        check_probabilities(scores, "scores")
        keep = scores >= threshold
        return Candidates(self._in_pixels(boxes[keep]), scores[keep], labels[keep].astype(np.int32))

    def _in_pixels(self, boxes: Floats) -> Floats:
        if not self._normalised:
            return boxes
        size = [self.input_format.width_px, self.input_format.height_px] * 2
        return np.asarray(boxes[:, [1, 0, 3, 2]] * np.asarray(size, np.float32), np.float32)
