"""What a log of lights tells about traffic: split failures, terminations, arrivals on green, actuations, waits.

The words are the field's, and so are the bounds. Rows must be in order of their moments; of one moment, the order
in which they were written counts. Where something cannot be told, such as a cycle that was cut by flash or whose
detector had told nothing yet, it is left out.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from common.hires import Code
from edge_agent.domain.signals.log_rows import DetectorRow, LogRow
from edge_agent.domain.signals.steps import Termination

RED_S = 5.0
"""How much of red is looked at for a split failure."""
OCCUPIED = 0.8
"""Green and red are full from this share on."""

_TERMINATIONS: dict[int, Termination] = {
    Code.GAP_OUT: Termination.GAP_OUT,
    Code.MAX_OUT: Termination.MAX_OUT,
    Code.FORCE_OFF: Termination.FORCE_OFF,
}


@dataclass(frozen=True, slots=True)
class Arrivals:
    """How many came to a phase, and how many of them while it was green."""

    n: int
    n_on_green: int

    @property
    def share(self) -> float:
        """Arrivals on green, 0 to 1; there is no share of nobody, so `n` must not be 0."""
        return self.n_on_green / self.n


@dataclass(frozen=True, slots=True)
class PhaseCycle:
    """One green of a phase and the red after it, as its presence detectors saw them.

    Attributes:
        at_s: when enough of red was seen, `RED_S` after it began.
        green_occupancy, red_occupancy: share of the green, and of `RED_S` of red, in which somebody was there.
    """

    phase: int
    at_s: float
    green_s: float
    green_occupancy: float
    red_occupancy: float

    @property
    def is_split_failure(self) -> bool:
        """There was a queue all through green, and it was still there when red came."""
        return self.green_occupancy >= OCCUPIED and self.red_occupancy >= OCCUPIED


@dataclass(frozen=True, slots=True)
class Wait:
    """How long a call waited for its green, which came at `at_s`."""

    phase: int
    at_s: float
    waited_s: float


def actuations(rows: Iterable[LogRow], bin_s: float) -> dict[tuple[int, int], int]:
    """How often each detector came on: (number of the bin, channel) -> n."""
    return Counter((int(row.at_s // bin_s), row.parameter) for row in rows if row.code == Code.DETECTOR_ON)


def terminations(rows: Iterable[LogRow], bin_s: float) -> dict[tuple[int, int, Termination], int]:
    """Why greens ended: (number of the bin, phase, why) -> n."""
    return Counter(
        (int(row.at_s // bin_s), row.parameter, _TERMINATIONS[row.code])
        for row in rows
        if row.code in _TERMINATIONS
    )


def arrivals(
    rows: Iterable[LogRow], detectors: Sequence[DetectorRow], bin_s: float
) -> dict[tuple[int, int], Arrivals]:
    """Who came over the advance detectors: (number of the bin, phase) -> how many, and how many on green."""
    phases = _phases(detectors, "Advance")
    green: set[int] = set()
    n: Counter[tuple[int, int]] = Counter()
    n_on_green: Counter[tuple[int, int]] = Counter()
    for row in sorted(rows, key=lambda row: (row.at_s, row.code)):
        if row.code == Code.BEGIN_GREEN:
            green.add(row.parameter)
        elif row.code in (Code.END_GREEN, Code.BEGIN_YELLOW):
            green.discard(row.parameter)
        elif row.code == Code.DETECTOR_ON:
            for phase in phases.get(row.parameter, ()):
                key = (int(row.at_s // bin_s), phase)
                n[key] += 1
                n_on_green[key] += phase in green
    return {key: Arrivals(n[key], n_on_green[key]) for key in n}


def phase_cycles(rows: Sequence[LogRow], detectors: Sequence[DetectorRow]) -> list[PhaseCycle]:
    """All whole cycles of the phases that have presence detectors, in order of their ends."""
    channels: dict[int, set[int]] = {}
    for channel, phases in _phases(detectors, "Presence").items():
        for phase in phases:
            channels.setdefault(phase, set()).add(channel)
    cycles = [cycle for phase in channels for cycle in _cycles_of(phase, rows, _Presence(rows, channels[phase]))]
    return sorted(cycles, key=lambda cycle: cycle.at_s)


def waits(rows: Iterable[LogRow]) -> list[Wait]:
    """How long calls waited. A call that was dropped before its green is none; one that outlives its green waits
    again from the end of it."""
    called_s: dict[int, float] = {}
    still_called: set[int] = set()
    found = []
    for row in sorted(rows, key=lambda row: (row.at_s, row.code)):
        phase = row.parameter
        if row.code == Code.CALL_REGISTERED:
            called_s[phase] = row.at_s
            still_called.add(phase)
        elif row.code == Code.CALL_DROPPED:
            called_s.pop(phase, None)
            still_called.discard(phase)
        elif row.code == Code.BEGIN_GREEN and phase in called_s:
            found.append(Wait(phase, row.at_s, row.at_s - called_s.pop(phase)))
        elif row.code == Code.END_GREEN and phase in still_called:
            called_s[phase] = row.at_s
    return found


def _phases(detectors: Sequence[DetectorRow], function: str) -> dict[int, list[int]]:
    phases: dict[int, list[int]] = {}
    for one in detectors:
        if one.function == function:
            phases.setdefault(one.channel, []).append(one.phase)
    return phases


class _Presence:
    """When somebody was on any of a phase's detectors, as spans in order of time, and for how long in all."""

    def __init__(self, rows: Iterable[LogRow], channels: set[int]) -> None:
        self._changes: list[tuple[float, bool]] = []
        on: set[int] = set()
        for row in rows:
            if row.parameter in channels and row.code in (Code.DETECTOR_ON, Code.DETECTOR_OFF):
                (on.add if row.code == Code.DETECTOR_ON else on.discard)(row.parameter)
                self._changes.append((row.at_s, bool(on)))
        self._next = 0
        self._is_on: bool | None = None

    def occupied_s(self, from_s: float, to_s: float) -> float | None:
        """For how long somebody was there; None where nothing is known yet. Asked in order of time only."""
        self._go_on(from_s)
        if self._is_on is None:
            return None
        total_s, at_s = 0.0, from_s
        while self._next < len(self._changes) and self._changes[self._next][0] < to_s:
            change_s, is_on = self._changes[self._next]
            total_s += (change_s - at_s) * self._is_on
            at_s, self._is_on = change_s, is_on
            self._next += 1
        return total_s + (to_s - at_s) * self._is_on

    def _go_on(self, to_s: float) -> None:
        while self._next < len(self._changes) and self._changes[self._next][0] <= to_s:
            self._is_on = self._changes[self._next][1]
            self._next += 1


