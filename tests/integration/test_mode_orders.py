"""Orders to a junction's lights as operators give them, and the history of who took them out of automatic."""

import csv
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any
from uuid import UUID, uuid4

import httpx
import msgspec
import psycopg
import pytest

from collector.identity.users import Role
from common.codes import Direction, Via
from common.commands import Automatic, FixedPlan, Flash, ManualOverride, Order
from common.hires import Code, UnitFlash
from common.junction import Preemption, Stage
from common.records import Count, Log, SignalEvent
from tests.integration.ingest_helpers import now_ms, rows
from tests.integration.test_remote import RemotePi
from tests.integration.test_users import bearer, execute, make_user
from tests.junctions import crossroads, four_stages
from tests.servers.collector import RunningCollector, running_collector
from tests.servers.databases import cloned_database
from tests.servers.lights import cycle

OVERRIDE: dict[str, Any] = {
    "mode": "manual_override",
    "cycle_s": 70.0,
    "lane_green_s": {"north": 40.0},
    "why": "the fair",
}


@dataclass
class Control:
    """A collector and its users: ada is admin, otto an operator, vic a viewer."""

    dsn: str
    collector: RunningCollector
    users: dict[str, str]
    headers: dict[str, dict[str, str]]

    def lights(self, name: str = "crossroads") -> "Lights":
        pi = Lights(self.dsn, self.collector)
        pi.control = self
        pi.describe(msgspec.structs.replace(crossroads(), name=name))
        for user, level in (("otto", "operate"), ("vic", "read")):
            grant = "INSERT INTO user_junction_access VALUES (%s, %s, %s)"
            execute(self.dsn, grant, self.users[user], pi.junction, level)
        return pi

    def ask(self, method: str, path: str, by: str = "otto", **more: Any) -> httpx.Response:
        url = f"{self.collector.url}/api/junctions/{path}"
        return httpx.request(method, url, headers=self.headers[by], timeout=30, **more)

    def poll(self, known: dict[str, str]) -> list[int]:
        """What is answered to who has these already: paths, and their tags."""
        url = f"{self.collector.url}/api/junctions"
        return [
            httpx.get(f"{url}/{path}", headers=self.headers["otto"] | {"If-None-Match": tag}).status_code
            for path, tag in known.items()
        ]


@dataclass
class Lights(RemotePi):
    """A Pi that drives lights, and operators who order it about."""

    control: Control = field(init=False)

    def __init__(self, dsn: str, collector: RunningCollector) -> None:
        super().__init__(dsn, collector)

    def order(self, by: str = "otto", **body: Any) -> httpx.Response:
        return self.control.ask("PUT", f"{self.junction}/mode", by, json={"why": "because", **body})

    def ordered(self, by: str = "otto", **body: Any) -> UUID:
        answer = self.order(by, **body)
        assert answer.status_code == 202, answer.text
        assert answer.json()["state"] == "queued"
        return UUID(answer.json()["id"])

    def preview(self, by: str = "vic", **body: Any) -> Any:
        answer = self.control.ask("POST", f"{self.junction}/mode/preview", by, json={"why": "?", **body})
        assert answer.status_code == 200, answer.text
        return answer.json()

    def look(self, what: str, **query: Any) -> Any:
        answer = self.control.ask("GET", f"{self.junction}/{what}", "vic", params=query)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def state(self, command: UUID) -> tuple[str, str | None]:
        told = self.look(f"commands/{command}")
        return told["state"], told["detail"]

    def history(self) -> list[tuple[str, str, bool, str | None]]:
        """Who, mode, whether it began, what ended it; newest first."""
        found = self.look("overrides")["overrides"]
        return [(one["by"], one["mode"], one["began_at"] is not None, one["ended_by"]) for one in found]

    def log(self, action: str, at_ms: int, **context: Any) -> Log:
        return Log(1, at_ms, 0, "info", action, action, context)

    def event(self, at_ms: int, after_s: float, code: Code, parameter: int) -> SignalEvent:
        return SignalEvent(1, at_ms + round(after_s * 1000), 0, "crossroads", code, parameter)

    def took(self, order: Order, at_ms: int, *, uid: int = 1000) -> Log:
        """As the lights log an order that they took."""
        heard = msgspec.structs.replace(order, by=f"{order.by} (uid {uid})")
        given = msgspec.json.encode(heard).decode()
        context = {
            "order": type(order).__name__,
            "by": heard.by,
            "why": order.why,
            "accepted": True,
            "given": given,
        }
        return self.log("lights_order", at_ms, **context)


