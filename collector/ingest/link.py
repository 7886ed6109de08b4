"""Connections of one's own, beside the pool.

A pool waits longer and longer between its attempts to connect. Whoever answers devices must know at once that the
database is gone, and that it is back.
"""

import asyncio
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any, Self, TypeVar

import psycopg
from psycopg import AsyncConnection

T = TypeVar("T")
Connection = AsyncConnection[tuple[Any, ...]]
Connect = Callable[[], Awaitable[Connection]]
"""Opens a connection in autocommit mode; psycopg.OperationalError where there is no database."""


class Link:
    """One connection: made when needed, kept, and given up when in doubt. For one task at a time."""

    def __init__(self, connect: Connect) -> None:
        self._connect = connect
        self._connection: Connection | None = None

    async def get(self) -> Connection:
        """The connection. Raises psycopg.OperationalError if there is none to be had."""
        if self._connection is None:
            self._connection = await self._connect()
        return self._connection

    async def drop(self) -> bool:
        """Close it; whether there was one."""
        connection, self._connection = self._connection, None
        if connection is None:
            return False
        await connection.close()
        return True

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.drop()


class SharedLink:
    """A connection for short questions from any task, one after the other. None is lost to a restart."""

    def __init__(self, connect: Connect, timeout_s: float) -> None:
        self._link = Link(connect)
        self._timeout_s = timeout_s
        self._turn = asyncio.Lock()

    async def ask(self, question: Callable[[Connection], Awaitable[T]]) -> T:
        """The answer to `question`, which must be safe to ask twice.

        Raises:
            psycopg.Error, TimeoutError: there is none within the time.
        """
        async with asyncio.timeout(self._timeout_s), self._turn:
            try:
                try:
                    return await question(await self._link.get())
                except psycopg.OperationalError:
                    if not await self._link.drop():
                        raise
                    return await question(await self._link.get())
            except BaseException:
                await (
                    self._link.drop()
                )  # Also when cancelled: what the connection is in the middle of is not known.
                raise

    async def close(self) -> None:
        """Give the connection up; it is made again if somebody asks. May be called twice."""
        await self._link.drop()
