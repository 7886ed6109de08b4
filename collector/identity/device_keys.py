"""The public keys of devices, out of the database. All that are asked for at a time come by one statement: after a
restart a whole fleet is there at once, and nobody's key is known."""

import asyncio
from collections.abc import Sequence
from functools import partial
from uuid import UUID

import psycopg

from collector.db import Queries
from collector.errors import StoreError
from collector.ingest.link import Connection, SharedLink


class DeviceKeys:
    """Belongs to one event loop."""

    def __init__(self, questions: SharedLink, queries: Queries) -> None:
        self._questions, self._queries = questions, queries
        self._asked: dict[UUID, asyncio.Future[bytes | None]] = {}
        self._answering: asyncio.Task[None] | None = None

    async def load(self, device: UUID) -> bytes | None:
        """The key that a device is enrolled with; None: there is no such device.

        Raises:
            StoreError: the database does not answer.
        """
        answer = self._asked.get(device)
        if answer is None:
            answer = self._asked[device] = asyncio.get_running_loop().create_future()
        if self._answering is None or self._answering.done():
            self._answering = asyncio.create_task(self._answer(), name="device keys")
        # One of those who ask may go away; the others still want to know.
        return await asyncio.shield(answer)

    async def _answer(self) -> None:
        """Until nobody asks any more."""
        while self._asked:
            asked, self._asked = self._asked, {}
            try:
                keys = await self._questions.ask(partial(self._read, list(asked)))
            except (psycopg.Error, TimeoutError) as error:
                for answer in asked.values():
                    answer.set_exception(StoreError(f"the keys of the devices cannot be read: {error}"))
                    # Nobody may be left to hear it.
                    answer.exception()
            else:
                for device, answer in asked.items():
                    answer.set_result(keys.get(device))

    async def _read(self, devices: Sequence[UUID], connection: Connection) -> dict[UUID, bytes]:
        cursor = await connection.execute(self._queries["device_keys"], {"devices": devices})
        return {device: bytes(key) for device, key in await cursor.fetchall()}
