"""The units: systemd takes them, they are hardened, and they start what there is."""

import configparser
import itertools
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from collector.config import load_config as load_collector_config
from edge_agent.config.loading import load_config as load_agent_config
from edge_agent.signals.loading import load_signals_config

ROOT = Path(__file__).parents[2]
UNITS = sorted((ROOT / "systemd").glob("*.service"))
EXAMPLES = ROOT / "systemd/examples"
PREFIX = "/opt/stopline"
MOST_EXPOSURE = 2.5
"""As `systemd-analyze security` rates it, from 0 to 10; a service without hardening has 9.6."""

each_unit = pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)


@pytest.fixture
def systemd_analyze() -> str:
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("systemd-analyze is not installed: apt-get install systemd")
    return program


def settings(unit: Path) -> dict[str, list[str]]:
    """All settings of a unit's [Service], each with all its values."""
    found: dict[str, list[str]] = {}
    lines = iter(unit.read_text().splitlines())
    for line in lines:
        if line == "[Service]":
            break
    for line in lines:
        if line.startswith("["):
            break
        key, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            found.setdefault(key, []).append(value)
    return found


def commands(unit: Path) -> list[list[str]]:
    """Every command that the unit runs, in words."""
    return [
        shlex.split(value) for key, given in settings(unit).items() if key.startswith("Exec") for value in given
    ]


