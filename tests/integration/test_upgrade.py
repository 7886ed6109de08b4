"""A database is brought to this release while the collector of the release before serves on."""

import io
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.conftest import CHECKOUT
from tests.integration.ingest_helpers import account, count, counts, rows, send, stored_seqs
from tests.integration.test_collector_cli import device_file, environment, run, serving
from tests.servers.device import FakeDevice
from tests.servers.postgres import PgServer
from tests.waiting import until

FIRST_NEW = "collector/sql/migrations/005_pre_access.sql"
"""The first migration that the release before does not know."""
N = 40


@pytest.fixture(scope="module")
def old_code(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The collector as it was before, out of the checkout's own history."""
    added = _git("log", "--diff-filter=A", "--format=%H", "--", FIRST_NEW).split()
    if not added:
        pytest.skip("the release before is not at hand: this checkout has no history")
    archive = subprocess.run(
        ["git", "archive", f"{added[-1].decode()}^", "collector", "common", "edge_agent"],
        cwd=CHECKOUT,
        capture_output=True,
        check=False,
    )
    if archive.returncode:
        pytest.skip("the release before is not at hand: this checkout's history does not reach so far back")
    folder = tmp_path_factory.mktemp("old")
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as files:
        files.extractall(folder, filter="data")
    return folder


def _git(*arguments: str) -> bytes:
    return subprocess.run(["git", *arguments], cwd=CHECKOUT, capture_output=True, check=False).stdout


@pytest.fixture
def empty_dsn(timescaledb_server: PgServer, database_names: Iterator[str]) -> Iterator[str]:
    """On TimescaleDB, which is the pickier one about changes of its tables."""
    name = next(database_names)
    yield timescaledb_server.create_database(name)
    timescaledb_server.drop_database(name)


@pytest.mark.timescaledb
def test_the_collector_before_serves_on_and_nothing_is_lost(
    empty_dsn: str, old_code: Path, tmp_path: Path
) -> None:
    device, file = FakeDevice(), tmp_path
    _old(old_code, "migrate", "--dsn", empty_dsn)
    _old(old_code, "device", "add", str(device_file(file, device)), "--dsn", empty_dsn)
    before = _applied(empty_dsn)
    with serving("--dsn", empty_dsn, **_runs(old_code)) as (old_url, _):
        until(lambda: _takes_connections(old_url))  # It says so a moment too early.
        assert send(old_url, device, counts(1, N)).status_code == 200
        upgraded = run("migrate", "--pre-only", "--dsn", empty_dsn)
        assert upgraded.returncode == 0, upgraded.stderr
        assert _applied(empty_dsn) > before
        assert send(old_url, device, counts(N + 1, N), first_seq=N + 1).status_code == 200
        answer = httpx.get(f"{old_url}/api/junctions", timeout=30)
        assert answer.status_code == 200, (answer.status_code, answer.headers, answer.text)
        junctions = answer.json()["junctions"]
        assert [junction["name"] for junction in junctions] == ["Main"]
        with serving("--dsn", empty_dsn) as (new_url, _):
            next_seq = 2 * N + 1
            for url in (new_url, old_url, new_url):
                assert send(url, device, [count(next_seq)], first_seq=next_seq).status_code == 200
                next_seq += 1
            for url in (new_url, old_url):
                assert httpx.get(f"{url}/api/junctions", timeout=30).json()["junctions"][0]["name"] == "Main"
    assert account(empty_dsn, device) == (2 * N + 3, 2 * N + 3, 0, 0)
    assert stored_seqs(empty_dsn, device) == list(range(1, 2 * N + 4))
    audited = run("doctor", "--audit", "--dsn", empty_dsn)
    assert audited.returncode == 0, audited.stdout


def _takes_connections(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health", timeout=30).status_code == 200
    except httpx.ConnectError:
        return False


def _old(code: Path, *arguments: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "collector", *arguments],
        env=environment() | _runs(code),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr


def _runs(code: Path) -> dict[str, str]:
    """Variables with which Python finds that code, and not the one in the folder it is started in."""
    return {"PYTHONPATH": str(code), "PYTHONSAFEPATH": "1"}


def _applied(dsn: str) -> int:
    """How many migrations were applied."""
    [found] = rows(dsn, "SELECT count(*) AS n FROM schema_migrations")
    n: int = found["n"]
    return n
