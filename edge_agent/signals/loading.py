"""Reads the lights' configuration and tells everything that is wrong with it, each with file, line, key and value.

`STOPLINE_LIGHTS__` and the path of a setting in capitals, parts joined by `__`, overrides one value:
`STOPLINE_LIGHTS__MQTT__PASSWORD`, `STOPLINE_LIGHTS__STATE_DIR`.
"""

import json
import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from common.junction import CONTACTS, Junction
from common.junction_checks import faults as junction_faults
from edge_agent.config.faults import ConfigError, Fault
from edge_agent.config.toml_lines import line_numbers, line_of
from edge_agent.drivers.heads.wiring import FIRST_PIN, LAST_PIN, head_faults, pins_of, wiring_faults
from edge_agent.redact import redact
from edge_agent.signals.config import ContactSettings, HeadSettings, MqttSettings, SignalsConfig, wiring_of
from edge_agent.signals.reading import Flaw, Loc, get, near, read_struct

PREFIX = "STOPLINE_LIGHTS__"
MOST_BYTES = 2**20
"""The largest junction takes some tens of kB. What is larger is another file, and could take all memory."""
_SEPARATOR = "__"
_Tree = dict[str, Any]
_PULLED_UP = (2, 3)
"""By resistors on the board, for I2C."""
_FOR_THE_COLLECTOR = ("location", "devices", "metadata")
"""What a junction's own file may say beside the description: the same file serves both."""
_SECRET = re.compile("password|secret|token", re.IGNORECASE)


class _Source:
    """One file: its tree, and where things stand in it."""

    def __init__(self, path: Path, tree: _Tree, lines: Mapping[Loc, int]) -> None:
        self.path, self.tree, self._lines = path, tree, lines
        self.origins: dict[Loc, str] = {}

    def fault(self, loc: Loc, message: str) -> Fault:
        """A mistake at `loc`, in words."""
        source, line = str(self.path), line_of(self._lines, loc)
        if loc in self.origins:
            source, line = f"environment variable {self.origins[loc]}", None
        value = get(self.tree, loc)
        shown = None if value is None or isinstance(value, dict) else _shown(loc, value)
        return Fault(source, line, _key_text(loc, self.tree), shown, message)


def load_signals_config(path: Path, environ: Mapping[str, str] = os.environ) -> SignalsConfig:
    """The configuration in `path`, with its junction, and paths that do not depend on where a program runs.

    Raises:
        ConfigError: with all that is wrong.
    """
    source = _read(path, f"make one; systemd/examples/signals.toml is a sample, copy it to {path}")
    faults = list(_override(source, environ))
    config, flaws = read_struct(SignalsConfig, source.tree)
    if _as_numbers(source, flaws):
        config, flaws = read_struct(SignalsConfig, source.tree)
    faults += [source.fault(*flaw) for flaw in flaws]
    junction, junction_source, more = _junction(source)
    faults += more
    if config is not None:
        faults += [source.fault(loc, text) for loc, text in _heads_flaws(config, junction)]
        faults += [source.fault(loc, text) for loc, text in _contact_flaws(config, junction)]
    if junction is not None:
        prefix: Loc = ("junction",) if junction_source is source else ()
        faults += [junction_source.fault((*prefix, *loc), text) for loc, text in _junction_flaws(junction)]
        if config is not None:
            unwired = _unwired(config, junction)
            faults += [junction_source.fault((*prefix, *loc), text) for loc, text in unwired]
    if faults or config is None:
        raise ConfigError(faults)
    folder = path.resolve().parent
    return msgspec.structs.replace(
        config,
        junction=junction,
        junction_file=None,
        state_dir=_beside(folder, config.state_dir),
        socket=_beside(folder, config.socket),
        heads=msgspec.structs.replace(
            config.heads, record=config.heads.record and _beside(folder, config.heads.record)
        ),
        mqtt=config.mqtt and _with_paths(config.mqtt, folder),
    )


