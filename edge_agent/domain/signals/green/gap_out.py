"""Whether a green may end before its time in a coordinated plan, whose order and latest moments are its own.

Not which stage gains most, but whether anybody comes any more: what is left over is the coordinated stage's, which
serves those who come with the wave, seen or not yet seen. A stage with a lane that nobody tells of has its own
time.
"""

from edge_agent.domain.signals.green.demand import Demand
from edge_agent.domain.signals.green.observer import Observer
from edge_agent.domain.signals.green.topology import Topology
from edge_agent.domain.signals.steps import Lane, Situation

PASSAGE_S = 3.5
"""A lane without a crossing for this long has gapped out; longer where vehicles go unseen. Longer than for a green
that may come back soon: who was taken for the last of a queue, and was not, waits for a whole cycle."""


class GapOut:
    """A `GreenTime` that names the next stage where the present one's lanes have gapped out.

    Args:
        name: of the algorithm, as the plan has it.
        has_camera: whoever moves on the approach is waited for, too.
    """

    def __init__(self, topology: Topology, observer: Observer, name: str, *, has_camera: bool) -> None:
        self._topology, self._observer, self.name = topology, observer, name
        self._has_camera = has_camera
        self._demand = Demand(topology, observer, PASSAGE_S, has_camera=has_camera)

    def decide(self, situation: Situation) -> int | None:
        """See `GreenTime`."""
        self._observer.update(situation)
        following = self._topology.followers[situation.stage]
        _, flowing = self._demand.of(situation)
        for change in self._topology.changes[situation.stage]:
            if change.stage in following and any(
                flowing[lane] or not self._is_measured(situation.lanes[lane])
                for lane, _ in change.losers
                if lane not in self._topology.walks
            ):
                return None
        return following[0] if following else None

    def _is_measured(self, lane: Lane) -> bool:
        return lane.n_crossed is not None or (self._has_camera and lane.n_near is not None)


class OwnTimes:
    """A `GreenTime` for a coordinated plan whose sensors tell nothing: each green has the plan's own time."""

    def __init__(self, observer: Observer, name: str) -> None:
        self._observer, self.name = observer, name

    def decide(self, situation: Situation) -> int | None:
        """See `GreenTime`."""
        self._observer.update(situation)
        return None
