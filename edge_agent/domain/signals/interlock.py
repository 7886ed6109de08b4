"""The last word on what the heads show."""

from collections.abc import Mapping
from dataclasses import dataclass

from common.codes import Aspect
from common.commands import OrderResult
from common.junction import Junction
from edge_agent.domain.signals.steps import Fault, FaultCode


@dataclass(frozen=True, slots=True)
class Limits:
    """What the interlock allows for. The defaults are those of a real junction; a simulation in steps of 1 s needs
    a larger `late_step_s`.

    Attributes:
        late_step_s: a longer pause between two calls of `allow`, outside flash and dark, is a fault.
        min_flash_s: so long a fault flashes at least.
    """

    late_step_s: float = 0.5
    min_flash_s: float = 6.0


LIMITS = Limits()


class Interlock:
    """Judges each wanted set of aspects, and what is really lit; flashes red, latched, when anything is wrong.

    Args:
        now_s: monotonic, as in all methods.
    """

    def __init__(self, junction: Junction, now_s: float, limits: Limits = LIMITS) -> None:
        raise NotImplementedError

    @property
    def fault(self) -> Fault | None:
        """The first thing that went wrong, latched until `clear`."""
        raise NotImplementedError

    @property
    def starving(self) -> frozenset[str]:
        """Movements with a recall that have been red for longer than their `max_red_s`: to be reported."""
        raise NotImplementedError

    def allow(
        self, wanted: Mapping[str, Aspect], now_s: float, *, preempting: bool = False
    ) -> Mapping[str, Aspect]:
        """What is to be shown: `wanted` where that is safe, else flashing red everywhere. Never raises.

        Call it in every step, changed or not: a pause is a fault.

        Args:
            preempting: `Decision.mode` is PREEMPT: a running green may be cut to a preemption's
                `entry_min_green_s`.
        """
        raise NotImplementedError

    def read_back(self, lit: Mapping[str, frozenset[Aspect]] | None, now_s: float) -> None:
        """Compare what is really lit with what was allowed last. None: the hardware cannot tell."""
        raise NotImplementedError

    def report(self, code: FaultCode, detail: str, now_s: float) -> None:
        """Something else went wrong. A cause that persists is to be reported again in each step: `clear` is
        refused as long as it is."""
        raise NotImplementedError

    def clear(self, now_s: float) -> OrderResult:
        """Leave the latched flash, through start-up. Refused while the cause persists, and too early."""
        raise NotImplementedError
