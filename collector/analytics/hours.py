"""Lanes and zones hour by hour."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise

from psycopg.rows import class_row

from collector.analytics.period import Asked
from collector.counting.queries import Bucket
from collector.db import Connection, load_queries


@dataclass(frozen=True)
class LaneHour:
    """Cycles of a lane; all but `n_cycles` are of those that were measured and had green.

    `weighted_green_s`: green times saturation.
    """

    lane: str
    hour: datetime
    n_cycles: int
    n_measured: int
    n_saturated: int
    weighted_green_s: float
    green_s: float
    length_s: float
    vehicles: int

    @property
    def saturation(self) -> float | None:
        return self.weighted_green_s / self.green_s if self.green_s > 0 else None


async def read_lane_hours(connection: Connection, asked: Asked) -> list[LaneHour]:
    """In order of lanes and hours; hours without a cycle are left out."""
    async with connection.cursor(row_factory=class_row(LaneHour)) as cursor:
        statement = load_queries("analytics_lights")["lane_hours"]
        await cursor.execute(statement, asked.parameters, prepare=False, binary=True)
        return await cursor.fetchall()


def add_up(hours: Sequence[LaneHour]) -> LaneHour:
    """Of one lane; `hour` is the first."""
    return LaneHour(
        lane=hours[0].lane,
        hour=hours[0].hour,
        n_cycles=sum(one.n_cycles for one in hours),
        n_measured=sum(one.n_measured for one in hours),
        n_saturated=sum(one.n_saturated for one in hours),
        weighted_green_s=sum(one.weighted_green_s for one in hours),
        green_s=sum(one.green_s for one in hours),
        length_s=sum(one.length_s for one in hours),
        vehicles=sum(one.vehicles for one in hours),
    )


def by_lane(hours: Iterable[LaneHour]) -> dict[str, list[LaneHour]]:
    """In order."""
    found: dict[str, list[LaneHour]] = {}
    for one in hours:
        found.setdefault(one.lane, []).append(one)
    return found


async def hour_ends(connection: Connection, asked: Asked) -> Mapping[datetime, datetime]:
    """Each hour's beginning -> its end."""
    parameters = {
        "from": asked.start,
        "to": asked.end,
        "step_s": Bucket.HOUR.step_s,
        "zone": asked.place.ref.timezone,
    }
    cursor = await connection.execute(load_queries("counts")["buckets"], parameters)
    edges = [edge.astimezone(UTC) for (edge,) in await cursor.fetchall()]
    return dict(pairwise(edges))
