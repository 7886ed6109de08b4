"""The stage with the most vehicles before it, looked at on a grid of time. Simple, and known to everybody."""

from common.junction import Algorithm
from edge_agent.domain.signals.green.due import Deadlines
from edge_agent.domain.signals.green.topology import Topology
from edge_agent.domain.signals.steps import Situation

PERIOD_S = 10.0


class MaxPressure:
    """Changes to the stage with most vehicles, one decision each `period_s` of green.

    A lane that is not measured has at red as many as the fullest one, and at green as many as the others have on
    average, unless it is known that nobody waits.
    """

    name = Algorithm.MAX_PRESSURE.value

    def __init__(self, topology: Topology, period_s: float = PERIOD_S) -> None:
        self._topology, self._period_s = topology, period_s
        self._deadlines = Deadlines(topology)
        self._asked_s = float("-inf")

    def decide(self, situation: Situation) -> int | None:
        """See `GreenTime`."""
        due = self._deadlines.due(situation)
        if due is not None:
            return due
        if situation.now_s - self._asked_s < self._period_s:
            return None
        self._asked_s = situation.now_s
        topology, stage = self._topology, situation.stage
        vehicles = _vehicles(situation, topology.weights[stage])
        for i in topology.walks:
            vehicles[i] = 0.0 if situation.lanes[i].is_waiting is False else 1.0
        best, most = None, 0.0
        if situation.green_s < topology.max_greens_s[stage]:
            most = self._pressure(vehicles, stage)
        for change in topology.changes[stage]:
            pressure = self._pressure(vehicles, change.stage)
            if pressure > most:
                best, most = change.stage, pressure
        return best

    def _pressure(self, vehicles: list[float], stage: int) -> float:
        weights = self._topology.weights[stage]
        return sum([weights[i] * vehicles[i] for i in self._topology.lanes[stage]])


def _vehicles(situation: Situation, weights: tuple[float, ...]) -> list[float]:
    known = [lane.n_near for lane in situation.lanes if lane.n_near is not None] or [0]
    at_red, at_green = max(1.0, *known), sum(known) / len(known)
    found = []
    for lane, weight in zip(situation.lanes, weights, strict=True):
        unknown = 0.0 if lane.is_waiting is False else at_green if weight > 0.0 else at_red
        found.append(unknown if lane.n_near is None else float(lane.n_near))
    return found
