"""Where vehicles went: a coarse map of how many passed and which way, and a sample of whole trails.

Both are bounded, however long they are fed.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge_agent.domain.tracking import Tracks

Floats = NDArray[np.float64]

MAX_TRAILS = 400
MAX_LIVE = 300
MAX_SAMPLES = 96
"""Of one trail; when there are more, every other one is dropped."""
COLUMNS = 32
"""Cells of the map across the picture."""
MIN_SAMPLES = 3
_MIN_STEP_SIZES = 0.15
_MIN_STEP_S = 1.0


@dataclass(frozen=True, slots=True)
class Trail:
    """The way of one track, from its confirmation to its end.

    Attributes:
        times_s: (n,), ascending.
        boxes_px: (n, 4): x1, y1, x2, y2.
    """

    times_s: Floats
    boxes_px: Floats

    @property
    def middles_px(self) -> Floats:
        """(n, 2)."""
        return (self.boxes_px[:, :2] + self.boxes_px[:, 2:]) * 0.5

    @property
    def sizes_px(self) -> Floats:
        """(n,): the side of a square as large as the box."""
        spans = self.boxes_px[:, 2:] - self.boxes_px[:, :2]
        return np.asarray(np.sqrt(np.maximum(spans[:, 0] * spans[:, 1], 1.0)))


@dataclass(frozen=True, slots=True)
class Heat:
    """How many tracks passed each cell of a grid over the picture, and which way.

    Attributes:
        passes: (rows, columns), how many entered the cell.
        ways: (rows, columns, 2), the mean of their directions: of length 1 where all went the same way, near 0
            where they went to and fro.
    """

    passes: NDArray[np.int64]
    ways: Floats


class TrailBook:
    """Takes in the tracks of frame after frame. Pure: time is an argument."""

    def __init__(self, size_px: tuple[int, int], *, max_trails: int = MAX_TRAILS, seed: int = 1) -> None:
        """`size_px`: width and height of the picture."""
        self._cell_px = max(1.0, size_px[0] / COLUMNS)
        rows = max(1, int(np.ceil(size_px[1] / self._cell_px)))
        self._passes = np.zeros((rows, COLUMNS), np.int64)
        self._ways = np.zeros((rows, COLUMNS, 2))
        self._live: dict[int, _Growing] = {}
        self._whole: list[Trail] = []
        self._max_trails = max_trails
        self._n_whole = 0
        self._random = np.random.default_rng(seed)

    @property
    def n_trails(self) -> int:
        """How many trails ended so far, kept or not."""
        return self._n_whole

    def update(self, tracks: Tracks, t_s: float) -> None:
        """Take in one frame: what it showed of confirmed tracks."""
        alive = set(tracks.ids.tolist())
        for number in [number for number in self._live if number not in alive]:
            self._end(self._live.pop(number))
        for row in np.flatnonzero(tracks.seen & tracks.confirmed):
            number = int(tracks.ids[row])
            growing = self._live.get(number)
            if growing is None:
                if len(self._live) >= MAX_LIVE:
                    continue
                growing = self._live[number] = _Growing()
            self._grow(growing, tracks.boxes_px[row], t_s)

    def trails(self) -> list[Trail]:
        """The sample of whole trails, and those under way, as far as they came."""
        under_way = [growing.trail() for growing in self._live.values() if len(growing.times_s) >= MIN_SAMPLES]
        return [*self._whole, *under_way]

    def heat(self) -> Heat:
        """The map."""
        return Heat(self._passes.copy(), self._ways / np.maximum(self._passes, 1)[..., None])

    def restart_tracks(self) -> None:
        """The tracker begins anew, with numbers that were used before: what is under way ends."""
        for growing in self._live.values():
            self._end(growing)
        self._live.clear()

    def _grow(self, growing: "_Growing", box_px: Floats, t_s: float) -> None:
        middle = (box_px[:2] + box_px[2:]) * 0.5
        if growing.times_s:
            step = middle - growing.middle
            size_px = float(np.sqrt(max(1.0, (box_px[2] - box_px[0]) * (box_px[3] - box_px[1]))))
            far = float(np.hypot(*step)) >= _MIN_STEP_SIZES * size_px
            if not far and t_s - growing.times_s[-1] < _MIN_STEP_S:
                return
            if far:
                self._mark(growing, middle, step)
        growing.add(box_px, middle, t_s)

    def _mark(self, growing: "_Growing", middle: Floats, step: Floats) -> None:
        """Note the cells that a step enters, those on its way too."""
        length_px = float(np.hypot(*step))
        n = int(length_px / (0.5 * self._cell_px)) + 1
        shares = np.arange(1, n + 1)[:, None] / n
        cells = ((growing.middle + shares * step) / self._cell_px).astype(np.int64)
        way = step / length_px
        for column, row in cells.tolist():
            if (row, column) == growing.cell or not (
                0 <= row < self._passes.shape[0] and 0 <= column < self._passes.shape[1]
            ):
                continue
            growing.cell = (row, column)
            self._passes[row, column] += 1
            self._ways[row, column] += way

    def _end(self, growing: "_Growing") -> None:
        """Keep a fair sample: each trail that ever ended is in it with the same chance."""
        if len(growing.times_s) < MIN_SAMPLES:
            return
        self._n_whole += 1
        if len(self._whole) < self._max_trails:
            self._whole.append(growing.trail())
            return
        place = int(self._random.integers(self._n_whole))
        if place < self._max_trails:
            self._whole[place] = growing.trail()


class _Growing:
    """A trail under way."""

    def __init__(self) -> None:
        self.times_s: list[float] = []
        self.boxes_px: list[Floats] = []
        self.middle: Floats = np.zeros(2)
        self.cell: tuple[int, int] | None = None

    def add(self, box_px: Floats, middle: Floats, t_s: float) -> None:
        self.times_s.append(t_s)
        self.boxes_px.append(np.array(box_px, np.float64))
        self.middle = middle
        if len(self.times_s) > MAX_SAMPLES:
            # The last one stays.
            self.times_s = self.times_s[::-2][::-1]
            self.boxes_px = self.boxes_px[::-2][::-1]

    def trail(self) -> Trail:
        return Trail(np.asarray(self.times_s), np.stack(self.boxes_px))


def moving(trails: Sequence[Trail], *, sizes: float = 1.5) -> list[Trail]:
    """Those that went somewhere: places of theirs are farther apart than `sizes` of their own size."""
    found = []
    for trail in trails:
        reach = np.ptp(trail.middles_px, axis=0)
        if float(np.hypot(*reach)) >= sizes * float(np.median(trail.sizes_px)):
            found.append(trail)
    return found
