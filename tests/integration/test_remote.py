"""Orders on their way to a device and back, as far as the collector goes: real HTTP, real PostgreSQL."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from uuid import UUID, uuid4

import httpx
import psycopg
import pytest
from websockets.sync.client import connect

from collector.db import load_queries
from collector.remote import desk as desk_module
from collector.remote.orders import MAX_OPEN
from common.commands import Flash
from common.records import CommandResult
from common.remote import COMMANDS_PATH
from tests.integration.ingest_helpers import now_ms, rows, send
from tests.servers.collector import RunningCollector, running_collector
from tests.servers.device import FakeDevice
from tests.servers.lights import Pi
from tests.servers.ordering import Given, OrderingCollector, order
from tests.waiting import until

OVERRIDE = {"order": "manual_override", "by": "ada (collector)", "cycle_s": 70.0, "lane_green_s": {"north": 40.0}}


class RemotePi(Pi):
    """A Pi that fetches its orders."""

    def fetch(self, wait_s: float = 0.0, known: tuple[UUID, ...] = (), **headers: str) -> httpx.Response:
        sent = {"Authorization": f"Bearer {self.device.token()}"} | headers
        query: dict[str, Any] = {"wait_s": wait_s, "known": list(map(str, known))}
        url = self.collector.url + COMMANDS_PATH
        return httpx.get(url, params=query, headers=sent, timeout=wait_s + 30, verify=False)

    def fetched(self, wait_s: float = 0.0, known: tuple[UUID, ...] = ()) -> list[UUID]:
        answer = self.fetch(wait_s, known)
        assert answer.status_code == 200, answer.text
        return [UUID(one["id"]) for one in answer.json()["commands"]]

    def say(self, command: UUID | str, status: str = "applied", detail: str | None = None) -> None:
        self.send(CommandResult(1, now_ms(), 0, str(command), status, detail))


def queue(dsn: str, pi: RemotePi, valid_s: float = 60.0, order: dict[str, Any] | None = None) -> UUID:
    """As another worker would: by the same statement."""
    with psycopg.connect(dsn) as connection:
        row = connection.execute(
            load_queries("remote")["queue_command"],
            {
                "junction": pi.junction,
                "device": pi.device.id,
                "command": json.dumps(order or OVERRIDE),
                "user": None,
                "name": "ada",
                "valid_s": valid_s,
                "most": MAX_OPEN,
            },
        ).fetchone()
    assert row is not None
    found: UUID = row[0]
    return found


def state(dsn: str, command: UUID) -> tuple[str, str | None]:
    (row,) = rows(dsn, "SELECT state, detail FROM commands WHERE id = %s", command)
    return row["state"], row["detail"]


def rest() -> None:
    """Each look is a connection to the database."""
    time.sleep(0.05)


@contextmanager
def waiting(pi: RemotePi, wait_s: float = 30.0) -> Iterator[list[httpx.Response]]:
    """A request that waits; its answer is there at the end."""
    answers: list[httpx.Response] = []
    before = pi.collector.parts.desk.n_waiting
    thread = threading.Thread(target=lambda: answers.append(pi.fetch(wait_s)))
    thread.start()
    until(lambda: pi.collector.parts.desk.n_waiting > before)
    yield answers
    thread.join(60)
    assert not thread.is_alive()


@pytest.fixture(scope="module")
def collector(module_dsn: str) -> Iterator[RunningCollector]:
    with running_collector(module_dsn, kind=OrderingCollector) as collector:
        yield collector


@pytest.fixture
def pi(module_dsn: str, collector: RunningCollector) -> RemotePi:
    return RemotePi(module_dsn, collector)


def test_what_is_queued_is_given_until_its_end_is_told(module_dsn: str, pi: RemotePi) -> None:
    first = queue(module_dsn, pi)
    assert state(module_dsn, first) == ("queued", None)
    answer = pi.fetch().json()
    (command,) = answer["commands"]
    assert (UUID(command["id"]), command["order"]) == (first, OVERRIDE | {"why": "", "expires_s": 3600.0})
    assert 50.0 < command["expires_in_s"] <= 60.0
    assert abs(answer["server_time"] - time.time() * 1000) < 60_000
    assert state(module_dsn, first) == ("delivered", None)
    second = queue(module_dsn, pi)
    assert pi.fetched() == [first, second], "the answer may have been lost"
    assert pi.fetched(known=(first,)) == [second]
    assert pi.fetched(known=(first, second)) == []
    pi.say(first, "refused", "stage ns needs 7 s at least")
    assert state(module_dsn, first) == ("refused", "stage ns needs 7 s at least")
    assert pi.fetched() == [second]
    pi.say(second)
    assert state(module_dsn, second) == ("applied", None)
    assert pi.fetched() == []


def test_who_waits_hears_at_once_and_watchers_see_each_step(
    module_dsn: str, collector: RunningCollector, pi: RemotePi
) -> None:
    url = f"{collector.url.replace('http', 'ws')}/ws/live?junction={pi.junction}"
    other = RemotePi(module_dsn, collector)
    with connect(url) as watcher:
        with waiting(other, 1.0) as others, waiting(pi) as answers:
            command = queue(module_dsn, pi)
        assert [UUID(one["id"]) for one in answers[0].json()["commands"]] == [command]
        assert others[0].json()["commands"] == []
        pi.say(command, "failed", "the lights did not answer")
        told = [json.loads(watcher.recv(timeout=30)) for _ in range(2)]
    assert [one["event"] for one in told] == ["mode", "mode"]
    commands = [one["data"]["order"] for one in told]
    assert [one["state"] for one in commands] == ["delivered", "failed"]
    assert commands[1]["detail"] == "the lights did not answer"
    assert commands[0]["settings"] == {"cycle_s": 70.0, "lane_green_s": {"north": 40.0}}
    assert (commands[0]["mode"], commands[0]["by"]) == ("manual_override", "ada")


def test_the_first_word_of_the_right_device_stands(
    module_dsn: str, collector: RunningCollector, pi: RemotePi
) -> None:
    stranger = RemotePi(module_dsn, collector)
    command = queue(module_dsn, pi)
    stranger.say(command, "refused", "not mine")
    for nonsense in (uuid4(), "c-1", "x"):
        pi.say(nonsense)
    pi.say(command, "done")
    assert state(module_dsn, command) == ("queued", None)
    assert pi.fetched() == [command]
    pi.say(command, "applied")
    pi.say(command, "failed", "told twice")
    assert state(module_dsn, command) == ("applied", None)
    stored = rows(
        module_dsn,
        "SELECT status FROM command_results r JOIN ingest_streams s ON s.no = r.stream_no"
        " WHERE s.device_id = ANY (%s) ORDER BY at, seq",
        [pi.device.id, stranger.device.id],
    )
    assert len(stored) == 7, "all are kept as records"


def test_what_nobody_fetches_expires_and_is_never_given(module_dsn: str, pi: RemotePi) -> None:
    late, lasting = queue(module_dsn, pi, valid_s=0.01), queue(module_dsn, pi)
    until(lambda: state(module_dsn, late)[0] == "expired", rest)
    assert "the lights never got it" in str(state(module_dsn, late)[1])
    assert pi.fetched() == [lasting]


def test_what_a_device_does_not_tell_the_end_of_is_given_up_until_it_does(module_dsn: str, pi: RemotePi) -> None:
    command = queue(module_dsn, pi)
    assert pi.fetched() == [command]
    with psycopg.connect(module_dsn) as connection:
        connection.execute(
            "UPDATE commands SET expires_at = now() - interval '1 second' WHERE id = %s", (command,)
        )
    (again,) = pi.fetch().json()["commands"]
    assert again["expires_in_s"] == 0.0, "so that the device tells what it knows"
    assert state(module_dsn, command)[0] == "delivered"
    with psycopg.connect(module_dsn) as connection:
        late_s = desk_module.PATIENCE_S + 1
        connection.execute(
            "UPDATE commands SET expires_at = now() - make_interval(secs => %s) WHERE id = %s", (late_s, command)
        )
    until(lambda: state(module_dsn, command)[0] == "failed", rest)
    assert pi.fetched() == []
    pi.say(command)
    assert state(module_dsn, command) == ("applied", None)


@pytest.mark.parametrize("given", [False, True])
def test_an_order_does_not_follow_a_device_to_another_junction(module_dsn: str, pi: RemotePi, given: bool) -> None:
    """Neither one that waits, nor one whose answer may have been lost on the way."""
    command = queue(module_dsn, pi)
    if given:
        assert len(pi.fetched()) == 1
    other = RemotePi(module_dsn, pi.collector)
    with psycopg.connect(module_dsn) as connection:
        connection.execute(
            "UPDATE edge_devices SET junction_id = %s WHERE id = %s", (other.junction, pi.device.id)
        )
    assert pi.fetched() == []
    assert state(module_dsn, command)[0] == ("delivered" if given else "queued")


def test_an_order_is_for_who_drives_the_lights_and_holds_the_key(module_dsn: str, pi: RemotePi) -> None:
    """Also where another device began to, or its key was replaced, while it waited."""
    with waiting(pi) as answers:
        with psycopg.connect(module_dsn) as connection:
            connection.execute(
                "UPDATE edge_devices SET public_key = %s WHERE id = %s", (FakeDevice().public_key, pi.device.id)
            )
        command = queue(module_dsn, pi)
    assert answers[0].json()["code"] == "token_invalid"
    assert state(module_dsn, command)[0] == "queued"
    with psycopg.connect(module_dsn) as connection:
        connection.execute(
            "UPDATE edge_devices SET public_key = %s WHERE id = %s", (pi.device.public_key, pi.device.id)
        )
    assert pi.fetched() == [command]
    later = queue(module_dsn, pi)
    successor = RemotePi(module_dsn, pi.collector)
    with psycopg.connect(module_dsn) as connection:
        connection.execute(
            "UPDATE junctions SET lights_device_id = %s WHERE id = %s", (successor.device.id, pi.junction)
        )
    (given,) = pi.fetch().json()["commands"]
    assert (given["id"], given["expires_in_s"]) == (str(command), 0.0)
    assert state(module_dsn, later)[0] == "queued"


def test_what_a_dead_connection_got_is_given_to_the_one_that_waits(module_dsn: str, pi: RemotePi) -> None:
    """As where a Pi's network changed, and it waits at another worker by now."""
    with waiting(pi) as answers, psycopg.connect(module_dsn) as connection:
        # By then it has been looked up, in vain.
        time.sleep(1.0)
        row = connection.execute(
            "INSERT INTO commands"
            " (junction_id, device_id, command, issued_by_name, state, delivered_at, expires_at)"
            " VALUES (%s, %s, %s, 'ada', 'delivered', now() - interval '1 s', now() + interval '1 m')"
            " RETURNING id",
            (pi.junction, pi.device.id, json.dumps(OVERRIDE)),
        ).fetchone()
    assert row is not None
    assert [each["id"] for each in answers[0].json()["commands"]] == [str(row[0])]


