"""Junctions drawn at random, for a verdict on sites that nobody looked at while a rule was made.

A number is a site, always the same one. Loads reach from half empty to near capacity, where rules that only suit
light traffic break down. The share of its capacity that a site needs is a rough guess: turns that have to let
others pass take more. So some are over capacity; there all rules are bad, and only the order tells.
"""

import random

from tests.bench.signals.nets import Arm, Flow, Site

PREFIX = "drawn-"
LANE_VPH = 1_750.0
"""What a lane with the way to itself lets pass in an hour of green."""
LEAST_LOAD, MOST_LOAD = 0.3, 0.62
END_S = 2_400
_ANGLES_DEG = {3: (180, 270, 0), 4: (90, 180, 270, 0), 5: (90, 162, 234, 306, 18)}


def drawn(number: int) -> Site:
    """The site of this number."""
    rng = random.Random(f"drawn {number}")
    angles_deg = _ANGLES_DEG[rng.choice((3, 4, 4, 4, 5))]
    n_lanes = rng.choice((1, 2, 2, 3)), rng.choice((1, 1, 2))
    speeds_mps = [rng.choice((8.33, 13.89, 13.89, 16.67)) for _ in angles_deg]
    arms = tuple(
        Arm(angle_deg, n_lanes[k % 2], speed_mps)
        for k, (angle_deg, speed_mps) in enumerate(zip(angles_deg, speeds_mps, strict=True))
    )
    layout = rng.choice(("opposites", "opposites", "incoming")) if len(arms) < 5 else "incoming"
    shares = [rng.uniform(0.3, 1.0) for _ in arms]
    load = rng.uniform(LEAST_LOAD, MOST_LOAD)
    lane_vph = load * LANE_VPH / _critical(shares, layout)
    flows = tuple(
        Flow(
            ((0.0, share * arm.lanes * lane_vph),),
            _turns(rng, len(arms)),
            platoon=rng.choice((1, 1, 1, 6, 10)),
            trucks=rng.choice((0.0, 0.0, 0.1)),
        )
        for share, arm in zip(shares, arms, strict=True)
    )
    return Site(f"{PREFIX}{number}", arms, flows, layout, END_S, frozenset({"drawn"}))


def _critical(shares: list[float], layout: str) -> float:
    """The sum over greens of the busiest arm's: opposite arms share one, or each has its own."""
    if layout == "incoming":
        return sum(shares)
    return sum(max(shares[k::2]) for k in range(2))


def _turns(rng: random.Random, n_arms: int) -> tuple[float, ...]:
    """Right, between, left."""
    right, left = rng.uniform(0.05, 0.35), rng.uniform(0.05, 0.35)
    if n_arms == 3:
        return right / (right + left), left / (right + left)
    return right, *[(1.0 - right - left) / (n_arms - 3)] * (n_arms - 3), left
