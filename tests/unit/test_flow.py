"""What is learnt of how things move where."""

import math

import numpy as np
import pytest

from edge_agent.domain.flow import FlowField, FlowParams
from edge_agent.domain.tracking import Tracker
from tests.traffic import detections


def _moves(*boxes: tuple[float, float, float, float, float]) -> np.ndarray:
    """x, y, size in pixels; speed in sizes per second, as columns of centre, size and velocity."""
    table = np.array(boxes, np.float64).T
    x, y, size, vx, vy = table
    still = np.zeros_like(x)
    return np.stack([x, y, size, size, vx * size, vy * size, still, still])


def _watched(field: FlowField, seconds: float, *boxes: tuple[float, float, float, float, float]) -> FlowField:
    for k in range(int(seconds / 0.1) + 1):
        field.note(_moves(*boxes), k * 0.1)
    return field


def test_nothing_is_known_at_first() -> None:
    assert FlowField(FlowParams()).expected(100, 100, 40) == (0, 0, 0, 0)


def test_speeds_are_known_where_they_were_seen_and_in_sizes() -> None:
    field = _watched(FlowField(FlowParams()), 10, (100, 100, 40, 0.5, 2.0))
    vx, vy, variance, share = field.expected(110, 95, 80)
    assert (vx, vy) == pytest.approx((0.5, 2.0))
    assert variance == pytest.approx(FlowParams().least_spread ** 2)
    assert share > 0.9
    assert field.expected(400, 300, 40)[3] == 0


def test_where_ways_cross_the_spread_is_wide() -> None:
    field = _watched(FlowField(FlowParams()), 10, (100, 100, 40, 0, 2.0), (104, 100, 40, 0, -2.0))
    _, vy, variance, _ = field.expected(102, 100, 40)
    assert vy == pytest.approx(0)
    assert variance > 1.5


def test_little_was_watched_and_little_is_claimed() -> None:
    assert _watched(FlowField(FlowParams()), 0.2, (100, 100, 40, 0, 2.0)).expected(100, 100, 40)[3] < 0.6


def test_the_past_is_forgotten() -> None:
    field = _watched(FlowField(FlowParams(forget_s=5.0)), 10, (100, 100, 40, 0, 2.0))
    for k in range(400):
        field.note(_moves((100, 100, 40, 0, -2.0)), 10 + k * 0.1)
    assert field.expected(100, 100, 40)[1] == pytest.approx(-2.0, abs=0.01)


def test_large_pictures_have_larger_cells_and_lose_nothing() -> None:
    field = _watched(FlowField(FlowParams()), 10, (100, 100, 40, 0, 2.0))
    field.note(_moves((7600, 4000, 300, 1.0, 0)), 10.2)
    assert field.expected(100, 100, 40)[1] == pytest.approx(2.0)
    assert field.expected(7600, 4000, 300)[0] == pytest.approx(1.0)


def test_boxes_outside_of_the_picture_do_no_harm() -> None:
    field = FlowField(FlowParams())
    field.note(_moves((-50, -80, 40, 0, 2.0), (9e5, 20, 40, 0, 1.0)), 0.1)
    assert all(math.isfinite(value) for value in field.expected(-1e6, 9e5, 40))


def _convoy(first_s: float, n: int, apart_s: float, t_s: float) -> list[tuple[float, ...]]:
    """Cars of 40 px that drive down a lane at 1.5 sizes per third of a second, each so long behind the next."""
    ys = [180.0 * (t_s - first_s - i * apart_s) for i in range(n)]
    return [(300 - 30, y - 20, 300 + 30, y + 20) for y in ys if 20 < y < 700]


def test_at_three_frames_a_second_a_lane_that_is_known_keeps_cars_apart() -> None:
    """Each car moves further from frame to frame than the next one is behind it."""
    tracker, ids = Tracker(), set()
    for k in range(120):
        t_s = k / 3
        boxes = _convoy(0.0, 8, 2.5, t_s) if t_s < 25 else _convoy(26.0, 6, 0.29, t_s)
        tracks = tracker.update(detections(boxes, [0.7] * len(boxes), ["car"] * len(boxes)), t_s)
        if t_s >= 25:
            ids |= set(tracks.ids[tracks.confirmed & (tracks.born_s >= 25)].tolist())
            moving = tracks.confirmed & tracks.seen & (tracks.born_s >= 25)
            assert (tracks.velocities_px_s[moving, 1] > 100).all()
    assert len(ids) == 6
