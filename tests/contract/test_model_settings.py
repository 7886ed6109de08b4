"""What a configuration or a command line says of a model reaches the detector, in the camera's process too."""

from pathlib import Path

import numpy as np
import pytest

from edge_agent.cameras.jobs import camera_job
from edge_agent.cameras.messages import decode_job, encode_job
from edge_agent.cameras.process import make_detector
from edge_agent.cli import main
from edge_agent.config.loading import ConfigError, load_config
from edge_agent.domain.classes import COCO_80
from edge_agent.domain.tracking import TrackerParams
from edge_agent.drivers.base import DetectorError
from edge_agent.drivers.detectors.choices import DECODERS, NORMALISATIONS, parse_input_size
from edge_agent.drivers.detectors.decoders.families import FAMILIES
from edge_agent.drivers.detectors.letterbox import InputFormat
from edge_agent.drivers.detectors.onnx import DEFAULT_SCORE, OnnxDetector, normalised
from tests.onnx_models import Look, Output, save_model

SIZE = (96, 64)
N_CELLS = 12 * 8 + 6 * 4 + 3 * 2
SETTINGS = """
decoder = "yolov8"
normalisation = "bgr-255"
input_size = [96, 64]
execution_provider = "CPU"
threads = 1
classes = ["car"]
score_threshold = 0.95
"""
OPTIONS = ("--decoder", "yolov8", "--normalisation", "bgr-255", "--input-size", "96x64", "--provider", "cpu")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """One whose size is open, whose outputs are also those of a YOLOX of 80 classes, and which sees grey as 80."""
    base, seen, lit = (np.zeros((1, N_CELLS, 85), np.float32) for _ in range(3))
    base[0, 3, :4], seen[0, 3, 4 + COCO_80.index("car")] = (48, 32, 24, 16), 0.9
    base[0, 4, 5], lit[0, 5, 0] = 0.01, 1e-3
    look = Look((8, 16, 88, 48), (80.0, 80.0, 80.0), 1.0)
    return save_model(
        tmp_path / "mine.onnx",
        {"out": Output(base, seen, lit)},
        size_px=SIZE,
        look=look,
        open_size=True,
        metadata={"names": str([*COCO_80, "tram"])},
    )


def config(folder: Path, settings: str) -> Path:
    path = folder / "agent.toml"
    camera = f'[[cameras]]\nname = "c"\nsource = "sim:road"\nmodel = "mine.onnx"\n{settings}'
    path.write_text(f'name = "a"\nstate_dir = "{folder}"\n{camera}')
    return path


def test_from_the_configuration_to_the_camera_process(tmp_path: Path, model: Path) -> None:
    (camera,) = load_config(config(tmp_path, SETTINGS)).cameras
    job = decode_job(encode_job(camera_job(camera, threads=4)))
    detector = make_detector(job)
    assert isinstance(detector, OnnxDetector)
    assert (detector.kind, detector.normalisation, detector.input_size_px) == ("yolov8", "bgr-255", SIZE)
    found = detector.detect(np.full((64, 96, 3), 80, np.uint8))
    np.testing.assert_allclose(found.boxes_px, [[36, 24, 60, 40]], atol=0.01)


def test_without_them_it_does_not_work(tmp_path: Path, model: Path) -> None:
    (camera,) = load_config(config(tmp_path, "")).cameras
    with pytest.raises(DetectorError, match="leaves its size open; say with input_size"):
        make_detector(camera_job(camera, threads=1))


def test_the_command_line_says_it_too(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    counting = ["count", "sim:road", "--frames", "1-2", "--model", str(model)]
    assert main([*counting, *OPTIONS]) == 0
    assert main(counting) == 2
    assert "leaves its size open" in capsys.readouterr().err


def test_the_command_line_goes_before_the_configuration(
    tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    counting = ["count", "sim:road", "--frames", "1-2", "--config", str(config(tmp_path, SETTINGS))]
    assert main(counting) == 0
    assert main([*counting, "--provider", "abacus"]) == 2
    assert "no execution provider 'abacus'" in capsys.readouterr().err


def test_a_model_in_the_state_folder_is_found_by_its_name(tmp_path: Path, model: Path) -> None:
    path = config(tmp_path, SETTINGS)
    path.write_text(path.read_text().replace("mine.onnx", "my-own"))
    with pytest.raises(
        ConfigError, match=r"line 6: cameras\[c\]\.model = \"my-own\": there is no model 'my-own' in"
    ):
        load_config(path)
    (tmp_path / "models").mkdir()
    model.rename(tmp_path / "models/my-own.onnx")
    assert load_config(path).cameras[0].model == str(tmp_path / "models/my-own.onnx")


def test_every_normalisation_can_be_had() -> None:
    fed = [normalised(InputFormat(*SIZE), name) for name in NORMALISATIONS]
    assert len({(f.channels, f.mean, f.std) for f in fed}) == len(NORMALISATIONS)


def test_there_is_a_decoder_for_every_name() -> None:
    classes = [family.__self__ for family in FAMILIES]  # type: ignore[attr-defined]
    kinds = {getattr(found, "kind", None) for found in classes} - {None}
    assert kinds | {"nanodet", "picodet"} == set(DECODERS)  # those two are one class


@pytest.mark.parametrize(("text", "size"), [("416x320", (416, 320)), ("416", (416, 416)), ("640X640", (640, 640))])
def test_a_size_in_words(text: str, size: tuple[int, int]) -> None:
    assert parse_input_size(text) == size


@pytest.mark.parametrize("text", ["", "x", "416x", "x416", "416x-1", "4.5", "1x1", "9999", "416x416x3"])
def test_a_size_that_is_none(text: str) -> None:
    with pytest.raises(ValueError, match="is no size"):
        parse_input_size(text)


def test_boxes_are_told_from_the_score_on_that_the_tracker_takes() -> None:
    """Lower, each would be weighed against the others for nothing; higher, vehicles would be lost."""
    assert TrackerParams().keep_score == DEFAULT_SCORE
