"""The second wall: SQL itself shows a user their junctions alone, whatever a query asks for.

Which tables and views there are is asked of the catalog. One that was added must be guarded (`guard_rows`, and
`grant_reading` for a new column of a guarded one), or be named here as one that readers of a junction never see.
"""

import asyncio
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg import sql

from collector.db import VIEWER, Settings, make_pool, reading
from collector.migrate import MigrationFailed, migrate
from tests.integration.facts import Facts
from tests.servers.postgres import PgServer, plain_installation

NOON = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)
OPEN = {"timeseries"}
"""Tables of which everybody sees everything: they tell of no junction."""
HIDDEN = {
    *("users", "refresh_tokens", "api_tokens", "invitations", "invitation_access", "failed_sign_ins", "secrets"),
    "familiar_networks",
    *("audit_log", "v_user_permissions", "schema_migrations", "duties", "mqtt_positions", "mqtt_turn"),
}
"""Tables and views that are never read in a user's name."""
DEFINERS = {
    *("sees_all", "seen_junctions", "seen_devices", "seen_locations", "seen_streams"),
    *("stream_ranges", "source_ranges", "camera_ranges", "log_time_before", "log_matches", "log_places"),
    *("devices_told", "sources_told", "seen_device_facts", "seen_log_page"),
    *("seen_devices_shown", "seen_devices_heard", "seen_rejects", "seen_log_lines"),
}
"""Functions that see more than who calls them: they tell of the caller's own junctions alone, how dense the log of
all is, and where lines are that were posted."""
SAMPLES: dict[str, Any] = {
    **{
        "text": "x",
        "smallint": 1,
        "integer": 1,
        "bigint": 1,
        "real": 1.0,
        "double precision": 1.0,
        "boolean": False,
    },
    **{"jsonb": "{}", "timestamp with time zone": NOON, "bytea": b"x", "text[]": [], "date": NOON.date()},
}
CHOSEN: dict[tuple[str, str], Any] = {
    ("user_junction_access", "level"): "read",
    ("count_rollups", "step_s"): 60,
    ("coverage_rollups", "step_s"): 60,
}
"""Where a column takes certain values only: table and column."""

RELATIONS = """
    SELECT n.nspname, c.relname, c.relkind::text, c.relrowsecurity,
           coalesce('security_invoker=true' = ANY (c.reloptions), false)
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
      AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = c.oid AND d.deptype = 'e')
    ORDER BY 1, 2"""
COLUMNS = """
    SELECT a.attname, format_type(a.atttypid, NULL),
           a.attnotnull AND NOT a.atthasdef AND a.attidentity = '' AND a.attgenerated = ''
    FROM pg_attribute a
    WHERE a.attrelid = %s::regclass AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum"""


PRIVILEGES = """
    SELECT bool_and(has_column_privilege('stopline_reader', attrelid, attnum, 'SELECT')),
           has_any_column_privilege('stopline_reader', attrelid, 'INSERT, UPDATE')
           OR has_table_privilege('stopline_reader', attrelid, 'DELETE, TRUNCATE, TRIGGER')
    FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped
    GROUP BY attrelid"""
REFUSED = psycopg.errors.InsufficientPrivilege


@dataclass(frozen=True)
class Relation:
    """A table or view. `guarded`: policies bound its rows; of a view: those of the tables below it."""

    schema: str
    name: str
    is_view: bool
    guarded: bool

    @property
    def identifier(self) -> sql.Identifier:
        return sql.Identifier(self.schema, self.name)


@dataclass
class World:
    """Two junctions, each with a row of its own in every guarded table, and who may see them."""

    dsn: str
    relations: list[Relation]
    rows: dict[str, list[Counter[str]]]
    """By table: the rows of either junction."""
    users: dict[str, UUID]

    @property
    def guarded(self) -> list[Relation]:
        return [each for each in self.relations if each.schema == "public" and each.guarded]


@pytest.fixture
def world(dsn: str) -> World:
    with psycopg.connect(dsn) as connection:
        names = ("admin", "everywhere", "first", "second", "both", "stranger", "disabled")
        users = {name: _make_user(connection, name) for name in names}
    world = World(dsn, [], {}, users)
    with psycopg.connect(dsn) as connection:
        world.relations = _relations(connection)
    tables = [each.name for each in world.guarded if not each.is_view]
    seen_by = (("first", "both", "disabled"), ("second", "both"))
    for granted in seen_by:
        before = {name: sum(world.rows.get(name, []), Counter[str]()) for name in tables}
        _fill(dsn, tables, [users[name] for name in granted])
        with psycopg.connect(dsn) as connection:
            for name in tables:
                world.rows.setdefault(name, []).append(_rows(connection, sql.Identifier(name)) - before[name])
            world.relations = _relations(connection)  # rows make chunks
    return world


