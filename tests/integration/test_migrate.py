"""Migrations: they build the schema that is written down, once, and refuse what does not fit."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from collector.errors import UnavailableError
from collector.migrate import (
    Migration,
    MigrationChanged,
    MigrationError,
    MigrationFailed,
    Phase,
    SchemaTooNew,
    Status,
    bundled,
    migrate,
    read_folder,
    split_statements,
    status,
)
from tests.servers.postgres import PgServer

SCHEMA = Path(__file__).parents[2] / "collector/sql/schema.sql"

CATALOGS = {
    "columns": """
        SELECT table_schema, table_name, ordinal_position, column_name, data_type, is_nullable, column_default,
               is_identity, identity_generation
        FROM information_schema.columns WHERE table_schema IN ('public', 'parts')""",
    "tables": """
        SELECT c.relname, c.relkind, c.reloptions, pg_get_expr(c.relpartbound, c.oid), pg_get_partkeydef(c.oid)
        FROM pg_class c WHERE c.relnamespace IN ('public'::regnamespace, 'parts'::regnamespace)
          AND c.relkind IN ('r', 'p', 'v', 'm')""",
    "indexes": "SELECT schemaname, tablename, indexdef FROM pg_indexes WHERE schemaname IN ('public', 'parts')",
    "constraints": """
        SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint
        WHERE connamespace IN ('public'::regnamespace, 'parts'::regnamespace)""",
    "functions": """
        SELECT p.proname, pg_get_functiondef(p.oid) FROM pg_proc p
        WHERE p.pronamespace = 'public'::regnamespace
          AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = p.oid AND d.deptype = 'e')""",
    "comments": """
        SELECT classoid::regclass::text, obj_description(objoid, 'pg_namespace') FROM pg_description
        WHERE objoid = 'parts'::regnamespace""",
    "policies": "SELECT tablename, policyname, permissive, roles, cmd, qual, with_check FROM pg_policies",
    "grants": """
        SELECT table_name, grantee, privilege_type FROM information_schema.role_table_grants
        WHERE grantee = 'stopline_reader'""",
    "column grants": """
        SELECT table_name, column_name, privilege_type FROM information_schema.role_column_grants
        WHERE grantee = 'stopline_reader'""",
    "triggers": "SELECT tgrelid::regclass::text, pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal",
    "series": "SELECT table_name, time_column, span, fillfactor FROM timeseries",
}

MakeDatabase = Callable[[], str]


@pytest.fixture(params=["plain", pytest.param("timescaledb", marks=pytest.mark.timescaledb)])
def empty(request: pytest.FixtureRequest, database_names: Iterator[str]) -> Iterator[MakeDatabase]:
    """Makes empty databases, once per edition."""
    yield from _databases(request.getfixturevalue(f"{request.param}_server"), database_names)


@pytest.fixture
def empty_plain(plain_server: PgServer, database_names: Iterator[str]) -> Iterator[str]:
    """An empty database on plain PostgreSQL."""
    for make in _databases(plain_server, database_names):
        yield make()


def _databases(server: PgServer, names: Iterator[str]) -> Iterator[MakeDatabase]:
    made = []

    def make() -> str:
        made.append(next(names))
        return server.create_database(made[-1])

    yield make
    for name in made:
        server.drop_database(name)


def _catalogs(dsn: str) -> dict[str, list[tuple[Any, ...]]]:
    with psycopg.connect(dsn) as connection:
        found = {name: connection.execute(query.encode()).fetchall() for name, query in CATALOGS.items()}
    # The migrations' own note of what was applied is not part of the schema.
    return {
        name: sorted((row for row in rows if "schema_migrations" not in str(row)), key=str)
        for name, rows in found.items()
    }


def _tables(dsn: str) -> set[str]:
    with psycopg.connect(dsn) as connection:
        rows = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
    return {name for (name,) in rows}


def _step(number: int, text: str, phase: Phase = Phase.PRE) -> Migration:
    return Migration(number, phase, f"step_{number}", text)


def test_the_migrations_build_the_schema_that_is_written_down(empty: MakeDatabase) -> None:
    by_migrations, by_schema = empty(), empty()
    migrate(by_migrations)
    with psycopg.connect(by_migrations) as connection:
        rows = connection.execute("SELECT extname FROM pg_extension WHERE extname = 'timescaledb'").fetchall()
    with psycopg.connect(by_schema, autocommit=True) as connection:
        if rows:
            connection.execute("CREATE EXTENSION timescaledb")
        connection.execute(SCHEMA.read_bytes())
    expected, found = _catalogs(by_schema), _catalogs(by_migrations)
    for name in CATALOGS:
        assert found[name] == expected[name], name
    assert len(found["tables"]) > 20
    assert found["functions"]


def test_a_second_run_changes_nothing(empty: MakeDatabase) -> None:
    dsn = empty()
    names = tuple(str(migration) for migration in bundled())
    assert status(dsn) == status(dsn)
    assert (status(dsn).applied, status(dsn).pending) == ((), names)
    assert _tables(dsn) == set()
    assert migrate(dsn) == names
    assert migrate(dsn) == ()
    assert (status(dsn).applied, status(dsn).pending) == (names, ())


def test_of_many_at_once_each_step_is_applied_by_one(empty_plain: str) -> None:
    steps = [_step(n, f"CREATE TABLE t{n} (n int); SELECT pg_sleep(0.05)") for n in range(1, 4)]
    applied: list[str] = []
    threads = [threading.Thread(target=lambda: applied.extend(migrate(empty_plain, steps))) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(applied) == [str(step) for step in steps]


def test_who_goes_back_works_with_what_a_later_release_added(
    empty_plain: str, caplog: pytest.LogCaptureFixture
) -> None:
    old = [_step(1, "SELECT 1"), _step(3, "CREATE TABLE late (n int)")]
    migrate(empty_plain, [_step(1, "SELECT 1"), _step(2, "SELECT 2")])
    assert status(empty_plain, old).later == ("002_pre_step_2",)
    assert migrate(empty_plain, old) == ("003_pre_step_3",)
    assert "002_pre_step_2 of a later release" in caplog.text
    assert status(empty_plain, old) == Status(("001_pre_step_1", "003_pre_step_3"), (), ("002_pre_step_2",))


def test_a_database_from_which_a_later_release_took_something_is_refused(empty_plain: str) -> None:
    migrate(empty_plain, [_step(1, "SELECT 1"), _step(2, "SELECT 2", Phase.POST)])
    for call in (migrate, status):
        with pytest.raises(
            SchemaTooNew, match=r"has migration 002_post_step_2.*Install that release or a later one"
        ):
            call(empty_plain, [_step(1, "SELECT 1")])


def test_a_step_that_was_changed_afterwards_is_refused(empty_plain: str) -> None:
    migrate(empty_plain, [_step(1, "SELECT 1")])
    with pytest.raises(MigrationChanged, match=r"001_pre_step_1 is not the one that was applied"):
        migrate(empty_plain, [_step(1, "SELECT 2")])


def test_days_that_were_made_in_their_other_form_are_taken(empty_plain: str) -> None:
    other = "48b839f64309b89d18265e15a8317facd42bd36b8777998d575cc2701dadfab8"
    before = [step for step in bundled() if step.number <= 12]
    migrate(empty_plain, before)
    with psycopg.connect(empty_plain) as connection:
        connection.execute("UPDATE schema_migrations SET checksum = %s WHERE number = 9", (other,))
        for column in ("cycles", "saturation_cycles"):
            connection.execute(f"ALTER TABLE junction_daily_stats ALTER COLUMN {column} DROP NOT NULL".encode())
    assert "016_pre_days" in migrate(empty_plain)


def test_a_step_that_fails_leaves_nothing_behind_and_keeps_those_before(empty_plain: str) -> None:
    steps = [
        _step(1, "CREATE TABLE kept (n int)"),
        _step(2, "CREATE TABLE gone (n int); SELECT no_such_column"),
        _step(3, "CREATE TABLE never (n int)"),
    ]
    with pytest.raises(MigrationFailed, match="002_pre_step_2 failed: column"):
        migrate(empty_plain, steps)
    assert _tables(empty_plain) == {"schema_migrations", "kept"}
    assert status(empty_plain, steps).pending == ("002_pre_step_2", "003_pre_step_3")


def test_a_step_that_meets_a_writer_who_locks_in_another_order_is_tried_again(empty_plain: str) -> None:
    steps = [
        _step(1, "CREATE TABLE first (n int); CREATE TABLE second (n int)"),
        _step(2, "ALTER TABLE first ADD COLUMN m int; ALTER TABLE second ADD COLUMN m int"),
    ]
    migrate(empty_plain, steps[:1])
    applied: list[str] = []
    with psycopg.connect(empty_plain) as writer, psycopg.connect(empty_plain, autocommit=True) as observer:
        # So that it is the migration that gives way.
        writer.execute("SET deadlock_timeout = '1min'")
        writer.execute("INSERT INTO second VALUES (1)")
        thread = threading.Thread(target=lambda: applied.extend(migrate(empty_plain, steps)))
        thread.start()
        waiting = "SELECT count(*) FROM pg_locks WHERE relation = 'second'::regclass AND NOT granted"
        while observer.execute(waiting).fetchone() != (1,):
            assert thread.is_alive()
        writer.execute("INSERT INTO first VALUES (1)")
        writer.commit()
        thread.join(60)
    assert applied == ["002_pre_step_2"]


def test_a_step_that_waits_for_long_lets_others_go_first_and_comes_again(empty_plain: str) -> None:
    steps = [
        _step(1, "CREATE TABLE t (n int)"),
        _step(2, "SET LOCAL lock_timeout = '20ms'; ALTER TABLE t ADD COLUMN m int"),
    ]
    migrate(empty_plain, steps[:1])
    applied: list[str] = []
    tried = "SELECT count(*) FROM pg_locks WHERE relation = 't'::regclass AND NOT granted"
    with psycopg.connect(empty_plain) as reader, psycopg.connect(empty_plain, autocommit=True) as observer:
        reader.execute("SELECT FROM t")
        thread = threading.Thread(target=lambda: applied.extend(migrate(empty_plain, steps)))
        thread.start()
        for awaited in ((1,), (0,), (1,)):
            while observer.execute(tried).fetchone() != awaited:
                assert thread.is_alive()
        reader.commit()
        thread.join(60)
    assert applied == ["002_pre_step_2"]


def test_who_may_not_make_a_database_ready_is_told_what_to_do(
    plain_server: PgServer, database_names: Iterator[str]
) -> None:
    name = next(database_names)
    role = f"guest_of_{name}"
    dsn = plain_server.create_database(name)
    plain_server.execute(f"CREATE ROLE {role} LOGIN")
    try:
        with pytest.raises(MigrationFailed, match=r"permission denied.*Nothing was changed.*CREATE EXTENSION"):
            migrate(dsn.replace("user=postgres", f"user={role}"))
        assert _tables(dsn) == set()
    finally:
        plain_server.drop_database(name)
        plain_server.execute(f"DROP ROLE {role}")


@pytest.mark.timescaledb
def test_an_owner_who_is_no_superuser_gets_timescaledb(
    timescaledb_server: PgServer, database_names: Iterator[str]
) -> None:
    name = next(database_names)
    role = f"owner_of_{name}"
    dsn = timescaledb_server.create_database(name)
    timescaledb_server.execute(f"CREATE ROLE {role} LOGIN")
    timescaledb_server.execute(f"ALTER DATABASE {name} OWNER TO {role}")
    try:
        migrate(dsn.replace("user=postgres", f"user={role}"), [_step(1, "CREATE TABLE t (n int)")])
        with psycopg.connect(dsn) as connection:
            rows = connection.execute("SELECT extname FROM pg_extension WHERE extname = 'timescaledb'").fetchall()
        assert rows
    finally:
        timescaledb_server.drop_database(name)
        timescaledb_server.execute(f"DROP ROLE {role}")


def test_a_step_may_run_outside_a_transaction(empty_plain: str) -> None:
    steps = [
        _step(1, "CREATE TABLE t (n int)"),
        _step(
            2, "-- no-transaction\n-- Two of them; a comment.\nCREATE INDEX CONCURRENTLY a ON t (n);\nVACUUM t;\n"
        ),
    ]
    assert len(migrate(empty_plain, steps)) == 2
    with psycopg.connect(empty_plain) as connection:
        assert connection.execute("SELECT indexname FROM pg_indexes WHERE tablename = 't'").fetchall() == [("a",)]


def test_one_that_waits_for_its_turn_does_not_hold_up_a_concurrent_index(empty_plain: str) -> None:
    steps = [
        _step(1, "CREATE TABLE t (n int)"),
        _step(2, "-- no-transaction\nSELECT pg_sleep(0.3);\nCREATE INDEX CONCURRENTLY a ON t (n);\n"),
    ]
    applied: list[str] = []
    threads = [threading.Thread(target=lambda: applied.extend(migrate(empty_plain, steps))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(applied) == [str(step) for step in steps]


def test_post_steps_wait_while_old_code_still_serves(empty_plain: str) -> None:
    steps = [
        _step(1, "CREATE TABLE t (n int)"),
        _step(2, "DROP TABLE t", Phase.POST),
        _step(3, "CREATE TABLE u (n int)"),
    ]
    assert migrate(empty_plain, steps, only=Phase.PRE) == ("001_pre_step_1",)
    assert migrate(empty_plain, steps) == ("002_post_step_2", "003_pre_step_3")


def test_a_server_that_is_away_is_told() -> None:
    with pytest.raises(UnavailableError, match="the database cannot be reached"):
        migrate("host=127.0.0.1 port=1")


def test_statements_end_with_a_semicolon_at_the_end_of_a_line() -> None:
    text = "-- no-transaction\nSELECT ';' AS a,\n  2;\n\n-- why\nSELECT 3 ;\n"
    assert split_statements(text) == ["SELECT ';' AS a,\n  2", "SELECT 3"]


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (["1_pre_x.sql"], "1_pre_x.sql: a migration is named NNN_pre_name.sql"),
        (["001_late_x.sql"], "001_late_x.sql: a migration is named"),
        (["001_pre_x.sql", "001_post_y.sql"], "number 1 is taken by"),
    ],
)
def test_wrong_files_are_told_by_name(tmp_path: Path, names: list[str], told: str) -> None:
    for name in names:
        (tmp_path / name).write_text("SELECT 1")
    with pytest.raises(MigrationError, match=told):
        read_folder(tmp_path)


def test_what_is_no_sql_is_passed_over_and_order_is_by_number(tmp_path: Path) -> None:
    for name in ("002_pre_b.sql", "001_post_a.sql", "README.md"):
        (tmp_path / name).write_text("SELECT 1")
    assert [str(migration) for migration in read_folder(tmp_path)] == ["001_post_a", "002_pre_b"]


def test_what_was_there_before_is_taken_over(empty_plain: str) -> None:
    """Lanes of junctions that were described, faults that the log tells of, hours around a change of clocks."""
    migrate(empty_plain, [step for step in bundled() if step.number < 7])
    with psycopg.connect(empty_plain) as connection:
        connection.execute(
            "INSERT INTO junctions (name, metadata) VALUES ('described', jsonb_build_object('lights',"
            ' \'{"at_ms": 1, "description": {"lanes": [{"name": "b", "approach": "south"}, {"name": "a",'
            ' "approach": "north", "saturation_flow_vph": 900}]}}\'::jsonb)), (\'other\', \'{}\')'
        )
    migrate(empty_plain, [step for step in bundled() if step.number < 18])
    with psycopg.connect(empty_plain) as connection:
        connection.execute(
            "WITH d AS (INSERT INTO edge_devices (id, junction_id, name, public_key)"
            " SELECT gen_random_uuid(), id, 'pi', decode(repeat('00', 32), 'hex') FROM junctions"
            " WHERE name = 'described' RETURNING id), s AS (INSERT INTO ingest_streams (device_id, stream, epoch)"
            " SELECT id, 'main', gen_random_uuid() FROM d RETURNING no)"
            " INSERT INTO system_logs (at, at_error_ms, seq, stream_no, level, action, message, context)"
            " SELECT now() + (n - 60) * interval '1 minute', 0, n, no, 'info', action, 'lamp: ' || n, '{}'"
            " FROM s, unnest(ARRAY['lights_fault', 'lights_mode', 'lights_fault_cleared', 'lights_fault'])"
            " WITH ORDINALITY AS a (action, n)"
        )
        connection.execute(
            "INSERT INTO junction_hourly_stats SELECT id, now(), now(), '[]', '[]', '[]' FROM junctions"
            " WHERE name = 'described'"
        )
        connection.execute("UPDATE junctions SET timezone = 'Australia/Lord_Howe' WHERE name = 'described'")
        connection.execute(
            "INSERT INTO cameras (device_id, name) SELECT id, 'north' FROM edge_devices;"
            "INSERT INTO coverage_rollups (bucket, camera_no, step_s, measured_ms)"
            " SELECT at::timestamptz, no, step_s, 1 FROM cameras,"
            " unnest(ARRAY['2026-04-04 14:00Z', '2026-04-04 14:30Z', '2026-10-03 15:00Z', '2026-10-03 15:00Z'],"
            " ARRAY[3600, 3600, 3600, 900]) AS r (at, step_s)"
        )
    migrate(empty_plain)
    with psycopg.connect(empty_plain) as connection:
        lanes = connection.execute(
            "SELECT name, approach, saturation_flow_vph FROM lanes ORDER BY position"
        ).fetchall()
        faults = connection.execute(
            "SELECT why, extract(epoch FROM ended_at - began_at)::int, ended_by FROM v_control_history"
            " WHERE origin = 'fault' ORDER BY began_at"
        ).fetchall()
        back = connection.execute(
            "SELECT made_from > now() - interval '1 hour' FROM junction_hours_back"
        ).fetchall()
        measured = connection.execute(
            "SELECT to_char(bucket AT TIME ZONE 'UTC', 'DD HH24:MI') FROM coverage_rollups ORDER BY step_s, bucket"
        ).fetchall()
    assert lanes == [("b", "south", 1800.0), ("a", "north", 900.0)]
    assert faults == [("lamp: 1", 120, "cleared"), ("lamp: 4", None, None)]
    assert back == [(True,)]
    assert [text for (text,) in measured] == ["03 15:00", "04 14:00", "04 15:00", "03 15:30"]
