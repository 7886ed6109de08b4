"""What happens to the lights when things go wrong: the real daemon, as a process, on pins that outlive it.

All scenarios of this file run at once, each on pins of its own, since most of their time is spent in waiting for
lamps. Each brings about its fault, looks at the pins alone, and in the end everything that was on them is judged.
"""

import json
import signal
import socket
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import pairwise
from pathlib import Path

import pytest

from common.commands import Automatic, ClearFault, Flash
from edge_agent.exit_codes import EXIT_BUSY, EXIT_CONFIG
from edge_agent.link.asking import Asking
from tests.integration.signals_helpers import (
    DEAD_MAN,
    PATIENCE_S,
    PINS,
    READ_BACK,
    RunningLights,
    Verdict,
    all_of,
    chip_for,
    flashes_red,
    greens_after,
    in_memory,
    judge,
    junction_of,
    lamps,
    now_s,
    quick_junction,
    signals,
    write_signals_config,
)
from tests.servers.fake_chip import LIBRARIES
from tests.servers.fake_chip.chip import Chip

FLASH_WITHIN_S = 0.45
BUSY_S = 1.0
"""So much later things may be on a machine with other work; the bound itself is looked at by the bench."""
STANDS_S = 0.5
"""The time of five steps, without one."""
N_PLAYS = 3
FAKETIME = next(iter(Path("/usr/lib").glob("*/faketime/libfaketime.so.1")), None)


class Place:
    """One junction: its pins, its folder, its daemon."""

    def __init__(self, folder: Path, number: int) -> None:
        folder.mkdir(parents=True)
        self.folder = folder
        self.config = write_signals_config(folder, read_back=True)
        self.chip: Chip = chip_for(folder, read_back=True)
        self.library = LIBRARIES[number % len(LIBRARIES)]
        self.starts_s: list[float] = []
        self.lights = self.start()

    def start(self, *command: str, **more: str) -> RunningLights:
        """A daemon on the pins."""
        arguments = {"command": command} if command else {}
        self.lights = RunningLights(self.config, library=self.library, **arguments, **more)  # type: ignore[arg-type]
        self.starts_s.append(self.lights.began_s)
        return self.lights

    def until_green(self, name: str = "north") -> None:
        """Wait for the moment."""
        self.lights.until(lambda: lamps(self.chip)[name] == "green" and self.lights.process.poll() is None)

    def until_served(self, since_s: float) -> None:
        """Wait until two more greens came."""
        self.lights.until(lambda: len(greens_after(self.chip, since_s)) >= 2)

    def assert_no_fault(self) -> None:
        """Nothing was latched since the daemon began."""
        kept = self.folder / "state/state.json"
        assert not kept.exists() or json.loads(kept.read_text())["fault"] is None
        assert not [line for line in self.lights.log if line["level"] == "critical"]

    def stood_still(self) -> bool:
        """Whether a daemon was left standing by the machine: each step ends with a pulse."""
        pulses_s = [one.t_s for one in self.chip.changes() if one.pin == DEAD_MAN]
        return any(
            b_s - a_s > STANDS_S and not any(a_s < start_s < b_s for start_s in self.starts_s)
            for a_s, b_s in pairwise(pulses_s)
        )

    def until_flashing(self, since_s: float) -> None:
        self.lights.until(lambda: flashes_red(self.chip, since_s))

    def judged(self) -> Verdict:
        return judge(self.chip.changes(), junction_of(self.folder), restarts_s=self.starts_s)


def assert_red_soon(place: Place, since_s: float) -> None:
    """Within the bound no green and no yellow was left, and none came again."""
    ends = [
        one.t_s
        for one in place.chip.changes()
        if one.pin in {head["green"] for head in PINS.values()}
        and not one.level
        and one.moved
        and one.t_s > since_s
    ]
    assert ends, "the greens that were lit went out"
    assert max(ends) - since_s <= FLASH_WITHIN_S + BUSY_S
    assert greens_after(place.chip, max(ends)) == []


