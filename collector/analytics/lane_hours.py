"""Lanes hour by hour."""

from collections.abc import Sequence

from collector.analytics.hour_parts import Lane, add_lanes
from collector.analytics.hours import Hour
from common.junction import name_order


def by_lane(hours: Sequence[Hour]) -> dict[str, list[tuple[Hour, Lane]]]:
    """In `name_order` of lanes and order of hours; hours without a cycle are left out."""
    found: dict[str, list[tuple[Hour, Lane]]] = {}
    for name in sorted({lane.lane for hour in hours for lane in hour.lanes}, key=name_order):
        found[name] = [(hour, lane) for hour in hours for lane in hour.lanes if lane.lane == name]
    return found


def all_lanes(hours: Sequence[Hour]) -> list[Lane]:
    """Each over all hours, in `name_order`."""
    return add_lanes(lane for hour in hours for lane in hour.lanes)
