"""Controller and interlock of one junction, wired as they belong together: for the daemon and for simulators."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from common.codes import Aspect
from common.commands import Order, OrderResult
from common.junction import Junction
from edge_agent.domain.signals.controller import Choose
from edge_agent.domain.signals.interlock import LIMITS, Interlock, Limits
from edge_agent.domain.signals.schedule import Local
from edge_agent.domain.signals.steps import Decision, Fault, Lane


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
        self.interlock = Interlock(junction, now_s, limits)
        raise NotImplementedError

    def step(self, now_s: float, local: Local | None, lanes: Sequence[Lane] | None = None) -> Step:
        """What is to be shown from now on; see `Controller.step`. An exception of the controller is a fault."""
        raise NotImplementedError

    def order(self, order: Order, now_s: float) -> OrderResult:
        """Carry out an order whole, or refuse it whole with the reason; `ClearFault` goes to the interlock."""
        raise NotImplementedError