@pytest.fixture(scope="module")
def control(plain_server: Any) -> Iterator[Control]:
    with cloned_database(plain_server, "test_control") as dsn:
        roles = {"ada": Role.ADMIN, "otto": Role.OPERATOR, "vic": Role.VIEWER}
        users = {name: make_user(dsn, name, role) for name, role in roles.items()}
        with running_collector(dsn, reading_open=False) as running, httpx.Client(base_url=running.url) as client:
            yield Control(dsn, running, users, {name: bearer(client, name) for name in roles})


@pytest.fixture
def lights(control: Control) -> Lights:
    return control.lights()


def test_an_override_from_order_to_end(lights: Lights) -> None:
    command = lights.ordered(**OVERRIDE)
    assert lights.history() == [("otto", "manual_override", False, None)]
    assert lights.fetched() == [command]
    assert lights.state(command) == ("delivered", None)
    lights.say(command)
    assert lights.state(command) == ("applied", None)
    [running] = lights.look("overrides")["overrides"]
    assert (running["by"], running["why"], running["command"]) == ("otto", "the fair", str(command))
    assert running["settings"] == {"cycle_s": 70.0, "lane_green_s": {"north": 40.0}, "expires_s": 3600.0}
    began, expires = (datetime.fromisoformat(running[name]) for name in ("began_at", "expires_at"))
    assert (expires - began).total_seconds() == 3600.0
    assert (running["ended_at"], running["duration_s"] >= 0) == (None, True)

    flash = lights.ordered("ada", mode="flash")
    back = lights.ordered(mode="automatic")
    assert lights.state(flash) == ("expired", "a later order, by otto, took its place before it was delivered")
    lights.fetched()
    lights.say(back)
    assert lights.history() == [
        ("ada", "flash", False, "order"),
        ("otto", "manual_override", True, "order"),
    ]
    page = lights.look("commands", limit=2)
    assert [one["mode"] for one in page["commands"]] == ["automatic", "flash"]
    rest = lights.look("commands", limit=2, offset=page["next_offset"])
    assert ([one["mode"] for one in rest["commands"]], rest["next_offset"]) == (["manual_override"], None)
    audited = rows(
        lights.control.dsn,
        "SELECT user_name, after ->> 'mode' AS mode FROM audit_log WHERE action = 'mode_ordered'"
        " AND junction_id = %s ORDER BY at",
        lights.junction,
    )
    assert [tuple(one.values()) for one in audited] == [
        ("otto", "manual_override"),
        ("ada", "flash"),
        ("otto", "automatic"),
    ]


@pytest.mark.parametrize("is_begun", [False, True])
def test_an_order_whose_answer_was_lost_is_not_begun_after_a_later_one(lights: Lights, is_begun: bool) -> None:
    """Its device tells what became of it: whether it had it before is not known here."""
    flash = lights.ordered("ada", mode="flash")
    assert lights.fetched() == [flash]
    back = lights.ordered(**OVERRIDE)
    given = lights.fetch().json()["commands"]
    assert [(one["id"], one["expires_in_s"] > 0.0) for one in given] == [(str(flash), False), (str(back), True)]
    lights.say(flash, *(["applied"] if is_begun else ["expired", "it came too late"]))
    assert lights.state(flash) == (
        ("applied", None)
        if is_begun
        else ("expired", "a later order, by otto, took its place before the lights got it")
    )
    lights.say(back)
    assert lights.history() == [("otto", "manual_override", True, None), ("ada", "flash", is_begun, "order")]
    # One that came too late before there was a later one came too late.
    late = lights.ordered(mode="flash")
    lights.fetched()
    gone = "UPDATE commands SET expires_at = issued_at WHERE id = %s"
    execute(lights.control.dsn, gone, late)
    lights.ordered(**OVERRIDE)
    lights.say(late, "expired", "it came too late")
    assert lights.state(late) == ("expired", "it came too late")
    assert lights.history()[1] == ("otto", "flash", False, "expiry")