def test_a_clock_that_is_set_back_makes_no_order_last_longer(module_dsn: str, pi: RemotePi) -> None:
    def set_back(command: UUID, by_s: float) -> None:
        with psycopg.connect(module_dsn) as connection:
            connection.execute(
                "UPDATE commands SET issued_at = issued_at + make_interval(secs => %(by)s),"
                " expires_at = expires_at + make_interval(secs => %(by)s) WHERE id = %(id)s",
                {"by": by_s, "id": command},
            )

    command = queue(module_dsn, pi)
    set_back(command, 4.0)
    (given,) = pi.fetch().json()["commands"]
    assert given["expires_in_s"] <= 60.0
    set_back(command, 3600.0)
    until(lambda: state(module_dsn, command)[0] == "failed", rest)
    (item,) = rows(module_dsn, "SELECT settled_at >= issued_at AS ok FROM commands WHERE id = %s", command)
    assert item["ok"]
    with psycopg.connect(module_dsn) as connection:
        row = connection.execute(
            "INSERT INTO commands (junction_id, device_id, command, issued_by_name, issued_at, expires_at)"
            " VALUES (%s, %s, %s, 'ada', now() + interval '1 h', now() + interval '61 m') RETURNING id",
            (pi.junction, pi.device.id, json.dumps(OVERRIDE)),
        ).fetchone()
    assert row is not None
    assert pi.fetched() == []
    until(lambda: state(module_dsn, row[0])[0] == "expired", rest)
    assert "clock was set back" in str(state(module_dsn, row[0])[1])