def a_pin_that_sticks_makes_all_others_flash_and_the_dead_man_starve(place: Place) -> None:
    """East's green burns whatever is done; the pulse train ends, so its relay falls; the fault is latched."""
    place.until_green("north")
    since_s = now_s()
    place.chip.force(PINS["east"]["green"], 1)
    place.lights.until_said("heads_failed")
    place.lights.until(lambda: len([one for one in place.chip.changes() if one.t_s > since_s + 2.0]) > 4)
    assert {lamps(place.chip)[name] for name in ("north", "south", "west")} <= {"red", ""}
    pulses = [
        one for one in place.chip.changes() if one.pin == DEAD_MAN and one.t_s > since_s + FLASH_WITHIN_S + BUSY_S
    ]
    assert pulses == []
    place.chip.force(PINS["east"]["green"], None)
    place.lights.until((place.folder / "state/state.json").exists)
    place.lights.kill()
    # Mended, and started anew: what was latched stays, until somebody looked.
    place.start()
    place.until_flashing(place.starts_s[-1])
    assert greens_after(place.chip, since_s + FLASH_WITHIN_S + BUSY_S) == []
    clear = ClearFault(by="technician", why="relay changed")
    with Asking(place.folder / "link") as asking:
        place.lights.until(lambda: asking.order(clear).accepted)
    place.until_green("north")
    place.starts_s[-1] = min(one.t_s for one in greens_after(place.chip, place.starts_s[-1])) - 3.0
    # The judge is not to take the stuck lamp for the daemon's.
    place.chip.trace_path.write_text(
        "".join(
            line
            for line in place.chip.trace_path.read_text().splitlines(keepends=True)
            if float(line.split()[0]) / 1e9 >= place.starts_s[-1] - 0.5 or float(line.split()[0]) / 1e9 < since_s
        )
    )


def a_lamp_that_reads_back_dark_flashes(place: Place) -> None:
    place.until_green("north")
    since_s = now_s()
    place.chip.force(READ_BACK["north"]["green"], 0)
    place.until_flashing(since_s)
    assert_red_soon(place, since_s)


def a_pin_that_raises_flashes(place: Place) -> None:
    place.until_green("north")
    since_s = now_s()
    place.chip.refuse(PINS["east"]["yellow"])
    place.lights.until_said("heads_failed")
    place.until_flashing(since_s)
    assert_red_soon(place, since_s)
    assert place.lights.process.poll() is None


def a_step_that_comes_late_flashes(place: Place) -> None:
    place.until_green("north")
    place.lights.process.send_signal(signal.SIGSTOP)
    time.sleep(2.5)
    since_s = now_s()
    assert lamps(place.chip)["north"] == "green", "pins keep their level while the daemon stands still"
    place.lights.process.send_signal(signal.SIGCONT)
    place.until_flashing(since_s)
    assert_red_soon(place, since_s)


def a_bad_plan_is_refused_and_a_good_one_begins_at_all_red(place: Place) -> None:
    place.until_green("north")
    bad = quick_junction()
    bad["plans"][0]["stages"][0]["stage"] = "nrth"
    del bad["movements"][1]["phase"]
    (place.folder / "junction.json").write_text(json.dumps(bad))
    since_s = now_s()
    place.lights.process.send_signal(signal.SIGHUP)
    told = place.lights.until_said("config_refused")["message"]
    assert "phase" in told
    place.until_served(since_s)
    (place.folder / "junction.json").write_text(json.dumps(quick_junction(green_s=2.0)))
    place.lights.process.send_signal(signal.SIGHUP)
    place.lights.until_said("config_applied")
    applied_s = now_s()
    place.lights.until(lambda: len({one.pin for one in greens_after(place.chip, applied_s)}) == 4)
    place.assert_no_fault()


def the_agents_coming_and_going_is_nothing_to_the_lights(place: Place) -> None:
    """Nonsense, half a line, a peer that never reads, and one that is killed."""
    place.until_green("north")
    since_s = now_s()
    path = str(place.folder / "link")
    with socket.socket(socket.AF_UNIX) as deaf:
        deaf.connect(path)
        deaf.sendall(b'{"type":"take_records"}\n')
        for garbage in (b"\x00\xff\n" * 50, b'{"type":"ask"', b"[1,2,3]\n", b"x" * 200_000):
            with socket.socket(socket.AF_UNIX) as peer:
                peer.connect(path)
                peer.settimeout(PATIENCE_S)
                try:
                    peer.sendall(garbage)
                except OSError:
                    continue
        place.lights.until(lambda: len({one.pin for one in greens_after(place.chip, since_s)}) == 4)
    place.assert_no_fault()


def a_wall_clock_that_jumps_by_years_is_nothing_to_the_lights(place: Place) -> None:
    place.lights.kill()
    moment = in_memory(place.folder) / "moment"
    moment.write_text("+0\n")
    place.start(
        LD_PRELOAD=str(FAKETIME),
        FAKETIME_TIMESTAMP_FILE=str(moment),
        FAKETIME_NO_CACHE="1",
        FAKETIME_DONT_FAKE_MONOTONIC="1",
    )
    place.until_green("north")
    for jump in ("+11y\n", "-30y\n", "+0\n"):
        moment.write_text(jump)
        place.until_served(now_s())
    place.lights.stop()
    place.assert_no_fault()


