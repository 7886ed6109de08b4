"""Turns: each entry is paired once or reported once, within its limit, in whatever order it is told."""

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.codes import Direction
from edge_agent.domain.crossing import Crossing, CrossingCounter
from edge_agent.domain.lineage import Lineage
from edge_agent.domain.shapes import Line
from edge_agent.domain.tracking import Tracker
from edge_agent.domain.turn_rules import Turn, check_turns, unpaired_names
from edge_agent.domain.turns import SETTLE_S, TurnCounter, Turned, TurnResult, Unpaired
from tests.traffic import detections

IN, OUT = Direction.IN, Direction.OUT
LEFT = Turn("left", ("north", IN), ("east", OUT), 20.0)
AHEAD = Turn("ahead", ("north", IN), ("south", OUT), 10.0)
U_TURN = Turn("back", ("north", IN), ("north", OUT), 30.0)


def crossing(
    t_s: float, line: str, direction: Direction, vehicle: int, cls: str = "car", confidence: float = 0.5
) -> Crossing:
    return Crossing(line, t_s, direction, cls, confidence, vehicle + 1000, False, first_track=vehicle)


def run(told: list[tuple[float, Crossing]], turns: list[Turn], end_s: float | None = None) -> TurnResult:
    counter, whole = TurnCounter(turns), TurnResult()
    for told_s, one in sorted(told, key=lambda pair: pair[0]):
        _add(whole, counter.update([one], told_s))
    if end_s is not None:
        _add(whole, counter.update([], end_s))
        return whole
    _add(whole, counter.finish())
    return whole


def _add(whole: TurnResult, part: TurnResult) -> None:
    whole.turned += part.turned
    whole.unpaired += part.unpaired


def on_time(*crossings: Crossing) -> list[tuple[float, Crossing]]:
    return [(one.t_s + 0.2, one) for one in crossings]


def test_in_here_and_out_there_is_a_turn_at_the_time_of_its_exit() -> None:
    result = run(on_time(crossing(5, "north", IN, 1), crossing(12, "east", OUT, 1)), [LEFT, AHEAD])
    assert result.turned == [Turned("left", 5, 12, "car", 0.5, 1001)]
    assert result.unpaired == []


def test_nobody_elses_exit_is_taken() -> None:
    result = run(on_time(crossing(5, "north", IN, 1), crossing(12, "east", OUT, 2)), [LEFT])
    assert result.turned == []
    assert {(one.line, one.entry, one.t_s) for one in result.unpaired} == {("north", True, 5), ("east", False, 12)}


@pytest.mark.parametrize(("left_s", "n"), [(15.0, 1), (15.01, 0), (5.0, 1), (4.99, 0)])
def test_the_limit_is_kept_to_the_moment(left_s: float, n: int) -> None:
    result = run(on_time(crossing(5, "north", IN, 1), crossing(left_s, "south", OUT, 1)), [AHEAD])
    assert len(result.turned) == n
    assert len(result.unpaired) == 2 * (1 - n)


def test_each_turn_has_its_own_limit() -> None:
    slow = on_time(crossing(0, "north", IN, 1), crossing(15, "south", OUT, 1), crossing(16, "east", OUT, 1))
    result = run(slow, [LEFT, AHEAD])
    assert [one.turn for one in result.turned] == ["left"]
    assert [(one.line, one.entry) for one in result.unpaired] == [("south", False)]


def test_an_exit_that_is_told_before_its_entry_still_pairs() -> None:
    told = [(12.1, crossing(12, "east", OUT, 1)), (12.1 + 0.9 * SETTLE_S, crossing(11, "north", IN, 1))]
    assert len(run(told, [LEFT]).turned) == 1


def test_the_last_entry_is_the_one_that_led_there() -> None:
    told = on_time(crossing(0, "north", IN, 1), crossing(5, "north", IN, 1), crossing(9, "east", OUT, 1))
    result = run(told, [LEFT])
    assert [one.entered_s for one in result.turned] == [5]
    assert [(one.entry, one.t_s) for one in result.unpaired] == [(True, 0)]


def test_one_crossing_can_end_a_turn_and_begin_another() -> None:
    turns = [Turn("a", ("north", IN), ("ring", IN), 20.0), Turn("b", ("ring", IN), ("east", OUT), 20.0)]
    told = on_time(crossing(0, "north", IN, 1), crossing(5, "ring", IN, 1), crossing(9, "east", OUT, 1))
    result = run(told, turns)
    assert [(one.turn, one.entered_s, one.left_s) for one in result.turned] == [("a", 0, 5), ("b", 5, 9)]
    assert result.unpaired == []


