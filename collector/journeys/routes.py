"""`GET /api/analytics/journeys`, `.../junction/{id}/visitors`, and an admin's `.../tags/{epc}`."""

from datetime import UTC, date, datetime, timedelta
from itertools import groupby
from typing import Annotated, Any
from uuid import UUID

import msgspec
from litestar import Request, get
from litestar.handlers import HTTPRouteHandler
from litestar.openapi.datastructures import ResponseSpec
from litestar.openapi.spec import Example
from litestar.params import PathParameter, QueryParameter

from collector.db import Pool
from collector.identity.access import Access
from collector.identity.users import Role
from collector.journeys.distribution import Bin, Visits, by_visits, histogram
from collector.journeys.queries import (
    Journeys,
    Readers,
    TagPassage,
    Visitors,
    read_journeys,
    read_tag,
    read_visitors,
)
from collector.logs.queries import Said, post_logs
from collector.ops.parameters import From, To, check_text, time_range

_TAGS = ["analytics"]
_LONGEST = timedelta(days=62)
_MONTH = timedelta(days=31)


class JunctionRef(msgspec.Struct, frozen=True):
    """A junction."""

    id: UUID
    name: str


class End(msgspec.Struct, frozen=True):
    """One end of the way: `passages` with a tag, of which `matched_share` belong to a journey."""

    junction: JunctionRef
    readers: int
    passages: int
    matched_share: float | None
    """Null: there are no passages, or too few journeys."""


class TravelTimes(msgspec.Struct, frozen=True):
    """How long the journeys took."""

    p5_s: float
    p15_s: float
    p50_s: float
    p85_s: float
    p95_s: float
    histogram: list[Bin]


class JourneysAnswer(msgspec.Struct, frozen=True, rename={"from_": "from"}):
    """Journeys that began between `since` and `until`. `travel` null: they were fewer than `smallest_group`.

    Passages without a tag, and those whose time is not known well, could not be matched. Of tags that are hashed,
    what began under one key and ended under the next could not either; there were `hash_keys` keys.
    """

    since: datetime
    until: datetime
    from_: End
    to: End
    n: int | None
    """Null: fewer than `smallest_group`, but not none."""
    smallest_group: int
    travel: TravelTimes | None
    untagged: int
    untimed: int
    hashed: int
    hash_keys: int


class DayItem(msgspec.Struct, frozen=True):
    """A day of the junction's own zone. Null: fewer than `smallest_group`."""

    day: date
    tags: int | None
    returning_share: float | None
    """Of its tags, those that came twice or more that day."""


class VisitorsAnswer(msgspec.Struct, frozen=True):
    """How often tags came. A tag that came on two days is two in `visits`; hashed tags change with their key."""

    since: datetime
    until: datetime
    junction: JunctionRef
    readers: int
    smallest_group: int
    visits: list[Visits]
    """By number of visits on a day; groups below `smallest_group` are left out."""
    some_hidden: bool
    tags: int | None
    of_several_days_share: float | None
    days: list[DayItem]


class PassageItem(msgspec.Struct, frozen=True):
    """Where a tag was read."""

    at: datetime
    at_error_ms: int
    junction: JunctionRef | None
    device: str
    sensor: str
    source: str


class TagAnswer(msgspec.Struct, frozen=True):
    """Where a tag was read, newest first. That it was looked up, and by whom, is in the log."""

    passages: list[PassageItem]
    cycles: int
    """Lanes' cycles in which it was noted."""


