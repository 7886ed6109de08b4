"""Ingest while the database dies, the link loses answers, and the collector stops: nothing lost, nothing twice.

The oracle is what the senders know: every batch that was acknowledged is there, and at the end, when all were,
each record is there exactly once.
"""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import psycopg
import pytest

from tests.integration.ingest_helpers import account, ask, counts, rows, send, stored_seqs
from tests.servers.collector import RunningCollector, running_collector
from tests.servers.databases import TEMPLATE
from tests.servers.device import FakeDevice
from tests.servers.postgres import PgServer
from tests.servers.proxy import LossyProxy

N_DEVICES = 8
BATCH = 10


@pytest.fixture
def dsn(pg_server: PgServer) -> str:
    return pg_server.dsn(TEMPLATE)


@pytest.fixture
def devices(dsn: str) -> list[FakeDevice]:
    made = [FakeDevice() for _ in range(N_DEVICES)]
    for device in made:
        device.enrol(dsn)
    return made


class Sender:
    """A device that sends until told to stop, and goes on from what was acknowledged."""

    def __init__(self, url: str, device: FakeDevice) -> None:
        self.url = url
        self.device = device
        self.acknowledged = 0
        self.statuses: list[int] = []
        self.stop = threading.Event()

    def run(self) -> None:
        while not self.stop.is_set():
            self.send_one()

    def send_one(self) -> None:
        first_seq = self.acknowledged + 1
        try:
            answer = send(self.url, self.device, counts(first_seq, BATCH), first_seq)
        except httpx.TransportError:
            self.statuses.append(0)
            return
        self.statuses.append(answer.status_code)
        if answer.status_code == 200:
            self.acknowledged = answer.json()["watermark"]
        elif answer.status_code == 503:
            assert answer.json()["code"] == "store_unavailable"
            assert int(answer.headers["retry-after"]) >= 1
            self.stop.wait(0.1)
        else:
            raise AssertionError(answer.text)


@pytest.fixture
def collector(dsn: str) -> Iterator[RunningCollector]:
    with running_collector(dsn) as running:
        yield running


def sending(url: str, devices: list[FakeDevice], while_sending: Callable[[list[Sender]], None]) -> list[Sender]:
    """Let all devices send while something happens; then one more batch each, which must succeed."""
    senders = [Sender(url, device) for device in devices]
    with ThreadPoolExecutor(len(senders)) as pool:
        running = [pool.submit(sender.run) for sender in senders]
        try:
            while_sending(senders)
        finally:
            for sender in senders:
                sender.stop.set()
        for future in running:
            future.result()
    for sender in senders:
        sender.send_one()
        assert sender.statuses[-1] == 200
    return senders


def wait_for_progress(senders: list[Sender], n: int = 2 * BATCH) -> None:
    """Until each has got some more acknowledged."""
    before = [sender.acknowledged for sender in senders]
    deadline_s = time.monotonic() + 60
    while any(s.acknowledged < b + n for s, b in zip(senders, before, strict=True)):
        assert time.monotonic() < deadline_s, "the senders make no progress"
        time.sleep(0.01)


def wait_for_health(collector: RunningCollector) -> None:
    """The pool finds out by itself that the store is back, some seconds after the writers did."""
    deadline_s = time.monotonic() + 30
    while (health := httpx.get(collector.url + "/health").json())["status"] != "ok":
        assert time.monotonic() < deadline_s, health
        time.sleep(0.05)


def assert_exactly_once(dsn: str, senders: list[Sender]) -> None:
    for sender in senders:
        n = sender.acknowledged
        assert stored_seqs(dsn, sender.device) == list(range(1, n + 1))
        assert account(dsn, sender.device) == (n, n, 0, 0)


@pytest.mark.long
def test_the_database_is_killed_and_comes_back_under_load(
    pg_server: PgServer, collector: RunningCollector, dsn: str, devices: list[FakeDevice]
) -> None:
    def kill_thrice(senders: list[Sender]) -> None:
        for _ in range(3):
            wait_for_progress(senders)
            pg_server.kill()
            deadline_s = time.monotonic() + 30
            while not all(503 in sender.statuses[-20:] for sender in senders):
                assert time.monotonic() < deadline_s, "nobody was told that the store is away"
                time.sleep(0.01)
            assert httpx.get(collector.url + "/health").status_code == 503
            pg_server.start()
        wait_for_progress(senders)

    senders = sending(collector.url, devices, kill_thrice)
    assert_exactly_once(dsn, senders)
    wait_for_health(collector)


def test_a_restart_between_two_batches_costs_no_error(
    pg_server: PgServer, collector: RunningCollector, devices: list[FakeDevice]
) -> None:
    """The writers' connections are dead then, and nobody needs to know."""
    assert send(collector, devices[0], counts(1, 5)).status_code == 200
    pg_server.stop()
    pg_server.start()
    assert send(collector, devices[0], counts(6, 5), 6).status_code == 200
    assert send(collector, devices[1], counts(1, 5)).status_code == 200


