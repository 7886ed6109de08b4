"""What every driver of lamps has to keep. A new one is a new line in `BENCHES`."""

from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Protocol

import pytest

from common.codes import Aspect
from edge_agent.drivers.base import HeadsError, SignalHeads
from edge_agent.drivers.heads.gpio import GpioHeads
from edge_agent.drivers.heads.simulated import SimulatedHeads
from edge_agent.drivers.heads.wiring import Lamp, Wiring
from tests.servers.fake_chip import Library, load
from tests.servers.fake_chip.chip import Chip

RED, YELLOW, GREEN = Aspect.RED, Aspect.YELLOW, Aspect.GREEN
ONLY_RED = frozenset({RED})
MOVEMENTS = ("north", "east", "walk")
ALL_RED = dict.fromkeys(MOVEMENTS, RED)


class Bench(Protocol):
    """Heads, and a view of the lamps that does not go by way of the driver."""

    @property
    def heads(self) -> SignalHeads:
        """What is judged."""

    def lit(self) -> Mapping[str, frozenset[Aspect]]:
        """What burns."""

    def stick(self, movement: str, colour: Aspect, lit: bool) -> None:
        """A lamp does not obey any more."""

    def break_down(self) -> None:
        """The driver cannot switch any more."""


def wiring() -> Wiring:
    """North is lit by high levels, east's red and yellow by low ones; people have no yellow; all are read back."""
    return Wiring(
        {
            "north": {RED: Lamp(5, True, 2), YELLOW: Lamp(6, True, 3), GREEN: Lamp(13, True, 4)},
            "east": {
                RED: Lamp(9, False, 7, False),
                YELLOW: Lamp(10, False, 8, False),
                GREEN: Lamp(11, True, 12, True),
            },
            "walk": {RED: Lamp(16, True, 17), GREEN: Lamp(18, True, 19)},
        },
        dead_man=26,
    )


class OnPins:
    """The GPIO driver on the emulated chip, through one of its libraries."""

    def __init__(self, library: Library, folder: Path) -> None:
        self.wiring = wiring()
        self.chip = Chip(folder / "chip")
        for head in self.wiring.lamps.values():
            for lamp in head.values():
                assert lamp.read_back is not None
                self.chip.wire(lamp.pin, lamp.read_back)
        # A program died here, with green on.
        self.chip.drive(13, 1)
        self.chip.drive(5, 0)
        self.heads = GpioHeads(self.wiring, load(library, folder / "chip"))

    def lit(self) -> Mapping[str, frozenset[Aspect]]:
        return {
            name: frozenset(
                colour for colour, lamp in head.items() if bool(self.chip.level(lamp.pin)) == lamp.active_high
            )
            for name, head in self.wiring.lamps.items()
        }

    def stick(self, movement: str, colour: Aspect, lit: bool) -> None:
        lamp = self.wiring.lamps[movement][colour]
        self.chip.force(lamp.pin, int(lit == lamp.active_high))

    def break_down(self) -> None:
        self.chip.refuse(11)


class InMemory:
    """The simulated driver."""

    def __init__(self, folder: Path) -> None:
        self.heads = self._heads = SimulatedHeads(MOVEMENTS, folder / "record")

    def lit(self) -> Mapping[str, frozenset[Aspect]]:
        return self._heads.lit

    def stick(self, movement: str, colour: Aspect, lit: bool) -> None:
        self._heads.stuck[movement, colour] = lit

    def break_down(self) -> None:
        self._heads.broken = "its supply is gone"


BENCHES: dict[str, Callable[[Path], Bench]] = {
    "RPi.GPIO": lambda folder: OnPins("RPi.GPIO", folder),
    "rpi-lgpio": lambda folder: OnPins("rpi-lgpio", folder),
    "simulated": InMemory,
}


@pytest.fixture(params=BENCHES)
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bench]:
    made = BENCHES[request.param](tmp_path)
    yield made
    made.heads.close()


def test_before_anything_is_shown_it_is_red(bench: Bench) -> None:
    """Even where another program left a green behind."""
    assert bench.lit() == dict.fromkeys(MOVEMENTS, ONLY_RED)


