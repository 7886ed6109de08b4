"""What is wrong with the shape of a description, as it came from a file: fields, types, bounds.

msgspec stops at the first thing that it does not like. So where it refuses the whole, each part is read by itself,
and each tells its own fault.
"""

import re
import typing
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

import msgspec

from common.nearest import nearest

_SHOWN = 60


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong.

    Attributes:
        path: where, as in the file: `movements[2].yellow_s`.
        value: what stands there.
        message: what is wrong with it, and what would be right.
    """

    path: str
    value: object
    message: str

    def __str__(self) -> str:
        return (
            f"{self.path}: {self.message}"
            if self.value is None
            else f"{self.path} = {self.value!r}: {self.message}"
        )


def hint(name: str, known: Iterable[str]) -> str:
    """What somebody may have meant."""
    names = list(dict.fromkeys(known))
    near = nearest(name, names)
    return f"did you mean {near}?" if near else f"there are {', '.join(names) or 'none'}"


def shape_faults(value: object, kind: Any, path: str) -> Iterator[Fault]:
    """What is wrong with the shape of one part, and of all parts of it.

    Args:
        value: as JSON or TOML gave it.
        kind: the type that it has to have.
        path: where it stands.
    """
    plain = typing.get_args(kind)[0] if typing.get_origin(kind) is typing.Annotated else kind
    parts = typing.get_args(plain) if typing.get_origin(plain) is tuple else ()
    if isinstance(plain, type) and issubclass(plain, msgspec.Struct):
        yield from _table(value, plain, path)
        return
    if isinstance(value, list | tuple) and len(parts) == 2 and parts[1] is ...:
        found = [fault for i, one in enumerate(value) for fault in shape_faults(one, parts[0], f"{path}[{i}]")]
        yield from found
        if found:
            return
    try:
        msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        yield Fault(path or "junction", short(value), _in_words(str(error), kind))


def _table(value: object, kind: type[msgspec.Struct], path: str) -> Iterator[Fault]:
    if not isinstance(value, Mapping):
        yield Fault(path or "junction", short(value), f"has to be a table of {', '.join(kind.__struct_fields__)}")
        return
    types = typing.get_type_hints(kind, include_extras=True)
    required = {field.name for field in msgspec.structs.fields(kind) if field.required}
    for name, member in value.items():
        where = f"{path}.{name}" if path else str(name)
        if name not in types:
            yield Fault(where, short(member), f"there is no such field; {hint(str(name), kind.__struct_fields__)}")
        else:
            yield from shape_faults(member, types[name], where)
    for name in sorted(required - value.keys()):
        yield Fault(f"{path}.{name}" if path else name, None, "is missing, and has to be given")


def _in_words(error: str, kind: Any) -> str:
    """msgspec's own words, less where it is: the path tells that; and what there is to choose from."""
    words = re.sub(r" - at `[^`]*`$", "", error)
    found = choices(kind) if words.startswith("Invalid enum value") else []
    return f"{words}; it is one of {', '.join(found)}" if found else words


def choices(kind: Any) -> list[str]:
    """What a type leaves to choose from, also within others; none: it is not one of few."""
    if isinstance(kind, type) and issubclass(kind, Enum):
        return [str(one.value) for one in kind]
    if typing.get_origin(kind) is typing.Literal:
        return [str(one) for one in typing.get_args(kind)]
    return next((found for found in map(choices, typing.get_args(kind)) if found), [])


def short(value: object) -> object:
    """What can be shown of a value in one line."""
    if isinstance(value, int | float | bool) or value is None:
        return value
    text = value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
