"""Reading the log, and adding to it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum, auto
from typing import Any
from uuid import UUID

import msgspec
from psycopg.rows import class_row

from collector.db import VIEWER, Connection, Pool, Queries, load_queries, reading, writing
from collector.errors import ApiProblem

LEVELS = ("debug", "info", "warning", "error", "critical")
"""From what matters least to what matters most."""
_LINES_SEARCHED = 2000
"""The newest lines are looked through before an index is asked for what may be rare."""
_LINES_OF_FEW = 20_000
"""Among so many of the newest lines those are looked for first that a user of some junctions may see."""
_WIDER = 5
"""So much further if only some levels are asked for."""
_LINES_MEASURED = 4_000
"""So many tell how dense the log is."""
_LINES_SAMPLED, _RARE = 500, 5
"""What at most so few of so many of the newest lines have is rare."""
_LINES_WALKED = 4_000
"""So many of the newest lines are looked through if they are believed to have a page of a text."""
_INDEXED = 3
"""Characters of a word that an index finds."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a page of the log ends: the next one goes on before it."""

    at: datetime = datetime(9999, 12, 31, tzinfo=UTC)
    stream_no: int = 2**31 - 1
    seq: int = 2**62


@dataclass(frozen=True)
class Asked:
    """Which logs. None: no filter. Names may be ids."""

    since: datetime
    until: datetime
    limit: int
    before: Place
    junctions: Sequence[str] | None = None
    devices: Sequence[str] | None = None
    level: str | None = None
    """At least this."""
    actions: Sequence[str] | None = None
    text: str | None = None
    """Part of the message, in small letters or capitals."""
    context: dict[str, Any] | None = None


@dataclass(frozen=True)
class LogRow:
    """One line. Without a device it was posted, by `said_by`."""

    at: datetime
    at_error_ms: int
    stream_no: int
    seq: int
    level: str
    action: str
    message: str
    context: dict[str, Any]
    device_id: UUID | None
    device_name: str | None
    junction_id: UUID | None
    junction_name: str | None
    said_by: UUID | None
    said_by_name: str | None


@dataclass(frozen=True)
class Said:
    """One line to be posted."""

    at: datetime
    level: str
    action: str
    message: str
    context: dict[str, Any]
    junction: UUID | None


async def read_logs(pool: Pool, asked: Asked) -> list[LogRow]:
    """Newest first.

    Raises:
        ApiProblem: a junction or device that is named is not there, or not for who asks.
    """
    queries = load_queries("logs")
    levels = LEVELS[LEVELS.index(asked.level) :] if asked.level else None
    async with reading(pool) as connection:
        junctions = await _known(connection, "junctions", asked.junctions)
        devices = await _known(connection, "devices", asked.devices)
        parameters: dict[str, Any] = {
            "since": asked.since,
            "until": asked.until,
            "at": asked.before.at,
            "stream_no": asked.before.stream_no,
            "seq": asked.before.seq,
            "streams": await _streams(connection, junctions, devices),
            # What was posted is of no device.
            "junctions": [] if devices is not None else junctions,
            "levels": list(levels) if levels else None,
            "actions": list(asked.actions) if asked.actions else None,
            "text": _pattern(asked.text) if asked.text else None,
            "word": None,
            "context": None if asked.context is None else _json(asked.context),
            "limit": asked.limit,
        }
        # Actions have an index of their own.
        is_open, is_bounded = parameters["streams"] is None and not asked.actions, VIEWER.get() is not None
        is_of_few, is_of_all = is_open and is_bounded, is_open and not is_bounded
        sample = await _look_at_newest(connection, asked, parameters, is_of_few=is_of_few)
        parameters["is_rare"] = is_of_few and sample.is_rare
        found: list[LogRow] = []
        for look in await _looks(connection, asked, sample, is_of_few=is_of_few, is_of_all=is_of_all):
            page = queries["page_of_few"] if is_bounded else _page(queries, look.by, parameters)
            if look.by is _By.INDEX:
                await connection.execute("SELECT set_config('enable_indexscan', 'off', true)")
            async with connection.cursor(row_factory=class_row(LogRow)) as cursor:
                # Planned for these values: a plan for any would not use what is selective.
                await cursor.execute(page, parameters | {"since": look.since}, prepare=False)
                found = await cursor.fetchall()
            if len(found) == asked.limit:
                break
        return found


