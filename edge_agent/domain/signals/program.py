"""An order of stages with greens and bounds: a plan, or what an order made of one."""

from collections.abc import Sequence
from dataclasses import dataclass

from common.junction_times import bounds_s, most_left_s
from edge_agent.domain.signals.layout import Layout


@dataclass(frozen=True, slots=True)
class ProgramStep:
    """One stage of a round. Attributes as in `PlanStage`, with the bounds filled in."""

    stage: int
    green_s: float
    least_s: float
    most_s: float


class Program:
    """A round of stages.

    Attributes:
        plan: the index of the plan that it comes from.
        steps: in order.
        stages: those that it has.
        offset_s: of a coordinated plan.
        left_s: how much of a cycle its other steps may leave to the first one, where coordination is actuated.
        begins_s: when each step's green begins, after the first step's, at the program's own times.
        cycle_s: how long a round takes at them.
        least_s: of each stage that it has.
        longest_round_s: no round of least greens takes longer, in whatever order.
        around: of each stage, or none, the program's other stages in its order from there on.
    """

    def __init__(
        self, layout: Layout, plan: int, *, greens_s: Sequence[float] | None = None, is_free: bool = False
    ) -> None:
        described = layout.junction.plans[plan]
        self.plan = plan
        self.name = described.name
        self.algorithm = described.algorithm
        self.steps = tuple(
            ProgramStep(
                layout.stage_index[step.stage],
                step.green_s if greens_s is None else greens_s[i],
                *bounds_s(layout.junction, step),
            )
            for i, step in enumerate(described.stages)
        )
        self.stages = frozenset(step.stage for step in self.steps)
        self.offset_s = None if is_free else described.offset_s
        self.left_s = 0.0 if is_free else most_left_s(layout.junction, described)
        begins_s = [0.0]
        for i, step in enumerate(self.steps):
            following = self.steps[(i + 1) % len(self.steps)]
            begins_s.append(begins_s[-1] + step.green_s + layout.between_s[step.stage][following.stage])
        self.cycle_s = begins_s.pop()
        self.begins_s = tuple(begins_s)
        into_s = [max(layout.between_s[a][b] for a in self.stages) for b in self.stages]
        self.longest_round_s = sum(into_s) + sum(step.least_s for step in self.steps)
        self.least_s = {step.stage: step.least_s for step in self.steps}
        self.around: dict[int | None, tuple[int, ...]] = {
            stage: self._around(stage) for stage in (None, *range(layout.n_stages))
        }

    def next_position(self, position: int | None) -> int:
        """The step after this one."""
        return 0 if position is None else (position + 1) % len(self.steps)

    def find(self, stage: int, after: int | None) -> int | None:
        """The next step with this stage, looking on from a step; None: the program has no such."""
        start = self.next_position(after)
        n = len(self.steps)
        return next((i % n for i in range(start, start + n) if self.steps[i % n].stage == stage), None)

    def _around(self, stage: int | None) -> tuple[int, ...]:
        start = self.next_position(None if stage is None else self.find(stage, None))
        steps = [*self.steps[start:], *self.steps[:start]]
        return tuple(dict.fromkeys(step.stage for step in steps if step.stage != stage))
