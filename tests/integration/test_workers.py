"""Several workers on one port with a real Redis or Valkey: order, resuming, and what dies in between."""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil
import psycopg
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from collector.identity.users import Role
from common.batch import BATCHES_PATH
from tests.integration.ingest_helpers import counts, send, stored_seqs
from tests.integration.test_collector_cli import environment, run
from tests.integration.test_users import bearer, make_user
from tests.servers.databases import TEMPLATE
from tests.servers.device import FakeDevice
from tests.servers.postgres import PgServer
from tests.servers.redis import RedisServer
from tests.waiting import until

COMMAND = [sys.executable, "-m", "collector", "serve", "--port", "0", "--log-format", "json"]


class Serving:
    """A parent and its workers."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process
        self.log: list[dict[str, Any]] = []
        self.reading = threading.Thread(target=self._read, daemon=True)
        self.reading.start()
        until(lambda: self.told("ready") or process.poll() is not None)
        assert process.poll() is None, self.log
        self.port = next(entry["port"] for entry in self.log if "port" in entry)
        self.url = f"http://127.0.0.1:{self.port}"

    def told(self, action: str) -> list[dict[str, Any]]:
        return [entry for entry in list(self.log) if entry.get("action") == action]

    def workers(self) -> list[psutil.Process]:
        found: list[psutil.Process] = psutil.Process(self.process.pid).children()
        return found

    @contextmanager
    def by_worker(self, n: int) -> Iterator[list[httpx.Client]]:
        """A connection to each of `n` workers: which one has it shows in its figures."""
        found: dict[str, httpx.Client] = {}

        def all_are_met() -> bool:
            client = opened.enter_context(httpx.Client(base_url=self.url, timeout=30))
            [worker] = set(re.findall(r'worker="(\d+)"', client.get("/metrics").text))
            found.setdefault(worker, client)
            return len(found) == n

        with ExitStack() as opened:
            until(all_are_met)
            yield list(found.values())

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in iter(self.process.stderr.readline, ""):
            with contextlib.suppress(json.JSONDecodeError):
                self.log.append(json.loads(line))


@contextmanager
def serving(*arguments: str, variables: Mapping[str, str], in_order: bool = True) -> Iterator[Serving]:
    process = subprocess.Popen(
        [*COMMAND, *arguments], stderr=subprocess.PIPE, text=True, env=environment() | dict(variables)
    )
    assert process.stderr is not None
    try:
        running = Serving(process)
        yield running
        if in_order:
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 0
    finally:
        process.kill()
        process.wait(60)
        running.reading.join(60)
        process.stderr.close()


@contextmanager
def listening(serving: Serving, n: int, last_id: str = "") -> Iterator[list[ClientConnection]]:
    """Connections that hear everything; the kernel spreads them over the workers."""
    with ExitStack() as opened:
        query = f"?last_id={last_id}" if last_id else ""
        url = f"ws://127.0.0.1:{serving.port}/ws/live{query}"
        yield [opened.enter_context(connect(url, close_timeout=1)) for _ in range(n)]


def hear(one: ClientConnection) -> dict[str, Any]:
    while True:
        message: dict[str, Any] = json.loads(one.recv(timeout=60))
        if message["event"] != "heartbeat":
            return message


class Stream:
    """A device that sends counts, one after the other, until they are stored."""

    def __init__(self, dsn: str) -> None:
        self.device = FakeDevice()
        self.device.enrol(dsn)
        self.seq = 0

    def deliver(self, to: str) -> None:
        self.seq += 1
        until(lambda: self._is_taken(to))

    def _is_taken(self, to: str) -> bool:
        try:
            return send(to, self.device, counts(self.seq, 1), self.seq).status_code == 200
        except httpx.TransportError:
            return False

    def race(self, urls: list[str], last: int) -> None:
        """A sender on each of `urls`, with one stream: as if an agent had sent again what is on its way."""
        senders = [threading.Thread(target=self._run_to, args=(url, last, 3 + i)) for i, url in enumerate(urls)]
        for sender in senders:
            sender.start()
        for sender in senders:
            sender.join()
        self.seq = last

    def _run_to(self, url: str, last: int, n: int) -> None:
        first = self.seq + 1
        while first <= last:
            answer = send(url, self.device, counts(first, min(n, last - first + 1)), first)
            told = answer.json()
            first = told["watermark"] + 1 if answer.status_code == 200 else told.get("expected_seq", first)


def all_hear(collector: Serving, stream: Stream, sockets: list[ClientConnection]) -> None:
    """Counts come through to all, sooner or later, and whoever missed some was told."""
    deaf = set(sockets)

    def listen() -> bool:
        stream.deliver(collector.url)
        for one in list(deaf):
            with contextlib.suppress(TimeoutError):
                while json.loads(one.recv(timeout=0.2))["event"] != "count":
                    pass
                deaf.discard(one)
        return not deaf

    until(listen)


def test_workers_tell_the_same_and_survive_what_they_lean_on(
    pg_server: PgServer, redis_server: RedisServer, tmp_path: Path
) -> None:
    """One start for all of it: starting the workers is what costs."""
    dsn = pg_server.dsn(TEMPLATE)
    stream = Stream(dsn)
    settings = ("--dsn", dsn, "--workers", "2")
    variables = systemd_asks(tmp_path) | {"STOPLINE_LIVE__REDIS": redis_server.url}
    with (
        systemd(tmp_path) as words,
        serving(*settings, variables=variables) as collector,
    ):
        until(lambda: {"READY=1", "WATCHDOG=1"} <= words)
        told = _through_both(collector, stream)
        _what_people_say(collector, dsn)
        _through_a_race(collector, stream)
        _through_a_restart_of_redis(collector, stream, redis_server)
        _through_a_crash_of_the_database(collector, stream, pg_server)
        _through_the_death_of_a_worker(collector, stream, told[0]["id"])
        assert stored_seqs(dsn, stream.device) == list(range(1, stream.seq + 1))
        workers = collector.workers()
    assert not any(worker.is_running() for worker in workers)


def _through_both(collector: Serving, stream: Stream) -> list[dict[str, Any]]:
    """A stream's batches through both workers, each after the answer to the one before; all hear them in order."""
    with collector.by_worker(2) as clients, listening(collector, 6) as sockets:
        for i in range(20):
            stream.seq += 1
            body = stream.device.batch(counts(stream.seq, 1), first_seq=stream.seq)
            headers = {"Authorization": f"Bearer {stream.device.token()}"}
            assert clients[i % 2].post(BATCHES_PATH, content=body, headers=headers).status_code == 200
        heard = [[hear(one) for _ in range(20)] for one in sockets]
    assert all(one == heard[0] for one in heard)
    assert {one["event"] for one in heard[0]} == {"count"}
    with listening(collector, 6, heard[0][9]["id"]) as sockets:
        assert all([hear(one) for _ in range(10)] == heard[0][10:] for one in sockets)
    return heard[0]


