"""Live counts over real sockets: Server-Sent Events and WebSocket."""

import asyncio
import json
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any
from uuid import UUID, uuid4

import httpx
import psycopg
import pytest
from psycopg import conninfo
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from tests.integration.ingest_helpers import count, counts, send
from tests.servers.collector import RunningCollector, running_collector
from tests.servers.databases import TEMPLATE
from tests.servers.device import FakeDevice
from tests.servers.postgres import PgServer
from tests.servers.proxy import LossyProxy
from tests.waiting import until

SSE = "/api/live/counts"


@pytest.fixture
def collector(plain_dsn: str) -> Iterator[RunningCollector]:
    with running_collector(plain_dsn) as running:
        yield running


@pytest.fixture
def junction(plain_dsn: str) -> UUID:
    made = uuid4()
    with psycopg.connect(plain_dsn) as connection:
        connection.execute("INSERT INTO junctions (id, name) VALUES (%s, 'Main and First')", (made,))
    return made


@pytest.fixture
def device(plain_dsn: str, junction: UUID) -> FakeDevice:
    made = FakeDevice()
    made.enrol(plain_dsn, junction)
    return made


class Listener:
    """Reads an event stream."""

    def __init__(self, response: httpx.Response) -> None:
        self.response = response
        self._lines = response.iter_lines()

    def block(self) -> dict[str, str]:
        """The next block: its fields, a comment as field ``."""
        fields: dict[str, str] = {}
        for line in self._lines:
            if not line:
                return fields
            name, _, value = line.partition(":")
            fields[name] = value.strip()
        raise EOFError

    def event(self) -> dict[str, Any]:
        """The next event; heartbeats are passed over."""
        while "data" not in (block := self.block()):
            pass
        return {"id": block["id"], "event": block["event"], "data": json.loads(block["data"])}


@contextmanager
def listening(collector: RunningCollector, last_id: str | None = None, **params: str) -> Iterator[Listener]:
    headers = {"Last-Event-ID": last_id} if last_id else {}
    with httpx.stream("GET", collector.url + SSE, params=params, headers=headers, timeout=30) as response:
        assert response.status_code == 200
        assert response.headers["content-type"].startswith("text/event-stream")
        listener = Listener(response)
        assert "retry" in listener.block()
        yield listener


def test_counts_are_told_as_soon_as_they_are_stored(
    collector: RunningCollector, device: FakeDevice, junction: UUID
) -> None:
    with listening(collector) as listener:
        sent = count(1, cls="bus", direction="out")
        send(collector, device, [sent, count(2, via="truth")])
        event = listener.event()
        assert event["event"] == "count"
        assert UUID(event["data"].pop("source_id"))
        assert event["data"] == {
            "at": sent[2],
            "at_error_ms": 0,
            "junction": str(junction),
            "device": str(device.id),
            "sensor": "north",
            "source": "line",
            "via": "camera",
            "cls": "bus",
            "direction": "out",
            "confidence": 0.5,
            "inferred": False,
        }
        assert listener.event()["data"]["via"] == "truth"
        send(collector, device, [sent, count(2, via="truth"), count(3)])
        assert listener.event()["data"]["cls"] == "car"  # what was known already is not told again


def test_a_listener_comes_back_with_its_last_id(collector: RunningCollector, device: FakeDevice) -> None:
    with listening(collector) as listener:
        send(collector, device, counts(1, 2))
        first = listener.event()
    send(collector, device, counts(3, 2), 3)
    with listening(collector, last_id=first["id"]) as listener:
        numbers = [int(listener.event()["id"].partition("-")[2]) for _ in range(3)]
    assert numbers == [2, 3, 4]
    with listening(collector, last_id="of-another-run") as listener:
        assert listener.event()["event"] == "reset"


def test_a_listener_that_heard_nothing_yet_can_come_back_too(
    collector: RunningCollector, device: FakeDevice
) -> None:
    with httpx.stream("GET", collector.url + SSE, timeout=30) as response:
        start_id = Listener(response).block()["id"]
    send(collector, device, counts(1, 1))
    with listening(collector, last_id=start_id) as listener:
        assert listener.event()["event"] == "count"


def test_filters(collector: RunningCollector, device: FakeDevice, junction: UUID, plain_dsn: str) -> None:
    elsewhere = FakeDevice()
    elsewhere.enrol(plain_dsn)
    with (
        listening(collector, junction=str(junction)) as at_junction,
        listening(collector, source="bay") as of_source,
    ):
        send(collector, elsewhere, [count(1, source="bay")])
        send(collector, device, [count(1), count(2, source="bay")])
        assert at_junction.event()["data"]["source"] == "line"
        assert [of_source.event()["data"]["device"] for _ in range(2)] == [str(elsewhere.id), str(device.id)]


def test_a_filter_that_is_none_is_told(collector: RunningCollector) -> None:
    response = httpx.get(collector.url + SSE, params={"junction": "Main"})
    assert response.status_code == 400
    assert response.json()["code"] == "bad_request"
    assert "junction" in response.json()["detail"]


