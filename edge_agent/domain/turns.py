"""Turning movements: which crossing of one line and which of another are one vehicle's way through the junction.

A vehicle is what `Crossing.vehicle` says: a track, or several where one went on for another. Whoever comes in and
does not leave within its limit is reported, as is whoever leaves and was not seen coming: what the cameras miss of
turns is a figure, and not a silent share of them.

Crossings are told late, and not in the order in which they happened. So an exit waits a little before it is looked
at: its entry may be told after it.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from edge_agent.domain.crossing import Crossing
from edge_agent.domain.timeline import Timeline
from edge_agent.domain.turn_rules import Turn, Way

SETTLE_S = 2.0
"""How long an exit waits for an entry that happened before it and is told after it."""
_MOST_OPEN = 5000
"""Entries that wait for their exit; beyond it the oldest are given up. Only a broken line makes so many."""


@dataclass(frozen=True, slots=True)
class Turned:
    """A vehicle came in over one line and left over another.

    Attributes:
        cls, confidence: by vote of both crossings, weighted by their confidence.
        track: the track's id when it left.
    """

    turn: str
    entered_s: float
    left_s: float
    cls: str
    confidence: float
    track: int


@dataclass(frozen=True, slots=True)
class Unpaired:
    """A crossing that belongs to a turn, but to none that was seen whole.

    Attributes:
        entry: it came in, and was not seen leaving within the limit; else it left, and was not seen coming.
    """

    line: str
    entry: bool
    t_s: float
    cls: str
    confidence: float
    track: int


@dataclass(slots=True)
class TurnResult:
    """What became certain, each reported once."""

    turned: list[Turned] = field(default_factory=list)
    unpaired: list[Unpaired] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.turned or self.unpaired)


@dataclass(frozen=True, slots=True, eq=False)
class _Told:
    """A crossing, and when it was told."""

    crossing: Crossing
    told_s: float


class TurnCounter:
    """Pairs crossings. Pure: time is an argument."""

    def __init__(self, turns: Sequence[Turn]) -> None:
        """`turns`: as `check_turns` lets them pass."""
        self._turns = {(turn.entry, turn.exit): turn for turn in turns}
        self._limits_s: dict[Way, float] = {}
        for turn in turns:
            self._limits_s[turn.entry] = max(turn.within_s, self._limits_s.get(turn.entry, 0.0))
        self._exits = {turn.exit for turn in turns}
        self._timeline = Timeline()
        self._came: list[_Told] = []
        self._left: list[_Told] = []

    def update(self, crossings: Iterable[Crossing], t_s: float) -> TurnResult:
        """Take in what was told at `t_s`; returns turns and unpaired crossings that are certain by now.

        Raises:
            ValueError: `t_s` is not finite.
        """
        result = TurnResult()
        if not self._turns:
            return result
        step = self._timeline.advance(t_s)
        if step.restarted:
            self._end(result)
        for crossing in crossings:
            way = crossing.line, crossing.direction
            if way in self._limits_s:
                self._came.append(_Told(crossing, step.now_s))
            if way in self._exits:
                self._left.append(_Told(crossing, step.now_s))
        self._settle(step.now_s - SETTLE_S, result)
        self._give_up(step.now_s, result)
        return result

    def finish(self) -> TurnResult:
        """The source is over: who is still inside was not seen leaving."""
        result = TurnResult()
        self._end(result)
        return result

    def _end(self, result: TurnResult) -> None:
        self._settle(math.inf, result)
        result.unpaired += [_unpaired(one.crossing, entry=True) for one in self._came]
        self._came.clear()

    def _settle(self, told_by_s: float, result: TurnResult) -> None:
        """Look at the exits that were told by then, in the order in which they happened."""
        due = [one.crossing for one in self._left if one.told_s <= told_by_s]
        if not due:
            return
        self._left = [one for one in self._left if one.told_s > told_by_s]
        for crossing in sorted(due, key=lambda crossing: crossing.t_s):
            turned = self._pair(crossing)
            if turned is None:
                result.unpaired.append(_unpaired(crossing, entry=False))
            else:
                result.turned.append(turned)

    def _pair(self, left: Crossing) -> Turned | None:
        """The turn that ends with this exit; it began with the last entry of the same vehicle that leads there."""
        best, best_turn = None, None
        for one in self._came:
            came = one.crossing
            turn = self._turns.get(((came.line, came.direction), (left.line, left.direction)))
            if turn is None or came.vehicle != left.vehicle or not 0 <= left.t_s - came.t_s <= turn.within_s:
                continue
            if best is None or came.t_s >= best.crossing.t_s:
                best, best_turn = one, turn
        if best is None or best_turn is None:
            return None
        self._came.remove(best)
        return _turned(best_turn, best.crossing, left)

    def _give_up(self, now_s: float, result: TurnResult) -> None:
        """Entries whose limit is over, and those that there is no room for."""
        too_many = len(self._came) - _MOST_OPEN
        old = [one for place, one in enumerate(self._came) if place < too_many or self._deadline_s(one) < now_s]
        if old:
            self._came = [one for one in self._came if one not in old]
            result.unpaired += [_unpaired(one.crossing, entry=True) for one in old]

    def _deadline_s(self, one: _Told) -> float:
        """Until when an exit that could be its own is told and looked at, as far as can be known."""
        limit_s = self._limits_s[one.crossing.line, one.crossing.direction]
        return max(one.crossing.t_s + limit_s, one.told_s) + 2 * SETTLE_S


def _turned(turn: Turn, came: Crossing, left: Crossing) -> Turned:
    cls, confidence = _vote(came, left)
    return Turned(turn.name, came.t_s, left.t_s, cls, confidence, left.track)


def _vote(came: Crossing, left: Crossing) -> tuple[str, float]:
    """Of the two, the later one knows more: it wins if they are even."""
    if came.cls == left.cls:
        return left.cls, 0.5 * (came.confidence + left.confidence)
    surer = came if came.confidence > left.confidence else left
    return surer.cls, surer.confidence


def _unpaired(crossing: Crossing, *, entry: bool) -> Unpaired:
    return Unpaired(crossing.line, entry, crossing.t_s, crossing.cls, crossing.confidence, crossing.track)
