"""What `GET /api/counts` and `GET /api/sources` answer: exact, and never zero for what was not measured."""

import asyncio
import random
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from litestar import Litestar
from litestar.testing import TestClient

from collector.config import Retention
from collector.counting.routes import counting_routes
from collector.store.maintenance import maintain
from tests.integration.facts import Facts
from tests.integration.reader import get, reading_client
from tests.integration.test_rollups import bucket_of, drain

NOON = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)


@pytest.fixture(scope="module")
def idle(module_dsn: str) -> Iterator[TestClient[Litestar]]:
    """A reader of a store with one junction, in which nothing counts."""
    Facts(module_dsn).commit()
    with reading_client(module_dsn, counting_routes) as client:
        yield client


def _counts(dsn: str, **params: Any) -> Any:
    with reading_client(dsn, counting_routes) as client:
        return get(client, "/api/counts", **params)


def _refusal(client: TestClient[Litestar], **params: Any) -> Any:
    response = client.get("/api/counts", params=params)
    assert response.headers["content-type"] == "application/problem+json"
    return response.json()


def _asked(start: datetime, end: datetime, bucket: str) -> dict[str, str]:
    return {"from": start.isoformat(), "to": end.isoformat(), "bucket": bucket}


def _buckets(answer: Any, source: int = 0) -> list[tuple[str, float | None, int | None]]:
    return [(b["state"], b["measured_s"], b["n"]) for b in answer["sources"][source]["buckets"]]


def test_what_was_not_measured_is_no_count_and_what_was_partly_measured_says_so(dsn: str) -> None:
    facts = Facts(dsn)
    facts.source()
    facts.frames(NOON + timedelta(minutes=1), span_s=60, measured_s=60)
    facts.frames(NOON + timedelta(minutes=2), span_s=60, measured_s=30)
    facts.count(NOON + timedelta(seconds=70))
    facts.count(NOON + timedelta(seconds=190), inferred=True)
    facts.commit()
    for rolled_up in (False, True):
        if rolled_up:
            drain(dsn)
        answer = _counts(dsn, **_asked(NOON, NOON + timedelta(minutes=5), "1m"))
        assert answer["exact"] is True
        assert (answer["pending_minutes"] > 0) is not rolled_up
        assert _buckets(answer) == [
            ("measured", 60.0, 0),
            ("partly", 30.0, 1),
            ("not_measured", 0.0, None),
            ("partly", 0.0, 1),
            ("not_measured", 0.0, None),
        ]
        assert answer["sources"][0]["buckets"][3]["counts"] == [
            {"class": "car", "direction": "in", "n": 1, "inferred": 1}
        ]


def test_a_source_without_a_sensor_cannot_prove_when_it_measured(dsn: str) -> None:
    facts = Facts(dsn)
    facts.count(NOON, "object", "none", source="gate", via="rfid")
    facts.commit()
    answer = _counts(dsn, **_asked(NOON, NOON + timedelta(minutes=2), "1m"))
    assert _buckets(answer) == [("unproven", None, 1), ("unproven", None, None)]


