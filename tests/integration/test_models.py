"""`models`: fetching from a real server that misbehaves, taking in what was carried here, telling what it is."""

import hashlib
import importlib.resources
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_agent.cli import main
from edge_agent.domain.classes import COCO_80
from edge_agent.drivers.base import DetectorError
from edge_agent.drivers.detectors.onnx import OnnxDetector, load_detector
from edge_agent.models.known import KNOWN_MODELS, KnownModel, ModelError, known_by_sha256, known_model
from edge_agent.models.pull import ATTEMPTS, pull
from edge_agent.models.store import is_name, model_path
from tests.onnx_models import Look, Output, save_model
from tests.servers.files import Behaviour, file_server

CONTENT = np.random.default_rng(1).bytes(300_000)
MODEL = KnownModel(
    "made-up",
    "http://127.0.0.1:9/made_up.onnx",
    len(CONTENT),
    hashlib.sha256(CONTENT).hexdigest(),
    "MIT",
    (8, 8),
    "tests",
)
CUT = 100_000


def fetch(folder: Path, base: str, model: KnownModel = MODEL) -> Path:
    return pull(model, folder, base=base, sleep=lambda _s: None)


def left_over(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def server() -> Behaviour:
    return Behaviour(CONTENT)


# --- pull --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("redirect", [False, True])
@pytest.mark.parametrize("told_length", [True, False])
def test_a_model_is_fetched(tmp_path: Path, server: Behaviour, redirect: bool, told_length: bool) -> None:
    server.redirect, server.told_length = redirect, told_length
    with file_server(server) as base:
        path = fetch(tmp_path / "models", base)
    assert path == tmp_path / "models/made-up.onnx"
    assert path.read_bytes() == CONTENT
    assert left_over(path.parent) == ["made-up.onnx"]


def test_what_is_here_is_not_fetched_again(tmp_path: Path, server: Behaviour) -> None:
    with file_server(server) as base:
        fetch(tmp_path, base)
        n = len(server.asked)
        fetch(tmp_path, base)
    assert len(server.asked) == n == 1


@pytest.mark.parametrize("n_cuts", [1, 2])
def test_after_a_break_it_goes_on_where_it_was(tmp_path: Path, server: Behaviour, n_cuts: int) -> None:
    server.cut_after = [CUT] * n_cuts
    with file_server(server) as base:
        assert fetch(tmp_path, base).read_bytes() == CONTENT
    assert [wanted for _, wanted in server.asked] == [None, *(f"bytes={CUT * n}-" for n in range(1, n_cuts + 1))]


def test_after_a_break_a_server_without_ranges_sends_it_all_again(tmp_path: Path, server: Behaviour) -> None:
    server.cut_after, server.ranges = [CUT], False
    with file_server(server) as base:
        assert fetch(tmp_path, base).read_bytes() == CONTENT
    assert len(server.asked) == 2


def test_another_day_it_goes_on_where_it_was(tmp_path: Path, server: Behaviour) -> None:
    server.cut_after = [CUT] + [0] * ATTEMPTS
    with file_server(server) as base:
        with pytest.raises(ModelError, match=r"made_up\.onnx cannot be fetched"):
            fetch(tmp_path, base)
        assert left_over(tmp_path) == ["made-up.onnx.part"]
        server.cut_after, server.asked = [], []
        assert fetch(tmp_path, base).read_bytes() == CONTENT
    assert server.asked == [("/made_up.onnx", f"bytes={CUT}-")]


@pytest.mark.parametrize("n_bytes", [1000, 299_999, 300_000])
def test_a_rest_of_something_else_does_no_harm(tmp_path: Path, server: Behaviour, n_bytes: int) -> None:
    (tmp_path / "made-up.onnx.part").write_bytes(b"x" * n_bytes)
    with file_server(server) as base:
        assert fetch(tmp_path, base).read_bytes() == CONTENT
    assert left_over(tmp_path) == ["made-up.onnx"]


def test_a_rest_that_is_too_long_does_no_harm(tmp_path: Path, server: Behaviour) -> None:
    (tmp_path / "made-up.onnx.part").write_bytes(b"x" * 400_000)
    with file_server(server) as base:
        assert fetch(tmp_path, base).read_bytes() == CONTENT


def test_other_content_is_refused_and_not_kept(tmp_path: Path, server: Behaviour) -> None:
    server.content = CONTENT[:-1] + b"!"
    with (
        file_server(server) as base,
        pytest.raises(ModelError, match=r"is not made-up: its sha256 is .*nothing was kept"),
    ):
        fetch(tmp_path, base)
    assert left_over(tmp_path) == []


@pytest.mark.parametrize(
    ("content", "told_length", "words"),
    [
        (b"<html>Log in</html>", True, "it has 19 bytes, and 300,000 are expected"),
        (CONTENT * 2, True, "it has 600,000 bytes"),
        (CONTENT * 2, False, "it is larger than 300,000 bytes"),
        (b"<html>Log in</html>", False, "the server ended too early"),
    ],
)
def test_another_length_is_refused(
    tmp_path: Path, server: Behaviour, content: bytes, told_length: bool, words: str
) -> None:
    server.content, server.told_length, server.ranges = content, told_length, False
    with file_server(server) as base, pytest.raises(ModelError, match=words):
        fetch(tmp_path, base)
    assert not (tmp_path / "made-up.onnx").exists()


def test_a_login_page_does_not_cost_what_was_fetched_before(tmp_path: Path, server: Behaviour) -> None:
    (tmp_path / "made-up.onnx.part").write_bytes(CONTENT[:CUT])
    server.content, server.ranges = b"<html>Log in</html>", False
    with file_server(server) as base, pytest.raises(ModelError, match="it has 19 bytes"):
        fetch(tmp_path, base)
    assert (tmp_path / "made-up.onnx.part").read_bytes() == CONTENT[:CUT]


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_busy_server_is_asked_again(tmp_path: Path, server: Behaviour, status: int) -> None:
    server.status = [status, status]
    with file_server(server) as base:
        assert fetch(tmp_path, base).read_bytes() == CONTENT


def test_a_missing_file_is_not_asked_for_again(tmp_path: Path, server: Behaviour) -> None:
    server.status = [404]
    with file_server(server) as base, pytest.raises(ModelError, match="the server answered 404 Not Found"):
        fetch(tmp_path, base)
    assert len(server.asked) == 1
    assert left_over(tmp_path) == []


def test_without_a_network_it_is_told_how_to_do_without(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"cannot be fetched: .*refused.* models import made_up\.onnx"):
        pull(MODEL, tmp_path, sleep=lambda _s: None)


def test_an_address_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="is no address that models can be fetched from"):
        fetch(tmp_path, "ftp://example.org")


