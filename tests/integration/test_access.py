"""Who sees and operates which junctions, over real HTTP: granted, withdrawn, invited to, and written down."""

import asyncio
import io
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

import httpx
import psycopg
import pytest
from litestar import Litestar, Request, get
from litestar.params import FromPath
from litestar.testing import TestClient
from msgspec.structs import replace as replace_fields

from collector.cli import main
from collector.db import Settings, make_pool
from collector.errors import ApiProblem
from collector.identity.access import Access, CurrentUser
from collector.identity.grants import Grants
from collector.identity.passwords import Passwords
from collector.identity.sessions import Sessions
from collector.identity.tokens import make_access_token
from collector.identity.users import Role
from collector.ops import problems
from common.codes import Direction, Via
from common.records import Count, Log
from tests.integration.ingest_helpers import count, now_ms, send
from tests.integration.test_users import OTHER, PASSWORD, bearer, code, execute, make_user, sign_in
from tests.junctions import crossroads
from tests.servers.collector import RunningCollector, running_collector
from tests.servers.lights import Pi, cycle

NOBODYS = str(UUID(int=7))
TAG = "E2003412DC03"


@pytest.fixture
def collector(plain_dsn: str) -> Iterator[RunningCollector]:
    make_user(plain_dsn, "Ada", Role.ADMIN)
    make_user(plain_dsn, "vic", Role.VIEWER)
    with running_collector(plain_dsn, reading_open=False, open_registration=True) as running:
        yield running


@pytest.fixture
def admin(collector: RunningCollector) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=collector.url, timeout=30) as client:
        client.headers.update(bearer(client))
        yield client


def user_id(admin: httpx.Client, name: str) -> str:
    [found] = admin.get("/api/users", params={"q": name}).json()["users"]
    return str(found["id"])


def as_user(admin: httpx.Client, name: str) -> httpx.Client:
    client = httpx.Client(base_url=admin.base_url, timeout=30)
    client.headers.update(bearer(client, name))
    return client


def junctions_of(client: httpx.Client) -> list[tuple[str, str]]:
    return [(each["name"], each["level"]) for each in client.get("/api/users/me").json()["junctions"]]


def make_junctions(dsn: str, *names: str) -> list[str]:
    insert = "INSERT INTO junctions (name) VALUES (%s) RETURNING id"
    with psycopg.connect(dsn) as connection:
        return [str(connection.execute(insert, (name,)).fetchall()[0][0]) for name in names]


def test_no_route_tells_of_a_junction_that_was_not_granted(
    collector: RunningCollector, admin: httpx.Client, plain_dsn: str
) -> None:
    ours, theirs = Pi(plain_dsn, collector), Pi(plain_dsn, collector)
    for pi in (ours, theirs):
        pi.describe(crossroads())
        pi.tell((4_000, 1, 2))
        pi.send(*read_tags())
        send(collector, pi.device, [count(pi.next_seq)], pi.next_seq)
        execute(
            plain_dsn,
            "INSERT INTO ingest_rejects (seq, stream_no, code, detail, raw)"
            " SELECT 999, no, 'malformed', %s, %s FROM ingest_streams WHERE device_id = %s",
            f"Invalid enum value '{TAG}'",
            f'["count", 999, 0, 0, "gate", "gate", "{TAG}"]',
            pi.device.id,
        )
    vic = user_id(admin, "vic")
    granted = admin.put(f"/api/users/{vic}/junctions/{ours.junction}", json={"level": "read"})
    assert granted.status_code == 200
    with as_user(admin, "vic") as viewer:
        token = viewer.post("/api/users/me/tokens", json={"name": "x"}).json()["token"]
        with httpx.Client(base_url=admin.base_url, headers={"Authorization": f"Bearer {token}"}) as program:
            n_telling = 0
            for path in reading_paths(admin):
                own = path.format(junction_id=ours.junction, device_id=ours.device.id)
                assert TAG not in viewer.get(own).text, f"{own}: which tags were read"
                url = path.format(junction_id=theirs.junction, device_id=theirs.device.id)
                all_of_it = admin.get(url)
                assert all_of_it.status_code == 200, url
                n_telling += tells_of(all_of_it, theirs)
                for client in (viewer, program):
                    seen = client.get(url)
                    # What names the junction alone may repeat the name it was asked for.
                    assert seen.status_code == (404 if "{" in path else 200), url
                    assert "{" in path or not tells_of(seen, theirs), url
            assert n_telling >= 5, "otherwise it was not tried"
            assert [each["id"] for each in program.get("/api/junctions").json()["junctions"]] == [
                str(ours.junction)
            ]