def _relations(connection: "psycopg.Connection[Any]") -> list[Relation]:
    return [
        Relation(schema, name, kind in "vm", (invoker if kind == "v" else guarded) and name not in HIDDEN)
        for schema, name, kind, guarded, invoker in connection.execute(RELATIONS.encode()).fetchall()
    ]


def _make_user(connection: "psycopg.Connection[Any]", name: str) -> UUID:
    row = connection.execute(
        "INSERT INTO users (name, role, all_junctions, status) VALUES (%s, %s, %s, %s) RETURNING id",
        (
            name,
            "admin" if name == "admin" else "viewer",
            name == "everywhere",
            "disabled" if name == "disabled" else "active",
        ),
    ).fetchone()
    assert row is not None
    found: UUID = row[0]
    return found


def _fill(dsn: str, tables: list[str], users: list[UUID]) -> None:
    """A junction with a device, and a row in every table that has none of it yet."""
    facts = Facts(dsn)
    facts.count(NOON)
    facts.frames(NOON, 10, 10)
    known = {"device_id": facts.device, "stream_no": facts.stream_no}
    known |= {"source_no": facts.source(), "camera_no": facts.camera()}
    facts.commit()
    with psycopg.connect(dsn) as connection:
        [(junction_id,)] = connection.execute(
            "SELECT junction_id FROM edge_devices WHERE id = %s", (facts.device,)
        ).fetchall()
        known["junction_id"] = junction_id
        [(location_id,)] = connection.execute("INSERT INTO locations (name) VALUES ('x') RETURNING id").fetchall()
        connection.execute("UPDATE junctions SET location_id = %s WHERE id = %s", (location_id, junction_id))
        # What stands elsewhere is not what is tried here.
        connection.execute("SET session_replication_role = replica")
        made = {"locations", "junctions", "edge_devices", "cameras", "counting_zones", "ingest_streams"}
        made |= {"junction_parts", "junction_heard", "device_heard"}
        for table in set(tables) - made - {"user_junction_access", "rollup_marks"}:
            _add_row(connection, table, known)
        for user_id in users:
            _add_row(connection, "user_junction_access", known | {"user_id": user_id})


def _add_row(connection: "psycopg.Connection[Any]", table: str, known: dict[str, Any]) -> None:
    values = {}
    for column, kind, needed in connection.execute(COLUMNS.encode(), (table,)).fetchall():
        if column in known:
            values[column] = known[column]
        elif (table, column) in CHOSEN:
            values[column] = CHOSEN[table, column]
        elif needed:
            values[column] = uuid4() if kind == "uuid" else SAMPLES[kind]
    connection.execute(
        sql.SQL("INSERT INTO {} ({}) VALUES ({})").format(
            sql.Identifier(table),
            sql.SQL(", ").join(map(sql.Identifier, values)),
            sql.SQL(", ").join(map(sql.Placeholder, values)),
        ),
        values,
    )


def _rows(connection: "psycopg.Connection[Any]", table: sql.Identifier) -> Counter[str]:
    statement = sql.SQL("SELECT t::text FROM {} AS t").format(table)
    return Counter(text for (text,) in connection.execute(statement).fetchall())


@contextmanager
def _reader(dsn: str, user: UUID | None) -> Iterator["psycopg.Connection[Any]"]:
    """As `collector.db.reading` does for a user who may not see everything; None: it named nobody."""
    with psycopg.connect(dsn) as connection:
        if user is not None:
            connection.execute("SELECT set_config('app.user_id', %s, true)", (str(user),))
        connection.execute("SET LOCAL ROLE stopline_reader")
        yield connection


def test_every_table_and_view_shows_a_user_their_junctions_alone(world: World) -> None:
    assert len(world.rows) > 25
    names: dict[str, tuple[int, ...]] = {"admin": (0, 1), "everywhere": (0, 1), "first": (0,), "second": (1,)}
    for name, junctions in (names | {"both": (0, 1), "stranger": (), "disabled": ()}).items():
        _check_tables(world, name, junctions)
        _check_functions(world, name, junctions)
    for user in (None, uuid4(), world.users["stranger"]):
        with _reader(world.dsn, user) as connection:
            for each in world.guarded:
                assert not _rows(connection, each.identifier), each.name
    _check_hidden(world)
    _check_plans(world)
    asyncio.run(_check_requests(world))


