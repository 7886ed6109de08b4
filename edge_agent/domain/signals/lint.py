"""Is a log of lights what it must be? All that is wrong with it, row by row: order, yellow, conflicts, pairs.

Strict, since it judges what Stopline itself writes. Logs of other controllers have findings too, most of them from
rows that were lost.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from common.hires import Code, UnitFlash
from edge_agent.domain.signals.log_rows import LogRow

LEAST_YELLOW_S = 2.7
MOST_YELLOW_S = 6.0
SILENCE_S = 120.0
"""Readers take a longer one for an outage."""
MAX_VALUE = 32_767
_NEARLY_S = 0.0015
"""Half a row's resolution each way."""

_WHY = (Code.GAP_OUT, Code.MAX_OUT, Code.FORCE_OFF)
_AFTER: dict[Code, tuple[Code, ...]] = {
    Code.PHASE_ON: (Code.BEGIN_GREEN,),
    Code.BEGIN_GREEN: _WHY,
    **dict.fromkeys(_WHY, (Code.END_GREEN,)),
    Code.END_GREEN: (Code.BEGIN_YELLOW,),
    Code.BEGIN_YELLOW: (Code.END_YELLOW,),
    Code.END_YELLOW: (Code.BEGIN_RED_CLEARANCE,),
    Code.BEGIN_RED_CLEARANCE: (Code.END_RED_CLEARANCE,),
    Code.END_RED_CLEARANCE: (Code.PHASE_INACTIVE,),
    Code.PHASE_INACTIVE: (Code.PHASE_ON,),
    Code.BEGIN_WALK: (Code.BEGIN_WALK_CLEARANCE,),
    Code.BEGIN_WALK_CLEARANCE: (Code.BEGIN_DONT_WALK,),
    Code.BEGIN_DONT_WALK: (Code.BEGIN_WALK,),
}
"""What comes next, of the same phase."""
_BY_FLASH: dict[Code, Code] = {
    Code.END_GREEN: Code.PHASE_INACTIVE,
    Code.END_YELLOW: Code.PHASE_INACTIVE,
    Code.BEGIN_WALK: Code.BEGIN_DONT_WALK,
}
"""What comes next where the lights go to flash."""
_WALK = (Code.BEGIN_WALK, Code.BEGIN_WALK_CLEARANCE, Code.BEGIN_DONT_WALK)
_ON_OF: dict[Code, Code] = {
    Code.DETECTOR_ON: Code.DETECTOR_ON,
    Code.DETECTOR_OFF: Code.DETECTOR_ON,
    Code.BUTTON_ON: Code.BUTTON_ON,
    Code.BUTTON_OFF: Code.BUTTON_ON,
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong with a log."""

    at_s: float
    rule: str
    """`order`, `yellow`, `conflict`, `pair`, `range`, `time`, `twice` or `silence`."""
    text: str


@dataclass(slots=True)
class _State:
    """What is known of a log so far."""

    conflicts: dict[int, frozenset[int]]
    last: dict[tuple[int, bool], tuple[Code, float]] = field(default_factory=dict)
    """Of each phase, the lamps for vehicles and those for people."""
    going: set[int] = field(default_factory=set)
    """Phases that are green or yellow."""
    on: set[tuple[Code, int]] = field(default_factory=set)
    flashed_s: float = float("-inf")


def lint(rows: Sequence[LogRow], conflicts: Collection[frozenset[int]] = ()) -> list[Finding]:
    """All findings in a log.

    Args:
        rows: in the order in which they were written.
        conflicts: pairs of phases that must not go together.
    """
    return [*_of_times(rows), *_of_events(rows, conflicts)]


def _of_times(rows: Sequence[LogRow]) -> Iterator[Finding]:
    seen: set[LogRow] = set()
    before_s = rows[0].at_s if rows else 0.0
    for row in rows:
        if row.at_s < before_s:
            yield Finding(row.at_s, "time", f"{_name(row)} lies {before_s - row.at_s:.3f} s before the row above")
        elif row.at_s - before_s > SILENCE_S:
            yield Finding(row.at_s, "silence", f"nothing for {row.at_s - before_s:.0f} s; there is no heartbeat")
        if row.at_s != before_s:
            seen.clear()
        if row in seen:
            yield Finding(row.at_s, "twice", f"{_name(row)} is there twice")
        seen.add(row)
        if not (0 <= row.code <= MAX_VALUE and 0 <= row.parameter <= MAX_VALUE):
            yield Finding(row.at_s, "range", f"{_name(row)}: code and parameter go from 0 to {MAX_VALUE}")
        before_s = row.at_s


def _of_events(rows: Sequence[LogRow], conflicts: Collection[frozenset[int]]) -> Iterator[Finding]:
    state = _State(_partners(conflicts))
    known = {int(code): code for code in Code}
    for row in sorted(rows, key=lambda row: row.at_s):
        code = known.get(row.code)
        if code is None:
            continue
        if code in _AFTER:
            yield from _of_phase(row, code, state)
        elif code in _ON_OF:
            yield from _of_detector(row, code, state)
        elif code is Code.UNIT_FLASH and row.parameter != UnitFlash.NONE:
            state.flashed_s = row.at_s


def _partners(conflicts: Collection[frozenset[int]]) -> dict[int, frozenset[int]]:
    phases: Iterable[int] = {phase for pair in conflicts for phase in pair}
    return {phase: frozenset().union(*(pair for pair in conflicts if phase in pair)) - {phase} for phase in phases}


def _of_phase(row: LogRow, code: Code, state: _State) -> Iterator[Finding]:
    phase = row.parameter
    lamps = (phase, code in _WALK)
    before, before_s = state.last.get(lamps, (None, row.at_s))
    if before is not None and code not in _AFTER[before]:
        by_flash = _BY_FLASH.get(before) is code and abs(row.at_s - state.flashed_s) <= _NEARLY_S
        if not by_flash:
            wanted = " or ".join(f"{int(one)}" for one in _AFTER[before])
            yield Finding(row.at_s, "order", f"{_name(row)} follows {int(before)}; {wanted} has to")
    state.last[lamps] = (code, row.at_s)
    if code is Code.END_YELLOW and before is Code.BEGIN_YELLOW:
        yellow_s = row.at_s - before_s
        is_cut = abs(row.at_s - state.flashed_s) <= _NEARLY_S
        if not is_cut and not LEAST_YELLOW_S - _NEARLY_S <= yellow_s <= MOST_YELLOW_S + _NEARLY_S:
            bounds = f"{LEAST_YELLOW_S:g} to {MOST_YELLOW_S:g} s"
            yield Finding(
                row.at_s, "yellow", f"yellow of phase {phase} was {yellow_s:.2f} s; it has to be {bounds}"
            )
    yield from _of_going(row, code, state)


def _of_going(row: LogRow, code: Code, state: _State) -> Iterator[Finding]:
    if code in (Code.BEGIN_GREEN, Code.BEGIN_YELLOW, Code.BEGIN_WALK):
        state.going.add(row.parameter)
        for other in sorted(state.going & state.conflicts.get(row.parameter, frozenset())):
            yield Finding(row.at_s, "conflict", f"{_name(row)}, and phase {other} is green or yellow")
    elif code in (Code.END_YELLOW, Code.BEGIN_WALK_CLEARANCE, Code.BEGIN_DONT_WALK, Code.PHASE_INACTIVE):
        state.going.discard(row.parameter)


def _of_detector(row: LogRow, code: Code, state: _State) -> Iterator[Finding]:
    is_on = code is _ON_OF[code]
    key = (_ON_OF[code], row.parameter)
    if is_on == (key in state.on):
        yield Finding(row.at_s, "pair", f"{_name(row)}: it is {'on' if is_on else 'off'} already")
    if is_on:
        state.on.add(key)
    else:
        state.on.discard(key)


def _name(row: LogRow) -> str:
    return f"{row.code}/{row.parameter}"
