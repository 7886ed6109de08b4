"""Nobody waits longer than `max_red_s`: which stage has to be served now so that all deadlines hold."""

from common.junction import Recall
from edge_agent.domain.signals.green.topology import Service, Topology
from edge_agent.domain.signals.steps import Situation


def is_called(service: Service, situation: Situation) -> bool:
    """Whether it must be served: by recall, or since a vehicle is there, or might be as far as can be told."""
    if service.recall is not Recall.NONE:
        return True
    return any(_has_call(situation, lane) for lane in service.lanes)


def _has_call(situation: Situation, index: int) -> bool:
    lane = situation.lanes[index]
    if lane.is_waiting is None and lane.n_near is None:
        return True
    return bool(lane.is_waiting) or bool(lane.n_near)


class Deadlines:
    """Watches the longest red of each movement."""

    def __init__(self, topology: Topology) -> None:
        self._topology = topology
        self._soonest_s = min((s.max_red_s for s in topology.services), default=0.0)
        self._round_s = sum(
            topology.min_greens_s[i] + max((c.loss_s for c in topology.changes[i]), default=0.0)
            for i in topology.order
        )

    def due(self, situation: Situation) -> int | None:
        """The stage that can wait no longer; None: all can.

        The one with the nearest deadline is due when the time that is left is no more than it takes to serve all
        others of like urgency before it, each with its minimum green.
        """
        if max(situation.red_s) < self._soonest_s - self._round_s:
            return None
        waiting = sorted(self._waiting(situation))
        needed_s = 0.0
        for left_s, stage in waiting:
            loss_s = self._topology.loss_s(situation.stage, stage)
            if left_s <= needed_s + loss_s + self._slack_s(stage):
                return waiting[0][1]
            needed_s += loss_s + self._topology.min_greens_s[stage]
        return None

    def _slack_s(self, stage: int) -> float:
        """A change to another stage that was begun just before may have to be gone through first."""
        others = [i for i in self._topology.order if i != stage]
        return max((self._topology.min_greens_s[i] + self._topology.loss_s(stage, i) for i in others), default=0.0)

    def _waiting(self, situation: Situation) -> list[tuple[float, int]]:
        """(Seconds left, stage) of each called movement that is red, one entry a stage."""
        left: dict[int, float] = {}
        for service in self._topology.services:
            if situation.stage in service.stages or not is_called(service, situation):
                continue
            red_s = min(situation.red_s[i] for i in service.stages)
            stage = max(service.stages, key=lambda i: len(self._topology.lanes[i]))
            left[stage] = min(left.get(stage, service.max_red_s), service.max_red_s - red_s)
        return [(left_s, stage) for stage, left_s in left.items()]
