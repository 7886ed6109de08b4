"""The lights' daemon as it runs on a Pi: a process, on pins that outlive it; and an independent judge."""

import atexit
import hashlib
import json
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import msgspec

from common.junction import Junction
from tests.integration.agent_helpers import clean_environment
from tests.junctions import crossroads
from tests.servers.fake_chip import Library, environment
from tests.servers.fake_chip.chip import Change, Chip

SIGNALS = (sys.executable, "-m", "edge_agent.signals.cli")
PATIENCE_S = 60.0
DEAD_MAN = 26
PINS = {
    "north": {"red": 2, "yellow": 3, "green": 9},
    "east": {"red": 4, "yellow": 5, "green": 10},
    "south": {"red": 6, "yellow": 7, "green": 11},
    "west": {"red": 8, "yellow": 12, "green": 13},
}
READ_BACK = {
    "north": {"red": 14, "yellow": 15, "green": 16},
    "east": {"red": 17, "yellow": 18, "green": 19},
    "south": {"red": 20, "yellow": 21, "green": 22},
    "west": {"red": 23, "yellow": 24, "green": 25},
}
SHORT = crossroads(min_green_s=1.0)
"""Quick, as far as what is never short permits: 4 s of start-up, 3 s of yellow, 1 s of clearance."""


def quick_junction(green_s: float = 1.0, red_clearance_s: float = 1.0) -> dict[str, Any]:
    """The crossroads in a hurry, as a file holds it."""
    tree: dict[str, Any] = json.loads(
        msgspec.json.encode(crossroads(min_green_s=1.0, red_clearance_s=red_clearance_s))
    )
    tree["startup"] = {"stage": "ns", "all_red_s": 3.0}
    tree["plans"][0] |= {"algorithm": "fixed"}
    for stage in tree["plans"][0]["stages"]:
        stage["green_s"] = green_s
    return tree


def write_signals_config(
    folder: Path,
    junction: Mapping[str, Any] | None = None,
    *,
    read_back: bool = False,
    contacts: Mapping[str, str] | None = None,
    **changes: Any,
) -> Path:
    """A configuration beside its state, its socket and its junction."""
    tree = quick_junction() if junction is None else junction
    (folder / "junction.json").write_text(json.dumps(tree))
    lamps = [
        f"[heads.lamps.{name}]\n"
        + "".join(
            f"{colour} = {{ pin = {pin}"
            + (f", read_back = {READ_BACK[name][colour]}" if read_back else "")
            + " }\n"
            for colour, pin in head.items()
        )
        for name, head in PINS.items()
    ]
    settings = {"state_dir": str(folder / "state"), "socket": str(folder / "link"), **changes}
    loop = settings.pop("loop", {"late_s": 1.5, "realtime": False})
    text = "\n".join(
        [
            *(f"{key} = {json.dumps(value)}" for key, value in settings.items()),
            'junction_file = "junction.json"',
            "[loop]",
            *(f"{key} = {json.dumps(value)}" for key, value in loop.items()),
            "[heads]",
            'driver = "gpio"',
            f"dead_man_pin = {DEAD_MAN}",
            *lamps,
            *(f"[contacts.{name}]\n{settings}" for name, settings in (contacts or {}).items()),
        ]
    )
    tomllib.loads(text)
    path = folder / "signals.toml"
    path.write_text(text)
    return path


def in_memory(folder: Path) -> Path:
    """A folder that belongs to `folder`, and is no disk: a busy disk makes writers wait for seconds, and pins do
    not."""
    memory = Path("/dev/shm")
    if not memory.is_dir():
        return folder
    found = memory / f"stopline-{hashlib.sha256(str(folder).encode()).hexdigest()[:16]}"
    if not found.exists():
        found.mkdir(mode=0o700)
        atexit.register(shutil.rmtree, found, ignore_errors=True)
    return found


def chip_path(folder: Path) -> Path:
    """Where the pins of the junction in `folder` are."""
    return in_memory(folder) / "chip"


def chip_for(folder: Path, *, read_back: bool = False) -> Chip:
    """The pins; lamps are wired back where they are to be read."""
    chip = Chip(chip_path(folder))
    if read_back:
        for name, head in PINS.items():
            for colour, pin in head.items():
                chip.wire(pin, READ_BACK[name][colour])
    return chip