class _By(Enum):
    """How lines are found."""

    PLANNER = auto()
    """As the planner likes."""
    TIME = auto()
    """Along the time, one by one: soonest where a page is met before long."""
    INDEX = auto()
    """By the index of what is asked for, however common it is believed to be: along the time, all would be looked
    through."""


@dataclass(frozen=True, slots=True)
class _Look:
    """One look for a page, back to `since`."""

    since: datetime
    by: _By


def _page(queries: Queries, by: _By, parameters: dict[str, Any]) -> bytes:
    """The statement of a page. A word of the text may be sought first."""
    has_word = parameters["word"] is not None
    # No index has lines in such an order, nor such texts.
    page = queries["page"].replace(b"{at}", b"(l.at + interval '0')" if by is _By.INDEX else b"l.at")
    return page.replace(b"{message}", b"(l.message || '')" if has_word or by is _By.TIME else b"l.message")


@dataclass(frozen=True, slots=True)
class _Sample:
    """What the newest lines have of what is asked for."""

    is_rare: bool = False
    """A word of the text, or the context."""
    n_text: int | None = None
    """How many of `_LINES_SAMPLED` have the whole text. None: no index could find it."""


async def _look_at_newest(
    connection: Connection, asked: Asked, parameters: dict[str, Any], *, is_of_few: bool
) -> _Sample:
    """Looks whether a word of the text, or the context, is rare; sets `word` in `parameters`.

    A text is found sooner by its rarest word than by all of its pieces, most of which may be in every line.
    """
    words = [word for word in (asked.text or "").split() if len(word) >= _INDEXED]
    if not words and not (is_of_few and asked.context is not None):
        return _Sample()
    patterns = [_pattern(word) for word in words]
    until = min(asked.until, asked.before.at)
    wanted = [*patterns, parameters["text"]] if words else []
    values = {"until": until, "lines": _LINES_SAMPLED, "words": wanted, "context": parameters["context"]}
    cursor = await connection.execute(load_queries("logs")["matches"], values)
    row = await cursor.fetchone()
    assert row is not None
    *counts, n_context = row[0]
    n_text = counts.pop() if words else None
    if len(words) > 1 or (is_of_few and words):
        n, word = min(zip(counts, patterns, strict=True), key=lambda one: (one[0], -len(one[1])))
        if n <= _RARE:
            parameters["word"] = word
            return _Sample(True, n_text)
    return _Sample(asked.context is not None and n_context <= _RARE, n_text)


async def _looks(
    connection: Connection, asked: Asked, sample: _Sample, *, is_of_few: bool, is_of_all: bool
) -> list[_Look]:
    """Where to look for a page, one after the other until it is full: the newest lines are found soonest. The last
    one is as far back as is asked for.

    Args:
        is_of_few: of some junctions, since who asks may see no others.
        is_of_all: of all devices.
    """
    walked = _lines_walked(asked, sample) if is_of_all else None
    first = _By.PLANNER if walked is None else _By.TIME
    lines = _lines_first(asked, sample, walked, is_of_few=is_of_few)
    since = await _since(connection, asked, lines) if lines else None
    has_index = asked.context is not None or (is_of_all and sample.n_text is not None)
    whole = _Look(asked.since, _By.INDEX if has_index else _By.PLANNER)
    if since is not None and since > asked.since:
        return [_Look(since, first), whole]
    return [whole if walked is None else _Look(asked.since, first)]


