"""A junction's queues as plain numbers, second by second: enough to see who is served and who starves.

Vehicles come at random, stand in a lane, and leave one each two seconds of green. A share of them is never seen.
"""

import random
from dataclasses import dataclass, field

from common.junction import Junction
from edge_agent.domain.signals.green.base import GreenTime
from edge_agent.domain.signals.green.topology import Topology, topology
from edge_agent.domain.signals.steps import Lane, Situation

HEADWAY_S = 2
ZONE = 7
"""So many vehicles fit into the camera's zone."""


@dataclass
class Queues:
    """One run.

    Attributes:
        flows_vps: of each lane.
        seen: share of the vehicles that any sensor sees.
        dead: lanes of which no sensor measures.
        longest_red_s: of each stage of the plan, the longest that it was red.
        waited_s: sum of all vehicles' waiting.
    """

    junction: Junction
    green: GreenTime
    flows_vps: tuple[float, ...]
    seen: float = 1.0
    dead: frozenset[int] = frozenset()
    has_camera: bool = True
    seed: int = 0
    served: list[int] = field(default_factory=list)
    longest_red_s: list[float] = field(default_factory=list)
    waited_s: float = 0.0
    changes: list[tuple[float, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.view: Topology = topology(self.junction, self.junction.plans[0])
        self._rng = random.Random(self.seed)
        n = self.view.n_lanes
        self._lanes: list[list[bool]] = [[] for _ in range(n)]
        self._crossed, self._last_s = [0] * n, [float("-inf")] * n
        self._next_s = [0.0] * n
        self._stage, self._since_s, self._clear_until_s = self.view.order[0], 0.0, 0.0
        self._left_s = [0.0] * self.view.n_stages
        self.served, self.longest_red_s = [0] * n, [0.0] * self.view.n_stages

    def run(self, seconds: int) -> "Queues":
        """So many seconds; itself again."""
        for second in range(seconds):
            self._arrive()
            if second >= self._clear_until_s:
                self._discharge(second)
                self._decide(float(second))
            self.waited_s += sum(map(len, self._lanes))
        return self

    @property
    def waiting(self) -> list[int]:
        """Vehicles on each lane."""
        return [len(lane) for lane in self._lanes]

    def _arrive(self) -> None:
        for lane, flow_vps in zip(self._lanes, self.flows_vps, strict=True):
            if self._rng.random() < flow_vps:
                lane.append(self._rng.random() < self.seen)

    def _discharge(self, second: int) -> None:
        for i in self.view.lanes[self._stage]:
            if self._lanes[i] and second >= self._next_s[i]:
                is_seen = self._lanes[i].pop(0)
                self._next_s[i] = second + HEADWAY_S / self.view.weights[self._stage][i]
                self.served[i] += 1
                if is_seen:
                    self._crossed[i] += 1
                    self._last_s[i] = second

    def _decide(self, now_s: float) -> None:
        self._left_s[self._stage] = now_s
        red_s = tuple(now_s - left_s for left_s in self._left_s)
        for i in self.view.order:
            self.longest_red_s[i] = max(self.longest_red_s[i], red_s[i])
        if now_s - self._since_s < self.view.min_greens_s[self._stage]:
            return
        lanes = tuple(self._told(i, now_s) for i in range(self.view.n_lanes))
        situation = Situation(now_s, self._stage, now_s - self._since_s, red_s, lanes)
        wanted = self.green.decide(situation)
        if wanted is not None and wanted != self._stage:
            assert 0 <= wanted < self.view.n_stages
            self._clear_until_s = now_s + self.view.loss_s(self._stage, wanted)
            self._stage, self._since_s = wanted, self._clear_until_s
            self.changes.append((now_s, wanted))

    def _told(self, i: int, now_s: float) -> Lane:
        if i in self.dead:
            return Lane()
        near = sum(self._lanes[i][:ZONE])
        goes = self.view.weights[self._stage][i] > 0.0
        at_line = bool(self._lanes[i]) and self._lanes[i][0]
        headway_s = now_s - self._last_s[i]
        if not self.has_camera:
            return Lane(self._crossed[i], headway_s, is_waiting=at_line)
        return Lane(self._crossed[i], headway_s, near, near if goes else 0, at_line)
