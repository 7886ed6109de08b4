"""`GET /api/fleet/rejects`: what was put aside, and why."""

from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec
from litestar import Request, Response, get
from litestar.handlers import HTTPRouteHandler
from litestar.openapi.datastructures import ResponseSpec
from litestar.openapi.spec import Example
from litestar.params import QueryParameter

from collector.counting.routes import DeviceRef, JunctionRef
from collector.db import Pool
from collector.errors import ApiProblem
from collector.fleet.device_routes import Junctions, Text
from collector.fleet.rejects import Put, Reject, WantedRejects, read_rejects
from collector.identity.access import Access, check_role
from collector.identity.tags import may_name_tags, without_quotes
from collector.identity.users import Role
from collector.logs.queries import Said, post_logs
from collector.ops.etag import NOT_MODIFIED, etagged
from collector.ops.parameters import Limit
from common.codes import RejectCode

RAW_CHARACTERS = 4000
"""Of the raw text of a reject; the table has all of it."""


class RejectItem(msgspec.Struct, frozen=True):
    """A record that was put aside instead of stored: which it was, and why.

    `raw` is its text as it came, or the beginning of it where `raw_length` is more. Null: it may name tags, and is
    withheld, as is what `detail` quotes of it; admins get it with `tags`.
    """

    received_at: datetime
    device: DeviceRef
    junction: JunctionRef | None
    stream: str
    seq: int
    code: str
    """`malformed`, `unknown_kind`, `time_implausible` or `not_storable`."""
    detail: str
    raw: str | None
    raw_length: int
    seen: bool
    """An admin marked it as dealt with."""


class RejectList(msgspec.Struct, frozen=True):
    """A page of rejects, newest first. `next` null: it was the last one."""

    rejects: list[RejectItem]
    next: str | None


_EXAMPLE = {
    "rejects": [
        {
            "received_at": "2026-05-04T10:00:58Z",
            "device": {"id": "5d1c0e0a-7c1b-4d43-8f34-6f2c2b0c7d01", "name": "pi north"},
            "junction": {"id": "8f3f9a70-1f9d-4a7c-8a50-3f1f0c1e2d3a", "name": "Market Square"},
            "stream": "agent",
            "seq": 4711,
            "code": "time_implausible",
            "detail": "at: 2041-01-01T00:00:00Z lies in the future",
            "raw": '["count", 4711, 2240524800000, 0]',
            "raw_length": 33,
            "seen": False,
        }
    ],
    "next": None,
}

Devices = Annotated[
    list[Text] | None, QueryParameter(name="device", description="Name or id of a device; repeatable.")
]
Codes = Annotated[list[RejectCode] | None, QueryParameter(name="code", description="Why; repeatable.")]
OpenOnly = Annotated[bool, QueryParameter(name="open", description="Only those that nobody marked as seen.")]
WithTags = Annotated[
    bool,
    QueryParameter(
        name="tags",
        description="Also the text of what may name tags: for admins, and it is written down in the log.",
    ),
]
Cursor = Annotated[
    str | None, QueryParameter(name="cursor", max_length=100, description="`next` of the page before.")
]


def reject_routes(pool: Pool, access: Access) -> list[HTTPRouteHandler]:
    """The handlers."""

    @get(
        "/api/fleet/rejects",
        operation_id="rejects",
        summary="What was put aside",
        description="Records that came and could not be stored, with their raw text and the reason, newest first.",
        tags=["fleet"],
        responses={
            200: ResponseSpec(RejectList, description="A page of them.", examples=[Example(value=_EXAMPLE)]),
            **NOT_MODIFIED,
        },
    )
    async def rejects(
        request: Request[Any, Any, Any],
        device: Devices = None,
        junction: Junctions = None,
        code: Codes = None,
        open_only: OpenOnly = False,
        with_tags: WithTags = False,
        cursor: Cursor = None,
        limit: Limit = 100,
    ) -> Response[RejectList]:
        if with_tags:
            check_role(await access.needed_user(request), Role.ADMIN)
        after = None if cursor is None else _place(cursor)
        wanted = WantedRejects(device or (), junction or (), code or (), open_only, after)
        found = await read_rejects(pool, wanted, limit=limit + 1, raw_characters=RAW_CHARACTERS)
        more = len(found) > limit
        items = [_item(each, with_tags) for each in found[:limit]]
        answer = RejectList(items, _cursor(found[limit - 1]) if more else None)
        if not with_tags:
            return etagged(request, answer)
        await _write_down(pool, access, request)
        return Response(answer, headers={"Cache-Control": "no-store"})

    return [rejects]


async def _write_down(pool: Pool, access: Access, request: Request[Any, Any, Any]) -> None:
    """Before the answer, that somebody read what may name tags."""
    user = await access.needed_user(request)
    message = "records that were put aside were read with their tags"
    said = Said(datetime.now(UTC), "warning", "rejects_read_with_tags", message, {}, None)
    await post_logs(pool, [said], user.id, user.name)


def _item(reject: Reject, with_tags: bool) -> RejectItem:
    shows_all = with_tags or not may_name_tags(reject.raw)
    junction = None
    if reject.junction_id is not None and reject.junction_name is not None:
        junction = JunctionRef(reject.junction_id, reject.junction_name)
    return RejectItem(
        received_at=reject.received_at,
        device=DeviceRef(reject.device_id, reject.device_name),
        junction=junction,
        stream=reject.stream,
        seq=reject.seq,
        code=reject.code,
        detail=reject.detail if shows_all else without_quotes(reject.detail),
        raw=reject.raw if shows_all else None,
        raw_length=reject.raw_length,
        seen=reject.seen,
    )


def _cursor(reject: Reject) -> str:
    return f"{reject.received_at:%Y-%m-%dT%H:%M:%S.%fZ}_{reject.stream_no}_{reject.seq}"


def _place(cursor: str) -> Put:
    """Where a page begins. Raises ApiProblem: it is no cursor."""
    try:
        at, stream_no, seq = cursor.split("_")
        place = Put(datetime.fromisoformat(at), int(stream_no), int(seq))
        if place.received_at.tzinfo is None or not (0 <= place.stream_no < 2**31 and 0 <= place.seq < 2**63):
            raise ValueError
    except ValueError as error:
        raise ApiProblem(
            400, "bad_query", "The query cannot be answered", "cursor: give `next` of the page before, unchanged"
        ) from error
    return place
