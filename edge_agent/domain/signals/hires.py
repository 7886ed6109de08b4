"""The high-resolution event log: what the lights showed and why, and what the detectors told.

`Recorder.step` is called with every step of the control and gives the events since the last one. What is logged of
the lamps is what the interlock really let through, never what the controller wanted.
"""

from collections.abc import Mapping, Sequence

from common.codes import Aspect
from common.junction import Junction
from edge_agent.domain.signals.event_codes import Event, Told
from edge_agent.domain.signals.steps import Decision, Fault, Lane


class Recorder:
    """Turns steps into events. One for a junction, as long as its lights run; nothing is shown before its first
    step."""

    def __init__(self, junction: Junction) -> None:
        self._junction = junction

    def started(self, now_s: float, *, lost_power: bool, last_alive_s: float | None = None) -> list[Event]:
        """What is to be told first of all.

        Args:
            lost_power: the machine was off, or may have been; False where only the daemon was started again.
            last_alive_s: when the lights were last known to run, on the same clock, and so below 0 for an earlier
                boot. None: not known, and then no failure is dated.
        """
        raise NotImplementedError

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
        raise NotImplementedError
