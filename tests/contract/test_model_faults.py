"""What is wrong with a model or a picture is told in plain words; nothing crashes or is taken for empty."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from edge_agent.domain.frames import Image
from edge_agent.drivers.base import DetectorError
from edge_agent.drivers.detectors.choices import ModelOptions
from edge_agent.drivers.detectors.onnx import OnnxDetector, load_detector
from tests.onnx_models import Look, Output, save_model

SIZE = (64, 64)
N_CELLS = 8 * 8 + 4 * 4 + 2 * 2
GREY = Look((8, 8, 56, 56), (80.0, 80.0, 80.0), 1.0)
"""Seen in an even picture of this grey."""
NAMES = {"names": "['person', 'bicycle', 'car']"}


def even(width: int = 64, height: int = 64) -> Image:
    return np.full((height, width, 3), 80, np.uint8)


def rows() -> dict[str, np.ndarray]:
    """A sound YOLOX of three classes that finds nothing."""
    base, seen, lit = (np.zeros((1, N_CELLS, 8), np.float32) for _ in range(3))
    base[0, 5, 4:] = 0.05
    lit[0, 0, 0] = 1e-3
    return {"base": base, "seen": seen, "lit": lit}


def save(folder: Path, parts: dict[str, np.ndarray], **more: Any) -> str:
    output = Output(parts["base"], parts["seen"], parts["lit"])
    more = {"metadata": NAMES, **more}
    return str(save_model(folder / "model.onnx", {"output": output}, size_px=SIZE, **{"look": GREY, **more}))


def refused(path: str, options: ModelOptions | None = None) -> str:
    """What is said when it is loaded, which names the file in any case."""
    with pytest.raises(DetectorError) as error:
        load_detector(path, threads=1, options=options)
    assert path in str(error.value)
    return str(error.value)


# --- files -------------------------------------------------------------------------------------------------------


def test_a_sound_model_is_not_refused(tmp_path: Path) -> None:
    assert len(load_detector(save(tmp_path, rows()), threads=1).detect(even())) == 0


def test_an_empty_file(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").touch()
    assert "is empty; copy or download it again" in refused(str(tmp_path / "m.onnx"))


@pytest.mark.parametrize("content", [b"<html>404 Not Found</html>", b"\x00" * 5000, b"version https://git-lfs\n"])
def test_files_that_are_something_else(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "m.onnx").write_bytes(content)
    assert "is not a model that ONNX Runtime can load" in refused(str(tmp_path / "m.onnx"))


@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
def test_a_model_that_is_cut_off(tmp_path: Path, share: float) -> None:
    path = Path(save(tmp_path, rows()))
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    assert "it may be cut off" in refused(str(path))


@pytest.mark.parametrize("name", [b"images", b"output", b"bicycle"])
def test_a_name_that_is_damaged(tmp_path: Path, capfd: pytest.CaptureFixture[str], name: bytes) -> None:
    """The file can be read; what it calls its inputs, its outputs or its classes is no text any more."""
    path = Path(save(tmp_path, rows()))
    path.write_bytes(path.read_bytes().replace(name, name[:2] + b"\xf8" + name[3:]))
    assert "can't decode byte 0xf8" in refused(str(path))
    assert capfd.readouterr() == ("", "")


def test_weights_in_another_file(tmp_path: Path) -> None:
    path = Path(save(tmp_path, rows()))
    model = onnx.load(str(path))
    onnx.save(model, str(path), save_as_external_data=True, location="weights.data", size_threshold=1000)
    assert len(load_detector(str(path), threads=1).detect(even())) == 0
    (tmp_path / "weights.data").unlink()
    assert "keeps its weights in another file, which is not beside it" in refused(str(path))


# --- what it says of itself --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("task", "gives"),
    [("segment", "outlines"), ("pose", "poses"), ("classify", "one class"), ("obb", "turned"), ("x", "else")],
)
def test_models_of_another_task(tmp_path: Path, task: str, gives: str) -> None:
    told = refused(save(tmp_path, rows(), metadata={**NAMES, "task": task}))
    assert f"task is {task!r}: it gives " in told
    assert gives in told


def test_outlines_are_told_without_a_task_too(tmp_path: Path) -> None:
    outputs = {"output0": Output(np.zeros((1, 116, N_CELLS))), "output1": Output(np.zeros((1, 32, 16, 16)))}
    path = save_model(tmp_path / "m.onnx", outputs, size_px=SIZE, look=GREY)
    assert "gives outlines (segmentation), where boxes are needed" in refused(str(path))


def test_classes_without_names(tmp_path: Path) -> None:
    assert "tells 3 classes apart and its file does not name them" in refused(save(tmp_path, rows(), metadata={}))
    two = {"names": "['a', 'b']"}
    assert "3 classes apart and its file names 2 of them" in refused(save(tmp_path, rows(), metadata=two))


@pytest.mark.parametrize("names", ["nonsense", "{'a': 1}", "[[", "{0: 'a', 'x': 'b'}", "7"])
def test_names_that_make_no_sense_are_no_names(tmp_path: Path, names: str) -> None:
    assert "does not name them" in refused(save(tmp_path, rows(), metadata={"names": names}))


# --- what it was told --------------------------------------------------------------------------------------------


def test_a_decoder_that_does_not_fit(tmp_path: Path) -> None:
    told = refused(save(tmp_path, rows()), ModelOptions(decoder="nanodet"))
    assert "are not those of nanodet: output 1x84x8; they look like yolox" in told


def test_a_provider_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DetectorError, match=r"has no execution provider 'hailo'; it has .*cpu"):
        load_detector(save(tmp_path, rows()), options=ModelOptions(provider="hailo"))


@pytest.mark.parametrize("name", ["cpu", "CPU", "CPUExecutionProvider"])
def test_a_provider_by_any_of_its_names(tmp_path: Path, name: str) -> None:
    load_detector(save(tmp_path, rows()), options=ModelOptions(provider=name, threads=1)).close()


def test_an_open_size(tmp_path: Path) -> None:
    path = save(tmp_path, rows(), open_size=True)
    assert "leaves its size open; say with input_size" in refused(path)
    load_detector(path, options=ModelOptions(input_size_px=SIZE)).close()
    # Cells and pixels do not go together then.
    assert "no kind that is known here" in refused(path, ModelOptions(input_size_px=(96, 64)))


def test_another_size_than_the_model_has(tmp_path: Path) -> None:
    told = refused(save(tmp_path, rows()), ModelOptions(input_size_px=(640, 640)))
    assert "input_size says 640x640, and the model takes 64x64 only" in told


def test_pictures_by_the_dozen(tmp_path: Path) -> None:
    path = save(tmp_path, rows())
    model = onnx.load(path)
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 12
    onnx.save(model, path)
    assert "takes 12 pictures at once; export it for one" in refused(path)


def test_an_input_of_an_unknown_kind(tmp_path: Path) -> None:
    path = save(tmp_path, rows())
    model = onnx.load(path)
    model.graph.input.append(helper.make_tensor_value_info("prompt", TensorProto.INT64, [1, 77]))
    onnx.save(model, path)
    assert "it is not known what the model's input 'prompt'" in refused(path)
    model.graph.input.pop()
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.INT8
    onnx.save(model, path)
    assert "input 'images' is tensor(int8); export it with one of tensor(float)" in refused(path)


# --- models that are broken --------------------------------------------------------------------------------------


def test_a_model_that_gives_nan(tmp_path: Path) -> None:
    parts = rows()
    parts["base"][0, 30, 2] = np.nan
    assert "gives numbers that are none (NaN)" in refused(save(tmp_path, parts))


def test_a_model_that_gives_the_same_whatever_it_sees(tmp_path: Path) -> None:
    parts = rows()
    parts["lit"][:] = 0
    assert "gives the same output for every picture" in refused(save(tmp_path, parts))


@pytest.mark.parametrize("score", [0.0, 0.25])
def test_a_model_whose_scores_were_lost_in_quantisation(tmp_path: Path, score: float) -> None:
    """Boxes and scores in one output share one scale then, and all scores become the same number."""
    parts = rows()
    parts["base"][0, :, 4:] = score
    told = refused(save(tmp_path, parts))
    assert (
        f"gives every place of every picture the same score, {score**2:.3g}: it would never find anything" in told
    )
    assert "quantisation" in told


def test_scores_that_are_none(tmp_path: Path) -> None:
    parts = rows()
    parts["base"][0, :, 4] = 40.0
    assert "objectness run from 40 to 40, where 0 to 1 is expected" in refused(save(tmp_path, parts))


def test_boxes_that_become_infinite_while_it_runs(tmp_path: Path) -> None:
    parts = rows()
    parts["base"][0, 10, 2], parts["seen"][0, 10, 4:] = 200.0, 0.9  # exp(200) is too large for a float32
    detector = load_detector(save(tmp_path, parts), threads=1)
    assert len(detector.detect(255 - even())) == 0
    with pytest.raises(DetectorError, match=r"model\.onnx: the model gave boxes that are no numbers"):
        detector.detect(even())


def test_classes_beyond_the_names(tmp_path: Path) -> None:
    labels, scores = np.asarray([91, 3]), np.asarray([0.0, 0.01])
    outputs = {
        "boxes": Output(np.asarray([[8, 8, 40, 40], [0, 0, 9, 9]])),
        "labels": Output(labels, dtype=np.int64),
        "scores": Output(scores, np.asarray([0.9, 0.0])),
    }
    look = Look(GREY.box_px, (80 / 255,) * 3, 0.01)
    path = save_model(tmp_path / "model.onnx", outputs, size_px=SIZE, look=look)
    detector = load_detector(str(path), threads=1)
    with pytest.raises(DetectorError, match="the model gave class 91, and 91 names are known"):
        detector.detect(even())


# --- pictures ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("picture", "words"),
    [
        (np.zeros((48, 64), np.uint8), "a picture of 48 x 64 uint8 cannot be looked at"),
        (np.zeros((48, 64, 1), np.uint8), "48 x 64 x 1 uint8"),
        (np.zeros((48, 64, 4), np.uint8), "48 x 64 x 4 uint8"),
        (np.zeros((48, 64, 3), np.uint16), "48 x 64 x 3 uint16"),
        (np.zeros((48, 64, 3), np.float32), "has to be height x width x 3 colours of 8 bits"),
        (np.zeros((0, 64, 3), np.uint8), "0 x 64 x 3 uint8"),
    ],
    ids=["grey", "one channel", "transparent", "16 bits", "floats", "empty"],
)
def test_pictures_that_are_none(tmp_path: Path, picture: Any, words: str) -> None:
    detector = load_detector(save(tmp_path, rows()), threads=1)
    with pytest.raises(DetectorError, match=words):
        detector.detect(picture)
    assert len(detector.detect(even())) == 0


def crowd(n: int) -> dict[str, np.ndarray]:
    """Boxes all over the picture, each a little bit elsewhere, all of them likely."""
    parts = rows()
    for cell in range(min(n, N_CELLS)):
        parts["seen"][0, cell, 4:] = 0.9 - cell / 1000
    return parts


@pytest.mark.parametrize("size", [(1, 1), (7680, 4320), (3, 2000)])
def test_pictures_of_extreme_sizes(tmp_path: Path, size: tuple[int, int]) -> None:
    # Of a very narrow picture only the first column is in the input.
    look = Look((0, 8, 1, 10), GREY.values, 1.0)
    found = load_detector(save(tmp_path, crowd(20), look=look), threads=1).detect(even(*size))
    assert ((found.boxes_px >= 0) & (found.boxes_px <= [*size, *size])).all()
    assert len(found) == 0 if size == (1, 1) else len(found) > 0


def test_a_thousand_boxes_in_a_picture(tmp_path: Path) -> None:
    """All of them sure, none of them on another: the best 300 are compared, and that is still quick."""
    n = 1000
    side = 640
    base, seen, lit = (np.zeros((1, n, 6), np.float32) for _ in range(3))
    x, y = np.meshgrid(np.arange(40) * 16, np.arange(25) * 20)
    base[0, :, 0], base[0, :, 1] = x.ravel(), y.ravel()
    base[0, :, 2], base[0, :, 3] = x.ravel() + 12, y.ravel() + 12
    seen[0, :, 4], base[0, 0, 4], lit[0, 0, 0] = np.linspace(0.95, 0.3, n), 0.01, 1e-4
    look = Look((8, 8, 56, 56), (80 / 255,) * 3, 0.01)
    path = save_model(tmp_path / "m.onnx", {"output0": Output(base, seen, lit)}, size_px=(side, side), look=look)
    detector = load_detector(str(path), threads=1)
    assert isinstance(detector, OnnxDetector)
    found = detector.detect(even(side, side))
    assert len(found) == 300
    assert found.scores.min() > 0.7
    # And where each of them lies on many others.
    boxes = np.random.default_rng(1).uniform(0, 600, (n, 2)).astype(np.float32)
    base[0, :, :2], base[0, :, 2:4] = boxes, boxes + 100
    save_model(path, {"output0": Output(base, seen, lit)}, size_px=(side, side), look=look)
    assert 0 < len(load_detector(str(path), threads=1).detect(even(side, side))) < 300
