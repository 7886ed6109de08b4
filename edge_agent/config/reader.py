"""The settings of tag readers, and of lanes that a reader and a camera watch together."""

from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import AfterValidator, Field, ValidationInfo, field_validator, model_validator

from edge_agent.config.section import Name, Section, beside_config, tables
from edge_agent.domain.epc import EpcForm
from edge_agent.domain.fusion import FusionParams, FusionRule
from edge_agent.domain.passage import PassageParams
from edge_agent.drivers.tags.options import FILE, MFRC522, ReaderOptions, parse_device

Antenna = Annotated[int, Field(ge=1, le=255)]


class AntennaSettings(Section):
    """One antenna of a reader, where it has several."""

    number: Antenna = Field(title="Number", description="Its number at the reader, from 1")
    name: Name = Field(
        title="Name", description="What its passages are counted under, as a lane; unique on this device"
    )


class ReaderSettings(Section):
    """A tag reader: vehicles with tags are counted as they pass it."""

    name: Name = Field(title="Name", description="Name of the reader; unique on this device, cameras included")
    device: str = Field(
        title="Device",
        description="mfrc522 or mfrc522:BUS.CHIP (13.56 MHz on the SPI bus), llrp://HOST (UHF on the network), "
        "sim or sim:queue (simulated), or a file of recorded readings",
    )
    epc: EpcForm = Field(
        default=EpcForm.HMAC,
        title="EPC",
        description="How tags' numbers are kept: hmac (hashed, journeys can be joined within a period and nobody "
        "can be recognised), raw, or off",
    )
    antennas: tuple[AntennaSettings, ...] = Field(
        default=(),
        title="Antennas",
        description="One [[readers.antennas]] section for each antenna; without any, it is antenna 1",
    )
    order: tuple[Antenna, ...] = Field(
        default=(),
        max_length=2,
        title="Order",
        description="Two antennas of one lane, in the order in which who comes in passes them: then the direction "
        "is known. Both count under the first one's name",
    )
    gap_s: float = Field(
        default=1.5,
        ge=0.2,
        le=60.0,
        title="Gap",
        description="A tag that was not read for so many seconds has left",
    )
    rearm_s: float = Field(
        default=15.0,
        ge=0.2,
        le=3600.0,
        title="Re-arm",
        description="A tag that is read again within so many seconds is the same passage still",
    )
    min_reads: int | None = Field(
        default=None,
        ge=1,
        le=100,
        examples=[2],
        title="Least readings",
        description="Fewer readings are a ghost, and are not counted; without it, 1 for mfrc522 and 2 else",
    )
    min_rssi_dbm: float | None = Field(
        default=None,
        ge=-120.0,
        le=20.0,
        examples=[-65.0],
        title="Least strength",
        description="Weaker readings are not heard: keeps other lanes' tags out",
    )
    power_dbm: float | None = Field(
        default=None,
        ge=0.0,
        le=40.0,
        examples=[27.0],
        title="Power",
        description="How strong a UHF reader sends, at most; without it, as strong as it can",
    )
    keepalive_s: float = Field(
        default=5.0,
        ge=0.5,
        le=60.0,
        title="Keepalive",
        description="How often a UHF reader says that it is there; three times that without a word is a fault",
    )
    reset_pin: int = Field(
        default=25,
        ge=0,
        le=27,
        title="Reset pin",
        description="Pin that resets an MFRC522, in Broadcom's numbers; no lamp may hang on it",
    )
    spi_hz: int = Field(
        default=1_000_000,
        ge=10_000,
        le=10_000_000,
        title="SPI speed",
        description="Of the bus to an MFRC522, in Hz",
    )

    @field_validator("device")
    @classmethod
    def _check_device(cls, device: str, info: ValidationInfo) -> str:
        place = parse_device(device)
        return str(beside_config(Path(place.name), info)) if place.kind == FILE else device

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        numbers = [antenna.number for antenna in self.antennas]
        if len(set(numbers)) < len(numbers):
            raise ValueError("two antennas have the same number; give each its own")
        if self.order and (len(set(self.order)) != 2 or not set(self.order) <= set(numbers)):
            raise ValueError("order must name two antennas that have sections, as order = [1, 2]")
        if self.rearm_s < self.gap_s:
            raise ValueError("rearm_s must not be less than gap_s")
        if parse_device(self.device).kind == MFRC522 and numbers not in ([], [1]):
            raise ValueError("an MFRC522 has one antenna, number 1")
        return self

    @property
    def sources(self) -> dict[int, str]:
        """The name that each antenna counts under."""
        names = {antenna.number: antenna.name for antenna in self.antennas} or {1: self.name}
        return names | dict.fromkeys(self.order, names[self.order[0]]) if self.order else names

    @property
    def options(self) -> ReaderOptions:
        """How it is opened."""
        return ReaderOptions(
            self.device,
            tuple(self.sources),
            power_dbm=self.power_dbm,
            reset_pin=self.reset_pin,
            spi_hz=self.spi_hz,
            keepalive_s=self.keepalive_s,
        )

    @property
    def passage(self) -> PassageParams:
        """What makes a passage of its readings."""
        least = 1 if parse_device(self.device).kind == MFRC522 else 2
        return PassageParams(
            gap_s=self.gap_s,
            rearm_s=self.rearm_s,
            min_reads=self.min_reads or least,
            min_rssi_dbm=self.min_rssi_dbm,
            order=(self.order[0], self.order[1]) if self.order else None,
        )


