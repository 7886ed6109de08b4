"""The guard across ids: one vehicle whose track broke is still one vehicle.

Detectors lose a vehicle behind a pole, and find it again as a new one. What a track knew when it was last seen (on
which side of each line it was, what of it was counted) is handed to the new track that begins where the old one
must be by now. A vehicle that stood still is waited for much longer: what stands on the stop line stays there.
"""

import math
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
_Four = tuple[float, float, float, float]
"""Centre x, centre y, width, height, or how fast each of them changes."""


@dataclass(frozen=True, slots=True)
class HandoverParams:
    """How near in place and time a new track must begin. Distances in box sizes (square root of the area).

    Attributes:
        moving_s: how long a moving vehicle is waited for.
        standing_s: how long one that stood still is.
        reach: how far from the expected place the new track may begin.
        reach_per_s: how much further for each second that passed, up to `moving_s`.
        size_ratio: by what factor the width or height may differ.
        remembered: how many tracks that ended are remembered.
    """

    moving_s: float = 2.0
    standing_s: float = 600.0
    reach: float = 0.8
    reach_per_s: float = 0.6
    size_ratio: float = 2.5
    remembered: int = 256


@dataclass(frozen=True, slots=True)
class Departed:
    """A track as it was last seen.

    Attributes:
        box_px, velocity_px_s: (4,) corners, and how fast each of them moved.
        standing: it hardly moved.
        facts: what the counter knew about it, per line; the counter's own layout.
        points_px: (lines, 2) its reference points.
        known_since_s: when the vehicle was first seen, under this id or one before; the counter's own as well.
        patience_s: how long this one is waited for, if not as long as all that stood, or moved.
    """

    track: int
    seen_s: float
    box_px: Floats
    velocity_px_s: Floats
    standing: bool
    facts: Floats
    points_px: Floats
    known_since_s: float = 0.0
    patience_s: float | None = None


class Departures:
    """Tracks that ended and may come back under another id. Bounded."""

    def __init__(self, params: HandoverParams) -> None:
        self._params = params
        self._departed: deque[Departed] = deque()
        self._all_wait_until_s = math.inf

    def __len__(self) -> int:
        return len(self._departed)

    def add(self, departed: Departed) -> None:
        """Remember a track that ended."""
        self._departed.append(departed)
        self._all_wait_until_s = min(self._all_wait_until_s, departed.seen_s + _patience_s(departed, self._params))

    def __iter__(self) -> Iterator[Departed]:
        return iter(tuple(self._departed))

    def forget_old(self, now_s: float) -> list[Departed]:
        """Drop those that nothing can continue any more, and those that there is no room for; returns them."""
        old: list[Departed] = []
        if now_s >= self._all_wait_until_s:
            old = [one for one in self._departed if now_s - one.seen_s > _patience_s(one, self._params)]
            self._remove({one.track for one in old})
        while len(self._departed) > self._params.remembered:
            old.append(self._departed.popleft())
        return old

    def _remove(self, tracks: set[int]) -> None:
        self._departed = deque(one for one in self._departed if one.track not in tracks)
        self._all_wait_until_s = min(
            (one.seen_s + _patience_s(one, self._params) for one in self._departed), default=math.inf
        )

    def take(
        self,
        box_px: Floats,
        velocity_px_s: Floats,
        born_s: float,
        unseen: Sequence[Departed],
    ) -> Departed | None:
        """The track that a new one continues, if any. What was remembered is handed over once.

        Args:
            box_px: (4,) where the new track was first seen.
            velocity_px_s: (4,) how it moves.
            unseen: tracks that still live but were not seen of late; they may hand over as well.
        """
        best, best_strain = None, 1.0
        place, way = _centre_and_size(box_px), _centre_and_size(velocity_px_s)
        for one in (*self._departed, *unseen):
            gap_s = born_s - one.seen_s
            if not 0 <= gap_s <= (_patience_s(one, self._params) if one.standing else self._params.moving_s):
                continue
            strain = _strain(one, place, way, gap_s, self._params)
            if strain < best_strain:
                best, best_strain = one, strain
        if best is not None:
            self._remove({best.track})
        return best


def _strain(one: Departed, place: _Four, way: _Four, gap_s: float, params: HandoverParams) -> float:
    """How badly a new track, at its first place and with its way, continues the old one: below 1 it may."""
    x, y, width_px, height_px = _centre_and_size(one.box_px)
    new_x, new_y, new_width_px, new_height_px = place
    size_px = math.sqrt(width_px * height_px)
    reach = params.reach + params.reach_per_s * min(gap_s, params.moving_s)
    if not one.standing:
        vx, vy, widening, heightening = _centre_and_size(one.velocity_px_s)
        if vx * way[0] + vy * way[1] < 0:
            return math.inf  # it would have turned back
        # How much it has grown by now, if it goes on at a constant speed on the ground.
        growth = (widening / width_px + heightening / height_px) * 0.5 * gap_s
        nearing = 1.0 / (1.0 - min(max(growth, -0.5), 0.5))
        x, y = x + vx * gap_s * nearing, y + vy * gap_s * nearing
        width_px, height_px, size_px = width_px * nearing, height_px * nearing, size_px * nearing
    ratio = max(_ratio(width_px, new_width_px), _ratio(height_px, new_height_px))
    if ratio > params.size_ratio:
        return math.inf
    return math.hypot(new_x - x, new_y - y) / (reach * size_px)


def _patience_s(one: Departed, params: HandoverParams) -> float:
    if one.patience_s is not None:
        return one.patience_s
    return params.standing_s if one.standing else params.moving_s


def _ratio(a: float, b: float) -> float:
    return max(a, b) / max(min(a, b), 1e-6)


def _centre_and_size(corners: Floats) -> _Four:
    x1, y1, x2, y2 = corners.tolist()
    return (x1 + x2) * 0.5, (y1 + y2) * 0.5, x2 - x1, y2 - y1