def test_it_goes_on_when_the_database_was_restarted(pg_server: PgServer) -> None:
    dsn = pg_server.dsn(TEMPLATE)
    device = FakeDevice()
    device.enrol(dsn)
    with running_collector(dsn) as collector, listening(collector) as listener:
        send(collector, device, counts(1, 1))
        assert listener.event()["event"] == "count"
        pg_server.stop()
        pg_server.start()
        send(collector, device, counts(2, 1), 2)
        assert listener.event()["data"]["source"] == "line"


SLOW_COMMIT = """
    CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(1.5); RETURN NULL; END $$;
    CREATE CONSTRAINT TRIGGER slow AFTER UPDATE ON ingest_streams DEFERRABLE INITIALLY DEFERRED
        FOR EACH ROW WHEN (OLD.last_seq = 1) EXECUTE FUNCTION slow()
"""


def test_after_a_commit_of_unknown_outcome_the_store_is_to_be_read(
    plain_dsn: str, device: FakeDevice, lossy_proxy: Callable[[int], LossyProxy]
) -> None:
    """The link breaks while the database commits: the collector cannot know, and finds all of it stored."""
    port = conninfo.conninfo_to_dict(plain_dsn)["port"]
    proxy = lossy_proxy(int(port or 0))
    with psycopg.connect(plain_dsn, autocommit=True) as watching:
        watching.execute(SLOW_COMMIT)
        with running_collector(f"{plain_dsn} port={proxy.port}") as collector, listening(collector) as listener:
            send(collector, device, counts(1, 1))
            assert listener.event()["event"] == "count"
            with ThreadPoolExecutor() as pool:
                sending = pool.submit(send, collector, device, counts(2, 1), 2)
                asleep = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
                until(lambda: watching.execute(asleep).fetchall() == [(1,)])
                proxy.cut()
                proxy.restore()
                sending.result()
                until(lambda: send(collector, device, counts(2, 1), 2).status_code == 200)
            event = listener.event()
            assert event["event"] == "reset"
            [(n,)] = watching.execute("SELECT count(*) FROM count_events").fetchall()
            assert n == 2, "what was not told is there to be read"


def ws_url(collector: RunningCollector, query: str = "") -> str:
    return f"ws://127.0.0.1:{collector.port}/ws/live/counts{query}"


def test_a_websocket_tells_the_same(collector: RunningCollector, device: FakeDevice) -> None:
    async def talk() -> None:
        async with connect(ws_url(collector)) as link:
            await asyncio.to_thread(send, collector, device, counts(1, 2))
            first, second = [json.loads(await link.recv()) for _ in range(2)]
            assert (first["event"], first["data"]["source"]) == ("count", "line")
        async with connect(ws_url(collector, f"?last_id={first['id']}&source=line")) as link:
            assert json.loads(await link.recv()) == second
        async with connect(ws_url(collector, "?last_id=unknown")) as link:
            assert json.loads(await link.recv())["event"] == "reset"

    asyncio.run(talk())


def test_listeners_that_leave_are_forgotten(collector: RunningCollector, device: FakeDevice) -> None:
    async def come_and_go() -> None:
        for _ in range(5):
            link = await connect(ws_url(collector))
            link.transport.abort()

    asyncio.run(come_and_go())
    for _ in range(5):
        with listening(collector):
            pass
    for first_seq in range(1, 100):
        send(collector, device, counts(first_seq, 1), first_seq)
        if httpx.get(collector.url + "/health").json()["listeners"] == 0:
            return
    pytest.fail("the collector still holds listeners that have left")


def narrow_socket(collector: RunningCollector) -> socket.socket:
    """A connection for which the kernel holds little."""
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    made.connect(("127.0.0.1", collector.port))
    return made


def test_a_websocket_that_does_not_read_is_dropped_and_nobody_waits(
    collector: RunningCollector, device: FakeDevice
) -> None:
    """The kernel's buffers fill first, then its queue; the others hear everything meanwhile."""
    batch, n_batches = 5000, 18

    async def hear_all(quick: ClientConnection) -> int:
        heard = 0
        while heard < batch * n_batches:
            heard += json.loads(await quick.recv())["event"] == "count"
        return heard

    async def read_to_the_end(slow: ClientConnection) -> None:
        while True:
            await slow.recv()

    async def talk() -> None:
        async with (
            connect(ws_url(collector), sock=narrow_socket(collector), max_queue=1, ping_interval=None) as slow,
            connect(ws_url(collector)) as quick,
        ):
            hearing = asyncio.create_task(hear_all(quick))
            for first_seq in range(1, n_batches * batch, batch):
                answer = await asyncio.to_thread(send, collector, device, counts(first_seq, batch), first_seq)
                assert answer.status_code == 200
            assert await hearing == n_batches * batch
            with pytest.raises(ConnectionClosed) as closed:
                await read_to_the_end(slow)
            assert closed.value.rcvd is not None
            assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (4408, "slow_reader")

    asyncio.run(talk())
    assert "stopline_live_dropped 1.0" in httpx.get(collector.url + "/metrics").text
