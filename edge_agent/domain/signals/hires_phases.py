"""Events of the lamps, per movement: green, yellow, red clearance, walk; and the calls that wait for green."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from common.codes import Aspect
from common.hires import Code
from common.junction import Junction, Movement, MovementKind, walks
from edge_agent.domain.signals.event_codes import Event
from edge_agent.domain.signals.steps import Lane, Termination

SAME_MOMENT_S = 0.001
"""The log's own resolution is finer than a step and no finer than this."""
CALL_GONE_AFTER_S = 2.0
"""A queue that creeps stands and moves in turn; its call is dropped when nobody has stood for so long."""

_WHY = {
    Termination.GAP_OUT: Code.GAP_OUT,
    Termination.MAX_OUT: Code.MAX_OUT,
    Termination.FORCE_OFF: Code.FORCE_OFF,
}


@dataclass(slots=True)
class _Phase:
    """What is known of one movement: what it shows, why its green is going to end, when its clearance is over."""

    number: int
    clearance_s: float
    least_s: float = 0.0
    aspect: Aspect = Aspect.RED
    why: Code = Code.FORCE_OFF
    clear_at_s: float | None = None
    least_at_s: float | None = None

    def complete(self, now_s: float) -> Iterator[Event]:
        """Its green may have had its minimum."""
        at_s = self.least_at_s
        if at_s is not None and at_s <= now_s + SAME_MOMENT_S:
            self.least_at_s = None
            yield Event(Code.MIN_COMPLETE, self.number, at_s)

    def clear(self, at_s: float) -> Iterator[Event]:
        """Its clearance is over, or overtaken by something else."""
        self.clear_at_s = None
        yield Event(Code.END_RED_CLEARANCE, self.number, at_s)
        yield Event(Code.PHASE_INACTIVE, self.number, at_s)

    def change(self, aspect: Aspect, now_s: float) -> Iterator[Event]:
        """What it shows from now on. Whatever was begun is ended, also where lights go to flash in the middle."""
        before, self.aspect = self.aspect, aspect
        if self.clear_at_s is not None:
            yield from self.clear(min(self.clear_at_s, now_s))
        self.least_at_s = now_s + self.least_s if aspect is Aspect.GREEN else None
        if before is Aspect.GREEN:
            yield Event(self.why, self.number, now_s)
            yield Event(Code.END_GREEN, self.number, now_s)
        elif before is Aspect.YELLOW:
            yield Event(Code.END_YELLOW, self.number, now_s)
        if aspect is Aspect.GREEN:
            self.why = Code.FORCE_OFF
            yield Event(Code.PHASE_ON, self.number, now_s)
            yield Event(Code.BEGIN_GREEN, self.number, now_s)
        elif aspect is Aspect.YELLOW:
            yield Event(Code.BEGIN_YELLOW, self.number, now_s)
        elif before in (Aspect.GREEN, Aspect.YELLOW):
            if aspect is Aspect.RED:
                self.clear_at_s = now_s + self.clearance_s
                yield Event(Code.BEGIN_RED_CLEARANCE, self.number, now_s)
            else:
                yield Event(Code.PHASE_INACTIVE, self.number, now_s)


class _Walk(_Phase):
    """The same for people. They have no yellow; their clearance is their way across."""

    def clear(self, at_s: float) -> Iterator[Event]:
        self.clear_at_s = None
        yield Event(Code.BEGIN_DONT_WALK, self.number, at_s)

    def change(self, aspect: Aspect, now_s: float) -> Iterator[Event]:
        before, self.aspect = self.aspect, aspect
        if self.clear_at_s is not None:
            yield from self.clear(min(self.clear_at_s, now_s))
        if aspect is Aspect.GREEN:
            yield Event(Code.BEGIN_WALK, self.number, now_s)
        elif before is Aspect.GREEN and aspect is Aspect.RED:
            self.clear_at_s = now_s + self.clearance_s
            yield Event(Code.BEGIN_WALK_CLEARANCE, self.number, now_s)
        elif before is Aspect.GREEN:
            yield Event(Code.BEGIN_DONT_WALK, self.number, now_s)


