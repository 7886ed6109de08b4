"""How full a junction's lanes are."""

from datetime import UTC, datetime

from collector.analytics.answers_lights import LaneSaturation, SaturationAnswer
from collector.analytics.hours import LaneHour, add_up, by_lane, hour_ends, read_lane_hours
from collector.analytics.period import Asked
from collector.analytics.split_failures import read_split_failures
from collector.db import Connection


async def read_saturation(connection: Connection, asked: Asked) -> SaturationAnswer:
    """From cycles; split failures from the event log."""
    hours = await read_lane_hours(connection, asked)
    ends = await hour_ends(connection, asked)
    failures = await read_split_failures(connection, asked, ends)
    return SaturationAnswer(
        **asked.head,
        lanes=[_item(add_up(some), asked.start, asked.end) for some in by_lane(hours).values()],
        lane_hours=[_item(one, one.hour.astimezone(UTC), ends[one.hour]) for one in hours],
        split_failures=failures.totals if failures else None,
        split_failure_hours=failures.hours if failures else None,
    )


def _item(one: LaneHour, start: datetime, end: datetime) -> LaneSaturation:
    return LaneSaturation(one.lane, start, end, one.n_cycles, one.n_measured, one.saturation, one.n_saturated)