def _what_people_say(collector: Serving, dsn: str) -> None:
    """What is posted at one worker is heard at both."""
    make_user(dsn, "Ada", Role.ADMIN)
    with psycopg.connect(dsn) as connection:
        [(junction,)] = connection.execute("INSERT INTO junctions (name) VALUES ('x') RETURNING id").fetchall()
    with collector.by_worker(2) as (client, other), ExitStack() as opened:
        url = f"ws://127.0.0.1:{collector.port}/ws/junction/{junction}"
        sockets = [opened.enter_context(connect(url, close_timeout=1)) for _ in range(4)]
        assert {hear(one)["event"] for one in sockets} == {"snapshot"}
        headers = bearer(client)
        for i, poster in enumerate((client, other)):
            line = {"level": "info", "action": "note", "message": str(i), "junction": "x"}
            assert poster.post("/api/logs", json=line, headers=headers).status_code == 201
        heard = [[hear(one)["data"]["message"] for _ in range(2)] for one in sockets]
    assert heard == [["0", "1"]] * 4


def _through_a_race(collector: Serving, stream: Stream) -> None:
    with listening(collector, 4) as sockets:
        first = stream.seq + 1
        stream.race([collector.url] * 3, first + 39)
        heard = [[hear(one) for _ in range(40)] for one in sockets]
    assert all(one == heard[0] for one in heard)


