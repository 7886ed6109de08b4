"""`GET /api/junctions` and `GET /api/junctions/{id}`."""

from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import UUID

import msgspec
from litestar import Request, Response, get
from litestar.handlers import HTTPRouteHandler
from litestar.openapi.datastructures import ResponseSpec
from litestar.openapi.spec import Example
from litestar.params import FromPath, QueryParameter

from collector.db import Pool
from collector.errors import ApiProblem
from collector.identity.access import Access, CurrentUser
from collector.identity.users import Level
from collector.junctions.details import JunctionDetails, read_details
from collector.junctions.editing import unknown_junction
from collector.junctions.examples import DETAILS_EXAMPLE, JUNCTIONS_EXAMPLE, NO_JUNCTION
from collector.junctions.queries import Freshness, Junction, Listing, Sort, level_for, read_junctions
from collector.ops.etag import NOT_MODIFIED, etagged
from collector.ops.parameters import Limit, Offset
from collector.ops.problems import problem_specs


class JunctionItem(msgspec.Struct, frozen=True):
    """A junction. `counts_today` null: nothing was measured since midnight there (`today_from`).

    Each vehicle once: where cameras have lines it is what crossed those, else the visits of their zones, else what
    tag readers counted. Of all classes, people too, and at all lines; `vehicles` of `.../daily` are those at the
    stop lines that the lights' description names, without people.
    """

    id: UUID
    name: str
    timezone: str
    location: str | None
    latitude: float | None
    longitude: float | None
    devices: int
    active_devices: int
    """Of them, those that were not revoked."""
    sources: int
    state: Freshness
    """`live`: heard within 2 minutes, `late`: within 15, `silent`: longer ago, `never`."""
    received_at: datetime | None
    """When it was last heard."""
    last_at: datetime | None
    """The time of its latest record."""
    today_from: datetime
    counts_today: int | None
    has_lights: bool
    """Its lights have told what they are: `/api/junctions/{id}/signals` has more."""
    mode: str | None
    """Who decides what the lights show, as they last told."""
    access: Level
    """What you may here."""


class JunctionList(msgspec.Struct, frozen=True):
    """A page of junctions. `next_offset` None: it was the last one."""

    junctions: list[JunctionItem]
    next_offset: int | None


Junctions = Annotated[
    list[str] | None, QueryParameter(name="junction", description="Name or id of a junction; repeatable.")
]


Search = Annotated[
    str | None, QueryParameter(name="q", max_length=100, description="A part of the name, capitals or not.")
]
States = Annotated[list[Freshness] | None, QueryParameter(name="state", description="Of this state; repeatable.")]
HasLights = Annotated[bool | None, QueryParameter(name="has_lights", description="Whose lights have told.")]
Order = Annotated[Sort, QueryParameter(name="sort", description="`-` is downwards; those without one come last.")]

AnyRequest = Request[Any, Any, Any]


def junction_routes(pool: Pool, access: Access | None = None) -> list[HTTPRouteHandler]:
    """The handlers. `access` tells who asks; None: nobody does who has a name."""

    @get(
        "/api/junctions",
        operation_id="junctions",
        summary="The junctions, and how they are today",
        description="What waits to be rolled up is in `counts_today` already.",
        tags=["junctions"],
        responses={
            200: ResponseSpec(
                JunctionList, description="A page of them.", examples=[Example(value=JUNCTIONS_EXAMPLE)]
            ),
            **NOT_MODIFIED,
            **problem_specs({}),
        },
    )
    async def junctions(
        request: AnyRequest,
        junction: Junctions = None,
        q: Search = None,
        states: States = None,
        has_lights: HasLights = None,
        sort: Order = Sort.NAME,
        limit: Limit = 100,
        offset: Offset = 0,
    ) -> Response[JunctionList]:
        user = await who_asks(access, request)
        listing = Listing(junction, q, states, has_lights, sort, user)
        check_texts(q=q, junction=junction)
        found = await read_junctions(pool, listing, limit=limit + 1, offset=offset)
        items = [_item(each, user) for each in found[:limit]]
        return etagged(request, JunctionList(items, offset + limit if len(found) > limit else None))

    @get(
        "/api/junctions/{junction_id:uuid}",
        operation_id="junction",
        summary="A junction with its lanes and devices",
        tags=["junctions"],
        responses={
            200: ResponseSpec(
                JunctionDetails, description="All of it.", examples=[Example(value=DETAILS_EXAMPLE)]
            ),
            **NOT_MODIFIED,
            **problem_specs(NO_JUNCTION, 404),
        },
    )
    async def junction_details(junction_id: FromPath[UUID], request: AnyRequest) -> Response[JunctionDetails]:
        found = await read_details(pool, junction_id, await who_asks(access, request))
        if found is None:
            raise unknown_junction(junction_id)
        return etagged(request, found, version=found.version)

    return [junctions, junction_details]


async def who_asks(access: Access | None, request: AnyRequest) -> CurrentUser | None:
    """Who asks where nobody has to; None: nobody who signed in."""
    if access is None:
        return None
    try:
        return await access.current_user(request)
    except ApiProblem:
        # Where a user is needed the route's guard has looked already.
        return None


def check_texts(**texts: str | list[str] | None) -> None:
    """Raises ApiProblem (400) for a NUL in a query, which the database does not take."""
    for name, text in texts.items():
        if text is not None and any("\x00" in one for one in ([text] if isinstance(text, str) else text)):
            raise ApiProblem(400, "bad_request", "Not a text", f"{name}: holds a NUL character; leave it out")


def _item(junction: Junction, user: CurrentUser | None) -> JunctionItem:
    return JunctionItem(
        id=junction.id,
        name=junction.name,
        timezone=junction.timezone,
        location=junction.location,
        latitude=junction.latitude,
        longitude=junction.longitude,
        devices=junction.devices,
        active_devices=junction.active_devices,
        sources=junction.sources,
        state=junction.state,
        received_at=junction.received_at,
        last_at=junction.last_at,
        today_from=junction.today.astimezone(UTC),
        counts_today=junction.counts_today,
        has_lights=junction.has_lights,
        mode=junction.mode,
        access=level_for(user, junction.level),
    )
