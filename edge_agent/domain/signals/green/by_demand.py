"""What the algorithms that decide second by second have in common: deadlines first, then by who is there."""

from abc import ABC, abstractmethod

from edge_agent.domain.signals.green.demand import Demand
from edge_agent.domain.signals.green.due import Deadlines
from edge_agent.domain.signals.green.observer import Observer
from edge_agent.domain.signals.green.topology import Topology
from edge_agent.domain.signals.steps import Situation


class ByDemand(ABC):
    """A `GreenTime` that knows how many vehicles each lane has, seen or guessed, and whether they flow.

    Args:
        observer: what traffic taught so far; shared by the rungs of a ladder.
        passage_s: a lane without a crossing for this long is blocked or empty.
        has_camera: whether lanes tell how many are near.
    """

    def __init__(
        self, topology: Topology, observer: Observer | None, *, passage_s: float, has_camera: bool
    ) -> None:
        self._topology = topology
        self._deadlines = Deadlines(topology)
        self.observer = observer or Observer(topology)
        self._demand = Demand(topology, self.observer, passage_s, has_camera=has_camera)

    def decide(self, situation: Situation) -> int | None:
        """See `GreenTime`."""
        self.observer.update(situation)
        due = self._deadlines.due(situation)
        return due if due is not None else self._best(situation, *self._demand.of(situation))

    @abstractmethod
    def _best(self, situation: Situation, vehicles: list[float], flowing: list[bool]) -> int | None:
        """The stage to go to, by lanes' vehicles and whether they flow; None: stay."""
