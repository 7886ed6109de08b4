"""Who came when it was green."""

from collections.abc import Sequence
from datetime import datetime

from collector.analytics.answers_lights import ArrivalDetector, Arrivals, ArrivalsAnswer
from collector.analytics.hours import Part, read_hours
from collector.analytics.log import vehicle_movements, with_detectors
from collector.analytics.log_state import PhaseLog
from collector.analytics.period import Asked
from collector.db import Connection
from common.junction import DetectorKind, Movement


async def read_arrivals(connection: Connection, asked: Asked) -> ArrivalsAnswer:
    """By phase, over its advance detectors, else its stop lines.

    Raises:
        ApiProblem: the period is too long.
    """
    asked.check_log()
    described = asked.place.described
    advance = with_detectors(described, DetectorKind.ADVANCE)
    told_by = with_detectors(described, DetectorKind.STOP_LINE) | advance
    found = await read_hours(connection, asked, Part.LOG)
    phases, hours = [], []
    for movement in vehicle_movements(described):
        detector = None
        if movement.phase in told_by:
            detector = ArrivalDetector.ADVANCE if movement.phase in advance else ArrivalDetector.STOP_LINE
        its_own = [
            (one, one.log.phases[movement.phase]) for one in found if one.log and movement.phase in one.log.phases
        ]
        phases.append(_item(movement, detector, [log for _, log in its_own], asked.start, asked.end))
        hours += [_item(movement, detector, [log], one.start, one.until) for one, log in its_own]
    return ArrivalsAnswer(**asked.head, phases=phases, hours=hours)


def _item(
    movement: Movement, detector: ArrivalDetector | None, hours: Sequence[PhaseLog], start: datetime, end: datetime
) -> Arrivals:
    known_us, green_us = sum(one.known_us for one in hours), sum(one.green_us for one in hours)
    n, n_on_green = sum(one.n for one in hours), sum(one.n_on_green for one in hours)
    is_known = detector is not None and known_us > 0
    share = n_on_green / n if is_known and n else None
    green_share = green_us / known_us if known_us > 0 else None
    return Arrivals(
        phase=movement.phase,
        movement=movement.name,
        lanes=list(movement.lanes),
        detector=detector,
        from_=start,
        to=end,
        log_s=known_us / 1e6,
        n=n if is_known else None,
        n_on_green=n_on_green if is_known else None,
        share=share,
        green_share=green_share,
        platoon_ratio=share / green_share if share is not None and green_share else None,
    )
