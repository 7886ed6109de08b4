"""Tracks: which box of this frame is the same vehicle as which box before."""

import math
from collections.abc import Iterator, Mapping, Sequence
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
from edge_agent.domain.classes import TWO_WHEELED
from edge_agent.domain.flow import FlowField, FlowParams
from edge_agent.domain.focus import BIRTH_SCORE
from edge_agent.domain.frames import Detections
from edge_agent.domain.motion_model import (
    GROWTH,
    POSITION,
    STATE_ROWS,
    VAR_V,
    VELOCITY,
    MotionModel,
    MotionParams,
    corners_of,
    to_centre_and_size,
)
from edge_agent.domain.timeline import Step, Timeline

_KNOWN_HITS = 4
_WAY_BACK = (1.0, 0.67, 0.33)
"""Shares of the age of a track whose speed has just become known, at which it is noted to have moved alike."""
_TRAIL_S = 1.0
_KEEPS_GROWING_S = 0.2
_ROUNDING_S = 1e-6
_FAR_PX = 1e6
"""No picture is this large; a box beyond it is a fault of the detector."""

# What is known of tracks beside their motion and their votes: rows of three arrays, one track per column.
_ID, _HITS, _FRAMES, _CLASS = range(4)
"""Whole numbers; detections, and the frames since it began."""
_BORN_S, _SEEN_S, _TRAIL_X, _TRAIL_Y = range(4)
"""Figures; the trail is where it was about a second ago."""
_SEEN, _CONFIRMED, _STANDING = range(3)
"""Yes or no: seen by this very frame; standing as of when it was last seen."""


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


