"""Heads that hang at other Pis, one a lane: `SignalHeads` of a coordinator, over leases and a broker.

What the controller wants to be green is granted to the lanes that ask; what it wants to end is not granted any
more, and yellow and red follow at the lane. A lane may therefore lag behind by a lease where messages are lost.
That is allowed for `settle_s`; who then still shows something else, or is not heard, is reported as a lost link,
and all flash. When all lanes are heard again, red and clear, that fault is cleared by itself: nothing at the
junction is broken then, and what the lanes did meanwhile was red or flash by their own clocks.
"""

import logging
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from common.codes import Aspect
from common.junction import Junction, conflict_pairs
from common.topics import CarCounts, LeaseAsk
from edge_agent.domain.signals.interlock import Interlock
from edge_agent.domain.signals.lease_coordinator import Coordinator, Lane
from edge_agent.domain.signals.leases import LEASE_TIMES, LeaseTimes, Obeyed
from edge_agent.domain.signals.steps import FaultCode
from edge_agent.mqtt.speaking import Speaker, ask_in

logger = logging.getLogger(__name__)

_LIT: Mapping[Aspect, frozenset[Aspect]] = {
    Aspect.FLASHING_RED: frozenset({Aspect.RED}),
    Aspect.FLASHING_YELLOW: frozenset({Aspect.YELLOW}),
    Aspect.DARK: frozenset(),
}
_STEADY = frozenset({Aspect.RED, Aspect.YELLOW, Aspect.GREEN})
_MAX_COUNTS = 256


@dataclass(frozen=True, slots=True)
class LaneLink:
    """What a coordinator has to know to reach its lanes.

    Attributes:
        heads: name of each head in the topics, and the movement that it shows.
        epoch: of this start: newer than any before.
        superseded: told the term of another coordinator that the lanes obey.
    """

    heads: Mapping[str, str]
    epoch: int
    times: LeaseTimes = LEASE_TIMES
    settle_s: float = 3.5
    superseded: Callable[[int], None] = lambda _: None


class LanesHeads:
    """See the module. Once a step `care`, then `read_back` and `show`.

    Args:
        clock: the time that `now_s` is of. What a lane says was so when it was heard, which may be later than the
            beginning of the step.
    """

    def __init__(self, junction: Junction, link: LaneLink, speaker: Speaker, clock: Callable[[], float]) -> None:
        self._junction, self._link, self._speaker, self._clock = junction, link, speaker, clock
        self._coordinator: Coordinator | None = None
        self._told: Mapping[str, Aspect] = {movement.name: Aspect.RED for movement in junction.movements}
        self._told_since_s = self._steady_from_s = float("-inf")
        self._counts: deque[CarCounts] = deque(maxlen=_MAX_COUNTS)
        self._now_s = float("-inf")
        self._superseded_by: int | None = None

    def show(self, aspects: Mapping[str, Aspect], now_s: float) -> None:
        """Grant leases to who asks and may be green; tell at once who may not be any more."""
        coordinator = self._coordinator or self._begin(now_s)
        self._now_s = now_s
        if aspects != self._told:
            self._told, self._told_since_s = dict(aspects), now_s
        if not _STEADY.issuperset(aspects.values()):
            self._steady_from_s = now_s
        changed = coordinator.want(aspects, now_s)
        came = list(self._speaker.hear())
        heard_s = self._clock()
        for message in came:
            if isinstance(message, CarCounts):
                self._counts.append(message)
            elif isinstance(message, LeaseAsk) and (ask := ask_in(message)) is not None:
                answer = coordinator.hear(ask, heard_s)
                if answer is not None:
                    self._speaker.answer(answer)
        for answer in changed:
            self._speaker.answer(answer)

    def read_back(self) -> Mapping[str, frozenset[Aspect]] | None:
        """What all lanes say that they show, where that is what they were told; None while it is not yet, which
        `care` watches."""
        if self._coordinator is None or self._differing(self._coordinator, self._now_s):
            return None
        return {name: _LIT.get(told, frozenset({told})) for name, told in self._told.items()}

    def care(self, interlock: Interlock, now_s: float) -> None:
        """Report what is wrong with the links, and clear that fault when it is over."""
        coordinator = self._coordinator or self._begin(now_s)
        if clash := coordinator.clash(now_s):
            interlock.report(FaultCode.CONFLICT, f"{' and '.join(clash)} say that they are lit to go", now_s)
        wrong = self._wrong(coordinator, now_s)
        if wrong:
            interlock.report(FaultCode.LINK_LOST, wrong, now_s)
        elif (
            interlock.fault is not None
            and interlock.fault.code is FaultCode.LINK_LOST
            and coordinator.ready(now_s)
            and interlock.clear(now_s).accepted
        ):
            logger.info("all lanes are there again; start-up", extra={"action": "lanes_back"})

    def counts(self) -> list[CarCounts]:
        """What lanes counted, as it came since the last call."""
        counted = list(self._counts)
        self._counts.clear()
        return counted

    @property
    def epoch(self) -> int:
        """This coordinator's term."""
        return self._link.epoch

    def fail_safe(self) -> None:
        """Nobody is granted any more, and all are told so; whoever does not hear it ends with the lease."""
        if self._coordinator is not None:
            red = dict.fromkeys(self._told, Aspect.RED)
            for answer in self._coordinator.want(red, self._now_s):
                self._speaker.answer(answer)

    def close(self) -> None:
        """Into the safe state, and hang up."""
        self.fail_safe()
        self._speaker.bus.close()

    def _begin(self, now_s: float) -> Coordinator:
        movements = {movement.name: movement for movement in self._junction.movements}
        lanes = {
            head: Lane(name, movements[name].yellow_s, movements[name].red_clearance_s)
            for head, name in self._link.heads.items()
        }
        me = Obeyed(self._link.epoch, str(self._speaker.boot))
        self._coordinator = Coordinator(lanes, conflict_pairs(self._junction), me, self._link.times, now_s)
        return self._coordinator

    def _wrong(self, coordinator: Coordinator, now_s: float) -> str:
        """What is wrong with the links; empty: nothing."""
        if coordinator.superseded_by is not None:
            if coordinator.superseded_by != self._superseded_by:
                self._superseded_by = coordinator.superseded_by
                self._link.superseded(coordinator.superseded_by)
            return (
                f"lanes obey another coordinator (term {coordinator.superseded_by}; ours is {self._link.epoch}): "
                "stop that one, then start this one anew"
            )
        if lost := coordinator.lost(now_s):
            return f"not heard: {', '.join(lost)}; look after power, network and broker of these Pis"
        lit = coordinator.lit(now_s)
        if now_s - self._steady_from_s > self._link.settle_s:
            # A change of what is told excuses no lane that flashes or is dark by itself.
            off = [f"{name} flashes or is dark by itself" for name in lit if not _STEADY.issuperset(lit[name])]
            if off:
                return "; ".join(off)
        if now_s - self._told_since_s > self._link.settle_s:
            return "; ".join(self._differing(coordinator, now_s))
        return ""

    def _differing(self, coordinator: Coordinator, now_s: float) -> list[str]:
        """Movements whose lanes do not show what they were told."""
        lit = coordinator.lit(now_s)
        return [
            f"{name} was told {told} and shows {' and '.join(sorted(lit[name])) or 'nothing that is known'}"
            for name, told in self._told.items()
            if lit[name] != {told}
        ]
