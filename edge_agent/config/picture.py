"""The settings of what is seen of a camera's picture, and when: masks, regions, hours."""

from typing import Self

from pydantic import Field, model_validator

from edge_agent.config.section import Name, Pixels, Section
from edge_agent.domain import schedule, shapes
from edge_agent.domain.schedule import Weekday

_Points = tuple[tuple[Pixels, Pixels], ...]


class MaskSettings(Section):
    """A part of the picture that is painted over before anything looks at it, for privacy."""

    name: Name | None = Field(
        default=None, examples=["garden"], title="Name", description="What is hidden; only for messages"
    )
    points: _Points = Field(
        title="Points", description="Three or more corners [x, y] in pixels of the picture, turned if it is turned"
    )

    @model_validator(mode="after")
    def _check_shape(self) -> Self:
        self.shape()
        return self

    def shape(self) -> shapes.Zone:
        """The polygon."""
        return shapes.Zone(self.name or "without a name", self.points)


class RegionSettings(MaskSettings):
    """A part of the picture in which objects are taken for real; what is found outside of all regions is not."""

    name: Name | None = Field(
        default=None, examples=["roadway"], title="Name", description="What is there; only for messages"
    )


class ScheduleSettings(Section):
    """A time in which the camera works. Outside of all of these it is closed, and costs nothing."""

    days: tuple[Weekday, ...] = Field(
        default=tuple(Weekday),
        title="Days",
        description="Days on which it begins: mon, tue, wed, thu, fri, sat, sun",
    )
    start: str = Field(title="Start", description="From when on, as 06:00, in the junction's time zone")
    end: str = Field(
        title="End",
        description="Until when, as 22:00 or 24:00; one that is before the start is on the next day",
    )

    @model_validator(mode="after")
    def _check_window(self) -> Self:
        self.window()
        return self

    def window(self) -> schedule.Window:
        """The time in question."""
        return schedule.window(self.days, self.start, self.end)
