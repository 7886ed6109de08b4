"""What of a camera's time was measured, and what was not: every moment ends up in exactly one of the two.

A `Block` is a stretch that was watched, a `Hole` one that was not, with the reason. They follow each other without
overlap and without anything between them, from the first frame to the last call of `finish`.

A picture that does not change, or is black, is only known to be bad after a while. So frames in doubt are set
aside: they join the block when the doubt was wrong, and become part of the hole when it was right. Pure: time is
an argument, in seconds of the source's clock.
"""

import math
import statistics
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

from common.codes import GapReason

BLOCK_S = 10.0
"""How long a block is, where nothing ends it earlier."""
HOLE_SLICE_S = 60.0
"""A long hole is told in pieces, so that it is known while it lasts."""
STALL_S = 2.0
"""Two frames further apart than this leave a hole: a vehicle can pass between them and be lost to the tracker."""
LEAST_FPS = 1.0
"""By fewer pictures a second nobody can be followed: all would be measured, and nothing counted."""
ENOUGH_FPS = 5.0
"""By so many pictures a second lines count well."""
TOO_SLOW_FPS = 0.8
"""Below this a camera that is to give `LEAST_FPS` counts as too slow: no camera keeps its rate exactly."""
_FAST_AGAIN_FPS = 0.95
_RATE_SPAN_S = 10.0
"""The rate is that of so long: one picture that took its time is no slow machine."""


