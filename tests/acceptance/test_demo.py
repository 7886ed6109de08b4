"""The demo as a user runs it: the real command, its real children, and what is left when it is over."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import psutil
import pytest

from collector.commands.demo_lights import SENSOR as SIMULATED
from tests.servers.ports import free_port

START_S = 60.0
COUNT_S = 90.0
STOP_S = 40.0
LIGHTS_S = 180.0
ENVIRON = {name: text for name, text in os.environ.items() if not name.startswith("STOPLINE_")}


class Demo:
    """One run of the demo."""

    def __init__(self, state: Path, *options: str, **environ: str) -> None:
        self.port = free_port()
        self.state = state
        self.lines: list[str] = []
        self._process = subprocess.Popen(
            [sys.executable, "-m", "collector", "demo", "--port", str(self.port), *options],
            env=ENVIRON | {"STOPLINE_STATE_DIR": str(state), "PYTHONUNBUFFERED": "1", **environ},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.lines.append(line)

    @property
    def output(self) -> str:
        return "".join(self.lines)

    def wait_for(self, what: Callable[[], Any], patience_s: float, every_s: float = 0.3) -> Any:
        """Wait until `what()` is true; what it gave. Mostly the collector is asked, which has enough to do."""
        deadline_s = time.monotonic() + patience_s
        while not (found := what()):
            assert self._process.poll() is None, f"the demo ended with {self._process.returncode}:\n{self.told()}"
            assert time.monotonic() < deadline_s, f"waited for {patience_s} s:\n{self.told()}"
            time.sleep(every_s)
        return found

    def wait_until_it_shows(self, text: str) -> None:
        self.wait_for(lambda: text in self.output, START_S, every_s=0.05)

    def signal(self, number: int) -> None:
        self._process.send_signal(number)

    def end(self, patience_s: float = STOP_S) -> int:
        """Wait for its end; its exit code."""
        code = self._process.wait(patience_s)
        self._reader.join()
        return code

    def kill(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self.end()
        assert self._process.stdout is not None
        self._process.stdout.close()

    def told(self) -> str:
        """All that it and its children said."""
        logs = (path.read_text(errors="replace")[-3000:] for path in sorted(self.state.glob("*.log")))
        return "\n".join([self.output, *logs])

    def ask(self, path: str, **query: str) -> Any:
        url = f"http://127.0.0.1:{self.port}{path}?{urlencode(query)}"
        with urllib.request.urlopen(url, timeout=10) as response:
            return json.load(response)

    def sign_in(self, name: str, password: str) -> Any:
        """Sign in; the role one has then."""
        body = json.dumps({"name": name, "password": password}).encode()
        url = f"http://127.0.0.1:{self.port}/api/users"
        headers = {"Content-Type": "application/json"}
        with urllib.request.urlopen(urllib.request.Request(f"{url}/login", body, headers), timeout=30) as response:
            token = json.load(response)["access_token"]
        me = urllib.request.Request(f"{url}/me", headers={"Authorization": f"Bearer {token}"})
        with urllib.request.urlopen(me, timeout=30) as response:
            return json.load(response)["role"]

    def today(self, via: str) -> Counter[str]:
        """Counts of the demo's camera since midnight, by direction; the simulated junction has its own."""
        now = datetime.now(UTC)
        span = {"from": (now - timedelta(days=1)).isoformat(), "to": now.isoformat()}
        counted: Counter[str] = Counter()
        for series in self.ask("/api/counts", bucket="1d", via=via, **span)["sources"]:
            if series["source"]["sensor"] == SIMULATED:
                continue
            for bucket in series["buckets"]:
                for item in bucket["counts"]:  # one of each class
                    counted[item["direction"]] += item["n"]
        return counted

    def streams(self) -> list[Any]:
        answer = self.ask("/api/fleet/completeness")
        assert answer["adds_up"]
        return [stream for device in answer["devices"] for stream in device["streams"]]

    def junction(self, what: str) -> Any:
        """The junction's `signals` or `cycles`."""
        (junction,) = self.ask("/api/junctions")["junctions"]
        return self.ask(f"/api/junctions/{junction['id']}/{what}")