def _with_paths(mqtt: MqttSettings, folder: Path) -> MqttSettings:
    ca_file, cert_file, key_file = (
        path and _beside(folder, path) for path in (mqtt.ca_file, mqtt.cert_file, mqtt.key_file)
    )
    return msgspec.structs.replace(mqtt, ca_file=ca_file, cert_file=cert_file, key_file=key_file)


def _beside(folder: Path, path: str) -> str:
    return str(folder / Path(path).expanduser())


# --- files -------------------------------------------------------------------------------------------------------


def _read(path: Path, mend: str) -> _Source:
    try:
        with path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
        if len(data) > MOST_BYTES:
            raise _whole(path, f"has more than {MOST_BYTES // 1024} kB: it is another file, look at its name")
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise _whole(path, f"is not UTF-8 text (byte {error.start}); save it as UTF-8") from error
    except FileNotFoundError as error:
        raise _whole(path, f"there is no such file; {mend}") from error
    except PermissionError as error:
        raise _whole(path, "may not be read by this user; give its group access (chgrp, chmod 640)") from error
    except OSError as error:
        raise _whole(path, f"cannot be read: {error.strerror}") from error
    return _parse_json(text, path) if path.suffix == ".json" else _parse_toml(text, path)


def _parse_toml(text: str, path: Path) -> _Source:
    try:
        return _Source(path, tomllib.loads(text), line_numbers(text))
    except RecursionError as error:
        raise _whole(path, "is nested too deeply") from error
    except tomllib.TOMLDecodeError as error:
        found = re.search(r"\(at line (\d+), column \d+\)", str(error))
        number = int(found[1]) if found else len(text.splitlines())
        raise _whole(path, f"is not TOML: {str(error).split(' (at ')[0]}", number) from error


def _parse_json(text: str, path: Path) -> _Source:
    try:
        tree = json.loads(text)
        json.dumps(tree, ensure_ascii=False).encode()
    except json.JSONDecodeError as error:
        raise _whole(path, f"is not JSON: {error.msg}", error.lineno) from error
    except UnicodeEncodeError as error:
        raise _whole(path, "holds half a character (a lone surrogate)") from error
    except RecursionError as error:
        raise _whole(path, "is nested too deeply") from error
    except ValueError as error:
        raise _whole(path, f"holds a number that is none here: {error}") from error
    if not isinstance(tree, dict):
        raise _whole(path, "must be a JSON object: {...}")
    return _Source(path, tree, {})


def _whole(path: Path, message: str, line: int | None = None) -> ConfigError:
    return ConfigError([Fault(str(path), line, "", None, message)])


# --- the junction ------------------------------------------------------------------------------------------------


def _junction(source: _Source) -> tuple[Junction | None, _Source, list[Fault]]:
    """The junction and the file that it comes from. What is wrong with it in the configuration itself is told by
    whoever checks that whole."""
    named, inside = source.tree.get("junction_file"), source.tree.get("junction")
    if (named is None) == (inside is None):
        text = "give one of the two: the junction in this file, or junction_file" if inside else "is missing"
        return None, source, [source.fault(("junction",), f'{text} ([junction], or junction_file = "...")')]
    if inside is not None:
        return read_struct(Junction, inside)[0], source, []
    if not isinstance(named, str):
        return None, source, []
    path = source.path.resolve().parent / Path(named).expanduser()
    try:
        other = _read(path, f"copy it there, or mend junction_file in {source.path}")
    except ConfigError as error:
        return None, source, error.faults
    tree = {name: value for name, value in other.tree.items() if name not in _FOR_THE_COLLECTOR}
    junction, flaws = read_struct(Junction, tree)
    return junction, other, [other.fault(*flaw) for flaw in flaws]


def _junction_flaws(junction: Junction) -> Iterator[Flaw]:
    for fault in junction_faults(junction):
        yield _loc(fault.path), fault.message


