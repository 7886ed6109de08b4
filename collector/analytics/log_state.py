"""What an hour of the event log adds up to, and what must be known of the time before it. Pure.

Moments are microseconds since 1970. What was told more than a day before an hour begins is not known in it any
more: so an hour depends on its own entries and on those of the day before it, and on no others, and comes out the
same whether the state at its beginning was carried on from hour to hour or read anew from that day.
"""

from collections.abc import Iterable, Mapping

import msgspec

from common.hires import Code, UnitFlash

Row = tuple[int, int, int, bool]
"""Moment, code, parameter, and whether the log is silent after it for more than two minutes."""

REMEMBERED_US = 24 * 3600 * 1_000_000
_RED_US = 5 * 1_000_000
_FULL = 0.8
_RED, _YELLOW, _GREEN = 0, 1, 2
_CODES = {
    Code.BEGIN_GREEN: _GREEN,
    Code.END_GREEN: _RED,
    Code.BEGIN_YELLOW: _YELLOW,
    Code.BEGIN_RED_CLEARANCE: _RED,
    Code.PHASE_INACTIVE: _RED,
    Code.BEGIN_WALK: _GREEN,
    Code.BEGIN_WALK_CLEARANCE: _RED,
    Code.BEGIN_DONT_WALK: _RED,
}
# Plain numbers are looked up much faster.
_SHOWN: Mapping[int, int] = {int(code): shown for code, shown in _CODES.items()}
_ON, _OFF, _FLASH = int(Code.DETECTOR_ON), int(Code.DETECTOR_OFF), int(Code.UNIT_FLASH)
LAMP_CODES = frozenset(_SHOWN) | {_FLASH}
_NOT_ON = False, 0


class Reading(msgspec.Struct, frozen=True):
    """How a junction's log is to be read, by its description.

    `arrivals`, `presence`: channel -> the phases that its detector tells of.
    """

    vehicles: tuple[int, ...]
    on_foot: tuple[int, ...]
    arrivals: dict[int, tuple[int, ...]]
    presence: dict[int, tuple[int, ...]]

    @property
    def text(self) -> str:
        """The same for equal ones that were made alike."""
        return msgspec.json.encode(self).decode()


class Cycle(msgspec.Struct, array_like=True):
    """A green that is not counted yet, as the phase's presence detectors see it.

    Attributes:
        told_us: when the latest of these detectors had told something before it.
        on_since_us: when the earliest of those that were on had; None: none was.
        there_green_us, there_red_us: for how long somebody was there.
    """

    green_us: int
    told_us: int
    on_since_us: int | None
    yellow_us: int | None = None
    red_us: int | None = None
    there_green_us: int = 0
    there_red_us: int = 0
    mark_us: int = 0


class LogState(msgspec.Struct):
    """What is known at a moment.

    Attributes:
        phases: what each shows (2 green, 1 yellow, 0 red, None not known), and when that was told.
        channels: whether each detector is on, and when that was told.
        owner: the phases that had green last, at once, and when that was told.
    """

    phases: dict[int, tuple[int | None, int]] = {}
    channels: dict[int, tuple[bool, int]] = {}
    owner: dict[int, int] = {}
    cycles: dict[int, Cycle] = {}

    def since(self, since_us: int) -> "LogState | None":
        """What it would be without all that was told before `since_us`; None: that cannot be told from it."""
        owner = {phase: told_us for phase, told_us in self.owner.items() if told_us >= since_us}
        cycles = {p: one for p, one in self.cycles.items() if min(one.green_us, one.told_us) >= since_us}
        if (self.owner and not owner) or any((c.on_since_us or since_us) < since_us for c in cycles.values()):
            return None
        return LogState(
            {phase: told for phase, told in self.phases.items() if told[1] >= since_us},
            {channel: told for channel, told in self.channels.items() if told[1] >= since_us},
            owner,
            {phase: msgspec.structs.replace(one) for phase, one in cycles.items()},
        )


class PhaseLog(msgspec.Struct, array_like=True):
    """For how long it was known what a phase shows, and how much of that was green; who came meanwhile."""

    known_us: int = 0
    green_us: int = 0
    n: int = 0
    n_on_green: int = 0


class Held(msgspec.Struct, array_like=True, frozen=True):
    """For how long a set of phases (bits) was green, or was followed by yellow, or by nothing."""

    owner: int
    kind: str
    total_us: int


