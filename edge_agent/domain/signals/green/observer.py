"""What situations teach over time: how much flows on each lane, how much of it is seen.

A lane that is not measured keeps the flow that it had. A share of the vehicles may never be seen, for want of a
tag or behind a truck. It shows when a queue goes: those seen in it take longer to pass than they would alone.
"""

import math

from common.junction import LEAST_SEEN
from edge_agent.domain.signals.green.topology import Topology
from edge_agent.domain.signals.steps import Situation

FLOW_MEMORY_S = 300.0
FIRST_FLOW_VPS = 0.02
"""Flow of a lane of which nothing is known yet, in vehicles per second."""
UNKNOWN_FLOW_VPS = 0.05
"""The least that is taken for a lane that never told anything; else it is as busy as the others."""
START_S = 4.0
"""So soon after a green began nothing is concluded from nobody's crossing yet."""
START_LOSS_S = 2.0
"""Until the first of a queue is over the line."""
MIN_QUEUE = 3
"""Shorter queues tell little of how much is seen."""
SEEN_PRIOR = 30.0
"""So many vehicles are taken to have passed at the start, of which the share was seen that is described."""
SEEN_MEMORY = 400.0
"""Vehicles after which the share seen is forgotten."""
QUEUE = 3
"""So many in sight on a lane are a queue, or dense like one."""
LEFT_MEMORY = 10.0
"""Greens after which it is forgotten whether a queue was left."""
ALL_SEEN = 0.92
"""Where this share is found, all are taken to be seen: queues differ."""


