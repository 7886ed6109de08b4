"""Green times in SUMO: delay, waiting, stops, queue and longest wait, against references of the same run.

    make bench-signals                      all of it on all cores: about an hour of one
    make bench-signals ARGS=--quick         the cases that tell most, two seeds, no fixed plans: some minutes
    make bench-signals ARGS="--seeds 2 --only cologne1,lopsided --jobs 1"
    make bench-signals ARGS="--quick --only drawn-1,drawn-2"      sites drawn at random, by number, near capacity

Each case is told of as soon as it is done.

`cologne1` and the harness of the references lie beside the checkout (`../shared`); without them that is said, and
the junctions of our own making are measured alone. `delay` is the mean of time lost and of delay at departure,
vehicles that never got in included. `lane` is the longest that anybody stood on one lane at a time. A seed is one
of SUMO's drivers and, but for `cologne1`, of the demand as well; all controllers have the same ones.
"""

import argparse
import json
import multiprocessing
import os
import shutil
import statistics
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType

import msgspec

from common.junction import Algorithm, Junction
from edge_agent.domain.signals.green.base import GreenTime
from edge_agent.domain.signals.green.ladder import Ladder
from edge_agent.domain.signals.green.plan_times import Fixed, stage_loads
from edge_agent.domain.signals.green.topology import topology
from tests.bench import report
from tests.bench.signals import junction_from_net, nets, references
from tests.bench.signals.drawn import PREFIX
from tests.bench.signals.junction_from_net import Light, Timing
from tests.bench.signals.sites import find, sites
from tests.bench.signals.stage_machine import Sensed, StageMachine
from tests.bench.signals.verdict import OURS, STOP_LINE, Verdict, delay_s, mean, summary, verdict
from tests.bench.signals.world import Place, Result, Sensing, World, load_sumo

SHARED = Path(__file__).parents[3] / "shared"
CYCLES_S = (30.0, 40.0, 55.0, 75.0, 100.0)
PLAIN, ALL_RED = Timing(), Timing(7.0, 3.0, 2.0)
ALL_SEEN = Sensing()
QUICK = (
    *(
        "cologne1",
        "cologne1 all-red 2 s",
        "balanced all-red 2 s",
        "lopsided",
        "night",
        "burst",
        "rush",
        "tee",
        "platoons",
    ),
    *("skewed", "balanced 50 % seen", "tide", "five-arms"),
)
"""Titles of the cases that the short run is of."""


@dataclass(frozen=True, slots=True)
class Case:
    """A site under a condition.

    Attributes:
        seen_share: as the junction's description has it.
        bars: delay in s that ours must not exceed, by controller.
    """

    site: str
    condition: str = ""
    timing: Timing = PLAIN
    sensing: Sensing = ALL_SEEN
    seen_share: float | None = None
    bars: tuple[tuple[str, float], ...] = ()

    @property
    def title(self) -> str:
        return f"{self.site} {self.condition}".strip()


def cases() -> list[Case]:
    """All of them: every junction as it is, some under worse conditions."""
    found = [
        Case("cologne1", bars=(("ours: camera", 15.3), ("ours: stop line", 18.0))),
        Case("cologne1", "50 % seen", sensing=Sensing(seen=0.5), bars=(("ours: camera", 20.0),)),
        Case("cologne1", "80 % seen", sensing=Sensing(seen=0.8)),
        Case("cologne1", "all-red 2 s", ALL_RED, bars=(("ours: camera", 19.0),)),
        *(Case(site.name) for site in sites()),
    ]
    for name in ("balanced", "lopsided", "rush", "tee"):
        found += [
            Case(name, "80 % seen", sensing=Sensing(seen=0.8)),
            Case(name, "50 % seen", sensing=Sensing(seen=0.5)),
            Case(name, "all-red 2 s", ALL_RED),
        ]
    half = Sensing(seen=0.5)
    for name in ("night", "village"):
        found += [
            Case(name, "50 % seen", sensing=half),
            Case(name, "50 % seen, as described", sensing=half, seen_share=0.5),
        ]
    found += [Case(name, "lane 0 blind", sensing=Sensing(blind=frozenset({0}))) for name in ("balanced", "skewed")]
    return found


