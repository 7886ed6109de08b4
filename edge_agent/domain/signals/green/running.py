"""What the running stage still frees, vehicle by vehicle.

Each vehicle in sight passes when it has come to the stop line, and a headway after the one before it. Vehicles of
a lane that does not go count for nothing, even behind a turn that others hinder: nobody knows when it finds its
gap, and one or two of them pass at each change of lights.

Where that is not enough, so that its greens leave a queue again and again, the turn is waited for: the gap comes
after those who hinder it, and a change before that would take from the lane what it lacks. Not so where the others
lack as much, as where the junction is overloaded: they would pay for it.
"""

from edge_agent.domain.signals.green.arrivals import MOST, Arrivals
from edge_agent.domain.signals.green.observer import Observer
from edge_agent.domain.signals.green.topology import Topology
from edge_agent.domain.signals.steps import Situation

LEAST_S = 1.0
"""The shortest prolongation: one step."""
TURN_S = 2.0
"""From when the last of those who hinder a turn has passed until it has."""
HOPE_S = 60.0
"""A lane from which nobody passed for longer is not hindered but shut, as by somebody who parks."""
LEFT_BEHIND = 0.3
"""A lane that is left with a queue by so many of its greens gets too little."""


class Running:
    """The stage that is green now. Pure, but for what it saw before."""

    def __init__(self, topology: Topology, observer: Observer) -> None:
        self._topology, self._observer = topology, observer
        self._arrivals = Arrivals(topology)

    def update(self, situation: Situation) -> None:
        """Takes in what is the case now; each second of green that something is asked."""
        self._arrivals.update(situation)

    def hindered(self, situation: Situation, other: int, vehicles: list[float], flowing: list[bool]) -> list[int]:
        """The lanes behind a turn that must let others pass and gets too little; none where `other` does too."""
        topology, stage, left = self._topology, situation.stage, self._observer.left
        found = [
            i
            for i in topology.yielding[stage]
            if left[i] >= LEFT_BEHIND
            and not flowing[i]
            and vehicles[i] >= 1.0
            and topology.stakes[stage][i] > 0.0
            and (headway_s := situation.lanes[i].headway_s) is not None
            and headway_s < HOPE_S
        ]
        if found and any(
            left[i] >= LEFT_BEHIND and topology.stakes[other][i] > 0.0 for i in topology.lanes[other]
        ):
            return []
        return found

    def rate(self, situation: Situation, vehicles: list[float], flowing: list[bool], hindered: list[int]) -> float:
        """Vehicles per second, over the horizon in which that is most."""
        topology, stage = self._topology, situation.stage
        headways_s, weights, stakes = topology.headways_s, topology.weights[stage], topology.stakes[stage]
        moments: list[tuple[float, float]] = []
        for i in topology.lanes[stage]:
            if flowing[i] and vehicles[i] > 0.0:
                gap_s = headways_s[i] / weights[i]
                first_s = self._first_s(situation.lanes[i].headway_s, gap_s)
                self._pass(i, situation.now_s, vehicles[i], first_s, gap_s, stakes[i], moments)
        last_s = max(moments)[0] if moments else 0.0
        for i in hindered:
            gap_s = headways_s[i] / weights[i]
            self._pass(i, situation.now_s, vehicles[i], last_s + TURN_S, gap_s, stakes[i], moments)
        return _most(moments)

    def _first_s(self, headway_s: float | None, gap_s: float) -> float:
        """Until the foremost passes. The last one that was seen to pass may not have been the last that passed."""
        if headway_s is None or self._observer.seen < 1.0:
            return gap_s / self._observer.seen
        return max(0.0, gap_s - headway_s)

    def _pass(
        self,
        lane: int,
        now_s: float,
        n: float,
        at_s: float,
        gap_s: float,
        worth: float,
        moments: list[tuple[float, float]],
    ) -> None:
        """Adds when `n` vehicles of a lane pass, the first `at_s` from now."""
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


def _most(moments: list[tuple[float, float]]) -> float:
    """Who ought to have passed by now passes whatever is decided, or does not go at all."""
    best = n = 0.0
    for at_s, worth in sorted(moments):
        if at_s > 0.0:
            n += worth
            rate = n / (at_s if at_s > LEAST_S else LEAST_S)
            if rate > best:
                best = rate
    return best
