"""Reads a configuration: TOML, then overrides from the environment, then checked whole.

`STOPLINE_` and the path of a setting in capitals, parts joined by `__`, overrides one value:
`STOPLINE_COLLECTOR__URL`, `STOPLINE_STATE_DIR`, `STOPLINE_CAMERAS__NORTH__SOURCE` (a camera by its name in
capitals, with `_` for what is neither letter nor digit). Only single values can be set so, no lists. A name with
`__` that leads nowhere is an error; other variables that begin with `STOPLINE_` may belong to other programs and
are left alone.
"""

import difflib
import json
import os
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from common import PREFIX
from edge_agent.config.faults import ConfigError as ConfigError
from edge_agent.config.faults import Fault as Fault
from edge_agent.config.reader import fusion_faults
from edge_agent.config.section import Context, settings_of, tables
from edge_agent.config.settings import AgentConfig, absent_models, name_clashes, turn_faults
from edge_agent.config.toml_lines import line_numbers, line_of
from edge_agent.redact import redact

LIGHTS_PREFIX = "STOPLINE_LIGHTS__"
"""Overrides of the lights' daemon, which has a configuration of its own."""
_SEPARATOR = "__"
_Loc = tuple[str | int, ...]
_Tree = dict[str, Any]


def load_config(
    path: Path, environ: Mapping[str, str] = os.environ, *, files_must_exist: bool = True
) -> AgentConfig:
    """The configuration in `path`, overridden from `environ`.

    Raises:
        ConfigError: with all that is wrong.
    """
    return parse_config(_read(path), path, environ, files_must_exist=files_must_exist)


def parse_config(
    text: str, path: Path, environ: Mapping[str, str], *, files_must_exist: bool = True
) -> AgentConfig:
    """The configuration in `text`, which came from `path`.

    Raises:
        ConfigError: with all that is wrong.
    """
    tree = _parse(text, path)
    lines = line_numbers(text)
    origins, faults = _override(tree, environ)

    def where(loc: _Loc) -> tuple[str, int | None]:
        if loc in origins:
            return f"environment variable {origins[loc]}", None
        return str(path), line_of(lines, loc)

    context = Context(path.resolve().parent, files_must_exist)
    config = _validate(tree, context, where, faults)
    if config is None or faults:
        raise ConfigError(faults)
    return config


def _read(path: Path) -> str:
    try:
        # Some editors begin a file with a mark that TOML does not know.
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        message = f"is not UTF-8 text (byte {error.start}); save it as UTF-8"
        raise ConfigError([Fault(str(path), None, "", None, message)]) from error
    except FileNotFoundError as error:
        message = f"there is no such file; make one with: stopline-agent init --out {path}"
        raise ConfigError([Fault(str(path), None, "", None, message)]) from error
    except PermissionError as error:
        message = "may not be read by this user; give its group access (chgrp, chmod 640) or use sudo"
        raise ConfigError([Fault(str(path), None, "", None, message)]) from error
    except OSError as error:
        raise ConfigError([Fault(str(path), None, "", None, f"cannot be read: {error.strerror}")]) from error


def _parse(text: str, path: Path) -> _Tree:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = re.search(r"\(at line (\d+), column \d+\)", str(error))
        number = int(found[1]) if found else len(text.splitlines())
        what = str(error).split(" (at ")[0].replace("Cannot overwrite a value", "set twice in one section")
        lines = text.splitlines()
        shown = f" in: {redact(lines[number - 1].strip())}" if 0 < number <= len(lines) else ""
        raise ConfigError([Fault(str(path), number, "", None, f"is not TOML: {what}{shown}")]) from error


def _validate(
    tree: _Tree, context: Context, where: Callable[[_Loc], tuple[str, int | None]], faults: list[Fault]
) -> AgentConfig | None:
    """The checked configuration; what is wrong is added to `faults`."""
    config = None
    try:
        # By way of JSON, since strict validation takes a JSON array for a tuple and a JSON string for a path.
        config = AgentConfig.model_validate_json(json.dumps(tree, default=_no_value), context=context.as_mapping())
    except ValidationError as error:
        for details in error.errors(include_url=False):
            loc = _without_key_mark(details)
            faults.append(_fault(loc, details, tree, *where(loc)))
    absent = absent_models(config) if config is not None and context.files_must_exist else []
    for loc, message in [*name_clashes(tree), *turn_faults(tree), *fusion_faults(tree), *absent]:
        faults.append(Fault(*where(loc), _key_text(loc, tree), _value_text(_get(tree, loc)), message))
    return config