class Bench:
    """Runs cases; holds what they share."""

    def __init__(self, sumo: ModuleType, folder: Path, seeds: int, *, quick: bool) -> None:
        self._sumo, self._folder, self._seeds, self._quick = sumo, folder, range(1, seeds + 1), quick
        self._fixed_s: dict[str, tuple[float, ...]] = {}
        try:
            self._harness: references.Harness | None = references.Harness(SHARED / "sim" / "resco_run.py", folder)
        except FileNotFoundError as error:
            print(f"!! The references exhaust, mpgap50 and lhgap50 are LEFT OUT: there is no {error}", flush=True)
            self._harness = None

    def run(self, case: Case) -> dict[str, list[Result]]:
        """All controllers of a case, all seeds."""
        place, light = self._load(case)
        site = find(case.site)
        found: dict[str, list[Result]] = {}
        for seed in self._seeds:
            if site is not None:
                nets.write_trips(site, seed, place.routes)
            for name, result in self._run(case, light, place, seed).items():
                found.setdefault(name, []).append(result)
        return found

    def _run(self, case: Case, light: Light, place: Place, seed: int) -> dict[str, Result]:
        stop_line = _without_camera(case.sensing)
        found = {
            OURS: self._ours(light, place, case.sensing, Algorithm.ADAPTIVE, seed),
            STOP_LINE: self._ours(light, place, stop_line, Algorithm.ACTUATED, seed),
        }
        if not self._quick:
            best_s = self._best_fixed(case, light, place)
            found["ours: webster"] = self._ours(light, place, stop_line, Algorithm.WEBSTER, seed)
            found["own plan"] = self._sumo_runs(case, light, place, "static", (), seed)
            found["best fixed"] = self._sumo_runs(case, light, place, "static", best_s, seed)
            found["sumo delay"] = self._sumo_runs(case, light, place, "delay_based", (), seed)
        found["sumo actuated"] = self._sumo_runs(case, light, place, "actuated", (), seed)
        if self._harness is not None:
            for name in references.HARNESS:
                found[name] = self._harness.run(case.site, name, seed, case.timing, case.sensing, light)
        return found

    def _load(self, case: Case) -> tuple[Place, Light]:
        folder = self._folder / case.site
        facts = json.loads((folder / "scenario.json").read_text())
        place = Place(folder / facts["net"], folder / facts["routes"], facts["begin"], facts["end"])
        light = junction_from_net.read(place.net, facts["tls"], case.timing)
        described = msgspec.structs.replace(light.junction, seen_share=case.seen_share)
        return place, replace(light, junction=described)

    def _ours(self, light: Light, place: Place, sensing: Sensing, algorithm: Algorithm, seed: int) -> Result:
        plan = msgspec.structs.replace(light.junction.plans[0], algorithm=algorithm)
        junction = msgspec.structs.replace(light.junction, plans=(plan,))
        return self._drive(light, place, sensing, junction, Ladder(junction, plan), seed)

    def _drive(
        self, light: Light, place: Place, sensing: Sensing, junction: Junction, green: GreenTime, seed: int
    ) -> Result:
        machine = StageMachine(junction, green)
        driver = Sensed(junction, machine) if sensing.camera else machine
        return World(self._sumo, light, place, sensing, seed).run(driver)

    def _sumo_runs(
        self, case: Case, light: Light, place: Place, kind: str, greens_s: Sequence[float], seed: int
    ) -> Result:
        file = self._folder / f"{case.site}.add.xml"
        program = references.sumo_program(light, case.timing, file, kind=kind, greens_s=greens_s)
        return World(self._sumo, light, place, Sensing(), seed).run(None, ("-a", str(program)))

    def _best_fixed(self, case: Case, light: Light, place: Place) -> tuple[float, ...]:
        """Greens that were best on the first seed, out of several cycles split by the flows that really were."""
        key = f"{case.site} {case.timing}"
        if key not in self._fixed_s:
            world = World(self._sumo, light, place, Sensing(), 1)
            junction = light.junction
            view = topology(junction, junction.plans[0])
            world.run(StageMachine(junction, Ladder(junction, junction.plans[0])))
            loads = stage_loads(view, [n / (place.end_s - place.begin_s) for n in world.crossed])
            served = [i for i, load in enumerate(loads) if load > 0.0]
            lost_s = sum(view.loss_s(i, served[(k + 1) % len(served)]) for k, i in enumerate(served))
            tried = []
            for cycle_s in CYCLES_S:
                greens_s = tuple(
                    max(case.timing.min_green_s, round((cycle_s - lost_s) * load / sum(loads)))
                    if load > 0.0
                    else 0.0
                    for load in loads
                )
                fixed = Fixed(view)
                fixed.greens_s = list(greens_s)
                tried.append((self._drive(light, place, Sensing(), junction, fixed, 1).delay_s, greens_s))
            self._fixed_s[key] = min(tried)[1]
        return self._fixed_s[key]


def _without_camera(sensing: Sensing) -> Sensing:
    return Sensing(camera=False, reach_m=sensing.reach_m, seen=sensing.seen, blind=sensing.blind)


