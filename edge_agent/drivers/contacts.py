"""Contacts on the Pi's own pins: push buttons, relays of loops, keys and switches in the cabinet."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from edge_agent.drivers.heads.gpio import Gpio, load_gpio

Pull = Literal["up", "down", "none"]


class ContactsError(Exception):
    """The pins cannot be had, or cannot be read."""


@dataclass(frozen=True, slots=True)
class Wire:
    """Where a contact is.

    Attributes:
        on_high: whether a high level says that it is on.
        pull: the Pi's own resistor, which decides where nothing is connected.
    """

    pin: int
    on_high: bool = False
    pull: Pull = "up"


class GpioContacts:
    """Reads contacts, by name.

    Raises:
        HeadsError: this is no Pi, or lacks the library.
        ContactsError: the pins cannot be had.
    """

    def __init__(self, wires: Mapping[str, Wire], gpio: Gpio | None = None) -> None:
        self._gpio = gpio = gpio or load_gpio()
        self._wires = dict(wires)
        pulls = {"up": gpio.PUD_UP, "down": gpio.PUD_DOWN, "none": gpio.PUD_OFF}
        gpio.setwarnings(False)
        for name, wire in self._wires.items():
            try:
                gpio.setmode(gpio.BCM)
                gpio.setup(wire.pin, gpio.IN, pull_up_down=pulls[wire.pull])
            except Exception as error:
                text = f"{name} (GPIO {wire.pin}) cannot be had: {type(error).__name__}: {error}"
                mend = "is another program on it, and may this user (group gpio) have it?"
                raise ContactsError(f"{text}; {mend}") from error

    def read(self) -> dict[str, bool]:
        """Which are on.

        Raises:
            ContactsError: one cannot be read.
        """
        found = {}
        for name, wire in self._wires.items():
            try:
                found[name] = bool(self._gpio.input(wire.pin)) == wire.on_high
            except Exception as error:
                text = f"{name} (GPIO {wire.pin}) cannot be read: {type(error).__name__}: {error}"
                raise ContactsError(text) from error
        return found
