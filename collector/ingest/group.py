"""Storing one group of batches with one commit, on a connection that the writer holds.

Two ways lead back to the beginning without a trace: StreamMoved (do it again) and psycopg's errors (do it again on
a new connection). A row that the database refuses is no such way: it is found, and put aside.
"""

import asyncio
import random
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from uuid import UUID

from collector.db import Queries
from collector.errors import ApiProblem, device_problem
from collector.ingest.link import Connection
from collector.ingest.names import MAX_NAMES_PER_DEVICE, Names, Unknown
from collector.ingest.queue import Request, StreamKey
from collector.ingest.settling import Advance, Settled, StreamState, check_device, is_resend, refuse, settle
from collector.ingest.store import MAX_STREAMS_PER_DEVICE, News, RecordRefused, Store, StreamMoved
from collector.ingest.tables import Rows, build_rows
from collector.ops.metrics import Metrics
from collector.realtime.events import Delivery
from collector.realtime.hub import Publisher
from collector.remote.commands import CommandItem
from collector.remote.news import news_of
from collector.remote.results import first_results
from common.batch import Ack, Pace, Rejection
from common.codes import ProblemCode

_BREATHER_RECORDS = 2_000
"""After so many records the event loop gets its turn."""
_PACE_RECORDS = 1_000
_PACE_BYTES = 512 * 1024
_PACE_FROM_LOAD = 0.25
_PACE_FULL_MS = 10_000
"""Mean pause that is asked for when the queue is full."""


@dataclass(slots=True)
class _Work:
    """A batch with something new in it."""

    request: Request
    stream_no: int
    junction: UUID | None
    settled: Settled
    rows: Rows = field(init=False)


@dataclass(slots=True)
class _Plan:
    """What a group becomes: what to store, and what to answer once that is committed."""

    works: list[_Work] = field(default_factory=list)
    acks: list[tuple[Request, int, Settled | None]] = field(default_factory=list)
    """The stream's watermark after each batch; None: all of it was known already."""
    problems: list[tuple[Request, ApiProblem]] = field(default_factory=list)
    n_duplicates: int = 0
    commands: list[CommandItem] = field(default_factory=list)
    """Those that it has settled."""


