"""Hours of lights that are kept: never behind what is stored without a mark that says so, whatever comes late."""

import asyncio
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import msgspec
import psycopg
import pytest
from litestar import Litestar
from litestar.testing import TestClient

from collector.analytics import asking
from collector.analytics.hourly import HourlyWorker
from collector.analytics.routes import analytics_routes
from collector.config import Retention
from collector.db import Connection, Pool, Settings, make_pool
from collector.errors import ApiProblem
from collector.identity.audit import COMMAND_LINE
from collector.junctions.editing import Editing
from collector.junctions.wanted import Wanted
from collector.store.maintenance import maintain
from common.junction import DetectorKind
from tests.integration.analytics_facts import LaneFact, LightsFacts
from tests.integration.reader import get, reading_client
from tests.integration.test_analytics import keep_days, keep_hours, make_hours
from tests.junctions import crossroads
from tests.signal_day import with_advance

DAY, HOUR, MINUTE = timedelta(days=1), timedelta(hours=1), timedelta(minutes=1)
ZERO = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - 60 * HOUR
N_HOURS = 6
LANES = (LaneFact("north", 20.0, 3.0, 37.0, 5, 0.5),)
_ADVANCE = {
    one.lane: one.channel for one in with_advance(crossroads()).detectors if one.kind is DetectorKind.ADVANCE
}
NORTH, EAST = _ADVANCE["north"], _ADVANCE["east"]


def _log() -> list[tuple[float, int, int]]:
    """North is green from minute 10 on, the others never; each hour one comes there and one from the east."""
    rows: list[tuple[float, int, int]] = [(float(beat), 155, 6) for beat in range(0, N_HOURS * 3600, 60)]
    rows += [(1.0, 173, 2), *((2.0, 10, phase) for phase in (4, 6, 8)), (600.0, 1, 2)]
    for hour in range(N_HOURS):
        rows += [(hour * 3600 + 1800.5, 82, NORTH), (hour * 3600 + 1900.5, 82, EAST)]
    return sorted(rows)


class Kept:
    """A junction of whose six hours the first four were kept, and how one sees whether what was kept is used."""

    def __init__(self, dsn: str) -> None:
        self.dsn = dsn
        self.facts = LightsFacts(dsn)
        self.facts.describe(with_advance(crossroads()))
        self.id = self.facts.junction_id
        self.facts.events(ZERO, _log())
        for hour in range(N_HOURS):
            self.facts.cycle(ZERO + hour * HOUR + 30 * MINUTE, LANES)
        self.facts.commit()
        assert keep_hours(dsn, self.id, ZERO, ZERO + 4 * HOUR) == 4
        self.falsify()

    def falsify(self) -> None:
        """What is kept is made wrong, so that an answer tells whether it was used."""
        with psycopg.connect(self.dsn) as connection:
            connection.execute(
                "UPDATE junction_hourly_stats SET lanes = jsonb_set(lanes, '{0,1}', '100'),"
                " log = jsonb_set(log, '{phases,2,2}', '100')"
                " WHERE log -> 'phases' ? '2' AND jsonb_array_length(lanes) > 0"
            )

    def cycles(self, client: TestClient[Litestar]) -> list[int]:
        """Of north, hour by hour. 100: as it was kept."""
        found = get(client, self._path("saturation"), **_period())["lane_hours"]
        return [one["n_cycles"] for one in found]

    def arrivals(self, client: TestClient[Litestar], phase: int = 2) -> list[int]:
        """Hour by hour. 100: as they were kept."""
        return [one["n"] for one in self.hours(client) if one["phase"] == phase]

    def hours(self, client: TestClient[Litestar]) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = get(client, self._path("arrivals"), **_period())["hours"]
        return found

    def mend(self) -> int:
        return keep_hours(self.dsn, self.id, ZERO, ZERO)

    def marks(self) -> list[datetime]:
        with psycopg.connect(self.dsn) as connection:
            rows = connection.execute("SELECT at FROM junction_hour_marks ORDER BY at").fetchall()
        return [at.astimezone(UTC) for (at,) in rows]

    def _path(self, what: str) -> str:
        return f"/api/analytics/junction/{self.id}/{what}"


