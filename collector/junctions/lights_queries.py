"""What the store knows of a junction's lights."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from psycopg.rows import class_row, dict_row

from collector.db import Connection, Pool, load_queries, reading
from collector.junctions.description import read_description
from collector.junctions.lights import PHASE_ASPECTS, UNIT_CODES, Lights, LoggedEvent, read_lights
from common.junction import DetectorKind, Junction

_MOST_EVENTS = 2_000
"""Of phases: some ten a cycle and phase."""


@dataclass(frozen=True)
class Zone:
    """How many were in a zone when it last told."""

    sensor: str
    zone: str
    at: datetime
    n: int
    n_standing: int | None


@dataclass(frozen=True)
class JunctionLights:
    """A junction's lights at the moment `as_of`.

    Attributes:
        junction: the description, if its lights told one.
        algorithm: of the last cycle.
        last_at: the time of their latest event; None: there is none.
        received_at: when the collector last heard of who writes these events.
        zones: by lane, where the description names an approach zone for it.
    """

    id: UUID
    name: str
    as_of: datetime
    junction: Junction | None
    lights: Lights
    algorithm: str | None
    last_at: datetime | None
    received_at: datetime | None
    zones: dict[str, Zone]


@dataclass(frozen=True)
class Cycle:
    """A stored cycle; `lanes` as the query makes them."""

    at: datetime
    at_error_ms: int
    stream_no: int
    seq: int
    device: UUID
    length_s: float
    mode: str
    algorithm: str
    plan: str | None
    lanes: list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a page of cycles ends: the next one goes on before it."""

    at: datetime = datetime(9999, 12, 31, tzinfo=UTC)
    stream_no: int = 2**31 - 1
    seq: int = 2**62


async def read_junction_lights(pool: Pool, junction: UUID) -> JunctionLights | None:
    """How a junction's lights are; None: there is no such junction."""
    queries, key = load_queries("lights"), {"junction": junction}
    async with reading(pool) as connection:
        found = await _rows(connection, queries["junction"], key)
        if not found:
            return None
        [head] = found
        description = read_description(head["description"])
        codes = {"phase_codes": list(PHASE_ASPECTS), "unit_codes": list(UNIT_CODES), "limit": _MOST_EVENTS}
        events = await _rows(connection, queries["events"], key | codes)
        [heard] = await _rows(connection, queries["heard"], key)
        last_cycle = await _rows(connection, queries["last_cycle"], key)
        zones = [Zone(**row) for row in await _rows(connection, queries["zones"], key)]
    return JunctionLights(
        id=head["id"],
        name=head["name"],
        as_of=head["as_of"],
        junction=description,
        lights=read_lights((LoggedEvent(**event) for event in reversed(events)), description),
        algorithm=last_cycle[0]["algorithm"] if last_cycle else None,
        last_at=heard["last_at"],
        received_at=heard["received_at"],
        zones=_by_lane(zones, description),
    )


async def _rows(connection: Connection, query: bytes, parameters: dict[str, Any]) -> list[dict[str, Any]]:
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(query, parameters)
        return await cursor.fetchall()


def _by_lane(zones: Sequence[Zone], junction: Junction | None) -> dict[str, Zone]:
    told = {(zone.sensor, zone.zone): zone for zone in zones}
    detectors = junction.detectors if junction else ()
    approaches = (one for one in detectors if one.kind is DetectorKind.APPROACH)
    return {one.lane: told[one.sensor, one.source] for one in approaches if (one.sensor, one.source) in told}


async def read_cycles(pool: Pool, junction: UUID, before: Place, limit: int) -> list[Cycle] | None:
    """Cycles before a place, newest first; None: there is no such junction."""
    queries = load_queries("lights")
    parameters = {"junction": junction, "limit": limit}
    place = {"at": before.at, "stream_no": before.stream_no, "seq": before.seq}
    async with reading(pool) as connection:
        if not await _rows(connection, queries["junction"], {"junction": junction}):
            return None
        async with connection.cursor(row_factory=class_row(Cycle)) as cursor:
            await cursor.execute(queries["cycles"], parameters | place)
            return await cursor.fetchall()
