"""A camera and a tag reader over one lane: written cases, and made-up traffic whose truth is known."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.domain.fusion import FusedCrossing, FusionParams, FusionRule, LaneFusion, Sensor

Seen = list[tuple[float, Sensor, str]]
"""When told, by whom, and a class or an EPC."""


def tell(fusion: LaneFusion, seen: Seen) -> list[FusedCrossing]:
    told = []
    for t_s, sensor, what in seen:
        told.append(fusion.camera(t_s, what) if sensor is Sensor.CAMERA else fusion.tag(t_s, what))
    return [one for one in told if one is not None]


def counted(told: list[FusedCrossing]) -> int:
    return sum(not one.late for one in told)


def test_who_both_see_is_one_vehicle() -> None:
    fusion = LaneFusion()
    assert fusion.camera(10.0, "bus") == FusedCrossing(10.0, "bus", None, Sensor.CAMERA)
    assert fusion.tag(11.0, "E1") == FusedCrossing(10.0, "bus", "E1", Sensor.CAMERA, late=True)
    found = fusion.check(100.0)
    assert (found.n_both, found.n_camera_only, found.n_tags_only, found.offset_s) == (1, 0, 0, 1.0)


def test_the_tag_may_come_first() -> None:
    fusion = LaneFusion()
    assert fusion.tag(10.0, "E1") == FusedCrossing(10.0, "object", "E1", Sensor.TAGS)
    assert fusion.camera(10.5, "car") == FusedCrossing(10.0, "car", None, Sensor.TAGS, late=True)


def test_one_word_belongs_to_one_vehicle() -> None:
    fusion = LaneFusion()
    told = tell(fusion, [(10.0, Sensor.CAMERA, "car"), (10.2, Sensor.TAGS, "E1"), (10.4, Sensor.TAGS, "E2")])
    assert counted(told) == 2
    assert [one.epc for one in told] == [None, "E1", "E2"]


def test_the_nearer_in_time_is_the_same() -> None:
    fusion = LaneFusion()
    tell(fusion, [(10.0, Sensor.CAMERA, "car"), (12.0, Sensor.CAMERA, "bus")])
    pair = fusion.tag(12.2, "E1")
    assert pair is not None
    assert (pair.t_s, pair.cls) == (12.0, "bus")


def test_an_offset_is_taken_off() -> None:
    fusion = LaneFusion(FusionParams(window_s=1.0, offset_s=5.0))
    assert counted(tell(fusion, [(10.0, Sensor.CAMERA, "car"), (15.3, Sensor.TAGS, "E1")])) == 1
    assert (
        counted(tell(LaneFusion(FusionParams(window_s=1.0)), [(10, Sensor.CAMERA, "c"), (15, Sensor.TAGS, "E")]))
        == 2
    )


@pytest.mark.parametrize(("rule", "n"), [(FusionRule.EITHER, 3), (FusionRule.CAMERA, 2), (FusionRule.TAGS, 2)])
def test_whom_the_rule_counts(rule: FusionRule, n: int) -> None:
    seen: Seen = [
        (10.0, Sensor.CAMERA, "car"), (10.1, Sensor.TAGS, "E1"),
        (30.0, Sensor.CAMERA, "car"),
        (50.0, Sensor.TAGS, "E2"),
    ]  # fmt: skip
    assert counted(tell(LaneFusion(FusionParams(rule=rule)), seen)) == n


def test_who_is_alone_counts_whatever_the_rule() -> None:
    fusion = LaneFusion(FusionParams(rule=FusionRule.CAMERA))
    assert fusion.tag(10.0, "E1") is None
    fusion.sees(Sensor.CAMERA, False, 20.0)
    assert fusion.tag(21.0, "E2") == FusedCrossing(21.0, "object", "E2", Sensor.TAGS)
    fusion.sees(Sensor.CAMERA, True, 30.0)
    assert fusion.tag(60.0, "E3") is None


def test_what_one_could_not_see_is_no_disagreement() -> None:
    fusion = LaneFusion()
    fusion.sees(Sensor.CAMERA, False, 10.0)
    tell(fusion, [(20.0 + i, Sensor.TAGS, f"E{i}") for i in range(50)])
    fusion.sees(Sensor.CAMERA, True, 80.0)
    tell(fusion, [(90.0, Sensor.TAGS, "F")])
    found = fusion.check(200.0)
    assert (found.n_both, found.n_camera_only, found.n_tags_only) == (0, 0, 1)


def test_a_camera_that_misses_is_told() -> None:
    fusion = LaneFusion(FusionParams(max_camera_miss=0.2))
    seen: Seen = []
    for i in range(40):
        seen += [(100.0 + 30 * i, Sensor.TAGS, f"E{i}")]
        seen += [(100.2 + 30 * i, Sensor.CAMERA, "car")] if i % 2 else []
    tell(fusion, seen)
    found = fusion.check(2000.0)
    assert found.camera_miss == 0.5
    assert "missed 20 of 40" in found.faults[0]
    assert fusion.check(2001.0).faults == (), "each is told once"


def test_a_reader_that_misses_is_told_where_it_is_known_what_to_expect() -> None:
    seen: Seen = [(100.0 + 30 * i, Sensor.CAMERA, "car") for i in range(30)]
    blind, told = LaneFusion(), LaneFusion(FusionParams(min_tag_share=0.5))
    tell(blind, seen)
    tell(told, seen)
    assert blind.check(2000.0).faults == ()
    assert "read 0 of the camera's 30" in told.check(2000.0).faults[0]


def test_few_vehicles_are_no_ground() -> None:
    fusion = LaneFusion()
    tell(fusion, [(100.0 + 30 * i, Sensor.TAGS, f"E{i}") for i in range(10)])
    found = fusion.check(2000.0)
    assert (found.camera_miss, found.faults) == (1.0, ())


@given(
    st.lists(st.tuples(st.floats(0, 100), st.sampled_from(Sensor)), max_size=60),
    st.floats(0.1, 10),
)
def test_bounds_that_hold_for_any_traffic(said: list[tuple[float, Sensor]], window_s: float) -> None:
    fusion = LaneFusion(FusionParams(window_s=window_s))
    seen: Seen = [(t_s, sensor, f"E{i}") for i, (t_s, sensor) in enumerate(sorted(said))]
    told = tell(fusion, seen)
    n = {sensor: sum(one is sensor for _, one, _ in seen) for sensor in Sensor}
    assert max(n.values()) <= counted(told) <= sum(n.values())
    found = fusion.check(10_000.0)
    assert 2 * found.n_both + found.n_camera_only + found.n_tags_only == len(seen)
    assert counted(told) == found.n_both + found.n_camera_only + found.n_tags_only
    assert counted(told) + sum(one.late for one in told) <= len(seen)
    epcs = [one.epc for one in told if one.epc]
    assert sorted(epcs) == sorted(what for _, sensor, what in seen if sensor is Sensor.TAGS), "each EPC once"


@given(st.integers(0, 2**32), st.floats(0, 1), st.floats(0, 1), st.sampled_from(FusionRule))
def test_vehicles_that_keep_their_distance_are_counted_as_they_were(
    seed: int, camera_sees: float, reader_sees: float, rule: FusionRule
) -> None:
    """Headways beyond twice the window and the jitter: then there is one right answer."""
    chosen = random.Random(seed)
    seen: Seen = []
    truth = {"both": 0, "camera": 0, "tags": 0}
    t_s = 0.0
    for i in range(30):
        t_s += chosen.uniform(9.0, 20.0)
        by_camera, by_tags = chosen.random() < camera_sees, chosen.random() < reader_sees
        seen += [(t_s, Sensor.CAMERA, "car")] if by_camera else []
        seen += [(t_s + chosen.uniform(-2.9, 2.9), Sensor.TAGS, f"E{i}")] if by_tags else []
        truth["both"] += by_camera and by_tags
        truth["camera"] += by_camera and not by_tags
        truth["tags"] += by_tags and not by_camera
    fusion = LaneFusion(FusionParams(rule=rule))
    told = tell(fusion, sorted(seen))
    expected = {
        FusionRule.EITHER: sum(truth.values()),
        FusionRule.CAMERA: truth["both"] + truth["camera"],
        FusionRule.TAGS: truth["both"] + truth["tags"],
    }
    assert counted(told) == expected[rule]
    found = fusion.check(10_000.0)
    assert (found.n_both, found.n_camera_only, found.n_tags_only) == tuple(truth.values())
