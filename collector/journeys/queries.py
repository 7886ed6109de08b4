"""What the passages of tags tell of many vehicles together."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from uuid import UUID

from psycopg.rows import class_row

from collector.db import Connection, Pool, load_queries, reading
from collector.errors import ApiProblem

MAX_ERROR_MS = 10_000
"""Passages whose time may be further off than this tell nothing of a travel time."""
MAX_TAG_PASSAGES = 1_000


@dataclass(frozen=True)
class Readers:
    """A junction and the numbers of its tag readers."""

    id: UUID
    name: str
    timezone: str
    readers: list[int]


@dataclass(frozen=True)
class Journeys:
    """The journeys that began in a range, and the passages they were found among.

    Attributes:
        percentiles_s: the 5th, 15th, 50th, 85th and 95th; None: there was no journey.
        by_second: how many took so many whole seconds.
        n_ended_inside: of the passages at the second junction in the range, those that ended a journey.
        n_from, n_to: passages with a tag at each junction.
        n_keys: how many periods the hashed tags were of; from one to the next nothing can be matched.
    """

    n: int
    percentiles_s: list[float] | None
    by_second: dict[str, int]
    n_ended_inside: int
    n_from: int
    n_to: int
    n_untagged: int
    n_untimed: int
    n_hashed: int
    n_keys: int


@dataclass(frozen=True)
class VisitGroup:
    """So many tags made so many visits on a day."""

    day: date
    visits: int
    tags: int


@dataclass(frozen=True)
class Visitors:
    """All groups, and how many tags came on several days."""

    junction: Readers
    groups: list[VisitGroup]
    tags: int
    tags_of_several_days: int


@dataclass(frozen=True)
class TagPassage:
    """Where one tag was read."""

    at: datetime
    at_error_ms: int
    junction_id: UUID | None
    junction_name: str | None
    device_id: UUID
    device_name: str
    sensor: str
    source: str


async def read_journeys(
    pool: Pool, from_junction: str, to_junction: str, low: datetime, high: datetime, max_travel_s: int
) -> tuple[Readers, Readers, Journeys]:
    """Journeys from one junction, by name or id, to another.

    Raises:
        ApiProblem: one of them is not there, or not for who asks, or both are the same.
    """
    async with reading(pool) as connection:
        first = await _readers(connection, "from_junction", from_junction)
        second = await _readers(connection, "to_junction", to_junction)
        if first.id == second.id:
            detail = "to_junction: a journey leads to another junction; `visitors` tells who comes back"
            raise ApiProblem(
                400, "parameter_invalid", "A parameter cannot be used", detail, parameter="to_junction"
            )
        parameters = {
            "from_readers": first.readers,
            "to_readers": second.readers,
            "low": low,
            "high": high,
            "max_travel_s": max_travel_s,
            "max_error_ms": MAX_ERROR_MS,
        }
        async with connection.cursor(row_factory=class_row(Journeys)) as cursor:
            await cursor.execute(load_queries("journeys")["journeys"], parameters, prepare=False)
            found = await cursor.fetchone()
    assert found is not None
    return first, second, found


async def read_visitors(pool: Pool, junction: UUID, low: datetime, high: datetime, apart_s: int) -> Visitors:
    """How often tags came to one junction. Raises ApiProblem: it is not there."""
    queries = load_queries("journeys")
    async with reading(pool) as connection:
        place = await _readers(connection, "junction", str(junction))
        parameters: dict[str, Any] = {
            "readers": place.readers,
            "zone": place.timezone,
            "low": low,
            "high": high,
            "apart_s": apart_s,
            "max_error_ms": MAX_ERROR_MS,
        }
        async with connection.cursor(row_factory=class_row(VisitGroup)) as cursor:
            await cursor.execute(queries["visitors"], parameters, prepare=False)
            groups = await cursor.fetchall()
        totals = await (await connection.execute(queries["returning"], parameters, prepare=False)).fetchone()
    assert totals is not None
    return Visitors(place, groups, *totals)


async def read_tag(pool: Pool, epc: str, low: datetime, high: datetime) -> tuple[Sequence[TagPassage], int]:
    """Where a tag was read, newest first, and in how many lanes' cycles it was noted."""
    queries = load_queries("journeys")
    parameters = {"epc": epc, "low": low, "high": high, "limit": MAX_TAG_PASSAGES}
    async with reading(pool) as connection:
        async with connection.cursor(row_factory=class_row(TagPassage)) as cursor:
            await cursor.execute(queries["tag"], parameters, prepare=False)
            passages = await cursor.fetchall()
        cycles = await (await connection.execute(queries["tag_cycles"], parameters, prepare=False)).fetchone()
    return passages, cycles[0] if cycles else 0


async def _readers(connection: Connection, parameter: str, name: str) -> Readers:
    async with connection.cursor(row_factory=class_row(Readers)) as cursor:
        await cursor.execute(load_queries("journeys")["readers"], {"names": [name]})
        found = await cursor.fetchall()
    if not found:
        detail = f"{parameter}={name}: there is none; GET /api/junctions lists them"
        raise ApiProblem(404, "junction_unknown", "There is no such junction", detail, parameter=parameter)
    return found[0]
