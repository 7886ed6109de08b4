"""Lamps on the Pi's own pins, through the module `RPi.GPIO`: the package of that name on a Pi 0 to 4, or its
drop-in `rpi-lgpio` on a Pi 5 and on current kernels.

Outputs keep their level when a program dies or hangs, so dark is nothing to rely on. Hence the dead-man: a pin is
toggled in every `show` and by nothing else, and a relay that it keeps up feeds the greens. And hence `fail_safe`,
which a fresh process can do as well (`stopline-signals safe-state`).
"""

import contextlib
import importlib
import logging
import os
from collections.abc import Iterator, Mapping
from typing import Any, Protocol

from common.codes import Aspect
from edge_agent.drivers.base import HeadsError
from edge_agent.drivers.heads.flashing import Flasher
from edge_agent.drivers.heads.wiring import Lamp, Wiring

logger = logging.getLogger(__name__)

MODULE = "RPi.GPIO"
_WRONG_LOOKS = 3
"""A program that writes a pin once is overruled; so many looks one after the other are one that goes on."""
_PARENTS = ("/dev/shm", "/tmp")
_BEFORE, _AFTER = (Aspect.RED, Aspect.YELLOW), (Aspect.GREEN, Aspect.YELLOW, Aspect.RED)


class Gpio(Protocol):
    """What we use of the module `RPi.GPIO`."""

    BCM: int
    OUT: int
    IN: int
    PUD_OFF: int
    PUD_DOWN: int
    PUD_UP: int

    def setmode(self, mode: int, /) -> None: ...
    def setwarnings(self, on: bool, /) -> None: ...
    def setup(self, channel: int, direction: int, pull_up_down: int = ..., initial: int = ...) -> None: ...
    def output(self, channel: int, level: int, /) -> None: ...
    def input(self, channel: int, /) -> int: ...


def load_gpio() -> Gpio:
    """The module of this machine.

    Raises:
        HeadsError: there is none, or this is no Pi; says what to do.
    """
    try:
        with room_for_pipe():
            module: Any = importlib.import_module(MODULE)
    except ImportError as error:
        raise HeadsError(
            f"the module {MODULE} is missing ({error}); install Stopline with its extra `pi`: pip install '.[pi]'"
        ) from error
    except Exception as error:
        raise HeadsError(f"the module {MODULE} does not work here: {_told(error)}") from error
    gpio: Gpio = module
    return gpio


@contextlib.contextmanager
def room_for_pipe() -> Iterator[None]:
    """A working folder, in memory where that can be, in which the module can be loaded; then the one before again.

    rpi-lgpio makes a pipe in it, and cannot be loaded where it may not: in somebody's home, or on a card that
    became read-only, when it is needed most.
    """
    before: int | None = None
    with contextlib.suppress(OSError):
        before = os.open(".", os.O_PATH)
    made = _enter_new_folder()
    try:
        yield
    finally:
        _go_back(before)
        if made is not None:
            with contextlib.suppress(OSError):
                for name in os.listdir(made):
                    os.unlink(f"{made}/{name}")
                os.rmdir(made)


def _go_back(folder: int | None) -> None:
    """To a folder that was opened, or, where this user may not enter it and could reach nothing in it, to `/`."""
    try:
        if folder is None:
            os.chdir("/")
        else:
            os.fchdir(folder)
    except OSError:
        os.chdir("/")
    finally:
        if folder is not None:
            os.close(folder)


def _enter_new_folder() -> str | None:
    """Where it is; None: there is none, and all is as it was. Not by `tempfile`, which takes 0.7 MB of memory."""
    for parent in _PARENTS:
        path = f"{parent}/stopline-{os.urandom(8).hex()}"
        with contextlib.suppress(OSError):
            os.mkdir(path, 0o700)
            os.chdir(path)
            return path
    return None


