"""Where a counting line belongs, told from trails alone. Pure.

Trails are grouped into flows: the same way in the same place. Along each flow lines are tried across it, as wide
as the flow, or as all flows that are parallel there. A line is good where tracks cross it exactly once, steeply
and at speed, with whole boxes, and where they were tracked before and are tracked on: where the tracker is sure,
and where no queue stands. Sizes of vehicles are the unit of length, since a street far away is small.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_agent.domain.shapes import Line, Point
from edge_agent.domain.trails import Trail, moving

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

MIN_TRAILS = 3
"""Fewer tell nothing."""
_MIN_FLOW = 2
MAX_TRAILS = 160
"""So many are grouped; the work grows with their square."""
_POINTS = 16
_SAME_FLOW_SIZES = 1.2
_TURN_SIZES = 2.0
"""How far apart, in vehicle sizes, opposite directions are taken to be."""
_STATIONS = 20
_TURNS = tuple(np.radians((-40.0, -20.0, 0.0, 20.0, 40.0)).tolist())
_ALMOST_SQUARE = 0.7
_STEEP = 0.7
"""Sine of the angle that a flow meets a line at, to be counted by it."""
_PARALLEL = 0.75
"""Cosine of the angle between flows, to and fro alike, that one line may count."""
_MARGIN_SIZES = 0.75
_GAP_SIZES = 4.0
"""A line spans parallel flows that have no wider gap between them."""
_EDGE_PX = 2.0
_GOOD = 0.3
_WORTH = 0.08
"""A further line must add so large a share of all trails."""
_SNAP_BONUS = 1.12
"""What is level or upright is easier to see through; it wins where it counts as well."""


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A line, and what speaks for it.

    Attributes:
        share: of all moving trails, those that cross it exactly once and well, 0..1.
        n_in, n_out: how many of the trails cross it either way.
        score: mean quality over all moving trails, at most 1.
        why: reasons in words, the strongest first.
    """

    line: Line
    share: float
    n_in: int
    n_out: int
    score: float
    why: tuple[str, ...]


