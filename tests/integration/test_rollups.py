"""Rollups are exact: against an oracle in Python, late, repeated, out of order, and while many write."""

import asyncio
import random
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from collector.counting.rollups import LOCK_KEY, RollupWorker
from collector.db import Settings, make_pool
from tests.integration.facts import Facts
from tests.servers.databases import cloned_database

STEPS = (60, 900, 3600, 86400)
FOREVER = datetime(2100, 1, 1, tzinfo=UTC)
# Offsets of 30 and 45 minutes, clocks that change by half an hour, midnights that are skipped or happen twice, and
# no clock changes at all.
ZONES = (
    "UTC",
    "Europe/Berlin",
    "Asia/Kolkata",
    "Asia/Kathmandu",
    "America/St_Johns",
    "America/Havana",
    "Africa/Cairo",
    "America/Asuncion",
    "Pacific/Apia",
    "Australia/Lord_Howe",
)


def bucket_of(at: datetime, step_s: int, zone: str) -> datetime:
    """The oracle: walk back, minute by minute or by the clock on the wall, to where the bucket begins."""
    minute = at.astimezone(UTC).replace(second=0, microsecond=0)
    if step_s == 60:
        return minute
    if step_s == 86400:
        return _day_start(minute.astimezone(ZoneInfo(zone)).date(), minute, zone)
    wall = minute.astimezone(ZoneInfo(zone))
    begun = wall.replace(tzinfo=UTC) - timedelta(minutes=(wall.hour * 60 + wall.minute) % (step_s // 60))
    while (before := minute - timedelta(minutes=1)).astimezone(ZoneInfo(zone)).replace(tzinfo=UTC) >= begun:
        if before.astimezone(ZoneInfo(zone)).utcoffset() != wall.utcoffset():
            break
        minute = before
    return minute


def _day_start(day: date, minute: datetime, zone: str) -> datetime:
    """The first minute that the wall calendar shows as `day`."""
    start = minute - timedelta(hours=27)
    start -= timedelta(minutes=start.minute % 15)
    while start.astimezone(ZoneInfo(zone)).date() != day:
        start += timedelta(minutes=15)
    return start


def drain(dsn: str, before: datetime | None = FOREVER) -> int:
    async def run() -> int:
        async with make_pool(Settings(dsn, min_size=1)) as pool:
            return await RollupWorker(pool, asyncio.Event()).drain(before)

    return asyncio.run(run())


def stored_counts(dsn: str) -> Counter[tuple[Any, ...]]:
    with psycopg.connect(dsn) as connection:
        rows = connection.execute(
            "SELECT source_no, step_s, bucket, cls, direction, n, n_inferred FROM count_rollups WHERE n <> 0"
        ).fetchall()
    found: Counter[tuple[Any, ...]] = Counter()
    for source_no, step_s, bucket, cls, direction, n, n_inferred in rows:
        found[source_no, step_s, bucket.astimezone(UTC), cls, direction, "all"] += n
        if n_inferred:
            found[source_no, step_s, bucket.astimezone(UTC), cls, direction, "inferred"] += n_inferred
    return found


def recomputed_counts(dsn: str) -> Counter[tuple[Any, ...]]:
    """The oracle's answer, from all raw rows."""
    with psycopg.connect(dsn) as connection:
        rows = connection.execute(
            "SELECT e.source_no, e.at, e.cls, e.direction, e.inferred, coalesce(j.timezone, 'UTC')"
            " FROM count_events e JOIN counting_zones z ON z.no = e.source_no"
            " JOIN edge_devices d ON d.id = z.device_id LEFT JOIN junctions j ON j.id = d.junction_id"
        ).fetchall()
    expected: Counter[tuple[Any, ...]] = Counter()
    for source_no, at, cls, direction, inferred, zone in rows:
        for step_s in STEPS:
            key = (source_no, step_s, bucket_of(at, step_s, zone), cls, direction)
            expected[*key, "all"] += 1
            if inferred:
                expected[*key, "inferred"] += 1
    return expected


def marks_left(dsn: str) -> int:
    with psycopg.connect(dsn) as connection:
        row = connection.execute("SELECT count(*)::int FROM rollup_marks").fetchone()
    assert row is not None
    found: int = row[0]
    return found


@pytest.mark.parametrize("zone", ZONES)
def test_buckets_begin_when_they_begin_there(plain_dsn: str, zone: str) -> None:
    """Every quarter of an hour around all the clock changes of some years, against the oracle."""
    start = datetime(2011, 12, 28, tzinfo=UTC) if zone == "Pacific/Apia" else datetime(2023, 1, 1, tzinfo=UTC)
    moments = [start + timedelta(hours=6 * n) for n in range(4 * 730)]
    changes = [
        moment
        for moment, after in pairwise(moments)
        if moment.astimezone(ZoneInfo(zone)).utcoffset() != after.astimezone(ZoneInfo(zone)).utcoffset()
    ] or [start]
    near = [change + timedelta(minutes=7 + 15 * n) for change in changes for n in range(-4 * 25, 4 * 31)]
    with psycopg.connect(plain_dsn) as connection:
        for step_s in STEPS:
            rows = connection.execute(
                "SELECT bucket_start(at, %s, %s)"
                " FROM unnest(%s::timestamptz[]) WITH ORDINALITY AS m (at, i) ORDER BY i",
                (step_s, zone, near),
            ).fetchall()
            found = [bucket.astimezone(UTC) for (bucket,) in rows]
            assert found == [bucket_of(at, step_s, zone) for at in near], step_s


def test_a_day_of_25_hours_holds_25_hours(dsn: str) -> None:
    facts = Facts(dsn, timezone="Europe/Berlin")
    first = datetime(2026, 10, 24, 22, 0, tzinfo=UTC)  # 00:00 in Berlin
    for hour in range(-1, 26):
        facts.count(first + timedelta(hours=hour, minutes=30))
    facts.commit()
    drain(dsn)
    with psycopg.connect(dsn) as connection:
        days = connection.execute(
            "SELECT bucket, n::int FROM count_rollups WHERE step_s = 86400 ORDER BY bucket"
        ).fetchall()
    assert [(day.astimezone(UTC), n) for day, n in days] == [
        (first - timedelta(hours=24), 1),
        (first, 25),
        (first + timedelta(hours=25), 1),
    ]
    assert stored_counts(dsn) == recomputed_counts(dsn)


def test_late_repeated_and_out_of_order_facts_are_exact_at_every_pass(dsn: str) -> None:
    facts = Facts(dsn, timezone="America/St_Johns")
    chance = random.Random(5)
    start = datetime(2026, 3, 7, 20, 0, tzinfo=UTC)  # the clocks change in the night
    for _ in range(6):
        for _ in range(40):
            facts.count(
                start + timedelta(seconds=chance.randrange(0, 40 * 3600)),
                chance.choice(["car", "bus"]),
                chance.choice(["in", "out"]),
                inferred=chance.random() < 0.2,
                source=chance.choice(["a", "b"]),
            )
        facts.commit()
        drain(dsn)
        assert stored_counts(dsn) == recomputed_counts(dsn)
    assert marks_left(dsn) == 0


fact = st.tuples(
    st.integers(0, 3 * 86400),
    st.sampled_from(["car", "bicycle"]),
    st.sampled_from(["in", "out", "none"]),
    st.booleans(),
    st.sampled_from(["a", "b"]),
)
step = st.one_of(st.lists(fact, min_size=1, max_size=8), st.just("drain"))


@pytest.mark.long
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(script=st.lists(step, min_size=1, max_size=8), zone=st.sampled_from(ZONES))
def test_any_order_of_facts_and_passes_gives_what_the_oracle_says(
    plain_server: Any, database_names: Any, script: Sequence[Any], zone: str
) -> None:
    start = datetime(2026, 10, 30, 12, 0, tzinfo=UTC)
    with cloned_database(plain_server, next(database_names)) as dsn:
        facts = Facts(dsn, timezone=zone)
        for action in [*script, "drain"]:
            if action == "drain":
                facts.commit()
                drain(dsn)
                continue
            for offset_s, cls, direction, inferred, source in action:
                facts.count(start + timedelta(seconds=offset_s), cls, direction, inferred=inferred, source=source)
        assert stored_counts(dsn) == recomputed_counts(dsn)


def test_many_writers_and_two_workers_end_in_what_a_full_recount_gives(dsn: str) -> None:
    """Writers commit and roll back at random while two workers compete; nothing is missed, nothing comes twice."""
    facts = [Facts(dsn, timezone=zone) for zone in ("UTC", "Europe/Berlin", "Asia/Kolkata")]
    sources = [(each, each.source(name)) for each in facts for name in ("a", "b")]
    for each in facts:
        each.commit()
    start = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)

    async def write(number: int, pool: Any) -> None:
        chance = random.Random(number)
        for _ in range(40):
            rows = [(start + timedelta(seconds=chance.randrange(180)), *chance.choice(sources)) for _ in range(5)]
            async with pool.connection() as connection:
                for at, owner, source_no in rows:
                    await connection.execute(
                        "INSERT INTO count_events"
                        " (at, at_error_ms, seq, stream_no, source_no, cls, direction, inferred)"
                        " VALUES (%s, 0, 1, %s, %s, %s, 'in', false)",
                        (at, owner.stream_no, source_no, chance.choice(["car", "bus"])),
                    )
                    await asyncio.sleep(0)
                    await connection.execute(
                        "INSERT INTO rollup_marks (minute, ref_no, kind) VALUES (%s, %s, 'count')",
                        (at.replace(second=0), source_no),
                    )
                if chance.random() < 0.2:
                    await connection.rollback()

    async def run() -> None:
        async with make_pool(Settings(dsn, max_size=12)) as pool:
            workers = [RollupWorker(pool, asyncio.Event()) for _ in range(2)]
            writing = asyncio.gather(*(write(number, pool) for number in range(8)))
            while not writing.done():
                await asyncio.gather(*(worker.run_once(FOREVER) for worker in workers))
            await writing
            await workers[0].drain(FOREVER)
            assert workers[0].stats.marks + workers[1].stats.marks > 0

    asyncio.run(run())
    assert marks_left(dsn) == 0
    assert stored_counts(dsn) == recomputed_counts(dsn)
    assert sum(n for key, n in stored_counts(dsn).items() if key[1] == 60) > 1000


def test_coverage_is_spread_over_the_minutes_that_a_block_spans(dsn: str) -> None:
    facts = Facts(dsn, timezone="Asia/Kathmandu")
    start = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)
    facts.frames(start + timedelta(seconds=70), span_s=20, measured_s=10)
    facts.frames(start + timedelta(seconds=75), span_s=5, measured_s=5)
    facts.frames(start + timedelta(seconds=75), span_s=0, measured_s=0)
    facts.commit()
    drain(dsn)
    with psycopg.connect(dsn) as connection:
        minutes = connection.execute(
            "SELECT bucket, measured_ms::int FROM coverage_rollups WHERE step_s = 60 ORDER BY bucket"
        ).fetchall()
        coarse = connection.execute(
            "SELECT step_s, measured_ms::int FROM coverage_rollups WHERE step_s > 60 ORDER BY step_s"
        ).fetchall()
    assert [(bucket.astimezone(UTC), measured_ms) for bucket, measured_ms in minutes] == [
        (start, 5_000),
        (start + timedelta(minutes=1), 10_000),
    ]
    assert coarse == [(900, 15_000), (3600, 15_000), (86400, 15_000)]


