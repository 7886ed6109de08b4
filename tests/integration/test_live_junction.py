"""A junction's live stream in its operators' words, over real sockets, and who may hear it."""

import json
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlencode
from uuid import uuid4

import httpx
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from collector.identity.access import ACCESS_COOKIE
from collector.identity.users import Role
from collector.realtime import visitors
from collector.realtime.events import Delivery, LiveMode
from common.codes import Direction, Via
from common.records import Count, Log
from tests.integration.ingest_helpers import counts, now_ms, send
from tests.integration.test_live_counts import Listener
from tests.integration.test_users import PASSWORD, bearer, execute, make_user
from tests.junctions import crossroads
from tests.servers.collector import RunningCollector, running_collector
from tests.servers.databases import cloned_database
from tests.servers.lights import Pi, cycle
from tests.servers.postgres import PgServer
from tests.waiting import until

NORTH, GREEN, YELLOW, RED = 2, 1, 8, 10


@pytest.fixture(scope="module")
def store(plain_server: PgServer, database_names: Iterator[str]) -> Iterator[str]:
    """One for all tests here: each has junctions of its own."""
    with cloned_database(plain_server, next(database_names)) as dsn:
        make_user(dsn, "Ada", Role.ADMIN)
        for name in ("vic", "eve"):
            make_user(dsn, name, Role.VIEWER)
        yield dsn


@pytest.fixture(scope="module")
def collector(store: str) -> Iterator[RunningCollector]:
    with running_collector(store, reading_open=False) as running:
        yield running


@pytest.fixture
def pi(store: str, collector: RunningCollector) -> Pi:
    made = Pi(store, collector)
    made.describe(crossroads())
    made.tell((40_000, 173, 2), (40_000, 155, 6), (40_000, 131, 1), (34_000, GREEN, NORTH))
    return made


@pytest.fixture(scope="module")
def ada(collector: RunningCollector) -> dict[str, str]:
    with httpx.Client(base_url=collector.url) as client:
        return bearer(client)


@pytest.fixture(scope="module")
def vic(collector: RunningCollector) -> dict[str, str]:
    with httpx.Client(base_url=collector.url) as client:
        return bearer(client, "vic")


@pytest.fixture(scope="module")
def eve(collector: RunningCollector) -> dict[str, str]:
    with httpx.Client(base_url=collector.url) as client:
        return bearer(client, "eve")


def grant(dsn: str, pi: Pi, name: str = "vic") -> None:
    execute(
        dsn,
        "INSERT INTO user_junction_access (user_id, junction_id, level)"
        f" SELECT id, '{pi.junction}', 'read' FROM users WHERE name = '{name}'",
    )


@contextmanager
def watching(
    collector: RunningCollector, path: str, headers: dict[str, str], **query: str
) -> Iterator[Callable[[], Any]]:
    """Gives what waits for the next message; heartbeats are passed over."""
    told = "&".join(f"{name}={value}" for name, value in query.items())
    url = f"ws://127.0.0.1:{collector.port}{path}?{told}"
    with connect(url, additional_headers=headers, close_timeout=1) as socket:
        yield lambda: next_message(socket)


def next_message(socket: ClientConnection) -> Any:
    while True:
        message = json.loads(socket.recv(timeout=30))
        if message["event"] != "heartbeat":
            return message


def of_pi(pi: Pi) -> str:
    return f"/ws/junction/{pi.junction}"


def test_a_junction_is_told_in_its_operators_words(
    collector: RunningCollector, pi: Pi, ada: dict[str, str]
) -> None:
    with watching(collector, of_pi(pi), ada) as hear:
        snapshot = hear()
        assert snapshot["event"] == "snapshot"
        url = f"{collector.url}/api/junctions/{pi.junction}/signals"
        asked = httpx.get(url, headers=ada).json()
        assert snapshot["data"] | {"as_of": None} == asked | {"as_of": None}
        now = now_ms()
        at_line = Count(1, now - 900, 0, "cam-north", "stop", Via.CAMERA, "bus", Direction.IN)
        pi.send(at_line, Count(1, now - 800, 0, "cam-north", "elsewhere", Via.CAMERA, "car", Direction.IN))
        counted, elsewhere = hear(), hear()
        assert (counted["event"], counted["data"]["lane"], counted["data"]["detector"]) == (
            "car_count",
            "north",
            "stop_line",
        )
        assert (counted["data"]["class"], counted["data"]["direction"]) == ("bus", "in")
        assert (elsewhere["data"]["lane"], elsewhere["data"]["detector"]) == (None, None)
        pi.tell((3_000, YELLOW, NORTH), (50_000, RED, NORTH), (1_000, RED, NORTH))
        signals = [hear()["data"] for _ in range(2)]
        assert [(one["movement"], one["phase"], one["aspect"]) for one in signals] == [
            ("north", NORTH, "yellow"),
            ("north", NORTH, "red"),
        ], "what is older than the snapshot is no change"
        pi.send(cycle(now))
        cycled = hear()
        assert (cycled["event"], cycled["data"]["cycle_s"]) == ("green_time", 60.0)
        assert cycled["data"]["lanes"][0] == {
            "lane": "north",
            "vehicles": 5,
            "green_s": 20.0,
            "yellow_s": 3.0,
            "red_s": 37.0,
            "saturation": 0.5,
        }
        pi.send(
            Log(1, now, 0, "info", "sync_done", "nothing to see"),
            Log(1, now, 0, "WARNING", "camera_lost", "the picture is black"),
            Log(1, now, 0, "info", "lights_mode", "mode fixed"),
        )
        assert [hear()["data"]["action"] for _ in range(2)] == ["camera_lost", "lights_mode"]
        elsewhere = {"level": "info", "action": "a note", "message": "of no junction"}
        here = {**elsewhere, "message": "", "junction": str(pi.junction), "at": "2026-05-04T10:00:00.007Z"}
        posted = httpx.post(f"{collector.url}/api/logs", json=[elsewhere, here, here], headers=ada)
        assert posted.status_code == 201, posted.text
        told = {"at": here["at"].replace("7Z", "7000Z"), "level": "info", "action": "a note", "message": ""}
        assert [hear() | {"id": ""} for _ in range(2)] == [
            {"id": "", "event": "log", "data": told | {"device": None}}
        ] * 2