def suggest(trails: Sequence[Trail], size_px: tuple[int, int], *, at_most: int = 4) -> list[Suggestion]:
    """Lines for these trails, the best first; each further one for traffic that those before do not count.

    Args:
        size_px: width and height of the picture.
    """
    some = moving(trails)
    if len(some) < MIN_TRAILS:
        return []
    some = some[:: -(-len(some) // MAX_TRAILS)]
    steps = _Steps.of(some, size_px)
    tried = [_Tried(line, steps.at(line), snapped) for line, snapped in _candidates(some, steps, size_px)]
    return _choose(tried, len(some), at_most)


def _length_sizes(trail: Trail) -> float:
    """How far it went, in its own sizes."""
    spans = np.diff(trail.middles_px, axis=0)
    return float(np.hypot(spans[:, 0], spans[:, 1]).sum() / np.median(trail.sizes_px))


# --- flows -------------------------------------------------------------------------------------------------------


def flows(trails: Sequence[Trail]) -> list[list[int]]:
    """Groups of trails that go the same way in the same place, the largest first, as positions in `trails`.

    A fragment belongs to the flow that it is a part of.
    """
    apart = _distances(trails)
    groups: dict[int, list[int]] = {i: [i] for i in range(len(trails))}
    np.fill_diagonal(apart, np.inf)
    while len(groups) > 1:
        first, second = np.unravel_index(int(np.argmin(apart)), apart.shape)
        i, j = int(min(first, second)), int(max(first, second))
        if apart[i, j] > _SAME_FLOW_SIZES:
            break
        n_i, n_j = len(groups[i]), len(groups[j])
        # Average linkage: the distance to a group is the mean of those to its members.
        merged = (apart[i] * n_i + apart[j] * n_j) / (n_i + n_j)
        merged[i] = np.inf
        apart[i], apart[:, i] = merged, merged
        apart[j], apart[:, j] = np.inf, np.inf
        groups[i] += groups.pop(j)
    return sorted(groups.values(), key=len, reverse=True)


def _distances(trails: Sequence[Trail]) -> Floats:
    """How far each trail is from each other, (n, n), in vehicle sizes: the part of one that is nearer counts."""
    ways = [_resampled(trail.middles_px, _POINTS) for trail in trails]
    points, sizes = np.stack(ways), np.array([np.median(trail.sizes_px) for trail in trails])
    tangents = np.gradient(points, axis=1)
    tangents /= np.maximum(np.hypot(tangents[..., 0], tangents[..., 1]), 1e-9)[..., None]
    directed = np.empty((len(trails), len(trails)))
    for i in range(len(trails)):
        away = np.hypot(*np.moveaxis(points[i][None, :, None] - points[:, None], -1, 0)) / sizes[i]
        nearest = away.argmin(axis=2)
        theirs = np.take_along_axis(tangents, nearest[..., None], axis=1)
        turn = 1.0 - (theirs * tangents[i]).sum(-1)
        directed[i] = (away.min(axis=2) + _TURN_SIZES * turn).mean(axis=1)
    return np.minimum(directed, directed.T)


def _resampled(points: Floats, n: int) -> Floats:
    """`n` points evenly along a way, (n, 2)."""
    spans = np.diff(points, axis=0)
    along = np.concatenate([[0.0], np.cumsum(np.hypot(spans[:, 0], spans[:, 1]))])
    at = np.linspace(0.0, along[-1], n)
    return np.stack([np.interp(at, along, points[:, k]) for k in (0, 1)], axis=1)


# --- steps of trails, and what a line meets ----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Met:
    """How each trail meets a line.

    Attributes:
        quality: (trails,) 0..1 of a trail that crosses once; negative where it crosses badly; 0 where it does not.
        n_times: (trails,) how often it crosses.
        ways: (trails,) +1 in, -1 out, 0 neither.
        whole, speeds, sines: (crossings,) what each crossing is like.
    """

    quality: Floats
    n_times: Ints
    ways: Ints
    whole: NDArray[np.bool_]
    speeds: Floats
    sines: Floats


@dataclass(frozen=True, slots=True)
class _Steps:
    """All steps of all trails, one below the other, each from one sample to the next."""

    n_trails: int
    trail: Ints
    starts: Floats
    spans: Floats
    sizes: Floats
    speeds: Floats
    """In sizes per second."""
    whole: NDArray[np.bool_]
    """Whether neither of its boxes is cut by the picture's edge."""
    room: Floats
    """How far the trail goes before the step and after it, the less of both, in sizes."""

    @staticmethod
    def of(trails: Sequence[Trail], size_px: tuple[int, int]) -> "_Steps":
        parts = [_steps_of(trail, size_px) for trail in trails]
        columns = [np.concatenate(column) for column in zip(*parts, strict=True)]
        numbers = np.repeat(np.arange(len(trails)), [len(part[0]) for part in parts])
        starts, spans, sizes, speeds, whole, room = columns
        return _Steps(len(trails), numbers, starts, spans, sizes, speeds, whole.astype(np.bool_), room)

    def cuts(self, place: Floats, along: Floats) -> tuple[Ints, Floats, Floats]:
        """Steps that cut the endless line through `place`: which, where along it in px, and their angles' sines.

        A sine is positive where the step goes to the right side.
        """
        normal = np.array([-along[1], along[0]])
        before = (self.starts - place) @ normal
        across = self.spans @ normal
        which = np.flatnonzero((before < 0) != (before + across < 0))
        shares = before[which] / -across[which]
        places = ((self.starts[which] + shares[:, None] * self.spans[which]) - place) @ along
        return which, places, across[which] / np.hypot(self.spans[which, 0], self.spans[which, 1])

    def at(self, line: Line) -> _Met:
        """How all trails meet a straight line."""
        first, last = np.asarray(line.points_px[0]), np.asarray(line.points_px[-1])
        length_px = float(np.hypot(*(last - first)))
        which, places, sines = self.cuts(first, (last - first) / length_px)
        inside = (places >= 0) & (places <= length_px)
        which, sines = which[inside], sines[inside]
        trail = self.trail[which]
        n_times = np.bincount(trail, minlength=self.n_trails)
        quality = np.zeros(self.n_trails)
        quality[trail] = self._quality(which, np.abs(sines))
        quality[n_times > 1] = -0.5
        ways = np.zeros(self.n_trails, np.int64)
        np.add.at(ways, trail, np.where(sines > 0, 1, -1))
        return _Met(quality, n_times, ways, self.whole[which], self.speeds[which], np.abs(sines))

    def _quality(self, which: Ints, sines: Floats) -> Floats:
        steep = _ramp(sines, 0.5, 0.85)
        good = steep * _ramp(self.speeds[which], 0.1, 0.6) * _ramp(self.room[which], 0.2, 1.0)
        good *= np.where(self.whole[which], 1.0, 0.35)
        return np.asarray(np.where(steep > 0, good, -0.3))


def _steps_of(trail: Trail, size_px: tuple[int, int]) -> tuple[NDArray[Any], ...]:
    middles, sizes = trail.middles_px, trail.sizes_px
    spans = np.diff(middles, axis=0)
    lengths = np.hypot(spans[:, 0], spans[:, 1]) / sizes[:-1]
    boxes, (width, height) = trail.boxes_px, size_px
    whole = (boxes[:, 0] > _EDGE_PX) & (boxes[:, 1] > _EDGE_PX)
    whole &= (boxes[:, 2] < width - _EDGE_PX) & (boxes[:, 3] < height - _EDGE_PX)
    after = lengths[::-1].cumsum()[::-1]
    moved = lengths > 1e-6
    columns: tuple[NDArray[Any], ...] = (
        middles[:-1], spans, sizes[:-1], lengths / np.maximum(np.diff(trail.times_s), 1e-3),
        whole[:-1] & whole[1:], np.minimum(lengths.cumsum(), after) - 0.5 * lengths,
    )  # fmt: skip
    return tuple(column[moved] for column in columns)


def _ramp(values: Floats, low: float, high: float) -> Floats:
    """0 up to `low`, 1 from `high`, straight between them."""
    return np.asarray(np.clip((values - low) / (high - low), 0.0, 1.0))


# --- candidates --------------------------------------------------------------------------------------------------


def _candidates(trails: Sequence[Trail], steps: _Steps, size_px: tuple[int, int]) -> list[tuple[Line, bool]]:
    """Lines across each flow at many places, and whether each is level or upright."""
    found: list[tuple[Line, bool]] = []
    for group in flows(trails):
        if len(group) < max(_MIN_FLOW, _WORTH * len(trails)):
            break
        for place, way in _stations([trails[i] for i in group]):
            for along, snapped in _directions(way):
                for low, high in _reaches(steps, place, along, way, set(group)):
                    line = _clipped(place, along, low, high, size_px)
                    if line is not None:
                        found.append((line, snapped))
    return found


def _stations(trails: Sequence[Trail]) -> list[tuple[Floats, Floats]]:
    """Places along a flow, and the way that it goes there: along the trail that came farthest."""
    longest = max(trails, key=_length_sizes)
    points = _resampled(longest.middles_px, _STATIONS + 4)
    ways = points[4:] - points[:-4]
    lengths = np.hypot(ways[:, 0], ways[:, 1])
    return [
        (place, way / length)
        for place, way, length in zip(points[2:-2], ways, lengths, strict=True)
        if length > 1e-6
    ]


def _directions(way: Floats) -> list[tuple[Floats, bool]]:
    """Along which a line may lie across a flow: square to it, askew to reach others too, and level or upright.

    A line goes from left to right, or from top to bottom.
    """
    found: list[tuple[Floats, bool]] = []
    for turn in _TURNS:
        along = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]) @ (-way[1], way[0])
        main = 0 if abs(along[0]) >= abs(along[1]) else 1
        found.append((along * np.sign(along[main]), False))
    for straight in np.eye(2):
        if abs(straight @ (-way[1], way[0])) > _ALMOST_SQUARE:
            found.append((straight, True))
    return found


