"""Simulated traffic before lights: what its sensors tell, to whom, and what drivers take the lights for."""

import tempfile
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import TypeVar

import pytest

from collector.commands.demo_lights import REACH_M, SENSOR, LightsFiles, demo_junction
from common.clock import Stamp
from common.codes import Aspect, Direction, SignalMode, Via
from common.junction_checks import faults, read_junction
from common.records import Count, Frames, Occupancy, Record
from edge_agent.drivers.sim.junction_traffic import JunctionTraffic
from edge_agent.link.messages import Crossing, Presence, SensorState, Shown
from edge_agent.signals.loading import load_signals_config
from edge_agent.simulated_traffic import OLD_S, SimulatedTraffic, demand_of

JUNCTION = demo_junction("Demo", "Europe/Berlin")
LANES = ("north", "east", "south", "west")
STEP_S = 0.125
R = TypeVar("R", bound=Record)
START_NS = 5_000_000_000_000


class Bench:
    """A simulation with a clock of its own, and everything that it tells."""

    def __init__(self, vph: float = 900.0) -> None:
        self.traffic = JunctionTraffic(JUNCTION, demand_of(JUNCTION, vph), seed=1)
        self.told: list[Crossing | Presence | SensorState] = []
        self.records: list[tuple[Record, Stamp]] = []
        self.aspects = dict.fromkeys(LANES, Aspect.RED)
        self.age_s = 0.0
        self._elapsed_s = 0.0
        self.simulated = SimulatedTraffic(JUNCTION, self.traffic, self, self.shown, self)

    def tell(self, message: Crossing | Presence | SensorState) -> bool:
        self.told.append(message)
        return True

    def put_nowait(self, record: Record, stamp: Stamp) -> None:
        self.records.append((record, stamp))

    def shown(self) -> tuple[Shown, float] | None:
        if self.age_s < 0:
            return None
        shown = Shown(
            junction="Demo",
            at_ns=0,
            aspects=self.aspects,
            mode=SignalMode.AUTOMATIC,
            stage=None,
            next_stage=None,
            plan=None,
            algorithm="",
            since_ns=0,
        )
        return shown, self.age_s

    @property
    def now(self) -> Stamp:
        elapsed_ns = round(self._elapsed_s * 1e9)
        return Stamp("boot", START_NS + elapsed_ns, 1_000_000 + elapsed_ns // 1_000_000, True)

    def run(self, seconds: float) -> None:
        for _ in range(round(seconds / STEP_S)):
            self._elapsed_s += STEP_S
            self.simulated.step(STEP_S, self.now)

    def of(self, kind: type[R]) -> list[tuple[R, Stamp]]:
        """The records of a kind, each with its moment."""
        return [(record, stamp) for record, stamp in self.records if isinstance(record, kind)]


def test_everybody_waits_at_red_and_each_who_passes_is_told_to_lights_and_outbox() -> None:
    bench = Bench()
    bench.run(60)
    assert not [one for one in bench.told if isinstance(one, Crossing)]
    assert bench.of(Count) == []
    bench.aspects["north"] = Aspect.GREEN
    bench.run(30)
    crossings = [one for one in bench.told if isinstance(one, Crossing)]
    counts = bench.of(Count)
    n = bench.traffic.truth["north"].crossed
    assert n > 5
    assert [(one.sensor, one.source, one.direction) for one in crossings] == [(SENSOR, "north", Direction.IN)] * n
    assert Counter(record.via for record, _ in counts) == {Via.CAMERA: n, Via.TRUTH: n}
    moments = [one.at_ns for one in crossings]
    assert moments == sorted(moments)
    assert any((at_ns - START_NS) % round(STEP_S * 1e9) for at_ns in moments), "steps are coarser than crossings"
    assert all(START_NS + 60e9 < at_ns <= bench.now.boottime_ns for at_ns in moments)
    assert [stamp.boottime_ns for record, stamp in counts if record.via is Via.CAMERA] == moments
    for _, stamp in counts:
        assert stamp.boottime_ns - START_NS == pytest.approx((stamp.wall_ms - 1_000_000) * 1e6, abs=2e6)


def test_queues_are_told_at_once_and_stored_now_and_then() -> None:
    bench = Bench()
    bench.run(60)
    bench.run(5 * STEP_S)  # Not when it is due anyway.
    latest = {one.zone: one for one in bench.told if isinstance(one, Presence)}
    for lane in LANES:
        n, n_moving = bench.traffic.near(lane, REACH_M)
        assert (latest[f"{lane} approach"].n, latest[f"{lane} approach"].n_standing) == (n, n - n_moving)
    assert max(one.n_standing for one in latest.values()) >= 3
    stored = [record for record, _ in bench.of(Occupancy) if record.zone == "north approach"]
    assert len(stored) == 30
    for one in stored:
        assert one.n_mean <= one.n_max
        assert one.n_standing is not None
        assert one.n_standing <= one.n_end <= one.n_max
    assert sum(record.span_ms for record in stored) == pytest.approx(60_000, abs=300)
    blocks = [record for record, _ in bench.of(Frames)]
    assert [(record.sensor, record.measured_ms) for record in blocks] == [(SENSOR, 10_000)] * 6


def test_who_leaves_an_approach_over_its_line_is_told_with_it() -> None:
    bench = Bench()
    bench.aspects["north"] = Aspect.GREEN
    bench.run(120)
    for lane in LANES:
        stored = [record for record, _ in bench.of(Occupancy) if record.zone == f"{lane} approach"]
        assert sum(one.exits for one in stored) == bench.traffic.truth[lane].crossed
        assert sum(one.entries - one.exits for one in stored) == stored[-1].n_end
        assert min(one.entries for one in stored) >= 0
    assert bench.traffic.truth["north"].crossed > 10


def test_it_tells_every_second_that_it_measures() -> None:
    bench = Bench(vph=0.0)
    bench.run(10)
    states = [one for one in bench.told if isinstance(one, SensorState)]
    assert [(one.sensor, one.measures) for one in states] == [(SENSOR, True)] * 10
    assert Counter(one.zone for one in bench.told if isinstance(one, Presence))["north approach"] in (10, 11)


@pytest.mark.parametrize("age_s", [OLD_S + 1, -1.0])
def test_lights_that_nobody_hears_of_are_dark_to_drivers(age_s: float) -> None:
    """They stop, and go one after the other."""
    bench = Bench()
    bench.aspects = dict.fromkeys(LANES, Aspect.GREEN)
    bench.age_s = age_s
    bench.run(60)
    crossed = sorted(record_stamp[1].boottime_ns for record_stamp in bench.of(Count))[::2]
    assert len(crossed) > 5
    assert min(b - a for a, b in pairwise(crossed)) > 1e9


@pytest.fixture
def folder() -> Iterator[Path]:
    """With a path that is short enough for a socket."""
    with tempfile.TemporaryDirectory() as made:
        yield Path(made)


def test_the_demos_junction_may_be_driven_and_its_files_are_read_back(folder: Path) -> None:
    assert faults(JUNCTION) == []
    files = LightsFiles(folder)
    files.write(JUNCTION)
    assert read_junction(files.junction.read_bytes()) == (JUNCTION, [])
    config = load_signals_config(files.config, {})
    assert config.described == JUNCTION
    assert config.socket == str(files.socket)
    assert files.socket.parent == folder
    files.close()


def test_a_folder_that_is_too_deep_for_a_socket_gets_a_short_path(tmp_path: Path) -> None:
    folder = tmp_path / ("deep" * 25)
    folder.mkdir()
    files = LightsFiles(folder)
    files.write(JUNCTION)
    assert len(str(files.socket)) < 100
    assert load_signals_config(files.config, {}).socket == str(files.socket)
    assert files.socket.parent.is_dir()
    files.close()
    assert not files.socket.parent.exists()
