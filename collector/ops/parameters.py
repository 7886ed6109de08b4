"""What queries of many routes have in common: times, and how a parameter that cannot be used is told."""

import re
from datetime import UTC, date, datetime, time, timedelta
from typing import Annotated, Any
from zoneinfo import ZoneInfo

from litestar import Request
from litestar.openapi.spec import Example
from litestar.params import QueryParameter
from litestar.typing import FieldDefinition

from collector.errors import ApiProblem
from common.junction_shape import hint

_OF_DEVICES = re.compile("/api/(ingest|device)/")
DEFAULT_SPAN = timedelta(days=1)
_AN_INSTANT = "a time with an offset from UTC, such as 2026-05-04T08:00:00+02:00 or ...Z"

From = Annotated[
    str | None,
    QueryParameter(
        name="from",
        description="RFC 3339 time; what happened from then on. Default: a day before `to`.",
        examples=[Example(value="2026-05-04T00:00:00+02:00")],
    ),
]
To = Annotated[
    str | None,
    QueryParameter(
        name="to",
        description="RFC 3339 time; what happened before it. Default: now.",
        examples=[Example(value="2026-05-05T00:00:00+02:00")],
    ),
]
Limit = Annotated[int, QueryParameter(name="limit", ge=1, le=1000, description="How many to return.")]
Offset = Annotated[int, QueryParameter(name="offset", ge=0, le=2**31, description="How many to leave out first.")]


def moment(parameter: str, text: str) -> datetime:
    """An RFC 3339 time, in UTC. Raises ApiProblem: it is none."""
    found = _told(parameter, text)
    if not isinstance(found, datetime):
        raise unusable(parameter, f"{text[:100]!r} is not {_AN_INSTANT}")
    return found.astimezone(UTC)


def moment_or_date(parameter: str, text: str) -> datetime | date:
    """An RFC 3339 time, or a date. Raises ApiProblem: it is neither."""
    found = _told(parameter, text)
    if found is None:
        raise unusable(parameter, f"{text[:100]!r} is neither a date, such as 2026-05-04, nor {_AN_INSTANT}")
    return found


def _told(parameter: str, text: str) -> datetime | date | None:
    """A `+` that was not escaped arrives as a space, and is taken for what it was."""
    repaired = re.sub(r" (?=\d\d:\d\d$)", "+", text)
    found: datetime | date
    try:
        is_date = re.fullmatch(r"\d{4}-\d\d-\d\d", text) is not None
        found = date.fromisoformat(text) if is_date else datetime.fromisoformat(repaired)
    except ValueError:
        return None
    if isinstance(found, datetime) and found.tzinfo is None:
        return None
    if not 1970 <= found.year <= 2200:
        raise unusable(parameter, f"{text[:100]!r} lies outside the years 1970 to 2200")
    return found


def time_range(
    start: str | None,
    end: str | None,
    *,
    default: timedelta = DEFAULT_SPAN,
    longest: timedelta | None = None,
    zone: str | None = None,
) -> tuple[datetime, datetime]:
    """What `from` and `to` say. `default`: how long it is where `from` is not given; `zone`: dates are taken too,
    as whole days there.

    Raises:
        ApiProblem: one of them is no time, they are the wrong way round, or they lie further apart than `longest`.
    """
    until = datetime.now(UTC) if end is None else _instant("to", end, zone, days_on=1)
    since = until - default if start is None else _instant("from", start, zone, days_on=0)
    if since >= until:
        raise not_before(start, end)
    if longest is not None and until - since > longest:
        raise unusable("from", f"{(until - since).days} days are asked for; at most {longest.days} at once")
    return since, until


def _instant(parameter: str, text: str, zone: str | None, *, days_on: int) -> datetime:
    """Of a date, when the day `days_on` after it begins there."""
    if zone is None:
        return moment(parameter, text)
    found = moment_or_date(parameter, text)
    if not isinstance(found, datetime):
        found = datetime.combine(found + timedelta(days=days_on), time(), ZoneInfo(zone))
    return found.astimezone(UTC)


def not_before(start: str | None, end: str | None) -> ApiProblem:
    """The answer to a `from` that does not lie before `to`, in the words in which they were asked."""
    return unusable("from", f"{start} is not before `to`, which is {end or 'now'}")


def check_text(parameter: str, *texts: str | None) -> None:
    """ApiProblem (400) for what PostgreSQL does not take."""
    if any("\x00" in text for text in texts if text):
        raise unusable(parameter, "it holds a NUL character, which no text here does")


async def check_query(request: Request[Any, Any, Any]) -> None:
    """ApiProblem (400) for a parameter that the route does not know, which would narrow nothing down, unnoticed;
    and for one that is given twice where one is meant. Devices may know more than their collector.

    It waits for nothing, but what is no coroutine would go through a thread, of which all together have few.
    """
    if not request.url.query or not request.url.path.startswith("/api/") or _OF_DEVICES.match(request.url.path):
        return
    known = {}
    for name, parameter in request.route_handler.parsed_fn_signature.parameters.items():
        told = parameter.kwarg_definition
        if isinstance(told, QueryParameter):
            known[told.name or name] = parameter
    given: set[str] = set()
    for name, _ in request.query_params.multi_items():
        if name not in known:
            raise unusable(name[:100], f"there is no such parameter here; {hint(name, known)}")
        if name in given and not _is_list(known[name]):
            raise unusable(name, "is given twice; give it once")
        given.add(name)


def _is_list(parameter: FieldDefinition) -> bool:
    return any(one.is_non_string_sequence for one in (parameter, *parameter.inner_types))


def unusable(parameter: str, detail: str) -> ApiProblem:
    """The answer to a parameter that cannot be used: 400."""
    return ApiProblem(
        400, "parameter_invalid", "A parameter cannot be used", f"{parameter}: {detail}", parameter=parameter
    )
