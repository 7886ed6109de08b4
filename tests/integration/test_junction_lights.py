"""Lights of a junction through a real collector: events and cycles go in, states and pages come out, live too."""

import json
from collections.abc import Iterator
from uuid import UUID

import httpx
import msgspec
import psycopg
import pytest
from websockets.sync.client import connect

from common.junction import DESCRIBED_ACTION, Junction
from common.records import LaneCycle, Log, Occupancy, SignalEvent
from tests.integration.ingest_helpers import count, now_ms, send
from tests.junctions import crossroads
from tests.servers.collector import RunningCollector, running_collector
from tests.servers.lights import Pi, cycle

NORTH, EAST, SOUTH, WEST = 2, 4, 6, 8
GREEN, YELLOW, RED = 1, 8, 10


NO_JUNCTION = UUID(int=0)


@pytest.fixture(scope="module")
def collector(module_dsn: str) -> Iterator[RunningCollector]:
    """Shared: each Pi has a junction of its own."""
    with running_collector(module_dsn) as running:
        yield running


@pytest.fixture
def pi(collector: RunningCollector) -> Pi:
    return Pi(collector.dsn, collector)


@pytest.fixture(scope="module")
def of_each_edition(each_module_dsn: str) -> Iterator[RunningCollector]:
    with running_collector(each_module_dsn) as running:
        yield running


@pytest.fixture
def any_pi(of_each_edition: RunningCollector) -> Pi:
    """Once per edition of the database: where its queries are at stake."""
    return Pi(of_each_edition.dsn, of_each_edition)


def test_what_the_lights_show(any_pi: Pi) -> None:
    pi = any_pi
    before = pi.ask("signals")
    assert (before["description"], before["movements"], before["mode"], before["last_at"]) == (
        None,
        [],
        None,
        None,
    )
    pi.tell((40_000, 173, 2), (40_000, 155, 6), (40_000, 131, 1), (34_000, GREEN, NORTH), (34_000, GREEN, SOUTH))
    unnamed = pi.ask("signals")
    assert [(one["phase"], one["movement"], one["aspect"]) for one in unnamed["movements"]] == [
        (NORTH, None, "green"),
        (SOUTH, None, "green"),
    ]
    pi.describe(crossroads())
    pi.tell((9_000, YELLOW, NORTH), (6_000, RED, NORTH), (5_000, 81, 1), (5_000, 82, 1))
    answer = pi.ask("signals")
    assert {one["movement"]: one["aspect"] for one in answer["movements"]} == {
        "north": "red",
        "east": "red",
        "south": "green",
        "west": "red",
    }
    assert (answer["mode"], answer["stage"], answer["plan"]) == ("automatic", "ns", "day")
    assert (answer["flash"], answer["algorithm"]) == (None, None)
    assert msgspec.convert(answer["description"], Junction) == crossroads()
    assert answer["last_at"] <= answer["received_at"] <= answer["as_of"]
    pi.tell((3_000, 173, 6), (3_000, 12, SOUTH))
    flashing = pi.ask("signals")
    assert {one["aspect"] for one in flashing["movements"]} == {"flashing_red"}
    assert (flashing["mode"], flashing["flash"]) == ("flash", "monitor")


def test_who_decides_is_known_though_it_was_told_days_ago(pi: Pi) -> None:
    day_ms = 86_400_000
    pi.describe(crossroads())
    pi.tell((3 * day_ms, 173, 2), (3 * day_ms, 155, 5), (3 * day_ms - 5, GREEN, NORTH))
    pi.tell(*((60_000 - i, 82, 1) for i in range(3_000)), (1_000, GREEN, EAST))
    answer = pi.ask("signals")
    assert answer["mode"] == "manual_override"
    assert pi.aspects() == {"north": "red", "east": "green", "south": "red", "west": "red"}