@pytest.mark.parametrize("bucket", ["1m", "15m", "1h", "1d"])
@pytest.mark.parametrize("zone", ["UTC", "America/St_Johns"])
def test_every_bucket_is_exact_while_late_data_waits(dsn: str, zone: str, bucket: str) -> None:
    """Some facts rolled up, some on top of rolled up ones, some not yet: the sum is that of an oracle."""
    facts = Facts(dsn, timezone=zone)
    chance = random.Random(7)
    start = datetime(2026, 3, 7, 12, 10, tzinfo=UTC)  # the clocks change in St. John's
    step_s = {"1m": 60, "15m": 900, "1h": 3600, "1d": 86400}[bucket]
    expected: Counter[tuple[str, str, str]] = Counter()
    for round_no in range(3):
        for _ in range(60):
            at = start + timedelta(seconds=chance.randrange(0, 24 * 3600))
            cls, direction = chance.choice(["car", "bus"]), chance.choice(["in", "out"])
            facts.count(at, cls, direction)
            expected[bucket_of(at, step_s, zone).isoformat(), cls, direction] += 1
        facts.commit()
        if round_no < 2:
            drain(dsn)
    answer = _counts(dsn, **_asked(start, start + timedelta(days=1), bucket))
    buckets = answer["sources"][0]["buckets"]
    found = {
        (datetime.fromisoformat(each["from"]).isoformat(), item["class"], item["direction"]): item["n"]
        for each in buckets
        for item in each["counts"]
    }
    assert found == expected
    assert sum(each["n"] or 0 for each in buckets) == 180
    edges = [each["from"] for each in buckets[1:]]
    assert edges == [each["to"] for each in buckets[:-1]]
    assert datetime.fromisoformat(buckets[0]["from"]) == bucket_of(start, step_s, zone)


def test_filters_repeat_and_combine(dsn: str) -> None:
    facts = Facts(dsn)
    for cls, direction, source in (
        ("car", "in", "a"),
        ("bus", "in", "a"),
        ("car", "out", "a"),
        ("bicycle", "out", "b"),
    ):
        facts.count(NOON, cls, direction, source=source)
    facts.count(NOON, source="a", via="truth")
    facts.commit()
    asked = _asked(NOON, NOON + timedelta(minutes=1), "1m")

    def totals(**filters: Any) -> list[int | None]:
        answer = _counts(dsn, **asked, **filters)
        return [series["buckets"][0]["n"] for series in answer["sources"]]

    assert totals() == [3, 1, 1]
    assert totals(via="camera") == [3, 1]
    assert totals(via="camera", source=["a", "b"]) == [3, 1]
    assert totals(via="camera", source="a", class_=["car", "bus"]) == [3]
    assert totals(via="camera", source="a", class_="car", direction=["out"]) == [1]
    assert totals(via="truth", junction=facts.junction) == [1]
    source_id = _counts(dsn, **asked)["sources"][0]["source"]["id"]
    assert totals(source=source_id) == [3]


def test_how_fresh_it_is_is_told(dsn: str) -> None:
    facts = Facts(dsn)
    facts.count(NOON)
    facts.connection.execute("UPDATE ingest_streams SET last_at = %s", (NOON,))
    facts.commit()
    series = _counts(dsn, **_asked(NOON, NOON + timedelta(hours=1), "1h"))["sources"][0]
    assert datetime.fromisoformat(series["last_at"]) == NOON
    assert datetime.fromisoformat(series["received_at"]) <= datetime.now(UTC)


def test_nothing_asked_for_gives_the_last_day(dsn: str) -> None:
    facts = Facts(dsn)
    facts.count(datetime.now(UTC) - timedelta(minutes=5))
    facts.commit()
    answer = _counts(dsn)
    assert len(answer["sources"][0]["buckets"]) in (25, 26)
    assert sum(each["n"] or 0 for each in answer["sources"][0]["buckets"]) == 1


def test_counts_outlive_their_raw_rows_and_late_ones_are_seen_at_once(dsn: str) -> None:
    facts = Facts(dsn)
    facts.count(NOON)
    facts.commit()
    drain(dsn)
    asyncio.run(maintain(dsn, NOON + timedelta(days=40), Retention(count_events=30)))
    facts.count(NOON)
    facts.commit()
    for _ in range(2):
        for bucket in ("1m", "1d"):
            answer = _counts(dsn, **_asked(NOON, NOON + timedelta(minutes=1), bucket))
            assert [each["n"] for each in answer["sources"][0]["buckets"]] == [2]
        drain(dsn)


def test_an_offset_may_be_written_with_a_plus_that_was_not_escaped(idle: TestClient[Litestar]) -> None:
    response = idle.get("/api/counts?from=2026-05-04T12:00:00+02:00&to=2026-05-04T13:00:00%2B02:00")
    assert response.status_code == 200, response.text


