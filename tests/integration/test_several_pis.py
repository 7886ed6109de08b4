"""A coordinator and two lanes as the daemons that they are, over the broker as it is shipped."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest

from common.junction import Junction, Lane, Movement, Plan, PlanStage, Stage, StartUp
from edge_agent.signals.loop import monotonic_s
from tests.integration.agent_helpers import clean_environment
from tests.servers.broker import Mosquitto

SHIPPED = Path(__file__).parents[2] / "systemd/mosquitto"
PATIENCE_S = 90.0
LANES = ("north", "east")
CLEARANCE_S = 1.0
GOING = {"green", "yellow"}


def junction() -> Junction:
    return Junction(
        name="corner",
        lanes=tuple(Lane(name=name, approach=name) for name in LANES),
        movements=tuple(
            Movement(name=name, phase=phase, lanes=(name,), min_green_s=1.0, red_clearance_s=CLEARANCE_S)
            for phase, name in enumerate(LANES, 1)
        ),
        conflicts=(LANES,),
        stages=tuple(Stage(name=name, movements=(name,)) for name in LANES),
        plans=(Plan(name="day", stages=tuple(PlanStage(stage=name, green_s=1.0) for name in LANES)),),
        startup=StartUp(stage="north", all_red_s=3.0),
    )


class Place:
    """A folder with keys, a broker, and the daemons on it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        names = ["coordinator", *LANES]
        subprocess.run([SHIPPED / "mqtt-keys.sh", folder, "127.0.0.1", *names], check=True, capture_output=True)
        (folder / "acl").write_text((SHIPPED / "acl").read_text())
        text = (SHIPPED / "mosquitto.conf").read_text().replace("listener 8883\n", "")
        self.broker = Mosquitto(folder, "user root\n" + text.replace("/etc/mosquitto/stopline", str(folder)))
        (folder / "junction.json").write_bytes(msgspec.json.encode(junction()))
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, who: str) -> None:
        heads = 'driver = "lanes"' if who == "coordinator" else f'driver = "simulated"\nrecord = "{who}.lamps"'
        lane = "" if who == "coordinator" else f'[lane]\nmovement = "{who}"\n'
        config = self.folder / f"{who}.toml"
        config.write_text(
            f'state_dir = "{who}"\nsocket = "{who}.sock"\njunction_file = "junction.json"\n'
            f"[heads]\n{heads}\n{lane}"
            f'[mqtt]\nhost = "127.0.0.1"\nport = {self.broker.port}\nca_file = "ca.crt"\n'
            f'cert_file = "{who}.crt"\nkey_file = "{who}.key"\n[loop]\nrealtime = false\nlate_s = 1.5\n'
        )
        with (self.folder / f"{who}.log").open("ab") as log:
            self.processes[who] = subprocess.Popen(
                [sys.executable, "-m", "edge_agent.signals.cli", "run", "--config", str(config)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=clean_environment(),
            )

    def check(self, who: str) -> str:
        command = [
            sys.executable,
            "-m",
            "edge_agent.signals.cli",
            "check",
            "--config",
            f"{self.folder}/{who}.toml",
        ]
        told = subprocess.run(command, capture_output=True, text=True, check=False, env=clean_environment())
        return told.stdout + told.stderr

    def lamps(self, lane: str) -> list[tuple[float, frozenset[str]]]:
        """When what began to be lit."""
        path = self.folder / f"{lane}.lamps"
        lines = path.read_text().splitlines() if path.exists() else []
        told = [json.loads(line) for line in lines if line.endswith("}")]
        return [(one["t_s"], frozenset(one["lit"][lane])) for one in told if one["t_s"] is not None]

    def has_shown(self, lane: str, *colours: str, after_s: float = 0.0) -> bool:
        return any(lit == frozenset(colours) for at_s, lit in self.lamps(lane) if at_s > after_s)

    def wait_for(self, condition: Callable[[], object]) -> None:
        deadline_s = time.monotonic() + PATIENCE_S
        while not condition():
            for who, process in self.processes.items():
                assert process.poll() is None, (self.folder / f"{who}.log").read_text()
            assert time.monotonic() < deadline_s, self.logs()
            time.sleep(0.05)

    def close(self) -> None:
        for process in self.processes.values():
            process.kill()
            process.wait()
        self.broker.stop()

    def logs(self) -> dict[str, Any]:
        return {who: (self.folder / f"{who}.log").read_text() for who in self.processes}


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    made = Place(tmp_path)
    made.broker.start()
    try:
        yield made
    finally:
        made.close()


def rss_mb(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024


def assert_apart(place: Place) -> None:
    """Nobody goes while the other one does, nor too soon after."""
    spans = []
    for lane in LANES:
        shown = place.lamps(lane)
        for (from_s, lit), (to_s, _) in zip(shown, [*shown[1:], (shown[-1][0], frozenset())], strict=True):
            if lit & GOING:
                spans.append((from_s, to_s, lane))
    spans.sort()
    for (_, ended_s, before), (began_s, _, lane) in pairwise(spans):
        assert began_s >= ended_s + (CLEARANCE_S if lane != before else 0.0) - 0.01, (before, lane)


@pytest.mark.long
def test_lanes_go_in_turn_and_flash_when_their_coordinator_dies(place: Place) -> None:
    for who in ("coordinator", *LANES):
        place.start(who)
    place.wait_for(lambda: all(place.has_shown(lane, "green") for lane in LANES))
    sizes = {who: rss_mb(process.pid) for who, process in place.processes.items()}
    assert max(sizes.values()) < 35, sizes

    coordinator = place.processes.pop("coordinator")
    coordinator.kill()
    coordinator.wait()
    died_s = monotonic_s()
    place.wait_for(lambda: all(place.has_shown(lane, after_s=died_s) for lane in LANES))
    dark_s = [next(at_s for at_s, lit in place.lamps(lane) if at_s > died_s and not lit) for lane in LANES]
    assert not any(lit & GOING for lane in LANES for at_s, lit in place.lamps(lane) if at_s > max(dark_s))
    assert_apart(place)

    for lane, process in place.processes.items():
        os.kill(process.pid, signal.SIGTERM)
        assert process.wait(PATIENCE_S) == 0, place.logs()
        assert place.lamps(lane)[-1][1] in ({"red"}, frozenset())
    assert (place.folder / "north/lease-obeys.json").exists()
    assert f"ok    broker: 127.0.0.1:{place.broker.port} takes us\n" in place.check("north")
    place.broker.stop()
    assert "FAIL  broker: " in place.check("north")
    place.processes.clear()
