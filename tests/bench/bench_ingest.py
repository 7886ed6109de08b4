"""Ingest over real HTTP into a durable PostgreSQL, against raw COPY and against one transaction per request.

Client, collector and database share the machine's cores. Ingest writes its marks for the rollups; the worker that
takes them is held off while ingest is measured against COPY, which has no such worker either.
"""

import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any
from uuid import uuid4

import psycopg
import uvloop
from msgspec import Raw

from collector.counting.rollups import LOCK_KEY
from collector.ingest.names import DeviceNames, Source
from collector.ingest.tables import COUNT_EVENTS, build_rows
from collector.migrate import migrate
from common.codes import Direction, Via
from common.records import Count
from tests.bench import report
from tests.bench.load import Outcome, http_request, run_load
from tests.servers.databases import EDITIONS
from tests.servers.device import FakeDevice
from tests.servers.postgres import PgServer, ServerUnavailable

LINES = ("north", "south", "east", "west")
CLASSES = ("car", "car", "car", "truck", "bus", "bicycle", "person")
LARGE, LARGE_CONNECTIONS, LARGE_BATCHES, TURNS = 500, 8, 8, 7
SMALL, SMALL_CONNECTIONS, SMALL_BATCHES = 17, 64, 16
ALONE_BATCHES = 4
"""Batches per connection with one transaction each: fewer, since it is slower."""


def counts(n: int, first_seq: int, seed: int) -> list[Count]:
    """`n` counts of the last day, as a device makes them that has been away."""
    rnd = random.Random(seed)
    start_ms = time.time_ns() // 1_000_000 - 24 * 3600 * 1000
    return [
        Count(
            seq,
            start_ms + seq * 700,
            4,
            "junction",
            rnd.choice(LINES),
            Via.CAMERA,
            rnd.choice(CLASSES),
            rnd.choice((Direction.IN, Direction.OUT)),
            round(rnd.uniform(0.3, 1.0), 3),
            str(seq),
        )
        for seq in range(first_seq, first_seq + n)
    ]


def requests(device: FakeDevice, n_batches: int, size: int, first_seq: int = 1) -> list[bytes]:
    """A device's requests, in order."""
    now_s = time.time()
    return [
        http_request(device, device.batch(counts(size, seq, seq), first_seq=seq), now_s)
        for seq in range(first_seq, first_seq + n_batches * size, size)
    ]


def enrol(dsn: str, devices: Sequence[FakeDevice]) -> None:
    """Make the devices known."""
    with psycopg.connect(dsn) as connection, connection.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO edge_devices (id, name, public_key) VALUES (%s, %s, %s)",
            [(device.id, str(device.id)[:8], device.public_key) for device in devices],
        )


@contextmanager
def collector(dsn: str, group_requests: int) -> Iterator[int]:
    """A collector in a process of its own; its port."""
    with tempfile.TemporaryDirectory() as folder:
        ready = Path(folder) / "port"
        command = [sys.executable, "-m", "tests.bench.ingest_server", dsn, str(group_requests), str(ready)]
        process = subprocess.Popen(command)
        try:
            while not (ready.exists() and is_listening(int(ready.read_text()))):
                assert process.poll() is None, "the collector did not start"
                time.sleep(0.01)
            yield int(ready.read_text())
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(30)


def is_listening(port: int) -> bool:
    """Whether somebody takes connections there."""
    try:
        socket.create_connection(("127.0.0.1", port)).close()
    except ConnectionRefusedError:
        return False
    return True


@contextmanager
def no_rollups(dsn: str) -> Iterator[None]:
    """Keeps the rollup worker waiting, as another collector's worker would."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("SELECT pg_advisory_lock(%s)", (LOCK_KEY,))
        yield


def n_rows(dsn: str) -> int:
    """How many counts are stored."""
    with psycopg.connect(dsn) as connection:
        row = connection.execute("SELECT count(*) FROM count_events").fetchone()
    assert row is not None
    return int(row[0])


def copied_rows(first_seq: int) -> list[tuple[Any, ...]]:
    """The rows that one round of large batches becomes."""
    names = DeviceNames({("junction", line, Via.CAMERA): Source(i, uuid4()) for i, line in enumerate(LINES)}, {})
    rows = []
    for stream_no in range(LARGE_CONNECTIONS):
        for seq in range(first_seq, first_seq + LARGE_BATCHES * LARGE, LARGE):
            records = counts(LARGE, seq, seq)
            rows += build_rows(records, [Raw(b"")] * LARGE, stream_no, names, 0).by_table[COUNT_EVENTS]
    return rows


def raw_copy_rows_per_s(dsn: str, rows: Sequence[tuple[Any, ...]], per_transaction: int) -> float:
    """Rows straight into the table by binary COPY."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        started_s = time.perf_counter()
        for start in range(0, len(rows), per_transaction):
            with connection.cursor() as cursor, cursor.copy(COUNT_EVENTS.copy) as copy:
                copy.set_types(COUNT_EVENTS.types)
                for row in rows[start : start + per_transaction]:
                    copy.write_row(row)
        return len(rows) / (time.perf_counter() - started_s)