def _through_a_restart_of_redis(collector: Serving, stream: Stream, redis_server: RedisServer) -> None:
    with listening(collector, 4) as sockets:
        redis_server.kill()
        assert {hear(one)["event"] for one in sockets} == {"paused"}
        stream.deliver(collector.url)
        redis_server.start()
        assert {hear(one)["event"] for one in sockets} == {"reset"}
        all_hear(collector, stream, sockets)


def _through_a_crash_of_the_database(collector: Serving, stream: Stream, pg_server: PgServer) -> None:
    with listening(collector, 4) as sockets:
        pg_server.kill()
        refused = send(collector.url, stream.device, counts(stream.seq + 1, 1), stream.seq + 1)
        assert refused.status_code == 503
        pg_server.start()
        all_hear(collector, stream, sockets)


def _through_the_death_of_a_worker(collector: Serving, stream: Stream, long_ago: str) -> None:
    with listening(collector, 6) as sockets:
        collector.workers()[0].kill()
        for one in sockets:
            with contextlib.suppress(ConnectionClosed):
                assert hear(one)["event"] == "reset"
    assert len(collector.told("worker_replaced")) == 1
    with listening(collector, 4, long_ago) as sockets:
        assert {hear(one)["event"] for one in sockets} == {"reset"}
        all_hear(collector, stream, sockets)


def systemd_asks(folder: Path) -> dict[str, str]:
    return {"NOTIFY_SOCKET": str(folder / "notify"), "WATCHDOG_USEC": "1000000"}


@contextmanager
def systemd(folder: Path) -> Iterator[set[str]]:
    """The words that are sent to it, which must all come from one process, the parent."""
    told: set[str] = set()
    senders: set[bytes] = set()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as link:
        link.bind(systemd_asks(folder)["NOTIFY_SOCKET"])
        link.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)

        def listen() -> None:
            word = b""
            while word != b"STOPPING=1":
                word, ancillary, *_ = link.recvmsg(1000, socket.CMSG_SPACE(12))
                told.add(word.decode())
                senders.add(ancillary[0][2][:4])

        listening = threading.Thread(target=listen, daemon=True)
        listening.start()
        yield told
        listening.join(60)
    assert "STOPPING=1" in told
    assert len(senders) == 1


def test_workers_end_with_their_parent_and_its_database_does_not_stay_away(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    """On the embedded PostgreSQL, which a process beside the workers minds."""
    variables = {"STOPLINE_LIVE__REDIS": redis_server.url, "STOPLINE_STATE_DIR": str(tmp_path / "state")}
    with serving("--workers", "2", variables=variables, in_order=False) as collector:
        pid_file = tmp_path / "state/postgres/data/postmaster.pid"
        os.kill(int(pid_file.read_text().split()[0]), signal.SIGKILL)
        until(lambda: collector.told("postgres_restart") != [])
        until(lambda: httpx.get(collector.url + "/health").json()["store"] == "ok")
        workers = collector.workers()
        assert len(workers) == 3
        collector.process.kill()
        _, left = psutil.wait_procs(workers, 30)
        assert left == []
    # The next collector would take it over.
    postgres = psutil.Process(int(pid_file.read_text().split()[0]))
    postgres.send_signal(signal.SIGQUIT)
    postgres.wait(30)


STAND_IN = """
import sys, time
from collector.commands import workers

workers.STANDS_STILL_S = 0.3

def work(link):
    link.tell_ready()
    while not %(ends)s:
        time.sleep(0.05)
    return 3

sys.exit(workers.Workers(2, work).run())
"""


@pytest.mark.parametrize(
    ("ends", "why"),
    [
        ("(time.sleep(0.5) or link.number == 2)", "Worker 2 ended (3); another takes its place"),
        ("False", "Worker 1 stands still; it is killed"),
    ],
    ids=["they end", "one stands still"],
)
def test_workers_that_do_not_work_are_replaced_some_times_and_then_all_stop(ends: str, why: str) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", STAND_IN % {"ends": ends}],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=environment(),
    )
    assert ran.returncode == 1
    assert why in ran.stderr
    assert ran.stderr.count("another takes its place") == 5


def test_several_workers_without_redis_are_refused(plain_dsn: str) -> None:
    refused = run("serve", "--workers", "2", "--port", "0", "--dsn", plain_dsn)
    assert refused.returncode == 78
    assert "workers = 2" in refused.stderr
    assert 'redis = "redis://127.0.0.1:6379/0" under [live]' in refused.stderr
