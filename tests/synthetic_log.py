"""A log of lights with answers that are built into it, for those who measure logs.

One crossing of two phases, 60 s a cycle for phase 2 (green 0-24, yellow 24-27, red 27-60) and the rest for phase 4
(green 30-54, yellow 54-57). What happens in each cycle of phase 2 is drawn from a fixed list, so that the sum over
any number of cycles can be worked out by hand.
"""

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from edge_agent.domain.signals.log_rows import DetectorRow, LogRow

DAY = datetime(2026, 5, 4, tzinfo=UTC)
"""What the seconds of a log count from, where it is written with dates."""
CYCLE_S = 60.0
PRESENCE, ADVANCE, STOP_LINE = 21, 22, 23
DETECTORS = (
    DetectorRow("7", 2, PRESENCE, "Presence"),
    DetectorRow("7", 2, ADVANCE, "Advance"),
    DetectorRow("7", 2, STOP_LINE, "Yellow_Red"),
)


@dataclass(frozen=True)
class Truth:
    """What one cycle of phase 2 is to hold.

    Attributes:
        why: 4 gap-out, 5 max-out, 6 force-off.
        queue_until_s: since the last red somebody stands on the presence detector until then.
        arrives_s: when somebody comes over the advance detector.
        called_s: when a call comes; None: no call in this cycle.
    """

    why: int
    queue_until_s: float
    arrives_s: tuple[float, ...]
    called_s: float | None

    @property
    def is_split_failure(self) -> bool:
        return self.queue_until_s >= 27.0 + 0.8 * 5.0

    @property
    def n_on_green(self) -> int:
        return sum(at_s < 24.0 for at_s in self.arrives_s)


CYCLES = (
    Truth(4, 9.0, (3.0, 11.5, 40.0), 35.0),
    Truth(5, 33.0, (1.0, 26.0, 41.0, 52.0, 59.0), 33.0),
    # Green was full, and the queue left in the fifth second of red: just no failure.
    Truth(5, 30.9, (23.9, 24.0), 50.0),
    Truth(6, 24.0, (), None),
    Truth(5, 31.0, (0.0, 5.0, 10.0, 15.0, 20.0), 28.5),
)


def synthetic_log(n_cycles: int) -> list[LogRow]:
    """`n_cycles` cycles from 0 s on, in order of time, and sound."""
    rows: list[LogRow] = []
    for number in range(n_cycles):
        rows += _cycle(number * CYCLE_S, CYCLES[number % len(CYCLES)])
    return sorted(rows, key=lambda row: row.at_s)


def truths(n_cycles: int) -> list[Truth]:
    """What each of the cycles holds."""
    return [CYCLES[number % len(CYCLES)] for number in range(n_cycles)]


def _cycle(from_s: float, truth: Truth) -> list[LogRow]:
    rows = _lamps(2, 0.0, 24.0, truth.why) + _lamps(4, 30.0, 54.0, 4)
    for at_s in truth.arrives_s:
        rows += [LogRow(at_s, 82, ADVANCE), LogRow(at_s + 0.1, 81, ADVANCE)]
    # Somebody came at a red that is over, and stands until the queue is gone; in the next red another one comes.
    rows += [LogRow(truth.queue_until_s, 81, PRESENCE), LogRow(45.0, 82, PRESENCE)]
    rows += [LogRow(-1.0, 82, PRESENCE)] if from_s == 0.0 else []
    if truth.called_s is not None:
        rows += [LogRow(truth.called_s, 43, 2), LogRow(CYCLE_S + 0.5, 44, 2)]
    return [LogRow(from_s + row.at_s, row.code, row.parameter) for row in rows]


def _lamps(phase: int, green_s: float, yellow_s: float, why: int) -> list[LogRow]:
    red_s = yellow_s + 3.0
    moments = [
        *[(green_s, 0), (green_s, 1), (yellow_s, why), (yellow_s, 7), (yellow_s, 8)],
        *[(red_s, 9), (red_s, 10), (red_s + 2.5, 11), (red_s + 2.5, 12)],
    ]
    return [LogRow(at_s, code, phase) for at_s, code in moments]


def write_csv(path: Path, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """A file of rows below the names of their columns."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(rows)