def test_coverage_never_exceeds_the_time_there_is(dsn: str) -> None:
    facts = Facts(dsn)
    start = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)
    for _ in range(3):
        facts.frames(start + timedelta(seconds=60), span_s=60, measured_s=50)
        facts.commit()
        drain(dsn)
    with psycopg.connect(dsn) as connection:
        found = connection.execute("SELECT DISTINCT measured_ms::int FROM coverage_rollups").fetchall()
    assert found == [(60_000,)]


def test_of_a_block_that_spans_days_only_the_last_hour_counts(dsn: str) -> None:
    facts = Facts(dsn)
    at = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)
    facts.frames(at, span_s=86400, measured_s=86400)
    facts.commit()
    drain(dsn)
    with psycopg.connect(dsn) as connection:
        found = connection.execute(
            "SELECT min(bucket), sum(measured_ms)::int FROM coverage_rollups WHERE step_s = 60"
        ).fetchone()
    assert found is not None
    assert (found[0].astimezone(UTC), found[1]) == (at - timedelta(hours=1), 3_600_000)


def test_a_minute_is_rolled_up_when_it_is_over(dsn: str) -> None:
    facts = Facts(dsn)
    now = datetime(2026, 5, 4, 12, 0, 30, tzinfo=UTC)
    facts.count(now)
    facts.count(now - timedelta(minutes=1))
    facts.commit()

    async def run() -> None:
        async with make_pool(Settings(dsn, min_size=1)) as pool:
            assert await RollupWorker(pool, asyncio.Event(), now=lambda: now).drain() == 1
            later = now + timedelta(minutes=1)
            assert await RollupWorker(pool, asyncio.Event(), now=lambda: later).drain() == 1

    asyncio.run(run())
    assert stored_counts(dsn) == recomputed_counts(dsn)


