"""Events of the whole junction: who decides, flash, faults, plans, coordination, preemption."""

from collections.abc import Iterator, Mapping

from common.codes import Aspect, SignalMode
from common.hires import Code, Coordination, UnitAlarm, UnitControl, UnitFlash
from common.junction import Junction, Preemption
from common.junction_times import cycle_s, splits_s
from edge_agent.domain.signals.event_codes import Event, PreemptCall
from edge_agent.domain.signals.steps import Decision, Fault, FaultCode, Interval

MAX_PARAMETER = 32_767
_JUST_S = 2.0
"""What is longer ago than a step or two passed before anybody logged."""

_CONTROL = {
    SignalMode.AUTOMATIC: UnitControl.TIME_BASE,
    SignalMode.MANUAL_OVERRIDE: UnitControl.MANUAL,
    SignalMode.FIXED: UnitControl.SYSTEM,
    SignalMode.FLASH: UnitControl.MANUAL,
    SignalMode.OFF: UnitControl.OTHER,
}
_BY_PLAN = (SignalMode.AUTOMATIC, SignalMode.FIXED)
_FLASHING = (Aspect.FLASHING_RED, Aspect.FLASHING_YELLOW)
_OF_THE_CONTROLLER = (
    FaultCode.LATE_STEP,
    FaultCode.STARVED,
    FaultCode.PLAN_LOST,
    FaultCode.EXCEPTION,
    FaultCode.CLOCK_WENT_BACK,
)
_FAULT_NUMBERS = {code: number for number, code in enumerate(FaultCode, 1)}


class UnitLog:
    """Mode, flash, alarms and faults. Each is told when it changes, and in the first step."""

    def __init__(self, junction: Junction) -> None:
        self._coordinated = {plan.name for plan in junction.plans if plan.offset_s is not None}
        self._control: UnitControl | None = None
        self._fault: FaultCode | None = None
        self._last: dict[Code, int] = {}

    @property
    def control(self) -> UnitControl:
        """Who decides; neither a preemption nor a fault changes it."""
        return self._control or UnitControl.OTHER

    def step(
        self, now_s: float, decision: Decision, shown: Mapping[str, Aspect], fault: Fault | None
    ) -> Iterator[Event]:
        """The events of one step."""
        yield from self._faults(now_s, fault)
        if fault is None:
            self._control = _CONTROL.get(decision.mode, self._control)
        yield from self._tell(Code.UNIT_CONTROL, self.control, now_s)
        yield from self._tell(Code.UNIT_FLASH, _flash(decision, shown, fault), now_s)
        yield from self._tell(Code.UNIT_ALARM, self._alarms(decision, fault), now_s)
        is_manual = decision.mode is SignalMode.MANUAL_OVERRIDE
        if is_manual or Code.MANUAL_CONTROL in self._last:
            yield from self._tell(Code.MANUAL_CONTROL, int(is_manual), now_s)

    def _tell(self, code: Code, value: int, now_s: float) -> Iterator[Event]:
        if self._last.get(code) != value:
            self._last[code] = int(value)
            yield Event(code, int(value), now_s)

    def _faults(self, now_s: float, fault: Fault | None) -> Iterator[Event]:
        code = None if fault is None else fault.code
        if code is self._fault:
            return
        if self._fault is not None:
            yield Event(Code.ALARM_OFF, _FAULT_NUMBERS[self._fault], now_s)
        if code is not None:
            yield Event(Code.ALARM_ON, _FAULT_NUMBERS[code], now_s)
        self._fault = code

    def _alarms(self, decision: Decision, fault: Fault | None) -> UnitAlarm:
        alarms = UnitAlarm.NONE
        if fault is not None:
            alarms |= UnitAlarm.MONITOR_FLASH
            if fault.code is FaultCode.STARVED:
                alarms |= UnitAlarm.CYCLE_FAULT
        elif decision.mode is SignalMode.FLASH:
            alarms |= UnitAlarm.LOCAL_FLASH
        if decision.plan in self._coordinated:
            alarms |= UnitAlarm.COORDINATED if decision.mode in _BY_PLAN else UnitAlarm.LOCAL_FREE
        return alarms


def _flash(decision: Decision, shown: Mapping[str, Aspect], fault: Fault | None) -> UnitFlash:
    aspects = shown.values()
    if not any(aspect in _FLASHING for aspect in aspects):
        return UnitFlash.DARK if Aspect.DARK in aspects else UnitFlash.NONE
    if fault is not None:
        return UnitFlash.FAULT if fault.code in _OF_THE_CONTROLLER else UnitFlash.MONITOR
    return UnitFlash.START_UP if decision.interval is Interval.START_UP else UnitFlash.ORDER


