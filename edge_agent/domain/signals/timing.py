"""Times for a description of a junction, by the field's formulas: clearances, cycle and greens, delay.

Yellow lets who cannot stop comfortably any more reach the stop line; red clearance lets them leave the conflict
area (ITE). Cycle and greens are Webster's, with floors. Rounded up always, since a clearance that is too short
kills and one that is too long costs a second.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

REACTION_S = 1.0
DECELERATION_MPS2 = 3.05
"""What drivers brake with when they choose to stop: 10 ft/s2."""
GRAVITY_MPS2 = 9.81
VEHICLE_M = 6.0
WALK_MPS = 1.2
LEAST_YELLOW_S, MOST_YELLOW_S = 3.0, 6.0
MOST_RED_CLEARANCE_S = 6.0
WEBSTER_FULL = 0.95
"""From this sum of flow ratios on Webster's cycle has no meaning, and the longest is taken."""

_KMH_PER_MPS = 3.6
_NOISE = 1e-9


class TimingError(ValueError):
    """No time that is allowed fits; the message says why, and what to change."""


@dataclass(frozen=True, slots=True)
class Clearance:
    """What one approach needs.

    Attributes:
        yellow_s, red_clearance_s: for the description.
        yellow_by_formula_s, red_by_formula_s: before rounding and bounds.
    """

    yellow_s: float
    red_clearance_s: float
    yellow_by_formula_s: float
    red_by_formula_s: float


def clearance(
    speed_kmh: float,
    width_m: float,
    *,
    grade_percent: float = 0.0,
    vehicle_m: float = VEHICLE_M,
    step_s: float = 0.1,
) -> Clearance:
    """Yellow and red clearance of an approach.

    Yellow is at least 3 s and at most 6; what a fast approach would need beyond is added to the red clearance.

    Args:
        speed_kmh: how fast vehicles come, the speed limit or what 85 % of them keep below.
        width_m: from the stop line to the far end of the conflict area.
        grade_percent: uphill above 0.
        vehicle_m: length of those that have to get out.
        step_s: times are rounded up to multiples of it.

    Raises:
        TimingError: the red clearance would be longer than 6 s, the grade is too steep to stop on, or a value
            makes no sense.
    """
    for name, value in (
        ("speed_kmh", speed_kmh),
        ("width_m", width_m),
        ("vehicle_m", vehicle_m),
        ("step_s", step_s),
    ):
        if not (math.isfinite(value) and value > 0.0):
            raise TimingError(f"{name} is {value:g}; it must be above 0")
    speed_mps = speed_kmh / _KMH_PER_MPS
    braking_mps2 = DECELERATION_MPS2 + GRAVITY_MPS2 * grade_percent / 100.0
    if not braking_mps2 > 0.5:
        raise TimingError(
            f"on a grade of {grade_percent:g} % nobody can stop in time; is it meant to be in percent?"
        )
    yellow_s = REACTION_S + speed_mps / (2.0 * braking_mps2)
    red_s = (width_m + vehicle_m) / speed_mps
    shown_s = min(max(round_up(yellow_s, step_s), LEAST_YELLOW_S), MOST_YELLOW_S)
    needed_s = round_up(red_s + max(0.0, yellow_s - shown_s), step_s)
    if needed_s > MOST_RED_CLEARANCE_S:
        raise TimingError(
            f"the red clearance would have to be {needed_s:g} s, and {MOST_RED_CLEARANCE_S:g} s is the most: move "
            f"the stop line nearer (width_m is {width_m:g}), or check speed_kmh ({speed_kmh:g})"
        )
    return Clearance(shown_s, needed_s, yellow_s, red_s)


def walk_clearance_s(length_m: float, *, walk_mps: float = WALK_MPS, step_s: float = 0.1) -> float:
    """How long people need who have just begun to cross, rounded up to `step_s`.

    Raises:
        TimingError: a value makes no sense.
    """
    if not (length_m > 0.0 and walk_mps > 0.0 and math.isfinite(length_m / walk_mps)):
        raise TimingError(f"a way of {length_m:g} m at {walk_mps:g} m/s takes no time that could be given")
    return round_up(length_m / walk_mps, step_s)


