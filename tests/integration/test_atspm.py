"""Our event log in the public `atspm` package: it finds what was built into the log, and what we find."""

from collections import Counter, defaultdict
from dataclasses import replace
from pathlib import Path

import pytest

from common.codes import Aspect
from common.junction import Junction
from common.schedule import Local
from edge_agent.domain.signals.cycles import CycleMaker
from edge_agent.domain.signals.event_codes import Told
from edge_agent.domain.signals.hires import Recorder
from edge_agent.domain.signals.interlock import LIMITS
from edge_agent.domain.signals.lights import Lights
from edge_agent.domain.signals.lint import lint
from edge_agent.domain.signals.log_rows import (
    DetectorRow,
    LogRow,
    conflicting_phases,
    detector_rows,
    to_log_rows,
)
from edge_agent.domain.signals.measures import actuations, arrivals, phase_cycles, terminations, waits
from edge_agent.domain.signals.steps import Situation, Termination
from tests.atspm_run import BIN_S, Measured
from tests.junctions import crossroads
from tests.signal_day import Traffic, with_advance
from tests.synthetic_log import ADVANCE, CYCLE_S, CYCLES, DETECTORS, synthetic_log

DAY_S = 86_400.0
SIMULATED_S = 4 * 3600.0
RATES_VPH = (520.0, 330.0, 300.0, 420.0)
WHY = {"GapOut": Termination.GAP_OUT, "MaxOut": Termination.MAX_OUT, "ForceOff": Termination.FORCE_OFF}


