"""`GET /api/logs` and `POST /api/logs`."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
from litestar import Request, Response, get, post
from litestar.handlers import HTTPRouteHandler
from litestar.openapi.datastructures import ResponseSpec
from litestar.openapi.spec import Example
from litestar.params import JSONBody, QueryParameter
from msgspec import Meta

from collector.db import Pool
from collector.errors import ApiProblem
from collector.identity.access import Access, CurrentUser
from collector.identity.tags import names_tags, without_tags
from collector.identity.users import Role
from collector.logs.queries import Asked, LogRow, Place, Said, junctions_named, post_logs, read_logs
from collector.ops.etag import NOT_MODIFIED, etagged
from collector.ops.parameters import From, Limit, To, check_text, time_range, unusable
from collector.realtime.events import Delivery
from common.records import Log

MAX_POSTED = 1000
_MAX_AHEAD = timedelta(minutes=5)
_EARLIEST = datetime(2024, 1, 1, tzinfo=UTC)
_SPAN = timedelta(days=7)

Level = Literal["debug", "info", "warning", "error", "critical"]
Scalar = str | int | float | bool | None


class DeviceRef(msgspec.Struct, frozen=True):
    """The device that told it."""

    id: UUID
    name: str


class JunctionRef(msgspec.Struct, frozen=True):
    """The junction that it is about."""

    id: UUID
    name: str


class UserRef(msgspec.Struct, frozen=True):
    """Whoever posted it, by the name they had then."""

    id: UUID | None
    name: str


class LogItem(msgspec.Struct, frozen=True):
    """One line: of a device, or posted by a user. Where `context` names tags, only admins see which."""

    at: datetime
    at_error_ms: int
    level: str
    action: str
    message: str
    context: dict[str, Any]
    device: DeviceRef | None
    junction: JunctionRef | None
    said_by: UserRef | None


class LogList(msgspec.Struct, frozen=True):
    """A page of the log, newest first. `next` null: there is nothing earlier in the time that was asked for."""

    logs: list[LogItem]
    next: str | None


class LogLine(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is to be written down. `junction`: name or id; `at`: when it happened, where that is not now."""

    level: Level
    action: Annotated[str, Meta(min_length=1, max_length=100, examples=["loop_repaired"])]
    message: Annotated[str, Meta(max_length=8000, examples=["The loop of lane 2 was cut anew."])]
    context: dict[Annotated[str, Meta(max_length=100)], Scalar] = {}
    junction: Annotated[str, Meta(min_length=1, max_length=100)] | None = None
    at: datetime | None = None


class Posted(msgspec.Struct, frozen=True):
    """How many lines were written down."""

    written: int


_EXAMPLE = {
    "logs": [
        {
            "at": "2026-05-04T10:00:57Z",
            "at_error_ms": 0,
            "level": "warning",
            "action": "camera_black",
            "message": "north: the picture is black",
            "context": {"sensor": "north"},
            "device": {"id": "5d1c0e0a-7c1b-4d43-8f34-6f2c2b0c7d01", "name": "pi north"},
            "junction": {"id": "8f3f9a70-1f9d-4a7c-8a50-3f1f0c1e2d3a", "name": "Market Square"},
            "said_by": None,
        }
    ],
    "next": "2026-05-04T10:00:57.000000Z_3_8123",
}

Junctions = Annotated[
    list[str] | None, QueryParameter(name="junction", description="Name or id of a junction; repeatable.")
]
Devices = Annotated[
    list[str] | None, QueryParameter(name="device", description="Name or id of a device; repeatable.")
]
AtLeast = Annotated[Level | None, QueryParameter(name="level", description="At least this level.")]
Actions = Annotated[list[str] | None, QueryParameter(name="action", description="Such as `snapshot`; repeatable.")]
Text = Annotated[str | None, QueryParameter(name="text", max_length=200, description="A part of the message.")]
Context = Annotated[
    str | None,
    QueryParameter(
        name="context",
        max_length=4000,
        description="A JSON object that the context contains.",
        examples=[Example(value='{"sensor": "north"}')],
    ),
]
Cursor = Annotated[
    str | None, QueryParameter(name="cursor", max_length=100, description="`next` of the page before.")
]


def log_routes(pool: Pool, access: Access, publish: Callable[[Delivery], None]) -> list[HTTPRouteHandler]:
    """The handlers. To post, a user is needed even where reading is open; `publish` is given what was posted."""
    return [_reading_route(pool, access), _posting_route(pool, access, publish)]


def _reading_route(pool: Pool, access: Access) -> HTTPRouteHandler:
    @get(
        "/api/logs",
        operation_id="logs",
        summary="What devices, people and programs have to say",
        description="Newest first. Without `from`: of the seven days before `to`.",
        tags=["logs"],
        responses={
            200: ResponseSpec(LogList, description="A page of it.", examples=[Example(value=_EXAMPLE)]),
            **NOT_MODIFIED,
        },
    )
    async def logs(
        request: Request[Any, Any, Any],
        junction: Junctions = None,
        device: Devices = None,
        level: AtLeast = None,
        action: Actions = None,
        text: Text = None,
        context: Context = None,
        start: From = None,
        end: To = None,
        limit: Limit = 100,
        cursor: Cursor = None,
    ) -> Response[LogList]:
        since, until = time_range(start, end, default=_SPAN)
        named = {"junction": junction, "device": device, "action": action, "text": [text or ""]}
        for parameter, values in named.items():
            check_text(parameter, *(values or ()))
        filters = (junction, device, level, action, text)
        asked = Asked(since, until, limit + 1, _place(cursor), *filters, context=_context(context))
        user = await access.current_user(request)
        sees_tags = user is not None and user.role.at_least(Role.ADMIN)
        if not sees_tags and names_tags(asked.context or {}):
            raise ApiProblem(403, "role_too_low", "Not allowed", "context: to look for a tag needs the role admin")
        found = await read_logs(pool, asked)
        more = len(found) > limit
        items = [_item(row, sees_tags) for row in found[:limit]]
        return etagged(request, LogList(items, _cursor(found[limit - 1]) if more else None))

    return logs