def read_tags() -> list[Any]:
    """What has a tag in it, in all places where one may be."""
    passed = cycle(now_ms())
    passed = replace_fields(passed, lanes=[replace_fields(lane, epcs=[TAG]) for lane in passed.lanes])
    passage = Count(1, now_ms(), 0, "gate", "gate", Via.RFID, "object", Direction.IN, track=TAG)
    return [passed, passage, Log(1, now_ms(), 0, "warning", "x", "a passage", {"epc": TAG})]


NOT_READ = (
    *("/api/users", "/api/audit", "/api/ingest", "/api/device/"),
    # Of two junctions, of a tag (admins only), and of one order: tests of their own.
    *("/api/analytics/journeys", "/api/analytics/tags", "/api/junctions/{junction_id}/commands/"),
)
ASKED_WITH = {"export": "?what=counts", "throughput": "?from=2026-05-01&to=2026-05-07&change=2026-05-04"}


def reading_paths(admin: httpx.Client) -> list[str]:
    """Every path that gives what the store holds, asked of the description of the API."""
    paths = admin.get("/schema/openapi.json").json()["paths"]
    found = []
    for path, methods in paths.items():
        answers = methods.get("get", {}).get("responses", {}).get("200", {}).get("content", {})
        needed = [each for each in methods.get("get", {}).get("parameters", []) if each.get("required")]
        is_read = answers and "text/event-stream" not in answers and path.startswith("/api/")
        if is_read and not path.startswith(NOT_READ):
            unknown = [each["name"] for each in needed if each["name"] not in ("junction_id", "device_id", "what")]
            assert not unknown, f"{path}: how is it asked for?"
            found.append(path + ASKED_WITH.get(path.rpartition("/")[2], ""))
    return found


def tells_of(answer: httpx.Response, pi: Pi) -> bool:
    return any(str(secret) in answer.text for secret in (pi.junction, pi.device.id))


def test_an_admin_grants_and_withdraws(admin: httpx.Client, plain_dsn: str) -> None:
    first, second = make_junctions(plain_dsn, "First", "Second")
    vic = user_id(admin, "vic")
    url = f"/api/users/{vic}/junctions"
    with as_user(admin, "vic") as viewer:
        assert junctions_of(viewer) == []
        for junction, level in ((second, "read"), (first, "operate"), (first, "operate"), (second, "operate")):
            told = admin.put(f"{url}/{junction}", json={"level": level}).json()
            assert (told["id"], told["level"], told["granted_by"]) == (junction, level, "Ada")
        assert junctions_of(viewer) == [("First", "operate"), ("Second", "operate")]
        page = admin.get(url, params={"limit": 1}).json()
        assert ([each["name"] for each in page["junctions"]], page["next_offset"]) == (["First"], 1)
        assert page["all_junctions"] is False
        details = viewer.get(f"/api/users/{vic}").json()
        assert [(each["name"], each["level"]) for each in details["junctions"]] == junctions_of(viewer)
        assert (details["n_junctions"], details["sees_all"]) == (2, False)
        assert admin.delete(f"{url}/{first}").status_code == 204
        assert junctions_of(viewer) == [("Second", "operate")]
        me = admin.patch(f"/api/users/{vic}", json={"all_junctions": True}).json()
        assert me["all_junctions"] is True
        seen = viewer.get("/api/junctions").json()["junctions"]
        assert ([each["name"] for each in seen], viewer.get("/api/users/me").json()["all_junctions"]) == (
            ["First", "Second"],
            True,
        )
        for method, path, body, told in (
            ("PUT", f"{url}/{NOBODYS}", {"level": "read"}, (404, "junction_unknown")),
            ("PUT", f"/api/users/{NOBODYS}/junctions/{first}", {"level": "read"}, (404, "user_unknown")),
            ("DELETE", f"{url}/{first}", None, (404, "access_unknown")),
            ("GET", f"/api/users/{NOBODYS}/junctions", None, (404, "user_unknown")),
            ("PUT", f"{url}/{first}", {"level": "own"}, (400, "bad_request")),
        ):
            assert code(admin.request(method, path, json=body)) == told, path
            assert code(viewer.request(method, path, json=body)) == (403, "role_too_low"), path


