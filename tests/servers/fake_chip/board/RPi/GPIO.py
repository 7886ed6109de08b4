"""Stands in for the C extension `RPi.GPIO` 0.7, which writes the chip's registers: no line belongs to anybody, and
nothing is given back when a process ends."""

import os
import warnings
from pathlib import Path

from tests.servers.fake_chip.chip import N_PINS, PULL_DOWN, PULL_OFF, PULL_UP, Chip

VERSION = "0.7.1"
BOARD, BCM = 10, 11
OUT, IN = 0, 1
LOW, HIGH = 0, 1
PUD_OFF, PUD_DOWN, PUD_UP = 20, 21, 22
_PULLS = {PUD_OFF: PULL_OFF, PUD_DOWN: PULL_DOWN, PUD_UP: PULL_UP}


class _State:
    mode: int | None = None
    warns = True
    directions: dict[int, int] = {}  # noqa: RUF012 - one chip, one process
    chip: Chip | None = None


def _chip() -> Chip:
    if _State.chip is None:
        _State.chip = Chip(Path(os.environ["STOPLINE_FAKE_CHIP"]))
    return _State.chip


_chip()


def setmode(mode: int) -> None:
    if mode not in (BOARD, BCM):
        raise ValueError("An invalid mode was passed to setmode()")
    if _State.mode not in (None, mode):
        raise ValueError("A different mode has already been set!")
    _State.mode = mode


def getmode() -> int | None:
    return _State.mode


def setwarnings(on: bool) -> None:
    _State.warns = bool(on)


def setup(channel: int, direction: int, pull_up_down: int = PUD_OFF, initial: int | None = None) -> None:
    pin = _pin(channel)
    if direction not in (IN, OUT):
        raise ValueError("An invalid direction was passed to setup()")
    if direction == OUT and pull_up_down != PUD_OFF:
        raise ValueError("pull_up_down parameter is not valid for outputs")
    if direction == IN and initial is not None:
        raise ValueError("initial parameter is not valid for inputs")
    chip = _chip()
    if _State.warns and pin not in _State.directions and chip.is_output(pin):
        warnings.warn("This channel is already in use, continuing anyway.", RuntimeWarning, stacklevel=2)
    if direction == OUT:
        level = chip.level(pin) if initial is None else int(bool(initial))
        chip.latch(pin, level)
        chip.drive(pin, level)
    else:
        chip.listen(pin, _PULLS[pull_up_down])
    _State.directions[pin] = direction


def output(channel: int, level: int) -> None:
    pin = _pin(channel)
    if _State.directions.get(pin) != OUT:
        raise RuntimeError("The GPIO channel has not been set up as an OUTPUT")
    _chip().latch(pin, int(bool(level)))


def input(channel: int) -> int:
    pin = _pin(channel)
    if pin not in _State.directions:
        raise RuntimeError("You must setup() the GPIO channel first")
    return _chip().level(pin)


def cleanup(channel: int | None = None) -> None:
    for pin in [*_State.directions] if channel is None else [_pin(channel)]:
        _chip().listen(pin, PULL_OFF)
        _State.directions.pop(pin, None)


def _pin(channel: int) -> int:
    if _State.mode is None:
        raise RuntimeError(
            "Please set pin numbering mode using GPIO.setmode(GPIO.BOARD) or GPIO.setmode(GPIO.BCM)"
        )
    if not 0 <= channel < N_PINS:
        raise ValueError("The channel sent is invalid on a Raspberry Pi")
    return channel
