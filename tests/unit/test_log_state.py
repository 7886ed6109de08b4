"""Hours of the event log: what was carried on from hour to hour is what the day before alone would tell."""

import random
from collections.abc import Sequence
from itertools import pairwise

import msgspec
import pytest

from collector.analytics.log_state import (
    REMEMBERED_US,
    Held,
    LogHour,
    LogState,
    PhaseFailures,
    PhaseLog,
    Reading,
    Row,
    add_hour,
)

READING = Reading((2, 4), (6,), {201: (2,), 202: (4,)}, {101: (2,), 102: (2, 4)})
S = 1_000_000
HOUR = 3600 * S
_SILENT_US = 120 * S


def rows_of(entries: Sequence[tuple[float, int, int]]) -> list[Row]:
    """Entries in order of time, each with whether the log is silent after it."""
    at_us = [round(at_s * S) for at_s, _, _ in entries]
    gaps = [later - at for at, later in pairwise(at_us)] + [_SILENT_US + 1]
    return [(at, code, no, gap > _SILENT_US) for at, (_, code, no), gap in zip(at_us, entries, gaps, strict=True)]


def random_entries(chance: random.Random, hours: int) -> list[tuple[float, int, int]]:
    """Lights that rest for hours, stand still, flash, and fall silent; detectors that stick."""
    at_s, found = 0.0, []
    while at_s < hours * 3600:
        silent_until_s = at_s + chance.choice((0, 0, 0, 0, 0, 0, 200, 9_000))
        rest_s = chance.choice((40, 40, 40, 40, 3_000, 15_000, 100_000))
        at_s = max(at_s, silent_until_s)
        for phase in chance.sample((2, 4), chance.choice((1, 2))):
            found += [(at_s, 1, phase), (at_s + rest_s, 7, phase), (at_s + rest_s, 8, phase)]
            found += [(at_s + rest_s + 3, 10, phase), (at_s + rest_s + 5, 12, phase)]
        if chance.random() < 0.1:
            found += [(at_s + 10, 173, 5), (at_s + 30, 173, 2)]
        for channel in (101, 102, 201, 202, *([6] if chance.random() < 0.2 else [])):
            on_s = at_s + chance.uniform(0, rest_s)
            found += [(on_s, 82 if channel > 6 else 21, channel), (on_s + 20, 81 if channel > 6 else 23, channel)]
        found += [(beat, 155, 6) for beat in range(int(at_s), int(at_s + rest_s + 60), 60)]
        at_s += rest_s + 10
    return sorted((one for one in found if one[0] < hours * 3600), key=lambda one: (one[0], one[1]))


def within(rows: Sequence[Row], start_us: int, end_us: int) -> list[Row]:
    return [row for row in rows if start_us <= row[0] < end_us]


def fold(rows: Sequence[Row], start_us: int, end_us: int) -> LogState:
    """What is known by the hours of a time alone."""
    state = LogState()
    for at in range(start_us, end_us, HOUR):
        _, state = add_hour(READING, state, within(rows, at, at + HOUR), at, at + HOUR)
    return state


@pytest.mark.parametrize("seed", range(4))
def test_what_is_carried_on_is_what_the_day_before_tells(seed: int) -> None:
    rows = rows_of(random_entries(random.Random(seed), 60))
    state, n_carried, n_forgotten = LogState(), 0, 0
    for start in range(0, 60 * HOUR, HOUR):
        low = start - REMEMBERED_US
        carried, anew = state.since(low), fold(rows, low, start)
        if carried is not None:
            n_carried += 1
            n_forgotten += carried != state
            assert carried == anew
        _, state = add_hour(READING, anew, within(rows, start, start + HOUR), start, start + HOUR)
        assert msgspec.json.decode(msgspec.json.encode(state), type=LogState) == state
    assert n_carried > 50
    assert n_forgotten > 0


def test_of_what_rests_for_hours_it_is_known_what_it_shows() -> None:
    entries: list[tuple[float, int, int]] = [(0, 173, 2), (0, 10, 4), (10, 1, 2)]
    entries += [(beat, 155, 6) for beat in range(60, 4 * 3600, 60)]
    rows, state, found = rows_of(sorted(entries)), LogState(), []
    for start in range(0, 4 * HOUR, HOUR):
        hour, state = add_hour(READING, state, within(rows, start, start + HOUR), start, start + HOUR)
        found.append(hour)
    assert (
        found[1]
        == found[2]
        == LogHour({2: PhaseLog(HOUR, HOUR), 4: PhaseLog(HOUR)}, [Held(1 << 2, "green", HOUR)])
    )
    assert found[3].phases[4].known_us == HOUR - 60 * S


def test_a_green_that_begins_in_one_hour_is_counted_in_the_one_in_which_its_red_is_seen() -> None:
    entries: list[tuple[float, int, int]] = [
        (3500, 82, 101),
        (3580, 1, 2),
        (3590, 8, 2),
        (3596, 10, 2),
        (3660, 155, 6),
    ]
    rows = rows_of(entries)
    first, state = add_hour(READING, LogState(), within(rows, 0, HOUR), 0, HOUR)
    second, state = add_hour(READING, state, within(rows, HOUR, 2 * HOUR), HOUR, 2 * HOUR)
    assert (first.failures, second.failures) == ({}, {2: PhaseFailures(1, 1, 1.0, 1.0)})
    assert not state.cycles


def test_what_was_told_more_than_a_day_before_is_not_known() -> None:
    state = LogState({2: (2, 5), 4: (0, 50)}, {101: (True, 5), 102: (False, 50)}, {2: 5, 4: 50})
    assert state.since(10) == LogState({4: (0, 50)}, {102: (False, 50)}, {4: 50})
    assert state.since(60) is None
