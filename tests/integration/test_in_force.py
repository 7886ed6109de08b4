"""A line that was drawn later, or taken away, was not measured whenever its camera was: it is no zero then."""

import csv
import io
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import httpx
import psycopg
import pytest

from common.records import SOURCES_ACTION
from tests.integration.ingest_helpers import count, now_ms, rows, send
from tests.integration.test_rollups import drain
from tests.integration.test_users import execute
from tests.servers.collector import RunningCollector, running_collector
from tests.servers.device import FakeDevice

MINUTE_MS = 60_000
ZERO_MS = now_ms() // MINUTE_MS * MINUTE_MS - 20 * MINUTE_MS


@pytest.fixture
def collector(dsn: str) -> Iterator[RunningCollector]:
    with running_collector(dsn) as running:
        yield running


@pytest.fixture(scope="module")
def shared(each_module_dsn: str) -> Iterator[RunningCollector]:
    with running_collector(each_module_dsn) as running:
        yield running


class Pi:
    """One camera, which always measures."""

    def __init__(self, dsn: str, collector: RunningCollector) -> None:
        self.device, self.collector, self.seq = FakeDevice(), collector, 0
        with psycopg.connect(dsn) as connection:
            insert = "INSERT INTO junctions (name) VALUES (%s) RETURNING id"
            made = connection.execute(insert, (str(self.device.id),)).fetchone()
        assert made is not None
        self.junction = made[0]
        self.device.enrol(dsn, self.junction)

    def tell(self, *records: list[Any]) -> list[int]:
        """Send them; the numbers of those that are put aside."""
        first = self.seq + 1
        for record in records:
            self.seq += 1
            record[1] = self.seq
        answer = send(self.collector, self.device, records, first)
        assert answer.status_code == 200, answer.text
        return [one["seq"] for one in answer.json()["rejected"]]

    def counted(self, source: str) -> list[int | None]:
        """Minute by minute."""
        query = {
            "from": iso(0),
            "to": iso(10),
            "bucket": "1m",
            "source": source,
            "junction": str(self.junction),
            "via": "camera",
        }
        answer = httpx.get(f"{self.collector.url}/api/counts", params=query)
        assert answer.status_code == 200, answer.text
        (found,) = answer.json()["sources"]
        return [bucket["n"] for bucket in found["buckets"]]

    def exported(self) -> dict[str, float]:
        """For how much of the ten minutes each was measured, as an export tells."""
        query = {"what": "rollups", "from": iso(0), "to": iso(10), "step": "1h"}
        answer = httpx.get(f"{self.collector.url}/api/export", params=query)
        assert answer.status_code == 200, answer.text
        lines = csv.DictReader(io.StringIO(answer.text))
        return {line["source"]: float(line["range_measured_s"]) for line in lines}

    def lanes(self) -> dict[str, float | None]:
        """For how long each was measured, by the statistics."""
        path = f"/api/analytics/junction/{self.junction}/lanes"
        answer = httpx.get(self.collector.url + path, params={"from": iso(0), "to": iso(20)})
        assert answer.status_code == 200, answer.text
        return {one["lane"]: one["measured_s"] for one in answer.json()["lanes"]}


def iso(minute: int) -> str:
    return datetime.fromtimestamp(ZERO_MS / 1000 + minute * 60, UTC).isoformat()


def crossed(source: str, minute: int) -> list[Any]:
    return count(0, ZERO_MS + minute * MINUTE_MS + 30_000, source=source)


def measured(minutes: int) -> list[list[Any]]:
    end_ms = ZERO_MS + minutes * MINUTE_MS
    return [["frames", 0, end_ms, 0, "north", minutes * MINUTE_MS, minutes * MINUTE_MS, 600 * minutes, 0]]


def counts_at(minute: int, **names: Any) -> list[Any]:
    told = {kind: json.dumps(names.get(kind, [])) for kind in ("lines", "zones", "turns")}
    context = {"sensor": "north", **told} | {key: value for key, value in names.items() if key == "sensor"}
    return ["log", 0, ZERO_MS + minute * MINUTE_MS, 0, "info", SOURCES_ACTION, "it counts", context]


