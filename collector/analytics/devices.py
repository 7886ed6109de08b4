"""How the devices are, and were."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC
from typing import Any

from psycopg.rows import dict_row

from collector.analytics.answers_people import DeviceDay, DeviceItem, DevicesAnswer, DeviceState, DeviceTotals
from collector.db import Connection, load_queries


@dataclass(frozen=True)
class DevicesAsked:
    """Which devices, and how many days. None: no filter."""

    junctions: Sequence[str] | None
    states: Sequence[DeviceState] | None
    days: int
    limit: int
    offset: int


async def read_device_health(connection: Connection, asked: DevicesAsked) -> DevicesAnswer:
    """A page of devices by name."""
    parameters = {
        "junctions": list(asked.junctions) if asked.junctions else None,
        "states": [state.value for state in asked.states] if asked.states else None,
        "limit": asked.limit + 1,
        "offset": asked.offset,
    }
    rows = await _rows(connection, "devices", parameters)
    found = [row for row in rows if row["id"] is not None]
    page = found[: asked.limit]
    days = await _days(connection, page, asked.days)
    return DevicesAnswer(
        as_of=rows[0]["as_of"].astimezone(UTC),
        totals=DeviceTotals(*(rows[0][state.value] for state in DeviceState)),
        devices=[_item(row, days.get(row["id"], [])) for row in page],
        next_offset=asked.offset + asked.limit if len(found) > asked.limit else None,
    )


async def _rows(connection: Connection, question: str, parameters: dict[str, Any]) -> list[dict[str, Any]]:
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(load_queries("analytics_people")[question], parameters, prepare=False)
        return await cursor.fetchall()


async def _days(connection: Connection, page: Sequence[dict[str, Any]], n_days: int) -> dict[Any, list[Any]]:
    parameters = {"devices": [row["id"] for row in page], "zones": [row["zone"] for row in page], "days": n_days}
    found: dict[Any, list[Any]] = {}
    for row in await _rows(connection, "days", parameters) if page else ():
        found.setdefault(row["id"], []).append(row)
    return found


_TOLD = (
    "version",
    "uptime_s",
    "cpu_percent",
    "memory_percent",
    "temperature_c",
    "disk_free_mb",
    "clock_synced",
    "throttled",
    "outbox_records",
    "outbox_dropped",
)


def _item(row: dict[str, Any], days: Sequence[dict[str, Any]]) -> DeviceItem:
    up_s, known_s = sum(day["up_s"] for day in days), sum(day["up_s"] + day["down_s"] for day in days)
    moments = {name: row[name].astimezone(UTC) if row[name] else None for name in ("received_at", "health_at")}
    return DeviceItem(
        id=row["id"],
        name=row["name"],
        status=row["status"],
        junction_id=row["junction_id"],
        junction=row["junction"],
        state=DeviceState(row["state"]),
        **moments,
        **{name: row[name] for name in _TOLD},
        up_share=up_s / known_s if known_s > 0 else None,
        days=[_day(day) for day in days],
    )


def _day(day: dict[str, Any]) -> DeviceDay:
    up, down = day["up_s"] / day["length_s"], day["down_s"] / day["length_s"]
    return DeviceDay(day["day"], up, down, max(0.0, 1.0 - up - down))