def test_a_file_of_another_content_is_left_alone(tmp_path: Path, server: Behaviour) -> None:
    mine = tmp_path / "made-up.onnx"
    mine.write_bytes(b"my own work")
    with file_server(server) as base, pytest.raises(ModelError, match="move it away"):
        fetch(tmp_path, base)
    assert mine.read_bytes() == b"my own work"
    assert server.asked == []


def test_no_room(tmp_path: Path, server: Behaviour) -> None:
    with (
        file_server(server) as base,
        pytest.raises(ModelError, match=r"bytes left, and made-up needs 10,0.*make room"),
    ):
        fetch(tmp_path, base, replace(MODEL, n_bytes=10**16))


def test_two_at_once(tmp_path: Path, server: Behaviour) -> None:
    """The second one would mix its bytes with those of the first."""

    def second(_s: float) -> None:
        with pytest.raises(ModelError, match="is being fetched by another process"):
            fetch(tmp_path, base)

    server.status = [503]
    with file_server(server) as base:
        assert pull(MODEL, tmp_path, base=base, sleep=second).read_bytes() == CONTENT


# --- what is known -----------------------------------------------------------------------------------------------


def test_the_pinned_list_is_sound() -> None:
    assert len({m.name for m in KNOWN_MODELS}) == len({m.sha256 for m in KNOWN_MODELS}) == len(KNOWN_MODELS)
    for model in KNOWN_MODELS:
        assert is_name(model.name)
        assert model.url.startswith("https://github.com/")
        assert model.url.endswith(".onnx")
        assert "/main/" not in model.url
        assert len(bytes.fromhex(model.sha256)) == 32
        assert known_model(model.name) is model
        assert known_by_sha256(model.sha256) is model