def _loc(path: str) -> Loc:
    """`movements[2].yellow_s` in parts."""
    return tuple(int(part) if part.isdigit() else part for part in re.findall(r"[^.\[\]]+", path))


# --- the heads ---------------------------------------------------------------------------------------------------


def _heads_flaws(config: SignalsConfig, junction: Junction | None) -> Iterator[Flaw]:
    heads = config.heads
    if heads.driver == "lanes" and config.mqtt is None:
        yield ("mqtt",), "is missing: the lanes' Pis are reached through a broker"
    if junction is not None:
        yield from _lane_flaws(config, junction)
        if config.lane is not None:
            junction = _with_one(junction, config.lane.movement)
    if heads.driver != "gpio":
        return
    wiring = wiring_of(heads)
    for place, text in wiring_faults(wiring, accept_active_low_greens=heads.accept_active_low_greens):
        yield ("heads", *_as_written(heads.lamps, place)), text
    if junction is None:
        return
    for place, text in head_faults(wiring, junction):
        yield ("heads", *place), text
    names = [movement.name for movement in junction.movements]
    for name in heads.lamps:
        if name not in names:
            yield ("heads", "lamps", name), f"the junction has no such movement{near(name, names)}"


def _lane_flaws(config: SignalsConfig, junction: Junction) -> Iterator[Flaw]:
    """What is wrong with who drives which head, where there are several Pis."""
    names = [movement.name for movement in junction.movements]
    for head, movement in config.heads.lanes.items():
        if movement not in names:
            yield ("heads", "lanes", head), f"the junction has no such movement{near(movement, names)}"
    if config.heads.lanes and (missing := set(names) - set(config.heads.lanes.values())):
        yield ("heads", "lanes"), f"has no head for {', '.join(sorted(missing))}"
    if config.lane is None:
        return
    if config.lane.movement not in names:
        yield ("lane", "movement"), f"the junction has no such movement{near(config.lane.movement, names)}"
    if config.heads.driver == "lanes":
        yield ("heads", "driver"), "a lane's Pi drives its own head; name gpio or simulated"
    if config.mqtt is None:
        yield ("mqtt",), "is missing: a lane's Pi asks the coordinator through a broker"


def _with_one(junction: Junction, movement: str) -> Junction:
    """Only this movement needs lamps here; all, where there is none of this name, which is told elsewhere."""
    own = tuple(one for one in junction.movements if one.name == movement)
    return msgspec.structs.replace(junction, movements=own or junction.movements)


def _as_written(lamps: Mapping[str, HeadSettings], place: tuple[str, ...]) -> Loc:
    """The place as it stands in the file, where a lamp may be a bare number."""
    if len(place) == 4 and isinstance(getattr(lamps[place[1]], place[2]), int):
        return place[:3]
    return place


# --- the contacts ------------------------------------------------------------------------------------------------


def _contact_flaws(config: SignalsConfig, junction: Junction | None) -> Iterator[Flaw]:
    if config.contacts and config.lane is not None:
        yield ("contacts",), "are read by the Pi that decides for the junction; wire them there"
    wiring = wiring_of(config.heads) if config.heads.driver == "gpio" else None
    used = {pin: ".".join(("heads", *place)) for place, pin in (pins_of(wiring) if wiring else ())}
    for name, contact in config.contacts.items():
        place, pin = ("contacts", name), contact.pin
        if not FIRST_PIN <= pin <= LAST_PIN:
            yield (*place, "pin"), f"must be a GPIO (BCM number) from {FIRST_PIN} to {LAST_PIN}"
        elif pin in used:
            yield (*place, "pin"), f"GPIO {pin} is used twice: it is {used[pin]} already; give each its own"
        elif pin in _PULLED_UP and (contact.pull == "down" or (contact.pull is None and contact.active == "high")):
            text = f'GPIO {pin} is pulled up on the board, whatever is set; take another, or pull = "up"'
            yield (*place, "pin"), text
        used.setdefault(pin, ".".join(place))
        if contact.flashes and contact.preempts is not None:
            yield place, "can either preempt or flash; take one of the two out"
        if junction is not None:
            yield from _contact_use_flaws(name, contact, junction)


