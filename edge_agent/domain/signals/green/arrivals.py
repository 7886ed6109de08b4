"""When each vehicle that a camera sees came into sight: told from counts alone, first in and first out."""

from edge_agent.domain.signals.green.topology import Topology
from edge_agent.domain.signals.steps import Situation

BLIND_S = 2.0
"""After a longer time without a look it is not known when those in sight came; they are halfway, if they move."""
MOST = 200
"""Of one lane. Nobody sees more: whoever tells of more is wrong, and must not take the lights' memory and time."""


class Arrivals:
    """The vehicles in sight on the lanes that are green, foremost first. Pure, but for what it saw before."""

    def __init__(self, topology: Topology) -> None:
        self._topology = topology
        self._due_s: list[list[float]] = [[] for _ in topology.travels_s]
        self._crossed: list[int | None] = [None] * topology.n_lanes
        self._now_s, self._stage = float("-inf"), -1

    def update(self, situation: Situation) -> None:
        """Takes in what is the case now."""
        now_s, lanes, travels_s = situation.now_s, situation.lanes, self._topology.travels_s
        elapsed_s = now_s - self._now_s
        is_late = elapsed_s > BLIND_S or situation.stage != self._stage
        self._now_s, self._stage = now_s, situation.stage
        for i in self._topology.lanes[situation.stage]:
            lane, due_s, before = lanes[i], self._due_s[i], self._crossed[i]
            n, crossed = lane.n_near, lane.n_crossed
            if crossed != before:
                self._crossed[i] = crossed
                if crossed is not None and before is not None and crossed > before:
                    del due_s[: crossed - before]
            more = min(n or 0, MOST) - len(due_s)
            if more < 0:
                del due_s[:-more]
            elif more:
                new_s = now_s + travels_s[i] - (travels_s[i] if is_late else elapsed_s) / 2.0
                due_s += [max([new_s, *due_s[-1:]])] * more  # nobody overtakes

    def due_s(self, lane: int) -> list[float]:
        """When each of them would be at the stop line with nobody before it, the foremost first."""
        return self._due_s[lane]