def a_planned_stop_goes_through_yellow_and_leaves_red(place: Place) -> None:
    place.until_green("north")
    second = signals("run", "--config", place.config, env=place.lights.environment())
    assert second.returncode == EXIT_BUSY
    place.assert_no_fault()
    place.until_green("north")
    told_s = now_s()
    assert place.lights.stop() == 0
    assert all_of(place.chip, "red")
    yellow = PINS["north"]["yellow"]
    shown_s = [one.t_s for one in place.chip.changes() if one.pin == yellow and one.moved and one.t_s > told_s]
    assert len(shown_s) == 2
    assert shown_s[1] - shown_s[0] >= 2.8
    assert place.chip.level(DEAD_MAN) == 0


def an_order_to_flash_outlives_a_power_cut(place: Place) -> None:
    """Somebody may be working on the heads."""
    place.until_green("north")
    with Asking(place.folder / "link") as asking:
        assert asking.order(Flash(by="technician", why="new lamps")).accepted
    since_s = now_s()
    place.until_flashing(since_s)
    place.lights.until((place.folder / "state/state.json").exists)
    place.lights.kill()
    flashed_s = now_s()
    place.start()
    place.until_flashing(place.starts_s[-1])
    assert greens_after(place.chip, flashed_s) == []
    with Asking(place.folder / "link") as asking:
        assert asking.order(Automatic(by="technician")).accepted
    place.until_green("north")
    place.starts_s.pop()


MOMENTS: dict[str, Callable[[Chip], bool]] = {
    "green": lambda chip: "green" in lamps(chip).values(),
    "yellow": lambda chip: "yellow" in lamps(chip).values(),
    "clearance": lambda chip: all_of(chip, "red") and bool(greens_after(chip, 0.0)),
    "start-up": lambda chip: all_of(chip, "red"),
}


def kill_9_is_made_safe_and_followed_by_start_up(place: Place, moment: str) -> None:
    place.lights.until(lambda: MOMENTS[moment](place.chip))
    place.lights.kill()
    left = lamps(place.chip)
    if moment in ("green", "yellow"):
        assert set(left.values()) != {"red"}, "pins keep what a dead process showed: what safe-state is for"
    assert place.lights.stop_post().returncode == 0
    assert all_of(place.chip, "red")
    place.start()
    place.until_green("north")


def what_follows_a_death_needs_no_disk_and_knows_the_pins_that_were_driven(place: Place) -> None:
    """The lock cannot be had on a card that only reads by now; and the file names other pins, for later."""
    place.until_green("north")
    place.lights.until((place.folder / "state/last-good.json").exists)
    place.lights.kill()
    place.lights.more["STATE_DIRECTORY"] = str(place.folder / "state")
    lock, text = place.folder / "state/lock", place.config.read_text()
    lock.unlink()
    lock.mkdir()
    greens = {head["green"] for head in PINS.values()}
    place.config.write_text(text.replace("green = { pin = 9,", "green = { pin = 27,"))
    assert any(place.chip.level(pin) for pin in greens)
    assert place.lights.stop_post().returncode == 0
    assert all_of(place.chip, "red")
    place.config.write_text(text)
    lock.rmdir()


KEY, FIRE, LOOP = 27, 14, 15
ON, OFF = 0, 1


def contacts_at_the_cabinet_are_obeyed_before_anybody_else(place: Place) -> None:
    """A key makes everything flash until it is turned back; a fire engine gets its way; a loop counts."""
    place.lights.kill()
    junction = quick_junction()
    junction["preemptions"] = [{"name": "fire-east", "stage": "ew", "number": 1}]
    junction["detectors"].append(
        {"channel": 70, "lane": "north", "kind": "stop_line", "sensor": "contacts", "source": "loop"}
    )
    write_signals_config(
        place.folder,
        junction,
        contacts={
            "key": f"pin = {KEY}\nflashes = true",
            "fire": f'pin = {FIRE}\npreempts = "fire-east"',
            "loop": f"pin = {LOOP}",
        },
    )
    for pin in (KEY, FIRE, LOOP):
        place.chip.force(pin, OFF)
    place.start()
    place.until_green("north")
    since_s = now_s()
    place.chip.force(KEY, ON)
    place.until_flashing(since_s)
    flashed_s = now_s()
    with Asking(place.folder / "link") as asking:
        refused = asking.order(Automatic(by="operator"))
        assert not refused.accepted
        assert refused.reason == "the contact key keeps the lights flashing; switch it off first"
        assert any("contact key" in shown.note for shown in asking.shown()), "whoever looks is told why"
    assert greens_after(place.chip, flashed_s) == []
    place.chip.force(KEY, OFF)
    place.until_served(flashed_s)
    place.chip.force(FIRE, ON)
    place.lights.until(
        lambda: any("Preempt by contact fire: accepted" in line["message"] for line in place.lights.log)
    )
    called_s = now_s()
    place.lights.until(lambda: lamps(place.chip)["east"] == "green")
    place.lights.until(lambda: now_s() > called_s + 8.0)
    assert lamps(place.chip)["east"] == "green", "it holds"
    place.chip.force(FIRE, OFF)
    place.until_green("north")
    place.chip.force(LOOP, ON)
    time.sleep(0.2)
    place.chip.force(LOOP, OFF)
    place.assert_no_fault()


