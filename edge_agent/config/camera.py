"""The settings of one camera: its source, its model, its lines, zones and turns, how it is calibrated."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, ValidationInfo, field_validator, model_validator

from common.codes import Direction
from edge_agent.config.picture import MaskSettings, RegionSettings, ScheduleSettings
from edge_agent.config.section import Metres, Name, Pixels, Section, beside_config
from edge_agent.domain import shapes
from edge_agent.domain.classes import ANY, VEHICLES
from edge_agent.domain.focus import BIRTH_SCORE, Focus
from edge_agent.domain.ground_points import check_ground_points
from edge_agent.domain.measuring import LEAST_FPS
from edge_agent.domain.schedule import Window
from edge_agent.domain.turn_rules import MOST_S, Turn
from edge_agent.drivers.detectors.choices import CPU, DECODERS, NORMALISATIONS, check_input_size
from edge_agent.drivers.sources.options import ROTATIONS_DEG, RtspTransport, SourceOptions
from edge_agent.models.store import BUNDLED, MOTION, is_name

SOURCE_SCHEMES = ("rtsp", "rtsps", "http", "https", "picamera2", "sim")
"""What may stand before `:` in a camera's source; without it, it is a device, a file or a folder."""
MIN_CROP_PX = 16

Pixel = Annotated[int, Field(ge=0, le=100_000)]


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
    capacity: int | None = Field(
        default=None,
        ge=1,
        le=100_000,
        examples=[20],
        title="Capacity",
        description="How many it is meant for; told beside how many there are, which may be more",
    )
    parked_after_s: float = Field(
        default=shapes.PARKED_AFTER_S,
        ge=1.0,
        le=86_400.0,
        title="Parked after",
        description="Who has stood still for so many seconds is told as standing, all others as moving",
    )

    @model_validator(mode="after")
    def _check_shape(self) -> Self:
        self.shape()
        return self

    def shape(self) -> shapes.Zone:
        """The zone that is watched."""
        return shapes.Zone(self.name, self.points, self.anchor, self.capacity, self.parked_after_s)


class Crossed(StrEnum):
    """Which way a line is crossed."""

    IN = "in"
    OUT = "out"


class TurnSettings(Section):
    """A turning movement: vehicles that come in over one line and leave over another."""

    name: Name = Field(
        title="Name", description="Name of the turn; unique on this device, lines and zones included"
    )
    from_line: Name = Field(alias="from", title="From", description="The line of this camera over which they come")
    from_direction: Crossed = Field(
        default=Crossed.IN, title="Direction of coming", description="Which way they cross it: in or out"
    )
    to_line: Name = Field(
        alias="to",
        title="To",
        description="The line over which they leave; the same line in the other direction makes a U-turn",
    )
    to_direction: Crossed = Field(
        default=Crossed.OUT, title="Direction of leaving", description="Which way they cross that: in or out"
    )
    within_s: float = Field(
        gt=0.0,
        le=MOST_S,
        examples=[60.0],
        title="Within",
        description="The most seconds from one line to the other; who takes longer is told as not seen leaving. "
        "Allow for a red light between the lines",
    )

    @model_validator(mode="after")
    def _check_rule(self) -> Self:
        self.rule()
        return self

    def rule(self) -> Turn:
        """The turn that is counted."""
        entry = self.from_line, Direction(self.from_direction)
        return Turn(self.name, entry, (self.to_line, Direction(self.to_direction)), self.within_s)


class CalibrationSettings(Section):
    """Points whose place on the ground is known: by them speeds are told in metres per second."""

    points: tuple[tuple[Pixels, Pixels, Metres, Metres], ...] = Field(
        title="Points",
        description="Four or more points [x_px, y_px, x_m, y_m]: pixels of the picture, and metres on the flat "
        "ground as on a map, x to the right and y ahead, from any origin. A fifth point and more show the error. "
        "Speeds are told between the points only: spread them around the lines",
    )

    @field_validator("points")
    @classmethod
    def _check_points(
        cls, points: tuple[tuple[float, float, float, float], ...]
    ) -> tuple[tuple[float, float, float, float], ...]:
        check_ground_points(points)
        return points


