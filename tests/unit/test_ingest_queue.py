"""The queue: bounded, and one group at a time for each stream."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from uuid import UUID, uuid4

import msgspec

from collector.identity.device_tokens import Device
from collector.ingest.queue import BatchQueue, Limits, Request
from common.batch import Batch, ClockState

A, B = uuid4(), uuid4()
EPOCH = uuid4()


def request(device: UUID, first_seq: int, *, n_records: int = 1, size_bytes: int = 10) -> Request:
    raws = [msgspec.Raw(json.dumps(["x", first_seq]).encode())] * n_records
    batch = Batch(device, "agent", EPOCH, first_seq, 0, ClockState(synced=True), raws)
    return Request(Device(device, b""), batch, size_bytes, float(first_seq), asyncio.Future())


def run(scenario: Callable[[BatchQueue], Awaitable[None]], limits: Limits | None = None) -> None:
    async def main() -> None:
        await scenario(BatchQueue(limits or Limits()))

    asyncio.run(main())


def seqs(group: list[Request]) -> list[tuple[UUID, int]]:
    return [(r.device.id, r.batch.first_seq) for r in group]


def test_a_group_takes_all_that_waits_in_order() -> None:
    async def scenario(queue: BatchQueue) -> None:
        for made in (request(A, 1), request(B, 1), request(A, 2)):
            assert queue.put(made)
        assert seqs(await queue.take()) == [(A, 1), (B, 1), (A, 2)]

    run(scenario)


def test_a_stream_is_in_one_group_at_a_time() -> None:
    async def scenario(queue: BatchQueue) -> None:
        queue.put(request(A, 1))
        first = await queue.take()
        queue.put(request(A, 2))
        queue.put(request(A, 3))
        queue.put(request(B, 1))
        assert seqs(await queue.take()) == [(B, 1)]
        queue.release(first)
        assert seqs(await queue.take()) == [(A, 2), (A, 3)]

    run(scenario)


def test_a_stream_that_becomes_busy_while_it_waits_is_parked() -> None:
    async def scenario(queue: BatchQueue) -> None:
        for seq in (1, 2, 3):
            queue.put(request(A, seq))
        first = await queue.take()
        assert seqs(first) == [(A, 1)]
        waiting = asyncio.ensure_future(queue.take())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert not waiting.done()
        queue.release(first)
        assert seqs(await waiting) == [(A, 2)]

    run(scenario, Limits(group_requests=1))


def test_a_full_queue_takes_no_more_until_a_group_is_released() -> None:
    async def scenario(queue: BatchQueue) -> None:
        assert queue.put(request(A, 1))
        assert queue.put(request(B, 1))
        assert not queue.put(request(B, 2))
        group = await queue.take()
        assert not queue.put(request(B, 2))
        queue.release(group)
        assert queue.put(request(B, 2))
        assert queue.n_requests == 1

    run(scenario, Limits(queue_requests=2))


def test_bytes_bound_the_queue_and_records_the_group() -> None:
    async def scenario(queue: BatchQueue) -> None:
        assert queue.put(request(A, 1, n_records=30, size_bytes=60))
        assert queue.put(request(B, 1, n_records=1, size_bytes=40))
        assert not queue.put(request(B, 2, size_bytes=1))
        assert queue.load == 1.0
        assert seqs(await queue.take()) == [(A, 1)]

    run(scenario, Limits(queue_bytes=100, group_records=20))


def test_the_longest_wait_is_told() -> None:
    async def scenario(queue: BatchQueue) -> None:
        assert queue.oldest_wait_s(100.0) == 0.0
        queue.put(request(A, 7))
        queue.put(request(B, 9))
        assert queue.oldest_wait_s(10.0) == 3.0

    run(scenario)
