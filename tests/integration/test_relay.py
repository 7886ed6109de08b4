"""Live events between workers through a real Redis or Valkey: order, ids, and what breaks on the way."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from uuid import uuid4

from collector.realtime.events import Delivery, Filter, Light, LiveMode
from collector.realtime.hub import Event, Hub, Subscription
from collector.realtime.relay import STREAM_KEY, Relay
from common.codes import Direction, Via
from common.records import Count, Cycle, LaneCycle, Log, Occupancy, SignalEvent
from tests.servers.redis import RedisServer

_PATIENCE_S = 60.0
AT = 1_800_000_000_000
EVERYTHING = Filter(lights=True)


class Worker:
    """A hub and its relay, as a worker has them."""

    def __init__(self, url: str, *, ring_events: int = 20_000) -> None:
        self.hub = Hub(ring_events=ring_events)
        self.relay = Relay(url, self.hub, ring_events=ring_events)

    def tell(self, *numbers: int) -> None:
        for number in numbers:
            count = Count(number + 1, AT + number, 0, "north", "line", Via.CAMERA, "car", Direction.IN)
            self.relay.publish(Delivery(DEVICE, JUNCTION, [count], [SOURCE]))


DEVICE, JUNCTION, SOURCE = uuid4(), uuid4(), uuid4()


@asynccontextmanager
async def working(server: RedisServer, n: int = 2, **options: int) -> AsyncIterator[list[Worker]]:
    """Workers that follow the server."""
    workers = [Worker(server.url, **options) for _ in range(n)]
    async with AsyncExitStack() as stack:
        for worker in workers:
            running = asyncio.create_task(worker.relay.run())
            stack.push_async_callback(_end, running)
            assert await worker.relay.until_it_follows(_PATIENCE_S)
        await settled(workers, server)
        yield workers


async def _end(running: "asyncio.Task[None]") -> None:
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def settled(workers: list[Worker], server: RedisServer) -> None:
    """Wait until all have told all, and have heard all of it."""

    def is_settled() -> bool:
        if any(worker.hub.is_paused or not worker.relay.has_told_all for worker in workers):
            return False
        told = server.command(f"HGET {STREAM_KEY}:head n").split()[1]
        return {worker.hub.last_n for worker in workers} == {int(told)}

    await until(is_settled)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(_PATIENCE_S):
        while not condition():
            await asyncio.sleep(0.01)


async def hear(subscription: Subscription, n: int = 1) -> list[Event]:
    """At least `n` events."""
    heard: list[Event] = []
    while len(heard) < n:
        got = await subscription.read(_PATIENCE_S)
        assert got, "nothing comes"
        heard += got
    return heard


def told(events: list[Event]) -> list[int | str]:
    """Numbers of counts, and the names of what else came."""
    return [event.data.at - AT if event.data else event.kind for event in events]


def test_all_workers_tell_the_same_in_the_same_order_under_the_same_ids(redis_server: RedisServer) -> None:
    async def run() -> None:
        async with working(redis_server, 3) as (a, b, c):
            listeners = [worker.hub.subscribe(EVERYTHING) for worker in (a, b, c)]
            for number in range(0, 200, 2):
                a.tell(number)
                b.tell(number + 1)
                await asyncio.sleep(0)
            heard = [await hear(listener, 200) for listener in listeners]
            assert heard[0] == heard[1] == heard[2]
            assert sorted(told(heard[0]), key=int) == list(range(200))
            numbers = [int(event.id.rpartition("-")[2]) for event in heard[0]]
            assert numbers == list(range(numbers[0], numbers[0] + 200))
            # Back on another worker, in the middle.
            resumed = c.hub.subscribe(EVERYTHING, heard[0][99].id)
            assert await hear(resumed, 100) == heard[0][100:]
            # And on one that was not there yet.
            async with working(redis_server, 1) as (late,):
                assert told(await hear(late.hub.subscribe(EVERYTHING, heard[0][99].id))) == ["reset"]

    asyncio.run(run())


def test_a_worker_that_begins_knows_what_was_told_before(redis_server: RedisServer) -> None:
    async def run() -> None:
        async with working(redis_server, 1) as (first,):
            listener = first.hub.subscribe(EVERYTHING)
            first.tell(*range(10))
            ids = [event.id for event in await hear(listener, 10)]
            late = Worker(redis_server.url)
            late.relay._owes_mark = False  # as if it had no predecessor whose mark it has to set
            running = asyncio.create_task(late.relay.run())
            assert await late.relay.until_it_follows(_PATIENCE_S)
            assert told(await hear(late.hub.subscribe(EVERYTHING, ids[3]), 6)) == [4, 5, 6, 7, 8, 9]
            await _end(running)

    asyncio.run(run())


def test_every_kind_of_event_survives_the_way(redis_server: RedisServer) -> None:
    passage = Count(1, AT, 0, "gate", "gate", Via.RFID, "object", Direction.IN, track="E2003412")
    lanes = [LaneCycle("north", None, 20.0, 3.0, 38.0, epcs=["E2003412"])]
    lights: list[Light] = [
        SignalEvent(3, AT + 3, 0, "x", 8, 4),
        Cycle(5, AT + 5, 1, "x", 61.0, "automatic", "adaptive", lanes),
        Occupancy(6, AT + 6, 0, "cam", "zone", 5000, 2.5, 4, 3, n_standing=2),
        Log(7, AT + 7, 0, "error", "camera_lost", "the picture is black", {"n": 2**70, "epc": "E2003412"}),
    ]
    mode = LiveMode(AT + 8, 0, JUNCTION, None, {"id": "x", "state": "applied", "cycle_s": 60.0})
    sent = Delivery(DEVICE, JUNCTION, [passage], [SOURCE], lights, [mode])

    async def run() -> None:
        async with working(redis_server) as (a, b):
            listeners = [worker.hub.subscribe(EVERYTHING) for worker in (a, b)]
            a.relay.publish(sent)
            for listener in listeners:
                assert [event.data for event in await hear(listener, 6)] == [sent.live(i) for i in range(6)]
        assert b"E2003412" not in redis_server.command(f"XRANGE {STREAM_KEY} - +"), "nobody needs it there"

    asyncio.run(run())


def test_what_cannot_travel_ends_no_relay(redis_server: RedisServer) -> None:
    async def run() -> None:
        async with working(redis_server, 1) as (worker,):
            listener = worker.hub.subscribe(EVERYTHING)
            mode = LiveMode(AT, 0, JUNCTION, None, {"n": 2**70})
            worker.relay.publish(Delivery(DEVICE, JUNCTION, modes=[mode]))
            worker.tell(7)
            assert told(await hear(listener, 2)) == ["reset", 7]

    asyncio.run(run())


def test_a_restart_of_the_server_leads_to_a_reset_and_goes_on(redis_server: RedisServer) -> None:
    async def run() -> None:
        async with working(redis_server) as (a, b):
            listeners = [worker.hub.subscribe(EVERYTHING) for worker in (a, b)]
            a.tell(1)
            before = [(await hear(listener))[0] for listener in listeners]
            redis_server.kill()
            for listener in listeners:
                assert told(await hear(listener)) == ["paused"]
            b.tell(2)  # committed while nobody can be told
            redis_server.start()
            await settled([a, b], redis_server)
            a.tell(3)
            for listener in listeners:
                heard = told(await hear(listener))
                while heard[-1] != 3:
                    heard += told(await hear(listener))
                assert heard[0] == "reset"
                assert 2 not in heard
            back = b.hub.subscribe(EVERYTHING, before[0].id)
            assert told(await hear(back))[0] == "reset"

    asyncio.run(run())


def test_a_server_that_is_emptied_leads_to_a_reset(redis_server: RedisServer) -> None:
    async def run() -> None:
        async with working(redis_server) as (a, b):
            a.tell(*range(50))
            listener = b.hub.subscribe(EVERYTHING)
            await until(lambda: a.hub.last_id == b.hub.last_id)
            await listener.read(0.0)
            assert redis_server.command("FLUSHALL").startswith(b"+OK")
            a.tell(51)
            heard = told(await hear(listener))
            while "reset" not in heard:
                heard += told(await hear(listener))
            await settled([a, b], redis_server)
            await listener.read(0.0)
            a.tell(52)
            assert told(await hear(listener)) == [52]

    asyncio.run(run())


def test_a_server_that_takes_nothing_is_told_to_listeners(redis_server: RedisServer) -> None:
    async def run() -> None:
        async with working(redis_server) as (a, b):
            listeners = [worker.hub.subscribe(EVERYTHING) for worker in (a, b)]
            redis_server.command("CONFIG SET maxmemory 1")
            a.tell(1)
            assert told(await hear(listeners[0])) == ["paused"]
            redis_server.command("CONFIG SET maxmemory 0")
            for listener in listeners:
                assert told(await hear(listener)) == ["reset"]
            # Each worker resets those of both: a second one may be on its way.
            await settled([a, b], redis_server)
            await listeners[1].read(0.0)
            a.tell(2)
            assert told(await hear(listeners[1])) == [2]

    asyncio.run(run())


def test_a_server_that_hangs_is_told_to_listeners(redis_server: RedisServer) -> None:
    async def run() -> None:
        async with working(redis_server) as (a, b):
            listener = a.hub.subscribe(EVERYTHING)
            redis_server.freeze()
            a.tell(1)
            assert told(await hear(listener)) == ["paused"]
            redis_server.thaw()
            while "reset" not in told(await hear(listener)):
                pass
            await settled([a, b], redis_server)
            await listener.read(0.0)
            b.tell(2)
            assert told(await hear(listener)) == [2]

    asyncio.run(run())


def test_a_worker_that_falls_behind_the_stream_resets(redis_server: RedisServer) -> None:
    """Its entries were trimmed before it read them: here, by deleting one."""

    async def run() -> None:
        async with working(redis_server, ring_events=50) as (a, b):
            listener = b.hub.subscribe(EVERYTHING)
            n = a.hub.last_n
            redis_server.command(
                f"EVAL \"redis.call('HSET','{STREAM_KEY}:head','n',{n + 7})\" 0"
            )  # numbers that nobody will ever see
            a.tell(1)
            assert told(await hear(listener)) == ["reset"]
            a.tell(2)
            assert told(await hear(listener)) == [2]

    asyncio.run(run())


def test_what_is_kept_is_bounded(redis_server: RedisServer) -> None:
    async def run() -> None:
        async with working(redis_server, ring_events=500) as (a, b):
            for number in range(3_000):
                a.tell(number)
                if number % 100 == 0:
                    await asyncio.sleep(0)
            await until(lambda: a.hub.last_id == b.hub.last_id and a.hub.last_n >= 3_000)
            length = int(redis_server.command(f"XLEN {STREAM_KEY}").strip(b":\r\n"))
            assert 500 <= length < 800

    asyncio.run(run())
