"""A plain stage machine with minimum green, yellow and clearance: in place of the controller, for benchmarks."""

from collections.abc import Mapping

from common.codes import Aspect
from common.junction import Junction
from edge_agent.domain.signals.green.base import GreenTime
from edge_agent.domain.signals.sensing import Sensing
from edge_agent.domain.signals.steps import Lane, Situation


class StageMachine:
    """Shows the stage that `green` wants, one step a second."""

    def __init__(self, junction: Junction, green: GreenTime) -> None:
        self._green = green
        self._stages = tuple(frozenset(stage.movements) for stage in junction.stages)
        self._movements = {m.name: m for m in junction.movements}
        self._stage, self._next = 0, 0
        self._since_s, self._until_s = 0.0, 0.0
        self._left_s = [0.0] * len(self._stages)
        self._phase = Aspect.GREEN

    def step(self, now_s: float, lanes: tuple[Lane, ...]) -> tuple[Mapping[str, Aspect], int]:
        """What each head shows from now on, and the stage."""
        if self._phase is Aspect.GREEN:
            self._on_green(now_s, lanes)
        if self._phase is Aspect.YELLOW and now_s >= self._until_s:
            self._phase, self._until_s = Aspect.RED, now_s + self._longest("red_clearance_s")
        if self._phase is Aspect.RED and now_s >= self._until_s:
            self._stage, self._since_s, self._phase = self._next, now_s, Aspect.GREEN
        return self._aspects(), self._stage

    def _on_green(self, now_s: float, lanes: tuple[Lane, ...]) -> None:
        self._left_s[self._stage] = now_s
        green_s = now_s - self._since_s
        if green_s < max(self._movements[m].min_green_s for m in self._stages[self._stage]):
            return
        red_s = tuple(0.0 if i == self._stage else now_s - s for i, s in enumerate(self._left_s))
        wanted = self._green.decide(Situation(now_s, self._stage, green_s, red_s, lanes))
        if wanted is not None and wanted != self._stage:
            self._next, self._phase = wanted, Aspect.YELLOW
            self._until_s = now_s + self._longest("yellow_s")

    def _ending(self) -> frozenset[str]:
        return self._stages[self._stage] - self._stages[self._next]

    def _longest(self, attribute: str) -> float:
        return max((float(getattr(self._movements[m], attribute)) for m in self._ending()), default=0.0)

    def _aspects(self) -> dict[str, Aspect]:
        green = self._stages[self._stage]
        shown = {name: Aspect.GREEN if name in green else Aspect.RED for name in self._movements}
        if self._phase is not Aspect.GREEN:
            shown |= dict.fromkeys(self._ending(), self._phase)
        return shown


class Sensed:
    """The stage machine behind our own sensing, so that a detector that is dead is found out."""

    def __init__(self, junction: Junction, machine: StageMachine) -> None:
        self._machine, self._junction = machine, junction
        self._sensing = Sensing(junction, 0.0)
        self._crossed = [0] * len(junction.lanes)
        self._green: frozenset[str] = frozenset()

    def step(self, now_s: float, lanes: tuple[Lane, ...]) -> tuple[Mapping[str, Aspect], int]:
        """As the stage machine's; what lanes tell goes the way that it goes in a daemon."""
        for i, (lane, told) in enumerate(zip(self._junction.lanes, lanes, strict=True)):
            self._sensing.sensor(lane.name, now_s, True)
            for _ in range((told.n_crossed or 0) - self._crossed[i]):
                self._sensing.crossing(lane.name, "stop", now_s)
            self._crossed[i] = told.n_crossed or 0
            if told.n_near is not None and told.n_moving is not None:
                self._sensing.presence(lane.name, "zone", now_s, told.n_near, told.n_near - told.n_moving)
        aspects, stage = self._machine.step(now_s, self._sensing.step(now_s, self._green))
        self._green = frozenset(name for name, aspect in aspects.items() if aspect is Aspect.GREEN)
        return aspects, stage