def _period() -> dict[str, str]:
    return {"from_": ZERO.isoformat(), "to": (ZERO + N_HOURS * HOUR).isoformat()}


@pytest.fixture
def kept(dsn: str) -> Kept:
    return Kept(dsn)


@pytest.fixture
def client(kept: Kept) -> Iterator[TestClient[Litestar]]:
    with reading_client(kept.dsn, analytics_routes) as found:
        yield found


def test_an_hour_is_told_as_it_was_kept_until_something_late_changes_it(
    kept: Kept, client: TestClient[Litestar]
) -> None:
    assert kept.cycles(client) == [100] * 4 + [1] * 2
    assert kept.arrivals(client) == [100] * 4 + [1] * 2
    before = kept.hours(client)
    kept.facts.cycle(ZERO + HOUR, LANES)
    kept.facts.events(ZERO, [(2 * 3600 + 20.0, 82, NORTH), (2 * 3600 + 21.0, 82, NORTH)])
    kept.facts.commit()
    # One of the cycle, and one of both entries. What comes just after an hour tells whether it ended in silence.
    assert kept.marks() == [ZERO + HOUR, ZERO + 2 * HOUR]
    changed = [1, 2, 1, 100]
    assert kept.cycles(client) == changed + [1] * 2
    assert kept.arrivals(client) == [1, 1, 3, 100, 1, 1]
    assert kept.mend() == 3
    assert kept.marks() == []
    assert kept.cycles(client) == changed + [1] * 2
    assert kept.arrivals(client) == [1, 1, 3, 100, 1, 1]
    assert [one for one in kept.hours(client) if one["phase"] == 4] == [one for one in before if one["phase"] == 4]
    kept.falsify()
    assert kept.arrivals(client) == [100] * 4 + [1] * 2


def test_what_was_known_at_the_end_of_an_hour_changes_the_hours_after_it(
    kept: Kept, client: TestClient[Litestar]
) -> None:
    shares = [one["green_share"] for one in kept.hours(client) if one["phase"] == 2]
    assert shares[1:] == [1.0] * 5
    # North was red again, until the fourth hour began.
    kept.facts.events(ZERO, [(3000.0, 7, 2), (3000.0, 8, 2), (3003.0, 10, 2)])
    kept.facts.events(ZERO, [(3 * 3600 + 1.0, 1, 2)])
    kept.facts.commit()
    for _ in range(2):
        hours = [one for one in kept.hours(client) if one["phase"] == 2]
        assert [round(one["green_share"], 3) for one in hours] == [round(2400 / 3599, 3), 0, 0, 1, 1, 1]
        assert [one["n_on_green"] for one in hours] == [1, 0, 0, 1, 1, 1]
        assert kept.mend() in (0, 4)
    # A junction that is asked for one hour alone knows as much of the time before it.
    alone = get(client, kept._path("arrivals"), from_=hours[2]["from"], to=hours[2]["to"])["hours"]
    assert [one for one in alone if one["phase"] == 2] == [hours[2]]


def test_a_change_reaches_hours_that_were_not_made_together_with_it(plain_dsn: str) -> None:
    """Since the first hour was made by somebody who does not take its marks, or was not kept at all."""
    for is_kept in (True, False):
        kept = Kept(plain_dsn)
        kept.facts.events(ZERO, [(3000.0, 7, 2), (3000.0, 8, 2), (3003.0, 10, 2), (3 * 3600 + 1.0, 1, 2)])
        kept.facts.commit()
        if is_kept:
            make_hours(plain_dsn, kept.id, ZERO, ZERO + HOUR)
        else:
            with psycopg.connect(plain_dsn) as connection:
                connection.execute("DELETE FROM junction_hourly_stats WHERE starts_at = %s", (ZERO,))
        kept.mend()
        assert kept.marks() == []
        with reading_client(plain_dsn, analytics_routes) as client:
            hours = [one for one in kept.hours(client) if one["phase"] == 2]
        assert [round(one["green_share"], 3) for one in hours] == [round(2400 / 3599, 3), 0, 0, 1, 1, 1], is_kept


