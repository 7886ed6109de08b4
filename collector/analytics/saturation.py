"""How full a junction's lanes are."""

from datetime import datetime

from collector.analytics.answers import as_kept
from collector.analytics.answers_lights import LaneSaturation, SaturationAnswer
from collector.analytics.hour_parts import Lane
from collector.analytics.hours import Part, read_hours
from collector.analytics.lane_hours import all_lanes, by_lane
from collector.analytics.period import Asked
from collector.analytics.split_failures import find_split_failures
from collector.db import Connection


async def read_saturation(connection: Connection, asked: Asked) -> SaturationAnswer:
    """From cycles; split failures from the event log."""
    hours = await read_hours(connection, asked, Part.CYCLES if asked.is_long_for_log else Part.CYCLES | Part.LOG)
    failures = find_split_failures(asked, hours)
    return SaturationAnswer(
        **asked.head,
        lanes=[_item(lane, asked.start, asked.end) for lane in all_lanes(hours)],
        lane_hours=[
            _item(lane, hour.start, hour.until) for some in by_lane(hours).values() for hour, lane in some
        ],
        split_failures=failures.totals if failures else None,
        split_failure_hours=failures.hours if failures else None,
    )


def _item(lane: Lane, start: datetime, end: datetime) -> LaneSaturation:
    saturation = as_kept(lane.saturation)
    return LaneSaturation(lane.lane, start, end, lane.n, lane.n_measured, saturation, lane.n_saturated)
