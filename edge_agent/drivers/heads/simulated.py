"""Lamps that are only remembered: for demonstrations, for benches, and for tests of everything around them."""

import contextlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

from common.codes import Aspect
from edge_agent.drivers.base import HeadsError
from edge_agent.drivers.heads.flashing import Flasher

_SAFE = frozenset({Aspect.RED})


class SimulatedHeads:
    """`SignalHeads` in memory. Reds are lit from the beginning.

    Args:
        movements: that have a head.
        record: a file that a line of JSON is appended to whenever a lamp changes: `t_s` (monotonic), and what is
            lit on each head. None: nowhere.

    Attributes:
        stuck: lamps that do not obey: movement and colour -> whether it is lit all the same.
        misread: lamps that are read back wrong, in the same way.
        broken: raised by `show` and `read_back`, as a `HeadsError`; empty: all is well.
    """

    def __init__(self, movements: Sequence[str], record: Path | None = None) -> None:
        self.lit: dict[str, frozenset[Aspect]] = dict.fromkeys(movements, _SAFE)
        self.stuck: dict[tuple[str, Aspect], bool] = {}
        self.misread: dict[tuple[str, Aspect], bool] = {}
        self.broken = ""
        self._flasher = Flasher()
        self._record: IO[str] | None = record.open("a", buffering=1) if record else None

    def show(self, aspects: Mapping[str, Aspect], now_s: float) -> None:
        """Remember these."""
        self._fail_if_broken()
        if aspects.keys() != self.lit.keys():
            odd = ", ".join(sorted(aspects.keys() ^ self.lit.keys()))
            raise HeadsError(f"what is to be shown and what there is differ in {odd}")
        self._set(self._flasher.lit(aspects, now_s), now_s)

    def read_back(self) -> Mapping[str, frozenset[Aspect]] | None:
        """What is lit."""
        self._fail_if_broken()
        return _altered(self.lit, self.misread)

    def fail_safe(self) -> None:
        """Reds."""
        self._set(dict.fromkeys(self.lit, _SAFE), None)

    def close(self) -> None:
        """Into the safe state."""
        self.fail_safe()
        if self._record is not None:
            self._record.close()
            self._record = None

    def _set(self, lit: Mapping[str, frozenset[Aspect]], now_s: float | None) -> None:
        lit = _altered(lit, self.stuck)
        if self._record is not None and lit != self.lit:
            line = {"t_s": now_s, "lit": {name: sorted(colours) for name, colours in lit.items()}}
            # A full disk is no fault of lamps.
            with contextlib.suppress(OSError):
                self._record.write(json.dumps(line) + "\n")
        self.lit = lit

    def _fail_if_broken(self) -> None:
        if self.broken:
            raise HeadsError(self.broken)


def _altered(
    lit: Mapping[str, frozenset[Aspect]], wrong: Mapping[tuple[str, Aspect], bool]
) -> dict[str, frozenset[Aspect]]:
    """`lit`, but for some lamps that are lit, or dark, all the same."""
    altered = dict(lit)
    for (name, colour), on in wrong.items():
        altered[name] = altered[name] | {colour} if on else altered[name] - {colour}
    return altered