def load(port: int, connections: Sequence[Sequence[bytes]]) -> Outcome:
    """Run a load on the collector."""
    return uvloop.run(run_load(port, connections))


def bench_large(name: str, dsn: str, peer_dsn: str) -> None:
    """500 records a batch, delivered and delivered again, against raw COPY: in turns, since machines are noisy."""
    devices = [FakeDevice() for _ in range(LARGE_CONNECTIONS)]
    enrol(dsn, devices)
    ours, again, in_batches, at_once, waits_ms = [], [], [], [], []
    n = LARGE * LARGE_CONNECTIONS * LARGE_BATCHES
    with collector(dsn, 256) as port, no_rollups(dsn):
        load(port, [requests(device, 2, LARGE) for device in devices])
        for turn in range(TURNS):
            first_seq = 1 + 2 * LARGE + turn * LARGE_BATCHES * LARGE
            sent = [requests(device, LARGE_BATCHES, LARGE, first_seq) for device in devices]
            rows = copied_rows(first_seq)
            before = n_rows(dsn)
            first = load(port, sent)
            in_batches.append(raw_copy_rows_per_s(peer_dsn, rows, LARGE))
            at_once.append(raw_copy_rows_per_s(peer_dsn, rows, n))
            assert n_rows(dsn) == before + n, f"{n_rows(dsn) - before} rows were stored, not {n}"
            again.append(n / load(port, sent).took_s)
            assert n_rows(dsn) == before + n, "a resend was stored"
            ours.append(n / first.took_s)
            waits_ms.append(first.percentile_ms(0.99))
    rate = median(ours)
    report.peer(f"{name}: 500 a batch, by COPY of 500 a commit", rate, median(in_batches), "rows/s", at_least=0.5)
    report.peer(f"{name}: 500 a batch, by COPY of {n} a commit", rate, median(at_once), "rows/s", at_least=0.5)
    report.plain(f"{name}: 500 a batch, p99 of the wait", median(waits_ms), "ms")
    report.peer(f"{name}: resend of stored batches", median(again), rate, "rows/s", at_least=5)


def bench_small(name: str, dsn: str) -> None:
    """17 records a batch on 64 connections, grouped and one by one, in turns."""
    rates: dict[int, list[float]] = {1: [], 256: []}
    waits_ms: dict[int, list[float]] = {1: [], 256: []}
    with collector(dsn, 1) as alone, collector(dsn, 256) as grouped:
        for _ in range(TURNS):
            for group_requests, port, n_batches in ((1, alone, ALONE_BATCHES), (256, grouped, SMALL_BATCHES)):
                devices = [FakeDevice() for _ in range(SMALL_CONNECTIONS)]
                enrol(dsn, devices)
                load(port, [requests(device, 1, SMALL) for device in devices])
                sent = [requests(device, n_batches, SMALL, 1 + SMALL) for device in devices]
                before = n_rows(dsn)
                outcome = load(port, sent)
                n = SMALL_CONNECTIONS * n_batches
                assert n_rows(dsn) == before + n * SMALL
                rates[group_requests].append(n / outcome.took_s)
                waits_ms[group_requests].append(outcome.percentile_ms(0.99))
    alone_rate, rate = median(rates[1]), median(rates[256])
    report.peer(f"{name}: 17 a batch, 64 connections, by one by one", rate, alone_rate, "requests/s", at_least=4)
    note = f"one by one: {median(waits_ms[1]):.0f} ms"
    report.plain(f"{name}: 17 a batch, p99 of the wait", median(waits_ms[256]), "ms", note)


def bench(edition: str) -> None:
    """All figures on one edition of the store."""
    try:
        installation = EDITIONS[edition]()
        server = PgServer(installation, durable=True)
    except ServerUnavailable as reason:
        print(f"left out: {edition}: {reason}")
        return
    try:
        server.start()
        dsns = [server.create_database(name) for name in ("large", "peer", "small")]
        for dsn in dsns:
            migrate(dsn)
        large, peer, small = dsns
        bench_large(f"ingest {edition}", large, peer)
        bench_small(f"ingest {edition}", small)
    finally:
        server.destroy()
        installation.remove_scratch()


if __name__ == "__main__":
    for edition in sys.argv[1:] or EDITIONS:
        bench(edition)
