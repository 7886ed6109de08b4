"""The outbox: what it writes to the card per record, how often it can commit, and how fast a day drains.

The disk is this machine's; SD cards are slower by one or two orders of magnitude. Their wear goes with the bytes
written, which do not depend on the machine.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

from common.clock import FLOOR_MS, Stamp
from common.codes import Direction, Via
from common.records import ClassRange, Count, Frames
from edge_agent.outbox import Outbox
from edge_agent.outbox.accounts import Account
from tests.bench import report

BOOT = str(uuid4())
START_MS = FLOOR_MS + 10**9
DAY_RECORDS = 2 * 86_400
BATCH_RECORDS = 500
BLOCK = Frames(
    *(1, 0, 0, "junction", 5_000, 5_000, 50, 100, {"car": ClassRange(0, 2.117, 5), "bus": ClassRange(0, 0.13, 1)}),
    *(81.2, 97.4, 640, 360),
)
"""What is measured and not told yet, kept with the counts beside it."""
SPAN_S = 120


def stamp(serial: int) -> Stamp:
    """Two records a second, with a clock in time."""
    return Stamp(BOOT, serial * 500_000_000, START_MS + serial * 500, True)


def count(serial: int) -> Count:
    return Count(1, 0, 0, "junction", "north", Via.CAMERA, "car", Direction.IN, 0.87, str(serial))


def written_bytes() -> int:
    """What this process made the disks write so far."""
    for line in Path("/proc/self/io").read_text().splitlines():
        name, value = line.split(": ")
        if name == "write_bytes":
            return int(value)
    raise RuntimeError("/proc/self/io has no write_bytes")


def rss_mb() -> float:
    """This process's memory."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    raise RuntimeError("/proc/self/status has no VmRSS")


def with_outbox(work: Callable[[Outbox], float]) -> float:
    with tempfile.TemporaryDirectory() as folder:
        outbox = Outbox.open(Path(folder) / "outbox.db", stamp(0))
        try:
            return work(outbox)
        finally:
            outbox.close()


def life_bytes(per_commit: int, commits_per_batch: int, n_commits: int) -> float:
    """Bytes written per record over its whole life: taken in, delivered every so many commits, and deleted."""

    def work(outbox: Outbox) -> float:
        before, serial = written_bytes(), 0
        for index in range(n_commits):
            for _ in range(per_commit):
                serial += 1
                outbox.append(count(serial), stamp(serial))
            outbox.account({"junction": Account(stamp(serial), BLOCK)})
            outbox.commit()
            if index % commits_per_batch == 0:
                deliver(outbox, serial)
        deliver(outbox, serial)
        outbox.commit()
        outbox.close()
        return (written_bytes() - before) / serial

    return with_outbox(work)


def deliver(outbox: Outbox, serial: int) -> int:
    """One batch to a collector that takes everything; gives how many records."""
    epoch = outbox.contact_due()
    if epoch is not None:
        outbox.reconcile(epoch, 0, stamp(serial))
    batch = outbox.next_batch(BATCH_RECORDS, 2**20, stamp(serial))
    if batch is None:
        return 0
    outbox.ack(batch.epoch, batch.last_seq)
    return len(batch.records)


def commits_per_s(per_commit: int, n_commits: int) -> float:
    def work(outbox: Outbox) -> float:
        begin_s = time.perf_counter()
        for index in range(n_commits):
            for serial in range(per_commit):
                outbox.append(count(serial), stamp(index))
            outbox.commit()
        return n_commits / (time.perf_counter() - begin_s)

    return with_outbox(work)


def fsyncs_per_s(n: int = 300) -> float:
    """What the disk allows: appending and syncing 4 kB without any database."""
    with tempfile.TemporaryDirectory() as folder:
        handle = os.open(Path(folder) / "raw", os.O_WRONLY | os.O_CREAT)
        begin_s = time.perf_counter()
        for _ in range(n):
            os.write(handle, b"x" * 4096)
            os.fdatasync(handle)
        rate = n / (time.perf_counter() - begin_s)
        os.close(handle)
    return rate


def drain_a_day(outbox: Outbox) -> float:
    """Records per second out of a day's backlog: read, checked, dated, encoded, acknowledged, deleted."""
    for serial in range(1, DAY_RECORDS + 1):
        outbox.append(count(serial), stamp(serial))
        if serial % 10_000 == 0:
            outbox.commit()
    outbox.commit()
    report.plain("a day's backlog on the disk (2 records/s)", outbox.stats().size_bytes / 2**20, "MiB")
    before_mb = rss_mb()
    begin_s, n = time.perf_counter(), 0
    while taken := deliver(outbox, DAY_RECORDS):
        n += taken
        outbox.commit()
    duration_s = time.perf_counter() - begin_s
    assert n == DAY_RECORDS
    report.limit("a day drains on the agent's side within", duration_s, 60, "s")
    report.limit("  and takes so much memory more", max(0.0, rss_mb() - before_mb), 16, "MiB")
    return n / duration_s


AGENT = """
import asyncio, sys, tempfile
from pathlib import Path
from edge_agent.clock_source import Clock
from edge_agent.enrol import load_or_create
from edge_agent.outbox.writer import OutboxWriter
from edge_agent.sync import Syncer, SyncSettings
from tests.bench.bench_outbox import count, rss_mb
async def main():
    with tempfile.TemporaryDirectory() as folder:
        clock = Clock()
        async with OutboxWriter(Path(folder) / "outbox.db", clock) as writer:
            Syncer(writer, SyncSettings("https://localhost:9"), load_or_create(Path(folder), "x"), clock)
            for serial in range(20_000):
                await writer.put(count(serial), clock.stamp())
                if serial % 200 == 0:
                    await writer.flush()
            print(rss_mb())
asyncio.run(main())
"""


def main() -> None:
    """All figures."""
    alone = life_bytes(1, 1, 200)
    report.plain("written per record: 1 per commit, each sent at once", alone, "B")
    usual = life_bytes(2, 10, SPAN_S)
    report.limit("  at 2 records/s and defaults (commit 1 s, batch 10 s)", usual, 4096, "B")
    report.plain("    that is per day", usual * DAY_RECORDS / 1e6, "MB")
    report.plain("  at 2 records/s, commit every 5 s", life_bytes(10, 2, SPAN_S), "B")
    report.limit("  at 50 per commit", life_bytes(50, 2, SPAN_S), 512, "B")
    report.plain("  at 200 per commit", life_bytes(200, 1, SPAN_S), "B")
    raw = fsyncs_per_s()
    report.peer("commits of 1 record", commits_per_s(1, 300), raw, "/s", at_least=0.3)
    report.peer("commits of 50 records", commits_per_s(50, 200), raw, "/s", at_least=0.2)
    report.plain("a day's backlog is given out at", with_outbox(drain_a_day), "records/s")
    agent = subprocess.run([sys.executable, "-c", AGENT], check=True, capture_output=True, text=True)
    report.limit("RSS of outbox, writer and sync in one process", float(agent.stdout), 60, "MB")


if __name__ == "__main__":
    main()
