"""Waiting for what another thread or process does: for a condition, never for a duration."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
_PATIENCE_S = 60.0


def until(condition: Callable[[], T], meanwhile: Callable[[], object] = lambda: None) -> T:
    """The first true thing that `condition` gives; `meanwhile` is called between two looks."""
    until_s = time.monotonic() + _PATIENCE_S
    while not (found := condition()):
        assert time.monotonic() < until_s, "in vain"
        meanwhile()
        time.sleep(0.002)
    return found
