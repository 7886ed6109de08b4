"""Pixels to metres: right where the points are, refused where they tell nothing, and honest about its error."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from edge_agent.domain.calibration import Calibration, calibrate
from edge_agent.domain.ground_points import GroundPoint, check_ground_points
from edge_agent.drivers.sim.render import Camera, Look

SIZE = (640, 360)
LOOK = Look(
    height_m=10.0, pitch_deg=30.0, focal_px=420.0, ambient=1.0, night=False, noise_levels=2.0, road_half_m=7.7,
    stop_m=None,
)  # fmt: skip
CORNERS_M = ((-7.0, 12.0), (7.0, 12.0), (7.0, 40.0), (-7.0, 40.0))
MORE_M = (*CORNERS_M, (0.0, 18.0), (-3.0, 25.0), (4.0, 30.0))


def seen_by(camera: Camera, places_m: tuple[tuple[float, float], ...] = MORE_M) -> list[GroundPoint]:
    return [(*camera.ground(x, y), x, y) for x, y in places_m]


ROAD = seen_by(Camera(LOOK, SIZE))


def fitted(points: list[GroundPoint]) -> Calibration | str:
    """The calibration, or why there is none."""
    try:
        return calibrate(points, SIZE)
    except ValueError as error:
        return str(error)


def test_exact_points_give_exact_places() -> None:
    camera = Camera(LOOK, SIZE)
    for points in (ROAD, ROAD[:4]):
        calibration = calibrate(points, SIZE)
        for x, y in ((0.0, 15.0), (-5.0, 33.0), (6.0, 22.0)):
            place = calibration.ground_m(np.asarray(camera.ground(x, y)))
            assert place == pytest.approx([x, y], abs=1e-6)


@given(
    st.floats(3, 40),
    st.floats(20, 90),
    st.floats(250, 900),
    st.floats(-50, 50),
    st.floats(0, 6.28),
    st.floats(5, 25),
)
def test_any_camera_and_any_axes(
    height_m: float, pitch_deg: float, focal_px: float, shift_m: float, turned: float, half_m: float
) -> None:
    camera = Camera(replace(LOOK, height_m=height_m, pitch_deg=pitch_deg, focal_px=focal_px), SIZE)
    middle = height_m / np.tan(np.radians(pitch_deg))
    world = [(dx * half_m, middle + dy * half_m) for dx, dy in ((-1, -1), (1, -1), (1, 1), (-1, 1), (0.2, 0.1))]
    pixels = [camera.ground(x, y) for x, y in world]
    assume(all(-1 <= x <= 641 and -1 <= y <= 361 for x, y in pixels))
    cos, sin = np.cos(turned), np.sin(turned)
    metres = [(cos * x - sin * y + shift_m, sin * x + cos * y) for x, y in world]
    calibration = fitted([(*p, *m) for p, m in zip(pixels, metres, strict=True)])
    if isinstance(calibration, str):
        assert "line" in calibration or "tell too little" in calibration, "a low view squeezes the ground flat"
        return
    found = calibration.ground_m(np.asarray(pixels))
    assert np.abs(found - metres).max() < 1e-3
    assert calibration.errors_px is not None
    assert calibration.errors_px.max() < 1e-3


def test_the_error_is_that_of_the_points() -> None:
    random = np.random.default_rng(4)
    noisy = [(x + random.normal(0, 2), y + random.normal(0, 2), X, Y) for x, y, X, Y in ROAD]
    calibration = calibrate(noisy, SIZE)
    assert calibration.errors_px is not None
    assert 0.5 < np.sqrt(np.square(calibration.errors_px).mean()) < 4
    wrong = [*noisy[:5], (noisy[5][0], noisy[5][1], noisy[5][2] + 3, noisy[5][3]), noisy[6]]
    assert "worst at point 6: " in calibrate(wrong, SIZE).in_words()
    assert calibrate(wrong, SIZE).in_words().startswith("7 points, mean error ")


def test_the_refinement_leaves_a_smaller_error_in_the_picture() -> None:
    """Far points are a few pixels high: without it their metres would outweigh the picture."""
    random = np.random.default_rng(5)
    noisy = np.asarray([(x + random.normal(0, 3), y + random.normal(0, 3), X, Y) for x, y, X, Y in ROAD])
    errors = calibrate([tuple(row) for row in noisy.tolist()], SIZE).errors_px
    assert errors is not None
    for nudge in np.eye(8):
        moved = calibrate([tuple(row) for row in noisy.tolist()], SIZE).to_picture.copy()
        moved /= moved[2, 2]
        for sign in (-1, 1):
            other = moved + sign * 1e-4 * np.append(nudge, 0).reshape(3, 3) * np.abs(moved).clip(1e-6)
            places = np.c_[noisy[:, 2:], np.ones(len(noisy))] @ other.T
            worse = np.square(places[:, :2] / places[:, 2:] - noisy[:, :2]).sum()
            assert worse >= np.square(errors).sum() - 1e-9


def test_with_four_points_nobody_knows_the_error() -> None:
    calibration = calibrate(ROAD[:4], SIZE)
    assert calibration.errors_px is None
    assert calibration.in_words() == "4 points: its error cannot be known; a fifth point would show it"


def test_what_lies_outside_is_not_converted() -> None:
    calibration, camera = calibrate(ROAD, SIZE), Camera(LOOK, SIZE)
    for x, y, inside in ((0, 25, True), (7.5, 25, True), (14, 25, False), (0, 90, False), (0, 9, False)):
        place = calibration.ground_m(np.asarray(camera.ground(x, y)))
        assert np.isfinite(place).all() == inside, (x, y)
    assert np.isnan(calibration.ground_m(np.asarray([[np.nan, 5.0], [320.0, 2.0]]))).all()
    far = calibration.ground_m(calibration.hull_px * 0.999 + 0.001 * calibration.hull_px.mean(axis=0))
    assert np.abs(far).max() < 200, "the margin stays away from the horizon"


@pytest.mark.parametrize(("pitch_deg", "steep"), [(15, False), (30, False), (50, False), (80, True), (90, True)])
def test_a_view_from_above_is_told_from_others(pitch_deg: float, steep: bool) -> None:
    camera = Camera(replace(LOOK, pitch_deg=pitch_deg, height_m=20.0), SIZE)
    middle = 20.0 / np.tan(np.radians(pitch_deg))
    world = tuple((dx, middle + dy) for dx in (-5.0, 5.0) for dy in (-4.0, 4.0))
    calibration = calibrate(seen_by(camera, world), SIZE)
    assert calibration.steep == steep
    assert calibration.elevation_deg == pytest.approx(pitch_deg, abs=6)


def _with(number: int, *values: float | None) -> list[GroundPoint]:
    points = [list(point) for point in ROAD]
    for place, value in enumerate(values):
        if value is not None:
            points[number - 1][place] = value
    return [(a, b, c, d) for a, b, c, d in points]


def _swap(points: list[GroundPoint], i: int, j: int) -> list[GroundPoint]:
    changed = list(points)
    changed[i - 1] = (*points[i - 1][:2], *points[j - 1][2:])
    changed[j - 1] = (*points[j - 1][:2], *points[i - 1][2:])
    return changed


@pytest.mark.parametrize(
    ("points", "words"),
    [
        (ROAD[:3], "needs 4 to 32 points, not 3"),
        ([], "not 0"),
        (_with(2, float("nan")), "point 2 must be four finite numbers"),
        (_with(2, None, None, float("inf")), "point 2 must be four finite numbers"),
        (_with(3, None, None, 5_000_000.0), "point 3 is more than 100 km away"),
        (_with(3, *ROAD[1][:2]), "points 2 and 3 are the same in the picture"),
        (_with(5, None, None, *ROAD[0][2:]), "points 1 and 5 are the same on the ground"),
        (
            [(10.0 + 50 * n, 20.0 + 30 * n, float(n), n**2) for n in range(5)],
            "all points lie on one line in the pic",
        ),
        (
            [(10.0 * n, 4.0 * n * n, float(n), 2.0 * n) for n in range(5)],
            "all points lie on one line on the ground",
        ),
        (
            [*seen_by(Camera(LOOK, SIZE), ((-6, 15), (0, 15), (6, 15), (0, 30)))],
            "three of each four points lie on",
        ),
        ([(x, y, X, -Y) for x, y, X, Y in ROAD], "the ground is mirrored"),
        ([(x, y, -X, Y) for x, y, X, Y in ROAD[:4]], "the ground is mirrored"),
        (_swap(ROAD, 2, 6), "their metres seem to be swapped, those of 2 and 6"),
        (_swap(ROAD[:4], 1, 2), "swapped, those of 1 and 2$"),
        (_swap(_swap(ROAD, 2, 6), 3, 7), "check which metres belong to which pixels"),
    ],
)
def test_points_that_tell_no_plane(points: list[GroundPoint], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        check_ground_points(points)
    with pytest.raises(ValueError, match=words):
        calibrate(points, SIZE)


def test_points_of_another_picture() -> None:
    with pytest.raises(ValueError, match=r"point 1 \(.*\) is outside of the picture, which is 320x180"):
        calibrate(ROAD, (320, 180))


@given(st.lists(st.tuples(*[st.floats(0, 600)] * 2, *[st.floats(-99, 99)] * 2), min_size=4, max_size=7))
def test_any_points_are_used_or_refused_in_words(points: list[GroundPoint]) -> None:
    calibration = fitted(points)
    if isinstance(calibration, str):
        assert "point" in calibration or "ground" in calibration
    else:
        assert np.isfinite(calibration.to_ground).all()
        assert np.isfinite(calibration.hull_px).all()
