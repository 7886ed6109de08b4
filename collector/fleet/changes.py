"""What admins change of a device: its name, its junction, whether it may send, and what of it was seen."""

from datetime import datetime
from typing import Any
from uuid import UUID

from collector.db import Connection, Pool, load_queries, writing
from collector.errors import ApiProblem
from collector.identity.audit import Actor, AuditAction, Subject, SubjectKind, audit


class DeviceChanges:
    """Changes devices; whether somebody may is for the routes to say."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._queries = load_queries("devices")

    async def change(
        self, device_id: UUID, who: Actor, *, name: str | None = None, junction_id: UUID | None = None
    ) -> None:
        """Give it a name, or a junction if it has none or has sent nothing; None: as it was.

        Raises ApiProblem: 404 there is no such device, 400 no such junction, 409 it counted at another junction.
        """
        async with writing(self._pool) as connection:
            if junction_id is not None:
                await connection.execute(self._queries["hold_workers"])
            old_name, _, old_junction, has_sent = await self._lock(connection, device_id)
            new: dict[str, Any] = {"name": name or old_name, "junction_id": junction_id or old_junction}
            if new["junction_id"] != old_junction:
                await self._check_junction(connection, new["junction_id"])
                if old_junction is not None and has_sent:
                    raise ApiProblem(
                        409,
                        "device_counted_elsewhere",
                        "The device counted at another junction",
                        "junction: what it counted by hour and day belongs there; a Pi that moved gets a new id",
                    )
            old = {"name": old_name, "junction_id": old_junction}
            changed = [key for key in new if new[key] != old[key]]
            if not changed:
                return
            for key, statement in (("name", "rename_device"), ("junction_id", "move_device")):
                if key in changed:
                    await connection.execute(self._queries[statement], {"device": device_id, key: new[key]})
            before, after = ({key: _told(each[key]) for key in changed} for each in (old, new))
            subject = Subject(SubjectKind.DEVICE, device_id, new["name"])
            junction = new["junction_id"]
            await audit(
                connection,
                who,
                AuditAction.DEVICE_CHANGED,
                subject,
                junction_id=junction,
                before=before,
                after=after,
            )

    async def revoke(self, device_id: UUID, who: Actor) -> None:
        """Nothing more is taken in from it, from its next request on. Raises ApiProblem (404)."""
        async with writing(self._pool) as connection:
            name, status, junction_id, _ = await self._lock(connection, device_id)
            if status == "revoked":
                return
            await connection.execute(load_queries("fleet")["revoke_device"], {"id": device_id})
            subject = Subject(SubjectKind.DEVICE, device_id, name)
            await audit(connection, who, AuditAction.DEVICE_REVOKED, subject, junction_id=junction_id)

    async def mark_rejects_seen(self, device_id: UUID, until: datetime, who: Actor) -> None:
        """What was put aside up to `until` was dealt with. Raises ApiProblem (404)."""
        async with writing(self._pool) as connection:
            name, _, junction_id, _ = await self._lock(connection, device_id)
            values = {"device": device_id, "until": until, "by": who.name}
            cursor = await connection.execute(self._queries["mark_rejects_seen"], values)
            marked = await cursor.fetchone()
            if marked is None:
                return
            before, after = ({"until": at.isoformat()} if at else None for at in marked)
            subject = Subject(SubjectKind.DEVICE, device_id, name)
            action = AuditAction.REJECTS_SEEN
            await audit(connection, who, action, subject, junction_id=junction_id, before=before, after=after)

    async def _lock(self, connection: Connection, device_id: UUID) -> tuple[Any, ...]:
        cursor = await connection.execute(self._queries["lock_device"], {"device": device_id})
        found = await cursor.fetchone()
        if found is None:
            raise no_device(device_id)
        return found

    async def _check_junction(self, connection: Connection, junction_id: UUID) -> None:
        cursor = await connection.execute(self._queries["junction_exists"], {"junction_id": junction_id})
        if await cursor.fetchone() is None:
            raise ApiProblem(400, "junction_unknown", "No such junction", f"junction: there is none {junction_id}")


def no_device(device_id: UUID) -> ApiProblem:
    """For a device that is not there, or that the viewer may not see."""
    return ApiProblem(404, "device_not_found", "No such device", f"there is no device {device_id}")


def _told(value: Any) -> Any:
    return str(value) if isinstance(value, UUID) else value
