"""Crossings: when a track goes over a line, and which way.

The rule. Each track has, for each line, a reference point (see `reference`) and a signed distance from the line.
Within a dead zone around the line, a share of the box's height, the distance says nothing. A track that was
confirmed on one side and is found beyond the dead zone on the other for some time has changed sides; if the middle
of its box moved that way too, and its path cut the line between its ends, that is a crossing, at the time at which
the path cut it. It can be counted again only after it changed sides again, and to come back it must pass a wider
dead zone. So jitter of a box that stands on the line counts nothing, and a U-turn counts once each way.

Tracks break, most often where it hurts. A track that begins where another one must be by now goes on with its
state (see `handover`); one that begins just past a line and moves away from it came over it unseen, and is counted
as inferred, unless another track was counted there for it. One that begins on the body of another, which is seen,
most likely came to light there, and must show for longer that it moves away.
"""

import math
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from common.codes import Direction
from edge_agent.domain.classes import TWO_WHEELED
from edge_agent.domain.company import Company, share_of_smaller, shares_of_smaller
from edge_agent.domain.crossing_facts import (
    BORN,
    CUT,
    DISTANCE,
    FIRST,
    FORESEEN,
    GUESSED,
    ORIGIN,
    SETTLED,
    SIDE,
    STOOD,
    STOOD_SINCE,
    VALID,
    WAITS,
    WIDER,
    Rows,
)
from edge_agent.domain.geometry import path_cut
from edge_agent.domain.handover import Departed, Departures, HandoverParams
from edge_agent.domain.line_set import LineSet
from edge_agent.domain.lineage import Lineage
from edge_agent.domain.reference import EDGE_PX, ReferencePoints
from edge_agent.domain.shapes import Anchor, Line, Point, check_names
from edge_agent.domain.timeline import Step, Timeline
from edge_agent.domain.tracking import Tracks, kept_and_gone

