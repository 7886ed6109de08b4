"""The agent's end of the link against the lights' end, over a real socket and into a real outbox."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from common.commands import Flash, OrderResult
from common.records import Gap, SignalEvent
from edge_agent.clock_source import Clock
from edge_agent.link.client import LightsAbsent, LightsLink, LightsView, numbered
from edge_agent.link.handover import MAX_IN_FLIGHT, Handover
from edge_agent.link.messages import (
    Ask,
    Crossing,
    OrderAnswer,
    SensorState,
    Spooled,
    Taken,
    TakeRecords,
    ToSignals,
)
from edge_agent.link.server import LinkServer, Peer
from edge_agent.link.spool import Spool
from edge_agent.outbox.writer import OutboxWriter
from tests.outbox_model import stamp_at
from tests.unit.test_link_server import SHOWN

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def event(serial: int) -> SignalEvent:
    return SignalEvent(1, 0, 0, "crossroads", serial // 1000, serial % 1000)


class Lights:
    """The lights' end, looked at in the same loop."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "link.sock"
        self.server = LinkServer(self.path)
        self.server.open()
        self.spool = Spool(folder / "spool.db", commit_interval_s=0.01)
        self.handover = Handover(self.spool, self.server)
        self.heard: list[tuple[Peer, ToSignals]] = []
        self.hangs = False

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(60):
            while not condition():
                if not self.hangs:
                    self.step()
                await asyncio.sleep(0.002)

    def step(self) -> None:
        for peer, message in self.server.poll():
            if isinstance(message, Taken | TakeRecords):
                self.handover.heard(peer, message)
            self.heard.append((peer, message))
        self.handover.step()

    def of(self, kind: type[ToSignals]) -> list[ToSignals]:
        return [message for _, message in self.heard if isinstance(message, kind)]


@pytest.fixture
def lights(tmp_path: Path) -> Iterator[Lights]:
    lights = Lights(tmp_path)
    yield lights
    lights.spool.close()
    lights.server.close()


@contextlib.asynccontextmanager
async def connected(
    lights: Lights, writer: OutboxWriter, told: list[object] | None = None
) -> AsyncIterator[tuple[LightsLink, LightsView]]:
    view = LightsView()
    link = LightsLink(lights.path, writer, view, on_shown=(told if told is not None else []).append)
    task = asyncio.create_task(link.run())
    try:
        await lights.until(lambda: view.connected and lights.of(TakeRecords))
        yield link, view
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def test_sensors_orders_and_what_is_shown(tmp_path: Path, lights: Lights) -> None:
    told: list[object] = []
    crossing = Crossing(sensor="cam", source="stop", at_ns=5, cls="car")
    async with OutboxWriter(tmp_path / "o.db", Clock()) as writer, connected(lights, writer, told) as (link, view):
        assert link.tell(crossing)
        await lights.until(lambda: lights.of(Crossing) == [crossing])
        lights.server.tell(SHOWN)
        await lights.until(lambda: view.shown == SHOWN)
        assert told == [SHOWN]
        asked = asyncio.create_task(link.order(Flash(by="me")))
        await lights.until(lambda: lights.of(Ask))
        peer, ask = lights.heard[-1]
        assert isinstance(ask, Ask)
        result = OrderResult(accepted=False, reason="a fault persists")
        lights.server.tell(OrderAnswer(id=ask.id, result=result), peer)
        await lights.until(asked.done)
        assert asked.result() == result
        unanswered = asyncio.create_task(link.order(Flash(by="me")))
        await lights.until(lambda: len(lights.of(Ask)) == 2)
        lights.server.close()
        with pytest.raises(LightsAbsent, match="hung up before it answered"):
            await unanswered
        await lights.until(lambda: not view.connected)
        assert not link.tell(crossing)
        with pytest.raises(LightsAbsent, match="not connected"):
            await link.order(Flash(by="me"))