def _posting_route(pool: Pool, access: Access, publish: Callable[[Delivery], None]) -> HTTPRouteHandler:
    @post(
        "/api/logs",
        operation_id="post_logs",
        summary="Write something down in the log",
        description=(
            f"For operators, and API tokens of that role. One line, or a list of up to {MAX_POSTED:,}: all are"
            " written down, or none. A line about a junction needs the right to operate it, and is told live to"
            " whoever watches it; one about none is seen by who wrote it, and by who sees all."
        ),
        tags=["logs"],
        guards=[access.requires(Role.OPERATOR)],
        responses={
            201: ResponseSpec(Posted, description="It is written down.", examples=[Example(value={"written": 1})])
        },
    )
    async def post_log(data: JSONBody[LogLine | list[LogLine]], request: Request[Any, Any, Any]) -> Posted:
        lines = data if isinstance(data, list) else [data]
        if not 1 <= len(lines) <= MAX_POSTED:
            raise ApiProblem(
                400, "body_invalid", "The body cannot be used", f"a list must have 1 to {MAX_POSTED} lines"
            )
        now = datetime.now(UTC)
        for number, line in enumerate(lines):
            _check_line(line, number, now)
        user = await access.needed_user(request)
        named = await junctions_named(pool, sorted({line.junction for line in lines if line.junction is not None}))
        await _check_may_write(access, user, named)
        said = [
            Said(
                line.at or now, line.level, line.action, line.message, line.context, named.get(line.junction or "")
            )
            for line in lines
        ]
        await post_logs(pool, said, user.id, user.name)
        for junction in set(named.values()):
            publish(_news([line for line in said if line.junction == junction], junction))
        return Posted(len(said))

    return post_log


async def _check_may_write(access: Access, user: CurrentUser, named: Mapping[str, UUID]) -> None:
    """Raises ApiProblem (403): the user sees one of the junctions, and may not operate it."""
    if not named:
        return
    rights = await access.still(user)
    for name, junction in named.items():
        if rights is None or not rights.may_operate(junction):
            raise ApiProblem(
                403,
                "junction_read_only",
                "Not allowed",
                f"junction={name}: {user.name} may read this junction and not operate it; an admin can grant that",
                parameter="junction",
            )


def _news(lines: Sequence[Said], junction: UUID) -> Delivery:
    """What is told to who watches the junction, without what only the log holds."""
    logs = [Log(1, round(line.at.timestamp() * 1000), 0, line.level, line.action, line.message) for line in lines]
    return Delivery(None, junction, lights=logs)


def _check_line(line: LogLine, number: int, now: datetime) -> None:
    at = line.at or now
    texts = [line.action, line.message, line.junction or "", *line.context]
    texts += [value for value in line.context.values() if isinstance(value, str)]
    if any("\x00" in text for text in texts):
        raise _bad_line(number, "a text holds a NUL character, which cannot be stored")
    if at.tzinfo is None or not _EARLIEST <= at <= now + _MAX_AHEAD:
        raise _bad_line(number, f"at must be a time with an offset from UTC, from 2024 on and not ahead of {now}")


def _bad_line(number: int, why: str) -> ApiProblem:
    return ApiProblem(400, "body_invalid", "The body cannot be used", f"line {number}: {why}", line=number)


def _context(text: str | None) -> dict[str, Any] | None:
    if text is None:
        return None
    try:
        found = msgspec.json.decode(text, type=dict[str, Any])
    except (msgspec.MsgspecError, UnicodeEncodeError, RecursionError) as error:
        raise unusable("context", f"it is no JSON object: {error}") from error
    if "\\u0000" in text or "\x00" in text:
        raise unusable("context", "it holds a NUL character, which no context does")
    return found


def _item(row: LogRow, sees_tags: bool) -> LogItem:
    device = junction = said_by = None
    if row.device_id is not None and row.device_name is not None:
        device = DeviceRef(row.device_id, row.device_name)
    if row.junction_id is not None and row.junction_name is not None:
        junction = JunctionRef(row.junction_id, row.junction_name)
    if row.said_by_name is not None:
        said_by = UserRef(row.said_by, row.said_by_name)
    line = (row.level, row.action, row.message, row.context if sees_tags else without_tags(row.context))
    return LogItem(row.at, row.at_error_ms, *line, device, junction, said_by)


def _cursor(row: LogRow) -> str:
    return f"{row.at:%Y-%m-%dT%H:%M:%S.%fZ}_{row.stream_no}_{row.seq}"


def _place(cursor: str | None) -> Place:
    if cursor is None:
        return Place()
    try:
        at, stream_no, seq = cursor.split("_")
        place = Place(datetime.fromisoformat(at), int(stream_no), int(seq))
    except ValueError as error:
        raise unusable("cursor", "give `next` of the page before, unchanged") from error
    if place.at.tzinfo is None or not (0 <= place.stream_no < 2**31 and 0 <= place.seq <= 2**62):
        raise unusable("cursor", "give `next` of the page before, unchanged")
    return place
