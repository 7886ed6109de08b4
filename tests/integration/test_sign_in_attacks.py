"""What somebody tries who has no business here, with two workers on one database."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import psycopg
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from collector.identity.access import ACCESS_COOKIE
from collector.identity.passwords import Passwords
from collector.identity.users import Role
from tests.integration.test_users import OTHER, PASSWORD, bearer, code, execute, make_user, sign_in
from tests.servers.collector import RunningCollector, running_collector
from tests.waiting import until

N_GUESSES = 60


@pytest.fixture
def workers(plain_dsn: str) -> Iterator[tuple[RunningCollector, RunningCollector]]:
    make_user(plain_dsn, "Ada", Role.ADMIN)
    make_user(plain_dsn, "vic", Role.VIEWER)
    with (
        running_collector(plain_dsn, reading_open=False, open_registration=True) as first,
        running_collector(plain_dsn, reading_open=False) as second,
    ):
        yield first, second


def test_workers_refuse_together(workers: tuple[RunningCollector, RunningCollector], plain_dsn: str) -> None:
    first, second = (httpx.Client(base_url=each.url, timeout=60) for each in workers)
    with first, second:
        _many_guesses_at_once_are_no_more_than_in_a_row(first, second)
        execute(plain_dsn, "DELETE FROM failed_sign_ins")
        for _ in range(5):
            sign_in(first, "vic", OTHER)
        assert code(sign_in(second, "VIC")) == (429, "sign_in_throttled")
        execute(plain_dsn, "DELETE FROM failed_sign_ins")
        session = sign_in(first, "vic").json()
        here = {"Authorization": f"Bearer {session['access_token']}"}
        assert second.get("/api/users/me", headers=here).status_code == 200
        body = {"refresh_token": session["refresh_token"]}
        assert first.post("/api/users/refresh", json=body).status_code == 200
        assert code(second.post("/api/users/refresh", json=body)) == (401, "refresh_raced")
        execute(plain_dsn, "UPDATE refresh_tokens SET used_at = used_at - interval '1 minute'")
        assert code(second.post("/api/users/refresh", json=body)) == (401, "refresh_refused")
        [stolen] = second.get("/api/audit", params={"action": "session_stolen"}, headers=bearer(second)).json()[
            "entries"
        ]
        assert (stolen["user_id"], stolen["subject"]["name"]) == (None, "vic")
        _nobody_becomes_many_users(first)


def _many_guesses_at_once_are_no_more_than_in_a_row(first: httpx.Client, second: httpx.Client) -> None:
    def guess(n: int) -> int:
        return sign_in((first, second)[n % 2], "vic", f"a wrong password {n}").status_code

    with ThreadPoolExecutor(N_GUESSES) as pool:
        told = Counter(pool.map(guess, range(N_GUESSES)))
    assert set(told) == {401, 429}
    # Five are free; each worker checks two at once; a slow machine sees a short wait end.
    assert 5 <= told[401] < N_GUESSES / 2, told


def _nobody_becomes_many_users(client: httpx.Client) -> None:
    def register(n: int) -> int:
        return client.post("/api/users/register", json={"name": f"u{n}", "password": PASSWORD}).status_code

    with ThreadPoolExecutor(30) as pool:
        told = Counter(pool.map(register, range(30)))
    assert set(told) == {201, 429}
    assert 20 <= told[201] <= 24, "a slow machine sees a short wait end"


def test_what_pages_of_other_sites_send_does_nothing(
    workers: tuple[RunningCollector, RunningCollector],
) -> None:
    with httpx.Client(base_url=workers[0].url) as browser:
        form = b'{"name": "ada", "password": "three quiet green lamps"}'
        foreign: list[dict[str, str]] = [
            {"Sec-Fetch-Site": "cross-site", "Content-Type": "application/json"},
            {"Sec-Fetch-Site": "same-site", "Content-Type": "application/json"},
            {"Origin": "https://elsewhere.example", "Content-Type": "text/plain"},
            {"Origin": "null"},
        ]
        for headers in foreign:
            for path, content in (("login", form), ("refresh", b'{"refresh_token": "the attacker\'s own"}')):
                refused = browser.post(f"/api/users/{path}", content=content, headers=headers)
                assert code(refused) == (403, "foreign_page"), headers
        assert not browser.cookies
        own = {"Sec-Fetch-Site": "same-origin", "Origin": workers[0].url, "Content-Type": "application/json"}
        assert browser.post("/api/users/login", content=form, headers=own).status_code == 200
        url = f"ws://127.0.0.1:{workers[0].port}/ws/live/counts"
        cookie = {"Cookie": f"{ACCESS_COOKIE}={browser.cookies[ACCESS_COOKIE]}"}
        with connect(url, additional_headers=cookie | {"Origin": workers[0].url}):
            pass
        for headers in ({"Origin": "http://127.0.0.1:1"}, {"Sec-Fetch-Site": "same-site"}):
            with pytest.raises(InvalidStatus), connect(url, additional_headers=cookie | headers):
                pass


def test_what_was_stolen_opens_no_more_than_it_must(
    workers: tuple[RunningCollector, RunningCollector],
) -> None:
    with httpx.Client(base_url=workers[0].url) as browser:
        admin = bearer(browser)
        made = browser.post("/api/users/me/tokens", json={"name": "x", "role": "admin"}, headers=admin).json()
        program = {"Authorization": f"Bearer {made['token']}"}
        assert browser.get("/api/users", headers=program).status_code == 200
        another = browser.post("/api/users/me/tokens", json={"name": "y"}, headers=program)
        assert code(another) == (403, "person_needed")
        me = browser.get("/api/users/me", headers=admin).json()["id"]
        reset = browser.post(f"/api/users/{me}/password", json={"password": OTHER}, headers=admin)
        assert code(reset) == (403, "password_own"), "the present one is needed"
        wrong = {"old_password": OTHER, "new_password": "a third password"}
        told = [browser.post("/api/users/me/password", json=wrong, headers=admin).status_code for _ in range(7)]
        assert told[0] == 403
        assert told[-1] == 429, "guessing is as slow there as at the door"
        for name in ("a\0b", "a\x1fb", "ada\u200b", "\u202eada", "ada\ufeff"):
            bodies: list[tuple[str, dict[str, Any]]] = [
                ("login", {"name": name, "password": PASSWORD}),
                ("register", {"name": name, "password": PASSWORD}),
            ]
            for path, body in bodies:
                refused = browser.post(f"/api/users/{path}", json=body)
                assert code(refused) == (400, "bad_request"), name
                assert "a blank at its beginning or end" in refused.json()["detail"], "and no regular expression"


def test_addresses_are_those_that_a_trusted_proxy_tells(plain_dsn: str) -> None:
    make_user(plain_dsn, "Ada", Role.ADMIN)
    user = make_user(plain_dsn, "vic", Role.VIEWER)
    forwarded = {"X-Forwarded-For": "203.0.113.9, 198.51.100.7"}
    for trusted, expected in (("", "127.0.0.1"), ("10.0.0.0/8, 127.0.0.1", "198.51.100.7")):
        with (
            running_collector(plain_dsn, reading_open=False, trusted_proxies=trusted) as running,
            httpx.Client(base_url=running.url, headers=forwarded) as client,
        ):
            sign_in(client)
            entries = client.get("/api/audit", params={"action": "signed_in"}).json()["entries"]
            assert entries[0]["address"] == expected
            if trusted:
                _who_guesses_elsewhere_keeps_nobody_out(client, plain_dsn, user)


def _who_guesses_elsewhere_keeps_nobody_out(client: httpx.Client, dsn: str, user: str) -> None:
    def tries(address: str, password: str = PASSWORD) -> int:
        client.headers["X-Forwarded-For"] = address
        return sign_in(client, "vic", password).status_code

    def guess(address: str, password: str = OTHER) -> None:
        assert [tries(address, password) for _ in range(5)] == [401] * 5
        # From the fifth on there is a wait, here one that nobody sees the end of.
        hold = "UPDATE failed_sign_ins SET blocked_until = now() + interval '1 hour' WHERE blocked_until > %s"
        execute(dsn, hold, datetime.now(UTC) - timedelta(hours=1))

    home, office, afar, anew = "198.51.100.1", "2001:db8::1", "203.0.113.9", "192.0.2.7"
    assert (tries(home), tries(office)) == (200, 200)
    guess(afar)
    assert (tries(home), tries("2001:db8::77")) == (200, 200), "an IPv6 network is one"
    assert (tries(anew), tries(afar)) == (429, 429), "the user's own success frees nobody else"
    guess(home)
    assert (tries(home), tries(office)) == (429, 200)
    execute(dsn, "UPDATE familiar_networks SET last_at = last_at - interval '31 days'")
    assert tries(office) == 429, "that was long ago"
    # An admin who sets another password opens all doors, and none is familiar any more.
    client.headers["X-Forwarded-For"] = anew
    path, admin = f"/api/users/{user}/password", bearer(client)
    assert client.post(path, json={"password": OTHER}, headers=admin).status_code == 204
    assert tries(home, OTHER) == 200
    guess(afar, PASSWORD)
    assert (tries(home, OTHER), tries(office, OTHER)) == (200, 429)


def test_passwords_are_hashed_as_rfc_9106_says() -> None:
    assert asyncio.run(Passwords().hash(PASSWORD)).startswith("$argon2id$v=19$m=65536,t=3,p=4$")


def test_a_session_that_ends_takes_all_with_it(plain_dsn: str) -> None:
    make_user(plain_dsn, "vic", Role.VIEWER)
    with running_collector(plain_dsn, reading_open=False) as running, httpx.Client(base_url=running.url) as client:

        def opens(session: dict[str, str]) -> bool:
            headers = {"Authorization": f"Bearer {session['access_token']}"}
            return client.get("/api/users/me", headers=headers).status_code == 200

        def refresh(session: dict[str, str]) -> httpx.Response:
            return client.post("/api/users/refresh", json={"refresh_token": session["refresh_token"]})

        first, second = sign_in(client, "vic").json(), sign_in(client, "vic").json()
        client.cookies.clear()
        later = refresh(first).json()
        assert client.post("/api/users/logout", json={"refresh_token": later["refresh_token"]}).status_code == 204
        assert [opens(each) for each in (first, later, second)] == [False, False, True]
        # Whoever goes on with a session while it is ended gets no further.
        with psycopg.connect(plain_dsn) as connection, ThreadPoolExecutor(1) as pool:
            connection.execute("UPDATE users SET token_version = token_version + 1")
            raced = pool.submit(refresh, second)
            _wait_for_a_lock(plain_dsn, raced)
            connection.execute("UPDATE refresh_tokens SET revoked_at = now() WHERE revoked_at IS NULL")
            connection.commit()
            assert code(raced.result()) == (401, "refresh_refused")
            # Nor does whoever signs in with a password that is just being changed.
            connection.execute("UPDATE users SET password_hash = 'another'")
            raced = pool.submit(sign_in, client, "vic")
            _wait_for_a_lock(plain_dsn, raced)
            connection.commit()
            assert code(raced.result()) == (401, "sign_in_refused")


def _wait_for_a_lock(dsn: str, raced: "Future[httpx.Response]") -> None:
    """Until somebody waits for what another transaction holds."""
    waiting = (
        "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    )
    with psycopg.connect(dsn, autocommit=True) as connection:
        until(lambda: raced.done() or connection.execute(waiting.encode()).fetchall()[0][0] > 0)
    assert not raced.done(), raced.result().text
