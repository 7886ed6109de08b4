"""The last word on what the heads show: whatever is wanted, nothing unsafe is.

Nothing here is shared with the controller but the junction's description, so that no single mistake can be made on
both sides. The rules, each for every movement and all on the monotonic clock:

* Only the changes of `TRANSITIONS`; and all heads are steady, all flash or all are dark.
* No two that conflict go together; green, yellow and flashing yellow go.
* Yellow lasts as long as it is described to (never less than 2.7 s), and a step longer at most.
* Green lasts for its minimum; where preempting was told, for the shortest that a preemption may cut it to.
* Green begins when all that conflicts has been red for its clearance, and start-up is over: at first and after
  dark, flash or a fault all heads are steady red for `all_red_s`, and for the longest yellow and clearance.
* Flashing yellow, at which people go without a stop, begins when all that conflicts has flashed red for as long as
  its yellow and its clearance last: flash may have cut a green off.
* All of this from the moment at which the heads were told, which may be later than that of the step.
* Time goes on, and steps are not late. What is lit is what was allowed (see `lamps`).
* What has a recall does not stay red for ever: at `max_red_s` it is `starving`, which is reported; at twice that
  and `STARVED_S` more, a fault. That is late with intent: one lane that waits is no danger, and a latched flash
  needs somebody to come. But a controller that hangs, or leaves out a lane, must not go on: flashing red lets
  everybody through in turn. The time of a preemption does not count, as far as it can last by its description.
  What has no recall is called by sensors, which the interlock does not know; the controller alone serves it.

Whatever breaks a rule is a fault: flashing red everywhere, in the same call, latched.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from common.codes import Aspect
from common.commands import OrderResult
from common.junction import Junction, Movement, MovementKind, Recall, conflict_pairs
from edge_agent.domain.signals.lamps import Finding, Lamps
from edge_agent.domain.signals.steps import Fault, FaultCode

TRANSITIONS: Mapping[Aspect, frozenset[Aspect]] = MappingProxyType(
    {
        Aspect.RED: frozenset({Aspect.RED, Aspect.GREEN, Aspect.FLASHING_RED}),
        Aspect.GREEN: frozenset({Aspect.GREEN, Aspect.YELLOW, Aspect.FLASHING_RED}),
        Aspect.YELLOW: frozenset({Aspect.YELLOW, Aspect.RED, Aspect.FLASHING_RED}),
        Aspect.FLASHING_RED: frozenset(
            {Aspect.FLASHING_RED, Aspect.FLASHING_YELLOW, Aspect.RED, Aspect.DARK},
        ),
        Aspect.FLASHING_YELLOW: frozenset({Aspect.FLASHING_YELLOW, Aspect.YELLOW, Aspect.FLASHING_RED}),
        Aspect.DARK: frozenset({Aspect.DARK, Aspect.RED, Aspect.FLASHING_RED}),
    }
)
"""What a head may show next. Of vehicles; people's `PEDESTRIAN_TRANSITIONS` have no yellow."""
PEDESTRIAN_TRANSITIONS: Mapping[Aspect, frozenset[Aspect]] = MappingProxyType(
    {
        **TRANSITIONS,
        Aspect.GREEN: frozenset({Aspect.GREEN, Aspect.RED, Aspect.FLASHING_RED}),
        Aspect.YELLOW: frozenset({Aspect.FLASHING_RED}),
        Aspect.FLASHING_RED: TRANSITIONS[Aspect.FLASHING_RED] - {Aspect.FLASHING_YELLOW},
        Aspect.FLASHING_YELLOW: frozenset({Aspect.FLASHING_RED}),
    }
)
GO = frozenset({Aspect.GREEN, Aspect.YELLOW, Aspect.FLASHING_YELLOW})
"""Aspects at which somebody may be on the junction."""
SHORTEST_YELLOW_S = 2.7
"""Whatever is described."""
TOLERANCE_S = 0.01
"""By so much a time may be short: clocks are floats, and steps are rounded."""
STARVED_S = 60.0
QUIET_S = 2.0
"""So long a cause must not have been seen before a fault can be cleared."""
_FLASHING = frozenset({Aspect.FLASHING_RED, Aspect.FLASHING_YELLOW})