def test_answers_that_are_lost_after_the_commit_double_nothing(
    collector: RunningCollector,
    dsn: str,
    devices: list[FakeDevice],
    lossy_proxy: Callable[[int], LossyProxy],
) -> None:
    proxy = lossy_proxy(collector.port)

    def lose_some(senders: list[Sender]) -> None:
        for _ in range(10):
            before = proxy.n_lost
            proxy.lose_answers(3)
            proxy.wait_until_lost(before + 3)
        wait_for_progress(senders)

    senders = sending(f"http://127.0.0.1:{proxy.port}", devices, lose_some)
    assert sum(sender.statuses.count(0) for sender in senders) >= 30
    assert_exactly_once(dsn, senders)


def test_the_link_to_the_database_is_cut_again_and_again(
    pg_server: PgServer,
    dsn: str,
    devices: list[FakeDevice],
    lossy_proxy: Callable[[int], LossyProxy],
) -> None:
    """Cuts hit everywhere, the commit included: its outcome is then unknown, and must not be guessed."""
    proxy = lossy_proxy(pg_server.port)
    through_proxy = psycopg.conninfo.make_conninfo(dsn, port=proxy.port)
    with running_collector(through_proxy) as collector:

        def cut(senders: list[Sender]) -> None:
            for round_number in range(40):
                time.sleep(0.003 * (round_number % 9))
                proxy.cut()
                proxy.restore()
            for _ in range(10):
                proxy.lose_answers(5)
                proxy.wait_until_lost(proxy.n_lost + 1)
            proxy.restore()
            wait_for_progress(senders)

        senders = sending(collector.url, devices, cut)
    assert_exactly_once(dsn, senders)


def test_a_collector_that_stops_leaves_nothing_half_done(dsn: str, devices: list[FakeDevice]) -> None:
    """Stopped under load, started again; what was acknowledged is there, the rest comes again."""
    senders: list[Sender] = []
    for _ in range(3):
        acknowledged = {sender.device.id: sender.acknowledged for sender in senders}
        with running_collector(dsn) as collector:
            senders = [Sender(collector.url, device) for device in devices]
            for sender in senders:
                sender.acknowledged = ask(collector, sender.device).json()["watermark"]
                assert sender.acknowledged >= acknowledged.get(sender.device.id, 0)
            threads = [threading.Thread(target=sender.run) for sender in senders]
            for thread in threads:
                thread.start()
            wait_for_progress(senders)
        for sender in senders:
            sender.stop.set()
        for thread in threads:
            thread.join(30)
    with running_collector(dsn) as collector:
        for sender in senders:
            sender.url = collector.url
            sender.send_one()
    assert_exactly_once(dsn, senders)


def test_a_sender_that_hangs_up_leaves_nothing_half_done(
    collector: RunningCollector, dsn: str, devices: list[FakeDevice]
) -> None:
    """Clients that go away right after sending, or in the middle of it."""

    async def hang_up(device: FakeDevice, first_seq: int, share: float) -> None:
        body = device.batch(counts(first_seq, 50), first_seq=first_seq)
        head = (
            f"POST /api/ingest/batches HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {device.token()}\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        ).encode()
        _, writer = await asyncio.open_connection("127.0.0.1", collector.port)
        writer.write((head + body)[: int(share * len(head + body))])
        await writer.drain()
        writer.transport.abort()

    async def all_hang_up() -> None:
        shares = (1.0, 0.99, 0.5, 0.1)
        await asyncio.gather(*(hang_up(device, 1, share) for device in devices for share in shares))

    asyncio.run(all_hang_up())
    for device in devices:
        watermark = ask(collector, device).json()["watermark"]
        assert watermark in (0, 50)
        answer = send(collector, device, counts(1, 60))
        assert answer.json()["watermark"] == 60
        assert stored_seqs(dsn, device) == list(range(1, 61))


def test_a_full_disk_is_no_fault_of_the_records(
    collector: RunningCollector, dsn: str, devices: list[FakeDevice]
) -> None:
    """What the database cannot do now is answered 503, and nothing is put aside for it."""
    assert send(collector, devices[0], counts(1, 5)).status_code == 200
    with psycopg.connect(dsn) as connection:
        connection.execute(
            "CREATE FUNCTION no_room() RETURNS trigger LANGUAGE plpgsql AS"
            " $$ BEGIN RAISE EXCEPTION 'disk full' USING ERRCODE = 'disk_full'; END $$"
        )
        connection.execute(
            "CREATE TRIGGER no_room BEFORE INSERT ON count_events FOR EACH ROW EXECUTE FUNCTION no_room()"
        )
    answer = send(collector, devices[0], counts(6, 5), 6)
    assert (answer.status_code, answer.json()["code"]) == (503, "store_unavailable")
    with psycopg.connect(dsn) as connection:
        connection.execute("DROP TRIGGER no_room ON count_events")
    assert send(collector, devices[0], counts(6, 5), 6).json()["rejected"] == []
    assert rows(dsn, "SELECT * FROM ingest_rejects") == []
    assert account(dsn, devices[0]) == (10, 10, 0, 0)
