"""Journeys of tags between junctions, over real HTTP: against a slow reading of the same passages, and by hand."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import httpx
import pytest

from collector.identity.users import Role
from collector.journeys.distribution import Bin, Visits, by_visits, histogram
from edge_agent.domain.epc import EpcForm, EpcMask
from tests.integration.facts import Facts
from tests.integration.test_users import bearer, execute, make_user
from tests.servers.collector import RunningCollector, running_collector

DAY = datetime(2026, 5, 4, tzinfo=UTC)
SPAN = {"from": "2026-05-04T00:00:00Z", "to": "2026-05-05T00:00:00Z"}


@pytest.fixture
def collector(dsn: str) -> Iterator[RunningCollector]:
    with running_collector(dsn) as running:
        yield running


def passages(facts: Facts, *read: tuple[float, str | None], error_ms: int = 0, reader: str = "gate") -> None:
    """Readings at a junction: seconds after midnight, tag."""
    source = facts.source(reader, "rfid", reader)
    for at_s, tag in read:
        facts.connection.execute(
            "INSERT INTO count_events"
            " (at, at_error_ms, seq, stream_no, source_no, cls, direction, inferred, track)"
            " VALUES (%s, %s, %s, %s, %s, 'car', 'none', false, %s)",
            (DAY + timedelta(seconds=at_s), error_ms, facts._next_seq(), facts.stream_no, source, tag),
        )
    # At once: on TimescaleDB, two open transactions that both make a chunk wait for each other.
    facts.commit()


def ask(collector: RunningCollector, path: str, headers: Any = None, **query: Any) -> Any:
    answer = httpx.get(f"{collector.url}/api/analytics/{path}", params=query, headers=headers, timeout=60)
    assert answer.status_code == 200, answer.text
    return answer.json()


def journeys(collector: RunningCollector, first: Facts, second: Facts, **query: Any) -> Any:
    ends = {"from_junction": first.junction, "to_junction": second.junction}
    return ask(collector, "journeys", **(ends | SPAN | query))


def test_each_passage_is_of_one_journey_at_most(collector: RunningCollector, dsn: str) -> None:
    here, there = Facts(dsn), Facts(dsn)
    mask = EpcMask(EpcForm.HMAC, bytes(32), rotate_ms=3_600_000)
    times_s = (100.0, 110.0, 120.0, 130.0, 200.0)
    for i, travel_s in enumerate(times_s):
        # There and back again, twice read on leaving and on coming.
        passages(here, (1000 + i, f"T{i}"), (1005 + i, f"T{i}"), (3000 + i, f"T{i}"))
        passages(there, (1005 + i + travel_s, f"T{i}"), (1300 + i, f"T{i}"), (2700 + i, f"T{i}"))
    hashed = [mask.write("E28", round((DAY.timestamp() + at_s) * 1000)) for at_s in (7000, 7190, 7210)]
    assert hashed[0] == hashed[1] != hashed[2]
    passages(here, (7000, hashed[0]), (7190, hashed[1]))
    passages(there, (7210, hashed[2]))
    passages(here, (9000, "slow"), (9100, None))
    passages(here, (9200, "vague"), error_ms=60_000)
    passages(there, (13_000, "slow"), (13_000, "stranger"))
    passages(here, (-50, "early"), (86_390, "late"))
    passages(there, (10, "early"), (86_410, "late"))

    answer = journeys(collector, here, there)
    assert answer["n"] == 6, "the late one began in time"
    assert answer["travel"]["p50_s"] == 115.0
    assert sum(one["n"] for one in answer["travel"]["histogram"]) == 6
    # Here 15, 2 hashed, slow, late; there 15, 1 hashed, slow, stranger, early.
    assert (answer["from"]["passages"], answer["to"]["passages"]) == (19, 19)
    assert answer["from"]["matched_share"] == pytest.approx(6 / 19, abs=1e-4)
    assert answer["to"]["matched_share"] == pytest.approx(6 / 19, abs=1e-4), "the early one arrived in time"
    assert (answer["untagged"], answer["untimed"], answer["hashed"], answer["hash_keys"]) == (1, 1, 3, 2)
    back = journeys(collector, there, here)
    assert back["n"] == 5
    assert back["travel"]["p50_s"] == 300.0
    assert journeys(collector, here, there, max_travel_s=125)["n"] is None, "three are too few to be told"
    assert journeys(collector, here, there, max_travel_s=60)["n"] is None
    begun = journeys(collector, here, there, to=(DAY + timedelta(seconds=1125)).isoformat())
    assert (begun["n"], begun["to"]["matched_share"]) == (5, None), "of three that ended by then"
    assert journeys(collector, here, there, max_travel_s=19)["n"] == 0
    assert "T4" not in str(answer)


def test_many_journeys_are_those_of_a_plain_reading(collector: RunningCollector, dsn: str) -> None:
    random = Random(4)
    places = [Facts(dsn), Facts(dsn)]
    seen = [(random.random() * 40_000, random.randrange(2), f"T{random.randrange(60)}") for _ in range(900)]
    for place in (0, 1):
        passages(places[place], *((at_s, tag) for at_s, where, tag in seen if where == place))
    last: dict[str, tuple[float, int]] = {}
    expected = []
    for at_s, where, tag in sorted(seen):
        before = last.get(tag)
        if where == 1 and before is not None and before[1] == 0 and at_s - before[0] <= 1800:
            expected.append(at_s - before[0])
        last[tag] = (at_s, where)
    answer = journeys(collector, *places, max_travel_s=1800)
    assert answer["n"] == len(expected) > 50
    middle = sorted(expected)[len(expected) // 2 - 1 : len(expected) // 2 + 1]
    assert min(middle) - 0.1 <= answer["travel"]["p50_s"] <= max(middle) + 0.1


def test_visitors_are_told_in_groups(collector: RunningCollector, dsn: str) -> None:
    facts = Facts(dsn, "Europe/Berlin")
    for i in range(20):
        passages(facts, (36_000 + i, f"T{i}"), (36_030 + i, f"T{i}"))
        if i < 8:
            passages(facts, (50_000 + i, f"T{i}"), (50_000 + 86_400 + i, f"T{i}"))
    passages(facts, (60_000, "T0"), (65_000, "T0"), (60_000, None))
    [junction] = httpx.get(f"{collector.url}/api/junctions").json()["junctions"]
    path = f"junction/{junction['id']}/visitors"
    answer = ask(collector, path, **(SPAN | {"to": "2026-05-06T00:00:00Z"}))
    # The one that came four times, and could be told from the total of the day, takes another group along.
    assert answer["visits"] == [{"visits": 1, "tags": 20}]
    assert answer["some_hidden"] is True
    assert answer["tags"] == 20
    assert answer["of_several_days_share"] == 0.4
    assert answer["days"] == [
        {"day": "2026-05-04", "tags": 20, "returning_share": 0.4},
        {"day": "2026-05-05", "tags": 8, "returning_share": 0.0},
    ]


def test_only_admins_look_a_tag_up_and_that_is_written_down(plain_dsn: str) -> None:
    mine, foreign = Facts(plain_dsn), Facts(plain_dsn)
    for facts in (mine, foreign):
        passages(facts, (1000, "E28"))
    make_user(plain_dsn, "ada", Role.ADMIN)
    make_user(plain_dsn, "vic", Role.VIEWER)
    execute(
        plain_dsn,
        "INSERT INTO user_junction_access (user_id, junction_id, level)"
        " SELECT u.id, j.id, 'read' FROM users u, junctions j WHERE u.name = 'vic' AND j.name = %s",
        mine.junction,
    )
    with running_collector(plain_dsn, reading_open=False) as collector:
        with httpx.Client(base_url=collector.url) as client:
            ada, vic = bearer(client, "ada"), bearer(client, "vic")
        found = ask(collector, "tags/E28", ada, **SPAN)
        assert {one["junction"]["name"] for one in found["passages"]} == {mine.junction, foreign.junction}
        assert ask(collector, "tags/h1:12345678:0", ada)["passages"] == []
        url = f"{collector.url}/api/analytics"
        assert httpx.get(f"{url}/tags/E28", headers=vic).status_code == 403
        ends = {"from_junction": mine.junction, "to_junction": foreign.junction}
        refused = httpx.get(f"{url}/journeys", params=ends, headers=vic)
        assert (refused.status_code, refused.json()["parameter"]) == (404, "to_junction")
        same = httpx.get(f"{url}/journeys", params=ends | {"to_junction": mine.junction}, headers=vic)
        assert same.status_code == 400
        bad = httpx.get(f"{url}/journeys", params=ends | {"from_junction": "\x00"}, headers=vic)
        assert bad.status_code == 400
        logs = httpx.get(f"{collector.url}/api/logs", params={"action": "tag_looked_up"}, headers=ada).json()[
            "logs"
        ]
        assert [one["said_by"]["name"] for one in logs] == ["ada", "ada"]
        assert "E28" not in str(logs)


def test_bins_have_one_width_and_an_open_end() -> None:
    assert histogram({"0": 2, "3": 1, "4": 1}, 4.0) == [
        Bin(0, 1, 2),
        Bin(1, 2, 0),
        Bin(2, 3, 0),
        Bin(3, 4, 1),
        Bin(4, 5, 1),
    ]
    [*_, last] = histogram({"10": 99, "4000": 1}, 20.0)
    assert last == Bin(25, None, 1)
    assert histogram({}, 0.0) == []


@pytest.mark.parametrize(
    ("groups", "shown", "some_hidden"),
    [
        ([(1, 9), (1, 1), (2, 5)], [Visits(1, 10), Visits(2, 5)], False),
        ([(1, 9), (2, 5), (3, 4)], [Visits(1, 9)], True),
        ([(1, 9), (2, 5), (3, 4), (4, 1)], [Visits(1, 9), Visits(2, 5)], True),
        ([(1, 4)], [], True),
        ([], [], False),
    ],
)
def test_no_group_is_small(groups: list[tuple[int, int]], shown: list[Visits], some_hidden: bool) -> None:
    assert by_visits(groups, 5) == (shown, some_hidden)
