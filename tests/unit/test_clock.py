"""Times on machines without a clock: every stamp gets a time, and none a false one."""

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from common.clock import (
    DRIFT_PPM,
    FLOOR_MS,
    JUMP_MS,
    UNKNOWN_ERROR_MS,
    Anchor,
    AnchorSource,
    Boot,
    Resolved,
    Stamp,
    Timeline,
    best_now,
    is_news,
)

T0_MS = FLOOR_MS + 200 * 86_400_000
HOUR_NS = 3_600_000_000_000
YEAR_MS = 365 * 86_400_000


def stamp(boot: str, t_s: float, wall_ms: int = 0, *, synced: bool = False) -> Stamp:
    return Stamp(boot, int(t_s * 1e9), wall_ms, synced)


def anchor(
    boot: str, t_s: float, wall_ms: int, error_ms: int = 10, source: AnchorSource = AnchorSource.COLLECTOR
) -> Anchor:
    return Anchor(boot, int(t_s * 1e9), wall_ms, error_ms, source)


def timeline(*anchors: Anchor, boots: tuple[Boot, ...] = (Boot("a", HOUR_NS),), now_ms: int = T0_MS) -> Timeline:
    return Timeline(boots, anchors, now_ms)


def test_a_synced_stamp_keeps_its_wall_time() -> None:
    times = timeline(anchor("a", 3600, T0_MS))
    assert times.resolve(stamp("a", 60, T0_MS - 3_540_000 + 7, synced=True)) == Resolved(T0_MS - 3_540_000 + 7, 0)


