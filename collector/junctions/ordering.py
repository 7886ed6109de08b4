"""Giving orders to a junction's lights, and what came of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from collector.db import Connection, Pool, load_queries, reading, writing
from collector.errors import ApiProblem
from collector.identity.access import CurrentUser
from collector.identity.audit import AuditAction, Subject, SubjectKind, audit
from collector.junctions.description import read_description
from collector.junctions.editing import unknown_junction
from collector.junctions.lights_log import mode_of, settings_of
from collector.junctions.mode_orders import ModeOrder, Preview, order_fault, plan_in_force, preview, read_order
from collector.remote.commands import CommandItem, command_item
from collector.remote.orders import Issuer, Orders
from common.codes import SignalMode
from common.commands import Order
from common.junction import Junction
from common.junction_checks import Fault, faults


class OverrideItem(msgspec.Struct, frozen=True):
    """What took the lights out of automatic control, or was to: an order, an emergency vehicle, or a fault.

    `origin` is `collector` (an order from here, `command`), `beside` (an order given beside the junction),
    `preemption` (an emergency vehicle: `by` is what it is called there, its `mode` is `preempt`) or `fault` (the
    lights flashed by themselves: `why` is the fault in their words, empty where they told none). `began_at` null:
    the lights have not taken it, or never did. `ended_at` null: it still goes on. `ended_by` is `expiry`, `order`
    (the next one), `fault`, `restart` (of the lights; or, where it did not begin, it is not known whether it did:
    the agent was restarted before it knew, or told nothing), or `refusal`; of a preemption `exit`, `too_long`,
    `restart` or `untold` (its end was not told); of a fault `cleared`, `restart` or `another` (came next).
    """

    id: UUID
    origin: Literal["collector", "beside", "preemption", "fault"]
    command: UUID | None
    user: UUID | None
    by: str
    mode: str
    settings: dict[str, Any]
    why: str
    ordered_at: datetime
    began_at: datetime | None
    expires_at: datetime | None
    """Then it ends by itself."""
    ended_at: datetime | None
    ended_by: str | None
    duration_s: float | None
    """So far, where it still goes on."""


@dataclass(frozen=True)
class _Lights:
    """Who drives a junction's lights, and what they run."""

    junction: UUID
    name: str
    device: UUID | None
    device_name: str | None
    may_send: bool
    runs: Junction | None
    wanted: Junction | None
    plan: int
    """The index of the plan in force, by the schedule of what runs, or else of what is wanted."""


