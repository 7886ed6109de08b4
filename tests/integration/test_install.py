"""One command puts a service on a machine, and brings it up to date; a folder is the machine."""

import ensurepip
import fcntl
import os
import platform
import shutil
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SYSTEMCTL = """#!/bin/sh
echo "$*" >>"$ROOT/calls"
case "$*" in
    *is-active*) exec test -e "$ROOT/active/${3%.service}" ;;
    "enable --now "*) touch "$ROOT/active/$3" ;;
    "restart "*) [ ! -e "$ROOT/works" ] || [ "$(readlink -f "$ROOT/opt/stopline")" = "$(cat "$ROOT/works")" ] ;;
esac
"""
"""There is no systemd in tests: this remembers what it was told. `works` names the only programs that start."""
SYSTEMD_RUN = """#!/bin/sh
while [ "$1" != -- ]; do shift; done
shift
exec "$@"
"""


@dataclass
class Machine:
    """A folder for a machine, with a bundle unpacked on it."""

    root: Path
    bundle: Path

    def install(self, *arguments: str, path: str = "") -> subprocess.CompletedProcess[str]:
        """Libraries are the tests' own, so that only Stopline itself is installed."""
        environment = {
            "PATH": f"{self.root / 'tools'}:{path or os.environ['PATH'] + ':/usr/sbin'}",
            "ROOT": str(self.root),
            "PIP_NO_DEPS": "1",
            "PIP_NO_COMPILE": "1",
            "PYTHONPATH": os.pathsep.join(path for path in sys.path if path.endswith("site-packages")),
        }
        return subprocess.run(
            [self.bundle / "systemd/install", *arguments],
            check=False,
            capture_output=True,
            text=True,
            env=environment,
            stdin=subprocess.DEVNULL,
        )

    def settings(self, **files: str) -> str:
        """A folder with settings, as somebody carries it to the Pi."""
        folder = self.root / "carried"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        for name, text in files.items():
            (folder / name.replace("_", ".")).write_text(text)
        return str(folder)

    def told_systemd(self) -> list[str]:
        """What systemd was told since this was asked for the last time, but for questions."""
        calls = self.root / "calls"
        lines = calls.read_text().splitlines() if calls.exists() else []
        calls.unlink(missing_ok=True)
        return [line for line in lines if "is-active" not in line]

    def as_service(self, *command: str) -> list[str]:
        """What systemd is asked for when somebody types the command."""
        (self.root / "told").mkdir()
        (self.root / "told/systemd-run").write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
        (self.root / "told/systemd-run").chmod(0o755)
        environment = {"PATH": f"{self.root / 'told'}:{os.environ['PATH']}"}
        program, *arguments = command
        typed = [str(self.root / "usr/local/bin" / program), *arguments]
        return subprocess.run(
            typed, check=True, capture_output=True, text=True, env=environment
        ).stdout.splitlines()

    def group(self, name: str) -> list[str]:
        lines = (self.root / "etc/group").read_text().splitlines()
        return next(line.split(":") for line in lines if line.startswith(f"{name}:"))

    def programs(self) -> Path:
        return (self.root / "opt/stopline").resolve(strict=True)


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `make bundle` would have fetched, without the libraries."""
    folder = tmp_path_factory.mktemp("wheels")
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*build, "--wheel-dir", str(folder), str(ROOT)], check=True)
    shutil.copy(next((Path(ensurepip.__file__).parent / "_bundled").glob("pip-*.whl")), folder)
    return folder


@pytest.fixture
def machine(wheels: Path, tmp_path: Path) -> Machine:
    if os.geteuid() != 0:
        pytest.skip("only root makes users and installs services")
    if not all(shutil.which(program) for program in ("systemd-sysusers", "systemd-tmpfiles")):
        pytest.skip("systemd-sysusers or systemd-tmpfiles is not installed: apt-get install systemd")
    bundle = tmp_path / "bundle"
    for part in ("systemd", "docs"):
        shutil.copytree(ROOT / part, bundle / part)
    shutil.copytree(wheels, bundle / "wheels")
    here = f"{platform.machine()} {sys.version_info.major}.{sys.version_info.minor}\n"
    (bundle / "wheels/made-for").write_text(here)
    root = tmp_path / "machine"
    for folder in ("etc/systemd/system", "opt", "run/systemd/system", "tools", "active"):
        (root / folder).mkdir(parents=True)
    (root / "etc/passwd").write_text("root:x:0:0::/root:/bin/sh\n")
    (root / "etc/group").write_text("root:x:0:\n")
    python = f'#!/bin/sh\nexec "{sys.base_prefix}/bin/python3.{sys.version_info.minor}" "$@"\n'
    for name, text in (("systemctl", SYSTEMCTL), ("systemd-run", SYSTEMD_RUN), ("python3", python)):
        (root / "tools" / name).write_text(text)
        (root / "tools" / name).chmod(0o755)
    return Machine(root, bundle)


def agent_toml(machine: Machine, name: str) -> str:
    """An agent that has nothing to count, and a collector that is not there."""
    return f'name = "{name}"\nstate_dir = "{machine.root}/state"\n[collector]\nurl = "http://127.0.0.1:9"\n'


def go_back_and_forward(machine: Machine, unit: Path, before: Path, works: Path) -> None:
    """To the release before, and forward again; and not to one that does not start."""
    newest = unit.read_bytes()
    unit.write_bytes(newest + b"# this release's\n")
    (works / unit.name).write_bytes(newest + b"# the release before's\n")
    told = ["daemon-reload", "restart stopline-agent"]
    for target, mine in ((before, b"# the release before's\n"), (works, b"# this release's\n")):
        turned = machine.install("--back")
        assert turned.returncode == 0, turned.stderr
        assert "lights: they go on as they are" in turned.stdout
        assert (machine.programs(), machine.told_systemd()) == (target, told)
        assert unit.read_bytes().endswith(mine)
    (machine.root / "works").write_text(str(works))
    stayed = machine.install("--back")
    assert (stayed.returncode, machine.programs()) == (1, works)
    assert "the release that was there is back" in stayed.stderr
    assert machine.told_systemd() == [*told, *told]
    assert unit.read_bytes().endswith(b"# this release's\n")
    unit.write_bytes(newest)


@pytest.mark.long
def test_an_agent_from_its_first_day_to_an_update_that_fails(machine: Machine) -> None:
    cut_off = machine.root / "opt/stopline-releases/20260101.abcdef/lib"
    cut_off.mkdir(parents=True)
    keys = machine.root / "etc/stopline/keys"
    keys.mkdir(parents=True)
    first = machine.install("agent", "lights", "agent")
    assert first.returncode == 0, first.stderr
    assert not cut_off.exists(), "an installation that was cut off takes room"
    settings = machine.root / "etc/stopline/agent.toml"
    assert f"write {settings}" in first.stdout
    assert machine.told_systemd() == ["daemon-reload"], "nobody has written its settings: nothing is started"
    unit = machine.root / "etc/systemd/system/stopline-agent.service"
    assert unit.read_bytes() == (ROOT / "systemd/stopline-agent.service").read_bytes()

    typed = machine.as_service("stopline-agent", "check")
    assert "User=stopline-agent" in typed
    assert "EnvironmentFile=-/etc/stopline/agent.env" in typed
    assert typed[-3:] == ["--", "/opt/stopline/bin/stopline-agent", "check"]

    before = machine.programs()
    assert "no release before this one is kept here" in machine.install("--back").stderr
    refused = machine.install("agent", "--settings", machine.settings(agent_toml='nmae = "pi-7"\n'))
    assert refused.returncode == 1
    assert f"{settings}, line 1" in refused.stderr
    assert "did you mean name?" in refused.stderr
    assert (machine.programs(), machine.told_systemd()) == (before, [])
    assert 'name = "pi-north"' in settings.read_text()
    assert not (machine.root / "etc/stopline.new").exists()

    written = machine.settings(agent_toml=agent_toml(machine, "pi-7"), agent_env="A=b\n")
    (machine.root / "active/stopline-signals").touch()
    lights = settings.with_name("signals.toml")
    sample = lights.read_text()
    lights.write_text(
        f'state_dir = "{machine.root}"\njunction_file = "junction.toml"\n'
        '[heads]\ndriver = "lanes"\n[mqtt]\nhost = "127.0.0.1"\nport = 9\n'
    )
    begun = machine.install("agent", "--settings", written)
    lights.write_text(sample)
    assert "lights: they go on as they are" in begun.stdout
    assert "FAIL  collector: 127.0.0.1:9 refuses connections" in begun.stdout, begun.stderr
    assert begun.returncode == 1, (
        "a broker that is away keeps nobody from an update; something is to be mended, and it runs all the same"
    )
    assert machine.told_systemd() == ["daemon-reload", "enable --now stopline-agent"]
    there, secret = settings.stat(), settings.with_name("agent.env").stat()
    assert (there.st_mode & 0o777, there.st_gid) == (0o640, int(machine.group("stopline-agent")[2]))
    assert (secret.st_mode & 0o777, secret.st_gid) == (0o600, 0)
    works = machine.programs()
    assert {path.name for path in works.parent.iterdir()} == {before.name, works.name}
    assert list(keys.iterdir()) == [], "what lies beside the settings stays as it is"

    go_back_and_forward(machine, unit, before, works)

    # The samples and the unit are others in a newer version; nobody has written the lights' settings yet.
    for name in ("examples/signals.toml", "stopline-agent.service"):
        with (machine.bundle / "systemd" / name).open("a") as newer:
            newer.write("# newer\n")
    (machine.root / "etc/stopline/junction.toml").write_text("written = first\n")

    # Programs that do not start give way to the ones before.
    other = machine.settings(agent_toml=agent_toml(machine, "pi-8"))
    older = works.with_name("20260102.abcdef")
    older.mkdir()
    (older / "extras").touch()
    with subprocess.Popen([before / "bin/python", "600"], executable="/bin/sleep") as year_old:
        failed = machine.install("agent", "--settings", other, "--with", "rfid")
        year_old.kill()
    assert failed.returncode == 1
    assert "the release that was there is back" in failed.stderr
    assert "lights: left as it is" in failed.stdout
    assert machine.programs() == works
    assert 'name = "pi-7"' in settings.read_text(), "old programs may not take new settings"
    assert unit.read_bytes() == (ROOT / "systemd/stopline-agent.service").read_bytes()
    assert machine.told_systemd() == ["daemon-reload", "restart stopline-agent"] * 2
    assert machine.group("stopline-signals")[3] == "stopline-agent", "it may tell the lights what it counts"
    assert not older.exists(), "one release back is kept"
    assert before.exists(), "and what runs still"


def test_settings_of_a_collector_that_cannot_be_used_are_refused(machine: Machine) -> None:
    refused = machine.install("collector", "--settings", machine.settings(collector_toml="prot = 8080\n"))
    assert refused.returncode == 1
    assert "/etc/stopline/collector.toml: prot: there is no such key" in refused.stderr
    assert not (machine.root / "opt/stopline").exists()
    assert machine.told_systemd() == []


def test_a_bundle_for_another_machine_is_told(machine: Machine) -> None:
    (machine.bundle / "wheels/made-for").write_text("riscv64 3.19\n")
    refused = machine.install("agent")
    assert refused.returncode == 1
    assert "this bundle is for riscv64 3.19" in refused.stderr
    assert f"make bundle ARCH={platform.machine()}" in refused.stderr
    releases = machine.root / "opt/stopline-releases"
    assert list(releases.iterdir()) == []

    for program in ("dirname", "id", "getconf", "mkdir", "flock", "df", "awk", "uname", "cat"):
        (machine.root / "tools" / program).symlink_to(str(shutil.which(program)))
    (machine.root / "tools/python3").rename(machine.root / "python3")
    lacking = machine.install("agent", path=str(machine.root / "tools"))
    assert lacking.returncode == 1
    assert "there is no python3 here: sudo apt-get install python3" in lacking.stderr

    held = os.open(releases, os.O_RDONLY)
    fcntl.flock(held, fcntl.LOCK_EX)
    second = machine.install("agent")
    os.close(held)
    assert second.returncode == 1
    assert "another installation runs" in second.stderr


def little_wheel(folder: Path, name: str, *requirements: str) -> None:
    needs = "".join(f"Requires-Dist: {each}\n" for each in requirements)
    with zipfile.ZipFile(folder / f"{name}-1-py3-none-any.whl", "w") as wheel:
        wheel.writestr(f"{name}-1.dist-info/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n{needs}")
        wheel.writestr(
            f"{name}-1.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr(f"{name}-1.dist-info/RECORD", "")


def test_a_bundle_brings_what_the_python_there_needs(tmp_path: Path) -> None:
    """And not what this one would: no two conditions here hold on the same machine."""
    conditions = {
        "early": "python_full_version < '3.11.3'",
        "late": "python_version >= '3.14'",
        "arm": "platform_machine == 'aarch64'",
        "other": "platform_machine == 'x86_64'",
    }
    for name in conditions:
        little_wheel(tmp_path, name)
    little_wheel(tmp_path, "needy", *(f"{name}; {condition}" for name, condition in conditions.items()))
    for arch, version, brought in (("aarch64", "3.11", {"early", "arm"}), ("x86_64", "3.14", {"late", "other"})):
        into = tmp_path / arch
        pip = [sys.executable, str(ROOT / "systemd/pip_for.py"), arch, version, "--isolated", "--quiet"]
        where = ["--no-index", "--find-links", str(tmp_path), "--dest", str(into)]
        what = ["--only-binary=:all:", "--python-version", version, "needy"]
        subprocess.run([*pip, "download", *where, *what], check=True)
        assert {wheel.name.partition("-")[0] for wheel in into.iterdir()} == brought | {"needy"}


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((), "sudo systemd/install ROLE"),
        (("agnet",), "unknown: agnet"),
        (("agent", "--settings", "/nowhere"), "no such"),
    ],
)
def test_a_command_that_cannot_be_meant_is_told(machine: Machine, arguments: tuple[str, ...], told: str) -> None:
    refused = machine.install(*arguments)
    assert refused.returncode != 0
    assert told in refused.stderr
