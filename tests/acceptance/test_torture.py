"""Kill everything again and again, lose the answers, and compare the collector with the generator's own journal.

Real commands as processes: `stopline-agent simulate`, a link that loses answers, `stopline-collector serve` with
its embedded PostgreSQL, all with `kill -9`. `STOPLINE_TORTURE_ROUNDS` sets how long it goes on.

What must hold in the end, by the journal and the database alone:

* every count that the agent had made durable is stored, once;
* nothing is stored that was not made, and nothing twice;
* per stream and epoch, stored + rejected + lost = the last sequence number, and the rows are really there.
"""

import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psycopg
import pytest

from collector.embedded import EmbeddedPostgres
from tests.servers.proxy import LossyProxy

ROUNDS = int(os.environ.get("STOPLINE_TORTURE_ROUNDS", "20"))
RATE = 150
_READY_S = 60.0
_DRAIN_S = 120.0
_BIN = Path(sys.executable).parent
_TABLES = ("count_events", "frame_metadata", "device_health", "system_logs", "stream_quality_metrics")


class World:
    """An agent, a link, and a collector with its database, each of which can be killed."""

    def __init__(self, folder: Path, link: Callable[[int], LossyProxy]) -> None:
        self._folder = folder
        self._collector_port = _free_port()
        self.link = link(self._collector_port)
        self.journal = folder / "journal"
        self._config = folder / "agent.toml"
        self._config.write_text(
            f'name = "torture"\njunction = "Torture Square"\nstate_dir = "{folder / "agent"}"\n'
            "[outbox]\ncommit_every_s = 0.2\n[status]\nenabled = false\n"
            f'[collector]\nurl = "http://127.0.0.1:{self.link.port}"\n'
        )
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    # What runs

    def enrol(self) -> None:
        """Make the device known to the collector, by the files a technician would carry."""
        _run("stopline-agent", "identity", "--config", str(self._config))
        _run(
            "stopline-collector", "device", "add", str(self._folder / "agent/device.json"), env=self._environment()
        )

    def start_collector(self) -> None:
        """Start it and wait until it can store."""
        self._start("collector", "stopline-collector", "serve", "--port", str(self._collector_port))
        _wait_until(self._is_healthy, _READY_S, "the collector is ready", self._log("collector"))

    def start_agent(self, rate: int) -> None:
        """Start it. It makes counts at once."""
        self._start(
            "agent", "stopline-agent", "simulate", "--config", str(self._config), "--rate", str(rate),
            "--journal", str(self.journal),
        )  # fmt: skip

    def n_agent_starts(self) -> int:
        """How often an agent said that it is up; before, SIGTERM is no order but its end."""
        return (self._folder / "agent.log").read_text().count('"action": "started"')

    def kill(self, what: str) -> None:
        """SIGKILL to `agent` or `collector`."""
        self._processes[what].kill()
        self._processes[what].wait()

    def kill_database(self) -> None:
        """SIGKILL to the postmaster, unless it is dead already; the collector starts it again."""
        pid = self.postgres.pid
        if pid is not None:
            os.kill(pid, signal.SIGKILL)

    @property
    def postgres(self) -> EmbeddedPostgres:
        """The collector's database, looked at from outside."""
        return EmbeddedPostgres(self._folder / "collector")

    def stop(self, what: str) -> None:
        """SIGTERM, and a clean end."""
        process = self._processes.pop(what)
        process.terminate()
        assert process.wait(60) == 0, self._log(what)()

    def close(self) -> None:
        """Leave nothing running."""
        for process in self._processes.values():
            process.kill()
            process.wait()
        with self.postgres:
            pass  # whoever uses it last stops it

    def is_making(self) -> bool:
        """Whether the agent makes counts: it is up, and will end in good order when it is told to."""
        size_bytes = self.journal.stat().st_size
        time.sleep(0.3)
        return self.journal.stat().st_size > size_bytes

    def waiting(self) -> int:
        """How many records the outbox holds. The agent must be stopped."""
        reply = _run("stopline-agent", "outbox", "export", "--config", str(self._config))
        return len(reply.splitlines())

    def drained(self) -> bool:
        """Whether the collector has everything that an idle agent holds."""
        with psycopg.connect(self._dsn()) as db:
            row = db.execute("SELECT count(*) FROM count_events").fetchone()
        return row is not None and row[0] >= len(durable_ids(self.journal))

    def _dsn(self) -> str:
        with self.postgres as postgres:
            return postgres.dsn

    def _is_healthy(self) -> bool:
        assert self._processes["collector"].poll() is None, self._log("collector")()
        try:
            return httpx.get(f"http://127.0.0.1:{self._collector_port}/health", timeout=5).status_code == 200
        except httpx.TransportError:
            return False

    def _start(self, what: str, *command: str) -> None:
        with (self._folder / f"{what}.log").open("ab") as log:
            self._processes[what] = subprocess.Popen(
                [_BIN / command[0], *command[1:]],
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def _environment(self) -> dict[str, str]:
        own = {name: value for name, value in os.environ.items() if not name.startswith("STOPLINE_")}
        return own | {"STATE_DIRECTORY": str(self._folder / "collector")}

    def _log(self, what: str) -> Callable[[], str]:
        return lambda: (self._folder / f"{what}.log").read_text()[-4000:]


@pytest.fixture
def world(tmp_path: Path, lossy_proxy: Callable[[int], LossyProxy]) -> Iterator[World]:
    """All of it, stopped in the end."""
    with _world(tmp_path, lossy_proxy) as world:
        yield world


@contextmanager
def _world(folder: Path, link: Callable[[int], LossyProxy]) -> Iterator[World]:
    world = World(folder, link)
    try:
        yield world
    finally:
        world.close()


@pytest.mark.long
@pytest.mark.timeout(120 + 30 * ROUNDS)
def test_killed_at_any_moment_nothing_is_lost_and_nothing_is_counted_twice(world: World) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    world.enrol()
    world.start_collector()
    world.start_agent(RATE)
    for _ in range(ROUNDS):
        time.sleep(chance.uniform(0.1, 1.5))
        _harm(world, chance)
    assert world.link.n_lost > 0, "no answer was lost: the test did not try what it is for"
    _wait_until(world.is_making, _READY_S, "the agent makes counts", str)
    world.stop("agent")
    n_starts = world.n_agent_starts()
    world.start_agent(rate=0)
    world.link.restore()
    _wait_until(lambda: world.n_agent_starts() > n_starts, _READY_S, "the agent is up", str)
    _wait_until(world.drained, _DRAIN_S, "the collector has everything", str)
    world.stop("agent")
    assert world.waiting() == 0
    with world.postgres as postgres:
        compare(world.journal, postgres.dsn)


def _harm(world: World, chance: random.Random) -> None:
    """One of the things that happen to a fleet, and often an answer lost on top."""
    if chance.random() < 0.7:
        world.link.lose_answers(chance.randint(1, 3))
    match chance.choice(("agent", "collector", "database", "link")):
        case "agent":
            world.kill("agent")
            world.start_agent(RATE)
        case "collector":
            world.kill("collector")
            if chance.random() < 0.3:
                world.kill_database()
            world.start_collector()
        case "database":
            world.kill_database()
        case "link":
            world.link.cut()
            time.sleep(chance.uniform(0.0, 0.5))
            world.link.restore()


def made_ids(journal: Path) -> list[str]:
    """All counts that were made, in order."""
    return [line.split()[1] for line in journal.read_text().splitlines() if line.startswith("made ")]


def durable_ids(journal: Path) -> set[str]:
    """All counts that the agent had on its disk, by its own word at the time."""
    durable: dict[str, int] = {}
    for line in journal.read_text().splitlines():
        if line.startswith("durable "):
            run, number = line.split()[1].split(":")
            durable[run] = int(number)
    return {name for name in made_ids(journal) if int(name.split(":")[1]) <= durable.get(name.split(":")[0], 0)}


def compare(journal: Path, dsn: str) -> None:
    """The journal against the database."""
    made, durable = made_ids(journal), durable_ids(journal)
    with psycopg.connect(dsn) as db:
        stored = Counter(row[0] for row in db.execute("SELECT track FROM count_events"))
        streams = db.execute("SELECT no, last_seq, stored, rejected, lost FROM ingest_streams").fetchall()
        rows = Counter(
            row[0]
            for table in (
                "count_events",
                "frame_metadata",
                "device_health",
                "system_logs",
                "stream_quality_metrics",
            )
            for row in db.execute(f"SELECT stream_no FROM {table}")
        )
        rows.update(row[0] for row in db.execute("SELECT stream_no FROM ingest_gaps WHERE from_seq IS NULL"))
    assert len(durable) > 10 * ROUNDS, "hardly anything was made"
    assert [name for name, n in stored.items() if n > 1] == [], "counted twice"
    assert stored.keys() - set(made) == set(), "stored, but never made"
    assert durable - stored.keys() == set(), "durable, and lost"
    for no, last_seq, n_stored, rejected, lost in streams:
        assert last_seq == n_stored + rejected + lost
        assert (rejected, lost) == (0, 0)
        assert rows[no] == n_stored
    print(json.dumps({"made": len(made), "durable": len(durable), "stored": len(stored), "epochs": len(streams)}))


def _run(*command: str, env: dict[str, str] | None = None) -> str:
    done = subprocess.run(
        [_BIN / command[0], *command[1:]], env=env, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout


def _wait_until(holds: Callable[[], bool], timeout_s: float, what: str, log: Callable[[], str]) -> None:
    deadline_s = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < deadline_s, f"not within {timeout_s:.0f} s: {what}\n{log()}"
        time.sleep(0.1)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port