def test_queues_are_told_by_the_zones_that_the_description_names(pi: Pi) -> None:
    pi.describe(crossroads())
    now = now_ms()
    pi.send(
        Occupancy(1, now - 9_000, 0, "cam-north", "approach", 5_000, 2.0, 9, 9, n_standing=9),
        Occupancy(1, now - 4_000, 0, "cam-north", "approach", 5_000, 2.0, 4, 3, n_standing=2),
        Occupancy(1, now - 4_000, 0, "cam-north", "parking", 5_000, 2.0, 4, 4),
        Occupancy(1, now - 600_000, 0, "cam-east", "approach", 5_000, 2.0, 4, 4),
    )
    [queue] = pi.ask("signals")["queues"]
    assert (queue["lane"], queue["n"], queue["standing"]) == ("north", 3, 2)


def test_cycles_come_in_pages_newest_first(any_pi: Pi) -> None:
    pi, now = any_pi, now_ms()
    other = Pi(pi.collector.dsn, pi.collector)
    other.send(cycle(now))
    pi.send(*(cycle(now - 60_000 * i, algorithm=f"a{i}") for i in (0, 2, 1, 4, 3)), cycle(now, algorithm="last"))
    pages, before = [], None
    while True:
        page = pi.ask("cycles", limit=4, **({"before": before} if before else {}))
        pages.append([one["algorithm"] for one in page["cycles"]])
        before = page["next"]
        if before is None:
            break
    assert pages == [["last", "a0", "a1", "a2"], ["a3", "a4"]]
    newest = pi.ask("cycles", limit=1)["cycles"][0]
    assert newest["device"] == str(pi.device.id)
    assert (newest["length_s"], newest["mode"], newest["plan"]) == (60.0, "automatic", "day")
    assert [lane["lane"] for lane in newest["lanes"]] == ["east", "north", "south", "west"]
    lanes = {lane.pop("lane"): lane for lane in newest["lanes"]}
    assert lanes["north"] == {
        "vehicles": 5,
        "green_s": 20.0,
        "yellow_s": 3.0,
        "red_s": 37.0,
        "saturation": 0.5,
        "tags": 1,
    }
    assert "E1" not in str(newest), "which vehicles passed is for admins, by `/api/analytics/tags`"
    assert lanes["south"]["vehicles"] is None
    assert lanes["south"]["saturation"] is None
    assert pi.ask("signals")["algorithm"] == "last"
    numbered = [LaneCycle(name, None, 20.0, 3.0, 37.0, None, []) for name in ("lane 10", "lane 2", "lane 1")]
    pi.send(cycle(now + 1, lanes=numbered))
    latest = pi.ask("cycles", limit=1)["cycles"][0]
    assert [lane["lane"] for lane in latest["lanes"]] == ["lane 1", "lane 2", "lane 10"]


def test_cycles_of_the_same_moment_are_all_on_some_page(pi: Pi) -> None:
    now = now_ms()
    pi.send(*(cycle(now, algorithm=str(i)) for i in range(5)))
    first = pi.ask("cycles", limit=2)
    second = pi.ask("cycles", limit=2, before=first["next"])
    third = pi.ask("cycles", limit=2, before=second["next"])
    found = [one["algorithm"] for page in (first, second, third) for one in page["cycles"]]
    assert found == ["4", "3", "2", "1", "0"]
    assert third["next"] is None


def test_an_older_description_does_not_replace_a_newer_one(pi: Pi) -> None:
    now = now_ms()
    pi.describe(msgspec.structs.replace(crossroads(), name="new"), now)
    pi.describe(msgspec.structs.replace(crossroads(), name="old"), now - 60_000)
    assert pi.ask("signals")["description"]["name"] == "new"
    pi.describe(msgspec.structs.replace(crossroads(), name="newest"), now + 1)
    assert pi.ask("signals")["description"]["name"] == "newest"


def test_other_metadata_of_a_junction_stays(module_dsn: str, pi: Pi) -> None:
    with psycopg.connect(module_dsn) as connection:
        connection.execute("UPDATE junctions SET metadata = '{\"note\": 1}' WHERE id = %s", (pi.junction,))
    pi.describe(crossroads())
    with psycopg.connect(module_dsn) as connection:
        row = connection.execute("SELECT metadata FROM junctions WHERE id = %s", (pi.junction,)).fetchone()
    assert row is not None
    assert row[0].keys() == {"note", "lights"}


