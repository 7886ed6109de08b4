"""The log over real HTTP: devices tell, people post, and everybody reads what is theirs to see."""

import asyncio
import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import psycopg
import pytest

from collector.config import Retention
from collector.db import VIEWER, Settings, make_pool
from collector.fleet.completeness import audit
from collector.identity.users import Role
from collector.logs import queries
from collector.logs.queries import Asked, Place, read_logs
from collector.store.maintenance import maintain
from common.records import Log
from tests.integration.ingest_helpers import now_ms
from tests.integration.test_users import bearer, execute, make_user
from tests.servers.collector import RunningCollector, running_collector
from tests.servers.lights import Pi

EPC = "E2003412DC03"


@pytest.fixture
def collector(dsn: str) -> Iterator[RunningCollector]:
    """Once per edition; Ada sees all, Otto operates one junction, Vic watches it."""
    make_user(dsn, "Ada", Role.ADMIN)
    make_user(dsn, "otto", Role.OPERATOR)
    make_user(dsn, "vic", Role.VIEWER)
    make_user(dsn, "olga", Role.OPERATOR)
    execute(dsn, "UPDATE users SET all_junctions = true WHERE name = 'olga'")
    with running_collector(dsn, reading_open=False) as running:
        yield running


@pytest.fixture
def pi(dsn: str, collector: RunningCollector) -> Pi:
    made = Pi(dsn, collector)
    for name in ("otto", "vic"):
        grant(dsn, name, made, "operate")
    return made


def grant(dsn: str, name: str, pi: Pi, level: str) -> None:
    execute(
        dsn,
        "INSERT INTO user_junction_access (user_id, junction_id, level)"
        " SELECT id, %s, %s FROM users WHERE name = %s",
        pi.junction,
        level,
        name,
    )


class Reader:
    """Somebody who reads and posts."""

    def __init__(self, collector: RunningCollector, name: str) -> None:
        self._url = collector.url + "/api/logs"
        with httpx.Client(base_url=collector.url) as client:
            self._headers = bearer(client, name)

    def logs(self, **query: Any) -> list[str]:
        """The messages."""
        answer = self.get(**query)
        assert answer.status_code == 200, answer.text
        return [line["message"] for line in answer.json()["logs"]]

    def get(self, **query: Any) -> httpx.Response:
        return httpx.get(self._url, params=query, headers=self._headers, timeout=30)

    def post(self, body: Any) -> httpx.Response:
        return httpx.post(self._url, json=body, headers=self._headers, timeout=30)


def line(message: str, **changed: Any) -> dict[str, Any]:
    return {"level": "info", "action": "note", "message": message} | changed


def test_devices_and_people_share_one_log(dsn: str, collector: RunningCollector, pi: Pi) -> None:
    other = Pi(dsn, collector)
    now = now_ms()
    pi.send(
        Log(1, now - 9000, 0, "warning", "camera_black", "100% black_north", {"sensor": "north", "n": 3}),
        Log(1, now - 8000, 0, "debug", "chatter", "nothing"),
    )
    other.send(Log(1, now - 7000, 0, "error", "camera_down", "elsewhere", {"sensor": "south"}))
    ada, otto, vic = (Reader(collector, name) for name in ("ada", "otto", "vic"))

    assert otto.post(line("by otto", level="error", context={"sensor": "north"})).json() == {"written": 1}
    earlier = (datetime.now(UTC) - timedelta(minutes=5)).isoformat()
    said = [line(f"late {i}", junction=str(pi.junction), at=earlier, context={"i": i}) for i in range(3)]
    assert otto.post(said).status_code == 201
    assert ada.post(line("of the city", context={"epc": EPC, "tags": 3})).status_code == 201

    mine = ["by otto", "nothing", "100% black_north", "late 2", "late 1", "late 0"]
    assert ada.logs() == ["of the city", "by otto", "elsewhere", *mine[1:]]
    assert otto.logs() == mine
    assert vic.logs() == mine[1:], "what is said about no junction is for who said it, and who sees all"
    assert vic.post(line("no")).status_code == 403
    assert otto.logs(context='{"sensor": "north"}') == ["by otto", "100% black_north"]
    assert otto.logs(context='{"i": 1}') == ["late 1"]
    other.send(Log(1, now - 6500, 0, "debug", "read", "a passage", {"Tag": EPC, "n": 1}))
    assert ada.get(action="read").json()["logs"][0]["context"] == {"Tag": EPC, "n": 1}
    all_seeing = Reader(collector, "olga").get().json()["logs"]
    assert (all_seeing[0]["message"], all_seeing[0]["context"]) == (
        "of the city",
        {"epc": "(withheld)", "tags": 3},
    )
    assert {"Tag": "(withheld)", "n": 1} in [one["context"] for one in all_seeing]
    assert EPC not in str(all_seeing)
    looked_for = json.dumps({"Tag": EPC})
    assert otto.get(context=looked_for).json()["code"] == "role_too_low", "to find is to know"
    assert ada.logs(context=looked_for) == ["a passage"]
    execute(dsn, "DELETE FROM system_logs WHERE action = 'read'")
    assert otto.logs(level="warning") == ["by otto", "100% black_north"]
    assert otto.logs(action="chatter") == ["nothing"]
    assert otto.logs(text="% BLACK_") == ["100% black_north"]
    assert otto.logs(text="0_b") == []
    assert ada.logs(junction=str(other.junction)) == ["elsewhere"]
    assert ada.logs(device=str(pi.device.id)) == ["nothing", "100% black_north"]
    assert ada.logs(junction=str(pi.junction)) == mine[1:]
    [posted] = otto.get(text="late 0").json()["logs"]
    assert (posted["said_by"]["name"], posted["device"]) == ("otto", None)
    assert posted["junction"]["id"] == str(pi.junction)
    for answer in (otto.get(junction=str(other.junction)), otto.get(junction=str(uuid4()))):
        assert (answer.status_code, answer.json()["code"]) == (404, "junction_unknown")
    assert otto.post(line("no", junction=str(other.junction))).json()["code"] == "junction_unknown"
    grant(dsn, "otto", other, "read")
    both = [line("no", junction=str(one.junction)) for one in (pi, other)]
    refused = otto.post(both)
    assert (refused.status_code, refused.json()["code"]) == (403, "junction_read_only")
    assert str(other.junction) in refused.json()["detail"]
    assert Reader(collector, "olga").post(both).status_code == 201, "who sees all may operate all"
    assert otto.logs(action="note", text="no") == ["no", "no"], "all or none"


