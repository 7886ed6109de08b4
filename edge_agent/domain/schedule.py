"""When a camera works: windows of the week, by the clock on the wall of its junction.

Pure and by the standard library alone: the moment is an argument, in local time. What the wall clock shows
decides, so that summer time needs no care: an hour that it shows twice is worked twice, one that it leaves out is
not there.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

_DAY_MIN = 24 * 60
FIRST_SURE_YEAR = 2024
"""A clock that shows an earlier year was never set."""


class Weekday(StrEnum):
    """Days of the week, as a schedule names them."""

    MON = "mon"
    TUE = "tue"
    WED = "wed"
    THU = "thu"
    FRI = "fri"
    SAT = "sat"
    SUN = "sun"


_DAYS = tuple(Weekday)


@dataclass(frozen=True, slots=True)
class Window:
    """From a minute of some days to another, which may lie behind midnight and then belongs to the next day.

    Attributes:
        days: those on which it begins.
        start_min, end_min: minutes since midnight; an end that is not after the start is on the next day.

    Raises:
        ValueError: it makes no sense.
    """

    days: frozenset[Weekday]
    start_min: int
    end_min: int

    def __post_init__(self) -> None:
        if not self.days:
            raise ValueError("names no day")
        if not (0 <= self.start_min < _DAY_MIN and 0 <= self.end_min <= _DAY_MIN):
            raise ValueError("lies outside of a day, which has 24 hours")
        if self.start_min == self.end_min:
            raise ValueError("ends when it starts; for a whole day write 00:00 to 24:00")

    def holds(self, local: datetime) -> bool:
        """Whether the moment, by the wall clock, lies in it."""
        minute = local.hour * 60 + local.minute
        today, yesterday = _DAYS[local.weekday()], _DAYS[local.weekday() - 1]
        if self.end_min > self.start_min:
            return today in self.days and self.start_min <= minute < self.end_min
        return (today in self.days and minute >= self.start_min) or (
            yesterday in self.days and minute < self.end_min
        )


def is_open(windows: Sequence[Window], local: datetime) -> bool:
    """Whether a camera works at a moment by the wall clock. Without windows it always does.

    It also does while the clock was never set: rather count at the wrong time than not at all.
    """
    if not windows or local.year < FIRST_SURE_YEAR:
        return True
    return any(window.holds(local) for window in windows)


def next_opening(windows: Sequence[Window], local: datetime) -> datetime | None:
    """When a camera that rests works again, to the minute; None: not within eight days."""
    start = local.replace(second=0, microsecond=0)
    moments = (start + timedelta(minutes=n) for n in range(1, 8 * _DAY_MIN))
    return next((moment for moment in moments if is_open(windows, moment)), None)


def minutes_of(text: str) -> int:
    """Minutes since midnight of `HH:MM`, up to 24:00.

    Raises:
        ValueError: it is no time.
    """
    hours, colon, minutes = text.partition(":")
    digits = all(part.isascii() and part.isdigit() and len(part) <= 2 for part in (hours, minutes))
    if not colon or not digits or int(minutes) > 59 or int(hours) * 60 + int(minutes) > _DAY_MIN:
        raise ValueError(f"{text!r} is no time of day; write it as 06:00, up to 24:00")
    return int(hours) * 60 + int(minutes)


def window(days: Iterable[Weekday], start: str, end: str) -> Window:
    """A window from its settings.

    Raises:
        ValueError: it makes no sense.
    """
    return Window(frozenset(days), minutes_of(start), minutes_of(end))
