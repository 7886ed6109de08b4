"""People whom a button calls: they wait for no recall, hold no green, and are no lane."""

import json
from pathlib import Path
from random import Random

import msgspec
import pytest

from common.codes import Aspect
from common.junction import (
    Algorithm,
    Detector,
    DetectorKind,
    Junction,
    MovementKind,
    PlanStage,
    Recall,
    Stage,
    walks,
)
from common.junction_checks import faults
from edge_agent.domain.signals.cycles import CycleMaker
from edge_agent.domain.signals.hires import Recorder
from edge_agent.domain.signals.lights import Lights
from edge_agent.domain.signals.sensing import Sensing
from edge_agent.domain.signals.steps import Lane
from edge_agent.signals.checks import check_all
from edge_agent.signals.loading import load_signals_config
from edge_agent.signals.senses import ladder
from tests.integration.signals_helpers import write_signals_config
from tests.junctions import APPROACHES, crossroads

STEP_S = 0.1
MIN_GREEN_S = 7.0


def with_a_button(algorithm: Algorithm = Algorithm.ADAPTIVE, *, button: bool = True) -> Junction:
    """The crossroads, and a stage in which people cross all of it, without a recall."""
    base = crossroads(algorithm=algorithm)
    walk = msgspec.structs.replace(
        base.movements[0],
        name="walk",
        phase=10,
        lanes=(),
        kind=MovementKind.PEDESTRIAN,
        min_green_s=MIN_GREEN_S,
        yellow_s=0.0,
        red_clearance_s=8.0,
        recall=Recall.NONE,
    )
    push = Detector(channel=60, lane="walk", kind=DetectorKind.BUTTON, sensor="contacts", source="push")
    plan = base.plans[0]
    return msgspec.structs.replace(
        base,
        detectors=(*base.detectors, push) if button else base.detectors,
        movements=(*base.movements, walk),
        conflicts=(*base.conflicts, *((name, "walk") for name in APPROACHES)),
        stages=(*base.stages, Stage(name="walk", movements=("walk",))),
        plans=(
            msgspec.structs.replace(plan, stages=(*plan.stages, PlanStage(stage="walk", green_s=MIN_GREEN_S))),
        ),
    )


class Street:
    """Vehicles by chance on four lanes, with cameras that see all; people who press."""

    def __init__(self, junction: Junction, seed: int) -> None:
        self.lights = Lights(junction, 0.0, choose=ladder(junction))
        self.sensing = Sensing(junction, 0.0)
        self.now_s = 0.0
        self.walked: list[tuple[float, float]] = []
        self._random = Random(seed)
        self._next_s = {name: self._random.uniform(0.0, 8.0) for name in APPROACHES}
        self._queue = dict.fromkeys(APPROACHES, 0)
        self._free_s = dict.fromkeys(APPROACHES, 0.0)
        self._green: set[str] = set()
        self._walks_from_s: float | None = None

    def press(self, *, held: bool = False) -> None:
        self.sensing.contact("push", self.now_s, True)
        if not held:
            self.sensing.contact("push", self.now_s, False)

    def until(self, moment_s: float) -> None:
        while self.now_s < moment_s:
            self._vehicles()
            lanes = self.sensing.step(self.now_s, self._green)
            step = self.lights.step(self.now_s, None, lanes)
            assert step.fault is None
            self._green = {name for name, aspect in step.aspects.items() if aspect is Aspect.GREEN}
            if "walk" in self._green:
                self._walks_from_s = self.now_s if self._walks_from_s is None else self._walks_from_s
            elif self._walks_from_s is not None:
                self.walked.append((self._walks_from_s, self.now_s - self._walks_from_s))
                self._walks_from_s = None
            self.now_s = round(self.now_s + STEP_S, 1)

    def _vehicles(self) -> None:
        sensing, now_s = self.sensing, self.now_s
        for name in APPROACHES:
            if now_s >= self._next_s[name]:
                self._queue[name] += 1
                self._next_s[name] += self._random.expovariate(1.0 / 8.0)
            if name in self._green and self._queue[name] and now_s >= self._free_s[name]:
                self._queue[name] -= 1
                self._free_s[name] = now_s + 2.0
                sensing.crossing(f"cam-{name}", "stop", now_s)
            if now_s % 1.0 < STEP_S / 2.0:
                n = self._queue[name]
                sensing.sensor(f"cam-{name}", now_s, True)
                sensing.presence(f"cam-{name}", "approach", now_s, n, 0 if name in self._green else n)
        if now_s % 1.0 < STEP_S / 2.0:
            sensing.sensor("contacts", now_s, True)


@pytest.mark.parametrize("algorithm", [Algorithm.ADAPTIVE, Algorithm.ACTUATED, Algorithm.MAX_PRESSURE])
def test_people_go_when_somebody_pressed_and_only_then(algorithm: Algorithm) -> None:
    """Soon, for their minimum, and once for all who pressed."""
    junction = with_a_button(algorithm)
    assert faults(junction) == []
    street = Street(junction, seed=7)
    street.until(100.0)
    assert street.walked == [], "nobody pressed"
    street.press()
    street.until(101.0)
    street.press()
    street.until(200.0)
    [(began_s, lasted_s)] = street.walked
    assert 100.0 < began_s < 145.0
    assert MIN_GREEN_S <= lasted_s <= MIN_GREEN_S + 2.0
    street.press(held=True)
    street.until(380.0)
    assert len(street.walked) >= 3, "who holds it calls again and again"


def test_a_call_of_people_is_logged_as_theirs_and_no_lane_is_added_to_cycles() -> None:
    junction = with_a_button()
    assert walks(junction) == ("walk",)
    recorder, cycles = Recorder(junction), CycleMaker(junction)
    street = Street(junction, seed=1)
    street.until(1.0)
    street.press()
    street.until(3.0)
    lanes = street.sensing.step(3.0, set())
    assert len(lanes) == len(junction.lanes) + 1
    step = street.lights.step(3.0, None, lanes)
    events = recorder.step(3.0, step.decision, step.aspects, None, lanes=lanes)
    assert (45, 10) in {(one.code, one.parameter) for one in events}
    cycles.step(3.0, step.decision, step.aspects, lanes[: len(junction.lanes)], ())
    told = msgspec.structs.replace(junction.detectors[-1], lane="nowhere")
    wrong = faults(msgspec.structs.replace(junction, detectors=(*junction.detectors[:-1], told)))
    assert "lane or movement of people" in str(wrong[0])


def test_a_button_that_nobody_reads_calls_always() -> None:
    """Not measured is not nobody."""
    junction = with_a_button()
    step = Lights(junction, 0.0, choose=ladder(junction))
    greens = set()
    for n in range(2_000):
        lanes = (Lane(0, float("inf"), 0, 0, False),) * 4 + (Lane(),)
        aspects = step.step(n * STEP_S, None, lanes).aspects
        greens |= {name for name, aspect in aspects.items() if aspect is Aspect.GREEN}
    assert "walk" in greens


def test_people_whom_nothing_calls_are_told(tmp_path: Path) -> None:
    tree = json.loads(msgspec.json.encode(with_a_button(button=False)))
    path = write_signals_config(tmp_path, tree)
    path.write_text(path.read_text() + "[heads.lamps.walk]\nred = 14\ngreen = 15\n")
    told = [str(one.text) for one in check_all(load_signals_config(path, {})) if one.what == "movement walk"]
    assert told
    assert 'kind = "button", lane = "walk"' in told[0]
