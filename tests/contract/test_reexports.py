"""The real YOLOX-Nano, exported in the other ways that are in use, finds what it finds as it is."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edge_agent.domain.classes import VEHICLES
from edge_agent.domain.frames import Detections, Image
from edge_agent.drivers.detectors.choices import ModelOptions
from edge_agent.drivers.detectors.onnx import OnnxDetector, load_detector

STRIDES, SIZE = (8, 16, 32), 416
Change = Callable[[onnx.GraphProto], None]


def constant(graph: onnx.GraphProto, name: str, value: np.ndarray) -> str:
    graph.initializer.append(numpy_helper.from_array(value, name))
    return name


def before(graph: onnx.GraphProto, *nodes: onnx.NodeProto) -> None:
    """Put nodes before the model; the last of them gives `pixels`, which the model reads then."""
    for node in graph.node:
        for place, name in enumerate(node.input):
            if name == "images":
                node.input[place] = "pixels"
    old = list(graph.node)
    del graph.node[:]
    graph.node.extend([*nodes, *old])


def after(graph: onnx.GraphProto, *nodes: onnx.NodeProto) -> None:
    """Put nodes behind the model, which gives `raw` then; the last of them gives `output`."""
    for node in graph.node:
        for place, name in enumerate(node.output):
            if name == "output":
                node.output[place] = "raw"
    graph.node.extend(nodes)


def legacy(graph: onnx.GraphProto) -> None:
    std, mean = np.asarray((0.229, 0.224, 0.225)), np.asarray((0.485, 0.456, 0.406))
    constant(graph, "std", (std * 255).astype(np.float32).reshape(1, 3, 1, 1))
    constant(graph, "mean", (mean * 255).astype(np.float32).reshape(1, 3, 1, 1))
    constant(graph, "bgr", np.asarray([2, 1, 0]))
    before(
        graph,
        helper.make_node("Mul", ["images", "std"], ["scaled"]),
        helper.make_node("Add", ["scaled", "mean"], ["rgb"]),
        helper.make_node("Gather", ["rgb", "bgr"], ["pixels"], axis=1),
    )


def bytes_with_colours_last(graph: onnx.GraphProto) -> None:
    tensor = graph.input[0].type.tensor_type
    tensor.elem_type = TensorProto.UINT8
    for place, side in enumerate((1, SIZE, SIZE, 3)):
        tensor.shape.dim[place].dim_value = side
    before(
        graph,
        helper.make_node("Cast", ["images"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["floats"], ["pixels"], perm=[0, 3, 1, 2]),
    )


def half_precision(graph: onnx.GraphProto) -> None:
    graph.input[0].type.tensor_type.elem_type = TensorProto.FLOAT16
    graph.output[0].type.tensor_type.elem_type = TensorProto.FLOAT16
    before(graph, helper.make_node("Cast", ["images"], ["pixels"], to=TensorProto.FLOAT))
    after(graph, helper.make_node("Cast", ["raw"], ["output"], to=TensorProto.FLOAT16))


def split() -> onnx.NodeProto:
    return helper.make_node("Split", ["raw"], ["xy", "wh", "scores"], axis=2, split=[2, 2, 81])


def logits(graph: onnx.GraphProto) -> None:
    """What the last sigmoid was taken of."""
    constant(graph, "one", np.asarray(1, np.float32))
    constant(graph, "least", np.asarray(1e-7, np.float32))
    constant(graph, "most", np.asarray(1 - 1e-7, np.float32))
    after(
        graph,
        split(),
        helper.make_node("Clip", ["scores", "least", "most"], ["p"]),
        helper.make_node("Sub", ["one", "p"], ["q"]),
        helper.make_node("Div", ["p", "q"], ["odds"]),
        helper.make_node("Log", ["odds"], ["logits"]),
        helper.make_node("Concat", ["xy", "wh", "logits"], ["output"], axis=2),
    )


def decoded(graph: onnx.GraphProto) -> None:
    cells = [(x, y, s) for s in STRIDES for y in range(SIZE // s) for x in range(SIZE // s)]
    constant(graph, "corners", np.asarray([[(x, y) for x, y, _ in cells]], np.float32))
    constant(graph, "strides", np.asarray([[[s] for _, _, s in cells]], np.float32))
    after(
        graph,
        split(),
        helper.make_node("Add", ["xy", "corners"], ["places"]),
        helper.make_node("Mul", ["places", "strides"], ["centres"]),
        helper.make_node("Exp", ["wh"], ["ratios"]),
        helper.make_node("Mul", ["ratios", "strides"], ["sizes"]),
        helper.make_node("Concat", ["centres", "sizes", "scores"], ["output"], axis=2),
    )


CHANGES: dict[str, Change] = {
    change.__name__: change for change in (legacy, bytes_with_colours_last, half_precision, logits, decoded)
}
FED = {"legacy": "rgb-imagenet", "bytes_with_colours_last": "bytes"}


def changed(data: Path, folder: Path, change: Change) -> OnnxDetector:
    model = onnx.load(str(data / "models/yolox_nano_416.onnx"))
    change(model.graph)
    onnx.save(model, str(folder / "changed.onnx"))
    detector = load_detector(str(folder / "changed.onnx"), classes=VEHICLES, threads=1)
    assert isinstance(detector, OnnxDetector)
    return detector


def junction(data: Path) -> Image:
    image = cv2.imread(str(data / "clips/junction/100.jpg"))
    assert image is not None
    return np.asarray(image, np.uint8)


def strong(found: Detections) -> np.ndarray:
    """Score and box of what is not at the threshold, where rounding decides, in the order of places."""
    keep = found.scores > 0.3
    rows = np.hstack([found.boxes_px[keep], found.scores[keep, None]])
    return np.asarray(rows[np.lexsort(rows.T[:2])])


@pytest.mark.parametrize("change", CHANGES)
def test_it_finds_the_same(test_data: Path, tmp_path: Path, change: str) -> None:
    as_it_is = load_detector(str(test_data / "models/yolox_nano_416.onnx"), classes=VEHICLES, threads=1)
    wanted = strong(as_it_is.detect(junction(test_data)))
    detector = changed(test_data, tmp_path, CHANGES[change])
    assert detector.normalisation == FED.get(change, "bgr-255")
    found = strong(detector.detect(junction(test_data)))
    assert len(wanted) > 10
    assert found.shape == wanted.shape
    # Half precision has 11 bits: boxes of some hundred pixels are exact to a fraction of one.
    np.testing.assert_allclose(found, wanted, atol=1.0 if change == "half_precision" else 0.05)


def test_fed_wrongly_it_finds_something_else(test_data: Path, tmp_path: Path) -> None:
    """Else the test above would show nothing."""
    changed(test_data, tmp_path, legacy).close()
    options = ModelOptions(normalisation="bgr-255")
    wrong = load_detector(str(tmp_path / "changed.onnx"), classes=VEHICLES, threads=1, options=options)
    as_it_is = load_detector(str(test_data / "models/yolox_nano_416.onnx"), classes=VEHICLES, threads=1)
    picture = junction(test_data)
    assert strong(wrong.detect(picture)).shape != strong(as_it_is.detect(picture)).shape
