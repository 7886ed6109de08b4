"""What the running stage still frees, vehicle by vehicle.

Each vehicle in sight passes when it has come to the stop line, and a headway after the one before it.

A turn that lets others pass stands while they come, and goes when they have passed. Ending the green just then
would take its turn for good. One or two of such a lane pass at each change of lights; who had to stay at the last
one counts as freed once the others are over the line.
"""

from edge_agent.domain.signals.green.arrivals import MOST, Arrivals
from edge_agent.domain.signals.green.observer import Observer
from edge_agent.domain.signals.green.topology import Topology
from edge_agent.domain.signals.steps import Situation

LEAST_S = 1.0
"""The shortest prolongation: one step."""
TURN_S = 2.0
"""Until a turn goes after the last of those whom it lets pass."""
PATIENCE_S = 4.0
"""A turn that nobody hinders and that has not gone for so long is blocked by something else."""
ON_CHANGE = 1
"""So many of a lane that was hindered pass at a change of lights."""


class Running:
    """The stage that is green now. Pure, but for what it saw before."""

    def __init__(self, topology: Topology, observer: Observer) -> None:
        self._topology, self._observer = topology, observer
        self._arrivals = Arrivals(topology)
        self._before: Situation | None = None
        self._stayed = [0] * topology.n_lanes
        self._free_from_s: dict[int, float] = {}

    def update(self, situation: Situation) -> None:
        """Takes in what is the case now; each second of green that something is asked."""
        self._arrivals.update(situation)
        before, self._before = self._before, situation
        if before is not None and (before.stage != situation.stage or before.green_s > situation.green_s):
            self._free_from_s.clear()
            for i in self._topology.lanes[before.stage]:
                self._stayed[i] = max(0, (before.lanes[i].n_near or 0) - ON_CHANGE)
        for i, first in self._topology.gives_way[situation.stage]:
            if any(situation.lanes[j].n_moving for j in first):
                self._free_from_s.pop(i, None)
            else:
                self._free_from_s.setdefault(i, situation.now_s)

    def rate(self, situation: Situation, vehicles: list[float], flowing: list[bool]) -> float:
        """Vehicles per second, over the horizon in which that is most."""
        topology, stage, now_s = self._topology, situation.stage, situation.now_s
        headways_s, weights, stakes = topology.headways_s, topology.weights[stage], topology.stakes[stage]
        moments: list[tuple[float, float]] = []
        last_s: dict[int, float] = {}
        for i in topology.lanes[stage]:
            if flowing[i] and vehicles[i] > 0.0:
                gap_s = headways_s[i] / weights[i]
                first_s = self._first_s(situation.lanes[i].headway_s, gap_s)
                last_s[i] = self._pass(i, now_s, vehicles[i], first_s, gap_s, stakes[i], moments)
        for i, first in topology.gives_way[stage]:
            n = 0.0 if flowing[i] else min(vehicles[i], self._stayed[i] / self._observer.seen)
            if n >= 1.0 and self._may_go(i, now_s):
                first_s = max([last_s.get(j, 0.0) for j in first]) + TURN_S
                self._pass(i, now_s, n, first_s, headways_s[i] / weights[i], stakes[i], moments)
        return _most(moments)

    def _first_s(self, headway_s: float | None, gap_s: float) -> float:
        """Until the foremost passes. The last one that was seen to pass may not have been the last that passed."""
        if headway_s is None or self._observer.seen < 1.0:
            return gap_s / self._observer.seen
        return max(0.0, gap_s - headway_s)

    def _may_go(self, lane: int, now_s: float) -> bool:
        """Whether it is hindered, or was until a moment ago."""
        free_from_s = self._free_from_s.get(lane)
        return free_from_s is None or now_s - free_from_s <= PATIENCE_S

    def _pass(
        self,
        lane: int,
        now_s: float,
        n: float,
        at_s: float,
        gap_s: float,
        worth: float,
        moments: list[tuple[float, float]],
    ) -> float:
        """Adds when `n` vehicles of a lane pass, the first `at_s` from now; answers when the last one does."""
        due_s = self._arrivals.due_s(lane)
        in_sight = min(len(due_s), round(n * self._observer.seen)) or min(max(1, round(n)), MOST)
        each = n / in_sight
        worth, gap_s = worth * each, gap_s * each
        at_s -= gap_s
        for soonest_s in due_s[:in_sight] or [now_s] * in_sight:
            at_s += gap_s
            if soonest_s - now_s > at_s:
                at_s = soonest_s - now_s
            moments.append((at_s, worth))
        return at_s


def _most(moments: list[tuple[float, float]]) -> float:
    best = n = 0.0
    for at_s, worth in sorted(moments):
        n += worth
        rate = n / (at_s if at_s > LEAST_S else LEAST_S)
        if rate > best:
            best = rate
    return best
