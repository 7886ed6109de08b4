"""Whether the lamps show what they were told to: the interlock's eyes, where the hardware can read back.

Each thing that may be wrong has a time for which it must be seen: relays and bulbs lag, and a reading may fall
between two lamps. What flickers adds up, until it has been well for `FORGET_S`. The times leave room for one step
before the first look, so that a conflict is found within 300 ms and a dark head within 800 ms where looks come
every 100 ms.
"""

from collections.abc import Mapping, Sequence

from common.codes import Aspect
from edge_agent.domain.signals.steps import FaultCode

CONFLICT_S = 0.2
"""Conflicting heads lit to go, or one lit to go that was not told to."""
DUAL_S = 0.3
"""Two colours on one head, or a head that could not be read."""
DARK_S = 0.7
"""No lamp lit, and any other difference."""
FLASH_S = 2.0
"""A flashing red lamp has to be seen lit within this."""
FORGET_S = 0.6
_TOLERANCE_S = 1e-6
_GO = frozenset({Aspect.GREEN, Aspect.YELLOW})
_NONE: frozenset[Aspect] = frozenset()
_STEADY = frozenset({Aspect.RED, Aspect.YELLOW, Aspect.GREEN})
_FLASHING_IN = {Aspect.FLASHING_RED: Aspect.RED, Aspect.FLASHING_YELLOW: Aspect.YELLOW}

Finding = tuple[FaultCode, str]
_Suspicion = tuple[float, FaultCode, str, str]
"""For how long it may be so, as what it counts, what it goes on as while its details change, and the details."""


class Lamps:
    """Compares what is lit with what was told, look by look.

    Args:
        names: of the movements.
        conflicts: pairs of their indexes.

    Attributes:
        wrong: what was wrong at the last look, however short it has been; empty: nothing.
    """

    def __init__(self, names: Sequence[str], conflicts: Sequence[tuple[int, int]]) -> None:
        self.wrong = ""
        self._names = tuple(names)
        self._conflicts = tuple(conflicts)
        self._first_s: dict[str, float] = {}
        self._last_s: dict[str, float] = {}
        self._blink_s: dict[int, float] = {}
        self._told: tuple[Aspect, ...] = ()
        self._right: dict[str, frozenset[Aspect]] | None = None

    def look(self, lit: Mapping[str, frozenset[Aspect]], told: tuple[Aspect, ...], now_s: float) -> Finding | None:
        """What has been wrong for too long by now, the worst first; None: nothing.

        Args:
            lit: the colours lit on each head.
            told: the aspect of each movement.
        """
        if told is not self._told:
            self._expect(told, now_s)
        if lit == self._right:
            found: list[_Suspicion] = []
        else:
            heads = (self._head(i, lit, now_s) for i in range(len(told)))
            found = [*self._pairs(lit), *(one for one in heads if one is not None)]
        self.wrong = found[0][3] if found else ""
        if found or self._first_s:
            self._remember({key for _, _, key, _ in found}, now_s)
        for for_s, code, key, detail in found:
            if now_s - self._first_s[key] >= for_s - _TOLERANCE_S:
                return code, detail
        return None

    def _remember(self, keys: set[str], now_s: float) -> None:
        """Since when each suspicion holds; one that has not been seen for a while is forgotten."""
        for key in keys:
            self._first_s.setdefault(key, now_s)
            self._last_s[key] = now_s
        for key in [key for key, last_s in self._last_s.items() if not 0.0 <= now_s - last_s < FORGET_S]:
            del self._first_s[key], self._last_s[key]

    def _expect(self, told: tuple[Aspect, ...], now_s: float) -> None:
        """Take over what is told now. What flashes has from now on to be seen lit."""
        flashing = {i for i, aspect in enumerate(told) if aspect in _FLASHING_IN}
        self._blink_s = {i: self._blink_s.get(i, now_s) for i in flashing}
        self._told = told
        steady = all(aspect in _STEADY for aspect in told)
        self._right = (
            {name: frozenset({told[i]}) for i, name in enumerate(self._names)} if steady and told else None
        )

    def _pairs(self, lit: Mapping[str, frozenset[Aspect]]) -> list[_Suspicion]:
        going = [bool(_GO & lit.get(name, _NONE)) for name in self._names]
        return [
            (
                CONFLICT_S,
                FaultCode.CONFLICT,
                f"pair {a} {b}",
                f"{self._names[a]} and {self._names[b]} are both lit to go",
            )
            for a, b in self._conflicts
            if going[a] and going[b]
        ]

    def _head(self, i: int, lit: Mapping[str, frozenset[Aspect]], now_s: float) -> _Suspicion | None:
        """What is wrong with one head, and for how long it may be."""
        name, told = self._names[i], self._told[i]
        colours = lit.get(name)
        if colours is None:
            return DUAL_S, FaultCode.LAMP_MISMATCH, f"unread {i}", f"{name} was not read back"
        may_be = _FLASHING_IN.get(told, told)
        words = " and ".join(sorted(colours))
        if (colours & _GO) - {may_be}:
            return CONFLICT_S, FaultCode.LAMP_MISMATCH, f"go {i}", f"{name} is lit {words} and should be {told}"
        if told in _FLASHING_IN:
            return self._flashing(i, may_be in colours, now_s)
        if not colours and told is not Aspect.DARK:
            return DARK_S, FaultCode.DARK_HEAD, f"dark {i}", f"{name} is dark and should be {told}"
        if len(colours) > 1:
            return DUAL_S, FaultCode.LAMP_MISMATCH, f"dual {i}", f"{name} is lit in {words}"
        if colours != ({told} & _STEADY):
            return DARK_S, FaultCode.LAMP_MISMATCH, f"other {i}", f"{name} is lit {words} and should be {told}"
        return None

    def _flashing(self, i: int, is_lit: bool, now_s: float) -> _Suspicion | None:
        """Half of the time it is dark, so only a lamp that is never lit is wrong."""
        if is_lit or now_s < self._blink_s[i]:
            self._blink_s[i] = now_s
        if now_s - self._blink_s[i] < FLASH_S:
            return None
        return 0.0, FaultCode.DARK_HEAD, f"flash {i}", f"{self._names[i]} should flash and is dark"