class PhaseLog:
    """The lamps of all movements."""

    def __init__(self, junction: Junction) -> None:
        self._phases = {movement.name: _phase(movement) for movement in junction.movements}
        self._shown: dict[str, Aspect] = {}
        self._clearing: set[str] = set()

    def step(self, now_s: float, shown: Mapping[str, Aspect], ended: Mapping[str, Termination]) -> Iterator[Event]:
        """The events of one step."""
        for name in ended:
            if name in self._phases:
                self._phases[name].why = _WHY[ended[name]]
        if self._clearing:
            yield from self._cleared(now_s)
        for one in self._phases.values():
            yield from one.complete(now_s)
        if shown == self._shown:
            return
        for name, aspect in shown.items():
            phase = self._phases.get(name)
            if phase is not None and phase.aspect is not aspect:
                yield from phase.change(aspect, now_s)
                if phase.clear_at_s is not None:
                    self._clearing.add(name)
        self._shown = dict(shown)
        yield from self._cleared(now_s)

    def _cleared(self, now_s: float) -> Iterator[Event]:
        """Those clearances that are over. One of 0 s is over when it begins, and is told all the same."""
        for name in sorted(self._clearing):
            phase = self._phases[name]
            if phase.clear_at_s is None:
                self._clearing.discard(name)
            elif phase.clear_at_s <= now_s + SAME_MOMENT_S:
                self._clearing.discard(name)
                yield from phase.clear(phase.clear_at_s)


def _phase(movement: Movement) -> _Phase:
    kind = _Walk if movement.kind is MovementKind.PEDESTRIAN else _Phase
    return kind(movement.phase, movement.red_clearance_s, movement.min_green_s)


@dataclass(slots=True)
class _Call:
    """Whether somebody waits before one movement, and who tells of it."""

    number: int
    is_walk: bool
    lanes: tuple[int, ...]
    is_on: bool = False
    last_waited_s: float = 0.0


class CallLog:
    """Calls: somebody stands at a red, or pressed a button, until green comes or they are gone."""

    def __init__(self, junction: Junction) -> None:
        index = {lane.name: number for number, lane in enumerate(junction.lanes)}
        own = {name: (number,) for number, name in enumerate(walks(junction), len(index))}
        self._calls = {
            movement.name: _Call(
                movement.phase,
                movement.kind is MovementKind.PEDESTRIAN,
                tuple(index[name] for name in movement.lanes if name in index) + own.get(movement.name, ()),
            )
            for movement in junction.movements
        }
        self._n_lanes = len(index) + len(own)

    def step(self, now_s: float, shown: Mapping[str, Aspect], lanes: Sequence[Lane]) -> Iterator[Event]:
        """The events of one step. A lane that tells nothing neither makes a call nor ends one."""
        if len(lanes) != self._n_lanes:
            return
        for name, call in self._calls.items():
            if not call.lanes:
                continue
            if shown.get(name) is Aspect.GREEN:
                if call.is_on:
                    yield from self._off(call, now_s)
                continue
            waiting = [lanes[index].is_waiting for index in call.lanes]
            if True in waiting:
                call.last_waited_s = now_s
                if not call.is_on:
                    call.is_on = True
                    yield Event(
                        Code.WALK_CALL_REGISTERED if call.is_walk else Code.CALL_REGISTERED, call.number, now_s
                    )
            elif call.is_on and None not in waiting and now_s - call.last_waited_s >= CALL_GONE_AFTER_S:
                yield from self._off(call, now_s)

    def _off(self, call: _Call, now_s: float) -> Iterator[Event]:
        """The standard has no event for the end of a walk's call: walk answers it."""
        call.is_on = False
        if not call.is_walk:
            yield Event(Code.CALL_DROPPED, call.number, now_s)
