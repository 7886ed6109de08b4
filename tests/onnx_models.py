"""Small ONNX models whose answers are known: they give a box if the picture reached them as it should.

A model looks at one place of its input. If the colours there are the expected ones, in its own order and scale,
`seen` is 1, else 0. Each output is `base + if_seen * seen + if_lit * light`, where `light` is the mean of the
whole input, so that different pictures give different outputs, as with every sound model.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

_ONNX_TYPES = {
    np.dtype(np.float32): TensorProto.FLOAT,
    np.dtype(np.float16): TensorProto.FLOAT16,
    np.dtype(np.uint8): TensorProto.UINT8,
    np.dtype(np.int64): TensorProto.INT64,
}


@dataclass(frozen=True)
class Output:
    """What a model gives under one name; all three arrays have its shape."""

    base: np.ndarray
    if_seen: np.ndarray | None = None
    if_lit: np.ndarray | None = None
    dtype: type[np.generic] = np.float32


@dataclass(frozen=True)
class Look:
    """Where a model looks, in pixels of its input, and which values it wants to see, in its own order."""

    box_px: tuple[int, int, int, int]
    values: tuple[float, float, float]
    tolerance: float


def save_model(
    path: Path,
    outputs: Mapping[str, Output],
    *,
    size_px: tuple[int, int],
    look: Look,
    dtype: type[np.generic] = np.float32,
    channels_last: bool = False,
    open_size: bool = False,
    sizes_input: bool = False,
    metadata: Mapping[str, str] | None = None,
) -> Path:
    """Write a model that takes one picture of `size_px` (width, height)."""
    width, height = size_px
    sides: list[int | str] = ["height", "width"] if open_size else [height, width]
    shape: list[int | str] = [1, *sides, 3] if channels_last else [1, 3, *sides]
    inputs = [helper.make_tensor_value_info("images", _ONNX_TYPES[np.dtype(dtype)], shape)]
    if sizes_input:
        inputs.append(helper.make_tensor_value_info("orig_target_sizes", TensorProto.INT64, [1, 2]))
    graph = _Graph()
    picture = graph.add("Cast", ["images"], to=TensorProto.FLOAT)
    picture = graph.add("Transpose", [picture], perm=[0, 3, 1, 2]) if channels_last else picture
    light = graph.add("ReduceMean", [picture], keepdims=0)
    seen = _seen(graph, picture, look)
    for name, output in outputs.items():
        _output(graph, name, output, seen, light)
    told = [helper.make_tensor_value_info(n, _ONNX_TYPES[np.dtype(o.dtype)], None) for n, o in outputs.items()]
    made = helper.make_model(
        helper.make_graph(graph.nodes, "made by a test", inputs, told, graph.constants),
        opset_imports=[helper.make_opsetid("", 13)],
    )
    made.ir_version = 8
    helper.set_model_props(made, dict(metadata or {}))
    onnx.save(made, str(path))
    return path


class _Graph:
    """Nodes and constants, each under a name of its own."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def add(self, kind: str, inputs: Sequence[str], result: str | None = None, **attributes: Any) -> str:
        name = result or f"n{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], **attributes))
        return name

    def constant(self, value: np.ndarray) -> str:
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(value, name))
        return name

    def floats(self, *values: float) -> str:
        return self.constant(np.asarray(values, np.float32))


def _seen(graph: _Graph, picture: str, look: Look) -> str:
    """1.0 if every pixel of the place has the wanted values, else 0.0."""
    x1, y1, x2, y2 = look.box_px
    ints = [graph.constant(np.asarray(v, np.int64)) for v in ([y1, x1], [y2, x2], [2, 3])]
    place = graph.add("Slice", [picture, *ints])
    wanted = graph.constant(np.asarray(look.values, np.float32).reshape(1, 3, 1, 1))
    off = graph.add("Abs", [graph.add("Sub", [place, wanted])])
    most = graph.add("ReduceMax", [off], keepdims=0)
    return graph.add("Cast", [graph.add("Less", [most, graph.floats(look.tolerance)])], to=TensorProto.FLOAT)


def _output(graph: _Graph, name: str, output: Output, seen: str, light: str) -> None:
    value = graph.constant(np.asarray(output.base, np.float32))
    for part, factor in ((output.if_seen, seen), (output.if_lit, light)):
        if part is not None:
            scaled = graph.add("Mul", [graph.constant(np.asarray(part, np.float32)), factor])
            value = graph.add("Add", [value, scaled])
    graph.add("Cast", [value], result=name, to=_ONNX_TYPES[np.dtype(output.dtype)])