def test_what_the_lights_refuse_never_began(lights: Lights) -> None:
    command = lights.ordered(mode="fixed", plan="day")
    polled = [f"{lights.junction}/{what}" for what in ("commands", f"commands/{command}", "overrides")]
    known = {path: lights.control.ask("GET", path).headers["etag"] for path in polled}
    assert lights.control.poll(known) == [304] * 3
    lights.fetched()
    lights.say(command, "failed", "the lights did not answer")
    assert lights.control.poll(known) == [200] * 3
    assert lights.history() == [("otto", "fixed", False, "restart")]
    other = lights.ordered(mode="off")
    lights.fetched()
    lights.say(other, "refused", "the lights flash for a fault")
    assert lights.state(other) == ("refused", "the lights flash for a fault")
    assert lights.history()[0] == ("otto", "off", False, "refusal")


def test_the_preview_is_what_the_lights_will_do(lights: Lights) -> None:
    told = lights.preview(**OVERRIDE)
    assert (told["accepted"], told["cycle_s"]) == (True, 70.0)
    assert told["lane_green_s"] == {"north": 40.0, "south": 40.0, "east": 20.0, "west": 20.0}
    assert told["computed_lanes"] == ["east", "west"]
    assert told["stages"][0] == {
        "stage": "ns",
        "lanes": ["north", "south"],
        "green_s": 40.0,
        "yellow_s": 3.0,
        "red_clearance_s": 2.0,
    }
    assert lights.preview(mode="fixed", plan="day", expires_s=604_800)["cycle_s"] == 55.0, "a week is allowed"
    flash = lights.preview(mode="flash")
    assert (flash["accepted"], flash["stages"], flash["cycle_s"]) == (True, [], None)
    refused = lights.preview(**OVERRIDE | {"cycle_s": 20.0})
    assert refused["accepted"] is False
    assert "lengthen cycle_s" in refused["reason"]


def test_bad_settings_are_told_with_what_would_do(lights: Lights) -> None:
    cases: list[tuple[dict[str, Any], str, str]] = [
        ({"mode": "manual_override"}, "cycle_s", "is missing"),
        ({"mode": "fixed"}, "plan", "is missing"),
        ({"mode": "fixed", "plan": "dya"}, "plan", "did you mean day?"),
        ({"mode": "fixed", "plan": "day", "expires_s": 5}, "expires_s", "from 10 to 604800 s"),
        (OVERRIDE | {"expires_s": 86_401}, "expires_s", "from 10 to 86400 s"),
        ({"mode": "flash", "expires_s": 60}, "expires_s", "leave it out"),
        (OVERRIDE | {"plan": "day"}, "plan", "leave it out"),
        (OVERRIDE | {"lane_green_s": {"nort": 40.0}}, "lane_green_s", "did you mean north?"),
        (OVERRIDE | {"lane_green_s": {"north": 40.0, "east": 25.0}}, "cycle_s", "make it 75 s"),
        (OVERRIDE | {"cycle_s": 55.0}, "lane_green_s", "needs 7 s at least"),
        ({"mode": "flash", "why": "\x00"}, "why", "NUL"),
        ({"mode": "flash", "why": " \n"}, "why", "is missing"),
    ]
    for body, key, told in cases:
        answer = lights.order(**body)
        assert answer.status_code == 422
        [error] = answer.json()["errors"]
        assert error["key"] == key
        assert told in error["message"]
    assert lights.look("commands")["commands"] == []


