"""What an operator wants a junction to be: read from a TOML or JSON file, all faults told at once. Pure.

A file holds the members of `common.junction.Junction` and, beside them, `location`, `devices` and `metadata`. A
junction that only counts needs no more than a name. What a file says nothing about stays as it is.
"""

import math
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, time
from itertools import chain, islice
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from common.junction import Junction, Name
from common.junction_checks import Fault, read_junction, timezone_faults
from common.junction_shape import shape_faults, short

MAX_FILE_BYTES = 1024 * 1024
MAX_METADATA_BYTES = 64 * 1024
RESERVED_METADATA = "lights"
"""The collector's own note in a junction's metadata: what its lights told."""
_HEAD = ("name", "timezone", "location", "devices", "metadata")
_DEVICES = tuple[Name, ...]
_MOST_FAULTS = 200
_MOST_PARTS = 20
"""Of a path that is told."""


class Location(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where a junction is. `name` left out: the junction's."""

    name: Name | None = None
    latitude: Annotated[float, Meta(ge=-90.0, le=90.0)] | None = None
    longitude: Annotated[float, Meta(ge=-180.0, le=180.0)] | None = None
    address: Annotated[str, Meta(max_length=500)] | None = None


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is wanted. None: nothing is said about it."""

    name: str
    timezone: str | None = None
    location: Location | None = None
    description: Junction | None = None
    devices: tuple[str, ...] | None = None
    metadata: Mapping[str, Any] | None = field(default=None)


def read_file(data: bytes, *, is_toml: bool) -> tuple[Wanted | None, list[Fault]]:
    """What a file wants; None, and why, where it cannot be so."""
    if len(data) > MAX_FILE_BYTES:
        return None, [Fault("file", None, f"is larger than {MAX_FILE_BYTES // 1024} kB")]
    try:
        tree = tomllib.loads(data.decode()) if is_toml else msgspec.json.decode(data)
    except (tomllib.TOMLDecodeError, msgspec.DecodeError, UnicodeError, RecursionError) as error:
        kind = "TOML" if is_toml else "JSON"
        return None, [Fault("file", None, f"is no {kind}: {error or 'nested too deeply'}")]
    if not isinstance(tree, dict):
        return None, [Fault("file", short(tree), "has to be a table with a name, lanes, and so on")]
    described = {name: value for name, value in tree.items() if name not in _HEAD}
    if described:
        described |= {name: tree[name] for name in ("name", "timezone") if name in tree}
    return read_tree({name: tree[name] for name in _HEAD if name in tree}, described or None)


def read_tree(
    head: Mapping[str, Any], description: Mapping[str, Any] | None, path: str = ""
) -> tuple[Wanted | None, list[Fault]]:
    """What two tables want: the collector's own part, and the description, whose faults are told below `path`."""
    found = list(islice(chain(_not_storable(head, ""), _not_storable(description or {}, path)), _MOST_FAULTS))
    if found:
        return None, found
    junction, faults = (None, []) if description is None else read_junction(description)
    found = [*_head_faults(head), *(_below(path, fault) for fault in faults)]
    found = list({(fault.path, fault.message): fault for fault in found}.values())
    if found:
        return None, found
    location = head.get("location")
    devices = head.get("devices")
    return (
        Wanted(
            name=head["name"],
            timezone=head.get("timezone"),
            location=None if location is None else msgspec.convert(location, Location),
            description=junction,
            devices=None if devices is None else tuple(dict.fromkeys(devices)),
            metadata=head.get("metadata"),
        ),
        [],
    )


def _below(path: str, fault: Fault) -> Fault:
    return Fault(f"{path}.{fault.path}", fault.value, fault.message) if path else fault


def _head_faults(head: Mapping[str, Any]) -> Iterator[Fault]:
    if "name" not in head:
        yield Fault("name", None, "is missing, and has to be given")
    else:
        shape = list(shape_faults(head["name"], Name, "name"))
        yield from shape
        if not shape and not head["name"].strip():
            yield Fault("name", head["name"], "has to hold more than spaces")
    timezone = head.get("timezone")
    if timezone is not None:
        shape = list(shape_faults(timezone, Name, "timezone"))
        yield from shape or timezone_faults(timezone)
    if head.get("location") is not None:
        yield from _location_faults(head["location"])
    if head.get("devices") is not None:
        yield from shape_faults(head["devices"], _DEVICES, "devices")
    if head.get("metadata") is not None:
        yield from metadata_faults(head["metadata"])


def _location_faults(location: Any) -> Iterator[Fault]:
    found = list(shape_faults(location, Location, "location"))
    yield from found
    if not found and (location.get("latitude") is None) != (location.get("longitude") is None):
        missing = "latitude" if location.get("latitude") is None else "longitude"
        yield Fault(f"location.{missing}", None, "is missing; give both latitude and longitude, or none")


def metadata_faults(metadata: Any) -> Iterator[Fault]:
    """What is wrong with open metadata."""
    if not isinstance(metadata, Mapping):
        yield Fault("metadata", short(metadata), "has to be a table")
        return
    if RESERVED_METADATA in metadata:
        yield Fault(f"metadata.{RESERVED_METADATA}", None, "is kept by the collector itself; choose another name")
    if len(msgspec.json.encode(metadata)) > MAX_METADATA_BYTES:
        yield Fault("metadata", None, f"is larger than {MAX_METADATA_BYTES // 1024} kB")


def _not_storable(value: Any, path: str) -> Iterator[Fault]:
    """What no JSON in a database can hold: NUL characters, infinite numbers, dates of TOML.

    A path is made of what has a fault alone: it may be long, and the members below it many.
    """
    levels: list[Iterator[tuple[str | int, Any]]] = [iter([(path, value)])]
    trail: list[str | int] = []
    while levels:
        name, member = next(levels[-1], (None, None))
        if name is None:
            levels.pop()
            continue
        trail[len(levels) - 1 :] = [name]
        for text in (name, member):
            if why := _why_not(text):
                told = str(text) if isinstance(text, date | time) else None
                yield Fault(_path(trail), told, why)
        if isinstance(member, Mapping):
            levels.append(iter((str(each), below) for each, below in member.items()))
        elif isinstance(member, list | tuple):
            levels.append(iter(enumerate(member)))


def _why_not(value: Any) -> str | None:
    """Why a text or number cannot be stored; None: it can, or is neither."""
    if isinstance(value, str):
        if "\x00" in value:
            return "holds a NUL character; leave it out"
        if not value.isprintable() and any("\ud800" <= letter <= "\udfff" for letter in value):
            return "holds half a character; write it anew"
    elif isinstance(value, float) and not math.isfinite(value):
        return "has to be a finite number"
    elif isinstance(value, int) and not isinstance(value, bool) and abs(value) > 2**53:
        return "is too large a number"
    elif isinstance(value, date | time):
        return "is a date or time; write it as text, in quotation marks"
    return None


def _path(trail: Sequence[str | int]) -> str:
    """As `metadata.places[2]`, with long names cut."""
    parts = (f"[{part}]" if isinstance(part, int) else f".{short(part)}" for part in trail[:_MOST_PARTS])
    return "".join(parts).strip(".").replace("\x00", "?") or "name"
