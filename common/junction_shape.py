"""What is wrong with the shape of a description, as it came from a file: fields, types, bounds.

msgspec stops at the first thing that it does not like. So where it refuses the whole, each part is read by itself,
and each tells its own fault.
"""

import re
import types
import typing
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

import msgspec

from common.nearest import nearest

_SHOWN = 60
_EXPECTED = re.compile(r"Expected `([^`]+)`(?:( of length)? ([<>]=?) (\S+))?(?:, got `([^`]+)`)?")
_KINDS = {
    "int": "a whole number",
    "float": "a number",
    "str": "a text",
    "bool": "true or false",
    "array": "a list",
    "object": "a table",
    "datetime": "a time",
}
_BOUNDS = {">=": "at least", "<=": "at most", ">": "more than", "<": "less than"}
_INSTANT = "a time with an offset from UTC, such as 2026-05-04T08:00:00+02:00"
_OTHERS = {
    "Invalid UUID": "has to be a UUID, such as 8f3f9a70-1f9d-4a7c-8a50-3f1f0c1e2d3a",
    "Invalid RFC3339 encoded datetime": f"has to be {_INSTANT}",
    "Invalid epoch timestamp": f"has to be {_INSTANT}",
    "Timestamp is out of range ": f"has to be {_INSTANT}",
    "Expected `datetime` with a timezone component": f"has to be {_INSTANT}",
}


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
    kind = _of_a_union(value, kind)
    plain = typing.get_args(kind)[0] if typing.get_origin(kind) is typing.Annotated else kind
    parts = typing.get_args(plain)
    if isinstance(plain, type) and issubclass(plain, msgspec.Struct):
        yield from _table(value, plain, path)
        return
    members: Iterable[tuple[str, object]] = ()
    if isinstance(value, list | tuple) and (typing.get_origin(plain) is list or parts[1:] == (...,)):
        members = ((f"{path}[{i}]", one) for i, one in enumerate(value))
    elif isinstance(value, Mapping) and typing.get_origin(plain) is dict:
        members = ((f"{path}.{name}", one) for name, one in value.items())
    found = False
    for where, member in members:
        for fault in shape_faults(member, parts[-1] if isinstance(value, Mapping) else parts[0], where):
            yield fault
            found = True
    if found:
        return
    try:
        msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        yield Fault(path or "junction", short(value), in_words(str(error), kind))


def _of_a_union(value: object, kind: Any) -> Any:
    """The one choice that a table or a list can be."""
    if typing.get_origin(kind) not in (typing.Union, types.UnionType):
        return kind
    for choice in typing.get_args(kind):
        made_of = typing.get_origin(choice) or choice
        is_table = made_of is dict or (isinstance(made_of, type) and issubclass(made_of, msgspec.Struct))
        if (isinstance(value, Mapping) and is_table) or (isinstance(value, list) and made_of in (list, tuple)):
            return choice
    return kind


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


def in_words(error: str, kind: Any) -> str:
    """What msgspec has to say, in plain words, less where it is; and what there is to choose from."""
    words = re.sub(r" - at `[^`]*`$", "", error)
    if words.startswith("Invalid enum value"):
        found = choices(kind)
        words = re.sub(rf"'(.{{{_SHOWN}}}).+'$", r"'\1...'", words, flags=re.DOTALL)
        return f"{words}; it is one of {', '.join(found)}" if found else words
    if words in _OTHERS:
        return _OTHERS[words]
    expected = _EXPECTED.fullmatch(words)
    if not expected:
        return words
    kinds, of_length, sign, bound, got = expected.groups()
    wanted = " or ".join(_KINDS.get(one, one) for one in kinds.split(" | "))
    if of_length:
        what = "character" if kinds == "str" else "element"
        return f"has to have {_BOUNDS[sign]} {bound} {what}{'' if bound == '1' else 's'}"
    if sign:
        return f"has to be {wanted}, {_BOUNDS[sign]} {bound.removesuffix('.0')}"
    return f"has to be {wanted}" + (f", and is {_KINDS.get(got, got)}" if got else "")


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