def kept_and_gone(ids: NDArray[np.int64], now_ids: NDArray[np.int64]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Indices into `ids` of the tracks that are in `now_ids` as well, and of those that are not. Both ascend.

    Ids are never used twice, so those of `now_ids` that are new come last.
    """
    places = now_ids.searchsorted(ids)
    lives = places < len(now_ids)
    if len(now_ids):
        lives &= now_ids.take(places, mode="clip") == ids
    return lives.nonzero()[0], (~lives).nonzero()[0]


@dataclass(frozen=True, slots=True)
class TrackerParams:
    """How boxes become tracks. The defaults suit road users at 3 to 30 frames a second.

    Attributes:
        birth_score: a box that no track explains begins a new track from this score on.
        birth_scores: the same for single classes, by name.
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

    birth_score: float = BIRTH_SCORE
    birth_scores: Mapping[str, float] = field(default_factory=dict)
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
    flow: FlowParams = field(default_factory=FlowParams)


class Tracker:
    """Follows objects from frame to frame. Pure: time is an argument.

    All tracks are columns of a few arrays, in the order of their ids, so that an update costs a fixed number of
    array operations whatever the number of tracks.
    """

    def __init__(self, params: TrackerParams | None = None) -> None:
        self._params = params or TrackerParams()
        self._model = MotionModel(self._params.motion)
        self._timeline = Timeline()
        self._class_names: Sequence[str] = ()
        self._two_wheeled: NDArray[np.bool_] | None = None
        self._births: Floats | None = None
        self._next_id = 1
        self._forget_all()

    def _forget_all(self) -> None:
        self._states = np.zeros((STATE_ROWS, 0))
        self._numbers = np.zeros((4, 0), np.int64)
        self._figures = np.zeros((4, 0))
        self._flags = np.zeros((3, 0), np.bool_)
        self._votes = np.zeros((0, len(self._class_names)))
        self._flow = FlowField(self._params.flow)
        self._all_live_until_s = -math.inf

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
        boxes = _Boxes.usable(detections, self._params, self._two_wheeled, self._births)
        missed_s = self._missed_s(step)
        known = self._numbers[_HITS] >= _KNOWN_HITS
        self._predict(step, known, missed_s)
        taken = self._match(boxes, step, known, missed_s)
        self._begin(boxes, taken, step)
        self._bury(step)
        if self._flow.due(step.now_s):
            self._note_flow(step.now_s)
        return self._snapshot()

    def _all(self, flag: int) -> bool:
        return bool(np.count_nonzero(self._flags[flag]) == self._flags.shape[1])

    def _missed_s(self, step: Step) -> Floats | None:
        """For how long each track was not seen, up to the frame before this one; None: they all were in that."""
        if self._all(_SEEN):
            return None
        return np.asarray(step.now_s - step.dt_s - self._figures[_SEEN_S])

    def _check_classes(self, class_names: Sequence[str]) -> None:
        if class_names is self._class_names:
            return
        if self._next_id > 1 and list(class_names) != list(self._class_names):
            raise ValueError("the detector's classes changed; a tracker votes over one set: make a new one")
        self._class_names = class_names
        two_wheeled = np.array([name in TWO_WHEELED for name in class_names], np.bool_)
        self._two_wheeled = two_wheeled if np.count_nonzero(two_wheeled) else None
        own, usual = self._params.birth_scores, self._params.birth_score
        self._births = np.array([own.get(name, usual) for name in class_names]) if own else None
        if not self._numbers.size:
            self._forget_all()

    def _predict(self, step: Step, known: NDArray[np.bool_], missed_s: Floats | None) -> None:
        states = self._states
        if not states.size or not step.dt_s:
            return
        if missed_s is None:
            self._model.predict(states, step.dt_s, known)
            return
        known = known & (missed_s <= 0)
        longest_s = float(np.maximum.reduce(missed_s))
        if longest_s > _KEEPS_GROWING_S:
            np.copyto(states[GROWTH], 0.0, where=missed_s > _KEEPS_GROWING_S)
        if longest_s + step.dt_s <= self._params.tentative_s:
            self._model.predict(states, step.dt_s, known)
            return
        waiting = (self._flags[_STANDING] & (missed_s + step.dt_s > self._params.tentative_s)).nonzero()[0]
        held = states.take(waiting, axis=1)
        held[VELOCITY] = 0.0
        self._model.predict(states, step.dt_s, known)
        if len(waiting):
            states[:, waiting] = held

    def _match(self, boxes: "_Boxes", step: Step, known: NDArray[np.bool_], missed_s: Floats | None) -> Ints:
        """Give boxes to the tracks that live: first the good boxes, then the poor ones to whom got none.

        Returns:
            The boxes that were given away.
        """
        numbers, flags = self._numbers, self._flags
        numbers[_FRAMES] += 1
        flags[_SEEN] = False
        if not numbers.size or not len(boxes.scores):
            return np.empty(0, np.intp)
        if missed_s is not None:
            missed_s = np.maximum(missed_s, 0.0) * ~flags[_STANDING]
        costs = pair_costs(
            self._states,
            numbers[_CLASS],
            known,
            missed_s,
            boxes.measured_px,
            boxes.class_ids,
            self._params.association,
        )
        n_good = boxes.n_good
        if missed_s is not None and n_good < len(boxes.scores):
            costs[:, n_good:] += self._params.association.poor_missed_cost * missed_s[:, None]
        if n_good == len(boxes.scores):
            tracks, columns = best_pairs(costs, self._params.association.unlikely)
        else:
            tracks, columns = self._match_twice(costs, n_good)
        if len(tracks):
            self._take_in(tracks, boxes, columns, step)
        return columns

    def _match_twice(self, costs: Floats, n_good: int) -> tuple[Ints, Ints]:
        unlikely = self._params.association.unlikely
        tracks, columns = best_pairs(costs[:, :n_good], unlikely)
        rest = np.ones(len(costs), np.bool_)
        rest[tracks] = False
        others = rest.nonzero()[0]
        more, poor_columns = best_pairs(costs[others, n_good:], unlikely)
        return np.concatenate([tracks, others[more]]), np.concatenate([columns, poor_columns + n_good])

    def _take_in(self, tracks: Ints, boxes: "_Boxes", columns: Ints, step: Step) -> None:
        """What the boxes tell of their tracks. It is reckoned for all tracks; it changes nothing of the others."""
        states, numbers, figures, flags = self._states, self._numbers, self._figures, self._flags
        seen = flags[_SEEN]
        seen[tracks] = True
        source = np.zeros(states.shape[1], np.intp)  # of the others it does not matter
        source[tracks] = columns
        error_var = None if boxes.error_var is None else boxes.error_var.take(source)
        self._model.correct(states, boxes.measured_px.take(source, axis=1), seen, error_var)
        self._vote(tracks, boxes.class_ids.take(columns), boxes.scores.take(columns))
        numbers[_HITS] += seen
        trails_px = figures[_TRAIL_X : _TRAIL_Y + 1]
        ahead_px = states[:2] - trails_px
        share = 1.0 - np.exp((figures[_SEEN_S] - step.now_s) / _TRAIL_S)
        share *= seen
        trails_px += ahead_px * share
        figures[_SEEN_S, tracks] = step.now_s
        ahead_px *= 1.0 - share
        np.copyto(flags[_STANDING], self._stand(ahead_px), where=seen)
        if not self._all(_CONFIRMED):
            self._confirm()

    def _vote(self, tracks: Ints, classes: Ints, scores: Floats) -> None:
        self._votes[tracks, classes] += scores
        voted = self._numbers[_CLASS]
        disputed = voted.take(tracks) != classes
        if np.count_nonzero(disputed):
            disputed = tracks[disputed]
            voted[disputed] = self._votes[disputed].argmax(axis=1)

    def _stand(self, ahead_px: Floats) -> NDArray[np.bool_]:
        """Those that stand still. Their trails tell: the speed of a jittering box is never 0."""
        ahead_px *= ahead_px
        near_px2 = self._states[2] * self._states[3] * (self._params.standing_speed * _TRAIL_S) ** 2
        old = self._figures[_SEEN_S] - self._figures[_BORN_S] >= 0.5 * _TRAIL_S
        old &= ahead_px[0] + ahead_px[1] < near_px2
        return np.asarray(old)

    def _confirm(self) -> None:
        """Those that were seen in this frame, and long and often enough."""
        numbers, figures, params = self._numbers, self._figures, self._params
        proven = self._flags[_SEEN] & (numbers[_HITS] >= 2)
        proven &= figures[_SEEN_S] - figures[_BORN_S] >= params.confirm_s
        proven &= numbers[_HITS] >= params.confirm_share * numbers[_FRAMES]
        self._flags[_CONFIRMED] |= proven

    def _begin(self, boxes: "_Boxes", taken: Ints, step: Step) -> None:
        """A new track for each good box that no track explains."""
        if len(taken) == len(boxes.scores):
            return
        free = np.ones(len(boxes.scores), np.bool_)
        free[taken] = False
        free[boxes.n_good :] = False
        if boxes.doubtful is not None:
            free &= ~boxes.doubtful
        new = free.nonzero()[0][: max(0, self._params.max_tracks - self._numbers.shape[1])]
        n = len(new)
        if not n:
            return
        measured_px, classes = boxes.measured_px[:, new], boxes.class_ids[new]
        numbers, figures = np.ones((4, n), np.int64), np.full((4, n), step.now_s)
        flags = np.zeros((3, n), np.bool_)
        numbers[_ID] = np.arange(self._next_id, self._next_id + n)
        numbers[_CLASS] = classes
        figures[_TRAIL_X:] = measured_px[:2]
        flags[_SEEN] = True
        votes = np.zeros((n, self._votes.shape[1]))
        votes[np.arange(n), classes] = boxes.scores[new]
        states = self._model.begin(measured_px)
        self._expect_flow(states)
        self._states = np.concatenate([self._states, states], axis=1)
        self._numbers = np.concatenate([self._numbers, numbers], axis=1)
        self._figures = np.concatenate([self._figures, figures], axis=1)
        self._flags = np.concatenate([self._flags, flags], axis=1)
        self._votes = np.concatenate([self._votes, votes])
        self._next_id += n

    def _expect_flow(self, states: Floats) -> None:
        """Let new tracks move as others did in their place."""
        for column in range(states.shape[1]):
            x_px, y_px, width_px, height_px = states[POSITION, column].tolist()
            area_px2 = width_px * height_px
            vx, vy, variance, share = self._flow.expected(x_px, y_px, math.sqrt(area_px2))
            if share:
                states[4:6, column] = np.array((vx, vy)) * (share * math.sqrt(area_px2))
                first = states[VAR_V, column][0]
                states[VAR_V.start, column] = share * variance * area_px2 + (1 - share) * first

    def _note_flow(self, now_s: float) -> None:
        """Learn from those whose speed is known, and who do not wait."""
        flags = self._flags
        moving = flags[_SEEN] & flags[_CONFIRMED] & (self._numbers[_HITS] >= _KNOWN_HITS)
        columns = (moving > flags[_STANDING]).nonzero()[0]
        moves = self._states[:8].take(columns, axis=1)
        fresh = self._numbers[_HITS].take(columns) == _KNOWN_HITS
        if np.count_nonzero(fresh):  # how they came to where they are is known only now
            ages_s = now_s - self._figures[_BORN_S].take(columns)[fresh]
            moves = np.concatenate(
                [moves, *(_back(moves[:, fresh], ages_s * share) for share in _WAY_BACK)], axis=1
            )
        self._flow.note(moves, now_s)

    def _bury(self, step: Step) -> None:
        """Forget those that were not seen for too long."""
        if step.now_s < self._all_live_until_s:
            return
        flags, params = self._flags, self._params
        left_s = np.where(flags[_STANDING], params.parked_s, params.lost_s)
        left_s[~flags[_CONFIRMED]] = params.tentative_s
        left_s -= step.now_s - self._figures[_SEEN_S]
        alive = left_s >= 0.0
        # Nobody ends before the first of these, nor whoever is seen from now on before the least patience is over.
        least_s = min(params.tentative_s, params.lost_s, params.parked_s)
        self._all_live_until_s = step.now_s + float(left_s.min(where=alive, initial=least_s)) - _ROUNDING_S
        if np.count_nonzero(alive) < len(alive):
            self._states, self._votes = self._states[:, alive], self._votes[alive]
            self._numbers, self._figures = self._numbers[:, alive], self._figures[:, alive]
            self._flags = flags[:, alive]

    def _snapshot(self) -> Tracks:
        numbers, figures, flags = self._numbers.copy(), self._figures.copy(), self._flags.copy()
        corners = corners_of(self._states)
        classes = numbers[_CLASS]
        return Tracks(
            ids=numbers[_ID],
            boxes_px=corners[0].T,
            velocities_px_s=corners[1].T,
            class_ids=classes,
            confidences=self._votes[np.arange(len(classes)), classes] / numbers[_HITS],
            seen=flags[_SEEN],
            confirmed=flags[_CONFIRMED],
            standing=flags[_STANDING],
            born_s=figures[_BORN_S],
            seen_s=figures[_SEEN_S],
            class_names=self._class_names,
        )


def _back(moves: Floats, ages_s: Floats) -> Floats:
    """Moves, (8, n), as they were some time ago."""
    earlier = moves.copy()
    earlier[:2] -= moves[4:6] * ages_s
    return earlier


@dataclass(slots=True)
class _Boxes:
    """One frame's boxes that can be used: the good ones first, and of each kind the best score first."""

    measured_px: Floats
    """(4, n), centre and size."""
    scores: Floats
    class_ids: NDArray[np.int64]
    n_good: int
    """How many have a good score; the rest may continue tracks only."""
    error_var: Floats | None
    """By what factor the variance of each is larger than usual; None: of none."""
    doubtful: NDArray[np.bool_] | None
    """Those that are perhaps a part of what another box shows; None: none is."""

    @staticmethod
    def usable(
        detections: Detections,
        params: TrackerParams,
        two_wheeled: NDArray[np.bool_] | None = None,
        births: Floats | None = None,
    ) -> "_Boxes":
        """By class: `two_wheeled`, None: none is; `births`, from which score on each is good, None: all alike."""
        scores = np.asarray(detections.scores, np.float64)
        order = (-scores).argsort(kind="stable")
        corners = np.array(detections.boxes_px.reshape(-1, 4).take(order, axis=0).T, np.float64, order="C")
        scores, class_ids = scores.take(order), np.asarray(detections.class_ids, np.int64).take(order)
        sound = _sound(corners, scores, class_ids, len(detections.class_names), params.keep_score)
        if sound is not None or len(scores) > params.max_tracks:
            every = np.arange(len(scores)) if sound is None else sound.nonzero()[0]
            some = every[: params.max_tracks]
            corners, scores, class_ids = corners.take(some, axis=1), scores.take(some), class_ids.take(some)
        if len(scores) and scores[0] > 1.0:
            scores = np.minimum(scores, 1.0)
        own = None if two_wheeled is None else two_wheeled.take(class_ids)
        doubts = copies_and_parts(corners, scores, params.association, own)
        doubtful = None
        if doubts is not None:
            rest = (~doubts[0]).nonzero()[0]
            corners, doubtful = corners.take(rest, axis=1), doubts[1].take(rest)
            scores, class_ids = scores.take(rest), class_ids.take(rest)
        n_good = len(scores)
        error_var = None
        if births is not None:
            order = (scores < births.take(class_ids)).argsort(kind="stable")
            corners, scores, class_ids = corners.take(order, axis=1), scores.take(order), class_ids.take(order)
            doubtful = None if doubtful is None else doubtful.take(order)
        if n_good and (births is not None or scores[-1] < params.birth_score):
            good = scores >= (params.birth_score if births is None else births.take(class_ids))
            n_good = int(np.count_nonzero(good))
            error_var = np.where(good, 1.0, params.low_score_error**2)
        return _Boxes(to_centre_and_size(corners), scores, class_ids, n_good, error_var, doubtful)


def _sound(
    corners_px: Floats, scores: Floats, class_ids: NDArray[np.int64], n_classes: int, keep_score: float
) -> NDArray[np.bool_] | None:
    """Which boxes, (4, n) corners, have a place, an area, a score that counts, and a class; None: all.

    Args:
        scores: best first; what has none comes last.
    """
    # Comparisons with NaN are false: what has no place or no area is not sound.
    ordered = corners_px[2:] > corners_px[:2]
    classed = class_ids.view(np.uint64) < n_classes  # below 0 is far above
    near = bool(np.vdot(corners_px, corners_px) < _FAR_PX**2)  # all of them
    n = len(scores)
    whole = np.count_nonzero(ordered) == 2 * n and np.count_nonzero(classed) == n
    if near and whole and (not n or scores[-1] >= keep_score):
        return None
    sound = ordered[0] & ordered[1] & classed & (scores >= keep_score)
    if not near:
        sound &= (np.abs(corners_px) < _FAR_PX).all(axis=0)
    return np.asarray(sound)
