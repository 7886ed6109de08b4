"""Lights and heads together, step by step. Whatever fails in it, the junction flashes red, or is red.

What may go wrong, and what follows:

* the controller raises, a lamp differs, a step is late: the interlock flashes, latched (`domain.signals.lights`);
* the heads do not take a step: reported to the interlock, heads into their safe state, and flash from then on;
* the interlock itself raises: it is never asked again, and this file flashes, until the process is started anew.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from common.codes import Aspect, SignalMode
from common.commands import Order, OrderResult
from common.schedule import Local
from edge_agent.domain.signals.interlock import Interlock
from edge_agent.domain.signals.lights import Lights
from edge_agent.domain.signals.steps import Decision, Fault, FaultCode, Interval, Lane
from edge_agent.drivers.base import HeadsError, SignalHeads
from edge_agent.link.messages import Crossing, Presence, SensorState

logger = logging.getLogger(__name__)

_REDS = frozenset({Aspect.RED, Aspect.FLASHING_RED, Aspect.DARK})


@runtime_checkable
class NeedsCare(Protocol):
    """Heads that have to say more to the interlock than what is lit: those that hang at other Pis."""

    def care(self, interlock: Interlock, now_s: float) -> None:
        """Called at the beginning of every step; may report and clear faults."""


@dataclass(frozen=True, slots=True)
class Driven:
    """One step's outcome.

    Attributes:
        aspects: that the heads were told to show.
        heads_took_it: whether they did.
        starving: movements that have been red for longer than their `max_red_s`.
    """

    now_s: float
    aspects: Mapping[str, Aspect]
    decision: Decision
    fault: Fault | None
    heads_took_it: bool
    starving: frozenset[str] = frozenset()


@runtime_checkable
class ManyPis(NeedsCare, Protocol):
    """Heads at other Pis, which also count, and are told how their greens are."""

    def sensed(self, boot_ns: int) -> list[Crossing | Presence | SensorState]:
        """What they counted since the last call, as if it were counted here, at `boot_ns` (CLOCK_BOOTTIME)."""

    def tell(self, driven: Driven) -> None:
        """Tell everybody how the junction is; called at the end of every step."""


class Driving:
    """One junction's lights on its heads. One thread calls all methods; none raises.

    Args:
        lights: may be replaced between two steps, where `is_red`.
        movements: all of the junction's.
        clock: the time that `now_s` is of, to see how long the heads took; None: they take none.
    """

    def __init__(
        self,
        lights: Lights,
        heads: SignalHeads,
        movements: Sequence[str],
        clock: Callable[[], float] | None = None,
    ) -> None:
        self.lights = lights
        self._heads = heads
        self._clock = clock
        self._flash: Mapping[str, Aspect] = dict.fromkeys(movements, Aspect.FLASHING_RED)
        self._fallen: Fault | None = None
        self._shown: Mapping[str, Aspect] = {}
        self._took_it = True
        self._needs_care = heads if isinstance(heads, NeedsCare) else None

    def step(self, now_s: float, local: Local | None, lanes: Sequence[Lane] | None) -> Driven:
        """Look at the lamps, decide, and show."""
        aspects, decision, fault = self._flash, _flashing(self._flash), self._fallen
        starving: frozenset[str] = frozenset()
        if fault is None:
            try:
                if self._needs_care is not None:
                    self._needs_care.care(self.lights.interlock, now_s)
                self._read_back(now_s)
                step = self.lights.step(now_s, local, lanes)
                aspects, decision, fault = step.aspects, step.decision, step.fault
                starving = self.lights.interlock.starving
            except Exception as error:  # noqa: BLE001 - nothing may keep the lights from flashing
                fault = self._fall(error, now_s)
        self._show(aspects, now_s)
        return Driven(now_s, aspects, decision, fault, self._took_it, starving)

    def order(self, order: Order, now_s: float) -> OrderResult:
        """Carry out an order whole, or refuse it with the reason."""
        if self._fallen is not None:
            reason = (
                f"{self._fallen.detail}; the daemon has to be started anew: systemctl restart stopline-signals"
            )
            return OrderResult(accepted=False, reason=reason)
        try:
            return self.lights.order(order, now_s)
        except Exception as error:
            logger.exception("an order failed", extra={"action": "order_failed"})
            self.report(FaultCode.EXCEPTION, f"an order: {_told(error)}", now_s)
            return OrderResult(accepted=False, reason=f"it failed: {_told(error)}; the lights flash")

    def replace(self, lights: Lights, now_s: float, local: Local | None) -> tuple[Order, OrderResult] | None:
        """Other lights take over; call it where `is_red`. An override that is in force is kept, if it fits.

        Returns:
            It, and whether it fits; None: there was none.
        """
        try:
            standing = self.lights.standing(now_s)
            self.lights = lights
            return None if standing is None else (standing, lights.stand_on(standing, now_s, local))
        except Exception as error:
            logger.exception("an override failed", extra={"action": "order_failed"})
            self.lights = lights
            self.report(FaultCode.EXCEPTION, f"an override: {_told(error)}", now_s)
            return None

    def report(self, code: FaultCode, detail: str, now_s: float) -> None:
        """Something else is wrong; flash from the next step on."""
        self._guarded(lambda: self.lights.interlock.report(code, detail, now_s), now_s)

    def make_way(self, now_s: float, *, on: bool) -> None:
        """Come to where `is_red`, though the plan have no such moment; off: there is no need any more."""
        self._guarded(lambda: self.lights.make_way(on=on), now_s)

    @property
    def is_red(self) -> bool:
        """Nobody may go now, and nobody is on the way: the lights may be replaced by others, which begin with
        start-up."""
        return bool(self._shown) and self._fallen is None and _REDS.issuperset(self._shown.values())

    def _read_back(self, now_s: float) -> None:
        """What was shown in the step before has had time to become light."""
        try:
            lit = self._heads.read_back()
        except HeadsError as error:
            self.lights.interlock.report(FaultCode.DRIVER_FAILED, str(error), now_s)
        else:
            self.lights.interlock.read_back(lit, now_s)

    def _show(self, aspects: Mapping[str, Aspect], now_s: float) -> None:
        try:
            self._heads.show(aspects, now_s)
        except Exception as error:
            if self._took_it or aspects != self._flash:
                # Those that still obey turn red now, and flash from the next step on. Before it is told: a log may
                # block.
                self._heads.fail_safe()
            if self._took_it:
                logger.critical("the heads failed: %s", error, exc_info=True, extra={"action": "heads_failed"})
            detail = str(error) if isinstance(error, HeadsError) else _told(error)
            self.report(FaultCode.DRIVER_FAILED, detail, now_s)
            self._took_it = False
        else:
            self._took_it = True
            if self._clock is not None and self._fallen is None and aspects != self._shown:
                at_s = self._clock()
                self._guarded(lambda: self.lights.lit(now_s, at_s), now_s)
        self._shown = aspects

    def _guarded(self, act: Callable[[], None], now_s: float) -> None:
        try:
            act()
        except Exception as error:  # noqa: BLE001 - told there
            self._fall(error, now_s)

    def _fall(self, error: Exception, now_s: float) -> Fault:
        logger.critical("the interlock failed", exc_info=error, extra={"action": "interlock_failed"})
        self._fallen = Fault(FaultCode.EXCEPTION, f"the interlock: {_told(error)}", now_s)
        return self._fallen


def _flashing(aspects: Mapping[str, Aspect]) -> Decision:
    return Decision(aspects=aspects, mode=SignalMode.FLASH, interval=Interval.FLASH)


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
