"""How a head flashes: 50 to 60 times a minute, lit for half of the time and a little more."""

from common.codes import Aspect

PERIOD_S = 1.1
LIT_S = 0.6
"""Both are whole steps of the loop, so that every flash is like the other."""

_STEADY = {
    Aspect.RED: frozenset({Aspect.RED}),
    Aspect.YELLOW: frozenset({Aspect.YELLOW}),
    Aspect.GREEN: frozenset({Aspect.GREEN}),
    Aspect.DARK: frozenset[Aspect](),
}
_FLASHING = {Aspect.FLASHING_RED: _STEADY[Aspect.RED], Aspect.FLASHING_YELLOW: _STEADY[Aspect.YELLOW]}


def lit_colours(aspect: Aspect, now_s: float) -> frozenset[Aspect]:
    """Which lamps of a head are lit at this moment (monotonic)."""
    if aspect in _STEADY:
        return _STEADY[aspect]
    return _FLASHING[aspect] if now_s % PERIOD_S < LIT_S else _STEADY[Aspect.DARK]
