"""The devices as people look after them: how each is, and what became of its records."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID

from psycopg.rows import class_row

from collector.db import VIEWER, Connection, Pool, load_queries, reading
from collector.fleet.completeness import MAX_GAPS, Gap, Stream

HEALTHY = timedelta(minutes=5)
WARNING = timedelta(minutes=15)
MOST_CHANGES = 500
"""Changes of sensors that are listed of a day."""
_FEW = 2000
"""So many devices are looked up one by one sooner than their states are found by walking along all names."""
_SOME = 500
"""More than these, of which a page is a fifth at most, are met sooner along the names than they are looked up."""
_MANY = 3000
"""More than these are met along the names without being noted first."""


class DeviceState(StrEnum):
    """How long ago a device was last heard."""

    HEALTHY = "healthy"
    """Less than 5 minutes."""
    WARNING = "warning"
    """Less than 15 minutes."""
    CRITICAL = "critical"
    """Longer. It keeps what it counts until it can send it."""
    NEVER = "never"


class Order(StrEnum):
    """How devices are sorted."""

    NAME = "name"
    NAME_DOWN = "-name"
    RECEIVED = "received_at"
    """Who was never heard, then who is silent for longest."""
    RECEIVED_DOWN = "-received_at"


_ORDERS = {
    Order.NAME: "by_name",
    Order.NAME_DOWN: "by_name_down",
    Order.RECEIVED: "by_received",
    Order.RECEIVED_DOWN: "by_received_down",
}
_BY_RECEIVED = (Order.RECEIVED, Order.RECEIVED_DOWN)


@dataclass(frozen=True)
class Wanted:
    """Which devices; what is empty or None does not narrow."""

    ids: Sequence[UUID] = ()
    junctions: Sequence[str] = ()
    """Names or ids."""
    states: Sequence[DeviceState] = ()
    status: str | None = None
    q: str | None = None
    """Part of the device's name or its junction's."""

    def blocks(self, *, of_few: bool = False) -> list[str]:
        """Conditions by their names in devices.sql, but for states. `of_few`: of those who are seen."""
        found = []
        is_bounded = VIEWER.get() is not None
        if self.ids:
            found.append("of_ids")
        if self.junctions:
            found.append("at_junctions")
        if is_bounded and not of_few:
            is_heard = bool(self.states) and not {DeviceState.CRITICAL, DeviceState.NEVER} & {*self.states}
            found.append("seen_and_heard" if is_heard else "seen")
            if {*self.states} == {DeviceState.NEVER}:
                found.append("unheard")
        if self.status:
            found.append("of_status")
        if self.q:
            found.append("named_by_few" if is_bounded else "named" if len(self.q) >= 3 else "named_shortly")
        return found

    def values(self) -> dict[str, Any]:
        return {
            "ids": list(self.ids),
            "junctions": list(self.junctions),
            "states": [str(state) for state in self.states],
            "status": self.status,
            "q": self.q,
        }


@dataclass(frozen=True)
class SeenDevice:
    """A device at the moment `as_of`. None of its health: never told, or its machine cannot tell."""

    id: UUID
    name: str
    status: str
    created_at: datetime
    revoked_at: datetime | None
    junction_id: UUID | None
    junction_name: str | None
    received_at: datetime | None
    last_at: datetime | None
    made: int
    stored: int
    rejected: int
    lost: int
    adds_up: bool
    gaps_last_day: int
    lost_last_day: int
    rejects_open: int
    health_at: datetime | None
    version: str | None
    uptime_s: float | None
    cpu_percent: float | None
    memory_percent: float | None
    temperature_c: float | None
    disk_free_mb: float | None
    throttled: str | None
    clock_synced: bool | None
    clock_error_ms: int | None
    outbox_records: int | None
    outbox_bytes: int | None
    outbox_dropped: int | None
    sensors: list[list[Any]] | None
    as_of: datetime

    @property
    def state(self) -> DeviceState:
        if self.received_at is None:
            return DeviceState.NEVER
        age = self.as_of - self.received_at
        if age < HEALTHY:
            return DeviceState.HEALTHY
        return DeviceState.WARNING if age < WARNING else DeviceState.CRITICAL


@dataclass(frozen=True)
class HealthMoment:
    """A quarter of an hour that begins at `at`: the worst of each."""

    at: datetime
    temperature_c: float | None
    outbox_records: int
    disk_free_mb: float | None
    cpu_percent: float | None


@dataclass(frozen=True)
class SensorMoment:
    """What a sensor told of its signal over the `span_ms` that end at `at`."""

    at: datetime
    sensor: str
    state: str
    span_ms: int
    fps: float | None
    reconnects: int
    detail: str | None


@dataclass(frozen=True)
class DeviceStory:
    """One device with its streams, their latest gaps by the stream's number, and its last day."""

    device: SeenDevice
    streams: list[Stream] = field(default_factory=list)
    gaps: dict[int, list[Gap]] = field(default_factory=dict)
    health: list[HealthMoment] = field(default_factory=list)
    sensors: list[SensorMoment] = field(default_factory=list)


