"""Green where most vehicles are freed per second, with the running platoon protected.

To interrupt the running stage and come back to it costs two changes and the time in which the other one clears.
All who would have passed meanwhile wait that long; all who wait for the other gain what clearing the running one
would have taken. So the other is due when

    vehicles it frees / (two changes + time to clear them)  >  vehicles of the running one / time to clear them

(Laemmer and Helbing's index, from exchanging two neighbours of an order). Both sides take the best horizon. Two
things matter in practice. Vehicles of a blocked lane, as behind a turn that finds no gap, do not count for the
running stage. And where traffic flows freely, those who are passing are soon replaced by the next, so that waiting
for a gap gains less than it seems: the running stage counts only by how much it exceeds its usual flow. The more
loaded a junction is the less that holds, since each change costs capacity.
"""

from dataclasses import dataclass

from common.junction import Algorithm
from edge_agent.domain.signals.green.due import Deadlines
from edge_agent.domain.signals.green.observer import Observer
from edge_agent.domain.signals.green.topology import Change, Topology
from edge_agent.domain.signals.steps import Situation

_LEAST_RATE = 1e-9


@dataclass(frozen=True, slots=True)
class AdaptiveParams:
    """The rule's figures.

    Attributes:
        passage_s: a lane without a crossing for this long, and on which nobody moves, is blocked or empty;
        start_s: but not so soon after its green began.
        keep: how many times better another stage must be.
        extra_s: what a change loses beyond yellow and clearance: until a queue has got going.
    """

    passage_s: float = 3.0
    start_s: float = 4.0
    keep: float = 1.2
    extra_s: float = 1.0


class Adaptive:
    """Decides by the vehicles on each lane: seen by a camera, or else taken to be there. See the module."""

    name = Algorithm.ADAPTIVE.value

    def __init__(self, topology: Topology, params: AdaptiveParams | None = None) -> None:
        self._topology = topology
        self._params = params or AdaptiveParams()
        self._deadlines = Deadlines(topology)
        self.observer = Observer(topology)

    def decide(self, situation: Situation) -> int | None:
        """See `GreenTime`."""
        observer = self.observer
        observer.update(situation)
        due = self._deadlines.due(situation)
        if due is not None:
            return due
        vehicles, flowing = self._vehicles(situation)
        stage = situation.stage
        rate = 0.0
        if situation.green_s < self._topology.max_greens_s[stage]:
            rate = self._params.keep * self._rate(stage, vehicles, flowing)
        best, best_rate = None, max(rate, _LEAST_RATE)
        for change in self._topology.changes[stage]:
            other_rate = self._rate_after(change, vehicles, flowing)
            if other_rate > best_rate:
                best, best_rate = change.stage, other_rate
        return best

    def _vehicles(self, situation: Situation) -> tuple[list[float], list[bool]]:
        """How many there are on each lane, and whether they go."""
        observer, weights = self.observer, self._topology.weights[situation.stage]
        passage_s = self._params.passage_s / observer.seen
        starting = situation.green_s < self._params.start_s
        vehicles, flowing = [], []
        for i, lane in enumerate(situation.lanes):
            n: float | None = lane.n_near
            has_way = weights[i] > 0.0
            goes = has_way and (
                starting or bool(lane.n_moving) or (lane.headway_s is not None and lane.headway_s < passage_s)
            )
            if n is None:
                n, goes = self._unseen(situation, i, goes)
            elif observer.seen < 1.0:
                n = n / observer.seen if goes else n + observer.hidden(i)
            vehicles.append(n)
            flowing.append(goes)
        return vehicles, flowing

    def _unseen(self, situation: Situation, index: int, goes: bool) -> tuple[float, bool]:
        """The same of a lane without a camera, from its usual flow and what the stop line tells."""
        observer, lane = self.observer, situation.lanes[index]
        flow_vps = observer.flow_vps[index] / observer.seen
        if self._topology.weights[situation.stage][index] <= 0.0:
            usual = flow_vps * observer.red_s[index]
            if lane.is_waiting is None:
                return usual, False
            return (max(1.0, usual), False) if lane.is_waiting else (observer.hidden(index), False)
        queue = max(1.0, flow_vps * observer.at_green_red_s[index])
        passed = observer.crossed_in_green(index)
        if passed is None:
            left = queue - situation.green_s / self._topology.headways_s[index]
            return max(0.0, left), left > 0.0
        return (max(1.0, queue - passed / observer.seen), True) if goes else (0.0, False)

    def _rate(self, stage: int, vehicles: list[float], flowing: list[bool]) -> float:
        """Vehicles per second that the running stage frees, beyond its usual flow."""
        observer, headways_s, weights = self.observer, self._topology.headways_s, self._topology.weights[stage]
        usual_vps, parts = 0.0, []
        for i in self._topology.lanes[stage]:
            weight = weights[i]
            usual_vps += weight * observer.flow_vps[i]
            if flowing[i] and vehicles[i] > 0.0:
                parts.append((vehicles[i] * headways_s[i] / weight, weight * vehicles[i]))
        if not parts:
            return 0.0
        spare = min(1.0, max(0.0, 1.0 - observer.load))
        return max(0.0, _best_rate(parts, 0.0) - spare * usual_vps / observer.seen)

    def _rate_after(self, change: Change, vehicles: list[float], flowing: list[bool]) -> float:
        """Vehicles per second that another stage frees, with the changes to it and back."""
        headways_s, parts = self._topology.headways_s, []
        for i, _, weight in change.gainers:
            if vehicles[i] > 0.0:
                parts.append((vehicles[i] * headways_s[i] / weight, weight * vehicles[i]))
        return _best_rate(parts, 2.0 * change.loss_s + self._params.extra_s) if parts else 0.0


def _best_rate(parts: list[tuple[float, float]], loss_s: float) -> float:
    """Most vehicles per second over all horizons. Each part clears so many vehicles in so many seconds, evenly."""
    best = 0.0
    for horizon_s, _ in parts:
        n = 0.0
        for clears_s, vehicles in parts:
            n += vehicles if clears_s <= horizon_s else vehicles * horizon_s / clears_s
        rate = n / (loss_s + horizon_s)
        if rate > best:
            best = rate
    return best
