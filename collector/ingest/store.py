"""What the writers ask of the database. One connection in autocommit mode, one caller at a time.

RecordRefused tells that a row, not the database, is at fault; anything else that goes wrong is a psycopg error.
"""

import logging
import struct
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence, Set
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import chain
from typing import Any
from uuid import UUID

import psycopg

from collector.db import Queries, load_queries
from collector.errors import CollectorError
from collector.ingest.link import Connection
from collector.ingest.queue import StreamKey
from collector.ingest.settling import Advance, StreamState
from collector.ingest.tables import ROLLUP_MARKS, Rows, Table
from collector.junctions.description import Described
from collector.junctions.lights_log import Told
from collector.remote.commands import CommandItem, command_item
from collector.remote.results import Result

_log = logging.getLogger(__name__)

MAX_STREAMS_PER_DEVICE = 10_000
"""A device begins one when its outbox is new: once a day for 27 years."""


class RecordRefused(CollectorError):
    """The database does not take one of the rows it was given, or what a record says beside its row.

    Nothing of the transaction was stored.
    """


class StreamMoved(CollectorError):
    """A watermark is no longer where it was read, or its device was revoked. Nothing was stored; read again."""


_ROW_FAULTS = ("22", "23", "54", "0A", "P0")
"""SQLSTATE classes of errors that the data causes: wrong values, broken constraints, limits, triggers."""


def is_fault_of_data(error: Exception) -> bool:
    """Whether what was to be stored is at fault, not the database. What psycopg cannot send has no SQLSTATE."""
    if isinstance(error, psycopg.DatabaseError):
        return isinstance(error, psycopg.DataError) or (error.sqlstate or "")[:2] in _ROW_FAULTS
    return isinstance(error, UnicodeError | OverflowError | struct.error)


@contextmanager
def _faults_of(what: str) -> Iterator[None]:
    """Tell a row's fault from the database's."""
    try:
        yield
    except (psycopg.DatabaseError, UnicodeError, OverflowError, struct.error) as error:
        if not is_fault_of_data(error):
            raise
        raise RecordRefused(f"{what}: {error}") from error


@asynccontextmanager
async def _beside(connection: Connection, what: str, *, is_lenient: bool) -> AsyncIterator[None]:
    """Around what is kept of a record beside its row. `is_lenient`: what is refused is left out, and logged."""
    if not is_lenient:
        with _faults_of(what):
            yield
        return
    try:
        async with connection.transaction():
            with _faults_of(what):
                yield
    except RecordRefused as refused:
        _log.error("A record was stored, but not what it says: %s", refused, extra={"action": "ingest_left_out"})


@dataclass(slots=True)
class News:
    """What the batches of a group say about a junction, beside their rows."""

    described: Described | None = None
    device: UUID | None = None
    """Whose stream described it."""
    told: list[Told] = field(default_factory=list)

    def add(self, device: UUID, rows: Rows) -> None:
        """What the rows of one batch of the device say."""
        if rows.described is not None:
            self.described, self.device = rows.described, device
        self.told += rows.told


