"""How fast the store answers: single cameras among 10,000, and counts over weeks.

    python -m tests.bench.bench_queries            STOPLINE_BENCH_COUNTS=100000000 for more counts

The limits hold for a store of 100 million counts. What is asked is read from rollups, whose number does not grow
with the counts of a minute; fewer are loaded by default so that it takes a minute.
"""

import asyncio
import itertools
import os
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from uuid import UUID

import psycopg

from collector.analytics.arrivals import read_arrivals
from collector.analytics.asking import answer_by_hours
from collector.analytics.cycle_use import read_cycle_use
from collector.analytics.daily import DailyWorker
from collector.analytics.days import read_days
from collector.analytics.hourly import HourlyWorker
from collector.analytics.lanes import read_lanes
from collector.analytics.peaks import read_peak_hours
from collector.analytics.period import read_asked
from collector.analytics.saturation import read_saturation
from collector.analytics.waits import read_waits
from collector.counting.queries import Asked, Bucket, CountQueries
from collector.db import Pool, Settings, make_pool, reading
from collector.errors import ApiProblem
from collector.junctions.queries import Listing, read_junctions
from tests.bench import report
from tests.bench.analytics_load import load_lights
from tests.bench.database_time import beside_yardstick, time_all
from tests.servers.databases import TEMPLATE, running_server
from tests.servers.postgres import ServerUnavailable

JUNCTIONS = 100
DEVICES = 400
CAMERAS_PER_DEVICE = 25
DAYS = 30
COUNTS = int(os.environ.get("STOPLINE_BENCH_COUNTS", "2000000"))
END = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
START = END - timedelta(days=DAYS)
REPEATS = 30
JUNCTIONS_WITH_CYCLES = 10
"""Whose cycles lie side by side in the store: some 2 million lanes of cycles."""


def main() -> None:
    for edition in ("plain", "timescaledb"):
        try:
            with running_server(edition, durable=False) as server:
                dsn = server.dsn(TEMPLATE)
                _load(dsn)
                _measure_cameras(edition, dsn)
                asyncio.run(_measure_counts(edition, dsn))
                load_lights(dsn, JUNCTIONS_WITH_CYCLES, START, END)
                asyncio.run(_measure_analytics(edition, dsn))
        except ServerUnavailable as reason:
            print(f"SKIP {edition}: {reason}", file=sys.stderr)


def _load(dsn: str) -> None:
    with psycopg.connect(dsn) as connection:
        connection.execute("SELECT setseed(0.5)")
        connection.execute(
            "INSERT INTO junctions (name, timezone)"
            " SELECT 'junction ' || n, 'Europe/Berlin' FROM generate_series(1, %s) n",
            (JUNCTIONS,),
        )
        connection.execute(
            "INSERT INTO edge_devices (id, junction_id, name, public_key)"
            " SELECT gen_random_uuid(), (SELECT id FROM junctions WHERE name = 'junction ' || 1 + n %% %s),"
            " 'device ' || n, decode(repeat('00', 32), 'hex') FROM generate_series(1, %s) n",
            (JUNCTIONS, DEVICES),
        )
        connection.execute(
            "INSERT INTO cameras (device_id, name, status)"
            " SELECT id, 'camera ' || n, CASE WHEN random() < 0.05 THEN 'maintenance' ELSE 'active' END"
            " FROM edge_devices, generate_series(1, %s) n",
            (CAMERAS_PER_DEVICE,),
        )
        connection.execute(
            "INSERT INTO counting_zones (device_id, sensor, name, via, kind, camera_id)"
            " SELECT d.id, c.name, 'stop line', 'camera', 'line', c.id"
            " FROM edge_devices d JOIN cameras c ON c.device_id = d.id AND c.name = 'camera 1'"
        )
    _load_counts(dsn)