def round_up(value_s: float, step_s: float) -> float:
    """The next multiple of `step_s`, without the noise of binary fractions."""
    return round(math.ceil(value_s / step_s - _NOISE) * step_s, 6)


@dataclass(frozen=True, slots=True)
class Splits:
    """A cycle and its greens.

    Attributes:
        greens_s: of each stage.
        saturation: of each stage, demand over capacity; above 1 the queue grows.
        delays_s: mean of who comes evenly, by stage; queues that are left over come on top.
    """

    cycle_s: float
    greens_s: tuple[float, ...]
    saturation: tuple[float, ...]
    delays_s: tuple[float, ...]


def webster_cycle_s(ratios: Sequence[float], lost_s: float, least_s: float, most_s: float) -> float:
    """Webster's cycle of least delay, within bounds.

    Args:
        ratios: of each stage, flow over saturation flow of its fullest lane.
        lost_s: the time of a cycle in which nobody goes: all intergreens together.
    """
    full = sum(ratios)
    if full >= WEBSTER_FULL:
        return most_s
    return min(max((1.5 * lost_s + 5.0) / (1.0 - full), least_s), most_s)


def webster(
    ratios: Sequence[float],
    lost_s: float,
    min_greens_s: Sequence[float],
    *,
    least_s: float = 30.0,
    most_s: float = 120.0,
    step_s: float = 1.0,
) -> Splits:
    """Webster's cycle and splits; no green is below its floor, for which the cycle grows if it has to.

    Args:
        ratios: of each stage, flow over saturation flow of its fullest lane.
        lost_s: all intergreens of a cycle together.
        min_greens_s: floors.
        least_s, most_s: bounds of the cycle. The floors come before the larger one.
        step_s: the cycle is rounded up to multiples of it.

    Raises:
        TimingError: a value makes no sense.
    """
    if not ratios or len(ratios) != len(min_greens_s):
        raise TimingError(
            f"{len(ratios)} flow ratios and {len(min_greens_s)} minimum greens; each stage needs both"
        )
    if min(ratios) < 0.0 or min(min_greens_s) < 0.0 or not all(map(math.isfinite, (*ratios, *min_greens_s))):
        raise TimingError("flow ratios and minimum greens must not be below 0")
    if not (0.0 < least_s <= most_s < math.inf and 0.0 <= lost_s < math.inf):
        raise TimingError(f"a cycle of {least_s:g} to {most_s:g} s with {lost_s:g} s lost is none")
    cycle_s = webster_cycle_s(ratios, lost_s, least_s, most_s)
    cycle_s = round_up(max(cycle_s, lost_s + sum(min_greens_s)), step_s)
    greens_s = share_out(cycle_s - lost_s, ratios, min_greens_s)
    saturation = tuple(_saturation(y, g, cycle_s) for y, g in zip(ratios, greens_s, strict=True))
    delays_s = tuple(uniform_delay_s(cycle_s, g, x) for g, x in zip(greens_s, saturation, strict=True))
    return Splits(cycle_s, greens_s, saturation, delays_s)


def share_out(total_s: float, weights: Sequence[float], floors_s: Sequence[float]) -> tuple[float, ...]:
    """`total_s` in proportion to `weights`, none below its floor; the floors must fit."""
    shares_s = list(floors_s)
    open_to = set(range(len(weights)))
    left_s = total_s
    while open_to:
        sum_of_weights = sum(weights[i] for i in open_to)
        part = {
            i: left_s * (weights[i] / sum_of_weights) if sum_of_weights else left_s / len(open_to) for i in open_to
        }
        low = {i for i in open_to if part[i] < floors_s[i]}
        if not low:
            for i in open_to:
                shares_s[i] = part[i]
            break
        left_s -= sum(floors_s[i] for i in low)
        open_to -= low
    return tuple(shares_s)


def _saturation(ratio: float, green_s: float, cycle_s: float) -> float:
    if green_s > 0.0:
        return ratio * cycle_s / green_s
    return math.inf if ratio else 0.0


def uniform_delay_s(cycle_s: float, green_s: float, saturation: float) -> float:
    """Mean delay of vehicles that come evenly (HCM, Webster's first term)."""
    share = green_s / cycle_s
    return 0.5 * cycle_s * (1.0 - share) ** 2 / (1.0 - min(1.0, saturation) * share) if share < 1.0 else 0.0