def _no_value(date: object) -> dict[str, str]:
    """TOML has dates, no setting is one: something that fits nowhere stands in for it."""
    return {"date": str(date)}


# --- errors in words ---------------------------------------------------------------------------------------------


def _without_key_mark(details: ErrorDetails) -> _Loc:
    return tuple(part for part in details["loc"] if part != "[key]")


def _fault(loc: _Loc, details: ErrorDetails, tree: _Tree, source: str, line: int | None) -> Fault:
    kind, ctx = details["type"], details.get("ctx", {})
    key = _key_text(loc, tree)
    if kind == "missing":
        field = _field_at(loc)
        meaning = f" ({field.description})" if field and field.description else ""
        return Fault(source, line, key, None, f"is missing{meaning}")
    if kind == "extra_forbidden":
        return Fault(source, line, key, _value_text(_get(tree, loc)), _unknown_key(loc))
    value = _get(tree, loc)
    if kind == "tuple_type" and isinstance(value, dict):
        return Fault(source, line, key, None, f"there may be several: write [[{_header(loc)}]], in two brackets")
    shown = None if isinstance(value, dict) else _value_text(value)
    return Fault(source, line, key, shown, _in_words(kind, ctx, details["msg"]))


_WORDS: dict[str, str] = {
    "string_type": 'must be text in quotation marks: "..."',
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "bool_type": "must be true or false",
    "tuple_type": "must be a list: [..., ...]; of points, a list of such lists: [[X, Y], [X, Y]]",
    "model_type": "must be a section of its own, with settings in it",
    "finite_number": "must be a finite number",
    "greater_than": "must be more than {gt:g}",
    "greater_than_equal": "must be {ge:g} or more",
    "less_than": "must be less than {lt:g}",
    "less_than_equal": "must be {le:g} or less",
    "string_too_short": "must not be empty",
    "string_too_long": "must have {max_length} characters or fewer",
    "enum": "must be one of: {expected}",
    "value_error": "{error}",
}
"""Pydantic's kinds of error in the words of somebody who edits a file."""


def _in_words(kind: str, ctx: Mapping[str, Any], otherwise: str) -> str:
    if kind in ("too_short", "too_long"):
        asked = ctx["min_length"] if kind == "too_short" else ctx["max_length"]
        return f"must have {asked} element(s), not {ctx['actual_length']}"
    return _WORDS[kind].format(**ctx) if kind in _WORDS else otherwise


def _header(loc: _Loc) -> str:
    return ".".join(part for part in loc if isinstance(part, str))


def _unknown_key(loc: _Loc) -> str:
    model = _model_at(loc[:-1])
    allowed = list(settings_of(model)) if model else []
    message = "there is no such setting here"
    near = difflib.get_close_matches(str(loc[-1]), allowed, n=1, cutoff=0.6)
    if near:
        return f"{message}; did you mean {near[0]}?"
    home = [section for section, inner in _sections() if loc[-1] in inner.model_fields]
    hint = f" (it belongs into {home[0]})" if home else ""
    return f"{message}{hint}; allowed are {', '.join(allowed)}"


def _key_text(loc: _Loc, tree: _Tree) -> str:
    """`cameras[north].fps`; a table without a name is told by its number from 1."""
    text = ""
    for length, part in enumerate(loc, start=1):
        if isinstance(part, int):
            item = _get(tree, loc[:length])
            name = item.get("name") if isinstance(item, dict) else None
            text += f"[{name if isinstance(name, str) and name else f'#{part + 1}'}]"
        else:
            text += f".{part}" if text else part
    return text


def _value_text(value: object) -> str:
    text = json.dumps(value, default=str, ensure_ascii=False)
    if isinstance(value, str):
        # An address is hidden as a whole: one with a blank in its password is what is complained of.
        value = re.sub(r"\s", "%20", value) if "://" in value else value
        text = f'"{redact(value)}"'
    return redact(text) if len(text) <= 120 else redact(text)[:117] + "..."


def _get(tree: Any, loc: _Loc) -> Any:
    for part in loc:
        try:
            tree = tree[part]
        except (KeyError, IndexError, TypeError):
            return None
    return tree


