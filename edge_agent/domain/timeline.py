"""How time passes from update to update, when a source's clock is not what it should be."""

import math
from typing import NamedTuple

BACKWARDS_S = 1.0
"""A step back of up to this much is a source's jitter; a longer one is a new beginning."""


class Step(NamedTuple):
    """What one update means in time.

    Attributes:
        now_s: never goes backwards, save where `restarted`.
        dt_s: time since the update before, 0 or more; 0 for the first.
        restarted: this is the first update, or the clock jumped back: nothing known before holds any more.
    """

    now_s: float
    dt_s: float
    restarted: bool


class Timeline:
    """Turns the times of frames into steps. A frame that is a little late counts as of the latest time known."""

    def __init__(self) -> None:
        self._last_s: float | None = None

    def advance(self, t_s: float) -> Step:
        """The step from the update before to this one.

        Raises:
            ValueError: `t_s` is not a finite number.
        """
        if not math.isfinite(t_s):
            raise ValueError(f"a frame's time must be a finite number of seconds, not {t_s}")
        last_s = self._last_s
        if last_s is None or t_s < last_s - BACKWARDS_S:
            self._last_s = t_s
            return Step(now_s=t_s, dt_s=0.0, restarted=True)
        now_s = max(t_s, last_s)
        self._last_s = now_s
        return Step(now_s=now_s, dt_s=now_s - last_s, restarted=False)
