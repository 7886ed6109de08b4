"""One reader in a loop is told to slow down; others are not slowed."""

import httpx

from tests.servers.collector import running_collector


def test_a_reader_is_told_when_to_ask_again(plain_dsn: str) -> None:
    with (
        running_collector(plain_dsn, requests_per_minute=3) as running,
        httpx.Client(base_url=running.url) as client,
    ):
        answers = [client.get("/api/junctions") for _ in range(4)]
        assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
        refused = answers[-1].json()
        assert refused["code"] == "too_many_requests"
        assert 1 <= int(answers[-1].headers["Retry-After"]) <= 60
        assert refused["retry_after_s"] <= 60
        other = client.get("/api/junctions", headers={"Authorization": "Bearer stl_another"})
        assert other.status_code == 200, "whoever shows another token is another reader"
        assert client.get("/health").status_code == 200
        batch = client.post("/api/ingest/batches", content=b"{}")
        assert batch.status_code == 401, "devices are not limited"
