"""From trained weights to the file that ships: batch norms folded, weights in half precision, names inside."""

import copy
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from edge_agent.training.bodies import CLASSES
from edge_agent.training.network import StreetNet

_OPSET = 17
_LEAST_HALVED = 64
"""Smaller tensors stay as they are."""


def export(network: StreetNet, size_px: tuple[int, int], path: Path, about: dict[str, str]) -> None:
    """Write an ONNX file for pictures of (width, height)."""
    plain = copy.deepcopy(network).eval().float().cpu()
    _fold(plain)
    width, height = size_px
    example = torch.zeros(1, 3, height, width)
    torch.onnx.export(
        plain,
        (example,),
        str(path),
        input_names=["images"],
        output_names=["output"],
        opset_version=_OPSET,
        dynamo=False,
    )
    model = onnx.load(str(path))
    _halve(model)
    about = {
        "names": str(dict(enumerate(CLASSES))),
        "task": "detect",
        "license": "Apache-2.0",
        "decoder": "yolox",
        "normalisation": "bgr-255",
        **about,
    }
    helper.set_model_props(model, about)
    model.producer_name, model.doc_string = "stopline", "Street detector of Stopline, trained on drawn scenes"
    onnx.checker.check_model(model)
    onnx.save(model, str(path))


def _fold(module: nn.Module) -> None:
    """Batch norms into the convolutions before them."""
    for child in module.children():
        if isinstance(child, nn.Sequential) and len(child) == 3 and isinstance(child[1], nn.BatchNorm2d):
            child[0] = nn.utils.fusion.fuse_conv_bn_eval(child[0], child[1])
            child[1] = nn.Identity()
        else:
            _fold(child)


def _halve(model: onnx.ModelProto) -> None:
    """Keep weights as float16 in the file; ONNX Runtime widens them once, when it loads it."""
    casts = []
    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor)
        if tensor.data_type != TensorProto.FLOAT or values.size < _LEAST_HALVED:
            continue
        name = tensor.name
        halved = numpy_helper.from_array(values.astype(np.float16), f"{name}.half")
        tensor.CopyFrom(halved)
        casts.append(
            helper.make_node("Cast", [f"{name}.half"], [name], name=f"widen {name}", to=TensorProto.FLOAT)
        )
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
