"""Days that are kept: never behind what is stored without a mark that says so, whatever comes late."""

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from litestar import Litestar
from litestar.exceptions import NotFoundException
from litestar.testing import TestClient

from collector.analytics.daily import DailyWorker
from collector.analytics.days import read_days
from collector.analytics.period import read_asked
from collector.analytics.routes import analytics_routes
from collector.config import Retention
from collector.counting.queries import Bucket
from collector.db import VIEWER, Settings, make_pool, reading
from collector.store.maintenance import maintain
from tests.integration.analytics_facts import LaneFact, LightsFacts
from tests.integration.reader import get, reading_client
from tests.integration.test_analytics import keep_days
from tests.integration.test_rollups import drain
from tests.junctions import crossroads

NOON = datetime.now(UTC).replace(hour=12, minute=0, second=0, microsecond=0) - timedelta(days=10)
"""Of the first of three days, which are long over."""
LANES = (LaneFact("north", 20.0, 3.0, 37.0, 5, 0.5), LaneFact("east", 30.0, 3.0, 27.0))


def _date(n: int) -> str:
    return f"{NOON + timedelta(days=n):%Y-%m-%d}"


class Kept:
    """A junction whose days were kept, and how one sees whether a kept one is used."""

    def __init__(self, dsn: str) -> None:
        self.dsn = dsn
        self.facts = LightsFacts(dsn)
        self.id = self.facts.junction_id
        for day in range(3):
            at = NOON + timedelta(days=day)
            self.facts.crossings([(at, "car", "cam-north"), (at, "person", "cam-north")])
            self.facts.watched([(at + timedelta(hours=1), 3600.0, 3600.0, "cam-north")])
            self.facts.cycle(at, LANES)
        self.facts.commit()
        drain(dsn)
        assert keep_days(dsn) >= 3
        self.falsify()

    def falsify(self) -> None:
        """What is kept is made wrong, so that an answer tells whether it was used."""
        with psycopg.connect(self.dsn) as connection:
            connection.execute("UPDATE junction_daily_stats SET by_class = by_class || '{\"kept\": 1}'")

    def days(self, client: TestClient[Litestar]) -> list[dict[str, Any]]:
        found = get(client, f"/api/analytics/junction/{self.id}/daily", from_=_date(0), to=_date(2))
        assert found["exact"] is True
        days: list[dict[str, Any]] = found["days"]
        return days

    def used(self, client: TestClient[Litestar]) -> list[bool]:
        """Of each day, whether what was kept is told."""
        return ["kept" in day["by_class"] for day in self.days(client)]

    def marks(self) -> int:
        with psycopg.connect(self.dsn) as connection:
            row = connection.execute("SELECT count(*) FROM junction_day_marks").fetchone()
        assert row is not None
        n: int = row[0]
        return n


@pytest.fixture
def kept(dsn: str) -> Kept:
    return Kept(dsn)


@pytest.fixture
def client(kept: Kept) -> Iterator[TestClient[Litestar]]:
    with reading_client(kept.dsn, analytics_routes) as found:
        yield found


def test_a_day_is_not_told_as_it_was_kept_once_something_late_has_changed_it(
    kept: Kept, client: TestClient[Litestar]
) -> None:
    assert kept.used(client) == [True] * 3
    facts, day = kept.facts, timedelta(days=1)
    facts.crossings([(NOON + day, "bus", "cam-north")])
    facts.commit()
    assert kept.used(client) == [True, False, True]
    assert kept.days(client)[1]["by_class"] == {"bus": 1, "car": 1, "person": 1}
    drain(kept.dsn)
    assert kept.used(client) == [True, False, True]
    facts.cycle(NOON, LANES)
    facts.watched([(NOON + 2 * day, 60.0, 60.0, "cam-north")])
    facts.commit()
    assert kept.used(client) == [False] * 3
    assert [day["cycles"] for day in kept.days(client)] == [2, 1, 1]
    drain(kept.dsn)
    before = [dict(one) for one in kept.days(client)]
    assert keep_days(kept.dsn) == 3
    assert kept.marks() == 0
    assert kept.days(client) == before
    kept.falsify()
    assert kept.used(client) == [True] * 3
    order = facts.override(NOON + day, None)
    facts.commit()
    assert [day["overrides"] for day in kept.days(client)] == [0, 1, 0]
    keep_days(kept.dsn)
    facts.connection.execute(
        "UPDATE manual_override_history SET began_at = %s WHERE id = %s", (NOON + 2 * day, order)
    )
    facts.commit()
    assert [day["overrides"] for day in kept.days(client)] == [0, 0, 1]
    with psycopg.connect(kept.dsn) as connection:
        rows = connection.execute(
            "SELECT vehicles, people, measured_ms, cycles, mean_cycle_s, saturation, saturation_cycles"
            " FROM junction_daily_stats WHERE junction_id = %s AND day <= %s ORDER BY day",
            (kept.id, _date(2)),
        ).fetchall()
    assert [row[:4] for row in rows] == [(1, 1, 3_600_000, 2), (2, 1, 3_600_000, 1), (1, 1, 3_660_000, 1)]
    assert rows[0][4:] == pytest.approx((60.0, 0.5, 2))
    assert keep_days(kept.dsn) == 2
    # Told now: the line was taken away at noon of the third day, and its count, of just then, stands.
    kept.falsify()
    facts.connection.execute("UPDATE counting_zones SET in_force = '{(,)}'")
    facts.commit()
    assert kept.used(client) == [True] * 3, "it is as it was"
    facts.connection.execute(
        "UPDATE counting_zones SET in_force = tstzmultirange(tstzrange(NULL, %s))", (NOON + 2 * day,)
    )
    facts.commit()
    assert kept.used(client) == [True, True, False]
    assert keep_days(kept.dsn) >= 1
    with psycopg.connect(kept.dsn) as connection:
        row = connection.execute(
            "SELECT vehicles, measured_ms FROM junction_daily_stats WHERE day = %s", (_date(2),)
        ).fetchone()
    assert row == (1, 60_000)