@pytest.fixture
def state() -> Iterator[Path]:
    """A state folder that the database's own user can reach, too. Whatever still runs in it is an orphan."""
    folder = Path(tempfile.mkdtemp(prefix="stopline demo "))
    folder.chmod(0o711)
    yield folder
    left = left_in(folder)
    for process in left:
        process.kill()
    shutil.rmtree(folder)
    assert not left


def running_in(folder: Path) -> list[psutil.Process]:
    """Processes that have to do with a folder."""
    return [
        process
        for process in psutil.process_iter(["cmdline", "environ", "cwd"])
        if process.pid != os.getpid()
        and any(str(folder) in str(process.info[part]) for part in ("cmdline", "environ", "cwd"))
    ]


def left_in(folder: Path) -> list[psutil.Process]:
    """Those that stay: whoever is on the way out, such as what a killed `initdb` had started, is waited for."""
    deadline_s = time.monotonic() + STOP_S
    while (left := running_in(folder)) and time.monotonic() < deadline_s:
        time.sleep(0.1)
    return left


@contextmanager
def running(state: Path, *options: str, **environ: str) -> Iterator[Demo]:
    demo = Demo(state, *options, **environ)
    try:
        yield demo
    finally:
        demo.kill()


@pytest.mark.long
def test_it_counts_stops_goes_on_and_tells_of_a_child_that_dies(state: Path) -> None:
    with running(state) as demo:
        demo.wait_until_it_shows("Watch it: http://127.0.0.1:")
        assert f"http://127.0.0.1:{demo.port}/" in demo.output
        demo.wait_until_it_shows("Sign in as admin, password: ")
        password = demo.output.partition("admin, password: ")[2].split()[0]
        assert demo.sign_in("admin", password) == "admin"
        demo.wait_for(lambda: demo.today("camera").total() >= 3, COUNT_S)
        counted, truth = demo.today("camera"), demo.today("truth")
        # A vehicle is counted a moment before or after its middle crosses.
        assert abs(counted.total() - truth.total()) <= 2
        n_cycles = watch_the_lights(demo)
        demo.signal(signal.SIGINT)
        assert demo.end() == 0, demo.told()
        assert "Traceback" not in demo.told()
        assert "Stopped." in demo.lines[-1]
    assert left_in(state) == []

    with running(state) as demo:
        demo.wait_until_it_shows("Watch it: http://127.0.0.1:")
        demo.wait_until_it_shows("with the password of the first start")
        assert password not in demo.told()
        assert demo.sign_in("admin", password) == "admin"
        before = demo.today("camera")
        assert before.total() >= counted.total(), "counts were lost"
        assert len(demo.junction("cycles")["cycles"]) >= n_cycles, "cycles were lost"
        (stream,) = demo.streams()
        demo.wait_for(lambda: demo.today("camera").total() > before.total(), COUNT_S)
        assert abs(demo.today("camera").total() - demo.today("truth").total()) <= 3
        (later,) = demo.streams()
        assert (later["epoch"], later["lost"], later["rejected"]) == (stream["epoch"], 0, 0)
        assert later["last_seq"] > stream["last_seq"]
        assert {gap["reason"] for gap in later["gaps"]} <= {"agent_down", "camera_down"}
        kill_the_agent(demo)
    assert left_in(state) == []


def kill_the_agent(demo: Demo) -> None:
    """A child that dies is told, with its last words."""
    (agent,) = [p for p in running_in(demo.state) if {"edge_agent", "simulate"} <= set(p.info["cmdline"] or [])]
    agent.kill()
    assert demo.end() == 69, demo.told()
    assert "The agent was ended by SIGKILL" in demo.output
    assert "agent.log" in demo.output
    assert "Start the demo again" in demo.output
    assert "Traceback" not in demo.output


class Watched:
    """What was seen of the lights and the queues."""

    def __init__(self) -> None:
        self.stages: set[str] = set()
        self.queued: set[str] = set()
        self.cleared: set[str] = set()

    def look(self, signals: Any) -> None:
        """Take in one answer, in which no two that conflict may go."""
        going = {one["movement"] for one in signals["movements"] if one["aspect"] in ("green", "yellow")}
        for a, b in (signals["description"] or {}).get("conflicts", ()):
            assert not {a, b} <= going, signals
        self.stages |= {signals["stage"]} - {None}
        for queue in signals["queues"]:
            if queue["standing"] >= 2:
                self.queued.add(queue["lane"])
            elif queue["standing"] == 0 and queue["lane"] in self.queued:
                self.cleared.add(queue["lane"])


