"""Group commit: many batches, one transaction, and only then all their answers.

Real batches are small, so what bounds a collector is commits per second. Writer tasks take all that waits off the
queue and store it together: one statement reads the watermarks, one COPY fills each table, one statement moves the
watermarks, one commit. Each writer has a connection of its own.

What can go wrong, and why nothing is lost or stored twice:

* A row is refused by the database: the transaction is rolled back, and the group is stored in halves, and these in
  halves. In the batch that is found so, the bad records are found likewise, and put aside as `not_storable`. A
  record that can be stored, but says something of a junction that cannot be kept, is stored without that.
* The connection breaks, also during the commit: the group is done again on a new connection. If the first commit
  did succeed, the watermarks tell so, and nothing is stored again. If that fails too, all are answered 503.
  Either way live listeners are told to read the store.
* Another collector moves a stream meanwhile, or its device is revoked: the watermarks do not move as they should,
  the transaction is rolled back, and the group is done again from what is true now.
* Whoever asked goes away, or the collector is stopped: a batch is committed whole or not at all. Its agent sends
  it again, and is told which.
"""

import asyncio
import logging
import random
import time
from collections.abc import Callable
from uuid import UUID

import psycopg

from collector.db import Queries
from collector.errors import ApiProblem, device_problem
from collector.identity.device_tokens import Device
from collector.ingest.group import GroupStore, make_ack
from collector.ingest.link import Connect, Link, SharedLink
from collector.ingest.queue import BatchQueue, Limits, Request, stream_key
from collector.ingest.settling import check_device
from collector.ingest.store import RecordRefused, StreamMoved, is_fault_of_data
from collector.ops.clock import unix_ms
from collector.ops.metrics import Metrics
from collector.realtime.hub import Publisher
from common.batch import Ack, Batch
from common.codes import ProblemCode

_log = logging.getLogger(__name__)

_ATTEMPTS = 3
_RETRY_AFTER_S = 5.0
_ASK_AGAIN_S = 0.5
_REFUSED_S = 60.0
"""So long after the last refusal it counts, if nothing was stored since. Agents try again far more often."""
_TAKES_NOTHING = ("25", "53", "58")
"""SQLSTATE classes of a database that answers, and stores nothing: it only reads, its disk is full or broken."""