def test_only_operators_of_the_junction_may_order(control: Control, lights: Lights) -> None:
    assert lights.order("vic", mode="flash").json()["code"] == "role_too_low"
    execute(control.dsn, "UPDATE user_junction_access SET level = 'read' WHERE junction_id = %s", lights.junction)
    assert lights.order(mode="flash").json()["code"] == "junction_read_only"
    execute(control.dsn, "DELETE FROM user_junction_access WHERE junction_id = %s", lights.junction)
    for path in ("mode/preview", "commands", "overrides", f"commands/{uuid4()}", "mode"):
        method = {"mode/preview": "POST", "mode": "PUT"}.get(path, "GET")
        body: dict[str, Any] = {"json": OVERRIDE} if method != "GET" else {}
        for junction in (lights.junction, uuid4()):
            answer = control.ask(method, f"{junction}/{path}", **body)
            assert (answer.status_code, answer.json()["code"]) == (404, "junction_unknown"), path
    assert lights.order("ada", mode="flash").status_code == 202
    assert lights.order("ada", mode="sleep").status_code == 400
    assert lights.order("ada", mode="flash", valid_s=5).status_code == 400
    assert lights.order("ada", mode="flash", why="").status_code == 400


def test_lights_that_cannot_be_told(control: Control, lights: Lights) -> None:
    silent = RemotePi(control.dsn, control.collector)
    answer = control.ask("PUT", f"{silent.junction}/mode", "ada", json=OVERRIDE)
    assert (answer.status_code, answer.json()["code"]) == (409, "no_lights")
    assert control.ask("POST", f"{silent.junction}/mode/preview", "ada", json=OVERRIDE).status_code == 409
    lights.describe(msgspec.structs.replace(four_stages(), stages=(Stage(name="x", movements=("y",)),)))
    assert lights.order(**OVERRIDE).json()["code"] == "lights_unknown", (
        "what they say of themselves makes no sense"
    )
    lights.describe(crossroads())
    revoke = "UPDATE edge_devices SET status = 'revoked', revoked_at = now() WHERE id = %s"
    execute(control.dsn, revoke, lights.device.id)
    assert lights.order(**OVERRIDE).json()["code"] == "lights_revoked"


def test_orders_given_beside_the_junction_are_history_too(control: Control, lights: Lights) -> None:
    now = now_ms()
    override = ManualOverride(by="tess", why="works", cycle_s=70.0, lane_green_s={"north": 40.0}, expires_s=600.0)
    lights.send(
        lights.took(override, now - 50_000), lights.log("lights_mode", now - 49_000, mode="manual_override")
    )
    assert control.ask("GET", str(lights.junction)).json()["mode"] == "manual_override"
    [one] = lights.look("overrides")["overrides"]
    assert (one["by"], one["user"], one["command"], one["why"]) == ("tess (uid 1000)", None, None, "works")
    assert one["settings"]["expires_s"] == 600.0
    assert 40.0 <= one["duration_s"] <= 600.0

    lights.send(lights.log("lights_fault", now - 40_000))
    fault = ("the lights themselves", "flash", True)
    assert lights.history() == [(*fault, None), ("tess (uid 1000)", "manual_override", True, "fault")]
    assert control.ask("GET", str(lights.junction)).json()["mode"] == "flash"
    lights.send(lights.log("lights_fault_cleared", now - 30_000, mode="manual_override"))
    assert lights.history() == [(*fault, "cleared"), ("tess (uid 1000)", "manual_override", True, None)]

    lights.send(lights.took(FixedPlan(by="tess", plan="day"), now - 20_000))
    lights.send(lights.log("junction_described", now - 15_000, description="{}", keeps='{"order": "fixed"}'))
    assert lights.history()[0] == ("tess (uid 1000)", "fixed", True, None)
    lights.describe(crossroads(min_green_s=8.0), now - 10_000)
    lights.send(lights.took(Flash(by="tess"), now - 9_000), lights.took(Automatic(by="tess"), now - 8_000))
    assert [(mode, ended_by) for _, mode, _, ended_by in lights.history()] == [
        ("flash", "order"),
        ("fixed", "restart"),
        ("flash", "cleared"),
        ("manual_override", "order"),
    ]


