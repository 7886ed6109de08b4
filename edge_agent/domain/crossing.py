"""Crossings: when a track goes over a line, and which way.

The rule. Each track has, for each line, a reference point (see `reference`) and a signed distance from the line.
Within a dead zone around the line, a share of the box's height, the distance says nothing. A track that was
confirmed on one side and is found beyond the dead zone on the other for some time has changed sides; if the middle
of its box moved that way too, and its path cut the line between its ends, that is a crossing, at the time at which
the path cut it. It can be counted again only after it changed sides again, and to come back it must pass a wider
dead zone. So jitter of a box that stands on the line counts nothing, and a U-turn counts once each way.

Tracks break, most often where it hurts. A track that begins where another one must be by now goes on with its
state (see `handover`); one that begins just past a line and moves away from it came over it unseen, and is counted
as inferred, unless another track was counted there for it.
"""

import math
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from common.codes import Direction
from edge_agent.domain.geometry import path_cut
from edge_agent.domain.handover import Departed, Departures, HandoverParams
from edge_agent.domain.line_set import LineSet
from edge_agent.domain.lineage import Lineage
from edge_agent.domain.reference import ReferencePoints
from edge_agent.domain.shapes import Anchor, Line, Point, check_names
from edge_agent.domain.timeline import Step, Timeline
from edge_agent.domain.tracking import Tracks

_STEEP = 0.25
"""Least sine of the angle between a way and a line for the way to be prolonged as far as the line."""
_MOST_LINEAGE = 2000
"""So many tracks that went on for others are remembered before it is looked which of them still matter."""

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Crossing:
    """One vehicle or person went over a line.

    Attributes:
        t_s: when, interpolated between frames; a little before the update that reports it.
        cls, confidence: as voted by then.
        track: the track's id.
        inferred: the crossing itself was not seen: the track was first seen just past the line, or it was seen
            before the line under another id.
        first_track: the first track of the same vehicle, where that is known to have had another before.
        speed_mps: how fast it went, where the camera is calibrated there and the track was seen long enough.
        length_m: how long it is, where the camera looks down steeply besides.
    """

    line: str
    t_s: float
    direction: Direction
    cls: str
    confidence: float
    track: int
    inferred: bool
    first_track: int | None = None
    speed_mps: float | None = None
    length_m: float | None = None

    @property
    def vehicle(self) -> int:
        """What all crossings of one vehicle have in common, also where its track broke and went on as another."""
        return self.track if self.first_track is None else self.first_track


@dataclass(frozen=True, slots=True)
class CrossingParams:
    """The rule's figures.

    Attributes:
        dead_zone: half of the dead zone's width, as a share of the box's height.
        rearm: how many times wider it is for a track that stands, and for one that was just counted and would
            come back.
        confirm_s: how long a track must be found on the other side.
        gone_s: a track that was found there, or was past the line and moving on, and is not seen for this long has
            gone on.
        slack: how much longer than drawn a line is taken to be at either end, as a share of the box's larger side.
        infer_s: a track that begins past a line crossed it unseen, if it did so within this time before.
        infer_speed: and if it moves away from it with this many box heights per second or more.
        double_s: two tracks that cross the same way within this time are one vehicle if they do so in one place,
            `double_reach` box sizes apart or less, or if their boxes share `double_share` of the smaller one.
        unmeasured_s: a longer pause between updates was not measured: nothing is inferred from it.
    """

    dead_zone: float = 0.08
    rearm: float = 2.5
    confirm_s: float = 0.15
    gone_s: float = 0.6
    slack: float = 0.25
    infer_s: float = 0.4
    infer_speed: float = 0.3
    double_s: float = 0.5
    double_reach: float = 0.4
    double_share: float = 0.6
    unmeasured_s: float = 1.0
    handover: HandoverParams = field(default_factory=HandoverParams)


# Planes of the facts, (planes, lines, tracks).
_SIDE = 0
"""Side last confirmed: -1, 1; 0: not known."""
_DISTANCE = 1
"""Signed distance when last seen."""
_BORN = 2
"""Signed distance when first seen."""
_MIDDLE = 3
"""Signed distance of the box's middle when it was last on the confirmed side."""
_WAITS = 4
"""Since when it has been found on the other side; NaN: it has not."""
_CUT = 5
"""When the path last went from one side to the other; NaN: it never did."""
_VALID = 6
"""1: that cut was between the line's ends."""
_COUNTED = 7
"""Side that it was last counted to; 0: never counted."""
_GUESSED = 8
"""1: that cut was not seen, but lies between the last place under one id and the first under another."""
_ORIGIN = 9
"""1: it is still to be settled whether it came over the line before it was first seen."""
_REACH = 10
"""How far the box reached from its middle across the line when it was last on the confirmed side."""
_PLANES = 11


