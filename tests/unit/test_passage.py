"""Passages from readings: written cases, and made-up histories whose truth is known."""

import random
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.codes import Direction
from edge_agent.domain.passage import Passage, PassageCounter, PassageParams
from edge_agent.drivers.base import TagRead

PARAMS = PassageParams(gap_s=1.5, rearm_s=15.0, min_reads=2)


def reads(epc: str, *times: float, antenna: int = 1, rssi_dbm: float | None = None) -> list[TagRead]:
    return [TagRead(epc, antenna, t_s, rssi_dbm) for t_s in times]


def count(history: Sequence[TagRead], params: PassageParams = PARAMS, until_s: float = 1000.0) -> list[Passage]:
    """As a reader gives them: twice a second."""
    counter = PassageCounter(params)
    done = []
    now_s, left = 0.0, sorted(history, key=lambda read: read.t_s)
    while now_s < until_s:
        now_s += 0.5
        done += counter.update([read for read in left if read.t_s <= now_s], now_s)
        left = [read for read in left if read.t_s > now_s]
    return done


def test_a_tag_that_passes_is_one_passage() -> None:
    (passage,) = count(reads("AA", 10.0, 10.1, 10.2, 10.3))
    assert (passage.epc, passage.n_reads, passage.first_s, passage.last_s) == ("AA", 4, 10.0, 10.3)
    assert passage.t_s == 10.3
    assert passage.direction is Direction.NONE


def test_who_waits_on_the_reader_passes_once() -> None:
    waits = [10 + i * 0.2 for i in range(3000)]
    (passage,) = count(reads("AA", *waits))
    assert passage.t_s == waits[-1]


def test_a_tag_lost_for_a_moment_is_the_same_passage() -> None:
    assert len(count(reads("AA", 10, 10.2, 11.6, 11.8))) == 1, "within the gap"
    assert len(count(reads("AA", 10, 10.2, 20, 20.2, 33, 33.2, 47, 47.2))) == 1, (
        "held for as long as it comes back"
    )
    assert len(count(reads("AA", 10, 10.2, 25.3, 25.5))) == 2, "it has been away"


def test_two_that_are_read_in_turns_are_two() -> None:
    history = [read for i in range(300) for read in reads(("AA", "BB")[i % 2], 10 + i * 0.3)]
    assert sorted(passage.epc for passage in count(history)) == ["AA", "BB"]


def test_a_single_reading_is_a_ghost() -> None:
    counter = PassageCounter(PARAMS)
    assert counter.update(reads("AA", 10.0), 10.0) == []
    assert counter.update([], 12.0) == []
    assert counter.n_ghosts == 1
    assert counter.update(reads("AA", 12.1, 12.2), 20.0)[0].n_reads == 2, "what was a ghost is not held"


def test_the_time_is_that_of_the_loudest_reading() -> None:
    history = [TagRead("AA", 1, 10 + i * 0.1, -70 + 10 - abs(i - 10)) for i in range(21)]
    (passage,) = count(history)
    assert passage.rssi_dbm == -60
    assert passage.t_s == pytest.approx(11.2), "the last that was as near"


def test_who_waits_near_the_antenna_has_passed_when_it_drives_on() -> None:
    history = [TagRead("AA", 1, 10 + i * 0.2, -50 + (i % 3) * 0.5) for i in range(200)]
    history += [TagRead("AA", 1, 50 + i * 0.2, -55.0 - 4 * i) for i in range(5)]
    (passage,) = count(history)
    assert passage.t_s == pytest.approx(49.8)


def test_weak_readings_are_not_heard() -> None:
    params = PassageParams(min_rssi_dbm=-65.0)
    assert count(reads("AA", 10, 10.1, 10.2, rssi_dbm=-66), params) == []
    assert len(count(reads("AA", 10, 10.1, 10.2, rssi_dbm=-65), params)) == 1
    assert len(count(reads("AA", 10, 10.1, 10.2), params)) == 1, "strength that is not told"


def test_a_tag_that_two_lanes_hear_belongs_to_the_louder() -> None:
    history = reads("AA", *(10 + i * 0.1 for i in range(10)), antenna=1, rssi_dbm=-62)
    history += reads("AA", 10.3, 10.4, antenna=2, rssi_dbm=-48)
    (passage,) = count(history)
    assert passage.antenna == 2
    assert passage.t_s == 10.4


@pytest.mark.parametrize(
    ("first", "second", "direction"),
    [
        ((10.0, 10.4), (10.3, 10.8), Direction.IN),
        ((10.3, 10.8), (10.0, 10.4), Direction.OUT),
        ((10.0, 10.9), (10.3, 10.8), Direction.NONE),
        ((10.0, 10.4), (), Direction.NONE),
    ],
)
def test_two_antennas_in_order_tell_the_direction(
    first: tuple[float, ...], second: tuple[float, ...], direction: Direction
) -> None:
    history = reads("AA", *first, antenna=3) + reads("AA", *second, antenna=4)
    (passage,) = count(history, PassageParams(order=(3, 4)))
    assert passage.direction is direction