class PlanLog:
    """Which plan is in force, and whether it keeps the common time."""

    def __init__(self, junction: Junction) -> None:
        self._junction = junction
        self._plans = {plan.name: (number, plan) for number, plan in enumerate(junction.plans, 1)}
        self._plan: str | None = None
        self._state: int | None = None
        self._zero_s: float | None = None

    def step(self, now_s: float, decision: Decision) -> Iterator[Event]:
        """The events of one step."""
        if decision.plan is None:
            return
        if decision.plan != self._plan:
            yield from self._changed(now_s, decision.plan)
        # An emergency vehicle has the junction: nothing keeps step with the neighbours.
        is_free = decision.coordination is None or decision.mode is SignalMode.PREEMPT
        state = int(Coordination.FREE if is_free else decision.coordination or 0)
        if state != self._state:
            self._state = state
            yield Event(Code.COORDINATION, state, now_s)
        zero_s = decision.zero_s
        if zero_s is not None and zero_s != self._zero_s and now_s >= zero_s:
            self._zero_s = zero_s
            if state != Coordination.FREE and now_s - zero_s <= _JUST_S:
                yield Event(Code.COORDINATION, int(Coordination.LOCAL_ZERO), zero_s)

    def _changed(self, now_s: float, name: str) -> Iterator[Event]:
        self._plan = name
        number, plan = self._plans.get(name, (0, None))
        yield Event(Code.PATTERN, number, now_s)
        if plan is None or plan.offset_s is None:
            yield Event(Code.CYCLE_LENGTH, 0, now_s)
            return
        yield Event(Code.CYCLE_LENGTH, min(round(cycle_s(self._junction, plan)), MAX_PARAMETER), now_s)
        yield Event(Code.OFFSET, min(round(plan.offset_s), MAX_PARAMETER), now_s)
        own_s = splits_s(self._junction, plan)
        phases = {one.phase: own_s[one.name] for one in self._junction.movements if one.name in own_s}
        for phase, split_s in sorted(phases.items()):
            yield Event(Code(Code.SPLIT_1 + phase - 1), min(round(split_s), MAX_PARAMETER), now_s)


class PreemptLog:
    """Calls of emergency vehicles, and what the controller made of them."""

    def __init__(self, junction: Junction) -> None:
        self._by_name = {one.name: one for one in junction.preemptions}
        self._by_number = {one.number: one for one in junction.preemptions}
        self._called_s: dict[int, float] = {}
        self._active: Preemption | None = None
        self._dwells = False

    def tell(self, told: PreemptCall) -> Iterator[Event]:
        """The events of one call, or of its end."""
        if told.preemption in self._by_name:
            yield from self._call(self._by_name[told.preemption].number, told.at_s, told.is_on)

    def step(self, now_s: float, decision: Decision) -> Iterator[Event]:
        """The events of one step."""
        number = decision.preemption
        wanted = None if number is None else self._by_number.get(number)
        if wanted is not self._active:
            if self._active is not None:
                yield from self._exit(self._active, now_s)
            if wanted is not None:
                yield from self._enter(wanted, now_s)
        if wanted is not None and not self._dwells:
            self._dwells = decision.interval is Interval.GREEN and decision.stage == wanted.stage
            if self._dwells:
                yield Event(Code.PREEMPT_DWELL, wanted.number, now_s)

    def _call(self, number: int, at_s: float, is_on: bool) -> Iterator[Event]:
        if is_on == (number in self._called_s):
            return
        if is_on:
            self._called_s[number] = at_s
            yield Event(Code.PREEMPT_CALL_ON, number, at_s)
        else:
            del self._called_s[number]
            yield Event(Code.PREEMPT_CALL_OFF, number, at_s)

    def _enter(self, preemption: Preemption, now_s: float) -> Iterator[Event]:
        """One that nobody told of is called when it is served: pairs are pairs."""
        self._active, self._dwells = preemption, False
        yield from self._call(preemption.number, now_s, True)
        yield Event(Code.PREEMPT_ENTRY, preemption.number, now_s)

    def _exit(self, preemption: Preemption, now_s: float) -> Iterator[Event]:
        self._active = None
        called_s = self._called_s.get(preemption.number)
        if called_s is not None and now_s - called_s >= preemption.max_presence_s:
            yield Event(Code.PREEMPT_MAX_PRESENCE, preemption.number, now_s)
        yield from self._call(preemption.number, now_s, False)
        yield Event(Code.PREEMPT_EXIT, preemption.number, now_s)
