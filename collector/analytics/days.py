"""Days of a junction: those that were made and kept, and the others as they are now."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

from psycopg.rows import class_row

from collector.analytics.answers import as_kept
from collector.analytics.answers_counts import DailyAnswer, DayItem
from collector.analytics.counters import Counters, Line, is_live, read_counters
from collector.analytics.period import Asked
from collector.counting.measured import Measured
from collector.counting.queries import Bucket
from collector.db import Connection, load_queries

PERSON = "person"


@dataclass(frozen=True)
class Day:
    """A row of `junction_daily_stats`."""

    day: date
    starts_at: datetime
    ends_at: datetime
    by_class: dict[str, int]
    cycles: int | None
    mean_cycle_s: float | None
    saturation: float | None
    saturation_cycles: int | None
    overrides: int

    @property
    def edges(self) -> "Edges":
        return Edges(self.starts_at, self.ends_at, self.day)


@dataclass(frozen=True)
class Edges:
    """When a day begins and ends."""

    start: datetime
    until: datetime
    day: date


async def read_days(connection: Connection, asked: Asked) -> DailyAnswer:
    """All days of the time that is asked for, each exact: a kept one is used only if it is not behind."""
    queries = load_queries("daily")
    counters = await read_counters(connection, asked)
    parameters = asked.parameters | counters.parameters
    edges = await read_edges(connection, parameters)
    async with connection.cursor(row_factory=class_row(Day)) as cursor:
        await cursor.execute(queries["kept"], parameters)
        found = {day.day: day for day in await cursor.fetchall()}
    # One that was kept in another zone begins or ends at another time.
    found = {one.day: found[one.day] for one in edges if one.day in found and found[one.day].edges == one}
    live = await is_live(connection, asked, counters)
    lacking = [one for one in edges if one.day not in found]
    if lacking:
        async with connection.cursor(row_factory=class_row(Day)) as cursor:
            computed = parameters_of(lacking, parameters, live=live)
            # Planned for these days: a plan for any would look into the partitions of all.
            await cursor.execute(queries["computed"], computed, prepare=False)
            found |= {day.day: day for day in await cursor.fetchall()}
    starts = [*(one.start for one in edges), edges[-1].until]
    measured = await counters.read_measured(connection, starts, Bucket.DAY.step_s, live=live)
    items = [_item(found[one.day], counters, measured) for one in edges]
    return DailyAnswer(**asked.head, exact=live, lines=counters.told(measured, starts), days=items)


async def read_edges(connection: Connection, parameters: dict[str, Any]) -> list[Edges]:
    """The days between `low` and `high`, which are days' edges."""
    async with connection.cursor(row_factory=class_row(Edges)) as cursor:
        await cursor.execute(load_queries("daily")["edges"], parameters)
        return await cursor.fetchall()


def parameters_of(days: Sequence[Edges], parameters: dict[str, Any], *, live: bool) -> dict[str, Any]:
    """For `computed`."""
    return parameters | {
        "starts": [one.start for one in days],
        "ends": [one.until for one in days],
        "days": [one.day for one in days],
        "low": days[0].start,
        "high": days[-1].until,
        "live": live,
    }


def _item(day: Day, counters: Counters, measured: Measured) -> DayItem:
    by_line = [(line, _measured_ms(line, day, measured)) for line in counters.lines]
    is_told = bool(day.by_class) or any(measured_ms for _, measured_ms in by_line)
    by_class = dict(sorted(day.by_class.items()))
    return DayItem(
        date=day.day,
        from_=day.starts_at.astimezone(UTC),
        to=day.ends_at.astimezone(UTC),
        hours=(day.ends_at - day.starts_at).total_seconds() / 3600,
        vehicles=sum(n for cls, n in by_class.items() if cls != PERSON) if is_told else None,
        people=by_class.get(PERSON, 0) if is_told else None,
        by_class=by_class,
        measured_share=_share(day, counters, measured),
        unmeasured=[
            line.name
            for line, measured_ms in by_line
            if not measured_ms and counters.due_s(line.due, day.starts_at, day.ends_at)
        ],
        cycles=day.cycles,
        mean_cycle_s=as_kept(day.mean_cycle_s),
        saturation=as_kept(day.saturation),
        saturation_cycles=day.saturation_cycles,
        overrides=day.overrides,
    )


def _measured_ms(line: Line, day: Day, measured: Measured) -> float | None:
    """None: it cannot be told."""
    return 0.0 if line.source is None else measured.of(line.source, day.starts_at, day.ends_at)


def _share(day: Day, counters: Counters, measured: Measured) -> float | None:
    if not counters.expected or day.starts_at >= counters.asked.place.as_of:
        return None
    due_s = measured_s = 0.0
    for line in counters.lines:
        if line.due:
            due_s += counters.due_s(line.due, day.starts_at, day.ends_at)
            measured_s += (_measured_ms(line, day, measured) or 0.0) / 1000
    return min(1.0, measured_s / due_s) if due_s > 0.0 else 0.0
