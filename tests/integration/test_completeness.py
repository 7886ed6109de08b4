"""The proof that nothing was lost, and the audit that does not trust it."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from collector.config import Retention
from collector.db import Settings, make_pool
from collector.fleet.completeness import RECORD_TABLES, Finding, audit
from collector.fleet.routes import fleet_routes
from collector.store.maintenance import maintain
from tests.integration.facts import Facts
from tests.integration.reader import get, reading_client
from tests.integration.test_rollups import drain

NOON = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)


def _completeness(dsn: str, **params: Any) -> Any:
    with reading_client(dsn, fleet_routes) as client:
        return get(client, "/api/fleet/completeness", **params)


def _audit(dsn: str, limit: int = 100) -> list[Finding]:
    async def run() -> list[Finding]:
        async with make_pool(Settings(dsn, min_size=1)) as pool:
            return await audit(pool, limit=limit)

    return asyncio.run(run())


def _kinds(findings: Sequence[Finding]) -> list[str]:
    return [finding.kind for finding in findings]


def _move(facts: Facts, last_seq: int, stored: int, rejected: int = 0, lost: int = 0) -> None:
    facts.connection.execute(
        "UPDATE ingest_streams SET last_seq = %s, stored = %s, rejected = %s, lost = %s WHERE no = %s",
        (last_seq, stored, rejected, lost, facts.stream_no),
    )


def _gap(facts: Facts, seq: int, from_seq: int | None) -> None:
    facts.connection.execute(
        "INSERT INTO ingest_gaps (at, at_error_ms, seq, stream_no, reason, duration_ms, sensor, from_seq, dropped)"
        " VALUES (%s, 0, %s, %s, 'outbox_full', 1000, 'north', %s, '{\"frames\": 5}')",
        (NOON, seq, facts.stream_no, from_seq),
    )


def _reject(facts: Facts, seq: int) -> None:
    facts.connection.execute(
        "INSERT INTO ingest_rejects (seq, stream_no, code, detail, raw) VALUES (%s, %s, 'malformed', 'x', '[]')",
        (seq, facts.stream_no),
    )


def _full_story(dsn: str) -> Facts:
    """Two counts, a reject, five lost records, a time that was not measured, and a count again."""
    facts = Facts(dsn)
    facts.count(NOON)
    facts.count(NOON)
    facts.commit()
    _reject(facts, 3)
    _gap(facts, 8, from_seq=4)
    _gap(facts, 9, from_seq=None)
    _move(facts, 9, stored=3, rejected=1, lost=5)
    facts.seq = 9
    facts.count(NOON)
    facts.commit()
    return facts


def test_everything_is_accounted_for(dsn: str) -> None:
    facts = _full_story(dsn)
    answer = _completeness(dsn)
    assert (answer["adds_up"], answer["next_offset"]) == (True, None)
    [device] = answer["devices"]
    assert (device["id"], device["junction"]) == (str(facts.device), facts.junction)
    [stream] = device["streams"]
    told = {key: stream[key] for key in ("stream", "last_seq", "stored", "rejected", "lost", "adds_up", "n_gaps")}
    assert told == {
        "stream": "main",
        "last_seq": 10,
        "stored": 4,
        "rejected": 1,
        "lost": 5,
        "adds_up": True,
        "n_gaps": 2,
    }
    assert [(gap["from_seq"], gap["seq"], gap["reason"]) for gap in stream["gaps"]] == [
        (None, 9, "outbox_full"),
        (4, 8, "outbox_full"),
    ]
    assert stream["gaps"][0]["dropped"] == {"frames": 5}


def test_lost_records_without_a_gap_do_not_add_up(dsn: str) -> None:
    facts = _full_story(dsn)
    facts.connection.execute("DELETE FROM ingest_gaps WHERE from_seq IS NOT NULL")
    facts.commit()
    answer = _completeness(dsn)
    assert answer["adds_up"] is False
    assert answer["devices"][0]["streams"][0]["adds_up"] is False


def test_counters_that_do_not_add_up_cannot_be_stored(plain_dsn: str) -> None:
    facts = Facts(plain_dsn)
    with pytest.raises(psycopg.errors.CheckViolation):
        _move(facts, 5, stored=4)
    facts.connection.close()


def test_devices_are_listed_in_pages_and_by_name(plain_dsn: str) -> None:
    facts = [Facts(plain_dsn) for _ in range(3)]
    first = _completeness(plain_dsn, limit=2)
    second = _completeness(plain_dsn, limit=2, offset=first["next_offset"])
    ids = [device["id"] for device in first["devices"] + second["devices"]]
    assert sorted(ids) == sorted(str(each.device) for each in facts)
    assert [d["id"] for d in _completeness(plain_dsn, device=str(facts[0].device))["devices"]] == [
        str(facts[0].device)
    ]
    assert _completeness(plain_dsn, device="nobody")["devices"] == []


def test_epochs_are_proven_one_by_one(plain_dsn: str) -> None:
    facts = _full_story(plain_dsn)
    facts.connection.execute(
        "INSERT INTO ingest_streams (device_id, stream, epoch) VALUES (%s, 'main', %s)", (facts.device, uuid4())
    )
    facts.commit()
    [device] = _completeness(plain_dsn)["devices"]
    assert [stream["last_seq"] for stream in device["streams"]] == [10, 0]


def test_the_audit_finds_nothing_where_nothing_is_wrong(dsn: str) -> None:
    _full_story(dsn)
    assert _audit(dsn) == []
    drain(dsn)
    assert _audit(dsn) == []


def test_the_audit_still_adds_up_after_retention(dsn: str) -> None:
    facts = _full_story(dsn)
    facts.count(NOON + timedelta(days=35))
    facts.commit()
    asyncio.run(maintain(dsn, NOON + timedelta(days=40), Retention(count_events=30)))
    assert _audit(dsn) == []


def test_the_audit_finds_a_row_that_is_there_twice(dsn: str) -> None:
    facts = _full_story(dsn)
    facts.connection.execute("INSERT INTO count_events SELECT * FROM count_events WHERE seq = 2")
    facts.commit()
    findings = _audit(dsn)
    assert _kinds(findings) == ["miscounted", "duplicate"]
    assert findings[1].detail == f"stream no {facts.stream_no}: record 2 is there 2 times"


def test_the_audit_finds_a_row_that_is_gone(dsn: str) -> None:
    facts = _full_story(dsn)
    drain(dsn)
    facts.connection.execute("DELETE FROM count_events WHERE seq = 10")
    facts.commit()
    findings = _audit(dsn)
    assert _kinds(findings) == ["miscounted", "hole", "rollup"]
    assert findings[1].detail.endswith("nothing accounts for records 10 to 10")
    assert "2 rows, but 3 in the rollup" in findings[2].detail


def test_the_audit_finds_a_record_stored_in_two_tables(dsn: str) -> None:
    facts = _full_story(dsn)
    facts.seq = 1
    facts.log(NOON)
    facts._stored = 0
    facts.commit()
    assert _kinds(_audit(dsn)) == ["miscounted", "duplicate"]


def test_the_audit_knows_every_table_that_holds_records(plain_dsn: str) -> None:
    """A new measurement table that the audit forgets would let losses there go unseen."""
    with psycopg.connect(plain_dsn) as connection:
        rows = connection.execute(
            "SELECT table_name FROM information_schema.columns"
            " JOIN information_schema.tables USING (table_schema, table_name)"
            " WHERE column_name = 'seq' AND table_schema = 'public' AND table_type = 'BASE TABLE'"
            " AND table_name NOT IN ('ingest_gaps', 'ingest_rejects', 'lane_cycle_data', 'mqtt_positions')"
        ).fetchall()
    assert {name for (name,) in rows} == set(RECORD_TABLES)
    assert set(RECORD_TABLES) | {"lane_cycle_data", "minute_rollups", "mqtt_messages"} == set(
        Retention.model_fields
    )