def test_names_and_paths_are_told_apart() -> None:
    assert all(map(is_name, ("yolox-nano", "my_own.v2", "a")))
    assert not any(map(is_name, ("motion", "bundled", "a/b", "x.onnx", "../x", "", ".x", "Ä", "A")))
    assert model_path("a/b") == Path("a/b")


# --- the commands ------------------------------------------------------------------------------------------------


def models(capsys: pytest.CaptureFixture[str], *arguments: str | Path, status: int = 0) -> tuple[str, str]:
    """Run `stopline-agent models ...`; what it wrote on both ways."""
    assert main(["models", *map(str, arguments)]) == status
    told = capsys.readouterr()
    return told.out, told.err


def my_model(folder: Path, name: str = "My-Model.onnx") -> Path:
    """A model that finds one car in the middle of an even grey picture."""
    base, seen, lit = (np.zeros((1, 300, 6), np.float32) for _ in range(3))
    base[0, 0, :4], base[0, 0, 5], seen[0, 0, 4] = (16, 16, 48, 48), COCO_80.index("car"), 0.9
    base[0, 1, 4], lit[0, 2, 0] = 0.01, 1e-3
    look = Look((8, 24, 56, 40), (80 / 255,) * 3, 0.01)
    return save_model(
        folder / name,
        {"output0": Output(base, seen, lit)},
        size_px=(64, 64),
        look=look,
        metadata={"names": str(list(COCO_80)), "task": "detect", "license": "AGPL-3.0", "author": "somebody"},
    )


