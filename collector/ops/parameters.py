"""What queries of many routes have in common: times, and how a parameter that cannot be used is told."""

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated

from litestar.openapi.spec import Example
from litestar.params import QueryParameter

from collector.errors import ApiProblem

DEFAULT_SPAN = timedelta(days=1)

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
    """An RFC 3339 time. A `+` that was not escaped arrives as a space, and is taken for what it was."""
    repaired = re.sub(r" (?=\d\d:\d\d$)", "+", text)
    try:
        found = datetime.fromisoformat(repaired)
    except ValueError:
        found = None
    if found is None or found.tzinfo is None:
        raise unusable(
            parameter, f"{text!r} is not a time with an offset from UTC, such as 2026-05-04T08:00:00+02:00 or ...Z"
        )
    if not 1970 <= found.year <= 2200:
        raise unusable(parameter, f"{text!r} lies outside the years 1970 to 2200")
    return found.astimezone(UTC)


def time_range(
    start: str | None, end: str | None, *, default: timedelta = DEFAULT_SPAN, longest: timedelta | None = None
) -> tuple[datetime, datetime]:
    """What `from` and `to` say. `default`: how long it is where `from` is not given.

    Raises:
        ApiProblem: one of them is no time, they are the wrong way round, or they lie further apart than `longest`.
    """
    until = moment("to", end) if end is not None else datetime.now(UTC)
    since = moment("from", start) if start is not None else until - default
    if since >= until:
        raise unusable("from", f"{since.isoformat()} is not before `to` ({until.isoformat()})")
    if longest is not None and until - since > longest:
        raise unusable("from", f"{(until - since).days} days are asked for; at most {longest.days} at once")
    return since, until


def check_text(parameter: str, *texts: str | None) -> None:
    """ApiProblem (400) for what PostgreSQL does not take."""
    if any("\x00" in text for text in texts if text):
        raise unusable(parameter, "it holds a NUL character, which no text here does")


def unusable(parameter: str, detail: str) -> ApiProblem:
    """The answer to a parameter that cannot be used: 400."""
    return ApiProblem(
        400, "parameter_invalid", "A parameter cannot be used", f"{parameter}: {detail}", parameter=parameter
    )
