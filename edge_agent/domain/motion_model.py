"""Where a box will be: a Kalman filter of constant velocity for many boxes at once.

A box is four numbers that move independently: centre x, centre y, width, height. So each has a filter of its own
with a 2x2 covariance, and the algebra is a handful of array operations for all boxes together. All noises are
shares of the box's own size, so that the same figures hold for a far car of 10 px and a near bus of 300 px, and
all depend on the time that really passed, so that they hold at any frame rate.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

POSITION, VELOCITY, VAR_P, COV_PV, VAR_V = range(5)
"""Planes of a state array, shape (5, n, 4); the last axis is centre x, centre y, width, height."""

_MIN_SIZE_PX = 2.0
_GROWTH_MATTERS_S = 0.05
"""Between frames closer than this nothing grows to speak of."""
_MOST_GROWTH = 0.3
"""Share by which a box may be expected to have grown or shrunk from one update to the next."""


@dataclass(frozen=True, slots=True)
class MotionParams:
    """Noises, in box sizes (the square root of its area).

    Attributes:
        seen_error, seen_size_error: standard error of a detected centre, of a detected width or height.
        speed_change, size_speed_change: how much speed wanders in one second, in sizes per second.
        first_speed, first_size_speed: standard deviation of a new box's unknown speed, in sizes per second.
    """

    seen_error: float = 0.05
    seen_size_error: float = 0.08
    speed_change: float = 1.0
    size_speed_change: float = 0.15
    first_speed: float = 3.0
    first_size_speed: float = 0.3


class MotionModel:
    """The filter's arithmetic. It holds its figures only; the states are the caller's."""

    def __init__(self, params: MotionParams) -> None:
        self._seen_var = np.square([params.seen_error] * 2 + [params.seen_size_error] * 2)
        self._wander_var = np.square([params.speed_change] * 2 + [params.size_speed_change] * 2)
        self._first_speed_var = np.square([params.first_speed] * 2 + [params.first_size_speed] * 2)

    def begin(self, measured_px: Floats) -> Floats:
        """States, (5, n, 4), of boxes seen for the first time, (n, 4) as centre and size."""
        states = np.zeros((5, *measured_px.shape))
        area = _area_px2(measured_px)
        states[POSITION] = measured_px
        states[VAR_P] = self._seen_var * area
        states[VAR_V] = self._first_speed_var * area
        return states

    def predict(self, states: Floats, dt_s: float, known: NDArray[np.bool_]) -> None:
        """Move all states on by `dt_s`, in place.

        Args:
            known: (n,) whose growth is known well enough to be reckoned with.
        """
        wander = self._wander_var * (dt_s * _area_px2(states[POSITION]))
        step_s = dt_s if dt_s < _GROWTH_MATTERS_S else self._nearing(states, dt_s, known) * dt_s
        states[POSITION] += states[VELOCITY] * step_s
        np.maximum(states[POSITION, :, 2:], _MIN_SIZE_PX, out=states[POSITION, :, 2:])
        states[VAR_P] += dt_s * (2.0 * states[COV_PV] + dt_s * (states[VAR_V] + wander / 3.0))
        states[COV_PV] += dt_s * (states[VAR_V] + wander / 2.0)
        states[VAR_V] += wander

    @staticmethod
    def _nearing(states: Floats, dt_s: float, known: NDArray[np.bool_]) -> Floats:
        """By what factor each box, (n, 1), moves further than at its speed.

        What comes nearer at a constant speed grows, and moves in the picture, ever faster: all by one factor.
        A box that grows one way only is coming to light, not nearer.
        """
        growths = states[VELOCITY, :, 2:] / states[POSITION, :, 2:] * dt_s
        wider, higher = growths[:, 0], growths[:, 1]
        growth = np.minimum(np.maximum(np.minimum(wider, higher), 0.0), _MOST_GROWTH)
        growth += np.maximum(np.minimum(np.maximum(wider, higher), 0.0), -_MOST_GROWTH)
        growth[~known] = 0.0
        return np.asarray(1.0 / (1.0 - growth)[:, None])

    def correct(self, states: Floats, measured_px: Floats, error_factor: Floats) -> Floats:
        """States after their boxes were seen.

        Args:
            states: (5, n, 4), predicted to the time of the measurement.
            measured_px: (n, 4) as centre and size.
            error_factor: (n,) how much worse than usual each measurement is.
        """
        noise = self._seen_var * (_area_px2(states[POSITION]) * np.square(error_factor)[:, None])
        gain = states[VAR_P : COV_PV + 1] / (states[VAR_P] + noise)
        corrected = np.empty_like(states)
        corrected[:2] = states[:2] + gain * (measured_px - states[POSITION])
        np.maximum(corrected[POSITION, :, 2:], _MIN_SIZE_PX, out=corrected[POSITION, :, 2:])
        corrected[VAR_P] = states[VAR_P] * (1.0 - gain[0])
        corrected[COV_PV] = states[COV_PV] * (1.0 - gain[0])
        corrected[VAR_V] = states[VAR_V] - gain[1] * states[COV_PV]
        return corrected


def _area_px2(boxes_px: Floats) -> Floats:
    """(n, 1), from (n, 4) as centre and size."""
    return np.asarray(boxes_px[:, 2:3] * boxes_px[:, 3:4])


def to_centre_and_size(corners_px: Floats) -> Floats:
    """(n, 4) of x1, y1, x2, y2 as centre x, centre y, width, height."""
    result = np.empty(corners_px.shape)
    np.add(corners_px[:, :2], corners_px[:, 2:], out=result[:, :2])
    result[:, :2] *= 0.5
    np.subtract(corners_px[:, 2:], corners_px[:, :2], out=result[:, 2:])
    return result


def to_corners(centres_and_sizes_px: Floats) -> Floats:
    """(n, 4) of centre x, centre y, width, height as x1, y1, x2, y2; the inverse, and as good for velocities."""
    result = np.empty(centres_and_sizes_px.shape)
    halves = centres_and_sizes_px[:, 2:] * 0.5
    np.subtract(centres_and_sizes_px[:, :2], halves, out=result[:, :2])
    np.add(centres_and_sizes_px[:, :2], halves, out=result[:, 2:])
    return result
