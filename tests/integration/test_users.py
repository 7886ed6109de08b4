"""Signing in and out over real HTTP, and what tokens, cookies and roles open."""

import asyncio
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any
from uuid import UUID, uuid4

import httpx
import jwt
import psycopg
import pytest

from collector.db import Settings, make_pool
from collector.identity.access import ACCESS_COOKIE, CSRF_COOKIE, CSRF_HEADER, REFRESH_COOKIE
from collector.identity.tokens import make_access_token
from collector.identity.users import Role, Users
from tests.integration.test_collector_cli import run
from tests.servers.collector import RunningCollector, running_collector, weak_passwords

PASSWORD = "three quiet green lamps"
OTHER = "a bus waits at the stop line"


@contextmanager
def with_users(dsn: str) -> Iterator[RunningCollector]:
    make_user(dsn, "Ada", Role.ADMIN)
    make_user(dsn, "vic", Role.VIEWER)
    with running_collector(dsn, reading_open=False) as running:
        yield running


@pytest.fixture(scope="module")
def collector(module_dsn: str) -> Iterator[RunningCollector]:
    with with_users(module_dsn) as running:
        yield running


@pytest.fixture
def browser(collector: RunningCollector) -> Iterator[httpx.Client]:
    """Keeps cookies, as a browser does. Its users are everybody's: they stay as they are, and can sign in."""
    with httpx.Client(base_url=collector.url) as client:
        yield client


@pytest.fixture
def alone(plain_dsn: str) -> Iterator[httpx.Client]:
    """A browser of a collector of the test's own, whose users it may change."""
    with with_users(plain_dsn) as running, httpx.Client(base_url=running.url) as client:
        yield client


def make_user(dsn: str, name: str, role: Role, password: str = PASSWORD, *, all_junctions: bool = False) -> str:
    """As `user add` does; the user's id."""

    async def make() -> str:
        async with make_pool(Settings(dsn, min_size=1, max_size=1)) as pool:
            users = Users(pool, weak_passwords())
            return str(await users.create(name, password, role, all_junctions=all_junctions))

    # In a thread of its own: where a browser is driven, this one has an event loop already.
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, make()).result()


def sign_in(client: httpx.Client, name: str = "ada", password: str = PASSWORD) -> httpx.Response:
    return client.post("/api/users/login", json={"name": name, "password": password})


def bearer(client: httpx.Client, name: str = "ada") -> dict[str, str]:
    with httpx.Client(base_url=client.base_url) as other:
        return {"Authorization": f"Bearer {sign_in(other, name).json()['access_token']}"}


def csrf(client: httpx.Client) -> dict[str, str]:
    return {CSRF_HEADER: client.cookies[CSRF_COOKIE]}


def code(response: httpx.Response) -> tuple[int, str]:
    return response.status_code, response.json()["code"]


def execute(dsn: str, statement: str, *values: Any) -> None:
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(statement.encode(), values)


def test_a_session_from_sign_in_to_sign_out(browser: httpx.Client) -> None:
    assert code(browser.get("/api/junctions")) == (401, "sign_in_needed")
    signed_in = sign_in(browser)
    assert signed_in.status_code == 200
    assert signed_in.headers["cache-control"] == "no-store"
    assert browser.get("/api/junctions").status_code == 200
    me = browser.get("/api/users/me").json()
    assert (me["name"], me["role"], me["status"]) == ("Ada", "admin", "active")
    old = browser.cookies[REFRESH_COOKIE]
    assert browser.post("/api/users/refresh", headers=csrf(browser)).status_code == 200
    assert browser.cookies[REFRESH_COOKIE] != old
    assert browser.post("/api/users/logout", headers=csrf(browser)).status_code == 204
    assert ACCESS_COOKIE not in browser.cookies
    assert code(browser.get("/api/users/me")) == (401, "sign_in_needed")


def test_cookies_are_out_of_reach_of_scripts_and_of_other_sites(browser: httpx.Client) -> None:
    cookies = {each.split("=")[0]: each.lower() for each in sign_in(browser).headers.get_list("set-cookie")}
    assert all("samesite=strict" in text for text in cookies.values())
    assert ["httponly" in cookies[name] for name in (ACCESS_COOKIE, REFRESH_COOKIE, CSRF_COOKIE)] == [
        True,
        True,
        False,
    ]
    assert "path=/api/users" in cookies[REFRESH_COOKIE]