def _lines_walked(asked: Asked, sample: _Sample) -> int | None:
    """How many of the newest lines are believed to have a page of the text. None: many, or nobody knows."""
    lines = asked.limit * _LINES_SAMPLED // sample.n_text if sample.n_text else None
    return lines if lines is not None and lines <= _LINES_WALKED and asked.context is None else None


def _lines_first(asked: Asked, sample: _Sample, walked: int | None, *, is_of_few: bool) -> int:
    """Among how many of the newest lines to look first. 0: among all."""
    wider = _WIDER if asked.level else 1
    if walked is not None:
        # They may be a little rarer further back.
        return 2 * walked * wider
    if not is_of_few:
        return _LINES_SEARCHED if asked.context is not None else 0
    if asked.context is not None:
        return 0
    if not asked.text:
        return _LINES_OF_FEW * wider
    return _LINES_OF_FEW * wider * (_LINES_SAMPLED // sample.n_text) if sample.n_text and not sample.is_rare else 0


async def _since(connection: Connection, asked: Asked, lines: int) -> datetime | None:
    """Since when there are so many lines, about; not before it is asked for. None: there are none."""
    until = min(asked.until, asked.before.at)
    measured = min(lines, _LINES_MEASURED)
    cursor = await connection.execute(load_queries("logs")["newest"], {"until": until, "lines": measured})
    row = await cursor.fetchone()
    if row is None or row[0] is None:
        return None
    # Of a log with few lines it would be before all time.
    back_s = (until - row[0]).total_seconds() * lines / measured
    return until - timedelta(seconds=min(back_s, (until - asked.since).total_seconds()))


async def junctions_named(pool: Pool, names: Sequence[str]) -> dict[str, UUID]:
    """The ids of junctions, each by its name, or by its id as it was written.

    Raises:
        ApiProblem: one is not there, or not for who asks.
    """
    async with reading(pool) as connection:
        return await _ids(connection, "junctions", names)


async def post_logs(pool: Pool, lines: Sequence[Said], said_by: UUID, name: str) -> None:
    """All of them, or none. Whether somebody may is for the caller to say."""
    parameters = {
        "ats": [line.at for line in lines],
        "levels": [line.level for line in lines],
        "actions": [line.action for line in lines],
        "messages": [line.message for line in lines],
        "contexts": [_json(line.context) for line in lines],
        "junctions": [line.junction for line in lines],
        "said_by": said_by,
        "said_by_name": name,
    }
    async with writing(pool) as connection:
        await connection.execute(load_queries("logs")["post"], parameters)


async def _known(connection: Connection, kind: str, names: Sequence[str] | None) -> list[UUID] | None:
    return None if not names else list((await _ids(connection, kind, names)).values())


async def _ids(connection: Connection, kind: str, names: Sequence[str]) -> dict[str, UUID]:
    """The ids of what is named: each name, and each id as it was written."""
    found: dict[str, UUID] = {}
    cursor = await connection.execute(load_queries("logs")[kind], {"names": list(names)})
    for each, name in await cursor.fetchall():
        found |= {wanted: each for wanted in names if wanted in (name, str(each))}
    for name in names:
        if name not in found:
            what = kind.removesuffix("s")
            raise ApiProblem(
                404, f"{what}_unknown", f"There is no such {what}", f"{what}={name}: there is none", parameter=what
            )
    return found


async def _streams(
    connection: Connection, junctions: list[UUID] | None, devices: list[UUID] | None
) -> list[int] | None:
    if junctions is None and devices is None:
        return None
    parameters = {"junctions": junctions, "devices": devices}
    cursor = await connection.execute(load_queries("logs")["streams"], parameters)
    return [no for (no,) in await cursor.fetchall()]


def _pattern(text: str) -> str:
    """What LIKE takes for lines that have it somewhere."""
    return f"%{_literal(text)}%"


def _literal(text: str) -> str:
    """Without the signs that LIKE takes for something else."""
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()