def _contact_use_flaws(name: str, contact: ContactSettings, junction: Junction) -> Iterator[Flaw]:
    preemptions = [one.name for one in junction.preemptions]
    if contact.preempts is not None and contact.preempts not in preemptions:
        text = f"the junction has no such preemption{near(contact.preempts, preemptions)}"
        yield ("contacts", name, "preempts"), text
    if not contact.orders and name not in _wired(junction):
        text = f'does nothing: no detector of the junction has sensor = "{CONTACTS}" and source = "{name}"'
        yield ("contacts", name), f"{text}; add it there, or say here what it preempts, or that it flashes"


def _unwired(config: SignalsConfig, junction: Junction) -> Iterator[Flaw]:
    """Detectors of the junction that are to be contacts of this Pi, and are none. A lane's Pi has none."""
    if config.lane is not None:
        return
    for name, number in _wired(junction).items():
        if name not in config.contacts:
            text = "no contact of this name is in [contacts] of the lights' configuration"
            yield ("detectors", number, "source"), text + near(name, list(config.contacts))


def _wired(junction: Junction) -> dict[str, int]:
    """The contacts that detectors of the junction are, each with the number of the first one."""
    found: dict[str, int] = {}
    for number, detector in enumerate(junction.detectors):
        if detector.sensor == CONTACTS:
            found.setdefault(detector.source, number)
    return found


# --- overrides ---------------------------------------------------------------------------------------------------


def _override(source: _Source, environ: Mapping[str, str]) -> Iterator[Fault]:
    """Put values from the environment into the tree."""
    for variable, text in sorted(environ.items()):
        if not variable.startswith(PREFIX):
            continue
        loc = tuple(variable.removeprefix(PREFIX).lower().split(_SEPARATOR))
        inner: Any = source.tree
        for part in loc[:-1]:
            inner = inner.setdefault(part, {}) if isinstance(inner, dict) else None
        if not isinstance(inner, dict) or isinstance(inner.get(loc[-1]), dict | list):
            yield Fault(f"environment variable {variable}", None, "", None, "leads to no single setting")
            continue
        inner[loc[-1]] = text
        source.origins[loc] = variable


def _as_numbers(source: _Source, flaws: list[Flaw]) -> bool:
    """What came from the environment and should not be text is read as a number or a truth value; whether any."""
    wrong = [loc for loc, _ in flaws if loc in source.origins and loc]
    for loc in wrong:
        get(source.tree, loc[:-1])[loc[-1]] = _from_text(get(source.tree, loc))
    return bool(wrong)


def _from_text(text: str) -> Any:
    """A number or a truth value where it looks like one, text else."""
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except (tomllib.TOMLDecodeError, KeyError):
        return text
    return value if isinstance(value, int | float) else text


# --- words -------------------------------------------------------------------------------------------------------


def _key_text(loc: Loc, tree: _Tree) -> str:
    """`junction.movements[north].yellow_s`; a table without a name is told by its number from 1."""
    text = ""
    for length, part in enumerate(loc, start=1):
        if isinstance(part, int):
            item = get(tree, loc[:length])
            name = item.get("name") if isinstance(item, dict) else None
            text += f"[{name if isinstance(name, str) and name else f'#{part + 1}'}]"
        else:
            text += f".{part}" if text else part
    return text


def _shown(loc: Loc, value: object) -> str:
    if any(isinstance(part, str) and _SECRET.search(part) for part in loc):
        return "***"
    text = redact(json.dumps(value, default=str, ensure_ascii=False))
    return text if len(text) <= 120 else f"{text[:117]}..."