class IngestWriter:
    """Stores batches. `submit` from any task of the event loop that `run` runs in."""

    def __init__(
        self,
        connect: Connect,
        questions: SharedLink,
        queries: Queries,
        publisher: Publisher,
        metrics: Metrics,
        marks_written: asyncio.Event,
        *,
        limits: Limits | None = None,
        n_writers: int = 2,
        group_timeout_s: float = 30.0,
        now_ms: Callable[[], int] = unix_ms,
    ) -> None:
        self._connect = connect
        self._questions = questions
        self._groups = GroupStore(queries, publisher, metrics, marks_written, now_ms)
        self._publisher = publisher
        self._metrics = metrics
        self._queue = BatchQueue(limits or Limits())
        self._n_writers = n_writers
        self._group_timeout_s = group_timeout_s
        self._now_ms = now_ms
        self._closed = False
        self._refused_at_s = float("-inf")

    @property
    def n_queued(self) -> int:
        """How many batches are waiting or being stored."""
        return self._queue.n_requests

    def oldest_wait_s(self) -> float:
        """For how long the batch that waits longest has been waiting. A sound writer keeps this short."""
        return self._queue.oldest_wait_s(time.monotonic())

    @property
    def is_refused(self) -> bool:
        """Whether the database answers, and does not store what it is given, whatever that is."""
        return time.monotonic() - self._refused_at_s < _REFUSED_S

    async def submit(self, device: Device, batch: Batch, size_bytes: int, *, turn: int | None = None) -> Ack:
        """Store a batch; returns when it is committed. `size_bytes` is its decompressed size.

        Raises ApiProblem: all that `common.batch` lists from 403 on; or, of a bridge, that it is not its `turn`.
        """
        if self._closed:
            raise _unavailable("the collector is stopping")
        answer: asyncio.Future[Ack | ApiProblem] = asyncio.get_running_loop().create_future()
        if not self._queue.put(Request(device, batch, size_bytes, time.monotonic(), answer, turn)):
            detail = f"{self.n_queued} batches are waiting already"
            raise device_problem(ProblemCode.OVERLOADED, detail, retry_after_s=_retry_after_s())
        settled = await answer
        if isinstance(settled, ApiProblem):
            raise settled
        return settled

    async def watermark(self, device: Device, stream: str, epoch: UUID) -> Ack:
        """Where a stream stands, read from the database. ApiProblem if that fails, or if the device may not."""
        key = stream_key(device.id, stream, epoch)
        try:
            state = await self._questions.ask(lambda c: self._groups.watermark(c, key))
        except (psycopg.Error, TimeoutError) as error:
            raise _unavailable(str(error)) from error
        check_device(device, state)
        return make_ack(epoch, state.watermark, self._now_ms(), self._queue.load, [])

    async def run(self) -> None:
        """Serve until cancelled. What waits then is answered 503."""
        async with asyncio.TaskGroup() as tasks:
            for number in range(self._n_writers):
                tasks.create_task(self._work(), name=f"ingest-writer-{number}")
            tasks.create_task(self._make_good(), name="ingest-make-good")

    async def drain(self, timeout_s: float) -> None:
        """Take no more batches in, and wait until those that wait are stored, for `timeout_s` at most."""
        self._closed = True
        deadline_s = time.monotonic() + timeout_s
        while self.n_queued and time.monotonic() < deadline_s:
            await asyncio.sleep(0.01)

    async def _work(self) -> None:
        async with Link(self._connect) as link:
            while True:
                group = await self._queue.take()
                started_s = time.monotonic()
                try:
                    if await self._serve(link, group):
                        self._metrics.commit_s.observe(time.monotonic() - started_s)
                    else:
                        self._metrics.store_failures.inc()
                finally:
                    for request in group:
                        request.settle(_unavailable("the database could not store the batch now"))
                    self._queue.release(group)

    async def _make_good(self) -> None:
        """After a commit of unknown outcome: have listeners read the store, once it is known there."""
        while True:
            await self._groups.doubt.wait()
            try:
                await self._questions.ask(self._groups.settle_doubt)
            except (psycopg.Error, TimeoutError):
                self._groups.doubt.set()
                await asyncio.sleep(_ASK_AGAIN_S)
                continue
            self._publisher.lose()

    async def _serve(self, link: Link, group: list[Request]) -> bool:
        """Store a group, again if need be. False: what has no answer yet could not be stored."""
        for _ in range(_ATTEMPTS):
            waiting = [request for request in group if not request.answer.done()]
            try:
                async with asyncio.timeout(self._group_timeout_s):
                    await self._groups.store(await link.get(), waiting, self._queue.load)
                self._refused_at_s = float("-inf")
                return True
            except StreamMoved as moved:
                _log.info("Storing a group again: %s", moved, extra={"action": "ingest_moved"})
            except (psycopg.Error, RecordRefused) as error:
                _log.warning("A group was not stored: %s", error, extra={"action": "ingest_store_failed"})
                if isinstance(error, psycopg.Error) and (error.sqlstate or "")[:2] in _TAKES_NOTHING:
                    self._refused_at_s = time.monotonic()
                was_connected = await self._disconnect(link)
                if isinstance(error, RecordRefused) or is_fault_of_data(error):
                    return await self._serve_singly(link, waiting)
                if not was_connected:
                    return False
            except TimeoutError:
                _log.warning("A group was not stored in time", extra={"action": "ingest_store_timeout"})
                await self._disconnect(link)
                return False
            except Exception:  # noqa: BLE001 - supervises the writers: one batch must not end them all
                _log.exception("A group failed for no known reason", extra={"action": "ingest_failed"})
                await self._disconnect(link)
                return await self._serve_singly(link, waiting)
        return False

    async def _serve_singly(self, link: Link, group: list[Request]) -> bool:
        """So that a batch which nothing was prepared for harms no other."""
        if len(group) < 2:
            return False
        return all([await self._serve(link, [request]) for request in group])

    async def _disconnect(self, link: Link) -> bool:
        """Give a doubtful connection up; False: there was none."""
        self._groups.forget()
        return await link.drop()


def _unavailable(why: str) -> ApiProblem:
    return device_problem(
        ProblemCode.STORE_UNAVAILABLE,
        f"nothing was stored: {why}; keep the batch and send it again",
        retry_after_s=_retry_after_s(),
    )


def _retry_after_s() -> float:
    """Spread, so that a fleet does not come back at once."""
    return round(_RETRY_AFTER_S * random.uniform(0.5, 1.5), 1)
