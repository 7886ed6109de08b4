"""What an override makes of a plan, computed alike by the lights and by whoever previews it."""

import pytest

from common.commands import Automatic, FixedPlan, ManualOverride, Order, Preempt
from common.junction_times import cycle_s
from common.override_times import OverrideError, StageTime, check_order, override_times
from tests.junctions import crossroads, four_stages, with_people


def override(length_s: float, **greens_s: float) -> ManualOverride:
    return ManualOverride(by="test", cycle_s=length_s, lane_green_s=greens_s)


def test_the_last_lanes_are_computed_and_the_round_adds_up() -> None:
    times = override_times(crossroads(), 0, override(70.0, north=40.0))
    assert times == [
        StageTime("ns", ("north", "south"), 40.0, False, 3.0, 2.0),
        StageTime("ew", ("east", "west"), 20.0, True, 3.0, 2.0),
    ]
    assert sum(one.green_s + one.yellow_s + one.red_clearance_s for one in times) == 70.0


def test_a_round_in_four_stages_with_all_lanes_given_computes_none() -> None:
    junction = four_stages()
    given = {"north": 10.0, "east": 12.0, "south": 14.0, "west": 16.0}
    times = override_times(junction, 0, override(72.0, **given))
    assert [(one.lanes, one.green_s) for one in times] == [((name,), green_s) for name, green_s in given.items()]
    assert not any(one.is_computed for one in times)


def test_yellow_and_clearance_are_those_of_who_takes_longest_to_clear() -> None:
    junction = with_people()
    times = override_times(junction, 0, override(80.0, north=30.0))
    # People need 8 s and have no yellow; vehicles 3 s and 2 s.
    assert [(one.yellow_s, one.red_clearance_s) for one in times] == [(0.0, 8.0), (0.0, 8.0)]
    assert sum(one.green_s + one.yellow_s + one.red_clearance_s for one in times) == 80.0
    assert cycle_s(junction, junction.plans[0]) == 25.0 + 20.0 + 16.0


def test_what_does_not_fit_says_why() -> None:
    with pytest.raises(OverrideError, match="needs 7 s at least"):
        override_times(crossroads(), 0, override(70.0, north=5.0))


@pytest.mark.parametrize(
    ("order", "words"),
    [
        (Automatic(by="t"), ""),
        (override(70.0, north=40.0), ""),
        (override(70.0, nroth=40.0), "did you mean north?"),
        (FixedPlan(by="t", plan="day"), ""),
        (FixedPlan(by="t", plan="dya"), "there is no plan 'dya'; did you mean day?"),
        (Preempt(by="t", preemption="fire", on=True), "there is no preemption 'fire'; there are none"),
    ],
)
def test_an_order_is_held_against_the_description(order: Order, words: str) -> None:
    result = check_order(crossroads(), order)
    assert result.accepted is (not words)
    assert words in result.reason
