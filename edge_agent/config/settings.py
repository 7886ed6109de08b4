"""What an agent can be told: the settings, their bounds and what they mean.

The texts here are the documentation: `stopline-agent init` writes them as comments into a new file, and errors
quote them. Reading files, overriding from the environment and wording errors is `edge_agent.config.loading`'s.

Validation takes a context (see `Context`), since a relative path means one beside the configuration file.
"""

from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Self
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, Field, ValidationInfo, field_validator, model_validator

from edge_agent.config.camera import CameraSettings
from edge_agent.config.reader import EpcSettings, FusedLaneSettings, ReaderSettings
from edge_agent.config.section import Name, Section, beside_config, existing_file, tables
from edge_agent.domain.turn_rules import line_fault
from edge_agent.link import DEFAULT_SOCKET
from edge_agent.models.known import ModelError
from edge_agent.models.store import BUNDLED, FOLDER, file_of, is_name, model_path

_LOOPBACK = ("localhost", "127.0.0.1", "::1")


class LogFormat(StrEnum):
    """How log lines look."""

    AUTO = "auto"
    """Text for people in a terminal or the journal, JSON else."""
    TEXT = "text"
    JSON = "json"


class LogLevel(StrEnum):
    """From which level on log lines are written."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class CollectorSettings(Section):
    """Where the records go."""

    url: str = Field(
        title="Address",
        description="Address of the collector, as https://collector.example.org",
    )
    ca_file: Annotated[Path, AfterValidator(existing_file)] | None = Field(
        default=None,
        examples=["/etc/stopline/ca.pem"],
        title="CA file",
        description="PEM file of the authority that signed the collector's certificate; without it, the system's",
    )
    allow_plain_http: bool = Field(
        default=False,
        title="Allow plain http",
        description="Send over http:// to another machine: everybody on the way can read and forge the records",
    )
    take_orders: bool | None = Field(
        default=None,
        examples=[True],
        title="Take orders",
        description="Whether operators may order the lights of this junction through the collector; the lights "
        "refuse what is not safe. Without it, yes, where there is a [signals] section and nobody on the way can "
        "forge orders (https://, or a collector on this machine)",
    )

    @field_validator("url")
    @classmethod
    def _check_url(cls, url: str) -> str:
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as error:
            raise ValueError(f"is not an address: {error}; write it as https://collector.example.org") from error
        if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
            raise ValueError("is not an address; write it as https://collector.example.org")
        if parts.username or parts.password:
            raise ValueError("must not hold a user or a password: the agent proves itself with its own key")
        if parts.query or parts.fragment:
            raise ValueError("must end with the host, the port or a path; take away what follows ? or #")
        return url.rstrip("/")

    @model_validator(mode="after")
    def _check_encryption(self) -> Self:
        parts = urlsplit(self.url)
        if parts.scheme == "http" and parts.hostname not in _LOOPBACK and not self.allow_plain_http:
            raise ValueError("url is http:// to another machine; use https://, or set allow_plain_http = true")
        if self.take_orders and not self.is_protected:
            raise ValueError(
                "take_orders is set, and url is http:// to another machine: everybody on the way could order the "
                "lights; use https://"
            )
        return self

    @property
    def is_protected(self) -> bool:
        """Whether nobody on the way can forge what the collector says."""
        parts = urlsplit(self.url)
        return parts.scheme == "https" or parts.hostname in _LOOPBACK


class OutboxSettings(Section):
    """How records wait on this machine until the collector has them."""

    max_mb: int = Field(
        default=256,
        ge=4,
        le=1_000_000,
        title="Size",
        description="Largest size of the outbox in MB; when it is full, the least important records are dropped, "
        "and the loss is reported. A junction fills some 15 MB a day",
    )
    commit_every_s: float = Field(
        default=1.0,
        ge=0.05,
        le=60.0,
        title="Commit window",
        description="Seconds between two writes to the disk. What is newer is lost when the power fails; longer "
        "spares an SD card",
    )
    commit_records: int = Field(
        default=200,
        ge=1,
        le=5_000,
        title="Commit size",
        description="So many records are written at once, even before the time has come",
    )


class HealthSettings(Section):
    """How often the agent tells how it is."""

    interval_s: float = Field(
        default=60.0, ge=5.0, le=3600.0, title="Interval", description="Seconds between two health records"
    )


class StatusSettings(Section):
    """The agent's own page."""

    enabled: bool = Field(default=True, title="Enabled", description="Whether there is a status page")
    host: str = Field(
        default="127.0.0.1",
        min_length=1,
        title="Address",
        description="Address to listen on; 0.0.0.0 shows the page to the whole network, without a password",
    )
    port: int = Field(
        default=8377, ge=0, le=65535, title="Port", description="Port to listen on; 0 takes a free one"
    )