def test_another_description_another_device_and_a_log_that_is_dropped(
    kept: Kept, client: TestClient[Litestar]
) -> None:
    described = with_advance(crossroads())
    fewer = tuple(one for one in described.detectors if one.channel != NORTH)
    kept.facts.describe(msgspec.structs.replace(described, detectors=fewer))
    kept.facts.commit()
    assert kept.arrivals(client, 4) == [1] * 6
    assert get(client, kept._path("arrivals"), **_period())["phases"][0]["detector"] == "stop_line"
    assert kept.mend() >= 4
    kept.facts.describe(described)
    kept.facts.commit()
    assert kept.mend() >= 4
    kept.falsify()
    assert kept.arrivals(client) == [100] * 4 + [1] * 2

    _check_that_a_log_is_kept_which_is_read_otherwise_for_a_while(kept, client)

    other = LightsFacts(kept.dsn)
    other.cycle(ZERO + 30 * MINUTE, LANES)
    other.commit()
    with psycopg.connect(kept.dsn) as connection:
        connection.execute("UPDATE edge_devices SET junction_id = %s WHERE id = %s", (kept.id, other.device))
    assert kept.cycles(client) == [2] + [1] * 5
    kept.mend()
    kept.falsify()
    retention = Retention(traffic_cycles=1, lane_cycle_data=1, zone_occupancy=1, signal_events=1)
    asyncio.run(maintain(kept.dsn, ZERO + timedelta(days=70), retention))
    kept.facts.events(ZERO, [(10.0, 82, NORTH)])
    kept.facts.cycle(ZERO, LANES)
    kept.facts.commit()
    # What was kept is all there is; what comes late for it is dropped. Of the others nothing is known.
    for _ in range(2):
        assert (kept.cycles(client), kept.arrivals(client)) == ([100] * 4, [100] * 4)
        kept.mend()


def _check_that_a_log_is_kept_which_is_read_otherwise_for_a_while(
    kept: Kept, client: TestClient[Litestar]
) -> None:
    dropped = "UPDATE timeseries SET dropped_before = %s WHERE table_name = 'signal_events'"
    described = with_advance(crossroads())
    with psycopg.connect(kept.dsn) as connection:
        connection.execute(dropped, (ZERO + 4 * HOUR,))
    for junction, arrivals in (
        (msgspec.structs.replace(described, detectors=()), [None] * 2),
        (described, [100] * 4 + [1] * 2),
    ):
        kept.facts.describe(junction)
        kept.facts.commit()
        assert kept.arrivals(client) == arrivals
        kept.mend()
        assert kept.marks() == []
    kept.falsify()
    with psycopg.connect(kept.dsn) as connection:
        connection.execute(dropped, (datetime(2024, 1, 1, tzinfo=UTC),))


