"""Every family that models are exported in, from picture to box: fed as it wants, read rightly, mapped back.

No real model of most of them is at hand, so small ones are built that answer only if they see what they should.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_agent.domain.classes import COCO_80, COCO_91
from edge_agent.drivers.detectors.choices import DECODERS, ModelOptions
from edge_agent.drivers.detectors.onnx import OnnxDetector, load_detector
from tests.onnx_models import Look, Output, save_model

WIDTH, HEIGHT = 640, 360
BOX = (160, 120, 320, 240)
"""Of the one thing in the picture, in its pixels."""
PAINT = (200, 40, 120)
"""Of it, as B, G, R."""
SIZE = (192, 128)
"""Of what the models see. A picture that keeps its shape is 192x108 there."""
CAR = 2
STRIDES = (8, 16, 32)
N_CELLS = sum((SIZE[0] // s) * (SIZE[1] // s) for s in STRIDES)
NAMES = {"names": str(dict(enumerate(COCO_80)))}

SURE = {"ssd": 0.5, "detr": 0.5, "detr-raw": 0.5}
"""The usual thresholds of families that are surer of themselves than others."""

TOP_LEFT, CENTRE, STRETCH = "top left", "centre", "stretch"


def picture() -> np.ndarray:
    image = np.full((HEIGHT, WIDTH, 3), 80, np.uint8)
    x1, y1, x2, y2 = BOX
    image[y1:y2, x1:x2] = PAINT
    return image


def in_input(fit: str) -> tuple[float, float, float, float]:
    """The thing's box in pixels of the input."""
    across, down = SIZE[0] / WIDTH, (SIZE[1] if fit == STRETCH else 108) / HEIGHT
    above = 10 if fit == CENTRE else 0
    x1, y1, x2, y2 = BOX
    return x1 * across, y1 * down + above, x2 * across, y2 * down + above


def look(fit: str, normalisation: str) -> Look:
    """Look at the inside of the thing, and want its paint as `normalisation` has it."""
    x1, y1, x2, y2 = (round(v) for v in in_input(fit))
    order, scale = normalisation.split("-")
    blue, green, red = (float(v) for v in PAINT)
    values = np.asarray((red, green, blue) if order == "rgb" else (blue, green, red))
    if scale == "imagenet":
        mean, std = np.asarray((0.485, 0.456, 0.406)), np.asarray((0.229, 0.224, 0.225))
        if order == "bgr":
            mean, std = mean[::-1], std[::-1]
        values, tolerance = (values / 255 - mean) / std, 0.02
    else:
        values, tolerance = values / (255 / float(scale)), float(scale) / 200
    return Look((x1 + 3, y1 + 3, x2 - 3, y2 - 3), (values[0], values[1], values[2]), tolerance)


def logit(p: float) -> float:
    return math.log(p / (1 - p))


Outputs = dict[str, Output]


def table(n: int, depth: int, fill: float = 0.0) -> np.ndarray:
    return np.full((1, n, depth), fill, np.float32)


