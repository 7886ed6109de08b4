"""A black or frozen picture is no measurement; a night or a still street is."""

import numpy as np
import pytest

from common.codes import GapReason
from edge_agent.domain.frames import Image
from edge_agent.domain.picture import PictureWatch, shows_nothing

rng = np.random.default_rng(1)


def noisy(level: int, spread: float = 3.0) -> Image:
    return np.clip(rng.normal(level, spread, (360, 640, 3)), 0, 255).astype(np.uint8)


@pytest.fixture
def watch() -> PictureWatch:
    return PictureWatch(black_after_s=5.0, frozen_after_s=30.0)


def test_ordinary_pictures_are_good(watch: PictureWatch) -> None:
    for t_s in range(60):
        assert watch.update(noisy(90), float(t_s)).since_s is None


def test_same_picture_is_doubtful_then_frozen(watch: PictureWatch) -> None:
    image = noisy(90)
    assert watch.update(image, 0.0).since_s is None
    assert watch.update(image, 1.0).doubtful
    assert watch.update(image, 29.0).doubtful
    verdict = watch.update(image, 30.0)
    assert (verdict.reason, verdict.since_s) == (GapReason.CAMERA_FROZEN, 0.0)
    assert watch.update(noisy(90), 31.0).since_s is None


def test_a_driver_that_reuses_its_buffer_is_not_frozen(watch: PictureWatch) -> None:
    buffer = noisy(90)
    for t_s in range(40):
        buffer[:] = noisy(90)
        assert watch.update(buffer, float(t_s)).since_s is None


@pytest.mark.parametrize("level", [0, 4, 12])
def test_black_with_sensor_noise(watch: PictureWatch, level: int) -> None:
    watch.update(noisy(90), 0.0)
    assert watch.update(noisy(level, 1.5), 1.0).doubtful
    verdict = watch.update(noisy(level, 1.5), 6.0)
    assert (verdict.reason, verdict.since_s) == (GapReason.CAMERA_BLACK, 1.0)


def test_black_and_frozen_is_black(watch: PictureWatch) -> None:
    image = np.zeros((360, 640, 3), np.uint8)
    for t_s in range(40):
        verdict = watch.update(image, float(t_s))
    assert (verdict.reason, verdict.since_s) == (GapReason.CAMERA_BLACK, 0.0)


def test_one_colour_shows_nothing() -> None:
    blue = np.zeros((90, 160, 3), np.uint8)
    blue[..., 0] = 200
    assert shows_nothing(blue)


def test_night_with_a_lamp_shows_something() -> None:
    night = noisy(6, 2.0)[::4, ::4].copy()
    night[20:23, 30:33] = 250
    assert not shows_nothing(night)


def test_fog_shows_something() -> None:
    assert not shows_nothing(noisy(150, 2.0)[::4, ::4])