class EpcSettings(Section):
    """How tags' numbers are hashed."""

    key_file: Annotated[Path, AfterValidator(beside_config)] | None = Field(
        default=None,
        examples=["/etc/stopline/epc.key"],
        title="Key file",
        description="64 digits of hex; made if it is not there. Devices with copies of one key can have their "
        "journeys joined; without this, a key of this device alone, in the state folder",
    )
    rotate_h: float = Field(
        default=24.0,
        ge=1.0,
        le=8760.0,
        title="Period",
        description="Hours within which a tag is written alike, counted from 1970 UTC; beyond them nothing joins",
    )


class Crossed(StrEnum):
    """Which crossings of a line belong to a lane."""

    IN = "in"
    OUT = "out"
    ANY = "any"


class FusedLaneSettings(Section):
    """A lane that a camera's line and a reader watch together: who both see is one vehicle."""

    name: Name = Field(title="Name", description="Name of the lane; the lights know its crossings by it")
    line: Name = Field(title="Line", description="The counting line of the lane")
    direction: Crossed = Field(
        default=Crossed.ANY, title="Direction", description="Which of its crossings belong to the lane"
    )
    tags: Name = Field(title="Tags", description="The reader, or the antenna of one, over the same lane")
    rule: FusionRule = Field(
        default=FusionRule.EITHER,
        title="Rule",
        description="Who counts: either (all that one of them saw), camera, or tags; when one of them does not "
        "measure, the other counts alone",
    )
    window_s: float = Field(
        default=3.0,
        gt=0.0,
        le=60.0,
        title="Window",
        description="So many seconds apart the two may see one vehicle; less than vehicles are apart",
    )
    offset_s: float = Field(
        default=0.0,
        ge=-60.0,
        le=60.0,
        title="Offset",
        description="How many seconds later the reader sees a vehicle than the line does; the log tells it",
    )
    max_camera_miss: float = Field(
        default=0.25,
        ge=0.0,
        le=1.0,
        title="Most missed by the camera",
        description="Share of vehicles with a tag that the camera may miss before that is reported",
    )
    min_tag_share: float | None = Field(
        default=None,
        ge=0.0,
        le=1.0,
        examples=[0.4],
        title="Least read",
        description="Share of the camera's vehicles that must have been read, where it is known what to expect",
    )
    check_every_s: float = Field(
        default=900.0, ge=60.0, le=86_400.0, title="Check", description="Seconds between two comparisons"
    )

    @property
    def params(self) -> FusionParams:
        """For the fusion."""
        return FusionParams(
            window_s=self.window_s,
            offset_s=self.offset_s,
            rule=self.rule,
            max_camera_miss=self.max_camera_miss,
            min_tag_share=self.min_tag_share,
        )


_Fault = tuple[tuple[str | int, ...], str]


def fusion_faults(tree: Mapping[str, Any]) -> list[_Fault]:
    """Fused lanes in an unchecked tree of settings that name no line, or nothing that reads tags."""
    lines = {str(line.get("name")) for camera in tables(tree, "cameras") for line in tables(camera, "lines")}
    tags: set[str] = set()
    for reader in tables(tree, "readers"):
        antennas = {str(antenna.get("name")) for antenna in tables(reader, "antennas")}
        tags |= antennas or {str(reader.get("name"))}
    found: list[_Fault] = []
    for i, lane in enumerate(tables(tree, "fused_lanes")):
        for key, known, what in (("line", lines, "counting line"), ("tags", tags, "reader or antenna")):
            name = lane.get(key)
            if isinstance(name, str) and name and name not in known:
                there = ", ".join(sorted(known)) or "none"
                found.append((("fused_lanes", i, key), f"there is no such {what}; there is {there}"))
    return found