def show(case: Case, tags: str, found: dict[str, list[Result]]) -> None:
    """A table of one case, in one piece: others may print meanwhile."""
    columns = ("delay", "+-", "waiting", "stops", "queue", "longest", "lane", "arrived")
    lines = [f"\n{case.title} ({tags})", f"  {'':18}" + "".join(f"{name:>9}" for name in columns)]
    for name, results in found.items():
        delays = [result.delay_s for result in results]
        lane_s = max((max(r.lane_wait_s.values(), default=float("nan")) for r in results), default=float("nan"))
        row = (
            statistics.mean(delays),
            statistics.stdev(delays) if len(delays) > 1 else 0.0,
            mean(results, lambda r: r.waiting_s),
            mean(results, lambda r: r.stops),
            mean(results, lambda r: r.queue),
            mean(results, lambda r: r.longest_wait_s),
            lane_s,
            mean(results, lambda r: r.arrived),
        )
        lines.append(f"  {name:18}" + "".join(f"{value:9.2f}" for value in row))
    print("\n".join(lines), flush=True)


def judge(case: Case, tags: str, found: dict[str, list[Result]]) -> Verdict:
    """Ours against the case's bars, and with a camera against the best of the references."""
    for name, bar_s in case.bars:
        report.limit(f"{case.title}, {name}, average delay", delay_s(found[name]), bar_s, "s")
    return verdict(case.title, tags, found)


def prepare(folder: Path, names: set[str]) -> None:
    """Networks and demand of these sites; `cologne1` from beside the checkout, where it is."""
    netconvert = shutil.which("netconvert", path=f"{Path(sys.executable).parent}") or shutil.which("netconvert")
    if netconvert is None:
        raise SystemExit("There is no netconvert: `make bench-signals` installs it with the extra `sumo`")
    for site in filter(None, map(find, sorted(names))):
        nets.build(site, folder, netconvert)
    cologne = SHARED / "data" / "sumo" / "cologne1"
    if cologne.exists():
        (folder / "cologne1").symlink_to(cologne)
    else:
        print(f"!! cologne1 is LEFT OUT, and with it the bars: there is no {cologne}", flush=True)


@dataclass(frozen=True, slots=True)
class Batch:
    """Cases of one site, which share its demand's file: for one process."""

    cases: tuple[Case, ...]
    folder: Path
    seeds: int
    quick: bool
    tags: str


def run_batch(batch: Batch) -> list[Verdict]:
    """Runs, shows and judges them."""
    bench = Bench(load_sumo(), batch.folder, batch.seeds, quick=batch.quick)
    verdicts = []
    for case in batch.cases:
        found = bench.run(case)
        show(case, batch.tags, found)
        verdicts.append(judge(case, batch.tags, found))
    return verdicts


def batches(chosen: Sequence[Case], folder: Path, seeds: int, *, quick: bool) -> Iterator[Batch]:
    """One a site, those with most cases first, since they take longest."""
    by_site: dict[str, list[Case]] = {}
    for case in chosen:
        if (folder / case.site).exists():
            by_site.setdefault(case.site, []).append(case)
    for name, own in sorted(by_site.items(), key=lambda item: -len(item[1])):
        site = find(name)
        yield Batch(tuple(own), folder, seeds, quick, "/".join(site.tags) if site else "tuned")


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description="Green times in SUMO.")
    parser.add_argument("--seeds", type=int, help="5, or 2 with --quick")
    parser.add_argument("--only", default="", help="sites or whole cases, with commas between")
    parser.add_argument("--quick", action="store_true", help="some cases, without fixed plans")
    parser.add_argument(
        "--jobs", type=int, default=os.cpu_count() or 1, help="processes; as many as there are cores"
    )
    options = parser.parse_args()
    seeds = options.seeds or (2 if options.quick else 5)
    only = [name for name in options.only.split(",") if name]
    verdicts: list[Verdict] = []
    with tempfile.TemporaryDirectory(prefix="stopline-sites-") as name:
        folder = Path(name)
        chosen = [case for case in cases() if case.title in only or case.site in only]
        chosen += [Case(name) for name in only if name.startswith(PREFIX)]
        if not only:
            chosen = [case for case in cases() if not options.quick or case.title in QUICK]
        prepare(folder, {case.site for case in chosen})
        ready = list(batches(chosen, folder, seeds, quick=options.quick))
        with multiprocessing.get_context("spawn").Pool(options.jobs) as pool:
            for found in pool.imap_unordered(run_batch, ready):
                verdicts += found
    summary(verdicts)


if __name__ == "__main__":
    main()
