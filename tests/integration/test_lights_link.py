"""The agent, the lights' daemon and a technician, each a process: what goes down, comes up, and who is absent."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edge_agent.exit_codes import EXIT_CONFIG, EXIT_USAGE
from tests.integration.agent_helpers import RunningAgent, agent, exported, write_config
from tests.waiting import until

CAMERA = {
    "name": "north", "source": "sim:road", "fps": 10.0,
    "lines": [{"name": "stop", "points": [[0, 185], [640, 185]]}],
    "zones": [{"name": "approach", "points": [[100, 80], [540, 80], [640, 300], [0, 300]]}],
}  # fmt: skip
_CHECKOUT = Path(__file__).parents[2]


class Lights:
    """The lights' daemon without lights, and its log."""

    def __init__(self, folder: Path) -> None:
        self.socket, self.log = folder / "link.sock", folder / "lights.log"
        self.folder = folder
        self.log.touch()
        self.process = self.start()

    def start(self) -> "subprocess.Popen[bytes]":
        module = (sys.executable, "-m", "tests.integration.lights_child")
        self.process = subprocess.Popen(
            [*module, self.socket, self.folder / "spool.db", self.log, "0"], cwd=_CHECKOUT
        )
        until(lambda: b"waiting" in self.log.read_bytes())
        return self.process

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def heard(self, kind: str) -> list[dict[str, Any]]:
        return [message for _, message in self.heard_when(kind)]

    def heard_when(self, kind: str) -> list[tuple[int, dict[str, Any]]]:
        """Messages, each with when it was heard, CLOCK_BOOTTIME in ns."""
        lines = [line.split(" ", 2) for line in self.log.read_text().splitlines() if line.endswith("}")]
        heard = [(int(line[1]), json.loads(line[2])) for line in lines if line[0] == "heard"]
        return [(at_ns, message) for at_ns, message in heard if message["type"] == kind]


@pytest.fixture
def lights(tmp_path: Path) -> Iterator[Lights]:
    lights = Lights(tmp_path)
    yield lights
    lights.kill()


def test_counts_go_down_records_come_up_and_orders_are_carried_out(tmp_path: Path, lights: Lights) -> None:
    config = write_config(tmp_path, CAMERA, signals={"socket": str(lights.socket)})
    with RunningAgent(config) as running:
        running.until(lambda: lights.heard("crossing") and any(p["n"] for p in lights.heard("presence")))
        check_reports(lights)
        for word, code, text in (
            (("flash", "--why", "a lamp is broken"), 0, "accepted"),
            (("off",), 1, "refused: lamps are being tested"),
        ):
            answer = agent("lights", *word, "--config", config)
            assert (answer.returncode, text in answer.stdout + answer.stderr) == (code, True), answer
        running.until(lambda: (running.status()["lights"] or {}).get("records", 0) >= 2)
        shown = running.status()["lights"]
        assert (shown["mode"], shown["aspects"]) == ("flash", {"north": "green", "east": "red"})
        lights.kill()
        running.until(lambda: not running.status()["lights"]["connected"])
        assert any("What they show is not known here" in text for text in running.status()["complaints"])
        lights.start()
        running.until(lambda: running.status()["lights"]["connected"])
        agent("lights", "automatic", "--config", config)
        running.until(lambda: running.status()["lights"]["records"] >= 4)
        assert running.stop() == 0
    records = exported(config)
    orders = [record[6] for record in records if record[0] == "log" and record[5] == "order"]
    assert [order.startswith("by ") for order in orders] == [True, True], "each once, over kill and restart"
    assert [record[6] for record in records if record[0] == "cycle"] == ["flash", "automatic"]


def check_reports(lights: Lights) -> None:
    (crossing, *_) = lights.heard("crossing")
    assert (crossing["sensor"], crossing["source"]) == ("north", "stop")
    assert crossing["direction"] in ("in", "out")
    assert {(p["sensor"], p["zone"]) for p in lights.heard("presence")} == {("north", "approach")}
    states = [state["measures"] for state in lights.heard("sensor")]
    assert states[-1] is True
    assert states == sorted(states), "not before it measured"


def test_orders_when_nobody_is_there_or_the_words_are_wrong(tmp_path: Path, lights: Lights) -> None:
    path = str(lights.socket)
    shown = agent("lights", "status", "--socket", path)
    assert shown.returncode == 0, shown.stderr
    assert "crossroads: automatic" in shown.stdout
    assert "  east   red\n  north  green" in shown.stdout
    assert json.loads(agent("lights", "status", "--json", "--socket", path).stdout)["plan"] == "day"
    override = ("lights", "override", "--cycle", "90", "--socket", path)
    refused = agent(*override, "--lane", "north=30", "--expires", "1")
    assert refused.returncode == 1
    assert "expires_s" in refused.stderr
    wrong = agent(*override, "--lane", "north")
    assert wrong.returncode == EXIT_USAGE
    assert "write it as north=30" in wrong.stderr
    lights.kill()
    for socket, advice in ((path, "nobody listens"), (path + "x", "does not run")):
        absent = agent("lights", "clear-fault", "--socket", socket)
        assert absent.returncode == 1
        assert advice in absent.stderr
        assert "systemctl status stopline-signals" in absent.stderr
    config = tmp_path / "broken.toml"
    assert agent("lights", "status", "--config", config).returncode == EXIT_CONFIG
    config.write_text("socket =")
    assert agent("lights", "status", "--config", config).returncode == EXIT_CONFIG
    config.write_text('junction = "j.toml"\nsocket = "here.sock"')
    assert str(tmp_path / "here.sock") in agent("lights", "status", "--config", config).stderr
    config = write_config(tmp_path, signals={"socket": path})
    checked = agent("check", "--config", config)
    assert checked.returncode == 1
    assert "FAIL  lights: nobody listens" in checked.stdout
    before_a_start = agent("check", "--offline", "--config", config)
    assert before_a_start.returncode == 0, "it counts without lights"
    assert "note  lights: nobody listens" in before_a_start.stdout
    assert "note  orders: no collector is set" in checked.stdout
