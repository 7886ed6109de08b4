"""How the collector reaches PostgreSQL: the pool, and the SQL it runs.

Nothing here or in any query relies on the state of a session (prepared statements apart, see `Settings`), so that
PgBouncer in transaction mode can stand in between: no `SET`, no session locks, no temporary tables, no LISTEN.
"""

import re
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any
from uuid import UUID

from psycopg import AsyncConnection, conninfo
from psycopg_pool import AsyncConnectionPool

from collector.errors import CollectorError

Connection = AsyncConnection[tuple[Any, ...]]

_PREPARED_AFTER = 5
"""A statement is prepared when it has run so often."""

VIEWER: ContextVar[UUID | None] = ContextVar("viewer", default=None)
"""Whom the running request answers, if they may not see everything; the guard of its route says so. What is then
read with `reading` is bounded by the database itself, whatever a query asks for."""


class SqlError(CollectorError):
    """A .sql file of the collector is not what it should be: a defect of the product, not of its use."""


@dataclass(frozen=True)
class Settings:
    """How a pool is made."""

    dsn: str
    min_size: int = 2
    max_size: int = 10
    statement_timeout_s: float = 30.0
    """No statement of a request may take longer."""
    connect_timeout_s: int = 5
    acquire_timeout_s: float = 10.0
    """How long a request waits for a free connection."""
    prepare_statements: bool | None = None
    """None: unless a pooler stands in between, which may have another server for each transaction."""
    application: str = "stopline-collector"


class Pool(AsyncConnectionPool[Connection]):
    """Connections to one database. `statement_timeout_s` is the bound for statements of requests."""

    def __init__(self, settings: Settings) -> None:
        self.statement_timeout_s = settings.statement_timeout_s
        self._prepares = settings.prepare_statements
        super().__init__(
            conninfo.make_conninfo(
                settings.dsn,
                connect_timeout=settings.connect_timeout_s,
                application_name=settings.application,
                # A peer that vanished without a word is noticed within a minute.
                keepalives_idle=30,
                keepalives_interval=10,
                keepalives_count=3,
            ),
            kwargs={"prepare_threshold": None if settings.prepare_statements is False else _PREPARED_AFTER},
            configure=prepare_where_it_lasts if settings.prepare_statements is None else None,
            min_size=settings.min_size,
            max_size=max(settings.min_size, settings.max_size),
            timeout=settings.acquire_timeout_s,
            max_idle=300.0,
            reconnect_timeout=60.0,
            check=AsyncConnectionPool.check_connection,
            name=settings.application,
            open=False,
        )

    async def connect(self) -> Connection:
        """A connection like the others, but the caller's own, in autocommit mode."""
        assert isinstance(self.conninfo, str)
        assert isinstance(self.kwargs, dict)
        connection: Connection = await AsyncConnection.connect(self.conninfo, autocommit=True, **self.kwargs)
        try:
            if self._prepares is None:
                await prepare_where_it_lasts(connection)
        except BaseException:  # Also when cancelled: it is nobody's yet.
            await connection.close()
            raise
        return connection


async def prepare_where_it_lasts(connection: Connection) -> None:
    """Nothing is prepared on the connection if the server that answers is not the one that was connected to."""
    had_autocommit = connection.autocommit
    await connection.set_autocommit(True)
    row = await (await connection.execute("SELECT pg_backend_pid()", prepare=False)).fetchone()
    if row is None or row[0] != connection.info.backend_pid:
        connection.prepare_threshold = None
    await connection.set_autocommit(had_autocommit)


def make_pool(settings: Settings) -> Pool:
    """A pool, not yet open. Use it as `async with make_pool(...) as pool`.

    A connection is checked when it is handed out, so that a restarted server costs a reconnection and no error.
    """
    return Pool(settings)


@asynccontextmanager
async def reading(
    pool: Pool, *, statement_timeout_s: float | None = None, unbounded: bool = False
) -> AsyncIterator[Connection]:
    """A connection in a read-only transaction whose statements all see the same moment.

    It sees what the request's `VIEWER` may see; with `unbounded` everything, which is for users and their rights.
    Times come in UTC. A statement may take `statement_timeout_s`, or the pool's bound.
    What it sets is local to the transaction, which is what PgBouncer in transaction mode lets through.
    """
    async with pool.connection() as connection, connection.transaction():
        timeout_s = statement_timeout_s or pool.statement_timeout_s
        begin = _AS_OF_NOW if unbounded else _AS_OF_NOW + _NOTHING_MOVES % round(timeout_s * 1000)
        await connection.execute(begin.encode(), prepare=False)
        await _begin(connection, timeout_s)
        user = VIEWER.get()
        if user is not None and not unbounded:
            await connection.execute(_AS_READER, (str(user),))
        yield connection


@asynccontextmanager
async def writing(pool: Pool) -> AsyncIterator[Connection]:
    """A connection in a transaction that is committed at the end, or rolled back when an error leaves it."""
    async with pool.connection() as connection, connection.transaction():
        await _begin(connection, pool.statement_timeout_s)
        yield connection


_AS_OF_NOW = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"
_NOTHING_MOVES = "; SET LOCAL statement_timeout = %d; LOCK TABLE timeseries IN ACCESS SHARE MODE"
"""From the moment that it sees until its end no row moves to another partition: see `make_partition`."""
_AS_READER = "SELECT set_config('app.user_id', %s, true), set_config('role', 'stopline_reader', true)"


async def _begin(connection: Connection, timeout_s: float) -> None:
    await connection.execute(
        # What is asked here takes milliseconds; to compile it would take hundreds.
        "SELECT set_config('statement_timeout', %s, true), set_config('TimeZone', 'UTC', true),"
        " set_config('jit', 'off', true)",
        (f"{round(timeout_s * 1000)}ms",),
    )


class Queries(Mapping[str, bytes]):
    """The named statements of one .sql file: `queries["name"]` goes straight into `execute`."""

    def __init__(self, area: str, statements: dict[str, bytes]) -> None:
        self._area = area
        self._statements = statements

    def __getitem__(self, name: str) -> bytes:
        try:
            return self._statements[name]
        except KeyError:
            raise SqlError(f"sql/{self._area}.sql has no block `-- name: {name}`") from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._statements)

    def __len__(self) -> int:
        return len(self._statements)


_NAME = re.compile(r"^-- name: *(\S*) *$", re.MULTILINE)


@cache
def load_queries(area: str) -> Queries:
    """Reads `collector/sql/<area>.sql`: blocks that begin with `-- name: x`, one statement each."""
    text = (files("collector") / "sql" / f"{area}.sql").read_text(encoding="utf-8")
    return parse_queries(area, text)


def parse_queries(area: str, text: str) -> Queries:
    """Splits the text of a .sql file into its named statements. What stands before the first name is comment."""
    pieces = _NAME.split(text)[1:]
    statements: dict[str, bytes] = {}
    for name, body in zip(pieces[::2], pieces[1::2], strict=True):
        if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
            raise SqlError(f"sql/{area}.sql: {name!r} is no name for a block; use small letters, digits and _")
        if name in statements:
            raise SqlError(f"sql/{area}.sql: the block {name} is there twice")
        statement = body.strip().removesuffix(";")
        if not re.sub(r"--[^\n]*", "", statement).strip():
            raise SqlError(f"sql/{area}.sql: the block {name} is empty")
        statements[name] = statement.encode()
    return Queries(area, statements)
