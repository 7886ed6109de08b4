"""One junction, whole: what it is, what it is wanted to be, and who stands there."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import msgspec
from psycopg.rows import dict_row

from collector.db import VIEWER, Pool, load_queries, reading
from collector.identity.access import CurrentUser
from collector.identity.users import Level
from collector.junctions.description import read_description
from collector.junctions.differences import differences
from collector.junctions.editing import junction_version
from collector.junctions.queries import Freshness, freshness, level_for
from collector.junctions.unmatched import SourceNow, Unmatched, unmatched
from common.junction import Junction


class LocationItem(msgspec.Struct, frozen=True):
    """Where it is."""

    name: str
    latitude: float | None
    longitude: float | None
    address: str | None


class LaneDetails(msgspec.Struct, frozen=True):
    """A lane, as what runs describes it; where that is not known, as it is wanted."""

    name: str
    approach: str
    saturation_flow_vph: float
    metadata: dict[str, Any]


class DeviceItem(msgspec.Struct, frozen=True):
    """A device that stands there. `drives_lights`: its stream last described the lights."""

    id: UUID
    name: str
    status: str
    received_at: datetime | None
    state: Freshness
    drives_lights: bool
    sensors: list[str]


class Differing(msgspec.Struct, frozen=True):
    """A part of the description that runs otherwise than it is wanted. Null: it is not there."""

    path: str
    runs: Any
    wanted: Any


class JunctionDetails(msgspec.Struct, frozen=True):
    """A junction. Where lights have told what they are, that is its description; else what is wanted of it."""

    id: UUID
    version: str
    """Of what can be edited: another where any of that is changed, and only then. For `If-Match`."""
    name: str
    timezone: str
    location: LocationItem | None
    description: Junction | None
    """What runs; where that is not known, what is wanted."""
    wanted: Junction | None
    """What was imported."""
    differs: list[Differing]
    """In what the two differ; empty also where one of them is not known."""
    unmatched: list[Unmatched]
    """Where the description and what its cameras and readers count at do not go together."""
    lanes: list[LaneDetails]
    devices: list[DeviceItem]
    awaited_devices: list[str]
    """Names or ids of devices that are to stand there, and do not yet."""
    access: Level
    """What you may here."""
    has_lights: bool
    """Its lights have told what they are."""
    mode: str | None
    """Who decides what the lights show, as they last told."""
    mode_at: datetime | None
    state: Freshness
    metadata: dict[str, Any]


async def read_details(pool: Pool, junction: UUID, user: CurrentUser | None) -> JunctionDetails | None:
    """All of a junction, by one query; None: there is none, or none that the request may see."""
    parameters = {"junction": junction, "user": user.id if user else None}
    async with reading(pool) as connection, connection.cursor(row_factory=dict_row) as cursor:
        queries = load_queries("junctions")
        whom = "" if VIEWER.get() is None else "_to_viewer"
        statement = queries["junction"].replace(b"{told}", queries[f"told{whom}"])
        await cursor.execute(statement.replace(b"{sources}", queries[f"sources{whom}"]), parameters)
        row = await cursor.fetchone()
    return None if row is None else _details(row, user)


def _details(row: Mapping[str, Any], user: CurrentUser | None) -> JunctionDetails:
    runs, wanted = read_description(row["runs"]), read_description(row["wanted"])
    found = differences(runs, wanted) if runs and wanted else []
    devices = [_device(each, row["as_of"]) for each in row["devices"]]
    here = {name for device in devices for name in (device.name, str(device.id))}
    return JunctionDetails(
        id=row["id"],
        version=junction_version(row),
        name=row["name"],
        timezone=row["timezone"],
        location=_location(row),
        description=runs or wanted,
        wanted=wanted,
        differs=[Differing(one.path, one.before, one.after) for one in found],
        unmatched=unmatched(runs or wanted, msgspec.convert(row["sources"], list[SourceNow])),
        lanes=[LaneDetails(**each) for each in row["lanes"]],
        devices=devices,
        awaited_devices=[name for name in row["wanted_devices"] if name not in here],
        access=level_for(user, row["level"]),
        has_lights=row["runs"] is not None,
        mode=row["mode"],
        mode_at=row["mode_at"] and row["mode_at"].astimezone(UTC),
        state=freshness(max((d.received_at for d in devices if d.received_at), default=None), row["as_of"]),
        metadata=row["metadata"],
    )


def _location(row: Mapping[str, Any]) -> LocationItem | None:
    if row["location_id"] is None:
        return None
    return LocationItem(row["location_name"], row["latitude"], row["longitude"], row["address"])


def _device(each: Mapping[str, Any], as_of: datetime) -> DeviceItem:
    received_at = datetime.fromisoformat(each["received_at"]) if each["received_at"] else None
    return DeviceItem(
        id=UUID(each["id"]),
        name=each["name"],
        status=each["status"],
        received_at=received_at,
        state=freshness(received_at, as_of),
        # NULL where no device is known to drive them.
        drives_lights=bool(each["drives_lights"]),
        sensors=each["sensors"],
    )