def agrees_with_ours(measured: Measured, rows: list[LogRow], detectors: list[DetectorRow]) -> None:
    """Every bin of every measure. A bin without an arrival on green is no row of theirs."""
    assert {(k, channel): n for k, channel, n in measured.actuations} == actuations(rows, BIN_S)
    assert {(k, phase, WHY[why]): n for k, phase, why, n in measured.terminations} == terminations(rows, BIN_S)
    ours = {key: one for key, one in arrivals(rows, detectors, BIN_S).items() if one.n_on_green}
    assert {(k, phase): (n, round(share * n)) for k, phase, n, share in measured.arrivals} == {
        key: (one.n, one.n_on_green) for key, one in ours.items()
    }
    assert [row[3] for row in measured.arrivals] == pytest.approx([ours[key].share for key in sorted(ours)])
    cycles = phase_cycles(rows, detectors)
    assert len(measured.cycles) == len(cycles)
    for theirs, one in zip(measured.cycles, sorted(cycles, key=lambda one: (one.at_s, one.phase)), strict=True):
        assert theirs[:2] == (pytest.approx(one.at_s, abs=0.002), one.phase)
        assert theirs[2:5] == pytest.approx((one.green_s, one.green_occupancy, one.red_occupancy), abs=0.002)
        assert theirs[5] == one.is_split_failure
    waited = defaultdict(list)
    for wait in waits(rows):
        waited[int(wait.at_s // BIN_S), wait.phase].append(wait.waited_s)
    for k, phase, mean_s, greatest_s in measured.waits:
        spans = waited[k, phase]
        assert (mean_s, greatest_s) == pytest.approx((sum(spans) / len(spans), max(spans)), abs=0.002)
    assert len(measured.waits) == len(waited)


def test_a_day_whose_answers_are_known(tmp_path: Path) -> None:
    n = round(DAY_S / CYCLE_S)
    beats = [LogRow(k * CYCLE_S + 0.01, 155, 6) for k in range(n)]
    rows = sorted(synthetic_log(n) + beats, key=lambda row: row.at_s)
    measured = Measured(rows, DETECTORS, tmp_path)
    assert measured.n_bins_with_data == 96
    assert [row for row in measured.actuations if row[1] == ADVANCE] == [(k, ADVANCE, 45) for k in range(96)]
    assert measured.arrivals == [(k, 2, 45, pytest.approx(0.6)) for k in range(96)]
    assert [row[5] for row in measured.cycles] == [one.is_split_failure for one in CYCLES] * (n // len(CYCLES))
    of_phase_2 = [(why, number) for _, phase, why, number in measured.terminations if phase == 2]
    assert of_phase_2 == [("ForceOff", 3), ("GapOut", 3), ("MaxOut", 9)] * 96
    agrees_with_ours(measured, rows, list(DETECTORS))


class Simulated:
    """Hours of our own lights under traffic.

    Attributes:
        rows: the log.
        ended: how often greens ended, by phase and why, as the controller told.
        n_of_cycles: by lane, vehicles in the cycle records.
        n_until_last: by lane, those that had crossed when the last of these records was made.
    """

    def __init__(self, junction: Junction, until_s: float) -> None:
        self._junction = junction
        self.traffic = Traffic(junction, RATES_VPH)
        self.ended: Counter[tuple[int, Termination]] = Counter()
        self.n_of_cycles = [0] * len(junction.lanes)
        self.n_until_last = [0] * len(junction.lanes)
        self.rows = self._run(until_s)

    def _run(self, until_s: float) -> list[LogRow]:
        junction, traffic = self._junction, self.traffic
        lights = Lights(junction, 0.0, choose=self._choose, limits=replace(LIMITS, late_step_s=2.0))
        recorder, maker = Recorder(junction), CycleMaker(junction)
        phases = {movement.name: movement.phase for movement in junction.movements}
        aspects = [Aspect.RED] * len(junction.lanes)
        events = recorder.started(0.0, lost_power=True)
        told: list[Told] = []
        for second in range(int(until_s)):
            now_s = float(second)
            lanes = traffic.lanes(aspects)
            step = lights.step(now_s, Local(1, now_s), lanes)
            assert step.fault is None
            events += recorder.step(now_s, step.decision, step.aspects, step.fault, lanes=lanes, told=told)
            cycle = maker.step(now_s, step.decision, step.aspects, lanes)
            if cycle is not None:
                self.n_of_cycles = [
                    a + (b.vehicles or 0) for a, b in zip(self.n_of_cycles, cycle.lanes, strict=True)
                ]
                self.n_until_last = traffic.n_crossed
            self.ended.update((phases[name], why) for name, why in step.decision.ended.items())
            aspects = [step.aspects[lane.name] for lane in junction.lanes]
            told = traffic.go_on(now_s, now_s + 1.0, aspects)
        return to_log_rows(events)

    def _choose(self, situation: Situation) -> int | None:
        """The other stage, when the last one of the queue is over the line."""
        members = {"ns": (0, 2), "ew": (1, 3)}[self._junction.stages[situation.stage].name]
        is_empty = all(not situation.lanes[index].n_near for index in members)
        return 1 - situation.stage if is_empty else None


def test_hours_of_our_own_lights(tmp_path: Path) -> None:
    junction = with_advance(crossroads())
    simulated = Simulated(junction, SIMULATED_S)
    rows, detectors = simulated.rows, detector_rows(junction, "7")
    assert not lint(rows, conflicting_phases(junction))
    measured = Measured(rows, detectors, tmp_path)
    assert measured.n_bins_with_data == SIMULATED_S / BIN_S
    agrees_with_ours(measured, rows, detectors)
    n_of_channel: Counter[int] = Counter()
    for _, channel, n in measured.actuations:
        n_of_channel[channel] += n
    # Those who came in the very last second are in no step any more.
    for lane in range(len(junction.lanes)):
        assert n_of_channel[201 + lane] == pytest.approx(simulated.traffic.n_arrived[lane], abs=2)
        assert n_of_channel[1 + lane] == pytest.approx(simulated.traffic.n_crossed[lane], abs=1)
    on_green = Counter({phase: 0 for _, phase, _, _ in measured.arrivals})
    for _, phase, n, share in measured.arrivals:
        on_green[phase] += round(n * share)
    phases = [movement.phase for movement in junction.movements]
    assert [on_green[phase] for phase in phases] == pytest.approx(simulated.traffic.n_on_green, abs=2)
    told: Counter[tuple[int, Termination]] = Counter()
    for _, phase, why, n in measured.terminations:
        told[phase, WHY[why]] += n
    assert told == simulated.ended
    assert {why for _, why in told} >= {Termination.GAP_OUT, Termination.MAX_OUT}
    assert 0 < sum(row[5] for row in measured.cycles) < len(measured.cycles)
    assert simulated.n_of_cycles == simulated.n_until_last