def _check_tables(world: World, name: str, junctions: tuple[int, ...]) -> None:
    """What a user sees of each table are the rows of `junctions`."""
    with _reader(world.dsn, world.users[name]) as connection:
        for table, rows in world.rows.items():
            assert all(rows), f"{table} has rows of both junctions"
            expected = sum((rows[number] for number in junctions), Counter[str]())
            if table == "user_junction_access" and name not in ("admin", "everywhere"):
                # Of two users who see a junction, neither learns of the other.
                expected = Counter({row: n for row, n in expected.items() if str(world.users[name]) in row})
            assert _rows(connection, sql.Identifier(table)) == expected, f"{name} in {table}"


def _check_functions(world: World, name: str, junctions: tuple[int, ...]) -> None:
    """What a user is told by functions that see more than they is of `junctions` alone."""
    with psycopg.connect(world.dsn) as connection:
        places = connection.execute(
            "SELECT j.id, d.id FROM junctions j JOIN edge_devices d ON d.junction_id = j.id ORDER BY j.no, d.id"
        ).fetchall()
    of = list(dict.fromkeys(junction for junction, _ in places))
    seen = {of[number] for number in junctions}
    with _reader(world.dsn, world.users[name]) as connection:
        told = connection.execute(
            "SELECT device_id FROM unnest(%s::uuid[]) AS j, devices_told(j)", (of,)
        ).fetchall()
        assert {device for (device,) in told} == {device for junction, device in places if junction in seen}, name
        sources = connection.execute(
            "SELECT j FROM unnest(%s::uuid[]) AS j WHERE sources_told(j) <> '[]'", (of,)
        ).fetchall()
        assert {junction for (junction,) in sources} == seen, name
        devices = {device for junction, device in places if junction in seen}
        everything = {"all": [device for _, device in places]}
        facts = connection.execute("SELECT device_id FROM seen_device_facts(%(all)s)", everything).fetchall()
        assert {device for (device,) in facts} == devices, name
        lines = connection.execute(
            "SELECT p.stream_no = ANY (ARRAY(SELECT no FROM ingest_streams))"
            " FROM log_places('-infinity', 'infinity', '%', NULL) p WHERE p.stream_no IS NOT NULL"
        ).fetchall()
        if name not in ("admin", "everywhere"):
            assert set(lines) <= {(True,)}, name
            for shown in (b"seen_devices_shown(%(all)s)", b"seen_devices_heard()"):
                rows = connection.execute(b"SELECT id FROM " + shown, everything).fetchall()
                assert {device for (device,) in rows} == devices, (name, shown)
            newest = "'-infinity', 'infinity', 'infinity', 0, 0"
            streams = "(SELECT array_agg(n) FROM generate_series(1, 1000) n), ARRAY[NULL::uuid]"
            for page, log in (
                (f"seen_log_page({newest}, NULL, 10000)", "system_logs"),
                (
                    f"seen_log_lines({newest}, 10000, NULL, NULL, NULL, NULL, NULL, NULL, NULL, false)",
                    "system_logs",
                ),
                (f"seen_log_lines({newest}, 10000, NULL, NULL, NULL, NULL, NULL, '%', NULL, true)", "system_logs"),
                (
                    f"seen_log_lines({newest}, 10000, NULL, NULL, {streams}, NULL, NULL, NULL, false)",
                    "system_logs WHERE stream_no IS NOT NULL",
                ),
            ):
                unseen = "(SELECT p.junction_id EXCEPT SELECT id FROM junctions)"
                found = _rows_of(connection, f"{page} p", f"at, stream_no, seq, {unseen}")
                assert found == _rows_of(connection, log, "at, coalesce(stream_no, 0), seq, NULL"), (name, page)
            rejects = "seen_rejects(NULL, NULL, NULL, false, 'infinity', 0, 0, 10000, 100)"
            columns = "received_at, stream_no, seq, code"
            assert _rows_of(connection, rejects, columns) == _rows_of(connection, "ingest_rejects", columns), name


def _rows_of(connection: psycopg.Connection[Any], source: str, columns: str) -> Counter[Any]:
    return Counter(connection.execute(f"SELECT {columns} FROM {source}".encode()).fetchall())


