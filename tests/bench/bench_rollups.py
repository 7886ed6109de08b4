"""How fast the rollup worker turns marks into rollups, with a city live at once.

python -m tests.bench.bench_rollups
"""

import asyncio
import sys
import time
from datetime import UTC, datetime, timedelta

import psycopg

from collector.counting.rollups import RollupWorker
from collector.db import Settings, make_pool
from tests.bench import report
from tests.servers.databases import TEMPLATE, running_server
from tests.servers.postgres import ServerUnavailable

SOURCES = 40_000
MINUTE = datetime(2026, 5, 4, 7, 30, tzinfo=UTC)
LIMIT_S = 30.0
"""A city's minute comes every minute; half of it is left for all else."""


def main() -> None:
    for edition in ("plain", "timescaledb"):
        try:
            with running_server(edition, durable=True) as server:
                asyncio.run(_measure(edition, server.dsn(TEMPLATE)))
        except ServerUnavailable as reason:
            print(f"SKIP {edition}: {reason}", file=sys.stderr)


async def _measure(edition: str, dsn: str) -> None:
    _make_sources(dsn)
    # Days with data of their own: a pass must not look into them.
    for day in range(1, 31):
        _count(dsn, MINUTE - timedelta(days=day), per_source=1)
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("TRUNCATE rollup_marks")
        connection.execute("VACUUM ANALYZE")
    async with make_pool(Settings(dsn)) as pool:
        worker = RollupWorker(pool, asyncio.Event())
        for name, minute, per_source in (
            ("first counts of a minute", MINUTE, 4),
            ("more counts of it", MINUTE, 2),
            ("the next minute", MINUTE + timedelta(minutes=1), 4),
        ):
            _count(dsn, minute, per_source)
            started_s = time.perf_counter()
            marks = await worker.drain()
            took_s = time.perf_counter() - started_s
            report.limit(f"rollups, {edition}: {marks:,} marks, {name}", took_s, LIMIT_S, "s")
        _count(dsn, MINUTE + timedelta(minutes=1), 1, sources=100)
        started_s = time.perf_counter()
        await worker.drain()
        report.plain(f"rollups, {edition}: 100 marks", (time.perf_counter() - started_s) * 1000, "ms")


def _make_sources(dsn: str) -> None:
    with psycopg.connect(dsn) as connection:
        connection.execute("INSERT INTO junctions (name, timezone) VALUES ('j', 'Europe/Berlin')")
        connection.execute(
            """
            INSERT INTO edge_devices (id, junction_id, name, public_key)
            SELECT gen_random_uuid(), j.id, 'd' || n, decode(repeat('00', 32), 'hex')
            FROM junctions j, generate_series(1, 10000) n
            """
        )
        connection.execute(
            """
            INSERT INTO counting_zones (device_id, sensor, name, via, kind)
            SELECT id, 'cam', 'line ' || n, 'camera', 'line' FROM edge_devices, generate_series(1, 4) n
            """
        )


def _count(dsn: str, minute: datetime, per_source: int, sources: int = SOURCES) -> None:
    """`per_source` counts and one mark for each source, as ingest would write them."""
    with psycopg.connect(dsn) as connection:
        connection.execute(
            """
            INSERT INTO count_events (at, at_error_ms, seq, stream_no, source_no, cls, direction, inferred)
            SELECT %s + make_interval(secs => n * 7), 0, n, 1, s,
                   CASE WHEN n %% 4 = 0 THEN 'bus' ELSE 'car' END,
                   CASE WHEN n %% 2 = 0 THEN 'in' ELSE 'out' END, false
            FROM generate_series(1, %s) n, generate_series(1, %s) s
            """,
            (minute, per_source, sources),
        )
        connection.execute(
            "INSERT INTO rollup_marks (minute, ref_no, kind) SELECT %s, s, 'count' FROM generate_series(1, %s) s",
            (minute, sources),
        )


if __name__ == "__main__":
    main()
