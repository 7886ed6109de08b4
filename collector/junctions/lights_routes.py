"""`GET /api/junctions/{id}/signals` and `/cycles`."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

import msgspec
from litestar import get
from litestar.exceptions import NotFoundException
from litestar.handlers import HTTPRouteHandler
from litestar.openapi.datastructures import ResponseSpec
from litestar.openapi.spec import Example
from litestar.params import PathParameter, QueryParameter

from collector.db import Pool
from collector.errors import ApiProblem
from collector.junctions.examples import NO_JUNCTION
from collector.junctions.lights_queries import Cycle, JunctionLights, Place, read_cycles, read_junction_lights
from collector.ops.problems import problem_specs
from common.codes import Aspect, SignalMode
from common.junction import Junction, name_order


class JunctionRef(msgspec.Struct, frozen=True):
    """A junction."""

    id: UUID
    name: str


class HeadItem(msgspec.Struct, frozen=True):
    """What one movement shows since when. `aspect` null: nothing is known of it."""

    phase: int
    movement: str | None
    aspect: Aspect | None
    since: datetime | None


class QueueItem(msgspec.Struct, frozen=True):
    """How many were before a lane's stop line at `at`, as far as its camera sees; `standing` of them stood."""

    lane: str
    at: datetime
    n: int
    standing: int | None


class SignalsAnswer(msgspec.Struct, frozen=True):
    """How a junction's lights are, as their event log tells. All null: they have told nothing yet."""

    junction: JunctionRef
    as_of: datetime
    description: Junction | None
    """Lanes, movements, stages and plans, as the lights told them when they started."""
    movements: list[HeadItem]
    stage: str | None
    """Whose movements go or are being cleared; null while nobody goes."""
    mode: SignalMode | None
    flash: str | None
    """Why everything flashes or is dark: `order`, `fault`, `monitor`, `start_up`, `dark`."""
    plan: str | None
    algorithm: str | None
    """Of the last cycle."""
    queues: list[QueueItem]
    last_at: datetime | None
    """Time of the latest event. Lights that run tell something at least once a minute."""
    received_at: datetime | None
    """When the collector last heard of whoever drives them."""


class LaneItem(msgspec.Struct, frozen=True):
    """What a lane got and gave in a cycle. `vehicles` null: not measured."""

    lane: str
    vehicles: int | None
    green_s: float
    yellow_s: float
    red_s: float
    saturation: float | None
    """Demand over capacity."""
    tags: int
    """How many tags were read; which they are is told to admins alone, and written down."""


class CycleItem(msgspec.Struct, frozen=True):
    """The `length_s` that end at `at`."""

    at: datetime
    at_error_ms: int
    device: UUID
    length_s: float
    mode: str
    algorithm: str
    plan: str | None
    lanes: list[LaneItem]


class CycleList(msgspec.Struct, frozen=True):
    """A page of cycles, newest first. `next` null: there are no earlier ones."""

    cycles: list[CycleItem]
    next: str | None


_EXAMPLE_CYCLES = {
    "cycles": [
        {
            "at": "2026-05-04T10:00:57Z",
            "at_error_ms": 0,
            "device": "0198a6a2-6f0e-7c3e-9a51-0d6e3f1f2b11",
            "length_s": 61.0,
            "mode": "automatic",
            "algorithm": "adaptive",
            "plan": "day",
            "lanes": [
                {
                    "lane": "north",
                    "vehicles": 11,
                    "green_s": 27.0,
                    "yellow_s": 3.0,
                    "red_s": 31.0,
                    "saturation": 0.81,
                    "tags": 0,
                }
            ],
        }
    ],
    "next": "2026-05-04T10:00:57.000000Z_3_8123",
}

JunctionId = Annotated[UUID, PathParameter(description="Id of the junction.")]
Limit = Annotated[int, QueryParameter(name="limit", ge=1, le=500, description="How many to return.")]
Before = Annotated[
    str | None, QueryParameter(name="before", description="`next` of the page before.", max_length=100)
]


def lights_routes(pool: Pool) -> list[HTTPRouteHandler]:
    """The handlers."""

    @get(
        "/api/junctions/{junction_id:uuid}/signals",
        operation_id="junctionSignals",
        summary="What a junction's lights show",
        tags=["junctions"],
        responses={
            200: ResponseSpec(SignalsAnswer, description="As of now.", generate_examples=False),
            **problem_specs(NO_JUNCTION, 404),
        },
    )
    async def junction_signals(junction_id: JunctionId) -> SignalsAnswer:
        """Follow `/api/live` for what changes."""
        found = await read_junction_lights(pool, junction_id)
        if found is None:
            raise _no_junction(junction_id)
        return signals_answer(found)

    @get(
        "/api/junctions/{junction_id:uuid}/cycles",
        operation_id="junctionCycles",
        summary="A junction's signal cycles, newest first",
        tags=["junctions"],
        responses={
            200: ResponseSpec(CycleList, description="A page of them.", examples=[Example(value=_EXAMPLE_CYCLES)]),
            **problem_specs(NO_JUNCTION, 404),
        },
    )
    async def junction_cycles(junction_id: JunctionId, limit: Limit = 20, before: Before = None) -> CycleList:
        found = await read_cycles(pool, junction_id, _place(before), limit + 1)
        if found is None:
            raise _no_junction(junction_id)
        page = found[:limit]
        return CycleList([_cycle(one) for one in page], _cursor(page[-1]) if len(found) > limit else None)

    return [junction_signals, junction_cycles]


def _no_junction(junction: UUID) -> NotFoundException:
    return NotFoundException(f"there is no junction {junction}; GET /api/junctions lists them")


def signals_answer(found: JunctionLights) -> SignalsAnswer:
    lights = found.lights
    return SignalsAnswer(
        junction=JunctionRef(found.id, found.name),
        as_of=found.as_of,
        description=found.junction,
        movements=[HeadItem(head.phase, head.name, head.aspect, head.since) for head in lights.heads],
        stage=lights.stage,
        mode=lights.mode,
        flash=lights.flash,
        plan=lights.plan,
        algorithm=found.algorithm,
        queues=[QueueItem(lane, zone.at, zone.n, zone.n_standing) for lane, zone in found.zones.items()],
        last_at=found.last_at,
        received_at=found.received_at,
    )


def _cycle(cycle: Cycle) -> CycleItem:
    lanes = msgspec.convert(cycle.lanes, list[LaneItem])
    lanes.sort(key=lambda one: name_order(one.lane))
    head = (cycle.at, cycle.at_error_ms, cycle.device)
    return CycleItem(*head, cycle.length_s, cycle.mode, cycle.algorithm, cycle.plan, lanes)


def _cursor(cycle: Cycle) -> str:
    return f"{cycle.at:%Y-%m-%dT%H:%M:%S.%fZ}_{cycle.stream_no}_{cycle.seq}"


def _place(cursor: str | None) -> Place:
    """Where a page begins.

    Raises:
        ApiProblem: it is no cursor.
    """
    if cursor is None:
        return Place()
    try:
        at, stream_no, seq = cursor.split("_")
        place = Place(datetime.fromisoformat(at), int(stream_no), int(seq))
        if place.at.tzinfo is None or not (0 <= place.stream_no < 2**31 and 0 <= place.seq <= 2**62):
            raise ValueError
    except ValueError as error:
        raise ApiProblem(
            400, "bad_query", "The query cannot be answered", "before: give `next` of the page before, unchanged"
        ) from error
    return place