def test_cookies_alone_change_nothing(browser: httpx.Client) -> None:
    sign_in(browser)
    for headers in ({}, {CSRF_HEADER: "guessed"}):
        assert code(browser.post("/api/users/invitations", json={}, headers=headers)) == (403, "csrf_refused")
        assert code(browser.post("/api/users/refresh", headers=headers)) == (403, "csrf_refused")
        assert code(browser.post("/api/users/logout", headers=headers)) == (403, "csrf_refused")
    assert browser.post("/api/users/invitations", json={}, headers=csrf(browser)).status_code == 201


def test_who_is_wrong_learns_nothing_and_has_to_wait(alone: httpx.Client) -> None:
    unknown = sign_in(alone, "nobody", OTHER)
    wrong = sign_in(alone, "ada", OTHER)
    assert code(unknown) == code(wrong) == (401, "sign_in_refused")
    assert unknown.json()["detail"] == wrong.json()["detail"]
    told = [code(sign_in(alone, "ada", OTHER)) for _ in range(6)]
    assert told[0] == (401, "sign_in_refused")
    assert told[-1] == (429, "sign_in_throttled")
    # Also with the right password, whatever its spelling, and in another browser.
    refused = sign_in(alone, "ADA")
    assert code(refused) == (429, "sign_in_throttled")
    assert int(refused.headers["retry-after"]) >= 1
    assert sign_in(alone, "vic").status_code == 200


def test_after_the_wait_the_right_password_is_taken_and_all_is_forgotten(
    alone: httpx.Client, plain_dsn: str
) -> None:
    for _ in range(5):
        sign_in(alone, "ada", OTHER)
    assert sign_in(alone).status_code == 429
    execute(plain_dsn, "UPDATE failed_sign_ins SET blocked_until = now()")
    assert sign_in(alone).status_code == 200
    assert code(sign_in(alone, "ada", OTHER)) == (401, "sign_in_refused")
    assert sign_in(alone).status_code == 200


def test_a_refresh_token_that_comes_again_ends_the_session(browser: httpx.Client, module_dsn: str) -> None:
    stolen = sign_in(browser).json()["refresh_token"]
    successor = browser.post("/api/users/refresh", json={"refresh_token": stolen}).json()["refresh_token"]
    again = browser.post("/api/users/refresh", json={"refresh_token": stolen})
    assert code(again) == (401, "refresh_raced"), "another tab may have been a moment faster"
    execute(module_dsn, "UPDATE refresh_tokens SET used_at = used_at - interval '1 minute'")
    assert code(browser.post("/api/users/refresh", json={"refresh_token": stolen})) == (401, "refresh_refused")
    ended = browser.post("/api/users/refresh", json={"refresh_token": successor})
    assert code(ended) == (401, "refresh_refused")
    assert "the session was ended" in ended.json()["detail"]


def test_of_many_who_refresh_at_once_one_gets_on(browser: httpx.Client) -> None:
    token = sign_in(browser).json()["refresh_token"]

    def refresh(_: int) -> int:
        body = {"refresh_token": token}
        return httpx.post(f"{browser.base_url}/api/users/refresh", json=body).status_code

    with ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(refresh, range(8))) == [200] + [401] * 7


def test_what_is_no_token_opens_nothing(browser: httpx.Client) -> None:
    for spoilt in ("Bearer", "Bearer x.y.z", "Bearer stl_unknown", "Bearer " + "a" * 5000, "Basic YTpi", "x"):
        refused = browser.get("/api/junctions", headers={"Authorization": spoilt})
        assert code(refused) == (401, "token_invalid"), spoilt


