"""A reset pin. It belongs to whatever chip `spidev` beside it shows."""

import spidev

BOARD, BCM = 10, 11
OUT, IN = 0, 1


def getmode() -> int | None:
    mode: int | None = spidev.bench().pin_mode
    return mode


def setmode(mode: int) -> None:
    spidev.bench().pin_mode = mode


def setup(pin: int, _direction: int) -> None:
    spidev.bench().pins[pin] = 0


def output(pin: int, level: int) -> None:
    spidev.bench().pins[pin] = level


def cleanup() -> None:
    spidev.bench().pins.clear()
    spidev.bench().pin_mode = None
