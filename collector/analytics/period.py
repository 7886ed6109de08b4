"""What is asked: which junction, and from when to when."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from litestar.exceptions import NotFoundException
from psycopg.rows import dict_row

from collector.analytics.answers import JunctionRef
from collector.counting.queries import Bucket
from collector.db import Connection, load_queries
from collector.junctions.description import read_description
from collector.ops.parameters import moment_or_date, not_before, unusable
from common.junction import Junction

LONGEST = timedelta(days=400)
LONGEST_LOG = timedelta(days=31)
"""What is made of the event log: it has some 100,000 entries a day."""
_SLACK = timedelta(days=2)
"""Whole buckets are longer than what was asked."""


@dataclass(frozen=True)
class Place:
    """A junction, at the moment `as_of`. `described` None: its lights have not told what they are."""

    ref: JunctionRef
    described: Junction | None
    as_of: datetime


@dataclass(frozen=True)
class Asked:
    """A junction and a time, in whole buckets of its zone."""

    place: Place
    start: datetime
    end: datetime

    @property
    def parameters(self) -> dict[str, Any]:
        """For statements."""
        ref = self.place.ref
        return {"junction": ref.id, "zone": ref.timezone, "low": self.start, "high": self.end}

    @property
    def head(self) -> dict[str, Any]:
        """Members that all answers have."""
        return {"junction": self.place.ref, "from_": self.start, "to": self.end, "as_of": self.place.as_of}

    @property
    def is_long_for_log(self) -> bool:
        """Too long for what is made of the event log."""
        return self.end - self.start > LONGEST_LOG + _SLACK

    def check_log(self) -> None:
        """Raises ApiProblem where it is too long for what is made of the event log."""
        if self.is_long_for_log:
            raise unusable("from", f"the event log is told of at most {LONGEST_LOG.days} days at a time")


async def read_place(connection: Connection, junction: UUID) -> Place:
    """Makes the transaction ready for questions about a junction.

    Raises:
        NotFoundException: there is no such junction, or it is not seen.
    """
    await connection.execute(load_queries("analytics")["settings"])
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(load_queries("analytics")["junction"], {"junction": junction})
        row = await cursor.fetchone()
    if row is None:
        raise NotFoundException(f"there is no junction {junction}; GET /api/junctions lists them")
    ref = JunctionRef(row["id"], row["name"], row["timezone"])
    return Place(ref, read_description(row["description"]), row["as_of"].astimezone(UTC))


async def read_asked(
    connection: Connection, junction: UUID, start: str | None, end: str | None, bucket: Bucket = Bucket.HOUR
) -> Asked:
    """What a request asks: instants or dates, or nothing, which is the last seven days.

    Raises:
        NotFoundException: there is no such junction.
        ApiProblem: the times cannot be used.
    """
    place = await read_place(connection, junction)
    parameters = {"zone": place.ref.timezone, "step_s": bucket.step_s}
    for name, text in (("from", start), ("to", end)):
        told = moment_or_date(name, text) if text is not None else None
        is_date = told is not None and not isinstance(told, datetime)
        parameters |= {f"{name}_date": told if is_date else None, f"{name}_at": None if is_date else told}
    cursor = await connection.execute(load_queries("analytics")["period"], parameters)
    row = await cursor.fetchone()
    assert row is not None
    asked_from, asked_to, low, high = (moment.astimezone(UTC) for moment in row)
    if asked_from >= asked_to:
        raise not_before(start, end)
    if asked_to - asked_from > LONGEST + _SLACK:
        raise unusable("from", f"more than {LONGEST.days} days lie between `from` and `to`")
    return Asked(place, low, high)
