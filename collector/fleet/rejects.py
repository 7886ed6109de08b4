"""Records that were put aside: which they are and why, and up to when somebody saw them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from psycopg.rows import class_row

from collector.db import VIEWER, Pool, Queries, load_queries, reading


@dataclass(frozen=True)
class Put:
    """Where a list of rejects stands: the last one that was told."""

    received_at: datetime
    stream_no: int
    seq: int


_NEWEST = Put(datetime.max.replace(tzinfo=UTC), 2**31 - 1, 2**63 - 1)
"""Before it are all."""


@dataclass(frozen=True)
class Reject:
    """A record that was put aside, and why. `raw` may be the beginning of a text of `raw_length` characters."""

    received_at: datetime
    stream_no: int
    seq: int
    code: str
    detail: str
    raw: str
    raw_length: int
    stream: str
    device_id: UUID
    device_name: str
    junction_id: UUID | None
    junction_name: str | None
    seen: bool


@dataclass(frozen=True)
class WantedRejects:
    """Which rejects; what is empty or None does not narrow. `after` is where the page before ended."""

    devices: Sequence[str] = ()
    junctions: Sequence[str] = ()
    codes: Sequence[str] = ()
    open_only: bool = False
    after: Put | None = None


async def read_rejects(pool: Pool, wanted: WantedRejects, *, limit: int, raw_characters: int) -> list[Reject]:
    """A page of rejects, newest first."""
    queries = load_queries("devices")
    after = wanted.after or _NEWEST
    values = {
        "devices": list(wanted.devices) or None,
        "junctions": list(wanted.junctions) or None,
        "codes": list(wanted.codes) or None,
        "is_open": wanted.open_only,
        "received_at": after.received_at,
        "stream_no": after.stream_no,
        "seq": after.seq,
        "limit": limit,
        "raw": raw_characters,
    }
    page = queries["rejects_of_few"] if VIEWER.get() is not None else _page(queries, wanted)
    async with reading(pool) as connection, connection.cursor(row_factory=class_row(Reject)) as cursor:
        await cursor.execute(page, values)
        return await cursor.fetchall()


def _page(queries: Queries, wanted: WantedRejects) -> bytes:
    """The statement of a page, with what narrows it and nothing else."""
    narrows = {
        "rejects_of_devices": wanted.devices,
        "rejects_at_junctions": wanted.junctions,
        "rejects_of_codes": wanted.codes,
        "rejects_from": wanted.after,
        "rejects_open": wanted.open_only,
    }
    filters = b" AND ".join(queries[name] for name, value in narrows.items() if value) or queries["any"]
    joined = queries["joined_rejects"] if wanted.open_only else b""
    return queries["rejects"].replace(b"{joined}", joined).replace(b"{filters}", filters)
