"""Green by what crosses the stop line: held while the lanes that would lose it keep crossing, then to who waits.

Crossings, not presence, hold a green: a turn that finds no gap stands on its detector and would hold it forever.
How long a queue is can only be guessed, from how much usually comes and how long it has been red.
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
        extra_s: what a change loses beyond yellow and clearance.
    """

    passage_s: float = 2.5
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
            if may_hold and self._holds(change, flowing):
                continue
            rate = rate_after(self._topology, change, vehicles, flowing, self._params.extra_s)
            if rate > most:
                best, most = change.stage, rate
        return best

    def _holds(self, change: Change, flowing: list[bool]) -> bool:
        return any(flowing[lane] for lane, _ in change.losers)
