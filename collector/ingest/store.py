"""What the writers ask of the database. One connection in autocommit mode, one caller at a time.

RecordRefused tells that a row, not the database, is at fault; anything else that goes wrong is a psycopg error.
"""

import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import chain
from typing import Any
from uuid import UUID

import psycopg

from collector.db import Queries
from collector.errors import CollectorError
from collector.ingest.link import Connection
from collector.ingest.queue import StreamKey
from collector.ingest.settling import Advance, StreamState
from collector.ingest.tables import ROLLUP_MARKS, Rows, Table
from collector.junctions.description import Described


class RecordRefused(CollectorError):
    """The database does not take one of the rows it was given. Nothing of the transaction was stored."""


class StreamMoved(CollectorError):
    """A watermark is no longer where it was read, or its device was revoked. Nothing was stored; read again."""


_ROW_FAULTS = ("22", "23", "54", "0A", "P0")
"""SQLSTATE classes of errors that the data causes: wrong values, broken constraints, limits, triggers."""


@contextmanager
def _faults_of(table: Table) -> Iterator[None]:
    """Tell a row's fault from the database's. What psycopg cannot even send has no SQLSTATE."""
    try:
        yield
    except psycopg.DataError as error:
        raise RecordRefused(f"{table.name}: {error}") from error
    except psycopg.DatabaseError as error:
        if error.sqlstate is None or error.sqlstate[:2] not in _ROW_FAULTS:
            raise
        raise RecordRefused(f"{table.name}: {error}") from error
    except (UnicodeError, OverflowError, struct.error) as error:
        raise RecordRefused(f"{table.name}: {error}") from error


class Store:
    """The statements of `sql/ingest.sql`, and COPY."""

    def __init__(self, queries: Queries) -> None:
        self._queries = queries

    async def read_streams(
        self, connection: Connection, streams: Sequence[StreamKey]
    ) -> dict[StreamKey, StreamState]:
        """Where each of `streams` stands."""
        cursor = await connection.execute(self._queries["read_streams"], _keys(streams), binary=True)
        rows = await cursor.fetchall()
        return {stream: StreamState(*row) for stream, row in zip(streams, rows, strict=True)}

    async def create_streams(self, connection: Connection, streams: Sequence[StreamKey]) -> None:
        """Make sure that `streams`, of known devices, have their rows."""
        await connection.execute(self._queries["create_streams"], _keys(streams))

    async def await_streams(self, connection: Connection, nos: Sequence[int]) -> None:
        """Return when no transaction that moves one of these streams is under way."""
        await connection.execute(self._queries["await_streams"], {"nos": list(nos)})

    async def commit(
        self,
        connection: Connection,
        batches: Sequence[Rows],
        advances: Sequence[Advance],
        described: Mapping[UUID, Described],
    ) -> None:
        """Store all rows and move all watermarks, in one transaction. `described`: what junctions are said to be.

        Raises:
            RecordRefused, StreamMoved: nothing was stored.
        """
        async with connection.transaction():
            await self.copy(connection, batches)
            marks = set(chain.from_iterable(rows.marks for rows in batches))
            if marks:
                await self._copy(connection, ROLLUP_MARKS, sorted(marks))
            for junction in sorted(described):
                parameters = {"junction": junction} | described[junction].as_parameters()
                await connection.execute(self._queries["describe_junction"], parameters)
            await self._advance(connection, advances)

    async def copy(self, connection: Connection, batches: Sequence[Rows]) -> None:
        """Add the rows of all batches to their tables, in the transaction that is open.

        Raises:
            RecordRefused: the transaction, or its savepoint, must be rolled back.
        """
        tables = dict.fromkeys(chain.from_iterable(rows.by_table for rows in batches))
        for table in tables:
            rows = chain.from_iterable(batch.by_table.get(table, ()) for batch in batches)
            with _faults_of(table):
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