_FASTEST = 8.0
"""Box sizes per second that nothing exceeds."""
_STEEP = 0.25
"""Least sine of the angle between a way and a line for the way to be prolonged as far as the line."""
_MOST_LINEAGE = 256
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
            gone on,
        foresight: if by its motion it was to come over the line by then, or this many box heights short of it.
        slack: how much longer than drawn a line is taken to be at either end, as a share of the box's larger side.
        infer_s: a track that begins past a line crossed it unseen, if it did so within this time before; within
            half of it if the picture's edge cuts its first box or its last,
        infer_sightings: once it was seen this often: two boxes may be two vehicles,
        infer_speed: and if it moves away from it with this many box heights per second or more.
        born_share: a track of whose first box, or of the smaller one of the two, more than this share is also in
            another's that is seen,
        born_on_other_s: must be seen for this long before it is inferred that it crossed unseen.
        double_s: two tracks that cross the same way within this time are one vehicle if they do so in one place,
            `double_reach` box sizes apart or less, or if their boxes share `double_share` of the smaller one,
        shadow_score, shadow_share: or this share, where one is seen much fainter than the other: a shadow, a part;
        body_s: or within this time, if `double_share` holds for as good as all of the last second (see `company`).
        rider_size: what has two wheels and is smaller than this share of what has more is no part of it.
        unmeasured_s: a longer pause between updates was not measured: nothing is inferred from it.
        stood_s, stood_sightings: who stands within the dead zone, and of whom it is not known where he came from,
            is on one side if he was seen there for this long, and so often,
        stood_least: with a mean distance of more than this share of its height,
        stood_doubt: and of more than so many times what that mean may be off by.
    """

    dead_zone: float = 0.08
    rearm: float = 2.5
    confirm_s: float = 0.15
    gone_s: float = 0.6
    foresight: float = 0.3
    slack: float = 0.25
    infer_s: float = 0.8
    infer_sightings: int = 3
    infer_speed: float = 0.3
    born_share: float = 0.6
    born_on_other_s: float = 0.6
    double_s: float = 0.5
    double_reach: float = 0.4
    double_share: float = 0.6
    shadow_score: float = 0.6
    shadow_share: float = 0.25
    body_s: float = 2.0
    rider_size: float = 0.6
    unmeasured_s: float = 1.0
    stood_s: float = 2.0
    stood_sightings: int = 6
    stood_least: float = 0.025
    stood_doubt: float = 2.5
    handover: HandoverParams = field(default_factory=HandoverParams)


@dataclass(frozen=True, slots=True)
class _Counted:
    """A crossing that was counted of late, for the guard against doubles."""

    line: int
    side: int
    t_s: float
    track: int
    box_px: Floats
    point_px: Floats
    confidence: float
    two_wheeled: bool


@dataclass(slots=True)
class _View:
    """One update, as the counter sees it; (lines, n) unless said otherwise."""

    step: Step
    tracks: Tracks
    boxes_px: Floats
    """(4, n) corners of the whole vehicles."""
    points_px: Floats
    """(lines, 2, n)."""
    feet_px: Floats
    """(2, n): where each vehicle stands."""
    distances: Floats
    dead: Floats
    """(2, lines, n): width of the dead zone on the negative and the positive side."""
    jitter_px: Floats
    """(n,): a box that moved less than this may be standing."""
    zones: Floats
    """-1, 0, 1: beyond the dead zone on the negative side, within it, beyond it on the positive side."""


class CrossingCounter:
    """Counts crossings of lines. Pure: time is an argument."""

    def __init__(
        self,
        lines: Sequence[Line],
        frame_size_px: tuple[int, int],
        params: CrossingParams | None = None,
        references: ReferencePoints | None = None,
    ) -> None:
        """`frame_size_px`: width, height. `references`: what zones of the same tracks use too; None: its own.

        Raises:
            ValueError: two lines have one name.
        """
        check_names(lines)
        self._frame_size_px = frame_size_px
        self._lines = LineSet(lines, frame_size_px)
        self._half_room_px = 0.5 * self._lines.room_px
        self._n_lines = len(lines)
        self._params = params or CrossingParams()
        self._references = references or ReferencePoints(frame_size_px)
        self._timeline = Timeline()
        self._since_s = 0.0
        self._rows = Rows.none(self._n_lines)
        self._departures = Departures(self._params.handover)
        self._lineage = Lineage()
        self._recent: deque[_Counted] = deque(maxlen=256)
        self._company = Company()
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
        n_new = self._align(tracks, step)
        self._tracks = tracks
        self._company.note(tracks, step.now_s)
        if not len(tracks):
            return []
        view = self._view(tracks, step)
        if n_new:
            self._note_births(view, n_new)
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
        waits = (facts[WAITS] < np.inf) & (facts[DISTANCE] * facts[SIDE] < 0) & tracks.confirmed
        return self._accept(waits, self._view(tracks, step))

    def _forget_all(self) -> None:
        self._rows = Rows.none(self._n_lines)
        self._references.forget()
        self._departures = Departures(self._params.handover)
        self._lineage.forget()
        self._company.forget()
        self._recent.clear()

    def _align(self, tracks: Tracks, step: Step) -> int:
        """Make the rows those of `tracks`; remember the tracks that ended.

        Returns:
            How many are new: the last ones.
        """
        rows = self._rows
        if rows.ids.tobytes() == tracks.ids.tobytes():
            return 0
        keep, gone = kept_and_gone(rows.ids, tracks.ids)
        for row in gone.tolist():
            self._departures.add(rows.departed(row))
        self._departures.forget_old(step.now_s)
        new = tracks.ids[len(keep) :]
        self._rows = rows.kept(keep, new)
        if len(self._lineage) > _MOST_LINEAGE:
            self._lineage.forget((*self._rows.ids.tolist(), *(one.track for one in self._departures)))
        return len(new)

    def _view(self, tracks: Tracks, step: Step) -> _View:
        bodies = self._references.bodies(tracks, step.now_s)
        points = self._lines.pick(bodies.points_px)
        distances = self._lines.distances_px(points)
        boxes = tracks.boxes_px.T
        width = boxes[3] - boxes[1]
        width *= self._params.dead_zone
        jitter = width * self._params.rearm
        np.maximum(width, 1.0, out=width)
        if np.count_nonzero(tracks.standing):
            np.multiply(width, self._params.rearm, out=width, where=tracks.standing)
        dead = width * self._rows.facts[WIDER]
        np.minimum(dead, self._half_room_px, out=dead)
        above, below = (distances > dead[1]).view(np.int8), (distances < -dead[0]).view(np.int8)
        zones = np.subtract(above, below, dtype=np.float64)
        feet = bodies.points_px[Anchor.BOTTOM].T
        return _View(step, tracks, bodies.boxes_px.T, points.swapaxes(1, 2), feet, distances, dead, jitter, zones)

    def _note_births(self, view: _View, n_new: int) -> None:
        rows, new = self._rows, slice(-n_new, None)
        rows.facts[BORN][:, new] = rows.facts[FIRST][:, new] = view.distances[:, new]
        rows.facts[DISTANCE][:, new] = view.distances[:, new]
        rows.facts[SETTLED][:, :, new] = view.boxes_px[:, None, new]
        rows.points_px[:, :, new] = view.points_px[:, :, new]
        rows.born_points_px[:, :, new] = view.points_px[:, :, new]
        rows.born_boxes_px[:, new] = view.tracks.boxes_px[new].T
        rows.seen_s[new] = view.step.now_s
        rows.known_since_s[new] = view.tracks.born_s[new]
        others = view.tracks.boxes_px[view.tracks.seen & view.tracks.confirmed]
        if len(others):
            for row in range(len(rows.ids) - n_new, len(rows.ids)):
                shares = shares_of_smaller(view.tracks.boxes_px[row], others)
                rows.born_on_other[row] = shares.max() > self._params.born_share

    def _note_cuts(self, view: _View) -> None:
        """Where the path went from one side of a line to the other since it was last seen."""
        facts = self._rows.facts
        changed = ((view.distances < 0) != (facts[DISTANCE] < 0)) & view.tracks.seen
        if not np.count_nonzero(changed):
            return
        for line, row in np.argwhere(changed):
            self._note_cut(
                view, line, row, self._rows.points_px[line, :, row], self._rows.seen_s[row],
                view.points_px[line, :, row], view.step.now_s,
            )  # fmt: skip

    def _note_cut(
        self, view: _View, line: int, row: int, start_px: Floats, start_s: float, end_px: Floats, end_s: float
    ) -> None:
        """The path of `row` went over a line or its extension, from one point and moment to another."""
        facts = self._rows.facts[:, line, row]
        share = path_cut(self._lines.lines[line], _point(start_px), _point(end_px), slack_px=math.inf)
        facts[CUT] = start_s + (0.5 if share is None else share) * (end_s - start_s)
        facts[VALID] = self._cuts(view, line, row, _point(start_px), _point(end_px))
        facts[GUESSED] = 0.0
        facts[FORESEEN] = self._foresees(view, line, row, end_s - start_s)

    def _foresees(self, view: _View, line: int, row: int, dt_s: float) -> bool:
        """Whether a track, as it moved when last seen, was to be over the line by now, or nearly."""
        rows = self._rows
        if not rows.arrived[row]:
            return True  # how it moves was not known yet
        velocity = rows.velocities_px_s[:, row]
        way_px = (velocity[:2] + velocity[2:]) * (0.5 * dt_s)
        before, now = float(rows.facts[DISTANCE, line, row]), float(view.distances[line, row])
        box = rows.boxes_px[:, row]
        expected = before + self._lines.across(line, _point(way_px))
        return math.copysign(1.0, now) * expected > -self._params.foresight * float(box[3] - box[1])

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
                foot_px = _point(view.feet_px[:, row])
                reach = 2.0 * (height_px + abs(float(view.distances[line, row]))) / abs(across)
                start_px = (foot_px[0] - reach * way_px[0], foot_px[1] - reach * way_px[1])
                end_px = (foot_px[0] + reach * way_px[0], foot_px[1] + reach * way_px[1])
        return path_cut(shape, start_px, end_px, slack_px=slack_px) is not None

    def _welcome(self, view: _View) -> None:
        """Tracks that were just confirmed: do they continue another one, or where did they come from?"""
        rows, tracks = self._rows, view.tracks
        due = tracks.confirmed > rows.arrived
        if not np.count_nonzero(due):
            return
        rows.arrived |= due
        for row in np.flatnonzero(due):
            born_s = float(tracks.born_s[row])
            unseen = [
                rows.departed(int(i))
                for i in np.flatnonzero(~tracks.seen & (rows.seen_s < born_s) & (rows.ids != tracks.ids[row]))
            ]
            donor = self._departures.take(rows.born_boxes_px[:, row], tracks.velocities_px_s[row], born_s, unseen)
            if donor is not None:
                self._hand_over(donor, int(row), view)
            else:
                near_px = self._params.infer_s * _FASTEST * _size_px(rows.born_boxes_px[:, row])
                rows.facts[ORIGIN, :, row] = np.abs(rows.facts[BORN, :, row]) < near_px

    def _hand_over(self, donor: Departed, row: int, view: _View) -> None:
        """Let the track of `row` go on with what was known of `donor`."""
        rows = self._rows
        self._lineage.go_on(int(rows.ids[row]), after=donor.track)
        rows.known_since_s[row] = donor.known_since_s
        facts = rows.facts[:, :, row]
        facts[FIRST] = donor.facts[FIRST]
        knows = donor.facts[SIDE] != 0
        for plane in (SIDE, *range(SETTLED.start, WIDER.stop)):
            facts[plane] = np.where(knows, donor.facts[plane], facts[plane])
        born_s = float(view.tracks.born_s[row])
        unseen_cut = ((donor.facts[DISTANCE] < 0) != (facts[BORN] < 0)) & np.isnan(facts[CUT])
        for line in unseen_cut.nonzero()[0].tolist():
            born_px = rows.born_points_px[line, :, row]
            self._note_cut(view, line, row, donor.points_px[line], donor.seen_s, born_px, born_s)
            facts[GUESSED, line] = 1.0
        # A donor that had cut the line already, and was not counted for it yet.
        inherits_cut = np.isnan(facts[CUT])
        for plane in (CUT, VALID, GUESSED):
            facts[plane] = np.where(inherits_cut, donor.facts[plane], facts[plane])
        facts[WAITS] = donor.facts[WAITS]
        facts[ORIGIN] = donor.facts[ORIGIN]
        gone = np.flatnonzero(rows.ids == donor.track)
        rows.facts[SIDE][:, gone] = 0.0
        rows.facts[WAITS][:, gone] = np.inf
        rows.facts[ORIGIN][:, gone] = 0.0

    def _changes_of_side(self, view: _View) -> list[Crossing]:
        facts, tracks, now_s = self._rows.facts, view.tracks, view.step.now_s
        side, waits, seen = facts[SIDE], facts[WAITS], tracks.seen
        if np.count_nonzero(side) < side.size:
            np.copyto(side, view.zones, where=seen & (side == 0))
            self._learn_sides(view)
        beyond = view.zones * side
        np.copyto(facts[SETTLED], view.boxes_px[:, None], where=seen & (beyond > 0))
        np.copyto(waits, np.inf, where=seen & (view.distances * side > 0))
        other = beyond < 0
        if not np.count_nonzero(other):
            return self._gone_on(view, None) if np.count_nonzero(waits < np.inf) else []
        found = other & seen
        np.minimum(waits, now_s, out=waits, where=found)
        return self._gone_on(view, found & (now_s - waits >= self._params.confirm_s))

    def _learn_sides(self, view: _View) -> None:
        """Who stands within the dead zone stands on one side all the same: the mean of many boxes tells which."""
        facts, params = self._rows.facts, self._params
        stands = (facts[SIDE] == 0) & (view.tracks.standing & view.tracks.seen & view.tracks.confirmed)
        moves = (facts[STOOD_SINCE] < np.inf) & ~view.tracks.standing
        np.copyto(facts[STOOD_SINCE], np.inf, where=moves)
        np.copyto(facts[STOOD], 0.0, where=moves)
        for line, row in np.argwhere(stands).tolist():
            y1, y2 = view.tracks.boxes_px[row, 1::2].tolist()
            leans, own = float(view.distances[line, row]) / (y2 - y1), facts[:, line, row]
            own[STOOD_SINCE] = min(own[STOOD_SINCE], view.step.now_s)
            own[STOOD] += (1.0, leans, leans * leans)
            n, total, squares = own[STOOD].tolist()
            stood_s = view.step.now_s - float(own[STOOD_SINCE])
            if stood_s < params.stood_s or n < params.stood_sightings:
                continue
            spread = math.sqrt(max(squares / n - (total / n) ** 2, 0.0))
            # What moves a box lasts for about half a second: so many boxes of their own there are.
            if abs(total / n) > max(params.stood_least, params.stood_doubt * spread / math.sqrt(stood_s)):
                own[SIDE] = math.copysign(1.0, total)
                own[SETTLED] = view.boxes_px[:, row]

    def _gone_on(self, view: _View, due: Mask | None) -> list[Crossing]:
        """Crossings of those that are `due`, and of those that were seen on the other side and have gone on."""
        facts, tracks = self._rows.facts, view.tracks
        unseen_s = view.step.now_s - self._rows.seen_s
        past = (unseen_s >= self._params.gone_s) > tracks.seen
        past = past & (facts[DISTANCE] * facts[SIDE] < 0) & (facts[FORESEEN] > 0)
        # What stood has not gone on: that its box is thought to move is jitter.
        past &= (facts[WAITS] < np.inf) | ((view.zones * facts[SIDE] < 0) > tracks.standing)
        due = past if due is None else past | due
        due &= tracks.confirmed
        return self._accept(due, view) if np.count_nonzero(due) else []

    def _accept(self, due: Mask, view: _View) -> list[Crossing]:
        """Those of `due` whose boxes moved as a whole."""
        facts = self._rows.facts
        accepted = []
        for line, row in np.argwhere(due).tolist():
            if not self._moved_over(line, row, view):
                continue
            facts[SIDE, line, row] *= -1.0
            facts[SETTLED, line, row] = view.boxes_px[:, row]
            facts[WAITS, line, row] = np.inf
            facts[ORIGIN, line, row] = 0.0
            if facts[VALID, line, row] > 0:
                accepted.append((line, row))
        return list(self._emit(accepted, view))

    def _moved_over(self, line: int, row: int, view: _View) -> bool:
        """Whether the middle of a box moved to the other side as well.

        Where something comes to hide a vehicle that stands, its box shrinks from there, and its middle moves; but
        its other end does not.
        """
        facts = self._rows.facts[:, line, row]
        then, then_reach = self._lines.middle_and_reach_px(line, facts[SETTLED].tolist())
        now, now_reach = self._lines.middle_and_reach_px(line, view.boxes_px[:, row].tolist())
        moved = -float(facts[SIDE]) * (now - then) + min(now_reach - then_reach, 0.0)
        return moved > 0.5 * float(view.dead[:, line, row].min())

    def _emit(self, accepted: Iterable[tuple[int, int]], view: _View) -> Iterable[Crossing]:
        facts = self._rows.facts
        for line, row in accepted:
            self._widen(line, row)
            t_s = float(facts[CUT, line, row])
            velocity = view.tracks.velocities_px_s[row]
            way_px = (velocity[:2] + velocity[2:]) * (0.5 * (view.step.now_s - t_s))
            counted = self._counted(line, row, t_s, view.points_px[line, :, row] - way_px, view)
            if not self._is_double(counted, view):
                yield self._crossing(counted, view, row, inferred=bool(facts[GUESSED, line, row]))

    def _widen(self, line: int, row: int) -> None:
        """A track that is counted to one side passes a wider zone when it comes back to the other."""
        facts, rearm = self._rows.facts[:, line, row], self._params.rearm
        facts[WIDER] = (rearm, 1.0) if facts[SIDE] > 0 else (1.0, rearm)

    def _counted(self, line: int, row: int, t_s: float, point_px: Floats, view: _View) -> _Counted:
        tracks, side = view.tracks, int(self._rows.facts[SIDE, line, row])
        box_px = tracks.boxes_px[row].copy()  # a view would keep the boxes of all tracks
        two_wheeled = tracks.class_names[int(tracks.class_ids[row])] in TWO_WHEELED
        confidence = float(tracks.confidences[row])
        return _Counted(line, side, t_s, int(tracks.ids[row]), box_px, point_px, confidence, two_wheeled)

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
            if (old.line, old.side) != (new.line, new.side) or old.track == new.track or apart_s > params.body_s:
                continue
            if _rides_before(old, new, params.rider_size):
                continue
            if apart_s <= params.double_s and self._coincide(old, new, view):
                return True
            if self._company.one_body(old.track, new.track, params.double_share, view.step.now_s):
                return True
        return False

    def _coincide(self, old: _Counted, new: _Counted, view: _View) -> bool:
        """Whether two that crossed at about one time did so in one place, or share a part of their boxes."""
        params = self._params
        reach_px = params.double_reach * min(_size_px(old.box_px), _size_px(new.box_px))
        if math.dist(old.point_px, new.point_px) <= reach_px:
            return True
        row = int(view.tracks.ids.searchsorted(old.track))
        lives = row < len(view.tracks) and view.tracks.ids[row] == old.track
        box = view.tracks.boxes_px[row] if lives else old.box_px
        faint = min(old.confidence, new.confidence) < params.shadow_score * max(old.confidence, new.confidence)
        return share_of_smaller(box, new.box_px) > (params.shadow_share if faint else params.double_share)

    def _unseen_origins(self, view: _View) -> list[Crossing]:
        """Tracks that were first seen past a line, or on it, and came over it before."""
        facts = self._rows.facts
        open_ = facts[ORIGIN] > 0
        if not np.count_nonzero(open_):
            return []
        # A box that stands jitters as well; it is asked again once it has moved further than that.
        moved_px = view.distances - facts[BORN]
        moved_px *= facts[SIDE]
        open_ &= moved_px > view.jitter_px
        if not np.count_nonzero(open_):
            return []
        open_ &= view.tracks.seen & (self._rows.sightings + 1 >= self._params.infer_sightings)
        open_ &= view.zones * facts[SIDE] > 0
        on_other = self._rows.born_on_other
        open_ &= on_other <= (view.step.now_s - view.tracks.born_s >= self._params.born_on_other_s)
        crossings = []
        for line, row in np.argwhere(open_).tolist():
            facts[ORIGIN, line, row] = 0.0
            before_s = self._crossed_before(line, row, view)
            crossing = None if before_s is None else self._infer(line, row, before_s, view)
            if crossing is not None:
                crossings.append(crossing)
        return crossings

    def _crossed_before(self, line: int, row: int, view: _View) -> float | None:
        """How long before it was first seen a track went over a line, at its speed since; None: it hardly did.

        Negative: it was first seen just before the line, within the dead zone.
        """
        side, born_px = (float(self._rows.facts[plane, line, row]) for plane in (SIDE, BORN))
        born_s, box = float(view.tracks.born_s[row]), view.tracks.boxes_px[row]
        since_s = max(view.step.now_s - born_s, 1e-3)
        speed_px_s = side * (float(view.distances[line, row]) - born_px) / since_s
        if speed_px_s <= 0 or speed_px_s < self._params.infer_speed * float(box[3] - box[1]):
            return None
        before_s = side * born_px / speed_px_s
        known_since_s = float(self._rows.known_since_s[row])
        first_px = float(self._rows.facts[FIRST, line, row])
        if known_since_s < min(born_s, born_s - before_s) and side * first_px >= 0:
            return None  # it was seen before that, under another id, and was on this side already
        measured = born_s - before_s > self._since_s
        # Where the edge cuts a box, its middle is not the vehicle's, and its speed a guess.
        cut = self._is_cut(self._rows.born_boxes_px[:, row]) or self._is_cut(box)
        most_s = self._params.infer_s * (0.5 if cut else 1.0)
        return before_s if measured and -since_s <= before_s <= most_s else None

    def _is_cut(self, box_px: Floats) -> bool:
        width_px, height_px = self._frame_size_px
        x1, y1, x2, y2 = box_px.tolist()
        return bool(min(x1, y1, width_px - x2, height_px - y2) <= EDGE_PX)

    def _infer(self, line: int, row: int, before_s: float, view: _View) -> Crossing | None:
        """The crossing of a track that was first seen `before_s` after it, if its way back cuts the line."""
        rows, tracks = self._rows, view.tracks
        now_px, born_px = view.points_px[line, :, row], rows.born_points_px[line, :, row]
        since_s = max(view.step.now_s - float(tracks.born_s[row]), 1e-3)
        back_px = born_px - (now_px - born_px) / since_s * (max(before_s, 0.0) + 0.1)
        if not self._cuts(view, line, row, _point(back_px), _point(now_px)):
            return None
        t_s = float(tracks.born_s[row]) - before_s
        point_px = born_px - (now_px - born_px) / since_s * before_s
        self._widen(line, row)
        new = self._counted(line, row, t_s, point_px, view)
        if self._is_double(new, view):
            return None
        return self._crossing(new, view, row, inferred=before_s > 0)

    def _remember_seen(self, view: _View) -> None:
        rows, tracks, seen = self._rows, view.tracks, view.tracks.seen
        np.copyto(rows.facts[DISTANCE], view.distances, where=seen)
        np.copyto(rows.points_px, view.points_px, where=seen)
        np.copyto(rows.boxes_px, tracks.boxes_px.T, where=seen)
        np.copyto(rows.velocities_px_s, tracks.velocities_px_s.T, where=seen)
        np.copyto(rows.standing, tracks.standing, where=seen)
        rows.sightings += seen
        np.copyto(rows.seen_s, view.step.now_s, where=seen)


def _rides_before(a: _Counted, b: _Counted, most: float) -> bool:
    """Whether one of the two has two wheels, is seen as such, and is before, behind or beside the other one."""
    rider, other = (a, b) if a.two_wheeled else (b, a)
    return rider.two_wheeled > other.two_wheeled and _size_px(rider.box_px) < most * _size_px(other.box_px)


def _point(point_px: Floats) -> Point:
    return float(point_px[0]), float(point_px[1])


def _size_px(box: Floats) -> float:
    return math.sqrt(max(float((box[2] - box[0]) * (box[3] - box[1])), 0.0))