def test_what_another_admin_has_changed_of_a_user_is_not_overwritten(admin: httpx.Client, plain_dsn: str) -> None:
    [junction] = make_junctions(plain_dsn, "First")
    url = f"/api/users/{user_id(admin, 'vic')}"
    grant = f"{url}/junctions/{junction}"

    def version() -> str:
        found = admin.get(url)
        assert found.headers["etag"].startswith(f'"{found.json()["version"]}.')
        return f'"{found.json()["version"]}"'

    def of_grant() -> str:
        return f'"{admin.get(url).json()["junctions"][0]["version"]}"'

    def sent(method: str, path: str, body: Any, if_match: str) -> int:
        return admin.request(method, path, json=body, headers={"If-Match": if_match}).status_code

    seen = version()
    assert admin.patch(url, json={"role": "operator"}).json()["version"] == version().strip('"')
    assert sent("PATCH", url, {"role": "viewer", "display_name": "Vic"}, seen) == 412
    assert sent("PATCH", url, {"role": "operator"}, seen) == 200, "so it is already"
    told = admin.get(url).json()
    assert (told["role"], told["display_name"], version() != seen) == ("operator", None, True)
    seen = version()

    granted = admin.put(grant, json={"level": "read"}).json()["version"]
    assert of_grant() == f'"{granted}"'
    assert sent("PUT", grant, {"level": "operate"}, f'"other", "{granted}"') == 200
    assert sent("PUT", grant, {"level": "operate"}, f'"{granted}"') == 200, "so it is already"
    assert sent("PUT", grant, {"level": "read"}, f'"{granted}"') == 412
    assert sent("DELETE", grant, None, f'"{granted}"') == 412
    assert admin.get(url).json()["junctions"][0]["level"] == "operate"
    granted = of_grant()
    assert sent("DELETE", grant, None, granted) == 204
    assert sent("PUT", grant, {"level": "read"}, granted) == 412, "it was withdrawn"
    assert version() == seen


def test_who_was_invited_sees_what_the_invitation_says(admin: httpx.Client, plain_dsn: str) -> None:
    first, second, gone = make_junctions(plain_dsn, "First", "Second", "Gone")
    asked = [{"junction": first, "level": "operate"}, {"junction": second}, {"junction": gone}]
    unknown = admin.post("/api/users/invitations", json={"junctions": [{"junction": NOBODYS}]})
    assert code(unknown) == (422, "junction_unknown")
    made = admin.post("/api/users/invitations", json={"role": "operator", "junctions": asked}).json()
    [listed] = admin.get("/api/users/invitations").json()["invitations"]
    assert (listed["id"], listed["n_junctions"], listed["invited_by"]) == (made["id"], 3, "Ada")
    execute(plain_dsn, "DELETE FROM junctions WHERE name = 'Gone'")
    body = {"name": "Otto", "password": PASSWORD, "invitation": made["invitation"]}
    assert admin.post("/api/users/register", json=body).status_code == 201
    with as_user(admin, "otto") as operator:
        assert junctions_of(operator) == [("First", "operate"), ("Second", "read")]
    taken_back = admin.post("/api/users/invitations", json={"role": "admin"}).json()
    assert admin.delete(f"/api/users/invitations/{taken_back['id']}").status_code == 204
    assert code(admin.delete(f"/api/users/invitations/{taken_back['id']}")) == (404, "invitation_unknown")
    refused = admin.post("/api/users/register", json=body | {"name": "x", "invitation": taken_back["invitation"]})
    assert code(refused) == (403, "invitation_invalid")
    passer_by = {"name": "passer-by", "password": PASSWORD}
    assert admin.post("/api/users/register", json=passer_by).status_code == 201
    with as_user(admin, "passer-by") as stranger:
        me = stranger.get("/api/users/me").json()
        assert (me["role"], me["all_junctions"], me["junctions"]) == ("viewer", False, [])
        assert stranger.get("/api/junctions").json()["junctions"] == []
    made_by_hand = {"name": "Eve", "password": PASSWORD, "role": "operator", "all_junctions": True}
    assert admin.post("/api/users", json=made_by_hand).status_code == 201
    listed = admin.get("/api/users", params={"sort": "-name", "role": "operator"}).json()["users"]
    assert [(each["name"], each["all_junctions"]) for each in listed] == [("Otto", False), ("Eve", True)]


