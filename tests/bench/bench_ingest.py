"""Ingest over real HTTP into a durable PostgreSQL, against raw COPY and against one transaction per request.

Client, collector and database share the machine's cores.
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
from uuid import uuid4

import psycopg
import uvloop
from msgspec import Raw

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
LARGE, LARGE_CONNECTIONS, LARGE_BATCHES = 500, 8, 40
SMALL, SMALL_CONNECTIONS, SMALL_BATCHES = 17, 64, 60
ALONE_BATCHES = 15
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


def n_rows(dsn: str) -> int:
    """How many counts are stored."""
    with psycopg.connect(dsn) as connection:
        row = connection.execute("SELECT count(*) FROM count_events").fetchone()
    assert row is not None
    return int(row[0])


def raw_copy_rows_per_s(dsn: str, per_transaction: int | None) -> float:
    """The same rows straight into the table by binary COPY; None: all in one transaction."""
    names = DeviceNames({("junction", line, Via.CAMERA): Source(i, uuid4()) for i, line in enumerate(LINES)}, {})
    batches = []
    for stream_no in range(LARGE_CONNECTIONS):
        for batch in range(LARGE_BATCHES):
            records = counts(LARGE, 1 + batch * LARGE, 1 + batch * LARGE)
            batches.append(build_rows(records, [Raw(b"")] * LARGE, stream_no, names, 0).by_table[COUNT_EVENTS])
    rows = [row for batch in batches for row in batch]
    step = per_transaction or len(rows)
    with psycopg.connect(dsn, autocommit=True) as connection:
        started_s = time.perf_counter()
        for start in range(0, len(rows), step):
            with connection.cursor() as cursor, cursor.copy(COUNT_EVENTS.copy) as copy:
                copy.set_types(COUNT_EVENTS.types)
                for row in rows[start : start + step]:
                    copy.write_row(row)
        return len(rows) / (time.perf_counter() - started_s)


def load(port: int, connections: Sequence[Sequence[bytes]]) -> Outcome:
    """Run a load on the collector."""
    return uvloop.run(run_load(port, connections))


def bench_large(name: str, dsn: str, peer_dsn: str) -> None:
    """500 records a batch, delivered and delivered again, against raw COPY."""
    devices = [FakeDevice() for _ in range(LARGE_CONNECTIONS)]
    enrol(dsn, devices)
    warm = [requests(device, 2, LARGE) for device in devices]
    sent = [requests(device, LARGE_BATCHES, LARGE, 1 + 2 * LARGE) for device in devices]
    n = LARGE * LARGE_CONNECTIONS * LARGE_BATCHES
    with collector(dsn, 256) as port:
        load(port, warm)
        before = n_rows(dsn)
        first = load(port, sent)
        assert n_rows(dsn) == before + n, f"{n_rows(dsn) - before} rows were stored, not {n}"
        again = load(port, sent)
        assert n_rows(dsn) == before + n, "a resend was stored"
    in_batches = raw_copy_rows_per_s(peer_dsn, LARGE)
    at_once = raw_copy_rows_per_s(peer_dsn, None)
    rate = n / first.took_s
    report.peer(f"{name}: 500 a batch, against COPY of all at once", rate, at_once, "rows/s", at_least=0.5)
    report.peer(f"{name}: 500 a batch, against COPY of 500 a commit", rate, in_batches, "rows/s", at_least=0.5)
    report.plain(
        f"{name}: 500 a batch, p50 / p99 of the answer",
        first.percentile_ms(0.5),
        "ms",
        f"{first.percentile_ms(0.99):.0f} ms",
    )
    report.peer(f"{name}: resend of stored batches", n / again.took_s, rate, "rows/s", at_least=5)


def bench_small(name: str, dsn: str) -> None:
    """17 records a batch on 64 connections, grouped and one by one."""
    rates = {}
    waits = {}
    for group_requests, n_batches in ((1, ALONE_BATCHES), (256, SMALL_BATCHES)):
        devices = [FakeDevice() for _ in range(SMALL_CONNECTIONS)]
        enrol(dsn, devices)
        warm = [requests(device, 2, SMALL) for device in devices]
        sent = [requests(device, n_batches, SMALL, 1 + 2 * SMALL) for device in devices]
        with collector(dsn, group_requests) as port:
            load(port, warm)
            before = n_rows(dsn)
            outcome = load(port, sent)
            n = SMALL_CONNECTIONS * n_batches
            assert n_rows(dsn) == before + n * SMALL
        rates[group_requests] = n / outcome.took_s
        waits[group_requests] = outcome
    report.peer(f"{name}: 17 a batch, 64 connections", rates[256], rates[1], "requests/s", at_least=4)
    report.plain(
        f"{name}: the same, p99 of the answer",
        waits[256].percentile_ms(0.99),
        "ms",
        f"one by one {waits[1].percentile_ms(0.99):.0f} ms",
    )


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
