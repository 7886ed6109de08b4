"""Lists of devices of a large fleet: 10,000 junctions with 8 devices each.

The bar is 10 ms for a page of 100; measured is all of `read_page`, so what psycopg makes of the rows is in it.
"""

import asyncio
import statistics
import sys
import time
from collections.abc import Awaitable, Callable

import psycopg

from collector.db import Pool, Settings, make_pool
from collector.fleet.overview import DeviceState, Order, Wanted, read_page, read_story
from collector.fleet.rejects import WantedRejects, read_rejects
from tests.bench import report
from tests.servers.databases import TEMPLATE, running_server
from tests.servers.postgres import ServerUnavailable

JUNCTIONS, DEVICES_EACH = 10_000, 8
REPEATS = 15
LIMIT_MS = 10.0

FLEET = (
    "INSERT INTO junctions (name) SELECT 'junction ' || n FROM generate_series(1, {junctions}) n",
    "INSERT INTO edge_devices (id, junction_id, name, public_key)"
    " SELECT gen_random_uuid(), j.id, 'pi ' || k || ' of ' || j.name, decode(repeat('00', 32), 'hex')"
    " FROM junctions j, generate_series(1, {each}) k ORDER BY random()",
    # One in 500 is silent, one in 1000 never came.
    "INSERT INTO ingest_streams (device_id, stream, epoch, last_seq, stored, rejected, lost, last_received_at, last_at)"
    " SELECT id, 'agent', gen_random_uuid(), 1000, 979, 1, 20, at, at FROM (SELECT id, now() - CASE"
    " WHEN random() < 0.002 THEN interval '2 days' ELSE random() * interval '4 minutes' END AS at"
    " FROM edge_devices WHERE random() > 0.001) d",
    "INSERT INTO device_health (at, at_error_ms, seq, stream_no, outbox_records, outbox_bytes, outbox_dropped,"
    " uptime_s, temperature_c, clock_synced, version, sensors)"
    " SELECT s.last_at - n * interval '1 minute', 0, n, s.no, 3, 200, 0, 1000, 50, true, '0.1.0',"
    ' \'[["north", "ok", 6.2, 0, 120, 0]]\' FROM generate_series(0, 9) n, ingest_streams s',
    "INSERT INTO ingest_gaps (at, at_error_ms, seq, stream_no, reason, duration_ms, from_seq)"
    " SELECT now() - n * interval '16 hours', 0, 100 * n, s.no, 'outbox_full', 1000, 100 * n - 9"
    " FROM generate_series(1, 2) n, ingest_streams s",
    "INSERT INTO ingest_rejects (received_at, seq, stream_no, code, detail, raw)"
    " SELECT now() - random() * interval '9 days', 500, s.no, 'malformed', 'at: is missing', '[]'"
    " FROM ingest_streams s",
    "VACUUM ANALYZE",
)


def main() -> None:
    for edition in ("plain", "timescaledb"):
        try:
            with running_server(edition, durable=False) as server:
                dsn = server.dsn(TEMPLATE)
                with psycopg.connect(dsn, autocommit=True) as connection:
                    for statement in FLEET:
                        connection.execute(statement.format(junctions=JUNCTIONS, each=DEVICES_EACH).encode())
                asyncio.run(_measure(edition, dsn))
        except ServerUnavailable as reason:
            print(f"SKIP {edition}: {reason}", file=sys.stderr)


async def _measure(edition: str, dsn: str) -> None:
    async with make_pool(Settings(dsn, min_size=1)) as pool:
        for name, limit_ms, ask in _questions(pool):
            await ask()
            times_ms = []
            for _ in range(REPEATS):
                started_s = time.perf_counter()
                await ask()
                times_ms.append((time.perf_counter() - started_s) * 1000)
            name, took_ms = f"{edition}: {name}", statistics.median(times_ms)
            if limit_ms is None:
                report.plain(name, took_ms, "ms")
            else:
                report.limit(name, took_ms, limit_ms, "ms")


def _questions(pool: Pool) -> list[tuple[str, float | None, Callable[[], Awaitable[object]]]]:
    def page(wanted: Wanted, order: Order = Order.NAME, offset: int = 0) -> Callable[[], Awaitable[object]]:
        return lambda: read_page(pool, wanted, order=order, offset=offset)

    async def story() -> object:
        [device] = await read_page(pool, Wanted(), limit=1)
        return await read_story(pool, device.id)

    return [
        ("devices, a page of 100", LIMIT_MS, page(Wanted())),
        ("devices, the tenth page", LIMIT_MS, page(Wanted(), offset=900)),
        ("devices at a junction", LIMIT_MS, page(Wanted(junctions=["junction 77"]))),
        ("devices by part of a name", LIMIT_MS, page(Wanted(q="n 9876"))),
        ("healthy devices", LIMIT_MS, page(Wanted(states=[DeviceState.HEALTHY]))),
        ("critical devices, a page of 100", LIMIT_MS, page(Wanted(states=[DeviceState.CRITICAL]))),
        ("devices that never came", None, page(Wanted(states=[DeviceState.NEVER]))),
        ("all, silent for longest first", None, page(Wanted(), Order.RECEIVED)),
        ("one device and its day", LIMIT_MS, story),
        (
            "rejects, a page of 100",
            LIMIT_MS,
            lambda: read_rejects(pool, WantedRejects(open_only=True), limit=100, raw_characters=4000),
        ),
    ]


if __name__ == "__main__":
    main()
