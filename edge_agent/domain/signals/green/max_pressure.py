"""The stage with the most vehicles before it, looked at on a grid of time. Simple, and known to everybody."""

from common.junction import Algorithm
from edge_agent.domain.signals.green.due import Deadlines
from edge_agent.domain.signals.green.topology import Topology
from edge_agent.domain.signals.steps import Situation

PERIOD_S = 10.0


class MaxPressure:
    """Changes to the stage with most vehicles, one decision each `period_s` of green.

    A lane that is not measured counts as nobody only where no stage has more measured lanes: it counts as one.
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
        best, most = None, self._pressure(situation, stage)
        if situation.green_s >= topology.max_greens_s[stage]:
            most = 0.0
        for change in topology.changes[stage]:
            pressure = self._pressure(situation, change.stage)
            if pressure > most:
                best, most = change.stage, pressure
        return best

    def _pressure(self, situation: Situation, stage: int) -> float:
        weights, total = self._topology.weights[stage], 0.0
        for i in self._topology.lanes[stage]:
            lane = situation.lanes[i]
            n = lane.n_near
            if n is None:
                n = 0 if lane.is_waiting is False else 1
            total += weights[i] * n
        return total