def test_a_day_before_all_others_and_a_device_that_comes_to_the_junction(
    kept: Kept, client: TestClient[Litestar]
) -> None:
    early = NOON - timedelta(days=40)
    kept.facts.cycle(early, LANES)
    # Where the lights told of something, and of no cycle, there was none.
    kept.facts.events(early + timedelta(days=1), [(0.0, 173, 2)])
    kept.facts.commit()
    with psycopg.connect(kept.dsn) as connection:
        connection.execute("UPDATE junctions SET lights_device_id = %s", (kept.facts.device,))
    path = f"/api/analytics/junction/{kept.id}/daily"
    for n_kept in (1, 0):
        days = get(client, path, from_=_date(-41), to=_date(-39))["days"]
        assert [day["cycles"] for day in days] == [None, 1, 0]
        assert (days[0]["vehicles"], days[0]["measured_share"]) == (None, 0.0)
        assert keep_days(kept.dsn) == n_kept
    other = LightsFacts(kept.dsn)
    other.cycle(NOON, LANES)
    other.commit()
    keep_days(kept.dsn)
    with psycopg.connect(kept.dsn) as connection:
        connection.execute("UPDATE edge_devices SET junction_id = %s WHERE id = %s", (kept.id, other.device))
    assert kept.days(client)[0]["cycles"] == 2
    keep_days(kept.dsn)
    kept.falsify()
    # From now on the stop lines count, and nothing else; there is only one, and it is not among them.
    kept.facts.describe(crossroads())
    kept.facts.source("stop", sensor="cam-north")
    kept.facts.commit()
    assert kept.used(client) == [False] * 3


def test_a_device_that_comes_while_days_are_made(plain_dsn: str) -> None:
    """The day that is made without it in an open transaction is made anew once that has ended."""
    kept, other = Kept(plain_dsn), LightsFacts(plain_dsn)
    last = NOON + timedelta(days=2)
    other.cycle(last, LANES)
    other.commit()

    async def run(n_kept: int) -> int:
        async with make_pool(Settings(plain_dsn, min_size=2)) as pool:
            worker = DailyWorker(pool)
            async with pool.connection() as making, making.transaction():
                await making.execute("DELETE FROM junction_daily_stats WHERE day >= %s", (_date(n_kept),))
                begin = NOON.replace(hour=0) + timedelta(days=n_kept)
                assert await worker.make(making, kept.id, begin, last.replace(hour=0) + timedelta(days=1)) > 0
                async with pool.connection() as moving:
                    await moving.execute(
                        "UPDATE edge_devices SET junction_id = %s WHERE id = %s", (kept.id, other.device)
                    )
            assert await worker.mend() > 0
            async with pool.connection() as connection:
                statement = "SELECT cycles FROM junction_daily_stats WHERE junction_id = %s AND day = %s"
                cursor = await connection.execute(statement, (kept.id, _date(2)))
                row = await cursor.fetchone()
                gone = "UPDATE edge_devices SET junction_id = NULL WHERE id = %s"
                await connection.execute(gone, (other.device,))
        assert row is not None
        n: int = row[0]
        return n

    with psycopg.connect(plain_dsn) as connection:
        connection.execute("DELETE FROM junction_daily_stats WHERE day > %s", (_date(1),))
    assert asyncio.run(run(n_kept=2)) == 2
    with psycopg.connect(plain_dsn) as connection:
        connection.execute("DELETE FROM junction_daily_stats")
    assert asyncio.run(run(n_kept=0)) == 2


