"""The whole way of an order: a collector, an agent and the lights' daemon, each as it runs in the street."""

import contextlib
import json
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from websockets.sync.client import connect

from common.commands import Flash, ManualOverride, Order
from edge_agent.enrol import load_or_create
from tests.integration.agent_helpers import RunningAgent, write_config
from tests.integration.ingest_helpers import rows
from tests.integration.signals_helpers import RunningLights, write_signals_config
from tests.servers.collector import RunningCollector, running_collector
from tests.servers.ordering import Given, OrderingCollector, order
from tests.servers.proxy import LossyProxy
from tests.waiting import until

GOOD = {"north": 6.0, "east": 6.0}


class Street:
    """A junction's Pi, and the collector that it is connected to by a line that breaks on command."""

    def __init__(self, dsn: str, folder: Path, ends: ExitStack) -> None:
        self.dsn, self.folder, self.ends = dsn, folder, ends
        self.collector_ends = ExitStack()
        ends.callback(self.stop_collector)
        self.collector = self.collector_ends.enter_context(running_collector(dsn, kind=OrderingCollector))
        self.proxy = LossyProxy(self.collector.port)
        ends.callback(self.proxy.close)
        lights = write_signals_config(folder, state_dir=str(folder / "lights-state"))
        self.lights = ends.enter_context(RunningLights(lights))
        identity = load_or_create(folder / "state", "pi", None)
        self.device, self.junction = identity.device, uuid4()
        with psycopg.connect(dsn) as connection:
            key = identity.key.public_key().public_bytes_raw()
            connection.execute("INSERT INTO junctions (id, name) VALUES (%s, 'main')", (self.junction,))
            connection.execute(
                "INSERT INTO edge_devices (id, name, public_key, junction_id) VALUES (%s, 'pi', %s, %s)",
                (self.device, key, self.junction),
            )
        url = f"http://127.0.0.1:{self.proxy.port}"
        self.config = write_config(folder, signals={"socket": str(folder / "link")}, collector={"url": url})
        self.start_agent()

    def start_agent(self) -> None:
        self.agent = self.ends.enter_context(RunningAgent(self.config))
        self.agent.until(lambda: self.collector.parts.desk.n_waiting)

    def stop_collector(self) -> None:
        self.collector_ends.close()

    def restart_collector(self) -> None:
        port = self.collector.port
        self.stop_collector()
        self.collector = self.collector_ends.enter_context(
            running_collector(self.dsn, kind=OrderingCollector, port=port)
        )

    def give(self, what: Order, valid_s: float = 60.0, at: RunningCollector | None = None) -> UUID:
        answer = order((at or self.collector).url, Given(self.junction, self.device, what, valid_s))
        assert answer.status_code == 201, answer.text
        return UUID(answer.json()["id"])

    def until_settled(self, command: UUID) -> tuple[str, str]:
        def look() -> list[dict[str, Any]]:
            assert self.agent.process.poll() is None, self.agent.log[-1]
            query = "SELECT state, detail FROM commands WHERE id = %s AND settled_at IS NOT NULL"
            return rows(self.dsn, query, command)

        (row,) = until(look, _rest)
        return row["state"], row["detail"] or ""

    def orders_heard(self, word: str = "") -> list[str]:
        """What the lights' own log says of orders."""
        said = [line["message"] for line in self.lights.log if line.get("action") == "order"]
        return [text for text in said if word in text]

    def is_in_mode(self, mode: str) -> bool:
        return bool((self.agent.status()["lights"] or {}).get("mode") == mode)


def _rest() -> None:
    """Each look is a connection to the database."""
    time.sleep(0.05)


def override(cycle_s: float, **greens_s: float) -> ManualOverride:
    return ManualOverride(by="x", cycle_s=cycle_s, lane_green_s=greens_s, expires_s=600.0, why="the fair")


@pytest.mark.long
def test_orders_reach_the_lights_once_whatever_breaks(plain_dsn: str, tmp_path: Path) -> None:
    with ExitStack() as ends:
        street = Street(plain_dsn, tmp_path, ends)
        for step in (
            an_override_is_applied_and_watched,
            what_the_lights_refuse_is_told_in_their_words,
            what_comes_too_late_never_gets_there,
            an_answer_that_is_lost_comes_again,
            one_whose_answer_was_lost_is_not_given_after_a_later_one,
            another_worker_may_give_it,
            the_collector_may_be_started_anew,
            lights_that_are_away_refuse,
            a_kill_between_giving_and_telling_is_told,
        ):
            step(street)
        assert street.agent.stop() == 0


