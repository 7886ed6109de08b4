"""What every detector does, judged by one suite; and every family of models against a decoding of its own."""

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edge_agent.domain.classes import COCO_80, MOVING_OBJECT, VEHICLES
from edge_agent.drivers.base import Detector, DetectorError
from edge_agent.drivers.detectors.decoders.base import Candidates
from edge_agent.drivers.detectors.onnx import OnnxDetector, default_threads, load_detector
from edge_agent.drivers.sim.source import SceneSource

MODELS = {
    "yolox_nano_416": "YOLOX",
    "nanodet_m_416": "NanoDet",
    "picodet_s_320": "PicoDet",
    "fastestdet_352": "FastestDet",
    "deimv2_atto_320_int8": "DETR",
}


@dataclass(frozen=True)
class Case:
    """A detector, ready, and pictures of one size in which it finds something."""

    detector: Detector
    pictures: list[np.ndarray]


@pytest.fixture(scope="session")
def models(test_data: Path) -> Iterator[Callable[[str], Detector]]:
    """Gives a model that looks for vehicles, weak ones too, loaded once for all that only look with it."""
    loaded: dict[str, Detector] = {}

    def give(name: str) -> Detector:
        if name not in loaded:
            path = test_data / f"models/{name}.onnx"
            loaded[name] = load_detector(str(path), classes=VEHICLES, score_threshold=0.1, threads=1)
        return loaded[name]

    yield give
    for detector in loaded.values():
        detector.close()


@pytest.fixture(params=["motion", *MODELS])
def case(request: pytest.FixtureRequest) -> Iterator[Case]:
    if request.param == "motion":
        street = SceneSource("road", realtime=False)
        detector = load_detector("motion")
        for t in range(20):
            detector.detect(street.picture(20 + t / 10))
        yield Case(detector, [street.picture(22 + t / 10) for t in range(3)])
        detector.close()
    else:
        data: Path = request.getfixturevalue("test_data")
        detector = request.getfixturevalue("models")(request.param)
        yield Case(detector, [read(data, n) for n in (16, 200, 400)])


def read(data: Path, number: int) -> np.ndarray:
    image = cv2.imread(str(data / f"clips/junction/{number:03d}.jpg"))
    assert image is not None
    return image


def test_found_things_are_well_formed(case: Case) -> None:
    for picture in case.pictures:
        found = case.detector.detect(picture)
        height, width = picture.shape[:2]
        n = len(found)
        assert n > 0
        assert found.boxes_px.shape == (n, 4)
        assert found.boxes_px.dtype == np.float32
        assert found.scores.shape == (n,)
        assert found.scores.dtype == np.float32
        assert found.class_ids.shape == (n,)
        assert found.class_ids.dtype == np.int32
        assert ((found.boxes_px >= 0) & (found.boxes_px <= [width, height, width, height])).all()
        assert (found.boxes_px[:, 2:] > found.boxes_px[:, :2]).all()
        assert ((found.scores > 0) & (found.scores <= 1)).all()
        assert ((found.class_ids >= 0) & (found.class_ids < len(found.class_names))).all()


def test_class_names_are_those_of_the_detector(case: Case) -> None:
    assert case.detector.detect(case.pictures[0]).class_names == case.detector.class_names
    assert set(case.detector.class_names) >= {MOVING_OBJECT} or set(case.detector.class_names) >= set(VEHICLES)


def test_the_picture_is_left_alone(case: Case) -> None:
    picture = case.pictures[0]
    before = picture.copy()
    case.detector.detect(picture)
    assert np.array_equal(picture, before)


def test_a_result_outlives_the_next_call(case: Case) -> None:
    first = case.detector.detect(case.pictures[0])
    boxes = first.boxes_px.copy()
    case.detector.detect(case.pictures[1])
    assert np.array_equal(first.boxes_px, boxes)


def test_an_even_picture_is_empty_not_an_error(case: Case) -> None:
    # For motion the first picture of a new size is background, and the next ones are like it.
    even = np.full((300, 500, 3), 90, np.uint8)
    for _ in range(3):
        found = case.detector.detect(even)
    assert len(found.where(found.scores > 0.3)) == 0


def test_pictures_of_other_sizes(case: Case) -> None:
    for shape in ((1, 1, 3), (90, 1200, 3), (720, 1280, 3)):
        case.detector.detect(np.full(shape, 120, np.uint8))


@pytest.mark.parametrize("model", ["motion", *MODELS])
def test_close_twice(model: str, request: pytest.FixtureRequest) -> None:
    if model != "motion":
        model = str(request.getfixturevalue("test_data") / f"models/{model}.onnx")
    detector = load_detector(model)
    detector.close()
    detector.close()


# --- models ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("model", "family"), MODELS.items())
def test_family_is_told_by_the_outputs(test_data: Path, model: str, family: str) -> None:
    detector = load_detector(str(test_data / f"models/{model}.onnx"), threads=1)
    assert isinstance(detector, OnnxDetector)
    assert detector.family == family
    assert detector.class_names == COCO_80


