"""Times by the field's formulas, against figures worked out by hand or published."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.domain.signals.timing import (
    TimingError,
    clearance,
    round_up,
    share_out,
    uniform_delay_s,
    walk_clearance_s,
    webster,
)


@pytest.mark.parametrize(
    ("speed_kmh", "grade", "yellow_s", "red_s"),
    [
        (50.0, 0.0, 3.3, 1.9),  # 1 + 13.89 / 6.1; 26 m at 13.89 m/s
        (60.0, 0.0, 3.8, 1.6),  # 3.732: rounded up, never down
        (30.0, 0.0, 3.0, 3.2),  # 2.366: the least
        (50.0, -6.0, 3.9, 1.9),  # downhill it takes longer to stop: 3.822
        (50.0, 6.0, 3.0, 1.9),
    ],
)
def test_yellow_and_red_clearance(speed_kmh: float, grade: float, yellow_s: float, red_s: float) -> None:
    found = clearance(speed_kmh, 20.0, grade_percent=grade)
    assert (found.yellow_s, found.red_clearance_s) == (yellow_s, red_s)


def test_times_in_half_seconds() -> None:
    found = clearance(50.0, 20.0, step_s=0.5)
    assert (found.yellow_s, found.red_clearance_s) == (3.5, 2.0)
    assert (found.yellow_by_formula_s, found.red_by_formula_s) == pytest.approx((3.277, 1.872), abs=0.001)


def test_what_the_longest_yellow_leaves_is_added_to_the_red() -> None:
    """130 km/h downhill needs 8.1 s of yellow: 6 s are shown, 2.1 s are red, and 0.7 s to get out."""
    found = clearance(130.0, 20.0, grade_percent=-5.0)
    assert found.yellow_by_formula_s == pytest.approx(8.055, abs=0.01)
    assert (found.yellow_s, found.red_clearance_s) == (6.0, round_up(found.yellow_by_formula_s - 6.0 + 0.72, 0.1))


@pytest.mark.parametrize(
    ("speed_kmh", "width_m", "grade", "told"),
    [
        (20.0, 40.0, 0.0, "8.3 s, and 6 s is the most"),
        (0.0, 20.0, 0.0, "speed_kmh is 0"),
        (50.0, float("nan"), 0.0, "width_m"),
        (50.0, 20.0, -31.0, "grade"),
    ],
)
def test_what_cannot_be_says_why(speed_kmh: float, width_m: float, grade: float, told: str) -> None:
    with pytest.raises(TimingError, match=told):
        clearance(speed_kmh, width_m, grade_percent=grade)


def test_people_on_their_way() -> None:
    assert walk_clearance_s(9.6) == 8.0
    assert walk_clearance_s(9.7, step_s=0.5) == 8.5
    with pytest.raises(TimingError):
        walk_clearance_s(0.0)


@given(st.floats(10.0, 80.0), st.floats(3.0, 25.0), st.floats(-8.0, 8.0), st.sampled_from([0.1, 0.5, 1.0]))
def test_no_clearance_is_shorter_than_its_formula(
    speed_kmh: float, width_m: float, grade: float, step_s: float
) -> None:
    try:
        found = clearance(speed_kmh, width_m, grade_percent=grade, step_s=step_s)
    except TimingError:
        return
    assert 3.0 <= found.yellow_s <= 6.0
    assert found.red_clearance_s <= 6.0
    assert found.yellow_s + found.red_clearance_s >= found.yellow_by_formula_s + found.red_by_formula_s - 1e-6
    assert found.red_clearance_s >= found.red_by_formula_s - 1e-6


def test_websters_own_example() -> None:
    """Two stages with 0.25 and 0.375 of flow over saturation flow and 10 s lost: (15 + 5) / 0.375 = 53.3 s."""
    found = webster([0.25, 0.375], 10.0, [5.0, 5.0])
    assert found.cycle_s == 54.0
    assert found.greens_s == pytest.approx((17.6, 26.4))
    assert found.saturation == pytest.approx((0.7670, 0.7670), abs=1e-4)
    assert found.delays_s == pytest.approx((16.358, 11.285), abs=0.001)


def test_floors_hold_and_the_rest_is_shared() -> None:
    found = webster([0.02, 0.3, 0.3], 12.0, [7.0, 7.0, 7.0])
    assert found.cycle_s == 61.0
    assert found.greens_s == pytest.approx((7.0, 21.0, 21.0))


def test_floors_come_before_the_longest_cycle() -> None:
    found = webster([0.1, 0.1], 10.0, [40.0, 50.0], most_s=90.0)
    assert (found.cycle_s, found.greens_s) == (100.0, (40.0, 50.0))


def test_more_than_there_is_room_for() -> None:
    found = webster([0.6, 0.5], 10.0, [7.0, 7.0])
    assert found.cycle_s == 120.0
    assert found.saturation == pytest.approx((1.2, 1.2))


@pytest.mark.parametrize(
    ("ratios", "lost_s", "floors_s"),
    [([0.2], 10.0, [5.0, 5.0]), ([-0.1], 10.0, [5.0]), ([0.2], float("nan"), [5.0]), ([float("inf")], 1.0, [5.0])],
)
def test_stages_that_are_none(ratios: list[float], lost_s: float, floors_s: list[float]) -> None:
    with pytest.raises(TimingError):
        webster(ratios, lost_s, floors_s)


def test_nobody_comes() -> None:
    found = webster([0.0, 0.0], 10.0, [5.0, 5.0])
    assert (found.cycle_s, found.greens_s, found.saturation) == (30.0, (10.0, 10.0), (0.0, 0.0))


def test_delay_of_those_who_come_evenly() -> None:
    assert uniform_delay_s(60.0, 30.0, 0.0) == 7.5
    assert uniform_delay_s(60.0, 30.0, 1.0) == uniform_delay_s(60.0, 30.0, 1.4) == 15.0
    assert uniform_delay_s(60.0, 60.0, 0.5) == 0.0


@given(
    st.lists(st.tuples(st.floats(0.0, 1.0), st.floats(0.0, 20.0)), min_size=1, max_size=8), st.floats(0.0, 200.0)
)
def test_what_is_shared_out_is_all_and_no_floor_is_missed(
    stages: list[tuple[float, float]], more_s: float
) -> None:
    weights, floors_s = [one[0] for one in stages], [one[1] for one in stages]
    total_s = sum(floors_s) + more_s
    shares_s = share_out(total_s, weights, floors_s)
    assert sum(shares_s) == pytest.approx(total_s)
    assert all(share >= floor - 1e-6 for share, floor in zip(shares_s, floors_s, strict=True))
