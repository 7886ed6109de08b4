"""Controller and interlock of one junction, wired as they belong together: for the daemon and for simulators."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from common.codes import Aspect, SignalMode
from common.commands import ClearFault, FixedPlan, ManualOverride, Order, OrderResult
from common.junction import Junction
from common.schedule import Local
from edge_agent.domain.signals.controller import Choose, Controller
from edge_agent.domain.signals.interlock import LIMITS, Interlock, Limits
from edge_agent.domain.signals.steps import Decision, Fault, FaultCode, Interval, Lane


@dataclass(frozen=True, slots=True)
class Step:
    """One step's outcome.

    Attributes:
        aspects: for the heads, as the interlock allowed them.
        decision: what the controller wanted; the same, but for a step in which a fault was found.
        fault: None: all is well.
    """

    aspects: Mapping[str, Aspect]
    decision: Decision
    fault: Fault | None


class Lights:
    """One junction's lights, pure.

    Args:
        junction: free of faults (`common.junction_checks`).
        now_s: monotonic, as in all methods.
        choose: see `controller.Choose`.

    Attributes:
        interlock: for `read_back` and `report`.
    """

    def __init__(
        self, junction: Junction, now_s: float, *, choose: Choose | None = None, limits: Limits = LIMITS
    ) -> None:
        self._controller = Controller(junction, now_s, choose=choose)
        self.interlock = Interlock(junction, now_s, limits)
        self._none = Decision(
            aspects={movement.name: Aspect.FLASHING_RED for movement in junction.movements},
            mode=SignalMode.FLASH,
            interval=Interval.FLASH,
        )

    def step(self, now_s: float, local: Local | None, lanes: Sequence[Lane] | None = None) -> Step:
        """What is to be shown from now on; see `Controller.step`. An exception of the controller is a fault."""
        interlock = self.interlock
        try:
            decision = self._controller.step(now_s, local, lanes, interlock.fault)
        except Exception as error:  # noqa: BLE001  whatever it is, the lights have to flash
            interlock.report(FaultCode.EXCEPTION, f"the controller: {type(error).__name__}: {error}", now_s)
            decision = self._none
        aspects = interlock.allow(decision.aspects, now_s, preempting=decision.mode is SignalMode.PREEMPT)
        return Step(aspects, decision, interlock.fault)

    def lit(self, step_s: float, at_s: float) -> None:
        """What was decided in the step of `step_s` is seen since `at_s` only, as where the machine stood still in
        between: yellow, clearances and greens last from then on."""
        self._controller.lit(step_s, at_s)
        self.interlock.lit(step_s, at_s)

    def standing(self, now_s: float) -> ManualOverride | FixedPlan | None:
        """See `Controller.standing`."""
        return self._controller.standing(now_s)

    def stand_on(self, order: ManualOverride | FixedPlan, now_s: float, local: Local | None) -> OrderResult:
        """See `Controller.stand_on`."""
        return self._controller.stand_on(order, now_s, local)

    def make_way(self, *, on: bool) -> None:
        """See `Controller.make_way`."""
        self._controller.make_way(on=on)

    @property
    def is_preempted(self) -> bool:
        """See `Controller.is_preempted`."""
        return self._controller.is_preempted

    def order(self, order: Order, now_s: float) -> OrderResult:
        """Carry out an order whole, or refuse it whole with the reason; `ClearFault` goes to the interlock."""
        if isinstance(order, ClearFault):
            return self.interlock.clear(now_s, order.fault)
        self._controller.take_fault(self.interlock.fault, now_s)
        return self._controller.order(order, now_s)