async def read_page(
    pool: Pool, wanted: Wanted, *, order: Order = Order.NAME, limit: int = 100, offset: int = 0
) -> list[SeenDevice]:
    """A page of devices."""
    parameters = wanted.values() | {"limit": limit, "offset": offset, "first": limit + offset}
    async with reading(pool) as connection, connection.cursor(row_factory=class_row(SeenDevice)) as cursor:
        # It would be planned alike for all values, and to plan it takes as long as it takes.
        await connection.execute("SELECT set_config('plan_cache_mode', 'force_generic_plan', true)")
        among = await _among(connection, wanted, order, parameters)
        await cursor.execute(_page_statement(wanted, order, among), parameters)
        return await cursor.fetchall()


@dataclass(frozen=True)
class _Among:
    """What finds the devices of which a page is: of the states that are asked for, and perhaps of other names."""

    candidates: bytes
    is_few: bool = True
    """They are looked up one by one, or else met along the names."""


async def _among(
    connection: Connection, wanted: Wanted, order: Order, parameters: dict[str, Any]
) -> _Among | None:
    """Those that may be on the page. None: look through all.

    Those of a user who may see some junctions only are few anyway.
    """
    if VIEWER.get() is not None:
        return None
    if order in _BY_RECEIVED and replace(wanted, states=()) == Wanted() and parameters["first"] <= _FEW:
        return _Among(_candidates("heard_first" if order is Order.RECEIVED else "heard_last", wanted))
    if not wanted.states:
        return None
    candidates = _candidates("heard_then", wanted)
    how_many = load_queries("devices")["how_many"].replace(b"{candidates}", candidates)
    is_by_name = order not in _BY_RECEIVED
    cursor = await connection.execute(how_many, parameters | {"most": (_MANY if is_by_name else _FEW) + 1})
    row = await cursor.fetchone()
    assert row is not None
    (n,) = row
    if is_by_name and min(max(_SOME, 5 * parameters["first"]), _FEW) < n <= _MANY:
        return _Among(candidates, is_few=False)
    return _Among(candidates) if n <= _FEW else None


def _candidates(name: str, wanted: Wanted) -> bytes:
    """Devices of the states that are wanted, by the block `name`."""
    queries = load_queries("devices")
    heard_when = never = queries["any"]
    if wanted.states:
        heard_when = queries["heard_when"].replace(b"{of_states}", queries["of_states"])
        never = queries["any" if DeviceState.NEVER in wanted.states else "none"]
    return queries[name].replace(b"{heard_when}", heard_when).replace(b"{never}", never)


async def read_story(pool: Pool, device_id: UUID) -> DeviceStory | None:
    """One device as of one moment; None: there is none, or none that the viewer may see."""
    wanted = Wanted(ids=[device_id])
    fleet, queries = load_queries("fleet"), load_queries("devices")
    async with reading(pool) as connection:

        async def rows(row: Any, statement: bytes, **values: Any) -> list[Any]:
            async with connection.cursor(row_factory=class_row(row)) as cursor:
                await cursor.execute(statement, values)
                return await cursor.fetchall()

        found = await rows(SeenDevice, _page_statement(wanted, Order.NAME), **wanted.values(), limit=1, offset=0)
        if not found:
            return None
        streams = await rows(Stream, fleet["streams"], devices=[device_id])
        numbers = [stream.no for stream in streams if stream.n_gaps]
        gaps: dict[int, list[Gap]] = {stream.no: [] for stream in streams}
        for gap in await rows(Gap, fleet["gaps"], streams=numbers, limit=MAX_GAPS):
            gaps[gap.stream_no].append(gap)
        health = await rows(HealthMoment, queries["health_history"], device=device_id)
        sensors = await rows(SensorMoment, queries["sensor_history"], device=device_id, limit=MOST_CHANGES)
    return DeviceStory(found[0], streams, gaps, health, sensors)


def _page_statement(wanted: Wanted, order: Order, among: _Among | None = None) -> bytes:
    """The query of a page; it takes `wanted.values()`, `limit`, `offset` and what the block `among` does."""
    queries = load_queries("devices")
    is_bounded, is_by_received = VIEWER.get() is not None, order in _BY_RECEIVED
    is_asked = bool(wanted.states) and among is None
    is_slow = is_asked and is_bounded and not is_by_received
    is_of_few = is_bounded and is_by_received and not wanted.status
    source, joined = b"edge_devices", b""
    conditions = [queries[name] for name in wanted.blocks(of_few=is_of_few)]
    if among is not None and among.is_few:
        source = queries["few"].replace(b"{candidates}", among.candidates)
    elif among is not None:
        conditions.append(queries["met"].replace(b"{candidates}", among.candidates))
    if is_asked and not is_slow:
        conditions.append(queries["of_states"])
    if is_of_few:
        source, joined = queries["of_few"], queries["joined_of_few"]
    elif is_by_received or is_asked:
        is_whole = is_by_received and among is None and not is_bounded
        joined = queries["joined_whole" if is_whole else "joined"]
    fragments = {
        b"{shown}": b"seen_devices_shown" if is_bounded else b"devices_shown",
        b"{found}": queries["found_in_order" if is_slow else "found"],
        b"{source}": source,
        b"{joined}": joined,
        b"{filters}": b" AND ".join(conditions) or queries["any"],
        b"{slow}": queries["of_states"],
        b"{order}": queries[_ORDERS[order]],
    }
    page = queries["page"]
    for name, fragment in fragments.items():
        page = page.replace(name, fragment)
    return page
