"""Records that were put aside: which they are and why, and up to when somebody saw them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg.rows import class_row

from collector.db import VIEWER, Pool, load_queries, reading


@dataclass(frozen=True)
class Put:
    """Where a list of rejects stands: the last one that was told."""

    received_at: datetime
    stream_no: int
    seq: int


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
    names = {
        "rejects_of_devices": wanted.devices,
        "rejects_at_junctions": wanted.junctions,
        "rejects_of_codes": wanted.codes,
        "rejects_seen": VIEWER.get() is not None,
        "rejects_from": wanted.after,
    }
    filters = b" AND ".join(queries[name] for name, narrows in names.items() if narrows) or queries["any"]
    source, joined = b"ingest_rejects", b""
    if wanted.open_only and VIEWER.get() is not None:
        source = queries["few_rejects"].replace(b"{filters}", filters)
        filters = queries["rejects_open_one_by_one"]
    elif wanted.open_only:
        joined, filters = queries["joined_rejects"], filters + b" AND " + queries["rejects_open"]
    values: dict[str, Any] = {"devices": list(wanted.devices), "junctions": list(wanted.junctions)}
    values |= {"codes": list(wanted.codes), "limit": limit, "raw": raw_characters}
    if wanted.after is not None:
        after = wanted.after
        values |= {"received_at": after.received_at, "stream_no": after.stream_no, "seq": after.seq}
    async with reading(pool) as connection, connection.cursor(row_factory=class_row(Reject)) as cursor:
        page = queries["rejects"].replace(b"{source}", source)
        page = page.replace(b"{joined}", joined).replace(b"{filters}", filters)
        await cursor.execute(page, values)
        return await cursor.fetchall()
