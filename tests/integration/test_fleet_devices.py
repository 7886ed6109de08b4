"""The devices as people look after them: how each is, what was put aside, and what admins change."""

import asyncio
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import psycopg
import pytest

from collector.db import Settings, make_pool
from collector.fleet import overview
from collector.fleet.overview import DeviceState, Order, Wanted, read_page, read_story
from collector.fleet.rejects import WantedRejects, read_rejects
from collector.identity.users import Role
from tests.integration.facts import Facts
from tests.integration.test_users import bearer, code, execute, make_user
from tests.servers.collector import RunningCollector, running_collector

LOST, ASIDE, UNSENT = 5, 2, 17
EPC = "E2003412DC03"
_HEAD = "51, 1780000000000, 0"
TELLING = [
    ("no", f'["count", {_HEAD}, "gate", "gate", "rfid", "object", "in", 1, "{EPC}"]'),
    (f"Invalid enum value '{EPC}' - at `$[6]`", f'["count", {_HEAD}, "gate", "gate", "{EPC}"]'),
    (
        'lane_cycle_data: no\nCONTEXT: COPY, line 1: "' + EPC + '"',
        f'["cycle", {_HEAD}, "x", 1, "a", "b", [["n", 1, 1, 1, 1, 1, ["{EPC}"]]]]',
    ),
    ("no", f'["cycle", {_HEAD}, "x", 1, "a", "b", [["n", 1, 1, 1, 1, "{EPC}"]]]'),
    (f"kind '{EPC}' is not known here", f'["{EPC}", {_HEAD}]'),
    ("kind 'passage' is not known here", f'["passage", {_HEAD}, "{EPC}"]'),
    ("no", f'["count", {_HEAD}, "gate", "gate", "camera", "{EPC}'),
    ("no", f'["log", {_HEAD}, "info", "x", "read", {{"Epc": "{EPC}"}}]'),
    ("no", f'{{"kind": "count", "track": "{EPC}"}}'),
]
TAGLESS = [
    ("it 'is' so", f'["count", {_HEAD}, "north", "line", "camera", "car", "in", 0.5, "17"]'),
    ("no", f'["cycle", {_HEAD}, "x", 1, "a", "b", [["n", 1, 1, 1, 1, 1, []], ["s", null, 1, 1, 1]]]'),
    ("no", f'["log", {_HEAD}, "info", "x", "read", {{"n": 5}}]'),
]
SENSORS = '[["north", "ok", 6.2, 12, 151.5, 1], ["reader 1", "unreachable"]]'


@pytest.fixture
def collector(plain_dsn: str) -> Iterator[RunningCollector]:
    make_user(plain_dsn, "Ada", Role.ADMIN)
    make_user(plain_dsn, "vic", Role.VIEWER)
    with running_collector(plain_dsn, reading_open=False) as running:
        yield running


@dataclass
class Fleet:
    """A client of one user, and the database behind it."""

    dsn: str
    client: httpx.Client
    headers: dict[str, str]

    def devices(self, **query: Any) -> list[str]:
        answer = self.client.get("/api/fleet/devices", params=query, headers=self.headers)
        assert answer.status_code == 200, answer.text
        return [device["name"] for device in answer.json()["devices"]]

    def device(self, device: UUID) -> Any:
        answer = self.client.get(f"/api/fleet/devices/{device}", headers=self.headers)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def rejects(self, **query: Any) -> Any:
        answer = self.client.get("/api/fleet/rejects", params=query, headers=self.headers)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def send(self, method: str, path: str, body: Any = None) -> httpx.Response:
        return self.client.request(method, f"/api/fleet/devices/{path}", json=body, headers=self.headers)


@pytest.fixture
def fleet(collector: RunningCollector, plain_dsn: str) -> Iterator[Fleet]:
    with httpx.Client(base_url=collector.url) as client:
        yield Fleet(plain_dsn, client, bearer(client))


def heard(facts: Facts, name: str, ago: timedelta) -> None:
    execute(facts.dsn, "UPDATE edge_devices SET name = %s WHERE id = %s", name, facts.device)
    execute(
        facts.dsn,
        "UPDATE ingest_streams SET last_received_at = now() - %s, last_at = now() - %s WHERE no = %s",
        ago,
        ago,
        facts.stream_no,
    )