# --- the models as a map -----------------------------------------------------------------------------------------


def _inner_model(field: FieldInfo) -> type[BaseModel] | None:
    """The section that a field holds: itself, optionally, or in a list."""
    candidates = [field.annotation, *get_args(field.annotation)]
    return next((c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel)), None)


def _is_list(field: FieldInfo) -> bool:
    return get_origin(field.annotation) is tuple


def _is_compound(field: FieldInfo) -> bool:
    """Whether it holds several values, which no single variable can give."""
    return bool({get_origin(kind) for kind in (field.annotation, *get_args(field.annotation))} & {tuple, dict})


def _model_at(loc: _Loc) -> type[BaseModel] | None:
    model: type[BaseModel] | None = AgentConfig
    for part in loc:
        if isinstance(part, int):
            continue
        field = settings_of(model).get(part) if model else None
        model = _inner_model(field) if field else None
    return model


def _field_at(loc: _Loc) -> FieldInfo | None:
    model = _model_at(loc[:-1])
    return settings_of(model).get(str(loc[-1])) if model else None


def _sections() -> Iterator[tuple[str, type[BaseModel]]]:
    """All sections with their headers."""
    for name, field in AgentConfig.model_fields.items():
        inner = _inner_model(field)
        if inner is not None:
            yield (f"[[{name}]]" if _is_list(field) else f"[{name}]"), inner


# --- overrides ---------------------------------------------------------------------------------------------------


def _override(tree: _Tree, environ: Mapping[str, str]) -> tuple[dict[_Loc, str], list[Fault]]:
    """Put what the environment says into `tree`. Returns which variable each place came from, and mistakes."""
    origins: dict[_Loc, str] = {}
    faults: list[Fault] = []
    targets = _targets(tree)
    for variable, text in sorted(environ.items()):
        if not variable.startswith(PREFIX) or variable.startswith(LIGHTS_PREFIX):
            continue
        name = variable.removeprefix(PREFIX)
        if name in targets:
            loc, field = targets[name]
            _put(tree, loc, _from_text(text, field))
            origins[loc] = variable
        elif _SEPARATOR in name:
            near = difflib.get_close_matches(name, targets, n=1, cutoff=0.6)
            hint = f"; did you mean {PREFIX}{near[0]}?" if near else ""
            faults.append(Fault(f"environment variable {variable}", None, "", None, f"leads to no setting{hint}"))
    return origins, faults


def _targets(tree: _Tree) -> dict[str, tuple[_Loc, FieldInfo]]:
    """Every single value that can be overridden, by its name without the prefix."""
    targets: dict[str, tuple[_Loc, FieldInfo]] = {}
    for key, field in AgentConfig.model_fields.items():
        inner = _inner_model(field)
        if inner is None:
            targets[key.upper()] = ((key,), field)
        elif not _is_list(field):
            targets |= _scalars(inner, (key,), key)
    for kind in ("cameras", "readers"):
        inner = _inner_model(AgentConfig.model_fields[kind])
        for position, sensor in enumerate(tables(tree, kind)):
            name = sensor.get("name")
            if isinstance(name, str) and inner is not None:
                targets |= _scalars(inner, (kind, position), f"{kind}{_SEPARATOR}{name}")
    return targets


def _scalars(model: type[BaseModel], loc: _Loc, name: str) -> dict[str, tuple[_Loc, FieldInfo]]:
    return {
        re.sub(r"[^A-Z0-9]", "_", f"{name}{_SEPARATOR}{key}".upper()): ((*loc, key), field)
        for key, field in model.model_fields.items()
        if not _is_compound(field) and _inner_model(field) is None
    }


def _from_text(text: str, field: FieldInfo) -> Any:
    """A number or a truth value where the setting is one; text else, or where it does not look like one."""
    kinds = {field.annotation, *get_args(field.annotation)}
    if not kinds & {int, float, bool}:
        return text
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except (tomllib.TOMLDecodeError, KeyError):
        return text
    return value if isinstance(value, int | float) else text


def _put(tree: _Tree, loc: _Loc, value: Any) -> None:
    inner: Any = tree
    for part in loc[:-1]:
        if isinstance(part, int):
            inner = inner[part]
            continue
        if not isinstance(inner.get(part), dict | list):
            inner[part] = {}
        inner = inner[part]
    inner[loc[-1]] = value