def _load_counts(dsn: str) -> None:
    """Raw counts spread over the days, the rollups that the worker would have made of them, and coverage.

    Minutes are made for the last day only: they are most of the work, and asked for one day at a time.
    """
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO count_events (at, at_error_ms, seq, stream_no, source_no, cls, direction, inferred)"
            " SELECT %(start)s::timestamptz + random() * interval '30 days', 0, n, 1, z.no,"
            " (ARRAY['car', 'car', 'car', 'bus', 'truck', 'bicycle'])[1 + (n * 7) %% 6],"
            " (ARRAY['in', 'out'])[1 + n %% 2], false"
            " FROM counting_zones z, generate_series(1, %(each)s) n",
            {"start": START, "each": COUNTS // DEVICES},
        )
        for step_s in (60, 900, 3600, 86400):
            connection.execute(
                "INSERT INTO count_rollups (bucket, source_no, step_s, n, n_inferred, cls, direction)"
                " SELECT bucket_start(at, %(step_s)s, 'Europe/Berlin'), source_no, %(step_s)s, count(*), 0, cls,"
                " direction FROM count_events WHERE at >= %(from)s GROUP BY 1, 2, 6, 7",
                {"step_s": step_s, "from": END - timedelta(days=1) if step_s == 60 else START},
            )
            connection.execute(
                "INSERT INTO coverage_rollups (bucket, camera_no, step_s, measured_ms)"
                " SELECT DISTINCT bucket_start(at, %(step_s)s, 'Europe/Berlin'), c.no, %(step_s)s,"
                " %(step_s)s::bigint * 1000"
                " FROM cameras c,"
                " generate_series(%(start)s::timestamptz, %(end)s, make_interval(secs => %(probe)s)) at"
                " WHERE c.name = 'camera 1'",
                {"step_s": step_s, "start": START, "end": END, "probe": max(900, step_s // 24)},
            )
        connection.execute("VACUUM ANALYZE")


def _measure_cameras(edition: str, dsn: str) -> None:
    n_cameras = DEVICES * CAMERAS_PER_DEVICE
    with psycopg.connect(dsn, autocommit=True) as connection:
        rows = connection.execute("SELECT id FROM cameras ORDER BY random() LIMIT %s", (REPEATS,)).fetchall()
        ids = [camera_id for (camera_id,) in rows]
        statements = (
            ("camera by id", "SELECT * FROM cameras WHERE id = %(id)s", 2.0),
            (
                "cameras by status and name, a page",
                "SELECT c.*, d.name, j.name FROM cameras c JOIN edge_devices d ON d.id = c.device_id"
                " LEFT JOIN junctions j ON j.id = d.junction_id"
                " WHERE c.status = 'maintenance' AND c.name LIKE 'camera 1%%' ORDER BY c.name, c.id LIMIT 50",
                10.0,
            ),
            ("camera status update", "UPDATE cameras SET status = 'inactive' WHERE id = %(id)s", 3.0),
        )
        for name, statement, limit_ms in statements:
            times_ms = []
            for camera_id in ids:
                started_s = time.perf_counter()
                connection.execute(statement.encode(), {"id": camera_id})
                times_ms.append((time.perf_counter() - started_s) * 1000)
            report.limit(f"{edition}: {name}, of {n_cameras:,}", statistics.median(times_ms), limit_ms, "ms")


async def _measure_counts(edition: str, dsn: str) -> None:
    async with make_pool(Settings(dsn, min_size=1)) as pool:
        queries = CountQueries(pool)
        day, week = timedelta(days=1), timedelta(days=7)
        questions: tuple[tuple[str, float | None, Callable[[], Awaitable[object]]], ...] = (
            (
                "hourly counts of a junction, a week",
                100.0,
                lambda: queries.counts(Asked(END - week, END, Bucket.HOUR, junctions=["junction 7"])),
            ),
            (
                "daily counts of a junction, 30 days",
                500.0,
                lambda: queries.counts(Asked(START, END, Bucket.DAY, junctions=["junction 7"])),
            ),
            (
                "hourly counts of 400 sources, a day",
                None,
                lambda: queries.counts(Asked(END - day, END, Bucket.HOUR)),
            ),
            ("daily counts of 400 sources, 30 days", None, lambda: queries.counts(Asked(START, END, Bucket.DAY))),
            (
                "buses in, 400 sources, by day, a week",
                200.0,
                lambda: queries.counts(Asked(END - week, END, Bucket.DAY, classes=["bus"], directions=["in"])),
            ),
            (
                "minutes of a junction, 2 hours",
                100.0,
                lambda: queries.counts(
                    Asked(END - timedelta(hours=2), END, Bucket.MINUTE, junctions=["junction 7"])
                ),
            ),
            ("junctions, a page of 100", 200.0, lambda: _junctions(pool)),
        )
        for name, limit_ms, ask in questions:
            _print(f"{edition}: {name}, {COUNTS:,} counts", await _median_ms(ask), limit_ms)


async def _measure_analytics(edition: str, dsn: str) -> None:
    """What is asked about one junction, as the API asks it."""
    month, week = (f"{END - timedelta(days=days):%Y-%m-%d}" for days in (29, 6))
    async with make_pool(Settings(dsn, min_size=1, max_size=1)) as pool, beside_yardstick(pool, edition):
        [junction] = await read_junctions(pool, Listing(["junction 7"]))

        async def ask(read: Callable[..., Awaitable[object]], since: str, bucket: Bucket = Bucket.HOUR) -> None:
            async with reading(pool) as connection:
                await read(connection, await read_asked(connection, junction.id, since, None, bucket))

        live_ms = await _median_ms(lambda: ask(read_days, month, Bucket.DAY))
        report.limit(f"{edition}: 30 days of a junction, none kept", live_ms, 500.0, "ms")
        started_s = time.perf_counter()
        n_days = await DailyWorker(pool).catch_up()
        report.plain(f"{edition}: a day is made and kept", (time.perf_counter() - started_s) / n_days * 1000, "ms")
        longest_s, n = await _ask_until_made(pool, junction.id, week)
        report.limit(f"{edition}: arrivals, a week, none kept, longest of {n} answers", longest_s, 15.0, "s")
        started_s = time.perf_counter()
        worker = HourlyWorker(pool)
        n_hours = await worker.catch_up() + await worker.make_between(junction.id, START, END)
        report.plain(
            f"{edition}: an hour is made and kept, of {n_hours:,}",
            (time.perf_counter() - started_s) / n_hours * 1000,
            "ms",
        )
        for name, limit_ms, read, since, bucket in (
            ("30 days of a junction, kept", 500.0, read_days, month, Bucket.DAY),
            ("peak hours, a week", 100.0, read_peak_hours, week, Bucket.HOUR),
            ("peak hours, 30 days", 500.0, read_peak_hours, month, Bucket.HOUR),
            ("lanes, a week", 100.0, read_lanes, week, Bucket.HOUR),
            ("saturation with split failures, a week", 100.0, read_saturation, week, Bucket.HOUR),
            ("saturation with split failures, 30 days", None, read_saturation, month, Bucket.HOUR),
            ("arrivals on green, a week", 100.0, read_arrivals, week, Bucket.HOUR),
            ("use of cycles, a week", 100.0, read_cycle_use, week, Bucket.HOUR),
            ("use of cycles, 30 days", None, read_cycle_use, month, Bucket.HOUR),
            ("waits, a week", 100.0, read_waits, week, Bucket.HOUR),
        ):
            took = await time_all(pool, [partial(ask, read, since, bucket)] * 6)
            took.print(f"{edition}: {name}", limit_ms)


async def _ask_until_made(pool: Pool, junction: UUID, since: str) -> tuple[float, int]:
    """How long the longest of the answers took that it needs, and their number. The console waits for 15 s."""
    longest_s = 0.0
    for n in itertools.count(1):
        started_s = time.perf_counter()
        try:
            await answer_by_hours(pool, junction, since, None, read_arrivals)
        except ApiProblem:
            longest_s = max(longest_s, time.perf_counter() - started_s)
        else:
            return max(longest_s, time.perf_counter() - started_s), n
    raise AssertionError("unreachable")


async def _median_ms(ask: Callable[[], Awaitable[object]]) -> float:
    await ask()
    times_ms = []
    for _ in range(5):
        started_s = time.perf_counter()
        await ask()
        times_ms.append((time.perf_counter() - started_s) * 1000)
    return statistics.median(times_ms)


def _print(name: str, took_ms: float, limit_ms: float | None) -> None:
    """Answers of 10,000 buckets and more have no limit: they are as long as what is asked for."""
    if limit_ms is None:
        report.plain(name, took_ms, "ms")
    else:
        report.limit(name, took_ms, limit_ms, "ms")


async def _junctions(pool: Pool) -> object:
    return await read_junctions(pool, limit=100)


if __name__ == "__main__":
    main()
