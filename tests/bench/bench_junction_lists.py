"""How fast junctions are told among 10,000 with 40,000 lanes and 80,000 devices: one, and pages of a list.

python -m tests.bench.bench_junction_lists
"""

import asyncio
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from uuid import UUID, uuid4

import psycopg

from collector.db import Pool, Settings, make_pool, viewer
from collector.junctions.details import read_details
from collector.junctions.queries import Freshness, Listing, Sort, read_junctions
from tests.bench import report
from tests.servers.databases import TEMPLATE, running_server
from tests.servers.postgres import ServerUnavailable

JUNCTIONS = 10_000
DEVICES_EACH = 8
LANES_EACH = 4
REPEATS = 15
_LOAD = (
    "SELECT setseed(0.5)",
    "INSERT INTO junctions (name, timezone, wanted)"
    " SELECT 'Junction ' || lpad(n::text, 5, '0'), 'Europe/Berlin', jsonb_build_object('lanes', (SELECT jsonb_agg("
    " jsonb_build_object('name', 'lane ' || i, 'approach', 'north')) FROM generate_series(1, %(lanes)s) i))"
    " FROM generate_series(1, %(junctions)s) n",
    "SELECT keep_lanes(id) FROM junctions",
    "INSERT INTO edge_devices (id, junction_id, name, public_key)"
    " SELECT gen_random_uuid(), id, name || ' pi ' || n, decode(repeat('00', 32), 'hex')"
    " FROM junctions, generate_series(1, %(devices)s) n",
    # One in a hundred junctions is silent.
    "INSERT INTO ingest_streams (device_id, stream, epoch, last_received_at)"
    " SELECT d.id, 'agent', gen_random_uuid(), now() - random() * CASE j.no %% 100"
    " WHEN 7 THEN interval '9 days' ELSE interval '1 minute' END FROM edge_devices d JOIN junctions j"
    " ON j.id = d.junction_id",
    "UPDATE junctions j SET lights_device_id = d.id, lights_mode = 'automatic',"
    " metadata = jsonb_build_object('lights', jsonb_build_object('at_ms', 1, 'description',"
    " j.wanted || jsonb_build_object('rest',"
    " (SELECT string_agg(md5(i::text), '') FROM generate_series(1, 120) i))))"
    " FROM edge_devices d WHERE d.junction_id = j.id AND d.name LIKE '%% pi 1' AND j.no %% 10 <> 0",
    "INSERT INTO cameras (device_id, name) SELECT id, 'cam' FROM edge_devices"
    " WHERE right(name, 1)::integer <= %(lanes)s",
    "INSERT INTO counting_zones (device_id, sensor, name, via, kind, camera_id)"
    " SELECT device_id, name, 'stop', 'camera', 'line', id FROM cameras",
    "INSERT INTO count_rollups (bucket, source_no, step_s, n, n_inferred, cls, direction)"
    " SELECT bucket_start(now() - d * interval '1 day', 86400, 'Europe/Berlin'), no, 86400,"
    " (random() * 9000)::bigint, 0, cls, 'in'"
    " FROM counting_zones, generate_series(0, 6) d, unnest(ARRAY['car', 'bus']) cls",
    "INSERT INTO coverage_rollups (bucket, camera_no, step_s, measured_ms)"
    " SELECT bucket_start(now() - d * interval '1 day', 86400, 'Europe/Berlin'), no, 86400, 3600000"
    " FROM cameras, generate_series(0, 6) d",
    "INSERT INTO rollup_marks (minute, ref_no, kind)"
    " SELECT date_trunc('minute', now()), no, 'count' FROM counting_zones WHERE no %% 50 = 0",
)


def main() -> None:
    for edition in ("plain", "timescaledb"):
        try:
            with running_server(edition, durable=False) as server:
                dsn = server.dsn(TEMPLATE)
                junction, user = _load(dsn)
                asyncio.run(_measure(edition, dsn, junction, user))
        except ServerUnavailable as reason:
            print(f"SKIP {edition}: {reason}", file=sys.stderr)


def _load(dsn: str) -> tuple[UUID, UUID]:
    """A junction in the middle, and a user who may see a hundred of them."""
    numbers = {"junctions": JUNCTIONS, "devices": DEVICES_EACH, "lanes": LANES_EACH}
    with psycopg.connect(dsn, autocommit=True) as connection:
        for statement in _LOAD:
            connection.execute(statement.encode(), numbers if "%" in statement else None)
        user = uuid4()
        connection.execute(
            "INSERT INTO users (id, name, password_hash, role) VALUES (%s, 'otto', 'x', 'operator')", (user,)
        )
        connection.execute(
            "INSERT INTO user_junction_access SELECT %s, id, 'operate' FROM junctions WHERE no %% 100 = 7", (user,)
        )
        connection.execute("VACUUM ANALYZE")
        row = connection.execute("SELECT id FROM junctions WHERE name = 'Junction 04711'").fetchone()
    assert row is not None
    return row[0], user


async def _measure(edition: str, dsn: str, junction: UUID, user: UUID) -> None:
    async with make_pool(Settings(dsn, min_size=1, max_size=1)) as pool:
        pages: tuple[tuple[str, float | None, Listing, int], ...] = (
            ("by name, 20", 10.0, Listing(), 20),
            ("by name, 100", 10.0, Listing(), 100),
            ("name contains 47, 20", 10.0, Listing(q="47"), 20),
            ("without lights, 20", 10.0, Listing(has_lights=False), 20),
            ("live, 20", None, Listing(states=[Freshness.LIVE]), 20),
            ("silent, 20", None, Listing(states=[Freshness.SILENT]), 20),
            ("never heard (none), 20", None, Listing(states=[Freshness.NEVER]), 20),
            ("by last received, 20", None, Listing(sort=Sort.RECEIVED_AT), 20),
            ("by counts today, 20", None, Listing(sort=Sort.COUNTS_TODAY_DOWN), 20),
        )
        await _time(f"{edition}: a junction whole", 2.0, lambda: read_details(pool, junction, None))
        for name, limit_ms, listing, n in pages:
            await _time(f"{edition}: {name}", limit_ms, _page(pool, listing, n))
        viewer.set(user)
        await _time(f"{edition}: of 100 that a user may see, by name, 20", 10.0, _page(pool, Listing(), 20))
        await _time(
            f"{edition}: a junction that a user may see, whole", 2.0, lambda: read_details(pool, junction, None)
        )


def _page(pool: Pool, listing: Listing, n: int) -> Callable[[], Awaitable[object]]:
    return lambda: read_junctions(pool, listing, limit=n)


async def _time(name: str, limit_ms: float | None, ask: Callable[[], Awaitable[object]]) -> None:
    for _ in range(6):
        await ask()
    times_ms = []
    for _ in range(REPEATS):
        started_s = time.perf_counter()
        await ask()
        times_ms.append((time.perf_counter() - started_s) * 1000)
    took_ms = statistics.median(times_ms)
    if limit_ms is None:
        report.plain(name, took_ms, "ms")
    else:
        report.limit(name, took_ms, limit_ms, "ms")


if __name__ == "__main__":
    main()
