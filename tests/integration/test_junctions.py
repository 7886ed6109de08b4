"""What `GET /api/junctions` answers."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from collector.junctions.routes import junction_routes
from tests.integration.facts import Facts
from tests.integration.reader import get, reading_client
from tests.integration.test_rollups import bucket_of, drain
from tests.integration.test_users import execute


def _junctions(dsn: str, **params: Any) -> Any:
    with reading_client(dsn, junction_routes) as client:
        return get(client, "/api/junctions", **params)


def _only(dsn: str) -> Any:
    [junction] = _junctions(dsn)["junctions"]
    return junction


@pytest.mark.parametrize("zone", ["Pacific/Kiritimati", "Pacific/Pago_Pago"])
def test_today_is_the_junctions_own_day(dsn: str, zone: str) -> None:
    facts = Facts(dsn, timezone=zone)
    midnight = bucket_of(datetime.now(UTC), 86400, zone)
    facts.count(midnight - timedelta(milliseconds=1))
    for _ in range(3):
        facts.count(midnight)
    facts.count(midnight, via="truth")
    facts.count(midnight, source="left", via="turn")
    facts.count(midnight, source="stop line: no exit seen", via="unpaired")
    facts.commit()
    for _ in range(2):
        junction = _only(dsn)
        assert junction["counts_today"] == 3
        assert datetime.fromisoformat(junction["today_from"]) == midnight
        drain(dsn)
    facts.count(midnight)
    facts.commit()
    assert _only(dsn)["counts_today"] == 4


def test_a_vehicle_that_line_zone_and_reader_counted_is_one(dsn: str) -> None:
    facts = Facts(dsn)
    midnight = bucket_of(datetime.now(UTC), 86400, "UTC")
    for _ in range(2):
        facts.count(midnight, via="rfid")
    facts.commit()
    assert _only(dsn)["counts_today"] == 2, "readers alone are summed"
    facts.zone("approach")
    for _ in range(4):
        facts.count(midnight, direction="none", source="approach")
    facts.commit()
    assert _only(dsn)["counts_today"] == 4, "zones come before readers"
    facts.count(midnight)
    facts.commit()
    for _ in range(2):
        junction = _only(dsn)
        assert (junction["counts_today"], junction["sources"]) == (1, 3)
        drain(dsn)


def test_nothing_measured_today_is_no_count(dsn: str) -> None:
    facts = Facts(dsn)
    midnight = bucket_of(datetime.now(UTC), 86400, "UTC")
    facts.count(midnight - timedelta(hours=1))
    facts.commit()
    assert _only(dsn)["counts_today"] is None
    facts.frames(midnight + timedelta(seconds=1), span_s=1, measured_s=1)
    facts.commit()
    drain(dsn)
    assert _only(dsn)["counts_today"] == 0
    execute(dsn, "UPDATE counting_zones SET in_force = tstzmultirange(tstzrange(NULL, %s))", midnight)
    assert _only(dsn)["counts_today"] is None, "there was nothing to count at"


@pytest.mark.parametrize(
    ("age", "state"), [("1 minute", "live"), ("10 minutes", "late"), ("2 hours", "silent"), (None, "never")]
)
def test_its_state_tells_when_it_was_last_heard(plain_dsn: str, age: str | None, state: str) -> None:
    facts = Facts(plain_dsn)
    if age is None:
        facts.connection.execute("DELETE FROM ingest_streams")
    else:
        facts.connection.execute("UPDATE ingest_streams SET last_received_at = now() - %s::interval", (age,))
    facts.commit()
    assert _only(plain_dsn)["state"] == state


def test_what_stands_there_is_counted(plain_dsn: str) -> None:
    facts = Facts(plain_dsn)
    facts.source("a")
    facts.source("b")
    facts.connection.execute(
        "INSERT INTO edge_devices (id, junction_id, name, public_key, status, revoked_at)"
        " SELECT gen_random_uuid(), junction_id, 'old', public_key, 'revoked', now() FROM edge_devices"
    )
    facts.commit()
    junction = _only(plain_dsn)
    assert (junction["devices"], junction["active_devices"], junction["sources"]) == (2, 1, 2)
    assert (junction["name"], junction["timezone"]) == (facts.junction, "UTC")


def test_junctions_are_listed_in_pages_and_by_name(plain_dsn: str) -> None:
    names = sorted(Facts(plain_dsn).junction for _ in range(3))
    first = _junctions(plain_dsn, limit=2)
    second = _junctions(plain_dsn, limit=2, offset=first["next_offset"])
    assert [each["name"] for each in first["junctions"] + second["junctions"]] == names
    assert second["next_offset"] is None
    assert [each["name"] for each in _junctions(plain_dsn, junction=names[1])["junctions"]] == [names[1]]


def test_busy_junctions_come_first_where_that_is_asked(dsn: str) -> None:
    midnight = bucket_of(datetime.now(UTC), 86400, "UTC")
    names = []
    for n in (1, 3, 0, 2):
        facts = Facts(dsn)
        names.append(facts.junction)
        for _ in range(n):
            facts.count(midnight)
        facts.commit()
    one, three, none, two = names
    for _ in range(2):
        assert [each["name"] for each in _junctions(dsn, sort="-counts_today")["junctions"]] == [
            three,
            two,
            one,
            none,
        ]
        page = _junctions(dsn, sort="counts_today", limit=2, offset=1)
        assert [(each["name"], each["counts_today"]) for each in page["junctions"]] == [(two, 2), (three, 3)]
        drain(dsn)
