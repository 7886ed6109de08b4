"""How fast the store of a whole city answers: 10,000 junctions, 40,000 lanes, 80,000 devices, 30 days of counts.

    python -m tests.bench.bench_city [plain|timescaledb ...]
    STOPLINE_BENCH_COUNTS=100000000 make bench BENCH=city     some 40 GB, and an hour of loading

Each question is asked about many junctions, once each, so that what one finds in the database's memory is what the
others happened to leave there. `database_time` tells what a figure is.
"""

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from uuid import UUID
from zoneinfo import ZoneInfo

import psycopg

from collector.analytics.days import read_days
from collector.analytics.peaks import read_peak_hours
from collector.analytics.period import read_asked
from collector.counting.queries import Asked, Bucket, CountQueries
from collector.db import Pool, Settings, make_pool, reading
from collector.export.reading import Range, Reader
from collector.export.streams import Export
from collector.export.tables import What
from collector.junctions.details import read_details
from collector.junctions.queries import Listing, read_junctions
from collector.migrate import migrate
from tests.bench.city import ZONE
from tests.bench.city_load import DAYS, load_city
from tests.bench.database_time import beside_yardstick, time_all
from tests.servers.databases import EDITIONS
from tests.servers.postgres import PgServer, ServerUnavailable

COUNTS = int(os.environ.get("STOPLINE_BENCH_COUNTS", "2000000"))
REPEATS = 15
SETTINGS = {"shared_buffers": "1GB", "max_wal_size": "4GB"}
_CAMERAS = (
    (
        "cameras by status and name, a page",
        10.0,
        "SELECT c.*, d.name, j.name FROM cameras c JOIN edge_devices d ON d.id = c.device_id"
        " LEFT JOIN junctions j ON j.id = d.junction_id"
        " WHERE c.status = 'maintenance' AND c.name LIKE 'cam 1%%' ORDER BY c.name, c.id LIMIT 50",
    ),
    ("camera by id", 2.0, "SELECT * FROM cameras WHERE id = %(camera)s"),
    ("camera status update", 3.0, "UPDATE cameras SET status = 'inactive' WHERE id = %(camera)s"),
    (
        "the city by hour, a day",
        None,
        "SELECT bucket, sum(n) FROM count_rollups WHERE step_s = 3600 AND bucket >= %(end)s::timestamptz"
        " - interval '1 day' AND bucket < %(end)s GROUP BY 1",
    ),
    (
        "the city by day, 30 days",
        None,
        "SELECT bucket, sum(n) FROM count_rollups WHERE step_s = 86400 AND bucket >= %(end)s::timestamptz"
        " - interval '30 days' AND bucket < %(end)s GROUP BY 1",
    ),
)


@dataclass(frozen=True)
class Sample:
    """A junction, and one of its cameras."""

    junction: UUID
    name: str
    camera: UUID


def main() -> None:
    end = datetime.now(ZoneInfo(ZONE)).replace(hour=0, minute=0, second=0, microsecond=0).astimezone(UTC)
    for edition in sys.argv[1:] or EDITIONS:
        try:
            installation = EDITIONS[edition]()
        except ServerUnavailable as reason:
            print(f"SKIP {edition}: {reason}", file=sys.stderr)
            continue
        server = PgServer(replace(installation, settings=installation.settings | SETTINGS), durable=False)
        try:
            server.start()
            dsn = server.create_database("city")
            migrate(dsn)
            load_city(dsn, end, COUNTS)
            measure(edition, dsn, end)
        finally:
            server.destroy()
            installation.remove_scratch()


