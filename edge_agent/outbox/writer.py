"""The outbox for asyncio code: takes records at once, makes them durable in groups, in a thread of its own.

What a power cut or a kill costs: records that were put less than `commit_interval_s` ago (1 s unless
configured) plus the time that the disk takes for one commit. SD cards take up to 250 ms, bad ones seconds. Nothing
older is lost, and nothing is ever delivered twice. `await flush()` waits until everything put before is durable.

Memory is bounded. When the disk cannot keep up, or refuses, `put` makes producers of frames, health, logs and
occupancy wait; counts, cycles and gaps are never made to wait. Beyond the bound records are dropped by class, and
tombstones tell how many.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import ParamSpec, Protocol, Self, TypeVar
from uuid import UUID

import msgspec

from common.batch import Rejection
from common.clock import Anchor, Resolved, Stamp
from common.codes import DropClass, GapReason
from common.records import Frames, Gap, Log, Record
from edge_agent.outbox import (
    STREAM,
    Contact,
    Limits,
    Outbox,
    OutboxStats,
    OutgoingBatch,
    QuarantinedRecord,
    RecordRefused,
)
from edge_agent.outbox.accounts import Account, Downtime, told
from edge_agent.outbox.entries import DROP_CLASSES, Item, Row, covered, squeeze, to_row, total_bytes

logger = logging.getLogger(__name__)

_NEVER_WAITS = frozenset({DropClass.COUNTS, DropClass.CYCLES})
_DISK_RETRY_NS = 60_000_000_000
_P = ParamSpec("_P")
_T = TypeVar("_T")


class StampClock(Protocol):
    """What the writer needs of a clock; `edge_agent.clock_source.Clock` is one."""

    def stamp(self) -> Stamp:
        """The present moment."""

    def anchor(self) -> Anchor | None:
        """What NTP says about the present moment; None: the clock is not synchronised."""


class WriterSettings(msgspec.Struct, frozen=True):
    """How records are grouped."""

    commit_interval_s: float = 1.0
    commit_records: int = 200
    buffer_bytes: int = 2 * 1024 * 1024
    """Records that wait for the thread; beyond half of it producers wait, beyond it records are dropped."""


class OutboxWriter:
    """Use as `async with OutboxWriter(...) as writer`, with `writer.run()` as a task beside it.

    All methods belong to the event loop's thread. Entering raises `OutboxBusy` where another process has the
    outbox.
    """

    def __init__(
        self,
        path: Path,
        clock: StampClock,
        limits: Limits | None = None,
        settings: WriterSettings | None = None,
        host: str | None = None,
    ) -> None:
        self._path, self._clock, self._limits, self._host = path, clock, limits, host
        self._settings = settings or WriterSettings()
        self._buffer: dict[str, list[Item]] = {}
        self._buffer_bytes = 0
        self._buffer_records = 0
        self._accounts: dict[str, Account] = {}
        self._outbox: Outbox | None = None
        self._thread: ThreadPoolExecutor | None = None
        self._was_durable = True
        self._disk_tried_ns = clock.stamp().boottime_ns
        self._something = asyncio.Event()
        self._enough = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._committed = asyncio.Condition()
        self.n_commits = 0
        """How often records came into the outbox; see `wait_for_commit`."""

    async def __aenter__(self) -> Self:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="outbox")
        try:
            self._outbox = await self._call(Outbox.open, self._path, self._clock.stamp(), self._limits, self._host)
        except BaseException:
            self._thread.shutdown()
            raise
        # What the run before did not come to tell waits already.
        self._something.set()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    # Records in

    async def put(self, record: Record, stamp: Stamp, stream: str = STREAM) -> None:
        """Take in a record; waits for room unless it is a count, a cycle or a gap.

        Raises:
            RecordRefused: it could never be delivered.
        """
        row = to_row(record, stamp)
        while not self._room.is_set() and DROP_CLASSES[row.kind] not in _NEVER_WAITS:
            await self._room.wait()
        self._take(row, stream)
        self._accounts |= told(record, stamp)

    def put_nowait(self, record: Record, stamp: Stamp, stream: str = STREAM) -> None:
        """Take in a record without waiting. When memory is full, something is dropped and told.

        Raises:
            RecordRefused: it could never be delivered.
        """
        self._take(to_row(record, stamp), stream)
        self._accounts |= told(record, stamp)

    def hold(self, sensor: str, block: Frames | None, stamp: Stamp) -> None:
        """Keep what a sensor has measured since its last block and until `stamp`, None: nothing. If this run is
        killed the next one tells it, and that nothing is known of what came after.

        It becomes durable together with the records that are put next; the disk is not written for it alone.
        """
        self._accounts[sensor] = Account(stamp, block)

    def _take(self, row: Item, stream: str) -> None:
        buffer = self._buffer.setdefault(stream, [])
        buffer.append(row)
        self._buffer_bytes += row.size_bytes
        self._buffer_records += 1
        self._something.set()
        if self._buffer_records >= self._settings.commit_records:
            self._enough.set()
        if self._buffer_bytes > self._settings.buffer_bytes // 2:
            self._room.clear()
        over_bytes = self._buffer_bytes - self._settings.buffer_bytes
        if over_bytes > 0:
            free_bytes = over_bytes + self._settings.buffer_bytes // 8
            self._buffer = {
                name: squeeze(items, free_bytes, GapReason.OUTBOX_FULL) for name, items in self._buffer.items()
            }
            self._buffer_bytes = sum(total_bytes(items) for items in self._buffer.values())

    async def take_in(
        self, source: str, numbered: Sequence[tuple[int, Record, Stamp]], stream: str = STREAM
    ) -> bool:
        """Take in what another daemon keeps until it is durable here; see `Outbox.take_in`.

        Returns:
            Whether it is. If not, the disk refuses, and it must be offered again. One that can never be delivered
            is told in the log instead.
        """
        rows = [(no, _row_or_complaint(source, record, stamp)) for no, record, stamp in numbered]
        durable = await self._call(self._open().take_in, source, rows, self._clock.stamp(), stream)
        await self._tell_committed()
        return durable

    async def known_sources(self) -> dict[str, int]:
        """See `Outbox.known_sources`."""
        return await self._call(self._open().known_sources)

    def add_anchor(self, anchor: Anchor) -> None:
        """Somebody told the time."""
        self._submit(self._open().add_anchor, anchor)
        self._something.set()

    # The thread

    async def run(self) -> None:
        """Commit in groups until cancelled."""
        while True:
            await self._something.wait()
            try:
                async with asyncio.timeout(self._settings.commit_interval_s):
                    await self._enough.wait()
            except TimeoutError:
                pass
            if not await self.flush():
                self._something.set()

    async def flush(self) -> bool:
        """Make everything that was put before durable.

        Returns:
            False where the disk refuses or there is none: the records are in memory, and `stats` tells why.
        """
        buffer, self._buffer = self._buffer, {}
        sensors, self._accounts = self._accounts, {}
        n = sum(covered(items) for items in buffer.values())
        self._buffer_bytes = self._buffer_records = 0
        self._something.clear()
        self._enough.clear()
        durable = await self._call(self._commit, buffer, sensors, self._clock.anchor())
        if self._buffer_bytes <= self._settings.buffer_bytes // 2:
            self._room.set()
        recovered, self._was_durable = durable and not self._was_durable, durable
        if n or recovered:
            await self._tell_committed()
        return durable

    async def _tell_committed(self) -> None:
        self.n_commits += 1
        async with self._committed:
            self._committed.notify_all()

    async def wait_for_commit(self, seen: int) -> None:
        """Wait until `n_commits` is more than `seen`: there may be something new to send."""
        async with self._committed:
            await self._committed.wait_for(lambda: self.n_commits > seen)

    def _commit(
        self, buffer: dict[str, list[Item]], sensors: Mapping[str, Account], anchor: Anchor | None
    ) -> bool:
        outbox = self._open()
        if outbox.in_memory:
            now = self._clock.stamp()
            if now.boottime_ns - self._disk_tried_ns > _DISK_RETRY_NS:
                self._disk_tried_ns = now.boottime_ns
                outbox.return_to_disk(now)
        for stream, items in buffer.items():
            outbox.append_items(stream, items)
        outbox.account(sensors)
        if anchor is not None:
            outbox.add_anchor(anchor)
        return outbox.commit()

    async def stats(self) -> OutboxStats:
        """How the outbox stands, with what is still on its way to it."""
        stats = await self._call(self._open().stats)
        n = sum(covered(items) for items in self._buffer.values())
        return msgspec.structs.replace(stats, waiting=stats.waiting + n, uncommitted=stats.uncommitted + n)

    async def quarantine(self) -> list[QuarantinedRecord]:
        """The newest records that were put aside, newest first."""
        return await self._call(self._open().quarantine)

    async def close(self) -> None:
        """Make everything durable, as far as the disk allows, and close. May be called twice."""
        if self._thread is None or self._outbox is None:
            return
        await self.flush()
        await self._call(self._outbox.close)
        self._thread.shutdown()
        self._thread = None

    # For the sync

    async def contact_due(self, stream: str = STREAM) -> UUID | None:
        """See `Outbox.contact_due`."""
        return await self._call(self._open().contact_due, stream)

    async def reconcile(self, epoch: UUID, watermark: int) -> Contact:
        """See `Outbox.reconcile`."""
        return await self._call(self._open().reconcile, epoch, watermark, self._clock.stamp())

    async def next_batch(self, max_records: int, max_bytes: int, stream: str = STREAM) -> OutgoingBatch | None:
        """See `Outbox.next_batch`."""
        return await self._call(self._open().next_batch, max_records, max_bytes, self._clock.stamp(), stream)

    async def ack(self, epoch: UUID, watermark: int, rejected: Sequence[Rejection] = ()) -> Contact:
        """See `Outbox.ack`."""
        contact = await self._call(self._open().ack, epoch, watermark, rejected)
        self._something.set()
        return contact

    async def give_up_on(self, epoch: UUID, seq: int, reason: GapReason, detail: str) -> None:
        """See `Outbox.give_up_on`."""
        await self._call(self._open().give_up_on, epoch, seq, reason, detail)
        self._something.set()

    async def downtimes(self, start: Stamp) -> tuple[Downtime, ...]:
        """See `Outbox.downtimes`."""
        return await self._call(self._open().downtimes, start)

    async def tell_downtime(self, downtime: Downtime, gap: Gap) -> None:
        """See `Outbox.tell_downtime`."""
        await self._call(self._open().tell_downtime, downtime, gap, self._clock.stamp())
        self._something.set()

    async def in_memory(self) -> bool:
        """See `Outbox.in_memory`."""
        return await self._call(lambda: self._open().in_memory)

    async def resolve(self, stamp: Stamp) -> Resolved:
        """When `stamp` was, as far as is known by now."""
        return await self._call(self._open().resolve, stamp, self._clock.stamp())

    async def now(self) -> Resolved:
        """What time it is, as well as the outbox knows."""
        return await self._call(self._open().now, self._clock.stamp())

    def _open(self) -> Outbox:
        if self._outbox is None:
            raise RuntimeError("the writer was not entered; use `async with OutboxWriter(...)`")
        return self._outbox

    def _submit(self, work: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> "asyncio.Future[_T]":
        if self._thread is None:
            raise RuntimeError("the writer is closed")
        return asyncio.wrap_future(self._thread.submit(work, *args, **kwargs))

    async def _call(self, work: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Run `work` in the thread. Being cancelled does not take back what the thread was given: records in it
        would be lost."""
        return await asyncio.shield(self._submit(work, *args, **kwargs))


def _row_or_complaint(source: str, record: Record, stamp: Stamp) -> Row:
    try:
        return to_row(record, stamp)
    except RecordRefused as error:
        message = f"a record of {source} cannot be delivered: {error}"
        logger.log(logging.ERROR, "%s", message, extra={"action": "record_refused"})
        return to_row(Log(1, 0, 0, "error", "record_refused", message), stamp)