def test_cycles_that_were_dropped_are_kept_in_their_days(kept: Kept, client: TestClient[Litestar]) -> None:
    retention = Retention(traffic_cycles=30, lane_cycle_data=30, count_events=30, frame_metadata=30)
    asyncio.run(maintain(kept.dsn, NOON + timedelta(days=120), retention))
    kept.facts.crossings([(NOON, "bus", "cam-north")])
    kept.facts.commit()
    for _ in range(2):
        today, *_ = kept.days(client)
        assert (today["cycles"], today["saturation"], today["saturation_cycles"]) == (1, 0.5, 1)
        assert today["by_class"] == {"bus": 1, "car": 1, "person": 1}
        drain(kept.dsn)
        keep_days(kept.dsn)
    with psycopg.connect(kept.dsn) as connection:
        connection.execute("DELETE FROM junction_daily_stats")
    for _ in range(2):
        unknown, *_ = kept.days(client)
        assert (unknown["cycles"], unknown["saturation"], unknown["saturation_cycles"]) == (None, None, None)
        keep_days(kept.dsn)


def test_a_stranger_sees_neither_days_nor_marks(kept: Kept, client: TestClient[Litestar]) -> None:
    user = uuid4()
    kept.facts.cycle(NOON, LANES)
    kept.facts.commit()
    with psycopg.connect(kept.dsn) as connection:
        connection.execute("INSERT INTO users (id, name, role) VALUES (%s, 'stranger', 'viewer')", (user,))
    tables = ("junction_daily_stats", "junction_day_marks", "v_junction_health")
    assert asyncio.run(_rows_seen(kept.dsn, user, tables)) == [0, 0, 0]
    with pytest.raises(NotFoundException, match="GET /api/junctions lists them"):
        asyncio.run(_days_seen(kept.dsn, user, kept.id))
    with psycopg.connect(kept.dsn) as connection:
        connection.execute(
            "INSERT INTO user_junction_access (user_id, junction_id, level) VALUES (%s, %s, 'read')",
            (user, kept.id),
        )
    seen = asyncio.run(_rows_seen(kept.dsn, user, tables))
    assert seen[0] >= 3
    assert seen[1:] == [1, 1]
    assert asyncio.run(_days_seen(kept.dsn, user, kept.id)) == [2, 1, 1]


def test_days_that_cannot_be_made_end_no_collector(plain_dsn: str) -> None:
    with psycopg.connect(plain_dsn) as connection:
        connection.execute("ALTER TABLE junction_day_marks RENAME TO elsewhere")

    async def run() -> bool:
        async with make_pool(Settings(plain_dsn, min_size=1)) as pool:
            worker = DailyWorker(pool)
            running = asyncio.create_task(worker.run())
            while not worker.stats.failures and not running.done():
                await asyncio.sleep(0.01)
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            return running.cancelled()

    assert asyncio.run(run())


async def _rows_seen(dsn: str, user: UUID, tables: tuple[str, ...]) -> list[int]:
    async with make_pool(Settings(dsn, min_size=1)) as pool:
        VIEWER.set(user)
        async with reading(pool) as connection:
            found = []
            for table in tables:
                cursor = await connection.execute(f"SELECT count(*) FROM {table}".encode())
                row = await cursor.fetchone()
                assert row is not None
                found.append(row[0])
            return found


async def _days_seen(dsn: str, user: UUID, junction: UUID) -> list[int | None]:
    async with make_pool(Settings(dsn, min_size=1)) as pool:
        VIEWER.set(user)
        async with reading(pool) as connection:
            asked = await read_asked(connection, junction, _date(0), _date(2), Bucket.DAY)
            return [day.cycles for day in (await read_days(connection, asked)).days]


def test_days_that_are_not_over_for_two_days_are_read_as_they_are(dsn: str) -> None:
    facts = LightsFacts(dsn, timezone="Pacific/Auckland")
    now = datetime.now(UTC)
    facts.cycle(now - timedelta(minutes=1), LANES)
    facts.cycle(now - timedelta(days=1), LANES)
    facts.cycle(now - timedelta(days=5), LANES)
    junction = facts.junction_id
    facts.commit()
    kept = keep_days(dsn)
    assert 1 <= kept <= 4
    with reading_client(dsn, analytics_routes) as client:
        days = get(client, f"/api/analytics/junction/{junction}/daily")["days"]
        assert len(days) == 7
        assert sum(day["cycles"] or 0 for day in days) == 3
        facts.cycle(now, LANES)
        facts.commit()
        days = get(client, f"/api/analytics/junction/{junction}/daily")["days"]
        assert sum(day["cycles"] or 0 for day in days) == 4
    assert keep_days(dsn) == 0
