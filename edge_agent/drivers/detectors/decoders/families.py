"""Which family a model belongs to: told by its outside, and where that is not enough by the number of its names.

Adding a family means adding it to `FAMILIES`.
"""

from collections.abc import Callable

from edge_agent.drivers.base import DetectorError
from edge_agent.drivers.detectors.decoders.base import Decoder, Signature, shapes_text
from edge_agent.drivers.detectors.decoders.detr import Detr, DetrHeads
from edge_agent.drivers.detectors.decoders.distribution import DistributionHead
from edge_agent.drivers.detectors.decoders.fastestdet import FastestDet
from edge_agent.drivers.detectors.decoders.ssd import Ssd
from edge_agent.drivers.detectors.decoders.yolo import EndToEnd, YoloV5, YoloV8
from edge_agent.drivers.detectors.decoders.yolox import YoloX

FAMILIES: tuple[Callable[[Signature], Decoder | None], ...] = (
    YoloX.recognise,
    YoloV5.recognise,
    YoloV8.recognise,
    DistributionHead.recognise,
    FastestDet.recognise,
    Detr.recognise,
    Ssd.recognise,
    DetrHeads.recognise,
    EndToEnd.recognise,
)
"""Every family that is known, the most telling first."""

_COCO = 80
_MASK_RANK = 4


def recognise(signature: Signature, named: str | None = None) -> Decoder:
    """The decoder for a model that looks like this, or the one that is `named` in the configuration.

    Raises:
        DetectorError: no family looks like it, or the named one does not; the message shows its outputs.
    """
    signature.metadata.check_task()
    fitting = [decoder for family in FAMILIES if (decoder := family(signature)) is not None]
    if named is not None:
        chosen = [decoder for decoder in fitting if decoder.kind == named]
        if not chosen:
            raise DetectorError(
                f"the model's outputs are not those of {named}: {shapes_text(signature.outputs)}"
                + (f"; they look like {fitting[0].kind}" if fitting else "")
            )
        return chosen[0]
    if fitting:
        return _likeliest(fitting, len(signature.metadata.names) or _COCO)
    if any(len(shape) == _MASK_RANK and shape[1] == 32 for shape in signature.output_shapes):
        raise DetectorError(
            f"the model gives outlines (segmentation), where boxes are needed: {shapes_text(signature.outputs)}; "
            "take the detection model of the same family"
        )
    raise DetectorError(
        f"the model's outputs are of no kind that is known here: {shapes_text(signature.outputs)}. Supported are "
        "YOLOX, NanoDet, PicoDet, FastestDet, YOLOv5 to YOLO26, the DETR family, and SSD with suppression inside"
    )


def _likeliest(fitting: list[Decoder], n_names: int) -> Decoder:
    """Of several families with such outputs, the one that has as many classes as there are names.

    YOLOX and a transposed YOLOv8 differ by one column only.
    """
    return next((decoder for decoder in fitting if decoder.n_classes == n_names), fitting[0])