_SQUARE = {"id": "8f3f9a70-1f9d-4a7c-8a50-3f1f0c1e2d3a", "name": "Market Square"}
_BRIDGE = {"id": "1b3f9a70-1f9d-4a7c-8a50-3f1f0c1e2d3b", "name": "Old Bridge"}
_SPAN = {"since": "2026-05-04T00:00:00Z", "until": "2026-05-05T00:00:00Z"}
_JOURNEYS_EXAMPLE = {
    **_SPAN,
    "from": {"junction": _SQUARE, "readers": 2, "passages": 812, "matched_share": 0.31},
    "to": {"junction": _BRIDGE, "readers": 1, "passages": 640, "matched_share": 0.39},
    "n": 252,
    "smallest_group": 5,
    "travel": {
        "p5_s": 71.0,
        "p15_s": 80.5,
        "p50_s": 104.0,
        "p85_s": 161.2,
        "p95_s": 240.9,
        "histogram": [{"from_s": 0, "to_s": 100, "n": 118}, {"from_s": 100, "to_s": 200, "n": 134}],
    },
    "untagged": 0,
    "untimed": 3,
    "hashed": 1452,
    "hash_keys": 1,
}
_VISITORS_EXAMPLE = {
    **_SPAN,
    "junction": _SQUARE,
    "readers": 2,
    "smallest_group": 5,
    "visits": [{"visits": 1, "tags": 611}, {"visits": 2, "tags": 84}],
    "some_hidden": True,
    "tags": 702,
    "of_several_days_share": None,
    "days": [{"day": "2026-05-04", "tags": 702, "returning_share": 0.13}],
}
_TAG_EXAMPLE = {
    "passages": [
        {
            "at": "2026-05-04T10:00:57Z",
            "at_error_ms": 0,
            "junction": _SQUARE,
            "device": "pi north",
            "sensor": "gate",
            "source": "gate",
        }
    ],
    "cycles": 1,
}

FromJunction = Annotated[str, QueryParameter(name="from_junction", description="Name or id: where they begin.")]
ToJunction = Annotated[str, QueryParameter(name="to_junction", description="Name or id: where they end.")]
MaxTravel = Annotated[
    int,
    QueryParameter(
        name="max_travel_s", ge=1, le=86_400, description="Whoever takes longer stopped on the way: no journey."
    ),
]
JunctionId = Annotated[UUID, PathParameter(description="Id of the junction.")]
Apart = Annotated[
    int,
    QueryParameter(
        name="apart_s", ge=0, le=86_400, description="Passages that follow each other sooner are one visit."
    ),
]
Epc = Annotated[str, PathParameter(description="As it is stored: raw, or `h1:KEY:HASH`.", max_length=8000)]


def journey_routes(pool: Pool, access: Access, smallest_group: int) -> list[HTTPRouteHandler]:
    """The handlers. `smallest_group`: nothing is told of fewer tags."""
    return [_journeys(pool, smallest_group), _visitors(pool, smallest_group), _tag(pool, access)]


def _journeys(pool: Pool, smallest_group: int) -> HTTPRouteHandler:
    @get(
        "/api/analytics/journeys",
        operation_id="journeys",
        summary="Travel times of tagged vehicles between two junctions",
        description=(
            "A passage at the second junction of a tag that was last seen at the first one ends a journey: there"
            f" and back again are several, and each passage belongs to one at most. At most {_LONGEST.days} days."
        ),
        tags=_TAGS,
        responses={
            200: ResponseSpec(
                JourneysAnswer, description="The journeys.", examples=[Example(value=_JOURNEYS_EXAMPLE)]
            )
        },
    )
    async def journeys(
        from_junction: FromJunction,
        to_junction: ToJunction,
        start: From = None,
        end: To = None,
        max_travel_s: MaxTravel = 3600,
    ) -> JourneysAnswer:
        since, until = time_range(start, end, longest=_LONGEST)
        check_text("from_junction", from_junction)
        check_text("to_junction", to_junction)
        found = await read_journeys(pool, from_junction, to_junction, since, until, max_travel_s)
        return _journeys_answer(since, until, *found, smallest_group)

    return journeys


def _visitors(pool: Pool, smallest_group: int) -> HTTPRouteHandler:
    @get(
        "/api/analytics/junction/{junction_id:uuid}/visitors",
        operation_id="visitors",
        summary="How often tagged vehicles come to a junction",
        description=f"By days of the junction's own zone. At most {_LONGEST.days} days; default: the last 31.",
        tags=_TAGS,
        responses={
            200: ResponseSpec(
                VisitorsAnswer, description="The visits.", examples=[Example(value=_VISITORS_EXAMPLE)]
            )
        },
    )
    async def visitors(
        junction_id: JunctionId, start: From = None, end: To = None, apart_s: Apart = 600
    ) -> VisitorsAnswer:
        since, until = time_range(start, end, default=_MONTH, longest=_LONGEST)
        found = await read_visitors(pool, junction_id, since, until, apart_s)
        return _visitors_answer(since, until, found, smallest_group)

    return visitors


