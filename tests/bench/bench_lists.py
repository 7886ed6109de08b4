"""Lists of devices, rejects, logs, orders, users and the audit log of a city: 10,000 junctions, 80,000 devices.

The bar is 10 ms in the database for a page of 100, whatever it is filtered by, also for a user who may see a
hundred junctions.

python -m tests.bench.bench_lists
"""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, cast

from collector.db import VIEWER, Pool, Settings, make_pool
from collector.fleet.overview import DeviceState, Order, Wanted, read_page, read_story
from collector.fleet.rejects import WantedRejects, read_rejects
from collector.identity.audit import AuditAction, AuditLog
from collector.identity.audit import Wanted as WantedEntries
from collector.identity.users import Filter, Users
from collector.junctions.ordering import Ordering
from collector.logs.queries import Asked, Place, read_logs
from tests.bench.city import City, running_city, time_of
from tests.bench.database_time import beside_yardstick
from tests.servers.postgres import ServerUnavailable

LIMIT_MS = 10.0
PAGE = 100
Ask = Callable[[], Awaitable[object]]


def main() -> None:
    for edition in ("plain", "timescaledb"):
        try:
            with running_city(edition, whole=True) as city:
                asyncio.run(measure(edition, city))
        except ServerUnavailable as reason:
            print(f"SKIP {edition}: {reason}", file=sys.stderr)


async def measure(edition: str, city: City) -> None:
    """Prints all figures of an edition."""
    async with make_pool(Settings(city.dsn, min_size=1, max_size=1)) as pool, beside_yardstick(pool, edition):
        whole = _devices(pool) | _rejects(pool) | _logs(pool) | _orders(pool, city) | _people(pool, city)
        [device] = await read_page(pool, Wanted(), limit=1)
        whole["a device and its day"] = lambda: read_story(pool, device.id)
        for name, ask in whole.items():
            await time_of(pool, f"{edition}: {name}", LIMIT_MS, ask)
        VIEWER.set(city.user)
        for name, ask in (_devices(pool) | _rejects(pool) | _logs(pool) | _orders(pool, city)).items():
            await time_of(pool, f"{edition}, of 100: {name}", LIMIT_MS, ask)


def _devices(pool: Pool) -> dict[str, Ask]:
    def page(wanted: Wanted, order: Order = Order.NAME, offset: int = 0) -> Ask:
        return partial(read_page, pool, wanted, order=order, limit=PAGE, offset=offset)

    return {
        "devices": page(Wanted()),
        "devices, the tenth page": page(Wanted(), offset=900),
        "devices at a junction": page(Wanted(junctions=["Junction 04707"])),
        "devices by a part of a name": page(Wanted(q="n 04707")),
        "devices by two letters": page(Wanted(q="77")),
        "devices by a name that is none": page(Wanted(q="nowhere")),
        "devices that were revoked (none)": page(Wanted(status="revoked")),
        "devices, healthy": page(Wanted(states=[DeviceState.HEALTHY])),
        "devices, warning (few)": page(Wanted(states=[DeviceState.WARNING])),
        "devices, critical": page(Wanted(states=[DeviceState.CRITICAL])),
        "devices, never heard (none)": page(Wanted(states=[DeviceState.NEVER])),
        "devices, critical or warning": page(Wanted(states=[DeviceState.CRITICAL, DeviceState.WARNING])),
        "devices, critical, silent for longest first": page(Wanted(states=[DeviceState.CRITICAL]), Order.RECEIVED),
        "devices, healthy, heard last first": page(Wanted(states=[DeviceState.HEALTHY]), Order.RECEIVED_DOWN),
        "devices, silent for longest first": page(Wanted(), Order.RECEIVED),
        "devices, heard last first": page(Wanted(), Order.RECEIVED_DOWN),
    }


def _rejects(pool: Pool) -> dict[str, Ask]:
    def page(wanted: WantedRejects) -> Ask:
        return partial(read_rejects, pool, wanted, limit=PAGE, raw_characters=4000)

    return {
        "rejects": page(WantedRejects()),
        "rejects, open": page(WantedRejects(open_only=True)),
        "rejects of a junction": page(WantedRejects(junctions=["Junction 04707"])),
        "rejects of a rare code": page(WantedRejects(codes=["not_storable"])),
        "rejects of a code that is none": page(WantedRejects(codes=["no_such"])),
    }


def _logs(pool: Pool) -> dict[str, Ask]:
    until = datetime.now(UTC)
    day = Asked(until - timedelta(days=1), until, PAGE, Place())
    week = replace(day, since=until - timedelta(days=7))
    return {
        "logs of a day": partial(read_logs, pool, day),
        "logs of a junction, a week": partial(read_logs, pool, replace(week, junctions=["Junction 04707"])),
        "logs of a level": partial(read_logs, pool, replace(week, level="error")),
        "logs of a rare action": partial(read_logs, pool, replace(week, actions=["disk_full"])),
        "logs by a part of a text": partial(read_logs, pool, replace(week, text="camera 777")),
        "logs by three figures": partial(read_logs, pool, replace(week, text="777")),
        "logs by a text that all have": partial(read_logs, pool, replace(week, text="came back")),
        "logs by a text that many have": partial(read_logs, pool, replace(week, text="after 6")),
        "logs by their context": partial(read_logs, pool, replace(week, context={"of": 777})),
    }


def _orders(pool: Pool, city: City) -> dict[str, Ask]:
    # Nothing is ordered here.
    ordering = Ordering(pool, cast(Any, None))
    return {
        "commands of a junction": lambda: ordering.commands(city.junction, limit=PAGE),
        "overrides of a junction": lambda: ordering.overrides(city.junction, limit=PAGE, offset=0),
    }


def _people(pool: Pool, city: City) -> dict[str, Ask]:
    users, audit_log = Users(pool, cast(Any, None)), AuditLog(pool)

    def page(wanted: Filter | None = None) -> Ask:
        return partial(users.page, PAGE, 0, wanted)

    def entries(wanted: WantedEntries) -> Ask:
        return partial(audit_log.page, wanted, PAGE, None)

    return {
        "users": page(),
        "users by a part of a name": page(Filter(part="r 47")),
        "users, disabled": page(Filter(status="disabled")),
        "audit log": entries(WantedEntries()),
        "audit log of a junction": entries(WantedEntries(junction_id=city.junction)),
        "audit log of a user": entries(WantedEntries(user_id=city.user)),
        "audit log of a rare action": entries(WantedEntries(actions=[AuditAction.USER_CHANGED])),
    }


if __name__ == "__main__":
    main()
