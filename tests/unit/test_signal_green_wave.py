"""Offsets along a road: bands against cases worked out by hand, against brute force, and against each vehicle."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.domain.signals.green_wave import Aim, Green, Stop, bands, green_wave, travel_back_s, travel_out_s
from edge_agent.domain.signals.timing import TimingError

KMH_36 = 36.0  # 10 m/s


def stop(
    name: str, at_m: float, out_s: float, back_s: float, *, out_at_s: float = 0.0, back_at_s: float = 0.0
) -> Stop:
    return Stop(name, at_m, Green(out_s, out_at_s), Green(back_s, back_at_s), KMH_36, KMH_36)


def test_half_a_cycle_apart_both_ways_have_all_of_the_green() -> None:
    """300 m at 10 m/s take half of 60 s: the second junction is green when the first is red, and both ways fit."""
    wave = green_wave(
        [stop("a", 0.0, 30.0, 30.0), stop("b", 300.0, 30.0, 30.0), stop("c", 600.0, 30.0, 30.0)], 60.0
    )
    assert wave.offsets_s == (0.0, 30.0, 0.0)
    assert (wave.out_s, wave.back_s, wave.attainability, wave.efficiency) == (30.0, 30.0, 1.0, 0.5)


def test_a_quarter_apart_one_way_pays_for_the_other() -> None:
    """15 s of travel shift the ways by 30 s against each other: 40 s of green each leave 40 + 10, or 25 + 25."""
    wave = green_wave([stop("a", 0.0, 40.0, 40.0), stop("b", 150.0, 40.0, 40.0)], 60.0)
    assert (wave.out_s, wave.back_s) == (25.0, 25.0)
    assert wave.attainability == pytest.approx(50.0 / 80.0)


def test_the_way_that_matters_more_gets_its_green() -> None:
    stops = [stop("a", 0.0, 40.0, 40.0), stop("b", 150.0, 40.0, 40.0)]
    assert green_wave(stops, 60.0, Aim(weight_out=3.0)).out_s == 40.0
    assert green_wave(stops, 60.0, Aim(weight_back=3.0)).back_s == 40.0


def test_a_road_that_is_best_one_way_can_be_balanced() -> None:
    greens = [
        (0.0, 42.0, 38.0),
        (320.0, 36.0, 40.0),
        (700.0, 40.0, 40.0),
        (980.0, 45.0, 35.0),
        (1500.0, 38.0, 38.0),
    ]
    stops = [stop(str(at_m), at_m, out_s, back_s) for at_m, out_s, back_s in greens]
    widest, fair = green_wave(stops, 90.0), green_wave(stops, 90.0, Aim(balance=0.8))
    assert fair.back_s >= 0.8 * fair.out_s - 0.1
    assert fair.out_s >= 0.8 * fair.back_s - 0.1
    assert 0.0 < fair.out_s + fair.back_s <= widest.out_s + widest.back_s


def test_travel_goes_by_the_speed_of_each_part_and_way() -> None:
    stops = [
        Stop("a", 100.0, Green(30.0), Green(30.0)),
        Stop("b", 200.0, Green(30.0), Green(30.0), 36.0, 18.0),
        Stop("c", 500.0, Green(30.0), Green(30.0), 72.0, 36.0),
    ]
    assert travel_out_s(stops) == (0.0, 10.0, 25.0)
    assert travel_back_s(stops) == (50.0, 30.0, 0.0)


def roads(largest: int) -> st.SearchStrategy[list[Stop]]:
    second = st.integers(0, 11).map(lambda n: 5.0 * n)
    green = st.integers(3, 11).map(lambda n: 5.0 * n)
    one = st.builds(
        lambda gap, a, b, c, d: (50.0 * gap, a, b, c, d), st.integers(1, 20), green, green, second, second
    )

    def built(parts: list[tuple[float, float, float, float, float]]) -> list[Stop]:
        places = itertools.accumulate(part[0] for part in parts)
        return [
            stop(str(k), at_m, a, b, out_at_s=c, back_at_s=d)
            for k, (at_m, (_, a, b, c, d)) in enumerate(zip(places, parts, strict=True))
        ]

    return st.lists(one, min_size=2, max_size=largest).map(built)


AIMS = [Aim(), Aim(2.0, 1.0), Aim(1.0, 3.0), Aim(balance=0.5), Aim(2.0, 1.0, balance=1.0)]


@settings(max_examples=80)
@given(roads(3), st.sampled_from(AIMS))
def test_no_offsets_at_all_give_wider_bands(stops: list[Stop], aim: Aim) -> None:
    """All times are multiples of 5 s here, so without a balance the best of all offsets in steps of 5 s is the
    best there is; with one, none of them is better."""

    def worth(offsets_s: tuple[float, ...]) -> float:
        out, back = bands(stops, 60.0, offsets_s)
        return aim.worth(out.width_s, back.width_s)[0]

    steps = [5.0 * n for n in range(12)]
    best = max(worth((0.0, *others)) for others in itertools.product(steps, repeat=len(stops) - 1))
    wave = green_wave(stops, 60.0, aim, step_s=1e-6)
    found = aim.worth(wave.out_s, wave.back_s)[0]
    assert found >= best - 0.01
    if not aim.balance:
        assert found <= best + 0.01


@given(roads(8))
def test_whoever_is_in_a_band_meets_green_only(stops: list[Stop]) -> None:
    cycle_s = 60.0
    wave = green_wave(stops, cycle_s)
    ways = [
        (wave.out_s, wave.out_from_s, travel_out_s(stops), [one.out for one in stops]),
        (wave.back_s, wave.back_from_s, travel_back_s(stops), [one.back for one in stops]),
    ]
    for width_s, from_s, travel_s, greens in ways:
        for share in (0.001, 0.5, 0.999) if width_s > 0.0 else ():
            for offset_s, ride_s, green in zip(wave.offsets_s, travel_s, greens, strict=True):
                since_green_s = (from_s + share * width_s + ride_s - offset_s - green.start_s) % cycle_s
                assert since_green_s <= green.length_s
    assert 0.0 < wave.attainability <= 1.0 + 1e-9


@pytest.mark.parametrize(
    ("stops", "cycle_s", "told"),
    [
        ([stop("a", 0.0, 30.0, 30.0)], 60.0, "2 to 30 junctions"),
        ([stop("a", 0.0, 30.0, 30.0), stop("b", 0.0, 30.0, 30.0)], 60.0, "b lies at 0 m"),
        ([stop("a", 0.0, 30.0, 30.0), stop("b", 9.0, 30.0, 70.0)], 60.0, "b: a green back of 70 s"),
        ([stop("a", 0.0, 30.0, 30.0), stop("b", 9.0, 30.0, 30.0)], 0.0, "cycle of 0 s"),
        ([stop("a", 0.0, 30.0, 30.0), stop("b", float("inf"), 30.0, 30.0)], 60.0, "b: at_m is inf"),
    ],
)
def test_a_road_that_is_none(stops: list[Stop], cycle_s: float, told: str) -> None:
    with pytest.raises(TimingError, match=told):
        green_wave(stops, cycle_s)