def _tag(pool: Pool, access: Access) -> HTTPRouteHandler:
    @get(
        "/api/analytics/tags/{epc:str}",
        operation_id="tag",
        summary="Where one tag was read",
        description=f"For admins. Each look-up is written down in the log. At most {_MONTH.days} days.",
        tags=_TAGS,
        guards=[access.requires(Role.ADMIN)],
        responses={
            200: ResponseSpec(TagAnswer, description="Its passages.", examples=[Example(value=_TAG_EXAMPLE)])
        },
    )
    async def tag(epc: Epc, request: Request[Any, Any, Any], start: From = None, end: To = None) -> TagAnswer:
        since, until = time_range(start, end, longest=_MONTH)
        check_text("epc", epc)
        user = await access.current_user(request)
        assert user is not None, "the route has a guard"
        # Before the answer, and without the tag itself: the log is read by more than admins.
        context: dict[str, Any] = {"from": since.isoformat(), "to": until.isoformat()}
        said = Said(datetime.now(UTC), "warning", "tag_looked_up", "a tag was looked up", context, None)
        await post_logs(pool, [said], user.id, user.name)
        passages, cycles = await read_tag(pool, epc, since, until)
        return TagAnswer([_passage(one) for one in passages], cycles)

    return tag


def _passage(found: TagPassage) -> PassageItem:
    junction = None
    if found.junction_id is not None and found.junction_name is not None:
        junction = JunctionRef(found.junction_id, found.junction_name)
    where = (junction, found.device_name, found.sensor, found.source)
    return PassageItem(found.at, found.at_error_ms, *where)


def _journeys_answer(
    since: datetime, until: datetime, first: Readers, second: Readers, found: Journeys, smallest_group: int
) -> JourneysAnswer:
    travel = None
    is_large = found.n >= smallest_group
    if is_large and found.percentiles_s is not None:
        p5_s, p15_s, p50_s, p85_s, p95_s = (round(value, 1) for value in found.percentiles_s)
        travel = TravelTimes(p5_s, p15_s, p50_s, p85_s, p95_s, histogram(found.by_second, p95_s))
    hidden = 0 < found.n < smallest_group
    shares = [
        None if hidden or not n or 0 < matched < smallest_group else round(matched / n, 4)
        for matched, n in ((found.n, found.n_from), (found.n_ended_inside, found.n_to))
    ]
    return JourneysAnswer(
        since,
        until,
        End(JunctionRef(first.id, first.name), len(first.readers), found.n_from, shares[0]),
        End(JunctionRef(second.id, second.name), len(second.readers), found.n_to, shares[1]),
        None if hidden else found.n,
        smallest_group,
        travel,
        found.n_untagged,
        found.n_untimed,
        found.n_hashed,
        found.n_keys,
    )


def _visitors_answer(since: datetime, until: datetime, found: Visitors, smallest_group: int) -> VisitorsAnswer:
    visits, some_hidden = by_visits(((group.visits, group.tags) for group in found.groups), smallest_group)
    days = []
    for day, groups in groupby(found.groups, key=lambda group: group.day):
        tags = {group.visits: group.tags for group in groups}
        n, n_once = sum(tags.values()), tags.get(1, 0)
        # Neither those who came back nor those who did not may be too few, unless they are none.
        told = n >= smallest_group and all(part == 0 or part >= smallest_group for part in (n_once, n - n_once))
        days.append(DayItem(day, n if n >= smallest_group else None, round(1 - n_once / n, 4) if told else None))
    several, rest = found.tags_of_several_days, found.tags - found.tags_of_several_days
    told = found.tags >= smallest_group and all(part == 0 or part >= smallest_group for part in (several, rest))
    return VisitorsAnswer(
        since,
        until,
        JunctionRef(found.junction.id, found.junction.name),
        len(found.junction.readers),
        smallest_group,
        visits,
        some_hidden,
        found.tags if found.tags >= smallest_group else None,
        round(several / found.tags, 4) if told else None,
        days,
    )
