"""The rate falls in steps when it is hot or slow, at even spacing, not below the floor, and rises slowly."""

from collections.abc import Callable, Iterator
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.domain.pacing import Pacer, PacingParams, Strain


class Machine:
    """A camera of `camera_fps` and a processor that takes `work_s` for one picture, played second by second."""

    def __init__(self, camera_fps: float, asked_fps: float | None, work_s: float = 0.01) -> None:
        self.camera_fps, self.work_s = camera_fps, work_s
        self.pacer = Pacer(asked_fps)
        self.index, self.now_s = 0, 0.0
        self.pacer.frame(0.0, 0, work_s)

    def run(self, seconds: float, strain: Callable[[float], Strain] = lambda _: Strain()) -> list[int]:
        """Numbers of the pictures that were taken."""
        taken, until_s = [], self.now_s + seconds
        told_s = self.now_s
        while self.now_s < until_s:
            ask_s = max(self.now_s, self.pacer.wait_until_s(self.index / self.camera_fps))
            # The first picture that is exposed after it was asked for.
            self.index = int(ask_s * self.camera_fps + 1e-6) + 1
            t_s = self.index / self.camera_fps
            self.now_s = t_s + self.work_s
            self.pacer.frame(t_s, self.index, self.work_s)
            taken.append(self.index)
            while told_s < self.now_s:
                self.pacer.feel(strain(told_s), told_s)
                told_s += 1.0
        return taken

    @property
    def fps(self) -> float:
        return self.camera_fps / self.pacer.stride


def steps(taken: list[int]) -> set[int]:
    return {b - a for a, b in pairwise(taken)}


def at(temperature_c: float | None, *, throttled: bool = False) -> Callable[[float], Strain]:
    return lambda _: Strain(temperature_c, throttled)


@pytest.mark.parametrize(
    ("camera_fps", "asked_fps", "stride"),
    [(30.0, None, 1), (30.0, 10.0, 3), (29.97, 10.0, 3), (25.0, 10.0, 3), (25.0, 12.0, 2), (10.0, 10.0, 1),
     (5.0, 10.0, 1)],
)  # fmt: skip
def test_what_is_asked_for_is_taken_at_even_steps(camera_fps: float, asked_fps: float | None, stride: int) -> None:
    machine = Machine(camera_fps, asked_fps)
    machine.run(5)
    assert steps(machine.run(20)) == {stride}
    assert machine.pacer.detail == ""


def test_a_slow_machine_takes_what_it_can_at_even_steps_and_says_so() -> None:
    machine = Machine(30.0, None, work_s=0.150)
    machine.run(30)
    assert steps(machine.run(60)) == {5}
    assert machine.pacer.detail == "", "6 a second count well"
    machine.work_s = 0.250
    machine.run(30)
    assert steps(machine.run(60)) == {9}
    assert machine.pacer.detail == "too slow: 3.5 of 30 pictures a second"


def test_a_machine_that_becomes_faster_is_used_again() -> None:
    machine = Machine(30.0, 10.0, work_s=0.150)
    machine.run(30)
    assert machine.pacer.detail == "too slow: 6 of 10 pictures a second"
    machine.work_s = 0.02
    machine.run(60)
    assert (machine.pacer.stride, machine.pacer.detail) == (3, "")


@pytest.mark.parametrize("work_s", [0.0295, 0.0317, 0.0625])
def test_work_that_just_fits_does_not_swing(work_s: float) -> None:
    machine = Machine(30.0, None, work_s=work_s)
    machine.run(30)
    strides = {machine.pacer.stride for _ in range(100) if machine.run(1)}
    assert len(strides) == 1


def test_one_slow_picture_is_no_slow_machine() -> None:
    machine = Machine(30.0, None)
    for _ in range(20):
        machine.run(1)
        machine.work_s = 1.0
        machine.run(0.01)
        machine.work_s = 0.01
        assert machine.pacer.stride == 1