def corners(thing: dict[str, Any]) -> np.ndarray:
    x, y, w, h = (thing["relative_coordinates"][key] for key in ("center_x", "center_y", "width", "height"))
    box = np.asarray([x - w / 2, y - h / 2, x + w / 2, y + h / 2]) * [640, 360, 640, 360]
    return np.asarray(np.clip(box, 0, [640, 360, 640, 360]))


def overlap(box: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Intersection over union of one box with each of (n, 4)."""
    low, high = np.maximum(others[:, :2], box[:2]), np.minimum(others[:, 2:], box[2:])
    shared = np.clip(high - low, 0, None).prod(axis=1)
    areas = (others[:, 2:] - others[:, :2]).prod(axis=1)
    return np.asarray(shared / (areas + (box[2:] - box[:2]).prod() - shared))


def test_yolox_finds_what_others_found_with_it(test_data: Path) -> None:
    """The recorded boxes were made by another program with the same weights."""
    recorded = json.loads((test_data / "tracks/junction_yolox_nano_detections.json").read_text())
    wanted = ("person", "bicycle", *VEHICLES)
    detector = load_detector(str(test_data / "models/yolox_nano_416.onnx"), classes=wanted, threads=1)
    for frame in recorded[::60]:
        found = detector.detect(read(test_data, frame["frame_id"]))
        strong = [(corners(thing), thing["confidence"]) for thing in frame["objects"] if thing["confidence"] > 0.3]
        for box, score in strong:
            if any(overlap(box, np.asarray([better]))[0] > 0.4 and above > score for better, above in strong):
                continue  # A van that was found as a car and as a truck, and was left double there.
            nearest = np.abs(found.boxes_px - box).max(axis=1).argmin()
            assert np.abs(found.boxes_px[nearest] - box).max() < 2
            assert found.scores[nearest] == pytest.approx(score, abs=0.01)
        assert np.sum(found.scores > 0.3) <= len(strong)


def sigmoid(value: float) -> float:
    return 1 / (1 + math.exp(-value))


Row = tuple[float, float, float, float, float, int]
"""x1, y1, x2, y2 in pixels of the input, score, class."""


def yolox_by_loops(outputs: list[np.ndarray], width: int, height: int, least: float) -> list[Row]:
    rows, found = iter(outputs[0][0]), []
    for stride in (8, 16, 32):
        for row in range(height // stride):
            for column in range(width // stride):
                x, y, w, h, objectness, *classes = (float(v) for v in next(rows))
                best = max(range(len(classes)), key=classes.__getitem__)
                if objectness * classes[best] >= least:
                    cx, cy = (x + column) * stride, (y + row) * stride
                    w, h = math.exp(w) * stride, math.exp(h) * stride
                    found.append(
                        (cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2, objectness * classes[best], best)
                    )
    return found


def distances_by_loops(outputs: list[np.ndarray], width: int, height: int, least: float) -> list[Row]:
    n, found = len(outputs) // 2, []
    for level in range(n):
        stride = 8 << level
        columns = math.ceil(width / stride)
        for cell, (classes, bins) in enumerate(zip(outputs[level][0], outputs[level + n][0], strict=True)):
            best = int(np.argmax(classes))
            if classes[best] < least:
                continue
            x, y = (cell % columns + 0.5) * stride, (cell // columns + 0.5) * stride
            sides = []
            for side in range(4):
                powers = [math.exp(float(v)) for v in bins[8 * side : 8 * side + 8]]
                sides.append(stride * sum(i * p for i, p in enumerate(powers)) / sum(powers))
            found.append((x - sides[0], y - sides[1], x + sides[2], y + sides[3], float(classes[best]), best))
    return found


def fastestdet_by_loops(outputs: list[np.ndarray], width: int, height: int, least: float) -> list[Row]:
    grid, found = outputs[0][0], []
    _, rows, columns = grid.shape
    for row in range(rows):
        for column in range(columns):
            objectness, dx, dy, w, h, *classes = (float(v) for v in grid[:, row, column])
            best = max(range(len(classes)), key=classes.__getitem__)
            score = objectness**0.6 * classes[best] ** 0.4
            if score >= least:
                x, y = (column + math.tanh(dx)) / columns, (row + math.tanh(dy)) / rows
                w, h = sigmoid(w), sigmoid(h)
                box = ((x - w / 2) * width, (y - h / 2) * height, (x + w / 2) * width, (y + h / 2) * height)
                found.append((*box, score, best))
    return found


def detr_by_loops(outputs: list[np.ndarray], width: int, height: int, least: float) -> list[Row]:
    labels, boxes, scores = (output.reshape(-1, *output.shape[2:]) for output in outputs)
    return [
        (float(box[0]), float(box[1]), float(box[2]), float(box[3]), float(score), int(label))
        for label, box, score in zip(labels.ravel(), boxes.reshape(-1, 4), scores.ravel(), strict=True)
        if score >= least
    ]


@pytest.mark.parametrize(
    ("model", "by_loops"),
    [
        ("yolox_nano_416", yolox_by_loops),
        ("nanodet_m_416", distances_by_loops),
        ("picodet_s_320", distances_by_loops),
        ("fastestdet_352", fastestdet_by_loops),
        ("deimv2_atto_320_int8", detr_by_loops),
    ],
)
def test_decoding_agrees_with_loops_over_the_outputs(
    test_data: Path, model: str, by_loops: Callable[[list[np.ndarray], int, int, float], list[Row]]
) -> None:
    """The same outputs of the real model on a real picture, decoded twice: by the product, and cell by cell."""
    path = test_data / f"models/{model}.onnx"
    detector = load_detector(str(path), threads=1)
    assert isinstance(detector, OnnxDetector)
    outputs, ours = raw(detector, read(test_data, 100), 0.2)
    fed = detector._decoder.input_format
    theirs = sorted(by_loops(outputs, fed.width_px, fed.height_px, 0.2))
    assert len(theirs) > 10
    rows = sorted(
        (*box, score, class_id)
        for box, score, class_id in zip(
            ours.boxes_px.tolist(), ours.scores.tolist(), ours.class_ids.tolist(), strict=True
        )
    )
    np.testing.assert_allclose(rows, theirs, rtol=2e-4, atol=2e-3)


def raw(detector: OnnxDetector, picture: np.ndarray, least: float) -> tuple[list[np.ndarray], Candidates]:
    tensor, _ = detector._letterbox.fill(picture)
    outputs = list(detector._session.run(tensor))
    return outputs, detector._decoder.decode(outputs, least)


@pytest.mark.parametrize("model", [name for name in MODELS if name != "deimv2_atto_320_int8"])
def test_families_agree_on_what_is_plain_to_see(
    test_data: Path, models: Callable[[str], Detector], model: str
) -> None:
    """Colours, means or letterbox taken wrongly still give boxes, but fewer and displaced ones."""
    reference, other = models("yolox_nano_416"), models(model)
    overlaps = []
    for number in (16, 200, 400):
        plain = reference.detect(read(test_data, number))
        found = other.detect(read(test_data, number))
        for box in plain.boxes_px[plain.scores > 0.6]:
            overlaps.append(float(overlap(box, found.boxes_px).max()))
    assert np.mean(overlaps) > 0.75


# --- what goes wrong ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("nowhere.onnx", "there is no model file nowhere.onnx; give the path of an .onnx file, or motion"),
        ("no-such", "there is no model 'no-such' in .*; give the path of an .onnx file, a name"),
    ],
)
def test_models_that_are_not_there(model: str, words: str) -> None:
    with pytest.raises(DetectorError, match=words):
        load_detector(model)


def test_files_that_are_no_models(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(b"not a model")
    with pytest.raises(DetectorError, match="is not a model that ONNX Runtime can load"):
        load_detector(str(path))


def test_a_cut_off_model(test_data: Path, tmp_path: Path) -> None:
    whole = (test_data / "models/yolox_nano_416.onnx").read_bytes()
    (tmp_path / "half.onnx").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DetectorError, match=r"half\.onnx is not a model"):
        load_detector(str(tmp_path / "half.onnx"))


def test_classes_it_does_not_know(test_data: Path) -> None:
    with pytest.raises(
        DetectorError, match=r"yolox_nano_416\.onnx: the model knows none of tram; it knows person"
    ):
        load_detector(str(test_data / "models/yolox_nano_416.onnx"), classes=["tram"])


@pytest.mark.parametrize("score", [0.0, -1.0, 1.5, float("nan")])
def test_thresholds_that_make_no_sense(test_data: Path, score: float) -> None:
    with pytest.raises(DetectorError, match="lies between 0 and 1"):
        load_detector(str(test_data / "models/yolox_nano_416.onnx"), score_threshold=score)


def test_a_failing_run_is_no_empty_picture(test_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    detector = load_detector(str(test_data / "models/yolox_nano_416.onnx"), threads=1)
    assert isinstance(detector, OnnxDetector)
    monkeypatch.setattr(detector._letterbox, "fill", lambda image: (np.zeros((1, 3, 5, 5), np.float32), None))
    with pytest.raises(DetectorError, match="the model failed on a picture"):
        detector.detect(np.zeros((360, 640, 3), np.uint8))


def test_a_closed_detector_is_no_empty_picture(test_data: Path) -> None:
    detector = load_detector(str(test_data / "models/yolox_nano_416.onnx"), threads=1)
    detector.close()
    with pytest.raises(DetectorError, match="was closed"):
        detector.detect(np.zeros((360, 640, 3), np.uint8))


def test_only_wanted_classes_are_found(test_data: Path) -> None:
    path, picture = str(test_data / "models/yolox_nano_416.onnx"), read(test_data, 16)
    found = load_detector(path, classes=["truck", "person"], threads=1).detect(picture)
    assert {COCO_80[i] for i in found.class_ids} <= {"truck", "person"}


def test_idle_models_leave_the_cores_alone(test_data: Path) -> None:
    detector = load_detector(str(test_data / "models/yolox_nano_416.onnx"), threads=2)
    assert isinstance(detector, OnnxDetector)
    options = detector._session.options
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"
    assert options.intra_op_num_threads == 2
    assert 1 <= default_threads() <= 4