@dataclass(frozen=True, slots=True)
class Looked:
    """One frame that went through the detector.

    Attributes:
        by_class: how many objects of each class it showed; classes it did not show may be left out.
        latency_s: how long the detector took.
        dropped: frames between this one and the one before that were skipped for being old.
    """

    t_s: float
    by_class: Mapping[str, int]
    latency_s: float
    dropped: int = 0


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is known about the picture as of a frame.

    Attributes:
        reason: why it shows nothing, or None.
        since_s: since when that, or the doubt, lasts; None: the picture is good.
    """

    reason: GapReason | None = None
    since_s: float | None = None

    @property
    def doubtful(self) -> bool:
        """Whether the picture may turn out to be bad since `since_s`."""
        return self.reason is None and self.since_s is not None


GOOD = Verdict()


class RateWatch:
    """Judges whether enough pictures are looked at to follow anybody."""

    def __init__(self) -> None:
        self._times_s: deque[float] = deque()
        """Of the pictures that the rate is taken from."""
        self._apart_since_s: float | None = None
        """Since when each picture came too long after the one before."""
        self._slow = False

    @property
    def fps(self) -> float:
        """How many pictures a second were looked at of late."""
        span_s = self._times_s[-1] - self._times_s[0] if self._times_s else 0.0
        return (len(self._times_s) - 1) / span_s if span_s > 0 else math.inf

    def update(self, t_s: float, busy_s: float) -> Verdict:
        """A picture of `t_s` is looked at, and the work for the one before took `busy_s`. What is known by it."""
        times_s = self._times_s
        apart_s = t_s - times_s[-1] if times_s else 0.0
        if apart_s > STALL_S + busy_s:
            # The source was silent, and nobody slow.
            times_s.clear()
            self._apart_since_s = None
        elif apart_s <= 1 / TOO_SLOW_FPS:
            self._apart_since_s = None
        elif self._apart_since_s is None:
            self._apart_since_s = times_s[-1]
        times_s.append(t_s)
        while t_s - times_s[1 if len(times_s) > 1 else 0] >= _RATE_SPAN_S:
            times_s.popleft()
        if t_s - times_s[0] >= _RATE_SPAN_S:
            self._slow = self.fps < (_FAST_AGAIN_FPS if self._slow else TOO_SLOW_FPS)
        since_s = times_s[0] if self._apart_since_s is None else self._apart_since_s
        if self._slow:
            return Verdict(GapReason.TOO_SLOW, since_s)
        return GOOD if self._apart_since_s is None else Verdict(None, since_s)


@dataclass(frozen=True, slots=True)
class ClassSpread:
    """How many objects of one class the frames of a block showed."""

    n_min: int
    n_mean: float
    n_max: int


@dataclass(frozen=True, slots=True)
class Block:
    """A stretch that was watched."""

    from_s: float
    to_s: float
    n: int
    dropped: int
    classes: dict[str, ClassSpread]
    latency_p50_s: float | None
    latency_p95_s: float | None


@dataclass(frozen=True, slots=True)
class Hole:
    """A stretch that was not watched."""

    reason: GapReason
    from_s: float
    to_s: float


@dataclass(slots=True)
class _Pile:
    """Frames of a block in the making."""

    from_s: float
    frames: list[Looked] = field(default_factory=list)

    @property
    def to_s(self) -> float:
        return self.frames[-1].t_s if self.frames else self.from_s

    def block(self) -> Block:
        classes = sorted({name for frame in self.frames for name in frame.by_class})
        latencies_s = sorted(frame.latency_s for frame in self.frames)
        return Block(
            from_s=self.from_s,
            to_s=self.to_s,
            n=len(self.frames),
            dropped=sum(frame.dropped for frame in self.frames),
            classes={name: self._spread(name) for name in classes},
            latency_p50_s=_quantile(latencies_s, 0.5),
            latency_p95_s=_quantile(latencies_s, 0.95),
        )

    def _spread(self, name: str) -> ClassSpread:
        counts = [frame.by_class.get(name, 0) for frame in self.frames]
        return ClassSpread(min(counts), statistics.fmean(counts), max(counts))


class MeasureLog:
    """Keeps the account of one camera's time."""

    def __init__(self, *, block_s: float = BLOCK_S) -> None:
        self._block_s = block_s
        self._pile: _Pile | None = None
        """What is being measured. None: nothing is, and `_hole_from_s` says since when."""
        self._doubt: list[Looked] = []
        self._seen_s = 0.0
        """The latest frame, good or not."""
        self._hole_from_s = 0.0
        self._reason = GapReason.CAMERA_DOWN

    @property
    def reason(self) -> GapReason | None:
        """Why nothing is measured at present; None: it is."""
        return None if self._pile is not None else self._reason

    def start(self, t_s: float) -> None:
        """The first frame came at `t_s`: the account begins."""
        self._pile = _Pile(t_s)
        self._seen_s = t_s

    def frame(self, looked: Looked, verdict: Verdict = GOOD) -> list[Block | Hole]:
        """One more frame, and what is known of the picture by now. Returns what is complete."""
        before_s, self._seen_s = self._seen_s, looked.t_s
        if verdict.reason is not None:
            assert verdict.since_s is not None
            return self.unmeasured(verdict.reason, verdict.since_s, looked.t_s)
        done = self._resume(before_s, looked.t_s)
        assert self._pile is not None
        if verdict.doubtful:
            self._doubt.append(looked)
            return done
        self._pile.frames += [*self._doubt, looked]
        self._doubt.clear()
        if looked.t_s - self._pile.from_s >= self._block_s:
            done.append(self._pile.block())
            self._pile = _Pile(looked.t_s)
        return done

    def idle(self, now_s: float) -> list[Block | Hole]:
        """No frame came until `now_s`."""
        if now_s - self._seen_s <= STALL_S:
            return []
        return self.unmeasured(GapReason.CAMERA_DOWN, self._seen_s, now_s)

    def unmeasured(self, reason: GapReason, since_s: float, now_s: float) -> list[Block | Hole]:
        """Nothing was measured since `since_s`, and nothing is now."""
        done: list[Block | Hole] = []
        if self._pile is not None:
            done += self._close_pile(reason, since_s)
        elif reason is not self._reason:
            done += self._close_hole(max(since_s, self._hole_from_s))
            self._reason = reason
        while now_s - self._hole_from_s >= HOLE_SLICE_S:
            done += self._close_hole(self._hole_from_s + HOLE_SLICE_S)
        return done

    def finish(self, now_s: float) -> list[Block | Hole]:
        """The account ends. What was in doubt stays in doubt no longer: it counts as measured."""
        if self._pile is None:
            return self._close_hole(max(now_s, self._hole_from_s))
        self._pile.frames += self._doubt
        self._doubt.clear()
        done = [self._pile.block()] if self._pile.to_s > self._pile.from_s else []
        self._hole_from_s, self._pile = self._pile.to_s, None
        return [*done]

    def so_far(self) -> Block | None:
        """The block in the making, if it covers any time yet. What is in doubt is left out."""
        if self._pile is None or self._pile.to_s <= self._pile.from_s:
            return None
        return self._pile.block()

    def _resume(self, before_s: float, t_s: float) -> list[Block | Hole]:
        """A good frame came at `t_s`, the one before at `before_s`: end a hole, or find one between them."""
        done: list[Block | Hole] = []
        if self._pile is not None and t_s - before_s > STALL_S:
            done += self._close_pile(GapReason.CAMERA_DOWN, before_s)
        if self._pile is None:
            done += self._close_hole(max(t_s, self._hole_from_s))
            self._pile = _Pile(t_s)
        return done

    def _close_pile(self, reason: GapReason, since_s: float) -> list[Block | Hole]:
        """End the block at `since_s`. Frames in doubt before it were good after all."""
        assert self._pile is not None
        pile, self._pile = self._pile, None
        pile.frames += [frame for frame in self._doubt if frame.t_s <= since_s]
        self._doubt.clear()
        self._hole_from_s, self._reason = pile.to_s, reason
        return [pile.block()] if pile.to_s > pile.from_s else []

    def _close_hole(self, to_s: float) -> list[Block | Hole]:
        hole = Hole(self._reason, self._hole_from_s, to_s)
        self._hole_from_s = to_s
        return [hole] if hole.to_s > hole.from_s else []


def _quantile(ascending: list[float], share: float) -> float | None:
    """The smallest value that at least `share` of all do not exceed."""
    if not ascending:
        return None
    return ascending[max(0, math.ceil(share * len(ascending)) - 1)]
