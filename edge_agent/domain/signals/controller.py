"""What the lights are to show, and why: modes, plans, orders, preemptions, start-up.

The life of a junction's lights::

    START_UP ──> RUNNING ──> (all red) ──> FLASH <──> OFF
        ^           │                        │ │       │
        └───────────┴─ a fault is over ──────┴─┴───────┘

A fault of the interlock flashes at once; everything else waits for a safe point. Flash and off by order come after
all greens were ended as always. `running` decides when greens end, `stages` how.
"""

from collections.abc import Mapping, Sequence
from enum import Enum, auto
from types import MappingProxyType

from common.codes import Aspect, SignalMode
from common.commands import (
    Automatic,
    ClearFault,
    FixedPlan,
    Flash,
    ManualOverride,
    Off,
    Order,
    OrderResult,
    Preempt,
    with_time_left,
)
from common.junction import Junction
from common.junction_times import start_red_s
from common.override_times import check_order
from common.schedule import Local, Schedule
from edge_agent.domain.signals.layout import Layout
from edge_agent.domain.signals.overrides import override
from edge_agent.domain.signals.preemption import Preemptions
from edge_agent.domain.signals.program import Program
from edge_agent.domain.signals.running import Choose, Regime, Runner
from edge_agent.domain.signals.steps import Decision, Fault, Interval, Lane, Termination

__all__ = ["Choose", "Controller"]

FLASH_BEFORE_DARK_S = 3.0
"""Off goes through flash, so that nobody meets a junction that went dark at a glance."""
TELL_S = 60.0
"""For so long it is noted that an order has expired."""
_TOLERANCE_S = 1e-6


class _Life(Enum):
    START_UP = auto()
    RUNNING = auto()
    FLASH = auto()
    OFF = auto()


