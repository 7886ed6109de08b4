"""Measures of an event log against answers that are built into it."""

from edge_agent.domain.signals.lint import lint
from edge_agent.domain.signals.log_rows import DetectorRow, LogRow
from edge_agent.domain.signals.measures import (
    Arrivals,
    actuations,
    arrivals,
    n_split_failures,
    phase_cycles,
    terminations,
    waits,
)
from edge_agent.domain.signals.steps import Termination
from tests.synthetic_log import ADVANCE, DETECTORS, PRESENCE, synthetic_log, truths

HOUR_S = 3600.0
N = 60
CONFLICTS = frozenset({frozenset({2, 4})})


def test_the_synthetic_log_is_sound() -> None:
    assert not lint(synthetic_log(N), CONFLICTS)


def test_split_failures() -> None:
    cycles = phase_cycles(synthetic_log(N), DETECTORS)
    assert [cycle.is_split_failure for cycle in cycles] == [truth.is_split_failure for truth in truths(N)]
    assert n_split_failures(cycles, HOUR_S) == {(0, 2): 24}
    first = cycles[0]
    assert (first.phase, first.at_s, first.green_s) == (2, 32.0, 24.0)
    assert (first.green_occupancy, first.red_occupancy) == (9.0 / 24.0, 0.0)


def test_a_cycle_counts_only_where_all_of_it_was_seen() -> None:
    """Cut by flash; a detector that has told nothing yet; red of less than five seconds; a yellow twice."""
    rows = synthetic_log(3)
    whole = phase_cycles(rows, DETECTORS)
    assert len(whole) == 3
    assert len(phase_cycles([row for row in rows if (row.at_s, row.code) != (84.0, 8)], DETECTORS)) == 2
    assert len(phase_cycles([row for row in rows if row.parameter != PRESENCE or row.at_s > 24.0], DETECTORS)) == 2
    assert len(phase_cycles(sorted([*rows, LogRow(90.0, 1, 2)]), DETECTORS)) == 2
    assert len(phase_cycles(sorted([*rows, LogRow(85.0, 8, 2)]), DETECTORS)) == 2


def test_two_detectors_of_a_phase_are_one() -> None:
    """Each is left for half of the green, in turn: somebody was there all the time."""
    rows = [
        *[LogRow(0.0, 82, 31), LogRow(10.0, 1, 2), LogRow(14.0, 82, 32), LogRow(15.0, 81, 31), LogRow(20.0, 8, 2)],
        *[LogRow(23.0, 10, 2), LogRow(25.0, 81, 32), LogRow(40.0, 1, 2)],
    ]
    both = [DetectorRow("7", 2, 31, "Presence"), DetectorRow("7", 2, 32, "Presence")]
    (cycle,) = phase_cycles(rows, both)
    assert (cycle.green_occupancy, cycle.red_occupancy) == (1.0, 0.4)
    (cycle,) = phase_cycles(rows, both[:1])
    assert (cycle.green_occupancy, cycle.red_occupancy) == (0.5, 0.0)


def test_terminations() -> None:
    assert terminations(synthetic_log(N), HOUR_S) == {
        (0, 2, Termination.GAP_OUT): 12,
        (0, 2, Termination.MAX_OUT): 36,
        (0, 2, Termination.FORCE_OFF): 12,
        (0, 4, Termination.GAP_OUT): 60,
    }


def test_arrivals_on_green() -> None:
    assert arrivals(synthetic_log(N), DETECTORS, HOUR_S) == {(0, 2): Arrivals(15 * 12, 9 * 12)}
    assert sum(truth.n_on_green for truth in truths(N)) == 9 * 12
    assert arrivals(synthetic_log(N), DETECTORS, HOUR_S)[0, 2].share == 0.6


def test_actuations() -> None:
    found = actuations(synthetic_log(N), 900.0)
    assert {key: n for key, n in found.items() if key[1] == ADVANCE} == {(k, ADVANCE): 45 for k in range(4)}


def test_waits() -> None:
    found = waits(synthetic_log(N))
    called = [60.0 - truth.called_s for truth in truths(N)[:-1] if truth.called_s is not None]
    assert [wait.waited_s for wait in found] == called
    assert (found[0].phase, found[0].at_s) == (2, 60.0)


def test_a_call_that_was_dropped_did_not_wait_and_one_that_stays_waits_again() -> None:
    rows = [
        (1.0, 43),
        (2.0, 44),
        (9.0, 1),
        (20.0, 7),
        (25.0, 43),
        (30.0, 1),
        (40.0, 7),
        (70.0, 1),
        (71.0, 44),
        (80.0, 7),
        (99.0, 1),
    ]
    found = waits([LogRow(at_s, code, 2) for at_s, code in rows])
    assert [(wait.at_s, wait.waited_s) for wait in found] == [(30.0, 5.0), (70.0, 30.0)]
