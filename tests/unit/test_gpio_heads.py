"""What is particular about lamps on pins: nothing blinks, greens come last, `show` alone feeds the dead-man."""

import os
import subprocess
import sys
from collections.abc import Callable
from itertools import product
from pathlib import Path

import pytest

from common.codes import Aspect
from common.junction import Junction
from edge_agent.drivers.base import HeadsError
from edge_agent.drivers.heads.gpio import GpioHeads, load_gpio, safe_state
from edge_agent.drivers.heads.wiring import Lamp, Wiring, head_faults, wiring_faults
from tests.junctions import crossroads, with_people
from tests.servers.fake_chip import LIBRARIES, Library, load
from tests.servers.fake_chip.chip import Chip

RED, YELLOW, GREEN = Aspect.RED, Aspect.YELLOW, Aspect.GREEN
DEAD_MAN = 26
WIRING = Wiring(
    {
        "north": {RED: Lamp(5), YELLOW: Lamp(6), GREEN: Lamp(13)},
        "east": {RED: Lamp(9, False), YELLOW: Lamp(10), GREEN: Lamp(11)},
    },
    dead_man=DEAD_MAN,
)
NORTH = {"north": GREEN, "east": RED}
EAST = {"north": RED, "east": GREEN}

every_library = pytest.mark.parametrize("library", LIBRARIES)


@pytest.fixture
def chip(tmp_path: Path) -> Chip:
    return Chip(tmp_path / "chip")


@pytest.fixture
def heads_on(tmp_path: Path) -> Callable[[Library], GpioHeads]:
    return lambda library: GpioHeads(WIRING, load(library, tmp_path / "chip"))


def lit(chip: Chip) -> set[tuple[str, Aspect]]:
    return {
        (name, colour)
        for name, head in WIRING.lamps.items()
        for colour, lamp in head.items()
        if bool(chip.level(lamp.pin)) == lamp.active_high
    }


@every_library
def test_set_up_changes_only_what_has_to_change(
    library: Library, chip: Chip, heads_on: Callable[[Library], GpioHeads]
) -> None:
    """After power on: each pin that has to move moves once, and none comes and goes."""
    heads_on(library)
    moved = [change.pin for change in chip.changes() if change.moved]
    assert sorted(moved) == sorted(set(moved))
    assert set(moved) <= {5, 6, 9}, (
        "5 is pulled up already; 6 is, and goes dark; east's red is lit by low, as it is"
    )


@every_library
def test_a_process_after_a_dead_one_shows_no_green_in_between(
    library: Library, chip: Chip, heads_on: Callable[[Library], GpioHeads]
) -> None:
    heads_on(library).show(NORTH, 1.0)
    n_before = len(chip.changes())
    heads_on(library)
    after = [(change.pin, change.level) for change in chip.changes()[n_before:] if change.moved]
    assert (13, 1) not in after
    assert after.index((13, 0)) < after.index((5, 1)) or (5, 1) in after
    assert lit(chip) == {("north", RED), ("east", RED)}


@every_library
def test_greens_go_before_greens_come(
    library: Library, chip: Chip, heads_on: Callable[[Library], GpioHeads]
) -> None:
    heads = heads_on(library)
    heads.show(NORTH, 1.0)
    n_before = len(chip.changes())
    heads.show(EAST, 1.1)
    moved = [change.pin for change in chip.changes()[n_before:] if change.moved and change.pin != DEAD_MAN]
    assert moved == [5, 13, 9, 11], "north's red on, north's green off, east's red off, east's green on"


@every_library
def test_the_dead_man_is_toggled_by_each_step_and_stays_low_in_the_end(
    library: Library, chip: Chip, heads_on: Callable[[Library], GpioHeads]
) -> None:
    heads = heads_on(library)
    assert chip.level(DEAD_MAN) == 0
    levels = []
    for step in range(6):
        heads.show(NORTH, step * 0.1)
        levels.append(chip.level(DEAD_MAN))
    assert levels == [1, 0, 1, 0, 1, 0]
    heads.show(NORTH, 0.7)
    heads.fail_safe()
    assert chip.level(DEAD_MAN) == 0