def test_who_may_not_is_told(module_dsn: str, collector: RunningCollector, pi: RemotePi) -> None:
    for query, status, words in (
        ("wait_s=51", 400, "wait_s"),
        ("wait_s=-1", 400, "wait_s"),
        ("wait_s=nan", 400, "wait_s"),
        ("known=x", 400, "known"),
    ):
        headers = {"Authorization": f"Bearer {pi.device.token()}"}
        answer = httpx.get(f"{collector.url}{COMMANDS_PATH}?{query}", headers=headers, timeout=30)
        assert (answer.status_code, words in answer.text) == (status, True), answer.text
    assert pi.fetch(Authorization="Bearer x").json()["code"] == "token_invalid"
    unknown = RemotePi.__new__(RemotePi)
    unknown.collector, unknown.device = collector, type(pi.device)()
    assert unknown.fetch().json()["code"] == "device_unknown"
    command = queue(module_dsn, pi)
    with psycopg.connect(module_dsn) as connection:
        connection.execute(
            "UPDATE edge_devices SET status = 'revoked', revoked_at = now() WHERE id = %s", (pi.device.id,)
        )
    answer = pi.fetch()
    assert (answer.status_code, answer.json()["code"]) == (403, "device_revoked")
    assert state(module_dsn, command)[0] == "queued"