def test_a_synced_stamp_needs_no_anchor() -> None:
    assert timeline().resolve(stamp("a", 60, T0_MS - YEAR_MS // 10, synced=True)).at_error_ms == 0


def test_an_unsynced_stamp_is_dated_by_the_nearest_anchor_and_its_error_grows_with_the_distance() -> None:
    times = timeline(anchor("a", 3600, T0_MS, 10))
    assert times.resolve(stamp("a", 3500, 12345)) == Resolved(T0_MS - 100_000, 10 + 100_000 * DRIFT_PPM // 10**6)


@pytest.mark.parametrize("source", list(AnchorSource))
def test_a_clock_that_was_wrong_by_years_and_called_itself_synced_is_not_believed(source: AnchorSource) -> None:
    times = timeline(anchor("a", 3600, T0_MS, 10, source))
    resolved = times.resolve(stamp("a", 3590, T0_MS + 9 * YEAR_MS, synced=True))
    assert resolved == Resolved(T0_MS - 10_000, 11)


def test_of_two_ntp_anchors_that_contradict_each_other_the_newer_counts() -> None:
    wrong = anchor("a", 100, T0_MS - 20 * 86_400_000, 1, AnchorSource.NTP)
    right = anchor("a", 200, T0_MS - 3_400_000, 5, AnchorSource.NTP)
    resolved = timeline(wrong, right).resolve(stamp("a", 100, T0_MS - 20 * 86_400_000, synced=True))
    assert abs(resolved.at_ms - (T0_MS - 3_500_000)) <= resolved.at_error_ms <= 20


def test_the_collector_rules_over_ntp_even_where_ntp_is_newer() -> None:
    collector = anchor("a", 100, T0_MS - 3_500_000)
    ntp = anchor("a", 3600, T0_MS - YEAR_MS // 20, 1, AnchorSource.NTP)
    assert timeline(collector, ntp).resolve(stamp("a", 101, 5)).at_ms == T0_MS - 3_499_000


def test_a_boot_that_was_never_in_time_lies_between_its_neighbours() -> None:
    boots = (Boot("a", HOUR_NS), Boot("b", HOUR_NS), Boot("c", HOUR_NS))
    a_end_ms, c_start_ms = T0_MS - 6 * 3_600_000, T0_MS - 3_600_000
    times = Timeline(boots, [anchor("a", 3600, a_end_ms, 0), anchor("c", 0, c_start_ms, 0)], T0_MS)
    early, late = times.resolve(stamp("b", 0)), times.resolve(stamp("b", 3600))
    assert late.at_ms - early.at_ms == 3_600_000
    assert early.at_error_ms == late.at_error_ms == pytest.approx(4 * 3_600_000 / 2, abs=2)
    assert early.at_ms - early.at_error_ms == pytest.approx(a_end_ms, abs=2)
    assert late.at_ms + late.at_error_ms == pytest.approx(c_start_ms, abs=2)


def test_a_later_boot_judges_the_anchors_of_an_earlier_one() -> None:
    boots = (Boot("a", HOUR_NS), Boot("b", HOUR_NS))
    false = anchor("a", 10, T0_MS + 3 * YEAR_MS, 1, AnchorSource.NTP)
    times = Timeline(boots, [false, anchor("b", 3600, T0_MS, 1)], T0_MS)
    resolved = times.resolve(stamp("a", 10, T0_MS + 3 * YEAR_MS, synced=True))
    assert FLOOR_MS <= resolved.at_ms <= T0_MS - 7_190_000
    assert resolved.at_error_ms > 0


def test_now_is_told_by_the_best_that_is_known() -> None:
    assert best_now(stamp("a", 1, 5), []) == Resolved(FLOOR_MS, UNKNOWN_ERROR_MS)
    assert best_now(stamp("a", 1, T0_MS, synced=True), []) == Resolved(T0_MS, 0)
    assert best_now(stamp("a", 2, 5), [anchor("a", 1, T0_MS)]) == Resolved(T0_MS + 1000, 11)
    assert best_now(stamp("a", 2, 5), [anchor("other", 1, T0_MS)]).at_error_ms == UNKNOWN_ERROR_MS


def test_what_is_news() -> None:
    first = anchor("a", 100, T0_MS, 50)
    assert is_news(first, [])
    assert not is_news(anchor("a", 160, T0_MS + 60_000, 45), [first])
    assert is_news(anchor("a", 160, T0_MS + 60_000, 10), [first]), "much better"
    assert is_news(anchor("a", 160, T0_MS + 99_000, 50), [first]), "contradicts"
    assert is_news(anchor("a", 100 + 3600, T0_MS + 3_600_000, 50), [first]), "an hour later"
    assert is_news(anchor("b", 160, T0_MS, 50), [first]), "another boot"


@st.composite
def histories(draw: st.DrawFn) -> tuple[list[Boot], list[Anchor], list[tuple[Stamp, int]], int]:
    """Boots with honest anchors and stamps; each stamp with its true time."""
    now_ms = T0_MS
    boots, anchors, stamps = list[Boot](), list[Anchor](), list[tuple[Stamp, int]]()
    for index in range(draw(st.integers(1, 5))):
        length_ms = draw(st.integers(0, 10**8))
        name, start_ms = f"boot{index}", now_ms
        for _ in range(draw(st.integers(0, 3))):
            t_ms = draw(st.integers(0, length_ms))
            error_ms = draw(st.integers(0, 5000))
            off_ms = draw(st.integers(-error_ms, error_ms))
            source = draw(st.sampled_from(AnchorSource))
            anchors.append(Anchor(name, t_ms * 10**6, start_ms + t_ms + off_ms, error_ms, source))
        for _ in range(draw(st.integers(0, 5))):
            t_ms = draw(st.integers(0, length_ms))
            if draw(st.booleans()):
                made = Stamp(name, t_ms * 10**6, start_ms + t_ms, True)
            else:
                made = Stamp(name, t_ms * 10**6, draw(st.integers(0, 2**42)), False)
            stamps.append((made, start_ms + t_ms))
        boots.append(Boot(name, length_ms * 10**6))
        now_ms = start_ms + length_ms + draw(st.integers(0, 10**8))
    return boots, anchors, stamps, now_ms


@given(histories())
def test_the_truth_lies_within_the_error_when_all_anchors_are_honest(
    history: tuple[list[Boot], list[Anchor], list[tuple[Stamp, int]], int],
) -> None:
    boots, anchors, stamps, now_ms = history
    times = Timeline(boots, anchors, now_ms)
    for made, true_ms in stamps:
        resolved = times.resolve(made)
        assert FLOOR_MS <= resolved.at_ms <= now_ms
        assert abs(resolved.at_ms - true_ms) <= resolved.at_error_ms + 1


@given(
    st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 300)), min_size=1, max_size=8),
    st.integers(0, 10**6),
)
@example([(11, 1), (11, 0)], 0)
def test_of_agreeing_anchors_the_one_with_the_least_error_is_taken(told: list[tuple[int, int]], t_s: int) -> None:
    """Against asking every anchor, which is what the fast way must come to."""
    start_ms = T0_MS - 10**9
    anchors = [anchor("a", at_s, start_ms + at_s * 1000, error_ms) for at_s, error_ms in told]
    resolved = Timeline([Boot("a", 10**15)], anchors, T0_MS).resolve(stamp("a", t_s))
    least_ms = min(max(1.0, error_ms + abs(t_s - at_s) * DRIFT_PPM / 1000) for at_s, error_ms in told)
    assert resolved.at_ms == start_ms + t_s * 1000
    assert resolved.at_error_ms == pytest.approx(least_ms, abs=1.001)


wild_ms = st.integers(-(2**50), 2**50)


@given(
    st.lists(st.builds(Boot, st.sampled_from("abc"), st.integers(0, 2**60)), max_size=4),
    st.lists(
        st.builds(
            Anchor,
            st.sampled_from("abcd"),
            st.integers(0, 2**60),
            wild_ms,
            st.integers(0, 2**40),
            st.sampled_from(AnchorSource),
        ),
        max_size=6,
    ),
    st.builds(Stamp, st.sampled_from("abcd"), st.integers(0, 2**60), wild_ms, st.booleans()),
    st.integers(FLOOR_MS, 2**45),
)
def test_whatever_the_clocks_say_no_time_is_in_the_future_or_before_stopline(
    boots: list[Boot], anchors: list[Anchor], made: Stamp, now_ms: int
) -> None:
    resolved = Timeline(boots, anchors, now_ms).resolve(made)
    assert FLOOR_MS <= resolved.at_ms <= now_ms
    assert resolved.at_error_ms >= 0
    later_ms = now_ms + JUMP_MS
    assert Timeline(boots, anchors, now_ms).resolve(made, ceiling_ms=later_ms).at_ms <= later_ms


def test_the_structs_are_frozen() -> None:
    with pytest.raises(AttributeError):
        stamp("a", 1).wall_ms = 3  # type: ignore[misc]
    assert msgspec.structs.replace(stamp("a", 1), synced=True).synced
