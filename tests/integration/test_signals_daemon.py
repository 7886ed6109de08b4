"""The lights' daemon as its neighbours know it: systemd, the agent on the link, and who types its commands."""

import json
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from common.commands import Automatic, ManualOverride
from common.records import Cycle, Log, SignalEvent
from edge_agent.exit_codes import EXIT_BUSY, EXIT_CONFIG, EXIT_FAILED, EXIT_USAGE
from edge_agent.link.messages import (
    Ask,
    Crossing,
    OrderAnswer,
    Presence,
    SensorState,
    Shown,
    Spooled,
    Taken,
    TakeRecords,
    ToAgent,
)
from edge_agent.signals.memory import HeadsLock
from tests.integration.signals_helpers import (
    PATIENCE_S,
    PINS,
    READ_BACK,
    RunningLights,
    chip_for,
    chip_path,
    judge,
    junction_of,
    lamps,
    pictures,
    quick_junction,
    signals,
    write_signals_config,
)
from tests.junctions import APPROACHES
from tests.servers.fake_chip import environment


class Systemd:
    """What systemd hears."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._socket.setblocking(False)
        self.heard: list[str] = []

    def hear(self) -> list[str]:
        """All so far."""
        while True:
            try:
                self.heard += self._socket.recv(4096).decode().splitlines()
            except BlockingIOError:
                return self.heard

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[Systemd]:
    made = Systemd(tmp_path / "notify")
    yield made
    made.close()


def test_systemd_is_told_the_truth(tmp_path: Path, systemd: Systemd) -> None:
    """Ready after the first step; alive for as long as the heads take their steps, and not a moment longer."""
    chip = chip_for(tmp_path)
    config = write_signals_config(tmp_path)
    with RunningLights(config, NOTIFY_SOCKET=str(systemd.path), WATCHDOG_USEC="1000000") as lights:
        lights.until(lambda: "READY=1" in systemd.hear())
        assert set(lamps(chip).values()) == {"red"}
        lights.until(lambda: systemd.hear().count("WATCHDOG=1") >= 3)
        chip.refuse(PINS["east"]["red"])
        lights.until_said("heads_failed")
        lights.until_said("lights_fault")
        systemd.hear()
        systemd.heard.clear()
        time.sleep(1.5)
        assert "WATCHDOG=1" not in systemd.hear()
        chip.refuse(PINS["east"]["red"], False)
        lights.until(lambda: "WATCHDOG=1" in systemd.hear())
        assert any(line.startswith("STATUS=driver_failed") for line in systemd.heard)
        lights.stop()
        assert "STOPPING=1" in systemd.hear()


class Agent:
    """The other end of the link, by hand."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(PATIENCE_S)
        self._socket.connect(str(path))
        self._unread = b""
        self._sensed_ns = 0
        self.heard: list[ToAgent] = []

    def say(self, message: msgspec.Struct) -> None:
        self._socket.sendall(msgspec.json.encode(message) + b"\n")

    def hear(self) -> None:
        """Whatever comes next."""
        self._unread += self._socket.recv(65536)
        *lines, self._unread = self._unread.split(b"\n")
        new = [msgspec.json.decode(line, type=ToAgent) for line in lines]
        self.heard += new
        for record in [one for one in new if isinstance(one, Spooled)][-1:]:
            self.say(Taken(spool=record.spool, up_to=record.no))

    def sense(self) -> None:
        """All sensors measure; now and then one stands at each line, and one crosses."""
        at_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        if at_ns < self._sensed_ns + 1_000_000_000:
            return
        self._sensed_ns = at_ns
        for name in APPROACHES:
            self.say(SensorState(sensor=f"cam-{name}", at_ns=at_ns, measures=True))
            self.say(Presence(sensor=f"cam-{name}", zone="approach", at_ns=at_ns, n=2, n_standing=1))
            self.say(Crossing(sensor=f"cam-{name}", source="stop", at_ns=at_ns, epc="ABCD"))

    def close(self) -> None:
        self._socket.close()


