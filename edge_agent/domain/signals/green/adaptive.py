"""Green where most vehicles are freed per second, with the running platoon protected.

To interrupt the running stage and come back to it costs two changes and the time in which the other one clears.
All who would have passed meanwhile wait that long; all who wait for the other gain what clearing the running one
would have taken. So the other is due when

    vehicles it frees / (two changes + time to clear them)  >  vehicles of the running one / time to clear them

(Laemmer and Helbing's index, from exchanging two neighbours of an order). Both sides take the best horizon. Two
things matter in practice. Vehicles of a blocked lane, as behind a turn that finds no gap, do not count for the
running stage, unless its greens, and not those of the others, leave a queue again and again: then it is waited
for. And where vehicles come singly, those who are passing are soon replaced by the next, so that waiting for a gap
gains less than it seems, and green is wasted between them: the running stage counts only by how much it exceeds
its usual flow. While a queue goes on any of its lanes, or is waited for, no green is wasted, and it counts in
full. So it does where some go unseen: nobody can tell there that they come singly.

How loaded the junction is does not come into it: what is known of that is what was served, which looks light just
where lanes block each other.
"""

from dataclasses import dataclass

from common.junction import Algorithm
from edge_agent.domain.signals.green.by_demand import ByDemand
from edge_agent.domain.signals.green.observer import QUEUE, Observer
from edge_agent.domain.signals.green.rates import rate_after
from edge_agent.domain.signals.green.running import Running
from edge_agent.domain.signals.green.topology import Topology
from edge_agent.domain.signals.steps import Situation


@dataclass(frozen=True, slots=True)
class AdaptiveParams:
    """The rule's figures.

    Attributes:
        passage_s: a lane without a crossing for this long, and on which nobody moves, is blocked or empty;
            longer where vehicles go unseen.
        keep: how many times better another stage must be.
        extra_s: what a change loses beyond yellow and clearance: until a queue has got going.
    """

    passage_s: float = 3.0
    keep: float = 1.3
    extra_s: float = 1.0


class Adaptive(ByDemand):
    """Decides by the vehicles on each lane: seen by a camera, or else taken to be there. See the module."""

    name: str = Algorithm.ADAPTIVE.value

    def __init__(
        self, topology: Topology, observer: Observer | None = None, params: AdaptiveParams | None = None
    ) -> None:
        self._params = params or AdaptiveParams()
        super().__init__(topology, observer, passage_s=self._params.passage_s, has_camera=True)
        self._running = Running(topology, self.observer)

    def decide(self, situation: Situation) -> int | None:
        """See `GreenTime`."""
        self._running.update(situation)
        return super().decide(situation)

    def _best(self, situation: Situation, vehicles: list[float], flowing: list[bool]) -> int | None:
        stage = situation.stage
        best, most = None, 0.0
        for change in self._topology.changes[stage]:
            rate = rate_after(self._topology, change, vehicles, flowing, self._params.extra_s)
            if rate > most:
                best, most = change.stage, rate
        if best is None or situation.green_s >= self._topology.max_greens_s[stage]:
            return best
        hindered = self._running.hindered(situation, best, vehicles, flowing)
        running = self._running.rate(situation, vehicles, flowing, hindered)
        goes_on = [i for i in self._topology.lanes[stage] if flowing[i] or i in hindered]
        if self.observer.seen >= 1.0 and not any(vehicles[i] >= QUEUE for i in goes_on):
            running -= self._usual_vps(stage)
        return best if most > self._params.keep * max(0.0, running) else None

    def _usual_vps(self, stage: int) -> float:
        """What usually flows in it and goes on to come."""
        flow_vps, stakes = self.observer.flow_vps, self._topology.stakes[stage]
        return sum([stakes[i] * flow_vps[i] for i in self._topology.lanes[stage]])