def test_flash_by_a_fault_is_history_whatever_tells_of_it(lights: Lights) -> None:
    at = now_ms() - 300_000

    def flash(after_s: float, why: UnitFlash) -> SignalEvent:
        return lights.event(at, after_s, Code.UNIT_FLASH, why)

    def log(after_s: float, action: str, message: str = "", **context: Any) -> Log:
        return Log(1, at + round(after_s * 1000), 0, "critical", action, message, context)

    def told() -> list[tuple[str, float, float | None, str | None]]:
        found = [one for one in lights.look("overrides")["overrides"] if one["origin"] == "fault"]
        began = [datetime.fromisoformat(one["began_at"]).timestamp() - at / 1000 for one in found]
        return [
            (one["why"], round(after_s, 2), one["ended_at"] and round(one["duration_s"], 2), one["ended_by"])
            for one, after_s in zip(found, began, strict=True)
        ][::-1]

    # Both tell of the first; the log was lost of the second, and the event log of the third.
    lights.send(
        flash(0, UnitFlash.NONE), flash(1, UnitFlash.MONITOR), log(1.02, "lights_fault", "conflict: a and b")
    )
    assert told() == [("conflict: a and b", 1.0, None, None)]
    lights.send(log(3.98, "lights_fault_cleared", mode="automatic"), flash(4, UnitFlash.NONE))
    lights.send(flash(10, UnitFlash.FAULT), flash(12, UnitFlash.ORDER))
    lights.send(log(20, "lights_fault", "lamp: east"), log(25, "lights_fault", "exception: x"))
    lights.send(flash(40, UnitFlash.START_UP), log(40.5, "junction_described", description="{}"))
    expected: list[Any] = [
        ("conflict: a and b", 1.0, 2.98, "cleared"),
        ("", 10.0, 2.0, "cleared"),
        ("lamp: east", 20.0, 5.0, "another"),
        ("exception: x", 25.0, 15.0, "restart"),
    ]
    assert told() == expected
    # What comes late is as if it had come in time, what comes again changes nothing.
    lights.send(
        log(22, "lights_fault_cleared"),
        log(10.3, "lights_fault", "late: y"),
        log(1.02, "lights_fault", "conflict: a and b"),
    )
    lights.send(flash(50, UnitFlash.MONITOR), log(50, "lights_fault", "feedback: z"))
    expected[1:3] = [("late: y", 10.0, 2.0, "cleared"), ("lamp: east", 20.0, 2.0, "cleared")]
    assert told() == [*expected, ("feedback: z", 50.0, None, None)]
    # An end may be told before its beginning.
    lights.send(flash(60, UnitFlash.NONE), flash(80, UnitFlash.START_UP), log(81, "lights_fault_cleared"))
    lights.send(log(70, "lights_fault", "told late: q"))
    lights.send(log(90, "lights_fault_cleared"))
    lights.send(flash(85, UnitFlash.FAULT))
    assert told() == [
        *expected,
        ("feedback: z", 50.0, 10.0, "cleared"),
        ("told late: q", 70.0, 10.0, "restart"),
        ("", 85.0, 5.0, "cleared"),
    ]
    # A clock that was set back tells of two that begin at one moment. That holds up nothing.
    lights.send(log(100, "lights_fault", "boo"), log(100.2, "lights_fault_cleared"), flash(100.5, UnitFlash.FAULT))
    lights.send(log(100, "lights_fault", "bah"))
    assert told()[-2:] == [("boo", 100.0, 0.2, "cleared"), ("bah", 100.5, None, None)]