def test_who_may_operate_and_what_a_user_may_by_now(plain_dsn: str) -> None:
    seen, unseen = map(UUID, make_junctions(plain_dsn, "seen", "unseen"))
    ids = {
        name: UUID(make_user(plain_dsn, name, role))
        for name, role in (
            ("admin", Role.ADMIN),
            ("anywhere", Role.OPERATOR),
            ("operator", Role.OPERATOR),
            ("reader", Role.OPERATOR),
            ("viewer", Role.VIEWER),
        )
    }
    execute(plain_dsn, "UPDATE users SET all_junctions = true WHERE name = 'anywhere'")
    for name, level in (("operator", "operate"), ("reader", "read"), ("viewer", "operate")):
        execute(
            plain_dsn,
            "INSERT INTO user_junction_access (user_id, junction_id, level) VALUES (%s, %s, %s)",
            *(ids[name], seen, level),
        )
    with operating(plain_dsn) as (client, key):

        def order(name: str, junction: UUID) -> tuple[int, str]:
            token = make_access_token(key, ids[name], 1, now_ms() / 1000)
            answer = client.get(f"/operate/{junction}", headers={"Authorization": f"Bearer {token}"})
            return answer.status_code, answer.json().get("code") or answer.json()["name"]

        assert client.get(f"/operate/{seen}").status_code == 401
        assert order("operator", seen) == (200, "operator")
        assert order("reader", seen) == (403, "junction_read_only")
        assert order("viewer", seen) == (403, "role_too_low")
        for name in ("admin", "anywhere"):
            assert order(name, unseen) == (200, name)
        for name in ("operator", "reader", "viewer"):
            assert order(name, unseen) == (404, "junction_unknown")
        assert order("admin", uuid4()) == (404, "junction_unknown")
    with psycopg.connect(plain_dsn) as connection:
        may = connection.execute(
            "SELECT user_name, junction_name, may_operate, why FROM v_user_permissions ORDER BY 1, 2"
        ).fetchall()
    assert may == [
        ("admin", "seen", True, "admin"),
        ("admin", "unseen", True, "admin"),
        ("anywhere", "seen", True, "all_junctions"),
        ("anywhere", "unseen", True, "all_junctions"),
        ("operator", "seen", True, "granted"),
        ("reader", "seen", False, "granted"),
        ("viewer", "seen", False, "granted"),
    ]
    asyncio.run(_check_still(plain_dsn, ids, seen, unseen))


class operating:
    """An application with one route that gives an order, and the key of its tokens."""

    def __init__(self, dsn: str) -> None:
        self._pool = make_pool(Settings(dsn, min_size=1, max_size=2))
        self._access = Access(Sessions(self._pool, Passwords()), Grants(self._pool))
        self._key = b""

    def __enter__(self) -> tuple[TestClient[Litestar], bytes]:
        @get("/operate/{junction_id:uuid}")
        async def operate(junction_id: FromPath[UUID], request: Request[Any, Any, Any]) -> dict[str, str]:
            return {"name": (await self._access.may_operate(request, junction_id)).name}

        @asynccontextmanager
        async def lifespan(_: Litestar) -> AsyncIterator[None]:
            async with self._pool:
                self._key = await self._access.key()
                yield

        app = Litestar(
            [operate],
            lifespan=[lifespan],
            exception_handlers={ApiProblem: problems.on_problem},
            logging_config=None,
        )
        self._client = TestClient(app)
        self._client.__enter__()
        return self._client, self._key

    def __exit__(self, *error: object) -> None:
        self._client.__exit__(None, None, None)


