"""Greens that did not serve their queue."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from collector.analytics.answers_lights import SplitFailures
from collector.analytics.log import Phase, ask_log, channel_parameters, with_detectors
from collector.analytics.period import Asked
from collector.db import Connection
from common.junction import DetectorKind


@dataclass(frozen=True)
class Failures:
    """Of the period, and hour by hour."""

    totals: list[SplitFailures]
    hours: list[SplitFailures]


@dataclass(frozen=True)
class _Hour:
    phase: int
    hour: datetime
    n_cycles: int
    n_failures: int
    green_shares: float
    red_shares: float


async def read_split_failures(
    connection: Connection, asked: Asked, ends: Mapping[datetime, datetime]
) -> Failures | None:
    """None: no phase has a presence detector, or the period is too long."""
    phases = with_detectors(asked.place.described, DetectorKind.APPROACH)
    if not phases or asked.is_long_for_log:
        return None
    hours = await ask_log(connection, asked, ["split_failures"], _Hour, channel_parameters(phases.values()))
    return Failures(
        totals=[
            _item(phase, [one for one in hours if one.phase == number], asked.start, asked.end)
            for number, phase in phases.items()
        ],
        hours=[_item(phases[one.phase], [one], one.hour.astimezone(UTC), ends[one.hour]) for one in hours],
    )


def _item(phase: Phase, hours: Sequence[_Hour], start: datetime, end: datetime) -> SplitFailures:
    n_cycles = sum(one.n_cycles for one in hours)
    return SplitFailures(
        phase=phase.phase,
        movement=phase.movement.name,
        lanes=list(phase.movement.lanes),
        from_=start,
        to=end,
        n_cycles=n_cycles,
        n_failures=sum(one.n_failures for one in hours),
        green_occupancy=sum(one.green_shares for one in hours) / n_cycles if n_cycles else None,
        red_occupancy=sum(one.red_shares for one in hours) / n_cycles if n_cycles else None,
    )
