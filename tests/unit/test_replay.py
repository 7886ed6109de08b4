"""A source with an end, played as a camera."""

import numpy as np
import pytest

from edge_agent.cameras.replay import PAUSE_S, Replay
from edge_agent.domain.frames import Frame
from edge_agent.drivers.base import SourceEnded, SourceStalled, SourceUnusable


class Clip:
    """So many pictures, 10 a second."""

    live = False

    def __init__(self, n: int) -> None:
        self._n = n
        self._at = -1

    def open(self) -> None:
        self._at = 0

    def read(self, timeout_s: float) -> Frame:
        if self._at < 0:
            raise SourceUnusable("closed")
        if self._at >= self._n:
            raise SourceEnded("over")
        self._at += 1
        return Frame(np.zeros((2, 2, 3), np.uint8), (self._at - 1) / 10, self._at - 1)

    def close(self) -> None:
        self._at = -1


class Clock:
    def __init__(self) -> None:
        self.now_s = 50.0

    def sleep(self, length_s: float) -> None:
        self.now_s += length_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


def replay(n: int, clock: Clock) -> Replay:
    source = Replay(Clip(n), monotonic_s=lambda: clock.now_s, sleep=clock.sleep)
    source.open()
    return source


def test_pictures_come_when_they_are_due(clock: Clock) -> None:
    source = replay(5, clock)
    for i in range(5):
        frame = source.read(1.0)
        assert frame.index == i
        assert frame.t_s == pytest.approx(50.0 + i / 10)
        assert clock.now_s == pytest.approx(frame.t_s)


def test_who_reads_slowly_misses_some(clock: Clock) -> None:
    source = replay(100, clock)
    assert source.read(1.0).index == 0
    clock.now_s += 2.0
    frame = source.read(1.0)
    assert 18 <= frame.index <= 20
    assert frame.t_s == pytest.approx(50.0 + frame.index / 10)


def test_it_begins_again_after_a_pause(clock: Clock) -> None:
    source = replay(3, clock)
    last = [source.read(1.0) for _ in range(3)][-1]
    stalls = 0
    while True:
        try:
            frame = source.read(0.5)
            break
        except SourceStalled:
            stalls += 1
    assert stalls >= 4
    assert frame.index == 3
    assert frame.t_s - last.t_s == pytest.approx(PAUSE_S, abs=0.2)
    assert source.read(1.0).index == 4


def test_a_machine_too_slow_for_all_still_gets_some(clock: Clock) -> None:
    source = replay(10_000, clock)
    source.read(1.0)
    clock.now_s += 500.0
    frame = source.read(1.0)
    assert frame.t_s == pytest.approx(clock.now_s)


def test_a_clip_that_is_gone_at_its_second_round_is_told(clock: Clock) -> None:
    class Vanishing(Clip):
        rounds = 0

        def open(self) -> None:
            self.rounds += 1
            if self.rounds > 1:
                raise SourceUnusable("the file is gone")
            super().open()

    source = Replay(Vanishing(1), monotonic_s=lambda: clock.now_s, sleep=clock.sleep)
    source.open()
    source.read(1.0)
    with pytest.raises(SourceUnusable, match="gone"):
        source.read(1.0)