def _check_hidden(world: World) -> None:
    """What lies beside the guarded tables, partitions and chunks among it, is out of a reader's reach."""
    hidden = [each for each in world.relations if each.schema != "public" or each.name in HIDDEN]
    assert any(each.schema != "public" for each in hidden), "partitions, or chunks"
    for each in hidden:
        with _reader(world.dsn, world.users["admin"]) as connection, pytest.raises(REFUSED):
            connection.execute(sql.SQL("SELECT count(*) FROM {}").format(each.identifier))


def _check_plans(world: World) -> None:
    """Policies leave indexes in use, and ask who sees what once for a statement, not for each partition."""
    for table, column, at in (("count_events", "source_no", "at"), ("count_rollups", "source_no", "bucket")):
        with _reader(world.dsn, world.users["first"]) as connection:
            connection.execute("SET LOCAL enable_seqscan = off")
            statement = f"EXPLAIN SELECT * FROM {table} WHERE {column} = 1 AND {at} >= '2026-05-01Z'"
            plan = "\n".join(line for (line,) in connection.execute(statement.encode()).fetchall())
        assert f"Index Cond: (({column} = 1)" in plan, plan
        assert "SubPlan" not in plan, plan


async def _check_requests(world: World) -> None:
    """One session serves many: each reads in the name that it was given, or in nobody's."""
    n = sum(sum(rows.values()) for rows in world.rows["count_events"])
    async with make_pool(Settings(world.dsn, min_size=1, max_size=1)) as pool:
        for name, expected in (("first", n // 2), (None, n), ("stranger", 0), ("both", n), (None, n)):
            VIEWER.set(None if name is None else world.users[name])
            async with reading(pool) as connection:
                cursor = await connection.execute("SELECT count(*) FROM count_events")
                assert await cursor.fetchone() == (expected,), name


def test_what_is_added_must_be_guarded(dsn: str) -> None:
    with psycopg.connect(dsn) as connection:
        relations = _relations(connection)
        unguarded = {each.name for each in relations if each.schema == "public" and not each.guarded}
        assert unguarded == OPEN | HIDDEN, (
            "guard it with guard_rows(), make the view `WITH (security_invoker = true)`, or name it here"
        )
        definers = connection.execute(
            "SELECT proname FROM pg_proc WHERE prosecdef AND pronamespace = 'public'::regnamespace"
        ).fetchall()
        assert {name for (name,) in definers} == DEFINERS
        for each in relations:
            if each.schema != "public" or each.name in HIDDEN:
                continue
            [(readable, writable)] = connection.execute(PRIVILEGES.encode(), (each.name,)).fetchall()
            assert readable, f"{each.name}: grant it, or call grant_reading() after a column was added"
            assert not writable, each.name


def test_the_role_that_reads_is_made_once_for_all_databases_of_a_server() -> None:
    installation = plain_installation()
    server = PgServer(installation, durable=False)
    try:
        server.start()
        for name, options in (("maker", "LOGIN CREATEROLE"), ("second", "LOGIN CREATEROLE"), ("owner", "LOGIN")):
            server.execute(f"CREATE ROLE {name} {options}")
        dsns = [_database_of(server, "maker", f"ours_{n}") for n in (1, 2)]
        dsns.append(_database_of(server, "second", "others"))
        theirs = _database_of(server, "owner", "theirs")
        with pytest.raises(MigrationFailed, match=r"(?s)is missing, and owner may not make it.*CREATE ROLE stop"):
            migrate(theirs)
        with ThreadPoolExecutor(2) as pool:
            assert all(pool.map(migrate, dsns[:2]))
        # Nobody but an administrator lets others become a role that somebody made.
        for dsn, user in ((dsns[2], "second"), (theirs, "owner")):
            told = f"(?s){user} may not become the role.*GRANT stopline_reader TO {user}"
            with pytest.raises(MigrationFailed, match=told):
                migrate(dsn)
            server.execute(f"GRANT stopline_reader TO {user}")
            assert migrate(dsn)
        for dsn in (dsns[0], dsns[2], theirs):
            with _reader(dsn, None) as connection:
                assert connection.execute("SELECT count(*) FROM junctions").fetchall() == [(0,)]
    finally:
        server.destroy()
        installation.remove_scratch()


def _database_of(server: PgServer, owner: str, name: str) -> str:
    server.execute(f"CREATE DATABASE {name} OWNER {owner}")
    return server.dsn(name).replace("user=postgres", f"user={owner}")
