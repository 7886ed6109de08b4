"""Deadlines are absolute, steps that were missed are left out, and signals are taken in between."""

import signal
import time
from collections.abc import Collection

import pytest

from edge_agent.signals.loop import STEP_S, Lateness, Tick, ticks

TERM, HUP = signal.SIGTERM, signal.SIGHUP


class World:
    """A clock that goes on while the loop waits, and signals that come at set moments."""

    def __init__(self, **at: float) -> None:
        self.now_s = 100.0
        self.oversleeps_s = 0.0
        self.signals: dict[float, int] = {moment: getattr(signal, name) for name, moment in at.items()}

    def monotonic_s(self) -> float:
        return self.now_s

    def wait(self, signals: Collection[int], timeout_s: float) -> int | None:
        until_s = self.now_s + timeout_s
        for moment in sorted(self.signals):
            if moment <= until_s:
                self.now_s = max(self.now_s, moment)
                return self.signals.pop(moment)
        self.now_s = until_s + (self.oversleeps_s if timeout_s else 0.0)
        return None

    def ticks(self, n: int, work_s: float = 0.0) -> list[Tick]:
        found = []
        for tick in ticks((TERM, HUP), clock=self.monotonic_s, wait=self.wait):
            found.append(tick)
            self.now_s += work_s
            if len(found) == n:
                break
        return found


def test_steps_do_not_drift_with_the_work_that_is_done_in_them() -> None:
    found = World().ticks(50, work_s=0.03)
    assert [tick.now_s for tick in found] == pytest.approx([100.0 + i * STEP_S for i in range(50)])
    assert max(tick.late_s for tick in found) == pytest.approx(0.0)


def test_the_clock_of_the_lights_is_the_one_that_ntp_cannot_bend(monkeypatch: pytest.MonkeyPatch) -> None:
    clocks = {time.CLOCK_MONOTONIC_RAW: 100.0, time.CLOCK_MONOTONIC: 92.0}
    monkeypatch.setattr(time, "clock_gettime", clocks.__getitem__)
    monkeypatch.setattr(time, "monotonic", lambda: clocks[time.CLOCK_MONOTONIC])
    assert next(ticks((), wait=lambda *_: None)).now_s == 100.0


def test_a_wait_that_takes_too_long_is_lateness_and_shifts_nothing() -> None:
    world = World()
    world.oversleeps_s = 0.004
    found = world.ticks(50, work_s=0.03)
    assert [tick.late_s for tick in found[1:]] == pytest.approx([0.004] * 49)
    assert found[-1].now_s == pytest.approx(100.0 + 49 * STEP_S + 0.004)


def test_missed_steps_are_left_out_and_the_grid_stays() -> None:
    world = World()
    found = []
    for tick in ticks((), clock=world.monotonic_s, wait=world.wait):
        found.append(tick)
        if len(found) == 2:
            world.now_s += 2.03
        if len(found) == 5:
            break
    assert [tick.now_s for tick in found] == pytest.approx([100.0, 100.1, 102.13, 102.2, 102.3])
    assert [tick.late_s for tick in found] == pytest.approx([0.0, 0.0, 1.93, 0.0, 0.0])


def test_signals_are_handed_over_with_the_next_step() -> None:
    found = World(SIGHUP=100.05, SIGTERM=100.28).ticks(5)
    assert [tick.signals for tick in found] == [
        frozenset(),
        frozenset({HUP}),
        frozenset(),
        frozenset({TERM}),
        frozenset(),
    ]
    assert found[1].now_s == pytest.approx(100.1)


def test_a_flood_of_signals_keeps_no_step_from_its_turn() -> None:
    world = World()
    n_left = [100_000]

    def wait(_: Collection[int], __: float) -> int | None:
        world.now_s += 0.001
        n_left[0] -= 1
        assert n_left[0] > 0, "it never comes to the step"
        return HUP

    steps = ticks((TERM, HUP), clock=world.monotonic_s, wait=wait)
    assert max(next(steps).late_s for _ in range(20)) < 0.01


def test_lateness_is_told_in_quantiles() -> None:
    lateness = Lateness()
    assert lateness.quantile_s(0.5) == 0.0
    for _ in range(998):
        lateness.add(0.00105)
    lateness.add(0.0203)
    lateness.add(3.0)
    assert lateness.n == 1000
    assert lateness.quantile_s(0.5) == pytest.approx(0.0011)
    assert lateness.quantile_s(0.999) == pytest.approx(0.0203)
    assert lateness.quantile_s(1.0) == 3.0
    assert "1000 steps, late by 1.1 ms (p50)" in str(lateness)
    lateness.forget()
    assert (lateness.n, lateness.worst_s, lateness.quantile_s(1.0)) == (0, 0.0, 0.0)