def test_unwanted_pictures_of_a_source_that_keeps_them_are_passed_over() -> None:
    machine = Machine(10.0, 10.0)
    machine.run(5)
    last = machine.index
    assert machine.pacer.takes(last + 1)
    machine.run(2, at(76.0))
    last = machine.index
    assert [machine.pacer.takes(last + n) for n in (1, 2, 3)] == [False, True, True]
    assert machine.pacer.takes(0), "the source began anew"


def test_heat_is_met_in_steps_and_left_slowly() -> None:
    machine = Machine(30.0, 10.0)
    machine.run(10, at(60.0))
    assert machine.fps == 10.0
    machine.run(2, at(76.0))
    assert machine.fps == 7.5
    assert machine.pacer.detail == "too hot: 7.5 of 10 pictures a second"
    machine.run(11, at(76.0))
    assert machine.fps == 5.0
    machine.run(120, at(72.0))
    assert machine.fps == 5.0, "neither warm nor cool: it stays"
    machine.run(50, at(68.0))
    assert machine.fps == 7.5, "a minute and more since the last step"
    machine.run(65, at(68.0))
    assert (machine.fps, machine.pacer.detail) == (10.0, "")


def test_it_does_not_fall_below_the_floor_but_where_the_machine_can_do_no_more() -> None:
    machine = Machine(30.0, 10.0)
    machine.run(300, at(90.0))
    assert machine.fps == 3.0
    slow = Machine(30.0, 10.0, work_s=0.5)
    slow.run(300, at(90.0))
    assert slow.fps == pytest.approx(30 / 17)
    asked = Machine(30.0, 1.0)
    asked.run(300, at(90.0))
    assert asked.fps == 1.0
    assert asked.pacer.detail == ""


def test_hot_is_met_faster_than_warm_and_throttling_is_hot() -> None:
    def seconds_to_floor(strain: Callable[[float], Strain]) -> int:
        machine = Machine(30.0, 10.0)
        machine.run(5)
        return next(n for n in range(200) if machine.run(1, strain) and machine.fps <= 3.0)

    warm, hot = seconds_to_floor(at(76.0)), seconds_to_floor(at(81.0))
    assert hot < 0.7 * warm
    assert seconds_to_floor(at(None, throttled=True)) == pytest.approx(hot, abs=2)


def test_a_machine_that_tells_nothing_is_not_slowed() -> None:
    machine = Machine(30.0, None)
    machine.run(100, at(None))
    assert (machine.pacer.stride, machine.pacer.detail) == (1, "")


def test_a_sensor_that_swings_about_the_limit_does_not_make_the_rate_swing() -> None:
    def swinging() -> Iterator[float]:
        while True:
            yield from (74.0, 76.0)

    values = swinging()
    machine = Machine(30.0, 10.0)
    machine.run(5)
    rates = [machine.fps for _ in range(300) if machine.run(1, lambda _: Strain(next(values)))]
    assert rates == sorted(rates, reverse=True)


@given(
    st.floats(4.0, 60.0), st.one_of(st.none(), st.floats(1.0, 60.0)), st.floats(0.001, 0.6),
    st.lists(st.floats(40.0, 95.0), min_size=5, max_size=40),
)  # fmt: skip
def test_whatever_happens_the_work_fits_and_the_floor_holds(
    camera_fps: float, asked_fps: float | None, work_s: float, temperatures_c: list[float]
) -> None:
    machine = Machine(camera_fps, asked_fps, work_s)
    machine.run(8)
    for temperature_c in temperatures_c:
        machine.run(2, at(temperature_c))
        pacer = machine.pacer
        assert machine.fps <= (asked_fps or camera_fps) * 1.3
        floor = min(PacingParams().floor_fps, asked_fps or camera_fps, camera_fps, 0.6 / work_s)
        assert machine.fps >= floor * 0.74
        assert work_s * machine.fps <= 1.0
        assert not pacer.detail or machine.fps < (asked_fps or camera_fps)