def test_a_description_that_cannot_be_read_is_a_log_like_any_other(module_dsn: str, pi: Pi) -> None:
    for text in ("{}", '{"name":"\\u0000"}', 5, "x" * 20_000):
        pi.send(Log(1, now_ms(), 0, "info", DESCRIBED_ACTION, "a junction", {"description": text}))
    assert pi.ask("signals")["description"] is None
    with psycopg.connect(module_dsn) as connection:
        row = connection.execute(
            "SELECT count(*) FROM system_logs JOIN ingest_streams s ON s.no = stream_no"
            " WHERE action = %s AND device_id = %s",
            (DESCRIBED_ACTION, pi.device.id),
        ).fetchone()
    assert row == (4,)


def test_a_device_without_a_junction_describes_none(module_dsn: str, collector: RunningCollector) -> None:
    pi = Pi(module_dsn, collector, has_junction=False)
    pi.describe(crossroads())
    pi.tell((0, GREEN, NORTH))
    assert pi.ask("signals")["description"] is None


def test_what_cannot_be_answered_is_told(pi: Pi) -> None:
    cases = [
        (f"{NO_JUNCTION}/signals", 404, "GET /api/junctions lists them"),
        (f"{NO_JUNCTION}/cycles", 404, "GET /api/junctions lists them"),
        ("x/cycles", 404, ""),
        (f"{pi.junction}/cycles?before=yesterday", 400, "`next` of the page before"),
        (f"{pi.junction}/cycles?before=2026-05-04T10:00:00_1_1", 400, "`next` of the page before"),
        (f"{pi.junction}/cycles?before=2026-05-04T10:00:00Z_1_{'9' * 20}", 400, "`next` of the page before"),
        (f"{pi.junction}/cycles?limit=0", 400, "limit"),
    ]
    for path, status, told in cases:
        answer = httpx.get(f"{pi.collector.url}/api/junctions/{path}", timeout=30)
        assert answer.status_code == status, path
        assert told in answer.text


def test_lights_are_told_live(pi: Pi, collector: RunningCollector) -> None:
    url = f"{collector.url.replace('http', 'ws')}/ws/live?junction={pi.junction}"
    now = now_ms()
    with connect(url) as everything, connect(url.replace("/ws/live", "/ws/live/counts")) as counts_only:
        sse = httpx.stream("GET", f"{collector.url}/api/live", params={"junction": str(pi.junction)}, timeout=30)
        with sse as response:
            lines = response.iter_lines()
            next(lines)
            pi.send(
                SignalEvent(1, now, 0, "x", YELLOW, NORTH),
                SignalEvent(1, now, 0, "x", 82, 1),
                SignalEvent(1, now, 0, "x", 155, 5),
                cycle(now),
                Occupancy(1, now, 0, "cam-north", "approach", 5_000, 2.0, 4, 3, n_standing=2),
            )
            send(pi.collector, pi.device, [count(pi.next_seq)], pi.next_seq)
            told = [json.loads(everything.recv(timeout=30)) for _ in range(5)]
            kinds = [line.removeprefix("event: ") for line in _until_count(lines) if line.startswith("event: ")]
        assert [one["event"] for one in told] == ["signal", "signal", "cycle", "occupancy", "count"]
        assert kinds == ["signal", "signal", "cycle", "occupancy", "count"]
        first, second, third, fourth, _ = (one["data"] for one in told)
        assert (first["phase"], first["aspect"], first["at"]) == (NORTH, "yellow", now)
        assert UUID(first["junction"]) == pi.junction
        assert (second["phase"], second["aspect"], second["code"], second["parameter"]) == (None, None, 155, 5)
        assert [lane["vehicles"] for lane in third["lanes"]] == [5, 6, None, 8]
        assert (fourth["zone"], fourth["n"], fourth["n_standing"]) == ("approach", 3, 2)
        assert json.loads(counts_only.recv(timeout=30))["event"] == "count"


def _until_count(lines: Iterator[str]) -> Iterator[str]:
    for line in lines:
        yield line
        if line == "event: count":
            return
