"""Junctions as admins make and change them: by files, by the API, by the command line; and how they are told."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import msgspec
import psycopg
import pytest

from collector.cli import main
from collector.identity.users import Role
from tests.integration.facts import KEY
from tests.integration.ingest_helpers import rows
from tests.integration.test_users import bearer, make_user
from tests.junctions import crossroads
from tests.servers.collector import RunningCollector, running_collector
from tests.servers.databases import cloned_database
from tests.servers.lights import Pi


@dataclass
class City:
    """A collector with an admin, an operator and a viewer."""

    dsn: str
    collector: RunningCollector
    users: dict[str, str]
    headers: dict[str, dict[str, str]]

    def ask(self, method: str, path: str, by: str = "ada", **more: Any) -> httpx.Response:
        headers = self.headers[by] | more.pop("headers", {})
        return httpx.request(
            method, f"{self.collector.url}/api/junctions{path}", headers=headers, timeout=30, **more
        )

    def get(self, path: str, by: str = "ada", **query: Any) -> Any:
        answer = self.ask("GET", path, by, params=query)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def take_in(self, text: str, **query: Any) -> httpx.Response:
        return self.ask(
            "POST", "/import", content=text, params=query, headers={"Content-Type": "application/toml"}
        )

    def template(self, name: str, **query: Any) -> str:
        return self.ask("GET", "/template", params={"kind": "four_way", "name": name, **query}).text

    def grant(self, name: str, junction: UUID | str, level: str) -> None:
        self.execute("INSERT INTO user_junction_access VALUES (%s, %s, %s)", self.users[name], junction, level)

    def device(self, name: str, junction: UUID | str | None = None) -> UUID:
        made = uuid4()
        statement = "INSERT INTO edge_devices (id, junction_id, name, public_key) VALUES (%s, %s, %s, %s)"
        self.execute(statement, made, junction, name, KEY)
        return made

    def execute(self, statement: str, *values: Any) -> None:
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            connection.execute(statement.encode(), values)


@pytest.fixture(scope="module")
def city(plain_server: Any) -> Iterator[City]:
    with cloned_database(plain_server, "test_city") as dsn:
        roles = {"ada": Role.ADMIN, "otto": Role.OPERATOR, "vic": Role.VIEWER}
        users = {name: make_user(dsn, name, role) for name, role in roles.items()}
        with running_collector(dsn, reading_open=False) as running, httpx.Client(base_url=running.url) as client:
            yield City(dsn, running, users, {name: bearer(client, name) for name in roles})


def test_a_file_makes_a_junction_and_changes_it(city: City) -> None:
    text = city.template("Market Square", timezone="Europe/Berlin")
    tried = city.take_in(text, dry_run=True).json()
    assert (tried["outcome"], tried["id"], tried["dry_run"]) == ("created", None, True)
    assert city.get("", q="market")["junctions"] == []
    made = city.take_in(text).json()
    assert made["outcome"] == "created"
    assert len(made["notes"]) == 8, "no device is enrolled yet"
    junction = city.get(f"/{made['id']}")
    assert [lane["name"] for lane in junction["lanes"]] == ["north", "east", "south", "west"]
    assert (junction["timezone"], junction["has_lights"]) == ("Europe/Berlin", False)
    assert junction["description"] == junction["wanted"]
    assert junction["awaited_devices"][0] == "Market Square north counter"

    again = city.take_in(text).json()
    assert (again["id"], again["outcome"], again["changes"]) == (made["id"], "unchanged", [])

    changed = text.replace('{ stage = "north", green_s = 15.0 }', '{ stage = "north", green_s = 20.0 }')
    changed = changed.replace("# [location]", "[location]\nlatitude = 52.5\nlongitude = 13.4")
    told = city.take_in(changed, dry_run=True).json()
    assert told["outcome"] == "updated"
    assert {"path": "plans[day].stages[north].green_s", "before": 15.0, "after": 20.0} in told["changes"]
    assert city.get(f"/{made['id']}") == junction, "only tried"
    assert city.take_in(changed).json()["changes"] == told["changes"]
    after = city.get(f"/{made['id']}")
    assert after["location"] == {"name": "Market Square", "latitude": 52.5, "longitude": 13.4, "address": None}
    assert after["wanted"]["plans"][0]["stages"][0]["green_s"] == 20.0
    audited = rows(
        city.dsn, "SELECT action, user_name FROM audit_log WHERE junction_id = %s ORDER BY at", made["id"]
    )
    assert [(one["action"], one["user_name"]) for one in audited] == [
        ("junction_created", "ada"),
        ("junction_changed", "ada"),
    ]


def test_all_that_is_wrong_with_a_file_is_told_at_once(city: City) -> None:
    text = city.template("Wrong").replace('timezone = "UTC"', 'timezone = "Europe/Berln"')
    text = text.replace("phase = 2", "phase = 4").replace('movements = ["north"]', 'movements = ["nort"]', 1)
    answer = city.take_in(text)
    assert answer.status_code == 422
    faults = {one["key"]: one["message"] for one in answer.json()["errors"]}
    assert "did you mean Europe/Berlin?" in faults["timezone"]
    assert "twice" in faults["movements[1].phase"]
    assert "did you mean north?" in faults["stages[0].movements[0]"]
    [fault] = city.take_in(city.template("Wrong").replace('"stop_line"', '"stopline"', 1)).json()["errors"]
    assert (fault["key"], fault["value"]) == ("detectors[0].kind", "stopline")
    assert "it is one of stop_line, approach, " in fault["message"]
    assert city.get("", q="Wrong")["junctions"] == []
    refused = city.ask("PUT", f"/{uuid4()}", json={})
    assert (refused.status_code, "PATCH" in refused.headers["allow"]) == (405, True)
    assert "PATCH" in refused.json()["detail"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff",
        b"name = 5",
        b'name = " "',
        b'name = "x\\u0000"',
        b'name = "x"\nmetadata = { a = nan }',
        b'name = "x"\nmetadata = { lights = 1 }',
        b'name = "x"\ntimezone = "../etc"',
        b'name = "x"\n[location]\nlatitude = 91',
        b'name = "x"\nlanes = 5',
        b"a = " + b"[" * 5_000,
    ],
)
def test_what_is_no_junction_is_refused(city: City, body: bytes) -> None:
    answer = city.ask("POST", "/import", content=body)
    assert answer.status_code == 422
    assert answer.json()["errors"]


def test_devices_come_to_stand_where_a_file_says(city: City) -> None:
    elsewhere = city.ask("POST", "", json={"name": "Elsewhere", "devices": ["pi elsewhere"]}).json()["id"]
    city.device("pi elsewhere", elsewhere)
    twins = [city.device("twin"), city.device("twin")]
    free = city.device("pi free")
    answer = city.take_in('name = "Bridge"\ndevices = ["pi elsewhere", "twin"]')
    messages = [one["message"] for one in answer.json()["errors"]]
    assert "stands at junction Elsewhere" in messages[0]
    assert str(twins[0]) in messages[1]
    assert str(twins[1]) in messages[1]

    made = city.take_in(f'name = "Bridge"\ndevices = ["pi free", "{twins[1]}", "pi fre"]').json()
    assert "did you mean pi free?" not in made["notes"][0], "that one stands there now"
    details = city.get(f"/{made['id']}")
    assert {one["id"] for one in details["devices"]} == {str(free), str(twins[1])}
    assert details["awaited_devices"] == ["pi fre"]
    late = city.device("pi fre")
    again = city.take_in(f'name = "Bridge"\ndevices = ["pi free", "{twins[1]}", "pi fre"]').json()
    assert again["outcome"] == "updated"
    assert str(late) in {one["id"] for one in city.get(f"/{made['id']}")["devices"]}


def test_admins_change_all_operators_a_little_and_others_nothing(city: City) -> None:
    made = city.ask("POST", "", json={"name": "Hill", "description": _described()}).json()["id"]
    assert city.ask("POST", "", json={"name": "Hill"}).json()["code"] == "junction_exists"
    place = {"location": {"name": "On the hill", "address": "1 Hill Road"}, "metadata": {"note": "steep"}}
    assert city.ask("PATCH", f"/{made}", "otto", json=place).status_code == 404, "otto does not see it"
    city.grant("otto", made, "operate")
    city.grant("vic", made, "operate")
    assert city.ask("PATCH", f"/{made}", "otto", json=place).json()["outcome"] == "updated"
    assert city.ask("PATCH", f"/{made}", "otto", json=place).json()["outcome"] == "unchanged"
    assert city.ask("PATCH", f"/{made}", "otto", json={"name": "Mine"}).json()["code"] == "role_too_low"
    assert city.ask("PATCH", f"/{made}", "vic", json=place).json()["code"] == "role_too_low"
    for by in ("otto", "vic"):
        assert city.ask("POST", "", by, json={"name": "New"}).status_code == 403
        assert city.ask("POST", "/import", by, content='name = "New"').status_code == 403
    renamed = city.ask("PATCH", f"/{made}", json={"name": "Summit", "timezone": "Asia/Tokyo"}).json()
    assert {one["path"] for one in renamed["changes"]} == {"name", "timezone"}
    details = city.get(f"/{made}", "otto")
    assert (details["name"], details["access"], details["metadata"]) == ("Summit", "operate", {"note": "steep"})
    assert city.get(f"/{made}", "vic")["access"] == "read", "a level without the role"
    assert details["location"]["address"] == "1 Hill Road"
    versions = {city.get(f"/{made}", by)["version"] for by in ("ada", "otto", "vic")}
    assert versions == {renamed["version"]}, "the same to whoever may see it"
    other = city.ask("POST", "", json={"name": "Valley"}).json()["id"]
    assert city.ask("PATCH", f"/{other}", json={"name": "Summit"}).json()["code"] == "junction_exists"
    wrong = city.ask("PATCH", f"/{made}", json={"description": _described(stages=[])})
    assert wrong.json()["errors"][0]["key"].startswith("description.")
    assert city.ask("PATCH", f"/{uuid4()}", json={"name": "x"}).status_code == 404
    for method, path, size in (("PATCH", "", 2**20), ("PUT", "/mode", 2**16), ("POST", "/mode/preview", 2**16)):
        assert city.ask(method, f"/{made}{path}", "otto", json={"why": "x" * size}).status_code == 413, path


def test_a_junction_that_has_counted_keeps_its_days(city: City) -> None:
    made = city.ask("POST", "", json={"name": "Counted", "timezone": "Europe/Berlin"}).json()["id"]
    device = city.device("counter", made)
    city.execute(
        "INSERT INTO counting_zones (device_id, sensor, name, via, kind) VALUES (%s, 'c', 'l', 'camera', 'line')",
        device,
    )
    answer = city.ask("PATCH", f"/{made}", json={"timezone": "Asia/Tokyo"})
    assert (answer.status_code, answer.json()["errors"][0]["key"]) == (422, "timezone")
    assert city.ask("PATCH", f"/{made}", json={"timezone": "Europe/Berlin"}).json()["outcome"] == "unchanged"


@pytest.mark.parametrize("change", [{"timezone": "Asia/Tokyo"}, {"devices": ["pi new"]}])
def test_an_edit_that_waits_for_workers_keeps_nobody_waiting(city: City, change: dict[str, Any]) -> None:
    made = city.ask("POST", "", json={"name": f"Kept {change}"}).json()["id"]
    device, answers = city.device("pi new"), []

    def edit() -> None:
        answers.append(city.ask("PATCH", f"/{made}", json=change).json()["outcome"])

    waiting = "SELECT count(*) FROM pg_stat_activity WHERE %s = ANY (pg_blocking_pids(pid))"
    with psycopg.connect(city.dsn) as working, psycopg.connect(city.dsn, autocommit=True) as ingest:
        working.execute("SELECT pg_advisory_xact_lock(1398034259)")
        editing = threading.Thread(target=edit)
        editing.start()
        while ingest.execute(waiting, (working.info.backend_pid,)).fetchone() == (0,):
            assert editing.is_alive()
        ingest.execute("SELECT FROM junctions WHERE id = %s FOR NO KEY UPDATE NOWAIT", (made,))
        ingest.execute("SELECT FROM edge_devices WHERE id = %s FOR SHARE NOWAIT", (device,))
        working.commit()
        editing.join()
    assert answers == ["updated"]
    city.execute("DELETE FROM edge_devices WHERE id = %s", device)


def test_what_runs_and_what_is_wanted_are_told_apart(city: City) -> None:
    pi = Pi(city.dsn, city.collector)
    wanted = msgspec.structs.replace(crossroads(min_green_s=9.0), name="wanted")
    city.ask("PATCH", f"/{pi.junction}", json={"description": msgspec.to_builtins(wanted)})
    assert city.get(f"/{pi.junction}")["differs"] == []
    runs = msgspec.structs.replace(crossroads(), name="runs", lanes=crossroads().lanes[::-1])
    pi.describe(runs)
    details = city.get(f"/{pi.junction}")
    assert (details["description"]["name"], details["wanted"]["name"]) == ("runs", "wanted")
    assert {"path": "movements[north].min_green_s", "runs": 7.0, "wanted": 9.0} in details["differs"]
    assert [lane["name"] for lane in details["lanes"]] == ["west", "south", "east", "north"]
    assert [(one["id"], one["drives_lights"], one["state"]) for one in details["devices"]] == [
        (str(pi.device.id), True, "live")
    ]
    city.execute(
        "INSERT INTO counting_zones (device_id, sensor, name, via, kind) VALUES (%s, %s, 'new', 'camera', 'line')",
        pi.device.id,
        runs.detectors[0].sensor,
    )
    told = city.get(f"/{pi.junction}")
    assert told["unmatched"][-1] | {"why": "unused", "source": "new"} == told["unmatched"][-1]
    city.grant("vic", pi.junction, "read")
    assert city.get(f"/{pi.junction}", "vic") == told | {"access": "read"}
    pi.describe(msgspec.structs.replace(runs, lanes=(*runs.lanes[:2], runs.lanes[0])))
    assert [lane["name"] for lane in city.get(f"/{pi.junction}")["lanes"]] == ["west", "south"]


def test_lists_are_searched_filtered_and_sorted(city: City) -> None:
    with psycopg.connect(city.dsn, autocommit=True) as connection:
        connection.execute(
            "WITH j AS (INSERT INTO junctions (name, lights_mode) SELECT 'Lane ' || n, 'fixed'"
            " FROM generate_series(1, 3) n RETURNING id, name),"
            " d AS (INSERT INTO edge_devices (id, junction_id, name, public_key)"
            " SELECT gen_random_uuid(), id, name, decode(repeat('00', 32), 'hex') FROM j RETURNING id, name)"
            " INSERT INTO ingest_streams (device_id, stream, epoch, last_received_at)"
            " SELECT id, 'main', gen_random_uuid(), now() - CASE name WHEN 'Lane 1' THEN interval '1 hour'"
            " ELSE interval '10 minutes' END FROM d WHERE name <> 'Lane 3'"
        )

    def names(by: str = "ada", **query: Any) -> list[str]:
        return [one["name"] for one in city.get("", by, q="LANE", **query)["junctions"]]

    assert names() == ["Lane 1", "Lane 2", "Lane 3"]
    assert names(sort="-name", limit=2) == ["Lane 3", "Lane 2"]
    assert names(sort="-name", limit=2, offset=2) == ["Lane 1"]
    assert names(sort="received_at") == ["Lane 1", "Lane 2", "Lane 3"]
    assert names(sort="-received_at") == ["Lane 2", "Lane 1", "Lane 3"]
    assert names(sort="-received_at", limit=1, offset=1) == ["Lane 1"]
    assert names(state="late") == ["Lane 2"]
    assert names(state=["silent", "never"]) == ["Lane 1", "Lane 3"]
    assert names(has_lights=True) == []
    assert names(has_lights=False) == ["Lane 1", "Lane 2", "Lane 3"]
    assert names("vic") == []
    [first] = city.get("", q="lane 1")["junctions"]
    assert (first["mode"], first["access"]) == ("fixed", "operate")
    city.grant("vic", first["id"], "read")
    assert [(one["name"], one["access"]) for one in city.get("", "vic", q="lane")["junctions"]] == [
        ("Lane 1", "read")
    ]
    assert city.ask("GET", "", params={"q": "\x00"}).status_code == 400
    assert city.ask("GET", "", params={"sort": "size"}).status_code == 400
    assert city.ask("GET", "", params={"offset": 10**30}).status_code == 400


def test_what_has_not_changed_is_not_sent_again(city: City) -> None:
    made = city.ask("POST", "", json={"name": "Quiet"}).json()["id"]
    for path in ("?q=Quiet", f"/{made}"):
        first = city.ask("GET", path)
        tag = first.headers["etag"]
        same = city.ask("GET", path, headers={"If-None-Match": f'"other", W/{tag}'})
        assert (same.status_code, same.content, same.headers["etag"]) == (304, b"", tag)
        city.ask("PATCH", f"/{made}", json={"location": {"name": path, "address": path}})
        again = city.ask("GET", path, headers={"If-None-Match": tag})
        assert (again.status_code, again.headers["etag"] != tag) == (200, True)


def test_what_another_has_changed_is_not_overwritten(city: City) -> None:
    made = city.ask("POST", "", json={"name": "Twice", "location": {"latitude": 1.0, "longitude": 2.0}}).json()
    path, seen, first = f"/{made['id']}", city.ask("GET", f"/{made['id']}"), made["version"]
    assert (seen.json()["version"], seen.headers["etag"].split(".")[0]) == (first, f'"{first}')

    def change(address: str, if_match: str) -> httpx.Response:
        json = {"location": {"latitude": 1.0, "longitude": 2.0, "address": address}}
        return city.ask("PATCH", path, json=json, headers={"If-Match": if_match})

    done = change("1 High St", seen.headers["etag"])
    assert (done.status_code, done.json()["version"]) == (200, city.get(path)["version"])
    assert done.json()["version"] != first
    late = change("2 High St", f'"{first}"')
    assert (late.status_code, late.json()["code"]) == (412, "changed_meanwhile")
    assert "read it again" in late.json()["detail"]
    assert city.get(path)["location"]["address"] == "1 High St"
    assert change("1 High St", f'"{first}"').json()["outcome"] == "unchanged", "as after an answer that was lost"
    version = done.json()["version"]
    assert change("3 High St", f'W/"{version}"').status_code == 412, "a weak one"
    assert change("3 High St", f"{version}").status_code == 400, "no tag"
    assert change("3 High St", f'W/"{first}", "x,y" , "{version}"').status_code == 200
    assert change("4 High St", "*").status_code == 200

    # What is measured is no edit, nor is what runs.
    version = city.get(path)["version"]
    city.device("twice pi", made["id"])
    city.execute("UPDATE junctions SET lights_mode = 'flash', metadata = '{\"lights\": {}}' WHERE name = 'Twice'")
    assert city.get(path)["version"] == version

    text = 'name = "Twice"\nmetadata = { note = "a" }'
    tried = city.take_in(text, dry_run=True).json()
    assert (tried["version"], tried["outcome"]) == (version, "updated")
    assert change("5 High St", f'"{version}"').status_code == 200
    headers = {"If-Match": f'"{tried["version"]}"', "Content-Type": "application/toml"}
    assert city.ask("POST", "/import", content=text, headers=headers).status_code == 412
    assert city.ask("POST", "/import", content=text.replace("Twice", "None"), headers=headers).status_code == 412
    assert city.take_in(text.replace("Twice", "None"), dry_run=True).json()["version"] is None


def test_an_edit_that_waits_for_another_sees_all_of_it(city: City) -> None:
    made = city.ask("POST", "", json={"name": "Busy", "location": {"address": "before"}}).json()
    answers = []

    def edit() -> None:
        json, headers = {"location": {"address": "mine"}}, {"If-Match": f'"{made["version"]}"'}
        answers.append(city.ask("PATCH", f"/{made['id']}", json=json, headers=headers).status_code)

    waiting = "SELECT count(*) FROM pg_stat_activity WHERE %s = ANY (pg_blocking_pids(pid))"
    with psycopg.connect(city.dsn) as other, psycopg.connect(city.dsn, autocommit=True) as looking:
        # As another edit does: in a place of its own, whose row stays the same one.
        other.execute("SELECT FROM junctions WHERE id = %s FOR NO KEY UPDATE", (made["id"],))
        other.execute("UPDATE locations SET address = 'theirs' WHERE name = 'Busy'")
        editing = threading.Thread(target=edit)
        editing.start()
        while looking.execute(waiting, (other.info.backend_pid,)).fetchone() == (0,):
            assert editing.is_alive()
        other.commit()
        editing.join()
    assert answers == [412]
    assert city.get(f"/{made['id']}")["location"]["address"] == "theirs"


def test_a_junction_made_by_mistake_is_deleted_and_none_with_a_history(city: City) -> None:
    place = {"latitude": 1.0, "longitude": 2.0, "address": "of the mistake"}
    made = city.ask("POST", "", json={"name": "Mistake", "description": _described(), "location": place}).json()
    path = f"/{made['id']}"
    city.grant("otto", made["id"], "operate")
    assert city.ask("DELETE", path, "otto").json()["code"] == "role_too_low"
    assert city.ask("DELETE", path, headers={"If-Match": '"other"'}).status_code == 412
    gone = city.ask("DELETE", path, headers={"If-Match": f'"{made["version"]}"'})
    assert (gone.status_code, gone.content) == (204, b"")
    assert city.ask("GET", path).status_code == city.ask("DELETE", path).status_code == 404
    for table in ("lanes", "user_junction_access", "junction_heard"):
        assert not rows(city.dsn, f"SELECT FROM {table} WHERE junction_id = %s", made["id"]), table
    assert not rows(city.dsn, "SELECT FROM locations WHERE address = 'of the mistake'")
    told = rows(city.dsn, "SELECT * FROM audit_log WHERE junction_id = %s ORDER BY no DESC LIMIT 1", made["id"])[0]
    assert (told["action"], told["user_name"], told["subject_name"]) == ("junction_deleted", "ada", "Mistake")
    assert len(told["before"]["description"]["lanes"]) == 4
    again = city.ask("POST", "", json={"name": "Mistake"}).json()
    assert again["outcome"] == "created"

    city.device("first", again["id"])
    city.device("second", again["id"])
    city.execute("INSERT INTO fault_history (junction_id, why, began_at) VALUES (%s, 'lamp', now())", again["id"])
    kept = city.ask("DELETE", f"/{again['id']}")
    assert (kept.status_code, kept.json()["code"]) == (409, "junction_in_use")
    assert kept.json()["bound"] == {"devices": 2, "overrides": 1}
    assert "2 devices, 1 override or fault" in kept.json()["detail"]
    assert city.get(f"/{again['id']}")["name"] == "Mistake"


def test_a_device_that_comes_while_a_junction_is_deleted_keeps_it(city: City) -> None:
    made, answers = city.ask("POST", "", json={"name": "Raced"}).json()["id"], []
    deleting = threading.Thread(target=lambda: answers.append(city.ask("DELETE", f"/{made}").status_code))
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE %s = ANY (pg_blocking_pids(pid))"
    statement = "INSERT INTO edge_devices (id, junction_id, name, public_key) VALUES (%s, %s, 'racer', %s)"
    with psycopg.connect(city.dsn) as other, psycopg.connect(city.dsn, autocommit=True) as looking:
        other.execute(statement, (uuid4(), made, KEY))
        deleting.start()
        while looking.execute(waiting, (other.info.backend_pid,)).fetchone() == (0,):
            assert deleting.is_alive()
        other.commit()
        deleting.join()
    assert answers == [409]


def test_the_command_line_makes_junctions_too(
    city: City, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # For the whole process, which here goes on.
    monkeypatch.setattr("collector.commands.database.set_up_logging", lambda _: None)
    file, database = tmp_path / "junction.toml", ("--dsn", city.dsn)
    assert main(["junction", "template", "Harbour", "--timezone", "Europe/Lisbon"]) == 0
    text = capsys.readouterr().out
    file.write_text(text)
    assert main(["junction", "import", str(file), *database]) == 0
    assert capsys.readouterr().out.startswith("Harbour: made\n")
    file.write_text(text.replace("yellow_s = 3.0", "yellow_s = 2.0"))
    assert main(["junction", "import", str(file), *database]) == 78
    assert capsys.readouterr().err.count("a vehicle's yellow lasts 3 to 6 s") == 4
    assert main(["junction", "list", *database]) == 0
    assert "Harbour" in capsys.readouterr().out


def _described(**changed: Any) -> dict[str, Any]:
    plain: dict[str, Any] = msgspec.to_builtins(crossroads())
    del plain["name"]
    return plain | changed