@pytest.mark.parametrize(
    ("params", "parameter", "told"),
    [
        ({"from": "yesterday"}, "from", "'yesterday' is not a time with an offset from UTC"),
        ({"from": "2026-05-04T12:00:00"}, "from", "is not a time with an offset"),
        ({"to": "2026-05-04"}, "to", "is not a time with an offset"),
        ({"to": "9999-05-04T00:00:00Z"}, "to", "outside the years 1970 to 2200"),
        (
            {"from": "2026-05-04T12:00:00Z", "to": "2026-05-04T12:00:00Z"},
            "from",
            "12:00:00Z is not before `to`, which is 2026-",
        ),
        (
            {"from": "2020-05-04T12:00:00Z", "to": "2026-05-04T12:00:00Z", "bucket": "1m"},
            "from",
            "ask for a shorter time, longer buckets or fewer sources",
        ),
    ],
)
def test_a_wrong_time_is_told_by_its_parameter(
    idle: TestClient[Litestar], params: dict[str, str], parameter: str, told: str
) -> None:
    problem = _refusal(idle, **params)
    assert (problem["status"], problem["code"], problem["parameter"]) == (400, "parameter_invalid", parameter)
    assert told in problem["detail"]


@pytest.mark.parametrize(
    ("params", "detail"),
    [
        ({"bucket": "2h"}, "bucket: Invalid enum value '2h'; it is one of 1m, 15m, 1h, 1d"),
        ({"direction": "north"}, "direction: Invalid enum value 'north'; it is one of in, out, none"),
        ({"via": "radar"}, "via: Invalid enum value 'radar'; it is one of camera, rfid, "),
    ],
)
def test_a_wrong_choice_is_told_by_its_parameter(
    idle: TestClient[Litestar], params: dict[str, str], detail: str
) -> None:
    problem = _refusal(idle, **params)
    assert problem["status"] == 400
    assert problem["detail"].startswith(detail)


def test_a_source_that_does_not_exist_is_no_empty_road(idle: TestClient[Litestar]) -> None:
    for parameter in ("source", "junction"):
        problem = _refusal(idle, **{parameter: "nowhere"})
        assert (problem["status"], problem["code"]) == (404, f"{parameter}_unknown")
        assert f"{parameter}=nowhere" in problem["detail"]


def test_sources_are_listed_in_pages(plain_dsn: str) -> None:
    facts = Facts(plain_dsn)
    for name in ("c", "a", "b"):
        facts.source(name)
    facts.source("gate", "rfid", "reader")
    facts.commit()
    with reading_client(plain_dsn, counting_routes) as client:
        first = get(client, "/api/sources", limit=3)
        second = get(client, "/api/sources", limit=3, offset=first["next_offset"])
        readers = get(client, "/api/sources", via="rfid")
    assert [each["name"] for each in first["sources"]] == ["a", "b", "c"]
    assert [each["name"] for each in second["sources"]] == ["gate"]
    assert second["next_offset"] is None
    assert first["sources"][0]["camera"]["name"] == "north"
    assert first["sources"][0]["junction"]["name"] == facts.junction
    assert [(each["kind"], each["camera"]) for each in readers["sources"]] == [("reader", None)]


def test_the_description_names_every_parameter_and_gives_examples(idle: TestClient[Litestar]) -> None:
    schema = get(idle, "/schema/openapi.json")
    operation = schema["paths"]["/api/counts"]["get"]
    names = {each["name"] for each in operation["parameters"]}
    assert names == {"source", "junction", "via", "from", "to", "bucket", "class", "direction"}
    assert operation["responses"]["200"]["content"]["application/json"]["examples"]
    bucket = schema["components"]["schemas"]["BucketItem"]["properties"]
    assert set(bucket) == {"from", "to", "state", "measured_s", "n", "counts"}
