"""Orders from afar: what ten thousand devices that wait cost one worker, and how soon an order is with the lights.

Clients, collector and database share the machine's cores.

python -m tests.bench.bench_orders
"""

import asyncio
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from statistics import median
from uuid import UUID, uuid4

import httpx
import psutil
import psycopg
from websockets.sync.client import connect

from common.commands import Automatic
from common.remote import COMMANDS_PATH
from tests.bench import report
from tests.integration.test_orders_from_afar import Street, override
from tests.servers.databases import TEMPLATE, running_server
from tests.servers.device import FakeDevice
from tests.servers.ordering import Given, order
from tests.waiting import until

N_DEVICES = 10_000
N_ORDERS = 200
N_ON_THE_STREET = 20
RSS_LIMIT_MB = 500.0
CPU_LIMIT_PERCENT = 25.0
WOKEN_LIMIT_MS = 100.0
APPLIED_LIMIT_MS = 1_000.0
_IDLE_S = 45.0
"""In this each has asked anew."""
_AT_ONCE = 200


def main() -> None:
    """All figures."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    n_devices = min(N_DEVICES, most - 500)
    with running_server("plain", durable=True) as server, tempfile.TemporaryDirectory() as folder:
        dsn = server.dsn(TEMPLATE)
        with collector(dsn, Path(folder)) as (process, url):
            asyncio.run(many_wait(dsn, process, url, n_devices))
        with ExitStack() as ends:
            on_the_street(Street(dsn, Path(folder), ends))


@contextmanager
def collector(dsn: str, folder: Path) -> Iterator[tuple[psutil.Process, str]]:
    """One worker, and where it listens."""
    ready = folder / "port"
    child = subprocess.Popen([sys.executable, "-m", "tests.bench.orders_server", dsn, str(ready)])
    try:
        until(ready.exists)
        yield psutil.Process(child.pid), f"http://127.0.0.1:{ready.read_text()}"
    finally:
        child.terminate()
        child.wait(60)


class Waiter:
    """A device's connection, on which one question waits after the other."""

    def __init__(self, device: FakeDevice) -> None:
        self.device, self.token = device, device.token()
        self.woken_s = 0.0
        self.n_answers = self.n_refused = 0

    async def run(self, port: int, gate: asyncio.Semaphore) -> None:
        """Ask, until cancelled; after a refusal or a broken connection again, as agents do."""
        known: list[str] = []
        while True:
            with suppress(OSError, asyncio.IncompleteReadError):
                async with gate:
                    reader, writer = await asyncio.open_connection("127.0.0.1", port)
                with closing(writer):
                    while await self._ask(reader, writer, known):
                        pass
            self.n_refused += 1
            await asyncio.sleep(random.uniform(1.0, 5.0))

    async def _ask(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, known: list[str]) -> bool:
        """One question; False: it was refused."""
        query = "&".join([f"wait_s={random.uniform(31.5, 45.0)}", *(f"known={one}" for one in known[-5:])])
        head = f"GET {COMMANDS_PATH}?{query} HTTP/1.1\r\nHost: c\r\nAuthorization: Bearer {self.token}\r\n\r\n"
        writer.write(head.encode())
        answer = await reader.readuntil(b"\r\n\r\n")
        lines = answer.lower().split(b"\r\n")
        length = next(int(line.split(b":")[1]) for line in lines if line.startswith(b"content-length"))
        body = await reader.readexactly(length)
        if not answer.startswith(b"HTTP/1.1 200"):
            return False
        commands = json.loads(body)["commands"]
        if commands:
            self.woken_s = time.monotonic()
        known += [one["id"] for one in commands]
        self.n_answers += 1
        return True


