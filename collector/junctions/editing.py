"""Making junctions, and changing them: each time in one transaction, whole or not at all, and written down."""

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any, Literal
from uuid import UUID

import msgspec
import psycopg
from psycopg.rows import class_row, dict_row
from psycopg.types.json import Jsonb

from collector.db import Connection, Pool, load_queries, writing
from collector.errors import ApiProblem
from collector.identity.audit import Actor, AuditAction, Subject, SubjectKind, audit
from collector.junctions.description import read_description
from collector.junctions.differences import Difference, compare, differences
from collector.junctions.standing import KnownDevice, Standing, stand
from collector.junctions.wanted import Location, Wanted
from collector.ops.etag import check_version, version_of
from common.junction import Junction
from common.junction_checks import Fault

Outcome = Literal["created", "updated", "unchanged"]
_EDITABLE = (
    *("name", "timezone", "location_name", "latitude", "longitude", "address"),
    *("wanted", "wanted_devices", "metadata"),
)
_BOUND = {
    "devices": ("device", "devices"),
    "orders": ("order", "orders"),
    "overrides": ("override or fault", "overrides and faults"),
    "days": ("day of counts", "days of counts"),
}
"""What belongs to a junction and is never deleted, in words: one, and several."""


@dataclass(frozen=True, slots=True)
class Edited:
    """What an edit did, or would do. `id` None: it would be made. `version`: after it; of one that is only tried,
    as it is now."""

    id: UUID | None
    name: str
    version: str | None
    outcome: Outcome
    changes: list[Difference]
    notes: list[str]


@dataclass(frozen=True)
class _Row:
    """A junction in the database."""

    id: UUID
    name: str
    timezone: str
    location_name: str | None
    latitude: float | None
    longitude: float | None
    address: str | None
    location_id: UUID | None
    wanted: str | None
    wanted_devices: list[str]
    metadata: dict[str, Any]
    has_counted: bool

    @property
    def version(self) -> str:
        return junction_version(vars(self))


@dataclass(frozen=True, slots=True)
class _State:
    """All of a junction that can be edited."""

    name: str
    timezone: str
    location: Location | None
    description: Junction | None
    devices: tuple[str, ...]
    metadata: Mapping[str, Any]


def faulty(faults: Sequence[Fault]) -> ApiProblem:
    """The problem that tells all that is wrong with a description."""
    errors = [{"key": one.path, "message": one.message, "value": one.value} for one in faults[:200]]
    more = f"; and {len(faults) - 1} more, see errors" if len(faults) > 1 else ""
    return ApiProblem(422, "junction_invalid", "The junction cannot be so", f"{faults[0]}{more}", errors=errors)


