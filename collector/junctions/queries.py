"""Junctions, and how they are today."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID

from psycopg.rows import class_row

from collector.db import VIEWER, Connection, Pool, load_queries, reading
from collector.identity.access import CurrentUser
from collector.identity.users import Level, Role

_LIVE = timedelta(minutes=2)
_LATE = timedelta(minutes=15)
_FEW = 1000
"""So many junctions are looked up one by one sooner than they are found among all."""
_PIECE = 3
"""Names are found by so many letters of them; by fewer they are found in another way."""


class Freshness(StrEnum):
    """How long ago a junction was last heard."""

    LIVE = "live"
    """Within 2 minutes."""
    LATE = "late"
    """Within 15 minutes."""
    SILENT = "silent"
    """Longer ago. Its devices keep what they count until they can send it."""
    NEVER = "never"


class Sort(StrEnum):
    """Orders of junctions; `-` is downwards. Those never heard, or without a count, come last either way."""

    NAME = "name"
    NAME_DOWN = "-name"
    COUNTS_TODAY = "counts_today"
    COUNTS_TODAY_DOWN = "-counts_today"
    RECEIVED_AT = "received_at"
    RECEIVED_AT_DOWN = "-received_at"


@dataclass(frozen=True, slots=True)
class Listing:
    """Which junctions, in what order.

    Attributes:
        junctions: names or ids; None: all.
        q: a part of the name, in small letters or capitals.
        states: None: all.
        user: for whom: what they may is told with each.
    """

    junctions: Sequence[str] | None = None
    q: str | None = None
    states: Sequence[Freshness] | None = None
    has_lights: bool | None = None
    sort: Sort = Sort.NAME
    user: CurrentUser | None = None


@dataclass(frozen=True)
class Junction:
    """A junction at the moment `as_of`. `counted` None: no count since midnight (`today`)."""

    id: UUID
    name: str
    timezone: str
    location: str | None
    latitude: float | None
    longitude: float | None
    today: datetime
    devices: int
    active_devices: int
    received_at: datetime | None
    last_at: datetime | None
    sources: int
    counted: int | None
    measured_ms: int
    cameras: int
    has_lights: bool
    mode: str | None
    level: str | None
    as_of: datetime

    @property
    def state(self) -> Freshness:
        return freshness(self.received_at, self.as_of)

    @property
    def counts_today(self) -> int | None:
        """Counts since midnight there; None when nothing was measured since."""
        if self.counted:
            return self.counted
        return 0 if self.measured_ms > 0 else None


def freshness(received_at: datetime | None, as_of: datetime) -> Freshness:
    """How fresh is what was last received."""
    if received_at is None:
        return Freshness.NEVER
    age = as_of - received_at
    if age <= _LIVE:
        return Freshness.LIVE
    return Freshness.LATE if age <= _LATE else Freshness.SILENT


def level_for(user: CurrentUser | None, granted: str | None) -> Level:
    """What a user may at a junction that they see; `granted`: their level there, if they have one of their own."""
    may = user is not None and user.role.at_least(Role.OPERATOR) and (user.sees_all or granted == Level.OPERATE)
    return Level.OPERATE if may else Level.READ


async def read_junctions(
    pool: Pool, listing: Listing | None = None, *, limit: int = 100, offset: int = 0
) -> list[Junction]:
    """A page of junctions."""
    listing = listing or Listing()
    parameters = {
        "names": list(listing.junctions or ()),
        "ids": [name for name in listing.junctions or () if _is_id(name)],
        "q": listing.q,
        "states": [str(state) for state in listing.states or ()],
        "live_s": _LIVE.total_seconds(),
        "late_s": _LATE.total_seconds(),
        "user": listing.user.id if listing.user else None,
        "limit": limit,
        "offset": offset,
        "few": _FEW,
    }
    async with reading(pool) as connection, connection.cursor(row_factory=class_row(Junction)) as cursor:
        # To plan it takes a third of the time that it takes; it would be planned alike for all values.
        await connection.execute("SELECT set_config('plan_cache_mode', 'force_generic_plan', true)")
        narrowing = _narrowing(listing)
        narrowest = await _narrowest(connection, narrowing, parameters)
        await cursor.execute(_statement(listing, narrowing, narrowest), parameters)
        return await cursor.fetchall()


def heard_within() -> dict[str, timedelta]:
    """How long ago a junction was heard at most that is `live`, and `late`: parameters for statements."""
    return {"live": _LIVE, "late": _LATE}


def _is_id(name: str) -> bool:
    """Whether it is an id as the database writes it."""
    try:
        return str(UUID(name)) == name
    except ValueError:
        return False


def _narrowing(listing: Listing) -> dict[str, list[str]]:
    """What narrows a list, each with the blocks that find those that it leaves."""
    found = {}
    if listing.junctions:
        found["names"] = ["those_of_names"]
    if listing.q:
        found["q"] = ["those_of_part" if len(listing.q) >= _PIECE else "those_of_short_part"]
    if listing.states:
        found["states"] = [f"those_{state}" for state in sorted(set(listing.states))]
    # Along the names, there is an index of these.
    if listing.has_lights is not None and (found or not listing.sort.endswith("name")):
        found["lights"] = ["those_lit" if listing.has_lights else "those_unlit"]
    return found


async def _narrowest(
    connection: Connection, narrowing: dict[str, list[str]], parameters: dict[str, Any]
) -> str | None:
    """What leaves the fewest, if they are few. None: look through all."""
    if VIEWER.get() is not None:
        # Who may see few is not asked further: no index serves them.
        viewer = {"viewer": ["those_seen"]}
        narrowest = await _fewest(connection, viewer, parameters)
        if narrowest is not None:
            narrowing |= viewer
            return narrowest
    return await _fewest(connection, narrowing, parameters) if narrowing else None


async def _fewest(
    connection: Connection, narrowing: dict[str, list[str]], parameters: dict[str, Any]
) -> str | None:
    """The name of what leaves the fewest; None: they are not few."""
    queries = load_queries("junctions")
    counts = [_fill(queries["how_many"], those=_those(blocks)) for blocks in narrowing.values()]
    cursor = await connection.execute(b"SELECT " + b", ".join(counts), parameters)
    row = await cursor.fetchone()
    assert row is not None
    n, name = min(zip(row, narrowing, strict=True))
    return name if n <= _FEW else None


def _those(blocks: Sequence[str]) -> bytes:
    queries = load_queries("junctions")
    return b" UNION ALL ".join(b"(" + queries[name] + b")" for name in blocks)


def _statement(listing: Listing, narrowing: dict[str, list[str]], narrowest: str | None) -> bytes:
    """The statement of a page; `narrowest`: what leaves few junctions, if something does."""
    queries = load_queries("junctions")
    key, is_down = listing.sort.removeprefix("-"), listing.sort.startswith("-")
    is_of_counts = key == "counts_today"
    if narrowest is not None:
        before = queries["few"] + (queries["zones_of_few"] + queries["days"] if is_of_counts else b"")
        found = queries["found_among_few"]
    elif key == "name":
        before, found = b"", queries["found_by_name"]
    else:
        before = (queries["zones_of_all"] + queries["days"] if is_of_counts else b"") + queries[f"foremost_{key}"]
        before, found = before + queries["tied"], queries["found_in_order"]
    conditions = _conditions(listing, narrowest)
    those = _those(narrowing[narrowest]) if narrowest is not None else b""
    fragments = {
        "those": those,
        "ordered_by": queries[key] if key != "name" else b"",
        "order": queries["by_name" if key == "name" else "by_key"],
        "fitting": (b"WHERE " if key == "received_at" else b"AND ") + queries["fitting"] if conditions else b"",
        "without": queries[f"without_{key}"] if key != "name" else b"",
        "key": queries[key] if key != "name" else b"",
        "fence": b"OFFSET 0" if conditions else b"",
        "last": b"min" if is_down else b"max",
        "heard": queries["heard"] if queries["of_state"] in conditions else b"",
        "conditions": conditions,
        "count": queries["count"],
        "counted": queries["counted"],
        "down": b"DESC" if is_down else b"",
    }
    return _fill(queries["junctions"], counted=_fill(before, **fragments), found=_fill(found, **fragments))


def _conditions(listing: Listing, narrowest: str | None) -> bytes:
    """What is asked of each junction. What only some states leave are of these."""
    asked = {
        "of_names": bool(listing.junctions),
        "of_part": bool(listing.q),
        "lit": listing.has_lights is True,
        "unlit": listing.has_lights is False,
        "of_state": bool(listing.states) and narrowest != "states",
    }
    queries = load_queries("junctions")
    return b" ".join(queries[name] for name, is_asked in asked.items() if is_asked)


def _fill(statement: bytes, **fragments: bytes) -> bytes:
    for name, fragment in fragments.items():
        statement = statement.replace(b"{%s}" % name.encode(), fragment)
    return statement