async def many_wait(dsn: str, process: psutil.Process, url: str, n_devices: int) -> None:
    """Memory and processor while they wait, and how soon one of them hears of its order."""
    devices = [FakeDevice() for _ in range(n_devices)]
    junction = uuid4()
    enrol(dsn, devices, junction)
    port = int(url.rpartition(":")[2])
    async with httpx.AsyncClient(base_url=url, timeout=60) as client:
        await client.get("/health")
        before_mb = process.memory_info().rss / 1e6
        gate = asyncio.Semaphore(_AT_ONCE)
        waiters = [Waiter(device) for device in devices]
        began_s, cpu_s = time.monotonic(), cpu(process)
        tasks = [asyncio.create_task(one.run(port, gate)) for one in waiters]
        await all_wait(client, n_devices, tasks)
        came_s = time.monotonic() - began_s
        report.plain(f"{n_devices} devices come: until all wait", came_s, "s")
        report.plain("of them told to come again", sum(one.n_refused for one in waiters), "")
        report.plain("the collector's processor time for each", (cpu(process) - cpu_s) / n_devices * 1e6, "us")
        grown_mb = process.memory_info().rss / 1e6 - before_mb
        report.limit(f"memory for {n_devices} devices that wait", grown_mb, RSS_LIMIT_MB, "MB")
        cpu_s = cpu(process)
        await asyncio.sleep(_IDLE_S)
        percent = (cpu(process) - cpu_s) / _IDLE_S * 100
        report.limit("processor while they wait, one of them all", percent, CPU_LIMIT_PERCENT, "% of a core")
        report.plain("connections to the database", n_connections(dsn), "")
        times_ms = [await woken_ms(client, junction, random.choice(waiters)) for _ in range(N_ORDERS)]
        report.plain("from an order to its device, median", median(times_ms), "ms")
        report.limit(
            "from an order to its device, 99 of 100", sorted(times_ms)[-N_ORDERS // 100], WOKEN_LIMIT_MS, "ms"
        )
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def all_wait(client: httpx.AsyncClient, n: int, tasks: Sequence["asyncio.Task[None]"]) -> None:
    """Until the collector counts them all."""
    while True:
        failed = next((task.exception() for task in tasks if task.done()), None)
        if failed is not None:
            raise failed
        text = (await client.get("/metrics")).text
        found = next(line for line in text.splitlines() if line.startswith("stopline_devices_waiting "))
        if float(found.split()[1]) >= n:
            return
        await asyncio.sleep(0.1)


async def woken_ms(client: httpx.AsyncClient, junction: UUID, waiter: Waiter) -> float:
    """Order something of a device that waits."""
    n_before, began_s = waiter.n_answers, time.monotonic()
    given = {"junction": str(junction), "device": str(waiter.device.id)}
    answer = await client.post("/test/orders", json=given | {"order": {"order": "automatic", "by": "x"}})
    assert answer.status_code == 201, answer.text
    while waiter.n_answers == n_before or waiter.woken_s < began_s:
        await asyncio.sleep(0.001)
    return (waiter.woken_s - began_s) * 1000


def cpu(process: psutil.Process) -> float:
    """Seconds of processor time so far."""
    times = process.cpu_times()
    return float(times.user + times.system)


def n_connections(dsn: str) -> int:
    """Of the collector, to its database."""
    with psycopg.connect(dsn) as connection:
        row = connection.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'stopline-collector'"
        ).fetchone()
    assert row is not None
    return int(row[0])


def enrol(dsn: str, devices: Sequence[FakeDevice], junction: UUID) -> None:
    """Make the devices known."""
    with psycopg.connect(dsn) as connection, connection.cursor() as cursor:
        cursor.execute("INSERT INTO junctions (id, name) VALUES (%s, 'bench')", (junction,))
        cursor.execute(
            "INSERT INTO edge_devices (id, name, public_key, junction_id)"
            " SELECT id, id::text, key, %s FROM unnest(%s::uuid[], %s::bytea[]) AS one (id, key)",
            (junction, [one.id for one in devices], [one.public_key for one in devices]),
        )


def on_the_street(street: Street) -> None:
    """A collector, an agent and the lights' daemon: from giving an order until `applied` is told live."""
    times_ms = []
    url = f"{street.collector.url.replace('http', 'ws')}/ws/live?junction={street.junction}"
    with connect(url) as watcher:
        for number in range(N_ON_THE_STREET):
            what = override(20.0 + number % 2, north=6.0) if number % 4 else Automatic(by="x")
            began_s = time.monotonic()
            assert order(street.collector.url, Given(street.junction, street.device, what)).status_code == 201
            while True:
                event = json.loads(watcher.recv(timeout=60))
                if event["event"] == "mode" and event["data"]["order"]["settled_at"]:
                    break
            assert event["data"]["order"]["state"] == "applied", event
            times_ms.append((time.monotonic() - began_s) * 1000)
    report.plain("from an order to `applied`, with agent and lights, median", median(times_ms), "ms")
    report.limit("from an order to `applied`, the slowest", max(times_ms), APPLIED_LIMIT_MS, "ms")


if __name__ == "__main__":
    main()
