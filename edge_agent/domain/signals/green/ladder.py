"""Which algorithm decides: the plan's own while the sensors allow, else the next one down, with the reason.

`adaptive` wants a camera on most lanes, `actuated` crossings on most lanes, `fixed` nothing. Both others do with
single lanes unmeasured: those get what is usual for them, and recall. Down it goes soon, up again only after a
while, so that a sensor that comes and goes does not make the lights restless. All rungs learn from the same
observer, so that whichever has to take over knows what usually comes.
"""

from dataclasses import dataclass

from common.junction import Algorithm, Junction, Plan
from edge_agent.domain.signals.green.actuated import Actuated
from edge_agent.domain.signals.green.adaptive import Adaptive
from edge_agent.domain.signals.green.base import GreenTime
from edge_agent.domain.signals.green.gap_out import GapOut, OwnTimes
from edge_agent.domain.signals.green.max_pressure import MaxPressure
from edge_agent.domain.signals.green.observer import Observer
from edge_agent.domain.signals.green.plan_times import Fixed, Proportional, Webster
from edge_agent.domain.signals.green.topology import Topology, topology
from edge_agent.domain.signals.steps import Lane, Situation


@dataclass(frozen=True, slots=True)
class LadderParams:
    """When to change the rung.

    Attributes:
        share: of the plan's lanes that must be measured.
        down_s, up_s: for how long it must have been so.
    """

    share: float = 0.5
    down_s: float = 5.0
    up_s: float = 60.0


def _has_camera(lane: Lane) -> bool:
    return lane.n_near is not None


def _has_stop_line(lane: Lane) -> bool:
    return lane.n_crossed is not None


_NEEDS = {
    Algorithm.ADAPTIVE.value: ("camera", _has_camera),
    Algorithm.MAX_PRESSURE.value: ("camera", _has_camera),
    Algorithm.ACTUATED.value: ("stop line", _has_stop_line),
    Algorithm.WEBSTER.value: ("stop line", _has_stop_line),
    Algorithm.PROPORTIONAL.value: ("stop line", _has_stop_line),
}
"""By rung: what tells it what it needs, and whether a lane has that."""


class Ladder:
    """A `GreenTime` that hands the decision to the highest rung whose sensors work.

    Attributes:
        note: why a lower rung than the plan's decides; empty where none does.
    """

    def __init__(self, junction: Junction, plan: Plan, params: LadderParams | None = None) -> None:
        self._params = params or LadderParams()
        self._topology = topology(junction, plan)
        self._names = tuple(lane.name for lane in junction.lanes)
        used = {i for stage in self._topology.order for i in self._topology.lanes[stage]}
        self._used = tuple(sorted(used - self._topology.walks))
        self.observer = Observer(self._topology, junction.seen_share)
        self._rungs = rungs(self._topology, plan, self.observer)
        self._rung = 0
        self._differs_from_s: float | None = None
        self.note = ""

    @property
    def name(self) -> str:
        """Of the algorithm that decides now."""
        return self._rungs[self._rung].name

    def decide(self, situation: Situation) -> int | None:
        """See `GreenTime`."""
        self.observer.update(situation)
        self._choose(situation)
        return self._rungs[self._rung].decide(situation)

    def _choose(self, situation: Situation) -> None:
        fitting = next(
            (k for k, rung in enumerate(self._rungs) if self._fits(rung, situation)), len(self._rungs) - 1
        )
        if fitting == self._rung:
            self._differs_from_s = None
            return
        if self._differs_from_s is None:
            self._differs_from_s = situation.now_s
        wait_s = self._params.down_s if fitting > self._rung else self._params.up_s
        if situation.now_s - self._differs_from_s >= wait_s:
            self._rung, self._differs_from_s = fitting, None
            self.note = self._why(situation)

    def _fits(self, rung: GreenTime, situation: Situation) -> bool:
        needs = _NEEDS.get(rung.name)
        if needs is None or not self._used:
            return True
        has = needs[1]
        return sum([has(situation.lanes[i]) for i in self._used]) >= self._params.share * len(self._used)

    def _why(self, situation: Situation) -> str:
        if self._rung == 0:
            return ""
        what, has = _NEEDS[self._rungs[0].name]
        lost = [self._names[i] for i in self._used if not has(situation.lanes[i])]
        return (
            f"{self.name} decides instead of {self._rungs[0].name}: no {what} tells of {', '.join(lost) or 'some'}"
        )


def rungs(view: Topology, plan: Plan, observer: Observer) -> tuple[GreenTime, ...]:
    """The plan's algorithm and what is below it. The last one needs no sensors.

    A coordinated plan keeps its cycle, so its fixed times are not corrected, and where its coordination is
    actuated, greens only end early.
    """
    if plan.offset_s is not None and plan.actuated_coordination:
        actuated, own = Algorithm.ACTUATED.value, OwnTimes(observer, Algorithm.FIXED.value)
        below = (GapOut(view, observer, actuated, has_camera=False), own)
        if plan.algorithm is not Algorithm.ADAPTIVE:
            return below
        return (GapOut(view, observer, plan.algorithm.value, has_camera=True), *below)
    fixed: GreenTime = Fixed(view) if plan.offset_s is not None else Webster(view, observer, is_fixed=True)
    match plan.algorithm:
        case Algorithm.ADAPTIVE:
            return Adaptive(view, observer), Actuated(view, observer), fixed
        case Algorithm.ACTUATED:
            return Actuated(view, observer), fixed
        case Algorithm.WEBSTER:
            return Webster(view, observer), fixed
        case Algorithm.PROPORTIONAL:
            return Proportional(view), fixed
        case Algorithm.MAX_PRESSURE:
            return MaxPressure(view), Actuated(view, observer), fixed
        case _:
            return (fixed,)
