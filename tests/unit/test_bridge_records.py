"""What a message over MQTT becomes: each vehicle once, whatever is lost, repeated or out of order on the way."""

from collections import Counter
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.bridge.records import MAX_NEWS, Position, Unbelievable, take_in, who_says
from common.codes import Aspect, SignalMode
from common.records import Count, Frames, Gap, Log, Record, StreamQuality
from common.topics import CarCounts, GreenTime, LaneMessage, LaneState

NOW = 1_790_000_000_000
HEAD = {
    "junction": "J",
    "lane": "north",
    "device": UUID(int=1),
    "boot_id": UUID(int=2),
    "epoch": 0,
    "nonce": "12345678",
    "at": NOW,
}


def counts(seq: int, n: int | None, total: int = 0, **changed: object) -> CarCounts:
    members = HEAD | {"seq": seq, "n": n, "n_since_boot": total, "span_ms": 10_000} | changed
    return CarCounts(**members)  # type: ignore[arg-type]


def new(message: LaneMessage, before: Position | None = None, *, is_known: bool = False) -> list[Record]:
    taken = take_in(message, before, is_known, NOW)
    return [] if taken is None else taken[0]


def n_counts(records: list[Record]) -> int:
    return sum(isinstance(record, Count) for record in records)


def test_classes_and_times_are_kept_as_far_as_they_are_told() -> None:
    records = new(counts(5, 3, 40, by_class={"car": 2, "bus": 1}), Position(3, 35))
    [frames] = [record for record in records if isinstance(record, Frames)]
    assert (frames.span_ms, frames.measured_ms) == (10_000, 10_000)
    told = [record for record in records if isinstance(record, Count)]
    assert Counter(record.cls for record in told) == {"car": 2, "bus": 1, "object": 2}
    ats = [record.at - NOW for record in told]
    assert ats == sorted(ats)
    assert ats[:2] == [-10_000, -10_000], "those of the message that was lost were before"
    assert ats[-1] == 0
    assert {record.sensor for record in told} == {"north"}


def test_what_was_not_measured_is_a_gap() -> None:
    [gap] = new(counts(5, None, 40), Position(4, 40))
    assert isinstance(gap, Gap)
    assert (gap.sensor, gap.duration_ms) == ("north", 10_000)


def test_the_first_message_of_a_start_that_was_not_heard_counts_its_own_alone() -> None:
    assert n_counts(new(counts(900, 2, 1000))) == 2
    assert n_counts(new(counts(3, 2, 10), is_known=True)) == 10, "a start after one that was heard counts from 0"


def test_a_wrong_clock_is_no_fact() -> None:
    for at in (0, NOW + 86_400_000):
        records = new(counts(1, 1, 1, at=at))
        assert all(NOW - 10_000 <= record.at <= NOW and record.at_error_ms >= 3_600_000 for record in records)


def test_more_than_can_be_is_not_believed() -> None:
    with pytest.raises(Unbelievable):
        new(counts(2, 1, 2**50), Position(1, 1))


def test_what_was_counted_during_a_long_outage_is_taken_in_by_and_by() -> None:
    position, n = Position(9, 100), 0
    for seq, total in ((5000, 5100), (5001, 5102), (5002, 5102), (5003, 5103)):
        taken = take_in(counts(seq, 1, total), position, True, NOW)
        assert taken is not None
        position, n = taken[1], n + n_counts(taken[0])
        assert n_counts(taken[0]) <= MAX_NEWS
    assert n == 5003, "each vehicle since the one that was heard of last"


def test_a_last_will_comes_last_though_it_was_made_first() -> None:
    online = LaneState(**HEAD, seq=7, online=True, aspect=Aspect.RED)  # type: ignore[arg-type]
    will = LaneState(**HEAD, seq=1, online=False)  # type: ignore[arg-type]
    assert new(online, Position(7)) == []
    [told] = new(will, Position(7))
    assert isinstance(told, StreamQuality)
    assert (told.state, told.detail) == ("unreachable", None)


def test_what_was_planned_is_a_line_of_the_log() -> None:
    times = {"cycle_s": 60.0, "green_s": 20.0, "yellow_s": 3.0, "red_s": 37.0, "mode": SignalMode.FIXED}
    [log] = new(GreenTime(**HEAD, seq=1, algorithm="fixed", **times))  # type: ignore[arg-type]
    assert isinstance(log, Log)
    assert log.context["green_s"] == 20.0


@given(st.lists(st.integers(1, 40), min_size=1, max_size=80))
def test_without_a_total_each_message_counts_once_in_whatever_order(order: list[int]) -> None:
    position, n = None, 0
    for seq in order:
        taken = take_in(counts(seq, seq), position, False, NOW)
        if taken is not None:
            n += n_counts(taken[0])
            position = taken[1]
    assert n == sum(set(order))


@given(
    st.lists(st.integers(0, 5), min_size=1, max_size=30),
    st.data(),
)
def test_however_they_come_each_vehicle_is_counted_once(passed: list[int], data: st.DataObject) -> None:
    totals = [sum(passed[: i + 1]) for i in range(len(passed))]
    messages = [counts(i + 1, n, total) for i, (n, total) in enumerate(zip(passed, totals, strict=True))]
    order = data.draw(st.lists(st.sampled_from(range(len(messages))), max_size=60))
    # The last one comes at last, by whatever way; before it, any may be lost, come twice or out of order.
    position, n = None, 0
    for index in [0, *order, len(messages) - 1]:
        taken = take_in(messages[index], position, False, NOW)
        if taken is not None:
            n += n_counts(taken[0])
            position = taken[1]
    assert n == totals[-1]
    assert position is not None
    came = {0, *order, len(messages) - 1}
    assert all(position.is_new(index + 1) == (index not in came) for index in range(len(passed)))
    assert who_says(messages[0]).lane == "north"