class Editing:
    """Of all junctions. Whoever calls has looked whether the user may."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._queries = load_queries("junction_editing")

    async def create(self, wanted: Wanted, who: Actor) -> Edited:
        """A new junction. Raises ApiProblem: there is one of that name, or something does not fit."""
        async with self._editing() as connection:
            if await self._row(connection, name=wanted.name) is not None:
                raise _taken(wanted.name)
            return await self._put(connection, None, wanted, who)

    async def take_in(
        self, wanted: Wanted, who: Actor, *, dry_run: bool = False, versions: Collection[str] | None = None
    ) -> Edited:
        """Make a junction as it is wanted, or bring the one of that name there. What is so already is not touched.

        `versions`: one of which it has to have (`check_version`). Raises ApiProblem: something does not fit.
        """
        async with self._editing() as connection, connection.transaction(force_rollback=dry_run):
            await self._hold_days(connection, wanted, name=wanted.name)
            row = await self._row(connection, name=wanted.name)
            edited = await self._put(connection, row, wanted, who, versions)
            if not dry_run:
                return edited
            is_new = edited.outcome == "created"
            return replace(edited, id=None if is_new else edited.id, version=row.version if row else None)

    async def change(
        self,
        junction: UUID,
        change: Wanted | None,
        name: str | None,
        who: Actor,
        versions: Collection[str] | None = None,
    ) -> Edited:
        """Change a junction in what `change` says, and to a new name. Its own name in `change` is not looked at.

        `versions`: one of which it has to have (`check_version`). Raises ApiProblem: there is no such junction, or
        something does not fit.
        """
        async with self._editing() as connection:
            if change is not None:
                await self._hold_days(connection, change, id=junction)
            row = await self._row(connection, id=junction)
            if row is None:
                raise unknown_junction(junction)
            wanted = replace(change or Wanted(row.name), name=name or row.name)
            if wanted.name != row.name and await self._row(connection, name=wanted.name) is not None:
                raise _taken(wanted.name)
            return await self._put(connection, row, wanted, who, versions)

    async def remove(self, junction: UUID, who: Actor, versions: Collection[str] | None = None) -> None:
        """Take away a junction that was made by mistake, with its lanes and who may see it.

        `versions`: one of which it has to have (`check_version`). Raises ApiProblem: there is no such junction, or
        something is known of it that would be lost.
        """
        async with self._editing() as connection:
            await connection.execute(self._queries["hold_days"])
            await connection.execute(self._queries["lock_whole"], {"id": junction})
            row = await self._row(connection, id=junction)
            if row is None:
                raise unknown_junction(junction)
            check_version(versions, row.version, f"the junction {row.name}")
            await self._check_empty(connection, row)
            await connection.execute(self._queries["remove"], {"id": junction})
            before = _head(_state(row)) | {"description": row.wanted and msgspec.json.decode(row.wanted)}
            subject = Subject(SubjectKind.JUNCTION, junction, row.name)
            await audit(
                connection, who, AuditAction.JUNCTION_DELETED, subject, junction_id=junction, before=before
            )

    async def _check_empty(self, connection: Connection, row: _Row) -> None:
        """Raises ApiProblem: something belongs to it that is never deleted."""
        async with connection.cursor(row_factory=dict_row) as cursor:
            await cursor.execute(self._queries["bound_to"], {"id": row.id})
            found = await cursor.fetchone()
        assert found is not None
        bound = {name: n for name, n in found.items() if n}
        if not bound:
            return
        told = ", ".join(f"{n} {_BOUND[name][n > 1]}" for name, n in bound.items())
        detail = (
            f"{row.name} has {told}, and no history is ever deleted; to take it out of service, revoke its"
            " devices, and give it a name that says so"
        )
        raise ApiProblem(409, "junction_in_use", "It has a history", detail, bound=bound)

    @asynccontextmanager
    async def _editing(self) -> AsyncIterator[Connection]:
        try:
            async with writing(self._pool) as connection:
                yield connection
        except psycopg.errors.UniqueViolation as error:
            raise ApiProblem(
                409, "junction_exists", "The name is taken", "name: another junction has it"
            ) from error
        except (psycopg.errors.InvalidParameterValue, psycopg.errors.CheckViolation) as error:
            detail = "the database knows no such time zone; name it as Europe/Berlin or UTC"
            raise faulty([Fault("timezone", None, detail)]) from error

    async def _hold_days(self, connection: Connection, wanted: Wanted, **key: Any) -> None:
        """Wait for workers, if need be, while nobody waits for the junction yet: ingest may tell of it."""
        if wanted.timezone is None and not wanted.devices:
            return
        says = {"timezone": wanted.timezone, "devices": list(wanted.devices or ())}
        parameters = {"id": None, "name": None, **key, **says}
        needs = await (await connection.execute(self._queries["needs_days"], parameters)).fetchone()
        if needs is not None and needs[0]:
            await connection.execute(self._queries["hold_days"])

    async def _row(self, connection: Connection, **key: Any) -> _Row | None:
        """A junction as it is once nobody else edits it; of no other than was locked."""
        locked = await connection.execute(self._queries["lock"], {"id": None, "name": None, **key})
        found = await locked.fetchone()
        if found is None:
            return None
        async with connection.cursor(row_factory=class_row(_Row)) as cursor:
            await cursor.execute(self._queries["current"], {"id": found[0]})
            return await cursor.fetchone()

    async def _put(
        self,
        connection: Connection,
        row: _Row | None,
        wanted: Wanted,
        who: Actor,
        versions: Collection[str] | None = None,
    ) -> Edited:
        """Bring a junction where it is wanted. Where it is there already, as after an answer that was lost, its
        version does not matter."""
        standing = await self._standing(connection, row, wanted)
        before = _state(row) if row else None
        after = _merged(before, wanted)
        faults = [*standing.faults, *await self._timezone_faults(connection, row, after)]
        if faults:
            raise faulty(faults)
        changes = _changes(before, after) if before else []
        changes += [Difference(f"devices: {one.name}", None, "stands there") for one in standing.arriving]
        if row and not changes:
            return Edited(row.id, after.name, row.version, "unchanged", [], standing.notes)
        check_version(versions, row.version if row else None, f"the junction {row.name if row else wanted.name}")
        identity = row.id if row else await self._create(connection, after)
        is_placed = before is None or before.location != after.location
        await self._write(connection, identity, after, is_placed=is_placed)
        await self._stand(connection, identity, standing.arriving)
        await audit(
            connection,
            who,
            AuditAction.JUNCTION_CHANGED if before else AuditAction.JUNCTION_CREATED,
            Subject(SubjectKind.JUNCTION, identity, after.name),
            junction_id=identity,
            before={one.path: one.before for one in changes} if before else None,
            after={one.path: one.after for one in changes} if before else _head(after),
        )
        row = await self._row(connection, id=identity)
        assert row is not None
        return Edited(row.id, row.name, row.version, "updated" if before else "created", changes, standing.notes)

    async def _standing(self, connection: Connection, row: _Row | None, wanted: Wanted) -> Standing:
        if not wanted.devices:
            return Standing()
        async with connection.cursor(row_factory=class_row(KnownDevice)) as cursor:
            await cursor.execute(self._queries["devices"], {"devices": list(wanted.devices)})
            known = await cursor.fetchall()
        names = await connection.execute(self._queries["device_names"])
        free = [name for (name,) in await names.fetchall()]
        return stand(wanted.devices, known, free, row.id if row else None)

    async def _timezone_faults(self, connection: Connection, row: _Row | None, after: _State) -> list[Fault]:
        """What was kept of lights is made anew in another zone, from raw rows."""
        if row is None or row.timezone == after.timezone:
            return []
        is_kept = row.has_counted
        if not is_kept:
            await connection.execute(self._queries["hold_days"])
            parameters = {"id": row.id, "timezone": after.timezone}
            found = await (await connection.execute(self._queries["is_lost_in"], parameters)).fetchone()
            is_kept = found is not None and found[0]
        detail = (
            f"its days and hours were counted in {row.timezone}, and cannot be counted anew; give that, or make a"
            " new junction"
        )
        return [Fault("timezone", after.timezone, detail)] if is_kept else []

    async def _create(self, connection: Connection, state: _State) -> UUID:
        parameters = {"name": state.name, "timezone": state.timezone}
        found = await (await connection.execute(self._queries["create"], parameters)).fetchone()
        if found is None:
            raise _taken(state.name)
        identity: UUID = found[0]
        return identity

    async def _write(self, connection: Connection, identity: UUID, state: _State, *, is_placed: bool) -> None:
        description = state.description and msgspec.json.encode(state.description).decode()
        parameters = {
            "id": identity,
            "name": state.name,
            "timezone": state.timezone,
            "wanted": description,
            "devices": list(state.devices),
            "metadata": Jsonb(dict(state.metadata), dumps=msgspec.json.encode),
        }
        await connection.execute(self._queries["change"], parameters)
        if is_placed and state.location is not None:
            place = msgspec.structs.asdict(state.location) | {"id": identity}
            await connection.execute(self._queries["place"], place)
        await connection.execute(self._queries["keep_lanes"], {"id": identity})

    async def _stand(self, connection: Connection, identity: UUID, arriving: Sequence[KnownDevice]) -> None:
        if arriving:
            parameters = {"id": identity, "devices": [one.id for one in arriving]}
            await connection.execute(self._queries["stand_there"], parameters)


def junction_version(row: Mapping[str, Any]) -> str:
    """Of all that can be edited of a junction, by the columns that it is read from."""
    return version_of([row[name] for name in _EDITABLE])


def unknown_junction(junction: UUID) -> ApiProblem:
    """An unknown junction, and one that the user may not see, look alike."""
    return ApiProblem(404, "junction_unknown", "No such junction", f"there is no junction {junction}")


def _state(row: _Row) -> _State:
    location = None
    if row.location_id is not None:
        location = Location(
            name=row.location_name, latitude=row.latitude, longitude=row.longitude, address=row.address
        )
    return _State(
        row.name, row.timezone, location, read_description(row.wanted), tuple(row.wanted_devices), row.metadata
    )


def _merged(before: _State | None, wanted: Wanted) -> _State:
    """What is wanted, and of what nothing is said, what is there."""
    old = before or _State(wanted.name, "UTC", None, None, (), {})
    location = old.location
    if wanted.location is not None:
        location = msgspec.structs.replace(wanted.location, name=wanted.location.name or wanted.name)
    return _State(
        name=wanted.name,
        timezone=wanted.timezone or old.timezone,
        location=location,
        description=wanted.description or old.description,
        devices=old.devices if wanted.devices is None else wanted.devices,
        metadata=old.metadata if wanted.metadata is None else wanted.metadata,
    )


def _changes(before: _State, after: _State) -> list[Difference]:
    heads = compare(_head(before), _head(after), "")
    return [*heads, *differences(before.description, after.description)]


def _head(state: _State) -> dict[str, Any]:
    """All but the description, as JSON."""
    return {
        "name": state.name,
        "timezone": state.timezone,
        "location": None if state.location is None else msgspec.structs.asdict(state.location),
        "devices": list(state.devices),
        "metadata": dict(state.metadata),
    }


def _taken(name: str) -> ApiProblem:
    detail = f"name: there is a junction {name} already; change that one, or choose another name"
    return ApiProblem(409, "junction_exists", "The name is taken", detail)