class SignalsSettings(Section):
    """The lights of this junction, if their daemon (stopline-signals) runs on this machine."""

    socket: Annotated[Path, AfterValidator(beside_config)] = Field(
        default=DEFAULT_SOCKET,
        title="Socket",
        description="Where the lights' daemon listens. It is told what the sensors see, and its records go to the "
        "collector; without this section the two have nothing to do with each other",
    )


class LogSettings(Section):
    """What the agent writes to stderr, from where systemd's journal takes it."""

    level: LogLevel = Field(
        default=LogLevel.INFO, title="Level", description="From which level on lines are written"
    )
    format: LogFormat = Field(
        default=LogFormat.AUTO,
        title="Format",
        description="auto is text in a terminal or systemd's journal, and JSON lines else",
    )


class AgentConfig(Section):
    """All settings of an agent."""

    name: Name = Field(title="Name", description="Name of this device, as people know it")
    junction: Name | None = Field(
        default=None,
        examples=["Main St / First Ave"],
        title="Junction",
        description="The junction that it stands at",
    )
    timezone: str | None = Field(
        default=None,
        examples=["Europe/Berlin"],
        title="Time zone",
        description="As Europe/Berlin: when a day begins on the status page, and what cameras' schedules go by; "
        "without it, the system's",
    )
    state_dir: Annotated[Path, AfterValidator(beside_config)] = Field(
        default=Path("/var/lib/stopline-agent"),
        title="State folder",
        description="Folder for the outbox and the device's key",
    )
    collector: CollectorSettings | None = Field(
        default=None,
        title="Collector",
        description="Where the records go; without this section they wait in the outbox",
    )
    outbox: OutboxSettings = Field(default_factory=OutboxSettings, title="Outbox")
    health: HealthSettings = Field(default_factory=HealthSettings, title="Health")
    status: StatusSettings = Field(default_factory=StatusSettings, title="Status page")
    log: LogSettings = Field(default_factory=LogSettings, title="Log")
    signals: SignalsSettings | None = Field(
        default=None, title="Lights", description="Where the lights' daemon is; without this section, nowhere"
    )
    cameras: tuple[CameraSettings, ...] = Field(
        default=(), title="Cameras", description="One [[cameras]] section for each camera"
    )
    epc: EpcSettings = Field(default_factory=EpcSettings, title="EPCs")
    readers: tuple[ReaderSettings, ...] = Field(
        default=(), title="Readers", description="One [[readers]] section for each tag reader"
    )
    fused_lanes: tuple[FusedLaneSettings, ...] = Field(
        default=(),
        title="Fused lanes",
        description="One [[fused_lanes]] section for each lane that a camera and a reader watch together",
    )

    @property
    def takes_orders(self) -> bool:
        """Whether orders to the lights are fetched from the collector."""
        collector = self.collector
        if self.signals is None or collector is None:
            return False
        return collector.is_protected if collector.take_orders is None else collector.take_orders

    @property
    def outbox_path(self) -> Path:
        """Where the outbox lies."""
        return self.state_dir / "outbox.db"

    @property
    def epc_key_path(self) -> Path:
        """Where the key of EPCs lies."""
        return self.epc.key_file or self.state_dir / "epc.key"

    @property
    def models_dir(self) -> Path:
        """Where pulled models lie."""
        return self.state_dir / FOLDER

    @field_validator("cameras")
    @classmethod
    def _find_models(cls, cameras: tuple[CameraSettings, ...], info: ValidationInfo) -> tuple[CameraSettings, ...]:
        """Names of models become their files in the state folder."""
        folder = info.data.get("state_dir", Path()) / FOLDER
        return tuple(
            camera.model_copy(update={"model": str(file_of(camera.model, folder))})
            if is_name(camera.model)
            else camera
            for camera in cameras
        )

    @field_validator("timezone")
    @classmethod
    def _check_timezone(cls, timezone: str | None) -> str | None:
        if timezone is not None:
            try:
                ZoneInfo(timezone)
            except (ZoneInfoNotFoundError, ValueError, OSError) as error:
                raise ValueError("is no time zone that this machine knows; write it as Europe/Berlin") from error
        return timezone


