"""Lists of devices of a large fleet: 10,000 junctions with 8 devices each.

The bar is 10 ms in the database for a page of 100, planning included; how long all of it takes is printed beside.
"""

import asyncio
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from functools import partial

import psycopg

from collector.db import Pool, Settings, make_pool, reading
from collector.fleet.overview import DeviceState, Order, Wanted, page_statement, read_page, read_story
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
    "INSERT INTO ingest_streams"
    " (device_id, stream, epoch, last_seq, stored, rejected, lost, last_received_at, last_at)"
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
        for name, limit_ms, wanted, order, offset in _PAGES:
            whole_ms = await _took_ms(partial(read_page, pool, wanted, order=order, offset=offset))
            in_database_ms = await _in_database_ms(pool, wanted, order, offset)
            if limit_ms is None:
                report.plain(f"{edition}: {name}", in_database_ms, "ms", f"whole {whole_ms:.3g} ms")
            else:
                report.limit(f"{edition}: {name} (whole {whole_ms:.3g} ms)", in_database_ms, limit_ms, "ms")
        [device] = await read_page(pool, Wanted(), limit=1)
        report.plain(
            f"{edition}: one device and its day", await _took_ms(lambda: read_story(pool, device.id)), "ms"
        )
        open_ones = WantedRejects(open_only=True)
        rejects_ms = await _took_ms(lambda: read_rejects(pool, open_ones, limit=100, raw_characters=4000))
        report.limit(f"{edition}: rejects, a page of 100, whole", rejects_ms, LIMIT_MS, "ms")


_PAGES: tuple[tuple[str, float | None, Wanted, Order, int], ...] = (
    ("devices, a page of 100", LIMIT_MS, Wanted(), Order.NAME, 0),
    ("devices, the tenth page", LIMIT_MS, Wanted(), Order.NAME, 900),
    ("devices at a junction", LIMIT_MS, Wanted(junctions=["junction 77"]), Order.NAME, 0),
    ("devices by part of a name", LIMIT_MS, Wanted(q="n 9876"), Order.NAME, 0),
    ("healthy devices", LIMIT_MS, Wanted(states=[DeviceState.HEALTHY]), Order.NAME, 0),
    ("critical devices", LIMIT_MS, Wanted(states=[DeviceState.CRITICAL]), Order.NAME, 0),
    ("devices that never came", None, Wanted(states=[DeviceState.NEVER]), Order.NAME, 0),
    ("all, silent for longest first", None, Wanted(), Order.RECEIVED, 0),
)


async def _took_ms(ask: Callable[[], Awaitable[object]]) -> float:
    await ask()
    times_ms = []
    for _ in range(REPEATS):
        started_s = time.perf_counter()
        await ask()
        times_ms.append((time.perf_counter() - started_s) * 1000)
    return statistics.median(times_ms)


async def _in_database_ms(pool: Pool, wanted: Wanted, order: Order, offset: int) -> float:
    """As the database itself tells it, planning included."""
    times_ms: list[float] = []
    async with reading(pool) as connection:
        for _ in range(REPEATS):
            cursor = await connection.execute(
                b"EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) " + page_statement(wanted, order),
                wanted.values() | {"limit": 101, "offset": offset},
                prepare=False,
            )
            row = await cursor.fetchone()
            assert row is not None
            [told] = row[0]
            times_ms.append(float(told["Planning Time"] + told["Execution Time"]))
    return statistics.median(times_ms)


if __name__ == "__main__":
    main()
