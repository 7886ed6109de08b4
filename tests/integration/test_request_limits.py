"""One reader in a loop is told to slow down; others are not slowed."""

import asyncio
from datetime import timedelta

import httpx

from collector.identity.users import Role
from collector.ops.limits import ForgettingStore
from tests.integration.test_users import make_user, sign_in
from tests.servers.collector import running_collector

LIMIT = 4


def test_a_reader_is_told_when_to_ask_again(plain_dsn: str) -> None:
    make_user(plain_dsn, "Ada", Role.ADMIN)
    with (
        running_collector(plain_dsn, requests_per_minute=LIMIT) as running,
        httpx.Client(base_url=running.url) as client,
    ):
        token = {"Authorization": f"Bearer {sign_in(client).json()['access_token']}"}
        client.cookies.clear()
        assert client.get("/api/users/me", headers=token).status_code == 200
        answers = [client.get("/api/junctions") for _ in range(LIMIT - 1)]
        assert [answer.status_code for answer in answers] == [200] * (LIMIT - 2) + [429]
        refused = answers[-1].json()
        assert refused["code"] == "too_many_requests"
        assert 1 <= int(answers[-1].headers["Retry-After"]) <= 60
        assert refused["retry_after_s"] <= 60
        made_up = [{"Authorization": f"Bearer stl_{n}"} for n in range(2)] + [{"Cookie": "stopline_access=x"}]
        told = [client.get("/api/junctions", headers=each).status_code for each in made_up]
        assert told == [429] * 3, "whoever makes up tokens is still the same reader"
        answers = [client.get("/api/junctions", headers=token) for _ in range(LIMIT + 1)]
        assert [answer.status_code for answer in answers] == [200] * LIMIT + [429], "a session is another reader"
        assert client.get("/health").status_code == 200
        batch = client.post("/api/ingest/batches", content=b"{}")
        assert batch.status_code == 401, "devices are not limited"


def test_readers_who_come_no_more_are_forgotten() -> None:
    async def is_there(store: ForgettingStore) -> list[bool]:
        await store.set("gone", "1", timedelta(seconds=-1))
        await store.set("here", "1", 1000)
        await store.get("here")
        return [await store.exists(key) for key in ("gone", "here")]

    assert asyncio.run(is_there(ForgettingStore(1000.0))) == [True, True], "otherwise it was not tried"
    assert asyncio.run(is_there(ForgettingStore(0.0))) == [False, True]