class Ordering:
    """For operators."""

    def __init__(self, pool: Pool, orders: Orders) -> None:
        self._pool, self._orders = pool, orders
        self._queries, self._history = load_queries("orders"), load_queries("history")

    async def order(self, junction: UUID, body: ModeOrder, user: CurrentUser) -> CommandItem:
        """Queue an order, in place of those that still wait. The caller has looked whether the user may.

        One that was sent already stays open until its device tells whether it had begun it (`sql/remote.sql`).

        Raises:
            ApiProblem: 409 where nobody drives the lights who could be told, 422 where the lights would refuse it.
        """
        async with writing(self._pool) as connection:
            lights = await self._lights(connection, "lights", junction)
            device, description = _driver(lights)
            order = _checked(description, body, user.name, lights.plan)
            superseded = await self._supersede(connection, junction, user.name)
            item = await self._orders.queue(
                connection, junction, device, order, Issuer(user.id, user.name), body.valid_s
            )
            await self._note(connection, lights, order, item, user)
        for one in superseded:
            self._orders.tell(one)
        await self._orders.wake(device, item)
        return item

    async def preview(self, junction: UUID, body: ModeOrder) -> Preview:
        """What the lights would make of an order. Raises ApiProblem: nothing is known of them."""
        async with reading(self._pool) as connection:
            lights = await self._lights(connection, "lights_to_look_at", junction)
        description = lights.runs or lights.wanted
        if description is None:
            raise _conflict("lights_unknown", f"the lights of {lights.name} have not told what they are")
        return preview(description, read_order(body, "preview"), lights.plan)

    async def commands(
        self, junction: UUID, command: UUID | None = None, *, limit: int = 1, offset: int = 0
    ) -> list[CommandItem]:
        """A page of a junction's orders, newest first, or one of them.

        Raises ApiProblem: there is no such junction.
        """
        page = {"junction": junction, "command": command, "limit": limit, "offset": offset}
        async with reading(self._pool) as connection:
            await self._must_be_there(connection, junction)
            cursor = await connection.execute(self._queries["commands"], page)
            return [command_item(row) for row in await cursor.fetchall()]

    async def overrides(self, junction: UUID, *, limit: int, offset: int) -> list[OverrideItem]:
        """A page of the history, newest first. Raises ApiProblem: there is no such junction."""
        page = {"junction": junction, "limit": limit, "offset": offset}
        async with reading(self._pool) as connection:
            await self._must_be_there(connection, junction)
            cursor = await connection.execute(self._queries["overrides"], page)
            return [OverrideItem(*row) for row in await cursor.fetchall()]

    async def _must_be_there(self, connection: Connection, junction: UUID) -> None:
        cursor = await connection.execute(self._queries["is_there"], {"junction": junction})
        if await cursor.fetchone() is None:
            raise unknown_junction(junction)

    async def _lights(self, connection: Connection, statement: str, junction: UUID) -> _Lights:
        async with connection.cursor(row_factory=dict_row) as cursor:
            await cursor.execute(self._queries[statement], {"junction": junction})
            row = await cursor.fetchone()
        if row is None:
            raise unknown_junction(junction)
        return _lights(junction, row, datetime.now(UTC))

    async def _supersede(self, connection: Connection, junction: UUID, by: str) -> list[CommandItem]:
        cursor = await connection.execute(self._queries["supersede"], {"junction": junction, "by": by})
        superseded = [command_item(row) for row in await cursor.fetchall()]
        for one in superseded:
            await connection.execute(self._history["supersede_history"], {"command": one.id})
        return superseded

    async def _note(
        self, connection: Connection, lights: _Lights, order: Order, item: CommandItem, user: CurrentUser
    ) -> None:
        """Write the order into the audit log and, if it takes the lights out of automatic control, the history."""
        settings = settings_of(order)
        if mode_of(order) is not SignalMode.AUTOMATIC:
            parameters = {
                "command": item.id,
                "mode": str(mode_of(order)),
                "settings": Jsonb(settings),
                "why": order.why,
            }
            await connection.execute(self._history["note_order"], parameters)
        await audit(
            connection,
            user,
            AuditAction.MODE_ORDERED,
            Subject(SubjectKind.COMMAND, item.id, lights.name),
            junction_id=lights.junction,
            after={"mode": str(mode_of(order)), "why": order.why, **settings},
        )


def _lights(junction: UUID, row: Mapping[str, Any], now: datetime) -> _Lights:
    runs, wanted = _sound(row["runs"]), _sound(row["wanted"])
    description = runs or wanted
    return _Lights(
        junction=junction,
        name=row["name"],
        device=row["device"],
        device_name=row["device_name"],
        may_send=row["status"] == "active" and row["stands_here"],
        runs=runs,
        wanted=wanted,
        plan=plan_in_force(description, now.astimezone(ZoneInfo(description.timezone))) if description else 0,
    )


def _sound(text: str | None) -> Junction | None:
    """A description that can be reckoned with: lights say what they are, and may say anything."""
    junction = read_description(text)
    return None if junction is None or faults(junction) else junction


def _driver(lights: _Lights) -> tuple[UUID, Junction]:
    """The device to be told, and what it runs."""
    if lights.device is None:
        detail = f"no device is known to drive the lights of {lights.name}; one is once its lights have started"
        raise _conflict("no_lights", detail)
    if not lights.may_send:
        detail = (
            f"{lights.device_name}, which drove the lights of {lights.name}, was revoked or stands elsewhere now"
        )
        raise _conflict("lights_revoked", detail)
    if lights.runs is None:
        raise _conflict("lights_unknown", f"what the lights of {lights.name} tell of themselves is not known here")
    return lights.device, lights.runs


def _checked(description: Junction, body: ModeOrder, by: str, plan: int) -> Order:
    """The order, if the lights would take it."""
    asked = read_order(body, by)
    if asked.order is None:
        raise _refused(asked.faults)
    fault = order_fault(description, asked.order, plan)
    if fault is not None:
        raise _refused([fault])
    return asked.order


def _refused(found: Sequence[Fault]) -> ApiProblem:
    errors = [{"key": one.path, "message": one.message} for one in found]
    detail = "; ".join(map(str, found))
    return ApiProblem(422, "order_invalid", "The lights would refuse it", detail, errors=errors)


def _conflict(code: str, detail: str) -> ApiProblem:
    return ApiProblem(409, code, "The lights cannot be told", detail)