def test_pull_by_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The whole way, of a known model: a server that has something else is found out."""
    known = KNOWN_MODELS[0]
    with file_server(Behaviour(bytes(known.n_bytes))) as base:
        _, err = models(capsys, "pull", known.name, "--to", tmp_path, "--from", f"{base}/mirror/", status=1)
    assert f"{base}/mirror/yolox_nano.onnx is not yolox-nano: its sha256 is" in err
    assert left_over(tmp_path) == []


def test_list(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    my_model(tmp_path, "mine.onnx")
    (tmp_path / "yolox-tiny.onnx").write_bytes(b"damaged")
    out, _ = models(capsys, "list", "--to", tmp_path)
    rows = {line.split()[1 if line[0] != " " else 0]: line for line in out.splitlines() if line and line[4] == " "}
    assert rows["mine"].startswith("here mine")
    assert rows["yolox-tiny"].startswith("BAD")
    assert rows["yolox-nano"].startswith(" ")
    assert all("Apache-2.0" in rows[model.name] for model in KNOWN_MODELS)
    told = json.loads(models(capsys, "list", "--to", tmp_path, "--json")[0])
    assert told["folder"] == str(tmp_path)
    assert {
        row["name"]: row["here"] for row in told["models"] if row["here"] is not False and row["name"] != "bundled"
    } == {
        "mine": True,
        "yolox-tiny": None,
    }


def test_import_a_model_of_ones_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "models"
    out, _ = models(capsys, "import", my_model(tmp_path), "--to", folder)
    assert out.startswith(f"my-model is in {folder / 'my-model.onnx'}")
    models(capsys, "import", my_model(tmp_path), "--to", folder)
    assert left_over(folder) == ["my-model.onnx"]
    model = tmp_path / "other.onnx"
    save_model(model, {"o": Output(np.zeros((1, 5)))}, size_px=(64, 64), look=Look((0, 0, 9, 9), (0, 0, 0), 1))
    _, err = models(capsys, "import", model, "--to", folder, status=1)
    assert f"it cannot be used: {model}: " in err
    assert "no kind that is known here" in err
    assert left_over(folder) == ["my-model.onnx"]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("motion", "is no name for a model"),
        ("../x", "is no name for a model"),
        ("yolox-s", "is not yolox-s as it is known: its content is another one"),
        ("taken", "is there with other content; move it away"),
    ],
)
def test_import_under_a_name_that_will_not_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, words: str
) -> None:
    (tmp_path / "taken.onnx").write_bytes(b"somebody's")
    _, err = models(capsys, "import", my_model(tmp_path), "--to", tmp_path, "--name", name, status=1)
    assert words in err
    assert (tmp_path / "taken.onnx").read_bytes() == b"somebody's"


def test_import_recognises_a_known_model(
    test_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    carried = tmp_path / "object_detection_nanodet_2022nov (1).onnx"
    carried.write_bytes((test_data / "models/nanodet_m_416.onnx").read_bytes())
    out, _ = models(capsys, "import", carried, "--to", tmp_path / "models")
    assert "nanodet-m is in" in out
    assert "recognised by its sha256, Apache-2.0" in out
    detector = load_detector(str(model_path("nanodet-m", tmp_path / "models")), threads=1)
    assert detector.class_names == COCO_80


def test_info(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, picture = my_model(tmp_path), tmp_path / "p.png"
    cv2.imwrite(str(picture), np.full((360, 640, 3), 80, np.uint8))
    _, told = models(capsys, "info", path, "--picture", path, status=1)
    assert told == f"stopline-agent models: {path} is no picture that can be read; give a JPEG or PNG file\n"
    out, _ = models(capsys, "info", path, "--picture", picture)
    for words in (
        'end-to-end YOLO (decoder = "end-to-end")',
        "64x64 pixels, normalisation rgb-1",
        "found        1 car",
        "licence      AGPL-3.0",
        "author       somebody",
        "known as     nothing: a model of your own",
        "4 threads",
    ):
        assert words in out
    assert "found        nothing. If there are vehicles in the picture" in models(capsys, "info", path)[0]
    told = json.loads(models(capsys, "info", path, "--json")[0])
    assert told["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert (told["found"], told["picture"][:4]) == ([], "sim:")
    assert list(told["ms_by_threads"]) == ["1", "2", "4"]
    assert len(told["classes"]) == 80


def test_info_of_a_model_that_cannot_be_used(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(b"not a model")
    out, _ = models(capsys, "info", path, status=1)
    assert "cannot be used: " in out
    assert "11 bytes" in out
    told = json.loads(models(capsys, "info", path, "--json", status=1)[0])
    assert "is not a model that ONNX Runtime can load" in told["problem"]


def test_a_model_for_another_size(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It is tried on the simulated streets, where the bundled one finds vehicles at either size."""
    out, _ = models(capsys, "resize", "bundled", "320x192", "--to", tmp_path)
    assert f"bundled-320x192 is in {tmp_path / 'bundled-320x192.onnx'}: it sees 320x192" in out
    detector = load_detector(str(model_path("bundled-320x192", tmp_path)), threads=1)
    assert isinstance(detector, OnnxDetector)
    assert detector.input_size_px == (320, 192)
    assert left_over(tmp_path) == ["bundled-320x192.onnx"]