def test_hours_are_right_whatever_happens_while_they_are_made(plain_dsn: str) -> None:
    kept = Kept(plain_dsn)
    other = LightsFacts(plain_dsn)
    other.cycle(ZERO + 4 * HOUR + 30 * MINUTE, LANES)
    other.commit()
    with psycopg.connect(plain_dsn) as connection:
        connection.execute("UPDATE edge_devices SET junction_id = NULL WHERE id = %s", (other.device,))
    kept.mend()

    async def make_while_a_device_comes() -> None:
        async with make_pool(Settings(plain_dsn, min_size=2)) as pool:
            worker = HourlyWorker(pool)
            async with pool.connection() as making, making.transaction():
                await making.execute("SELECT pg_advisory_xact_lock(%s)", (worker.lock_key,))
                assert await worker.make(making, kept.id, ZERO + 4 * HOUR, ZERO + 6 * HOUR) == 2
                moving = asyncio.create_task(move(pool))
                while not moving.done() and await _waits(making) == 0:
                    await asyncio.sleep(0.01)
            await moving
            assert await worker.mend() > 0
            async with pool.connection() as making, making.transaction():
                await making.execute("SELECT pg_advisory_xact_lock(%s)", (worker.lock_key,))
                assert await worker.make(making, kept.id, ZERO - 9 * HOUR, ZERO - 8 * HOUR) == 1
                changing = asyncio.create_task(_change(kept, "Asia/Kathmandu"))
                while not changing.done() and await _waits(making) == 0:
                    await asyncio.sleep(0.01)
            await changing
            assert _kept_times(plain_dsn, "UTC") == [], "also those that were being made"
            await _change(kept, "UTC")
            for hour in range(0, N_HOURS, 3):
                await worker.make_between(kept.id, ZERO + hour * HOUR, ZERO + (hour + 3) * HOUR)

    async def move(pool: Pool) -> None:
        async with pool.connection() as connection:
            await connection.execute(
                "UPDATE edge_devices SET junction_id = %s WHERE id = %s", (kept.id, other.device)
            )

    async def make_anew() -> None:
        async with make_pool(Settings(plain_dsn, min_size=1)) as pool:
            await HourlyWorker(pool).make_between(kept.id, ZERO, ZERO + 6 * HOUR)

    asyncio.run(make_while_a_device_comes())
    assert _n_cycles(plain_dsn) == [1, 1, 1, 1, 2, 1]

    kept.facts.cycle(ZERO, LANES)
    kept.facts.commit()
    with psycopg.connect(plain_dsn) as holder, psycopg.connect(plain_dsn) as dropping:
        holder.execute("LOCK TABLE junction_hourly_stats IN ACCESS EXCLUSIVE MODE")
        making = threading.Thread(target=lambda: asyncio.run(make_anew()))
        making.start()
        while dropping.execute("SELECT count(*) FROM pg_locks WHERE NOT granted").fetchone() == (0,):
            dropping.rollback()
        dropping.execute("SET LOCAL lock_timeout = '200ms'")
        with pytest.raises(psycopg.errors.LockNotAvailable):
            dropping.execute("UPDATE timeseries SET dropped_before = now() WHERE table_name = 'traffic_cycles'")
        dropping.rollback()
        holder.rollback()
        making.join(60)
    assert _n_cycles(plain_dsn) == [2, 1, 1, 1, 2, 1]


def test_another_zone_has_other_hours_and_days(plain_dsn: str) -> None:
    kept = Kept(plain_dsn)
    for hours in (24, 30, 48, 77):
        kept.facts.cycle(ZERO - hours * HOUR, LANES)
    kept.facts.commit()
    keep_hours(plain_dsn, kept.id, ZERO - 80 * HOUR, ZERO)
    # The first of those that were there was made without what is known now.
    assert (kept.marks(), kept.mend()) == ([ZERO], 2)
    kept.falsify()
    assert keep_days(plain_dsn) >= 3
    with reading_client(plain_dsn, analytics_routes) as client:

        def told() -> list[Any]:
            period = {"from_": (ZERO - 100 * HOUR).isoformat(), "to": (ZERO + N_HOURS * HOUR).isoformat()}
            days = get(client, kept._path("daily"), **period)["days"]
            return [
                *((one["from"], one["to"], one["cycles"]) for one in days if one["cycles"]),
                kept.cycles(client),
            ]

        assert _change_zone(kept, "Africa/Abidjan") is None, "it has the same days and hours"
        assert kept.cycles(client)[:4] == [100] * 4
        assert _change_zone(kept, "Asia/Kathmandu") is None
        assert len(_kept_times(plain_dsn, "Asia/Kathmandu")) == 0
        computed = told()
        assert sum(n for _, _, n in computed[:-1]) == 4 + N_HOURS
        keep_days(plain_dsn)
        _catch_up(plain_dsn)
        assert set(_kept_times(plain_dsn, "Asia/Kathmandu")) == {True}
        assert told() == computed
        kept.falsify()
        assert 100 in kept.cycles(client)
        with psycopg.connect(plain_dsn) as connection:
            connection.execute(
                "UPDATE timeseries SET dropped_before = %s WHERE table_name = 'signal_events'", (ZERO,)
            )
        before = told()
        assert _change_zone(kept, "UTC") == "timezone"
        with psycopg.connect(plain_dsn) as connection:
            # Who does it all the same sees no day or hour of another zone as one of this.
            connection.execute("UPDATE timeseries SET dropped_before = now()")
            connection.execute("UPDATE junctions SET timezone = 'UTC'")
        assert len(told()) == 1
        with psycopg.connect(plain_dsn) as connection:
            connection.execute("UPDATE junctions SET timezone = 'Asia/Kathmandu'")
        assert told()[:2] == before[:2], "those that were kept"