def measure(edition: str, dsn: str, end: datetime) -> None:
    """All figures of a city that was loaded up to `end`."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        row = connection.execute(
            "SELECT sum(n) FROM count_rollups WHERE step_s = 86400 AND bucket >= %s AND bucket < %s",
            (end - timedelta(days=DAYS), end),
        ).fetchone()
        assert row is not None
        # Every hundredth has quarters of an hour of coverage.
        rows = connection.execute(
            "SELECT j.id, j.name, (SELECT c.id FROM cameras c JOIN edge_devices d ON d.id = c.device_id"
            " WHERE d.junction_id = j.id LIMIT 1) FROM junctions j WHERE no %% 100 = 0 ORDER BY random() LIMIT %s",
            (REPEATS + 1,),
        ).fetchall()
    title = f"{edition}, {int(row[0]):,} counts"
    asyncio.run(_measure(title, dsn, end, [Sample(*row) for row in rows]))


async def _measure(title: str, dsn: str, end: datetime, samples: Sequence[Sample]) -> None:
    settings = Settings(dsn, min_size=1, max_size=1, statement_timeout_s=600.0)
    async with make_pool(settings) as pool, beside_yardstick(pool, title):
        counts, week, month = CountQueries(pool), timedelta(days=7), timedelta(days=DAYS)

        async def ask(statement: str, one: Sample) -> None:
            async with pool.connection() as connection:
                await connection.execute(statement.encode(), {"camera": one.camera, "end": end})

        for name, limit_ms, statement in _CAMERAS:
            some = samples if limit_ms is not None else samples[:3]
            await _time(pool, f"{title}: {name}", limit_ms, some, partial(ask, statement))
        questions: tuple[tuple[str, float | None, Callable[[Sample], Awaitable[object]]], ...] = (
            ("a junction whole", 2.0, lambda one: read_details(pool, one.junction, None)),
            ("junctions by name, 20", 10.0, lambda _: read_junctions(pool, limit=20)),
            ("junctions with part of a name, 20", 10.0, lambda one: _list(pool, one)),
            (
                "a junction's hours, a week",
                100.0,
                lambda one: counts.counts(_asked(one, end - week, end, Bucket.HOUR)),
            ),
            ("a junction's days, 30", 500.0, lambda one: counts.counts(_asked(one, end - month, end, Bucket.DAY))),
            ("daily statistics, 30 days, none kept", 500.0, lambda one: _days(pool, one, end, DAYS)),
            ("peak hours, a week", 100.0, lambda one: _peaks(pool, one, end)),
            ("an export's first rows", None, lambda one: _export(pool, one, end)),
        )
        for name, limit_ms, question in questions:
            await _time(pool, f"{title}: {name}", limit_ms, samples, question)


def _asked(one: Sample, start: datetime, end: datetime, bucket: Bucket) -> Asked:
    return Asked(start, end, bucket, junctions=[one.name])


async def _list(pool: Pool, one: Sample) -> object:
    return await read_junctions(pool, Listing(q=one.name[-4:]), limit=20)


async def _days(pool: Pool, one: Sample, end: datetime, days: int) -> object:
    async with reading(pool) as connection:
        start = (end - timedelta(days=days)).isoformat()
        asked = await read_asked(connection, one.junction, start, end.isoformat(), Bucket.DAY)
        return await read_days(connection, asked)


async def _peaks(pool: Pool, one: Sample, end: datetime) -> object:
    async with reading(pool) as connection:
        start = (end - timedelta(days=7)).isoformat()
        return await read_peak_hours(
            connection, await read_asked(connection, one.junction, start, end.isoformat())
        )


async def _export(pool: Pool, one: Sample, end: datetime) -> object:
    reader = Reader(pool)
    junctions = await reader.junctions([one.name])
    export = Export(reader, What.COUNTS, junctions, Range(end - timedelta(days=DAYS), end, Bucket.HOUR))
    n = 0
    async for _ in export.stream():
        n += 1
        if n == 2:
            break
    return n


async def _time(
    pool: Pool,
    name: str,
    limit_ms: float | None,
    samples: Sequence[Sample],
    ask: Callable[[Sample], Awaitable[object]],
) -> None:
    took = await time_all(pool, [partial(ask, one) for one in samples])
    took.print(name, limit_ms)


if __name__ == "__main__":
    main()
