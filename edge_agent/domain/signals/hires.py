"""The high-resolution event log: what the lights showed and why, and what the detectors told.

`Recorder.step` is called with every step of the control and gives the events since the last one. What is logged of
the lamps is what the interlock really let through, never what the controller wanted.

Per movement the order is strict: phase on, green, its minimum complete (but where an emergency vehicle cuts it),
why it ends, green's end, yellow, yellow's end, red clearance, its end, phase inactive; red clearance is told also
where it is 0 s, since readers take a cycle without it for damaged. Flash may come at any moment and ends whatever
was begun. A detector is on and off in turn, with a millisecond between at least. While nothing happens, who
decides is told again every `HEARTBEAT_S`: a longer silence means that nobody logged.
"""

from collections.abc import Iterator, Mapping, Sequence
from operator import attrgetter

from common.codes import Aspect
from common.hires import Code
from common.junction import Junction
from edge_agent.domain.signals.event_codes import ClockSet, Event, PreemptCall, Told
from edge_agent.domain.signals.hires_detectors import DetectorLog
from edge_agent.domain.signals.hires_phases import CallLog, PhaseLog
from edge_agent.domain.signals.hires_unit import MAX_PARAMETER, PlanLog, PreemptLog, UnitLog
from edge_agent.domain.signals.steps import Decision, Fault, Lane

HEARTBEAT_S = 60.0
"""Readers take a silence of two minutes by day for an outage."""

_at = attrgetter("at_s")


class Recorder:
    """Turns steps into events. One for a junction, as long as its lights run; all is red before its first step."""

    def __init__(self, junction: Junction) -> None:
        self._phases = PhaseLog(junction)
        self._calls = CallLog(junction)
        self._detectors = DetectorLog(junction)
        self._unit = UnitLog(junction)
        self._plans = PlanLog(junction)
        self._preempts = PreemptLog(junction)
        self._told_s = float("-inf")

    def started(self, now_s: float, *, lost_power: bool, last_alive_s: float | None = None) -> list[Event]:
        """What is to be told first of all.

        Args:
            lost_power: the machine was off, or may have been; False where only the daemon was started again.
            last_alive_s: when the lights were last known to run, on the same clock, and so below 0 for an earlier
                boot. None: not known, and then no failure is dated.
        """
        if not lost_power:
            return []
        failed = [] if last_alive_s is None else [Event(Code.POWER_FAILED, 0, last_alive_s)]
        return [*failed, Event(Code.POWER_RESTORED, 0, now_s)]

    def step(
        self,
        now_s: float,
        decision: Decision,
        shown: Mapping[str, Aspect],
        fault: Fault | None,
        *,
        lanes: Sequence[Lane] = (),
        told: Sequence[Told] = (),
    ) -> list[Event]:
        """The events since the last step, in order of their moments.

        Args:
            now_s: when `shown` began to be shown.
            shown: of every movement, as the interlock let it through.
            lanes: what each tells, in the junction's order; calls (43, 44) are made of it. Empty: no calls.
            told: what detectors, preemption inputs and the clock did since the last step. Moments may lie in the
                past, as the agent's do.
        """
        events = [event for one in sorted(told, key=_at) for event in self._tell(one)]
        events += self._detectors.step(now_s)
        events += self._unit.step(now_s, decision, shown, fault)
        events += self._plans.step(now_s, decision)
        events += self._preempts.step(now_s, decision)
        events += self._phases.step(now_s, shown, decision.ended)
        events += self._calls.step(now_s, shown, lanes)
        if events:
            self._told_s = now_s
        elif now_s - self._told_s >= HEARTBEAT_S:
            self._told_s = now_s
            events.append(Event(Code.UNIT_CONTROL, int(self._unit.control), now_s))
        events.sort(key=_at)
        return events

    def _tell(self, told: Told) -> Iterator[Event]:
        if isinstance(told, PreemptCall):
            yield from self._preempts.tell(told)
        elif isinstance(told, ClockSet):
            yield Event(Code.CLOCK_SET, min(round(abs(told.correction_s)), MAX_PARAMETER), told.at_s)
        else:
            yield from self._detectors.tell(told)