class CameraSettings(Section):
    """A camera, what is looked for in its picture, and where it is counted."""

    name: Name = Field(title="Name", description="Name of the camera; unique on this device")
    source: str = Field(
        min_length=1,
        max_length=2000,
        repr=False,
        title="Source",
        description="rtsp://..., http://..., a device as /dev/video0, picamera2, a video, a folder of pictures, "
        "or sim:NAME",
    )
    rtsp_transport: RtspTransport = Field(
        default=RtspTransport.TCP, title="RTSP transport", description="How an RTSP camera sends its pictures"
    )
    width: int | None = Field(
        default=None, ge=16, le=16_384, examples=[1280], title="Width",
        description="Width in pixels that a camera on USB or on the Pi's own connector is asked for",
    )  # fmt: skip
    height: int | None = Field(
        default=None, ge=16, le=16_384, examples=[720], title="Height",
        description="Height in pixels, likewise",
    )  # fmt: skip
    camera_fps: float | None = Field(
        default=None, ge=1.0, le=240.0, examples=[30.0], title="Rate of the camera",
        description="Pictures a second, likewise; a USB camera that can do it no other way sends JPEGs",
    )  # fmt: skip
    rotation: int = Field(
        default=0, title="Rotation",
        description="By how many degrees the picture is turned clockwise: 0, 90, 180 or 270. Lines, zones and "
        "masks are drawn on the turned picture",
    )  # fmt: skip
    model: str = Field(
        default="motion",
        min_length=1,
        title="Model",
        description="Path of an .onnx file, the name of a pulled model (see stopline-agent models list), bundled, "
        "or motion, which needs no model and tells no classes",
    )
    decoder: str | None = Field(
        default=None,
        examples=["yolox"],
        title="Decoder",
        description="How the model's outputs are read, where they do not tell by themselves: "
        + ", ".join(DECODERS),
    )
    normalisation: str | None = Field(
        default=None,
        examples=["rgb-1"],
        title="Normalisation",
        description="How the model wants its pixels, where that is not usual for its family: "
        + ", ".join(NORMALISATIONS),
    )
    input_size: tuple[int, int] | None = Field(
        default=None,
        examples=[[416, 416]],
        title="Input size",
        description="Width and height in pixels of what a model sees that leaves its size open",
    )
    execution_provider: str = Field(
        default=CPU,
        min_length=1,
        title="Execution provider",
        description="What runs the model: cpu, or another that this machine's onnxruntime has",
    )
    fps: float | None = Field(
        default=None,
        ge=LEAST_FPS,
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
        examples=[0.5],
        title="Score threshold",
        description="A detection makes a new vehicle from this score on, and weaker ones only continue it; "
        f"less than {BIRTH_SCORE:g}, which is usual, changes nothing",
    )
    scores: dict[Name, Annotated[float, Field(gt=0.0, le=1.0)]] = Field(
        default={},
        examples=[{"person": 0.5}],
        title="Scores by class",
        description="The same for single classes, in place of that for all: { person = 0.5 }",
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
    crop: tuple[Pixel, ...] | None = Field(
        default=None,
        min_length=4,
        max_length=4,
        examples=[[200, 100, 840, 460]],
        title="Crop",
        description="Left, top, right and bottom, in pixels, of the part that the model is given, so that what is "
        "far away is larger in it; lines and zones stay where they are in the whole picture",
    )
    masks: tuple[MaskSettings, ...] = Field(
        default=(), title="Masks", description="What is painted over before anything looks at the picture"
    )
    regions: tuple[RegionSettings, ...] = Field(
        default=(), title="Regions", description="Where objects are taken for real; without one, everywhere"
    )
    schedule: tuple[ScheduleSettings, ...] = Field(
        default=(), title="Schedule", description="When the camera works; without one, always"
    )
    lines: tuple[LineSettings, ...] = Field(default=(), title="Lines", description="Lines that are counted at")
    zones: tuple[ZoneSettings, ...] = Field(default=(), title="Zones", description="Zones that are watched")
    turns: tuple[TurnSettings, ...] = Field(default=(), title="Turns", description="Turns that are counted")
    calibration: CalibrationSettings | None = Field(
        default=None, title="Calibration", description="Points whose place on the ground is known"
    )

    @field_validator("source")
    @classmethod
    def _check_source(cls, source: str, info: ValidationInfo) -> str:
        scheme, colon, rest = source.partition(":")
        if scheme == "picamera2":
            if colon and not rest.isdigit():
                raise ValueError("write picamera2, or picamera2:1 for the second camera")
            return source
        if not colon or "/" in scheme:
            return source if source.isdigit() else str(beside_config(Path(source), info))
        if scheme.lower() not in SOURCE_SCHEMES:
            known = ", ".join(SOURCE_SCHEMES)
            raise ValueError(f"begins with {scheme}:, which is not known; known are {known}, or a path")
        if not rest.strip("/"):
            raise ValueError(f"ends after {scheme}:; write what is to be opened")
        if scheme != "sim" and not rest.startswith("//"):
            raise ValueError(f"an address begins with {scheme}://")
        if any(letter.isspace() for letter in source):
            raise ValueError("an address holds no blanks; write %20 for one in a password")
        return source

    @field_validator("model")
    @classmethod
    def _find_model(cls, model: str, info: ValidationInfo) -> str:
        # A name is looked up by the whole configuration, which knows where models are kept.
        if model in (MOTION, BUNDLED) or is_name(model):
            return model
        if not model.endswith(".onnx"):
            raise ValueError("must be the path of an .onnx file, the name of a pulled model, bundled, or motion")
        path = beside_config(Path(model), info)
        if (info.context or {}).get("files_must_exist", True) and not path.is_file():
            raise ValueError(f"there is no model file {path}; copy it there, mend the path, or use motion")
        return str(path)

    @field_validator("decoder")
    @classmethod
    def _check_decoder(cls, decoder: str | None) -> str | None:
        return _one_of(decoder, DECODERS)

    @field_validator("normalisation")
    @classmethod
    def _check_normalisation(cls, normalisation: str | None) -> str | None:
        return _one_of(normalisation, NORMALISATIONS)

    @field_validator("input_size")
    @classmethod
    def _check_input_size(cls, size_px: tuple[int, int] | None) -> tuple[int, int] | None:
        if size_px is not None:
            check_input_size(size_px)
        return size_px

    @field_validator("classes")
    @classmethod
    def _check_classes(cls, classes: tuple[str, ...]) -> tuple[str, ...]:
        if ANY in classes and len(classes) > 1:
            raise ValueError(f'"{ANY}" stands alone: it takes in every class')
        return classes

    @field_validator("rotation")
    @classmethod
    def _check_rotation(cls, rotation: int) -> int:
        if rotation not in ROTATIONS_DEG:
            raise ValueError(f"must be one of {', '.join(map(str, ROTATIONS_DEG))}")
        return rotation

    @field_validator("crop")
    @classmethod
    def _check_crop(cls, crop: tuple[int, ...] | None) -> tuple[int, ...] | None:
        if crop is not None and not (crop[2] - crop[0] >= MIN_CROP_PX and crop[3] - crop[1] >= MIN_CROP_PX):
            raise ValueError(f"is left, top, right, bottom, and at least {MIN_CROP_PX} pixels wide and high")
        return crop

    @model_validator(mode="after")
    def _check_crop_holds_lines(self) -> Self:
        places: tuple[LineSettings | ZoneSettings, ...] = (*self.lines, *self.zones)
        for place in places:
            if self.crop is not None and not _reaches_into(self.crop, place.points):
                raise ValueError(f"{place.name!r} lies outside of crop, where nothing is looked for; move either")
        return self

    @property
    def source_options(self) -> SourceOptions:
        """What is asked of the camera, and what is done to its pictures."""
        return SourceOptions(
            rtsp_transport=self.rtsp_transport,
            width_px=self.width,
            height_px=self.height,
            fps=self.camera_fps,
            rotation_deg=self.rotation,
            masks=tuple(mask.shape() for mask in self.masks),
        )

    @property
    def focus(self) -> Focus:
        """What the detector attends to."""
        crop = (self.crop[0], self.crop[1], self.crop[2], self.crop[3]) if self.crop else None
        scores = {name: max(score, BIRTH_SCORE) for name, score in self.scores.items()}
        return Focus(crop, tuple(region.shape() for region in self.regions), scores)

    @property
    def windows(self) -> tuple[Window, ...]:
        """When it works; empty: always."""
        return tuple(entry.window() for entry in self.schedule)

    @property
    def ground_points(self) -> tuple[tuple[float, float, float, float], ...]:
        """What the camera is calibrated by; empty if it is not."""
        return self.calibration.points if self.calibration else ()

    @property
    def birth_score(self) -> float | None:
        """From which score on a detection makes a new vehicle; None: as is usual."""
        return None if self.score_threshold is None else max(self.score_threshold, BIRTH_SCORE)

    @property
    def wanted_classes(self) -> tuple[str, ...] | None:
        """The classes to count; None for all, without telling them apart."""
        return None if self.model == "motion" or ANY in self.classes else self.classes


def _one_of(value: str | None, allowed: tuple[str, ...]) -> str | None:
    if value is not None and value not in allowed:
        raise ValueError(f"is not known; known are {', '.join(allowed)}")
    return value


def _reaches_into(crop: tuple[int, ...], points: tuple[tuple[float, float], ...]) -> bool:
    """Whether the smallest upright box around the points has a part in the crop."""
    left, top, right, bottom = crop
    xs, ys = [x for x, _ in points], [y for _, y in points]
    return min(xs) < right and max(xs) > left and min(ys) < bottom and max(ys) > top