class RunningLights:
    """`stopline-signals`, as a process on the pins beside `config`. As a context manager, it is killed."""

    def __init__(
        self,
        config: Path,
        *,
        library: Library = "RPi.GPIO",
        command: Sequence[str] = SIGNALS,
        **more: str,
    ) -> None:
        self.config, self.library = config, library
        self.log_path = config.with_suffix(".log")
        self.more = more
        self.began_s = time.monotonic()
        with self.log_path.open("a") as log:
            self.process = subprocess.Popen(
                [*command, "run", "--config", str(config)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=log,
                env=self.environment(),
            )

    def environment(self) -> dict[str, str]:
        return clean_environment(**environment(self.library, chip_path(self.config.parent)), **self.more)

    def __enter__(self) -> "RunningLights":
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.kill()

    @property
    def log(self) -> list[dict[str, Any]]:
        """What it has said."""
        lines = self.log_path.read_text().splitlines()
        return [json.loads(line) for line in lines if line.startswith("{") and line.endswith("}")]

    def until(self, condition: Callable[[], object]) -> None:
        """Wait, as long as it runs."""
        until_s = time.monotonic() + PATIENCE_S
        while not condition():
            assert self.process.poll() is None, f"it ended: {self.log_path.read_text()}"
            assert time.monotonic() < until_s, f"in vain: {self.log_path.read_text()}"
            time.sleep(0.03)

    def until_said(self, action: str) -> dict[str, Any]:
        """Wait for a line of its log."""
        self.until(lambda: any(line.get("action") == action for line in self.log))
        return next(line for line in self.log if line.get("action") == action)

    def until_ended_saying(self, action: str) -> dict[str, Any]:
        """A line of the log of a daemon that has ended."""
        self.process.wait(PATIENCE_S)
        return [line for line in self.log if line.get("action") == action][-1]

    def stop(self) -> int:
        """SIGTERM; the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE_S)

    def kill(self) -> None:
        """kill -9."""
        self.process.kill()
        self.process.wait(PATIENCE_S)

    def stop_post(self) -> subprocess.CompletedProcess[str]:
        """What the unit does after any end."""
        return signals(
            "safe-state", "--config", self.config, env=self.environment() | {"SERVICE_RESULT": "signal"}
        )


def signals(*arguments: str | Path, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run one command to its end."""
    return subprocess.run(
        [*SIGNALS, *map(str, arguments)],
        check=False,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        stdin=subprocess.DEVNULL,
        env=dict(env) if env is not None else clean_environment(),
    )


# --- the lamps, by the pins alone --------------------------------------------------------------------------------

COLOUR_OF = {pin: (name, colour) for name, head in PINS.items() for colour, pin in head.items()}


def lamps(chip: Chip) -> dict[str, str]:
    """What burns on each head now: `red`, `red+green`, or nothing."""
    return {
        name: "+".join(colour for colour, pin in head.items() if chip.is_output(pin) and chip.level(pin))
        for name, head in PINS.items()
    }


def all_of(chip: Chip, *allowed: str) -> bool:
    """Whether every head shows one of these."""
    return set(lamps(chip).values()) <= set(allowed)


@dataclass(frozen=True, slots=True)
class Picture:
    """What all heads showed from `t_s` on, until the next picture."""

    t_s: float
    lit: dict[str, frozenset[str]]


def pictures(changes: Sequence[Change]) -> Iterator[Picture]:
    """One after each change of a lamp."""
    lit: dict[str, set[str]] = {name: set() for name in PINS}
    for change in changes:
        if change.pin not in COLOUR_OF or not change.driven:
            continue
        name, colour = COLOUR_OF[change.pin]
        (lit[name].add if change.level else lit[name].discard)(colour)
        yield Picture(change.t_s, {head: frozenset(colours) for head, colours in lit.items()})


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the judge saw.

    Attributes:
        wrong: what must never be, in words.
        n_greens: how many greens began.
        flashed: how often a red went out and nothing else came on.
    """

    wrong: list[str]
    n_greens: int


def judge(changes: Sequence[Change], junction: Junction, *, restarts_s: Sequence[float] = ()) -> Verdict:
    """Go through everything that was ever on the pins, knowing nothing of the daemon but the junction.

    * No two that conflict are green or yellow together, not for a moment.
    * Green goes to yellow, but where everything flashes or turns red for good; yellow lasts.
    * Green begins only when all that conflicts was red for its clearance.
    * After each (re)start there is no green before the start-up's all red.
    """
    wrong: list[str] = []
    rules = {one.name: one for one in junction.movements}
    red_since: dict[str, float] = {}
    yellow_since: dict[str, float] = {}
    n_greens = 0
    before: dict[str, frozenset[str]] = {name: frozenset() for name in PINS}
    for picture in pictures(changes):
        go = {name for name, lit in picture.lit.items() if lit & {"green", "yellow"}}
        for a, b in combinations(sorted(go), 2):
            if (a, b) in junction.conflicts or (b, a) in junction.conflicts:
                wrong.append(f"{picture.t_s:.3f}: {a} and {b} may both go")
        for name, lit in picture.lit.items():
            if "green" in lit and "green" not in before[name]:
                n_greens += 1
                wrong += _green_wrong(name, picture.t_s, red_since, junction, restarts_s)
            if "yellow" in lit and "yellow" not in before[name]:
                yellow_since[name] = picture.t_s
            if "yellow" in before[name] and "yellow" not in lit and "red" in lit:
                lasted_s = picture.t_s - yellow_since[name]
                wrong += _yellow_wrong(name, picture.t_s, lasted_s, rules[name].yellow_s, picture.lit)
            if lit == {"red"} and before[name] != {"red"}:
                red_since[name] = picture.t_s
            elif "red" not in lit:
                red_since.pop(name, None)
        before = picture.lit
    return Verdict(wrong, n_greens)


_SLACK_S = 0.15
"""Pins are written some time after the step began, and the time of writing is what is seen here."""


def _green_wrong(
    name: str, t_s: float, red_since: Mapping[str, float], junction: Junction, restarts_s: Sequence[float]
) -> list[str]:
    wrong = []
    for a, b in junction.conflicts:
        if name not in (a, b):
            continue
        rival = b if name == a else a
        red_s = t_s - red_since.get(rival, t_s)
        clearance_s = next(one.red_clearance_s for one in junction.movements if one.name == rival)
        if red_s < clearance_s - _SLACK_S:
            wrong.append(f"{t_s:.3f}: {name} is green after {rival} was red for {red_s:.2f} s")
    all_red_s = max(
        junction.startup.all_red_s, *(one.yellow_s + one.red_clearance_s for one in junction.movements)
    )
    for restart_s in restarts_s:
        if restart_s <= t_s < restart_s + all_red_s - _SLACK_S:
            wrong.append(f"{t_s:.3f}: {name} is green {t_s - restart_s:.2f} s after a start")
    return wrong


def _yellow_wrong(
    name: str, t_s: float, lasted_s: float, wanted_s: float, lit: Mapping[str, frozenset[str]]
) -> list[str]:
    others_go = any(colours & {"green"} for colours in lit.values())
    if lasted_s < wanted_s - _SLACK_S and others_go:
        return [f"{t_s:.3f}: {name} was yellow for {lasted_s:.2f} s"]
    return []


def junction_of(folder: Path) -> Junction:
    """As the configuration has it."""
    return msgspec.json.decode((folder / "junction.json").read_bytes(), type=Junction)


_SHORTEST_DARK_S = 0.3
"""Between two flashes it is half a second; between two lamps of a change it is next to nothing."""


def flashes_red(chip: Chip, since_s: float) -> bool:
    """Whether since a moment every head was dark for as long as a flash is, and red again after it."""
    dark_from_s: dict[str, float] = {}
    flashed = set[str]()
    for picture in pictures(chip.changes()):
        if picture.t_s <= since_s:
            continue
        for name, lit in picture.lit.items():
            if not lit:
                dark_from_s.setdefault(name, picture.t_s)
            else:
                dark_s = picture.t_s - dark_from_s.pop(name, picture.t_s)
                if dark_s > _SHORTEST_DARK_S and lit == {"red"}:
                    flashed.add(name)
    return flashed == set(PINS)


def greens_after(chip: Chip, since_s: float) -> list[Change]:
    """Greens that came on after a moment."""
    greens = {head["green"] for head in PINS.values()}
    return [one for one in chip.changes() if one.t_s > since_s and one.pin in greens and one.level and one.driven]


def now_s() -> float:
    """The clock of the pins' trace."""
    return time.monotonic()
