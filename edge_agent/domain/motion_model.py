"""Where a box will be: a Kalman filter of constant velocity for many boxes at once.

A box is four numbers that move independently: centre x, centre y, width, height. So each has a filter of its own
with a 2x2 covariance, and the algebra is a handful of array operations for all boxes together. All noises are
shares of the box's own size, so that the same figures hold for a far car of 10 px and a near bus of 300 px, and
all depend on the time that really passed, so that they hold at any frame rate. The two centres are as unsure as
each other, and so are the two sizes: each pair has one covariance.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

STATE_ROWS = 14
"""Rows of a state array, (14, n): one box per column."""
POSITION = slice(0, 4)
"""Centre x, centre y, width, height."""
VELOCITY = slice(4, 8)
"""The same per second."""
VAR_P = slice(8, 10)
"""Variance of the position: of a centre, of a size."""
COV_PV = slice(10, 12)
VAR_V = slice(12, 14)
GROWTH = slice(6, 8)
"""Velocity of the sizes."""

_MOVES = slice(0, 8)
_GAINS = slice(8, 12)
_SIZE = slice(2, 4)
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
        self._seen_var = np.square([[params.seen_error], [params.seen_size_error]])
        self._wander_var = np.square([[params.speed_change], [params.size_speed_change]])
        self._first_speed_var = np.square([[params.first_speed], [params.first_size_speed]])

    def begin(self, measured_px: Floats) -> Floats:
        """States, (14, n), of boxes seen for the first time, (4, n) as centre and size."""
        states = np.zeros((STATE_ROWS, measured_px.shape[1]))
        area = measured_px[2] * measured_px[3]
        states[POSITION] = measured_px
        states[VAR_P] = self._seen_var * area
        states[VAR_V] = self._first_speed_var * area
        return states

    def predict(self, states: Floats, dt_s: float, known: NDArray[np.bool_] | None) -> None:
        """Move all states on by `dt_s`, in place.

        Args:
            known: (n,) whose growth is known well enough to be reckoned with; None: everyone's.
        """
        wander = self._wander_var * (states[2] * states[3] * dt_s)
        step_s = dt_s if dt_s < _GROWTH_MATTERS_S else _nearing(states, dt_s, known) * dt_s
        states[POSITION] += states[VELOCITY] * step_s
        np.maximum(states[_SIZE], _MIN_SIZE_PX, out=states[_SIZE])
        var_v, cov = states[VAR_V], states[COV_PV]
        var_p = wander * (dt_s / 3.0)
        var_p += cov
        cov += var_v * dt_s
        var_p += cov
        var_p *= dt_s
        states[VAR_P] += var_p
        var_v += wander
        wander *= 0.5 * dt_s
        cov += wander

    def correct(
        self, states: Floats, measured_px: Floats, seen: NDArray[np.bool_], error_var: Floats | None = None
    ) -> None:
        """Take in where boxes were seen, in place.

        Args:
            states: (14, n), predicted to the time of the measurement.
            measured_px: (4, n) where each was seen; anything finite where it was not.
            seen: (n,) who was.
            error_var: (n,) by what factor the variance of each measurement is larger than usual; None: of none.
        """
        area = states[2] * states[3]
        noise = self._seen_var * (area if error_var is None else area * error_var)
        noise += states[VAR_P]
        n = states.shape[1]
        known = states[_GAINS].reshape(2, 2, n)
        gain = known / noise
        gain *= seen
        residuals_px = measured_px - states[POSITION]
        moves = states[_MOVES].reshape(2, 2, 2, n)
        moves += gain[:, :, None] * residuals_px.reshape(2, 2, n)
        np.maximum(states[_SIZE], _MIN_SIZE_PX, out=states[_SIZE])
        states[VAR_V] -= gain[1] * states[COV_PV]
        known *= 1.0 - gain[0]


def _nearing(states: Floats, dt_s: float, known: NDArray[np.bool_] | None) -> Floats:
    """By what factor each box, (n,), moves further than at its speed.

    What comes nearer at a constant speed grows, and moves in the picture, ever faster: all by one factor.
    A box that grows one way only is coming to light, not nearer.
    """
    wider, higher = states[GROWTH] / states[_SIZE] * dt_s
    growth = np.minimum(np.maximum(np.minimum(wider, higher), 0.0), _MOST_GROWTH)
    growth += np.maximum(np.minimum(np.maximum(wider, higher), 0.0), -_MOST_GROWTH)
    if known is not None:
        growth *= known
    return np.asarray(1.0 / (1.0 - growth))


# Sums and differences of rows are one product with a small matrix here: at these sizes a call of numpy costs more
# than its arithmetic, and halves and ones leave no rounding of their own.
_CENTRE_AND_SIZE = np.array([[0.5, 0, 0.5, 0], [0, 0.5, 0, 0.5], [-1, 0, 1, 0], [0, -1, 0, 1]])
_CORNERS = np.kron(np.eye(2), [[1, 0, -0.5, 0], [0, 1, 0, -0.5], [1, 0, 0.5, 0], [0, 1, 0, 0.5]])


def to_centre_and_size(corners_px: Floats) -> Floats:
    """Rows x1, y1, x2, y2 as rows centre x, centre y, width, height: (4, n). All have to be finite."""
    return np.asarray(_CENTRE_AND_SIZE.dot(corners_px))


def corners_of(states: Floats) -> Floats:
    """Boxes and velocities of states, (2, 4, n): x1, y1, x2, y2, and how fast each of them moves."""
    return np.asarray(_CORNERS.dot(states[_MOVES]).reshape(2, 4, -1))
