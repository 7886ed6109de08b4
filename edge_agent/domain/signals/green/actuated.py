"""Green by what crosses the stop line: held by the lanes that go and would lose it, then to who waits.

Crossings, not presence, hold a green: a turn that finds no gap stands on its detector and would hold it forever.
How long a queue is can only be guessed, from how much usually comes and how long it has been red.

A lane that goes does not hold the green alone against everybody: its last vehicles would keep far more waiting
than they are. It is worth what it frees per second. At the stop line nobody sees how many follow, so it is taken
to go on as it does, whatever comes: at saturation flow while a queue goes, the slower the further apart its last
two came in this green. Another stage frees what waits for it in the time until that is gone, two changes included,
as `adaptive` counts it. Where that is more even so, going on is worse. It has to be `keep` times more: what waits
is a guess, who is stopped in full flow has to start anew, and a lane of which some vehicles go unseen may flow
though it seems not to.
"""

from dataclasses import dataclass

from common.junction import Algorithm
from edge_agent.domain.signals.green.by_demand import ByDemand
from edge_agent.domain.signals.green.observer import Observer
from edge_agent.domain.signals.green.rates import rate_after
from edge_agent.domain.signals.green.topology import Change, Topology
from edge_agent.domain.signals.steps import Situation


@dataclass(frozen=True, slots=True)
class ActuatedParams:
    """The rule's figures.

    Attributes:
        passage_s: a lane without a crossing for this long has gapped out; longer where vehicles go unseen.
        keep: how many times what still flows another stage must free.
        extra_s: what a change loses beyond yellow and clearance.
    """

    passage_s: float = 2.5
    keep: float = 1.5
    extra_s: float = 1.0


class Actuated(ByDemand):
    """Needs crossings, and a call where a vehicle waits. See the module."""

    name: str = Algorithm.ACTUATED.value

    def __init__(
        self, topology: Topology, observer: Observer | None = None, params: ActuatedParams | None = None
    ) -> None:
        self._params = params or ActuatedParams()
        super().__init__(topology, observer, passage_s=self._params.passage_s, has_camera=False)

    def _best(self, situation: Situation, vehicles: list[float], flowing: list[bool]) -> int | None:
        may_hold = situation.green_s < self._topology.max_greens_s[situation.stage]
        best, most = None, 0.0
        for change in self._topology.changes[situation.stage]:
            rate = rate_after(self._topology, change, vehicles, flowing, self._params.extra_s)
            held_vps = self._params.keep * self._flowing_vps(change, flowing) if may_hold else 0.0
            if rate > max(most, held_vps):
                best, most = change.stage, rate
        return best

    def _flowing_vps(self, change: Change, flowing: list[bool]) -> float:
        """What the lanes that go, and would lose the green, free."""
        return sum([lost / self._between_s(lane) for lane, lost in change.losers if flowing[lane]])

    def _between_s(self, lane: int) -> float:
        """From one vehicle to the next, as it goes now; never less than in a queue."""
        return max(self._topology.headways_s[lane], self.observer.seen * self.observer.gaps_s[lane])