def test_only_our_own_unexpired_tokens_hold(browser: httpx.Client, module_dsn: str) -> None:
    token = bearer(browser)["Authorization"].removeprefix("Bearer ")
    claims = jwt.decode(token, options={"verify_signature": False})
    forged = [
        jwt.encode(claims, "k" * 32, algorithm="HS256"),
        jwt.encode(claims, "", algorithm="none"),
        jwt.encode(claims | {"aud": "others"}, "k" * 32, algorithm="HS256"),
    ]
    with psycopg.connect(module_dsn) as connection:
        [(secret,)] = connection.execute("SELECT value FROM secrets WHERE name = 'access_token_key'").fetchall()
    forged.append(make_access_token(bytes(secret), UUID(claims["sub"]), claims["ver"], time.time() - 1000))
    for each in forged:
        assert code(browser.get("/api/users/me", headers={"Authorization": f"Bearer {each}"})) == (
            401,
            "token_invalid",
        )
    held = make_access_token(bytes(secret), UUID(claims["sub"]), claims["ver"], time.time() - 800)
    assert browser.get("/api/users/me", headers={"Authorization": f"Bearer {held}"}).status_code == 200


def test_a_new_password_ends_all_other_sessions(alone: httpx.Client) -> None:
    before = bearer(alone)
    elsewhere = sign_in(alone).json()["refresh_token"]
    body = {"old_password": PASSWORD, "new_password": OTHER}
    wrong = {"old_password": OTHER, "new_password": OTHER}
    assert code(alone.post("/api/users/me/password", json=wrong, headers=before)) == (403, "password_wrong")
    changed = alone.post("/api/users/me/password", json=body, headers=before)
    assert changed.status_code == 200
    assert code(alone.get("/api/users/me", headers=before)) == (401, "token_invalid")
    assert alone.post("/api/users/refresh", json={"refresh_token": elsewhere}).status_code == 401
    now = {"Authorization": f"Bearer {changed.json()['access_token']}"}
    assert alone.get("/api/users/me", headers=now).status_code == 200
    assert sign_in(alone, "ada", PASSWORD).status_code == 401
    assert sign_in(alone, "ada", OTHER).status_code == 200


def test_a_password_that_is_none_is_refused_in_words(alone: httpx.Client) -> None:
    invitation = alone.post("/api/users/invitations", json={}, headers=bearer(alone)).json()["invitation"]
    body = {"name": "newcomer", "invitation": invitation}
    for password, why in (
        ("short", "12 are needed"),
        ("aaaaaaaaaaaaaaaa", "5 different"),
        ("newcomer-1234", "hardly more than"),
    ):
        refused = alone.post("/api/users/register", json=body | {"password": password})
        assert code(refused) == (422, "password_refused")
        assert why in refused.json()["detail"]
    held = alone.post("/api/users/register", json=body | {"password": PASSWORD})
    assert held.status_code == 201, "the invitation still holds"


def test_an_invitation_makes_one_user_with_its_role(alone: httpx.Client, plain_dsn: str) -> None:
    body = {"name": "Otto", "password": PASSWORD}
    assert code(alone.post("/api/users/register", json=body)) == (403, "invitation_needed")
    invite = alone.post("/api/users/invitations", json={"role": "operator"}, headers=bearer(alone))
    body["invitation"] = invite.json()["invitation"]
    taken = alone.post("/api/users/register", json=body | {"name": "VIC"})
    assert code(taken) == (409, "name_taken")
    assert alone.post("/api/users/register", json=body).status_code == 201
    again = alone.post("/api/users/register", json=body | {"name": "Otto the second"})
    assert code(again) == (403, "invitation_invalid")
    assert alone.get("/api/users/me", headers=bearer(alone, "otto")).json()["role"] == "operator"
    late = alone.post("/api/users/invitations", json={}, headers=bearer(alone)).json()["invitation"]
    execute(plain_dsn, "UPDATE invitations SET expires_at = now() WHERE used_at IS NULL")
    refused = alone.post("/api/users/register", json=body | {"name": "late", "invitation": late})
    assert code(refused) == (403, "invitation_invalid")


def test_open_registration_is_a_switch(plain_dsn: str) -> None:
    with running_collector(plain_dsn, reading_open=False, open_registration=True) as running:
        body = {"name": "passer-by", "password": PASSWORD}
        assert httpx.post(f"{running.url}/api/users/register", json=body).status_code == 201
        with httpx.Client(base_url=running.url) as client:
            sign_in(client, "passer-by")
            assert client.get("/api/users/me").json()["role"] == "viewer"


