"""From one stage to the next: which movement ends, clears and begins, and when.

A movement that is in both stages stays green. One that goes has its yellow (people have none), then its red
clearance; one that comes begins as soon as all that conflict with it have been red for theirs, so that nobody
waits for a clearance that does not concern them. The stage may be changed at any time, also while it is still
coming: each movement then has at least its own minimum green, and goes on from where it is.
"""

from collections.abc import Mapping
from types import MappingProxyType

from common.codes import Aspect
from edge_agent.domain.signals.layout import Layout
from edge_agent.domain.signals.steps import Termination

_TOLERANCE_S = 1e-6


class StageMachine:
    """All heads, on their way to a stage.

    Attributes:
        stage: that is green or coming; None: all red.
        green_from_s: since when all of it has been green; None: it is still coming, or `stage` is None.
        is_settled: all of the stage is green and all else red; nothing changes before the next `go`.
        aspects: what is shown, by name.
        ended: movements whose green ended in the last step, and why.
    """

    def __init__(self, layout: Layout, now_s: float) -> None:
        self._layout = layout
        self._shown = [Aspect.RED] * layout.n_movements
        self._since_s = [now_s] * layout.n_movements
        self._least_s = layout.min_green_s
        self._why = Termination.FORCE_OFF
        self.stage: int | None = None
        self.green_from_s: float | None = None
        self.is_settled = True
        self.ended: Mapping[str, Termination] = {}
        self.aspects: Mapping[str, Aspect] = self._by_name()

    def red_since_s(self, movement: int) -> float | None:
        """Since when a movement has been red; None: it is not."""
        return self._since_s[movement] if self._shown[movement] is Aspect.RED else None

    def is_cleared(self, now_s: float) -> bool:
        """Whether all are red, and have been for their clearance."""
        return all(
            aspect is Aspect.RED and now_s - since_s + _TOLERANCE_S >= clearance_s
            for aspect, since_s, clearance_s in zip(
                self._shown, self._since_s, self._layout.clearance_s, strict=True
            )
        )

    @property
    def is_yellow(self) -> bool:
        """Whether some movement is."""
        return Aspect.YELLOW in self._shown

    def lit(self, step_s: float, at_s: float) -> None:
        """What changed in the step of `step_s` is seen since `at_s` only, and lasts from then on."""
        self._since_s = [at_s if since_s == step_s else since_s for since_s in self._since_s]
        if self.green_from_s == step_s:
            self.green_from_s = at_s

    def go(self, stage: int | None, why: Termination, *, cut_s: float | None = None) -> None:
        """From the next step on, make way for a stage.

        Args:
            stage: None: all red.
            why: what ends, ends for this.
            cut_s: running greens may be cut to this, as for an emergency vehicle.
        """
        layout = self._layout
        self._why = why
        self._least_s = (
            layout.min_green_s if cut_s is None else tuple(min(least_s, cut_s) for least_s in layout.min_green_s)
        )
        if stage != self.stage:
            self.stage, self.green_from_s = stage, None
        self.is_settled = False

    def step(self, now_s: float) -> None:
        """Let time pass."""
        if self.ended:
            self.ended = {}
        if self.is_settled:
            return
        coming = self._layout.stages[self.stage] if self.stage is not None else frozenset()
        ended = {}
        before = list(self._shown)
        for movement, aspect in enumerate(before):
            for_s = now_s - self._since_s[movement] + _TOLERANCE_S
            if aspect is Aspect.YELLOW and for_s >= self._layout.yellow_s[movement]:
                self._set(movement, Aspect.RED, now_s)
            elif aspect is Aspect.GREEN and movement not in coming and for_s >= self._least_s[movement]:
                self._set(movement, Aspect.YELLOW if self._layout.has_yellow[movement] else Aspect.RED, now_s)
                ended[self._layout.names[movement]] = self._why
        for movement in coming:
            if before[movement] is Aspect.RED and self._is_clear(movement, now_s):
                self._set(movement, Aspect.GREEN, now_s)
        self.ended = ended
        if before != self._shown:
            self.aspects = self._by_name()
        self._settle(coming, now_s)

    def _set(self, movement: int, aspect: Aspect, now_s: float) -> None:
        self._shown[movement], self._since_s[movement] = aspect, now_s

    def _is_clear(self, movement: int, now_s: float) -> bool:
        """Whether all that conflict with a movement have been red for their clearance."""
        layout = self._layout
        return all(
            self._shown[rival] is Aspect.RED
            and now_s - self._since_s[rival] + _TOLERANCE_S >= layout.clearance_s[rival]
            for rival in layout.rivals[movement]
        )

    def _settle(self, coming: frozenset[int], now_s: float) -> None:
        has_come = all(self._shown[movement] is Aspect.GREEN for movement in coming)
        if has_come and self.stage is not None and self.green_from_s is None:
            self.green_from_s = now_s
        self.is_settled = has_come and all(
            aspect is Aspect.RED for movement, aspect in enumerate(self._shown) if movement not in coming
        )

    def _by_name(self) -> Mapping[str, Aspect]:
        return MappingProxyType(dict(zip(self._layout.names, self._shown, strict=True)))