@dataclass(slots=True)
class _Rows:
    """What is known of each track, in the order of ids."""

    ids: NDArray[np.int64]
    facts: Floats
    points_px: Floats
    """(lines, n, 2) when last seen; born_points_px when first seen."""
    born_points_px: Floats
    boxes_px: Floats
    born_boxes_px: Floats
    velocities_px_s: Floats
    seen_s: Floats
    standing: Mask
    arrived: Mask
    """Confirmed, and asked whether it continues another track."""

    @staticmethod
    def none(n_lines: int) -> "_Rows":
        return _Rows.new(np.zeros(0, np.int64), n_lines)

    @staticmethod
    def new(ids: NDArray[np.int64], n_lines: int) -> "_Rows":
        n = len(ids)
        facts = np.zeros((_PLANES, n_lines, n))
        facts[[_DISTANCE, _BORN, _MIDDLE, _WAITS, _CUT, _REACH]] = np.nan
        points = np.full((n_lines, n, 2), np.nan)
        boxes = np.full((n, 4), np.nan)
        return _Rows(
            ids, facts, points, points.copy(), boxes, boxes.copy(), boxes.copy(), np.full(n, np.nan),
            np.zeros(n, np.bool_), np.zeros(n, np.bool_),
        )  # fmt: skip

    def kept(self, keep: NDArray[np.intp], new: "_Rows") -> "_Rows":
        """These rows, and new ones after them."""
        return _Rows(
            np.concatenate([self.ids[keep], new.ids]),
            np.concatenate([self.facts[:, :, keep], new.facts], axis=2),
            np.concatenate([self.points_px[:, keep], new.points_px], axis=1),
            np.concatenate([self.born_points_px[:, keep], new.born_points_px], axis=1),
            np.concatenate([self.boxes_px[keep], new.boxes_px]),
            np.concatenate([self.born_boxes_px[keep], new.born_boxes_px]),
            np.concatenate([self.velocities_px_s[keep], new.velocities_px_s]),
            np.concatenate([self.seen_s[keep], new.seen_s]),
            np.concatenate([self.standing[keep], new.standing]),
            np.concatenate([self.arrived[keep], new.arrived]),
        )

    def departed(self, row: int) -> Departed:
        return Departed(
            track=int(self.ids[row]),
            seen_s=float(self.seen_s[row]),
            box_px=self.boxes_px[row].copy(),
            velocity_px_s=self.velocities_px_s[row].copy(),
            standing=bool(self.standing[row]),
            facts=self.facts[:, :, row].copy(),
            points_px=self.points_px[:, row].copy(),
        )


@dataclass(frozen=True, slots=True)
class _Counted:
    """A crossing that was counted of late, for the guard against doubles."""

    line: int
    side: int
    t_s: float
    track: int
    box_px: Floats
    point_px: Floats


@dataclass(frozen=True, slots=True)
class _View:
    """One update, as the counter sees it; (lines, n) unless said otherwise."""

    step: Step
    tracks: Tracks
    points_px: Floats
    """(lines, n, 2)."""
    feet_px: Floats
    """(n, 2): where each vehicle stands."""
    distances: Floats
    middles: Floats
    """Distances of the boxes' middles."""
    reaches: Floats
    """How far each box reaches from its middle, across each line."""
    dead: Floats
    """(2, lines, n): width of the dead zone on the negative and the positive side."""
    zones: Floats
    """-1, 0, 1: beyond the dead zone on the negative side, within it, beyond it on the positive side."""


