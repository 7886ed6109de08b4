"""How many vehicles there are on each lane, and whether they go: seen, or else taken to be there."""

from edge_agent.domain.signals.green.observer import START_S, Observer
from edge_agent.domain.signals.green.topology import Topology
from edge_agent.domain.signals.steps import Lane, Situation

CAUTION = 1.5
"""A lane that is not measured is taken to have so many times the usual: nobody would see its queue grow."""
IMPATIENCE_S = 10.0
"""People who have waited this much longer count for one more: others have come to them, and some go at red."""
SURPRISE = 2.0
"""Where so many more than none are usual by now, nobody at the stop line is taken for somebody not seen."""


class Demand:
    """The vehicles before one junction.

    Args:
        passage_s: a lane without a crossing for this long, and on which nobody is seen to move, does not go.
        has_camera: whether what a camera sees of the approaches is used.
    """

    def __init__(self, topology: Topology, observer: Observer, passage_s: float, *, has_camera: bool) -> None:
        self._topology, self._observer = topology, observer
        self._passage_s, self._has_camera = passage_s, has_camera
        self._pressed_s: dict[int, float] = {}

    def of(self, situation: Situation) -> tuple[list[float], list[bool]]:
        """(Vehicles, whether they go) of each lane. Who has no way does not go."""
        seen, weights = self._observer.seen, self._topology.weights[situation.stage]
        passage_s = self._passage_s / seen
        starting = situation.green_s < START_S
        vehicles, flowing = [], []
        for i, lane in enumerate(situation.lanes):
            if i in self._topology.walks:
                vehicles.append(self._people(i, lane.is_waiting, situation.now_s, is_green=weights[i] > 0.0))
                flowing.append(False)
                continue
            headway_s, n_near = lane.headway_s, lane.n_near
            goes = weights[i] > 0.0 and (starting or (headway_s is not None and headway_s < passage_s))
            if n_near is None or not self._has_camera:
                n, goes = self._unseen(situation, i, lane, goes)
            else:
                goes = goes or (weights[i] > 0.0 and bool(lane.n_moving))
                n = float(n_near)
                if seen < 1.0:
                    n = n / seen if goes else n + self._observer.hidden(i)
            vehicles.append(n)
            flowing.append(goes)
        return vehicles, flowing

    def _people(self, walk: int, waits: bool | None, now_s: float, *, is_green: bool) -> float:
        """Who pressed a button; where nobody knows, somebody did. They hold no green: their minimum is enough."""
        if is_green or waits is False:
            self._pressed_s.pop(walk, None)
            return 0.0
        return 1.0 + (now_s - self._pressed_s.setdefault(walk, now_s)) / IMPATIENCE_S

    def _unseen(self, situation: Situation, index: int, lane: Lane, goes: bool) -> tuple[float, bool]:
        """Of a lane without a camera: from its usual flow and what the stop line tells."""
        observer = self._observer
        flow_vps = observer.flow_vps[index] / observer.seen
        if self._topology.weights[situation.stage][index] <= 0.0:
            return self._waiting(index, lane, flow_vps), False
        queue = max(1.0, flow_vps * observer.at_green_red_s[index])
        passed = observer.crossed_in_green(index)
        if passed is None:
            left = CAUTION * queue - situation.green_s / self._topology.headways_s[index]
            return max(0.0, left), left > 0.0
        return (max(1.0, queue - passed / observer.seen), True) if goes else (0.0, False)

    def _waiting(self, index: int, lane: Lane, flow_vps: float) -> float:
        usual = flow_vps * self._observer.red_s[index]
        waits = lane.is_waiting
        if waits is None and lane.n_near is not None:
            waits = lane.n_near > 0
        if waits is None:
            return CAUTION * usual
        if waits:
            return max(1.0, usual)
        return max(self._observer.hidden(index), usual - SURPRISE)