class PhaseFailures(msgspec.Struct, array_like=True):
    """Greens of a phase, how many failed, and the sums of their shares with somebody there."""

    n_cycles: int = 0
    n_failures: int = 0
    green_shares: float = 0.0
    red_shares: float = 0.0


class LogHour(msgspec.Struct):
    """What an hour adds up to. Phases of which nothing is known are left out."""

    phases: dict[int, PhaseLog] = {}
    held: list[Held] = []
    failures: dict[int, PhaseFailures] = {}


def add_hour(
    reading: Reading, before: LogState, rows: Iterable[Row], start_us: int, end_us: int
) -> tuple[LogHour, LogState]:
    """What an hour adds up to, and what is known at its end. `rows` are its own, in order."""
    listed = list(rows)
    fold = _Fold(reading, before, listed, start_us)
    for at_us, code, parameter, is_last in listed:
        fold.step(at_us, code, parameter, is_last)
    return fold.end(end_us)


class _Fold:
    """One hour, entry by entry."""

    def __init__(self, reading: Reading, before: LogState, rows: list[Row], start_us: int) -> None:
        self._reading = reading
        self._described = (*reading.vehicles, *reading.on_foot)
        self._phases = {phase: told for phase, told in before.phases.items() if phase in self._described}
        self._channels = dict(before.channels)
        self._owner = dict(before.owner)
        self._cycles = {phase: msgspec.structs.replace(one) for phase, one in before.cycles.items()}
        self._greens = {phase: told_us for phase, (shown, told_us) in self._phases.items() if shown == _GREEN}
        # All that are told of by the end of the hour: flash, and red after it, is shown by them all.
        told = {parameter for _, code, parameter, _ in rows if code in _SHOWN}
        self._told = self._phases.keys() | told.intersection(self._described)
        # The stages are known while all that carry vehicles are.
        self._needed = self._told.intersection(reading.vehicles)
        self._since_us = dict.fromkeys(self._described, start_us)
        self._mark_us = start_us
        self._log = {phase: PhaseLog() for phase in self._described}
        self._held: dict[tuple[int, str], int] = {}
        self._failures: dict[int, PhaseFailures] = {}
        self._of_phase: dict[int, list[int]] = {}
        for channel, phases in reading.presence.items():
            for phase in phases:
                self._of_phase.setdefault(phase, []).append(channel)
        self._there = {phase: self._is_there(phase) for phase in self._of_phase}
        # Or earlier: one that is not there any more may be waited for.
        self._next_seen_us = self._first_seen_us()

    def step(self, at_us: int, code: int, parameter: int, is_last: bool) -> None:
        if at_us >= self._next_seen_us:
            self._count_seen(at_us)
        if code in (_ON, _OFF):
            self._detect(at_us, code == _ON, parameter)
        elif code == _FLASH:
            shown = _RED if parameter == UnitFlash.NONE else None
            before = self._phases
            self._show_all(at_us, {p: (shown, before[p][1] if p in before else at_us) for p in self._told})
            if shown is None:
                self._forget_cycles()
        elif code in _SHOWN:
            self._change(at_us, code, parameter)
        if is_last:
            self._show_all(at_us, {phase: (None, told_us) for phase, (_, told_us) in self._phases.items()})
            self._forget_cycles()

    def end(self, end_us: int) -> tuple[LogHour, LogState]:
        self._count_seen(end_us - 1)
        self._show_all(end_us, dict(self._phases))
        for phase in self._cycles:
            self._watch(phase, end_us)
        hour = LogHour(
            {phase: one for phase, one in self._log.items() if one.known_us or one.n},
            [Held(owner, kind, total_us) for (owner, kind), total_us in sorted(self._held.items())],
            self._failures,
        )
        return hour, LogState(self._phases, self._channels, self._owner, self._cycles)

    # Lamps

    def _change(self, at_us: int, code: int, phase: int) -> None:
        if phase in self._since_us:
            shown = _SHOWN[code]
            if self._phases.get(phase, (None, 0))[0] != shown:
                self._add_stage(at_us)
                self._add_phase(phase, at_us)
                self._greens.pop(phase, None)
            if shown == _GREEN:
                self._greens[phase] = at_us
            self._phases[phase] = shown, at_us
        if phase in self._of_phase:
            self._turn(phase, at_us, code)

    def _show_all(self, at_us: int, shown: dict[int, tuple[int | None, int]]) -> None:
        self._add_stage(at_us)
        for phase in self._phases:
            self._add_phase(phase, at_us)
        self._phases = shown
        self._since_us = dict.fromkeys(self._since_us, at_us)
        self._greens = {phase: told_us for phase, told_us in self._greens.items() if shown[phase][0] == _GREEN}

    def _add_phase(self, phase: int, at_us: int) -> None:
        shown, _ = self._phases.get(phase, (None, 0))
        if shown is not None:
            span_us = at_us - self._since_us[phase]
            self._log[phase].known_us += span_us
            if shown == _GREEN:
                self._log[phase].green_us += span_us
        self._since_us[phase] = at_us

    def _add_stage(self, at_us: int) -> None:
        span_us, self._mark_us = at_us - self._mark_us, at_us
        if span_us <= 0:
            return
        if self._greens:
            self._owner = dict(self._greens)
        shown = [self._phases.get(phase, (None, 0))[0] for phase in self._needed]
        if not shown or None in shown:
            return
        is_yellow = _YELLOW in shown
        kind = "green" if self._greens else "yellow" if is_yellow else "lost"
        key = sum(1 << phase for phase in self._owner), kind
        self._held[key] = self._held.get(key, 0) + span_us

    # Detectors

    def _detect(self, at_us: int, is_on: bool, channel: int) -> None:
        if is_on:
            for phase in self._reading.arrivals.get(channel, ()):
                shown, _ = self._phases.get(phase, (None, 0))
                if shown is not None:
                    self._log[phase].n += 1
                    self._log[phase].n_on_green += shown == _GREEN
        phases = self._reading.presence.get(channel)
        if phases is None:
            return
        self._channels[channel] = is_on, at_us
        for phase in phases:
            if phase in self._cycles:
                self._watch(phase, at_us)
            self._there[phase] = is_on or self._is_there(phase)

    def _is_there(self, phase: int) -> bool:
        return any(self._channels.get(channel, _NOT_ON)[0] for channel in self._of_phase[phase])

    # Greens, and whether they served their queue

    def _turn(self, phase: int, at_us: int, code: int) -> None:
        if code == Code.BEGIN_GREEN:
            self._cycles.pop(phase, None)
            told = [self._channels[one] for one in self._of_phase[phase] if one in self._channels]
            if told:
                on_since_us = min((told_us for is_on, told_us in told if is_on), default=None)
                latest_us = max(told_us for _, told_us in told)
                self._cycles[phase] = Cycle(at_us, latest_us, on_since_us, mark_us=at_us)
        elif phase in self._cycles and code in (Code.BEGIN_YELLOW, Code.BEGIN_RED_CLEARANCE):
            self._watch(phase, at_us)
            one = self._cycles[phase]
            if code == Code.BEGIN_YELLOW and one.yellow_us is None and at_us > one.green_us:
                one.yellow_us = at_us
            elif code == Code.BEGIN_RED_CLEARANCE and one.yellow_us is not None and one.red_us is None:
                one.red_us = at_us
                self._next_seen_us = min(self._next_seen_us, at_us + _RED_US)
            else:
                del self._cycles[phase]

    def _watch(self, phase: int, at_us: int) -> None:
        """Somebody who is there has been there until now."""
        one = self._cycles.get(phase)
        if one is None:
            return
        if self._there[phase]:
            if one.yellow_us is None:
                one.there_green_us += at_us - one.mark_us
            elif one.red_us is not None:
                one.there_red_us += max(0, min(at_us, one.red_us + _RED_US) - one.mark_us)
        one.mark_us = at_us

    def _forget_cycles(self) -> None:
        """What follows their greens is not seen any more."""
        self._cycles.clear()
        self._next_seen_us = self._first_seen_us()

    def _first_seen_us(self) -> int:
        seen = (one.red_us + _RED_US for one in self._cycles.values() if one.red_us is not None)
        return min(seen, default=1 << 62)

    def _count_seen(self, until_us: int) -> None:
        """Counts those of which enough red was seen."""
        for phase, one in list(self._cycles.items()):
            if one.red_us is None or one.yellow_us is None or one.red_us + _RED_US > until_us:
                continue
            self._watch(phase, one.red_us + _RED_US)
            green_share = one.there_green_us / (one.yellow_us - one.green_us)
            red_share = one.there_red_us / _RED_US
            found = self._failures.setdefault(phase, PhaseFailures())
            found.n_cycles += 1
            found.n_failures += green_share >= _FULL and red_share >= _FULL
            found.green_shares += green_share
            found.red_shares += red_share
            del self._cycles[phase]
        self._next_seen_us = self._first_seen_us()
