"""Tracks: which box of this frame is the same vehicle as which box before."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import overload

import numpy as np
from numpy.typing import NDArray

from edge_agent.domain.association import (
    AssociationParams,
    Floats,
    Ints,
    best_pairs,
    copies_and_parts,
    pair_costs,
)
from edge_agent.domain.frames import Detections
from edge_agent.domain.motion_model import (
    POSITION,
    VELOCITY,
    MotionModel,
    MotionParams,
    to_centre_and_size,
    to_corners,
)
from edge_agent.domain.timeline import Step, Timeline

_KNOWN_HITS = 4
_TRAIL_S = 1.0
_KEEPS_GROWING_S = 0.2
_ROW = np.dtype(
    [
        ("id", np.int64),
        ("hits", np.int64),  # detections, and the frames since it began
        ("frames", np.int64),
        ("cls", np.int64),
        ("born_s", np.float64),
        ("seen_s", np.float64),
        ("trail_px", np.float64, 2),  # where it was about a second ago
        ("seen", np.bool_),  # by this very frame
        ("confirmed", np.bool_),
        ("standing", np.bool_),  # as of when it was last seen
    ]
)
"""What is known of a track beside its motion and its votes."""
_FAR_PX = 1e6
"""No picture is this large; a box beyond it is a fault of the detector."""


@dataclass(frozen=True, slots=True)
class Track:
    """One tracked object, as of one update.

    Attributes:
        id: positive, never used twice by one tracker.
        box_px: x1, y1, x2, y2: where it was seen, smoothed; where it is thought to be if `seen` is False.
        cls: its class by vote of all its detections, weighted by their scores.
        confidence: mean score of the detections that voted for `cls`, 0..1.
        seen: whether this very frame showed it.
        confirmed: whether it was seen often and long enough to be taken for real.
        born_s, seen_s: time of its first and its latest detection.
    """

    id: int
    box_px: tuple[float, float, float, float]
    cls: str
    confidence: float
    seen: bool
    confirmed: bool
    born_s: float
    seen_s: float


@dataclass(frozen=True, slots=True)
class Tracks(Sequence[Track]):
    """All tracks of one update, oldest first: a sequence of `Track`, held by columns for the stages that follow.

    Attributes:
        ids: (n,) int64, ascending.
        boxes_px: (n, 4) float64.
        velocities_px_s: (n, 4) float64, of the same four coordinates.
        class_ids: (n,) int64, indices into `class_names`.
        confidences: (n,) float64.
        seen, confirmed: (n,) bool.
        standing: (n,) bool: hardly moved for about a second, as of when it was last seen.
        born_s, seen_s: (n,) float64.
    """

    ids: NDArray[np.int64]
    boxes_px: NDArray[np.float64]
    velocities_px_s: NDArray[np.float64]
    class_ids: NDArray[np.int64]
    confidences: NDArray[np.float64]
    seen: NDArray[np.bool_]
    confirmed: NDArray[np.bool_]
    standing: NDArray[np.bool_]
    born_s: NDArray[np.float64]
    seen_s: NDArray[np.float64]
    class_names: Sequence[str]

    def __len__(self) -> int:
        return len(self.ids)

    @overload
    def __getitem__(self, index: int) -> Track: ...
    @overload
    def __getitem__(self, index: slice) -> list[Track]: ...
    def __getitem__(self, index: int | slice) -> Track | list[Track]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        x1, y1, x2, y2 = self.boxes_px[index].tolist()
        return Track(
            id=int(self.ids[index]),
            box_px=(x1, y1, x2, y2),
            cls=self.class_names[int(self.class_ids[index])],
            confidence=float(self.confidences[index]),
            seen=bool(self.seen[index]),
            confirmed=bool(self.confirmed[index]),
            born_s=float(self.born_s[index]),
            seen_s=float(self.seen_s[index]),
        )

    def __iter__(self) -> Iterator[Track]:
        return (self[i] for i in range(len(self)))


@dataclass(frozen=True, slots=True)
class TrackerParams:
    """How boxes become tracks. The defaults suit road users at 3 to 30 frames a second.

    Attributes:
        birth_score: a box that no track explains begins a new track from this score on.
        keep_score: a box of at least this score may continue a track, but not begin one.
        confirm_s: a track is confirmed when it was seen twice or more, over at least this time,
        confirm_share: and in at least this share of the frames since it began.
        tentative_s: how long an unconfirmed track lives without being seen.
        lost_s: how long a confirmed track lives without being seen.
        parked_s: the same for one that stood still when it was lost: something hides it, it will be there again.
        standing_speed: slower than this many box sizes per second is standing still.
        low_score_error: how much worse than others a box below `birth_score` is placed.
        max_tracks: bound of memory and time; beyond it, boxes with the lowest scores are left out.
    """

    birth_score: float = 0.3
    keep_score: float = 0.2
    confirm_s: float = 0.15
    confirm_share: float = 0.5
    tentative_s: float = 0.4
    lost_s: float = 1.5
    parked_s: float = 60.0
    standing_speed: float = 0.2
    low_score_error: float = 1.5
    max_tracks: int = 1000
    motion: MotionParams = field(default_factory=MotionParams)
    association: AssociationParams = field(default_factory=AssociationParams)


class Tracker:
    """Follows objects from frame to frame. Pure: time is an argument.

    All tracks are rows of a few arrays, in the order of their ids, so that an update costs a fixed number of array
    operations whatever the number of tracks.
    """

    def __init__(self, params: TrackerParams | None = None) -> None:
        self._params = params or TrackerParams()
        self._model = MotionModel(self._params.motion)
        self._timeline = Timeline()
        self._class_names: Sequence[str] = ()
        self._next_id = 1
        self._forget_all()

    def _forget_all(self) -> None:
        self._rows = np.zeros(0, _ROW)
        self._states = np.zeros((5, 0, 4))
        self._votes = np.zeros((0, len(self._class_names)))

    def update(self, detections: Detections, t_s: float) -> Tracks:
        """Take in one frame; returns all tracks that live, seen or not, confirmed or not.

        Boxes without a place or an area (NaN, infinite, turned inside out) and classes out of range are left out.

        Raises:
            ValueError: `t_s` is not finite, or the detector's classes are not those of the updates before.
        """
        step = self._timeline.advance(t_s)
        self._check_classes(detections.class_names)
        if step.restarted:
            self._forget_all()
        if step.dt_s > self._params.lost_s:
            self._bury(step)
        boxes = _Boxes.usable(detections, self._params)
        self._predict(step)
        self._rows["frames"] += 1
        self._rows["seen"] = False
        taken = self._match(boxes, step)
        self._begin(boxes, taken, step)
        self._bury(step)
        return self._snapshot()

    def _check_classes(self, class_names: Sequence[str]) -> None:
        if class_names is self._class_names:
            return
        if self._next_id > 1 and list(class_names) != list(self._class_names):
            raise ValueError("the detector's classes changed; a tracker votes over one set: make a new one")
        self._class_names = class_names
        if not len(self._rows):
            self._forget_all()

    def _predict(self, step: Step) -> None:
        if not len(self._rows) or not step.dt_s:
            return
        rows, missed_s = self._rows, step.now_s - step.dt_s - self._rows["seen_s"]
        growing = (rows["hits"] >= _KNOWN_HITS) & (missed_s <= 0)
        if growing.all():
            self._model.predict(self._states, step.dt_s, growing)
            return
        self._states[VELOCITY, missed_s > _KEEPS_GROWING_S, 2:] = 0.0
        waiting = rows["standing"] & (missed_s + step.dt_s > self._params.tentative_s)
        held = self._states[:, waiting].copy()
        self._model.predict(self._states, step.dt_s, growing)
        held[VELOCITY] = 0.0
        self._states[:, waiting] = held

    def _match(self, boxes: "_Boxes", step: Step) -> NDArray[np.bool_]:
        """Give boxes to the tracks that live: first the good boxes, then the poor ones to whom got none.

        Returns:
            Mask of the boxes that were given away.
        """
        taken = np.zeros(len(boxes.scores), np.bool_)
        rows = self._rows
        if not len(rows) or not len(taken):
            return taken
        missed_s = np.maximum(step.now_s - step.dt_s - rows["seen_s"], 0.0)
        missed_s[rows["standing"]] = 0.0
        known = rows["hits"] >= _KNOWN_HITS
        costs = pair_costs(
            self._states,
            rows["cls"],
            known,
            missed_s,
            boxes.measured_px,
            boxes.class_ids,
            self._params.association,
        )
        good = boxes.scores >= self._params.birth_score
        if good.all():
            tracks, columns = best_pairs(costs, self._params.association.unlikely)
        else:
            tracks, columns = self._match_twice(costs, good)
        taken[columns] = True
        self._take_in(tracks, boxes, columns, step)
        return taken

    def _match_twice(self, costs: Floats, good: NDArray[np.bool_]) -> tuple[Ints, Ints]:
        unlikely = self._params.association.unlikely
        better, poorer = np.flatnonzero(good), np.flatnonzero(~good)
        tracks, columns = best_pairs(costs[:, better], unlikely)
        rest = np.ones(len(costs), np.bool_)
        rest[tracks] = False
        others = np.flatnonzero(rest)
        more, poor_columns = best_pairs(costs[np.ix_(others, poorer)], unlikely)
        return np.concatenate([tracks, others[more]]), np.concatenate([better[columns], poorer[poor_columns]])

    def _take_in(self, tracks: Ints, boxes: "_Boxes", columns: Ints, step: Step) -> None:
        if not len(tracks):
            return
        scores, measured_px = boxes.scores[columns], boxes.measured_px[columns]
        error = np.where(scores >= self._params.birth_score, 1.0, self._params.low_score_error)
        states = self._model.correct(self._states[:, tracks], measured_px, error)
        self._states[:, tracks] = states
        some, classes = self._rows[tracks], boxes.class_ids[columns]
        self._votes[tracks, classes] += scores
        if (classes != some["cls"]).any():
            some["cls"] = self._votes[tracks].argmax(axis=1)
        some["hits"] += 1
        some["trail_px"] += _steps_of_trails(states[POSITION], some, step)
        some["seen_s"] = step.now_s
        some["seen"] = True
        some["standing"] = _standing(states[POSITION], some, self._params)
        proven = (some["hits"] >= 2) & (step.now_s - some["born_s"] >= self._params.confirm_s)
        proven &= some["hits"] >= self._params.confirm_share * some["frames"]
        some["confirmed"] |= proven
        self._rows[tracks] = some

    def _begin(self, boxes: "_Boxes", taken: NDArray[np.bool_], step: Step) -> None:
        """A new track for each good box that no track explains."""
        new = np.flatnonzero(~taken & ~boxes.doubtful & (boxes.scores >= self._params.birth_score))
        new = new[: max(0, self._params.max_tracks - len(self._rows))]
        if not len(new):
            return
        rows = np.zeros(len(new), _ROW)
        rows["id"] = np.arange(self._next_id, self._next_id + len(new))
        rows["born_s"] = rows["seen_s"] = step.now_s
        rows["hits"] = rows["frames"] = 1
        rows["seen"] = True
        rows["cls"] = boxes.class_ids[new]
        rows["trail_px"] = boxes.measured_px[new, :2]
        votes = np.zeros((len(new), self._votes.shape[1]))
        votes[np.arange(len(new)), boxes.class_ids[new]] = boxes.scores[new]
        self._rows = np.concatenate([self._rows, rows])
        self._states = np.concatenate([self._states, self._model.begin(boxes.measured_px[new])], axis=1)
        self._votes = np.concatenate([self._votes, votes])
        self._next_id += len(new)

    def _bury(self, step: Step) -> None:
        """Forget those that were not seen for too long."""
        rows, params = self._rows, self._params
        unseen_s = step.now_s - rows["seen_s"]
        if not unseen_s.any():
            return
        patience_s = np.where(rows["standing"], params.parked_s, params.lost_s)
        patience_s[~rows["confirmed"]] = params.tentative_s
        alive = unseen_s <= patience_s
        if not alive.all():
            self._rows, self._votes = rows[alive], self._votes[alive]
            self._states = self._states[:, alive]

    def _snapshot(self) -> Tracks:
        rows = self._rows.copy()
        return Tracks(
            ids=rows["id"],
            boxes_px=to_corners(self._states[POSITION]),
            velocities_px_s=to_corners(self._states[VELOCITY]),
            class_ids=rows["cls"],
            confidences=self._votes[np.arange(len(rows)), rows["cls"]] / rows["hits"],
            seen=rows["seen"],
            confirmed=rows["confirmed"],
            standing=rows["standing"],
            born_s=rows["born_s"],
            seen_s=rows["seen_s"],
            class_names=self._class_names,
        )


def _steps_of_trails(positions_px: Floats, rows: NDArray[np.void], step: Step) -> Floats:
    """How far each trail follows its box: it is about a second behind."""
    share = 1.0 - np.exp((rows["seen_s"] - step.now_s) / _TRAIL_S)
    return np.asarray((positions_px[:, :2] - rows["trail_px"]) * share[:, None])


def _standing(positions_px: Floats, rows: NDArray[np.void], params: TrackerParams) -> NDArray[np.bool_]:
    """Those that stand still. Their trails tell: the speed of a jittering box is never 0."""
    ahead = positions_px[:, :2] - rows["trail_px"]
    ahead *= ahead
    near_px2 = (params.standing_speed * _TRAIL_S) ** 2 * positions_px[:, 2] * positions_px[:, 3]
    old = rows["seen_s"] - rows["born_s"] >= 0.5 * _TRAIL_S
    return np.asarray((ahead[:, 0] + ahead[:, 1] < near_px2) & old)


@dataclass(frozen=True, slots=True)
class _Boxes:
    """One frame's boxes that can be used, best score first."""

    measured_px: Floats
    """(n, 4), centre and size."""
    scores: Floats
    class_ids: NDArray[np.int64]
    doubtful: NDArray[np.bool_]
    """Those that may be a part of what another box shows."""

    @staticmethod
    def usable(detections: Detections, params: TrackerParams) -> "_Boxes":
        corners = np.asarray(detections.boxes_px, np.float64).reshape(-1, 4)
        scores = np.asarray(detections.scores, np.float64)
        class_ids = np.asarray(detections.class_ids, np.int64)
        # Comparisons with NaN are false: what has no place or no area is not sound.
        sound = (corners[:, 2] > corners[:, 0]) & (corners[:, 3] > corners[:, 1])
        if not (corners.size and corners.min() > -_FAR_PX and corners.max() < _FAR_PX):
            sound &= (np.abs(corners) < _FAR_PX).all(axis=1)
        sound &= (scores >= params.keep_score) & (class_ids >= 0)
        sound &= class_ids < len(detections.class_names)
        order = np.argsort(-scores, kind="stable")
        if not sound.all():
            order = order[sound[order]]
        order = order[: params.max_tracks]
        corners, scores = corners[order], np.minimum(scores[order], 1.0)
        surely, perhaps = copies_and_parts(corners, scores, params.association)
        if not surely.any():
            return _Boxes(to_centre_and_size(corners), scores, class_ids[order], perhaps)
        own = ~surely
        return _Boxes(to_centre_and_size(corners[own]), scores[own], class_ids[order][own], perhaps[own])
