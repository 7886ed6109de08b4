"""How fast what crosses a line goes, and how long it is, on a ground that is calibrated.

Each track leaves places on the ground: where its boxes end below, and for a camera that looks down steeply, where
they end on each side. The boxes are those that were detected and not the tracker's: it smooths, and what comes
into the picture bit by bit seems slow to it for a while. A side counts only where the whole of it is seen.

The speed at a moment is the slope of a straight way through the places around that moment: the median over all
pairs of them, so that a box that jumps now and then does not matter. What is not known well enough is None and not
a guess: too few places, none near the moment, none where the calibration covers, or places that make no way.

A length is what the box covers of the ground along the way. A camera that does not look down steeply sees the
height of a vehicle in it, and tells none. One that does still sees the roof nearer than the ground is: lengths,
and speeds too, come out too large by up to the vehicle's height over the camera's height above it.
"""

from collections import deque

import numpy as np
from numpy.typing import NDArray

from edge_agent.domain.calibration import Calibration
from edge_agent.domain.frames import Detections
from edge_agent.domain.reference import EDGE_PX, hidden_below
from edge_agent.domain.timeline import Timeline
from edge_agent.domain.tracking import Tracks

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

_KEPT_S = 4.0
"""Crossings are told late, by up to so much less `_BEFORE_S`."""
_BEFORE_S, _AFTER_S = 1.0, 0.6
"""The stretch of a track around a crossing that tells its speed."""
_NEAR_S = 0.5
"""The places must come as near as this to the moment of the crossing."""
_LEAST_SPAN_S = 0.15
_LEAST_PLACES = 3
_SHORT_PAIR, _LONG_PAIR = 0.15, 0.45
"""Pairs of places closer in time than the first share of the stretch tell of jitter more than of speed."""
_MANY = 12
"""With as many places, pairs further apart than the second share are left out: if a detector sees more of a
vehicle from some moment on, nearly all of those hold that jump."""
_SLOWEST_MPS = 0.5
"""Who goes more slowly has no way that tells which of his sides is his front."""
_STRAIGHT = 0.97
"""Least cosine of the angle between a way and the picture's rows or columns for a length to be told."""
_FASTEST_MPS = 90.0
"""Nothing on a street goes faster: two vehicles were taken for one."""
_MOST_SCATTER = 0.35
"""Places that lie further from the way than this share of its length, by their median, make no way."""
_JITTER_M = 0.5
"""Nor must a vehicle that creeps jitter by more than this."""
_SAME_BOX = 0.3
"""A track's box and the one that was detected share so much of their union, if they are one."""

_BOTTOM, _TOP, _LEFT, _RIGHT = range(4)
_SIDES = 4


