"""Which devices may send: adding, revoking and listing them. They are known by an Ed25519 key from the start."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

import psycopg
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from psycopg.rows import class_row

from collector.db import Connection, Pool, load_queries, reading, writing
from collector.errors import SettingError

KEY_BYTES = 32


@dataclass(frozen=True)
class Device:
    """A Pi. `received_at`: when it was last heard."""

    id: UUID
    name: str
    status: str
    created_at: datetime
    revoked_at: datetime | None
    junction_id: UUID | None
    junction_name: str | None
    received_at: datetime | None


class Devices:
    """The devices of a collector."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._queries = load_queries("fleet")

    async def add(
        self,
        device_id: UUID,
        name: str,
        public_key: bytes,
        *,
        junction: str | None = None,
        timezone: str | None = None,
    ) -> None:
        """Lets a device send. A junction that is not there is made, in `timezone` (an IANA name; None: UTC).

        Adding the same device with the same key again is no error: it is trusted again if it was revoked.

        Raises:
            SettingError: the device is known with another key or at another junction, or a value cannot be used.
        """
        if len(public_key) != KEY_BYTES:
            raise SettingError(f"the public key has {len(public_key)} bytes; an Ed25519 key has {KEY_BYTES}")
        for what, value in (("device", name), ("junction", junction)):
            if value is not None and not 1 <= len(value) <= 100:
                raise SettingError(f"the {what}'s name {value!r} is not 1 to 100 characters long")
        async with writing(self._pool) as connection:
            junction_id = await self._junction(connection, junction, timezone) if junction is not None else None
            known = await self._find(connection, device_id)
            parameters = {"id": device_id, "name": name, "public_key": public_key, "junction_id": junction_id}
            if known is not None:
                _check_same(device_id, known, public_key, junction)
            statement = self._queries["create_device" if known is None else "update_device"]
            await connection.execute(statement, parameters)

    async def add_bridge(self, junction: str, *, timezone: str | None = None) -> tuple[UUID, bool]:
        """Makes a device for what a junction's counters say over MQTT, and tells whether there was none before.

        Nobody holds its private key: only the collector itself delivers for it.

        Raises:
            SettingError: a value cannot be used.
        """
        queries = load_queries("bridge")
        async with reading(self._pool) as connection:
            row = await (await connection.execute(queries["bridge_of"], {"junction": junction})).fetchone()
        if row is not None:
            return row[0], False
        device = uuid4()
        key = Ed25519PrivateKey.generate().public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        await self.add(device, f"MQTT {junction}"[:100], key, junction=junction, timezone=timezone)
        async with writing(self._pool) as connection:
            await connection.execute(queries["mark"], {"device": device})
        return device, True

    async def revoke(self, device_id: UUID) -> None:
        """Takes in nothing more from a device, from the next request on. What it sent stays.

        Raises:
            SettingError: there is no such device.
        """
        async with writing(self._pool) as connection:
            cursor = await connection.execute(self._queries["revoke_device"], {"id": device_id})
            if cursor.rowcount == 0:
                raise SettingError(f"there is no device {device_id}")

    async def list(
        self, devices: Sequence[str] | None = None, *, limit: int = 1000, offset: int = 0
    ) -> list[Device]:
        """Devices by name; `devices` are names or ids."""
        async with reading(self._pool) as connection:
            return await read_devices(connection, devices, limit, offset)

    async def _junction(self, connection: Connection, name: str, timezone: str | None) -> UUID:
        try:
            await connection.execute(
                self._queries["create_junction"], {"name": name, "timezone": timezone or "UTC"}
            )
        except (psycopg.errors.InvalidParameterValue, psycopg.errors.CheckViolation) as error:
            raise SettingError(
                f"the time zone {timezone!r} is not known; use an IANA name: Europe/Berlin"
            ) from error
        cursor = await connection.execute(self._queries["find_junction"], {"name": name})
        row = await cursor.fetchone()
        assert row is not None
        if timezone is not None and row[1] != timezone:
            raise SettingError(f"junction {name!r} is in the time zone {row[1]}, not {timezone}")
        found: UUID = row[0]
        return found

    async def _find(self, connection: Connection, device_id: UUID) -> tuple[Any, ...] | None:
        cursor = await connection.execute(self._queries["find_device"], {"id": device_id})
        return await cursor.fetchone()


async def read_devices(
    connection: Connection, devices: Sequence[str] | None, limit: int, offset: int
) -> "list[Device]":
    """Devices by name, in the transaction that is open."""
    parameters = {"devices": list(devices) if devices else None, "limit": limit, "offset": offset}
    async with connection.cursor(row_factory=class_row(Device)) as cursor:
        await cursor.execute(load_queries("fleet")["devices"], parameters)
        return await cursor.fetchall()


def _check_same(device_id: UUID, known: tuple[Any, ...], public_key: bytes, junction: str | None) -> None:
    known_key, _, known_junction = known
    if bytes(known_key) != public_key:
        raise SettingError(
            f"device {device_id} is known with another key: whoever holds that one would be locked out. A Pi that"
            " was set up anew gets a new id"
        )
    if junction is not None and known_junction not in (None, junction):
        raise SettingError(
            f"device {device_id} stands at junction {known_junction!r}, not {junction!r}: its counts by hour and"
            " day belong there. A Pi that moved gets a new id"
        )