def test_what_only_admins_may(alone: httpx.Client) -> None:
    viewer, admin = bearer(alone, "vic"), bearer(alone)
    users = alone.get("/api/users", headers=admin).json()["users"]
    assert [user["name"] for user in users] == ["Ada", "vic"]
    vic = users[1]["id"]
    for method, path, body in (
        ("GET", "/api/users", None),
        ("PATCH", f"/api/users/{vic}", {"role": "admin"}),
        ("POST", f"/api/users/{vic}/password", {"password": OTHER}),
        ("POST", "/api/users/invitations", {"role": "admin"}),
    ):
        assert code(alone.request(method, path, json=body, headers=viewer)) == (403, "role_too_low"), path
    assert alone.get("/api/users/me", headers=viewer).json()["role"] == "viewer"
    assert code(alone.get(f"/api/users/{users[0]['id']}", headers=viewer)) == (403, "role_too_low")
    assert code(alone.get(f"/api/users/{uuid4()}", headers=viewer)) == (403, "role_too_low"), "nor who there is"
    assert code(alone.get(f"/api/users/{uuid4()}", headers=admin)) == (404, "user_unknown")
    bearer(alone, "vic")
    assert alone.post("/api/users/me/tokens", json={"name": "x"}, headers=viewer).status_code == 201
    mine, told = (alone.get(f"/api/users/{vic}", headers=by).json() for by in (viewer, admin))
    assert (
        mine
        == told
        == users[1]
        | {
            "signed_in_at": told["signed_in_at"],
            "sees_all": False,
            "junctions": [],
            "n_junctions": 0,
            "n_sessions": 2,
            "n_api_tokens": 1,
            "version": told["version"],
        }
    )
    promoted = alone.patch(f"/api/users/{vic}", json={"role": "operator"}, headers=admin)
    assert promoted.json()["role"] == "operator"
    assert code(alone.get("/api/users/me", headers=viewer)) == (401, "token_invalid"), "it was for another role"
    assert alone.post(f"/api/users/{vic}/password", json={"password": OTHER}, headers=admin).status_code == 204
    assert alone.get(f"/api/users/{vic}", headers=admin).json()["n_sessions"] == 0
    assert sign_in(alone, "vic", OTHER).status_code == 200


def test_a_user_who_is_disabled_is_out_at_once(alone: httpx.Client) -> None:
    viewer, admin = bearer(alone, "vic"), bearer(alone)
    token = alone.post("/api/users/me/tokens", json={"name": "export"}, headers=viewer).json()["token"]
    vic = alone.get("/api/users/me", headers=viewer).json()["id"]
    changed = alone.patch(f"/api/users/{vic}", json={"status": "disabled"}, headers=admin)
    assert changed.json()["status"] == "disabled"
    for headers in (viewer, {"Authorization": f"Bearer {token}"}):
        assert code(alone.get("/api/junctions", headers=headers)) == (401, "token_invalid")
    assert code(sign_in(alone, "vic")) == (401, "sign_in_refused")


def test_one_admin_stays(browser: httpx.Client) -> None:
    admin = bearer(browser)
    ada = browser.get("/api/users/me", headers=admin).json()["id"]
    for change in ({"role": "viewer"}, {"status": "disabled"}):
        assert code(browser.patch(f"/api/users/{ada}", json=change, headers=admin)) == (409, "last_admin")
    assert browser.patch(f"/api/users/{ada}", json={"display_name": "Ada L."}, headers=admin).status_code == 200