class Controller:
    """One junction's lights, step by step. Begins with start-up.

    Args:
        junction: free of faults (`common.junction_checks`).
        now_s: monotonic, as in all methods.
        choose: how green times are found; None: the plan's own.
    """

    def __init__(self, junction: Junction, now_s: float, *, choose: Choose | None = None) -> None:
        self._layout = layout = Layout(junction)
        self._startup = junction.startup
        self._start_red_s = start_red_s(junction)
        self._startup_stage = layout.stage_index[junction.startup.stage]
        self._schedule = Schedule(junction)
        self._scheduled = tuple(
            Regime(Program(layout, i), SignalMode.AUTOMATIC, asks=True) for i in range(len(junction.plans))
        )
        self._plan = 0
        self._preemptions = Preemptions(junction.preemptions)
        self._wish: Flash | Off | Regime | None = None
        self._until_s: float | None = None
        self._given: ManualOverride | FixedPlan | None = None
        self._makes_way = False
        self._fault: Fault | None = None
        self._expired = ""
        self._forget_s = 0.0
        self._flashing = _everywhere(layout, Aspect.FLASHING_RED)
        self._dark = _everywhere(layout, Aspect.DARK)
        self._runner = Runner(layout, self._scheduled[0], now_s, choose)
        self._life = _Life.START_UP
        self._from_s: float | None = None
        self._is_red = False
        self._last: tuple[object, ...] = ()
        self._decision: Decision | None = None

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
        if local is not None:
            self._plan = self._schedule.plan_at(local)
        if self._until_s is not None and now_s >= self._until_s:
            self._wish, self._until_s, self._expired = None, None, "the last order has expired"
            self._forget_s = now_s + TELL_S
        if self._expired and now_s >= self._forget_s:
            self._expired = ""
        self.take_fault(fault, now_s)
        if fault is None:
            self._live(now_s, local, lanes)
        return self._decide()

    def lit(self, step_s: float, at_s: float) -> None:
        """What changed in the step of `step_s` is seen since `at_s` only: all that it lasts for begins then."""
        self._runner.machine.lit(step_s, at_s)
        if self._from_s == step_s:
            self._from_s = at_s

    def order(self, order: Order, now_s: float) -> OrderResult:
        """Carry out an order whole, or refuse it whole with the reason. It takes effect at the next safe point.

        `ClearFault` is not for the controller: it is the interlock's (see `lights.Lights`).
        """
        if isinstance(order, Preempt):
            return self._order_preemption(order, now_s)
        if isinstance(order, ClearFault):
            return _refused(
                "there is no fault to clear" if self._fault is None else "only the interlock clears it"
            )
        if self._fault is not None:
            return _refused(f"the lights flash for a fault ({self._fault}); clear it first")
        if isinstance(order, Automatic):
            self._wish, self._until_s, self._expired = None, None, ""
        elif isinstance(order, Flash | Off):
            self._wish, self._until_s, self._expired = order, None, ""
        else:
            return self._order_times(order, now_s)
        return OrderResult(accepted=True)

    def _order_times(self, order: ManualOverride | FixedPlan, now_s: float) -> OrderResult:
        fits = check_order(self._layout.junction, order, self._plan)
        if not fits.accepted:
            return fits
        if isinstance(order, ManualOverride):
            program = override(self._layout, order, self._plan)
            regime = Regime(program, SignalMode.MANUAL_OVERRIDE, asks=False)
        else:
            names = [regime.program.name for regime in self._scheduled]
            program = Program(self._layout, names.index(order.plan), is_free=True)
            regime = Regime(program, SignalMode.FIXED, asks=False)
        self._wish, self._given, self._expired = regime, order, ""
        self._until_s = None if order.expires_s is None else now_s + order.expires_s
        return OrderResult(accepted=True)

    @property
    def is_preempted(self) -> bool:
        """Whether an emergency vehicle holds the junction, or waits for it."""
        lives = self._life in (_Life.START_UP, _Life.RUNNING)
        return self._preemptions.holding is not None or (lives and self._preemptions.is_waited_for)

    def standing(self, now_s: float) -> ManualOverride | FixedPlan | None:
        """The override that is in force, with the time that it has left; None: there is none."""
        if self._given is None or not isinstance(self._wish, Regime):
            return None
        left_s = None if self._until_s is None else max(0.0, self._until_s - now_s)
        return with_time_left(self._given, left_s)

    def stand_on(self, order: ManualOverride | FixedPlan, now_s: float, local: Local | None) -> OrderResult:
        """Keep an override that was in force under another description, if it fits; else its end is noted."""
        if local is not None:
            self._plan = self._schedule.plan_at(local)
        result = self._order_times(order, now_s)
        if not result.accepted:
            self._expired = f"the last order has ended: it does not fit what is configured now: {result.reason}"
            self._forget_s = now_s + TELL_S
        return result

    def make_way(self, *, on: bool) -> None:
        """Other lights are to take over, which needs all red: let the greens end as always, and none begin but an
        emergency vehicle's. Off: they are not to any more, so go on."""
        self._makes_way = on

    def _order_preemption(self, order: Preempt, now_s: float) -> OrderResult:
        fits = check_order(self._layout.junction, order)
        if not fits.accepted:
            return fits
        if order.on and self._fault is not None:
            return _refused(f"the lights flash for a fault ({self._fault})")
        if order.on and (self._life in (_Life.FLASH, _Life.OFF) or isinstance(self._wish, Flash | Off)):
            return _refused("the lights flash or are off by order; order automatic first")
        self._preemptions.switch(order.preemption, order.on, now_s)
        return OrderResult(accepted=True)

    def take_fault(self, fault: Fault | None, now_s: float) -> None:
        """There is a fault of the interlock, or it is gone: as `step` is told, but between steps, so that an order
        that comes then is judged by what is so."""
        was, self._fault = self._fault, fault
        if fault is not None and was is None:
            self._enter(_Life.FLASH, now_s)
        elif fault is None and was is not None and not isinstance(self._wish, Flash | Off):
            self._enter(_Life.START_UP, now_s)

    def _enter(self, life: _Life, now_s: float) -> None:
        # Start-up is timed from the step in which it is first shown.
        self._life, self._from_s = life, None if life is _Life.START_UP else now_s
        if life is not _Life.START_UP:
            self._preemptions.end()

    def _wanted_regime(self) -> Regime:
        return self._wish if isinstance(self._wish, Regime) else self._scheduled[self._plan]

    def _live(self, now_s: float, local: Local | None, lanes: Sequence[Lane] | None) -> None:
        """One step of a life without a fault."""
        wish = self._wish
        if self._life is _Life.START_UP and isinstance(wish, Flash | Off):
            self._enter(_Life.FLASH, now_s)
        elif self._life is _Life.FLASH and isinstance(wish, Off):
            if self._from_s is not None and now_s - self._from_s >= FLASH_BEFORE_DARK_S - _TOLERANCE_S:
                self._enter(_Life.OFF, now_s)
        elif self._life is _Life.OFF and isinstance(wish, Flash):
            self._enter(_Life.FLASH, now_s)
        elif self._life in (_Life.FLASH, _Life.OFF) and not isinstance(wish, Flash | Off):
            self._enter(_Life.START_UP, now_s)
        if self._life is _Life.START_UP:
            self._start_up(now_s)
        if self._life is _Life.RUNNING:
            self._run(now_s, local, lanes)

    def _start_up(self, now_s: float) -> None:
        """Flash where that is described, then all red, then the first stage."""
        if self._from_s is None:
            self._from_s, self._is_red = now_s, False
        if not self._is_red and now_s - self._from_s >= self._startup.flash_s - _TOLERANCE_S:
            self._is_red, self._from_s = True, now_s
            self._runner.restart(self._wanted_regime(), now_s)
        if self._is_red and now_s - self._from_s >= self._start_red_s - _TOLERANCE_S:
            self._life = _Life.RUNNING
            self._runner.rule(self._wanted_regime())
            self._runner.go(self._startup_stage, now_s, Termination.FORCE_OFF)

    def _run(self, now_s: float, local: Local | None, lanes: Sequence[Lane] | None) -> None:
        runner = self._runner
        if isinstance(self._wish, Flash | Off):
            self._preemptions.end()
            if runner.machine.stage is not None:
                runner.go(None, now_s, Termination.FORCE_OFF)
        elif self._makes_way and not self.is_preempted:
            if runner.machine.stage is not None:
                runner.go(None, now_s, Termination.FORCE_OFF)
        else:
            if runner.machine.stage is None:
                runner.release(None, now_s, otherwise=self._startup_stage)
            regime = self._wanted_regime()
            runner.pending = None if regime is runner.regime else regime
            self._preempt(now_s)
        runner.step(now_s, local, lanes, is_held=self._preemptions.holding is not None)
        # At a flashing red others may go after a stop: not before who is on the junction has left it.
        flashes = isinstance(self._wish, Flash | Off)
        if flashes and runner.machine.stage is None and runner.machine.is_cleared(now_s):
            self._enter(_Life.FLASH, now_s)

    def _preempt(self, now_s: float) -> None:
        """Bring an emergency vehicle's stage, or go on when it has passed."""
        runner, held = self._runner, self._preemptions.holding
        if self._preemptions.is_quiet:
            return
        begun_s, stage = runner.machine.green_from_s, runner.machine.stage
        green_s = None if begun_s is None else now_s - begun_s
        least_s = 0.0 if stage is None else self._layout.least_s[stage]
        is_served = green_s is not None and green_s >= least_s - _TOLERANCE_S
        if not self._preemptions.update(now_s, green_s, overdue_s=runner.overdue_s(now_s), is_served=is_served):
            return
        holds = self._preemptions.holding
        if holds is not None:
            wanted = self._layout.stage_index[holds.stage]
            runner.go(wanted, now_s, Termination.FORCE_OFF, cut_s=holds.entry_min_green_s)
        elif held is not None:
            back = None if held.exit_stage is None else self._layout.stage_index[held.exit_stage]
            runner.release(back, now_s, otherwise=self._startup_stage)

    def _decide(self) -> Decision:
        """What came of it. The same object as before where nothing changed."""
        runner, machine, holds = self._runner, self._runner.machine, self._preemptions.holding
        seen = (
            machine.aspects,
            self._life,
            self._is_red,
            self._fault,
            runner.regime,
            machine.stage,
            runner.coming_from,
            machine.green_from_s is None,
            runner.algorithm,
            runner.note,
            runner.coordination,
            runner.zero_s,
            holds,
            self._expired,
            len(self._preemptions.stuck),
            len(self._preemptions.resting),
        )
        if self._decision is None or machine.ended or seen != self._last or self._decision.ended:
            self._last, self._decision = seen, self._new_decision()
        return self._decision

    def _new_decision(self) -> Decision:
        if self._life is _Life.RUNNING:
            return self._of_running()
        regime = self._runner.regime
        if self._life is _Life.START_UP:
            aspects = self._runner.machine.aspects if self._is_red else self._flashing
            mode, interval = regime.mode, Interval.START_UP
        elif self._life is _Life.OFF:
            aspects, mode, interval = self._dark, SignalMode.OFF, Interval.OFF
        else:
            aspects, mode, interval = self._flashing, SignalMode.FLASH, Interval.FLASH
        return Decision(
            aspects=aspects,
            mode=mode,
            interval=interval,
            plan=regime.program.name,
            note=self._note(),
        )

    def _of_running(self) -> Decision:
        runner, machine, holds = self._runner, self._runner.machine, self._preemptions.holding
        regime, names = runner.regime, self._layout.stage_names
        is_green = machine.green_from_s is not None
        stage = machine.stage if is_green else runner.coming_from
        following = None if is_green else machine.stage
        clearing = Interval.YELLOW if machine.is_yellow else Interval.RED_CLEARANCE
        return Decision(
            aspects=machine.aspects,
            mode=regime.mode if holds is None else SignalMode.PREEMPT,
            interval=Interval.GREEN if is_green else clearing,
            stage=None if stage is None else names[stage],
            next_stage=None if following is None else names[following],
            plan=regime.program.name,
            algorithm=runner.algorithm,
            ended=machine.ended,
            note=self._note(),
            coordination=runner.coordination,
            zero_s=runner.zero_s,
            preemption=None if holds is None else holds.number,
        )

    def _note(self) -> str:
        parts = [
            "" if self._fault is None else str(self._fault),
            self._expired,
            self._runner.note if self._life is _Life.RUNNING else "",
            *(
                f"the preemption {name} was on for too long and is ignored until it goes off"
                for name in sorted(self._preemptions.stuck)
            ),
            *(
                f"the preemption {name} comes again and again: others have their turn first"
                for name in sorted(self._preemptions.resting)
            ),
        ]
        return "; ".join(part for part in parts if part)


def _everywhere(layout: Layout, aspect: Aspect) -> Mapping[str, Aspect]:
    return MappingProxyType(dict.fromkeys(layout.names, aspect))


def _refused(reason: str) -> OrderResult:
    return OrderResult(accepted=False, reason=reason)