def an_exception_anywhere_flashes(place: Place, part: str) -> None:
    place.lights.kill()
    place.start(sys.executable, "-m", "tests.servers.signals_with_a_bug", part, "50")
    place.until_green("north")
    since_s = now_s()
    place.until_flashing(since_s)
    place.lights.until(lambda: not any("green" in lit for lit in lamps(place.chip).values()))
    quiet_s = now_s()
    place.until_flashing(quiet_s)
    assert greens_after(place.chip, quiet_s) == []


def a_start_without_a_usable_plan_flashes_with_the_last_good_one(place: Place) -> None:
    place.until_green("north")
    place.lights.until((place.folder / "state/last-good.json").exists)
    place.lights.kill()
    good = (place.folder / "junction.json").read_text()
    (place.folder / "junction.json").write_text("{}")
    place.start()
    assert place.lights.process.wait(PATIENCE_S) == EXIT_CONFIG, "without systemd's word there is no other plan"
    place.start(STATE_DIRECTORY=str(place.folder / "state"))
    place.until_flashing(place.starts_s[-1])
    assert greens_after(place.chip, place.starts_s[-1]) == []
    place.lights.kill()
    assert place.lights.stop_post().returncode == 0
    assert all_of(place.chip, "red")
    (place.folder / "junction.json").write_text(good)


SCENARIOS: dict[str, Callable[[Place], None]] = {
    "a pin sticks": a_pin_that_sticks_makes_all_others_flash_and_the_dead_man_starve,
    "a lamp is misread": a_lamp_that_reads_back_dark_flashes,
    "a pin raises": a_pin_that_raises_flashes,
    "a step is late": a_step_that_comes_late_flashes,
    "plans": a_bad_plan_is_refused_and_a_good_one_begins_at_all_red,
    "the agent": the_agents_coming_and_going_is_nothing_to_the_lights,
    "the clock": a_wall_clock_that_jumps_by_years_is_nothing_to_the_lights,
    "flash by order": an_order_to_flash_outlives_a_power_cut,
    "stopped": a_planned_stop_goes_through_yellow_and_leaves_red,
    "no disk": what_follows_a_death_needs_no_disk_and_knows_the_pins_that_were_driven,
    "contacts": contacts_at_the_cabinet_are_obeyed_before_anybody_else,
    "no plan": a_start_without_a_usable_plan_flashes_with_the_last_good_one,
    **{
        f"bug in {part}": partial(an_exception_anywhere_flashes, part=part) for part in ("controller", "interlock")
    },
    **{f"killed in {one}": partial(kill_9_is_made_safe_and_followed_by_start_up, moment=one) for one in MOMENTS},
}


def played(scenario: Callable[[Place], None], folder: Path, number: int) -> None:
    """One scenario from beginning to end, and the judge's word on it.

    Where the machine left the daemon standing, so that it was late or flashed as it must, it is played again.
    """
    for n_left in reversed(range(N_PLAYS)):
        place = Place(folder / str(n_left), number)
        try:
            scenario(place)
        except AssertionError:
            if not n_left or scenario is a_step_that_comes_late_flashes or not place.stood_still():
                raise
            continue
        finally:
            place.lights.kill()
        verdict = place.judged()
        assert verdict.wrong == []
        assert verdict.n_greens > 0
        return


@pytest.mark.long
@pytest.mark.timeout(600)
def test_whatever_goes_wrong_the_lights_are_safe(tmp_path: Path) -> None:
    scenarios = dict(SCENARIOS)
    if FAKETIME is None:
        del scenarios["the clock"]
    failed = []
    with ThreadPoolExecutor(len(scenarios)) as pool:
        running = {
            name: pool.submit(played, scenario, tmp_path / str(number), number)
            for number, (name, scenario) in enumerate(scenarios.items())
        }
        for name, future in running.items():
            error = future.exception()
            if error is not None:
                error.add_note(f"in the scenario: {name}")
                failed.append(error)
    if failed:
        raise BaseExceptionGroup("scenarios failed", failed)
    if len(scenarios) < len(SCENARIOS):
        pytest.skip("the wall clock's jumps were left out: apt-get install libfaketime")
