"""Live events between several workers: one Redis or Valkey stream that all write to and all follow.

Each worker appends what it committed, and gives to its own listeners what it reads from the stream, its own events
included: so all workers tell the same events in the same order under the same ids, and a listener may come back to
any of them.

An entry is named by the number of its last event and holds the `run` that its numbers belong to. A run ends with
the server's process, and when somebody empties the server. Nothing is kept there that the store does not have.

What can go wrong, and why no listener is left in the dark:

* The server goes away: listeners hear `paused`, and `reset` when it is followed again.
* An append fails: it may have happened or not. Nothing is sent twice; a mark follows that tells all workers to
  reset their listeners. While the server is away nothing is queued for it.
* A worker dies between its commit and its append: the one that takes its place begins with that mark.
* A worker reads so slowly that the stream's end runs away: it sees the hole in the numbers, and resets.
"""

import asyncio
import contextlib
import logging
import random
import uuid
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from collector.realtime.events import Delivery, without_tags
from collector.realtime.hub import RING_EVENTS, Hub

_log = logging.getLogger(__name__)

STREAM_KEY = "{stopline:live}"
_HEAD_KEY = "{stopline:live}:head"
_MOST_WAITING_EVENTS = 100_000
_APPENDS_AT_ONCE = 64
_READ_AT_ONCE = 256
_BLOCK_S = 3.0
"""How long one read waits for an entry, and so how often it is asked whether the run is still the same."""
_ANSWER_TIMEOUT_S = 5.0
_RETRY_S = (0.1, 0.3, 1.0, 2.0)

# KEYS: the stream, its head. ARGV: a name for a new run, how many events, how many to keep, the payload.
# The head tells the run, the number of its last event, and the server's process. If any of this is missing, or is
# of another process, a new run begins: what a former one knew may have been restored from an older state.
_APPEND = b"""
local process = string.match(redis.call('INFO', 'server'), 'run_id:(%w+)')
local head = redis.call('HMGET', KEYS[2], 'run', 'n', 'process')
local run, n = head[1], tonumber(head[2] or '0')
if not run or head[3] ~= process or redis.call('EXISTS', KEYS[1]) == 0 then
  redis.call('DEL', KEYS[1])
  run, n = ARGV[1], 0
end
local last = string.format('%.0f', n + tonumber(ARGV[2]))
local oldest = string.format('%.0f', math.max(0, n - tonumber(ARGV[3])))
redis.call('XADD', KEYS[1], 'MINID', '~', oldest, last .. '-0', 'r', run, 'd', ARGV[4])
redis.call('HSET', KEYS[2], 'run', run, 'n', last, 'process', process)
return last
"""


Server = Any
"""A `redis.asyncio.Redis`; its library is loaded only where it is used, and says little of its types."""


class _RunEnded(Exception):
    """The numbers that were followed go on no more."""


async def _answer(command: Awaitable[Any], timeout_s: float = _ANSWER_TIMEOUT_S) -> Any:
    """The server's answer; TimeoutError: there is none."""
    async with asyncio.timeout(timeout_s):
        return await command