def test_a_u_turn_goes_back_over_its_own_line() -> None:
    result = run(on_time(crossing(0, "north", IN, 1), crossing(5, "north", OUT, 1)), [U_TURN])
    assert [one.turn for one in result.turned] == ["back"]


def test_the_surer_class_wins_and_the_later_one_if_they_are_even() -> None:
    def cls(came: float, left: float) -> str:
        told = on_time(crossing(0, "north", IN, 1, "truck", came), crossing(5, "east", OUT, 1, "bus", left))
        return run(told, [LEFT]).turned[0].cls

    assert [cls(0.9, 0.4), cls(0.4, 0.9), cls(0.5, 0.5)] == ["truck", "bus", "bus"]


def test_who_never_leaves_is_reported_when_the_limit_is_over_and_not_before() -> None:
    counter = TurnCounter([LEFT])
    assert not counter.update([crossing(5, "north", IN, 1)], 5.2)
    assert not counter.update([], 25.0)
    (one,) = counter.update([], 25.0 + 2 * SETTLE_S + 0.1).unpaired
    assert one == Unpaired("north", True, 5, "car", 0.5, 1001)
    assert not counter.finish()


def test_a_clock_that_jumps_back_ends_what_was_open() -> None:
    counter = TurnCounter([LEFT])
    counter.update([crossing(1000, "north", IN, 1), crossing(1001, "east", OUT, 1)], 1001.2)
    counter.update([crossing(1001, "north", IN, 2)], 1001.3)
    result = counter.update([crossing(3, "east", OUT, 2)], 3.2)
    assert [one.left_s for one in result.turned] == [1001]
    assert [(one.line, one.t_s) for one in result.unpaired] == [("north", 1001)]
    assert [(one.line, one.t_s) for one in counter.finish().unpaired] == [("east", 3)]


def test_what_is_open_is_bounded() -> None:
    counter = TurnCounter([LEFT])
    told = counter.update([crossing(1.0, "north", IN, n) for n in range(5_300)], 1.0)
    assert [one.track - 1000 for one in told.unpaired] == list(range(300)), "the oldest"


def test_no_turns_keep_nothing() -> None:
    counter = TurnCounter([])
    assert not counter.update([crossing(5, "north", IN, 1)], 5.2)
    assert not counter.finish()


WAYS = st.sampled_from([("north", IN), ("north", OUT), ("east", OUT), ("south", OUT), ("west", IN)])
EVENTS = st.lists(
    st.tuples(st.integers(0, 60), WAYS, st.integers(1, 3), st.floats(0, SETTLE_S * 0.9)), max_size=25
)


@given(EVENTS, st.sampled_from([[LEFT], [LEFT, AHEAD], [LEFT, AHEAD, U_TURN]]), st.booleans())
def test_every_entry_and_exit_is_told_once(
    events: list[tuple[int, tuple[str, Direction], int, float]], turns: list[Turn], ends: bool
) -> None:
    told = [(t + late, crossing(t, *way, vehicle)) for t, way, vehicle, late in events]
    result = run(told, turns, None if ends else 1000.0)
    entries, exits = {turn.entry for turn in turns}, {turn.exit for turn in turns}
    came = Counter((line, t, v) for t, (line, way), v, _ in events if (line, way) in entries)
    left = Counter((line, t, v) for t, (line, way), v, _ in events if (line, way) in exits)
    by_name = {turn.name: turn for turn in turns}
    for one in result.turned:
        turn = by_name[one.turn]
        assert 0 <= one.left_s - one.entered_s <= turn.within_s
        came[turn.entry[0], int(one.entered_s), one.track - 1000] -= 1
        left[turn.exit[0], int(one.left_s), one.track - 1000] -= 1
    for lonely in result.unpaired:
        side = came if lonely.entry else left
        side[lonely.line, int(lonely.t_s), lonely.track - 1000] -= 1
    assert not any(came.values())
    assert not any(left.values())