def test_what_is_drawn_later_and_what_is_taken_away_is_no_zero(dsn: str, collector: RunningCollector) -> None:
    pi = Pi(dsn, collector)
    pi.tell(counts_at(0, lines=["a", "b"]), crossed("a", 1), *measured(10))
    assert pi.counted("a") == [0, 1, *[0] * 8]
    assert pi.counted("b") == [0] * 10, "nobody came, and that was measured"
    pi.tell(counts_at(4, lines=["a", "c"], turns=["left"]), crossed("c", 5))
    assert pi.counted("b") == [*[0] * 4, *[None] * 6]
    assert pi.counted("c") == [*[None] * 4, 0, 1, *[0] * 4]
    pi.tell(counts_at(7, lines=["b", "c"]), crossed("a", 8))
    assert pi.counted("a") == [0, 1, *[0] * 5, None, 1, None], "what was counted is told in any case"
    assert pi.counted("b") == [*[0] * 4, *[None] * 3, *[0] * 3]
    of_range = {"a": 420.0, "b": 420.0, "c": 360.0, "left": 180.0}
    assert pi.exported() == of_range, "also while minutes wait"
    drain(dsn)
    assert pi.exported() == of_range
    execute(dsn, "DELETE FROM coverage_rollups WHERE step_s = 60")
    assert pi.exported() == of_range, "the most that it can have been"
    kinds = rows(dsn, "SELECT name, via, kind FROM counting_zones ORDER BY name")
    assert [(one["name"], one["via"], one["kind"]) for one in kinds] == [
        ("a", "camera", "line"),
        ("b", "camera", "line"),
        ("c", "camera", "line"),
        ("left", "turn", "turn"),
    ]


def test_what_counted_before_anybody_told_was_always_there(dsn: str, collector: RunningCollector) -> None:
    pi = Pi(dsn, collector)
    lonely = count(0, ZERO_MS, source="old, not seen leaving", via="unpaired", direction="none")
    pi.tell(lonely, crossed("old", 1), crossed("gone", 2), *measured(10))
    pi.tell(counts_at(5, lines=["old", "new"]))
    assert pi.counted("old") == [0, 1, *[0] * 8]
    assert pi.counted("gone") == [0, 0, 1, 0, 0, *[None] * 5]
    assert pi.counted("new") == [*[None] * 5, *[0] * 5]
    pi.tell(counts_at(9, lines=["old"]))
    assert pi.counted("new") == [*[None] * 5, *[0] * 4, None]
    assert pi.lanes() == {"old": 600.0, "gone": 300.0, "new": 240.0}
    pi.tell(count(0, ZERO_MS + 7 * MINUTE_MS, source="new", via="truth"))
    (truth,) = rows(
        dsn,
        "SELECT in_force = (SELECT in_force FROM counting_zones WHERE name = 'new' AND"
        " via = 'camera') AS same FROM counting_zones WHERE via = 'truth'",
    )
    assert truth["same"] is True
    assert rows(dsn, "SELECT in_force FROM counting_zones WHERE via = 'unpaired'") == [{"in_force": None}]


@pytest.mark.parametrize(
    "names",
    [
        {"lines": ["x" * 101]},
        {"lines": [""]},
        {"lines": ["a\0b"]},
        {"lines": {"a": 1}},
        {"lines": [1]},
        {"sensor": 7},
    ],
)
def test_what_cannot_be_read_is_a_line_of_the_log_and_no_more(
    each_module_dsn: str, shared: RunningCollector, names: dict[str, Any]
) -> None:
    pi = Pi(each_module_dsn, shared)
    pi.tell(crossed("a", 1), *measured(10))
    pi.tell(counts_at(3, **names))
    assert pi.counted("a") == [0, 1, *[0] * 8]
