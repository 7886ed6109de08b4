"""Analytics of facts whose answers are known from how they were made."""

import math
import statistics
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import msgspec
import psycopg
import pytest

from collector.analytics.routes import analytics_routes
from collector.analytics.throughput import t_quantile
from collector.analytics.waits import delay_s
from common.junction import Detector, DetectorKind, Junction
from tests.atspm_run import Measured
from tests.integration.analytics_facts import LaneFact, LightsFacts
from tests.integration.reader import get, reading_client
from tests.junctions import crossroads
from tests.servers.collector import running_collector
from tests.signal_day import with_advance
from tests.synthetic_log import ADVANCE, DETECTORS, PRESENCE, synthetic_log, truths
from tests.waiting import until

NOON = datetime(2025, 5, 5, 12, 0, tzinfo=UTC)
"""A Monday."""
DAY, HOUR = timedelta(days=1), timedelta(hours=1)
Ask = Callable[..., Any]


@contextmanager
def asking(facts: LightsFacts) -> Iterator[Ask]:
    """Commits, and lets one ask about the junction."""
    junction = facts.junction_id
    facts.commit()
    with reading_client(facts.dsn, analytics_routes) as client:
        yield lambda what, **params: get(client, f"/api/analytics/junction/{junction}/{what}", **params)


def test_before_and_after_a_change(plain_dsn: str) -> None:
    """Ten an hour before, 12 or 14 after. Hours that were not measured, and that of the change, tell nothing."""
    facts = LightsFacts(plain_dsn)
    change = NOON + timedelta(minutes=20)
    crossings: list[tuple[datetime, str, str]] = []
    blocks: list[tuple[datetime, float, float, str]] = []
    hours = [NOON - 3 * DAY + n * HOUR for n in range(6 * 24)]
    for number, hour in enumerate(hours):
        n = 10 if hour < change else 12 + 2 * (number % 2)
        unmeasured = hour == NOON - 30 * HOUR
        crossings += [
            (hour + timedelta(seconds=60 * k), "car", "cam-north") for k in range(3 if unmeasured else n)
        ]
        blocks.append((hour + HOUR, 3600.0, 1800.0 if unmeasured else 3600.0, "cam-north"))
    facts.crossings(crossings)
    facts.watched(blocks)
    for number, plan in enumerate(("day", "night", "day", "new", "day", "new")):
        facts.cycle(
            NOON - 2 * DAY + number * 16 * HOUR,
            (LaneFact("north", 20.0, 3.0, 39.4, 1, 0.5 + number / 10),),
            plan=plan,
        )
    # It ends when the first of the new plan begins.
    facts.cycle(NOON - timedelta(seconds=62.4), (LaneFact("north", 20.0, 3.0, 37.0, 1, 0.6),))
    # The same hours of another week: 3 days before have no fellows after, unless a week is long.
    period = {"from_": (NOON - 3 * DAY).isoformat(), "to": (NOON + 3 * DAY).isoformat()}
    with asking(facts) as ask:
        none = ask("throughput", **period, change=change.isoformat())
        assert none["difference"] == {
            "n_pairs": 0,
            "vehicles_per_h": None,
            "low": None,
            "high": None,
            "share": None,
        }
        found = ask("throughput", **period)
        assert found["found"] is True
        assert [(one["plan_before"], one["plan"]) for one in found["changes"]] == [
            ("day", "new"),
            ("day", "night"),
        ]
        assert datetime.fromisoformat(found["change"]) == NOON - timedelta(seconds=62.4)
        assert (found["before"]["plans"], found["after"]["plans"]) == (["day", "night"], ["new", "day"])
        assert (found["before"]["cycles"], found["after"]["cycles"]) == (4, 3)
        assert (found["before"]["mean_cycle_s"], found["after"]["mean_cycle_s"]) == (61.8, 62.4)
        assert (found["before"]["saturation"], found["after"]["saturation"]) == (0.6, 0.9)
    weeks_later = LightsFacts(plain_dsn)
    shifts = (timedelta(0), 7 * DAY)
    weeks_later.crossings([(at + shift, cls, sensor) for at, cls, sensor in crossings for shift in shifts])
    weeks_later.watched([(at + shift, span_s, s, camera) for at, span_s, s, camera in blocks for shift in shifts])
    with asking(weeks_later) as ask:
        answer = ask(
            "throughput", from_=period["from_"], to=(NOON + 8 * DAY).isoformat(), change=change.isoformat()
        )
    differences = _differences(hours, change, crossings)
    difference = answer["difference"]
    margin = t_quantile(0.975, len(differences) - 1) * statistics.stdev(differences) / math.sqrt(len(differences))
    expected = statistics.mean(differences)
    assert difference["n_pairs"] == len(differences) == answer["before"]["n_hours"]
    assert difference["vehicles_per_h"] == pytest.approx(expected)
    assert (difference["low"], difference["high"]) == pytest.approx(
        (expected - margin, expected + margin), rel=1e-3
    )
    assert answer["before"]["vehicles_per_h"] == pytest.approx(10.0)
    assert difference["share"] == pytest.approx(expected / 10.0)


