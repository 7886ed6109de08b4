"""Traffic at a junction, for its log: vehicles that come at random, stand before red and go one by one at green.

Pure and simple; it knows what it did, so a log of it can be judged. Its times are not those of the steps: vehicles
cross between two of them.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from msgspec.structs import replace

from common.codes import Aspect
from common.junction import Detector, DetectorKind, Junction
from edge_agent.domain.signals.event_codes import Crossing, Presence, Told
from edge_agent.domain.signals.steps import Lane

TO_STOP_LINE_S = 8.0
"""From the advance detector to the stop line, and to the end of the queue that stands before it."""
HEADWAY_S = 2.0
START_LOST_S = 2.0


@dataclass(slots=True)
class _Road:
    """One lane.

    Attributes:
        due_s: when those on their way to the stop line will be there.
        free_from_s: when the next one can cross.
    """

    stop_line: int
    presence: int
    advance: int
    rate_vph: float
    next_s: float
    due_s: list[float] = field(default_factory=list)
    n_queue: int = 0
    free_from_s: float = 0.0
    n_crossed: int = 0
    is_present: bool = False


class Traffic:
    """Vehicles on all lanes of a junction that have a stop line, a zone and an advance detector.

    Attributes:
        n_arrived, n_on_green: by lane, how many came over the advance detector, and how many of them at green.
        n_crossed: by lane.
    """

    def __init__(self, junction: Junction, rates_vph: Sequence[float], seed: int = 1) -> None:
        self._random = random.Random(seed)
        kinds = {(one.lane, one.kind): one.channel for one in junction.detectors}
        self._roads = [
            _Road(
                kinds[lane.name, DetectorKind.STOP_LINE],
                kinds[lane.name, DetectorKind.APPROACH],
                kinds[lane.name, DetectorKind.ADVANCE],
                rate_vph,
                self._random.expovariate(rate_vph / 3600.0),
            )
            for lane, rate_vph in zip(junction.lanes, rates_vph, strict=True)
        ]
        self.n_arrived = [0] * len(self._roads)
        self.n_on_green = [0] * len(self._roads)

    @property
    def n_crossed(self) -> list[int]:
        return [road.n_crossed for road in self._roads]

    def lanes(self, aspects: Sequence[Aspect]) -> tuple[Lane, ...]:
        """What the detectors tell of the lanes, at these lights."""
        return tuple(
            Lane(
                n_crossed=road.n_crossed,
                n_near=road.n_queue + len(road.due_s),
                n_moving=len(road.due_s),
                is_waiting=aspect is not Aspect.GREEN and road.n_queue > 0,
            )
            for road, aspect in zip(self._roads, aspects, strict=True)
        )

    def go_on(self, from_s: float, to_s: float, aspects: Sequence[Aspect]) -> list[Told]:
        """What happens from one step to the next, under these lights."""
        told: list[Told] = []
        for number, (road, aspect) in enumerate(zip(self._roads, aspects, strict=True)):
            for at_s in self._arrivals(road, to_s):
                told.append(Crossing(road.advance, at_s))
                self.n_arrived[number] += 1
                self.n_on_green[number] += aspect is Aspect.GREEN
                road.due_s.append(at_s + TO_STOP_LINE_S)
            told += self._go_on(road, from_s, to_s, aspect)
        return told

    def _arrivals(self, road: _Road, to_s: float) -> Iterator[float]:
        while road.next_s < to_s:
            yield road.next_s
            road.next_s += 0.2 + self._random.expovariate(road.rate_vph / 3600.0)

    def _go_on(self, road: _Road, from_s: float, to_s: float, aspect: Aspect) -> Iterator[Told]:
        if aspect is not Aspect.GREEN:
            road.free_from_s = to_s + START_LOST_S
        while road.due_s and road.due_s[0] < to_s:
            at_s = road.due_s.pop(0)
            road.n_queue += 1
            if not road.is_present:
                road.is_present = True
                yield Presence(road.presence, at_s, True)
            road.free_from_s = max(road.free_from_s, at_s + 0.5)
        while road.n_queue and aspect is Aspect.GREEN and road.free_from_s < to_s:
            at_s = max(road.free_from_s, from_s)
            road.n_queue -= 1
            road.n_crossed += 1
            road.free_from_s = at_s + HEADWAY_S
            yield Crossing(road.stop_line, at_s)
            if not road.n_queue:
                road.is_present = False
                yield Presence(road.presence, at_s + 0.3, False)


def with_advance(junction: Junction) -> Junction:
    """The same junction with an advance detector on each lane, channels 201, 202, ..."""
    advance = tuple(
        Detector(channel=200 + n, lane=lane.name, kind=DetectorKind.ADVANCE, sensor="far", source=lane.name)
        for n, lane in enumerate(junction.lanes, 1)
    )
    return replace(junction, detectors=junction.detectors + advance)
