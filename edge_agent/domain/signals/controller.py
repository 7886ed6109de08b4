"""What the lights are to show, and why: modes, plans, orders, preemptions, start-up."""

from collections.abc import Callable, Sequence

from common.commands import Order, OrderResult
from common.junction import Junction
from edge_agent.domain.signals.schedule import Local
from edge_agent.domain.signals.steps import Chosen, Decision, Fault, Lane, Situation

Choose = Callable[[Situation], int | Chosen | None]
"""Which stage is to be green, by its index in the description; None or the present one: go on.

Asked once a second while a stage is green and past its minimum. Minimum and maximum green, `max_red_s` and recalls
are kept by the controller whatever it answers; where it raises, or answers what makes no sense, the plan's own
times decide, and `Decision.note` says so."""


class Controller:
    """One junction's lights, step by step. Begins with start-up.

    Args:
        junction: free of faults (`common.junction_checks`).
        now_s: monotonic, as in all methods.
        choose: how green times are found; None: the plan's own.
    """

    def __init__(self, junction: Junction, now_s: float, *, choose: Choose | None = None) -> None:
        raise NotImplementedError

    def step(
        self, now_s: float, local: Local | None, lanes: Sequence[Lane] | None = None, fault: Fault | None = None
    ) -> Decision:
        """What is to be shown from now on. To be called some times a second; `Decision.aspects` goes to the
        interlock.

        Args:
            local: the time on the wall; None while it is not known: then the plan stays.
            lanes: what each lane tells, in the description's order; None: nothing is measured.
            fault: the interlock's. While there is one, everything flashes red and orders are refused; start-up
                follows when it is gone.
        """
        raise NotImplementedError

    def order(self, order: Order, now_s: float) -> OrderResult:
        """Carry out an order whole, or refuse it whole with the reason. It takes effect at the next safe point.

        `ClearFault` is not for the controller: it is the interlock's (see `lights.Lights`).
        """
        raise NotImplementedError