def _differences(
    hours: list[datetime], change: datetime, crossings: list[tuple[datetime, str, str]]
) -> list[float]:
    """By hour of the week, of a week and its repetition until 8 days after noon."""
    counts: dict[datetime, int] = defaultdict(int)
    for at, _, _ in crossings:
        counts[at.replace(minute=0)] += 1
    sides: dict[tuple[int, int], tuple[list[int], list[int]]] = defaultdict(lambda: ([], []))
    for hour in hours:
        for shifted in (hour, hour + 7 * DAY):
            if counts[hour] != 3 and shifted + HOUR <= NOON + 8 * DAY and not shifted <= change < shifted + HOUR:
                sides[hour.weekday(), hour.hour][shifted > change].append(counts[hour])
    return [
        sum(after) / len(after) - sum(before) / len(before) for before, after in sides.values() if before and after
    ]


def test_a_peak_lies_in_one_day_and_an_hour_that_was_not_measured_is_none(plain_dsn: str) -> None:
    facts = LightsFacts(plain_dsn, timezone="Europe/Berlin")
    midnight = NOON.replace(hour=22)
    quarters = {-2: 30, -1: 40, 0: 50, 1: 60, 40: 5, 41: 9, 42: 7, 43: 7, 44: 6}
    minutes = [(15 * quarter, n) for quarter, n in quarters.items()]
    facts.crossings(
        [(midnight + timedelta(minutes=at, seconds=k), "car", "cam-north") for at, n in minutes for k in range(n)]
    )
    facts.watched([(midnight + n * HOUR, 3600.0, 3600.0, "cam-north") for n in range(-3, 14)])
    with asking(facts) as ask:
        answer = ask("peak-hours", from_="2025-05-05", to="2025-05-06")
        assert [(one["date"], one["vehicles"], one["busiest_quarter"]) for one in answer["peak_of_days"]] == [
            ("2025-05-05", 70, 40),
            ("2025-05-06", 110, 60),
        ]
        assert answer["peak"]["factor"] == pytest.approx(110 / 240)
        lanes = ask("lanes", from_="2025-05-05", to="2025-05-06")
        assert (lanes["basis"], lanes["lanes"][0]["lane"], lanes["lanes"][0]["vehicles"]) == (
            "counts",
            "stop",
            214,
        )
        hours = {(one["weekday"], one["hour"]): one for one in answer["hours_of_week"]}
        assert (hours[1, 23]["mean"], hours[1, 19]["mean"], hours[2, 0]["mean"]) == (70.0, None, 110.0)
    # Hours after the camera died are no hours without traffic, though one came by.
    facts.crossings([(midnight + 15 * HOUR, "car", "cam-north")])
    with asking(facts) as ask:
        answer = ask("peak-hours", from_="2025-05-06", to="2025-05-06")
        assert answer["hours_of_day"][15] == {"hour": 15, "n_hours": 1, "n_measured": 0, "mean": None, "p85": None}
        day = ask("daily", from_="2025-05-06", to="2025-05-06")["days"][0]
        assert day["measured_share"] == pytest.approx(13 / 24)


