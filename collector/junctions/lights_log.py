"""What the lights' records say about who controls them: orders given beside the junction, modes, faults, restarts
by their `log`, emergency vehicles and faults by their event log. Each becomes statements of `sql/history.sql`.
Pure.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import msgspec
from psycopg.types.json import Jsonb

from common.codes import SignalMode
from common.commands import Automatic, FixedPlan, Flash, ManualOverride, Off, Order
from common.hires import Code, UnitFlash
from common.junction import DESCRIBED_ACTION
from common.records import Log, SignalEvent

ORDER_ACTION = "lights_order"
MODE_ACTION = "lights_mode"
FAULT_ACTION = "lights_fault"
FAULT_CLEARED_ACTION = "lights_fault_cleared"
_MODES: Mapping[type, SignalMode] = {
    Automatic: SignalMode.AUTOMATIC,
    ManualOverride: SignalMode.MANUAL_OVERRIDE,
    FixedPlan: SignalMode.FIXED,
    Flash: SignalMode.FLASH,
    Off: SignalMode.OFF,
}
_BY_NAME = {kind.__name__: mode for kind, mode in _MODES.items()}
_OVERRIDES = [str(mode) for mode in _BY_NAME.values() if mode is not SignalMode.AUTOMATIC]
_FORGOTTEN = [str(SignalMode.MANUAL_OVERRIDE), str(SignalMode.FIXED)]
"""Lights that are started anew keep flashing and dark by order, and nothing else."""
_PREEMPTION_ENDS = MappingProxyType({int(Code.PREEMPT_MAX_PRESENCE): "too_long", int(Code.PREEMPT_EXIT): "exit"})
"""The former comes first where both are told."""
_FAULTS = frozenset({UnitFlash.FAULT, UnitFlash.MONITOR})


@dataclass(frozen=True, slots=True)
class Told:
    """One statement of `sql/history.sql`, for a junction (`junction`) and a moment (`at`)."""

    at_ms: int
    statement: str
    parameters: Mapping[str, Any] = field(default_factory=dict)


def told_in(log: Log) -> Iterator[Told]:
    """What a line says. Nothing, if it says nothing about this or cannot be read."""
    if log.action == ORDER_ACTION:
        yield from _order(log)
    elif log.action == MODE_ACTION:
        mode = _mode(log)
        if mode is not None:
            yield Told(log.at, "note_mode", {"mode": mode})
    elif log.action == FAULT_ACTION:
        yield Told(log.at, "end_overrides", {"ended_by": "fault", "modes": _OVERRIDES})
        yield Told(log.at, "begin_fault", {"why": log.message[:1000]})
        yield Told(log.at, "note_mode", {"mode": str(SignalMode.FLASH)})
    elif log.action == FAULT_CLEARED_ACTION:
        mode = _mode(log)
        yield Told(log.at, "end_fault", {"ended_by": "cleared"})
        yield Told(log.at, "note_mode", {"mode": mode})
        if mode is not None:
            yield Told(log.at, "resume_override", {"mode": mode})
    elif log.action == DESCRIBED_ACTION:
        yield Told(log.at, "end_preemptions")
        yield Told(log.at, "end_fault", {"ended_by": "restart"})
        if not log.context.get("keeps"):
            # `keeps`: what was configured anew, and an override that was in force goes on.
            yield Told(log.at, "end_overrides", {"ended_by": "restart", "modes": _FORGOTTEN})


def told_by(event: SignalEvent) -> Told | None:
    """What an event says of an emergency vehicle, or of a fault; None: nothing."""
    if event.code == Code.UNIT_FLASH:
        if event.parameter in _FAULTS:
            return Told(event.at, "begin_fault", {"why": ""})
        is_restart = event.parameter == UnitFlash.START_UP
        return Told(event.at, "end_fault", {"ended_by": "restart" if is_restart else "cleared"})
    if event.code == Code.PREEMPT_ENTRY:
        return Told(event.at, "begin_preemption", {"number": event.parameter})
    ended_by = _PREEMPTION_ENDS.get(event.code)
    if ended_by is None:
        return None
    return Told(event.at, "end_preemption", {"number": event.parameter, "ended_by": ended_by})


def _order(log: Log) -> Iterator[Told]:
    said = log.context
    if said.get("accepted") is not True:
        return
    order = _given(said.get("given"))
    mode = _MODES.get(type(order)) if order else _BY_NAME.get(str(said.get("order")))
    if mode is None:
        return
    heard = {
        "mode": None if mode is SignalMode.AUTOMATIC else str(mode),
        "by": str(said.get("by") or "somebody beside the junction")[:200],
        "why": str(said.get("why") or "")[:1000],
        "given": Jsonb(_without_by(order) if order else {}),
        "settings": Jsonb(settings_of(order) if order else {}),
    }
    yield Told(log.at, "take_order", heard)
    yield Told(log.at, "begin_override", heard)


def _given(text: object) -> Order | None:
    # PostgreSQL takes no NUL, also not in a name.
    if not isinstance(text, str) or "\\u0000" in text:
        return None
    try:
        order: Order = msgspec.json.decode(text, type=Order)
    except (msgspec.MsgspecError, UnicodeEncodeError, RecursionError):
        return None
    return order


def settings_of(order: Order) -> dict[str, Any]:
    """What an order sets, beside its mode: cycle, greens, plan, expiry; without what it leaves open."""
    return {
        name: value
        for name, value in _without_by(order).items()
        if name not in ("order", "why") and value is not None
    }


def _without_by(order: Order) -> dict[str, Any]:
    fields: dict[str, Any] = msgspec.to_builtins(order)
    return {name: value for name, value in fields.items() if name != "by"}


def mode_of(order: Order) -> SignalMode | None:
    """What an order makes of the lights; None: it changes no mode."""
    return _MODES.get(type(order))


def _mode(log: Log) -> str | None:
    try:
        return str(SignalMode(str(log.context.get("mode"))))
    except ValueError:
        return None