def test_pages_hold_all_and_none_twice(
    dsn: str, collector: RunningCollector, pi: Pi, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = now_ms() - 1000
    pi.send(*(Log(1, at, 0, "info", "x", f"told {i}") for i in range(5)))
    otto = Reader(collector, "otto")
    when = datetime.fromtimestamp(at / 1000, UTC).isoformat()
    otto.post([line(f"said {i}", at=when, junction=str(pi.junction)) for i in range(4)])
    pages, cursor = [], None
    while True:
        answer = otto.get(limit=2, **({"cursor": cursor} if cursor else {})).json()
        pages.append([one["message"] for one in answer["logs"]])
        cursor = answer["next"]
        if cursor is None:
            break
    assert [len(page) for page in pages] == [2, 2, 2, 2, 1]
    assert [message for page in pages for message in page] == [
        *(f"told {i}" for i in (4, 3, 2, 1, 0)),
        *(f"said {i}" for i in (3, 2, 1, 0)),
    ]
    told = asyncio.run(_found(dsn, "otto"))
    assert [len(found) for found in told] == [9, 3, 9, 1, 2, 5, 0, 5, 9, 3]
    # However few lines are looked at first, and whatever a text is believed to be found by.
    for walked in (0, 10**6):
        monkeypatch.setattr(queries, "_LINES_WALKED", walked)
        assert asyncio.run(_found(dsn, "otto")) == told
        assert asyncio.run(_found(dsn, None)) == told
    for name in ("_LINES_SEARCHED", "_LINES_OF_FEW", "_LINES_MEASURED", "_LINES_SAMPLED"):
        monkeypatch.setattr(queries, name, 2)
    assert asyncio.run(_found(dsn, "otto")) == told
    assert asyncio.run(_found(dsn, None)) == told
    # What is older than all that is looked at first.
    long_ago = datetime.fromtimestamp(at / 1000, UTC) - timedelta(hours=2)
    otto.post([line("told long ago", at=long_ago.isoformat(), junction=str(pi.junction))])
    for who in ("otto", None):
        found = asyncio.run(_found(dsn, who))
        assert [found[0][-1], found[8][-1]] == ["told long ago"] * 2
    told = asyncio.run(_found(dsn, "otto"))
    # Also where so many lines would go back to before all time.
    monkeypatch.setattr(queries, "_LINES_OF_FEW", 10**15)
    assert asyncio.run(_found(dsn, "otto")) == told
    # However rare what is looked for is believed to be.
    monkeypatch.setattr(queries, "_RARE", 500)
    assert asyncio.run(_found(dsn, "otto")) == told
    assert asyncio.run(_found(dsn, None)) == told


async def _found(dsn: str, name: str | None) -> list[list[str]]:
    """What a user finds, or who sees all, by several filters."""
    async with make_pool(Settings(dsn, min_size=1)) as pool:
        now = datetime.now(UTC)
        day = Asked(now - timedelta(days=1), now, 100, Place())
        asks: list[dict[str, Any]] = [
            {},
            {"limit": 3},
            {"level": "info"},
            {"text": "TOLD 3"},
            {"text": "told", "limit": 2},
            {"text": "OLD", "level": "info"},
            {"text": "said told"},
            {"actions": ["x"]},
            {"context": {}},
        ]
        async with pool.connection() as connection:
            cursor = await connection.execute("SELECT id FROM users WHERE name = %s", (name,))
            user = await cursor.fetchone()
        VIEWER.set(user[0] if user else None)
        return [
            [row.message for row in await read_logs(pool, replace(day, **ask))]
            for ask in (*asks, {"context": {}, "limit": 3})
        ]


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ([], "1 to 1000"),
        ([line("x")] * 1001, "1 to 1000"),
        (line("x", level="loud"), "level: Invalid enum value 'loud'; it is one of debug, info, "),
        (
            [line("x"), line("x", level="loud")],
            "body[1].level: Invalid enum value 'loud'; it is one of debug, info, ",
        ),
        ({"level": "info", "message": "x"}, "action: is missing"),
        (line("x", action=""), "action"),
        (line("a\x00b"), "line 0: a text holds a NUL"),
        ([line("x"), line("x", context={"a": "\x00"})], "line 1: a text holds a NUL"),
        (line("x", context={"a": [1]}), "context"),
        (line("x", at="2026-01-01T00:00:00"), "at must be a time with an offset"),
        (line("x", at="2999-01-01T00:00:00Z"), "at must be"),
        (line("x", at="yesterday"), "at"),
        (line("x", junction="nowhere"), "junction=nowhere: there is none"),
        (line("x", levle=1), "levle: there is no such field; did you mean level?"),
        (line("x", context=1), "context: has to be a table, and is a whole number"),
    ],
)
def test_what_cannot_be_written_down_is_told(posting: Reader, body: Any, told: str) -> None:
    answer = posting.post(body)
    assert answer.status_code in (400, 404), answer.text
    assert told in json.dumps(answer.json()), answer.text


