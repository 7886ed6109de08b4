"""The bridge: from the broker to the ingest writer, and only then back to the broker: it is stored."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from uuid import UUID

import msgspec
import psycopg
from msgspec import structs

from collector.bridge.positions import (
    STREAM,
    Bridged,
    epoch_of,
    read_devices,
    read_positions,
    save_positions,
    take_turn,
)
from collector.bridge.records import Position, Unbelievable, Who, take_in, who_says
from collector.config import Mqtt
from collector.db import Pool, load_queries, writing
from collector.errors import ApiProblem, SettingError, StoreError
from collector.ingest.link import Connect, Connection
from collector.ingest.writer import IngestWriter
from collector.ops.clock import unix_ms
from collector.ops.metrics import Metrics
from common.batch import MAX_BATCH_RECORDS, Batch, ClockState
from common.brokers import Broker, MqttUnusable, tls_context
from common.records import Record
from common.topics import CAR_COUNTS, GREEN_TIME, LANE_STATE, LaneMessage, MessageError, read

if TYPE_CHECKING:  # paho is loaded only where a broker is configured
    from collector.bridge.client import Arrived, Listener

_log = logging.getLogger(__name__)

LOCK_KEY = 0x53544F54
_LOOK_EVERY_S = 3.0
"""How often devices that were made meanwhile are looked for."""
_MOST_MESSAGES = 500
_MOST_RECORDS = MAX_BATCH_RECORDS // 2
_RETRY_S = 2.0
_PATIENT = (429, 503)


@dataclass
class _Group:
    """What some messages become, of one device: one batch, stored whole or not at all."""

    records: list[Record] = field(default_factory=list)
    changed: dict[Who, Position] = field(default_factory=dict)


@dataclass(frozen=True)
class _Fate:
    """What became of a message: stored, known, unreadable or foreign."""

    message: "Arrived"
    outcome: str
    junction: UUID | None = None
    detail: str | None = None


class Bridge:
    """Runs for as long as `run` runs. Of several collectors' bridges one at a time works."""

    def __init__(
        self,
        settings: Mqtt,
        pool: Pool,
        connect: Connect,
        writer: IngestWriter,
        metrics: Metrics,
        *,
        now_ms: Callable[[], int] = unix_ms,
    ) -> None:
        """
        Raises:
            SettingError: the certificates cannot be used.
        """
        self._settings = settings
        self._broker = broker_of(settings)
        self._pool = pool
        self._connect = connect
        self._writer = writer
        self._metrics = metrics
        self._now_ms = now_ms
        self._queries = load_queries("bridge")
        self._devices: dict[str, Bridged] = {}
        self._looked_s = 0.0
        self._turn = 0
        self._strangers: set[str] = set()

    async def run(self) -> None:
        """Works until it is cancelled. A database or broker that is away is waited for."""
        while True:
            try:
                async with self._alone() as lock:
                    if lock is not None:
                        await self._work(lock)
            except (psycopg.Error, StoreError, ApiProblem, TimeoutError) as error:
                _log.warning("The bridge to MQTT begins again: %s", error, extra={"action": "mqtt_bridge_wait"})
            await asyncio.sleep(_RETRY_S)

    @asynccontextmanager
    async def _alone(self) -> AsyncIterator[Connection | None]:
        """The lock's connection; None: another collector's bridge is at work."""
        async with await self._connect() as connection, connection.transaction():
            cursor = await connection.execute(self._queries["lock"], {"key": LOCK_KEY})
            row = await cursor.fetchone()
            yield connection if row is not None and row[0] else None

    async def _work(self, lock: Connection) -> None:
        from collector.bridge.client import Listener

        self._devices = {}
        self._turn = await take_turn(self._pool)
        await self._look()
        listener = Listener(self._broker, self._settings.client_id, topics_of(self._settings))
        listener.open()
        try:
            while True:
                messages = await listener.take(_MOST_MESSAGES, _LOOK_EVERY_S)
                await lock.execute(self._queries["still_there"])
                if time.monotonic() - self._looked_s >= _LOOK_EVERY_S:
                    await self._look()
                await self._serve(listener, messages, lock)
        finally:
            await listener.close()

    async def _look(self) -> None:
        """Which devices there are. Where one stands is asked once, as long as nobody else moves it."""
        found = await read_devices(self._pool)
        for name, bridged in found.items():
            known = self._devices.get(name)
            if known is not None and known.device == bridged.device:
                found[name] = known
                continue
            ack = await self._writer.watermark(bridged.device, STREAM, epoch_of(bridged.device.id))
            await read_positions(self._pool, bridged, ack.watermark, self._turn)
        self._devices = found
        self._strangers -= found.keys()
        self._looked_s = time.monotonic()

    async def _serve(self, listener: "Listener", messages: Sequence["Arrived"], lock: Connection) -> None:
        """Store them, and tell the broker so; group by group, each no larger than a batch may be."""
        fates: list[_Fate] = []
        groups: dict[str, _Group] = {}
        for message in messages:
            fates.append(self._sort(message, groups))
            if max((len(group.records) for group in groups.values()), default=0) >= _MOST_RECORDS:
                await self._store(listener, groups, fates, lock)
                fates, groups = [], {}
        await self._store(listener, groups, fates, lock)

    def _sort(self, arrived: "Arrived", groups: dict[str, _Group]) -> _Fate:
        try:
            message = read(arrived.topic, arrived.payload)
        except MessageError as error:
            return _Fate(arrived, "unreadable", detail=str(error)[:1000])
        if not isinstance(message, LaneMessage):
            return _Fate(arrived, "unreadable", detail="it is of no lane")
        if "\x00" in message.lane:
            # PostgreSQL takes none, and the broker would bring it again and again.
            return _Fate(arrived, "unreadable", detail="the name of its lane holds a NUL")
        bridged = self._devices.get(message.junction)
        if bridged is None:
            self._say_strange(message.junction)
            return _Fate(arrived, "foreign", detail=f"no device is made for {message.junction!r}"[:1000])
        group = groups.setdefault(message.junction, _Group())
        who = who_says(message)
        boots = bridged.lane(who).boots
        before = group.changed.get(who, boots.get(who.boot_id))
        is_known = bool(boots) or any(_same_lane(who, other) for other in group.changed)
        try:
            taken = take_in(message, before, is_known, self._now_ms())
        except Unbelievable as error:
            return _Fate(arrived, "unreadable", bridged.junction, str(error))
        if taken is None:
            return _Fate(arrived, "known", bridged.junction)
        records, group.changed[who] = taken
        group.records += records
        return _Fate(arrived, "stored", bridged.junction)

    def _say_strange(self, junction: str) -> None:
        if junction not in self._strangers and len(self._strangers) < 1000:
            self._strangers.add(junction)
            text = "MQTT: no device is made for junction %r; `stopline-collector device bridge` makes one"
            _log.warning(text, junction, extra={"action": "mqtt_foreign"})

    async def _store(
        self, listener: "Listener", groups: Mapping[str, _Group], fates: Sequence[_Fate], lock: Connection
    ) -> None:
        for junction, group in groups.items():
            if group.changed:
                await self._deliver(self._devices[junction], group, lock)
        if self._settings.keep_messages and fates:
            await self._keep(fates)
        for fate in fates:
            self._metrics.mqtt_messages.labels(fate.outcome).inc()
        listener.acknowledge([fate.message for fate in fates])

    async def _deliver(self, bridged: Bridged, group: _Group, lock: Connection) -> None:
        """First how far it goes, then the records. Between the two, the watermark tells which of them holds."""
        last_seq = bridged.next_seq + len(group.records) - 1
        await save_positions(self._pool, bridged, group.changed, last_seq, self._turn)
        if group.records:
            await self._submit(bridged, group.records, lock)
        bridged.next_seq = last_seq + 1
        for who, position in group.changed.items():
            bridged.lane(who).put(who.boot_id, position)

    async def _submit(self, bridged: Bridged, records: Sequence[Record], lock: Connection) -> None:
        """Raises psycopg.Error or StoreError where another bridge may be at work: then all is asked anew."""
        first = bridged.next_seq
        numbered = [structs.replace(record, seq=first + i) for i, record in enumerate(records)]
        raws = [msgspec.Raw(msgspec.json.encode(record)) for record in numbered]
        epoch, clock = epoch_of(bridged.device.id), ClockState(synced=True)
        batch = Batch(bridged.device.id, STREAM, epoch, first, self._now_ms(), clock, raws)
        size_bytes = sum(len(bytes(raw)) for raw in raws)
        while True:
            # Whoever lost the lock while it waited must not write under numbers that are another's by now.
            await lock.execute(self._queries["still_there"])
            try:
                ack = await self._writer.submit(bridged.device, batch, size_bytes, turn=self._turn)
            except ApiProblem as problem:
                if problem.status not in _PATIENT:
                    raise
                # The same again: what was stored of it is known by its numbers.
                await asyncio.sleep(_RETRY_S)
            else:
                if ack.watermark != numbered[-1].seq:
                    raise StoreError(f"{bridged.device.id}: somebody else writes its stream")
                return

    async def _keep(self, fates: Sequence[_Fate]) -> None:
        now = datetime.now(UTC)
        rows = [
            {
                "at": now,
                "junction": fate.junction,
                "topic": fate.message.topic.replace("\x00", "\\0"),
                "payload": fate.message.payload,
                "qos": fate.message.qos,
                "retained": fate.message.retained,
                "outcome": fate.outcome,
                "detail": fate.detail.replace("\x00", "\\0") if fate.detail else None,
            }
            for fate in fates
        ]
        async with writing(self._pool) as connection, connection.cursor() as cursor:
            await cursor.executemany(self._queries["keep_message"], rows)


def _same_lane(one: Who, other: Who) -> bool:
    return (one.channel, one.lane, one.sender) == (other.channel, other.lane, other.sender)


def topics_of(settings: Mqtt) -> list[str]:
    """What is listened to."""
    topics = [CAR_COUNTS.subscription(), LANE_STATE.subscription()]
    flat = [topic for topic in (CAR_COUNTS.flat_topic, GREEN_TIME.flat_topic) if topic is not None]
    return topics + flat if settings.flat else topics


def broker_of(settings: Mqtt) -> Broker:
    """Where it is.

    Raises:
        SettingError: the certificates cannot be used.
    """
    assert settings.host is not None, "there is no bridge without a host"
    password = settings.password.get_secret_value() if settings.password is not None else None
    files = (settings.ca_file, settings.cert_file, settings.key_file)
    broker = Broker(settings.host, settings.port, settings.tls, *files, settings.username, password)
    try:
        if broker.tls:
            tls_context(broker)
    except MqttUnusable as error:
        raise SettingError(f"mqtt: {error}") from error
    return broker