@given(EVENTS)
def test_the_order_in_which_crossings_are_told_changes_nothing(
    events: list[tuple[int, tuple[str, Direction], int, float]],
) -> None:
    once = {(t, way, vehicle): late for t, way, vehicle, late in events}
    told = [(t + late, crossing(t, *way, vehicle)) for (t, way, vehicle), late in once.items()]
    late_by_a_fixed_time = [(one.t_s + 1.0, one) for _, one in told]
    some, other = run(told, [LEFT, AHEAD]), run(late_by_a_fixed_time, [LEFT, AHEAD])
    assert sorted(some.turned, key=str) == sorted(other.turned, key=str)


@pytest.mark.parametrize("fps", [30, 5])
def test_a_car_whose_track_breaks_between_the_lines_turns_all_the_same(fps: int) -> None:
    """It drives down, is hidden for longer than a track lives, and comes out of it under another id."""
    lines = (Line("north", ((0, 80), (640, 80))), Line("south", ((640, 300), (0, 300))))
    tracker, counter = Tracker(), CrossingCounter(lines, (640, 360))
    turns, whole, ids = TurnCounter([AHEAD]), TurnResult(), set()
    for number in range(12 * fps):
        t_s = number / fps
        y = float(np.interp(t_s, [0, 3, 6, 9], [20, 170, 190, 340]))
        found = [] if 3.2 < t_s < 5.0 or t_s > 9 else [(300.0, y - 20, 360.0, y + 20)]
        tracks = tracker.update(detections(found, [0.8] * len(found), ["car"] * len(found)), t_s)
        ids |= {track.id for track in tracks if track.confirmed}
        _add(whole, turns.update(counter.update(tracks, t_s), t_s))
    assert len(ids) == 2, "the case is about a track that breaks"
    assert [(one.turn, one.cls) for one in whole.turned] == [("ahead", "car")]
    assert whole.unpaired == []


def test_a_vehicle_keeps_the_name_of_its_first_track() -> None:
    lineage = Lineage()
    lineage.go_on(5, after=3)
    lineage.go_on(9, after=5)
    assert [lineage.first(track) for track in (3, 5, 9, 4)] == [3, 3, 3, 4]
    lineage.forget([9])
    assert len(lineage) == 1
    assert lineage.first(9) == 3


class TestRules:
    LINES = ("north", "east", "south")

    @pytest.mark.parametrize(
        ("changes", "words"),
        [
            ({"name": " "}, "needs a name"),
            ({"exit": ("north", IN)}, "begins and ends with the same: 'north' in; name another"),
            ({"exit": ("north", Direction.NONE)}, "say which way for 'north'"),
            ({"within_s": 0.0}, "within_s is 0; give the most seconds"),
            ({"within_s": float("nan")}, "within_s is nan"),
            ({"within_s": 3601.0}, "up to 3600"),
        ],
    )
    def test_a_turn_that_is_none(self, changes: dict[str, object], words: str) -> None:
        good: dict[str, object] = {"name": "t", "entry": ("north", IN), "exit": ("east", OUT), "within_s": 9.0}
        with pytest.raises(ValueError, match=words):
            Turn(**{**good, **changes})  # type: ignore[arg-type]

    @pytest.mark.parametrize(
        ("turns", "words"),
        [
            (
                [Turn("t", ("nroth", IN), ("east", OUT), 9)],
                "turn 't': there is no line 'nroth'; there is 'north', ",
            ),
            ([LEFT, LEFT], "the name 'left' is used twice"),
            ([Turn("east", ("north", IN), ("east", OUT), 9)], "the name 'east' is used twice"),
            (
                [LEFT, Turn("l", LEFT.entry, LEFT.exit, 5)],
                "turns 'left' and 'l' are the same, 'north' in to 'east'",
            ),
            ([LEFT, Turn(unpaired_names(LEFT)[0], AHEAD.entry, AHEAD.exit, 5)], "used twice"),
        ],
    )
    def test_turns_that_do_not_fit(self, turns: list[Turn], words: str) -> None:
        with pytest.raises(ValueError, match=words):
            check_turns(turns, self.LINES, self.LINES)

    def test_a_name_too_long_to_tell_what_is_unpaired(self) -> None:
        long = "n" * 90
        with pytest.raises(ValueError, match="too long for a turn; shorten it to 85"):
            check_turns([Turn("t", (long, IN), ("east", OUT), 9)], (long, "east"), ())

    def test_good_ones_pass(self) -> None:
        check_turns([LEFT, AHEAD, U_TURN], self.LINES, self.LINES)
        assert all(a != b for a, b in pairwise(unpaired_names(LEFT)))