async def _check_still(dsn: str, ids: dict[str, UUID], seen: UUID, unseen: UUID) -> None:
    """What an open stream asks now and then."""
    async with make_pool(Settings(dsn, min_size=1, max_size=2)) as pool:
        access = Access(Sessions(pool, Passwords()), Grants(pool))
        rights = await access.still(ids["operator"])
        assert rights is not None
        assert [rights.sees(each) for each in (seen, unseen, None)] == [True, False, False]
        assert [rights.may_operate(each) for each in (seen, unseen)] == [True, False]
        everywhere = await access.still(ids["anywhere"])
        assert everywhere is not None
        assert everywhere.sees(None)
        assert everywhere.may_operate(unseen)
        signed_in = CurrentUser(ids["operator"], "operator", "192.0.2.1", Role.OPERATOR, False)
        session = replace(signed_in, token_version=1)
        assert await access.still(session) is not None
        execute(dsn, "DELETE FROM user_junction_access WHERE user_id = %s", ids["operator"])
        narrowed = await access.still(session)
        assert narrowed is not None
        assert not narrowed.sees(seen)
        execute(dsn, "UPDATE users SET token_version = 2 WHERE id = %s", ids["operator"])
        assert await access.still(session) is None, "the password was changed"
        assert await access.still(ids["operator"]) is not None
        token_id = uuid4()
        execute(
            dsn,
            "INSERT INTO api_tokens (id, user_id, name, hash, role) VALUES (%s, %s, 'x', 'x', 'viewer')",
            *(token_id, ids["operator"]),
        )
        program = replace(signed_in, token_id=token_id)
        limited = await access.still(program)
        assert limited is not None
        assert limited.role is Role.VIEWER
        execute(dsn, "UPDATE api_tokens SET revoked_at = now()")
        assert await access.still(program) is None
        execute(dsn, "UPDATE users SET status = 'disabled'")
        assert await access.still(ids["admin"]) is None


def test_what_was_done_is_written_down_and_stays(admin: httpx.Client, plain_dsn: str) -> None:
    [junction] = make_junctions(plain_dsn, "First")
    vic = user_id(admin, "vic")
    grant = f"/api/users/{vic}/junctions/{junction}"
    with as_user(admin, "vic") as viewer:
        token = viewer.post("/api/users/me/tokens", json={"name": "export"}).json()
        assert admin.get(f"/api/users/{vic}/tokens").json()[0]["name"] == "export"
        viewer.post("/api/users/me/password", json={"old_password": PASSWORD, "new_password": OTHER})
    admin.put(grant, json={"level": "read"})
    admin.put(grant, json={"level": "read"})
    admin.put(grant, json={"level": "operate"})
    admin.delete(grant)
    admin.delete(f"/api/users/{vic}/tokens/{token['details']['id']}")
    admin.post("/api/users/invitations", json={"role": "operator", "junctions": [{"junction": junction}]})
    admin.patch(f"/api/users/{vic}", json={"role": "operator", "display_name": "Vic"})
    admin.patch(f"/api/users/{vic}", json={"role": "operator"})
    admin.post(f"/api/users/{vic}/password", json={"password": PASSWORD})
    admin.patch(f"/api/users/{vic}", json={"status": "disabled"})
    # The fifth blocks for a second: a sixth that came later would block anew, and be written down too.
    for _ in range(5):
        sign_in(admin, "vic", "a wrong password, typed")
    sign_in(admin, "three words typed as a name", OTHER)
    entries = admin.get("/api/audit").json()["entries"]
    assert [(each["action"], each["user_name"]) for each in reversed(entries)][2:] == [
        *[("signed_in", "Ada"), ("signed_in", "vic"), ("token_made", "vic"), ("password_changed", "vic")],
        *[("access_granted", "Ada"), ("access_granted", "Ada"), ("access_withdrawn", "Ada")],
        *[("token_revoked", "Ada"), ("invited", "Ada"), ("user_changed", "Ada"), ("password_reset", "Ada")],
        *[("user_changed", "Ada"), ("sign_in_blocked", "(unknown)")],
    ]
    blocked, disabled, reset = entries[:3]
    assert (blocked["subject"]["name"], blocked["address"]) == ("vic", "127.0.0.1")
    assert blocked["after"]["by"] == "name and address"
    assert (disabled["before"], disabled["after"]) == ({"status": "active"}, {"status": "disabled"})
    assert (reset["subject"], reset["before"]) == ({"kind": "user", "id": vic, "name": "vic"}, None)
    told = json.dumps(entries)
    assert not any(secret in told for secret in (PASSWORD, OTHER, token["token"], "three words", "typed"))
    granted = admin.get("/api/audit", params={"junction": junction, "action": "access_granted"}).json()["entries"]
    assert [(each["before"], each["after"]["level"]) for each in granted] == [
        ({"level": "read", "junction": "First"}, "operate"),
        (None, "read"),
    ]
    by_vic = admin.get("/api/audit", params={"user": vic}).json()["entries"]
    assert {each["action"] for each in by_vic} >= {"token_made", "access_granted", "user_changed", "signed_in"}
    middle = entries[5]["at"]
    late = admin.get("/api/audit", params={"from": middle}).json()["entries"]
    early = admin.get("/api/audit", params={"to": middle}).json()["entries"]
    assert late + early == entries
    assert len(late) == 6
    _check_pages(admin, entries)
    for statement in ("UPDATE audit_log SET user_name = 'x'", "DELETE FROM audit_log", "TRUNCATE audit_log"):
        with pytest.raises(psycopg.errors.RestrictViolation, match="never changed"):
            execute(plain_dsn, statement)
    assert len(admin.get("/api/audit").json()["entries"]) == len(entries)


