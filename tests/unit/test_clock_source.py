"""The machine's own clocks, for real."""

import ctypes
import time

import pytest

from common.clock import FLOOR_MS, AnchorSource, Stamp
from edge_agent import clock_source
from edge_agent.clock_source import Clock, collector_anchor, read_ntp_error_ms


def test_a_stamp_is_of_this_boot_and_now() -> None:
    clock = Clock()
    before_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    stamp = clock.stamp()
    assert before_ns <= stamp.boottime_ns <= time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    assert abs(stamp.wall_ms - time.time() * 1000) < 5000
    assert len(stamp.boot_id) == 36
    assert clock.stamp().boot_id == stamp.boot_id


def test_the_kernel_is_asked_with_the_right_structure() -> None:
    """`time` and `tick` come after most of the fields: they are right only where the layout is."""
    timex = clock_source._Timex()
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.adjtimex(ctypes.byref(timex)) >= 0
    assert abs(timex.time_s - time.time()) < 5
    assert 9000 <= timex.tick <= 11000
    error_ms = read_ntp_error_ms()
    assert error_ms is None or error_ms >= 0


@pytest.mark.parametrize(("error_ms", "synced"), [(None, False), (0, True), (1999, True), (2000, False)])
def test_synced_is_what_the_kernel_bounds(
    monkeypatch: pytest.MonkeyPatch, error_ms: int | None, synced: bool
) -> None:
    monkeypatch.setattr(clock_source, "read_ntp_error_ms", lambda: error_ms)
    clock = Clock()
    assert clock.stamp().synced is synced
    assert clock.error_ms() == error_ms
    anchor = clock.anchor()
    assert (anchor is not None) is synced
    if anchor is not None:
        assert (anchor.error_ms, anchor.source) == (error_ms, AnchorSource.NTP)


def test_where_the_kernel_does_not_tell_the_clock_counts_as_wrong(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse() -> int:
        raise PermissionError(1, "not here")

    monkeypatch.setattr(clock_source, "read_ntp_error_ms", refuse)
    clock = Clock()
    assert not clock.stamp().synced
    assert not clock.stamp().synced
    assert [record.action for record in caplog.records] == ["clock_unknown"]  # type: ignore[attr-defined]


def test_the_collectors_time_is_as_sure_as_half_the_way_there_and_back() -> None:
    sent, received = (Stamp("b", t_ns, 0, False) for t_ns in (10_000_000_000, 10_300_000_000))
    anchor = collector_anchor(sent, received, FLOOR_MS + 5)
    assert (anchor.boottime_ns, anchor.wall_ms, anchor.error_ms) == (10_150_000_000, FLOOR_MS + 5, 150)
    assert collector_anchor(sent, sent, FLOOR_MS).error_ms == 1