class Observer:
    """Learns from each situation; of one junction.

    Args:
        seen_share: of the vehicles, as it is described. Queues in a camera's zone correct it: light traffic has
            none, and a stop line does not see them. None: all.

    Attributes:
        flow_vps: vehicles seen per second, by lane.
        red_s: how long each lane has had no way; 0 while it has.
        at_red: how many were taken to stand on each lane when its green began.
        crossed_green: vehicles over the line in this green, by lane; None: not measured.
        gaps_s: between the last two vehicles over each lane's line in this green; 0 where there were not two.
        seen: share of the vehicles that is seen.
        left: share of each lane's greens that left a queue on it, lately.
    """

    def __init__(self, topology: Topology, seen_share: float | None = None) -> None:
        n = topology.n_lanes
        self._topology = topology
        self._crossed: list[int | None] = [None] * n
        self._base: list[int | None] = [None] * n
        self._standing: list[int | None] = [None] * n
        self._showed_traffic = [False] * n
        self._near: list[int | None] = [None] * n
        self._last_s: list[float | None] = [None] * n
        self._awaited: dict[int, int] = {}
        self._now_s: float | None = None
        self._situation: Situation | None = None
        self._stage, self._green_s = -1, 0.0
        self._seen, self._passed = SEEN_PRIOR, SEEN_PRIOR
        self.seen = 1.0
        if seen_share is not None and seen_share < ALL_SEEN:
            self.seen = seen_share
            self._seen = self.seen * ALL_SEEN * SEEN_PRIOR
        self._red_from_s = [0.0] * n
        self.flow_vps = [FIRST_FLOW_VPS] * n
        self.red_s = [0.0] * n
        self.at_green_red_s = [0.0] * n
        self.gaps_s = [0.0] * n
        self.left = [0.0] * n

    def update(self, situation: Situation) -> None:
        """Takes in what is the case now. `now_s` must not go back."""
        if situation is self._situation:
            return
        self._situation = situation
        now_s = situation.now_s
        elapsed_s = 0.0 if self._now_s is None else max(0.0, now_s - self._now_s)
        if self._now_s is None:
            self._red_from_s = [now_s] * len(self.flow_vps)
        self._now_s = now_s
        if situation.stage != self._stage or situation.green_s < self._green_s:
            self._on_new_green(situation)
        self._green_s = situation.green_s
        self._learn_flows(situation, elapsed_s)
        if self._awaited:
            self._learn_share(situation)

    def crossed_in_green(self, lane: int) -> int | None:
        """Vehicles over the line of `lane` since its stage's green began; None: not measured."""
        crossed, base = self._crossed[lane], self._base[lane]
        return None if crossed is None or base is None else crossed - base

    def hidden(self, lane: int) -> float:
        """Vehicles that stand unseen on a lane that has no way, most likely."""
        return self.flow_vps[lane] * (1.0 / self.seen - 1.0) * self.red_s[lane]

    def _on_new_green(self, situation: Situation) -> None:
        weights = self._topology.weights[situation.stage]
        before = self._topology.weights[self._stage] if self._stage >= 0 else (0.0,) * len(weights)
        self._stage = situation.stage
        self._awaited = {}
        start_s = situation.now_s - situation.green_s
        self._learn_left(before, weights)
        for i, weight in enumerate(weights):
            if weight > 0.0 and before[i] <= 0.0:
                self.at_green_red_s[i] = max(0.0, start_s - self._red_from_s[i])
                self._base[i] = self._crossed[i]
                self._forget_gap(i)
                standing = self._standing[i]
                if weight >= 1.0 and standing is not None and standing >= MIN_QUEUE:
                    self._awaited[i] = standing

    def _learn_left(self, before: tuple[float, ...], weights: tuple[float, ...]) -> None:
        """Whether a queue stayed on the lanes that lost their green."""
        for i, n_near in enumerate(self._near):
            if before[i] > weights[i] and n_near is not None:
                self.left[i] += ((n_near >= QUEUE) - self.left[i]) / LEFT_MEMORY

    def _learn_flows(self, situation: Situation, elapsed_s: float) -> None:
        fade = math.exp(-elapsed_s / FLOW_MEMORY_S)
        weights, flows, crossed, now_s = (
            self._topology.weights[situation.stage],
            self.flow_vps,
            self._crossed,
            situation.now_s,
        )
        for i, lane in enumerate(situation.lanes):
            n, before = lane.n_crossed, crossed[i]
            self._near[i] = lane.n_near
            if i in self._topology.walks:
                flows[i] = 0.0
            elif n is not None and before is not None:
                flows[i] *= fade
                if n > before:
                    flows[i] += (n - before) / FLOW_MEMORY_S
                    self._showed_traffic[i] = True
                    self._learn_gap(i, lane.headway_s, n - before, now_s)
            elif n is None:
                self._suppose(i, lane.usual_vps)
            if n is None or before is None or n < before:
                self._base[i] = n
                self._forget_gap(i)
            crossed[i] = n
            if weights[i] > 0.0:
                self._red_from_s[i] = now_s
                self.red_s[i] = 0.0
            else:
                self.red_s[i] = now_s - self._red_from_s[i]
                n_near, n_moving = lane.n_near, lane.n_moving
                self._standing[i] = None if n_near is None or n_moving is None else n_near - n_moving

    def _learn_gap(self, lane: int, headway_s: float | None, n: int, now_s: float) -> None:
        """`n` more crossed, the last of them so long ago: how far apart, where somebody crossed before them."""
        at_s, last_s = None if headway_s is None else now_s - headway_s, self._last_s[lane]
        self.gaps_s[lane] = 0.0 if at_s is None or last_s is None else max(0.0, (at_s - last_s) / n)
        self._last_s[lane] = at_s

    def _forget_gap(self, lane: int) -> None:
        self.gaps_s[lane], self._last_s[lane] = 0.0, None

    def _suppose(self, lane: int, usual_vps: float | None) -> None:
        """What flows on a lane that is not measured: its usual, else what it had, else as on the others."""
        if usual_vps is not None:
            self.flow_vps[lane] = usual_vps
        elif not self._showed_traffic[lane]:
            known = [flow for flow, was in zip(self.flow_vps, self._showed_traffic, strict=True) if was]
            self.flow_vps[lane] = max(UNKNOWN_FLOW_VPS, sum(known) / len(known) if known else 0.0)

    def _learn_share(self, situation: Situation) -> None:
        """A queue of which all that were seen are over the line: others were between them if it took longer."""
        start_s = situation.now_s - situation.green_s
        for i, standing in tuple(self._awaited.items()):
            lane, passed = situation.lanes[i], self.crossed_in_green(i)
            if passed is None or lane.headway_s is None:
                del self._awaited[i]
            elif passed >= standing:
                del self._awaited[i]
                took_s = situation.now_s - lane.headway_s - start_s - START_LOSS_S
                room = took_s / self._topology.headways_s[i] + 1.0
                fade = 1.0 - passed / SEEN_MEMORY
                self._seen = self._seen * fade + passed
                self._passed = self._passed * fade + max(room, passed)
                self.seen = min(1.0, max(LEAST_SEEN, self._seen / self._passed / ALL_SEEN))
