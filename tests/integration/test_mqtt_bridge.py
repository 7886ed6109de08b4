"""Counters that speak only MQTT, a real broker and a real collector, which are killed and come back."""

import asyncio
import itertools
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import paho.mqtt.client as mqtt
import psycopg
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from collector.analytics.daily import DailyWorker
from collector.analytics.hourly import HourlyWorker
from collector.bridge.positions import read_devices, read_positions, save_positions, take_turn
from collector.bridge.records import Position, Who
from collector.bridge.worker import LOCK_KEY, Bridge, _Group
from collector.config import Mqtt
from collector.counting import rollups
from collector.db import Settings, load_queries, make_pool
from collector.errors import ApiProblem, StoreError
from collector.fleet.devices import Devices
from collector.identity.device_tokens import Device
from collector.ingest.group import make_ack
from collector.ingest.store import Store, StreamMoved
from collector.ingest.writer import IngestWriter
from collector.ops.metrics import Metrics
from common.batch import Ack, Batch
from common.codes import Aspect
from common.records import Log
from common.topics import CAR_COUNTS, LANE_STATE, CarCounts, LaneState, write
from tests.integration.ingest_helpers import now_ms, rows
from tests.integration.test_collector_cli import run, serving
from tests.integration.test_logs import _check_audit
from tests.servers.broker import ANYBODY, Mosquitto
from tests.servers.collector import RunningCollector, running_collector

JUNCTION = "Süd / 1"
KEEPING = (
    "user root\nallow_anonymous true\npersistence true\npersistence_location {folder}/\n"
    "autosave_on_changes true\nautosave_interval 1\nset_tcp_nodelay true\n"
)


def wait_for(condition: Callable[[], object], told: Callable[[], object] = lambda: "") -> None:
    deadline_s = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline_s, f"it did not come to be: {told()}"
        time.sleep(0.02)


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    """One that keeps what it was given, and what it has not delivered."""
    made = Mosquitto(tmp_path, KEEPING.format(folder=tmp_path))
    made.start()
    yield made
    made.stop()