def _change_zone(kept: Kept, timezone: str) -> str | None:
    """As an admin does; which key was refused."""
    try:
        asyncio.run(_change(kept, timezone))
    except ApiProblem as problem:
        return str(problem.members["errors"][0]["key"])
    return None


async def _change(kept: Kept, timezone: str) -> None:
    async with make_pool(Settings(kept.dsn, min_size=1)) as pool:
        await Editing(pool).change(kept.id, Wanted("", timezone=timezone), None, COMMAND_LINE)


def _kept_times(dsn: str, zone: str) -> list[bool]:
    """Whether days and hours that are kept are those of a zone."""
    with psycopg.connect(dsn) as connection:
        rows = connection.execute(
            "SELECT is_bucket(starts_at, ends_at, 86400, %(zone)s) FROM junction_daily_stats UNION ALL"
            " SELECT is_bucket(starts_at, ends_at, 3600, %(zone)s) FROM junction_hourly_stats",
            {"zone": zone},
        ).fetchall()
    return [fits for (fits,) in rows]


def _catch_up(dsn: str) -> int:
    async def run() -> int:
        async with make_pool(Settings(dsn, min_size=1)) as pool:
            return await HourlyWorker(pool).catch_up()

    return asyncio.run(run())


async def _waits(connection: Connection) -> int:
    """How many locks are waited for."""
    row = await (await connection.execute("SELECT count(*) FROM pg_locks WHERE NOT granted")).fetchone()
    return 0 if row is None else int(row[0])


def _n_cycles(dsn: str) -> list[int]:
    """As they were kept."""
    with psycopg.connect(dsn) as connection:
        rows = connection.execute(
            "SELECT (lanes #>> '{0,1}')::int FROM junction_hourly_stats ORDER BY starts_at"
        ).fetchall()
    return [n for (n,) in rows]


def test_the_worker_makes_hours_that_are_over_and_a_stranger_sees_none(plain_dsn: str) -> None:
    facts = LightsFacts(plain_dsn, timezone="Asia/Kathmandu")
    facts.describe(crossroads())
    now = datetime.now(UTC)
    for hours in (50, 49, 3, 0):
        facts.cycle(now - hours * HOUR, LANES)
    junction = facts.junction_id
    facts.commit()

    async def catch_up() -> int:
        async with make_pool(Settings(plain_dsn, min_size=1)) as pool:
            worker = HourlyWorker(pool)
            assert await worker.mend() == 0
            return await worker.catch_up()

    assert asyncio.run(catch_up()) in (49, 50)
    assert asyncio.run(catch_up()) == 0
    with psycopg.connect(plain_dsn) as connection:
        rows = connection.execute(
            "SELECT starts_at, ends_at, jsonb_array_length(lanes) FROM junction_hourly_stats ORDER BY 1"
        ).fetchall()
    assert [until for _, until, _ in rows[:-1]] == [start for start, _, _ in rows[1:]]
    assert {start.astimezone(UTC).minute for start, _, _ in rows} == {15}
    assert now - timedelta(minutes=100) < rows[-1][1] <= now - 29 * MINUTE
    assert sum(n for _, _, n in rows) == 3
    with reading_client(plain_dsn, analytics_routes) as client:
        found = get(client, f"/api/analytics/junction/{junction}/lanes")["lanes"]
        assert [(one["lane"], one["vehicles"]) for one in found] == [("north", 20)]
    assert _seen_by_a_stranger(plain_dsn, junction) == [0, 0]


MARKED = (
    "INSERT INTO rollup_marks (kind, ref_no, minute)"
    " SELECT 'count', n, now() - %s::interval FROM generate_series(1, 5000) n"
)