def test_a_model_whose_boxes_are_shares_of_its_input(
    test_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """FastestDet runs at other sizes, but draws boxes as large as its input is: seen by comparing them."""
    picture = test_data / "clips/junction/120.jpg"
    _, err = models(
        capsys, "resize", test_data / "models/fastestdet_352.onnx", "256x160", "--to", tmp_path,
        "--picture", picture, status=1,
    )  # fmt: skip
    assert "objects that it finds in a picture it finds 0 at that size" in err
    assert left_over(tmp_path) == []


@pytest.mark.parametrize(
    ("size", "words"),
    [
        ("100x96", "each side has to be a multiple of 32, such as 96x96"),
        ("96x64", "cannot be made to see 96x64: it is bound to its own size; export it"),
        ("64", "nothing is found in this picture, so it cannot be told"),
        ("none", "write WIDTHxHEIGHT in pixels"),
    ],
)
def test_a_size_that_a_model_cannot_have(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], size: str, words: str
) -> None:
    # What it gives is a constant: its cells are those of 64x64.
    model, look = tmp_path / "m.onnx", Look((0, 0, 9, 9), (0, 0, 0), 1)
    lit = np.full((1, 84, 8), 1e-6)
    save_model(model, {"o": Output(np.zeros((1, 84, 8)), if_lit=lit)}, size_px=(64, 64), look=look,
               metadata={"names": "{0: 'car', 1: 'bus', 2: 'van'}"})  # fmt: skip
    picture = tmp_path / "p.png"
    cv2.imwrite(str(picture), np.full((64, 64, 3), 80, np.uint8))
    _, err = models(capsys, "resize", model, size, "--to", tmp_path / "models", "--picture", picture, status=1)
    assert words in err


def test_a_model_that_takes_any_size(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = tmp_path / "m.onnx"
    look = Look((0, 0, 9, 9), (0, 0, 0), 1)
    save_model(model, {"o": Output(np.zeros((1, 84, 6)))}, size_px=(64, 64), look=look, open_size=True)
    _, err = models(capsys, "resize", model, "96x96", "--to", tmp_path, status=1)
    assert "its input is open to any size already; say which one with input_size" in err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["info", "nowhere.onnx"], "there is no model file nowhere.onnx"),
        (["info", "yolox-nano"], "fetch it with: stopline-agent models pull yolox-nano"),
        (["import", "nowhere.onnx"], "there is no file nowhere.onnx"),
        (["resize", "nowhere.onnx", "320x192"], "there is no model file nowhere.onnx"),
    ],
)
def test_what_is_not_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    assert words in models(capsys, *arguments, "--to", tmp_path, status=1)[1]


def test_a_pulled_model_is_found_by_its_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STOPLINE_MODELS_DIR", str(tmp_path / "models"))
    models(capsys, "import", my_model(tmp_path))
    assert main(["count", "sim:road", "--frames", "1-2", "--model", "my-model", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["frames"] == 2
    config = tmp_path / "agent.toml"
    config.write_text(
        f'name = "a"\nstate_dir = "{tmp_path}"\n[[cameras]]\nname = "c"\nsource = "sim:road"\nmodel = "my-model"\n'
    )
    monkeypatch.delenv("STOPLINE_MODELS_DIR")
    out, _ = models(capsys, "list", "--config", config)
    assert "here my-model" in out
    assert main(["count", "sim:road", "--frames", "1-2", "--config", str(config), "--json"]) == 0


def test_the_bundled_model(capsys: pytest.CaptureFixture[str]) -> None:
    """It may not be part of this installation; then that is said."""
    if (importlib.resources.files("edge_agent") / "models/street.onnx").is_file():
        assert model_path("bundled").name == "street.onnx"
        assert "known as     bundled" in models(capsys, "info", "bundled")[0]
        return
    with pytest.raises(ModelError, match="this installation has no bundled model; give the path"):
        model_path("bundled")
    with pytest.raises(DetectorError, match="this installation has no bundled model"):
        load_detector("bundled")


def test_listing_needs_no_vision() -> None:
    """A Pi that only relays has no OpenCV, and a technician should not wait for it either."""
    script = (
        "import sys; from edge_agent.cli import main; main(['models', 'list', '--to', '/nowhere']); "
        "print(sorted({'cv2', 'numpy', 'onnxruntime', 'httpx'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_a_model_is_run_without_a_word_to_its_makers(tmp_path: Path) -> None:
    """What runs models would keep a file in the home folder of what it does, to send it to its maker."""
    home = tmp_path / "home"
    home.mkdir()
    run = subprocess.run(
        [sys.executable, "-m", "edge_agent", "models", "info", "bundled"],
        env=os.environ | {"HOME": str(home)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert list(home.iterdir()) == []
