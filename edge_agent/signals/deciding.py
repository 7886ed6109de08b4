"""What sensors tell, and the algorithm that decides by it: the way from the agent's words to the controller's."""

from collections.abc import Iterable, Mapping

from common.codes import Aspect
from common.junction import Junction
from edge_agent.domain.signals.green.ladder import Ladder
from edge_agent.domain.signals.sensing import Sensing
from edge_agent.domain.signals.steps import Chosen, Lane, Situation
from edge_agent.link.messages import Crossing, Presence
from edge_agent.signals.agent_link import Sensed


class Deciding:
    """Of one junction. Times are monotonic seconds; messages speak CLOCK_BOOTTIME, ahead of it by `ahead_ns`."""

    def __init__(self, junction: Junction, now_s: float) -> None:
        self._junction = junction
        self._sensing = Sensing(junction, now_s)
        self._ladders: dict[int, Ladder] = {}

    def choose(self, situation: Situation) -> Chosen:
        """Which stage is to be green; see `controller.Choose`."""
        ladder = self._ladders.get(situation.plan)
        if ladder is None:
            ladder = Ladder(self._junction, self._junction.plans[situation.plan])
            self._ladders[situation.plan] = ladder
        return Chosen(ladder.decide(situation), ladder.name, ladder.note)

    def lanes(
        self,
        now_s: float,
        sensed: Iterable[Sensed],
        shown: Mapping[str, Aspect],
        ahead_ns: int,
        hour: int | None,
    ) -> tuple[Lane, ...]:
        """What each lane tells, with what was sensed since the last call."""
        for message in sensed:
            at_s = (message.at_ns - ahead_ns) / 1e9
            if isinstance(message, Crossing):
                self._sensing.crossing(message.sensor, message.source, at_s)
            elif isinstance(message, Presence):
                self._sensing.presence(message.sensor, message.zone, at_s, message.n, message.n_standing)
            else:
                self._sensing.sensor(message.sensor, at_s, message.measures, message.why_not)
        green = {name for name, aspect in shown.items() if aspect is Aspect.GREEN}
        lanes = self._sensing.step(now_s, green, hour)
        # Its edges are logged by the recorder, from the same messages.
        self._sensing.edges()
        return lanes
