"""The demo's parts that need no process: what is counted, and how it is told."""

import io
from pathlib import Path
from tempfile import NamedTemporaryFile

import pytest

from collector.commands.demo_plan import init_arguments, make_plan, middle_line
from collector.commands.demo_watch import Screen, as_line, as_today
from collector.errors import SettingError
from edge_agent.count.plan import parse_line


def series(via: str, counts: dict[str, int], *, camera: str = "sim road") -> dict[str, object]:
    items = [{"direction": way, "n": n} for way, n in counts.items()]
    return {"source": {"sensor": camera, "via": via}, "buckets": [{"counts": []}, {"counts": items}]}


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_plan_without_wishes_is_a_simulated_street() -> None:
    plan = make_plan(None, None, [])
    assert (plan.source, plan.model, plan.camera) == ("sim:road", "motion", "sim road")
    assert plan.simulated
    assert not plan.finite


def test_each_source_is_a_camera_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = set()
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        video = tmp_path / folder / ("my cars " + "x" * 120 + ".mp4")
        video.touch()
        plan = make_plan(str(video), None, [])
        assert plan.finite
        assert len(plan.camera) <= 100
        names.add(plan.camera)
    assert len(names) == 2
    monkeypatch.chdir(tmp_path)
    assert make_plan("a", None, []).source == str(tmp_path / "a"), "the agent runs elsewhere"


def test_a_file_kept_in_memory_is_no_camera() -> None:
    with NamedTemporaryFile(dir="/dev/shm", suffix=".mp4") as video:
        assert make_plan(video.name, None, []).finite


@pytest.mark.parametrize(
    ("source", "meant"),
    [("0", "/dev/video0"), ("/dev/video2", "/dev/video2"), ("rtsp://u:secret@cam/1", "rtsp://u:secret@cam/1")],
)
def test_cameras_are_taken_as_they_are(source: str, meant: str) -> None:
    plan = make_plan(source, None, [])
    assert plan.source == meant
    assert not plan.finite
    assert "secret" not in plan.camera + plan.shown


def test_the_bundled_model_needs_no_path() -> None:
    assert make_plan(None, "bundled", []).model == "bundled"


def test_a_password_is_not_shown() -> None:
    plan = make_plan("rtsp://user:secret@cam.example", None, [])
    assert plan.shown == "rtsp://cam.example"
    assert plan.camera.startswith("cam.example ")


def test_what_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=r"--source nothing\.mp4: there is no such file"):
        make_plan("nothing.mp4", None, [])
    (tmp_path / "model.bin").touch()
    with pytest.raises(SettingError, match=r"--model .*model\.bin: give the path of an \.onnx file"):
        make_plan(None, str(tmp_path / "model.bin"), [])


def test_a_line_across_the_middle_is_one_that_the_agent_takes() -> None:
    line = parse_line(middle_line(641, 361))
    assert (line.name, line.points_px) == ("middle", ((0.0, 180.5), (641.0, 180.5)))


def test_names_that_look_like_options_are_none() -> None:
    plan = make_plan(None, None, ["--yes:0,1,2,3"])
    told = init_arguments(
        plan, plan.lines, out=Path("-o"), state_dir=Path("-s"), collector_url="u", device="d", junction="j"
    )
    assert "--line=--yes:0,1,2,3" in told
    assert "--out=-o" in told


def test_counts_of_the_camera_and_its_truth_are_told_apart() -> None:
    counts = {
        "sources": [
            series("camera", {"in": 3, "out": 1}),
            series("truth", {"in": 4}),
            series("camera", {"in": 100}, camera="another"),
        ]
    }
    completeness = {"adds_up": True, "devices": [{"streams": [{"stored": 5}, {"stored": 6}]}]}
    line = as_line(as_today("sim road", counts, completeness))
    assert line == ("today 3 in (truth 4), 1 out (truth 0); 11 records, all accounted for")
    line = as_line(as_today("another", counts, {**completeness, "adds_up": False}))
    assert line == "today 100 in, 0 out; 11 records, NOT ALL ACCOUNTED FOR"
    assert as_line(None) == "the collector does not answer"


def test_a_terminal_shows_one_line_that_changes_and_a_file_gets_few() -> None:
    terminal, file = Terminal(), io.StringIO()
    for out in (terminal, file):
        screen = Screen(out, on_gone=pytest.fail)
        screen.tell("begun")
        screen.show("1 counted")
        screen.show("2 counted")
        screen.tell("done")
    assert terminal.getvalue().count("\n") == 2
    assert terminal.getvalue().count("\r\x1b[K") == 2
    assert "2 counted\r\x1b[Kdone\n" in terminal.getvalue()
    assert "2 counted" not in file.getvalue(), "told once in a while only"
    assert "\x1b" not in file.getvalue()
