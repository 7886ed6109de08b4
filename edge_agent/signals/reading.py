"""Holds a tree, as TOML or JSON gives it, against a msgspec Struct, and tells everything that does not fit.

msgspec itself stops at the first mistake. A technician on a ladder wants them all, with what would be right.
"""

import types
from collections.abc import Iterator
from enum import Enum
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import msgspec

from common.nearest import nearest

Loc = tuple[str | int, ...]
"""Keys, and positions from 0."""
Flaw = tuple[Loc, str]
"""Where, and what is wrong and what would be right."""
_T = TypeVar("_T", bound=msgspec.Struct)

_KINDS = {
    "str": 'text in quotation marks: "..."',
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "array": "a list: [..., ...]",
    "object": "a section of its own, with settings in it",
}
"""msgspec's words for what it expects, in those of somebody who edits a file."""


def read_struct(model: type[_T], tree: object) -> tuple[_T | None, list[Flaw]]:
    """The tree as a `model`, or None and what is wrong with it."""
    flaws = list(_flaws(model, tree, ()))
    if flaws:
        return None, flaws
    try:
        return msgspec.convert(tree, model), []
    except msgspec.ValidationError as error:
        # What concerns several fields at once, such as a Struct's own check.
        return None, [((), _in_words(str(error), model))]


def get(tree: Any, loc: Loc) -> Any:
    """What stands at `loc`, or None."""
    for part in loc:
        try:
            tree = tree[part]
        except (KeyError, IndexError, TypeError):
            return None
    return tree


def near(word: str, allowed: list[str]) -> str:
    """`; did you mean X?`, or which there are."""
    found = nearest(word, allowed)
    if found:
        return f"; did you mean {found}?"
    return f"; allowed are {', '.join(allowed)}" if allowed else ""


def _flaws(kind: Any, value: Any, loc: Loc) -> Iterator[Flaw]:
    bare = _bare(kind)
    struct = _struct_for(bare, value)
    if struct is not None:
        yield from _struct_flaws(struct, value, loc)
    elif get_origin(bare) is tuple and isinstance(value, list):
        yield from _tuple_flaws(kind, bare, value, loc)
    elif get_origin(bare) is dict and isinstance(value, dict):
        key_kind, inner = get_args(bare)
        for key, each in value.items():
            yield from _leaf_flaws(key_kind, key, (*loc, key))
            yield from _flaws(inner, each, (*loc, key))
    else:
        yield from _leaf_flaws(kind, value, loc)


def _struct_flaws(model: type[msgspec.Struct], value: Any, loc: Loc) -> Iterator[Flaw]:
    if not isinstance(value, dict):
        yield loc, f"must be {_KINDS['object']}"
        return
    hints = get_type_hints(model, include_extras=True)
    fields = {field.encode_name: field for field in msgspec.structs.fields(model)}
    for key in value:
        if key not in fields:
            yield (*loc, key), f"there is no such setting here{near(key, list(fields))}"
    for key, field in fields.items():
        if key in value:
            yield from _flaws(hints[field.name], value[key], (*loc, key))
        elif field.required:
            yield (*loc, key), "is missing"


def _tuple_flaws(kind: Any, bare: Any, value: list[Any], loc: Loc) -> Iterator[Flaw]:
    arguments = get_args(bare)
    if len(arguments) == 2 and arguments[1] is Ellipsis:
        for meta in _metas(kind):
            if meta.min_length is not None and len(value) < meta.min_length:
                yield loc, f"must have {meta.min_length} element(s) or more, not {len(value)}"
            if meta.max_length is not None and len(value) > meta.max_length:
                yield loc, f"must have {meta.max_length} elements or fewer, not {len(value)}"
        arguments = (arguments[0],) * len(value)
    elif len(arguments) != len(value):
        yield loc, f"must have {len(arguments)} elements, not {len(value)}"
        return
    for number, (inner, each) in enumerate(zip(arguments, value, strict=True)):
        yield from _flaws(inner, each, (*loc, number))


def _leaf_flaws(kind: Any, value: Any, loc: Loc) -> Iterator[Flaw]:
    try:
        msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        yield loc, _in_words(str(error), kind, value)


def _bare(kind: Any) -> Any:
    while get_origin(kind) is Annotated:
        kind = get_args(kind)[0]
    return kind


def _metas(kind: Any) -> list[msgspec.Meta]:
    return [meta for meta in getattr(kind, "__metadata__", ()) if isinstance(meta, msgspec.Meta)]


def _branches(kind: Any) -> list[Any]:
    return [_bare(each) for each in get_args(kind)] if get_origin(kind) in (Union, types.UnionType) else [kind]


def _struct_for(bare: Any, value: object) -> type[msgspec.Struct] | None:
    """The Struct that the value has to be; where it is one choice among others, only if the value is a table."""
    branches = _branches(bare)
    structs = [each for each in branches if isinstance(each, type) and issubclass(each, msgspec.Struct)]
    if structs and (len(branches) == 1 or isinstance(value, dict)):
        return structs[0]
    return None


def _choices(kind: Any) -> list[str]:
    """The words that are allowed, where only certain words are."""
    found: list[str] = []
    for branch in _branches(_bare(kind)):
        if isinstance(branch, type) and issubclass(branch, Enum):
            found += [str(each.value) for each in branch]
        elif get_origin(branch) is Literal:
            found += [str(each) for each in get_args(branch)]
    return found


def _in_words(error: str, kind: Any, value: object = None) -> str:
    text = error.split(" - at `")[0].removesuffix(" of length")
    choices = _choices(kind)
    if choices:
        return f"must be one of: {', '.join(choices)}{near(str(value), choices) if value else ''}".split(
            "; allowed"
        )[0]
    for meta in _metas(kind):
        if meta.pattern is not None and isinstance(value, str):
            return f"must match {meta.pattern}"
    if not text.startswith("Expected `"):
        return text
    expected, _, rest = text.removeprefix("Expected `").partition("`")
    words = " or ".join(_KINDS.get(each, each) for each in expected.split(" | ") if each != "null")
    bound = rest.split(", got")[0]
    for sign, said in (
        (" of length >= ", "with at least {} character(s)"),
        (" of length <= ", "with at most {} characters"),
        (" >= ", "of {} or more"),
        (" <= ", "of {} or less"),
        (" > ", "of more than {}"),
        (" < ", "of less than {}"),
    ):
        if bound.startswith(sign):
            return f"must be {words} {said.format(bound.removeprefix(sign))}"
    return f"must be {words}"
