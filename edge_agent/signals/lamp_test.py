"""Lights every lamp once, for who stands below and looks up."""

import time
from collections.abc import Callable

from common.codes import Aspect
from common.junction import Movement, MovementKind
from edge_agent.drivers.base import HeadsError, SignalHeads
from edge_agent.exit_codes import EXIT_FAILED, EXIT_OK
from edge_agent.signals.config import SignalsConfig, wiring_of
from edge_agent.signals.loop import STEP_S

_VEHICLES = (Aspect.RED, Aspect.YELLOW, Aspect.GREEN)
_PEOPLE = (Aspect.RED, Aspect.GREEN)


def light_each(config: SignalsConfig, open_heads: Callable[[SignalsConfig], SignalHeads], seconds: float) -> int:
    """One head after the other: dark, then each colour, while all others are red. So no two greens are ever lit.

    Returns:
        an exit code: failed where a lamp that is read back was not as it should be.
    """
    heads = open_heads(config)
    movements = config.described.movements
    red = {one.name: Aspect.RED for one in movements}
    code = EXIT_OK
    try:
        _hold(heads, red, seconds)
        for movement in movements:
            for aspect in (Aspect.DARK, *_colours(movement)):
                found = _hold(heads, red | {movement.name: aspect}, seconds)
                wrong = _wrong(movement.name, aspect, found)
                tells = found and _tells(config, movement.name)
                seen = f": {wrong}" if wrong else ", and read back so" if tells else ""
                print(f"{'FAIL' if wrong else 'ok  '}  {movement.name} {aspect}{seen}", flush=True)
                code = EXIT_FAILED if wrong else code
            _hold(heads, red, STEP_S)
    finally:
        heads.close()
    return code


def _tells(config: SignalsConfig, name: str) -> bool:
    """Whether this head is really read back, and not taken at its word beside others that are."""
    head = wiring_of(config.heads).lamps.get(name, {})
    return config.heads.driver != "gpio" or any(lamp.read_back is not None for lamp in head.values())


def _colours(movement: Movement) -> tuple[Aspect, ...]:
    return _PEOPLE if movement.kind is MovementKind.PEDESTRIAN else _VEHICLES


def _hold(
    heads: SignalHeads, aspects: dict[str, Aspect], seconds: float
) -> dict[str, frozenset[Aspect]] | str | None:
    """Show it for so long, as the daemon would, for the sake of the dead-man; what was read back in the end, or
    what failed."""
    until_s = time.monotonic() + seconds
    try:
        while True:
            heads.show(aspects, time.monotonic())
            left_s = until_s - time.monotonic()
            if left_s <= 0:
                break
            time.sleep(min(STEP_S, left_s))
        told = heads.read_back()
    except HeadsError as error:
        heads.fail_safe()
        return str(error)
    return None if told is None else dict(told)


def _wrong(name: str, aspect: Aspect, found: dict[str, frozenset[Aspect]] | str | None) -> str:
    """What is wrong, in words; empty: nothing, as far as the hardware tells."""
    if isinstance(found, str):
        return found
    if found is None or name not in found:
        return ""
    wanted = frozenset[Aspect]() if aspect is Aspect.DARK else frozenset({aspect})
    if found[name] == wanted:
        return ""
    return f"read back as {', '.join(sorted(found[name])) or 'dark'}; look at the lamp, its wire and its relay"
