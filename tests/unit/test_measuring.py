"""Every moment of a camera was measured or was not, and is told exactly once."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.codes import GapReason
from edge_agent.domain.measuring import Block, Hole, Looked, MeasureLog, RateWatch, Verdict


def looked(t_s: float, **by_class: int) -> Looked:
    return Looked(t_s, by_class, latency_s=t_s / 1000)


def run(log: MeasureLog, times_s: list[float]) -> list[Block | Hole]:
    return [part for t_s in times_s for part in log.frame(looked(t_s))]


@pytest.fixture
def log() -> MeasureLog:
    log = MeasureLog()
    log.start(0.0)
    return log


def test_blocks_follow_each_other(log: MeasureLog) -> None:
    blocks = run(log, [float(t) for t in range(26)])
    assert [(block.from_s, block.to_s) for block in blocks] == [(0, 10), (10, 20)]
    assert [block.n for block in blocks if isinstance(block, Block)] == [11, 10]
    rest = log.so_far()
    assert rest is not None
    assert (rest.from_s, rest.to_s) == (20, 25)


def test_block_tells_what_its_frames_showed(log: MeasureLog) -> None:
    log.frame(Looked(0.0, {"car": 2}, 0.010))
    log.frame(Looked(1.0, {"car": 1, "bus": 1}, 0.030, dropped=3))
    log.frame(Looked(2.0, {}, 0.020, dropped=1))
    block = log.so_far()
    assert block is not None
    assert block.dropped == 4
    assert block.classes["car"].n_min == 0
    assert block.classes["car"].n_mean == 1.0
    assert block.classes["car"].n_max == 2
    assert block.classes["bus"].n_mean == pytest.approx(1 / 3)
    assert (block.latency_p50_s, block.latency_p95_s) == (0.020, 0.030)


def test_frames_too_far_apart_leave_a_hole(log: MeasureLog) -> None:
    parts = run(log, [1.0, 2.0, 7.0, 8.0])
    assert [(type(part), part.from_s, part.to_s) for part in parts] == [(Block, 0, 2), (Hole, 2, 7)]
    assert parts[1].reason is GapReason.CAMERA_DOWN  # type: ignore[union-attr]


def test_a_long_hole_is_told_while_it_lasts(log: MeasureLog) -> None:
    run(log, [1.0])
    parts = [part for t_s in range(2, 140) for part in log.idle(float(t_s))]
    parts += log.frame(looked(140.0))
    spans = [(type(part), part.from_s, part.to_s) for part in parts]
    assert spans == [(Block, 0, 1), (Hole, 1, 61), (Hole, 61, 121), (Hole, 121, 140)]


def test_idle_does_nothing_before_it_is_a_stall(log: MeasureLog) -> None:
    run(log, [1.0])
    assert log.idle(2.5) == []
    assert log.reason is None


class TestDoubt:
    def test_unfounded_doubt_was_measured(self, log: MeasureLog) -> None:
        run(log, [float(t) for t in range(10)])
        for t_s in (10.0, 11.0, 12.0):
            assert log.frame(looked(t_s), Verdict(None, 9.0)) == [], "no block ends while it may be frozen"
        (block,) = log.frame(looked(13.0))
        assert isinstance(block, Block)
        assert (block.from_s, block.to_s, block.n) == (0, 13, 14)

    def test_founded_doubt_was_not(self, log: MeasureLog) -> None:
        run(log, [float(t) for t in range(10)])
        log.frame(looked(10.0), Verdict(None, 9.0))
        (block,) = log.frame(looked(11.0), Verdict(GapReason.CAMERA_FROZEN, 9.0))
        assert isinstance(block, Block)
        assert (block.to_s, block.n) == (9, 10)
        log.frame(looked(12.0), Verdict(GapReason.CAMERA_FROZEN, 9.0))
        (hole,) = log.frame(looked(13.0))
        assert hole == Hole(GapReason.CAMERA_FROZEN, 9.0, 13.0)

    def test_what_is_in_doubt_is_not_claimed(self, log: MeasureLog) -> None:
        run(log, [1.0])
        log.frame(looked(2.0), Verdict(None, 1.0))
        block = log.so_far()
        assert block is not None
        assert block.to_s == 1.0

    def test_the_reason_may_change(self, log: MeasureLog) -> None:
        run(log, [1.0])
        log.frame(looked(2.0), Verdict(None, 2.0))
        log.frame(looked(4.0), Verdict(None, 2.0))
        log.frame(looked(6.0), Verdict(None, 2.0))
        log.frame(looked(7.0), Verdict(GapReason.CAMERA_BLACK, 2.0))
        parts = log.idle(12.0) + log.finish(15.0)
        holes = [part for part in parts if isinstance(part, Hole)]
        assert [(hole.reason, hole.to_s) for hole in holes] == [
            (GapReason.CAMERA_BLACK, 7.0),
            (GapReason.CAMERA_DOWN, 15.0),
        ]


def judged(steps_s: list[float], busy_s: float = 0.0) -> list[str]:
    """What is known at each of pictures so far apart."""
    watch, t_s = RateWatch(), 0.0
    watch.update(t_s, 0.0)
    found = []
    for step_s in steps_s:
        t_s += step_s
        verdict = watch.update(t_s, busy_s)
        found.append("slow" if verdict.reason is GapReason.TOO_SLOW else "doubt" if verdict.doubtful else "good")
    return found


class TestTooSlow:
    @pytest.mark.parametrize("apart_s", [1.5, 1.9, 2.5, 4.0, 30.0])
    def test_nobody_can_be_followed_by_so_few(self, log: MeasureLog, apart_s: float) -> None:
        assert judged([apart_s] * 9, busy_s=apart_s)[-3:] == ["slow"] * 3
        watch = RateWatch()
        watch.update(0.0, 0.0)
        times_s = [apart_s * n for n in range(1, 9)]
        parts = [part for t_s in times_s for part in log.frame(looked(t_s), watch.update(t_s, apart_s))]
        parts += log.finish(times_s[-1])
        assert not any(isinstance(part, Block) for part in parts), "not a second of it was measured"
        assert {part.reason for part in parts if isinstance(part, Hole)} >= {GapReason.TOO_SLOW}

    def test_one_a_second_is_enough_though_no_camera_keeps_its_rate(self) -> None:
        assert set(judged([1.0, 1.1, 0.9, 1.02, 2.0, 1.0, 0.98, 1.2, 1.1] * 3)) <= {"good", "doubt"}

    def test_one_picture_that_took_its_time_is_no_slow_machine(self) -> None:
        assert judged([0.1] * 60 + [1.9] + [0.1] * 10)[60:] == ["doubt"] + ["good"] * 10

    def test_a_camera_that_was_silent_is_not_slow(self) -> None:
        assert judged([0.1] * 60 + [30.0] + [0.1] * 5)[60:] == ["good"] * 6

    def test_it_is_over_when_that_is_sure(self) -> None:
        found = judged([1.6] * 8 + [1.15] * 20 + [0.5] * 20, busy_s=1.0)
        assert found[7:28] == ["slow"] * 21, "a little better is not well"
        assert found[-1] == "good"

    def test_what_was_in_doubt_before_is_not_measured_either(self, log: MeasureLog) -> None:
        watch = RateWatch()
        times_s = [0.5 * n for n in range(1, 9)] + [4.0 + 1.6 * n for n in range(1, 8)]
        parts = [part for t_s in times_s for part in log.frame(looked(t_s), watch.update(t_s, 1.5))]
        (block,) = parts
        assert (block.from_s, block.to_s) == (0.0, 4.0)
        assert log.reason is GapReason.TOO_SLOW


STEPS = st.lists(
    st.tuples(
        st.floats(0.01, 40.0),
        st.sampled_from(["good", "good", "good", "doubt", "frozen", "black", "idle"]),
    ),
    max_size=60,
)


@given(STEPS)
def test_time_is_accounted_for_exactly_once(steps: list[tuple[float, str]]) -> None:
    log = MeasureLog()
    log.start(100.0)
    parts: list[Block | Hole] = []
    now_s, good_s, seen_s = 100.0, 100.0, 100.0
    for step_s, what in steps:
        now_s += step_s
        if what == "idle":
            parts += log.idle(now_s)
            continue
        reason = {"frozen": GapReason.CAMERA_FROZEN, "black": GapReason.CAMERA_BLACK}.get(what)
        verdict = Verdict(reason, None if what == "good" else good_s)
        parts += log.frame(looked(now_s), verdict)
        seen_s = now_s
        good_s = now_s if what == "good" else good_s
    parts += log.finish(now_s)
    at_s = 100.0
    for part in parts:
        assert math.isclose(part.from_s, at_s), "they follow each other"
        assert part.to_s > part.from_s
        at_s = part.to_s
    assert at_s >= seen_s
    measured_s = sum(part.to_s - part.from_s for part in parts if isinstance(part, Block))
    assert measured_s <= now_s - 100.0
