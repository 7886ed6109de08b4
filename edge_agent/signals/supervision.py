"""What systemd is told: that the lights are ready, that they live, what they do."""

import contextlib

from common.notify import notify, watchdog_interval_s
from edge_agent.signals.driving import Driven


class Watchdog:
    """Tells systemd that the lights live: only after a step that the heads took."""

    def __init__(self) -> None:
        self._every_s = watchdog_interval_s()
        self._next_s = float("-inf")
        self._status = ""

    def feed(self, driven: Driven) -> None:
        """After each step. A step that the heads did not take is none."""
        if self._every_s is None or not driven.heads_took_it or driven.now_s < self._next_s:
            return
        self._next_s = driven.now_s + self._every_s / 2
        decision = driven.decision
        status = str(driven.fault or "") or f"{decision.mode}, plan {decision.plan}"
        news = "" if status == self._status else f"\nSTATUS={status}"
        self._status = status
        tell_systemd(f"WATCHDOG=1{news}")


def tell_systemd(state: str) -> None:
    """A word of sd_notify(3); nothing happens where nobody listens."""
    # Who cannot be told will find out.
    with contextlib.suppress(OSError):
        notify(state)
