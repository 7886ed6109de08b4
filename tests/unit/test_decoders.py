"""Families of models are told by their outputs; numbers that make no sense are refused."""

import math

import numpy as np
import pytest

from edge_agent.drivers.base import DetectorError
from edge_agent.drivers.detectors.decoders.base import Signature
from edge_agent.drivers.detectors.decoders.distribution import DistributionHead
from edge_agent.drivers.detectors.decoders.families import recognise
from edge_agent.drivers.detectors.decoders.fastestdet import FastestDet
from edge_agent.drivers.detectors.decoders.yolox import YoloX

SQUARE = {"images": (1, 3, 64, 64)}
YOLOX_CELLS = 8 * 8 + 4 * 4 + 2 * 2


def signature(*shapes: tuple[int, ...], inputs: dict[str, tuple[int | None, ...]] | None = None) -> Signature:
    return Signature(inputs or SQUARE, {f"out{i}": shape for i, shape in enumerate(shapes)})


@pytest.mark.parametrize(
    ("shapes", "family"),
    [
        ([(1, YOLOX_CELLS, 85)], "YOLOX"),
        ([(1, YOLOX_CELLS + 1, 8)], "YOLOX"),
        ([(1, 64, 80), (1, 16, 80), (1, 4, 80), (1, 64, 32), (1, 16, 32), (1, 4, 32)], "NanoDet"),
        ([(1, n, d) for d in (80, 32) for n in (64, 16, 4, 1)], "PicoDet"),
        ([(1, 85, 4, 4)], "FastestDet"),
    ],
)
def test_recognised(shapes: list[tuple[int, ...]], family: str) -> None:
    assert recognise(signature(*shapes)).family == family


def test_detr_is_recognised_by_names() -> None:
    outputs = {"scores": (1, 300), "labels": (1, 300), "boxes": (1, 300, 4)}
    inputs = {"images": (1, 3, 64, 64), "orig_target_sizes": (1, 2)}
    assert recognise(Signature(inputs, outputs)).family == "DETR"


@pytest.mark.parametrize(
    "shapes",
    [
        [(1, 1000)],
        [(1, YOLOX_CELLS - 2, 87)],
        [(1, 84, 8400)],
        [(1, 64, 80), (1, 16, 80), (1, 5, 80), (1, 64, 32), (1, 16, 32), (1, 4, 32)],
        [(1, 85, 5, 4)],
        [],
    ],
    ids=["classifier", "wrong cell count", "yolov8", "levels that do not fit", "map that does not fit", "none"],
)
def test_unknown_models_are_refused_in_plain_words(shapes: list[tuple[int, ...]]) -> None:
    with pytest.raises(DetectorError, match=r"no kind that is known here.*Supported are YOLOX") as refused:
        recognise(signature(*shapes))
    for shape in shapes:
        assert "x".join(map(str, shape)) in str(refused.value)


def test_an_open_input_size_is_refused() -> None:
    with pytest.raises(DetectorError, match="leaves its size open; say with input_size"):
        recognise(signature((1, 84, 85), inputs={"images": (1, 3, None, None)}))


def test_a_model_without_a_picture_is_refused() -> None:
    with pytest.raises(DetectorError, match=r"no input for a picture.*tokens 1x512"):
        recognise(signature((1, 84, 85), inputs={"tokens": (1, 512)}))


def yolox_output(cell: int, row: list[float]) -> list[np.ndarray]:
    rows = np.zeros((1, YOLOX_CELLS, 5 + 3), np.float32)
    rows[0, cell] = row
    return [rows]


def test_yolox_row_by_hand() -> None:
    decoder = YoloX(64, 64, (8, 16, 32), 3)
    # Cell 64 + 5 is row 1, column 1 of the level with stride 16.
    found = decoder.decode(yolox_output(64 + 5, [0.5, 0.25, 0.0, math.log(2), 0.5, 0.1, 0.8, 0.3]), 0.3)
    np.testing.assert_allclose(found.boxes_px, [[16, 4, 32, 36]], rtol=1e-5)
    np.testing.assert_allclose(found.scores, [0.4], rtol=1e-6)
    assert found.class_ids.tolist() == [1]


def test_an_empty_picture_gives_no_candidates() -> None:
    found = YoloX(64, 64, (8, 16, 32), 3).decode(yolox_output(0, [0.0] * 8), 0.1)
    assert (found.boxes_px.shape, found.scores.shape, found.class_ids.shape) == ((0, 4), (0,), (0,))


@pytest.mark.parametrize("value", [7.3, -4.0, float("nan"), float("inf")])
@pytest.mark.parametrize("column", [4, 6], ids=["objectness", "class"])
def test_scores_that_are_no_probabilities_are_told(value: float, column: int) -> None:
    row = [0.0, 0.0, 0.0, 0.0, 0.9, 0.9, 0.9, 0.9]
    row[column] = value
    with pytest.raises(DetectorError, match=r"where 0 to 1 is expected.*without its last sigmoid"):
        YoloX(64, 64, (8, 16, 32), 3).decode(yolox_output(3, row), 0.1)


def test_distances_by_hand() -> None:
    decoder = DistributionHead.recognise(signature(*[(1, n, d) for d in (2, 32) for n in (64, 16, 4)]))
    assert decoder is not None
    scores = [np.zeros((1, n, 2), np.float32) for n in (64, 16, 4)]
    bins = [np.zeros((1, n, 32), np.float32) for n in (64, 16, 4)]
    scores[2][0, 3, 1] = 0.75
    # Distances of 0, 1, 2 and 3 cells: one bin each takes it all.
    for side in range(4):
        bins[2][0, 3, 8 * side + side] = 100.0
    found = decoder.decode([*scores, *bins], 0.5)
    middle = (1 + 0.5) * 32
    np.testing.assert_allclose(found.boxes_px, [[middle, middle - 32, middle + 64, middle + 96]], rtol=1e-5)
    assert found.class_ids.tolist() == [1]


def test_fastestdet_by_hand() -> None:
    cells = np.zeros((1, 5 + 2, 4, 4), np.float32)
    cells[0, :, 2, 1] = [0.9, 0.5, -0.5, 0.0, 0.0, 0.2, 0.8]
    found = FastestDet(64, 64, 4, 4, 2).decode([cells], 0.5)
    x, y = (1 + math.tanh(0.5)) * 16, (2 + math.tanh(-0.5)) * 16
    np.testing.assert_allclose(found.boxes_px, [[x - 16, y - 16, x + 16, y + 16]], rtol=1e-5)
    np.testing.assert_allclose(found.scores, [0.9**0.6 * 0.8**0.4], rtol=1e-5)
    assert found.class_ids.tolist() == [1]
