"""How a junction's lights are, told by their event log: what each movement shows, and who decides.

Only what the log says is told. The log is written by the lights as they change, and reaches the collector a second
or two later; what it does not tell is None. Pure.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType

from common.codes import Aspect, SignalMode
from common.hires import Code, UnitFlash
from common.junction import Junction

PHASE_ASPECTS: Mapping[int, Aspect] = MappingProxyType(
    {
        Code.BEGIN_GREEN: Aspect.GREEN,
        Code.BEGIN_YELLOW: Aspect.YELLOW,
        Code.BEGIN_RED_CLEARANCE: Aspect.RED,
        Code.PHASE_INACTIVE: Aspect.RED,
        Code.BEGIN_WALK: Aspect.GREEN,
        Code.BEGIN_WALK_CLEARANCE: Aspect.RED,
        Code.BEGIN_DONT_WALK: Aspect.RED,
    }
)
"""What the phase shows from such an event on, unless everything flashes or is dark."""
UNIT_CODES = frozenset({Code.PREEMPT_ENTRY, Code.PREEMPT_EXIT, Code.PATTERN, Code.UNIT_CONTROL, Code.UNIT_FLASH})
"""About the whole junction."""
LIVE_CODES = UNIT_CODES | PHASE_ASPECTS.keys()
_MODES = {1: SignalMode.OFF, 2: SignalMode.FIXED, 5: SignalMode.MANUAL_OVERRIDE, 6: SignalMode.AUTOMATIC}
"""By the parameter of `Code.UNIT_CONTROL`."""
_GOES = (Aspect.GREEN, Aspect.YELLOW)


@dataclass(frozen=True, slots=True)
class LoggedEvent:
    """One entry of the log."""

    at: datetime
    code: int
    parameter: int


@dataclass(frozen=True, slots=True)
class Head:
    """What one movement shows. `name` None: its phase is not described. `aspect` None: nothing is known of it."""

    phase: int
    name: str | None
    aspect: Aspect | None
    since: datetime | None


@dataclass(frozen=True, slots=True)
class Lights:
    """All of a junction.

    Attributes:
        stage: whose movements go, or are being cleared; None while nobody goes, or where none described fits.
        flash: why everything flashes or is dark: `order`, `fault`, `monitor`, `start_up` or `dark`.
        plan: name, where it is described.
    """

    heads: Sequence[Head]
    mode: SignalMode | None = None
    stage: str | None = None
    flash: str | None = None
    plan: str | None = None


@dataclass(slots=True)
class _Log:
    """The log, read from its beginning on."""

    phases: dict[int, LoggedEvent] = field(default_factory=dict)
    flash: LoggedEvent | None = None
    control: int | None = None
    pattern: int | None = None
    preempted: set[int] = field(default_factory=set)

    def take(self, event: LoggedEvent) -> None:
        if event.code in PHASE_ASPECTS:
            self.phases[event.parameter] = event
        elif event.code == Code.UNIT_FLASH:
            # Told when it changes, and when the daemon starts: what was known before holds no more.
            self.flash = event
            self.phases.clear()
            self.preempted.clear()
        elif event.code == Code.UNIT_CONTROL:
            self.control = event.parameter
        elif event.code == Code.PATTERN:
            self.pattern = event.parameter
        elif event.code == Code.PREEMPT_ENTRY:
            self.preempted.add(event.parameter)
        elif event.code == Code.PREEMPT_EXIT:
            self.preempted.discard(event.parameter)


def read_lights(events: Iterable[LoggedEvent], junction: Junction | None) -> Lights:
    """What the log says, its events oldest first; `junction` is its description, if it is known."""
    log = _Log()
    for event in events:
        log.take(event)
    names = {movement.phase: movement.name for movement in junction.movements} if junction else {}
    heads = [_head(phase, names.get(phase), log) for phase in sorted(names.keys() | log.phases.keys())]
    flash = _flash(log)
    plans = junction.plans if junction else ()
    known_plan = log.pattern is not None and 1 <= log.pattern <= len(plans)
    return Lights(
        heads,
        mode=_mode(log, flash),
        stage=_stage(heads, junction),
        flash=flash.name.lower() if flash else None,
        plan=plans[log.pattern - 1].name if known_plan and log.pattern else None,
    )


def _flash(log: _Log) -> UnitFlash | None:
    if log.flash is None or log.flash.parameter == UnitFlash.NONE:
        return None
    try:
        return UnitFlash(log.flash.parameter)
    except ValueError:
        return UnitFlash.FAULT


def _head(phase: int, name: str | None, log: _Log) -> Head:
    flash = _flash(log)
    if flash and log.flash:
        aspect = Aspect.DARK if flash is UnitFlash.DARK else Aspect.FLASHING_RED
        return Head(phase, name, aspect, log.flash.at)
    event = log.phases.get(phase)
    if event is not None:
        return Head(phase, name, PHASE_ASPECTS[event.code], event.at)
    # Steady lights begin with all red.
    return Head(phase, name, Aspect.RED, log.flash.at) if log.flash else Head(phase, name, None, None)


def _mode(log: _Log, flash: UnitFlash | None) -> SignalMode | None:
    if flash is UnitFlash.DARK:
        return SignalMode.OFF
    if flash and flash is not UnitFlash.START_UP:
        return SignalMode.FLASH
    if log.preempted:
        return SignalMode.PREEMPT
    return _MODES.get(log.control or 0)


def _stage(heads: Sequence[Head], junction: Junction | None) -> str | None:
    """The smallest stage that holds all that go."""
    going = {head.name for head in heads if head.aspect in _GOES}
    if junction is None or not going:
        return None
    fitting = [stage for stage in junction.stages if going <= set(stage.movements)]
    return min(fitting, key=lambda stage: len(stage.movements)).name if fitting else None