class CrossingCounter:
    """Counts crossings of lines. Pure: time is an argument."""

    def __init__(
        self, lines: Sequence[Line], frame_size_px: tuple[int, int], params: CrossingParams | None = None
    ) -> None:
        """`frame_size_px`: width, height.

        Raises:
            ValueError: two lines have one name.
        """
        check_names(lines)
        self._lines = LineSet(lines, frame_size_px)
        self._n_lines = len(lines)
        self._params = params or CrossingParams()
        self._references = ReferencePoints(frame_size_px)
        self._timeline = Timeline()
        self._since_s = 0.0
        self._rows = _Rows.none(self._n_lines)
        self._departures = Departures(self._params.handover)
        self._lineage = Lineage()
        self._recent: deque[_Counted] = deque(maxlen=256)
        self._tracks: Tracks | None = None

    def update(self, tracks: Tracks, t_s: float) -> list[Crossing]:
        """Crossings that this update confirmed, each reported once.

        Raises:
            ValueError: `t_s` is not finite.
        """
        step = self._timeline.advance(t_s)
        if step.restarted:
            self._forget_all()
        if step.restarted or step.dt_s > self._params.unmeasured_s:
            self._since_s = step.now_s
        if not self._n_lines:
            return []
        self._align(tracks, step)
        self._tracks = tracks
        if not len(tracks):
            return []
        view = self._view(tracks, step)
        self._note_births(view)
        self._note_cuts(view)
        self._welcome(view)
        crossings = self._changes_of_side(view)
        crossings += self._unseen_origins(view)
        self._remember_seen(view)
        return crossings

    def finish(self, t_s: float) -> list[Crossing]:
        """The source is over: crossings that were seen and still waited to be confirmed."""
        tracks = self._tracks
        if tracks is None or not self._n_lines or not len(tracks):
            return []
        step = self._timeline.advance(t_s)
        facts = self._rows.facts
        waits = ~np.isnan(facts[_WAITS]) & (facts[_DISTANCE] * facts[_SIDE] < 0) & tracks.confirmed
        return self._accept(waits, -facts[_SIDE], self._view(tracks, step))

    def _forget_all(self) -> None:
        self._rows = _Rows.none(self._n_lines)
        self._references.forget()
        self._departures = Departures(self._params.handover)
        self._lineage.forget()
        self._recent.clear()

    def _align(self, tracks: Tracks, step: Step) -> None:
        """Make the rows those of `tracks`; remember the tracks that ended."""
        rows = self._rows
        if len(rows.ids) == len(tracks.ids) and np.array_equal(rows.ids, tracks.ids):
            return
        lives = np.isin(rows.ids, tracks.ids)
        for row in np.flatnonzero(~lives):
            if not math.isnan(rows.seen_s[row]):
                self._departures.add(rows.departed(int(row)))
        self._departures.forget_old(step.now_s)
        keep = np.flatnonzero(lives)
        new = tracks.ids[~np.isin(tracks.ids, rows.ids)]
        self._rows = rows.kept(keep, _Rows.new(new, self._n_lines))
        self._references.align(keep, len(new))
        if len(self._lineage) > _MOST_LINEAGE:
            self._lineage.forget((*self._rows.ids.tolist(), *(one.track for one in self._departures)))

    def _view(self, tracks: Tracks, step: Step) -> _View:
        bodies = self._references.bodies(tracks, step.now_s)
        points = self._lines.pick(bodies.points_px)
        distances = self._lines.distances_px(points)
        middles = self._lines.distances_px(bodies.middles_px[None])
        reaches = self._lines.reaches_px(bodies.boxes_px)
        heights = tracks.boxes_px[:, 3] - tracks.boxes_px[:, 1]
        width = np.maximum(self._params.dead_zone * heights, 1.0)
        np.multiply(width, self._params.rearm, out=width, where=tracks.standing)
        counted = self._rows.facts[_COUNTED]
        dead = np.empty((2, *distances.shape))
        dead[:] = width
        if counted.any():
            # A track counted to one side passes a wider zone when it comes back to the other.
            rearmed = width * self._params.rearm
            np.copyto(dead[0], rearmed, where=counted > 0)
            np.copyto(dead[1], rearmed, where=counted < 0)
        np.minimum(dead, 0.5 * self._lines.room_px, out=dead)
        zones = (distances > dead[1]).astype(np.float64) - (distances < -dead[0])
        return _View(
            step, tracks, points, bodies.points_px[Anchor.BOTTOM], distances, middles, reaches, dead, zones
        )

    def _note_births(self, view: _View) -> None:
        rows = self._rows
        new = np.isnan(rows.seen_s)
        if not new.any():
            return
        rows.facts[_BORN][:, new] = view.distances[:, new]
        rows.facts[_DISTANCE][:, new] = view.distances[:, new]
        rows.facts[_MIDDLE][:, new] = view.middles[:, new]
        rows.facts[_REACH][:, new] = view.reaches[:, new]
        rows.points_px[:, new] = view.points_px[:, new]
        rows.born_points_px[:, new] = view.points_px[:, new]
        rows.born_boxes_px[new] = view.tracks.boxes_px[new]
        rows.seen_s[new] = view.step.now_s

    def _note_cuts(self, view: _View) -> None:
        """Where the path went from one side of a line to the other since it was last seen."""
        facts = self._rows.facts
        changed = ((view.distances < 0) != (facts[_DISTANCE] < 0)) & view.tracks.seen
        if not changed.any():
            return
        for line, row in np.argwhere(changed):
            self._note_cut(
                view, line, row, self._rows.points_px[line, row], self._rows.seen_s[row],
                view.points_px[line, row], view.step.now_s,
            )  # fmt: skip

    def _note_cut(
        self, view: _View, line: int, row: int, start_px: Floats, start_s: float, end_px: Floats, end_s: float
    ) -> None:
        """The path of `row` went over a line or its extension, from one point and moment to another."""
        facts = self._rows.facts[:, line, row]
        share = path_cut(self._lines.lines[line], _point(start_px), _point(end_px), slack_px=math.inf)
        facts[_CUT] = start_s + (0.5 if share is None else share) * (end_s - start_s)
        facts[_VALID] = self._cuts(view, line, row, _point(start_px), _point(end_px))
        facts[_GUESSED] = 0.0

    def _cuts(self, view: _View, line: int, row: int, start_px: Point, end_px: Point) -> bool:
        """Whether the vehicle of `row`, whose reference point went so, passed between the line's ends.

        The ends lie on the ground. So what must pass between them is the point where the vehicle stands, which
        comes to the line earlier or later than the middle of its box: its way is taken as straight till then.
        """
        box, velocity = view.tracks.boxes_px[row], view.tracks.velocities_px_s[row]
        height_px = float(box[3] - box[1])
        shape, slack_px = self._lines.lines[line], self._params.slack * max(height_px, float(box[2] - box[0]))
        if shape.anchor is Anchor.AUTO:
            way_px = (float(velocity[0] + velocity[2]) * 0.5, float(velocity[1] + velocity[3]) * 0.5)
            across = self._lines.across(line, way_px)
            if abs(across) > _STEEP * math.hypot(*way_px):
                foot_px = _point(view.feet_px[row])
                reach = 2.0 * (height_px + abs(float(view.distances[line, row]))) / abs(across)
                start_px = (foot_px[0] - reach * way_px[0], foot_px[1] - reach * way_px[1])
                end_px = (foot_px[0] + reach * way_px[0], foot_px[1] + reach * way_px[1])
        return path_cut(shape, start_px, end_px, slack_px=slack_px) is not None

    def _welcome(self, view: _View) -> None:
        """Tracks that were just confirmed: do they continue another one, or where did they come from?"""
        rows, tracks = self._rows, view.tracks
        due = tracks.confirmed & ~rows.arrived
        if not due.any():
            return
        rows.arrived |= due
        for row in np.flatnonzero(due):
            born_s = float(tracks.born_s[row])
            unseen = [
                rows.departed(int(i))
                for i in np.flatnonzero(~tracks.seen & (rows.seen_s < born_s) & (rows.ids != tracks.ids[row]))
            ]
            donor = self._departures.take(rows.born_boxes_px[row], tracks.velocities_px_s[row], born_s, unseen)
            if donor is not None:
                self._hand_over(donor, int(row), view)
            elif born_s > self._since_s:
                rows.facts[_ORIGIN][:, row] = 1.0

    def _hand_over(self, donor: Departed, row: int, view: _View) -> None:
        """Let the track of `row` go on with what was known of `donor`."""
        rows = self._rows
        self._lineage.go_on(int(rows.ids[row]), after=donor.track)
        facts = rows.facts[:, :, row]
        knows = donor.facts[_SIDE] != 0
        for plane in (_SIDE, _COUNTED, _MIDDLE, _REACH):
            facts[plane] = np.where(knows, donor.facts[plane], facts[plane])
        born_s = float(view.tracks.born_s[row])
        unseen_cut = ((donor.facts[_DISTANCE] < 0) != (facts[_BORN] < 0)) & np.isnan(facts[_CUT])
        for line in np.flatnonzero(unseen_cut):
            self._note_cut(
                view, int(line), row, donor.points_px[line], donor.seen_s, rows.born_points_px[line, row], born_s
            )
            facts[_GUESSED, line] = 1.0
        # A donor that had cut the line already, and was not counted for it yet.
        inherits_cut = np.isnan(facts[_CUT])
        for plane in (_CUT, _VALID, _GUESSED):
            facts[plane] = np.where(inherits_cut, donor.facts[plane], facts[plane])
        facts[_WAITS] = donor.facts[_WAITS]
        facts[_ORIGIN] = donor.facts[_ORIGIN]
        gone = np.flatnonzero(rows.ids == donor.track)
        rows.facts[_SIDE][:, gone] = 0.0
        rows.facts[_WAITS][:, gone] = np.nan
        rows.facts[_ORIGIN][:, gone] = 0.0

    def _changes_of_side(self, view: _View) -> list[Crossing]:
        facts, seen = self._rows.facts, view.tracks.seen
        side, zones = facts[_SIDE], view.zones
        known = side != 0
        first = seen & ~known & (zones != 0)
        settled = first | (seen & known & (zones == side))
        facts[_WAITS][seen & (view.distances * side > 0)] = np.nan
        np.copyto(side, zones, where=first)
        np.copyto(facts[_MIDDLE], view.middles, where=settled)
        np.copyto(facts[_REACH], view.reaches, where=settled)
        other = seen & known & (zones == -side)
        waits = facts[_WAITS]
        np.copyto(waits, view.step.now_s, where=other & np.isnan(waits))
        due = other & (view.step.now_s - waits >= self._params.confirm_s)
        # Seen on the other side, and gone before that could be confirmed: it went on.
        unseen_s = view.step.now_s - self._rows.seen_s
        past = ~seen & (unseen_s >= self._params.gone_s) & (facts[_DISTANCE] * side < 0)
        due |= past & (~np.isnan(waits) | (zones == -side))
        due &= view.tracks.confirmed
        return self._accept(due, -side, view) if due.any() else []

    def _accept(self, due: Mask, to_side: Floats, view: _View) -> list[Crossing]:
        """Those of `due` whose boxes moved as a whole.

        Where something comes to hide a vehicle that stands, its box shrinks from there, and its middle moves; but
        its other end does not.
        """
        facts = self._rows.facts
        moved = to_side * (view.middles - facts[_MIDDLE])
        moved += np.minimum(view.reaches - facts[_REACH], 0.0)
        enough = 0.5 * np.minimum(view.dead[0], view.dead[1])
        went = due & (moved > enough)
        counts = went & (facts[_VALID] > 0)
        accepted = [(int(line), int(row)) for line, row in np.argwhere(counts)]
        facts[_SIDE][went] = to_side[went]
        facts[_MIDDLE][went] = view.middles[went]
        facts[_REACH][went] = view.reaches[went]
        facts[_WAITS][went] = np.nan
        facts[_ORIGIN][went] = 0.0
        return list(self._emit(accepted, view))

    def _emit(self, accepted: Iterable[tuple[int, int]], view: _View) -> Iterable[Crossing]:
        facts = self._rows.facts
        for line, row in accepted:
            facts[_COUNTED, line, row] = facts[_SIDE, line, row]
            t_s = float(facts[_CUT, line, row])
            velocity = view.tracks.velocities_px_s[row]
            way_px = (velocity[:2] + velocity[2:]) * (0.5 * (view.step.now_s - t_s))
            counted = self._counted(line, row, t_s, view.points_px[line, row] - way_px, view)
            if not self._is_double(counted, view):
                yield self._crossing(counted, view, row, inferred=bool(facts[_GUESSED, line, row]))

    def _counted(self, line: int, row: int, t_s: float, point_px: Floats, view: _View) -> _Counted:
        tracks, side = view.tracks, int(self._rows.facts[_SIDE, line, row])
        return _Counted(line, side, t_s, int(tracks.ids[row]), tracks.boxes_px[row], point_px)

    def _crossing(self, counted: _Counted, view: _View, row: int, *, inferred: bool) -> Crossing:
        self._recent.append(counted)
        tracks = view.tracks
        return Crossing(
            line=self._lines.lines[counted.line].name,
            t_s=counted.t_s,
            direction=Direction.IN if counted.side > 0 else Direction.OUT,
            cls=tracks.class_names[int(tracks.class_ids[row])],
            confidence=min(1.0, float(tracks.confidences[row])),
            track=counted.track,
            inferred=inferred,
            first_track=self._lineage.first(counted.track),
        )

    def _is_double(self, new: _Counted, view: _View) -> bool:
        """Whether another track of the same vehicle was counted for this crossing already."""
        params = self._params
        for old in self._recent:
            apart_s = abs(old.t_s - new.t_s)
            if (old.line, old.side) != (new.line, new.side) or old.track == new.track or apart_s > params.double_s:
                continue
            reach_px = params.double_reach * min(_size_px(old.box_px), _size_px(new.box_px))
            if math.dist(old.point_px, new.point_px) <= reach_px:
                return True
            row = int(np.searchsorted(view.tracks.ids, old.track))
            lives = row < len(view.tracks) and view.tracks.ids[row] == old.track
            box = view.tracks.boxes_px[row] if lives else old.box_px
            if _share_of_smaller(box, new.box_px) > params.double_share:
                return True
        return False

    def _unseen_origins(self, view: _View) -> list[Crossing]:
        """Tracks that were first seen past a line, or on it, and came over it before."""
        facts = self._rows.facts
        if not facts[_ORIGIN].any():
            return []
        side = facts[_SIDE]
        open_ = (facts[_ORIGIN] > 0) & view.tracks.seen & (side != 0) & (view.zones == side)
        if not open_.any():
            return []
        facts[_ORIGIN][open_] = 0.0
        heights = view.tracks.boxes_px[:, 3] - view.tracks.boxes_px[:, 1]
        since_s = np.maximum(view.step.now_s - view.tracks.born_s, 1e-3)
        born = side * facts[_BORN]
        speed = side * (view.distances - facts[_BORN]) / since_s
        before_s = born / np.maximum(speed, 1e-9)
        came = open_ & (speed >= self._params.infer_speed * heights)
        came &= (before_s <= self._params.infer_s) & (before_s >= -since_s)
        came &= view.tracks.born_s - before_s > self._since_s
        result = []
        for line, row in np.argwhere(came):
            crossing = self._infer(int(line), int(row), float(before_s[line, row]), view)
            if crossing is not None:
                result.append(crossing)
        return result

    def _infer(self, line: int, row: int, before_s: float, view: _View) -> Crossing | None:
        """The crossing of a track that was first seen `before_s` after it, if its way back cuts the line."""
        rows, tracks = self._rows, view.tracks
        now_px, born_px = view.points_px[line, row], rows.born_points_px[line, row]
        since_s = max(view.step.now_s - float(tracks.born_s[row]), 1e-3)
        back_px = born_px - (now_px - born_px) / since_s * (max(before_s, 0.0) + 0.1)
        if not self._cuts(view, line, row, _point(back_px), _point(now_px)):
            return None
        t_s = float(tracks.born_s[row]) - before_s
        point_px = born_px - (now_px - born_px) / since_s * before_s
        rows.facts[_COUNTED, line, row] = rows.facts[_SIDE, line, row]
        new = self._counted(line, row, t_s, point_px, view)
        if self._is_double(new, view):
            return None
        return self._crossing(new, view, row, inferred=before_s > 0)

    def _remember_seen(self, view: _View) -> None:
        rows, seen = self._rows, view.tracks.seen
        np.copyto(rows.facts[_DISTANCE], view.distances, where=seen)
        np.copyto(rows.points_px, view.points_px, where=seen[:, None])
        np.copyto(rows.boxes_px, view.tracks.boxes_px, where=seen[:, None])
        np.copyto(rows.velocities_px_s, view.tracks.velocities_px_s, where=seen[:, None])
        np.copyto(rows.standing, view.tracks.standing, where=seen)
        np.copyto(rows.seen_s, view.step.now_s, where=seen)


def _point(point_px: Floats) -> Point:
    return float(point_px[0]), float(point_px[1])


def _size_px(box: Floats) -> float:
    return math.sqrt(max(float((box[2] - box[0]) * (box[3] - box[1])), 0.0))


def _share_of_smaller(a: Floats, b: Floats) -> float:
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    smaller = min((a[2] - a[0]) * (a[3] - a[1]), (b[2] - b[0]) * (b[3] - b[1]))
    return float(width * height / smaller)