def watch_the_lights(demo: Demo) -> int:
    """Until both stages went, a queue formed and cleared, and a cycle was stored with counts; how many are."""
    seen = Watched()

    def counted_cycle() -> Any:
        seen.look(demo.junction("signals"))
        if not seen.cleared or len(seen.stages) < 2:
            return None
        stored = demo.junction("cycles")["cycles"]
        # In the first one nobody may have counted yet.
        return next((one for one in stored if all(lane["vehicles"] is not None for lane in one["lanes"])), None)

    cycle = demo.wait_for(counted_cycle, LIGHTS_S)
    assert seen.stages == {"north-south", "east-west"}
    assert {lane["lane"] for lane in cycle["lanes"]} == {"north", "east", "south", "west"}
    assert all(lane["green_s"] > 0 for lane in cycle["lanes"])
    signals = demo.junction("signals")
    assert (signals["mode"], signals["plan"], signals["flash"]) == ("automatic", "day", None)
    assert {one["aspect"] for one in signals["movements"]} <= {"red", "yellow", "green"}
    counted = demo.ask("/api/sources")["sources"]
    assert {(one["sensor"], one["via"]) for one in counted} >= {(SIMULATED, "camera"), (SIMULATED, "truth")}
    return len(demo.junction("cycles")["cycles"])


@pytest.mark.long
def test_a_video_of_the_users_own_and_a_demo_that_is_killed(state: Path, test_data: Path, tmp_path: Path) -> None:
    clip = tmp_path / "my cars, seen from above.mp4"
    shutil.copyfile(test_data / "clips/overhead_cars.mp4", clip)
    with running(state, SOURCE=str(clip)) as demo:
        demo.wait_until_it_shows("at its end it begins again")
        demo.wait_for(lambda: demo.today("camera").total() >= 3, COUNT_S)
        counted = demo.today("camera")
        assert counted["in"] >= 1
        assert counted["out"] >= 1
        assert demo.today("truth").total() == 0
        (source,) = (one for one in demo.ask("/api/sources")["sources"] if one["sensor"] != SIMULATED)
        assert source["name"] == "middle"
        assert source["sensor"].startswith("my cars seen from above.mp4")
        demo.signal(signal.SIGKILL)
        demo.end()
        assert left_in(state) == [], "a demo that is killed leaves nothing running"


def test_it_can_be_stopped_while_it_starts(state: Path) -> None:
    """Later in the start, once its collector is up: below, with what else happens in that moment."""
    with running(state) as demo:
        demo.wait_until_it_shows("its state is in")
        demo.signal(signal.SIGINT)
        assert demo.end() == 0, demo.told()
        assert "Traceback" not in demo.told()
    assert left_in(state) == []


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["--source", "nothing.mp4"], 78, "--source nothing.mp4: there is no such file or folder"),
        (["--model", "nothing.onnx"], 78, "--model nothing.onnx: give the path of an .onnx file"),
        (["--source", __file__], 69, "is not a video that can be decoded"),
        (["--line", "a:0,0,5000,5000"], 69, "outside of the picture"),
        (["--line", "a:1,2,3"], 78, "--line a:1,2,3: write NAME:X1,Y1,X2,Y2"),
    ],
)
def test_what_cannot_be_counted_is_told(state: Path, options: list[str], code: int, message: str) -> None:
    with running(state, *options) as demo:
        assert demo.end(START_S + STOP_S) == code, demo.told()
        assert message in demo.output
        assert "Traceback" not in demo.output


def test_a_port_and_a_state_folder_are_used_once(state: Path) -> None:
    with running(state) as demo:
        demo.wait_until_it_shows("its state is in")
        with running(state) as other:
            assert other.end() == 69
            assert "another demo runs on" in other.output
        demo.wait_until_it_shows("The collector is up")
        elsewhere = state / "other"
        with running(elsewhere, "--port", str(demo.port)) as other:
            assert other.end() == 69
            assert f"port = {demo.port}: it is in use" in other.output
        demo.signal(signal.SIGTERM)
        assert demo.end() == 0, demo.told()
        assert "Traceback" not in demo.told()
    assert left_in(state) == []
