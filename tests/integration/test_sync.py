"""The agent's outbox and sync against the real collector and database, over a link that misbehaves."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from common.clock import Stamp
from common.codes import Direction, GapReason, Via
from common.records import Count, Log
from edge_agent.clock_source import Clock
from edge_agent.enrol import Identity, load_or_create
from edge_agent.outbox import Limits
from edge_agent.outbox.writer import OutboxWriter, WriterSettings
from edge_agent.sync import Syncer, SyncSettings
from tests.integration.ingest_helpers import rows
from tests.servers.collector import running_collector
from tests.servers.proxy import LossyProxy

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def identity(tmp_path: Path) -> Identity:
    return load_or_create(tmp_path / "identity", "pi-1")


def enrol(dsn: str, identity: Identity) -> None:
    with psycopg.connect(dsn) as connection:
        connection.execute(
            "INSERT INTO edge_devices (id, name, public_key) VALUES (%s, 'pi-1', %s)",
            (identity.device, identity.key.public_key().public_bytes_raw()),
        )


class Agent:
    def __init__(self, writer: OutboxWriter, syncer: Syncer) -> None:
        self.writer, self.syncer, self.clock = writer, syncer, Clock()

    async def make(self, first: int, n: int) -> None:
        for serial in range(first, first + n):
            await self.writer.put(count(serial), self.clock.stamp())

    async def until_empty(self) -> None:
        await self.writer.flush()
        async with asyncio.timeout(60):
            while (await self.writer.stats()).waiting:
                await asyncio.sleep(0.01)


def count(serial: int) -> Count:
    return Count(1, 0, 0, "cam", "line", Via.CAMERA, "car", Direction.IN, 0.5, f"n{serial}")


@asynccontextmanager
async def running(
    folder: Path, identity: Identity, url: str, limits: Limits | None = None, host: str | None = None
) -> AsyncIterator[Agent]:
    clock = Clock()
    settings = WriterSettings(commit_interval_s=0.01)
    async with OutboxWriter(folder / "outbox.db", clock, limits, settings, host) as writer:
        syncer = Syncer(writer, SyncSettings(url, send_interval_s=0.0), identity, clock)
        wait_after = syncer._wait_after
        # The waits are right and tested elsewhere; here they would only take time.
        syncer._wait_after = lambda *told: min(wait_after(*told), 0.05)  # type: ignore[method-assign]
        tasks = [asyncio.create_task(writer.run()), asyncio.create_task(syncer.run())]
        try:
            yield Agent(writer, syncer)
        finally:
            for task in tasks:
                task.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
            assert all(isinstance(result, asyncio.CancelledError) for result in results), results


def tracks(dsn: str) -> list[str]:
    return [row["track"] for row in rows(dsn, "SELECT track FROM count_events ORDER BY stream_no, seq")]


def books(dsn: str) -> list[dict[str, Any]]:
    """One row per epoch, in the order of first contact."""
    return rows(
        dsn,
        "SELECT last_seq, stored, rejected, lost FROM ingest_streams WHERE last_seq > 0"
        " ORDER BY first_received_at",
    )


async def test_answers_lost_after_the_commit_double_nothing(
    tmp_path: Path, dsn: str, identity: Identity, lossy_proxy: Callable[[int], LossyProxy]
) -> None:
    """The agent is restarted, the link is cut, and answers are lost after the collector has committed."""
    enrol(dsn, identity)
    rng = random.Random(3)
    serial = 1
    with running_collector(dsn) as collector:
        proxy = lossy_proxy(collector.port)
        for round_no in range(10):
            async with running(tmp_path, identity, f"http://127.0.0.1:{proxy.port}") as agent:
                for _ in range(4):
                    to_lose = rng.randint(0, 3)
                    n_lost = proxy.n_lost + to_lose
                    proxy.lose_answers(to_lose)
                    n = rng.randint(1, 60)
                    await agent.make(serial, n)
                    serial += n
                    await agent.writer.flush()
                    await asyncio.to_thread(proxy.wait_until_lost, n_lost)
                    if rng.random() < 0.3:
                        await asyncio.to_thread(proxy.cut)
                        await agent.make(serial, 1)
                        serial += 1
                        proxy.restore()
                if round_no == 9:
                    await agent.until_empty()
        assert proxy.n_lost > 10
    assert tracks(dsn) == [f"n{number}" for number in range(1, serial)]
    assert books(dsn) == [{"last_seq": serial - 1, "stored": serial - 1, "rejected": 0, "lost": 0}]


async def test_a_device_that_is_added_later_loses_nothing(tmp_path: Path, dsn: str, identity: Identity) -> None:
    with running_collector(dsn) as collector:
        async with running(tmp_path, identity, collector.url) as agent:
            await agent.make(1, 30)
            async with asyncio.timeout(20):
                while agent.syncer.state.trouble is None:
                    await asyncio.sleep(0.01)
            assert "does not know this device" in agent.syncer.state.trouble.what
            await asyncio.to_thread(enrol, dsn, identity)
            await agent.until_empty()
    assert len(tracks(dsn)) == 30


async def test_a_database_put_back_is_told_what_it_lost(tmp_path: Path, dsn: str, identity: Identity) -> None:
    enrol(dsn, identity)
    with running_collector(dsn) as collector:
        async with running(tmp_path, identity, collector.url) as agent:
            await agent.make(1, 20)
            await agent.until_empty()
            with psycopg.connect(dsn) as connection:
                connection.execute("DELETE FROM count_events WHERE seq > 5")
                connection.execute("UPDATE ingest_streams SET last_seq = 5, stored = 5")
            await agent.make(21, 10)
            await agent.until_empty()
    assert tracks(dsn) == [f"n{serial}" for serial in (*range(1, 6), *range(21, 31))]
    assert books(dsn) == [{"last_seq": 30, "stored": 15, "rejected": 0, "lost": 15}]
    (gap,) = rows(dsn, "SELECT reason, from_seq, seq FROM ingest_gaps")
    assert gap == {"reason": GapReason.COLLECTOR_LOST.value, "from_seq": 6, "seq": 20}


async def test_a_card_put_back_gets_a_new_epoch_and_loses_nothing_new(
    tmp_path: Path, dsn: str, identity: Identity
) -> None:
    enrol(dsn, identity)
    with running_collector(dsn) as collector:
        async with running(tmp_path, identity, collector.url) as agent:
            await agent.make(1, 20)
            await agent.until_empty()
        image = (tmp_path / "outbox.db").read_bytes()
        async with running(tmp_path, identity, collector.url) as agent:
            await agent.make(21, 20)
            await agent.until_empty()
        (tmp_path / "outbox.db").write_bytes(image)
        async with running(tmp_path, identity, collector.url) as agent:
            await agent.make(41, 10)
            await agent.until_empty()
    assert tracks(dsn) == [f"n{serial}" for serial in range(1, 51)]
    assert [row["stored"] for row in books(dsn)] == [40, 10]


async def test_what_a_full_outbox_dropped_is_in_the_collectors_books(
    tmp_path: Path, dsn: str, identity: Identity
) -> None:
    enrol(dsn, identity)
    n_logs, n_counts = 12_000, 0
    async with running(tmp_path, identity, "http://127.0.0.1:9", Limits(cap_bytes=4 * 1024 * 1024)) as agent:
        for index in range(n_logs):
            await agent.writer.put(Log(1, 0, 0, "info", "test", "x" * 300), agent.clock.stamp())
            if index % 20 == 0:
                n_counts += 1
                await agent.make(n_counts, 1)
        await agent.writer.flush()
        dropped = (await agent.writer.stats()).dropped
        assert dropped > 0
    with running_collector(dsn) as collector:
        async with running(tmp_path, identity, collector.url) as agent:
            await agent.until_empty()
    (book,) = books(dsn)
    assert book["last_seq"] == n_logs + n_counts
    assert book["lost"] == dropped
    assert book["stored"] + book["lost"] == book["last_seq"]
    assert tracks(dsn) == [f"n{serial}" for serial in range(1, n_counts + 1)]


async def test_a_days_backlog_drains_in_batches_the_collector_takes(
    tmp_path: Path, dsn: str, identity: Identity
) -> None:
    enrol(dsn, identity)
    async with OutboxWriter(
        tmp_path / "outbox.db", Clock(), settings=WriterSettings(buffer_bytes=10**8)
    ) as writer:
        clock = Clock()
        now = clock.stamp()
        for serial in range(20_000):
            writer.put_nowait(count(serial), Stamp(now.boot_id, now.boottime_ns, now.wall_ms, synced=True))
    with running_collector(dsn) as collector:
        async with running(tmp_path, identity, collector.url) as agent:
            await agent.until_empty()
            assert agent.syncer.state.trouble is None
    assert tracks(dsn) == [f"n{serial}" for serial in range(20_000)]