def an_override_is_applied_and_watched(street: Street) -> None:
    with connect(f"{street.collector.url.replace('http', 'ws')}/ws/live?junction={street.junction}") as watcher:
        command = street.give(override(20.0, north=6.0))
        states = list(_states(watcher, 3))
    assert states == ["queued", "delivered", "applied"]
    assert street.until_settled(command) == ("applied", "")
    street.agent.until(lambda: street.is_in_mode("manual_override"))
    (heard,) = street.orders_heard("ManualOverride")
    assert "by ada (collector) (uid " in heard
    assert street.agent.status()["orders"] | {"phase": ""} == {
        "taken": True, "phase": "", "trouble": None, "mend": None, "last": "applied",
    }  # fmt: skip


def _states(watcher: Any, n: int) -> Iterator[str]:
    while n:
        event = json.loads(watcher.recv(timeout=60))
        if event["event"] == "mode":
            n -= 1
            yield event["data"]["order"]["state"]


def what_the_lights_refuse_is_told_in_their_words(street: Street) -> None:
    state, detail = street.until_settled(street.give(override(20.0, nroth=6.0)))
    assert (state, "there is no lane 'nroth'; did you mean north?" in detail) == ("refused", True)
    assert street.is_in_mode("manual_override"), "a refused order changes nothing"


def what_comes_too_late_never_gets_there(street: Street) -> None:
    n_before = len(street.orders_heard())
    street.proxy.cut()
    command = street.give(Flash(by="x"), valid_s=1.0)
    over = "SELECT FROM commands WHERE id = %s AND expires_at < now()"
    until(lambda: rows(street.dsn, over, command), _rest)
    street.proxy.restore()
    # By the collector, or by the agent, if the collector took a broken line for one that lives.
    state, detail = street.until_settled(command)
    assert (state, "lights" in detail) == ("expired", True)
    street.agent.until(lambda: street.agent.status()["orders"]["phase"] == "connected")
    # Nor does one whose answer lay on its way for so long.
    street.agent.process.send_signal(signal.SIGSTOP)
    try:
        late = street.give(Flash(by="x"), valid_s=1.0)
        until(lambda: rows(street.dsn, over, late), _rest)
    finally:
        street.agent.process.send_signal(signal.SIGCONT)
    assert street.until_settled(late)[0] == "expired"
    assert len(street.orders_heard()) == n_before


def an_answer_that_is_lost_comes_again(street: Street) -> None:
    n_before, n_lost = len(street.orders_heard()), street.proxy.n_lost
    street.proxy.lose_answers(1)
    command = street.give(override(22.0, north=7.0))
    street.proxy.wait_until_lost(n_lost + 1)
    assert street.until_settled(command)[0] == "applied"
    assert len(street.orders_heard()) == n_before + 1


def one_whose_answer_was_lost_is_not_given_after_a_later_one(street: Street) -> None:
    n_before, n_lost = len(street.orders_heard()), street.proxy.n_lost
    street.agent.process.send_signal(signal.SIGSTOP)
    try:
        street.proxy.lose_answers(1)
        first = street.give(Flash(by="x", why="lost"))
        street.proxy.wait_until_lost(n_lost + 1)
        second = street.give(override(20.0, north=6.0))
    finally:
        street.agent.process.send_signal(signal.SIGCONT)
    took_its_place = "a later order, by ada, took its place before the lights got it"
    assert street.until_settled(first) == ("expired", took_its_place)
    assert street.until_settled(second)[0] == "applied"
    assert [text for text in street.orders_heard()[n_before:] if "Flash" in text] == []


def another_worker_may_give_it(street: Street) -> None:
    with running_collector(street.dsn, kind=OrderingCollector) as other:
        command = street.give(override(24.0, north=8.0), at=other)
        assert street.until_settled(command)[0] == "applied"


def the_collector_may_be_started_anew(street: Street) -> None:
    street.restart_collector()
    assert street.until_settled(street.give(override(20.0, north=6.0)))[0] == "applied"


def lights_that_are_away_refuse(street: Street) -> None:
    assert street.lights.stop() == 0
    state, detail = street.until_settled(street.give(Flash(by="x")))
    assert (state, "daemon is not there" in detail) == ("refused", True)
    street.lights = street.ends.enter_context(RunningLights(street.lights.config))
    street.agent.until(lambda: street.agent.status()["lights"]["connected"])


def a_kill_between_giving_and_telling_is_told(street: Street) -> None:
    journal = street.folder / "state" / "orders.json"
    street.lights.process.send_signal(signal.SIGSTOP)
    try:
        command = street.give(Flash(by="x", why="killed"))
        street.agent.until(lambda: _begun(journal) == str(command))
        street.agent.kill()
    finally:
        street.lights.process.send_signal(signal.SIGCONT)
    street.start_agent()
    heard = street.orders_heard("Flash")
    assert len(heard) <= 1
    # It is not known, unless the lights' own log says that they took it.
    expected = "applied" if any("accepted" in text for text in heard) else "failed"
    assert until(lambda: street.until_settled(command)[0] == expected, _rest)


def _begun(journal: Path) -> str | None:
    with contextlib.suppress(ValueError, FileNotFoundError):
        return next((one["id"] for one in json.loads(journal.read_text()) if not one["status"]), None)
    return None
