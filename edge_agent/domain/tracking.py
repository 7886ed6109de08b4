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
        self._states = np.zeros((5, 0, 4))
        self._ids = np.zeros(0, np.int64)
        self._trails_px = np.zeros((0, 2))
        self._votes = np.zeros((0, len(self._class_names)))
        self._hits = np.zeros(0)
        self._frames = np.zeros(0)
        self._confirmed = np.zeros(0, np.bool_)
        self._born_s = np.zeros(0)
        self._seen_s = np.zeros(0)

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
        self._frames += 1.0
        taken = self._match(boxes, step)
        self._confirm()
        self._begin(boxes, taken, step)
        self._bury(step)
        return self._snapshot(step)

    def _check_classes(self, class_names: Sequence[str]) -> None:
        if class_names is self._class_names:
            return
        if self._next_id > 1 and list(class_names) != list(self._class_names):
            raise ValueError("the detector's classes changed; a tracker votes over one set: make a new one")
        self._class_names = class_names
        if not len(self._ids):
            self._forget_all()

    def _predict(self, step: Step) -> None:
        if not len(self._ids) or not step.dt_s:
            return
        waiting = self._standing() & (step.now_s - self._seen_s > self._params.tentative_s)
        held = self._states[:, waiting].copy()
        unseen_s = step.now_s - step.dt_s - self._seen_s
        self._states[VELOCITY, unseen_s > _KEEPS_GROWING_S, 2:] = 0.0
        growing = self._known() & (unseen_s <= 0)
        self._model.predict(self._states, step.dt_s, growing)
        if held.size:
            held[VELOCITY] = 0.0
            self._states[:, waiting] = held

    def _known(self) -> NDArray[np.bool_]:
        """Those whose speed is known."""
        return self._hits >= _KNOWN_HITS

    def _standing(self) -> NDArray[np.bool_]:
        """Those that stand still, or stood still when they were last seen.

        A trail that follows the box with a delay tells it: the speed of a jittering box is never 0.
        """
        ahead, sizes = self._states[POSITION, :, :2] - self._trails_px, self._states[POSITION, :, 2:]
        near = np.square(ahead).sum(axis=1) < np.square(self._params.standing_speed * _TRAIL_S) * sizes.prod(
            axis=1
        )
        return np.asarray(near & (self._seen_s - self._born_s >= 0.5 * _TRAIL_S))

    def _match(self, boxes: "_Boxes", step: Step) -> NDArray[np.bool_]:
        """Give boxes to the tracks that live: first the good boxes, then the poor ones to whom got none.

        Returns:
            Mask of the boxes that were given away.
        """
        taken = np.zeros(len(boxes.scores), np.bool_)
        if not len(self._ids) or not len(taken):
            return taken
        classes = np.argmax(self._votes, axis=1)
        costs = pair_costs(
            self._states, classes, self._known(), boxes.measured_px, boxes.class_ids, self._params.association
        )
        good = boxes.scores >= self._params.birth_score
        tracks, columns = _pairs_among(costs, None, np.flatnonzero(good), self._params)
        if not good.all():
            rest = np.ones(len(self._ids), np.bool_)
            rest[tracks] = False
            more = _pairs_among(costs, np.flatnonzero(rest), np.flatnonzero(~good), self._params)
            tracks, columns = np.concatenate([tracks, more[0]]), np.concatenate([columns, more[1]])
        taken[columns] = True
        self._take_in(tracks, boxes, columns, step)
        return taken

    def _take_in(self, tracks: Ints, boxes: "_Boxes", columns: Ints, step: Step) -> None:
        scores = boxes.scores[columns]
        error = np.where(scores >= self._params.birth_score, 1.0, self._params.low_score_error)
        self._states[:, tracks] = self._model.correct(self._states[:, tracks], boxes.measured_px[columns], error)
        self._votes[tracks, boxes.class_ids[columns]] += scores
        self._hits[tracks] += 1.0
        share = 1.0 - np.exp((self._seen_s[tracks] - step.now_s) / _TRAIL_S)
        self._trails_px[tracks] += (self._states[POSITION, tracks, :2] - self._trails_px[tracks]) * share[:, None]
        self._seen_s[tracks] = step.now_s

    def _begin(self, boxes: "_Boxes", taken: NDArray[np.bool_], step: Step) -> None:
        """A new track for each good box that no track explains."""
        new = np.flatnonzero(~taken & ~boxes.doubtful & (boxes.scores >= self._params.birth_score))
        new = new[: max(0, self._params.max_tracks - len(self._ids))]
        if not len(new):
            return
        n = len(new)
        votes = np.zeros((n, self._votes.shape[1]))
        votes[np.arange(n), boxes.class_ids[new]] = boxes.scores[new]
        self._states = np.concatenate([self._states, self._model.begin(boxes.measured_px[new])], axis=1)
        self._ids = np.concatenate([self._ids, np.arange(self._next_id, self._next_id + n)])
        self._votes = np.concatenate([self._votes, votes])
        self._trails_px = np.concatenate([self._trails_px, boxes.measured_px[new, :2]])
        self._hits = np.concatenate([self._hits, np.ones(n)])
        self._frames = np.concatenate([self._frames, np.ones(n)])
        self._confirmed = np.concatenate([self._confirmed, np.zeros(n, np.bool_)])
        self._born_s = np.concatenate([self._born_s, np.full(n, step.now_s)])
        self._seen_s = np.concatenate([self._seen_s, np.full(n, step.now_s)])
        self._next_id += n

    def _bury(self, step: Step) -> None:
        """Forget those that were not seen for too long."""
        unseen_s = step.now_s - self._seen_s
        if not (unseen_s > 0).any():
            return
        params = self._params
        patience_s = np.where(self._standing(), params.parked_s, params.lost_s)
        patience_s[~self._confirmed] = params.tentative_s
        alive = unseen_s <= patience_s
        if alive.all():
            return
        self._states = self._states[:, alive]
        self._ids, self._votes, self._hits = self._ids[alive], self._votes[alive], self._hits[alive]
        self._trails_px = self._trails_px[alive]
        self._frames, self._confirmed = self._frames[alive], self._confirmed[alive]
        self._born_s, self._seen_s = self._born_s[alive], self._seen_s[alive]

    def _confirm(self) -> None:
        proven = (self._hits >= 2) & (self._seen_s - self._born_s >= self._params.confirm_s)
        proven &= self._hits >= self._params.confirm_share * self._frames
        self._confirmed |= proven

    def _snapshot(self, step: Step) -> Tracks:
        if len(self._ids):
            classes = np.argmax(self._votes, axis=1)
            confidences = self._votes[np.arange(len(classes)), classes] / self._hits
        else:
            classes, confidences = np.zeros(0, np.int64), np.zeros(0)
        return Tracks(
            ids=self._ids,
            boxes_px=to_corners(self._states[POSITION]),
            velocities_px_s=to_corners(self._states[VELOCITY]),
            class_ids=classes,
            confidences=confidences,
            seen=self._seen_s == step.now_s,
            confirmed=self._confirmed.copy(),
            standing=self._standing(),
            born_s=self._born_s,
            seen_s=self._seen_s.copy(),
            class_names=self._class_names,
        )


def _pairs_among(costs: Floats, tracks: Ints | None, boxes: Ints, params: TrackerParams) -> tuple[Ints, Ints]:
    """Best pairs among some tracks (None: all) and some boxes, as rows and columns of `costs`."""
    some = costs[:, boxes] if tracks is None else costs[np.ix_(tracks, boxes)]
    rows, columns = best_pairs(some, params.association.unlikely)
    return (rows if tracks is None else tracks[rows]), boxes[columns]


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
        sound &= (np.abs(corners) < _FAR_PX).all(axis=1)
        sound &= (scores >= params.keep_score) & (class_ids >= 0)
        sound &= class_ids < len(detections.class_names)
        order = np.flatnonzero(sound)
        order = order[np.argsort(-scores[order], kind="stable")][: params.max_tracks]
        corners, scores = corners[order], np.minimum(scores[order], 1.0)
        surely, perhaps = copies_and_parts(corners, scores, params.association)
        if not surely.any():
            return _Boxes(to_centre_and_size(corners), scores, class_ids[order], perhaps)
        own = ~surely
        return _Boxes(to_centre_and_size(corners[own]), scores[own], class_ids[order][own], perhaps[own])
