"""What became different from one step to the next, in words, once each: for the journal, and for the collector."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from common.codes import SignalMode
from edge_agent.signals.driving import Driven


@dataclass(frozen=True, slots=True)
class Change:
    """One line of a log.

    Attributes:
        level: info, warning or critical.
    """

    level: str
    action: str
    text: str
    context: Mapping[str, str] = field(default_factory=dict)


class Changes:
    """Call `step` with each step's outcome."""

    def __init__(self) -> None:
        self._mode: SignalMode | None = None
        self._fault = ""
        self._starving: frozenset[str] = frozenset()

    def step(self, driven: Driven) -> list[Change]:
        """What is new with it."""
        found = []
        fault, mode = str(driven.fault or ""), str(driven.decision.mode)
        if fault != self._fault:
            if fault:
                found.append(Change("critical", "lights_fault", fault))
            else:
                found.append(Change("info", "lights_fault_cleared", self._fault, {"mode": mode}))
        elif driven.decision.mode is not self._mode:
            found.append(Change("info", "lights_mode", f"mode {mode}", {"mode": mode}))
        if driven.starving is not self._starving:
            for name in sorted(driven.starving - self._starving):
                found.append(Change("warning", "lights_starving", waits_too_long(name), {"movement": name}))
        self._fault, self._mode, self._starving = fault, driven.decision.mode, driven.starving
        return found


def waits_too_long(name: str) -> str:
    """Of a movement that starves."""
    return f"{name} has been red for longer than its max_red_s"
