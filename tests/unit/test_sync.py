"""The sync against a collector over real HTTP: every answer it can give, and none at all."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from random import Random

import httpx
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.batch import MAX_BATCH_BYTES, MAX_BATCH_RECORDS, Pace, Rejection
from common.clock import FLOOR_MS, Resolved, Stamp
from common.codes import GapReason, ProblemCode, RejectCode
from edge_agent.clock_source import Clock
from edge_agent.enrol import Identity, load_or_create
from edge_agent.outbox.writer import OutboxWriter, WriterSettings
from edge_agent.sync import Phase, Syncer, SyncSettings, Trouble
from edge_agent.sync.exchange import Exchange, Refusal, _offer_decoder
from edge_agent.sync.pacing import BatchSize, backoff_s, parse_retry_after, spread_s
from edge_agent.sync.trouble import explain_answer
from tests.collector_double import Answer, DoubleCollector, make_certificate
from tests.outbox_model import count

pytestmark = pytest.mark.anyio
Lost = None
"""An answer that never arrives."""


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def identity(tmp_path: Path) -> Identity:
    return load_or_create(tmp_path / "identity", "pi-1")


class TestClock(Clock):
    """The real clock, and a wall clock that can be wrong."""

    __test__ = False

    def __init__(self, offset_ms: int = 0, *, synced: bool = True) -> None:
        super().__init__()
        self._offset_ms, self._says_synced = offset_ms, synced

    def stamp(self) -> Stamp:
        stamp = super().stamp()
        return msgspec.structs.replace(stamp, wall_ms=stamp.wall_ms + self._offset_ms, synced=self._says_synced)


class Agent:
    """A writer and a syncer that wait little."""

    def __init__(self, writer: OutboxWriter, syncer: Syncer, clock: Clock) -> None:
        self.writer, self.syncer, self.clock = writer, syncer, clock
        self.waits_s: list[float] = []
        self._serial = 0

    async def make(self, n: int) -> None:
        for _ in range(n):
            self._serial += 1
            await self.writer.put(count(self._serial), self.clock.stamp())
        await self.writer.flush()

    async def until(self, done: Callable[[], bool]) -> None:
        async with asyncio.timeout(20):
            while not done():
                await asyncio.sleep(0.005)

    async def until_empty(self) -> None:
        async with asyncio.timeout(20):
            while (await self.writer.stats()).waiting:
                await asyncio.sleep(0.005)

    async def until_trouble(self) -> Trouble:
        await self.until(lambda: self.syncer.state.trouble is not None)
        assert self.syncer.state.trouble is not None
        return self.syncer.state.trouble


@asynccontextmanager
async def running(
    folder: Path,
    identity: Identity,
    url: str,
    clock: Clock | None = None,
    *,
    hurry: bool = True,
    ca_file: Path | None = None,
) -> AsyncIterator[Agent]:
    clock = clock or TestClock()
    writer = OutboxWriter(folder / "outbox.db", clock, settings=WriterSettings(commit_interval_s=0.01))
    settings = SyncSettings(url, ca_file=str(ca_file) if ca_file else None, send_interval_s=0.0)
    async with writer:
        syncer = Syncer(writer, settings, identity, clock)
        agent = Agent(writer, syncer, clock)
        if hurry:
            wait_after = syncer._wait_after

            def note_wait(trouble: object, failures: int) -> float:
                agent.waits_s.append(wait_after(trouble, failures))  # type: ignore[arg-type]
                return 0.01

            syncer._wait_after = note_wait  # type: ignore[method-assign]
        tasks = [asyncio.create_task(writer.run()), asyncio.create_task(syncer.run())]
        try:
            yield agent
        finally:
            for task in tasks:
                task.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
            assert all(isinstance(result, asyncio.CancelledError) for result in results), results


# What goes well


async def test_records_arrive_once_in_order_and_leave_the_outbox(tmp_path: Path, identity: Identity) -> None:
    with DoubleCollector(identity) as collector:
        async with running(tmp_path, identity, collector.url) as agent:
            for _ in range(5):
                await agent.make(30)
                await agent.until_empty()
            assert agent.syncer.state.phase is Phase.CONNECTED
            assert agent.syncer.state.delivered == 150
            assert agent.syncer.state.last_success_ms is not None
        assert collector.model.stored() == [f"n{serial}" for serial in range(1, 151)]
        assert collector.asked[0].startswith("GET ")
        assert sum(asked.startswith("GET ") for asked in collector.asked) == 1


async def test_a_restart_asks_where_the_collector_stands_and_goes_on(tmp_path: Path, identity: Identity) -> None:
    with DoubleCollector(identity) as collector:
        for _ in range(3):
            async with running(tmp_path, identity, collector.url) as agent:
                await agent.make(10)
                await agent.until_empty()
        assert len(collector.model.streams) == 1
        (stream,) = collector.model.streams.values()
        assert stream.watermark == 30


async def test_the_collectors_pace_is_kept(tmp_path: Path, identity: Identity) -> None:
    with DoubleCollector(identity) as collector:
        collector.pace = Pace(7, 1_000_000, 1)
        async with running(tmp_path, identity, collector.url) as agent:
            await agent.make(100)
            await agent.until_empty()
        assert collector.batch_sizes[0] == 100
        collector.batch_sizes.clear()
        async with running(tmp_path, identity, collector.url) as agent:
            await agent.make(1)
            await agent.until_empty()
            await agent.make(50)
            await agent.until_empty()
        assert max(collector.batch_sizes) == 7


async def test_rejected_records_are_counted_and_kept_aside(tmp_path: Path, identity: Identity) -> None:
    with DoubleCollector(identity) as collector:
        collector.rejections = [Rejection(2, RejectCode.TIME_IMPLAUSIBLE, "1970")]
        async with running(tmp_path, identity, collector.url) as agent:
            await agent.make(3)
            await agent.until_empty()
            assert agent.syncer.state.rejected == 2, "the double says it with every answer"
            assert [item.seq for item in await agent.writer.quarantine()] == [2]


# What goes wrong


async def test_lost_answers_double_nothing(tmp_path: Path, identity: Identity) -> None:
    def lose(normal: Callable[[], Answer]) -> Answer | None:
        normal()
        return Lost

    with DoubleCollector(identity) as collector:
        async with running(tmp_path, identity, collector.url) as agent:
            for _ in range(6):
                collector.script.extend([lose, lose, None])
                await agent.make(10)
                await agent.until_empty()
        collector.model.check()
        assert len(collector.model.stored()) == 60


async def test_a_hole_is_filled_from_where_the_collector_says(tmp_path: Path, identity: Identity) -> None:
    with DoubleCollector(identity) as collector:
        async with running(tmp_path, identity, collector.url) as agent:
            await agent.make(10)
            await agent.until_empty()
            await agent.writer.flush()
            collector.model.streams.clear()
            await agent.make(5)
            await agent.until_empty()
        (stream,) = collector.model.streams.values()
        assert (stream.watermark, stream.lost, len(stream.stored)) == (15, 10, 5)
        assert stream.gaps[0].reason is GapReason.COLLECTOR_LOST


@pytest.mark.parametrize(
    "code", [ProblemCode.DEVICE_UNKNOWN, ProblemCode.DEVICE_REVOKED, ProblemCode.TOKEN_INVALID]
)
async def test_a_stranger_keeps_everything_slows_down_and_says_so(
    tmp_path: Path, identity: Identity, code: ProblemCode
) -> None:
    with DoubleCollector(identity) as collector:
        collector.script.extend([lambda _: collector.problem(403, code)] * 3)
        async with running(tmp_path, identity, collector.url) as agent:
            await agent.make(5)
            trouble = await agent.until_trouble()
            assert trouble.mend
            await agent.until_empty()
            assert agent.waits_s[0] >= 30
            assert agent.waits_s[2] >= 120
            assert agent.syncer.state.trouble is None
        assert len(collector.model.stored()) == 5


@pytest.mark.parametrize("offset_s", [-400 * 86_400, -600, 600, 400 * 86_400])
async def test_a_wrong_clock_is_corrected_by_the_collectors(
    tmp_path: Path, identity: Identity, offset_s: int
) -> None:
    clock = TestClock(offset_s * 1000, synced=False)
    with DoubleCollector(identity) as collector:
        async with running(tmp_path, identity, collector.url, clock) as agent:
            await agent.make(5)
            await agent.until_empty()
            assert agent.waits_s == []
        assert len(collector.model.stored()) == 5


async def test_a_collector_whose_clock_nobody_can_follow_is_not_asked_for_ever(
    tmp_path: Path, identity: Identity
) -> None:
    with DoubleCollector(identity) as collector:
        collector.script.extend([lambda _: collector.problem(401, ProblemCode.TOKEN_TIME)] * 2)
        async with running(tmp_path, identity, collector.url) as agent:
            await agent.make(1)
            trouble = await agent.until_trouble()
            assert "clocks" in trouble.what
            await agent.until_empty()
            assert len(agent.waits_s) == 1


async def test_a_batch_that_is_too_large_is_halved_until_it_fits(tmp_path: Path, identity: Identity) -> None:
    with DoubleCollector(identity) as collector:

        def small_only(normal: Callable[[], Answer]) -> Answer:
            return collector.problem(413, ProblemCode.BATCH_TOO_LARGE)

        collector.script.extend([None, small_only, small_only, small_only])
        async with running(tmp_path, identity, collector.url) as agent:
            await agent.make(80)
            await agent.until_empty()
            assert agent.waits_s == []
        assert collector.batch_sizes[0] == 10
        assert len(collector.model.stored()) == 80


async def test_one_record_that_is_too_large_alone_becomes_a_tombstone(tmp_path: Path, identity: Identity) -> None:
    with DoubleCollector(identity) as collector:
        collector.script.extend([None, *[lambda _: collector.problem(413, ProblemCode.BATCH_TOO_LARGE)] * 3])
        async with running(tmp_path, identity, collector.url) as agent:
            await agent.make(4)
            await agent.until_empty()
            assert [item.seq for item in await agent.writer.quarantine()] == [1]
        assert [(gap.reason, gap.from_seq, gap.seq) for gap in collector.model.gaps()] == [
            (GapReason.TOO_LARGE, 1, 1)
        ]
        assert collector.model.stored() == ["n2", "n3", "n4"]


async def test_a_proxy_that_says_too_large_costs_no_record(tmp_path: Path, identity: Identity) -> None:
    with DoubleCollector(identity) as collector:
        collector.script.extend([None, *[lambda _: (413, {}, b"<html>")] * 4])
        async with running(tmp_path, identity, collector.url) as agent:
            await agent.make(2)
            trouble = await agent.until_trouble()
            assert "proxy" in trouble.mend
            await agent.until_empty()
        assert collector.model.stored() == ["n1", "n2"]


@pytest.mark.parametrize(
    ("status", "headers", "more"),
    [(429, {}, {"retry_after_s": 17.0}), (503, {"Retry-After": "17"}, {}), (503, {}, {"retry_after_s": 17.0})],
)
async def test_a_busy_collector_says_when_to_come_back(
    tmp_path: Path, identity: Identity, status: int, headers: dict[str, str], more: dict[str, float]
) -> None:
    with DoubleCollector(identity) as collector:

        def busy(_: Callable[[], Answer]) -> Answer:
            code, own, body = collector.problem(status, ProblemCode.OVERLOADED, **more)
            return code, own | headers, body

        collector.script.append(busy)
        async with running(tmp_path, identity, collector.url) as agent:
            await agent.make(1)
            await agent.until_empty()
            assert 17 <= agent.waits_s[0] <= 17 * 1.2


@pytest.mark.parametrize(
    ("answer", "word"),
    [
        ((200, {}, b"<html>Welcome to our Wi-Fi"), "no Stopline collector"),
        ((302, {"Location": "http://elsewhere/"}, b""), "redirects"),
        ((404, {}, b""), "no Stopline collector"),
        ((500, {}, b"oops"), "500"),
        ((502, {}, b"\xff\xfe"), "502"),
        ((407, {}, b""), "407"),
        ((200, {}, b"x" * 5_000_000), "no Stopline collector"),
        ((200, {"Content-Encoding": "gzip"}, b"not gzip"), "failed"),
    ],
)
async def test_whatever_else_is_answered_is_told_and_tried_again(
    tmp_path: Path, identity: Identity, answer: Answer, word: str
) -> None:
    with DoubleCollector(identity) as collector:
        collector.script.append(lambda _: answer)
        async with running(tmp_path, identity, collector.url) as agent:
            await agent.make(3)
            assert word in (await agent.until_trouble()).what
            await agent.until_empty()
        assert len(collector.model.stored()) == 3


async def test_an_acknowledgement_out_of_a_cache_deletes_nothing(tmp_path: Path, identity: Identity) -> None:
    saved: list[Answer] = []

    def save(normal: Callable[[], Answer]) -> Answer:
        saved.append(normal())
        return saved[0]

    with DoubleCollector(identity) as collector:
        collector.script.extend([None, save])
        async with running(tmp_path / "other", load_or_create(tmp_path / "identity", "x"), collector.url) as agent:
            await agent.make(50)
            await agent.until_empty()
        collector.script.extend([None, lambda _: saved[0]])
        async with running(tmp_path, identity, collector.url) as agent:
            await agent.make(20)
            assert "another epoch" in (await agent.until_trouble()).what
            await agent.until_empty()
        assert collector.model.lost() == 0
        assert len([s for s in collector.model.streams.values() if s.watermark == 20]) == 1


async def trouble_at(folder: Path, identity: Identity, url: str, **more: Path) -> Trouble:
    async with running(folder, identity, url, **more) as agent:  # type: ignore[arg-type]
        await agent.make(1)
        return await agent.until_trouble()


async def test_troubles_of_the_network_are_told_in_words(tmp_path: Path, identity: Identity) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    trouble = await trouble_at(tmp_path, identity, f"http://127.0.0.1:{port}")
    assert trouble.what == f"127.0.0.1:{port} refuses connections"
    trouble = await trouble_at(tmp_path, identity, f"http://localhost:{port}")
    assert trouble.what == f"localhost:{port} refuses connections"
    trouble = await trouble_at(tmp_path, identity, "https://nowhere.invalid")
    assert "cannot be looked up" in trouble.what
    assert "DNS" in trouble.mend


async def test_https_with_an_own_authority(tmp_path: Path, identity: Identity) -> None:
    tls, ca_file = make_certificate(tmp_path, "localhost")
    with DoubleCollector(identity, tls) as collector:
        async with running(tmp_path, identity, collector.url, ca_file=ca_file) as agent:
            await agent.make(10)
            await agent.until_empty()
        assert len(collector.model.stored()) == 10
        trouble = await trouble_at(tmp_path / "no_ca", identity, collector.url)
        assert "nobody that this Pi trusts" in trouble.what
        assert "ca_file" in trouble.mend
        trouble = await trouble_at(tmp_path / "bad_ca", identity, collector.url, ca_file=tmp_path / "none.pem")
        assert "cannot be read" in trouble.what
        trouble = await trouble_at(tmp_path / "plain", identity, collector.url.replace("https", "http"))
        assert trouble.what


@pytest.mark.parametrize(
    ("name", "begin_days", "end_days", "words"),
    [
        ("elsewhere.example", -1, 1, "not one of localhost"),
        ("localhost", -9, -1, "has expired"),
        ("localhost", 1, 9, "is not valid yet"),
    ],
)
async def test_certificates_that_do_not_fit_are_told_apart(
    tmp_path: Path, identity: Identity, name: str, begin_days: int, end_days: int, words: str
) -> None:
    days = (timedelta(days=begin_days), timedelta(days=end_days))
    tls, ca_file = make_certificate(tmp_path, name, begin=days[0], end=days[1])
    with DoubleCollector(identity, tls) as collector:
        trouble = await trouble_at(tmp_path, identity, collector.url, ca_file=ca_file)
        assert words in trouble.what
        assert collector.asked == []


async def test_with_a_clock_that_is_not_in_time_a_certificates_dates_are_judged_by_the_collectors_time(
    tmp_path: Path, identity: Identity
) -> None:
    """The test machine's clock is right, and the certificate lies in the future: as if this clock were behind."""
    tls, ca_file = make_certificate(tmp_path, "localhost", begin=timedelta(days=10), end=timedelta(days=20))
    clock = TestClock(synced=False)
    with DoubleCollector(identity, tls) as collector:
        collector.clock_offset_s = 15 * 86_400.0
        async with running(tmp_path, identity, collector.url, clock, ca_file=ca_file) as agent:
            await agent.make(10)
            await agent.until_empty()
        assert len(collector.model.stored()) == 10
        collector.clock_offset_s = 25 * 86_400.0
        async with running(tmp_path / "late", identity, collector.url, clock, ca_file=ca_file) as agent:
            await agent.make(10)
            assert "the collector's own clock says otherwise" in (await agent.until_trouble()).what
            assert (await agent.writer.stats()).waiting == 10