def entry_points() -> set[str]:
    return set(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"])


def test_there_is_a_unit_for_each_daemon() -> None:
    assert {unit.name for unit in UNITS} == {f"{name}.service" for name in entry_points()}


@each_unit
def test_systemd_accepts_the_unit(unit: Path, systemd_analyze: str, tmp_path: Path) -> None:
    """Not a word of complaint. The programs are stand-ins: the real ones are not in /opt on this machine."""
    programs = tmp_path / "opt/bin"
    programs.mkdir(parents=True)
    for name in entry_points():
        (programs / name).write_text("#!/bin/sh\n")
        (programs / name).chmod(0o755)
    tried = tmp_path / unit.name
    tried.write_text(unit.read_text().replace(PREFIX, str(programs.parent)))
    verified = subprocess.run(
        [systemd_analyze, "verify", "--man=no", "--recursive-errors=no", str(tried)],
        check=False,
        capture_output=True,
        text=True,
    )
    assert (verified.returncode, verified.stdout + verified.stderr) == (0, "")


@each_unit
def test_the_unit_is_hardened(unit: Path, systemd_analyze: str) -> None:
    rated = subprocess.run(
        [systemd_analyze, "security", "--offline=yes", f"--threshold={MOST_EXPOSURE * 10:.0f}", str(unit)],
        check=False,
        capture_output=True,
        text=True,
        env=os.environ | {"SYSTEMD_PAGER": "cat", "LC_ALL": "C.UTF-8"},
    )
    assert rated.returncode == 0, rated.stdout + rated.stderr


@each_unit
def test_the_unit_starts_what_there_is(unit: Path) -> None:
    for program, *arguments in commands(unit):
        if program != "/bin/kill":
            assert_runs(program, arguments)


def test_the_instructions_name_what_there_is() -> None:
    """Every program, option and file that docs/install.md has people type."""
    page = (ROOT / "docs/install.md").read_text()
    typed = re.findall(rf"(?:{PREFIX}/bin/|sudo )(stopline-\w+) ([^`#<\n]+)", page)
    assert {name for name, _ in typed} == entry_points()
    for name, arguments in typed:
        assert_runs(f"{PREFIX}/bin/{name}", shlex.split(arguments))
    files = set(re.findall(r"(?<=[ `])(?:systemd|docs)/[\w./-]+\w", page))
    assert len(files) >= 4
    assert {file for file in files if not (ROOT / file).is_file()} == set()


def assert_runs(program: str, arguments: list[str]) -> None:
    """The command is one of our programs, and knows the subcommand and the options that it is given."""
    name = Path(program).name
    assert program == f"{PREFIX}/bin/{name}"
    assert name in entry_points()
    subcommands = list(itertools.takewhile(lambda word: re.fullmatch(r"[a-z][a-z-]*", word), arguments))
    told = subprocess.run(
        [Path(sys.executable).with_name(name), *subcommands, "--help"], check=False, capture_output=True, text=True
    )
    assert told.returncode == 0, told.stderr
    options = {argument for argument in arguments if argument.startswith("--")}
    assert {option for option in options if option not in told.stdout} == set()


@each_unit
def test_the_unit_is_supervised_and_starts_again(unit: Path) -> None:
    service = settings(unit)
    assert service["Type"] == ["notify"]
    assert int(service["WatchdogSec"][0]) > 0
    assert service["Restart"] == ["always"]
    assert service["KillMode"] == ["mixed"], "the main process ends its own children, in order"
    assert "StartLimitIntervalSec=0" in unit.read_text()


@each_unit
def test_the_units_user_and_folder_are_made_as_it_expects_them(unit: Path) -> None:
    service = settings(unit)
    user, state_dir = service["User"][0], f"/var/lib/{service['StateDirectory'][0]}"
    made = lines_of(f"sysusers.d/{unit.stem}.conf")[0]
    assert (made[:2], made[4]) == (["u", user], state_dir)
    folders = {fields[1]: fields[2:] for fields in lines_of(f"tmpfiles.d/{unit.stem}.conf")}
    assert folders[state_dir] == [service["StateDirectoryMode"][0], user, user]
    assert service["WorkingDirectory"] == [state_dir]


def lines_of(name: str) -> list[list[str]]:
    """The fields of each line of a configuration file that is not a comment."""
    lines = (ROOT / "systemd" / name).read_text().splitlines()
    return [shlex.split(line) for line in lines if not line.startswith("#")]


@pytest.fixture
def empty_machine(tmp_path: Path) -> Path:
    """A folder for systemd's tools to take as the root of a machine. It knows root and nobody else."""
    if os.geteuid() != 0:
        pytest.skip("only root makes users and gives folders to others")
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/passwd").write_text("root:x:0:0::/root:/bin/sh\n")
    (tmp_path / "etc/group").write_text("root:x:0:\n")
    return tmp_path


def test_users_and_folders_are_made_from_nothing(empty_machine: Path) -> None:
    """The commands of docs/install.md, on a machine that is a folder."""
    for program, kind in (("systemd-sysusers", "sysusers.d"), ("systemd-tmpfiles", "tmpfiles.d")):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed: apt-get install systemd")
        files = [str(ROOT / f"systemd/{kind}/{unit.stem}.conf") for unit in UNITS]
        create = ["--create"] if kind == "tmpfiles.d" else []
        subprocess.run([program, f"--root={empty_machine}", *create, *files], check=True, stdin=subprocess.DEVNULL)
    uids = {
        fields[0]: int(fields[2])
        for line in (empty_machine / "etc/passwd").read_text().splitlines()
        if (fields := line.split(":"))
    }
    for unit in UNITS:
        service = settings(unit)
        state = (empty_machine / "var/lib" / service["StateDirectory"][0]).stat()
        assert (state.st_uid, state.st_mode & 0o777) == (uids[service["User"][0]], 0o700)


def test_the_agent_sees_cameras_and_the_clock() -> None:
    """What hardening by rote takes away: video devices, reading the state of the clock, load and memory."""
    agent = settings(ROOT / "systemd/stopline-agent.service")
    assert "char-video4linux rw" in agent["DeviceAllow"]
    assert "adjtimex" in agent["SystemCallFilter"][-1]
    assert not {"PrivateDevices", "ProtectClock", "ProcSubset", "PrivateUsers"} & agent.keys()


def test_typed_commands_recognise_the_collectors_database() -> None:
    """PostgreSQL, its process and its shared memory, has to be seen from outside the service, and from inside."""
    collector = settings(ROOT / "systemd/stopline-collector.service")
    assert not {"PrivateUsers", "PrivateIPC", "RemoveIPC", "DynamicUser", "PrivatePIDs"} & collector.keys()


def test_the_lights_come_first_and_see_only_pins() -> None:
    """What keeps them alive beside an agent that eats the machine, and keeps everything else away from them."""
    lights, agent = (settings(ROOT / f"systemd/stopline-{name}.service") for name in ("signals", "agent"))
    assert lights["DeviceAllow"] == ["char-gpiomem rw", "char-gpiochip rw"]
    assert lights["RestrictAddressFamilies"] == ["AF_UNIX"]
    assert int(lights["CPUWeight"][0]) > int(agent["CPUWeight"][0])
    assert int(lights["OOMScoreAdjust"][0]) < -500 < int(agent["OOMScoreAdjust"][0])
    assert int(lights["WatchdogSec"][0]) <= 2
    assert lights["WatchdogSignal"] == ["SIGKILL"], "nothing is waited for while a green is lit"
    (after_any_end,) = lights["ExecStopPost"]
    assert "safe-state" in after_any_end
    assert not {"PrivateDevices", "RestrictRealtime", "ProtectClock", "PrivateUsers", "ProcSubset"} & lights.keys()


def environment(file: Path) -> dict[str, str]:
    """An environment file as systemd reads it."""
    parser = configparser.RawConfigParser(delimiters="=", comment_prefixes=("#",))
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read_string("[all]\n" + file.read_text())
    return dict(parser["all"])


def test_the_agents_example_is_a_valid_configuration() -> None:
    config = load_agent_config(EXAMPLES / "agent.toml", environment(EXAMPLES / "agent.env"))
    assert str(config.state_dir) == "/var/lib/stopline-agent"
    assert config.cameras[0].source.startswith("rtsp://user:password@")


def test_the_lights_example_is_a_valid_configuration() -> None:
    config = load_signals_config(EXAMPLES / "signals.toml", {})
    unit = settings(ROOT / "systemd/stopline-signals.service")
    assert config.state_dir == f"/var/lib/{unit['StateDirectory'][0]}"
    assert config.socket.startswith(f"/run/{unit['RuntimeDirectory'][0]}/")
    assert [movement.name for movement in config.described.movements] == ["north", "east", "south", "west"]
    assert config.socket_group == unit["User"][0]


def test_the_collectors_example_is_a_valid_configuration() -> None:
    config = load_collector_config(EXAMPLES / "collector.toml", environment(EXAMPLES / "collector.env"))
    unit = settings(ROOT / "systemd/stopline-collector.service")
    assert str(config.state_dir) == f"/var/lib/{unit['StateDirectory'][0]}", (
        "typed commands find the same database"
    )
    assert config.dsn is not None
    assert config.host == "127.0.0.1"
    assert config.trusted_proxies, "whoever comes by the proxy would read without a user"
    assert config.retention.count_events == 90
