"""Simulated junctions, whole: traffic, sensing, the adaptive ladder, controller and interlock, all in one thread.

The bar: 100 junctions of four lanes, faster than 50 x real time on one core. Processor time, since the machine is
seldom ours alone; steps of a second, as decisions are made.
"""

import time
from collections.abc import Callable, Mapping

from common.codes import Aspect
from common.junction import DetectorKind, Junction
from common.schedule import Local
from edge_agent.domain.signals.green.ladder import Ladder
from edge_agent.domain.signals.interlock import Limits
from edge_agent.domain.signals.lights import Lights
from edge_agent.domain.signals.sensing import Sensing
from edge_agent.domain.signals.steps import Chosen, Situation
from edge_agent.drivers.sim.junction_traffic import Demand, JunctionTraffic
from tests.bench import report
from tests.junctions import crossroads, four_stages

N = 100
AT_LEAST = 50.0
WARM_UP_S, MEASURED_S = 60, 180
STEP_S = 1.0


class SimulatedJunction:
    """One junction, all of it."""

    def __init__(self, junction: Junction, vph: Mapping[str, float], seed: int) -> None:
        self.traffic = JunctionTraffic(junction, {lane: Demand(own) for lane, own in vph.items()}, seed=seed)
        self._sensing = Sensing(junction, 0.0)
        self._ladder = Ladder(junction, junction.plans[0])
        self._lights = Lights(junction, 0.0, choose=self._choose, limits=Limits(late_step_s=2 * STEP_S))
        self._lines = {d.lane: d for d in junction.detectors if d.kind is DetectorKind.STOP_LINE}
        self._zones = [d for d in junction.detectors if d.kind is DetectorKind.APPROACH]
        self._sensors = sorted({d.sensor for d in junction.detectors})
        self._aspects = dict.fromkeys((one.name for one in junction.movements), Aspect.RED)
        self.n_faults = 0
        self.n_changes = 0

    def _choose(self, situation: Situation) -> Chosen:
        return Chosen(self._ladder.decide(situation), self._ladder.name, self._ladder.note)

    def step(self) -> None:
        """A second."""
        for passage in self.traffic.step(STEP_S, self._aspects):
            line = self._lines[passage.lane]
            self._sensing.crossing(line.sensor, line.source, passage.t_s)
        now_s = self.traffic.now_s
        for zone in self._zones:
            n, n_moving = self.traffic.near(zone.lane, zone.reach_m or 50.0)
            self._sensing.presence(zone.sensor, zone.source, now_s, n, n - n_moving)
        for sensor in self._sensors:
            self._sensing.sensor(sensor, now_s, True)
        green = {name for name, aspect in self._aspects.items() if aspect is Aspect.GREEN}
        lanes = self._sensing.step(now_s, green, 12)
        step = self._lights.step(now_s, Local(1, 43_200.0 + now_s), lanes)
        self.n_faults += step.fault is not None
        self.n_changes += step.aspects != self._aspects
        self._aspects = dict(step.aspects)


def measure(make: Callable[[], Junction], vph: float) -> tuple[float, list[SimulatedJunction]]:
    """How many times faster than real time, on one core; and what was simulated."""
    each = {one.name: vph / 4 for one in make().lanes}
    junctions = [SimulatedJunction(make(), each, seed) for seed in range(N)]
    for _ in range(WARM_UP_S):
        for one in junctions:
            one.step()
    began_s = time.process_time()
    for _ in range(MEASURED_S):
        for one in junctions:
            one.step()
    return MEASURED_S / (time.process_time() - began_s), junctions


def main() -> None:
    for name, make, vph in (
        ("crossroads, 600 veh/h", crossroads, 600.0),
        ("crossroads, 1000 veh/h", crossroads, 1000.0),
        ("crossroads, 1500 veh/h", crossroads, 1500.0),
        ("four stages, 1000 veh/h", four_stages, 1000.0),
    ):
        times_real, junctions = measure(make, vph)
        report.peer(f"{N} junctions, {name}", times_real, 1.0, "x real", at_least=AT_LEAST)
        crossed = sum(truth.crossed for one in junctions for truth in one.traffic.truth.values())
        present_s = sum(truth.present_s for one in junctions for truth in one.traffic.truth.values())
        faults = sum(one.n_faults for one in junctions)
        changes = sum(one.n_changes for one in junctions)
        note = f"{crossed} vehicles, {present_s / crossed:.1f} s each; {changes} changes, {faults} steps in fault"
        report.plain("  a junction's second", 1e6 / times_real / N, "us", note)


if __name__ == "__main__":
    main()