async def test_a_server_that_never_answers_does_not_stop_counting_or_stopping(
    tmp_path: Path, identity: Identity
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        async with running(tmp_path, identity, url) as agent:
            await agent.make(10)
            await asyncio.sleep(0.05)
            await agent.make(10)
            assert (await agent.writer.stats()).waiting == 20


async def test_it_never_spins(tmp_path: Path, identity: Identity) -> None:
    """With the true waits, a collector that refuses is asked a handful of times, not thousands."""
    with DoubleCollector(identity) as collector:
        collector.script.extend([lambda _: (500, {}, b"")] * 1000)
        async with running(tmp_path, identity, collector.url, hurry=False) as agent:
            await agent.make(10)
            await asyncio.sleep(1.0)
        assert 1 <= len(collector.asked) <= 6


async def test_a_disk_that_refuses_at_first_contact_is_told(tmp_path: Path, identity: Identity) -> None:
    async with OutboxWriter(tmp_path / "outbox.db", TestClock()) as writer:
        await writer.put(count(1), TestClock().stamp())
    with DoubleCollector(identity) as collector:
        async with running(tmp_path, identity, collector.url) as agent:
            db = agent.writer._open()._file._db
            refuse = agent.writer._submit(db.execute, "PRAGMA query_only=1")
            assert "disk" in (await agent.until_trouble()).mend
            await refuse
            assert collector.batch_sizes == []
            await agent.writer._call(db.execute, "PRAGMA query_only=0")
            await agent.until_empty()


async def test_a_disk_that_comes_back_is_noticed_without_new_records(tmp_path: Path, identity: Identity) -> None:
    with DoubleCollector(identity) as collector:
        async with running(tmp_path, identity, collector.url) as agent:
            db = agent.writer._open()._file._db
            await agent.writer._call(db.execute, "PRAGMA query_only=1")
            await agent.make(2)
            await agent.writer._call(db.execute, "PRAGMA query_only=0")
            await agent.until_empty()
        assert collector.model.stored() == ["n1", "n2"]


# Pure parts


@pytest.mark.parametrize(
    "url",
    [
        "collector.example.org",
        "ftp://collector.example.org",
        "http://collector.example.org",
        "http://10.0.0.1:8080",
        "https://",
        "https://x:99999",
    ],
)
def test_addresses_that_cannot_work_or_are_not_safe_are_refused(url: str) -> None:
    with pytest.raises(ValueError, match="url is"):
        SyncSettings(url)


@pytest.mark.parametrize(
    "url", ["https://x.example", "http://localhost:1", "http://127.0.0.1:80", "http://[::1]:80"]
)
def test_addresses_that_are_fine(url: str) -> None:
    assert SyncSettings(url).url == url
    assert SyncSettings("http://10.0.0.1", allow_plain_http=True).host == "10.0.0.1"


@given(st.integers(1, 1000), st.integers(), st.booleans())
def test_backoff_is_bounded_and_grows(failures: int, seed: int, slow: bool) -> None:
    wait_s = backoff_s(failures, Random(seed), slow=slow)
    assert 0.2 <= wait_s <= (900 if slow else 300)
    assert wait_s <= (60 if slow else 1) * 2 ** (failures - 1)
    if slow:
        assert wait_s >= 30


def test_a_fleet_comes_back_spread_out() -> None:
    waits_s = sorted(backoff_s(9, Random(seed)) for seed in range(1000))
    assert 20 < waits_s[100] < 50 < waits_s[500] < 200 < waits_s[900]
    assert len({spread_s(10, Random(seed)) for seed in range(100)}) == 100


@pytest.mark.parametrize(
    ("value", "wait_s"),
    [
        (None, None),
        ("", None),
        ("soon", None),
        ("nan", None),
        ("12", 12.0),
        ("-5", 0.0),
        ("1e9", 3600.0),
        ("Thu, 01 Jan 2026 00:00:30 GMT", 30.0),
        ("Thu, 01 Jan 2015 00:00:30 GMT", 0.0),
    ],
)
def test_retry_after(value: str | None, wait_s: float | None) -> None:
    assert parse_retry_after(value, FLOOR_MS / 1000) == wait_s


@given(st.lists(st.one_of(st.integers(1, 6000), st.builds(Pace, *[st.integers(-5, 2**31)] * 3))))
def test_batches_stay_within_what_the_protocol_allows(steps: list[int | Pace]) -> None:
    size = BatchSize()
    for step in steps:
        if isinstance(step, int):
            size.halve(min(step, size.max_records))
        else:
            size.follow(step)
        assert 1 <= size.max_records <= MAX_BATCH_RECORDS
        assert 0 < size.max_bytes < MAX_BATCH_BYTES


@pytest.mark.parametrize("status", [200, 302, 400, 401, 403, 404, 407, 413, 418, 500, 503])
def test_every_answer_has_words_and_a_mend(status: int) -> None:
    trouble = explain_answer(status, None, "host")
    assert "host" in trouble.what
    assert trouble.mend


def test_openssl_knows_the_flag_that_leaves_dates_out() -> None:
    context = ssl.create_default_context()
    context.verify_flags |= ssl.VerifyFlags(0x200000)
    assert context.verify_flags & 0x200000
    assert context.verify_mode is ssl.CERT_REQUIRED


def test_an_order_that_is_nested_without_end_is_no_answer(identity: Identity) -> None:
    exchange = Exchange(SyncSettings("https://collector"), identity, Clock(), lambda anchor: None)
    deep = b'{"commands": [{"order": ' + b"[" * 100_000 + b"]" * 100_000 + b"}]}"
    now = Resolved(FLOOR_MS, 0)
    for status in (200, 400):
        answer = exchange._parse(httpx.Response(status), deep, now, _offer_decoder)
        assert isinstance(answer, Refusal)