class Store:
    """The statements of `sql/ingest.sql` and `sql/history.sql`, and COPY."""

    def __init__(self, queries: Queries) -> None:
        self._queries = queries
        self._history = load_queries("history")

    async def read_streams(
        self, connection: Connection, streams: Sequence[StreamKey]
    ) -> dict[StreamKey, StreamState]:
        """Where each of `streams` stands."""
        cursor = await connection.execute(self._queries["read_streams"], _keys(streams), binary=True)
        rows = await cursor.fetchall()
        return {stream: StreamState(*row) for stream, row in zip(streams, rows, strict=True)}

    async def create_streams(self, connection: Connection, streams: Sequence[StreamKey]) -> None:
        """Make sure that `streams`, of known devices, have their rows; but none of those who have very many."""
        parameters = _keys(streams) | {"most": MAX_STREAMS_PER_DEVICE}
        await connection.execute(self._queries["create_streams"], parameters)

    async def await_streams(self, connection: Connection, nos: Sequence[int]) -> None:
        """Return when no transaction that moves one of these streams is under way."""
        await connection.execute(self._queries["await_streams"], {"nos": list(nos)})

    async def commit(
        self,
        connection: Connection,
        batches: Sequence[Rows],
        advances: Sequence[Advance],
        news: Mapping[UUID, News],
        results: Sequence[Result] = (),
        turns: Set[int] = frozenset(),
        *,
        is_lenient: bool = False,
    ) -> list[CommandItem]:
        """Store all rows and move all watermarks, in one transaction; gives the commands that this settled.

        Args:
            news: what is said of junctions.
            results: what came of commands.
            turns: of bridges to MQTT; it must be still theirs.
            is_lenient: what the database refuses of `news`, `results` and what cameras count at is left out.

        Raises:
            RecordRefused, StreamMoved: nothing was stored.
        """
        async with connection.transaction():
            if turns and await self.held_turns(connection, turns) != turns:
                raise StreamMoved("another bridge took over meanwhile")
            # In a fixed order, so that two writers with news of the same junctions cannot deadlock; and before
            # counts, which lock their devices: who edits a junction locks it first, and then its devices.
            settled: list[CommandItem] = []
            for junction in sorted(news):
                settled += await self._tell(connection, junction, news[junction], is_lenient)
            # Before their counts: those that have none yet are new.
            await self._tell_sources(connection, batches, is_lenient)
            await self.copy(connection, batches)
            marks = set(chain.from_iterable(rows.marks for rows in batches))
            if marks:
                await self._copy(connection, ROLLUP_MARKS, sorted(marks))
            if results:
                async with _beside(connection, "what came of orders", is_lenient=is_lenient):
                    settled += await self._settle_commands(connection, results)
            await self._advance(connection, advances)
        return settled

    async def held_turns(self, connection: Connection, turns: Set[int]) -> Set[int]:
        """Those of some turns of the bridge to MQTT that it is, until the end of the transaction."""
        cursor = await connection.execute(self._queries["hold_turns"], {"turns": list(turns)})
        return {turn for (turn,) in await cursor.fetchall()}

    async def _settle_commands(self, connection: Connection, results: Sequence[Result]) -> list[CommandItem]:
        parameters = {
            "commands": [result.command for result in results],
            "devices": [result.device for result in results],
            "states": [result.state for result in results],
            "ats": [_timestamp(result.at_ms) for result in results],
            "details": [result.detail for result in results],
        }
        cursor = await connection.execute(self._queries["settle_commands"], parameters)
        return await self._settled(connection, cursor)

    async def _settled(self, connection: Connection, cursor: psycopg.AsyncCursor[Any]) -> list[CommandItem]:
        """The commands that a statement settled and gave back, with their history."""
        settled = sorted((command_item(row) for row in await cursor.fetchall()), key=lambda one: one.issued_at)
        for item in settled:
            await connection.execute(self._history["settle_history"], {"command": item.id})
        return settled

    async def _tell_sources(self, connection: Connection, batches: Sequence[Rows], is_lenient: bool) -> None:
        """Keep what cameras count at: of each stream in the order of its records, whatever its clock did."""
        for rows in sorted(batches, key=lambda one: one.stream_no):
            for one in rows.counted_at:
                names = [name for name, _ in one.sources]
                moment = {"stream": rows.stream_no, "at": _timestamp(one.at_ms)}
                parameters = moment | {"sensor": one.sensor, "names": names}
                async with _beside(connection, "what a camera counts at", is_lenient=is_lenient):
                    await connection.execute(self._queries["tell_sources"], parameters)

    async def _tell(
        self, connection: Connection, junction: UUID, news: News, is_lenient: bool
    ) -> list[CommandItem]:
        """Keep what is said of a junction; gives the commands that this settled."""
        settled: list[CommandItem] = []
        if news.told:
            # Several devices may tell of one, each of other things first.
            await connection.execute(self._history["hold_junction"], {"junction": junction})
        if news.described is not None:
            parameters = {"junction": junction, "device": news.device} | news.described.as_parameters()
            async with _beside(connection, f"the description of junction {junction}", is_lenient=is_lenient):
                cursor = await connection.execute(self._queries["describe_junction"], parameters)
                if cursor.rowcount:
                    await connection.execute(self._queries["keep_lanes"], {"junction": junction})
        for told in sorted(news.told, key=lambda one: one.at_ms):
            parameters = {"junction": junction, "at": _timestamp(told.at_ms), **told.parameters}
            async with _beside(connection, f"{told.statement} of junction {junction}", is_lenient=is_lenient):
                cursor = await connection.execute(self._history[told.statement], parameters)
                if cursor.description is not None:
                    settled += await self._settled(connection, cursor)
        return settled

    async def copy(self, connection: Connection, batches: Sequence[Rows]) -> None:
        """Add the rows of all batches to their tables, in the transaction that is open.

        Raises:
            RecordRefused: the transaction, or its savepoint, must be rolled back.
        """
        # In a fixed order, since triggers lock what is kept of junctions and devices.
        tables = sorted(set(chain.from_iterable(rows.by_table for rows in batches)), key=lambda table: table.name)
        for table in tables:
            rows = chain.from_iterable(batch.by_table.get(table, ()) for batch in batches)
            with _faults_of(table.name):
                await self._copy(connection, table, rows)

    async def _copy(self, connection: Connection, table: Table, rows: Iterable[tuple[Any, ...]]) -> None:
        async with connection.cursor() as cursor, cursor.copy(table.copy) as copy:
            copy.set_types(table.types)
            for row in rows:
                await copy.write_row(row)

    async def _advance(self, connection: Connection, advances: Sequence[Advance]) -> None:
        parameters = {
            "nos": [a.stream_no for a in advances],
            "from_seqs": [a.from_seq for a in advances],
            "to_seqs": [a.to_seq for a in advances],
            "stored": [a.stored for a in advances],
            "rejected": [a.rejected for a in advances],
            "lost": [a.lost for a in advances],
            "last_ats": [_timestamp(a.last_at_ms) for a in advances],
        }
        cursor = await connection.execute(self._queries["advance_streams"], parameters)
        if cursor.rowcount != len(advances):
            raise StreamMoved(f"{len(advances) - cursor.rowcount} of {len(advances)} streams moved meanwhile")


def _keys(streams: Sequence[StreamKey]) -> dict[str, list[Any]]:
    return {
        "devices": [UUID(bytes=device) for device, _, _ in streams],
        "streams": [stream for _, stream, _ in streams],
        "epochs": [UUID(bytes=epoch) for _, _, epoch in streams],
    }


def _timestamp(unix_ms: int | None) -> datetime | None:
    return None if unix_ms is None else datetime.fromtimestamp(unix_ms / 1000, UTC)