class GpioHeads:
    """`SignalHeads` on pins. Made with reds lit and all else dark, whatever the pins showed before.

    Raises:
        HeadsError: the pins cannot be had.
    """

    def __init__(self, wiring: Wiring, gpio: Gpio | None = None) -> None:
        self._gpio = gpio or load_gpio()
        self._wiring = wiring
        self._written: dict[int, int] = {}
        self._pulse = 0
        self._n_wrong = 0
        self._flasher = Flasher()
        try:
            self._set_up()
        except Exception as error:
            self.fail_safe()
            raise HeadsError(
                f"the pins cannot be had: {_told(error)}; is another program on them, and may this user "
                "(group gpio) have them?"
            ) from error

    def show(self, aspects: Mapping[str, Aspect], now_s: float) -> None:
        """Light exactly these. Reds go on first and greens last, so that what is cut short in between is red."""
        if aspects.keys() != self._wiring.lamps.keys():
            odd = ", ".join(sorted(aspects.keys() ^ self._wiring.lamps.keys()))
            raise HeadsError(f"what is to be shown and what is wired differ in {odd}")
        lit = self._flasher.lit(aspects, now_s)
        wrong: list[str] = []
        for colour in _BEFORE:
            wrong += self._switch(colour, lit, on=True)
        for colour in _AFTER:
            wrong += self._switch(colour, lit, on=False)
        if not wrong:
            wrong += self._switch(Aspect.GREEN, lit, on=True)
        wrong = wrong or self._wrong_levels()
        if wrong:
            raise HeadsError("; ".join(wrong))
        self._feed_dead_man()

    def read_back(self) -> Mapping[str, frozenset[Aspect]] | None:
        """What is lit, by the read-back pins; of heads that have none, what their pins were set to. None where no
        head has any. Fails where pins, look after look, are not what they were set to: another program is on them.
        """
        wrong = self._wrong_levels()
        self._n_wrong = self._n_wrong + 1 if wrong else 0
        if self._n_wrong >= _WRONG_LOOKS:
            raise HeadsError("; ".join(wrong))
        if not self._wiring.reads_back:
            return None
        try:
            return {
                name: frozenset(colour for colour, lamp in head.items() if self._reads_lit(lamp))
                for name, head in self._wiring.lamps.items()
            }
        except Exception as error:
            raise HeadsError(f"the lamps cannot be read back: {_told(error)}") from error

    def fail_safe(self) -> None:
        """Greens and yellows off, reds on, pulse train off; each pin is tried, whatever became of the others."""
        self._try(self._wiring.dead_man, 0)
        for colour in (Aspect.GREEN, Aspect.YELLOW, Aspect.RED):
            for head in self._wiring.lamps.values():
                if colour in head:
                    self._try(head[colour].pin, _level(head[colour], colour is Aspect.RED))

    def close(self) -> None:
        """Into the safe state. The pins stay outputs: `GPIO.cleanup()` would let them float, and reds go dark."""
        self.fail_safe()

    def _set_up(self) -> None:
        gpio = self._gpio
        gpio.setwarnings(False)
        gpio.setmode(gpio.BCM)
        if self._wiring.dead_man is not None:
            gpio.setup(self._wiring.dead_man, gpio.OUT, initial=0)
            self._written[self._wiring.dead_man] = 0
        for colour in (Aspect.GREEN, Aspect.YELLOW, Aspect.RED):
            for head in self._wiring.lamps.values():
                if colour in head:
                    lamp, level = head[colour], _level(head[colour], colour is Aspect.RED)
                    # The level is there before the pin becomes an output: nothing blinks.
                    gpio.setup(lamp.pin, gpio.OUT, initial=level)
                    self._written[lamp.pin] = level
        for head in self._wiring.lamps.values():
            for lamp in head.values():
                if lamp.read_back is not None:
                    # An open wire reads as dark.
                    pull = gpio.PUD_DOWN if lamp.read_back_active_high else gpio.PUD_UP
                    gpio.setup(lamp.read_back, gpio.IN, pull_up_down=pull)

    def _switch(self, colour: Aspect, lit: Mapping[str, frozenset[Aspect]], *, on: bool) -> list[str]:
        """Switch the lamps of one colour that are to be on, or those that are not; what did not go. One that
        fails keeps no other from its turn."""
        wrong = []
        for name, head in self._wiring.lamps.items():
            wanted = colour in lit[name]
            if colour not in head:
                if wanted and on:
                    wrong.append(f"{name} is to be {colour}, and has no such lamp")
            elif wanted == on:
                try:
                    self._write(head[colour].pin, _level(head[colour], on))
                except Exception as error:  # noqa: BLE001 - told with all others
                    wrong.append(f"GPIO {head[colour].pin} did not take it: {_told(error)}")
        return wrong

    def _write(self, pin: int, level: int) -> None:
        # Written in each step, changed or not: a program that writes the same pins is overruled.
        self._gpio.output(pin, level)
        self._written[pin] = level

    def _wrong_levels(self) -> list[str]:
        """What a pin is driven to it has to read as; else it is shorted, or somebody else drives it."""
        try:
            return [
                f"GPIO {pin} was set {'high' if level else 'low'} and is not: a short, or another program on it"
                for pin, level in self._written.items()
                if self._gpio.input(pin) != level
            ]
        except Exception as error:  # noqa: BLE001 - told
            return [f"the pins cannot be read: {_told(error)}"]

    def _feed_dead_man(self) -> None:
        if self._wiring.dead_man is not None:
            self._pulse ^= 1
            try:
                self._write(self._wiring.dead_man, self._pulse)
            except Exception as error:
                raise HeadsError(f"the dead-man's GPIO did not take it: {_told(error)}") from error

    def _reads_lit(self, lamp: Lamp) -> bool:
        if lamp.read_back is None:
            return self._written.get(lamp.pin) == _level(lamp, True)
        return bool(self._gpio.input(lamp.read_back)) == lamp.read_back_active_high

    def _try(self, pin: int | None, level: int) -> None:
        if pin is None:
            return
        try:
            self._write(pin, level)
        except Exception as error:  # noqa: BLE001 - the last act of a dying program goes on to the next pin
            text = "GPIO %d could not be made safe: %s"
            logger.critical(text, pin, _told(error), extra={"action": "unsafe_pin"})


def _level(lamp: Lamp, lit: bool) -> int:
    return int(lit == lamp.active_high)


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


def safe_state(wiring: Wiring, gpio: Gpio | None = None) -> None:
    """Reds on and all else off, by a process that has shown nothing before: what follows the death of a daemon.

    Raises:
        HeadsError: the pins cannot be had.
    """
    GpioHeads(wiring, gpio).close()