def test_a_lane_that_was_not_measured_for_half_a_day_is_not_half_as_busy(plain_dsn: str) -> None:
    facts = LightsFacts(plain_dsn)
    facts.cycle(NOON + 3 * DAY, [LaneFact(name, 20.0, 3.0, 37.0, 1, 0.3) for name in ("lane 10", "lane 9")])
    for n in range(24):
        east = 4 if n < 12 else None
        lanes = (LaneFact("north", 20.0, 3.0, 37.0, 8, 0.8), LaneFact("east", 30.0, 3.0, 27.0, east, east and 0.2))
        facts.cycle(NOON + n * HOUR, lanes)
    with asking(facts) as ask:
        numbered = ask("saturation", from_="2025-05-08", to="2025-05-08")
        for lanes_of in (numbered["lanes"], numbered["lane_hours"]):
            assert [(one["lane"], one["saturation"]) for one in lanes_of] == [("lane 9", 0.3), ("lane 10", 0.3)]
        east, north = ask("lanes", from_="2025-05-05", to="2025-05-06")["lanes"]
        day = ask("daily", from_="2025-05-05", to="2025-05-06")["days"][0]
    assert (north["vehicles"], north["measured_share"], north["vehicles_per_h"]) == (192, 1.0, 480.0)
    assert (east["vehicles"], east["measured_share"], east["vehicles_per_h"]) == (48, 0.5, 240.0)
    assert (north["share"], east["share"]) == pytest.approx((2 / 3, 1 / 3))
    assert (north["vehicles_per_green_s"], east["vehicles_per_green_s"]) == pytest.approx((0.4, 4 / 30))
    assert day["vehicles"] is None
    assert (day["saturation"], day["saturation_cycles"]) == (
        pytest.approx((0.8 * 20 + 0.2 * 30) / 50, rel=1e-6),
        24,
    )


def test_readers_alone_cannot_prove_when_they_measured(plain_dsn: str) -> None:
    facts = LightsFacts(plain_dsn)
    for n in range(3):
        facts.count(NOON + timedelta(minutes=n), "object", "none", source="gate", via="rfid")
    facts.count(NOON, "car", source="gate", via="truth")
    with asking(facts) as ask:
        day = ask("daily", from_="2025-05-05", to="2025-05-05")["days"][0]
        assert (day["vehicles"], day["measured_share"]) == (3, None)
        peaks = ask("peak-hours", from_="2025-05-05", to="2025-05-05")
        assert (peaks["proven"], peaks["hours_of_day"][12]["mean"], peaks["hours_of_day"][13]["mean"]) == (
            False,
            3.0,
            None,
        )
        [lane] = ask("lanes", from_="2025-05-05", to="2025-05-05")["lanes"]
        assert (lane["vehicles"], lane["measured_s"], lane["vehicles_per_h"], lane["share"]) == (
            3,
            None,
            None,
            1.0,
        )


def _with(junction: Junction, *detectors: Detector) -> Junction:
    return msgspec.structs.replace(junction, detectors=detectors)


def _detector(channel: int, lane: str, kind: DetectorKind) -> Detector:
    return Detector(channel=channel, lane=lane, kind=kind, sensor=f"cam-{lane}", source=str(channel))


