"""The outbox behind its thread: grouping, room, and being cancelled."""

import asyncio
import threading
from pathlib import Path

import pytest

from common.clock import Anchor, Stamp
from edge_agent.app import tell_of_memory
from edge_agent.clock_source import Clock
from edge_agent.outbox import Limits, Outbox, OutboxBusy
from edge_agent.outbox.writer import OutboxWriter, WriterSettings
from tests.outbox_model import ModelCollector, count, frames, stamp_at

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class SteadyClock:
    """A clock that tests set."""

    def __init__(self) -> None:
        self.t_s = 1.0

    def stamp(self) -> Stamp:
        self.t_s += 0.001
        return stamp_at(self.t_s)

    def anchor(self) -> Anchor | None:
        return None


async def drain(writer: OutboxWriter, collector: ModelCollector) -> None:
    while True:
        epoch = await writer.contact_due()
        if epoch is not None:
            await writer.reconcile(epoch, collector.watermark(epoch))
        batch = await writer.next_batch(500, 10**6)
        if batch is None:
            return
        await writer.ack(batch.epoch, collector.receive(batch))


def reopened(path: Path) -> int:
    """How many records are on the disk."""
    outbox = Outbox.open(path, stamp_at(9999))
    try:
        return outbox.stats().waiting
    finally:
        outbox.close()


async def test_records_are_committed_in_groups_and_delivered(tmp_path: Path) -> None:
    collector, clock = ModelCollector(), SteadyClock()
    settings = WriterSettings(commit_interval_s=60, commit_records=100)
    async with OutboxWriter(tmp_path / "o.db", clock, settings=settings) as writer:
        task = asyncio.create_task(writer.run())
        for serial in range(1, 100):
            await writer.put(count(serial), clock.stamp())
        assert (await writer.stats()).uncommitted == 99
        writer.put_nowait(count(100), clock.stamp())
        await writer.wait_for_commit(0)
        assert (await writer.stats()).uncommitted == 0
        await drain(writer, collector)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    collector.check()
    assert len(collector.stored()) == 100


async def test_a_single_record_is_committed_after_the_interval(tmp_path: Path) -> None:
    clock = SteadyClock()
    settings = WriterSettings(commit_interval_s=0.02)
    async with OutboxWriter(tmp_path / "o.db", clock, settings=settings) as writer:
        task = asyncio.create_task(writer.run())
        await writer.put(count(1), clock.stamp())
        async with asyncio.timeout(10):
            await writer.wait_for_commit(0)
        assert (await writer.stats()).uncommitted == 0
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_closing_commits_what_was_put(tmp_path: Path) -> None:
    clock = SteadyClock()
    async with OutboxWriter(tmp_path / "o.db", clock) as writer:
        for serial in range(50):
            await writer.put(count(serial), clock.stamp())
    await writer.close()
    assert reopened(tmp_path / "o.db") == 50


async def test_a_cancelled_flush_loses_nothing(tmp_path: Path) -> None:
    clock = SteadyClock()
    async with OutboxWriter(tmp_path / "o.db", clock) as writer:
        gate = threading.Event()
        blocked = writer._submit(gate.wait)
        await writer.put(count(1), clock.stamp())
        flush = asyncio.create_task(writer.flush())
        await asyncio.sleep(0)
        flush.cancel()
        await asyncio.gather(flush, return_exceptions=True)
        gate.set()
        await blocked
    assert reopened(tmp_path / "o.db") == 1


async def test_while_the_disk_is_slow_frames_wait_and_counts_do_not(tmp_path: Path) -> None:
    clock = SteadyClock()
    settings = WriterSettings(buffer_bytes=20_000)
    async with OutboxWriter(tmp_path / "o.db", clock, settings=settings) as writer:
        gate = threading.Event()
        blocked = writer._submit(gate.wait)
        serial = 0
        while writer._room.is_set():
            serial += 1
            writer.put_nowait(frames(serial), clock.stamp())
        waiting = asyncio.create_task(writer.put(frames(10_000), clock.stamp()))
        await asyncio.sleep(0)
        assert not waiting.done()
        n_counts = 300
        for index in range(n_counts):
            await writer.put(count(20_000 + index), clock.stamp())
            assert writer._buffer_bytes <= 20_000
        gate.set()
        await blocked
        await writer.flush()
        await waiting
        await writer.flush()
        stats = await writer.stats()
        assert stats.waiting == serial + 1 + n_counts
        assert stats.dropped > 0
        collector = ModelCollector()
        await drain(writer, collector)
    collector.check()
    assert collector.lost() == stats.dropped
    assert len(collector.stored()) + collector.lost() == serial + 1 + n_counts


async def test_a_second_agent_cannot_enter(tmp_path: Path) -> None:
    async with OutboxWriter(tmp_path / "o.db", SteadyClock()):
        with pytest.raises(OutboxBusy):
            await OutboxWriter(tmp_path / "o.db", SteadyClock()).__aenter__()


async def test_a_disk_that_comes_back_is_used_again_without_new_records(tmp_path: Path) -> None:
    clock = SteadyClock()
    settings = WriterSettings(commit_interval_s=0.01)
    async with OutboxWriter(tmp_path / "o.db", clock, Limits(), settings) as writer:
        await writer.put(count(1), clock.stamp())
        await writer.flush()
        db = writer._open()._file._db
        await writer._call(db.execute, "PRAGMA query_only=1")
        task = asyncio.create_task(writer.run())
        await writer.put(count(2), clock.stamp())
        while (await writer.stats()).trouble is None:
            await asyncio.sleep(0.01)
        assert not (await writer.stats()).durable
        await writer._call(db.execute, "PRAGMA query_only=0")
        async with asyncio.timeout(10):
            while (await writer.stats()).uncommitted:
                await asyncio.sleep(0.01)
        assert (await writer.stats()).durable
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_from_memory_it_returns_to_the_disk_within_a_minute(tmp_path: Path) -> None:
    clock, folder = SteadyClock(), tmp_path / "folder"
    folder.write_text("in the way")
    async with OutboxWriter(folder / "o.db", clock) as writer:
        await writer.put(count(1), clock.stamp())
        assert not await writer.flush()
        folder.unlink()
        assert not await writer.flush()
        clock.t_s += 61
        await writer.put(count(2), clock.stamp())
        assert await writer.flush()
    assert reopened(folder / "o.db") == 3, "two counts, and the gap that tells of the time in memory"


async def test_using_it_unopened_or_closed_is_a_mistake(tmp_path: Path) -> None:
    writer = OutboxWriter(tmp_path / "o.db", SteadyClock())
    with pytest.raises(RuntimeError, match="not entered"):
        await writer.stats()
    async with writer:
        pass
    with pytest.raises(RuntimeError, match="closed"):
        await writer.contact_due()


async def test_the_collector_hears_of_an_outbox_in_memory(tmp_path: Path) -> None:
    clock = Clock()
    async with OutboxWriter(tmp_path / "o.db", clock) as writer:
        await tell_of_memory(Path("/dev/shm"), writer, clock)
        assert (await writer.stats()).waiting == 1
        await tell_of_memory(Path("/usr/lib"), writer, clock)
        assert (await writer.stats()).waiting == 1
