"""The side that grants leases, and knows of each head how long it counts as taken."""

from collections import deque
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from itertools import chain

from common.codes import Aspect
from edge_agent.domain.signals.leases import HOLD, Answer, Ask, Hold, HoldEvent, LeaseTimes, Obeyed

_GO = frozenset({Aspect.GREEN, Aspect.YELLOW})


@dataclass(frozen=True, slots=True)
class Lane:
    """A head as the coordinator knows it: which movement it shows, and how long that needs to be red."""

    movement: str
    yellow_s: float
    clearance_s: float


class _Known:
    """What the coordinator knows of one head."""

    def __init__(self) -> None:
        self.hold = Hold.UNKNOWN
        self.until_s = 0.0
        self.boot = ""
        self.earlier_boots: deque[str] = deque(maxlen=8)
        self.asked: Ask | None = None
        self.heard_s = self.granted_s = float("-inf")
        """When it last asked, and when it was last granted that."""
        self.granted: tuple[str, int] | None = None
        """Boot and `seq` of the ask that was granted last."""
        self.answered: Answer | None = None
        self.n_answers = 0
        self.sent_s: deque[tuple[int, float]] = deque(maxlen=32)
        self.open_since_s: float | None = None
        """The way there and back was open since then; None: never yet."""

    def on(self, event: HoldEvent, until_s: float) -> bool:
        """Whether something follows from the event."""
        after = HOLD[self.hold].get(event)
        if after is None:
            return False
        self.hold, self.until_s = after, until_s
        return True

    def takes(self, ask: Ask) -> bool:
        """Whether the ask is newer than all that came, of the program that runs there now."""
        if ask.boot == self.boot:
            return self.asked is None or ask.seq > self.asked.seq
        if ask.boot in self.earlier_boots:
            return False
        self.earlier_boots.append(self.boot)
        self.boot = ask.boot
        self.sent_s.clear()
        return True