def add_device(dsn: str, name: str, junction: UUID | None = None) -> UUID:
    device = uuid4()
    execute(
        dsn,
        "INSERT INTO edge_devices (id, name, public_key, junction_id) VALUES (%s, %s, %s, %s)",
        device,
        name,
        bytes(32),
        junction,
    )
    return device


def a_day(dsn: str) -> Facts:
    """A device that told of its health, lost a few records, and sent two that were put aside."""
    facts = Facts(dsn)
    now = datetime.now(UTC)
    with psycopg.connect(dsn) as connection:
        # What comes late is not the latest.
        for told in ([(2, 71.0), (0, 55.5)], [(30, 99.0)]):
            connection.execute(
                "INSERT INTO device_health (at, at_error_ms, seq, stream_no, outbox_records, outbox_bytes,"
                " outbox_dropped, clock_error_ms, uptime_s, temperature_c, clock_synced, version, sensors)"
                " SELECT %s - make_interval(hours => h), 0, 1, %s, %s, 900, 5, 4, 60, t, true, '0.1.0', %s"
                " FROM unnest(%s::int[], %s::real[]) AS told (h, t)",
                (now, facts.stream_no, UNSENT, SENSORS, *map(list, zip(*told, strict=True))),
            )
        connection.execute(
            "INSERT INTO stream_quality_metrics"
            " (at, at_error_ms, seq, stream_no, reconnects, span_ms, sensor, state)"
            " VALUES (%s, 0, 2, %s, 3, 1000, 'reader 1', 'unreachable')",
            (now - timedelta(hours=1), facts.stream_no),
        )
        for hours, seq in ((50, 10), (3, 20)):
            connection.execute(
                "INSERT INTO ingest_gaps (at, at_error_ms, seq, stream_no, reason, duration_ms, from_seq)"
                " VALUES (%s, 0, %s, %s, 'outbox_full', 1000, %s)",
                (now - timedelta(hours=hours), seq, facts.stream_no, seq - LOST + 1),
            )
        for seq, raw in ((30, '["count", 30]'), (31, "x" * 5000)):
            connection.execute(
                "INSERT INTO ingest_rejects (received_at, seq, stream_no, code, detail, raw)"
                " VALUES (now() - interval '1 hour', %s, %s, 'malformed', 'at: is missing', %s)",
                (seq, facts.stream_no, raw),
            )
        connection.execute(
            "UPDATE ingest_streams SET last_seq = 40, stored = %s, rejected = %s, lost = %s, last_at = %s"
            " WHERE no = %s",
            (40 - ASIDE - 2 * LOST, ASIDE, 2 * LOST, now, facts.stream_no),
        )
    return facts