def test_hours_of_long_ago_are_made_as_they_are_asked_for_and_by_a_worker_with_nothing_else_to_do(
    plain_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of three hours of each of nine days something is told."""
    facts = LightsFacts(plain_dsn)
    facts.describe(with_advance(crossroads()))
    first = ZERO - 30 * DAY
    for day in range(9):
        facts.events(first + day * DAY, [(600.0, 1, 2), (1800.5, 82, NORTH)])
        facts.cycle(first + day * DAY + 2 * HOUR, LANES)
    junction = facts.junction_id
    facts.commit()
    assert keep_hours(plain_dsn, junction, ZERO, ZERO) == 0, "marks of what nobody has made"
    monkeypatch.setattr(asking, "_WITHIN_S", 0.0)
    period = {"from": (first - 3 * DAY).isoformat(), "to": (first + 6 * DAY).isoformat()}
    path = f"/api/analytics/junction/{junction}/cycles"
    with reading_client(plain_dsn, analytics_routes) as client:
        lacking = []
        while (answer := client.get(path, params=period)).status_code == 503:
            problem = answer.json()
            assert (problem["code"], answer.headers["Retry-After"]) == ("hours_not_made", "1")
            lacking.append((problem["hours_lacking"], problem["hours"]))
        # A day each time, until few enough lack. Before the first record nothing does.
        assert lacking == [(120, 216), (96, 216)]
        assert (answer.status_code, answer.json()["cycles"]) == (200, 6)
        assert _made_from(plain_dsn, junction) == first

        async def fill_back(most: int) -> int:
            async with make_pool(Settings(plain_dsn, min_size=1)) as pool:
                worker = HourlyWorker(pool)
                await worker.mend()
                for n in range(most):
                    if not await worker.fill_back():
                        return n
            return most

        with psycopg.connect(plain_dsn) as connection:
            connection.execute("UPDATE junction_hours_back SET made_from = %s", (first + 9 * DAY,))
            connection.execute("DELETE FROM junction_hourly_stats")
            # A city's minute that is not over yet.
            connection.execute(MARKED, ("1 second",))
        assert asyncio.run(fill_back(1)) == 1
        assert _made_from(plain_dsn, junction) == first + 2 * DAY
        assert asyncio.run(fill_back(9)) == 2, "the rest, and that there is no more"
        assert [n for n in _n_cycles(plain_dsn) if n] == [1] * 9
        assert len(_kept_times(plain_dsn, "UTC")) == 9 * 24
        # What comes late for a time of which nothing was made, and what others do meanwhile.
        facts.cycle(first - 2 * DAY, LANES)
        facts.commit()
        with psycopg.connect(plain_dsn) as connection:
            connection.execute("DELETE FROM rollup_marks")
            connection.execute(MARKED, ("10 minutes",))
        assert asyncio.run(fill_back(9)) == 0, "counts wait to be rolled up"
        with psycopg.connect(plain_dsn) as connection:
            connection.execute("DELETE FROM rollup_marks")
            connection.execute("UPDATE duties SET due_at = now() + interval '1 hour'")
        assert asyncio.run(fill_back(9)) == 0, "another worker has just done it"
        with psycopg.connect(plain_dsn) as connection:
            connection.execute("UPDATE duties SET due_at = now()")
        assert asyncio.run(fill_back(9)) == 2
        assert len(_kept_times(plain_dsn, "UTC")) == 9 * 24 + 2
        assert get(client, path, from_=period["from"], to=period["to"])["cycles"] == 7


def _made_from(dsn: str, junction: UUID) -> datetime:
    with psycopg.connect(dsn) as connection:
        row = connection.execute(
            "SELECT made_from FROM junction_hours_back WHERE junction_id = %s", (junction,)
        ).fetchone()
    assert row is not None
    found: datetime = row[0].astimezone(UTC)
    return found


def _seen_by_a_stranger(dsn: str, junction: UUID) -> list[int]:
    user = uuid4()
    with psycopg.connect(dsn) as connection:
        connection.execute("INSERT INTO users (id, name, role) VALUES (%s, 'stranger', 'viewer')", (user,))
        connection.execute("INSERT INTO junction_hour_marks (junction_id, at) VALUES (%s, now())", (junction,))
    with psycopg.connect(dsn) as connection:
        connection.execute(
            "SELECT set_config('app.user_id', %s, true), set_config('role', 'stopline_reader', true)", (str(user),)
        )
        rows = connection.execute(
            "SELECT count(*) FROM junction_hourly_stats UNION ALL SELECT count(*) FROM junction_hour_marks"
        ).fetchall()
    return [n for (n,) in rows]