def _check_pages(admin: httpx.Client, entries: list[Any]) -> None:
    paged: list[Any] = []
    cursor = None
    while True:
        page = admin.get("/api/audit", params={"limit": 4} | ({"cursor": cursor} if cursor else {})).json()
        paged += page["entries"]
        if (cursor := page["next"]) is None:
            break
    assert paged == entries
    day, next_day = "2026-05-04T00:00:00Z", "2026-05-05T00:00:00Z"
    wrong: list[dict[str, Any]] = [
        {"cursor": "0"},
        {"action": "x"},
        {"from": "2026-05-04T10:00:00"},
        {"user": "ada"},
    ]
    wrong += [{"from": "1.5"}, {"to": "9999-12-31T00:00:00Z"}, {"from": next_day, "to": day}]
    wrong += [{"form": day}, {"from": [day, next_day]}]
    for query in wrong:
        assert admin.get("/api/audit", params=query).status_code == 400, query


def test_access_from_the_command_line(
    plain_dsn: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    make_junctions(plain_dsn, "First", "Second")
    # In this process, whose log is the tests' own.
    monkeypatch.setattr("collector.commands.database.set_up_logging", lambda _: None)

    def user(*arguments: str, exit_code: int = 0) -> str:
        monkeypatch.setattr("sys.stdin", io.StringIO(PASSWORD + "\n"))
        assert main(["user", *arguments, "--dsn", plain_dsn]) == exit_code
        return "".join(capsys.readouterr())

    add = ("add", "--password-stdin", "--role")
    assert "sees no junction yet" in user(*add, "viewer", "nina")
    assert "no junction" not in user(*add, "operator", "otto", "--junction", "First", "--level", "operate")
    assert "viewer, though" in user("grant", "Nina", "--junction", "Second", "--level", "operate")
    user("withdraw", "otto", "--junction", "First")
    user(*add, "viewer", "eve", "--all-junctions")
    wrong = user(*add, "viewer", "zoe", "--junction", "Third", exit_code=78)
    assert "--junction Third: there is no such junction" in wrong
    with psycopg.connect(plain_dsn) as connection:
        may = connection.execute("SELECT user_name, junction_name, granted_level, why FROM v_user_permissions")
        assert sorted(may.fetchall()) == [
            ("eve", "First", None, "all_junctions"),
            ("eve", "Second", None, "all_junctions"),
            ("nina", "Second", "operate", "granted"),
        ]
        done = connection.execute("SELECT DISTINCT address, user_id FROM audit_log").fetchall()
    assert done == [("command line", None)]