def test_who_edits_a_junction_and_who_stores_of_it_lock_in_one_order(control: Control, lights: Lights) -> None:
    """First the junction, and then its devices."""
    now = now_ms()
    told = lights.log("lights_mode", now, mode="flash")
    counted = Count(1, now, 0, "north", "line", Via.CAMERA, "car", Direction.IN)
    with psycopg.connect(control.dsn) as editing, psycopg.connect(control.dsn, autocommit=True) as watching:
        editing.execute("SELECT FROM junctions WHERE id = %s FOR NO KEY UPDATE", (lights.junction,))
        storing = threading.Thread(target=lights.send, args=(counted, told))
        storing.start()
        waiting = "SELECT count(*) FROM pg_stat_activity WHERE %s = ANY (pg_blocking_pids(pid))"
        while watching.execute(waiting, (editing.info.backend_pid,)).fetchone() == (0,):
            assert storing.is_alive()
        editing.execute("SELECT FROM edge_devices WHERE id = %s FOR NO KEY UPDATE NOWAIT", (lights.device.id,))
        editing.commit()
        storing.join()
    assert rows(control.dsn, "SELECT lights_mode FROM junctions WHERE id = %s", lights.junction) == [
        {"lights_mode": "flash"}
    ]


def test_emergency_vehicles_are_history_and_nobodys_override(control: Control, lights: Lights) -> None:
    blue = Preemption(name="fire station", stage="east-west", number=3, max_presence_s=60.0)
    at = now_ms() - 300_000
    lights.describe(msgspec.structs.replace(crossroads(), name="crossroads", preemptions=(blue,)))
    lights.send(lights.took(Flash(by="tess"), at))
    event = partial(lights.event, at)
    entry, too_long, leaves = Code.PREEMPT_ENTRY, Code.PREEMPT_MAX_PRESENCE, Code.PREEMPT_EXIT
    lights.send(event(1, leaves, 3), event(2, entry, 3), event(12, leaves, 3), event(12, leaves, 3))
    lights.send(event(20, entry, 9), event(25, entry, 3), event(30, too_long, 3), event(30, leaves, 3))
    lights.send(event(40, entry, 3))
    told = lights.look("overrides")["overrides"]
    assert [(one["origin"], one["by"], one["ended_by"], one["duration_s"]) for one in told[:-1]] == [
        ("preemption", "fire station", "untold", 60.0),
        ("preemption", "fire station", "too_long", 5.0),
        ("preemption", "preemption 9", "untold", 5.0),
        ("preemption", "fire station", "exit", 10.0),
    ]
    assert (told[-1]["origin"], told[-1]["by"], told[-1]["ended_by"]) == ("beside", "tess (uid 1000)", None)
    assert (told[0]["mode"], told[0]["settings"], told[0]["command"]) == ("preempt", {"number": 3}, None)
    # What comes late is as if it had come in time, and lights that start anew hold for nobody.
    lights.send(event(22, leaves, 9), event(17, entry, 8))
    lights.describe(crossroads(), at + 55_000)
    assert [(one["by"], one["ended_by"], one["duration_s"]) for one in lights.look("overrides")["overrides"]][
        :5
    ] == [
        ("fire station", "restart", 15.0),
        ("fire station", "too_long", 5.0),
        ("preemption 9", "exit", 2.0),
        ("preemption 8", "untold", 3.0),
        ("fire station", "exit", 10.0),
    ]
    url = f"{lights.collector.url}/api"
    people = httpx.get(
        f"{url}/analytics/junction/{lights.junction}/overrides", headers=control.headers["vic"]
    ).json()
    assert people["total"]["by_mode"] == {"flash": 1}
    exported = httpx.get(
        f"{url}/export?what=overrides&junction={lights.junction}", headers=control.headers["vic"]
    ).text.splitlines()
    origins = [one["origin"] for one in csv.DictReader(exported)]
    assert origins == ["beside"] + ["preemption"] * 5


