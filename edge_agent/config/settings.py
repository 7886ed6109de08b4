"""What an agent can be told: the settings, their bounds and what they mean.

The texts here are the documentation: `stopline-agent init` writes them as comments into a new file, and errors
quote them. Reading files, overriding from the environment and wording errors is `edge_agent.config.loading`'s.

Validation takes a context (see `Context`), since a relative path means one beside the configuration file.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Self
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from edge_agent.domain import shapes
from edge_agent.domain.classes import ANY, VEHICLES

SOURCE_SCHEMES = ("rtsp", "rtsps", "http", "https", "sim")
"""What may stand before `:` in a camera's source; without it, it is a device, a file or a folder."""
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True, slots=True)
class Context:
    """What validation needs to know beside the values.

    Attributes:
        folder: relative paths start here.
        files_must_exist: whether a model or CA file that is not there is an error.
    """

    folder: Path
    files_must_exist: bool = True

    def as_mapping(self) -> dict[str, Any]:
        """In the shape that pydantic hands to validators."""
        return {"folder": self.folder, "files_must_exist": self.files_must_exist}


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


def _printable(text: str) -> str:
    if text != text.strip() or not text.isprintable():
        raise ValueError("must not begin or end with a blank, nor hold control characters")
    return text


def _beside_config(path: Path, info: ValidationInfo) -> Path:
    folder = (info.context or {}).get("folder", Path.cwd())
    return Path(folder) / path.expanduser()


def _existing_file(path: Path, info: ValidationInfo) -> Path:
    path = _beside_config(path, info)
    if (info.context or {}).get("files_must_exist", True) and not path.is_file():
        raise ValueError(f"there is no file {path}; copy it there or mend the path")
    return path


Name = Annotated[str, Field(min_length=1, max_length=100), AfterValidator(_printable)]
Pixels = Annotated[float, Field(ge=-1.0, le=100_000.0)]