def test_a_program_has_a_token_of_its_own(alone: httpx.Client, plain_dsn: str) -> None:
    admin = bearer(alone)
    created = alone.post("/api/users/me/tokens", json={"name": "export", "days": 1}, headers=admin).json()
    program = {"Authorization": f"Bearer {created['token']}"}
    assert created["token"].startswith("stl_")
    assert alone.get("/api/junctions", headers=program).status_code == 200
    assert code(alone.get("/api/users", headers=program)) == (403, "role_too_low"), "a viewer's token of an admin"
    change = {"old_password": PASSWORD, "new_password": OTHER}
    assert code(alone.post("/api/users/me/password", json=change, headers=program)) == (403, "person_needed")
    other = alone.post("/api/users/me/tokens", json={"name": "more", "role": "admin"}, headers=admin).json()
    path = f"/api/users/me/tokens/{other['details']['id']}"
    assert code(alone.delete(path, headers=program)) == (403, "person_needed"), "a lesser token ends a greater"
    itself = {"Authorization": f"Bearer {other['token']}"}
    assert alone.delete(path, headers=itself).status_code == 204
    [kept] = alone.get("/api/users/me/tokens", headers=admin).json()
    assert (kept["name"], kept["role"], kept["used_at"] is not None) == ("export", "viewer", True)
    assert created["token"] not in str(kept)
    execute(plain_dsn, "UPDATE api_tokens SET expires_at = now()")
    assert code(alone.get("/api/junctions", headers=program)) == (401, "token_invalid")
    execute(plain_dsn, "UPDATE api_tokens SET expires_at = NULL")
    assert alone.get("/api/junctions", headers=program).status_code == 200
    assert alone.delete(f"/api/users/me/tokens/{kept['id']}", headers=bearer(alone, "vic")).status_code == 404
    assert alone.delete(f"/api/users/me/tokens/{kept['id']}", headers=admin).status_code == 204
    assert code(alone.get("/api/junctions", headers=program)) == (401, "token_invalid")


def test_nobody_gives_more_than_they_have(browser: httpx.Client) -> None:
    body = {"name": "mine", "role": "operator"}
    refused = browser.post("/api/users/me/tokens", json=body, headers=bearer(browser, "vic"))
    assert code(refused) == (403, "role_too_low")


def test_what_is_no_sign_in_is_told(browser: httpx.Client) -> None:
    bodies: list[Any] = [{}, {"name": "", "password": "x"}, {"name": " a ", "password": "x"}, {"name": "a"}, []]
    for body in [*bodies, {"name": 3, "password": 4}, {"name": "a", "password": "b", "remember": True}]:
        refused = browser.post("/api/users/login", json=body)
        assert refused.status_code == 400, body
        assert refused.headers["content-type"].startswith("application/problem+json")


def test_no_secret_is_kept_as_it_is(browser: httpx.Client, module_dsn: str) -> None:
    session = sign_in(browser).json()
    invitation = browser.post("/api/users/invitations", json={}, headers=csrf(browser)).json()["invitation"]
    token = browser.post("/api/users/me/tokens", json={"name": "x"}, headers=csrf(browser)).json()["token"]
    tables = ("users", "refresh_tokens", "api_tokens", "invitations", "failed_sign_ins")
    with psycopg.connect(module_dsn) as connection:
        kept = str([connection.execute(f"SELECT * FROM {table}".encode()).fetchall() for table in tables])
    for secret in (session["refresh_token"], session["access_token"], invitation, token, PASSWORD):
        assert secret not in kept
    assert "$argon2id$" in kept


def test_the_first_admin_comes_from_the_command_line(plain_dsn: str) -> None:
    made = run("user", "add", "root", "--generate", "--dsn", plain_dsn)
    assert made.returncode == 0, made.stderr
    password = made.stdout.rpartition("password: ")[2].strip()
    with running_collector(plain_dsn, reading_open=False) as running, httpx.Client(base_url=running.url) as client:
        assert sign_in(client, "root", password).status_code == 200, "hashed in earnest, and verified"
        assert client.get("/api/users/me").json()["role"] == "admin"
        again = run("user", "add", "Root", "--generate", "--dsn", plain_dsn)
        assert (again.returncode, "there is a user" in again.stderr) == (78, True)
        changed = run("user", "password", "ROOT", "--password-stdin", "--dsn", plain_dsn, typed=OTHER + "\n")
        assert changed.returncode == 0, changed.stderr
        assert client.get("/api/users/me").status_code == 401
        assert sign_in(client, "root", OTHER).status_code == 200
    unasked = run("user", "add", "x", "--dsn", plain_dsn)
    assert "--generate or --password-stdin" in unasked.stderr
    listed = run("user", "list", "--dsn", plain_dsn).stdout
    assert "root" in listed
    assert "signed in" in listed
