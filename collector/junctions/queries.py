"""Junctions, and how they are today."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID

from psycopg.rows import class_row

from collector.db import Pool, load_queries, reading

_LIVE = timedelta(minutes=2)
_LATE = timedelta(minutes=15)


class Freshness(StrEnum):
    """How long ago a junction was last heard."""

    LIVE = "live"
    """Within 2 minutes."""
    LATE = "late"
    """Within 15 minutes."""
    SILENT = "silent"
    """Longer ago. Its devices keep what they count until they can send it."""
    NEVER = "never"


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
    as_of: datetime

    @property
    def state(self) -> Freshness:
        if self.received_at is None:
            return Freshness.NEVER
        age = self.as_of - self.received_at
        if age <= _LIVE:
            return Freshness.LIVE
        return Freshness.LATE if age <= _LATE else Freshness.SILENT

    @property
    def counts_today(self) -> int | None:
        """Counts since midnight there; None when nothing was measured since."""
        if self.counted:
            return self.counted
        return 0 if self.measured_ms > 0 else None


async def read_junctions(
    pool: Pool, junctions: Sequence[str] | None = None, *, limit: int = 100, offset: int = 0
) -> list[Junction]:
    """A page of junctions by name; `junctions` are names or ids, None: all."""
    parameters = {"junctions": list(junctions) if junctions else None, "limit": limit, "offset": offset}
    async with reading(pool) as connection, connection.cursor(row_factory=class_row(Junction)) as cursor:
        await cursor.execute(load_queries("junctions")["junctions"], parameters)
        return await cursor.fetchall()


def heard_within() -> dict[str, timedelta]:
    """How long ago a junction was heard at most that is `live`, and `late`: parameters for statements."""
    return {"live": _LIVE, "late": _LATE}
