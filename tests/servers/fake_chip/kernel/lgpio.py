"""Stands in for `lgpio`, as far as `rpi-lgpio` calls it for plain pins: lines are claimed from the kernel, belong
to one living process, and cannot be touched otherwise."""

import os
from pathlib import Path
from typing import Any

from tests.servers.fake_chip.chip import N_PINS, PULL_DOWN, PULL_OFF, PULL_UP, Chip

SET_PULL_UP, SET_PULL_DOWN, SET_PULL_NONE = 32, 64, 128
RISING_EDGE, FALLING_EDGE, BOTH_EDGES = 1, 2, 3
GPIO_BUSY, GPIO_NOT_ALLOCATED, BAD_GPIO_NUMBER, BAD_WRITE = -8, -39, -34, -43
_TEXTS = {
    GPIO_BUSY: "GPIO busy",
    GPIO_NOT_ALLOCATED: "GPIO not allocated",
    BAD_GPIO_NUMBER: "GPIO number not valid",
    BAD_WRITE: "GPIO write failed",
}
_PULLS = {SET_PULL_UP: PULL_UP, SET_PULL_DOWN: PULL_DOWN, SET_PULL_NONE: PULL_OFF}
_KERNEL_OUT, _LG_IN, _LG_OUT = 0x2, 0x100, 0x200


class error(Exception):
    """As the library raises it."""


_OPEN: dict[int, Chip] = {}
_PATH = Path(os.environ["STOPLINE_FAKE_CHIP"])


def error_text(number: int) -> str:
    return _TEXTS[number]


def gpiochip_open(number: int) -> int:
    _OPEN[number] = Chip(_PATH)
    return number


def gpiochip_close(handle: int) -> int:
    _OPEN.pop(handle).close()
    return 0


def gpio_get_chip_info(handle: int) -> tuple[int, int, str, str]:
    return 0, N_PINS, "gpiochip0", "fake"


def gpio_get_mode(handle: int, gpio: int) -> int:
    chip = _OPEN[handle]
    mode = _KERNEL_OUT if chip.is_output(gpio) else 0
    if chip.owner(gpio) == os.getpid():
        mode |= _LG_OUT if chip.is_output(gpio) else _LG_IN
    return mode


def gpio_claim_output(handle: int, gpio: int, level: Any = 0, flags: int = 0) -> int:
    return _claim(handle, gpio) or _written(_OPEN[handle].drive, gpio, level)


def gpio_claim_input(handle: int, gpio: int, flags: int = 0) -> int:
    code = _claim(handle, gpio)
    if not code:
        _OPEN[handle].listen(gpio, _PULLS.get(flags, PULL_OFF))
    return code


def gpio_free(handle: int, gpio: int) -> int:
    if _OPEN[handle].owner(gpio) != os.getpid():
        return _raised(GPIO_NOT_ALLOCATED)
    _OPEN[handle].own(gpio, 0)
    return 0


def gpio_read(handle: int, gpio: int) -> int:
    return _OPEN[handle].level(gpio)


def gpio_write(handle: int, gpio: int, level: Any) -> int:
    if _OPEN[handle].owner(gpio) != os.getpid():
        return _raised(GPIO_NOT_ALLOCATED)
    return _written(_OPEN[handle].latch, gpio, level)


def _claim(handle: int, gpio: int) -> int:
    if not 0 <= gpio < N_PINS:
        return _raised(BAD_GPIO_NUMBER)
    owner = _OPEN[handle].owner(gpio)
    if owner not in (0, os.getpid()):
        return _raised(GPIO_BUSY)
    _OPEN[handle].own(gpio, os.getpid())
    return 0


def _written(write: Any, gpio: int, level: Any) -> int:
    try:
        write(gpio, int(bool(level)))
    except OSError:
        return _raised(BAD_WRITE)
    return 0


def _raised(number: int) -> int:
    """The library raises by itself, unless it is told not to."""
    raise error(error_text(number))