class Section(BaseModel):
    """Base of all sections: nothing unknown is let through, nothing is converted, nothing changes later."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, hide_input_in_errors=True)


class CollectorSettings(Section):
    """Where the records go."""

    url: str = Field(
        title="Address",
        description="Address of the collector, as https://collector.example.org",
    )
    ca_file: Annotated[Path, AfterValidator(_existing_file)] | None = Field(
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
        return self


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


class LineSettings(Section):
    """A counting line."""

    name: Name = Field(title="Name", description="Name of the line; unique on this device")
    points: tuple[tuple[Pixels, Pixels], ...] = Field(
        title="Points",
        description="Two or more points [x, y] in pixels of the picture, from its top left corner. Seen along the "
        'line, "in" crosses it from left to right: for a line drawn from left to right, downwards',
    )
    anchor: shapes.Anchor = Field(
        default=shapes.Anchor.AUTO,
        title="Anchor",
        description="Which point of a vehicle's box has to cross: auto, bottom, or centre (camera straight above)",
    )

    @model_validator(mode="after")
    def _check_shape(self) -> Self:
        self.shape()
        return self

    def shape(self) -> shapes.Line:
        """The line that is counted at."""
        return shapes.Line(self.name, self.points, self.anchor)


class ZoneSettings(Section):
    """A zone whose occupancy is measured."""

    name: Name = Field(title="Name", description="Name of the zone; unique on this device")
    points: tuple[tuple[Pixels, Pixels], ...] = Field(
        title="Points", description="Three or more corners [x, y] in pixels of the picture"
    )
    anchor: shapes.Anchor = Field(
        default=shapes.Anchor.AUTO,
        title="Anchor",
        description="Which point of a vehicle's box has to be inside: auto, bottom, or centre",
    )

    @model_validator(mode="after")
    def _check_shape(self) -> Self:
        self.shape()
        return self

    def shape(self) -> shapes.Zone:
        """The zone that is watched."""
        return shapes.Zone(self.name, self.points, self.anchor)


class CameraSettings(Section):
    """A camera, what is looked for in its picture, and where it is counted."""

    name: Name = Field(title="Name", description="Name of the camera; unique on this device")
    source: str = Field(
        min_length=1,
        max_length=2000,
        repr=False,
        title="Source",
        description="rtsp://..., http://..., a device as /dev/video0, a video, a folder of pictures, or sim:NAME",
    )
    model: str = Field(
        default="motion",
        min_length=1,
        title="Model",
        description="Path of an .onnx file, or motion, which needs no model and tells no classes",
    )
    fps: float | None = Field(
        default=None,
        ge=0.5,
        le=120.0,
        examples=[10.0],
        title="Frames per second",
        description="At most so many pictures a second are looked at; without it, all that the machine can manage",
    )
    threads: int | None = Field(
        default=None,
        ge=1,
        le=64,
        examples=[2],
        title="Threads",
        description="Threads for the model; without it the cameras share the machine's cores",
    )
    score_threshold: float | None = Field(
        default=None,
        gt=0.0,
        le=1.0,
        examples=[0.1],
        title="Score threshold",
        description="Detections with a lower score are left out; without it, a value that suits the tracker",
    )
    classes: tuple[Name, ...] = Field(
        default=VEHICLES,
        min_length=1,
        title="Classes",
        description='What is counted, by the model\'s names for it; ["any"] counts all that moves. '
        "motion tells no classes and counts everything",
    )
    black_after_s: float = Field(
        default=5.0,
        ge=1.0,
        le=3600.0,
        title="Black picture",
        description="A picture that is black for so many seconds is reported as not measured",
    )
    frozen_after_s: float = Field(
        default=30.0,
        ge=2.0,
        le=86_400.0,
        title="Frozen picture",
        description="A picture of which no pixel changes for so many seconds is reported as not measured",
    )
    lines: tuple[LineSettings, ...] = Field(default=(), title="Lines", description="Lines that are counted at")
    zones: tuple[ZoneSettings, ...] = Field(default=(), title="Zones", description="Zones that are watched")

    @field_validator("source")
    @classmethod
    def _check_source(cls, source: str, info: ValidationInfo) -> str:
        scheme, colon, rest = source.partition(":")
        if not colon or "/" in scheme:
            return source if source.isdigit() else str(_beside_config(Path(source), info))
        if scheme.lower() not in SOURCE_SCHEMES:
            known = ", ".join(SOURCE_SCHEMES)
            raise ValueError(f"begins with {scheme}:, which is not known; known are {known}, or a path")
        if not rest.strip("/"):
            raise ValueError(f"ends after {scheme}:; write what is to be opened")
        return source

    @field_validator("model")
    @classmethod
    def _find_model(cls, model: str, info: ValidationInfo) -> str:
        if model == "motion":
            return model
        if not model.endswith(".onnx"):
            raise ValueError("must be the path of an .onnx file, or motion")
        path = _beside_config(Path(model), info)
        if (info.context or {}).get("files_must_exist", True) and not path.is_file():
            raise ValueError(f"there is no model file {path}; copy it there, mend the path, or use motion")
        return str(path)

    @field_validator("classes")
    @classmethod
    def _check_classes(cls, classes: tuple[str, ...]) -> tuple[str, ...]:
        if ANY in classes and len(classes) > 1:
            raise ValueError(f'"{ANY}" stands alone: it takes in every class')
        return classes

    @property
    def wanted_classes(self) -> tuple[str, ...] | None:
        """The classes to count; None for all, without telling them apart."""
        return None if self.model == "motion" or ANY in self.classes else self.classes


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
        description="As Europe/Berlin: when a day begins on the status page; without it, the system's",
    )
    state_dir: Annotated[Path, AfterValidator(_beside_config)] = Field(
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
    cameras: tuple[CameraSettings, ...] = Field(
        default=(), title="Cameras", description="One [[cameras]] section for each camera"
    )

    @property
    def outbox_path(self) -> Path:
        """Where the outbox lies."""
        return self.state_dir / "outbox.db"

    @field_validator("timezone")
    @classmethod
    def _check_timezone(cls, timezone: str | None) -> str | None:
        if timezone is not None:
            try:
                ZoneInfo(timezone)
            except (ZoneInfoNotFoundError, ValueError, OSError) as error:
                raise ValueError("is no time zone that this machine knows; write it as Europe/Berlin") from error
        return timezone


_Named = tuple[tuple[str | int, ...], Mapping[str, Any]]
"""Where a name stands, and the table that it is in."""


def name_clashes(tree: Mapping[str, Any]) -> list[tuple[tuple[str | int, ...], str]]:
    """Names in an unchecked tree of settings that are used twice: where, and what to do.

    A line and a zone share one name space over all cameras, since the collector knows them by device and name.
    """
    cameras: list[_Named] = [(("cameras", i, "name"), camera) for i, camera in enumerate(_tables(tree, "cameras"))]
    places: list[_Named] = [
        (("cameras", i, kind, j, "name"), place)
        for i, camera in enumerate(_tables(tree, "cameras"))
        for kind in ("lines", "zones")
        for j, place in enumerate(_tables(camera, kind))
    ]
    return [*_twice(cameras, "camera"), *_twice(places, "line or zone")]


def _tables(tree: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
    """The tables of an array of tables; junk, which is reported elsewhere, becomes an empty table."""
    found = tree.get(key)
    return [item if isinstance(item, dict) else {} for item in found] if isinstance(found, list) else []


def _twice(named: list[_Named], what: str) -> list[tuple[tuple[str | int, ...], str]]:
    seen: set[str] = set()
    clashes = []
    for loc, table in named:
        name = table.get("name")
        if isinstance(name, str) and name in seen:
            clashes.append((loc, f"another {what} of this device has this name; give each its own"))
        seen.add(str(name))
    return clashes
