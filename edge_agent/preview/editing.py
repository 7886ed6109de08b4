"""Puts lines and zones into a configuration file, and leaves everything else in it as it is, comments too.

Values are changed in place. Whole tables are taken out and put in as lines of text, since a comment above the next
table must not go with the one before it.
"""

import contextlib
import hashlib
import json
import os
import re
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import tomlkit
from tomlkit.items import AoT, Array

from edge_agent.config.loading import ConfigError, Fault, parse_config
from edge_agent.config.settings import AgentConfig
from edge_agent.config.toml_lines import line_numbers
from edge_agent.domain.shapes import Anchor, Line, Point, Zone, check_inside

KINDS = ("lines", "zones")
_Make = Callable[[str, tuple[Point, ...]], Line | Zone]
_MAKERS: tuple[tuple[str, _Make], ...] = (("lines", Line), ("zones", Zone))


class Drawn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A line or zone as the page has it.

    Attributes:
        was: the name that it has in the file; None if it is new.
        points: in px of the picture.
    """

    name: str
    points: tuple[tuple[float, float], ...]
    was: str | None = None


class Drawing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All lines and zones of one camera."""

    lines: tuple[Drawn, ...] = ()
    zones: tuple[Drawn, ...] = ()


class Complaint(msgspec.Struct, frozen=True):
    """What is wrong with one field of the page. `kind` is empty where the whole file is meant."""

    kind: str
    index: int
    field: str
    message: str


class Unusable(ValueError):
    """A drawing that cannot be counted at."""

    def __init__(self, complaints: Sequence[Complaint]) -> None:
        super().__init__("; ".join(complaint.message for complaint in complaints))
        self.complaints = tuple(complaints)


class ChangedMeanwhile(Exception):
    """Somebody else changed the file since it was read."""


@dataclass(frozen=True, slots=True)
class ConfigFile:
    """A configuration file as it was read. `mark` tells whether it is the same still."""

    path: Path
    text: str
    config: AgentConfig

    @property
    def mark(self) -> str:
        return _mark(self.text)