def test_devices_are_found_by_how_long_they_are_silent(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    minutes = {"now": 0, "4 minutes": 4, "6 minutes": 6, "14 minutes": 14, "16 minutes": 16, "a day": 1440}
    for name, ago in minutes.items():
        heard(Facts(fleet.dsn), name, timedelta(minutes=ago))
    add_device(fleet.dsn, "never")
    assert fleet.devices(state="healthy") == ["4 minutes", "now"]
    assert fleet.devices(state="warning") == ["14 minutes", "6 minutes"]
    assert fleet.devices(state="critical") == ["16 minutes", "a day"]
    assert fleet.devices(state="never") == ["never"]
    assert fleet.devices(state=["never", "critical"]) == ["16 minutes", "a day", "never"]
    assert fleet.devices(sort="received_at")[:3] == ["never", "a day", "16 minutes"]
    assert fleet.devices(sort="-received_at", limit=1) == ["now"]
    assert fleet.devices(sort="-name", limit=2, offset=1) == ["never", "a day"]
    # A new outbox begins a new epoch: one stream is silent for ever, and the device is not.
    now = next(name for name in fleet.devices(state="healthy") if name == "now")
    execute(
        fleet.dsn,
        "INSERT INTO ingest_streams (device_id, stream, epoch, last_received_at)"
        " SELECT id, 'main', gen_random_uuid(), now() - interval '2 days' FROM edge_devices WHERE name = %s",
        now,
    )
    assert "now" in fleet.devices(state="healthy")
    assert "now" not in fleet.devices(state="critical")
    for few, many in ((0, 0), (0, 6000), (2000, 6000)):
        monkeypatch.setattr(overview, "_FEW", few)
        monkeypatch.setattr(overview, "_MANY", many)
        assert fleet.devices(state="critical") == ["16 minutes", "a day"], (few, many)
        rare = fleet.devices(state=["never", "warning"], sort="-name")
        assert rare == ["never", "6 minutes", "14 minutes"], (few, many)
    # Two of a junction are heard one after the other, and one of another junction between them and before.
    five, three, two = (Facts(fleet.dsn) for _ in range(3))
    move = "UPDATE edge_devices a SET junction_id = b.junction_id FROM edge_devices b WHERE b.id = %s"
    execute(fleet.dsn, f"{move} AND a.id = %s", five.device, three.device)
    for facts, name, minutes_ago in (
        (five, "5 minutes", 700),
        (three, "3 minutes", 700),
        (five, "5 minutes", 5),
        (three, "3 minutes", 3),
        (two, "2 minutes", 2),
    ):
        heard(facts, name, timedelta(minutes=minutes_ago))
    last = ["now", "2 minutes", "3 minutes", "4 minutes", "5 minutes", "6 minutes", "14 minutes"]
    for n in range(1, 8):
        assert asyncio.run(_orders(fleet.dsn, n, n))[1] == last[:n]
    execute(fleet.dsn, "UPDATE edge_devices SET junction_id = NULL WHERE name = '4 minutes'")
    expected = ["never", "a day", "16 minutes", *reversed(last)]
    place = "INSERT INTO junctions (name, timezone) VALUES ('silent', 'UTC')"
    stand = "UPDATE edge_devices SET junction_id = (SELECT id FROM junctions WHERE name = 'silent')"
    for statement in (place, stand + " WHERE name = 'never'"):
        for few in (2000, 5, 0):
            monkeypatch.setattr(overview, "_FEW", few)
            assert asyncio.run(_orders(fleet.dsn)) == [expected, expected[::-1]], few
        execute(fleet.dsn, statement)
    monkeypatch.setattr(overview, "_FEW", 2000)
    assert asyncio.run(_orders(fleet.dsn)) == [expected, expected[::-1]]


async def _orders(dsn: str, n: int = 10, each: int = 2) -> list[list[str]]:
    """The first devices by when they were heard, and the other way round, in pages."""
    async with make_pool(Settings(dsn, min_size=1)) as pool:
        return [
            [
                device.name
                for offset in range(0, n, each)
                for device in await read_page(pool, Wanted(), order=order, limit=each, offset=offset)
            ]
            for order in (Order.RECEIVED, Order.RECEIVED_DOWN)
        ]


def test_a_stream_that_another_one_followed_hides_and_shows_nobody(
    dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    hours = {
        "new outbox": (50, 0.05),
        "lights ended": (0.02, 3),
        "silent": (50,),
        "silent twice": (50, 60),
        "silent at once": (20, 20.5),
        "now": (0, 0),
        "warning": (0.15, 30),
        "busy": (40, 0.01),
    }
    streams = {name: _streams(dsn, name, ages_h) for name, ages_h in hours.items()}
    add_device(dsn, "never")
    expected = asyncio.run(_every_list(dsn, monkeypatch, looks_through_all=True))
    assert asyncio.run(_every_list(dsn, monkeypatch)) == expected
    assert expected["critical", "received_at"] == ["silent", "silent twice", "silent at once"]
    assert expected["critical", "-received_at"] == ["silent at once", "silent twice", "silent"]
    # An outbox that was thought lost is heard again, and after that the new one goes with all that it told.
    old, new = streams["new outbox"]
    execute(dsn, "UPDATE ingest_streams SET last_received_at = now() - interval '1 day' WHERE no = %s", new)
    execute(dsn, "UPDATE ingest_streams SET last_received_at = now() WHERE no = %s", old)
    for change in ("SELECT", f"DELETE FROM ingest_streams WHERE no = {streams['lights ended'][0]}"):
        execute(dsn, change)
        found = asyncio.run(_every_list(dsn, monkeypatch))
        assert found == asyncio.run(_every_list(dsn, monkeypatch, looks_through_all=True))
        assert "new outbox" in found["healthy", "name"]
        assert ("lights ended" in found["critical", "name"]) == (change != "SELECT")


def _streams(dsn: str, name: str, ages_h: tuple[float, ...]) -> list[int]:
    """A device at a junction of its own, whose streams were last heard so long ago."""
    junction = UUID(_one(dsn, f"INSERT INTO junctions (name) VALUES ('{name}') RETURNING id::text"))
    device = add_device(dsn, name, junction)
    with psycopg.connect(dsn) as connection:
        return [
            no
            for age_h in ages_h
            for (no,) in connection.execute(
                "INSERT INTO ingest_streams (device_id, stream, epoch, last_received_at)"
                " VALUES (%s, 'main', gen_random_uuid(), now() - %s) RETURNING no",
                (device, timedelta(hours=age_h)),
            )
        ]


async def _every_list(
    dsn: str, monkeypatch: pytest.MonkeyPatch, *, looks_through_all: bool = False
) -> dict[tuple[str, str], list[str]]:
    """Names of the first devices by their states and order."""
    with monkeypatch.context() as patched:
        if looks_through_all:
            for bound in ("_FEW", "_MANY"):
                patched.setattr(overview, bound, 0)
        async with make_pool(Settings(dsn, min_size=1)) as pool:
            return {
                (" ".join(states), order): [
                    device.name for device in await read_page(pool, Wanted(states=states), order=order, limit=3)
                ]
                for r in range(3)
                for states in itertools.combinations(DeviceState, r)
                for order in Order
            }


def test_devices_are_found_by_part_of_a_name_and_by_junction(fleet: Fleet) -> None:
    square, street = Facts(fleet.dsn, junction="Market Square"), Facts(fleet.dsn, junction="Long Street")
    heard(square, "pi North", timedelta())
    heard(street, "pi south", timedelta())
    assert fleet.devices(q="nort") == ["pi North"]
    assert fleet.devices(q="MARKET") == ["pi North"]
    assert fleet.devices(q="so") == ["pi south"]
    assert fleet.devices(q="%") == []
    assert fleet.devices(junction="Long Street") == ["pi south"]
    assert fleet.devices(junction=["Long Street", "Market Square"], q="north") == ["pi North"]
    assert fleet.devices(status="revoked") == []
    for query in ({"q": "a\x00"}, {"junction": "\x00"}, {"sort": "rows"}, {"offset": 10**30}, {"state": "x"}):
        assert fleet.client.get("/api/fleet/devices", params=query, headers=fleet.headers).status_code == 400, (
            query
        )


def test_a_device_tells_its_health_and_what_became_of_its_records(fleet: Fleet) -> None:
    facts = a_day(fleet.dsn)
    story = fleet.device(facts.device)
    device = story["device"]
    assert device["junction"]["name"] == facts.junction
    assert (device["state"], device["version"], device["temperature_c"]) == ("healthy", "0.1.0", 55.5)
    assert device["clock"] == {"synced": True, "error_ms": 4}
    assert device["outbox"] == {"records": UNSENT, "bytes": 900, "dropped": 5}
    north, reader = device["sensors"]
    assert (north["name"], north["state"], north["fps"]) == ("north", "ok", 6.2)
    assert (reader["state"], reader["fps"], reader["restarts"]) == ("unreachable", None, 0)
    assert device["disk_free_mb"] is None
    told = {name: device[name] for name in ("made", "rejected", "lost", "adds_up", "rejects_open")}
    assert told == {"made": 40, "rejected": ASIDE, "lost": 2 * LOST, "adds_up": True, "rejects_open": ASIDE}
    assert (device["gaps_last_day"], device["lost_last_day"]) == (1, LOST)
    assert [moment["temperature_c"] for moment in story["health"]] == [71.0, 55.5]
    assert [(moment["sensor"], moment["state"]) for moment in story["sensor_history"]] == [
        ("reader 1", "unreachable")
    ]
    assert [gap["seq"] for stream in story["streams"] for gap in stream["gaps"]] == [20, 10]
    execute(fleet.dsn, "DELETE FROM ingest_gaps WHERE seq = 10")
    assert fleet.device(facts.device)["device"]["adds_up"] is False
    _what_is_polled_is_sent_again_only_where_it_has_changed(fleet, facts)


def _what_is_polled_is_sent_again_only_where_it_has_changed(fleet: Fleet, facts: Facts) -> None:
    paths = ("fleet/devices", f"fleet/devices/{facts.device}", "fleet/rejects", "logs")
    for path in paths:
        first = fleet.client.get(f"/api/{path}", headers=fleet.headers)
        tag = first.headers["etag"]
        assert tag.startswith("W/") == ("as_of" in first.json()), path
        asked = fleet.headers | {"If-None-Match": tag}
        same = fleet.client.get(f"/api/{path}", headers=asked)
        assert (same.status_code, same.content, "date" in same.headers) == (304, b"", True), path
        assert fleet.send("POST", f"{facts.device}/rejects/seen").is_success
        fleet.client.post(
            "/api/logs", json={"level": "info", "action": "x", "message": path}, headers=fleet.headers
        )
        assert fleet.client.get(f"/api/{path}", headers=asked).status_code == 200, path
        execute(fleet.dsn, "UPDATE edge_devices SET metadata = '{}'")
    shown = fleet.client.get("/api/fleet/rejects?tags=true", headers=fleet.headers)
    assert (shown.headers["cache-control"], "etag" in shown.headers) == ("no-store", False)


def test_what_was_put_aside_is_listed_until_it_is_marked_as_seen(fleet: Fleet) -> None:
    facts = a_day(fleet.dsn)
    assert [each["raw"] for each in fleet.rejects()["rejects"]] == [None, None], "it may name tags"
    first = fleet.rejects(limit=1, tags="true")
    [reject] = first["rejects"]
    assert (reject["seq"], reject["code"], reject["detail"]) == (31, "malformed", "at: is missing")
    assert (len(reject["raw"]), reject["raw_length"]) == (4000, 5000)
    assert reject["device"]["id"] == str(facts.device)
    [second] = fleet.rejects(cursor=first["next"], tags="true")["rejects"]
    assert (second["raw"], second["seen"]) == ('["count", 30]', False)
    assert fleet.rejects(cursor=first["next"])["next"] is None
    assert len(fleet.rejects(device=str(facts.device), code="malformed", open="true")["rejects"]) == ASIDE
    for other in ({"device": "nobody"}, {"code": "unknown_kind"}, {"junction": "nowhere"}):
        assert fleet.rejects(**other)["rejects"] == []
    assert fleet.client.get("/api/fleet/rejects?cursor=x", headers=fleet.headers).status_code == 400
    marked = fleet.send("POST", f"{facts.device}/rejects/seen").json()
    assert marked["device"]["rejects_open"] == 0
    assert fleet.rejects(open="true")["rejects"] == []
    assert [each["seen"] for each in fleet.rejects()["rejects"]] == [True, True]
    assert fleet.send("POST", f"{facts.device}/rejects/seen", {"until": "2020-01-01T00:00:00Z"}).is_success
    assert fleet.rejects(open="true")["rejects"] == [], "what was seen stays seen"
    [written] = fleet.client.get("/api/audit?action=rejects_seen", headers=fleet.headers).json()["entries"]
    assert (written["user_name"], written["subject"]["name"], written["before"]) == ("Ada", "pi", None)
    assert datetime.fromisoformat(written["after"]["until"]) > datetime.fromisoformat(reject["received_at"])


def test_admins_name_place_and_revoke_devices_and_it_is_written_down(fleet: Fleet) -> None:
    facts = a_day(fleet.dsn)
    other = UUID(_one(fleet.dsn, "INSERT INTO junctions (name) VALUES ('Elsewhere') RETURNING id::text"))
    idle = add_device(fleet.dsn, "idle")
    placed = fleet.send("PATCH", str(idle), {"junction": str(other)}).json()["device"]
    assert (placed["name"], placed["junction"]["name"]) == ("idle", "Elsewhere")
    assert fleet.send("PATCH", str(facts.device), {"name": "pi east"}).json()["device"]["name"] == "pi east"
    assert code(fleet.send("PATCH", str(facts.device), {"junction": str(other)})) == (
        409,
        "device_counted_elsewhere",
    )
    assert code(fleet.send("PATCH", str(idle), {"junction": str(uuid4())})) == (400, "junction_unknown")
    assert code(fleet.send("PATCH", str(uuid4()), {"name": "x"})) == (404, "device_not_found")
    assert fleet.send("PATCH", str(idle), {"name": "a\x00"}).status_code == 400
    for _ in range(2):
        assert fleet.send("POST", f"{facts.device}/revoke").json()["device"]["status"] == "revoked"
    assert fleet.devices(status="revoked") == ["pi east"]
    with psycopg.connect(fleet.dsn) as connection:
        rows = connection.execute("SELECT action, user_name, subject_name FROM audit_log ORDER BY no").fetchall()
    assert [row for row in rows if row[0].startswith("device")] == [
        ("device_changed", "Ada", "idle"),
        ("device_changed", "Ada", "pi east"),
        ("device_revoked", "Ada", "pi east"),
    ]


def test_viewers_see_their_junctions_devices_and_change_nothing(fleet: Fleet) -> None:
    mine, foreign = a_day(fleet.dsn), a_day(fleet.dsn)
    execute(
        fleet.dsn,
        "INSERT INTO user_junction_access SELECT u.id, j.id, 'read' FROM users u, junctions j"
        " WHERE u.name = 'vic' AND j.name = %s",
        mine.junction,
    )
    vic = Fleet(fleet.dsn, fleet.client, bearer(fleet.client, "vic"))
    assert len(vic.devices()) == 1
    execute(
        fleet.dsn,
        "INSERT INTO edge_devices (id, name, public_key, junction_id)"
        " SELECT gen_random_uuid(), 'never at ' || name, decode(repeat('00', 32), 'hex'), id FROM junctions",
    )
    for sort in ("name", "-name", "received_at", "-received_at"):
        assert vic.devices(state="never", sort=sort) == [f"never at {mine.junction}"], sort
    assert len(vic.devices(state=["healthy", "never"])) == 2
    assert vic.device(mine.device)["device"]["rejects_open"] == ASIDE
    for seq, (detail, raw) in enumerate(TELLING + TAGLESS, start=50):
        execute(
            fleet.dsn,
            "INSERT INTO ingest_rejects (seq, stream_no, code, detail, raw)"
            " VALUES (%s, %s, 'not_storable', %s, %s)",
            seq,
            mine.stream_no,
            detail,
            raw,
        )
    for each in (vic.rejects(), fleet.rejects(device=str(mine.device))):
        assert EPC not in str(each), "nor to admins that did not ask for it"
        assert {reject["device"]["id"] for reject in each["rejects"]} == {str(mine.device)}
        assert [reject["raw"] for reject in each["rejects"]][: len(TAGLESS)] == [raw for _, raw in TAGLESS[::-1]]
    details = {each["detail"] for each in vic.rejects()["rejects"]}
    assert {"Invalid enum value (withheld) - at `$[6]`", "kind 'passage' is not known here"} <= details
    whole = fleet.rejects(device=str(mine.device), tags="true")["rejects"]
    assert [(each["detail"], each["raw"]) for each in whole][: len(TELLING + TAGLESS)] == (TELLING + TAGLESS)[::-1]
    refused = vic.client.get("/api/fleet/rejects", params={"tags": "true"}, headers=vic.headers)
    assert code(refused) == (403, "role_too_low")
    [written] = vic.client.get("/api/logs?action=rejects_read_with_tags", headers=fleet.headers).json()["logs"]
    assert written["said_by"]["name"] == "Ada"
    assert code(vic.send("GET", str(foreign.device))) == (404, "device_not_found")
    for method, path in (("PATCH", ""), ("POST", "/revoke"), ("POST", "/rejects/seen")):
        assert code(vic.send(method, f"{mine.device}{path}", {})) == (403, "role_too_low")


@pytest.mark.timescaledb
def test_the_other_edition_answers_alike(timescaledb_dsn: str) -> None:
    facts = a_day(timescaledb_dsn)

    async def ask() -> None:
        async with make_pool(Settings(timescaledb_dsn, min_size=1)) as pool:
            [device] = await read_page(pool, Wanted(q="pi", states=[DeviceState.HEALTHY]))
            assert (device.id, device.temperature_c, device.adds_up) == (facts.device, 55.5, True)
            story = await read_story(pool, facts.device)
            assert story is not None
            assert [len(each) for each in (story.health, story.sensors, story.streams)] == [2, 1, 1]
            rejects = await read_rejects(pool, WantedRejects(open_only=True), limit=10, raw_characters=10)
            assert [reject.seq for reject in rejects] == [31, 30]

    asyncio.run(ask())


def _one(dsn: str, statement: str) -> Any:
    with psycopg.connect(dsn, autocommit=True) as connection:
        row = connection.execute(statement.encode()).fetchone()
    assert row is not None
    return row[0]