@pytest.mark.long
def test_what_sensors_tell_decides_and_is_recorded(tmp_path: Path) -> None:
    """From the agent's words to `adaptive`, to cycles with counts and tags, and to the event log."""
    junction = quick_junction()
    junction["plans"][0]["algorithm"] = "adaptive"
    for movement in junction["movements"]:
        movement["max_green_s"] = 3.0
    config = write_signals_config(tmp_path, junction)
    text = config.read_text()
    config.write_text(text[: text.index("[heads]")] + '[heads]\ndriver = "simulated"\nrecord = "lamps.jsonl"\n')
    with RunningLights(config) as lights:
        lights.until((tmp_path / "link").exists)
        agent = Agent(tmp_path / "link")
        agent.say(TakeRecords())

        def records(kind: type[Any]) -> list[Any]:
            agent.sense()
            agent.hear()
            return [one.record for one in agent.heard if isinstance(one, Spooled) and isinstance(one.record, kind)]

        lights.until(lambda: any(cycle.lanes[0].vehicles for cycle in records(Cycle)))
        cycle = next(cycle for cycle in records(Cycle) if cycle.lanes[0].vehicles)
        assert cycle.junction == "crossroads"
        assert "ABCD" in cycle.lanes[0].epcs
        shown = [one for one in agent.heard if isinstance(one, Shown)]
        assert "adaptive" in {one.algorithm for one in shown}
        codes = {event.code for event in records(SignalEvent)}
        assert {1, 7, 8, 9, 10, 11, 12, 82, 81, 131, 173} <= codes
        agent.say(Ask(id="1", order=ManualOverride(by="x", cycle_s=10.0, lane_green_s={"north": 99.0})))
        agent.say(Ask(id="2", order=Automatic(by="alice", why="as it was")))
        lights.until(lambda: any(log.action == "lights_order" and log.context["accepted"] for log in records(Log)))
        refused, accepted = (log for log in records(Log) if log.action == "lights_order")
        assert not refused.context["accepted"]
        assert accepted.context["by"] == f"alice (uid {os.geteuid()})"
        given = msgspec.json.decode(str(accepted.context["given"]))
        assert (given["order"], given["by"]) == ("automatic", accepted.context["by"])
        assert [one.result.accepted for one in agent.heard if isinstance(one, OrderAnswer)] == [False, True]
        numbers = [one.no for one in agent.heard if isinstance(one, Spooled)]
        assert numbers == list(range(1, len(numbers) + 1))
        agent.close()
        assert lights.stop() == 0
    assert any(
        "green" in line["lit"]["north"]
        for line in map(json.loads, (tmp_path / "lamps.jsonl").read_text().splitlines())
    )


def test_the_lamp_test_lights_one_head_at_a_time(tmp_path: Path) -> None:
    chip = chip_for(tmp_path, read_back=True)
    chip.force(READ_BACK["south"]["yellow"], 0)
    config = write_signals_config(tmp_path, read_back=True)
    env = environment("RPi.GPIO", chip_path(tmp_path))
    unasked = signals("lamp-test", "--config", config, env=env)
    assert unasked.returncode == EXIT_FAILED
    for never in ("nan", "inf", "-1"):
        endless = signals("lamp-test", "--yes", f"--seconds={never}", "--config", config, env=env)
        assert endless.returncode == EXIT_USAGE
        assert f"'{never}' is no time in seconds" in endless.stderr
    assert lamps(chip) == dict.fromkeys(PINS, ""), "nothing was touched"
    done = signals("lamp-test", "--yes", "--seconds", "0.15", "--config", config, env=env)
    assert done.returncode == EXIT_FAILED
    failed = [line for line in done.stdout.splitlines() if line.startswith("FAIL")]
    assert failed == ["FAIL  south yellow: read back as dark; look at the lamp, its wire and its relay"]
    assert done.stdout.count("ok    ") == 15
    seen = {name: set[frozenset[str]]() for name in PINS}
    for picture in pictures(chip.changes()):
        assert len([name for name, lit in picture.lit.items() if "green" in lit]) <= 1
        for name, lit in picture.lit.items():
            seen[name].add(lit)
    each = [frozenset({colour}) for colour in ("red", "yellow", "green")]
    assert all(set(each) <= found for found in seen.values())
    assert judge(chip.changes(), junction_of(tmp_path)).n_greens == 4
    assert set(lamps(chip).values()) == {"red"}