@every_library
def test_a_step_that_failed_does_not_feed_the_dead_man(
    library: Library, chip: Chip, heads_on: Callable[[Library], GpioHeads]
) -> None:
    heads = heads_on(library)
    heads.show(NORTH, 1.0)
    fed = chip.level(DEAD_MAN)
    chip.force(6, 1)
    for step in range(3):
        with pytest.raises(HeadsError, match="GPIO 6 was set low and is not"):
            heads.show(NORTH, 1.1 + step * 0.1)
    assert chip.level(DEAD_MAN) == fed


@every_library
def test_another_program_on_a_pin_is_overruled(
    library: Library, chip: Chip, heads_on: Callable[[Library], GpioHeads]
) -> None:
    heads = heads_on(library)
    heads.show(NORTH, 1.0)
    for _ in range(2):
        chip.drive(11, 1)
        assert heads.read_back() is None
        heads.show(NORTH, 1.1)
        assert lit(chip) == {("north", GREEN), ("east", RED)}
    assert heads.read_back() is None
    with pytest.raises(HeadsError, match="GPIO 11 was set low and is not: a short, or another program on it"):  # noqa: PT012
        for _ in range(3):
            chip.drive(11, 1)
            heads.read_back()
            heads.show(NORTH, 1.2)


@every_library
def test_one_pin_that_fails_does_not_keep_the_others_from_being_safe(
    library: Library, chip: Chip, heads_on: Callable[[Library], GpioHeads], caplog: pytest.LogCaptureFixture
) -> None:
    heads = heads_on(library)
    heads.show(EAST, 1.0)
    chip.refuse(13)
    heads.fail_safe()
    assert lit(chip) == {("north", RED), ("east", RED)}
    assert "GPIO 13 could not be made safe" in caplog.text


@every_library
def test_safe_state_is_all_red_after_a_crash(library: Library, chip: Chip, tmp_path: Path) -> None:
    chip.drive(13, 1)
    chip.drive(11, 1)
    chip.drive(9, 1)
    safe_state(WIRING, load(library, tmp_path / "chip"))
    assert lit(chip) == {("north", RED), ("east", RED)}
    assert all(chip.is_output(pin) for pin in (5, 9, 11, 13)), "nothing floats"


def test_a_line_that_another_process_holds_is_told(chip: Chip, tmp_path: Path) -> None:
    chip.own(13, 1)  # init lives
    with pytest.raises(HeadsError, match=r"GPIO busy.*another program"):
        GpioHeads(WIRING, load("rpi-lgpio", tmp_path / "chip"))


def test_a_machine_that_is_no_pi_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RPI_LGPIO_REVISION", raising=False)
    with pytest.raises(HeadsError):
        GpioHeads(WIRING, load_gpio())


def faults(wiring: Wiring, *, accept: bool = False) -> list[str]:
    return [f"{'.'.join(place)}: {text}" for place, text in wiring_faults(wiring, accept_active_low_greens=accept)]


def test_the_library_can_be_loaded_where_nothing_can_be_written() -> None:
    """As in somebody's home, or with a card that became read-only; not even root can write to /proc itself."""
    pytest.importorskip("lgpio", reason="rpi-lgpio is not installed")
    program = (
        "import os; from edge_agent.drivers.heads.gpio import room_for_pipe\n"
        "with room_for_pipe(): import lgpio\n"
        "print(os.getcwd())"
    )
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    told = subprocess.run(
        [sys.executable, "-c", program], cwd="/proc", env=environment, check=False, capture_output=True, text=True
    )
    assert told.stdout == "/proc\n", told.stderr


def test_it_can_be_loaded_where_this_user_may_not_be(tmp_path: Path) -> None:
    """As with `sudo -u` in a home that is closed to others."""
    program = (
        "import os; from edge_agent.drivers.heads.gpio import room_for_pipe\n"
        "os.chmod('.', 0)\n"
        "if os.geteuid() == 0: os.setuid(65534)\n"
        "with room_for_pipe(): open('pipe', 'w').close()\n"
        "print(os.getcwd())"
    )
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    told = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=environment, check=False, capture_output=True, text=True
    )
    tmp_path.chmod(0o700)
    assert told.stdout == "/\n", told.stderr


