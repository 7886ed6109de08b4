"""The whole way: simulated camera, agent, collector, database. What was counted is there exactly once."""

import json
import time
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from tests.integration.agent_helpers import RunningAgent, agent, clean_environment, exported, write_config
from tests.integration.test_collector_cli import serving
from tests.servers.commands import run_command

SIM = {"name": "north", "source": "sim:road", "fps": 10.0}
COUNTS = """
    SELECT c.seq, z.sensor, z.name, z.via, c.cls, c.direction, c.track, c.inferred, extract(epoch FROM c.at) * 1000
    FROM count_events c JOIN counting_zones z ON z.no = c.source_no ORDER BY c.seq
"""


def add_device(folder: Path, dsn: str) -> None:
    adding = ("device", "add", str(folder / "state/device.json"), "--dsn", dsn)
    added = run_command("collector", *adding, environ=clean_environment())
    assert added.returncode == 0, added.stderr


def stored_counts(dsn: str) -> dict[int, tuple[object, ...]]:
    """Every count in the database, by its number; fails if there are two of one."""
    with psycopg.connect(dsn) as connection:
        rows = connection.execute(COUNTS).fetchall()
    counts = {seq: tuple(rest) for seq, *rest in rows}
    assert len(counts) == len(rows), "a record was stored twice"
    return counts


@pytest.mark.long
def test_counts_in_the_collector_equal_those_in_the_outbox(plain_dsn: str, tmp_path: Path) -> None:
    """Of an agent that was stopped while nobody took them, and of one that was killed."""
    began_ms = time.time() * 1000
    alone = write_config(tmp_path, SIM, outbox={"commit_every_s": 0.2}, junction="Main")
    n_counted = 0
    for end in (RunningAgent.stop, RunningAgent.kill):
        with RunningAgent(alone) as running:
            running.until_counted(2)
            end(running)
        ledger = {record[1]: record for record in exported(alone)}
        assert (n_counted := sum(record[0] == "count" for record in ledger.values()) - n_counted) >= 2

    with serving("--dsn", plain_dsn) as (url, _):
        config = write_config(tmp_path, SIM, collector={"url": url}, junction="Main")
        with RunningAgent(config) as running:
            trouble = running.until_said("sync_trouble")
            assert "stopline-collector device add device.json" in trouble["message"]
            add_device(tmp_path, plain_dsn)
            assert running.stop() == 0
        checked = agent("check", "--config", config)
        assert f"{url} knows this device" in checked.stdout
        with RunningAgent(config) as running:
            running.until(lambda: running.status()["sync"]["delivered"] > len(ledger) + 5)
            running.until(lambda: len(stored_counts(plain_dsn)) > 0)
            assert running.status()["sync"]["rejected"] == 0
            assert running.stop() == 0
        completeness = httpx.get(f"{url}/api/fleet/completeness").json()
        waiting = exported(config)
        check_stored(plain_dsn, ledger, began_ms)
        check_completeness(completeness, waiting)


def check_stored(dsn: str, ledger: dict[int, list[object]], began_ms: float) -> None:
    """Each count of the ledger is stored as it was, under its number, and dated into the run of this test."""
    stored = stored_counts(dsn)
    counts = {seq: record for seq, record in ledger.items() if record[0] == "count"}
    assert counts.keys() == {seq for seq in stored if seq <= max(ledger)}
    for seq, record in counts.items():
        # kind, seq, at, at_error_ms, sensor, source, via, cls, direction, confidence, track, inferred, speed
        *found, at_ms = stored[seq]
        assert found == [*record[4:9], record[10], record[11]]
        assert began_ms - 10_000 < float(at_ms) < time.time() * 1000 + 2000  # type: ignore[arg-type]


def check_completeness(completeness: dict[str, Any], waiting: list[list[object]]) -> None:
    """The collector can prove that it has everything, save what still waits on the agent."""
    assert completeness["adds_up"] is True, json.dumps(completeness)
    (device,) = completeness["devices"]
    (stream,) = device["streams"]
    assert stream["rejected"] == stream["lost"] == 0
    assert stream["stored"] == stream["last_seq"]
    reasons = {gap["reason"] for gap in stream["gaps"]}
    assert "agent_down" in reasons
    if waiting:
        assert waiting[0][1] == stream["last_seq"] + 1
