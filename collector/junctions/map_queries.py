"""Junctions on a map, put together where many are close."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from psycopg.rows import class_row

from collector.db import Pool, load_queries, reading
from collector.junctions.queries import Freshness, heard_within

MAX_CELLS = 1000


@dataclass(frozen=True)
class Bounds:
    """A part of the globe, in degrees."""

    west: float
    south: float
    east: float
    north: float


@dataclass(frozen=True)
class View:
    """What a map shows. `bounds` None: all of it; a cell is so many degrees high and wide."""

    bounds: Bounds | None
    cell_latitude: float | None = None
    cell_longitude: float | None = None
    q: str | None = None
    states: Sequence[Freshness] | None = None


@dataclass(frozen=True)
class Cell:
    """One junction, with `id` and `name`, or several that are close to each other."""

    latitude: float
    longitude: float
    n: int
    live: int
    late: int
    silent: int
    never: int
    west: float
    south: float
    east: float
    north: float
    id: UUID | None
    name: str | None


@dataclass(frozen=True)
class Extent:
    """How far junctions reach; `west` and the others None: none has a place."""

    west: float | None
    south: float | None
    east: float | None
    north: float | None
    placed: int
    junctions: int

    @property
    def bounds(self) -> Bounds | None:
        if self.west is None or self.south is None or self.east is None or self.north is None:
            return None
        return Bounds(self.west, self.south, self.east, self.north)


_COLUMNS = 16
_LEAST_CELL = 0.000_01
"""About a metre."""


async def read_map(pool: Pool, view: View) -> tuple[Extent, list[Cell]]:
    """How far the junctions reach, and the cells of `view`, the fullest first; at most `MAX_CELLS`."""
    queries = load_queries("junction_map")
    async with reading(pool) as connection:
        async with connection.cursor(row_factory=class_row(Extent)) as cursor:
            await cursor.execute(queries["junction_map_extent"], {"q": view.q})
            extent = await cursor.fetchone()
        assert extent is not None
        bounds = view.bounds or extent.bounds
        if bounds is None:
            return extent, []
        async with connection.cursor(row_factory=class_row(Cell)) as cells:
            await cells.execute(queries["junction_map"], _parameters(view, bounds))
            return extent, await cells.fetchall()


def _parameters(view: View, bounds: Bounds) -> dict[str, Any]:
    latitude = view.cell_latitude or (bounds.north - bounds.south) / _COLUMNS
    longitude = view.cell_longitude or (bounds.east - bounds.west) / _COLUMNS
    return {
        "west": bounds.west,
        "south": bounds.south,
        "east": bounds.east,
        "north": bounds.north,
        "cell_latitude": max(latitude, _LEAST_CELL),
        "cell_longitude": max(longitude, _LEAST_CELL),
        "q": view.q,
        "states": [str(state) for state in view.states] if view.states else None,
        **heard_within(),
        "limit": MAX_CELLS,
    }
