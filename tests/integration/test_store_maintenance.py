"""Partitions ahead of time and on demand, and retention that takes nothing from the counts."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from collector.config import Retention
from collector.counting.rollups import RollupWorker
from collector.db import Settings, load_queries, make_pool, reading
from collector.store.editions import Edition, find_edition, find_versions
from collector.store.maintenance import Maintained, MaintenanceWorker, maintain
from collector.store.partitions import Series, make_partition, partition_of, read_series
from tests.integration.facts import Facts

NOW = datetime(2026, 5, 20, 12, 30, tzinfo=UTC)
KEEP = Retention()
MONTH_OLD = NOW - timedelta(days=30)


def _maintain(dsn: str, now: datetime = NOW, **retention: Any) -> Maintained:
    return asyncio.run(maintain(dsn, now, Retention(**retention)))


def _roll_up(dsn: str) -> None:
    async def run() -> None:
        async with make_pool(Settings(dsn, min_size=1)) as pool:
            await RollupWorker(pool, asyncio.Event()).drain(datetime(2100, 1, 1, tzinfo=UTC))

    asyncio.run(run())


def _rollups(dsn: str) -> dict[int, int]:
    with psycopg.connect(dsn) as connection:
        rows = connection.execute("SELECT step_s, sum(n)::int FROM count_rollups GROUP BY step_s").fetchall()
    return dict(rows)


def _partitions_of_rows(dsn: str) -> set[str]:
    with psycopg.connect(dsn) as connection:
        rows = connection.execute("SELECT DISTINCT tableoid::regclass::text FROM count_events").fetchall()
    return {name for (name,) in rows}


def _dropped_before(dsn: str, table: str = "count_events") -> datetime:
    with psycopg.connect(dsn) as connection:
        row = connection.execute(
            "SELECT dropped_before FROM timeseries WHERE table_name = %s", (table,)
        ).fetchone()
    assert row is not None
    found: datetime = row[0]
    return found.astimezone(UTC)


def test_the_edition_is_found(plain_dsn: str) -> None:
    async def find(dsn: str) -> Edition:
        async with await psycopg.AsyncConnection.connect(dsn) as connection:
            assert (await find_versions(connection, load_queries("store"))).timescaledb is None
            return await find_edition(connection, load_queries("store"))

    assert asyncio.run(find(plain_dsn)) is Edition.PLAIN


@pytest.mark.timescaledb
def test_the_apache_edition_is_found(timescaledb_dsn: str) -> None:
    async def find(dsn: str) -> Edition:
        async with await psycopg.AsyncConnection.connect(dsn) as connection:
            assert (await find_versions(connection, load_queries("store"))).timescaledb is not None
            return await find_edition(connection, load_queries("store"))

    assert asyncio.run(find(timescaledb_dsn)) is Edition.TIMESCALEDB


def test_partitions_are_made_ahead_once(plain_dsn: str) -> None:
    first = _maintain(plain_dsn)
    assert first.partitions_made > 0
    assert _maintain(plain_dsn).partitions_made == 0
    facts = Facts(plain_dsn)
    facts.count(NOW)
    facts.count(NOW + timedelta(days=13))
    facts.commit()
    assert _partitions_of_rows(plain_dsn) == {"parts.count_events_20260520", "parts.count_events_20260602"}


def test_a_row_of_an_unforeseen_time_is_taken_in_and_moved_later(plain_dsn: str) -> None:
    facts = Facts(plain_dsn)
    times = [NOW - timedelta(days=40), NOW + timedelta(days=300)]
    for at in times:
        facts.count(at)
    facts.commit()
    assert _partitions_of_rows(plain_dsn) == {"parts.count_events_default"}
    done = _maintain(plain_dsn)
    assert done.rows_moved == 2
    assert _partitions_of_rows(plain_dsn) == {f"parts.count_events_{at:%Y%m%d}" for at in times}


def test_rows_that_move_are_never_out_of_sight(plain_dsn: str) -> None:
    """Who asks while rows move from the default partition waits, and then sees them where they are."""
    at = NOW - timedelta(days=40)
    facts = Facts(plain_dsn)
    facts.count(at)
    facts.commit()

    counts: list[Series] = []

    async def is_blocked(connection: psycopg.AsyncConnection[Any], pid: int) -> bool:
        cursor = await connection.execute("SELECT cardinality(pg_blocking_pids(%s)) > 0", (pid,))
        return bool((await cursor.fetchone() or [False])[0])

    async def count_while_moving() -> Any:
        connect = psycopg.AsyncConnection.connect
        async with await connect(plain_dsn, autocommit=True) as mover, await connect(plain_dsn) as reader:
            series = await read_series(mover, load_queries("store"))
            counts.extend(one for one in series if one.table_name == "count_events")
            async with mover.transaction():
                assert await make_partition(mover, partition_of(counts[0], at)) == 1
                asked = asyncio.create_task(reader.execute("SELECT count(*)::int FROM count_events"))
                while not await is_blocked(mover, reader.info.backend_pid):
                    assert not asked.done(), "it did not wait"
                    await asyncio.sleep(0.01)
            return await (await asked).fetchone()

    assert asyncio.run(count_while_moving()) == (1,)

    async def count_as_of_before() -> Any:
        day = partition_of(counts[0], at + timedelta(days=1))
        facts.count(day.start)
        facts.commit()
        asked = "SELECT count(*)::int FROM count_events WHERE at >= %s AND at < %s", (day.start, day.end)
        connect = psycopg.AsyncConnection.connect
        async with make_pool(Settings(plain_dsn)) as pool, await connect(plain_dsn, autocommit=True) as mover:
            async with reading(pool) as reader, reading(pool) as observer:
                moving = asyncio.create_task(make_partition(mover, day))
                while not moving.done() and not await is_blocked(observer, mover.info.backend_pid):
                    await asyncio.sleep(0.01)
                found = await (await reader.execute(*asked)).fetchone()
            assert await moving == 1
            async with reading(pool) as reader:
                assert await (await reader.execute(*asked)).fetchone() == found
        return found

    assert asyncio.run(count_as_of_before()) == (1,)


def test_dropped_rows_stay_counted_and_noted(dsn: str) -> None:
    facts = Facts(dsn)
    for days in range(4):
        for _ in range(3):
            facts.count(MONTH_OLD + timedelta(days=days))
    facts.commit()
    _roll_up(dsn)
    before = _rollups(dsn)
    _maintain(dsn, count_events=28)
    with psycopg.connect(dsn) as connection:
        left = connection.execute("SELECT count(*)::int FROM count_events").fetchall()
        noted = connection.execute("SELECT table_name, n::int FROM expired_rows").fetchall()
    assert left == [(6,)]
    assert noted == [("count_events", 6)]
    assert _rollups(dsn) == before == dict.fromkeys((60, 900, 3600, 86400), 12)
    assert _dropped_before(dsn) == datetime(2026, 4, 22, tzinfo=UTC)


def test_what_was_not_rolled_up_yet_is_rolled_up_before_it_is_dropped(dsn: str) -> None:
    facts = Facts(dsn)
    facts.count(MONTH_OLD)
    facts.frames(MONTH_OLD, span_s=60, measured_s=30)
    facts.commit()
    _maintain(dsn, count_events=28, frame_metadata=28)
    assert _rollups(dsn) == dict.fromkeys((60, 900, 3600, 86400), 1)
    with psycopg.connect(dsn) as connection:
        covered = connection.execute(
            "SELECT step_s, sum(measured_ms)::int FROM coverage_rollups GROUP BY step_s ORDER BY step_s"
        ).fetchall()
    assert covered == [(60, 30_000), (900, 30_000), (3600, 30_000), (86400, 30_000)]


def test_rows_that_come_after_their_time_was_dropped_are_counted_once(dsn: str) -> None:
    facts = Facts(dsn)
    facts.count(MONTH_OLD)
    facts.count(MONTH_OLD + timedelta(days=1))
    facts.frames(MONTH_OLD, span_s=10, measured_s=10)
    facts.commit()
    _roll_up(dsn)
    _maintain(dsn, count_events=20, frame_metadata=20)
    for _ in range(2):
        facts.count(MONTH_OLD)
        facts.frames(MONTH_OLD, span_s=10, measured_s=10)
        facts.commit()
        _roll_up(dsn)
    _maintain(dsn, count_events=20, frame_metadata=20)
    _roll_up(dsn)
    assert _rollups(dsn) == dict.fromkeys((60, 900, 3600, 86400), 4)
    with psycopg.connect(dsn) as connection:
        assert connection.execute("SELECT count(*)::int FROM count_events").fetchone() == (0,)
        noted: dict[str, int] = dict(connection.execute("SELECT table_name, n::int FROM expired_rows").fetchall())
        covered = connection.execute(
            "SELECT sum(measured_ms)::int FROM coverage_rollups WHERE step_s = 86400"
        ).fetchone()
    assert noted == {"count_events": 4, "frame_metadata": 3}
    assert covered == (30_000,)


def test_retention_of_each_table_is_its_own(dsn: str) -> None:
    facts = Facts(dsn)
    facts.count(MONTH_OLD)
    facts.log(MONTH_OLD - timedelta(days=61))
    facts.commit()
    _maintain(dsn, count_events="forever", system_logs=28)
    with psycopg.connect(dsn) as connection:
        assert connection.execute("SELECT count(*)::int FROM count_events").fetchone() == (1,)
        assert connection.execute("SELECT count(*)::int FROM system_logs").fetchone() == (0,)


def test_minutes_are_forgotten_but_not_while_their_raw_rows_are_there(dsn: str) -> None:
    facts = Facts(dsn)
    facts.count(MONTH_OLD)
    facts.count(NOW - timedelta(days=3))
    facts.commit()
    _roll_up(dsn)
    _maintain(dsn, count_events="forever", minute_rollups=1)
    assert _rollups(dsn)[60] == 2
    done = _maintain(dsn, count_events=10, minute_rollups=1)
    assert done.minutes_forgotten == 1
    assert _rollups(dsn) == {60: 1, 900: 2, 3600: 2, 86400: 2}


def test_maintenance_gives_way_to_ingest(plain_dsn: str) -> None:
    facts = Facts(plain_dsn)
    facts.count(MONTH_OLD)
    facts.commit()
    with psycopg.connect(plain_dsn) as busy:
        busy.execute("LOCK TABLE parts.count_events_default IN ROW EXCLUSIVE MODE")
        assert _maintain(plain_dsn).postponed > 0
    assert _maintain(plain_dsn).postponed == 0


def test_a_crash_between_detaching_and_dropping_is_mended(plain_dsn: str) -> None:
    facts = Facts(plain_dsn)
    facts.count(MONTH_OLD)
    facts.commit()
    _roll_up(plain_dsn)
    _maintain(plain_dsn)
    with psycopg.connect(plain_dsn) as connection:
        connection.execute("ALTER TABLE count_events DETACH PARTITION parts.count_events_20260420")
    done = _maintain(plain_dsn, count_events=20)
    assert (done.partitions_dropped, done.rows_dropped) == (1, 1)


def test_the_worker_waits_for_a_database_that_is_away() -> None:
    worker = MaintenanceWorker("host=127.0.0.1 port=1 connect_timeout=1", KEEP, interval_s=0.01)

    async def run() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await worker.run()

    asyncio.run(run())
    assert worker.last_success_unix_s == 0.0


def test_of_several_workers_one_maintains(plain_dsn: str) -> None:
    workers = [MaintenanceWorker(plain_dsn, KEEP) for _ in range(3)]

    async def run() -> None:
        running = asyncio.gather(*(worker.run() for worker in workers))
        async with asyncio.timeout(60):
            while not any(worker.last_success_unix_s for worker in workers):
                await asyncio.sleep(0.01)
        # All have asked by the time that one is done, or do now: it is not due.
        assert [await worker._ask("claim_duty", 1.0) for worker in workers] == [False] * 3
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    asyncio.run(run())
    assert sum(bool(worker.last_success_unix_s) for worker in workers) == 1
    with psycopg.connect(plain_dsn) as connection:
        connection.execute("UPDATE duties SET due_at = now()")
    assert [asyncio.run(worker._ask("claim_duty", 60.0)) for worker in workers] == [True, False, False]


def test_maintenance_that_fails_is_due_again_soon(plain_dsn: str) -> None:
    with psycopg.connect(plain_dsn) as connection:
        connection.execute("ALTER TABLE timeseries RENAME TO away")
    with pytest.raises(psycopg.errors.UndefinedTable):
        asyncio.run(MaintenanceWorker(plain_dsn, KEEP)._run_if_due())
    with psycopg.connect(plain_dsn) as connection:
        [(soon,)] = connection.execute("SELECT due_at < now() + interval '2 minutes' FROM duties").fetchall()
    assert soon
