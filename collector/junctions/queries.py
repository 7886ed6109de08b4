"""Junctions, and how they are today."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID

from psycopg.rows import class_row

from collector.db import VIEWER, Connection, Pool, Queries, load_queries, reading
from collector.identity.access import CurrentUser
from collector.identity.users import Level, Role

_LIVE = timedelta(minutes=2)
_LATE = timedelta(minutes=15)
_FEW = 1000
"""So many junctions are looked up one by one sooner than they are found among all, in the order of counts."""


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

    @property
    def is_filtered(self) -> bool:
        return bool(self.junctions or self.q or self.states) or self.has_lights is not None


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
        "junctions": list(listing.junctions) if listing.junctions else None,
        "q": listing.q,
        "has_lights": listing.has_lights,
        "states": [str(state) for state in listing.states] if listing.states else None,
        "live_s": _LIVE.total_seconds(),
        "late_s": _LATE.total_seconds(),
        "user": listing.user.id if listing.user else None,
        "limit": limit,
        "offset": offset,
    }
    async with reading(pool) as connection, connection.cursor(row_factory=class_row(Junction)) as cursor:
        if listing.sort.endswith("counts_today"):
            # To plan it takes a third of the time that it takes; it would be planned alike for all values.
            await connection.execute("SELECT set_config('plan_cache_mode', 'force_generic_plan', true)")
            few = await _few(connection, listing, parameters)
            statement = _by_counts(listing, is_few=few is not None)
            await cursor.execute(statement, parameters | {"few": few})
        else:
            await cursor.execute(_statement(listing), parameters)
        return await cursor.fetchall()


def heard_within() -> dict[str, timedelta]:
    """How long ago a junction was heard at most that is `live`, and `late`: parameters for statements."""
    return {"live": _LIVE, "late": _LATE}


async def _few(connection: Connection, listing: Listing, parameters: dict[str, Any]) -> list[UUID] | None:
    """The junctions that filters leave, and who asks may see, if they are few. None: look through all."""
    if not listing.is_filtered and VIEWER.get() is None:
        return None
    queries = load_queries("junctions")
    those = _fill(queries["those"], filtered=_filtered(queries, listing))
    cursor = await connection.execute(those, parameters | {"limit": _FEW + 1})
    found = [junction for (junction,) in await cursor.fetchall()]
    return found if len(found) <= _FEW else None


def _by_counts(listing: Listing, *, is_few: bool) -> bytes:
    """The statement of a page in the order of counts; if few junctions are given as `few`, of those."""
    queries = load_queries("junctions")
    down = b"DESC" if listing.sort.startswith("-") else b""
    filtered = _filtered(queries, Listing() if is_few else listing, is_fenced=False)
    is_fitted = listing.is_filtered and not is_few
    fitting = _fill(queries["fitting"], filtered=filtered) if is_fitted else b""
    few = queries["few_of_counts"] if is_few else b""
    foremost = _fill(queries["foremost"], down=down, few=few, fitting=fitting)
    few = queries["few"] if is_few else b""
    found = _fill(queries["found_by_counts"], down=down, filtered=filtered, few=few)
    return _fill(queries["junctions"], counted=foremost, found=found)


def _statement(listing: Listing) -> bytes:
    """The statement of a page in any other order."""
    queries = load_queries("junctions")
    is_down, sort = listing.sort.startswith("-"), listing.sort.removeprefix("-")
    filtered = _filtered(queries, listing, sort)
    found = _fill(queries["found"], filtered=filtered, order=queries[f"by_{sort}{'_down' * is_down}"])
    return _fill(queries["junctions"], counted=b"", found=found)


def _filtered(queries: Queries, listing: Listing, sort: str = "", *, is_fenced: bool = True) -> bytes:
    """The junctions to choose a page from, with what they are sorted by."""
    is_rare = bool(listing.states) and Freshness.LIVE not in (listing.states or ())
    return _fill(
        queries["filtered"],
        joined=queries["heard"] if listing.states or sort == "received_at" else b"",
        columns=b", h.received_at" if sort == "received_at" else b"",
        state=queries["of_state"] if listing.states else b"",
        fence=queries["fence"] if is_rare and is_fenced else b"",
    )


def _fill(statement: bytes, **fragments: bytes) -> bytes:
    for name, fragment in fragments.items():
        statement = statement.replace(b"{%s}" % name.encode(), fragment)
    return statement
