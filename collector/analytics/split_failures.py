"""Greens that did not serve their queue."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from collector.analytics.answers_lights import SplitFailures
from collector.analytics.hours import Hour
from collector.analytics.log import Phase, with_detectors
from collector.analytics.log_state import PhaseFailures
from collector.analytics.period import Asked
from common.junction import DetectorKind


@dataclass(frozen=True)
class Failures:
    """Of the period, and hour by hour."""

    totals: list[SplitFailures]
    hours: list[SplitFailures]


def find_split_failures(asked: Asked, hours: Sequence[Hour]) -> Failures | None:
    """None: no phase has a presence detector, or the period is too long."""
    phases = with_detectors(asked.place.described, DetectorKind.APPROACH)
    if not phases or asked.is_long_for_log:
        return None
    totals, of_hours = [], []
    for number, phase in sorted(phases.items()):
        found = [(hour, hour.log.failures[number]) for hour in hours if hour.log and number in hour.log.failures]
        totals.append(_item(phase, [failures for _, failures in found], asked.start, asked.end))
        of_hours += [_item(phase, [failures], hour.start, hour.until) for hour, failures in found]
    return Failures(totals, of_hours)


def _item(phase: Phase, found: Sequence[PhaseFailures], start: datetime, end: datetime) -> SplitFailures:
    n_cycles = sum(one.n_cycles for one in found)
    return SplitFailures(
        phase=phase.phase,
        movement=phase.movement.name,
        lanes=list(phase.movement.lanes),
        from_=start,
        to=end,
        n_cycles=n_cycles,
        n_failures=sum(one.n_failures for one in found),
        green_occupancy=sum(one.green_shares for one in found) / n_cycles if n_cycles else None,
        red_occupancy=sum(one.red_shares for one in found) / n_cycles if n_cycles else None,
    )