def test_sound_wiring_has_no_faults() -> None:
    assert faults(WIRING) == []


@pytest.mark.parametrize(
    ("lamps", "dead_man", "told"),
    [
        ({RED: Lamp(5), GREEN: Lamp(13, read_back=None), YELLOW: Lamp(5)}, None, "GPIO 5 is used twice"),
        ({RED: Lamp(5), GREEN: Lamp(13), YELLOW: Lamp(6)}, 13, "dead_man_pin: GPIO 13 is used twice"),
        (
            {RED: Lamp(5, read_back=6), GREEN: Lamp(13, read_back=7), YELLOW: Lamp(6, read_back=8)},
            None,
            "used twice",
        ),
        ({RED: Lamp(5), GREEN: Lamp(8), YELLOW: Lamp(6)}, None, "green.pin: a green must be on GPIO 9 to 27"),
        (
            {RED: Lamp(5), GREEN: Lamp(13, False), YELLOW: Lamp(6)},
            None,
            "green.active: a green that is lit",
        ),
        ({RED: Lamp(1), GREEN: Lamp(13), YELLOW: Lamp(28)}, None, "must be a GPIO (BCM number) from 2 to 27"),
        (
            {RED: Lamp(5, read_back=7), GREEN: Lamp(13), YELLOW: Lamp(6)},
            None,
            "yellow, green of it has no",
        ),
    ],
)
def test_faults_of_wiring_are_told(lamps: dict[Aspect, Lamp], dead_man: int | None, told: str) -> None:
    ordered = {colour: lamps[colour] for colour in (RED, YELLOW, GREEN)}
    assert any(told in fault for fault in faults(Wiring({"north": ordered}, dead_man)))


def test_active_low_greens_may_be_accepted() -> None:
    wiring = Wiring({"north": {RED: Lamp(5), YELLOW: Lamp(6), GREEN: Lamp(13, False)}})
    assert len(faults(wiring)) == 1
    assert faults(wiring, accept=True) == []


def places(wiring: Wiring, junction: Junction) -> list[str]:
    return [".".join(place) for place, _ in head_faults(wiring, junction)]


def test_heads_have_to_fit_the_junction() -> None:
    assert places(WIRING, crossroads()) == ["lamps.south", "lamps.west"]
    head = {RED: Lamp(5), YELLOW: Lamp(6), GREEN: Lamp(13)}
    names = [movement.name for movement in with_people().movements]
    told = [
        f"{'.'.join(place)}: {text}"
        for place, text in head_faults(Wiring(dict.fromkeys(names, head)), with_people())
    ]
    assert [line.split(":")[0] for line in told] == ["lamps.walk-over-east.yellow", "lamps.walk-over-north.yellow"]
    head.pop(YELLOW)
    told = [f"{'.'.join(place)}: {text}" for place, text in head_faults(Wiring({"north": head}), crossroads())]
    assert "lamps.north.yellow: is missing: vehicles need a yellow" in told


@pytest.mark.parametrize(("pin", "high"), [*product((5, 20), (True, False))])
def test_what_is_lit_while_the_pi_starts(pin: int, high: bool, tmp_path: Path) -> None:
    """By the pulls that the chip has then."""
    fresh = Chip(tmp_path / "chip")
    assert Lamp(pin, high).lit_at_rest == (bool(fresh.level(pin)) == high)


@every_library
def test_a_head_that_cannot_tell_does_not_make_the_junction_flash(
    library: Library, chip: Chip, tmp_path: Path
) -> None:
    """Read-back pins on some heads only: the others are taken at their word, and those that tell are watched."""
    lamps = dict(WIRING.lamps) | {"north": {RED: Lamp(5, read_back=20), GREEN: Lamp(13, read_back=21)}}
    chip.wire(5, 20)
    chip.wire(13, 21)
    heads = GpioHeads(Wiring(lamps), load(library, tmp_path / "chip"))
    heads.show(EAST, 0.0)
    assert heads.read_back() == {"north": frozenset({RED}), "east": frozenset({GREEN})}
    chip.force(20, 0)
    assert heads.read_back() == {"north": frozenset(), "east": frozenset({GREEN})}
