"""A source's clock is put beside the machine's by when its frames arrive."""

import pytest

from edge_agent.domain.source_clock import SourceClock


def test_delay_that_varies_is_taken_out() -> None:
    clock = SourceClock()
    for i in range(100):
        t_s = i / 10
        clock.observe(t_s, 1000.0 + t_s + 0.02 + (0.4 if i % 7 else 0.0))
    assert clock.boottime_s(5.0) == pytest.approx(1005.02, abs=0.003)
    assert clock.source_s(clock.boottime_s(5.0)) == pytest.approx(5.0)


def test_drift_is_followed() -> None:
    clock = SourceClock()
    for i in range(20_000):
        clock.observe(float(i), 500.0 + i * (1 + 100e-6))
    assert clock.boottime_s(19_999.0) == pytest.approx(500.0 + 19_999 * (1 + 100e-6), abs=0.01)


def test_a_source_that_began_anew() -> None:
    clock = SourceClock()
    clock.observe(100.0, 1100.0)
    clock.observe(0.0, 1101.0)
    assert clock.boottime_s(0.0) == pytest.approx(1101.0)


def test_nothing_is_known_before_the_first_frame() -> None:
    with pytest.raises(ValueError, match="no frame"):
        SourceClock().boottime_s(1.0)