def yolox(fit: str, *, decoded: bool = False, logits: bool = False, n_classes: int = 80) -> Outputs:
    """The thing in the cell of stride 32 that its centre is in, and again, less surely, in one of stride 16."""
    base, seen, lit = table(N_CELLS, 5 + n_classes), table(N_CELLS, 5 + n_classes), table(N_CELLS, 5 + n_classes)
    corners = [(x, y, s) for s in STRIDES for y in range(SIZE[1] // s) for x in range(SIZE[0] // s)]
    x1, y1, x2, y2 = in_input(fit)
    for cell, (column, row, stride) in enumerate(corners):
        here = [(column + 0.5) * stride, (row + 0.5) * stride, stride, stride]
        base[0, cell, :4] = here if decoded else [0.5, 0.5, 0.0, 0.0]
    if logits:
        base[0, :, 4:] = -8.0
    base[0, 5, 4:10] = -3.0 if logits else 0.05
    for stride, score in ((32, 0.9), (16, 0.6)):
        cell = corners.index((int((x1 + x2) / 2 // stride), int((y1 + y2) / 2 // stride), stride))
        column, row, _ = corners[cell]
        box = [(x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1]
        if not decoded:
            box = [box[0] / stride - column, box[1] / stride - row, *(math.log(v / stride) for v in box[2:])]
        base[0, cell, :4] = box
        seen[0, cell, 4] = logit(score) + 8 if logits else score
        seen[0, cell, 5 + CAR] = logit(0.98) + 8 if logits else 0.98
    lit[0, 0, 0] = 1e-3
    return {"output": Output(base, seen, lit)}


def with_objectness(fit: str) -> Outputs:
    n = 3 * N_CELLS
    base, seen, lit = table(n, 85), table(n, 85), table(n, 85)
    x1, y1, x2, y2 = in_input(fit)
    for row, score in ((11, 0.9), (200, 0.7)):
        base[0, row, :4] = [(x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1]
        seen[0, row, 4], seen[0, row, 5 + CAR] = score, 0.98
    base[0, 5, 4], base[0, 5, 9] = 0.05, 0.5
    lit[0, 0, 0] = 1e-3
    return {"output0": Output(base, seen, lit)}


def without_objectness(fit: str, *, in_rows: bool = False, n_classes: int = 80) -> Outputs:
    depth = 4 + n_classes
    base, seen, lit = table(N_CELLS, depth), table(N_CELLS, depth), table(N_CELLS, depth)
    x1, y1, x2, y2 = in_input(fit)
    for row, score in ((11, 0.9), (200, 0.7)):
        base[0, row, :4] = [(x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1]
        seen[0, row, 4 + CAR] = score
    base[0, 5, 4] = 0.05
    lit[0, 0, 0] = 1e-3
    if not in_rows:
        base, seen, lit = (part.transpose(0, 2, 1) for part in (base, seen, lit))
    return {"output0": Output(base, seen, lit)}


def end_to_end(fit: str) -> Outputs:
    base, seen, lit = table(300, 6), table(300, 6), table(300, 6)
    base[0, 0, :4], base[0, 0, 5], seen[0, 0, 4] = in_input(fit), CAR, 0.9
    base[0, 1, 4], lit[0, 2, 0] = 0.01, 1e-3
    return {"output0": Output(base, seen, lit)}


def ssd_of_tensorflow(fit: str) -> Outputs:
    x1, y1, x2, y2 = in_input(fit)
    boxes, scores, classes = np.zeros((1, 10, 4)), np.zeros((1, 10)), np.ones((1, 10))
    boxes[0, 0] = (y1 / SIZE[1], x1 / SIZE[0], y2 / SIZE[1], x2 / SIZE[0])
    scores[0, 0] = 0.9
    classes[0, 0] = COCO_91.index("car")
    # Behind `num_detections` there is rubbish, with high scores.
    rubbish = np.zeros((1, 10))
    rubbish[0, 5:], boxes[0, 5:] = 0.95, (0.1, 0.1, 0.3, 0.3)
    return {
        "num_detections:0": Output(np.asarray([5.0])),
        "detection_boxes:0": Output(boxes),
        "detection_scores:0": Output(rubbish, scores),
        "detection_classes:0": Output(classes),
    }


def boxes_labels_scores(fit: str) -> Outputs:
    return {
        "boxes": Output(np.asarray([in_input(fit), (0, 0, 9, 9)])),
        "labels": Output(np.asarray([COCO_91.index("car"), 1]), dtype=np.int64),
        "scores": Output(np.asarray([0.0, 0.02]), np.asarray([0.9, 0.0])),
    }


def detr_done(fit: str) -> Outputs:
    return {
        "labels": Output(np.asarray([[CAR, 1]]), dtype=np.int64),
        "boxes": Output(np.asarray([[in_input(fit), (0, 0, 9, 9)]])),
        "scores": Output(np.asarray([[0.0, 0.02]]), np.asarray([[0.9, 0.0]]), np.asarray([[0.0, 1e-4]])),
    }


def detr_heads(fit: str, logits: str = "pred_logits", boxes: str = "pred_boxes", depth: int = 80) -> Outputs:
    base, seen, lit = table(20, depth, -8.0), table(20, depth), table(20, depth)
    x1, y1, x2, y2 = in_input(fit)
    places = table(20, 4, 0.1)
    places[0, 3] = [(x1 + x2) / 2 / SIZE[0], (y1 + y2) / 2 / SIZE[1], (x2 - x1) / SIZE[0], (y2 - y1) / SIZE[1]]
    if depth == 92:  # COCO's numbers, a softmax, and "no object" last
        base[0, :, -1] = 8.0
        base[0, 4, -1] = 0.0
        seen[0, 3, -1], seen[0, 3, COCO_91.index("car")] = -16.0, logit(0.9) + math.log(91)
    else:
        base[0, 4, 7] = -5.0
        seen[0, 3, CAR] = 8.0 + logit(0.9)
    lit[0, 0, 0] = 1e-3
    return {logits: Output(base, seen, lit), boxes: Output(places)}


@dataclass(frozen=True)
class Case:
    """A way in which a model is exported, and what has to be known about it."""

    kind: str
    outputs: Callable[[], Outputs]
    fit: str = CENTRE
    fed: str = "rgb-1"
    saved: Mapping[str, Any] = field(default_factory=dict)
    options: ModelOptions = field(default_factory=ModelOptions)


CASES = {
    "yolox": Case("yolox", lambda: yolox(TOP_LEFT), TOP_LEFT, "bgr-255"),
    "yolox, logits": Case("yolox", lambda: yolox(TOP_LEFT, logits=True), TOP_LEFT, "bgr-255"),
    "yolox, decoded": Case("yolox", lambda: yolox(TOP_LEFT, decoded=True), TOP_LEFT, "bgr-255"),
    "yolox, decoded, logits": Case(
        "yolox", lambda: yolox(TOP_LEFT, decoded=True, logits=True), TOP_LEFT, "bgr-255"
    ),
    "yolox of 79 classes, told by their names": Case(
        "yolox",
        lambda: yolox(TOP_LEFT, n_classes=79),
        TOP_LEFT,
        "bgr-255",
        {"metadata": {"names": str(list(COCO_80[:79]))}},
    ),
    "yolox with legacy normalisation, named": Case(
        "yolox",
        lambda: yolox(TOP_LEFT),
        TOP_LEFT,
        "rgb-imagenet",
        options=ModelOptions(normalisation="rgb-imagenet"),
    ),
    "yolox with a normalisation that the file names": Case(
        "yolox", lambda: yolox(TOP_LEFT), TOP_LEFT, "rgb-1", {"metadata": {"normalisation": "rgb-1"}}
    ),
    "yolox, colours last": Case("yolox", lambda: yolox(TOP_LEFT), TOP_LEFT, "bgr-255", {"channels_last": True}),
    "yolox, bytes": Case("yolox", lambda: yolox(TOP_LEFT), TOP_LEFT, "bgr-255", {"dtype": np.uint8}),
    "yolov5": Case("yolov5", lambda: with_objectness(CENTRE)),
    "yolov8": Case("yolov8", lambda: without_objectness(CENTRE)),
    "yolov8, rows": Case("yolov8", lambda: without_objectness(CENTRE, in_rows=True)),
    "yolov8, rows, 80 of 81 columns": Case(
        "yolov8",
        lambda: without_objectness(CENTRE, in_rows=True, n_classes=81),
        options=ModelOptions(decoder="yolov8"),
        saved={"metadata": {"names": str([*COCO_80, "tram"])}},
    ),
    "yolov8, float16": Case("yolov8", lambda: without_objectness(CENTRE), saved={"dtype": np.float16}),
    "yolov8, bytes": Case("yolov8", lambda: without_objectness(CENTRE), fed="rgb-255", saved={"dtype": np.uint8}),
    "yolov8, open size": Case(
        "yolov8",
        lambda: without_objectness(CENTRE),
        saved={"open_size": True},
        options=ModelOptions(input_size_px=SIZE),
    ),
    "yolov8, open size, told by the file": Case(
        "yolov8",
        lambda: without_objectness(CENTRE),
        saved={
            "open_size": True,
            "metadata": {"imgsz": str([SIZE[1], SIZE[0]]), "stride": "32", "task": "detect"},
        },
    ),
    "end-to-end": Case("end-to-end", lambda: end_to_end(CENTRE)),
    "ssd of tensorflow": Case(
        "ssd",
        lambda: ssd_of_tensorflow(STRETCH),
        STRETCH,
        "rgb-255",
        {"dtype": np.uint8, "channels_last": True, "open_size": True},
        ModelOptions(input_size_px=SIZE),
    ),
    "boxes, labels, scores": Case("ssd", lambda: boxes_labels_scores(STRETCH), STRETCH),
    "detr, post-processed": Case("detr", lambda: detr_done(STRETCH), STRETCH, saved={"sizes_input": True}),
    "detr, heads": Case("detr-raw", lambda: detr_heads(STRETCH), STRETCH),
    "detr, heads, first of its kind": Case(
        "detr-raw", lambda: detr_heads(STRETCH, "logits", depth=92), STRETCH, "rgb-imagenet"
    ),
    "rf-detr": Case("detr-raw", lambda: detr_heads(STRETCH, "labels", "dets"), STRETCH, "rgb-imagenet"),
}


def load(case: Case, folder: Path, **saved: Any) -> OnnxDetector:
    path = folder / "model.onnx"
    save_model(path, case.outputs(), size_px=SIZE, look=look(case.fit, case.fed), **{**case.saved, **saved})
    detector = load_detector(str(path), threads=1, options=case.options)
    assert isinstance(detector, OnnxDetector)
    return detector


@pytest.mark.parametrize("name", CASES)
def test_one_thing_is_found_where_it_is(tmp_path: Path, name: str) -> None:
    case = CASES[name]
    detector = load(case, tmp_path)
    assert detector.kind == case.kind
    found = detector.detect(picture())
    assert len(found) == 1
    np.testing.assert_allclose(found.boxes_px, [BOX], atol=0.3)
    # What is sure for the family becomes what is sure for the tracker.
    as_sure = 0.9 ** (math.log(0.3) / math.log(SURE.get(case.kind, 0.3)))
    np.testing.assert_allclose(found.scores, [as_sure], atol=0.03)
    assert [found.class_names[i] for i in found.class_ids] == ["car"]


@pytest.mark.parametrize("name", CASES)
def test_nothing_is_found_where_nothing_is(tmp_path: Path, name: str) -> None:
    """The models see what is in the picture: the test above could not pass on any picture."""
    detector = load(CASES[name], tmp_path)
    assert len(detector.detect(np.full((HEIGHT, WIDTH, 3), 80, np.uint8))) == 0


def test_every_named_decoder_is_tried_here() -> None:
    """Except those of which real models are at hand."""
    assert {case.kind for case in CASES.values()} | {"nanodet", "picodet", "fastestdet"} == set(DECODERS)


def legacy(folder: Path, fed: str) -> OnnxDetector:
    """A YOLOX that finds a lot in noise, if its numbers are those of pixels from 0 to 255."""
    (output,) = yolox(TOP_LEFT).values()
    assert output.if_lit is not None
    output.if_lit[0, 20:40, 4] = 0.9 / 127.5
    output.base[0, 20:40, 4], output.base[0, :, 9] = 0.02, 0.8
    path = save_model(folder / "model.onnx", {"output": output}, size_px=SIZE, look=look(TOP_LEFT, fed))
    detector = load_detector(str(path), threads=1)
    assert isinstance(detector, OnnxDetector)
    return detector


def test_legacy_normalisation_is_told_by_what_noise_gives(tmp_path: Path) -> None:
    detector = legacy(tmp_path, "rgb-imagenet")
    assert detector.normalisation == "rgb-imagenet"
    np.testing.assert_allclose(detector.detect(picture()).boxes_px[:1], [BOX], atol=0.3)