def test_who_decides_is_told_when_it_changes(collector: RunningCollector, pi: Pi, ada: dict[str, str]) -> None:
    with watching(collector, of_pi(pi), ada) as hear:
        assert hear()["data"]["mode"] == "automatic"
        order = {"id": str(uuid4()), "state": "queued"}
        ordered = LiveMode(now_ms(), 0, pi.junction, None, order)
        publish = collector.parts.publisher.publish
        collector.loop.call_soon_threadsafe(publish, Delivery(None, pi.junction, modes=[ordered]))
        told = hear()
        assert (told["event"], told["data"]["mode"], told["data"]["order"]) == ("mode", "automatic", order)
        pi.tell((2_000, 155, 6), (1_500, 155, 5))
        told = hear()["data"]
        assert (told["mode"], told["flash"], told["order"]) == ("manual_override", None, None)
        pi.tell((1_000, 173, 6))
        told, anew = hear(), hear()
        assert (told["data"]["mode"], told["data"]["flash"]) == ("flash", "monitor")
        assert {one["aspect"] for one in anew["data"]["movements"]} == {"flashing_red"}
        pi.describe(crossroads(yellow_s=4.0))
        assert hear()["data"]["action"] == "junction_described"
        assert {one["yellow_s"] for one in hear()["data"]["description"]["movements"]} == {4.0}


def test_a_listener_comes_back_and_gets_what_it_missed(
    collector: RunningCollector, pi: Pi, ada: dict[str, str]
) -> None:
    with watching(collector, of_pi(pi), ada) as hear:
        last_id = hear()["id"]
    send(collector, pi.device, counts(pi.next_seq, 2), pi.next_seq)
    for path in (of_pi(pi), f"/api/junctions/{pi.junction}/live"):
        with hearing(collector, path, ada, last_id) as hear:
            assert [hear()["event"] for _ in range(3)] == ["snapshot", "car_count", "car_count"]
        with hearing(collector, path, ada, "of-another-1") as hear:
            assert [hear()["event"] for _ in range(3)] == ["snapshot", "reset", "snapshot"]


@contextmanager
def hearing(
    collector: RunningCollector, path: str, headers: dict[str, str], last_id: str
) -> Iterator[Callable[[], Any]]:
    """A WebSocket or an event stream, which tell the same."""
    if path.startswith("/ws"):
        with watching(collector, path, headers, last_id=last_id) as hear:
            yield hear
        return
    query = {"last_id": last_id}
    with httpx.stream("GET", collector.url + path, params=query, headers=headers, timeout=30) as response:
        listener = Listener(response)
        assert "retry" in listener.block()
        yield listener.event


def closing(collector: RunningCollector, path: str, headers: dict[str, str]) -> int | None:
    """The code that a connection is closed with."""
    with connect(f"ws://127.0.0.1:{collector.port}{path}", additional_headers=headers) as socket:
        with pytest.raises(ConnectionClosed) as closed:
            deque(iter(socket.recv, None), maxlen=0)
        assert closed.value.rcvd is not None
        return closed.value.rcvd.code


def test_a_connection_that_is_refused_says_why(
    collector: RunningCollector, pi: Pi, store: str, ada: dict[str, str], vic: dict[str, str]
) -> None:
    nowhere = f"/ws/junction/{uuid4()}"
    for headers in ({}, {"Authorization": "Bearer stl_nonsense"}, {"Cookie": f"{ACCESS_COOKIE}=x"}):
        for path in (of_pi(pi), "/ws/live", "/ws/live/counts"):
            assert closing(collector, path, headers) == 4401
    assert [closing(collector, path, vic) for path in (of_pi(pi), nowhere)] == [4404, 4404]
    assert closing(collector, nowhere, ada) == 4404
    sse = f"{collector.url}/api/junctions/{pi.junction}/live"
    assert httpx.get(sse).status_code == 401
    refused = [httpx.get(url, headers=vic) for url in (sse, f"{collector.url}/api/junctions/{uuid4()}/live")]
    assert [(one.status_code, one.json()["code"]) for one in refused] == [(404, "junction_unknown")] * 2
    grant(store, pi)
    with watching(collector, of_pi(pi), vic) as hear:
        assert hear()["event"] == "snapshot"


