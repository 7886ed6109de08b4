"""In what two descriptions differ, told part by part: `plans[day].stages[ns].green_s`. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from common.junction import Junction

_NAMES = ("name", "stage", "channel", "number")
"""What a part of a list is known by, the first that all have."""


class Difference(msgspec.Struct, frozen=True):
    """One part in which two differ. Null: it is not there."""

    path: str
    before: Any
    after: Any


def differences(before: Junction | None, after: Junction | None) -> list[Difference]:
    """In what two descriptions differ."""
    if before is None or after is None:
        return list(compare(_plain(before), _plain(after), "description"))
    return list(compare(_plain(before), _plain(after), ""))


def compare(before: Any, after: Any, path: str) -> Iterator[Difference]:
    """In what two JSON values differ."""
    if before == after:
        return
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for name in dict.fromkeys([*before, *after]):
            yield from compare(before.get(name), after.get(name), f"{path}.{name}" if path else str(name))
        return
    key = _key(before, after)
    if key is None:
        yield Difference(path, before, after)
        return
    old, new = ({one[key]: one for one in parts} for parts in (before, after))
    for name in dict.fromkeys([*old, *new]):
        yield from compare(old.get(name), new.get(name), f"{path}[{name}]")
    if list(old) != list(new) and set(old) == set(new):
        yield Difference(f"{path}: order", list(old), list(new))


def _key(before: Any, after: Any) -> str | None:
    """By what the parts of two lists are known; None: they are told as wholes."""
    if not (_is_list(before) and _is_list(after)):
        return None
    parts = [*before, *after]
    for name in _NAMES:
        if all(isinstance(part, Mapping) and name in part for part in parts):
            unique = all(len({part[name] for part in one}) == len(one) for one in (before, after))
            return name if unique else None
    return None


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)


def _plain(junction: Junction | None) -> dict[str, Any] | None:
    """As JSON; the order of conflicts, and within one, says nothing."""
    if junction is None:
        return None
    plain: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(junction))
    plain["conflicts"] = sorted(sorted(pair) for pair in plain["conflicts"])
    return plain
