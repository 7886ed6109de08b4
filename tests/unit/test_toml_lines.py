"""Keys of a TOML text are found on their lines."""

import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.config.toml_lines import line_numbers, line_of

TEXT = '''# comment with [brackets] and a = sign
top = "[not a table]"
long = """
[not.a.table]
key = 1
""" # closed
'quoted.key' = 1
dotted . "deep key" = 2
[table]
list = [
  [1, 2], # [[comment
  "]",
]
after = 1
[[things]]
name = "a"
[[things.parts]]
n = 1
[[things.parts]]
n = 2
[things.only]
x = 1
[[things]]
[[things.parts]]
n = 3
'''


@pytest.mark.parametrize(
    ("path", "line"),
    [
        (("top",), 2),
        (("long",), 3),
        (("quoted.key",), 7),
        (("dotted", "deep key"), 8),
        (("table",), 9),
        (("table", "list"), 10),
        (("table", "list", 0, 1), 10),
        (("table", "after"), 14),
        (("things", 0, "name"), 16),
        (("things", 0, "parts", 1, "n"), 20),
        (("things", 0, "only", "x"), 22),
        (("things", 1), 23),
        (("things", 1, "parts", 0, "n"), 25),
        (("things", 1, "missing"), 23),
        (("nowhere",), None),
    ],
)
def test_line_of_a_key(path: tuple[str | int, ...], line: int | None) -> None:
    assert line_of(line_numbers(TEXT), path) == line


def test_every_key_of_the_text_was_found() -> None:
    lines = line_numbers(TEXT)
    assert set(lines) >= {path for path in _leaves(tomllib.loads(TEXT)) if not isinstance(path[-1], int)}
    assert ("key",) not in lines


def _leaves(tree: Any, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    if isinstance(tree, dict):
        return [leaf for key, inner in tree.items() for leaf in _leaves(inner, (*path, key))]
    if isinstance(tree, list) and tree and isinstance(tree[0], dict):
        return [leaf for i, inner in enumerate(tree) for leaf in _leaves(inner, (*path, i))]
    return [path]


@given(st.dictionaries(st.text("ab#[]='\"{}\\", min_size=1), st.text(), max_size=5))
def test_strange_keys_and_values_do_not_confuse_it(table: dict[str, str]) -> None:
    import json

    text = "".join(f"{json.dumps(key)} = {json.dumps(value)}\n" for key, value in table.items())
    text = text.replace("\x7f", "\\u007f")
    assert line_numbers(text) == {(key,): number for number, key in enumerate(table, start=1)}
