"""What is asked: which junction, from when to when, and by which sources its traffic is counted."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID

from litestar.exceptions import NotFoundException
from psycopg.rows import class_row, dict_row
from psycopg.types.multirange import Multirange

from collector.analytics.answers import JunctionRef
from collector.counting.queries import Bucket
from collector.db import Connection, load_queries
from collector.errors import ApiProblem
from collector.junctions.description import read_description
from common.codes import Via
from common.junction import DetectorKind, Junction

LONGEST = timedelta(days=400)
LONGEST_LOG = timedelta(days=31)
"""What is made of the event log: it has some 100,000 entries a day."""
_SLACK = timedelta(days=2)
"""Whole buckets are longer than what was asked."""
_MAX_PENDING = 20_000
"""Minutes that are read from raw rows in one answer, at most."""


@dataclass(frozen=True)
class Source:
    """A line, zone or reader of the junction."""

    no: int
    name: str
    sensor: str
    via: str
    kind: str
    camera_no: int | None
    in_force: Multirange[datetime] | None = None
    """When its camera counted at it; None: nobody told, as from the beginning."""


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


@dataclass(frozen=True)
class Counters:
    """What counts the junction's traffic, once each.

    Attributes:
        cameras: of these sources.
        expected: those of them that should have measured in the period: all that did, or did shortly before.
    """

    sources: Sequence[Source]
    cameras: Sequence[int]
    expected: Sequence[int]

    @property
    def parameters(self) -> dict[str, Any]:
        """For statements."""
        return {
            "sources": [source.no for source in self.sources],
            "cameras": list(self.cameras),
            "expected": list(self.expected),
        }


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
        raise unusable("from", f"{asked_from.isoformat()} is not before `to` ({asked_to.isoformat()})")
    if asked_to - asked_from > LONGEST + _SLACK:
        raise unusable("from", f"more than {LONGEST.days} days lie between `from` and `to`")
    return Asked(place, low, high)


def moment_or_date(parameter: str, text: str) -> datetime | date:
    """An RFC 3339 time, or a date there. A `+` that was not escaped arrives as a space.

    Raises:
        ApiProblem: it is neither.
    """
    repaired = re.sub(r" (?=\d\d:\d\d$)", "+", text)
    told: datetime | date | None
    try:
        is_date = re.fullmatch(r"\d{4}-\d\d-\d\d", text) is not None
        told = date.fromisoformat(text) if is_date else datetime.fromisoformat(repaired)
    except ValueError:
        told = None
    if told is None or (isinstance(told, datetime) and told.tzinfo is None):
        raise unusable(
            parameter,
            f"{text[:100]!r} is neither a date, such as 2026-05-04, nor a time with an offset from UTC, such as"
            " 2026-05-04T08:00:00+02:00 or ...Z",
        )
    if not 1970 <= told.year <= 2200:
        raise unusable(parameter, f"{text!r} lies outside the years 1970 to 2200")
    return told


def unusable(parameter: str, detail: str) -> ApiProblem:
    """The problem of a parameter."""
    return ApiProblem(
        400, "parameter_invalid", "A parameter cannot be used", f"{parameter}: {detail}", parameter=parameter
    )


async def read_counters(connection: Connection, asked: Asked) -> Counters:
    """What counts the junction's traffic."""
    queries = load_queries("analytics")
    async with connection.cursor(row_factory=class_row(Source)) as cursor:
        await cursor.execute(queries["sources"], asked.parameters)
        chosen = choose_sources(await cursor.fetchall(), asked.place.described)
    cameras = sorted({source.camera_no for source in chosen if source.camera_no is not None})
    found = await connection.execute(queries["expected_cameras"], asked.parameters | {"cameras": cameras})
    return Counters(chosen, cameras, [no for (no,) in await found.fetchall()] or cameras)


def choose_sources(sources: Sequence[Source], described: Junction | None) -> list[Source]:
    """Those that count every vehicle once.

    Where the lights' description names stop lines it is one of each lane, a camera's rather than a reader's. Else
    it is all camera lines, else all zones, else all readers.
    """
    chosen = list(stop_lines(sources, described).values())
    if chosen:
        return chosen
    for via, kind in ((Via.CAMERA, "line"), (Via.CAMERA, "zone"), (Via.RFID, "reader")):
        chosen = [source for source in sources if (source.via, source.kind) == (via, kind)]
        if chosen:
            return chosen
    return []


def stop_lines(sources: Sequence[Source], described: Junction | None) -> Mapping[str, Source]:
    """One source of each lane whose stop line is described and has counted, by lane."""
    known = {(source.sensor, source.name): source for source in sources if source.kind != "zone"}
    found: dict[str, Source] = {}
    for one in described.detectors if described else ():
        source = known.get((one.sensor, one.source))
        if one.kind is not DetectorKind.STOP_LINE or source is None:
            continue
        before = found.get(one.lane)
        if before is None or (before.via == Via.RFID and source.via == Via.CAMERA):
            found[one.lane] = source
    return found


async def is_live(connection: Connection, asked: Asked, counters: Counters) -> bool:
    """Whether minutes that wait to be rolled up are few enough to be read from their raw rows."""
    parameters = asked.parameters | counters.parameters | {"bound": _MAX_PENDING}
    cursor = await connection.execute(load_queries("counts")["pending"], parameters)
    row = await cursor.fetchone()
    return row is not None and int(row[0]) < _MAX_PENDING
