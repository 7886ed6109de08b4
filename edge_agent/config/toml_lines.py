"""On which line of a TOML text a key stands. `tomllib` does not tell, and a technician wants to know."""

import re
import tomllib
from collections.abc import Mapping
from typing import Any

Path = tuple[str | int, ...]
"""Keys and, within arrays of tables, positions from 0."""

_BARE = r"[A-Za-z0-9_-]+"
_QUOTED = r"\"(?:[^\"\\]|\\.)*\"|'[^']*'"
_KEY = rf"(?:{_BARE}|{_QUOTED})(?:\s*\.\s*(?:{_BARE}|{_QUOTED}))*"
_TABLE = re.compile(rf"\s*\[\s*({_KEY})\s*\]")
_TABLES = re.compile(rf"\s*\[\[\s*({_KEY})\s*\]\]")
_ASSIGNMENT = re.compile(rf"\s*({_KEY})\s*=")
_STRINGS_AND_COMMENTS = re.compile(r'"""|\'\'\'|"(?:[^"\\\n]|\\.)*"|\'[^\'\n]*\'|#[^\n]*|[\[\]{}]')


def line_numbers(text: str) -> dict[Path, int]:
    """The line (from 1) of every table and key of a valid TOML text.

    What stands inside an inline table or an array over several lines has no entry of its own; `line_of` answers
    with the line where that value begins.
    """
    lines: dict[Path, int] = {}
    positions: dict[Path, int] = {}
    table: Path = ()
    depth = _Depth()
    for number, line in enumerate(text.splitlines(), start=1):
        if depth.inside:
            depth.feed(line)
        elif found := _TABLES.match(line):
            path = _resolve(_keys(found[1]), positions)
            positions[path] = positions.get(path, -1) + 1
            table = (*path, positions[path])
            lines.setdefault(path, number)
            lines[table] = number
        elif found := _TABLE.match(line):
            table = _resolve(_keys(found[1]), positions)
            lines[table] = number
        elif found := _ASSIGNMENT.match(line):
            _note(lines, table, _keys(found[1]), number)
            depth.feed(line[found.end() :])
    return lines


def line_of(lines: Mapping[Path, int], path: Path) -> int | None:
    """The line of `path`, or of the nearest thing around it that has one."""
    for length in range(len(path), 0, -1):
        if path[:length] in lines:
            return lines[path[:length]]
    return None


class _Depth:
    """Follows a value over lines: how many brackets are open, and whether a long string is."""

    def __init__(self) -> None:
        self._open = 0
        self._quotes = ""

    @property
    def inside(self) -> bool:
        """Whether the value goes on in the next line."""
        return bool(self._open or self._quotes)

    def feed(self, text: str) -> None:
        if self._quotes:
            _, closed, text = text.partition(self._quotes)
            if not closed:
                return
            self._quotes = ""
        for found in _STRINGS_AND_COMMENTS.finditer(text):
            token = found[0]
            if token in ('"""', "'''"):
                self._quotes = token
                self.feed(text[found.end() :])
                return
            if token in "[{":
                self._open += 1
            elif token in "]}":
                self._open -= 1


def _note(lines: dict[Path, int], table: Path, keys: list[str], number: int) -> None:
    for length in range(1, len(keys) + 1):
        lines.setdefault((*table, *keys[:length]), number)


def _keys(dotted: str) -> list[str]:
    """The parts of a dotted key; TOML itself knows best how they are quoted."""
    found: Any = tomllib.loads(f"{dotted} = 0")
    keys = []
    while isinstance(found, dict):
        ((key, found),) = found.items()
        keys.append(key)
    return keys


def _resolve(keys: list[str], positions: Mapping[Path, int]) -> Path:
    """A header's keys, with the present position put in after each array of tables on the way."""
    path: Path = ()
    for key in keys[:-1]:
        path = (*path, key)
        if path in positions:
            path = (*path, positions[path])
    return (*path, keys[-1])
