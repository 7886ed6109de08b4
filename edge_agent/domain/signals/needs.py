"""Who waits, since when, and what has to be served at once so that nobody waits for longer than `max_red_s`.

A movement needs service from the moment it is red if it has a recall, else from its first call on. A call is kept
until it is served, since whoever called may only have moved out of sight; a lane that tells nothing calls, since
nobody knows that it is empty.

Always serving next whoever has waited longest, each stage for its least green, has to meet every movement's bound:
this is looked at before a green is prolonged and before another stage is taken out of turn. Who loses the green
then has waited least of all, so they are served after one round of least greens at the latest, and they do not put
off any other; a description whose round is too long is refused (`junction_checks`). So it can always be kept,
whatever was chosen before.
"""

import math
from collections.abc import Sequence

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

    def first(self, program: Program, present: int | None) -> int | None:
        """The stage that is needed most, besides the present one; None: nobody waits for another."""
        return self._first(program, present, self._waiting(present))

    def _waiting(self, present: int | None) -> set[int]:
        served = frozenset() if present is None else self._layout.stages[present]
        return {m for m, since_s in enumerate(self._since_s) if since_s < math.inf and m not in served}

    def _first(self, program: Program, present: int | None, waiting: set[int]) -> int | None:
        """The stage with the movement that has waited longest; among equals, the next one in the program."""
        best, best_s = None, math.inf
        for stage in program.around[present]:
            since_s = min((self._since_s[m] for m in self._layout.stages[stage] & waiting), default=math.inf)
            if since_s < best_s:
                best, best_s = stage, since_s
        return best

    def can_keep(
        self, program: Program, now_s: float, present: int, grain_s: float, chosen: int | None = None
    ) -> bool:
        """Whether all are still served in time if the present stage goes on until the next look, or another one
        is served first; and from then on always the `first`.

        Args:
            grain_s: how far steps lie apart: yellow, clearance and green may each last one longer.
            chosen: the stage to be served first.
        """
        layout, rounding_s = self._layout, 3.0 * grain_s
        at_s = now_s + (LOOK_S + grain_s if chosen is None else 0.0)
        waiting, behind, stage = self._waiting(present), present, chosen
        if not waiting or at_s + self._whole_s(program, rounding_s) <= min(self._due_s(m) for m in waiting):
            return True
        while stage is not None or (stage := self._first(program, behind, waiting)) is not None:
            at_s += layout.between_s[behind][stage] + rounding_s
            if any(at_s > self._due_s(movement) for movement in layout.stages[stage] & waiting):
                return False
            waiting -= layout.stages[stage]
            at_s += program.least_s[stage]
            behind, stage = stage, None
        return True

    def _due_s(self, movement: int) -> float:
        return self._since_s[movement] + self._layout.max_red_s[movement]

    def _whole_s(self, program: Program, rounding_s: float) -> float:
        """More than any round of least greens can take."""
        return program.longest_round_s + rounding_s * (len(program.stages) + 1)