class Counter:
    """A lane's counter: it says what it counts, again until the broker has it."""

    def __init__(self, port: int, lane: str, *, told_total: bool = True, junction: str = JUNCTION) -> None:
        self._place = {"junction": junction, "lane": lane, "device": uuid4(), "boot_id": uuid4(), "epoch": 0}
        self._told_total = told_total
        self._seqs = itertools.count(1)
        self.total = 0
        self._said: list[tuple[str, bytes]] = []
        self._paho = mqtt.Client(CallbackAPIVersion.VERSION2, str(uuid4()))
        self._paho.max_queued_messages_set(0)
        self._paho.reconnect_delay_set(1, 1)
        self._paho.connect("127.0.0.1", port)
        self._paho.loop_start()

    def count(self, n: int, *, times: int = 1, flat: bool = False, told: bool = True) -> None:
        self.total += n
        members: dict[str, Any] = {"n": n, "by_class": {"car": n}, "span_ms": 1000}
        members["n_since_boot"] = self.total if self._told_total else 0
        message = self._make(CarCounts, **members)
        for _ in range(times if told else 0):
            self.say(CAR_COUNTS.topic(message.junction, message.lane), write(message))
        if flat:
            self.say("car-counts", write(message))

    def state(self, *, online: bool, seq: int | None = None) -> None:
        message = self._make(LaneState, online=online, aspect=Aspect.RED if online else None)
        self.say(LANE_STATE.topic(message.junction, message.lane), write(message), retain=True)

    def say(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        self._said.append((topic, payload))
        self._last = self._paho.publish(topic, payload, 1, retain)

    def say_again(self, n: int) -> None:
        for topic, payload in self._said[:n]:
            self._paho.publish(topic, payload, 1)

    def close(self) -> None:
        self._last.wait_for_publish(30)
        assert self._last.is_published(), "the broker has it all"
        self._paho.disconnect()
        self._paho.loop_stop()

    def _make(self, kind: Any, **members: Any) -> Any:
        head = {**self._place, "seq": next(self._seqs), "nonce": "12345678", "at": now_ms()}
        return kind(**head, **members)


def n_stored(dsn: str) -> dict[str, int]:
    """Vehicles by lane."""
    found = rows(
        dsn,
        "SELECT z.sensor, count(*) AS n FROM count_events e JOIN counting_zones z ON z.no = e.source_no"
        " GROUP BY 1",
    )
    return {row["sensor"]: row["n"] for row in found}


def make_device(dsn: str, junction: str) -> None:
    """As `device bridge` does."""

    async def make() -> None:
        async with make_pool(Settings(dsn, min_size=1, max_size=1)) as pool:
            await Devices(pool).add_bridge(junction)

    asyncio.run(make())


def settings(broker: Mosquitto, **more: Any) -> dict[str, Any]:
    return {"host": "127.0.0.1", "port": broker.port, "tls": False, "flat": True, "keep_messages": True} | more


def test_nothing_is_lost_and_nothing_comes_twice_whoever_dies(plain_dsn: str, broker: Mosquitto) -> None:
    for word in ("was made", "is there"):
        made = run("device", "bridge", JUNCTION, "--dsn", plain_dsn)
        assert word in made.stdout, made.stderr
    variables = {f"STOPLINE_MQTT__{key.upper()}": str(value).lower() for key, value in settings(broker).items()}
    north = Counter(broker.port, "north")
    south = Counter(broker.port, "south", told_total=False)
    stop = threading.Event()

    def go_on() -> None:
        for number in itertools.count():
            north.count(number % 3, times=1 + (number % 5 == 0), flat=number % 4 == 0, told=number % 7 != 0)
            south.count(1, times=1 + (number % 5 == 0))
            if stop.wait(0.01):
                return

    with serving("--dsn", plain_dsn, **variables) as (_, process):
        first = Counter(broker.port, "first")

        def heard() -> bool:
            first.count(1)
            return "first" in n_stored(plain_dsn)

        wait_for(heard)
        first.close()
        thread = threading.Thread(target=go_on)
        thread.start()
        wait_for(lambda: n_stored(plain_dsn).get("south", 0) > 20)
        process.send_signal(signal.SIGKILL)
        process.wait(30)
    try:
        before = n_stored(plain_dsn)["south"]
        # Counters go on, and the broker keeps what they say; also what they say once more.
        south.say_again(before)
        said = south.total
        wait_for(lambda: south.total > said + 20)
        assert n_stored(plain_dsn)["south"] == before
        with running_collector(plain_dsn, mqtt=settings(broker)) as collector:
            wait_for(lambda: n_stored(plain_dsn)["south"] > before + 30)
            broker.stop()
            broker.start()
            after = n_stored(plain_dsn)["south"]
            wait_for(lambda: n_stored(plain_dsn)["south"] > after + 30)
            stop.set()
            thread.join()
            north.count(1)
            for counter in (north, south):
                counter.close()
            # What `first` said before anybody listened, nobody kept.
            expected = {"north": north.total, "south": south.total, "first": n_stored(plain_dsn)["first"]}
            wait_for(lambda: n_stored(plain_dsn) == expected, lambda: (n_stored(plain_dsn), expected))
            known = "SELECT count(*) AS n FROM mqtt_messages WHERE outcome = 'known'"
            assert rows(plain_dsn, known)[0]["n"] > 5
            assert _taken(collector) > 0
        # The broker still has some that were said twice.
        with running_collector(plain_dsn, mqtt=settings(broker)):
            fence = Counter(broker.port, "fence")
            fence.count(1)
            wait_for(lambda: n_stored(plain_dsn).get("fence"))
            fence.close()
            assert n_stored(plain_dsn) == expected | {"fence": 1}
        _check_audit(plain_dsn)
    finally:
        stop.set()
        thread.join()


def _taken(collector: RunningCollector) -> float:
    text = httpx.get(f"{collector.url}/metrics").text
    lines = [line for line in text.splitlines() if line.startswith("stopline_mqtt_messages_total{")]
    return sum(float(line.split()[-1]) for line in lines)


def test_states_strangers_and_nonsense(plain_dsn: str, tmp_path: Path) -> None:
    make_device(plain_dsn, JUNCTION)
    broker = Mosquitto(tmp_path, ANYBODY)
    broker.start()
    try:
        lane, stranger = Counter(broker.port, "north"), Counter(broker.port, "x", junction="elsewhere")
        lane.state(online=True)
        with running_collector(plain_dsn, mqtt=settings(broker)):
            wait_for(lambda: _qualities(plain_dsn) == ["ok"])
            stranger.count(1)
            lane.say("car-counts", b"{")
            lane.say("car-counts", b"\xff\x00")
            # PostgreSQL takes no NUL: nothing that comes after it may wait for it.
            Counter(broker.port, "a\0b").count(1, told=False, flat=True)
            lane.state(online=False)
            wait_for(lambda: _qualities(plain_dsn) == ["ok", "unreachable"])
            outcomes = "SELECT outcome, junction_id IS NULL AS nowhere FROM mqtt_messages ORDER BY at, outcome"
            wait_for(lambda: len(rows(plain_dsn, outcomes)) == 6)
            found = sorted((row["outcome"], row["nowhere"]) for row in rows(plain_dsn, outcomes))
            assert found == [
                ("foreign", True),
                ("stored", False),
                ("stored", False),
                ("unreadable", True),
                ("unreadable", True),
                ("unreadable", True),
            ]
            # A junction whose device is made later is heard from then on.
            make_device(plain_dsn, "elsewhere")

            def heard() -> bool:
                stranger.count(1)
                return "x" in n_stored(plain_dsn)

            wait_for(heard)
            lane.close()
            stranger.close()
    finally:
        broker.stop()


def _qualities(dsn: str) -> list[str]:
    found = rows(dsn, "SELECT state FROM stream_quality_metrics ORDER BY seq")
    return [row["state"] for row in found]


def test_what_was_written_down_and_never_stored_does_not_hold_later(plain_dsn: str) -> None:
    make_device(plain_dsn, JUNCTION)
    who = Who("CarCounts", "north", uuid4(), uuid4())

    async def live() -> list[Position]:
        found = []
        async with make_pool(Settings(plain_dsn, min_size=1, max_size=1)) as pool:
            turn = await take_turn(pool)
            bridged = (await read_devices(pool))[JUNCTION]
            await save_positions(pool, bridged, {who: Position(1, 10)}, 10, turn)
            bridged.lane(who).put(who.boot_id, Position(1, 10))
            await save_positions(pool, bridged, {who: Position(2, 15)}, 15, turn)
            # It died before the records were stored. Later others took their numbers.
            for watermark in (10, 20):
                again = (await read_devices(pool))[JUNCTION]
                await read_positions(pool, again, watermark, turn)
                found.append(again.lane(who).boots[who.boot_id])
        return found

    assert asyncio.run(live()) == [Position(1, 10)] * 2


class BusyWriter(IngestWriter):
    """One that has to be asked again, and meanwhile something happens; it stores nothing, and says that it did."""

    def __init__(self, meanwhile: Callable[[], object], watermark: int) -> None:
        self.meanwhile, self.answered, self.n_asked = meanwhile, watermark, 0

    async def submit(self, device: Device, batch: Batch, size_bytes: int, *, turn: int | None = None) -> Ack:
        self.n_asked += 1
        if self.n_asked == 1:
            self.meanwhile()
            raise ApiProblem(503, "store_unavailable", "busy", "busy")
        return make_ack(batch.epoch, self.answered, now_ms(), 0.0, [])


@pytest.mark.parametrize("lost_lock", [True, False])
def test_whoever_may_not_be_alone_any_more_writes_nothing_more(plain_dsn: str, lost_lock: bool) -> None:
    """Its numbers may be another's by now: by the lock, or by what the store says of the stream."""
    make_device(plain_dsn, JUNCTION)

    async def live() -> int:
        async with make_pool(Settings(plain_dsn, min_size=1, max_size=2)) as pool:
            lock = await psycopg.AsyncConnection.connect(plain_dsn)
            end = f"SELECT pg_terminate_backend({lock.info.backend_pid})"
            writer = BusyWriter(lambda: rows(plain_dsn, end if lost_lock else "SELECT 1"), watermark=7)
            bridge = Bridge(Mqtt(host="127.0.0.1", tls=False), pool, _connect_never, writer, Metrics())
            bridge._turn = await take_turn(pool)
            bridged = (await read_devices(pool))[JUNCTION]
            record = Log(1, now_ms(), 0, "info", "x", "x")
            group = _Group([record], {Who("CarCounts", "north", uuid4(), uuid4()): Position(1, 1)})
            with pytest.raises((psycopg.OperationalError, StoreError)):
                await bridge._deliver(bridged, group, lock)
            await lock.close()
            return writer.n_asked

    assert asyncio.run(live()) == (1 if lost_lock else 2)


def test_a_bridge_that_was_held_up_writes_nothing_once_another_took_over(plain_dsn: str) -> None:
    """Whether it stood still before it wrote down how far it came, or after. The other one's stand stays."""
    make_device(plain_dsn, JUNCTION)
    who = Who("CarCounts", "north", uuid4(), uuid4())

    async def live(collector: RunningCollector) -> None:
        async with (
            make_pool(Settings(plain_dsn, min_size=1, max_size=2)) as pool,
            await psycopg.AsyncConnection.connect(plain_dsn, autocommit=True) as there,
        ):
            bridges = []
            for _ in ("held up", "goes on"):
                bridge = Bridge(
                    Mqtt(host="127.0.0.1", tls=False), pool, _connect_never, collector.parts.writer, Metrics()
                )
                bridge._turn = await take_turn(pool)
                await bridge._look()
                bridges.append((bridge, bridge._devices[JUNCTION]))
            (late, late_device), (good, good_device) = bridges

            def said(text: str, seq: int, total: int) -> _Group:
                return _Group([Log(1, now_ms(), 0, "info", "x", text)], {who: Position(seq, total)})

            await good._deliver(good_device, said("first", 1, 10), there)
            for text in ("late", "later"):
                with pytest.raises(StoreError):
                    await late._deliver(late_device, said(text, 1, 3), there)
                with pytest.raises(ApiProblem, match="turn"):
                    await late._submit(late_device, said(text, 1, 3).records, there)
            with pytest.raises(StoreError):
                await read_positions(pool, late_device, 0, late._turn)
            await good._deliver(good_device, said("second", 2, 12), there)

    with running_collector(plain_dsn) as collector:
        asyncio.run_coroutine_threadsafe(live(collector), collector.loop).result(60)
    logs = rows(plain_dsn, "SELECT message FROM system_logs WHERE action = 'x' ORDER BY seq")
    assert [row["message"] for row in logs] == ["first", "second"]
    assert rows(plain_dsn, "SELECT seq, total FROM mqtt_positions") == [{"seq": 2, "total": 12}]


def test_who_takes_over_waits_for_who_just_writes(plain_dsn: str) -> None:
    async def live() -> None:
        store = Store(load_queries("ingest"))
        async with (
            make_pool(Settings(plain_dsn, min_size=1, max_size=2)) as pool,
            await psycopg.AsyncConnection.connect(plain_dsn, autocommit=True) as writer,
        ):
            turn = await take_turn(pool)
            async with writer.transaction():
                assert await store.held_turns(writer, {turn}) == {turn}
                taking = asyncio.create_task(take_turn(pool))
                while not rows(plain_dsn, "SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock'"):
                    assert not taking.done()
                    await asyncio.sleep(0.01)
            assert await taking == turn + 1
            with pytest.raises(StreamMoved):
                await store.commit(writer, [], [], {}, turns={turn})

    asyncio.run(live())


def test_a_bridge_at_work_holds_up_no_other_worker(plain_dsn: str) -> None:
    """Whoever works alone does so by a lock, which must be no other's."""
    with psycopg.connect(plain_dsn) as bridge:
        bridge.execute(load_queries("bridge")["lock"], {"key": LOCK_KEY})
        hold_days = load_queries("junction_editing")["hold_days"]
        with psycopg.connect(plain_dsn, options="-c lock_timeout=5s") as editing:
            editing.execute(hold_days)
            for key in (DailyWorker.lock_key, HourlyWorker.lock_key, rollups.LOCK_KEY):
                with psycopg.connect(plain_dsn) as other:
                    held = other.execute(load_queries("rollups")["try_lock"], {"key": key}).fetchone()
                    assert held == (False,), "whoever edits a junction holds them all"


async def _connect_never() -> psycopg.AsyncConnection[Any]:
    raise AssertionError("nobody asks for it")


def test_two_collectors_share_one_bridge(plain_dsn: str, tmp_path: Path) -> None:
    make_device(plain_dsn, JUNCTION)
    broker = Mosquitto(tmp_path, ANYBODY)
    broker.start()
    try:
        early, lane = Counter(broker.port, "early"), Counter(broker.port, "north")
        with running_collector(plain_dsn, mqtt=settings(broker)) as second:
            with running_collector(plain_dsn, mqtt=settings(broker)) as first:

                def heard() -> bool:
                    # What it says before anybody listened, nobody keeps.
                    early.count(1)
                    return bool(n_stored(plain_dsn))

                wait_for(heard)
                early.close()
                lane.count(1)
                wait_for(lambda: "north" in n_stored(plain_dsn))
                both = [_taken(first) > 0, _taken(second) > 0]
                assert sorted(both) == [False, True]
            # The one that stays goes on, whichever it is.
            before = n_stored(plain_dsn)["north"]

            def more() -> bool:
                lane.count(1)
                return n_stored(plain_dsn)["north"] > before + 3

            wait_for(more)
            lane.close()
            wait_for(lambda: n_stored(plain_dsn)["north"] == lane.total)
        # All was acknowledged, but for the last one perhaps, if it was stored as the bridge was stopped.
        with running_collector(plain_dsn, mqtt=settings(broker)) as third:
            fence = Counter(broker.port, "fence")
            fence.count(1)
            fence.close()
            wait_for(lambda: n_stored(plain_dsn).get("fence"))
            assert _taken(third) <= 2
            assert n_stored(plain_dsn)["north"] == lane.total
    finally:
        broker.stop()


def test_without_a_broker_in_the_settings_nothing_of_mqtt_is_loaded() -> None:
    import subprocess
    import sys

    code = "import collector.app, sys; sys.exit('paho' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_certificates_that_are_not_there_are_told(plain_dsn: str, tmp_path: Path) -> None:
    file = tmp_path / "collector.toml"
    file.write_text(f'[mqtt]\nhost = "127.0.0.1"\nca_file = "{tmp_path}/none.crt"\n')
    done = run("serve", "--port", "0", "--dsn", plain_dsn, "--config", str(file))
    assert done.returncode == 78, done.stderr
    assert "mqtt: there is no file" in done.stderr