def _reaches(
    steps: _Steps, place: Floats, along: Floats, way: Floats, group: set[int]
) -> list[tuple[float, float]]:
    """From where to where along it a line reaches: over its own flow, and over all that are parallel there.

    Flows that run across each other are not joined: `in` would mean another street for each of them.
    """
    which, places, sines = steps.cuts(place, along)
    ways = steps.spans[which] / np.hypot(steps.spans[which, 0], steps.spans[which, 1])[:, None]
    joined = (np.abs(sines) > _STEEP) & (np.abs(ways @ way) > _PARALLEL)
    which, places = which[joined], places[joined]
    own = np.isin(steps.trail[which], list(group))
    if own.sum() < _MIN_FLOW:
        return []
    margin_px = _MARGIN_SIZES * float(np.median(steps.sizes[which]))
    low, high = np.quantile(places[own], [0.02, 0.98])
    reaches = [(low - margin_px, high + margin_px)]
    # On to the next parallel flow, and from there to the next.
    step_px = _GAP_SIZES / _MARGIN_SIZES * margin_px
    for other in np.sort(places[places > high]):
        high = other if other - high <= step_px else high
    for other in np.sort(places[places < low])[::-1]:
        low = other if low - other <= step_px else low
    reaches.append((low - margin_px, high + margin_px))
    return [(float(a), float(b)) for a, b in reaches]