def test_what_is_told_while_the_log_is_silent_or_all_flashes_is_no_arrival(plain_dsn: str) -> None:
    facts = LightsFacts(plain_dsn)
    facts.describe(
        _with(
            crossroads(),
            _detector(5, "north", DetectorKind.STOP_LINE),
            _detector(6, "east", DetectorKind.STOP_LINE),
            _detector(7, "east", DetectorKind.ADVANCE),
            _detector(8, "south", DetectorKind.APPROACH),
        )
    )
    log = [(0.0, 173, 2), (10.0, 1, 2), (20.0, 82, 5), (30.0, 82, 6), (31.0, 82, 7), (100.0, 82, 5)]
    # The next word comes ten minutes later: what was green then is not known, until it is told again.
    log += [(700.0, 155, 6), (710.0, 82, 5), (720.0, 8, 2), (725.0, 82, 5), (730.0, 1, 2), (740.0, 82, 5)]
    log += [(712.0, 82, 8), (730.0, 1, 6), (745.0, 8, 6), (748.0, 10, 6)]
    # As the lights write it where flash cuts off a green, and a red of which 5 s would tell of a queue.
    log += [(750.0, 173, 6), (750.0, 7, 2), (750.0, 12, 2), (760.0, 82, 5), (800.0, 173, 2), (810.0, 82, 5)]
    log += [(820.0, 155, 6)]
    facts.events(NOON, log)
    with asking(facts) as ask:
        phases = {
            one["movement"]: one for one in ask("arrivals", from_=NOON.isoformat(), to="2025-05-05")["phases"]
        }
        north, east, south = phases["north"], phases["east"], phases["south"]
        assert (north["detector"], north["n"], north["n_on_green"]) == ("stop_line", 5, 3)
        assert north["log_s"] == pytest.approx(100.0 + 30.0 + 20.0)
        assert north["green_share"] == pytest.approx((90.0 + 20.0) / 150.0)
        assert (east["detector"], east["n"]) == ("advance", None)
        assert (south["detector"], south["n"], south["share"], south["platoon_ratio"]) == (None, None, None, None)
        use = ask("cycles", from_="2025-05-05", to="2025-05-05")
        assert use["log_s"] == pytest.approx(100.0 + 20.0 + 20.0)
        assert use["cycles"] == 0
        saturation = ask("saturation", from_="2025-05-05", to="2025-05-05")
        assert ([one["n_cycles"] for one in saturation["split_failures"]], saturation["lanes"]) == ([0], [])


def test_the_public_atspm_package_finds_the_same(plain_dsn: str, tmp_path: Path) -> None:
    n_cycles = 60
    facts = LightsFacts(plain_dsn)
    advance = _detector(ADVANCE, "north", DetectorKind.ADVANCE)
    facts.describe(_with(crossroads(), advance, _detector(PRESENCE, "north", DetectorKind.APPROACH)))
    rows = synthetic_log(n_cycles)
    # `DAY` of the log, which is in the past by then as well.
    facts.events(NOON, rows)
    measured = Measured(rows, DETECTORS, tmp_path)
    with asking(facts) as ask:
        period = {"from_": NOON.isoformat(), "to": (NOON + HOUR).isoformat()}
        [hour] = [one for one in ask("arrivals", **period)["hours"] if one["phase"] == 2]
        failures = ask("saturation", **period)["split_failures"]
    assert hour["n"] == sum(n for _, _, n, _ in measured.arrivals)
    assert hour["n_on_green"] == sum(round(n * share) for _, _, n, share in measured.arrivals)
    assert hour["n_on_green"] == sum(one.n_on_green for one in truths(n_cycles))
    [found] = failures
    theirs = [cycle for cycle in measured.cycles if cycle[1] == 2]
    assert (found["n_cycles"], found["n_failures"]) == (len(theirs), sum(cycle[5] for cycle in theirs))
    assert found["n_failures"] > 0
    assert found["green_occupancy"] == pytest.approx(sum(cycle[3] for cycle in theirs) / len(theirs), abs=0.002)


def test_an_order_that_still_holds_is_counted_until_now(plain_dsn: str) -> None:
    facts = LightsFacts(plain_dsn, timezone="Europe/Berlin")
    now = datetime.now(UTC)
    facts.override(now - timedelta(minutes=10), None)
    facts.override(None, None, ordered=now - timedelta(minutes=5), user="bob")
    with asking(facts) as ask:
        answer = ask("overrides")
    assert answer["total"]["total_s"] == pytest.approx(600, abs=60)
    assert {one["user"]: (one["n"], one["n_refused"]) for one in answer["users"]} == {
        "alice": (1, 0),
        "bob": (0, 1),
    }


