"""Keys of devices: all that are asked for at a time by one statement, and nobody waits for one who went away."""

import asyncio
from typing import Any
from uuid import UUID, uuid4

import pytest

from collector.errors import StoreError
from collector.identity.device_keys import DeviceKeys

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Database:
    """A link and its connection in one, which answers when it is let."""

    def __init__(self) -> None:
        self.keys: dict[UUID, bytes] = {}
        self.asked: list[set[UUID]] = []
        self.answers = asyncio.Event()
        self.is_gone = False

    async def ask(self, question: Any) -> Any:
        await self.answers.wait()
        if self.is_gone:
            raise TimeoutError
        return await question(self)

    async def execute(self, statement: bytes, parameters: dict[str, list[UUID]]) -> Any:
        self.asked.append(set(parameters["devices"]))
        self.found = [(one, self.keys[one]) for one in parameters["devices"] if one in self.keys]
        return self

    async def fetchall(self) -> list[tuple[UUID, bytes]]:
        return self.found


async def test_a_fleet_costs_a_statement_or_two() -> None:
    database = Database()
    keys = DeviceKeys(database, {"device_keys": b""})  # type: ignore[arg-type]
    fleet = [uuid4() for _ in range(500)]
    database.keys = {one: one.bytes for one in fleet[1:]}
    first = asyncio.create_task(keys.load(fleet[0]))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    others = [asyncio.create_task(keys.load(one)) for one in (*fleet[1:], fleet[7])]
    gone = asyncio.create_task(keys.load(fleet[3]))
    await asyncio.sleep(0)
    gone.cancel()
    database.answers.set()
    assert await first is None
    assert await asyncio.gather(*others) == [one.bytes for one in (*fleet[1:], fleet[7])]
    assert database.asked == [{fleet[0]}, set(fleet[1:])]


async def test_a_database_that_is_away_is_told_to_all_and_asked_again() -> None:
    database = Database()
    keys = DeviceKeys(database, {"device_keys": b""})  # type: ignore[arg-type]
    database.is_gone = True
    database.answers.set()
    device = uuid4()
    for answer in await asyncio.gather(keys.load(device), keys.load(uuid4()), return_exceptions=True):
        assert isinstance(answer, StoreError)
    database.is_gone, database.keys = False, {device: b"key"}
    assert await keys.load(device) == b"key"
