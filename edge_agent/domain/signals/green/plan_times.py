"""Green times by the clock: `fixed`, and what corrects it once a cycle from counts, `webster` and `proportional`.

Counts at a stop line tell what was served, not what wanted to come: at capacity they equal it. So all that is
found from them has floors, and is followed slowly.
"""

from dataclasses import dataclass

from common.junction import Algorithm
from edge_agent.domain.signals.green.due import Deadlines
from edge_agent.domain.signals.green.observer import Observer
from edge_agent.domain.signals.green.topology import Topology
from edge_agent.domain.signals.steps import Situation

LOST_S = 1.0
"""A change loses this beyond yellow and clearance, until a queue has got going."""
FULL = 0.9
"""Load at which Webster's formula is cut off: it has no answer at 1."""


@dataclass(frozen=True, slots=True)
class WebsterParams:
    """Bounds of what is computed.

    Attributes:
        floor_s: no green is shorter, as permissive turns need time,
        cycle_s: nor the cycle shorter or longer than this.
        follow: share of the way to the new greens that is taken each cycle.
    """

    floor_s: float = 10.0
    cycle_s: tuple[float, float] = (36.0, 120.0)
    follow: float = 0.3


class Fixed:
    """The plan's stages in its order with its own green times."""

    name: str = Algorithm.FIXED.value

    def __init__(self, topology: Topology) -> None:
        self._topology = topology
        self._deadlines = Deadlines(topology)
        self.greens_s = list(topology.greens_s)

    def decide(self, situation: Situation) -> int | None:
        """See `GreenTime`."""
        due = self._deadlines.due(situation)
        if due is not None:
            return due
        if len(self._topology.order) == 1 and situation.stage in self._topology.order:
            return None
        if situation.green_s < self.greens_s[situation.stage] and situation.stage in self._topology.order:
            return None
        wanted = self._topology.after(situation.stage)
        if wanted == self._topology.order[0]:
            self.new_cycle(situation)
        for _ in self._topology.order:
            if self.greens_s[wanted] > 0.0 and wanted != situation.stage:
                return wanted
            wanted = self._topology.after(wanted)
        return None

    def new_cycle(self, situation: Situation) -> None:
        """A cycle begins: the place to find new greens."""


class Webster(Fixed):
    """Cycle and greens by Webster's formula from what the lanes' flows are, slowly followed.

    Args:
        is_fixed: it is the slow corrector of a fixed plan, and goes by that name.
    """

    def __init__(
        self,
        topology: Topology,
        observer: Observer | None = None,
        params: WebsterParams | None = None,
        *,
        is_fixed: bool = False,
    ) -> None:
        super().__init__(topology)
        self._params = params or WebsterParams()
        self._observer = observer or Observer(topology)
        self.name = (Algorithm.FIXED if is_fixed else Algorithm.WEBSTER).value

    def decide(self, situation: Situation) -> int | None:
        """See `GreenTime`."""
        self._observer.update(situation)
        return super().decide(situation)

    def new_cycle(self, situation: Situation) -> None:
        """Unmeasured lanes leave the plan's own greens as they are."""
        topology, params = self._topology, self._params
        if all(lane.n_crossed is None for lane in situation.lanes):
            return
        loads = stage_loads(topology, self._observer.flow_vps)
        lost_s = sum(topology.loss_s(i, topology.after(i)) + LOST_S for i in topology.order)
        load = min(FULL, sum(loads))
        low_s, high_s = params.cycle_s
        cycle_s = min(high_s, max(low_s, (1.5 * lost_s + 5.0) / (1.0 - load)))
        green_s = max(0.0, cycle_s - lost_s)
        for stage, own in zip(topology.order, loads, strict=True):
            if topology.greens_s[stage] <= 0.0:
                continue
            share = own / max(sum(loads), 1e-9)
            target_s = max(params.floor_s, topology.min_greens_s[stage], green_s * share)
            target_s = min(target_s, max(topology.max_greens_s[stage], topology.min_greens_s[stage]))
            self.greens_s[stage] += params.follow * (target_s - self.greens_s[stage])


class Proportional(Fixed):
    """The plan's cycle, divided in proportion to the busiest lane's vehicles of each stage in the last cycle."""

    name = Algorithm.PROPORTIONAL.value

    def __init__(self, topology: Topology) -> None:
        super().__init__(topology)
        self._counted = [0] * topology.n_lanes

    def new_cycle(self, situation: Situation) -> None:
        """Unmeasured lanes count as if they had needed their stage's own share."""
        topology = self._topology
        counts: list[float | None] = []
        for i, lane in enumerate(situation.lanes):
            counts.append(None if lane.n_crossed is None else max(0, lane.n_crossed - self._counted[i]))
            self._counted[i] = self._counted[i] if lane.n_crossed is None else lane.n_crossed
        needs = [self._need(stage, counts) for stage in topology.order]
        known = [need for need in needs if need is not None]
        if not known or sum(known) <= 0.0:
            self.greens_s = list(topology.greens_s)
            return
        total_s = sum(
            topology.greens_s[i] for i, need in zip(topology.order, needs, strict=True) if need is not None
        )
        for stage, need in zip(topology.order, needs, strict=True):
            if need is None:
                self.greens_s[stage] = topology.greens_s[stage]
                continue
            least_s = topology.min_greens_s[stage]
            most_s = max(least_s, topology.max_greens_s[stage])
            self.greens_s[stage] = min(most_s, max(least_s, total_s * need / sum(known)))

    def _need(self, stage: int, counts: list[float | None]) -> float | None:
        weights = self._topology.weights[stage]
        lanes = self._topology.lanes[stage]
        known = [n * weights[i] for i in lanes if (n := counts[i]) is not None]
        return max(known) if known else None


def stage_loads(topology: Topology, flow_vps: list[float]) -> list[float]:
    """Of each stage of the plan's order, the share of time that its busiest lane needs.

    A lane that several stages serve is counted in the one that gives it most, the first of these.
    """
    best = [max(topology.weights[i][lane] for i in topology.order) for lane in range(topology.n_lanes)]
    taken: set[int] = set()
    loads = []
    for stage in topology.order:
        own = [i for i in topology.lanes[stage] if i not in taken and topology.weights[stage][i] >= best[i]]
        taken.update(own)
        loads.append(max((flow_vps[i] * topology.headways_s[i] / best[i] for i in own), default=0.0))
    return loads