async def test_a_daemon_that_does_not_read_is_hung_up_on(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as deaf:
        deaf.bind(str(tmp_path / "deaf.sock"))
        deaf.listen()
        view = LightsView()
        state = SensorState(sensor="cam", at_ns=5, measures=False, why_not="x" * 400)
        async with OutboxWriter(tmp_path / "o.db", Clock()) as writer:
            link = LightsLink(tmp_path / "deaf.sock", writer, view)
            task = asyncio.create_task(link.run())
            async with asyncio.timeout(60):
                while not view.connected:
                    await asyncio.sleep(0.002)
                n_told = 0
                while link.tell(state):
                    n_told += 1
                    assert n_told < 100_000, "memory is bounded"
                await hung_up(view)
            assert view.n_unsent >= 1
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


async def hung_up(view: LightsView) -> None:
    while view.connected:
        await asyncio.sleep(0.002)


async def test_a_second_agent_gets_no_records(tmp_path: Path, lights: Lights) -> None:
    async with OutboxWriter(tmp_path / "a.db", Clock()) as one, OutboxWriter(tmp_path / "b.db", Clock()) as two:
        async with connected(lights, one) as (_, view), connected(lights, two) as (_, second):
            await lights.until(lambda: "only one agent can" in second.trouble)
            for serial in range(1, 11):
                lights.spool.put(event(serial), stamp_at(serial))
            await lights.until(lambda: lights.spool.taken_to == 10)
            assert (view.n_records, second.n_records) == (10, 0)
            assert (await two.stats()).waiting == 0
        async with connected(lights, two) as (_, third):
            lights.spool.put(event(11), stamp_at(11))
            await lights.until(lambda: lights.spool.taken_to == 11)
            assert third.n_records == 1
        assert (await one.stats()).waiting == 10


async def test_only_so_many_are_under_way(tmp_path: Path, lights: Lights) -> None:
    for serial in range(1, 2 * MAX_IN_FLIGHT):
        lights.spool.put(event(serial), stamp_at(serial))
    reader, writer = await asyncio.open_unix_connection(str(lights.path))
    writer.write(b'{"type":"take_records"}\n')
    heard: list[bytes] = []

    async def listen() -> None:
        while line := await reader.readline():
            heard.append(line)

    task = asyncio.create_task(listen())
    await lights.until(lambda: len(heard) >= MAX_IN_FLIGHT)
    for _ in range(100):
        lights.step()
        await asyncio.sleep(0)
    assert len(heard) == MAX_IN_FLIGHT
    writer.write(b'{"type":"taken","spool":"%s","up_to":7}\n' % str(lights.spool.name).encode())
    await lights.until(lambda: len(heard) == MAX_IN_FLIGHT + 7)
    task.cancel()
    writer.close()


async def test_what_the_agent_knows_is_heard_before_the_file_is_open(tmp_path: Path, lights: Lights) -> None:
    for serial in range(1, 6):
        lights.spool.put(event(serial), stamp_at(serial))
    async with OutboxWriter(tmp_path / "o.db", Clock()) as writer, connected(lights, writer):
        await lights.until(lambda: lights.spool.taken_to == 5)
    name = str(lights.spool.name)
    lights.spool.close()
    unopened = Spool(tmp_path / "none" / "spool.db", commit_interval_s=0.01)
    handover = Handover(unopened, lights.server)
    (tmp_path / "none").mkdir()
    peer = Peer(99, 1, 0, True)
    handover.heard(peer, Taken(spool=name, up_to=5))
    handover.heard(peer, Taken(spool="another", up_to=50))
    (tmp_path / "spool.db").rename(tmp_path / "none" / "spool.db")
    await lights.until(lambda: unopened.name is not None)
    handover.heard(peer, TakeRecords())
    assert unopened.taken_to == 5
    unopened.close()


def test_numbers_that_nothing_accounts_for_are_told() -> None:
    def spooled(no: int, covers: int = 1) -> Spooled:
        return Spooled(spool="s", no=no, stamp=stamp_at(no), record=event(no), covers=covers)

    assert [no for no, _, _ in numbered([spooled(8), spooled(9)], None)] == [8, 9], "first heard of"
    assert [no for no, _, _ in numbered([spooled(8), spooled(9)], 7)] == [8, 9]
    assert [no for no, _, _ in numbered([spooled(20, covers=13)], 7)] == [20], "a gap accounts for them"
    found = numbered([spooled(10), spooled(15)], 7)
    assert [no for no, _, _ in found] == [9, 10, 14, 15]
    gaps = [record for _, record, _ in found if isinstance(record, Gap)]
    assert [sum(gap.dropped.values()) for gap in gaps] == [2, 4]
