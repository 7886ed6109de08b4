"""The clock of the lights; when the next step is due: absolute deadlines on it; and how late steps were.

A step that takes long does not shift those after it; deadlines that passed meanwhile are left out.
While it waits, the loop takes in the process's signals, so that none interrupts a step.
"""

import signal
import time
from array import array
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass

STEP_S = 0.1
_BUCKET_S = 0.0001
_N_BUCKETS = 5000
"""Half a second; what is later is kept as such, and as `worst_s`."""


class Lateness:
    """How late steps were, in constant memory: to a tenth of a millisecond, up to half a second."""

    def __init__(self) -> None:
        self._counts = array("L", bytes((_N_BUCKETS + 1) * array("L").itemsize))
        self.n = 0
        self.worst_s = 0.0

    def add(self, late_s: float) -> None:
        """One more step."""
        self._counts[min(max(0, int(late_s / _BUCKET_S)), _N_BUCKETS)] += 1
        self.n += 1
        self.worst_s = max(self.worst_s, late_s)

    def quantile_s(self, share: float) -> float:
        """So many of all steps were no later than this, to the next tenth of a ms; 0 before the first."""
        wanted, seen = share * self.n, 0
        for number, count in enumerate(self._counts):
            seen += count
            if count and seen >= wanted:
                return min((number + 1) * _BUCKET_S, self.worst_s) if number < _N_BUCKETS else self.worst_s
        return 0.0

    def forget(self) -> None:
        """Begin anew."""
        self.__init__()  # type: ignore[misc]

    def figures(self) -> dict[str, float]:
        """For the log, in ms."""
        shares = {"p50_ms": 0.5, "p99_ms": 0.99, "p999_ms": 0.999}
        return {name: round(1000 * self.quantile_s(share), 1) for name, share in shares.items()}

    def __str__(self) -> str:
        p50, p99, p999 = self.figures().values()
        return f"{self.n} steps, late by {p50:.1f} ms (p50), {p99:.1f} (p99), {p999:.1f} (p99.9), " + (
            f"{1000 * self.worst_s:.1f} at worst"
        )


@dataclass(frozen=True, slots=True)
class Tick:
    """A step is due.

    Attributes:
        now_s: monotonic, after the deadline.
        late_s: by how much.
        signals: that came since the last one.
    """

    now_s: float
    late_s: float
    signals: frozenset[int]


def monotonic_s() -> float:
    """All that the lights time is timed on this clock: CLOCK_MONOTONIC_RAW, the crystal as it is.

    CLOCK_MONOTONIC cannot be set, but it is what NTP makes run faster or slower until the time is right: by a
    twentieth for some seconds (systemd-timesyncd), by a twelfth for long (chrony). A yellow would be shorter by as
    much, and a lease longer than the drift that it is allowed.
    """
    return time.clock_gettime(time.CLOCK_MONOTONIC_RAW)


Wait = Callable[[Collection[int], float], int | None]
"""Waits for one of these signals, or so many seconds; which one came."""


def wait_for_signal(signals: Collection[int], timeout_s: float) -> int | None:
    """The signals must be blocked (`signal.pthread_sigmask`), in every thread."""
    found = signal.sigtimedwait(signals, timeout_s)
    return None if found is None else found.si_signo


def looking(
    look: Callable[[], None],
    every_s: float,
    *,
    wait: Wait = wait_for_signal,
    clock: Callable[[], float] = monotonic_s,
) -> Wait:
    """Waits as `wait` does, and looks at something meanwhile, and once at least however late it is."""

    def wait_and_look(signals: Collection[int], timeout_s: float) -> int | None:
        until_s = clock() + timeout_s
        while True:
            found = wait(signals, max(0.0, min(every_s, until_s - clock())))
            look()
            if found is not None or clock() >= until_s:
                return found

    return wait_and_look


def ticks(
    signals: Collection[int],
    *,
    step_s: float = STEP_S,
    clock: Callable[[], float] = monotonic_s,
    wait: Wait = wait_for_signal,
) -> Iterator[Tick]:
    """A tick at once, and then one every `step_s`, for as long as somebody asks."""
    due_s = clock()
    while True:
        came = set[int]()
        while True:
            found = wait(signals, max(0.0, due_s - clock()))
            if found is not None:
                came.add(found)
            # However many signals come.
            if (now_s := clock()) >= due_s:
                break
        late_s = now_s - due_s
        yield Tick(now_s, late_s, frozenset(came))
        due_s += step_s * (1 + int(late_s / step_s))
