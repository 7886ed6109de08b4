"""Lines and zones go into the file, and nothing else in it changes."""

import os
import stat
import tomllib
from pathlib import Path

import pytest

from edge_agent.config.loading import parse_config
from edge_agent.config.writer import render_config
from edge_agent.preview import editing
from edge_agent.preview.editing import (
    Drawing,
    Drawn,
    Unusable,
    backup_path,
    checked,
    read_file,
    save,
    with_drawing,
)

TEXT = """\
# head
name = "pi"   # the name

[[cameras]]
name = "north"
source = "sim:road"

# the stop line
[[cameras.lines]]
name = "a" # comment a
points = [[0, 180], [640, 180]]
anchor = "bottom"

# the second one
[[cameras.lines]]
name = "b"
points = [
  [0, 100],  # left
  [640, 100],
]

# about the zone
[[cameras.zones]]
name = "z"
points = [[0, 100], [640, 100], [5, 5]]

[[cameras]]
name = "south"
source = "sim:night"
lines = [{name = "c", points = [[1, 2], [3, 40]]}]  # inline

# tail
[status]
port = 1
"""
A = Drawn("a", ((0.0, 180.0), (640.0, 180.0)), "a")
B = Drawn("b", ((0.0, 100.0), (640.0, 100.0)), "b")
Z = Drawn("z", ((0.0, 100.0), (640.0, 100.0), (5.0, 5.0)), "z")
NEW = Drawn("new", ((1.0, 2.0), (30.26, 40.0)))


def lines_of(text: str, camera: int = 0) -> list[dict[str, object]]:
    found: list[dict[str, object]] = tomllib.loads(text)["cameras"][camera].get("lines", [])
    return found


def test_nothing_changed_is_nothing_changed() -> None:
    assert with_drawing(TEXT, "north", Drawing((A, B), (Z,))) == TEXT
    assert with_drawing(TEXT, "south", Drawing((Drawn("c", ((1.0, 2.0), (3.0, 40.0)), "c"),))) == TEXT


def test_a_moved_line_changes_its_points_only() -> None:
    moved = Drawn("a", ((0.0, 190.5), (640.0, 180.0)), "a")
    text = with_drawing(TEXT, "north", Drawing((moved, B), (Z,)))
    assert text == TEXT.replace("[[0, 180], [640, 180]]", "[[0, 190.5], [640, 180]]")


def test_names_may_change_places() -> None:
    text = with_drawing(TEXT, "north", Drawing((Drawn("b", A.points, "a"), Drawn("a", B.points, "b")), (Z,)))
    assert [line["name"] for line in lines_of(text)] == ["b", "a"]
    assert 'name = "b" # comment a' in text
    assert lines_of(text)[0]["anchor"] == "bottom"


def test_a_new_line_may_have_the_name_that_another_had() -> None:
    renamed = Drawn("old a", A.points, "a")
    text = with_drawing(TEXT, "north", Drawing((renamed, B, Drawn("a", NEW.points)), (Z,)))
    assert [line["name"] for line in lines_of(text)] == ["old a", "b", "a"]


def test_what_is_new_stands_after_the_last_of_its_kind() -> None:
    text = with_drawing(TEXT, "north", Drawing((A, B, NEW), (Z,)))
    block = '\n[[cameras.lines]]\nname = "new"\npoints = [[1, 2], [30.3, 40]]\n'
    assert text == TEXT.replace("  [640, 100],\n]\n", "  [640, 100],\n]\n" + block)


def test_what_is_deleted_takes_no_comment_of_others_with_it() -> None:
    text = with_drawing(TEXT, "north", Drawing((A,), ()))
    tree = tomllib.loads(text)["cameras"][0]
    assert [line["name"] for line in tree["lines"]] == ["a"]
    assert "zones" not in tree
    for comment in ("# head", "# comment a", "# about the zone", "# tail", "# inline"):
        assert comment in text
    assert with_drawing(TEXT, "north", Drawing()).endswith("# tail\n[status]\nport = 1\n")


