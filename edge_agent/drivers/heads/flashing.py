"""How a head flashes: 50 to 60 times a minute, lit for half of the time and a little more."""

from collections.abc import Mapping

from common.codes import Aspect

PERIOD_S = 1.1
LIT_S = 0.6
"""Both are whole steps of the loop, so that every flash is like the other."""

_TOLERANCE_S = 0.01
_STEADY = {
    Aspect.RED: frozenset({Aspect.RED}),
    Aspect.YELLOW: frozenset({Aspect.YELLOW}),
    Aspect.GREEN: frozenset({Aspect.GREEN}),
    Aspect.DARK: frozenset[Aspect](),
}
_FLASHING = {Aspect.FLASHING_RED: _STEADY[Aspect.RED], Aspect.FLASHING_YELLOW: _STEADY[Aspect.YELLOW]}


class Flasher:
    """Which lamps are lit. Flashing begins with light: green must not be followed by half a second of nothing."""

    def __init__(self) -> None:
        self._from_s: float | None = None

    def lit(self, aspects: Mapping[str, Aspect], now_s: float) -> dict[str, frozenset[Aspect]]:
        """On each head at this moment (monotonic), if it is to show these from now on."""
        if _FLASHING.keys().isdisjoint(aspects.values()):
            self._from_s = None
        elif self._from_s is None or now_s < self._from_s:
            self._from_s = now_s
        return {name: _lit_colours(aspect, now_s - (self._from_s or 0.0)) for name, aspect in aspects.items()}


def _lit_colours(aspect: Aspect, for_s: float) -> frozenset[Aspect]:
    if aspect in _STEADY:
        return _STEADY[aspect]
    # Steps are not quite as far apart as they are to be.
    return _FLASHING[aspect] if (for_s + _TOLERANCE_S) % PERIOD_S < LIT_S else _STEADY[Aspect.DARK]
