"""What one decision on green times costs: 100 junctions are to be simulated 50 times faster than real time."""

import time

import msgspec

from common.junction import Junction, Lane
from edge_agent.domain.signals.green.ladder import Ladder
from edge_agent.domain.signals.steps import Lane as Told
from edge_agent.domain.signals.steps import Situation
from tests.bench import report
from tests.junctions import four_stages

N, ROUNDS, LANES_PER_STAGE = 300, 15, 4


def sixteen_lanes() -> Junction:
    """Four stages, four lanes each."""
    base = four_stages()
    lanes, movements = [], []
    for movement in base.movements:
        names = tuple(f"{movement.name}-{k}" for k in range(LANES_PER_STAGE))
        lanes += [Lane(name=name, approach=movement.name) for name in names]
        movements.append(msgspec.structs.replace(movement, lanes=names))
    return msgspec.structs.replace(base, lanes=tuple(lanes), movements=tuple(movements), detectors=())


def situations() -> list[Situation]:
    """Vehicles everywhere, those of the first stage moving."""
    return [
        Situation(
            float(k),
            0,
            float(k % 40 + 7),
            (0.0, 20.0, 30.0, 40.0),
            tuple(
                Told(k // 3 + i, 1.5 if i < LANES_PER_STAGE else 30.0, 4, 2 if i < LANES_PER_STAGE else 0, True)
                for i in range(16)
            ),
        )
        for k in range(N)
    ]


def main() -> None:
    """The best of several rounds: others may use the processor meanwhile."""
    junction, told = sixteen_lanes(), situations()
    best_s = float("inf")
    for _ in range(ROUNDS):
        green = Ladder(junction, junction.plans[0])
        began_s = time.process_time()
        for situation in told:
            green.decide(situation)
        best_s = min(best_s, (time.process_time() - began_s) / N)
    report.limit("a decision, 4 stages, 16 lanes", best_s * 1e6, 60.0, "us")


if __name__ == "__main__":
    main()