class GroupStore:
    """Stores groups and answers them. Several writers may use one, each with its own connection."""

    def __init__(
        self,
        queries: Queries,
        publisher: Publisher,
        metrics: Metrics,
        marks_written: asyncio.Event,
        now_ms: Callable[[], int],
    ) -> None:
        self._store = Store(queries)
        self._names = Names(queries)
        self._publisher = publisher
        self._metrics = metrics
        self._marks_written = marks_written
        self._now_ms = now_ms
        self.doubt = asyncio.Event()
        """Set when it is not known whether a commit took place. If it did, nobody is told of its records: the next
        attempt takes them for known ones."""
        self._doubtful: set[int] = set()
        """Streams of such commits."""

    def forget(self) -> None:
        """A connection broke: what was known of the database may hold no longer with the next one."""
        self._names.forget()

    async def settle_doubt(self, connection: Connection) -> None:
        """Wait until such commits have taken place or never will."""
        self.doubt.clear()
        streams = sorted(self._doubtful)
        await self._store.await_streams(connection, streams)
        self._doubtful.difference_update(streams)

    async def watermark(self, connection: Connection, key: StreamKey) -> StreamState:
        """Where one stream stands."""
        return (await self._store.read_streams(connection, [key]))[key]

    async def store(self, connection: Connection, group: list[Request], load: float) -> None:
        """Store a group and answer all of it. `load` (0..1) is how full the queue is.

        Raises:
            StreamMoved, psycopg.Error: nothing was stored, and nobody answered; or all was, but this is not known.
        """
        plan = await self._plan(connection, group)
        try:
            if plan.works:
                plan.commands = await self._commit(connection, plan.works)
        except RecordRefused:
            self._metrics.replays.inc()
            if len(plan.works) > 1:
                middle = len(group) // 2
                await self.store(connection, group[:middle], load)
                await self.store(connection, group[middle:], load)
                return
            await self._put_bad_aside(connection, plan.works[0])
            plan.commands = await self._commit(connection, plan.works, is_lenient=True)
        self._finish(plan, load)

    async def _plan(self, connection: Connection, group: list[Request]) -> _Plan:
        """Sort the batches by what is to be done. A stream's later batches go on from its earlier ones."""
        plan = _Plan()
        group = await self._in_turn(connection, group, plan)
        states = await self._read_streams(connection, group)
        watermarks = {stream: state.watermark for stream, state in states.items()}
        n_records = 0
        for request in group:
            state = states[request.stream]
            try:
                check_device(request.device, state)
                watermarks[request.stream] = self._settle(plan, request, state, watermarks[request.stream])
            except ApiProblem as problem:
                plan.problems.append((request, problem.with_traceback(None)))
            n_records += len(request.batch.records)
            if n_records >= _BREATHER_RECORDS:
                n_records = 0
                await asyncio.sleep(0)
        await self._learn_names(connection, plan.works)
        return plan

    async def _in_turn(self, connection: Connection, group: list[Request], plan: _Plan) -> list[Request]:
        """Without what comes of a bridge that another one took over from."""
        turns = {request.turn for request in group if request.turn is not None}
        if not turns:
            return group
        lost = turns - await self._store.held_turns(connection, turns)
        for request in group:
            if request.turn in lost:
                problem = ApiProblem(
                    409, "turn_lost", "Another bridge writes", f"turn {request.turn} of the bridge to MQTT is over"
                )
                plan.problems.append((request, problem))
        return [request for request in group if request.turn not in lost]

    def _settle(self, plan: _Plan, request: Request, state: StreamState, watermark: int) -> int:
        """Put one batch into the plan; the stream's watermark after it."""
        batch = request.batch
        if is_resend(batch, watermark):
            plan.n_duplicates += len(batch.records)
            plan.acks.append((request, watermark, None))
            return watermark
        settled = settle(batch, watermark, self._now_ms())
        if state.no is None:
            detail = f"device {request.device.id} has begun {MAX_STREAMS_PER_DEVICE} streams, and this is one more"
            raise device_problem(ProblemCode.STREAMS_EXHAUSTED, detail)
        plan.n_duplicates += settled.n_duplicates
        plan.acks.append((request, settled.to_seq, settled))
        if settled.items:
            work = _Work(request, state.no, state.junction, settled)
            work.rows = self._build(work, slice(None))
            plan.works.append(work)
        return settled.to_seq

    async def _read_streams(self, connection: Connection, group: list[Request]) -> dict[StreamKey, StreamState]:
        """Where the group's streams stand; those that begin with this group are made."""
        streams = list(dict.fromkeys(request.stream for request in group))
        states = await self._store.read_streams(connection, streams)
        beginning = {r.stream for r in group if r.batch.first_seq == 1}
        new = [s for s in streams if s in beginning and states[s].no is None and states[s].status == "active"]
        if new:
            await self._store.create_streams(connection, new)
            states |= await self._store.read_streams(connection, new)
        return states

    async def _learn_names(self, connection: Connection, works: list[_Work]) -> None:
        """Complete the rows in which names were not known."""
        incomplete = [work for work in works if work.rows.unknown]
        if not incomplete:
            return
        unknown: defaultdict[UUID, Unknown] = defaultdict(Unknown)
        for work in incomplete:
            unknown[work.request.device.id].update(work.rows.unknown)
        await self._names.learn(connection, unknown)
        for work in incomplete:
            work.rows = self._build(work, slice(None))
            if work.rows.unknown:
                self._refuse_nameless(work)

    def _build(self, work: _Work, part: slice) -> Rows:
        """The rows of a part of a batch."""
        names = self._names.of(work.request.device.id)
        settled = work.settled
        return build_rows(settled.items[part], settled.raws[part], work.stream_no, names, self._now_ms())

    def _refuse_nameless(self, work: _Work) -> None:
        """Put the records aside whose names the device may not bring into being any more."""
        refusals = {}
        for index in range(len(work.settled.items)):
            if self._build(work, slice(index, index + 1)).unknown:
                refusals[index] = (
                    f"the device has {MAX_NAMES_PER_DEVICE} sources or cameras already; this is one more"
                )
        self._replace(work, refusals)

    def _replace(self, work: _Work, refusals: dict[int, str]) -> None:
        """Put the items at these places aside, for these reasons."""
        for index, detail in refusals.items():
            work.settled.items[index] = refuse(work.settled.items[index], detail)
        work.settled.account()
        work.rows = self._build(work, slice(None))

    async def _commit(
        self, connection: Connection, works: list[_Work], *, is_lenient: bool = False
    ) -> list[CommandItem]:
        by_stream: dict[int, Advance] = {}
        for work in works:
            step = work.settled.advance(work.stream_no)
            before = by_stream.get(work.stream_no)
            by_stream[work.stream_no] = before.then(step) if before else step
        news: defaultdict[UUID, News] = defaultdict(News)
        for work in works:
            if work.junction is not None:
                news[work.junction].add(work.request.device.id, work.rows)
        results = first_results((work.request.device.id, result) for work in works for result in work.rows.results)
        rows = [work.rows for work in works]
        turns = {work.request.turn for work in works if work.request.turn is not None}
        try:
            advances = list(by_stream.values())
            return await self._store.commit(
                connection, rows, advances, news, results, turns, is_lenient=is_lenient
            )
        except (RecordRefused, StreamMoved):
            raise  # It was rolled back.
        except BaseException:
            self._doubtful |= by_stream.keys()
            self.doubt.set()
            raise

    async def _put_bad_aside(self, connection: Connection, work: _Work) -> None:
        """Find the records that the database refuses, by halving, in a transaction that is rolled back."""
        refusals: dict[int, str] = {}
        async with connection.transaction(force_rollback=True):
            pieces = [range(len(work.settled.items))]
            while pieces:
                piece = pieces.pop()
                rows = self._build(work, slice(piece.start, piece.stop))
                try:
                    async with connection.transaction():
                        await self._store.copy(connection, [rows])
                except RecordRefused as refused:
                    if len(piece) == 1:
                        refusals[piece.start] = str(refused)
                    else:
                        middle = len(piece) // 2
                        pieces += [piece[:middle], piece[middle:]]
        self._replace(work, refusals)

    def _finish(self, plan: _Plan, load: float) -> None:
        """It is committed: say so to all. Nothing here waits, so nothing can come in between."""
        for request, watermark, settled in plan.acks:
            rejections = settled.rejections if settled else []
            request.settle(make_ack(request.batch.epoch, watermark, self._now_ms(), load, rejections))
        for request, problem in plan.problems:
            request.settle(problem)
        self._metrics.group(
            n_batches=len(plan.acks) + len(plan.problems),
            stored=sum(work.settled.stored for work in plan.works),
            rejected=sum(work.settled.rejected for work in plan.works),
            lost=sum(work.settled.lost for work in plan.works),
            duplicate=plan.n_duplicates,
        )
        for work in plan.works:
            rows = work.rows
            if rows.counts or rows.lights:
                device = work.request.device.id
                told = (rows.counts, rows.source_ids, rows.lights)
                self._publisher.publish(Delivery(device, work.junction, *told))
        for command in plan.commands:
            self._publisher.publish(news_of(command))
        if any(work.rows.marks for work in plan.works):
            self._marks_written.set()


def make_ack(epoch: UUID, watermark: int, now_ms: int, load: float, rejected: list[Rejection]) -> Ack:
    """The acknowledgement, with the pace that fits the collector's load (0..1)."""
    pause_ms = 0
    if load > _PACE_FROM_LOAD:
        pause_ms = int(load * _PACE_FULL_MS * random.uniform(0.5, 1.5))
    return Ack(epoch, watermark, now_ms, Pace(_PACE_RECORDS, _PACE_BYTES, pause_ms), rejected)
