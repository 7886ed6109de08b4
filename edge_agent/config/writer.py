"""Writes a configuration as a commented file: every setting with what it means, its bounds and its default."""

import json
import textwrap
from collections.abc import Iterator, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from edge_agent.config.section import settings_of
from edge_agent.config.settings import AgentConfig

_WIDTH = 110
_HEAD = """\
Stopline agent. What stands behind a # is not in force: it is the default, or an example where there is none.
Try this file with: stopline-agent check --config FILE
The environment overrides single values, as in STOPLINE_COLLECTOR__URL or STOPLINE_CAMERAS__NORTH__SOURCE.
"""
_EXAMPLES: dict[str, dict[str, Any]] = {
    "collector": {"url": "https://collector.example.org"},
    "cameras": {"name": "north", "source": "rtsp://user:password@camera.local:554/stream1"},
    "lines": {"name": "stop line north", "points": [[0, 180], [640, 180]]},
    "masks": {"points": [[0, 0], [200, 0], [200, 90], [0, 90]]},
    "regions": {"points": [[0, 100], [640, 100], [640, 360], [0, 360]]},
    "schedule": {"days": ["mon", "tue", "wed", "thu", "fri"], "start": "06:00", "end": "22:00"},
    "zones": {"name": "queue north", "points": [[100, 100], [300, 100], [300, 200], [100, 200]]},
    "turns": {"name": "back to north", "from": "stop line north", "to": "stop line north", "within_s": 60.0},
    "readers": {"name": "gate north", "device": "llrp://192.168.1.20"},
    "antennas": {"number": 1, "name": "gate north, lane 1"},
    "fused_lanes": {"name": "lane north", "line": "stop line north", "tags": "gate north, lane 1"},
    "calibration": {
        "points": [[129, 253, -7, 12], [511, 253, 7, 12], [394, 60, 7, 40], [246, 60, -7, 40], [320, 164, 0, 19]]
    },
}


def render_config(tree: Mapping[str, Any]) -> str:
    """A TOML text with the values of `tree`; settings that are not in it stand there as comments."""
    return "\n".join([*_comment(_HEAD), "", *_table(AgentConfig, tree, "", live=True)]).rstrip() + "\n"


def _table(model: type[BaseModel], values: Mapping[str, Any], path: str, *, live: bool) -> Iterator[str]:
    """One table: first its single values, then the tables in it, as TOML wants it."""
    fields = settings_of(model)
    inner = {key: _inner(field) for key, field in fields.items()}
    for key, field in fields.items():
        if inner[key] is None:
            yield from _setting(key, field, values, live=live)
    for key, field in fields.items():
        section = inner[key]
        if section is not None:
            yield from _section(key, field, section, values, path, live=live)


def _setting(key: str, field: FieldInfo, values: Mapping[str, Any], *, live: bool) -> Iterator[str]:
    yield from _comment(f"{field.description or field.title}{_bounds(field)}")
    given = key in values
    value = values[key] if given else _default(field)
    yield f"{'' if live and given else '# '}{key} = {_value(value)}"
    yield ""


def _section(
    key: str, field: FieldInfo, section: type[BaseModel], values: Mapping[str, Any], path: str, *, live: bool
) -> Iterator[str]:
    name = f"{path}{key}"
    is_list = get_origin(field.annotation) is tuple
    header = f"[[{name}]]" if is_list else f"[{name}]"
    given = values.get(key)
    # A section of defaults may stand there empty; one that must hold something is an example until it does.
    optional = given is None and field.default_factory is None
    tables = given if isinstance(given, list) and given else [given if isinstance(given, dict) else {}]
    for table in tables:
        is_live = live and not optional and (not is_list or bool(given))
        yield from _comment(section.__doc__ or "")
        yield header if is_live else f"# {header}"
        yield ""
        yield from _table(section, table if is_live or given else _EXAMPLES.get(key, {}), f"{name}.", live=is_live)


def _inner(field: FieldInfo) -> type[BaseModel] | None:
    candidates = [field.annotation, *get_args(field.annotation)]
    return next((c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel)), None)


def _default(field: FieldInfo) -> Any:
    if field.default in (None, {}) or field.is_required():
        return (field.examples or [""])[0]
    return field.default


def _bounds(field: FieldInfo) -> str:
    """What is allowed, where that is not plain."""
    words = [
        f"{word} {getattr(rule, bound):.10g}"
        for rule in field.metadata
        for bound, word in (("ge", "from"), ("gt", "more than"), ("le", "up to"), ("lt", "less than"))
        if hasattr(rule, bound)
    ]
    if isinstance(field.annotation, type) and issubclass(field.annotation, StrEnum):
        words.append("one of " + ", ".join(field.annotation))
    return f" ({', '.join(words)})" if words else ""


def _comment(text: str) -> list[str]:
    lines = [line for part in text.strip().splitlines() for line in textwrap.wrap(part, _WIDTH)]
    return [f"# {line}" for line in lines]


def _value(value: Any) -> str:
    """In TOML's notation, which for these kinds is JSON's."""
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_value(item) for item in value) + "]"
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{json.dumps(key)} = {_value(item)}" for key, item in value.items()) + " }"
    if isinstance(value, Path):
        value = str(value)
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