def test_the_delay_is_that_of_the_books() -> None:
    """60 s of cycle, 27 s of green, x = 0.9 of 810 an hour: uniform 15.25 s, and 18.17 s for overflow."""
    assert delay_s(60.0, 27.0, 0.9, 729.0) == pytest.approx(15.25 + 18.17, abs=0.01)
    assert delay_s(60.0, 60.0, 0.9, 729.0) == pytest.approx(18.17, abs=0.01)
    assert delay_s(60.0, 30.0, 0.0, 0.0) == 7.5


def test_confidence_is_that_of_the_tables() -> None:
    tables = {2: 4.303, 3: 3.182, 5: 2.571, 10: 2.228, 30: 2.042, 120: 1.980}
    assert {freedom: t_quantile(0.975, freedom) for freedom in tables} == pytest.approx(tables, rel=2e-3)


def test_devices_up_down_and_unknown(dsn: str) -> None:
    now = datetime.now(UTC)
    today = now.replace(hour=0, minute=0, second=0, microsecond=0)
    base, day_s = today - 2 * DAY, 86_400.0
    first = LightsFacts(dsn)
    # It ran until noon, then from 18:00 on; its agent was away for an hour of that.
    first.health(base + 6 * HOUR, 6 * 3600.0 + 100 * day_s)
    first.health(base + 12 * HOUR, 12 * 3600.0 + 100 * day_s)
    first.health(base + 20 * HOUR, 2 * 3600.0)
    first.health(now, (now - base).total_seconds() - 18 * 3600.0, version="2", cpu_percent=50.0)
    first.agent_down(base + 30 * HOUR, 3600.0)
    first.heard(now - timedelta(minutes=2))
    junction = first.junction_id
    first.commit()
    others = [LightsFacts(dsn) for _ in range(3)]
    others[0].heard(now - timedelta(minutes=10))
    others[0].health(now - 3 * DAY, 3600.0)
    others[1].heard(now - timedelta(minutes=20))
    others[2].connection.execute("DELETE FROM ingest_streams WHERE no = %s", (others[2].stream_no,))
    for facts in others:
        facts.commit()
    with psycopg.connect(dsn) as connection:
        connection.execute(
            "INSERT INTO edge_devices (id, name, public_key, status, revoked_at)"
            " VALUES (%s, 'gone', decode(repeat('00', 32), 'hex'), 'revoked', now())",
            (uuid4(),),
        )
        health: dict[str, str] = dict(connection.execute("SELECT name, state FROM v_junction_health").fetchall())
    assert [health[facts.junction] for facts in (first, *others)] == ["healthy", "warning", "critical", "never"]
    with reading_client(dsn, analytics_routes) as client:
        every = get(client, "/api/analytics/devices", days=3)
        one = get(client, "/api/analytics/devices", junction=str(junction), days=3)["devices"]
        pages = [get(client, "/api/analytics/devices", limit=3, offset=offset, days=1) for offset in (0, 3)]
        late = get(client, "/api/analytics/devices", state=["warning", "critical"], days=1)
    assert every["totals"] == {"healthy": 1, "warning": 1, "critical": 1, "never": 1}
    assert sorted(device["state"] for device in every["devices"]) == ["critical", "healthy", "never", "warning"]
    assert [len(page["devices"]) for page in pages] == [3, 1]
    assert [page["next_offset"] for page in pages] == [3, None]
    assert sorted(device["state"] for device in late["devices"]) == ["critical", "warning"]
    [device] = one
    assert (device["state"], device["version"], device["cpu_percent"]) == ("healthy", "2", 50.0)
    shares = [(day["up_share"], day["down_share"], day["unknown_share"]) for day in device["days"]]
    assert shares == [
        (pytest.approx(18 / 24), pytest.approx(6 / 24), pytest.approx(0, abs=1e-9)),
        (pytest.approx(23 / 24), pytest.approx(1 / 24), pytest.approx(0, abs=1e-9)),
        (pytest.approx(1, abs=1e-3), 0.0, pytest.approx(0, abs=1e-3)),
    ]
    silent = next(device for device in every["devices"] if device["state"] == "warning")
    assert [day["unknown_share"] for day in silent["days"]] == [1.0] * 3
    assert silent["up_share"] is None