def test_a_page_of_another_site_hears_nothing(
    collector: RunningCollector, pi: Pi, store: str, ada: dict[str, str]
) -> None:
    with httpx.Client(base_url=collector.url) as browser:
        form = {"name": "Ada", "password": PASSWORD}
        assert browser.post("/api/users/login", json=form).status_code == 200
        cookie = {"Cookie": f"{ACCESS_COOKIE}={browser.cookies[ACCESS_COOKIE]}"}
    with watching(collector, of_pi(pi), cookie | {"Origin": collector.url}) as hear:
        assert hear()["event"] == "snapshot"
    token = httpx.post(f"{collector.url}/api/users/me/tokens", json={"name": "x"}, headers=ada).json()["token"]
    with watching(collector, of_pi(pi), {"Authorization": f"Bearer {token}"}) as hear:
        assert hear()["event"] == "snapshot"
    evil = {"Origin": "https://elsewhere.example"}
    with running_collector(store) as open_to_all:
        for where, headers in ((collector, cookie), (collector, {}), (open_to_all, {})):
            for path in (of_pi(pi), "/ws/live", "/ws/live/counts"):
                with pytest.raises(InvalidStatus):
                    connect(f"ws://127.0.0.1:{where.port}{path}", additional_headers=headers | evil)


def test_a_viewer_hears_only_of_junctions_they_see(
    collector: RunningCollector, pi: Pi, store: str, vic: dict[str, str], ada: dict[str, str]
) -> None:
    foreign, nowhere = Pi(store, collector), Pi(store, collector, has_junction=False)
    grant(store, pi)
    paths = ("/ws/live", "/ws/live/counts", "/api/live", "/api/live/counts")
    for path in paths:
        with hearing(collector, path, vic, "") as hear, hearing(collector, path, ada, "") as all_of_it:
            for one in (foreign, nowhere, pi):
                send(collector, one.device, counts(one.next_seq, 1), one.next_seq)
                one.next_seq += 1
            heard = [hear(), hear()]
            assert [one["event"] for one in heard] == ["reset", "count"]
            assert heard[1]["data"]["junction"] == str(pi.junction)
            junctions = [all_of_it()["data"].get("junction") for _ in range(4)][1:]
            assert junctions == [str(foreign.junction), None, str(pi.junction)]
        # Nor what was told before they came back.
        with hearing(collector, path, vic, heard[0]["id"]) as hear:
            assert hear()["id"] == heard[1]["id"]


def test_rights_that_are_withdrawn_end_what_they_were_for(
    collector: RunningCollector,
    pi: Pi,
    store: str,
    eve: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(visitors, "RECHECK_S", 0.0)
    other = Pi(store, collector)
    for one in (pi, other):
        grant(store, one, "eve")

    def tell(one: Pi) -> None:
        send(collector, one.device, counts(one.next_seq, 1), one.next_seq)
        one.next_seq += 1

    url = f"ws://127.0.0.1:{collector.port}"
    with (
        connect(url + of_pi(pi), additional_headers=eve) as of_one,
        connect(url + "/ws/live", additional_headers=eve) as of_all,
    ):
        assert next_message(of_one)["event"] == "snapshot"
        tell(pi)
        assert next_message(of_one)["event"] == "car_count"
        assert next_message(of_all)["data"]["junction"] == str(pi.junction)
        execute(store, f"DELETE FROM user_junction_access WHERE junction_id = '{pi.junction}'")
        tell(pi)
        tell(other)
        assert next_message(of_all)["data"]["junction"] == str(other.junction)
        with pytest.raises(ConnectionClosed) as gone:
            next_message(of_one)
        execute(store, "UPDATE users SET status = 'disabled' WHERE name = 'eve'")
        tell(other)
        with pytest.raises(ConnectionClosed) as ended:
            next_message(of_all)
    codes = [one.value.rcvd.code for one in (gone, ended) if one.value.rcvd]
    assert codes == [4404, 4401]
    until(lambda: collector.parts.hub.n_subscribers == 0)


def test_an_id_that_is_none_is_refused(collector: RunningCollector, ada: dict[str, str]) -> None:
    assert httpx.get(f"{collector.url}/api/junctions/north/live", headers=ada).status_code in (400, 404)
    with pytest.raises((InvalidStatus, ConnectionClosed)):
        closing(collector, "/ws/junction/north", ada)
    for last_id in ("a\n\nevent: log\ndata: {}", "a\n", 'a","event":"log'):
        query = {"last_id": last_id}
        with httpx.stream("GET", f"{collector.url}/api/live", params=query, headers=ada) as answer:
            assert answer.status_code == 400, "it would be told as events"
        with pytest.raises((InvalidStatus, ConnectionClosed)):
            closing(collector, f"/ws/live?{urlencode(query)}", ada)