def test_one_worker_at_a_time(dsn: str) -> None:
    facts = Facts(dsn)
    facts.count(datetime(2026, 5, 4, 12, 0, tzinfo=UTC))
    facts.commit()
    with psycopg.connect(dsn) as other:
        other.execute("SELECT pg_advisory_xact_lock(%s)", (LOCK_KEY,))
        assert drain(dsn) == 0
    assert drain(dsn) == 1


def test_a_junctionless_device_is_rolled_up_in_utc(dsn: str) -> None:
    facts = Facts(dsn, timezone="Asia/Kolkata")
    facts.count(datetime(2026, 5, 4, 23, 0, tzinfo=UTC))
    facts.connection.execute("UPDATE edge_devices SET junction_id = NULL")
    facts.commit()
    drain(dsn)
    assert stored_counts(dsn) == recomputed_counts(dsn)


def test_marks_of_unknown_sources_do_no_harm(dsn: str) -> None:
    with psycopg.connect(dsn) as connection:
        connection.execute("INSERT INTO rollup_marks (minute, ref_no, kind) VALUES (now(), 4711, 'count')")
        connection.execute("INSERT INTO rollup_marks (minute, ref_no, kind) VALUES (now(), 4711, 'coverage')")
    assert drain(dsn) == 2


def test_the_worker_wakes_waits_out_a_database_that_is_dead_or_refuses_and_goes_on(pg_server: Any) -> None:
    from tests.servers.databases import TEMPLATE

    dsn = pg_server.dsn(TEMPLATE)
    facts = Facts(dsn)
    facts.count(datetime(2026, 5, 4, 12, 0, tzinfo=UTC))
    facts.commit()

    async def run() -> None:
        wake = asyncio.Event()
        async with make_pool(Settings(dsn, min_size=1, acquire_timeout_s=1.0)) as pool:
            worker = RollupWorker(pool, wake, idle_s=0.05, rest_s=0.01)
            async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
                running = tasks.create_task(worker.run())
                while worker.stats.marks < 1:
                    await asyncio.sleep(0.01)
                pg_server.kill()
                wake.set()
                while worker.stats.failures < 1:
                    await asyncio.sleep(0.01)
                pg_server.start()
                with psycopg.connect(dsn) as connection:
                    connection.execute("ALTER TABLE count_rollups RENAME TO elsewhere")
                facts.count(datetime(2026, 5, 4, 13, 0, tzinfo=UTC))
                facts.commit()
                failures = worker.stats.failures
                wake.set()
                while worker.stats.failures == failures:
                    await asyncio.sleep(0.01)
                with psycopg.connect(dsn) as connection:
                    connection.execute("ALTER TABLE elsewhere RENAME TO count_rollups")
                while worker.stats.marks < 2:
                    await asyncio.sleep(0.01)
                running.cancel()

    asyncio.run(run())
    assert stored_counts(dsn) == recomputed_counts(dsn)