def absent_models(config: AgentConfig) -> list[tuple[tuple[str | int, ...], str]]:
    """Models that were named and are not there: where, and what to do."""
    absent: list[tuple[tuple[str | int, ...], str]] = []
    for place, camera in enumerate(config.cameras):
        path = Path(camera.model)
        if camera.model != BUNDLED and path.parent != config.models_dir:
            continue
        try:
            model_path(path.stem, config.models_dir)
        except ModelError as error:
            absent.append((("cameras", place, "model"), str(error)))
    return absent


_Named = tuple[tuple[str | int, ...], Mapping[str, Any]]
"""Where a name stands, and the table that it is in."""


def name_clashes(tree: Mapping[str, Any]) -> list[tuple[tuple[str | int, ...], str]]:
    """Names in an unchecked tree of settings that are used twice: where, and what to do.

    Lines, zones, turns, antennas and fused lanes share one name space over all cameras and readers: the collector
    and the lights know them by device and name.
    """
    cameras: list[_Named] = [(("cameras", i, "name"), camera) for i, camera in enumerate(tables(tree, "cameras"))]
    places: list[_Named] = [
        (("cameras", i, kind, j, "name"), place)
        for i, camera in enumerate(tables(tree, "cameras"))
        for kind in ("lines", "zones", "turns")
        for j, place in enumerate(tables(camera, kind))
    ]
    for i, reader in enumerate(tables(tree, "readers")):
        cameras.append((("readers", i, "name"), reader))
        antennas = tables(reader, "antennas")
        places += [(("readers", i, "antennas", j, "name"), antenna) for j, antenna in enumerate(antennas)]
        places += [] if antennas else [(("readers", i, "name"), reader)]
    places += [(("fused_lanes", i, "name"), lane) for i, lane in enumerate(tables(tree, "fused_lanes"))]
    return [*_twice(cameras, "camera or reader"), *_twice(places, "line, zone, turn, antenna or lane")]


def turn_faults(tree: Mapping[str, Any]) -> list[tuple[tuple[str | int, ...], str]]:
    """Turns in an unchecked tree of settings that do not fit their lines, or each other: where, and why."""
    faults: list[tuple[tuple[str | int, ...], str]] = []
    for i, camera in enumerate(tables(tree, "cameras")):
        lines = [str(line["name"]) for line in tables(camera, "lines") if line.get("name")]
        seen: dict[tuple[object, ...], object] = {}
        for j, turn in enumerate(tables(camera, "turns")):
            for end in ("from", "to"):
                fault = line_fault(str(turn[end]), lines) if turn.get(end) else None
                if fault:
                    faults.append((("cameras", i, "turns", j, end), fault))
            ways = tuple(
                turn.get(key, default)
                for key, default in (("from", ""), ("from_direction", "in"), ("to", ""), ("to_direction", "out"))
            )
            twin = seen.setdefault(ways, turn.get("name"))
            if twin != turn.get("name"):
                fault = f"turn {twin!r} has the same lines and directions; take one away"
                faults.append((("cameras", i, "turns", j, "from"), fault))
    return faults


def _twice(named: list[_Named], what: str) -> list[tuple[tuple[str | int, ...], str]]:
    seen: set[str] = set()
    clashes = []
    for loc, table in named:
        name = table.get("name")
        if isinstance(name, str) and name in seen:
            clashes.append((loc, f"another {what} of this device has this name; give each its own"))
        seen.add(str(name))
    return clashes
