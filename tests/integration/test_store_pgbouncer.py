"""The store behind PgBouncer in transaction mode, where a session is somebody else's after every transaction."""

import asyncio
import gc
import json
import os
import re
import shutil
import socket
import subprocess
import tempfile
import time
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from uuid import UUID, uuid4

import httpx
import psycopg
import pytest
from psycopg import conninfo
from websockets.sync.client import connect

from collector.config import Retention
from collector.counting.queries import Asked, Bucket, CountQueries
from collector.counting.rollups import RollupWorker
from collector.db import VIEWER, Pool, Settings, make_pool, reading
from collector.fleet.completeness import audit
from collector.identity.users import Role
from collector.migrate import migrate, status
from collector.store.maintenance import maintain
from tests.integration.facts import Facts
from tests.integration.test_remote import RemotePi
from tests.integration.test_users import bearer, execute, make_user
from tests.junctions import crossroads
from tests.servers.collector import running_collector
from tests.servers.ports import free_port
from tests.servers.postgres import PgServer
from tests.waiting import until

NOON = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)
NOBODY = 65534


@pytest.fixture
def bounced_dsn(plain_server: PgServer, database_names: Iterator[str]) -> Iterator[str]:
    """An empty database behind a PgBouncer that has few server sessions and hands them round."""
    program = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")
    if program is None:
        pytest.skip("no PgBouncer: install the package pgbouncer")
    name, port = next(database_names), free_port()
    server = conninfo.conninfo_to_dict(plain_server.create_database(name))
    # Not below `tmp_path`, which is root's alone.
    folder = Path(tempfile.mkdtemp(prefix="stopline-pgbouncer-"))
    settings = folder / "pgbouncer.ini"
    settings.write_text(
        f"[databases]\n{name} = host={server['host']} port={server['port']} user={server['user']}\n"
        f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\nauth_type = any\n"
        "pool_mode = transaction\ndefault_pool_size = 4\nserver_reset_query_always = 1\n"
        "server_reset_query = DISCARD ALL\n"
    )
    folder.chmod(0o755)
    with subprocess.Popen(
        [program, str(settings)],
        user=NOBODY if os.geteuid() == 0 else None,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd="/",
    ) as bouncer:
        _await_port(port)
        yield f"host=127.0.0.1 port={port} user={server['user']} dbname={name}"
        bouncer.terminate()
    shutil.rmtree(folder)
    plain_server.drop_database(name)


def _await_port(port: int) -> None:
    for _ in range(500):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    pytest.fail("PgBouncer does not start")


def test_all_of_the_store_works_behind_it(bounced_dsn: str) -> None:
    assert migrate(bounced_dsn)
    assert status(bounced_dsn).pending == ()
    facts = Facts(bounced_dsn)
    for minute in range(5):
        facts.count(NOON + timedelta(minutes=minute))
    facts.commit()

    async def run() -> None:
        await maintain(bounced_dsn, NOON, Retention())
        settings = Settings(bounced_dsn, min_size=4, max_size=8)
        async with make_pool(settings) as pool:
            queries = CountQueries(pool)
            asked = Asked(NOON, NOON + timedelta(hours=1), Bucket.HOUR)
            workers = [RollupWorker(pool, asyncio.Event()) for _ in range(3)]
            for _ in range(10):
                answers = await asyncio.gather(*(queries.counts(asked) for _ in range(6)))
                assert {answer.sources[0].cells[0].n for answer in answers} == {5}
                await asyncio.gather(*(worker.run_once(NOON + timedelta(hours=1)) for worker in workers))
            assert sum(worker.stats.marks for worker in workers) == 5
            assert await audit(pool) == []

    asyncio.run(run())


def test_a_statement_of_a_request_is_bounded_and_none_is_prepared(
    bounced_dsn: str, plain_server: PgServer
) -> None:
    async def prepares(dsn: str) -> list[bool]:
        async with (
            make_pool(Settings(dsn, min_size=1)) as pool,
            pool.connection() as one,
            await pool.connect() as own,
        ):
            return [connection.prepare_threshold is not None for connection in (one, own)]

    async def run() -> None:
        assert [await prepares(dsn) for dsn in (bounced_dsn, plain_server.dsn())] == [[False] * 2, [True] * 2]
        settings = Settings(bounced_dsn, min_size=1, statement_timeout_s=0.2)
        async with make_pool(settings) as pool:
            with pytest.raises(psycopg.errors.QueryCanceled, match=re.escape("statement timeout")):
                async with reading(pool, unbounded=True) as connection:
                    await connection.execute("SELECT pg_sleep(10)")
            async with reading(pool, unbounded=True) as connection:
                cursor = await connection.execute("SELECT current_setting('transaction_read_only')")
                assert await cursor.fetchone() == ("on",)

    asyncio.run(run())


