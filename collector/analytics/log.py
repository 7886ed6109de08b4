"""Questions to the event log: what its phases and channels are, by the lights' own description."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from psycopg.rows import class_row

from collector.analytics.period import Asked
from collector.db import Connection, load_queries
from collector.junctions.lights import PHASE_ASPECTS
from common.hires import Code
from common.junction import DetectorKind, Junction, Movement, MovementKind

Row = TypeVar("Row")

_CODES = frozenset(PHASE_ASPECTS) | {Code.END_GREEN, Code.UNIT_FLASH}
"""Of lamps; detectors are asked for by their channels."""


@dataclass(frozen=True)
class Phase:
    """A phase that carries vehicles; `channels` are those of its detectors that are asked for."""

    movement: Movement
    channels: Sequence[int]

    @property
    def phase(self) -> int:
        return self.movement.phase


def vehicle_movements(described: Junction | None) -> list[Movement]:
    """In order of phases."""
    movements = described.movements if described else ()
    return sorted((one for one in movements if one.kind is MovementKind.VEHICLE), key=lambda one: one.phase)


def with_detectors(described: Junction | None, kind: DetectorKind) -> dict[int, Phase]:
    """Phases that have detectors of a kind on one of their lanes."""
    found = {}
    for movement in vehicle_movements(described):
        detectors = described.detectors if described else ()
        channels = [one.channel for one in detectors if one.kind is kind and one.lane in movement.lanes]
        if channels:
            found[movement.phase] = Phase(movement, channels)
    return found


def channel_parameters(phases: Collection[Phase]) -> dict[str, Any]:
    """A channel may stand for several phases: pairs of them."""
    pairs = [(channel, one.phase) for one in phases for channel in one.channels]
    return {"channels": [channel for channel, _ in pairs], "channel_phases": [phase for _, phase in pairs]}


async def ask_log(
    connection: Connection, asked: Asked, blocks: Sequence[str], row: type[Row], parameters: Mapping[str, Any]
) -> list[Row]:
    """The rows of a question that is put together of `blocks` of `analytics_log.sql`, after `logged`."""
    queries = load_queries("analytics_log")
    described = asked.place.described
    movements = described.movements if described else ()
    on_foot = [one.phase for one in movements if one.kind is MovementKind.PEDESTRIAN]
    statement = b"\n".join(queries[name] for name in ("logged", *blocks))
    async with connection.cursor(row_factory=class_row(row), binary=True) as cursor:
        general = {"on_foot": on_foot, "codes": list(_CODES), "channels": []}
        await cursor.execute(statement, asked.parameters | general | dict(parameters), prepare=False)
        return await cursor.fetchall()