@dataclass(slots=True)
class _Open:
    """A cycle that is not over yet: moments of green, yellow and red, each None until it came."""

    green_s: float
    yellow_s: float | None = None
    red_s: float | None = None
    is_broken: bool = field(default=False)


def _cycles_of(phase: int, rows: Sequence[LogRow], presence: _Presence) -> Iterator[PhaseCycle]:
    for one, until_s in _opened(phase, rows):
        if one.yellow_s is None or one.red_s is None or one.is_broken or until_s < one.red_s + RED_S:
            continue
        green_s = one.yellow_s - one.green_s
        in_green_s = presence.occupied_s(one.green_s, one.yellow_s)
        in_red_s = presence.occupied_s(one.red_s, one.red_s + RED_S)
        if in_green_s is not None and in_red_s is not None and green_s > 0:
            yield PhaseCycle(phase, one.red_s + RED_S, green_s, in_green_s / green_s, in_red_s / RED_S)


def _opened(phase: int, rows: Sequence[LogRow]) -> Iterator[tuple[_Open, float]]:
    """All cycles of a phase, whole or not, each with the moment of the next green, or of the log's last row."""
    one: _Open | None = None
    for row in rows:
        if row.parameter != phase:
            continue
        if row.code == Code.BEGIN_GREEN:
            if one is not None:
                yield one, row.at_s
            one = _Open(row.at_s)
        elif one is not None and row.code == Code.BEGIN_YELLOW:
            one.is_broken |= one.yellow_s is not None
            one.yellow_s = row.at_s
        elif one is not None and row.code == Code.BEGIN_RED_CLEARANCE:
            one.is_broken |= one.red_s is not None
            one.red_s = row.at_s
    if one is not None:
        yield one, rows[-1].at_s


def n_split_failures(cycles: Iterable[PhaseCycle], bin_s: float) -> Mapping[tuple[int, int], int]:
    """Split failures: (number of the bin, phase) -> n, also where n is 0."""
    found: Counter[tuple[int, int]] = Counter()
    for cycle in cycles:
        found[int(cycle.at_s // bin_s), cycle.phase] += cycle.is_split_failure
    return found