def read_file(path: Path, environ: Mapping[str, str]) -> ConfigFile:
    """Read and check it.

    Raises:
        ConfigError: it cannot be used.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError([Fault(str(path), None, "", None, f"cannot be read: {error}")]) from error
    return ConfigFile(path, text, parse_config(text, path, environ))


def drawing_of(config: AgentConfig, camera: str) -> Drawing:
    """Lines and zones of a camera as the file has them."""
    found = next(item for item in config.cameras if item.name == camera)
    return Drawing(
        tuple(Drawn(line.name, line.points, line.name) for line in found.lines),
        tuple(Drawn(zone.name, zone.points, zone.name) for zone in found.zones),
    )


def checked(
    file: ConfigFile, camera: str, drawing: Drawing, environ: Mapping[str, str], size_px: tuple[int, int] | None
) -> tuple[str, AgentConfig]:
    """The file's text with this drawing in it, and what it then says.

    Args:
        size_px: width and height of the camera's picture, where it is known.

    Raises:
        Unusable: telling each field that is wrong.
    """
    complaints = _unsound(drawing) or _outside(drawing, size_px)
    if complaints:
        raise Unusable(complaints)
    text = with_drawing(file.text, camera, drawing)
    try:
        return text, parse_config(text, file.path, environ)
    except ConfigError as error:
        raise Unusable([_complaint(fault, camera, drawing) for fault in error.faults]) from error


def _unsound(drawing: Drawing) -> list[Complaint]:
    """What makes a shape no shape: found here, since it must not come into a file even for a check."""
    found = []
    for kind, make in _MAKERS:
        for index, drawn in enumerate(getattr(drawing, kind)):
            if not drawn.name.strip():
                found.append(Complaint(kind, index, "name", "give it a name"))
                continue
            try:
                make(drawn.name, drawn.points)
            except ValueError as error:
                found.append(Complaint(kind, index, "points", str(error)))
    return found


def _outside(drawing: Drawing, size_px: tuple[int, int] | None) -> list[Complaint]:
    if size_px is None:
        return []
    found = []
    for kind, make in _MAKERS:
        for index, drawn in enumerate(getattr(drawing, kind)):
            try:
                check_inside(make(drawn.name, drawn.points), size_px)
            except ValueError as error:
                found.append(Complaint(kind, index, "points", str(error)))
    return found


def _complaint(fault: Fault, camera: str, drawing: Drawing) -> Complaint:
    """Which field of the page a fault of the file belongs to."""
    places = [
        (kind, index, drawn.name)
        for kind in KINDS
        # Of two with one name the later one is wrong.
        for index, drawn in reversed(list(enumerate(getattr(drawing, kind))))
    ]
    for kind, index, name in places:
        for label in (name, f"#{index + 1}"):
            prefix = f"cameras[{camera}].{kind}[{label}]"
            if fault.key.startswith(prefix):
                field = fault.key.removeprefix(prefix).lstrip(".").partition("[")[0]
                return Complaint(kind, index, field or "points", fault.message)
    for kind, index, name in places:
        # A name that another camera has too is told there, if that one stands further down in the file.
        if fault.key.endswith(".name") and fault.value == json.dumps(name, ensure_ascii=False):
            return Complaint(kind, index, "name", fault.message)
    return Complaint("", 0, "", str(fault))


# --- the text ----------------------------------------------------------------------------------------------------


def with_drawing(text: str, camera: str, drawing: Drawing) -> str:
    """The text of a configuration with these lines and zones in it instead of those of the camera."""
    for kind in KINDS:
        drawn: tuple[Drawn, ...] = getattr(drawing, kind)
        text = _change(text, camera, kind, drawn)
        text = _take_out(text, camera, kind, {item.was for item in drawn})
        text = _rename(text, camera, kind, {item.was: item.name for item in drawn if item.was is not None})
        text = _put_in(text, camera, kind, [item for item in drawn if item.was is None])
    return text


def _find(tree: Any, camera: str) -> tuple[int, Any]:
    cameras = list(tree["cameras"])
    index = next(i for i, item in enumerate(cameras) if item.get("name") == camera)
    return index, cameras[index]


def _change(text: str, camera: str, kind: str, drawn: Sequence[Drawn]) -> str:
    """New points for what is in the file already. What did not move is not touched."""
    document = tomlkit.parse(text)
    _, table = _find(document, camera)
    by_name = {item.was: item for item in drawn}
    for old in table.get(kind, []):
        new = by_name.get(str(old["name"]))
        if new is not None and [list(point) for point in new.points] != [list(p) for p in old["points"]]:
            old["points"] = _points(new.points)
    return tomlkit.dumps(document)


def _rename(text: str, camera: str, kind: str, names: Mapping[str | None, str]) -> str:
    if all(was == name for was, name in names.items()):
        return text
    document = tomlkit.parse(text)
    _, table = _find(document, camera)
    tables = [old for old in table.get(kind, []) if str(old["name"]) in names]
    for old in tables:
        name = names[str(old["name"])]
        if old["name"] != name:
            old["name"] = name
    return tomlkit.dumps(document)


def _take_out(text: str, camera: str, kind: str, kept: set[str | None]) -> str:
    """Without the tables of what was deleted; comments below them stay, they belong to what follows."""
    document = tomlkit.parse(text)
    place, table = _find(document, camera)
    if not isinstance(table.get(kind), AoT):
        # `lines = [{...}, ...]`: such a list has no tables to cut out.
        array: Any = table.get(kind, [])
        for index in reversed(range(len(array))):
            if str(array[index]["name"]) not in kept:
                del array[index]
        return tomlkit.dumps(document)
    lines = text.splitlines(keepends=True)
    for index in reversed(range(len(table[kind]))):
        if str(table[kind][index]["name"]) not in kept:
            begin, end = _span(text, ("cameras", place, kind, index))
            del lines[begin:end]
    return "".join(lines)


def _put_in(text: str, camera: str, kind: str, new: Sequence[Drawn]) -> str:
    """With tables for what is new, after the last of its kind, or at the end of the camera."""
    document = tomlkit.parse(text)
    place, table = _find(document, camera)
    if isinstance(table.get(kind), Array):
        for item in new:
            inline = tomlkit.inline_table()
            inline.update({"name": item.name, "points": _points(item.points)})
            table[kind].append(inline)
        return tomlkit.dumps(document)
    if not new:
        return text
    path: tuple[str | int, ...] = ("cameras", place)
    if table.get(kind):
        path = (*path, kind, len(table[kind]) - 1)
    _, end = _span(text, path)
    lines = text.splitlines(keepends=True)
    if end and not lines[end - 1].endswith("\n"):
        lines[end - 1] += "\n"
    for item in reversed(new):
        block = tomlkit.dumps({"name": item.name, "points": _points(item.points)})
        lines[end:end] = ["\n", f"[[cameras.{kind}]]\n", *block.splitlines(keepends=True)]
    return "".join(lines)


def _span(text: str, path: tuple[str | int, ...]) -> tuple[int, int]:
    """From which line to before which one (from 0) a table with all that is in it stands.

    Blank lines and comments at its end are left to what follows.
    """
    found = line_numbers(text)
    inside = {number for key, number in found.items() if key[: len(path)] == path}
    begin, last = found[path] - 1, max(inside)
    lines = text.splitlines()
    others = [number - 1 for key, number in found.items() if number > last and key[: len(path)] != path]
    end = min(others, default=len(lines))
    while end > begin + 1 and re.fullmatch(r"\s*(#.*)?", lines[end - 1]):
        end -= 1
    return begin, end


def _points(points: Sequence[tuple[float, float]]) -> list[list[float]]:
    return [[_number(x), _number(y)] for x, y in points]


def _number(value: float) -> float:
    rounded = round(value, 1)
    return int(rounded) if rounded == int(rounded) else rounded


# --- the file ----------------------------------------------------------------------------------------------------


def backup_path(path: Path) -> Path:
    """Where the file goes that was there before."""
    return path.with_name(path.name + ".bak")


def save(file: ConfigFile, text: str) -> None:
    """Write `text` over the file that was read, whole or not at all; what was there becomes the backup.

    Raises:
        ChangedMeanwhile: it is not the file any more that was read.
        OSError: it cannot be written.
    """
    path = file.path.resolve()
    if _mark(path.read_bytes().decode("utf-8-sig", "replace")) != file.mark:
        raise ChangedMeanwhile(str(file.path))
    _replace(backup_path(path), file.text, like=path)
    _replace(path, text, like=path)


def _replace(path: Path, text: str, *, like: Path) -> None:
    """With the owner and the rights of `like`: it may hold passwords."""
    status = like.stat()
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="") as file:
            os.fchmod(file.fileno(), status.st_mode & 0o777)
            with contextlib.suppress(PermissionError):
                os.fchown(file.fileno(), status.st_uid, status.st_gid)
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise


def _mark(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def anchors_of(config: AgentConfig, camera: str) -> dict[str, Anchor]:
    """Which point of a vehicle each line and zone of the file goes by."""
    found = next(item for item in config.cameras if item.name == camera)
    lines = {line.name: line.anchor for line in found.lines}
    return lines | {zone.name: zone.anchor for zone in found.zones}