@pytest.mark.parametrize(
    "query",
    [
        {"context": "[1]"},
        {"context": "{"},
        {"context": '{"a": "\\u0000"}'},
        {"context": '{"a": "\\ud800"}'},
        {"cursor": "x"},
        {"cursor": "2026-01-01T00:00:00_1_1"},
        {"cursor": "2026-01-01T00:00:00Z_99999999999_1"},
        {"level": "loud"},
        {"limit": 0},
        {"limit": 1001},
        {"from": "2026-05-05T00:00:00Z", "to": "2026-05-04T00:00:00Z"},
        {"from": "yesterday"},
        {"text": "a\x00b"},
        {"junction": "a\x00b"},
        {"device": "a\x00b"},
        {"action": "a\x00b"},
    ],
)
def test_what_cannot_be_asked_is_told(posting: Reader, query: dict[str, Any]) -> None:
    answer = posting.get(**query)
    assert answer.status_code == 400, answer.text
    assert next(iter(query)) in answer.json()["detail"] + json.dumps(answer.json()), answer.text


@pytest.fixture(scope="module")
def posting(module_dsn: str) -> Iterator[Reader]:
    make_user(module_dsn, "otto", Role.OPERATOR)
    with running_collector(module_dsn, reading_open=False) as running:
        yield Reader(running, "otto")


def test_posted_lines_go_when_they_are_old_and_completeness_still_adds_up(
    dsn: str, collector: RunningCollector, pi: Pi
) -> None:
    old = now_ms() - 120 * 86_400_000
    pi.send(Log(1, old, 0, "info", "x", "told"), Log(1, now_ms(), 0, "info", "x", "told now"))
    when = datetime.fromtimestamp(old / 1000, UTC).isoformat()
    otto = Reader(collector, "otto")
    assert otto.post([line("said", at=when, junction=str(pi.junction)), line("said now")] * 2).status_code == 201
    _check_audit(dsn)
    execute(dsn, "INSERT INTO mqtt_messages VALUES (now() - interval '9 days', NULL, 't', '', 1, false, 'stored')")
    execute(dsn, "INSERT INTO mqtt_messages VALUES (now() - interval '1 days', NULL, 't', '', 1, false, 'stored')")
    asyncio.run(maintain(dsn, datetime.now(UTC), Retention()))
    with psycopg.connect(dsn) as connection:
        left = connection.execute("SELECT message FROM system_logs ORDER BY message").fetchall()
        messages = connection.execute("SELECT count(*) FROM mqtt_messages").fetchall()
    assert left == [("said now",), ("said now",), ("told now",)]
    assert messages == [(1,)]
    _check_audit(dsn)


def _check_audit(dsn: str) -> None:
    async def run() -> list[Any]:
        async with make_pool(Settings(dsn, min_size=1)) as pool:
            return [str(finding) for finding in await audit(pool)]

    assert asyncio.run(run()) == []


def test_an_api_token_posts_as_its_user(dsn: str, collector: RunningCollector) -> None:
    with httpx.Client(base_url=collector.url) as client:
        headers = bearer(client, "otto")
        for role, status in (("operator", 201), ("viewer", 403)):
            made = client.post("/api/users/me/tokens", json={"name": role, "role": role}, headers=headers)
            token = made.json()["token"]
            answer = client.post("/api/logs", json=line(role), headers={"Authorization": f"Bearer {token}"})
            assert answer.status_code == status
    assert UUID(str(Reader(collector, "otto").get().json()["logs"][0]["said_by"]["id"]))