@dataclass(frozen=True, slots=True)
class Limits:
    """What the interlock allows for. The defaults are those of a real junction; a simulation in steps of 1 s needs
    a larger `late_step_s`.

    Attributes:
        late_step_s: a longer pause between two calls of `allow`, outside flash and dark, is a fault.
        min_flash_s: so long a fault flashes at least.
    """

    late_step_s: float = 0.5
    min_flash_s: float = 6.0


LIMITS = Limits()


class Interlock:
    """Judges each wanted set of aspects, and what is really lit; flashes red, latched, when anything is wrong.

    Args:
        now_s: monotonic, as in all methods.
    """

    def __init__(self, junction: Junction, now_s: float, limits: Limits = LIMITS) -> None:
        self._limits = limits
        self._movements = junction.movements
        self._names = tuple(movement.name for movement in junction.movements)
        index = {name: i for i, name in enumerate(self._names)}
        pairs = tuple((index[a], index[b]) for a, b in conflict_pairs(junction))
        self._rivals = tuple(
            tuple(sorted({b if a == i else a for a, b in pairs if i in (a, b)})) for i in range(len(index))
        )
        self._legal = tuple(
            PEDESTRIAN_TRANSITIONS if one.kind is MovementKind.PEDESTRIAN else TRANSITIONS
            for one in junction.movements
        )
        self._cut_s = min((one.entry_min_green_s for one in junction.preemptions), default=math.inf)
        self._preempted_s = sum(one.max_presence_s + STARVED_S for one in junction.preemptions)
        # Who was cut off before had no yellow: with a process that died, or by flash.
        cleared_s = (one.yellow_s + one.red_clearance_s for one in junction.movements)
        self._all_red_s = max(junction.startup.all_red_s, *cleared_s)
        self._lamps = Lamps(self._names, pairs)
        self._flash = MappingProxyType(dict.fromkeys(self._names, Aspect.FLASHING_RED))
        self._fault: Fault | None = None
        self._later: Fault | None = None
        self._cause_s = -math.inf
        self._last_s = now_s
        self._preempting_from_s: float | None = None
        self._is_open = False
        self._closed_from_s: float | None = None
        self._shown: Mapping[str, Aspect] = MappingProxyType(dict.fromkeys(self._names, Aspect.DARK))
        self._aspects: tuple[Aspect, ...] = (Aspect.DARK,) * len(index)
        self._since_s = [now_s] * len(index)
        self._unserved_s = [now_s] * len(index)
        self._credit_s = [0.0] * len(index)
        self._look_s = -math.inf

    @property
    def fault(self) -> Fault | None:
        """The first thing that went wrong, latched until `clear`."""
        return self._fault

    @property
    def starving(self) -> frozenset[str]:
        """Movements with a recall that have been red for longer than their `max_red_s`: to be reported."""
        now_s = self._last_s if self._preempting_from_s is None else self._preempting_from_s
        return frozenset(
            one.name
            for one, aspect, unserved_s in zip(self._movements, self._aspects, self._unserved_s, strict=True)
            if self._is_open
            and one.recall is not Recall.NONE
            and aspect is Aspect.RED
            and now_s - unserved_s > one.max_red_s + TOLERANCE_S
        )

    def allow(
        self, wanted: Mapping[str, Aspect], now_s: float, *, preempting: bool = False
    ) -> Mapping[str, Aspect]:
        """What is to be shown: `wanted` where that is safe, else flashing red everywhere. Never raises.

        Call it in every step, changed or not: a pause is a fault.

        Args:
            preempting: `Decision.mode` is PREEMPT: a running green may be cut to a preemption's
                `entry_min_green_s`.
        """
        if (
            0.0 <= now_s - self._last_s <= self._limits.late_step_s
            and now_s < self._look_s
            and preempting is (self._preempting_from_s is not None)
            and wanted == self._shown
        ):
            self._last_s = now_s
            return self._shown
        wrong = self._time_wrong(now_s)
        self._last_s = now_s
        if self._fault is not None:
            if wrong is not None:
                # How long it has flashed cannot be told any more.
                self._fault = Fault(self._fault.code, self._fault.detail, now_s)
                self._fail(*wrong, now_s)
            return self._flash
        self._tell_preempting(preempting, now_s)
        aspects = self._read(wanted)
        if wrong is None:
            wrong = self._wrong(aspects, now_s) if aspects is not None else self._misread(wanted)
        if wrong is not None or aspects is None:
            self._fail(*(wrong or self._misread(wanted)), now_s)
            return self._flash
        self._take(aspects, now_s)
        return self._shown

    def lit(self, step_s: float, at_s: float) -> None:
        """What changed in the call of `allow` at `step_s` is seen since `at_s` only, and lasts from then on."""
        if not at_s >= step_s:
            return
        self._since_s = [at_s if since_s == step_s else since_s for since_s in self._since_s]
        if self._closed_from_s == step_s:
            self._closed_from_s = at_s
        if self._fault is None:
            self._look_s = self._next_look_s()

    def read_back(self, lit: Mapping[str, frozenset[Aspect]] | None, now_s: float) -> None:
        """Compare what is really lit with what was allowed last. None: the hardware cannot tell."""
        if lit is None:
            return
        wrong = self._lamps.look(lit, self._aspects, now_s)
        if wrong is not None:
            self._fail(*wrong, now_s)
        elif self._lamps.wrong:
            self._cause_s = now_s

    def report(self, code: FaultCode, detail: str, now_s: float) -> None:
        """Something else went wrong. A cause that persists is to be reported again in each step: `clear` is
        refused as long as it is."""
        self._fail(code, detail, now_s)

    def clear(self, now_s: float, seen: str | None = None) -> OrderResult:
        """Leave the latched flash, through start-up. Refused while the cause persists, and too early.

        Args:
            seen: the code of the fault that was looked at; refused if that is not the last one that came.
        """
        fault = self._fault
        if fault is None:
            return OrderResult(accepted=False, reason="there is no fault to clear")
        last = self._later or fault
        if seen is not None and seen != last.code:
            reason = f"it is not {seen} that came last, but {last.code}: {last.detail}; look at it, and name that"
            return OrderResult(accepted=False, reason=reason)
        left_s = self._limits.min_flash_s - (now_s - fault.since_s)
        if not left_s <= 0.0:
            return OrderResult(accepted=False, reason=f"the lights have to flash for {left_s:.0f} s more")
        if not now_s - self._cause_s >= QUIET_S:
            return OrderResult(
                accepted=False,
                reason=f"{self._lamps.wrong or fault.detail}; that was so until just now: mend it, then clear",
            )
        self._fault = self._later = None
        return OrderResult(accepted=True)

    def _time_wrong(self, now_s: float) -> Finding | None:
        gap_s = now_s - self._last_s
        if not math.isfinite(now_s) or not gap_s >= 0.0:
            return FaultCode.CLOCK_WENT_BACK, f"the clock shows {now_s}, and showed {self._last_s} before"
        late_s = self._limits.late_step_s + TOLERANCE_S
        if gap_s > late_s and (self._is_steady or self._fault is not None):
            return FaultCode.LATE_STEP, f"a step came after {gap_s:.2f} s; {late_s:.2f} s are allowed"
        return None

    @property
    def _is_steady(self) -> bool:
        return self._aspects[0] not in _FLASHING and self._aspects[0] is not Aspect.DARK

    def _read(self, wanted: Mapping[str, Aspect]) -> tuple[Aspect, ...] | None:
        """The aspects in order; None: it is not one known aspect for each movement."""
        try:
            if len(wanted) != len(self._names):
                return None
            return tuple(Aspect(wanted[name]) for name in self._names)
        except (KeyError, ValueError, TypeError):
            return None

    def _misread(self, wanted: Mapping[str, Aspect]) -> Finding:
        return FaultCode.UNKNOWN_MOVEMENT, f"{wanted!r} is not one aspect for each of {', '.join(self._names)}"

    def _wrong(self, aspects: tuple[Aspect, ...], now_s: float) -> Finding | None:
        """What rule these aspects would break, following those that are shown."""
        kinds = {_FLASHING if one in _FLASHING else one is Aspect.DARK for one in aspects}
        if len(kinds) > 1:
            return FaultCode.ILLEGAL_CHANGE, "some heads would flash or be dark while others are steady"
        for i, aspect in enumerate(aspects):
            wrong = self._pair_wrong(i, aspects) or self._change_wrong(i, aspect, now_s)
            if wrong is None and aspect is Aspect.GREEN is not self._aspects[i]:
                wrong = self._green_wrong(i, aspects, now_s)
            elif wrong is None and aspect is Aspect.FLASHING_YELLOW is not self._aspects[i]:
                wrong = self._caution_wrong(i, aspects, now_s)
            if wrong is not None:
                return wrong
        return self._starved(now_s)

    def _pair_wrong(self, i: int, aspects: tuple[Aspect, ...]) -> Finding | None:
        if aspects[i] not in GO:
            return None
        for rival in self._rivals[i]:
            if aspects[rival] in GO:
                a, b = self._names[i], self._names[rival]
                return FaultCode.CONFLICT, f"{a} would be {aspects[i]} while {b} is {aspects[rival]}"
        return None

    def _change_wrong(self, i: int, aspect: Aspect, now_s: float) -> Finding | None:
        """Whether one movement may show this now, by its own rules."""
        movement, shown, for_s = self._movements[i], self._aspects[i], now_s - self._since_s[i]
        if aspect not in self._legal[i][shown]:
            return FaultCode.ILLEGAL_CHANGE, f"{movement.name} would go from {shown} to {aspect}"
        if shown is Aspect.YELLOW:
            return self._yellow_wrong(movement, aspect, for_s)
        if shown is Aspect.GREEN and aspect not in (Aspect.GREEN, Aspect.FLASHING_RED):
            least_s = self._least_green_s(movement)
            if for_s < least_s - TOLERANCE_S:
                return FaultCode.SHORT_GREEN, f"{movement.name} was green for {for_s:.2f} s of {least_s:g} s"
        return None

    def _yellow_wrong(self, movement: Movement, aspect: Aspect, for_s: float) -> Finding | None:
        least_s = max(movement.yellow_s - TOLERANCE_S, SHORTEST_YELLOW_S)
        if aspect is Aspect.RED and for_s < least_s:
            return FaultCode.SHORT_YELLOW, f"{movement.name} was yellow for {for_s:.2f} s of {least_s:g} s"
        if aspect is not Aspect.FLASHING_RED and for_s > self._longest_yellow_s(movement):
            return FaultCode.LONG_YELLOW, f"{movement.name} is yellow for {for_s:.2f} s of {movement.yellow_s:g} s"
        return None

    def _longest_yellow_s(self, movement: Movement) -> float:
        return movement.yellow_s + self._limits.late_step_s + TOLERANCE_S

    def _least_green_s(self, movement: Movement) -> float:
        return movement.min_green_s if self._preempting_from_s is None else min(movement.min_green_s, self._cut_s)

    def _green_wrong(self, i: int, aspects: tuple[Aspect, ...], now_s: float) -> Finding | None:
        """Whether one movement may begin its green."""
        name = self._names[i]
        if not self._is_open:
            closed_s = 0.0 if self._closed_from_s is None else now_s - self._closed_from_s
            if closed_s < self._all_red_s - TOLERANCE_S:
                return (
                    FaultCode.SHORT_CLEARANCE,
                    f"{name} would be green after {closed_s:.2f} s of all red; start-up is {self._all_red_s:g} s",
                )
        for rival in self._rivals[i]:
            red_s = now_s - self._since_s[rival] if self._aspects[rival] is aspects[rival] else 0.0
            least_s = self._movements[rival].red_clearance_s
            if red_s < least_s - TOLERANCE_S:
                return (
                    FaultCode.SHORT_CLEARANCE,
                    f"{name} would be green after {self._names[rival]} was red for {red_s:.2f} s of {least_s:g} s",
                )
        return None

    def _caution_wrong(self, i: int, aspects: tuple[Aspect, ...], now_s: float) -> Finding | None:
        """Whether one movement may begin to flash yellow."""
        for rival in self._rivals[i]:
            red_s = now_s - self._since_s[rival] if self._aspects[rival] is aspects[rival] else 0.0
            least_s = self._movements[rival].yellow_s + self._movements[rival].red_clearance_s
            if red_s < least_s - TOLERANCE_S:
                a, b = self._names[i], self._names[rival]
                text = f"{a} would flash yellow after {b} flashed red for {red_s:.2f} s of {least_s:g} s"
                return FaultCode.SHORT_CLEARANCE, text
        return None

    def _starved(self, now_s: float) -> Finding | None:
        if not self._is_steady:
            return None
        if (from_s := self._preempting_from_s) is not None:
            return (FaultCode.STARVED, "a preemption does not end") if now_s - from_s > self._preempted_s else None
        for i, movement in enumerate(self._movements):
            red_s = now_s - self._unserved_s[i]
            if red_s > self._longest_red_s(movement) and self._aspects[i] is Aspect.RED:
                return FaultCode.STARVED, f"{movement.name} has not been green for {red_s:.0f} s"
        return None

    def _longest_red_s(self, movement: Movement) -> float:
        return math.inf if movement.recall is Recall.NONE else 2.0 * movement.max_red_s + STARVED_S

    def _tell_preempting(self, preempting: bool, now_s: float) -> None:
        """While a preemption holds the junction, nobody starves; at its end their clocks go on."""
        from_s = self._preempting_from_s
        if preempting and from_s is None:
            self._preempting_from_s = now_s
        elif not preempting and from_s is not None:
            self._preempting_from_s = None
            for i, since_s in enumerate(self._unserved_s):
                # Again and again is as bad as for ever: an input that flickers must not own the junction.
                left_s = self._preempted_s - self._credit_s[i]
                credit_s = min(left_s, max(0.0, now_s - max(from_s, since_s)))
                self._unserved_s[i] += credit_s
                self._credit_s[i] += credit_s

    def _take(self, aspects: tuple[Aspect, ...], now_s: float) -> None:
        """These are safe: show them, and note since when."""
        for i, (shown, aspect) in enumerate(zip(self._aspects, aspects, strict=True)):
            if shown is not aspect:
                self._since_s[i] = now_s
            if aspect is not Aspect.RED or shown is not Aspect.RED:
                self._unserved_s[i], self._credit_s[i] = now_s, 0.0
        if aspects != self._aspects:
            self._aspects = aspects
            self._shown = MappingProxyType(dict(zip(self._names, aspects, strict=True)))
        if not self._is_steady:
            self._is_open, self._closed_from_s = False, None
        elif Aspect.GREEN in aspects:
            if not self._is_open:
                self._unserved_s = [now_s] * len(aspects)
            self._is_open, self._closed_from_s = True, None
        elif not self._is_open and self._closed_from_s is None and Aspect.YELLOW not in aspects:
            self._closed_from_s = now_s
        self._look_s = self._next_look_s()

    def _next_look_s(self) -> float:
        """Until when nothing can become wrong by the mere passing of time."""
        if not self._is_steady:
            return math.inf
        ends = [
            self._since_s[i] + self._longest_yellow_s(movement)
            if self._aspects[i] is Aspect.YELLOW
            else self._unserved_s[i] + self._longest_red_s(movement)
            for i, movement in enumerate(self._movements)
        ]
        if self._preempting_from_s is not None:
            ends.append(self._preempting_from_s + self._preempted_s)
        return min(ends)

    def _fail(self, code: FaultCode, detail: str, now_s: float) -> None:
        """Flash red. The first fault stays; later ones show that something persists, and the last of another kind
        is remembered for `clear`. But a lost link, which is cleared by itself, gives way to what somebody has to
        look at."""
        self._cause_s = now_s
        # A late step while all flash is no more than a late step.
        is_hidden = (
            self._fault is not None
            and self._fault.code is FaultCode.LINK_LOST
            and code not in (FaultCode.LINK_LOST, FaultCode.LATE_STEP)
        )
        if self._fault is not None and code not in (self._fault.code, FaultCode.LATE_STEP, FaultCode.LINK_LOST):
            self._later = None if is_hidden else Fault(code, detail, now_s)
        if self._fault is not None and now_s >= self._fault.since_s and not is_hidden:
            return
        first = Fault(code, detail, now_s) if self._fault is None or is_hidden else self._fault
        self._fault = Fault(first.code, first.detail, now_s)
        self._shown = self._flash
        if self._aspects[0] is not Aspect.FLASHING_RED or len(set(self._aspects)) > 1:
            self._aspects = (Aspect.FLASHING_RED,) * len(self._names)
        self._since_s = [now_s] * len(self._names)
        self._is_open, self._closed_from_s, self._look_s = False, None, -math.inf
        self._preempting_from_s = None