def test_an_override_whose_time_is_over_has_ended(lights: Lights) -> None:
    now = now_ms()
    order = ManualOverride(by="tess", cycle_s=70.0, lane_green_s={"north": 40.0}, expires_s=10.0)
    lights.send(lights.took(order, now - 60_000))
    for _ in range(2):
        [one] = lights.look("overrides")["overrides"]
        assert (one["ended_by"], one["duration_s"]) == ("expiry", 10.0)
        lights.send(lights.took(Automatic(by="tess"), now - 5_000))


def test_an_order_from_here_is_told_once(lights: Lights) -> None:
    """By its command's result; the lights' log tells it too, with the words that the device was given."""
    command = lights.ordered(**OVERRIDE)
    [given] = lights.fetch().json()["commands"]
    order = msgspec.convert(given["order"], ManualOverride)
    lights.send(lights.took(order, now_ms(), uid=998))
    lights.say(command)
    lights.send(lights.took(order, now_ms(), uid=998))
    assert lights.history() == [("otto", "manual_override", True, None)]
    lights.send(lights.took(msgspec.structs.replace(order, by="otto"), now_ms()))
    assert lights.history() == [
        ("otto (uid 1000)", "manual_override", True, None),
        ("otto", "manual_override", True, "order"),
    ]


def test_the_lights_own_log_tells_what_a_killed_agent_cannot(lights: Lights) -> None:
    """Not of which order was taken where two are alike, and one of them was told as applied just then."""

    def given(**body: Any) -> tuple[UUID, Any]:
        command = lights.ordered(**body)
        [one] = (one for one in lights.fetch().json()["commands"] if one["id"] == str(command))
        return command, msgspec.convert(one["order"], Order)

    flash, order = given(mode="flash")
    lights.say(flash, "failed", "the agent was restarted")
    again, order = given(mode="flash")
    lights.say(again)
    lights.send(lights.took(order, now_ms()))
    assert [lights.state(one)[0] for one in (flash, again)] == ["failed", "applied"]
    assert lights.history() == [("otto", "flash", True, None), ("otto", "flash", False, "restart")]

    back, order = given(mode="automatic")
    lights.say(back, "failed", "the agent was restarted")
    lights.send(lights.took(order, now_ms()))
    assert lights.state(back) == ("applied", None)
    assert lights.history()[0] == ("otto", "flash", True, "order")

    fixed, order = given(mode="fixed", plan="day", expires_s=600)
    lights.send(lights.took(order, now_ms()))
    lights.say(fixed, "failed", "the agent was restarted")
    assert lights.state(fixed) == ("applied", None)
    assert lights.history()[0] == ("otto", "fixed", True, None)


def test_a_log_that_makes_no_sense_is_a_log_like_any_other(lights: Lights) -> None:
    nul = '{"order":"flash","by":"\\u0000"}'
    bad: list[dict[str, Any]] = [{"given": "{"}, {"given": nul}, {"given": 5}, {"order": "Dance"}, {}]
    lights.send(*(lights.log("lights_order", now_ms(), accepted=True, **{"order": "Preempt"} | b) for b in bad))
    lights.send(lights.log("lights_order", now_ms(), accepted=False, order="Flash"))
    lights.send(lights.log("lights_mode", now_ms(), mode="dancing"), lights.log("lights_fault_cleared", now_ms()))
    assert lights.history() == []


def test_recent_cycles_are_those_of_a_day(dsn: str) -> None:
    with running_collector(dsn) as running:
        pi = RemotePi(dsn, running)
        now = now_ms()
        pi.send(cycle(now - 1_000), cycle(now - 2_000, (None,) * 4), cycle(now - 90_000_000))
    found = rows(dsn, "SELECT * FROM v_recent_cycles ORDER BY at DESC")
    assert [one["vehicles"] for one in found] == [19, None]
    assert found[0]["junction_id"] == pi.junction
    assert found[0]["lanes"][1]["lane"] == "north"
