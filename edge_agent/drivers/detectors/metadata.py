"""What exporters write into a model's file: class names, task, sizes, where it is from."""

import ast
import json
from collections.abc import Mapping
from dataclasses import dataclass

from edge_agent.drivers.base import DetectorError

_DETECTION = ("detect", "detection", "object-detection")
_OTHER_TASKS = {
    "segment": "outlines (segmentation)",
    "pose": "poses",
    "classify": "one class for the whole picture (classification)",
    "obb": "turned boxes",
}


@dataclass(frozen=True, slots=True)
class Metadata:
    """What is known of a model by its own file; everything may be missing.

    Attributes:
        names: class names, by class id.
        stride: what the sides of its input have to be multiples of.
        input_size_px: width and height that it was trained or exported for.
        decoder, normalisation: as a configuration would name them (see `choices`).
        about: what else is told of where it is from: author, licence, description, version, date.
    """

    names: tuple[str, ...] = ()
    task: str | None = None
    stride: int | None = None
    input_size_px: tuple[int, int] | None = None
    decoder: str | None = None
    normalisation: str | None = None
    about: tuple[tuple[str, str], ...] = ()

    def check_task(self) -> None:
        """Refuse a model that is made for something else than finding boxes.

        Raises:
            DetectorError: saying what it gives.
        """
        if self.task is None or self.task.lower() in _DETECTION:
            return
        gives = _OTHER_TASKS.get(self.task.lower(), "something else")
        raise DetectorError(
            f"the file says that the model's task is {self.task!r}: it gives {gives}, where boxes are needed; "
            "take the detection model of the same family"
        )


def read_metadata(entries: Mapping[str, str]) -> Metadata:
    """Understand what is in a file. What cannot be understood is taken as not there."""
    sides = _numbers(entries.get("imgsz"))
    stride = _numbers(entries.get("stride"))
    return Metadata(
        names=_names(entries),
        task=entries.get("task"),
        stride=max(stride) if stride else None,
        # Height comes first in it; one number means both.
        input_size_px=(sides[-1], sides[0]) if sides else None,
        decoder=entries.get("decoder"),
        normalisation=entries.get("normalisation"),
        about=tuple(
            (key, entries[key])
            for key in ("description", "author", "license", "version", "date")
            if entries.get(key)
        ),
    )


def _names(entries: Mapping[str, str]) -> tuple[str, ...]:
    """Class names as exporters write them: a list or a mapping by id, as JSON or as Python's own notation."""
    text = entries.get("names") or entries.get("classes")
    if not text:
        return ()
    names = _literal(text)
    if isinstance(names, dict):
        try:
            names = [names[key] for key in sorted(names, key=int)]
        except (TypeError, ValueError):
            return ()
    return tuple(str(name) for name in names) if isinstance(names, list | tuple) else ()


def _numbers(text: str | None) -> tuple[int, ...]:
    """One whole number, or the whole numbers of a list."""
    value = _literal(text) if text else None
    values = value if isinstance(value, list | tuple) else [value]
    return tuple(n for n in values if type(n) is int and n > 0)


def _literal(text: str) -> object:
    for parse in (json.loads, ast.literal_eval):
        try:
            return parse(text)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            continue
    return None
