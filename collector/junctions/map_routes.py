"""`GET /api/junctions/map`."""

from typing import Annotated
from uuid import UUID

import msgspec
from litestar import get
from litestar.handlers import HTTPRouteHandler
from litestar.openapi.datastructures import ResponseSpec
from litestar.openapi.spec import Example
from litestar.params import QueryParameter

from collector.db import Pool
from collector.errors import ApiProblem
from collector.junctions.map_queries import MAX_CELLS, Bounds, Cell, View, read_map
from collector.junctions.queries import Freshness


class JunctionBounds(msgspec.Struct, frozen=True):
    """A part of the globe, in degrees."""

    west: float
    south: float
    east: float
    north: float


class MapJunction(msgspec.Struct, frozen=True):
    """The one junction of a cell."""

    id: UUID
    name: str


class MapStates(msgspec.Struct, frozen=True):
    """How many of a cell's junctions were heard how long ago, as `JunctionItem.state`."""

    live: int
    late: int
    silent: int
    never: int


class MapCell(msgspec.Struct, frozen=True):
    """Junctions that are close to each other, at their middle. `junction` null: several."""

    latitude: float
    longitude: float
    n: int
    states: MapStates
    bounds: JunctionBounds
    junction: MapJunction | None


class JunctionMap(msgspec.Struct, frozen=True):
    """What a map shows. `bounds`: how far the junctions reach whose names fit; null: none has coordinates."""

    bounds: JunctionBounds | None
    placed: int
    """How many have coordinates,"""
    unplaced: int
    """and how many have none: they are in the list alone."""
    cells: list[MapCell]
    complete: bool
    """False: there are more cells than are told; ask for larger ones."""


_EXAMPLE = {
    "bounds": {"west": 13.29, "south": 52.46, "east": 13.55, "north": 52.58},
    "placed": 41,
    "unplaced": 2,
    "cells": [
        {
            "latitude": 52.521,
            "longitude": 13.411,
            "n": 1,
            "states": {"live": 1, "late": 0, "silent": 0, "never": 0},
            "bounds": {"west": 13.411, "south": 52.521, "east": 13.411, "north": 52.521},
            "junction": {"id": "8f3f9a70-1f9d-4a7c-8a50-3f1f0c1e2d3a", "name": "Market Square"},
        }
    ],
    "complete": True,
}

_BOUND = "Only what lies within; west, south, east and north go together."
West = Annotated[float | None, QueryParameter(name="west", ge=-180, le=180, description=_BOUND)]
South = Annotated[float | None, QueryParameter(name="south", ge=-90, le=90, description=_BOUND)]
East = Annotated[float | None, QueryParameter(name="east", ge=-180, le=180, description=_BOUND)]
North = Annotated[float | None, QueryParameter(name="north", ge=-90, le=90, description=_BOUND)]
Cells = Annotated[
    float | None,
    QueryParameter(ge=0.00001, le=360, description="What lies within so many degrees is put together."),
]
Name = Annotated[str | None, QueryParameter(name="q", max_length=100, description="A part of the name.")]
States = Annotated[
    list[Freshness] | None, QueryParameter(name="state", description="Only such junctions; repeatable.")
]


def map_routes(pool: Pool) -> list[HTTPRouteHandler]:
    """The handler."""

    @get(
        "/api/junctions/map",
        operation_id="junctionMap",
        summary="Where the junctions are",
        description=f"At most {MAX_CELLS:,} cells: ask for what is seen, with cells as large as what is drawn.",
        tags=["junctions"],
        responses={200: ResponseSpec(JunctionMap, description="As of now.", examples=[Example(value=_EXAMPLE)])},
    )
    async def junction_map(
        west: West = None,
        south: South = None,
        east: East = None,
        north: North = None,
        cell_latitude: Cells = None,
        cell_longitude: Cells = None,
        q: Name = None,
        states: States = None,
    ) -> JunctionMap:
        bounds = _bounds(west, south, east, north)
        wanted = View(bounds, cell_latitude, cell_longitude, _text(q), states)
        extent, cells = await read_map(pool, wanted)
        return JunctionMap(
            bounds=_told(extent.bounds) if extent.bounds else None,
            placed=extent.placed,
            unplaced=extent.junctions - extent.placed,
            cells=[_cell(each) for each in cells],
            complete=len(cells) < MAX_CELLS,
        )

    return [junction_map]


def _bounds(west: float | None, south: float | None, east: float | None, north: float | None) -> Bounds | None:
    if west is None and south is None and east is None and north is None:
        return None
    if west is None or south is None or east is None or north is None:
        detail = "west: goes together with south, east and north; give all four, or none"
        raise ApiProblem(400, "bad_query", "The query cannot be answered", detail)
    return Bounds(west, south, east, north)


def _text(q: str | None) -> str | None:
    if q is not None and "\0" in q:
        raise ApiProblem(400, "bad_query", "The query cannot be answered", "q: no name has the character NUL")
    return q or None


def _told(bounds: Bounds) -> JunctionBounds:
    return JunctionBounds(bounds.west, bounds.south, bounds.east, bounds.north)


def _cell(cell: Cell) -> MapCell:
    return MapCell(
        latitude=cell.latitude,
        longitude=cell.longitude,
        n=cell.n,
        states=MapStates(cell.live, cell.late, cell.silent, cell.never),
        bounds=JunctionBounds(cell.west, cell.south, cell.east, cell.north),
        junction=MapJunction(cell.id, cell.name) if cell.id and cell.name is not None else None,
    )
