"""Questions that are answered from hours: very many that are not kept yet are made when asked for."""

from collections.abc import Awaitable, Callable
from typing import TypeVar
from uuid import UUID

from collector.analytics.hourly import HourlyWorker
from collector.analytics.hours import HoursLacking
from collector.analytics.period import Asked, read_asked
from collector.db import Connection, Pool, reading
from collector.errors import ApiProblem

_WITHIN_S = 4.0
"""How long one who asks waits for hours that are made."""
_RETRY_S = 1.0

_Answer = TypeVar("_Answer")
_Read = Callable[[Connection, Asked], Awaitable[_Answer]]


async def answer_by_hours(
    pool: Pool, junction: UUID, start: str | None, end: str | None, read: _Read[_Answer]
) -> _Answer:
    """What `read` answers.

    Raises:
        ApiProblem: too much has to be made; a part of it is made now, so that asking again leads there.
    """
    try:
        return await _ask(pool, junction, start, end, read)
    except HoursLacking as lacking:
        if lacking.unmade is not None:
            await HourlyWorker(pool).make_asked(junction, *lacking.unmade, lacking.parts, within_s=_WITHIN_S)
    try:
        return await _ask(pool, junction, start, end, read)
    except HoursLacking as lacking:
        raise _problem(lacking) from lacking


async def _ask(pool: Pool, junction: UUID, start: str | None, end: str | None, read: _Read[_Answer]) -> _Answer:
    async with reading(pool) as connection:
        return await read(connection, await read_asked(connection, junction, start, end))


def _problem(lacking: HoursLacking) -> ApiProblem:
    detail = (
        f"{lacking.n} of {lacking.total} hours of the lights are not added up yet; they are being made: ask again"
        " in a moment, or for fewer days"
    )
    return ApiProblem(
        503,
        "hours_not_made",
        "Hours of this time are still being made",
        detail,
        retry_after_s=_RETRY_S,
        hours=lacking.total,
        hours_lacking=lacking.n,
    )