def test_the_contact_test_tells_what_each_says(tmp_path: Path) -> None:
    """And `check` what each is for."""
    chip = chip_for(tmp_path)
    junction = quick_junction()
    junction["detectors"].append(
        {"channel": 70, "lane": "north", "kind": "button", "sensor": "contacts", "source": "push"}
    )
    config = write_signals_config(
        tmp_path, junction, contacts={"key": "pin = 27\nflashes = true", "push": "pin = 14"}
    )
    env = environment("RPi.GPIO", chip_path(tmp_path))
    chip.force(27, 0)
    told = signals("contact-test", "--seconds", "0.8", "--config", config, env=env)
    assert told.returncode == 0, told.stderr
    assert told.stdout.splitlines() == [
        "now   key (GPIO 27): on, makes the lights flash",
        "now   push (GPIO 14): off",
    ]
    assert lamps(chip) == dict.fromkeys(PINS, ""), "no lamp was touched"
    checked = signals("check", "--config", config, env=env).stdout
    assert "note  contact key: GPIO 27 makes the lights flash; nobody sees when its wire is broken" in checked
    assert "ok    contact push: GPIO 14 is the button of lane north, channel 70" in checked
    unwired = signals("contact-test", "--config", write_signals_config(tmp_path), env=env)
    assert unwired.returncode == EXIT_FAILED
    assert "add [contacts.NAME]" in unwired.stderr


def test_commands_keep_their_hands_off_while_the_daemon_runs(tmp_path: Path) -> None:
    chip = chip_for(tmp_path)
    config = write_signals_config(tmp_path)
    with RunningLights(config) as lights:
        lights.until(lambda: "green" in lamps(chip).values())
        for command in (["lamp-test", "--yes"], ["safe-state"], ["run"]):
            refused = signals(*command, "--config", config, env=lights.environment())
            assert refused.returncode == EXIT_BUSY
            assert "stop it first" in refused.stderr
        checked = signals("check", "--config", config, env=lights.environment())
        assert "state: the daemon runs; no fault is latched" in checked.stdout
        assert judge(chip.changes(), junction_of(tmp_path)).wrong == []


def test_after_the_end_nothing_holds_safe_state_up(tmp_path: Path) -> None:
    """Neither a lock that a process holds which cannot die, nor a folder that is gone. By hand the lock counts:
    the heads of a daemon that lives are its own."""
    chip = chip_for(tmp_path)
    config = write_signals_config(tmp_path)
    env = environment("RPi.GPIO", chip_path(tmp_path))
    lock = HeadsLock(tmp_path / "state")
    lock.take()
    for state_dir, is_done in (("state", False), ("signals.toml/none", True)):
        env["STOPLINE_LIGHTS__STATE_DIR"] = str(tmp_path / state_dir)
        chip.drive(PINS["north"]["green"], 1)
        assert (signals("safe-state", "--config", config, env=env).returncode == 0) == is_done
        assert ("green" in lamps(chip)["north"]) != is_done
        chip.drive(PINS["north"]["green"], 1)
        assert signals("safe-state", "--config", config, env=env | {"SERVICE_RESULT": "watchdog"}).returncode == 0
        assert set(lamps(chip).values()) == {"red"}
    # The unit ended since it found another one at work: that one has the heads.
    env["STOPLINE_LIGHTS__STATE_DIR"] = str(tmp_path / "state")
    chip.drive(PINS["north"]["green"], 1)
    busy = {"SERVICE_RESULT": "exit-code", "EXIT_STATUS": str(EXIT_BUSY)}
    assert signals("safe-state", "--config", config, env=env | busy).returncode == EXIT_BUSY
    assert "green" in lamps(chip)["north"]
    lock.release()


def test_check_tells_what_is_there_and_what_is_not(tmp_path: Path) -> None:
    config = write_signals_config(tmp_path)
    there = signals("check", "--config", config, env=environment("RPi.GPIO", chip_path(tmp_path)))
    lines = there.stdout.splitlines()
    assert lines[0].startswith("ok    config: ")
    assert "ok    GPIO library: RPi.GPIO 0.7.1" in lines
    assert any(line.startswith("note  reds at rest: the reds of") for line in lines) is False, (
        "2 to 8 are pulled up"
    )
    assert any(line.startswith("note  read-back: no lamp is read back") for line in lines)
    assert any(line.startswith("FAIL  GPIO access: ") for line in lines), "this is no Pi"
    assert there.returncode == EXIT_FAILED
    (tmp_path / "junction.json").write_text(json.dumps(quick_junction() | {"conflicts": []} | {"lanes": []}))
    broken = signals("check", "--config", config)
    assert broken.returncode == EXIT_CONFIG
    assert all(line.startswith("FAIL  config: ") for line in broken.stdout.splitlines())
    assert not broken.stderr
