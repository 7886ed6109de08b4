"""Who waits, since when, and what has to be served at once so that nobody waits for longer than `max_red_s`.

A movement needs service from the moment it is red if it has a recall, else from its first call on. A call is kept
until it is served, since whoever called may only have moved out of sight; a lane that tells nothing calls, since
nobody knows that it is empty.

The stages that are needed are kept in the order in which their need began. Going through them in that order, each
for its least green, has to meet every movement's bound at any time: this is looked at before a green is prolonged
and before another stage is taken out of turn. A stage that is left joins the order at its end, where it is served
after one round of least greens at the latest, and a description whose round is too long is refused
(`junction_checks`). So the order can always be kept, whatever was chosen before.
"""

import math
from collections.abc import Iterable, Sequence

from common.junction import Recall
from edge_agent.domain.signals.layout import Layout
from edge_agent.domain.signals.program import Program
from edge_agent.domain.signals.stages import StageMachine
from edge_agent.domain.signals.steps import Lane

LOOK_S = 1.0
"""How long a decision stands before the next look."""


class Needs:
    """The waiting movements of one junction."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        n = layout.n_movements
        self._called_s: list[float | None] = [None] * n
        self._since_s = [math.inf] * n

    def restart(self) -> None:
        """Everybody begins to wait anew: after flash nobody can be behind."""
        self._called_s = [None] * self._layout.n_movements

    def update(self, now_s: float, machine: StageMachine, lanes: Sequence[Lane] | None) -> None:
        """Take in who calls. To be called about once a second, and before the other methods."""
        layout = self._layout
        for movement in range(layout.n_movements):
            red_s = machine.red_since_s(movement)
            if red_s is None:
                self._called_s[movement] = None
                self._since_s[movement] = math.inf
                continue
            if self._called_s[movement] is None and self._calls(movement, lanes):
                self._called_s[movement] = now_s
            called_s = self._called_s[movement]
            self._since_s[movement] = (
                red_s if layout.is_recalled[movement] else math.inf if called_s is None else called_s
            )

    def _calls(self, movement: int, lanes: Sequence[Lane] | None) -> bool:
        of_it = self._layout.lanes[movement]
        if self._layout.recalls[movement] is Recall.MAX or (lanes is None and of_it):
            return True
        return lanes is not None and any(lanes[lane].is_waiting is not False for lane in of_it)

    def conflicting_call_s(self, stage: int) -> float | None:
        """Since when somebody has called who waits for the end of this stage; None: nobody does."""
        calls = [called_s for m in self._layout.outside[stage] if (called_s := self._called_s[m]) is not None]
        return min(calls, default=None)

    def order(self, program: Program, stage: int | None) -> list[int]:
        """The stages that are needed besides the present one, the one whose need began first in front."""
        since = [(self._stage_since_s(one), i, one) for i, one in enumerate(self._around(program, stage))]
        return [one for since_s, _, one in sorted(since) if since_s < math.inf]

    def _around(self, program: Program, stage: int | None) -> Iterable[int]:
        """The program's other stages, once each, in its order from the present one on."""
        position = None if stage is None else program.find(stage, None)
        start = program.next_position(position)
        steps = [*program.steps[start:], *program.steps[:start]]
        return dict.fromkeys(step.stage for step in steps if step.stage != stage)

    def _stage_since_s(self, stage: int) -> float:
        return min((self._since_s[movement] for movement in self._layout.stages[stage]), default=math.inf)

    def can_keep(
        self,
        program: Program,
        now_s: float,
        present: int,
        order: Sequence[int],
        grain_s: float,
        chosen: int | None = None,
    ) -> bool:
        """Whether all are still served in time if the present stage goes on until the next look, or another one
        is served first.

        Args:
            order: as `order` told it.
            grain_s: how far steps lie apart: yellow, clearance and green may each last one longer.
            chosen: the stage to be served first.
        """
        layout, rounding_s = self._layout, 3.0 * grain_s
        least_s = {step.stage: step.least_s for step in program.steps}
        at_s = now_s + (LOOK_S if chosen is None else 0.0)
        behind = present
        served: set[int] = set(layout.stages[present])
        for stage in order if chosen is None else (chosen, *(one for one in order if one != chosen)):
            at_s += layout.between_s[behind][stage] + rounding_s
            for movement in layout.stages[stage] - served:
                if at_s > self._since_s[movement] + layout.max_red_s[movement]:
                    return False
            served |= layout.stages[stage]
            at_s += least_s.get(stage, layout.least_s[stage])
            behind = stage
        return True