class Relay:
    """A `Publisher` for all workers that share a server; feeds the `hub` of this one. Used by one event loop."""

    def __init__(self, url: str, hub: Hub, *, ring_events: int = RING_EVENTS) -> None:
        self._url = url
        self._hub = hub
        self._ring_events = ring_events
        self._waiting: deque[Delivery] = deque()
        self._n_waiting = 0
        self._owes_mark = True
        """Who begins does not know what its predecessor still owed."""
        self._can_append = False
        self._wake = asyncio.Event()
        self._follows = asyncio.Event()
        self._encode = msgspec.msgpack.Encoder().encode
        self._decode = msgspec.msgpack.Decoder(Delivery).decode
        hub.pause()

    def publish(self, delivery: Delivery) -> None:
        """Give what is committed to the listeners of all workers."""
        if not self._can_append:
            self._owes_mark = True
            return
        self._waiting.append(delivery)
        self._n_waiting += len(delivery)
        if self._n_waiting > _MOST_WAITING_EVENTS:
            self._give_up_waiting()
        self._wake.set()

    def lose(self) -> None:
        """Have the listeners of all workers read the store."""
        self._owes_mark = True
        self._wake.set()

    @property
    def has_told_all(self) -> bool:
        """Whether nothing waits to be appended."""
        return self._can_append and not (self._owes_mark or self._waiting)

    async def run(self) -> None:
        """Serve until cancelled. A server that is away is waited for."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._persist("append", self._append_all), name="relay-append")
            tasks.create_task(self._persist("follow", self._follow), name="relay-follow")

    async def until_it_follows(self, timeout_s: float) -> bool:
        """Wait until listeners of this worker hear of all; False: the server is away still."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._follows.wait()
        return self._follows.is_set()

    async def _persist(self, what: str, work: Callable[[Server], Awaitable[None]]) -> None:
        from redis.exceptions import RedisError

        failures = 0
        while True:
            try:
                async with self._connected() as server:
                    if failures:
                        _log.info("Live events: %s works again", what, extra={"action": "relay_back"})
                    failures = 0
                    await work(server)
            except _RunEnded:
                _log.warning("Live events begin anew on the server", extra={"action": "relay_run_ended"})
            except (RedisError, OSError, TimeoutError) as error:
                if not failures:
                    why = str(error) or "the server does not answer"
                    _log.warning("Live events: no %s: %s", what, why, extra={"action": "relay_away"})
                await asyncio.sleep(_RETRY_S[min(failures, len(_RETRY_S) - 1)] * random.uniform(0.5, 1.5))
                failures += 1

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[Server]:
        """The server, once it answers. Nothing is retried: an append that is repeated tells its events twice."""
        from redis.asyncio import Redis
        from redis.asyncio.retry import Retry
        from redis.backoff import NoBackoff

        server = Redis.from_url(
            self._url,
            protocol=2,
            retry=Retry(NoBackoff(), 0),
            # Its own timeouts go by `wait_for`, which in Python 3.11 may swallow that we are cancelled.
            socket_timeout=None,
            socket_connect_timeout=None,
            socket_keepalive=True,
        )
        try:
            await _answer(server.ping())
            yield server
        finally:
            await server.aclose()

    # To the server

    async def _append_all(self, server: Server) -> None:
        try:
            await self._pay_mark(server)
            self._can_append = True
            while True:
                self._wake.clear()
                while self._waiting or self._owes_mark:
                    await self._pay_mark(server)
                    await self._append_some(server)
                await self._wake.wait()
        finally:
            self._can_append = False
            self._give_up_waiting()
            # What is committed here is told nobody; the mark that is owed ends that.
            self._hub.pause()

    async def _append_some(self, server: Server) -> None:
        batch = [self._waiting.popleft() for _ in range(min(len(self._waiting), _APPENDS_AT_ONCE))]
        self._n_waiting -= sum(map(len, batch))
        if not batch:
            return
        try:
            async with server.pipeline(transaction=False) as pipe:
                for delivery in batch:
                    pipe.eval(*self._append(len(delivery), self._payload(delivery)))
                await _answer(pipe.execute())
        except BaseException:
            self._owes_mark = True
            raise

    def _payload(self, delivery: Delivery) -> bytes:
        """Empty: it cannot travel, as a number of more than 64 bits; listeners read the store."""
        try:
            return self._encode(without_tags(delivery))
        except (OverflowError, ValueError, TypeError) as error:
            _log.warning("Live events: one cannot be told: %s", error, extra={"action": "relay_untellable"})
            return b""

    async def _pay_mark(self, server: Server) -> None:
        if not self._owes_mark:
            return
        self._owes_mark = False
        try:
            await _answer(server.eval(*self._append(1, b"")))
        except BaseException:
            self._owes_mark = True
            raise

    def _append(self, n: int, payload: bytes) -> tuple[Any, ...]:
        return (_APPEND, 2, STREAM_KEY, _HEAD_KEY, uuid.uuid4().hex[:12], n, self._ring_events, payload)

    def _give_up_waiting(self) -> None:
        if self._waiting:
            self._waiting.clear()
            self._n_waiting = 0
            self._owes_mark = True

    # From the server

    async def _follow(self, server: Server) -> None:
        try:
            run, n = await self._head(server)
            if not run:
                await _answer(server.eval(*self._append(1, b"")))
                run, n = await self._head(server)
            await self._catch_up(server, run, n)
            if not self._can_append:
                self._hub.pause()
            self._follows.set()
            while True:
                await self._read(server, run)
        finally:
            self._follows.clear()
            self._hub.pause()

    async def _head(self, server: Server) -> tuple[str, int]:
        run, n = await _answer(server.hmget(_HEAD_KEY, ["run", "n"]))
        return (run or b"").decode(), int(n or 0)

    async def _catch_up(self, server: Server, run: str, n: int) -> None:
        """Begin after `n`, with what the stream still holds before, for those that come back."""
        entries = await _answer(server.xrange(STREAM_KEY, max=f"{n}-0"))
        ring: deque[tuple[int, Delivery]] = deque()
        before = None
        for last, of_run, delivery in map(self._entry, entries):
            if delivery is None or of_run != run or (before is not None and before != last - len(delivery)):
                ring.clear()
            if delivery is not None and of_run == run:
                ring.append((last - len(delivery) + 1, delivery))
            before = last
        if ring and before != n:
            ring.clear()
        self._hub.restart(run, n, ring)

    async def _read(self, server: Server, run: str) -> None:
        after = f"{self._hub.last_n}-0"
        reading = server.xread({STREAM_KEY: after}, count=_READ_AT_ONCE, block=round(_BLOCK_S * 1000))
        found = await _answer(reading, _BLOCK_S + _ANSWER_TIMEOUT_S)
        if not found:
            if (await self._head(server))[0] != run:
                raise _RunEnded
            return
        for last, of_run, delivery in map(self._entry, found[0][1]):
            if of_run != run:
                raise _RunEnded
            if delivery is None or last - len(delivery) != self._hub.last_n:
                self._hub.skip(last)
            else:
                self._hub.take(last - len(delivery) + 1, delivery)
        # A socket that is always ready would never let the others have their turn.
        await asyncio.sleep(0)

    def _entry(self, entry: Any) -> tuple[int, str, Delivery | None]:
        """Number of the last event, run, and the delivery; None: a mark, or what a newer release says."""
        name, fields = entry
        last = int(name.partition(b"-")[0])
        payload = fields.get(b"d", b"")
        try:
            delivery = self._decode(payload) if payload else None
        except msgspec.MsgspecError:
            delivery = None
        return last, fields.get(b"r", b"").decode(), delivery
