"""The collector's settings: a TOML file, over it `STOPLINE_*` from the environment, over both the command line.

A variable is named by the path of its setting in capitals, parts joined by `__`, as the agent's are.

They are checked whole before anything is opened. Every error names where the value came from, its key, the value,
and what is allowed.
"""

import difflib
import ipaddress
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, ValidationError

from collector.errors import SettingError
from common import PREFIX

DEFAULT_PORT = 8080

Days = Annotated[int, Field(ge=1, le=36500)] | Literal["forever"]


def _networks(text: str) -> str:
    for part in filter(None, (each.strip() for each in text.split(","))):
        ipaddress.ip_network(part)  # a ValueError is told with its key
    return text


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Pool(_Section):
    """Connections to the database."""

    min_size: Annotated[int, Field(ge=1, le=1000)] = 2
    max_size: Annotated[int, Field(ge=1, le=1000)] = 10
    prepare_statements: bool | None = None
    """By default where no pooler such as PgBouncer stands in between. True: behind one, too, which has to be 1.22
    or newer, with `max_prepared_statements` above 0."""
    statement_timeout_s: Annotated[float, Field(gt=0, le=3600)] = 30.0


class Retention(_Section):
    """How many days raw rows are kept, by table. Counts stay in the rollups, and completeness stays provable."""

    count_events: Days = 90
    zone_occupancy: Days = 90
    frame_metadata: Days = 30
    detections: Days = 14
    traffic_cycles: Days = 400
    lane_cycle_data: Days = 400
    signal_events: Days = 90
    device_health: Days = 90
    stream_quality_metrics: Days = 90
    system_logs: Days = 30
    command_results: Days = 400
    mqtt_messages: Days = 7
    minute_rollups: Days = 400
    """Counts and coverage per minute. Those per quarter of an hour, hour and day are kept for ever."""


class Mqtt(_Section):
    """A broker whose counters feed the collector: see `collector.bridge`. Off without a host."""

    host: str | None = None
    port: Annotated[int, Field(ge=1, le=65535)] = 8883
    tls: bool = True
    """False sends everything in the clear, passwords too: for the loopback only."""
    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None
    username: str | None = None
    password: SecretStr | None = None
    client_id: Annotated[str, Field(min_length=1, max_length=100)] = "stopline-collector"
    """The broker keeps messages under this name while the collector is away. Another collector needs another."""
    flat: bool = False
    """Listen to the flat topics `car-counts` and `green-time` too."""
    keep_messages: bool = False
    """Keep what comes, as it comes, in `mqtt_messages`: to find out what a counter says."""


class Live(_Section):
    """Live events."""

    redis: Annotated[str, Field(pattern=r"^(redis|rediss|unix)://")] | None = None
    """Redis or Valkey through which several workers tell each other of events: `redis://127.0.0.1:6379/0`."""
    max_listeners: Annotated[int, Field(ge=1, le=100_000)] = 2_000
    """Of one worker."""


class CollectorConfig(_Section):
    """All settings of a collector."""

    dsn: str | None = None
    """A PostgreSQL of your own. None: the embedded one, in `state_dir`."""
    state_dir: Path = Field(default_factory=lambda: default_state_dir(os.environ))
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = DEFAULT_PORT
    open_reading: bool = False
    """Answer readers on any address without a user: whoever reaches the port can read."""
    open_registration: bool = False
    """Whoever reaches the port may make themself a user: a viewer."""
    secure_cookies: bool | None = None
    """Cookies of sessions go over TLS only. None: yes, unless on the loopback without a proxy."""
    trusted_proxies: Annotated[str, AfterValidator(_networks)] = ""
    """Addresses or networks, with commas between, of proxies that pass people on and tell of whom by
    `X-Forwarded-For`. With one, readers sign in on the loopback as well."""
    workers: Annotated[int, Field(ge=1, le=64)] = 1
    """Processes that serve. Several need `live.redis`."""
    requests_per_minute: Annotated[int, Field(ge=0)] = 1200
    """Of one session, API token or address, at one worker: each counts by itself. 0: any number."""
    smallest_group: Annotated[int, Field(ge=1, le=1000)] = 5
    """Of fewer tagged vehicles than this, no figure is told."""
    live: Live = Live()
    pool: Pool = Pool()
    retention: Retention = Retention()
    mqtt: Mqtt = Mqtt()


def default_state_dir(environ: Mapping[str, str]) -> Path:
    """systemd's state directory; else /var/lib/stopline for root, and the user's own state folder for others."""
    if given := environ.get("STATE_DIRECTORY"):
        return Path(given.split(":")[0])
    if os.geteuid() == 0:
        return Path("/var/lib/stopline")
    return Path(environ.get("XDG_STATE_HOME") or Path.home() / ".local/state") / "stopline"


def load_config(
    file: Path | None, environ: Mapping[str, str], arguments: Mapping[str, Any] | None = None
) -> CollectorConfig:
    """The settings from `file`, `environ` and the command line's `arguments` (None: not given there).

    Raises:
        SettingError: the file cannot be read, or a value is not allowed.
    """
    origins: dict[str, str] = {}
    values = _read(file) if file is not None else {}
    for name, value in _from_environment(environ).items():
        _set(values, name, value)
        origins[name] = _variable(name)
    for name, value in (arguments or {}).items():
        if value is not None:
            _set(values, name, value)
            origins[name] = "--" + name.replace("_", "-")
    try:
        return CollectorConfig.model_validate(values)
    except ValidationError as error:
        raise SettingError("\n".join(_tell(detail, file, origins) for detail in error.errors())) from None


def _read(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingError(f"{file} cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingError(f"{file} is not TOML: {error}") from error


def keys() -> tuple[str, ...]:
    """Every key there is, sections as `section.key`."""
    found = []
    for name, field in CollectorConfig.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, _Section):
            found += [f"{name}.{inner}" for inner in field.annotation.model_fields]
        else:
            found.append(name)
    return tuple(found)


def _from_environment(environ: Mapping[str, str]) -> dict[str, str]:
    variables = {_variable(key): key for key in keys()}
    for name in environ:
        if name.startswith(PREFIX) and "__" in name and name not in variables:
            near = difflib.get_close_matches(name, variables, n=1)
            raise SettingError(
                f"{name}: there is no such setting" + (f"; did you mean {near[0]}?" if near else "")
            )
    return {variables[name]: value for name, value in environ.items() if name in variables}


def _variable(key: str) -> str:
    """The environment variable of a key: `STOPLINE_DSN`, `STOPLINE_POOL__MAX_SIZE`."""
    return PREFIX + key.upper().replace(".", "__")


def _set(values: dict[str, Any], key: str, value: Any) -> None:
    section, _, inner = key.rpartition(".")
    if section:
        values = values.setdefault(section, {})
    values[inner] = value


def _tell(detail: Any, file: Path | None, origins: Mapping[str, str]) -> str:
    known = keys()
    parts = [str(part) for part in detail["loc"]]
    key = ".".join(parts)
    while key not in known and "." in key:  # pydantic names the member of a union too
        key = key.rpartition(".")[0]
    if detail["type"] == "extra_forbidden":
        near = ", ".join(name for name in known if name.rpartition(".")[0] == ".".join(parts[:-1]))
        return f"{file}: {'.'.join(parts)}: there is no such key; there are {near}"
    value = "" if isinstance(detail["input"], dict) else f" = {detail['input']!r}"
    return f"{origins.get(key, file)}: {key}{value}: {detail['msg']}"
