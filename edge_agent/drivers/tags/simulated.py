"""A simulated reader: vehicles with tags that pass, or wait on it, with known truth. For trials and demos.

All of it follows from a seed and the time since it was opened, so two of them show the same.
"""

import hashlib
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from edge_agent.drivers.base import TagError, TagRead
from edge_agent.drivers.tags.options import SCENES

_READ_EVERY_S = 0.1
_SEEN = 0.8
"""Share of its readings at which a tag in the field answers."""
_POLL_S = 0.02


@dataclass(frozen=True, slots=True)
class SimulatedPassage:
    """One vehicle over the reader: in the field from `from_s` to `to_s`, nearest at `peak_s`; s since opening."""

    epc: str
    antenna: int
    from_s: float
    peak_s: float
    to_s: float


class SimulatedReader:
    """Vehicles one after the other on each antenna, forever. With `queue`, every third waits on the reader."""

    def __init__(
        self,
        scene: str = "road",
        *,
        antennas: Sequence[int] = (1,),
        seed: int = 1,
        headway_s: float = 6.0,
        monotonic_s: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        if scene not in SCENES:
            raise ValueError(f"there is no simulated reader {scene!r}; there is {', '.join(SCENES)}")
        self._scene, self._antennas, self._seed, self._headway_s = scene, tuple(antennas), seed, headway_s
        self._monotonic_s, self._sleep = monotonic_s, sleep
        self._opened_s: float | None = None
        self._told_s = 0.0

    @property
    def well_until_s(self) -> float:
        """It is well whenever it is read."""
        return (self._opened_s or 0.0) + self._told_s

    def open(self) -> None:
        """Begin anew."""
        if self._opened_s is None:
            self._opened_s, self._told_s = self._monotonic_s(), 0.0

    def read(self, timeout_s: float) -> Sequence[TagRead]:
        """What was in the field since the last call."""
        if self._opened_s is None:
            raise TagError("the simulated reader is not open")
        until_s = self._monotonic_s() + timeout_s
        while True:
            now_s = self._monotonic_s()
            found = self._reads(self._told_s, now_s - self._opened_s)
            self._told_s = now_s - self._opened_s
            if found or now_s >= until_s:
                return found
            self._sleep(min(_POLL_S, until_s - now_s))

    def close(self) -> None:
        """Nothing is in its field any more."""
        self._opened_s = None

    def truth(self, from_s: float, to_s: float) -> list[SimulatedPassage]:
        """The vehicles whose nearest moment lies in [from_s, to_s), in s since opening, in order."""
        first, last = self._numbers(from_s, to_s)
        passages = [self._passage(antenna, n) for antenna in self._antennas for n in range(first, last)]
        return sorted((p for p in passages if from_s <= p.peak_s < to_s), key=lambda p: p.peak_s)

    def _numbers(self, from_s: float, to_s: float) -> tuple[int, int]:
        """A range of vehicles that holds all that can be in the field then."""
        return max(0, int(from_s / self._headway_s) - 2), int(to_s / self._headway_s) + 2

    def _passage(self, antenna: int, number: int) -> SimulatedPassage:
        chosen = random.Random(f"{self._seed} {antenna} {number}")
        from_s = (number + chosen.uniform(0.2, 0.4)) * self._headway_s
        waits = self._scene == "queue" and number % 3 == 2
        stay_s = (
            chosen.uniform(0.35, 0.5) * self._headway_s if waits else chosen.uniform(0.1, 0.15) * self._headway_s
        )
        peak_s = from_s + stay_s * (0.9 if waits else 0.5)
        name = hashlib.sha256(f"{self._seed} {antenna} {number}".encode()).hexdigest()[:20]
        return SimulatedPassage(f"E280{name}".upper(), antenna, from_s, peak_s, from_s + stay_s)

    def _reads(self, from_s: float, to_s: float) -> list[TagRead]:
        assert self._opened_s is not None
        first, last = self._numbers(from_s, to_s)
        found = []
        for antenna in self._antennas:
            for number in range(first, last):
                found += self._reads_of(self._passage(antenna, number), from_s, to_s)
        return sorted(found, key=lambda read: read.t_s)

    def _reads_of(self, passage: SimulatedPassage, from_s: float, to_s: float) -> list[TagRead]:
        assert self._opened_s is not None
        begin_s, end_s = max(from_s, passage.from_s), min(to_s, passage.to_s)
        found = []
        for tick in range(int(begin_s / _READ_EVERY_S), int(end_s / _READ_EVERY_S) + 1):
            t_s = tick * _READ_EVERY_S
            chosen = random.Random(f"{passage.epc} {tick}")
            if begin_s <= t_s < end_s and chosen.random() < _SEEN:
                rssi_dbm = round(-45.0 - 12.0 * abs(t_s - passage.peak_s) + chosen.gauss(0, 0.3), 1)
                found.append(TagRead(passage.epc, passage.antenna, self._opened_s + t_s, rssi_dbm))
        return found