def test_lists_in_a_line_are_changed_as_lists() -> None:
    drawing = Drawing((Drawn("c2", ((1.0, 2.0), (3.0, 41.0)), "c"), NEW), (Drawn("y", Z.points),))
    text = with_drawing(TEXT, "south", drawing)
    tree = tomllib.loads(text)
    assert [line["name"] for line in tree["cameras"][1]["lines"]] == ["c2", "new"]
    assert tree["cameras"][1]["zones"][0]["name"] == "y"
    assert tree["cameras"][0] == tomllib.loads(TEXT)["cameras"][0]
    assert text.startswith(TEXT[: TEXT.index("lines = [{")])
    assert lines_of(with_drawing(TEXT, "south", Drawing()), 1) == []


@pytest.mark.parametrize("ending", ["\n", ""])
def test_a_file_as_init_writes_it(ending: str) -> None:
    tree = {"name": "pi", "cameras": [{"name": "camera", "source": "sim:road"}]}
    before = render_config(tree).rstrip("\n") + ending
    text = with_drawing(before, "camera", Drawing((NEW,), (Drawn("z", Z.points),)))
    config = parse_config(text, Path("agent.toml"), {})
    assert [line.name for line in config.cameras[0].lines] == ["new"]
    assert [zone.name for zone in config.cameras[0].zones] == ["z"]
    kept = text.splitlines()
    assert all(line in kept for line in before.splitlines())


def test_windows_line_ends_stay() -> None:
    before = TEXT.replace("\n", "\r\n")
    assert with_drawing(before, "north", Drawing((A, B), (Z,))) == before
    text = with_drawing(before, "north", Drawing((A, NEW), (Z,)))
    assert [line["name"] for line in lines_of(text)] == ["a", "new"]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "agent.toml"
    file.write_text(TEXT)
    return file


@pytest.mark.parametrize(
    ("drawing", "told"),
    [
        (Drawing((Drawn("", A.points),)), ("lines", 0, "name")),
        (Drawing((A, Drawn("a", B.points))), ("lines", 1, "name")),
        (Drawing((A, Drawn(" x", B.points))), ("lines", 1, "name")),
        (Drawing((A,), (Drawn("c", Z.points),)), ("zones", 0, "name")),
        (Drawing((Drawn("n", ((1.0, 1.0), (1.0, 1.0))),)), ("lines", 0, "points")),
        (Drawing((), (Drawn("q", ((0.0, 0.0), (9.0, 9.0), (9.0, 0.0), (0.0, 9.0))),)), ("zones", 0, "points")),
        (Drawing((A, Drawn("n", ((1.0, 1.0), (999.0, 1.0))))), ("lines", 1, "points")),
        (Drawing((Drawn("n" * 101, A.points),)), ("lines", 0, "name")),
    ],
    ids=["no name", "twice", "blank", "of another camera", "equal ends", "crosses itself", "outside", "long"],
)  # fmt: skip
def test_what_is_wrong_is_told_at_its_field(path: Path, drawing: Drawing, told: tuple[str, int, str]) -> None:
    with pytest.raises(Unusable) as wrong:
        checked(read_file(path, {}), "north", drawing, {}, (640, 360))
    complaint = wrong.value.complaints[0]
    assert (complaint.kind, complaint.index, complaint.field) == told
    assert complaint.message


def test_saving_keeps_rights_and_a_backup(path: Path) -> None:
    path.chmod(0o640)
    link = path.with_name("link.toml")
    link.symlink_to(path)
    file = read_file(link, {})
    text, config = checked(file, "north", Drawing((A, NEW), (Z,)), {}, None)
    save(file, text)
    assert path.read_text() == text
    assert link.is_symlink()
    assert backup_path(path).read_text() == TEXT
    assert {stat.S_IMODE(p.stat().st_mode) for p in (path, backup_path(path))} == {0o640}
    assert [line.name for line in config.cameras[0].lines] == ["a", "new"]
    assert sorted(os.listdir(path.parent)) == ["agent.toml", "agent.toml.bak", "link.toml"]


def test_a_file_that_somebody_changed_is_left_alone(path: Path) -> None:
    file = read_file(path, {})
    path.write_text(TEXT + "# mine\n")
    with pytest.raises(editing.ChangedMeanwhile):
        save(file, "name = 'other'\n")
    assert path.read_text() == TEXT + "# mine\n"
    assert not backup_path(path).exists()
