"""Who came when it was green."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from collector.analytics.answers_lights import ArrivalDetector, Arrivals, ArrivalsAnswer
from collector.analytics.hours import hour_ends
from collector.analytics.log import Phase, ask_log, channel_parameters, vehicle_movements, with_detectors
from collector.analytics.period import Asked
from collector.db import Connection
from common.junction import DetectorKind, Movement


@dataclass(frozen=True)
class _Hour:
    phase: int
    hour: datetime
    known_s: float
    green_s: float
    n: int
    n_on_green: int


async def read_arrivals(connection: Connection, asked: Asked) -> ArrivalsAnswer:
    """By phase, over its advance detectors, else its stop lines.

    Raises:
        ApiProblem: the period is too long.
    """
    asked.check_log()
    described = asked.place.described
    movements = vehicle_movements(described)
    advance = with_detectors(described, DetectorKind.ADVANCE)
    told_by: dict[int, Phase] = with_detectors(described, DetectorKind.STOP_LINE) | advance
    parameters = channel_parameters(told_by.values()) | {"phases": [one.phase for one in movements]}
    found = await ask_log(connection, asked, ["states", "arrivals"], _Hour, parameters) if movements else []
    ends = await hour_ends(connection, asked)
    phases, hours = [], []
    for movement in movements:
        detector = None
        if movement.phase in told_by:
            detector = ArrivalDetector.ADVANCE if movement.phase in advance else ArrivalDetector.STOP_LINE
        its_hours = [one for one in found if one.phase == movement.phase]
        phases.append(_item(movement, detector, its_hours, asked.start, asked.end))
        hours += [_item(movement, detector, [one], one.hour.astimezone(UTC), ends[one.hour]) for one in its_hours]
    return ArrivalsAnswer(**asked.head, phases=phases, hours=hours)


def _item(
    movement: Movement, detector: ArrivalDetector | None, hours: Sequence[_Hour], start: datetime, end: datetime
) -> Arrivals:
    known_s, green_s = sum(one.known_s for one in hours), sum(one.green_s for one in hours)
    n, n_on_green = sum(one.n for one in hours), sum(one.n_on_green for one in hours)
    is_known = detector is not None and known_s > 0
    share = n_on_green / n if is_known and n else None
    green_share = green_s / known_s if known_s > 0 else None
    return Arrivals(
        phase=movement.phase,
        movement=movement.name,
        lanes=list(movement.lanes),
        detector=detector,
        from_=start,
        to=end,
        log_s=known_s,
        n=n if is_known else None,
        n_on_green=n_on_green if is_known else None,
        share=share,
        green_share=green_share,
        platoon_ratio=share / green_share if share is not None and green_share else None,
    )
