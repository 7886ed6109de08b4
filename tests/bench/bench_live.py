"""A thousand WebSocket watchers of one junction on one worker, and events between workers through Redis or Valkey.

Collector, database, sender and watchers share the machine's cores. A watcher here is a bare protocol that notes
when bytes arrive. What is measured begins when the batch is sent, so the commit itself is in it.
"""

import asyncio
import base64
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast
from uuid import UUID, uuid4

import httpx
import psutil
import psycopg
import uvloop

from collector.migrate import migrate
from collector.realtime.events import Delivery, Filter
from collector.realtime.hub import Hub
from collector.realtime.relay import Relay
from common.batch import BATCHES_PATH
from common.codes import Direction, Via
from common.records import Count, SignalEvent
from tests.bench import report
from tests.servers.databases import EDITIONS
from tests.servers.device import FakeDevice
from tests.servers.postgres import PgServer
from tests.servers.redis import RedisServer

WATCHERS, CHANGES, PAUSE_S = 1_000, 40, 0.5
GREEN, YELLOW = 1, 8
DELIVERIES, AT_ONCE, COUNTS_EACH = 3_000, 100, 17


class Watcher(asyncio.Protocol):
    """One WebSocket; `arrivals_s` are the times at which a `signal` came."""

    def __init__(self, path: str, opened: "asyncio.Semaphore") -> None:
        self._path, self._opened = path, opened
        self.arrivals_s: list[float] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        key = base64.b64encode(os.urandom(16)).decode()
        cast(asyncio.Transport, transport).write(
            f"GET {self._path} HTTP/1.1\r\nHost: bench\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )

    def data_received(self, data: bytes) -> None:
        if b'"event":"snapshot"' in data:
            self._opened.release()
        if b'"event":"signal"' in data:
            self.arrivals_s.append(time.perf_counter())


async def watch(port: int, junction: UUID) -> list[Watcher]:
    """All watchers, once each has its snapshot."""
    opened = asyncio.Semaphore(0)
    loop = asyncio.get_running_loop()
    watchers = []
    for _ in range(WATCHERS):
        _, watcher = await loop.create_connection(
            lambda: Watcher(f"/ws/junction/{junction}", opened), "127.0.0.1", port
        )
        watchers.append(watcher)
    for _ in range(WATCHERS):
        await opened.acquire()
    return watchers


async def change(port: int, device: FakeDevice, watchers: list[Watcher]) -> list[float]:
    """How long each watcher waited for each change of the lights."""
    waits_s = []
    start_ms = time.time_ns() // 1_000_000 - CHANGES * 1_000
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
        for seq in range(1, CHANGES + 1):
            event = SignalEvent(seq, start_ms + seq * 1_000, 0, "x", GREEN if seq % 2 else YELLOW, 2)
            headers = {"Authorization": f"Bearer {device.token()}"}
            sent_s = time.perf_counter()
            body = device.batch([event], first_seq=seq)
            answer = await client.post(BATCHES_PATH, content=body, headers=headers)
            assert answer.status_code == 200, answer.text
            while any(len(watcher.arrivals_s) < seq for watcher in watchers):
                await asyncio.sleep(0.005)
            waits_s += [watcher.arrivals_s[-1] - sent_s for watcher in watchers]
            await asyncio.sleep(PAUSE_S)
    return sorted(waits_s)


@contextmanager
def collector(dsn: str, folder: Path) -> Iterator[tuple[int, psutil.Process]]:
    """The real one, in a process of its own; its port."""
    ready = folder / "port"
    process = subprocess.Popen([sys.executable, "-m", "tests.bench.ingest_server", dsn, "256", str(ready)])
    try:
        while not ready.exists() or not is_healthy(int(ready.read_text())):
            assert process.poll() is None
            time.sleep(0.05)
        yield int(ready.read_text()), psutil.Process(process.pid)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def is_healthy(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/health").status_code == 200
    except httpx.TransportError:
        return False


def bench_watchers(folder: Path) -> None:
    server = PgServer(EDITIONS["plain"](), durable=True)
    try:
        server.start()
        dsn = server.create_database("live")
        migrate(dsn)
        device, junction = FakeDevice(), uuid4()
        with psycopg.connect(dsn) as connection:
            connection.execute("INSERT INTO junctions (id, name) VALUES (%s, 'bench')", (junction,))
        device.enrol(dsn, junction)
        with collector(dsn, folder) as (port, process):
            uvloop.run(_watchers(port, process, device, junction))
    finally:
        server.destroy()


async def _watchers(port: int, process: psutil.Process, device: FakeDevice, junction: UUID) -> None:
    before = process.memory_info().rss
    started_s = time.perf_counter()
    watchers = await watch(port, junction)
    took_s = time.perf_counter() - started_s
    report.plain(f"{WATCHERS} watchers are connected and have their snapshot", took_s, "s")
    busy_s = sum(process.cpu_times()[:2])
    waits_s = await change(port, device, watchers)
    busy_s = sum(process.cpu_times()[:2]) - busy_s
    name = f"{WATCHERS} watchers on one worker hear of a change, p99"
    report.limit(name, waits_s[int(0.99 * len(waits_s))] * 1000, 200, "ms")
    report.plain("... median", waits_s[len(waits_s) // 2] * 1000, "ms")
    report.plain("... the slowest", waits_s[-1] * 1000, "ms")
    report.limit("... with a core of its own, processor time for all", busy_s / CHANGES * 1000, 200, "ms")
    grown = (process.memory_info().rss - before) / WATCHERS / 1024
    report.plain("memory of a watcher in the collector", grown, "kB")


async def bench_relay(url: str) -> None:
    """Two workers' ends in one process: one tells, both hear."""
    hubs = [Hub(), Hub()]
    relays = [Relay(url, hub) for hub in hubs]
    running = [asyncio.create_task(relay.run()) for relay in relays]
    listeners = [hub.subscribe(Filter()) for hub in hubs]
    while not all(relay.has_told_all for relay in relays) or any(hub.is_paused for hub in hubs):
        await asyncio.sleep(0.01)
    count = Count(1, 1_800_000_000_000, 0, "north", "line", Via.CAMERA, "car", Direction.IN, 0.9, "17")
    delivery = Delivery(uuid4(), uuid4(), [count] * COUNTS_EACH, [uuid4()] * COUNTS_EACH)
    started_s, n = time.perf_counter(), DELIVERIES * COUNTS_EACH
    for _ in range(DELIVERIES // AT_ONCE):
        for _ in range(AT_ONCE):
            relays[0].publish(delivery)
        for listener in listeners:
            heard = 0
            while heard < AT_ONCE * COUNTS_EACH:
                heard += sum(event.kind == "count" for event in await listener.read(30.0))
    took_s = time.perf_counter() - started_s
    report.plain(f"batches of {COUNTS_EACH} through the relay", DELIVERIES / took_s, "batches/s")
    report.plain("events through the relay, heard by two workers", n / took_s, "events/s")
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        bench_watchers(Path(folder))
        redis = RedisServer(Path(folder))
        redis.start()
        try:
            uvloop.run(bench_relay(redis.url))
        finally:
            redis.kill()


if __name__ == "__main__":
    main()