def _clipped(place: Floats, along: Floats, low: float, high: float, size_px: tuple[int, int]) -> Line | None:
    """The line, cut at the picture's edge; None if nothing is left."""
    for k in (0, 1):
        if abs(along[k]) > 1e-9:
            ends = sorted(((0.0 - place[k]) / along[k], (size_px[k] - place[k]) / along[k]))
            low, high = max(low, ends[0]), min(high, ends[1])
    if high - low < 4.0:
        return None
    # Whole pixels, for people read them.
    ends_px: list[Point] = [
        (float(round(x)), float(round(y))) for x, y in (place + low * along, place + high * along)
    ]
    return Line("suggested", (ends_px[0], ends_px[1]))


# --- the choice --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Tried:
    line: Line
    met: _Met
    snapped: bool

    @property
    def length_px(self) -> float:
        return math.dist(*self.line.points_px)

    def gain(self, counted: Floats) -> float:
        """What it adds to trails that are counted with the qualities `counted` already."""
        better = np.maximum(self.met.quality - counted, 0.0).sum()
        worse = np.minimum(self.met.quality, 0.0).sum()
        return float(better + worse) * (_SNAP_BONUS if self.snapped else 1.0)


def _choose(tried: Sequence[_Tried], n_trails: int, at_most: int) -> list[Suggestion]:
    """The best line, then the one that adds most to it, and so on."""
    counted = np.zeros(n_trails)
    chosen: list[Suggestion] = []
    while tried and len(chosen) < at_most:
        # Of lines that are as good, the longest: what strays from the flow is counted too.
        best = max(tried, key=lambda one: (round(one.gain(counted), 2), one.length_px))
        if best.gain(counted) < max(_WORTH * n_trails, 1.0):
            break
        chosen.append(_told(best, counted, len(chosen) + 1))
        counted = np.maximum(counted, best.met.quality)
    return chosen


def _told(tried: _Tried, counted: Floats, number: int) -> Suggestion:
    met, n_trails = tried.met, len(counted)
    once = (met.n_times == 1) & (met.quality >= _GOOD)
    often = int((met.n_times > 1).sum())
    n_in, n_out = (int((once & (met.ways == way)).sum()) for way in (1, -1))
    why = [
        f"{int(once.sum())} of {n_trails} moving tracks cross it exactly once: {n_in} in, {n_out} out",
        f"{met.whole.mean():.0%} of the boxes are whole there",
        f"they move there: {float(np.median(met.speeds)):.1f} of their own sizes a second",
        f"crossed at about {float(np.degrees(np.arcsin(np.median(np.minimum(met.sines, 1.0))))):.0f} degrees",
    ]
    if number > 1:
        why.append(f"{int((once & (counted < _GOOD)).sum())} of them are counted by no line above")
    if often:
        why.append(f"but {often} cross it more than once")
    return Suggestion(
        Line(f"suggested {number}", tried.line.points_px),
        round(float(once.mean()), 3), n_in, n_out, round(float(np.mean(met.quality)), 3), tuple(why),
    )  # fmt: skip
