"""Which pin lights which lamp, and what is wrong with that. BCM numbers throughout.

Why greens are held to strict rules: while a Pi boots, its pins are inputs. GPIO 0-8 are pulled up then and 9-27
pulled down, and a program that dies leaves its outputs as they are. A green that is lit by a high level on 9-27 is
dark in all of these; one that is lit by a low level is not.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from common.codes import Aspect
from common.junction import Junction, MovementKind

FIRST_PIN, LAST_PIN = 2, 27
"""GPIO 0 and 1 belong to the identification of a board on top."""
GREENS_FROM = 9
Place = tuple[str, ...]
"""Where in the section of heads: `("lamps", "north", "green", "pin")`."""


@dataclass(frozen=True, slots=True)
class Lamp:
    """One lamp.

    Attributes:
        pin: that switches it.
        active_high: whether it is lit by a high level.
        read_back: the pin that tells whether it is really lit; None: nothing does.
        read_back_active_high: whether a high level there means lit.
    """

    pin: int
    active_high: bool = True
    read_back: int | None = None
    read_back_active_high: bool = True

    @property
    def lit_at_rest(self) -> bool:
        """Whether it is lit while its pin floats, as the chip's own pulls have it at boot."""
        return (self.pin < GREENS_FROM) == self.active_high


@dataclass(frozen=True, slots=True)
class Wiring:
    """All lamps of a junction.

    Attributes:
        lamps: by movement and colour.
        dead_man: the pin of the pulse train that keeps the greens' supply up; None: there is no such relay.
    """

    lamps: Mapping[str, Mapping[Aspect, Lamp]]
    dead_man: int | None = None

    @property
    def reads_back(self) -> bool:
        """Whether the hardware tells what is lit."""
        return any(lamp.read_back is not None for head in self.lamps.values() for lamp in head.values())


def wiring_faults(wiring: Wiring, *, accept_active_low_greens: bool = False) -> Iterator[tuple[Place, str]]:
    """What is wrong with the pins, whatever the junction."""
    used: dict[int, Place] = {}
    for place, pin in pins_of(wiring):
        if not FIRST_PIN <= pin <= LAST_PIN:
            yield place, f"must be a GPIO (BCM number) from {FIRST_PIN} to {LAST_PIN}"
        elif pin in used:
            yield place, f"GPIO {pin} is used twice: it is {'.'.join(used[pin])} already; give each its own"
        used.setdefault(pin, place)
    for name, head in wiring.lamps.items():
        yield from _green_faults(name, head, accept_active_low_greens)
        told = {colour for colour, lamp in head.items() if lamp.read_back is not None}
        if told and told != set(head):
            missing = ", ".join(str(colour) for colour in head if colour not in told)
            yield (
                ("lamps", name),
                f"{missing} of it has no read_back, and the others have: either all of a head or none",
            )


def head_faults(wiring: Wiring, junction: Junction) -> Iterator[tuple[Place, str]]:
    """What is wrong between the heads and the junction's movements, but for names that nobody knows."""
    for movement in junction.movements:
        head = wiring.lamps.get(movement.name)
        if head is None:
            yield ("lamps", movement.name), "is missing: this movement of the junction has no head"
        elif movement.kind is MovementKind.VEHICLE and Aspect.YELLOW not in head:
            yield ("lamps", movement.name, "yellow"), "is missing: vehicles need a yellow"
        elif movement.kind is MovementKind.PEDESTRIAN and Aspect.YELLOW in head:
            yield ("lamps", movement.name, "yellow"), "people have no yellow; take it out"


def pins_of(wiring: Wiring) -> Iterator[tuple[Place, int]]:
    """Each pin that is used, and by what."""
    for name, head in wiring.lamps.items():
        for colour, lamp in head.items():
            yield ("lamps", name, str(colour), "pin"), lamp.pin
            if lamp.read_back is not None:
                yield ("lamps", name, str(colour), "read_back"), lamp.read_back
    if wiring.dead_man is not None:
        yield ("dead_man_pin",), wiring.dead_man


def _green_faults(name: str, head: Mapping[Aspect, Lamp], accept_active_low: bool) -> Iterator[tuple[Place, str]]:
    green = head.get(Aspect.GREEN)
    if green is None:
        return
    if FIRST_PIN <= green.pin < GREENS_FROM:
        yield (
            ("lamps", name, "green", "pin"),
            f"a green must be on GPIO {GREENS_FROM} to {LAST_PIN}: {FIRST_PIN} to {GREENS_FROM - 1} are pulled up "
            "while the Pi starts",
        )
    if not green.active_high and not accept_active_low:
        yield (
            ("lamps", name, "green", "active"),
            "a green that is lit by a low level lights up when its wire breaks or the Pi starts; use a board that "
            "is active high, or say accept_active_low_greens = true if relays in hardware prevent it",
        )