def test_a_connection_that_is_no_longer_waited_for_is_closed(plain_dsn: str, plain_server: PgServer) -> None:
    """While it is found out what answers: here a server that is slow to tell who it is."""
    execute(plain_dsn, "CREATE SCHEMA slow")
    slow = "SELECT pg_sleep(600); SELECT 1"
    execute(plain_dsn, f"CREATE FUNCTION slow.pg_backend_pid() RETURNS int LANGUAGE sql AS '{slow}'")
    dsn = conninfo.make_conninfo(plain_dsn, options="-csearch_path=slow,pg_catalog")
    asleep = "SELECT pid FROM pg_stat_activity WHERE wait_event = 'PgSleep'"

    async def run() -> None:
        connecting = asyncio.create_task(make_pool(Settings(dsn)).connect())
        await asyncio.to_thread(until, lambda: plain_server.execute(asleep))
        connecting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await connecting

    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        asyncio.run(run())
        gc.collect()
    assert not told


def test_what_one_user_sees_is_bounded_and_nobody_elses_is(bounced_dsn: str) -> None:
    migrate(bounced_dsn)
    facts = [Facts(bounced_dsn) for _ in range(2)]
    with psycopg.connect(bounced_dsn) as connection:
        users = [
            connection.execute(
                "WITH u AS (INSERT INTO users (name, role) VALUES (%s, 'viewer') RETURNING id)"
                " INSERT INTO user_junction_access (user_id, junction_id, level)"
                " SELECT u.id, j.id, 'read' FROM u, junctions j WHERE j.name = %s RETURNING user_id",
                (each.junction, each.junction),
            ).fetchall()[0][0]
            for each in facts
        ]
    everything = sorted(each.junction for each in facts)
    expected: dict[UUID | None, list[str]] = {None: everything, uuid4(): []}
    expected |= {user: [each.junction] for user, each in zip(users, facts, strict=True)}

    async def look(pool: Pool, user: UUID | None) -> None:
        VIEWER.set(user)
        for _ in range(20):
            async with reading(pool) as connection:
                cursor = await connection.execute("SELECT name FROM junctions ORDER BY name")
                assert [name for (name,) in await cursor.fetchall()] == expected[user]

    async def run() -> None:
        async with make_pool(Settings(bounced_dsn, min_size=6, max_size=6)) as pool:
            # Each in a task, and so a context, of its own, as requests are.
            await asyncio.gather(*(asyncio.create_task(look(pool, user)) for user in expected for _ in range(3)))

    asyncio.run(run())


def test_a_collector_serves_behind_it(bounced_dsn: str) -> None:
    """Batches, orders and what became of them, live events, and what users may see, of two junctions at once."""
    migrate(bounced_dsn)
    with running_collector(bounced_dsn, reading_open=False) as collector:
        pis = [RemotePi(bounced_dsn, collector) for _ in range(2)]
        headers = []
        for pi in pis:
            make_user(bounced_dsn, str(pi.junction), Role.OPERATOR)
            execute(
                bounced_dsn,
                "INSERT INTO user_junction_access SELECT id, %s, 'operate' FROM users WHERE name = %s",
                pi.junction,
                str(pi.junction),
            )
            with httpx.Client(base_url=collector.url, timeout=30) as client:
                headers.append(bearer(client, str(pi.junction)))

        def live_through(pi: RemotePi, headers: dict[str, str]) -> None:
            junction = f"{collector.url}/api/junctions/{pi.junction}"
            ask = partial(httpx.request, headers=headers, timeout=30)
            url = f"ws://127.0.0.1:{collector.port}/ws/junction/{pi.junction}"
            with connect(url, additional_headers=headers) as socket:
                pi.describe(crossroads())
                for n in range(1, 4):
                    order = ask("PUT", f"{junction}/mode", json={"mode": "flash", "why": f"try {n}"})
                    assert order.status_code == 202, order.text
                    assert pi.fetched(30.0) == [UUID(order.json()["id"])]
                    pi.say(order.json()["id"])
                    assert len(ask("GET", f"{junction}/overrides").json()["overrides"]) == n
                    seen = ask("GET", f"{collector.url}/api/junctions").json()["junctions"]
                    assert [one["id"] for one in seen] == [str(pi.junction)]
                until(lambda: json.loads(socket.recv(timeout=60))["event"] == "mode")

        with ThreadPoolExecutor(2) as both:
            list(both.map(live_through, pis, headers))