class Coordinator:
    """The side that grants.

    Args:
        lanes: the heads by name.
        conflicts: pairs of movements.
        me: a term that is newer than any before, and this start of the program.
        now_s: monotonic, as in all methods.

    Attributes:
        superseded_by: a head obeys a newer term than ours; from then on nothing is granted any more.
    """

    def __init__(
        self,
        lanes: Mapping[str, Lane],
        conflicts: Collection[tuple[str, str]],
        me: Obeyed,
        times: LeaseTimes,
        now_s: float,
    ) -> None:
        self._lanes, self._me, self._times = dict(lanes), me, times
        self._known = {name: _Known() for name in lanes}
        self._rivals = {name: _rivals(name, lanes, conflicts) for name in lanes}
        self._wanted: dict[str, Aspect] = {}
        self._not_before_s = now_s + max(self._hold_s(name)[0] for name in lanes)
        self.superseded_by: int | None = None

    @property
    def me(self) -> Obeyed:
        """Whom heads are to obey."""
        return self._me

    def want(self, aspects: Mapping[str, Aspect], now_s: float) -> list[Answer]:
        """What each movement is to show. Answers that are to be sent at once: those that changed.

        Yellow and red are the same here: no green. How long yellow lasts is the head's own.
        """
        self._wanted = dict(aspects)
        changed = []
        for name, known in self._known.items():
            ask = known.asked
            if ask is None or known.answered is None or ask.obeys != self._me:
                continue
            is_granted, aspect = self._verdict(name, now_s)
            if (known.answered.granted_s > 0.0, known.answered.aspect) != (is_granted, aspect):
                changed.append(self._answer(name, ask, now_s))
        return changed

    def hear(self, ask: Ask, now_s: float) -> Answer | None:
        """A head asks. None: the ask is old, or of a head that is not ours."""
        known = self._known.get(ask.head)
        if known is None or not known.takes(ask):
            return None
        known.asked, known.heard_s = ask, now_s
        if ask.obeys is not None and ask.obeys != self._me and ask.obeys.epoch >= self._me.epoch:
            self.superseded_by = max(ask.obeys.epoch, self.superseded_by or 0)
        if ask.obeys == self._me:
            self._heard_from_ours(known, ask, now_s)
        else:
            known.on(HoldEvent.ESTRANGED, now_s)
        return self._answer(ask.head, ask, now_s)

    def lost(self, now_s: float) -> tuple[str, ...]:
        """Heads with which the way there and back was not open for too long."""
        return tuple(name for name, known in self._known.items() if not self._is_open(known, now_s))

    def ready(self, now_s: float) -> bool:
        """Whether all heads obey, are red and clear, and the wait after the start is over."""
        return (
            self.superseded_by is None
            and now_s >= self._not_before_s
            and not self.lost(now_s)
            and all(self._is_free(name, now_s) for name in self._known)
        )

    def lit(self, now_s: float) -> dict[str, frozenset[Aspect]]:
        """By movement, what its heads say that they show; a head that is lost adds nothing."""
        shown: dict[str, set[Aspect]] = {lane.movement: set() for lane in self._lanes.values()}
        for name, known in self._known.items():
            if known.asked is not None and self._is_open(known, now_s):
                shown[self._lanes[name].movement].add(known.asked.aspect)
        return {movement: frozenset(aspects) for movement, aspects in shown.items()}

    def clash(self, now_s: float) -> tuple[str, ...]:
        """Heads that conflict and say that they are green or yellow, both, which no lease permits. A word from
        before the other's grant may be out of date by now."""
        going = {
            name: known
            for name, known in self._known.items()
            if known.asked is not None and known.asked.aspect in _GO and self._is_open(known, now_s)
        }
        return tuple(
            name
            for name, one in going.items()
            if any(
                one.heard_s >= going[rival].granted_s and going[rival].heard_s >= one.granted_s
                for rival in self._rivals[name]
                if rival in going
            )
        )

    def hold(self, name: str, now_s: float) -> Hold:
        """What is believed of a head."""
        known = self._known[name]
        if known.hold in (Hold.HELD, Hold.CLEARING) and now_s >= known.until_s:
            known.on(HoldEvent.OVER, now_s)
        return known.hold

    def _heard_from_ours(self, known: _Known, ask: Ask, now_s: float) -> None:
        full_s, clearing_s = self._hold_s(ask.head)
        for seq, sent_s in known.sent_s:
            if seq <= ask.heard:
                known.open_since_s = max(sent_s, known.open_since_s or sent_s)
        known.on(HoldEvent.ACCEPTED, now_s + full_s)
        newer_than_grant = known.granted is None or (ask.boot == known.granted[0] and ask.seq > known.granted[1])
        if not ask.holds and newer_than_grant:
            known.on(HoldEvent.RELEASED, min(known.until_s, now_s + clearing_s))

    def _answer(self, name: str, ask: Ask, now_s: float) -> Answer:
        known = self._known[name]
        is_granted, aspect = self._verdict(name, now_s)
        if is_granted:
            known.on(HoldEvent.GRANTED, now_s + self._hold_s(name)[0])
            known.granted, known.granted_s = (ask.boot, ask.seq), now_s
        known.n_answers += 1
        known.sent_s.append((known.n_answers, now_s))
        granted_s = self._times.lease_s if is_granted else 0.0
        known.answered = Answer(name, self._me, known.n_answers, ask.nonce, granted_s, aspect)
        return known.answered

    def _verdict(self, name: str, now_s: float) -> tuple[bool, Aspect]:
        """Whether this head may have a lease now, and what it is to show without one."""
        wanted = self._wanted.get(self._lanes[name].movement, Aspect.RED)
        if wanted is not Aspect.GREEN:
            return False, wanted if wanted in (Aspect.FLASHING_RED, Aspect.DARK) else Aspect.RED
        may = (
            self.superseded_by is None
            and now_s >= self._not_before_s
            and self.hold(name, now_s) is not Hold.UNKNOWN
            and all(self._is_free(rival, now_s) for rival in self._rivals[name])
        )
        return may, Aspect.RED

    def _is_free(self, name: str, now_s: float) -> bool:
        return self.hold(name, now_s) is Hold.FREE

    def _is_open(self, known: _Known, now_s: float) -> bool:
        return known.open_since_s is not None and now_s - known.open_since_s <= self._times.lost_after_s

    def _hold_s(self, name: str) -> tuple[float, float]:
        """After a grant, and after the word that it is red. A lane may have been told another yellow than we."""
        lane, asked = self._lanes[name], self._known[name].asked
        ending_s = max(self._times.ending_s(lane.yellow_s), asked.ending_s if asked is not None else 0.0)
        return self._times.hold_s(ending_s, lane.clearance_s), self._times.clearing_s(lane.clearance_s)


def _rivals(name: str, lanes: Mapping[str, Lane], conflicts: Collection[tuple[str, str]]) -> tuple[str, ...]:
    """The heads whose movements conflict with this one's."""
    mine = lanes[name].movement
    against = set(chain.from_iterable(pair for pair in conflicts if mine in pair)) - {mine}
    return tuple(other for other, lane in lanes.items() if lane.movement in against)