class SpeedMeter:
    """Remembers where tracks were on the ground for some seconds. Pure: time is an argument."""

    def __init__(self, calibration: Calibration, frame_size_px: tuple[int, int]) -> None:
        """`frame_size_px`: width, height."""
        self._calibration = calibration
        self._frame_size_px = frame_size_px
        self._timeline = Timeline()
        self._places: dict[int, deque[Floats]] = {}
        """By track: (1 + 2 * sides,) when, and where each side was in metres; NaN: it was not seen there."""

    def update(self, tracks: Tracks, detections: Detections, t_s: float) -> None:
        """Note where everything is; `detections` are those that the tracks were made of in this frame.

        Raises:
            ValueError: `t_s` is not finite.
        """
        step = self._timeline.advance(t_s)
        if step.restarted:
            self._places.clear()
        if len(detections) and len(tracks):
            self._note(tracks, np.asarray(detections.boxes_px, np.float64), step.now_s)
        ended = [one for one, places in self._places.items() if places[-1][0] < step.now_s - _KEPT_S]
        for one in ended:
            del self._places[one]

    def speed_mps(self, track: int, at_s: float) -> float | None:
        """How fast a track went over the ground at a moment of late; None: it is not known."""
        way = self._way_mps(self._near(track, at_s), at_s)
        return None if way is None else float(np.hypot(*way))

    def length_m(self, track: int, at_s: float) -> float | None:
        """How long what a track shows is, along its way; None: it is not known.

        That needs a camera that looks down steeply, and a way along the picture's rows or columns: boxes are
        upright, and what drives askew fills its box from corner to corner.
        """
        if not self._calibration.steep:
            return None
        near = self._near(track, at_s)
        way = self._way_mps(near, at_s)
        if way is None or np.hypot(*way) < _SLOWEST_MPS:
            return None
        whole = near[~np.isnan(near).any(axis=1)]
        if len(whole) < _LEAST_PLACES:
            return None
        sides = whole[:, 1:].reshape(-1, _SIDES, 2)
        ahead = way / np.hypot(*way)
        for one, other in ((_BOTTOM, _TOP), (_LEFT, _RIGHT)):
            spans = sides[:, one] - sides[:, other]
            along, lengths = np.abs(spans @ ahead), np.hypot(*spans.T)
            if np.median(along / np.maximum(lengths, 1e-9)) >= _STRAIGHT:
                return float(np.median(along))
        return None

    def _near(self, track: int, at_s: float) -> Floats:
        """(n, 1 + 2 * sides) the places of a track around a moment."""
        near = [one for one in self._places.get(track, ()) if at_s - _BEFORE_S <= one[0] <= at_s + _AFTER_S]
        return np.asarray(near).reshape(-1, 1 + 2 * _SIDES)

    @staticmethod
    def _way_mps(places: Floats, at_s: float) -> Floats | None:
        """(2,) the velocity, as the sides that tell one agree on."""
        ways = [_velocity(places[:, [0, 1 + 2 * side, 2 + 2 * side]], at_s) for side in range(_SIDES)]
        known = [way for way in ways if way is not None]
        return np.mean(known, axis=0) if known else None

    def _note(self, tracks: Tracks, boxes_px: Floats, now_s: float) -> None:
        rows = np.flatnonzero(tracks.seen)
        overlaps = _overlaps(tracks.boxes_px[rows], boxes_px)
        found = overlaps.argmax(axis=1)
        own = overlaps[np.arange(len(rows)), found] >= _SAME_BOX
        hidden = hidden_below(tracks.boxes_px, tracks.seen)[rows]
        places_m = self._calibration.ground_m(_sides_px(boxes_px[found]))
        places_m[~(self._whole(boxes_px[found], hidden) & own[:, None])] = np.nan
        for row, places in zip(rows[own], places_m[own], strict=True):
            if np.isnan(places).all():
                continue
            kept = self._places.setdefault(int(tracks.ids[row]), deque())
            kept.append(np.append(now_s, places))
            while kept[0][0] < now_s - _KEPT_S:
                kept.popleft()

    def _whole(self, boxes_px: Floats, hidden: Mask) -> Mask:
        """(n, sides) which sides are seen as long as they are: neither they nor their neighbours are cut."""
        width, height = self._frame_size_px
        x1, y1, x2, y2 = boxes_px.T
        left, top = x1 > EDGE_PX, y1 > EDGE_PX
        right, bottom = x2 < width - EDGE_PX, (y2 < height - EDGE_PX) & ~hidden
        whole = np.empty((len(boxes_px), _SIDES), np.bool_)
        whole[:, _BOTTOM] = bottom & left & right
        whole[:, _TOP] = top & left & right
        whole[:, _LEFT] = left & top & bottom
        whole[:, _RIGHT] = right & top & bottom
        if not self._calibration.steep:
            whole[:, _BOTTOM + 1 :] = False
        return whole


def _sides_px(boxes_px: Floats) -> Floats:
    """(n, sides, 2) the middle of each side of (n, 4)."""
    x1, y1, x2, y2 = boxes_px.T
    x, y = (x1 + x2) * 0.5, (y1 + y2) * 0.5
    return np.stack([np.stack(side, axis=1) for side in ((x, y2), (x, y1), (x1, y), (x2, y))], axis=1)


def _overlaps(a: Floats, b: Floats) -> Floats:
    """(n, m) shares of unions."""
    corner = np.minimum(a[:, None, 2:], b[:, 2:]) - np.maximum(a[:, None, :2], b[:, :2])
    shared = np.prod(np.maximum(corner, 0.0), axis=2)
    areas = [np.prod(boxes[:, 2:] - boxes[:, :2], axis=1) for boxes in (a, b)]
    return np.asarray(shared / np.maximum(areas[0][:, None] + areas[1] - shared, 1e-9))


def _velocity(places: Floats, at_s: float) -> Floats | None:
    """(2,) metres per second of a way through places, (n, 3) as time, x, y; None: they make no way."""
    places = places[~np.isnan(places[:, 1])]
    if len(places) < _LEAST_PLACES or np.abs(places[:, 0] - at_s).min() > _NEAR_S:
        return None
    span_s = float(places[-1, 0] - places[0, 0])
    if span_s < _LEAST_SPAN_S:
        return None
    first, second = np.triu_indices(len(places), 1)
    apart = places[second] - places[first]
    shares = apart[:, 0] / span_s
    good = (shares >= _SHORT_PAIR) & (shares <= (_LONG_PAIR if len(places) >= _MANY else 1.0))
    velocity: Floats = np.median(apart[good, 1:] / apart[good, :1], axis=0)
    speed = float(np.hypot(*velocity))
    offsets = places[:, 1:] - places[:, :1] * velocity
    scatter_m = float(np.median(np.hypot(*(offsets - np.median(offsets, axis=0)).T)))
    if speed > _FASTEST_MPS or scatter_m > max(_MOST_SCATTER * speed * span_s, _JITTER_M):
        return None
    return velocity
