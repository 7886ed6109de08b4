"""How things move where: what a new box's speed will be, from what others did in its place.

At three frames a second a vehicle moves by its own length from frame to frame, and by then the one behind it is
where it was. One box does not tell them apart; but a lane has a way, and whoever drove there before has shown it.
So the mean speed and its spread are kept for each place, and slowly forgotten. Where nobody was seen yet, or where
ways cross, the spread is wide, and little is claimed.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_CELLS = 64
"""Cells each way."""
_FIRST_CELL_PX = 10.0
"""So 640 pixels fit at first. A larger picture is met by larger cells."""
_MOST_WORTH = 1e6
_WEIGHT, _VX, _VY, _SQUARES = range(4)


@dataclass(frozen=True, slots=True)
class FlowParams:
    """How speeds are learnt by place. Speeds are in box sizes (square root of its area) per second.

    Attributes:
        every_s: speeds are noted this often.
        forget_s: for about how long they count.
        doubt_s: what was watched for this long weighs as much as knowing nothing.
        reach: how far around a box's middle its place extends, in box sizes.
        least_spread: the spread is never taken to be less.
    """

    every_s: float = 0.1
    forget_s: float = 600.0
    doubt_s: float = 0.5
    reach: float = 0.5
    least_spread: float = 0.5


class FlowField:
    """Speeds by place. Bounded: a grid of a fixed number of cells, that grow as far as boxes are seen."""

    def __init__(self, params: FlowParams) -> None:
        self._params = params
        self._cell_px = _FIRST_CELL_PX
        self._sums = np.zeros((_CELLS, _CELLS, 4))
        self._worth = 1.0
        """What one second weighs by now, against one at the beginning."""
        self._noted_s = -math.inf

    def due(self, now_s: float) -> bool:
        """Whether it is time to note speeds."""
        return now_s - self._noted_s >= self._params.every_s

    def note(self, moves: Floats, now_s: float) -> None:
        """Take in how boxes move.

        Args:
            moves: (8, n): centre x, centre y, width, height in pixels, and the same per second.
        """
        passed_s = min(now_s - self._noted_s, 4 * self._params.every_s)
        if passed_s > 0:
            self._fade(passed_s)
        self._noted_s = now_s
        if not moves.shape[1]:
            return
        self._make_room(float(moves[:2].max()))
        values = np.empty((moves.shape[1], 4))
        values[:, _WEIGHT] = 1.0
        speeds = moves[4:6] / np.sqrt(moves[2] * moves[3])
        values[:, _VX : _VY + 1] = speeds.T
        speeds *= speeds
        np.add(speeds[0], speeds[1], out=values[:, _SQUARES])
        values *= passed_s * self._worth
        cells = moves[:2] / self._cell_px
        np.maximum(cells, 0.0, out=cells)
        np.minimum(cells, _CELLS - 1, out=cells)
        columns, rows = cells.astype(np.intp)
        np.add.at(self._sums, (rows, columns), values)

    def _fade(self, passed_s: float) -> None:
        """Let what is known count less, by letting what comes count more: that is one number, not all cells."""
        self._worth *= math.exp(passed_s / self._params.forget_s)
        if self._worth > _MOST_WORTH:
            self._sums /= self._worth
            self._worth = 1.0

    def expected(self, x_px: float, y_px: float, size_px: float) -> tuple[float, float, float, float]:
        """What is known of the speed of a box of this size there.

        Returns:
            Mean speed, x and y; its variance; and the share that this knowledge has against none, 0..1.
        """
        reach_px = self._params.reach * size_px
        top, bottom = self._span(y_px, reach_px)
        left, right = self._span(x_px, reach_px)
        weight, vx, vy, squares = self._sums[top:bottom, left:right].sum(axis=(0, 1)).tolist()
        if weight <= 0:
            return 0.0, 0.0, 0.0, 0.0
        vx, vy = vx / weight, vy / weight
        variance = max(0.5 * (squares / weight - vx * vx - vy * vy), 0.0) + self._params.least_spread**2
        return vx, vy, variance, weight / (weight + self._params.doubt_s * self._worth)

    def _span(self, middle_px: float, reach_px: float) -> tuple[int, int]:
        first = int(min(max((middle_px - reach_px) / self._cell_px, 0), _CELLS - 1))
        last = int(min(max((middle_px + reach_px) / self._cell_px, 0), _CELLS - 1))
        return first, last + 1

    def _make_room(self, furthest_px: float) -> None:
        """Double the cells, four becoming one, until they reach as far as boxes do."""
        while furthest_px >= self._cell_px * _CELLS:
            half = _CELLS // 2
            folded = self._sums.reshape(half, 2, half, 2, 4).sum(axis=(1, 3))
            self._sums = np.zeros_like(self._sums)
            self._sums[:half, :half] = folded
            self._cell_px *= 2
