"""What actuated coordination is worth: the same arterial plan with its own times, and with what others leave.

Simulated traffic with camera and stop line on each lane; a busy main road, and three others that are half empty.
Means over seeds; the main road's vehicles come at random, so a platoon that is in step with the green gains less.

python -m tests.bench.bench_coordination
"""

from msgspec import structs

from common.junction import Algorithm, Junction
from tests.bench import report
from tests.bench.bench_junctions import SimulatedJunction
from tests.junctions import APPROACHES, four_stages

N_SEEDS = 10
SECONDS = 1800
MAIN, *SIDES = APPROACHES


def arterial(*, actuated: bool, algorithm: Algorithm = Algorithm.ADAPTIVE) -> Junction:
    """Four stages; the first is the coordinated one."""
    base = four_stages(algorithm)
    first, *others = base.plans[0].stages
    stages = (structs.replace(first, green_s=30.0), *others)
    plan = structs.replace(base.plans[0], stages=stages, offset_s=20.0, actuated_coordination=actuated)
    movements = tuple(structs.replace(one, max_green_s=80.0) for one in base.movements)
    return structs.replace(base, movements=movements, plans=(plan,))


def present_s(junction: Junction, vph: dict[str, float]) -> tuple[float, float]:
    """How long a vehicle of the main road, and one of the others, is on its way to the stop line."""
    present, crossed = dict.fromkeys(APPROACHES, 0.0), dict.fromkeys(APPROACHES, 0)
    for seed in range(N_SEEDS):
        one = SimulatedJunction(junction, vph, seed)
        for _ in range(SECONDS):
            one.step()
        for lane, truth in one.traffic.truth.items():
            present[lane] += truth.present_s
            crossed[lane] += truth.crossed
    sides = sum(present[lane] for lane in SIDES), sum(crossed[lane] for lane in SIDES)
    return present[MAIN] / crossed[MAIN], sides[0] / sides[1]


def main() -> None:
    for main_vph, side_vph in ((500.0, 60.0), (500.0, 150.0), (500.0, 250.0)):
        vph = {MAIN: main_vph} | dict.fromkeys(SIDES, side_vph)
        fixed = present_s(arterial(actuated=False), vph)
        for algorithm in (Algorithm.ADAPTIVE, Algorithm.ACTUATED):
            main_s, sides_s = present_s(arterial(actuated=True, algorithm=algorithm), vph)
            what = f"{main_vph:g} and 3 x {side_vph:g} veh/h, {algorithm}"
            report.limit(f"main road, {what}", main_s, fixed[0], "s")
            report.plain(f"  the others, {what}", sides_s, "s", f"{fixed[1]:.1f} s with the plan's own times")


if __name__ == "__main__":
    main()