def test_it_shows_exactly_what_it_is_told(bench: Bench) -> None:
    for aspects in (
        {"north": GREEN, "east": RED, "walk": RED},
        {"north": YELLOW, "east": RED, "walk": GREEN},
        {"north": RED, "east": GREEN, "walk": RED},
        {"north": RED, "east": YELLOW, "walk": RED},
        dict.fromkeys(MOVEMENTS, Aspect.DARK),
        ALL_RED,
    ):
        bench.heads.show(aspects, 1.0)
        assert bench.lit() == {
            name: frozenset() if aspect is Aspect.DARK else frozenset({aspect}) for name, aspect in aspects.items()
        }


def test_what_is_read_back_is_what_is_lit(bench: Bench) -> None:
    for aspects in ({"north": GREEN, "east": RED, "walk": GREEN}, {"north": YELLOW, "east": GREEN, "walk": RED}):
        bench.heads.show(aspects, 1.0)
        assert bench.heads.read_back() in (None, bench.lit())


@pytest.mark.parametrize(("aspect", "colour"), [(Aspect.FLASHING_RED, RED), (Aspect.FLASHING_YELLOW, YELLOW)])
def test_it_flashes_as_often_and_as_long_as_it_should(bench: Bench, aspect: Aspect, colour: Aspect) -> None:
    """50 to 60 times a minute, lit for half to two thirds of the time, by the time that it is given."""
    seen = []
    for step in range(1200):
        bench.heads.show({"north": aspect, "east": aspect, "walk": Aspect.FLASHING_RED}, 1000.0 + step * 0.1)
        lit = bench.lit()
        assert lit["north"] == lit["east"]
        assert lit["north"] in (frozenset(), frozenset({colour}))
        seen.append(colour in lit["north"])
    flashes = sum(b and not a for a, b in pairwise(seen))
    assert 2 * 50 <= flashes <= 2 * 60
    assert 1 / 2 <= sum(seen) / len(seen) <= 2 / 3


@pytest.mark.parametrize("at_s", [1000.0, 1000.3, 1000.6, 1000.9])
def test_flashing_begins_with_light(bench: Bench, at_s: float) -> None:
    """A fault is to be seen at once: dark for half a second after green is neither red nor flash."""
    for begins_s in (at_s, at_s + 20.0):
        bench.heads.show({"north": GREEN, "east": RED, "walk": RED}, begins_s - 0.1)
        for step in range(5):
            bench.heads.show(dict.fromkeys(MOVEMENTS, Aspect.FLASHING_RED), begins_s + step * 0.1)
            assert bench.lit() == dict.fromkeys(MOVEMENTS, ONLY_RED)


def test_to_fail_safe_is_red_whatever_was_shown(bench: Bench) -> None:
    bench.heads.show({"north": GREEN, "east": RED, "walk": GREEN}, 1.0)
    bench.heads.fail_safe()
    assert bench.lit() == dict.fromkeys(MOVEMENTS, ONLY_RED)


def test_closed_it_stays_red_and_may_be_closed_again(bench: Bench) -> None:
    bench.heads.show({"north": RED, "east": GREEN, "walk": GREEN}, 1.0)
    bench.heads.close()
    bench.heads.close()
    assert bench.lit() == dict.fromkeys(MOVEMENTS, ONLY_RED)


@pytest.mark.parametrize(
    "aspects", [{"north": RED}, ALL_RED | {"south": RED}, {}, {"north": RED, "east": RED, "wlk": RED}]
)
def test_movements_that_are_missing_or_unknown_are_refused(bench: Bench, aspects: dict[str, Aspect]) -> None:
    with pytest.raises(HeadsError):
        bench.heads.show(aspects, 1.0)
    assert bench.lit() == dict.fromkeys(MOVEMENTS, ONLY_RED)


def test_a_driver_that_breaks_down_says_so_and_still_fails_safe(bench: Bench) -> None:
    bench.heads.show({"north": GREEN, "east": RED, "walk": RED}, 1.0)
    bench.break_down()
    with pytest.raises(HeadsError):
        bench.heads.show({"north": RED, "east": GREEN, "walk": RED}, 1.1)
    bench.heads.fail_safe()
    assert bench.lit() == dict.fromkeys(MOVEMENTS, ONLY_RED)


@pytest.mark.parametrize(("colour", "lit"), [(GREEN, True), (RED, False)])
def test_a_lamp_that_does_not_obey_is_noticed(bench: Bench, colour: Aspect, lit: bool) -> None:
    """By `show`, or by what is read back."""
    bench.stick("east", colour, lit)
    try:
        bench.heads.show(ALL_RED, 1.0)
    except HeadsError:
        return
    told = bench.heads.read_back()
    assert told is not None
    assert (colour in told["east"]) == lit
