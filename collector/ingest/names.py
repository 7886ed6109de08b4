"""From the names that records carry to the numbers that the hot tables hold.

Sources and cameras come into being with the first record that names them; a tag reader counts as a camera, since
its `frames` prove when it measured just so. They are created in statements of their own, before the transaction
that stores the records: what is remembered here is committed, whatever becomes of that transaction. A remembered
number is true for as long as the database is the same one, so all of them are forgotten when a connection breaks:
the database may have been put back to an older state.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from psycopg import AsyncConnection

from collector.db import Queries
from common.codes import Via

MAX_NAMES_PER_DEVICE = 1000
"""Sources, and cameras, that one device may bring into being."""
REMEMBERED_DEVICES = 20_000

SourceKey = tuple[str, str, Via]
"""Sensor, source, via."""


@dataclass(frozen=True, slots=True)
class Source:
    """A row of `counting_zones`."""

    no: int
    id: UUID


@dataclass(slots=True)
class DeviceNames:
    """What is known of one device's names."""

    sources: dict[SourceKey, Source] = field(default_factory=dict)
    cameras: dict[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class Unknown:
    """Names of one device that records carry and that are not known."""

    sources: dict[SourceKey, str] = field(default_factory=dict)
    """With the kind each would have: `line`, `zone`, `turn`, `unpaired` or `reader`."""
    cameras: set[str] = field(default_factory=set)

    def __bool__(self) -> bool:
        return bool(self.sources or self.cameras)

    def update(self, other: "Unknown") -> None:
        """Add what is unknown in `other`."""
        self.sources.update(other.sources)
        self.cameras.update(other.cameras)


class Names:
    """The names of the devices seen lately. Used by the writer tasks of one event loop."""

    def __init__(self, queries: Queries, *, remembered_devices: int = REMEMBERED_DEVICES) -> None:
        self._queries = queries
        self._remembered_devices = remembered_devices
        self._devices: dict[UUID, DeviceNames] = {}

    def of(self, device_id: UUID) -> DeviceNames:
        """What is known of a device's names; it grows when they are learned."""
        return self._devices.get(device_id) or DeviceNames()

    def forget(self) -> None:
        """Learn everything anew."""
        self._devices.clear()

    async def learn(self, connection: AsyncConnection[Any], unknown: Mapping[UUID, Unknown]) -> None:
        """Look the unknown names up, and create those that are not there. `connection` is in autocommit mode.

        A name beyond the device's limit stays unknown.
        """
        await self._read(connection, list(unknown))
        await self._create_cameras(connection, unknown)
        await self._create_sources(connection, unknown)

    async def _read(self, connection: AsyncConnection[Any], devices: list[UUID]) -> None:
        cursor = await connection.execute(self._queries["names_of_devices"], {"devices": devices})
        fresh = {device_id: DeviceNames() for device_id in devices}
        for device_id, kind, first, second, via, no, row_id in await cursor.fetchall():
            if kind == "camera":
                fresh[device_id].cameras[first] = no
            else:
                fresh[device_id].sources[first, second, Via(via)] = Source(no, row_id)
        self._devices.update(fresh)
        while len(self._devices) > self._remembered_devices:
            del self._devices[next(iter(self._devices))]

    async def _create_cameras(self, connection: AsyncConnection[Any], unknown: Mapping[UUID, Unknown]) -> None:
        missing = []
        for device_id, names in unknown.items():
            known = self.of(device_id).cameras
            wanted = names.cameras | {sensor for sensor, _, _ in names.sources}
            room = MAX_NAMES_PER_DEVICE - len(known)
            missing += [(device_id, name) for name in sorted(wanted - known.keys())[: max(room, 0)]]
        if missing:
            devices, created = zip(*missing, strict=True)
            parameters = {"devices": list(devices), "names": list(created)}
            await connection.execute(self._queries["create_cameras"], parameters)
            await self._read(connection, list(set(devices)))

    async def _create_sources(self, connection: AsyncConnection[Any], unknown: Mapping[UUID, Unknown]) -> None:
        missing = []
        for device_id, names in unknown.items():
            known = self.of(device_id).sources
            room = MAX_NAMES_PER_DEVICE - len(known)
            wanted = sorted(names.sources.keys() - known.keys())[: max(room, 0)]
            missing += [(device_id, *key, names.sources[key]) for key in wanted]
        if missing:
            columns = [list(column) for column in zip(*missing, strict=True)]
            parameters = dict(zip(("devices", "sensors", "names", "vias", "kinds"), columns, strict=True))
            await connection.execute(self._queries["create_sources"], parameters)
            await self._read(connection, list({row[0] for row in missing}))