def test_nothing_is_delivered_to_who_has_gone(module_dsn: str, pi: RemotePi) -> None:
    headers = {"Authorization": f"Bearer {pi.device.token()}"}
    asked_s = time.monotonic()
    with httpx.Client(headers=headers) as client, pytest.raises(httpx.ReadTimeout):
        client.get(pi.collector.url + COMMANDS_PATH, params={"wait_s": 50}, timeout=0.5)
    until(lambda: pi.device.id not in pi.collector.parts.desk._waiting)
    assert time.monotonic() - asked_s < 45.0, "before its wait was over"
    command = queue(module_dsn, pi)
    assert state(module_dsn, command) == ("queued", None)


def test_a_third_request_of_a_device_ends_the_first(module_dsn: str, pi: RemotePi) -> None:
    with waiting(pi) as first:
        second = threading.Thread(target=lambda: pi.fetch(30.0))
        second.start()
        until(lambda: len(pi.collector.parts.desk._waiting[pi.device.id]) == 2)
        assert first == []
        third = threading.Thread(target=lambda: pi.fetch(1.0))
        third.start()
        until(lambda: first)
    assert first[0].json()["commands"] == []
    third.join(60)
    queue(module_dsn, pi)
    second.join(60)


def test_who_gives_an_order_is_named_and_too_many_are_refused(module_dsn: str, pi: RemotePi) -> None:
    def give(why: str) -> httpx.Response:
        return order(pi.collector.url, Given(pi.junction, pi.device.id, Flash(by="forged", why=why)))

    answer = give("\x00")
    assert (answer.status_code, answer.json()["code"]) == (400, "text_not_storable")
    item = give("works").json()
    assert item | {"id": "", "issued_at": "", "expires_at": ""} == {
        "id": "", "junction": str(pi.junction), "device": str(pi.device.id), "mode": "flash", "settings": {},
        "by": "ada", "why": "works", "issued_at": "", "expires_at": "", "state": "queued", "delivered_at": None,
        "settled_at": None, "detail": None,
    }  # fmt: skip
    (command,) = pi.fetch().json()["commands"]
    assert command["order"] == {"order": "flash", "by": "ada (collector)", "why": "works"}
    with psycopg.connect(module_dsn) as connection:
        connection.execute(
            "INSERT INTO commands (junction_id, device_id, command, issued_by_name, expires_at)"
            " SELECT %s, %s, %s, 'ada', now() + interval '1 minute' FROM generate_series(2, %s)",
            (pi.junction, pi.device.id, json.dumps(OVERRIDE), MAX_OPEN),
        )
    answer = give("one more")
    assert (answer.status_code, answer.json()["code"]) == (409, "too_many_orders")


def test_two_workers_deliver_what_either_queued_and_a_stop_lets_all_go(plain_dsn: str) -> None:
    with running_collector(plain_dsn) as two, ExitStack() as stops:
        one = stops.enter_context(running_collector(plain_dsn))
        pi = RemotePi(plain_dsn, one)
        with waiting(pi) as answers:
            there = RemotePi.__new__(RemotePi)
            there.__dict__ |= pi.__dict__ | {"collector": two}
            command = queue(plain_dsn, there)
        assert [UUID(c["id"]) for c in answers[0].json()["commands"]] == [command]
        assert there.fetched(known=(command,)) == []
        send(two, pi.device, [["command_result", 1, now_ms(), 0, str(command), "applied"]])
        assert state(plain_dsn, command)[0] == "applied"
        with waiting(pi) as left:
            stops.close()
        assert left[0].json()["commands"] == []