def test_a_reader_that_was_blind_does_not_make_two_of_one() -> None:
    counter = PassageCounter(PARAMS)
    counter.update(reads("AA", 10, 10.2), 10.5)
    counter.blind(600.0)
    assert counter.update(reads("AA", 610.6, 610.8), 611.0) == []
    assert len(counter.update([], 620.0)) == 1
    assert counter.update(reads("AA", 621, 621.2), 630.0) == []


def test_who_is_there_when_the_reader_fails_is_told_once() -> None:
    counter = PassageCounter(PARAMS)
    counter.update(reads("AA", 10, 10.2), 10.5)
    assert [passage.epc for passage in counter.settle()] == ["AA"]
    counter.blind(60.0)
    assert counter.update(reads("AA", 70.6, 70.8), 90.0) == []


def test_a_clock_that_goes_back_is_held() -> None:
    counter = PassageCounter(PARAMS)
    counter.update(reads("AA", 100, 100.2), 100.5)
    counter.update(reads("AA", 3.0, 4.0), 5.0)
    (passage,) = counter.update([], 110.0)
    assert (passage.n_reads, passage.last_s) == (4, 100.5)


def test_it_forgets() -> None:
    counter = PassageCounter(PARAMS)
    for i in range(1000):
        counter.update(reads(f"{i:08X}", i, i + 0.1), i + 0.5)
    assert len(counter._there) + len(counter._held) < 20


@pytest.mark.parametrize("bad", [{"gap_s": 0.0}, {"gap_s": 5.0, "rearm_s": 4.0}, {"min_reads": 0}])
def test_parameters_that_make_no_sense_are_refused(bad: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="gap_s"):
        PassageCounter(PassageParams(**bad))  # type: ignore[arg-type]


@st.composite
def histories(draw: st.DrawFn) -> tuple[list[TagRead], list[tuple[str, float, float]]]:
    """Readings, and the true passages in them: tag, arrival, departure."""
    chosen = random.Random(draw(st.integers(0, 2**32)))
    readings: list[TagRead] = []
    truth: list[tuple[str, float, float]] = []
    for number in range(draw(st.integers(1, 8))):
        epc, t_s = f"{number:04X}", chosen.uniform(0, 60)
        for _ in range(draw(st.integers(1, 3))):
            begin_s = t_s
            stays_s = chosen.choice((0.3, 2.0, 40.0))
            while t_s < begin_s + stays_s:
                readings.append(TagRead(epc, 1, t_s, chosen.choice((None, chosen.uniform(-70, -40)))))
                # Lost for a moment, now and then for longer than the gap; always shorter than it is held.
                t_s += chosen.choice((0.05, 0.1, 0.2, 0.2, 14.0 if chosen.random() < 0.1 else 1.4))
            readings += [TagRead(epc, 1, t_s + d_s) for d_s in (0.0, 0.1)]
            readings += [TagRead(epc, 1, begin_s + d_s) for d_s in (0.02, 0.04)]
            truth.append((epc, begin_s, t_s + 0.1))
            t_s += chosen.uniform(30, 60)
    for number in range(draw(st.integers(0, 5))):
        readings.append(TagRead(f"F{number:03X}", 1, chosen.uniform(0, 200), -80.0))
    return sorted(readings, key=lambda read: read.t_s), truth


@given(histories(), st.integers(1, 40))
def test_histories_are_counted_as_they_were(
    history: tuple[list[TagRead], list[tuple[str, float, float]]], batch: int
) -> None:
    readings, truth = history
    counter = PassageCounter(PARAMS)
    done: list[Passage] = []
    for start in range(0, len(readings), batch):
        part = readings[start : start + batch]
        done += counter.update(part, part[-1].t_s)
    done += counter.update([], readings[-1].t_s + 60)
    assert counter.settle() == []
    assert sorted(p.epc for p in done) == sorted(epc for epc, _, _ in truth)
    for passage in done:
        assert passage.first_s <= passage.t_s <= passage.last_s
        assert any(epc == passage.epc and a <= passage.first_s <= b for epc, a, b in truth)
    assert counter.n_ghosts == len({read.epc for read in readings if read.epc.startswith("F")})


@given(histories(), st.lists(st.integers(1, 40), min_size=2, max_size=2))
def test_how_readings_are_handed_over_does_not_matter(
    history: tuple[list[TagRead], object], batches: list[int]
) -> None:
    readings, _ = history
    found = []
    for batch in batches:
        counter = PassageCounter(PARAMS)
        done: list[Passage] = []
        for start in range(0, len(readings), batch):
            part = readings[start : start + batch]
            done += counter.update(part, part[-1].t_s)
        found.append(sorted((p.epc, p.t_s, p.n_reads) for p in [*done, *counter.settle()]))
    assert found[0] == found[1]