def test_the_collector_serves_and_describes_all_of_it(plain_dsn: str) -> None:
    facts = LightsFacts(plain_dsn)
    facts.cycle(NOON, (LaneFact("north", 20.0, 3.0, 37.0, 1, 0.5),))
    junction = facts.junction_id
    facts.commit()
    with running_collector(plain_dsn) as collector:
        described = httpx.get(f"{collector.url}/schema/openapi.json", timeout=30).json()
        asked = {path: item["get"] for path, item in described["paths"].items() if "/api/analytics/" in path}
        others = ("export", "journeys", "visitors", "{epc}")
        mine = {path: operation for path, operation in asked.items() if not path.endswith(others)}
        assert len(mine) == 10
        for path, operation in mine.items():
            assert {"analytics"} == set(operation["tags"])
            told = operation["responses"]["200"]["content"]["application/json"]
            [example] = told["examples"].values() if isinstance(told["examples"], dict) else told["examples"]
            url = collector.url + path.replace("{junction_id}", str(junction))
            taken = {one["name"] for one in operation["parameters"]}
            period = {"change": NOON.isoformat(), "from": "2025-05-05", "to": "2025-05-06"}
            answer = httpx.get(url, params={name: value for name, value in period.items() if name in taken})
            assert answer.status_code == 200, (path, answer.text)
            assert example["value"].keys() <= answer.json().keys(), path

        def kept() -> bool:
            with psycopg.connect(plain_dsn) as connection:
                return (
                    connection.execute("SELECT FROM junction_daily_stats WHERE cycles = 1").fetchone() is not None
                )

        until(kept)


def test_what_cannot_be_answered_is_told(plain_dsn: str) -> None:
    facts = LightsFacts(plain_dsn)
    facts.describe(with_advance(crossroads()))
    junction = facts.junction_id
    facts.commit()
    base = f"/api/analytics/junction/{junction}"
    cases: list[tuple[str, dict[str, Any], int, str]] = [
        (f"/api/analytics/junction/{uuid4()}/daily", {}, 404, "GET /api/junctions lists them"),
        (f"{base}/daily", {"from": "yesterday"}, 400, "from: 'yesterday'"),
        (f"{base}/daily", {"from": "2025-05-05T10:00:00"}, 400, "offset from UTC"),
        (f"{base}/daily", {"from": "2025-02-30"}, 400, "from:"),
        (f"{base}/daily", {"to": "\0"}, 400, "to:"),
        (f"{base}/daily", {"from": "0001-01-01"}, 400, "outside the years"),
        (
            f"{base}/lanes",
            {"from": "2025-05-06", "to": "2025-05-04"},
            400,
            "2025-05-06 is not before `to`, which is 2025-05-04",
        ),
        (f"{base}/peak-hours", {"from": "2023-05-06", "to": "2025-05-04"}, 400, "400 days"),
        (f"{base}/arrivals", {"from": "2025-03-06", "to": "2025-05-04"}, 400, "31 days"),
        (f"{base}/throughput", {}, 404, "say when the change was"),
        (f"{base}/throughput", {"change": "2024-01-01"}, 400, "2024-01-01 does not lie between"),
        (f"{base}/throughput", {"change": "x"}, 400, "change:"),
        ("/api/analytics/devices", {"days": 99}, 400, "days"),
        ("/api/analytics/devices", {"state": "ill"}, 400, "state"),
    ]
    with reading_client(plain_dsn, analytics_routes) as client:
        for path, params, status, told in cases:
            answer = client.get(path, params=params)
            assert answer.status_code == status, (path, params, answer.text)
            assert told in answer.text, (path, params, answer.text)
        longest = {"from": "2024-03-31", "to": "2025-05-04"}
        for name in ("daily", "peak-hours", "lanes", "cycles", "saturation", "waits", "overrides"):
            assert client.get(f"{base}/{name}", params=longest).status_code == 200, name
        assert client.get(f"{base}/cycles", params=longest).json()["stages"] is None
        escaped = {"from": "2025-05-05T00:00:00 02:00", "to": "2025-05-06"}
        assert len(client.get(f"{base}/daily", params=escaped).json()["days"]) == 3
