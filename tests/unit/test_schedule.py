"""When a camera works, by the clock on the wall: midnight, weekends, and the nights when the clock is put."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from edge_agent.domain.schedule import Weekday, is_open, minutes_of, next_opening, window

BERLIN = ZoneInfo("Europe/Berlin")
WORKDAYS = (Weekday.MON, Weekday.TUE, Weekday.WED, Weekday.THU, Weekday.FRI)
DAY = window(WORKDAYS, "06:00", "22:00")
NIGHT = window((Weekday.SAT,), "22:30", "05:00")


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=BERLIN)


def minutes_open(*windows: object, day: str) -> int:
    """How many minutes of real time of a local day a camera works."""
    start = at(f"{day}T00:00").astimezone(UTC)
    end = at((datetime.fromisoformat(day) + timedelta(days=1)).isoformat()).astimezone(UTC)
    moments = (start + timedelta(minutes=n) for n in range(int((end - start).total_seconds() // 60)))
    return sum(is_open(windows, moment.astimezone(BERLIN)) for moment in moments)  # type: ignore[arg-type]


def test_without_a_schedule_it_always_works() -> None:
    assert is_open((), at("2026-07-01T03:00"))


@pytest.mark.parametrize(
    ("moment", "works"),
    [
        ("2026-11-26T05:59:59", False),
        ("2026-11-26T06:00", True),
        ("2026-11-26T21:59:59", True),
        ("2026-11-26T22:00", False),
        ("2026-11-28T12:00", False),
        ("2026-11-28T22:29", False),
        ("2026-11-28T22:30", True),
        ("2026-11-29T00:00", True),
        ("2026-11-29T04:59", True),
        ("2026-11-29T05:00", False),
        ("2026-11-29T23:00", False),
        ("2026-11-28T04:00", False),
    ],
)
def test_days_and_a_night_over_midnight(moment: str, works: bool) -> None:
    assert is_open((DAY, NIGHT), at(moment)) is works


def test_whole_days() -> None:
    sunday = window((Weekday.SUN,), "00:00", "24:00")
    assert minutes_open(sunday, day="2026-11-29") == 1440
    assert minutes_open(sunday, day="2026-11-28") == minutes_open(sunday, day="2026-11-30") == 0


@pytest.mark.parametrize(
    ("start", "end", "day", "minutes"),
    [
        ("01:00", "04:00", "2026-03-28", 180),
        ("01:00", "04:00", "2026-03-29", 120),  # the clock jumps from 2 to 3
        ("02:15", "02:45", "2026-03-29", 0),
        ("01:00", "04:00", "2026-10-25", 240),  # 2 to 3 comes twice
        ("02:15", "02:45", "2026-10-25", 60),
        ("06:00", "22:00", "2026-10-25", 960),
    ],
)
def test_when_the_clock_is_put(start: str, end: str, day: str, minutes: int) -> None:
    assert minutes_open(window(Weekday, start, end), day=day) == minutes


def test_a_clock_that_was_never_set_stops_no_count() -> None:
    assert is_open((DAY,), at("1970-01-01T00:00"))


def test_when_it_works_again() -> None:
    assert next_opening((DAY,), at("2026-11-27T22:10:30")) == at("2026-11-30T06:00")
    assert next_opening((DAY,), at("2026-11-26T05:59")) == at("2026-11-26T06:00")
    assert next_opening((window((Weekday.THU,), "06:00", "07:00"),), at("2026-11-26T07:00")) == at(
        "2026-12-03T06:00"
    )


@pytest.mark.parametrize(
    "text", ["", "6", "24:01", "12:60", "-1:00", "noon", "06:00:00", "\u0660\u0666:\u0660\u0660"]
)
def test_what_is_no_time(text: str) -> None:
    with pytest.raises(ValueError, match="write it as 06:00"):
        minutes_of(text)


@pytest.mark.parametrize(
    ("start", "end", "words"),
    [("06:00", "06:00", "ends when it starts"), ("24:00", "06:00", "24 hours")],
)
def test_what_is_no_window(start: str, end: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        window(WORKDAYS, start, end)
