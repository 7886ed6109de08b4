"""Lanes hour by hour."""

from collections.abc import Sequence

from collector.analytics.hour_parts import Lane, add_lanes
from collector.analytics.hours import Hour


def by_lane(hours: Sequence[Hour]) -> dict[str, list[tuple[Hour, Lane]]]:
    """In order of lanes and hours; hours without a cycle are left out."""
    found: dict[str, list[tuple[Hour, Lane]]] = {}
    for name in sorted({lane.lane for hour in hours for lane in hour.lanes}):
        found[name] = [(hour, lane) for hour in hours for lane in hour.lanes if lane.lane == name]
    return found


def all_lanes(hours: Sequence[Hour]) -> list[Lane]:
    """Each over all hours, in order of names."""
    return add_lanes(lane for hour in hours for lane in hour.lanes)
