"""What every answer about one junction begins with."""

from datetime import datetime
from uuid import UUID

import msgspec

_DIGITS = 7
"""Of what is kept in four bytes."""


def as_kept(value: float | None) -> float | None:
    """A mean of such values, without digits that none of them has: 0.3, and not 0.30000001192092896."""
    return None if value is None else float(f"{value:.{_DIGITS}g}")


class JunctionRef(msgspec.Struct, frozen=True):
    """The junction that was asked about."""

    id: UUID
    name: str
    timezone: str
    """Its hours and days begin when they do there."""


class Period(msgspec.Struct, frozen=True, kw_only=True):
    """What was asked, as it was answered.

    `from` and `to` are whole hours there (whole days, where the answer tells of days): what was asked lies within.
    `as_of`: everything that was stored by then is in it.
    """

    junction: JunctionRef
    from_: datetime = msgspec.field(name="from")
    to: datetime
    as_of: datetime


class LineItem(msgspec.Struct, frozen=True):
    """What counts a part of the junction's traffic: a lane's stop line where the lights' description names those,
    else each line, zone or reader by its own name, as `sensor/name` where several have the same.

    Attributes:
        measured_share: how much of the period, as far as it is over, a camera counted there; of one that was taken
            away meanwhile, of the time before. Null: it cannot be told, as tag readers do not tell. What passed
            there at other times is in no sum.
    """

    name: str
    sensor: str
    source: str
    measured_share: float | None


EXAMPLE_LINES = [
    {"name": "north", "sensor": "cam-north", "source": "stop", "measured_share": 0.998},
    {"name": "east", "sensor": "cam-east", "source": "stop", "measured_share": 0.143},
]
EXAMPLE_PERIOD = {
    "junction": {
        "id": "8f3f9a70-1f9d-4a7c-8a50-3f1f0c1e2d3a",
        "name": "Market Square",
        "timezone": "Europe/Berlin",
    },
    "from": "2026-05-03T22:00:00Z",
    "to": "2026-05-10T22:00:00Z",
    "as_of": "2026-05-11T06:00:00Z",
}
