"""Reading the log, and adding to it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
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
        is_of_few = VIEWER.get() is not None and parameters["streams"] is None and not asked.actions
        sample = await _look_at_newest(connection, asked, parameters, is_of_few=is_of_few)
        is_alone = VIEWER.get() is None and parameters["streams"] is None and not asked.actions
        walked = _lines_walked(asked, sample) if is_alone else None
        # However rare or common it is believed to be: along the time, all would be looked through.
        is_by_index = asked.context is not None or (is_alone and sample.n_text is not None)
        beginnings = await _beginnings(connection, asked, _lines_first(asked, sample, walked, is_of_few=is_of_few))
        for since in beginnings:
            is_last = since == asked.since and (walked is None or len(beginnings) > 1)
            if is_of_few and not asked.text and asked.context is None:
                page = queries["page_of_few"]
            else:
                is_by_whole = parameters["word"] is None and (walked is None or is_last)
                page = _page(queries, is_of_few=is_of_few, is_rare=sample.is_rare, is_by_whole=is_by_whole)
            is_sought = is_by_index and is_last
            # No index has the lines in this order.
            page = page.replace(b"{at}", b"(l.at + interval '0')" if is_sought else b"l.at")
            if is_sought:
                await connection.execute("SELECT set_config('enable_indexscan', 'off', true)")
            async with connection.cursor(row_factory=class_row(LogRow)) as cursor:
                # Planned for these values: a plan for any would not use what is selective.
                await cursor.execute(page, parameters | {"since": since}, prepare=False)
                found = await cursor.fetchall()
            if len(found) == asked.limit:
                break
        return found


def _page(queries: Queries, *, is_of_few: bool, is_rare: bool, is_by_whole: bool) -> bytes:
    """The statement of a page. `is_rare`: what is asked for. `is_by_whole`: an index may find the whole text."""
    is_by_places = is_of_few and is_rare
    page = queries["page"].replace(b"{lines}", queries["at_places"] if is_by_places else b"system_logs l")
    page = page.replace(b"{seen}", queries["seen"] if is_of_few and not is_by_places else b"")
    return page.replace(b"{message}", b"l.message" if is_by_whole else b"(l.message || '')")


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
    if is_of_few:
        if asked.text:
            wider *= _LINES_SAMPLED // sample.n_text if sample.n_text and not sample.is_rare else 0
        return 0 if asked.context is not None else _LINES_OF_FEW * wider
    return _LINES_SEARCHED if asked.context is not None else 0


async def _beginnings(connection: Connection, asked: Asked, lines: int) -> list[datetime]:
    """Since when to look for a page, one after the other until it is full: the newest `lines` are found soonest.

    The last one is as far back as is asked for.
    """
    if not lines:
        return [asked.since]
    until = min(asked.until, asked.before.at)
    measured = min(lines, _LINES_MEASURED)
    cursor = await connection.execute(load_queries("logs")["newest"], {"until": until, "lines": measured})
    row = await cursor.fetchone()
    if row is None or row[0] is None:
        return [asked.since]
    since = until - (until - row[0]) * (lines / measured)
    return [since, asked.since] if since > asked.since else [asked.since]


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
