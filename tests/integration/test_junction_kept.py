"""What is kept of each junction for lists is what its devices, streams and rollups say, whatever happens."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any
from uuid import UUID

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from collector.db import Settings, make_pool
from collector.fleet.changes import DeviceChanges
from collector.identity.audit import COMMAND_LINE
from collector.junctions import queries
from collector.junctions.routes import junction_routes
from collector.migrate import migrate
from tests.integration.facts import Facts
from tests.integration.reader import get, reading_client
from tests.integration.test_rollups import bucket_of, drain
from tests.servers.databases import cloned_database
from tests.servers.postgres import PgServer

KEPT = {
    "junction_parts": "junction_id, devices, active_devices, cameras, sources, by_camera, by_zone, stream_nos,"
    " source_nos, camera_nos,"
    " ARRAY(SELECT unnest(device_ids) ORDER BY 1)",
    "junction_heard": "junction_id, received_at, last_at",
    "device_heard": "device_id, received_at",
    "junction_days": "junction_id, bucket, timezone, n_camera, n_other, measured_ms",
    "junction_counts": "junction_id, bucket, timezone, n_camera, n_zone, n_other",
}
COUNTED = (
    (3, 0, 2, 2),
    (1, 2, 0, 0),
    (0, 2, 0, 0),
    (0, 0, 0, 0),
    (4, 0, 0, 1),
    (2, 0, 3, 0),
    (0, 3, 1, 6),
)
"""At a line, by a reader, what comes after the first was rolled up, and in a zone."""
SORTS = ("name", "counts_today", "received_at")


def _kept(connection: "psycopg.Connection[Any]") -> dict[str, list[Any]]:
    """Rows that say something, in an order."""
    found = {
        name: connection.execute(f"SELECT {columns} FROM {name} ORDER BY 1, 2".encode()).fetchall()
        for name, columns in KEPT.items()
    }
    found["junction_heard"] = [row for row in found["junction_heard"] if row[1] is not None]
    for name in ("junction_days", "junction_counts"):
        found[name] = [row for row in found[name] if any(row[3:])]
    return found


def _check(dsn: str) -> None:
    with psycopg.connect(dsn) as connection:
        kept = _kept(connection)
        [(everyone,)] = connection.execute("SELECT array_agg(id) FROM junctions").fetchall()
        connection.execute("DELETE FROM junction_parts; DELETE FROM junction_heard; DELETE FROM device_heard")
        connection.execute(
            "INSERT INTO device_heard SELECT device_id, max(last_received_at) FROM ingest_streams GROUP BY 1"
        )
        connection.execute(
            "SELECT keep_parts(%(all)s), keep_heard(%(all)s), keep_days(%(all)s), keep_counts(%(all)s)",
            {"all": everyone},
        )
        computed = _kept(connection)
        computed["junction_parts"] = [row for row in computed["junction_parts"] if row[1]]
        kept["junction_parts"] = [row for row in kept["junction_parts"] if row[1]]
        never = connection.execute(
            "SELECT count(*) FROM edge_devices d"
            " WHERE has_sent <> EXISTS (SELECT FROM ingest_streams WHERE device_id = d.id)"
        ).fetchone()
        connection.rollback()
    assert kept == computed
    assert never == (0,)


@contextmanager
def _changing(dsn: str) -> Iterator["psycopg.Connection[Any]"]:
    with psycopg.connect(dsn) as connection:
        yield connection
    _check(dsn)


def _world(dsn: str) -> list[Facts]:
    """Junctions that counted by camera, by reader, or nothing; some of it waits to be rolled up."""
    midnight = bucket_of(datetime.now(UTC), 86400, "UTC")
    world = []
    for cameras, readers, _, visits in COUNTED:
        facts = Facts(dsn)
        for via, n in (("camera", cameras), ("rfid", readers)):
            for _ in range(n):
                facts.count(midnight, via=via)
        if visits:
            facts.zone("approach")
        for _ in range(visits):
            facts.count(midnight, direction="none", source="approach")
        if cameras:
            facts.frames(midnight + timedelta(seconds=2), span_s=2, measured_s=1)
        facts.commit()
        world.append(facts)
        _check(dsn)
    drain(dsn)
    for facts, (cameras, _, late, _) in zip(world, COUNTED, strict=True):
        for _ in range(late):
            facts.count(midnight, via="camera" if cameras else "rfid")
        facts.commit()
    with psycopg.connect(dsn) as connection:
        for number, facts in enumerate(world):
            connection.execute(
                "UPDATE ingest_streams SET last_received_at = now() - %s * interval '5 minutes' WHERE no = %s",
                (number % 5, facts.stream_no),
            )
        connection.execute("DELETE FROM ingest_streams WHERE no = %s", (world[3].stream_no,))
    return world


def test_what_is_kept_is_what_there_is(dsn: str) -> None:
    world = _world(dsn)
    _check(dsn)
    drain(dsn)
    _check(dsn)
    for table in ("count_events", "count_rollups", "coverage_rollups"):
        with _changing(dsn) as connection:
            before = _kept(connection)
            connection.execute(f"CREATE TEMP TABLE aside AS SELECT * FROM {table}".encode())
            connection.execute(f"TRUNCATE {table}".encode())
            connection.execute(f"INSERT INTO {table} SELECT * FROM aside".encode())
            assert _kept(connection) == before
    first, second = world[0], world[1]
    midnight = bucket_of(datetime.now(UTC), 86400, "UTC")
    with _changing(dsn) as connection:
        connection.execute(
            "UPDATE edge_devices SET status = 'revoked', revoked_at = now() WHERE id = %s", (first.device,)
        )
    with _changing(dsn) as connection:
        connection.execute("UPDATE edge_devices SET junction_id = NULL WHERE id = %s", (first.device,))
    first.count(midnight)
    first.commit()
    drain(dsn)
    _check(dsn)
    with _changing(dsn) as connection:
        connection.execute(
            "UPDATE edge_devices SET junction_id = (SELECT junction_id FROM edge_devices WHERE id = %s)"
            " WHERE id = %s",
            (second.device, first.device),
        )
    with _changing(dsn) as connection:
        connection.execute("UPDATE junctions SET timezone = 'Asia/Tokyo' WHERE name = %s", (second.junction,))
    with _changing(dsn) as connection:
        connection.execute(
            "UPDATE ingest_streams SET last_received_at = now() - interval '9 days', last_at = NULL"
        )


def test_a_dump_that_is_restored_is_what_was_there(plain_server: PgServer, database_names: Iterator[str]) -> None:
    with cloned_database(plain_server, next(database_names)) as dsn:
        facts = Facts(dsn)
        facts.count(datetime.now(UTC))
        facts.frames(datetime.now(UTC), span_s=20, measured_s=10)
        facts.commit()
        drain(dsn)
        facts.count(datetime.now(UTC))
        facts.commit()
        dump = plain_server.run("pg_dump", "-Fc", "-d", str(conninfo_to_dict(dsn)["dbname"]))
        restored = next(database_names)
        new_dsn = plain_server.create_database(restored, template="template0")
        try:
            plain_server.run("pg_restore", "--exit-on-error", "-d", restored, told=dump)
            assert not migrate(new_dsn)
            assert _all_rows(new_dsn) == _all_rows(dsn)
            _check(new_dsn)
            drain(new_dsn)
            _check(new_dsn)
        finally:
            plain_server.drop_database(restored)


def _all_rows(dsn: str) -> dict[str, list[str]]:
    with psycopg.connect(dsn) as connection:
        tables = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
        return {
            name: sorted(row for (row,) in connection.execute(f"SELECT t::text FROM {name} t".encode()))
            for (name,) in tables
        }


def test_all_orders_filters_and_pages_tell_the_same(dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    world = _world(dsn)
    with psycopg.connect(dsn) as connection:
        for facts in world[::3]:
            connection.execute(
                "UPDATE junctions SET lights_device_id = %s WHERE name = %s", (facts.device, facts.junction)
            )
    with reading_client(dsn, junction_routes) as client:
        everyone = get(client, "/api/junctions")["junctions"]
        assert {each["state"] for each in everyone} == {"live", "late", "silent", "never"}
        assert sorted(each["counts_today"] or 0 for each in everyone) == [0, 1, 2, 4, 5, 5, 6]
        part = everyone[0]["name"][-6:]
        names = [one["name"] for one in everyone[2:5]]
        for narrowing in (
            {},
            {"state": ["live", "late"]},
            {"state": ["never", "silent"]},
            {"q": part},
            {"has_lights": True},
            {"junction": names, "has_lights": False},
        ):
            found = [each for each in everyone if _fits(each, narrowing)]
            for sort, is_down in product(SORTS, (False, True)):
                # They are few in the one direction, and many in the other, as are those that have the same.
                monkeypatch.setattr(queries, "_FEW", -1 if is_down else 1000)
                expected = [each["name"] for each in _sorted(found, sort, is_down)]
                for limit, offset in ((1, 0), (2, 1), (2, 3), (100, 1), (3, 50)):
                    asked = narrowing | {"sort": "-" * is_down + sort, "limit": limit, "offset": offset}
                    told = [each["name"] for each in get(client, "/api/junctions", **asked)["junctions"]]
                    assert told == expected[offset : offset + limit], asked


def test_a_device_that_moves_while_it_counts_takes_all_its_counts_along(plain_dsn: str) -> None:
    first, second = Facts(plain_dsn), Facts(plain_dsn, timezone="Asia/Tokyo")
    now = datetime.now(UTC)
    first.count(now)
    first.commit()
    first.count(now)
    with _meanwhile(plain_dsn, _statement(plain_dsn, *_moved(first, second.junction))):
        first.commit()
    _check(plain_dsn)
    source_no = first.source()
    first.commit()
    counted = (
        b"INSERT INTO count_events (at, at_error_ms, seq, stream_no, source_no, cls, direction, inferred)"
        b" VALUES (now(), 0, 99, 1, %s, 'car', 'in', false)"
    )
    with psycopg.connect(plain_dsn) as moving:
        moving.execute(*_moved(first, first.junction))
        with _meanwhile(plain_dsn, _statement(plain_dsn, counted, (source_no,))):
            moving.commit()
    _check(plain_dsn)
    with psycopg.connect(plain_dsn) as connection:
        told = connection.execute(
            "SELECT name, sum(n_camera) FROM junction_counts JOIN junctions ON id = junction_id GROUP BY name"
        ).fetchall()
    assert {name: n for name, n in told if n} == {first.junction: 3}


@pytest.mark.parametrize("is_asked", [False, True])
def test_who_moves_a_device_waits_for_workers_before_it_hinders_ingest(plain_dsn: str, is_asked: bool) -> None:
    """So that no order of locks leads in a circle: a worker may wait for who stores, and for no one who moves."""
    first, second = Facts(plain_dsn), Facts(plain_dsn)
    first.count(datetime.now(UTC))
    first.commit()
    with psycopg.connect(plain_dsn) as connection:
        connection.execute("UPDATE edge_devices SET junction_id = NULL WHERE id = %s", (first.device,))
        row = connection.execute("SELECT id FROM junctions WHERE name = %s", (second.junction,)).fetchone()
    assert row is not None

    async def ask(junction: UUID) -> None:
        async with make_pool(Settings(plain_dsn, min_size=1, max_size=1)) as pool:
            await DeviceChanges(pool).change(first.device, COMMAND_LINE, junction_id=junction)

    def move() -> None:
        if is_asked:
            asyncio.run(ask(row[0]))
        else:
            with psycopg.connect(plain_dsn) as connection:
                connection.execute(*_moved(first, second.junction))

    for worker in (b"SELECT pg_advisory_xact_lock(1398034257)", b"SELECT pg_advisory_xact_lock(1398034259)"):
        with psycopg.connect(plain_dsn) as working:
            working.execute(worker)
            with _meanwhile(plain_dsn, move):
                first.connection.execute("SET lock_timeout = '2s'")
                first.count(datetime.now(UTC))
                first.commit()
                working.commit()
        _check(plain_dsn)
        with psycopg.connect(plain_dsn) as connection:
            connection.execute("UPDATE edge_devices SET junction_id = NULL WHERE id = %s", (first.device,))


HEARD = b"UPDATE ingest_streams SET last_received_at = %s, last_at = now() WHERE no = %s"


def test_when_devices_were_heard_is_known_whoever_ends_first(plain_dsn: str) -> None:
    first, second, elsewhere = (Facts(plain_dsn) for _ in range(3))
    now = datetime.now(UTC)
    with psycopg.connect(plain_dsn) as connection:
        connection.execute(*_moved(second, first.junction))
        row = connection.execute(
            "INSERT INTO ingest_streams (device_id, stream, epoch, last_received_at)"
            " VALUES (%s, 'other', gen_random_uuid(), 'epoch') RETURNING no",
            (first.device,),
        ).fetchone()
    assert row is not None
    other = row[0]

    def heard(stream_no: int, at_s: int) -> tuple[bytes, tuple[Any, ...]]:
        return HEARD, (now + timedelta(seconds=at_s), stream_no)

    def last() -> dict[UUID, int]:
        with psycopg.connect(plain_dsn) as connection:
            rows = connection.execute("SELECT device_id, received_at FROM device_heard").fetchall()
        return {device: round((at - now).total_seconds()) for device, at in rows}

    # In each case one transaction ends when another one waits for it.
    for held, meanwhile, expected in (
        (heard(first.stream_no, 11), heard(second.stream_no, 12), (11, 12)),
        (heard(first.stream_no, 13), heard(other, 14), (14, 12)),
        (heard(other, 16), heard(first.stream_no, 15), (16, 12)),
        (heard(other, 18), heard(other, 17), (17, 12)),
        (heard(other, 2), heard(first.stream_no, 16), (16, 12)),
        (heard(first.stream_no, 3), heard(other, 4), (4, 12)),
        (heard(second.stream_no, 19), _moved(second, elsewhere.junction), (4, 19)),
        (heard(first.stream_no, 21), (b"DELETE FROM ingest_streams WHERE no = %s", (first.stream_no,)), (4, 19)),
        (heard(other, 22), (b"DELETE FROM ingest_streams WHERE no = %s", (other,)), (None, 19)),
    ):
        with psycopg.connect(plain_dsn) as holding:
            holding.execute(*held)
            with _meanwhile(plain_dsn, _statement(plain_dsn, *meanwhile)):
                holding.commit()
        _check(plain_dsn)
        assert (last().get(first.device), last()[second.device]) == expected


def _moved(facts: Facts, junction: str) -> tuple[bytes, tuple[Any, ...]]:
    """The statement that moves a device to a junction."""
    return (
        b"UPDATE edge_devices SET junction_id = (SELECT id FROM junctions WHERE name = %s) WHERE id = %s",
        (junction, facts.device),
    )


def _statement(dsn: str, statement: bytes, values: tuple[Any, ...]) -> Callable[[], None]:
    def run() -> None:
        with psycopg.connect(dsn) as connection:
            connection.execute(statement, values)

    return run


@contextmanager
def _meanwhile(dsn: str, act: Callable[[], None]) -> Iterator[None]:
    """Does something at the side, and goes on when that waits for somebody's lock; waits for its end."""
    with psycopg.connect(dsn, autocommit=True) as watching:
        at_the_side = threading.Thread(target=act)
        at_the_side.start()
        while watching.execute("SELECT count(*) FROM pg_locks WHERE NOT granted").fetchone() == (0,):
            assert at_the_side.is_alive()
        yield
        at_the_side.join()


def _fits(junction: dict[str, Any], narrowing: dict[str, Any]) -> bool:
    return (
        junction["state"] in narrowing.get("state", [junction["state"]])
        and narrowing.get("q", "") in junction["name"]
        and junction["name"] in narrowing.get("junction", [junction["name"]])
        and junction["has_lights"] == narrowing.get("has_lights", junction["has_lights"])
    )


def _sorted(junctions: list[dict[str, Any]], sort: str, is_down: bool) -> list[dict[str, Any]]:
    """Those without a value come last, either way; equal ones by name."""
    by_name = sorted(junctions, key=lambda each: each["name"], reverse=is_down and sort == "name")
    if sort == "name":
        return by_name
    known = [each for each in by_name if each[sort]]
    return sorted(known, key=lambda each: each[sort], reverse=is_down) + [
        each for each in by_name if not each[sort]
    ]


def test_writers_that_hear_the_same_junctions_at_once_do_not_hinder_each_other(plain_dsn: str) -> None:
    junctions = [Facts(plain_dsn) for _ in range(6)]
    streams: list[list[int]] = [[], []]
    with psycopg.connect(plain_dsn) as connection:
        for facts in junctions:
            for number in (0, 1):
                row = connection.execute(
                    "WITH d AS (INSERT INTO edge_devices (id, junction_id, name, public_key)"
                    " SELECT gen_random_uuid(), junction_id, 'pi', public_key FROM edge_devices WHERE id = %s"
                    " RETURNING id) INSERT INTO ingest_streams (device_id, stream, epoch)"
                    " SELECT id, 'main', id FROM d RETURNING no",
                    (facts.device,),
                ).fetchone()
                assert row is not None
                streams[number].append(row[0])
    failures: list[psycopg.Error] = []

    def write(nos: list[int]) -> None:
        with psycopg.connect(plain_dsn, autocommit=True) as connection:
            for _ in range(40):
                try:
                    connection.execute(
                        "UPDATE ingest_streams s SET last_received_at = clock_timestamp(), last_at = now()"
                        " FROM unnest(%s::int[]) WITH ORDINALITY AS of (no, n) WHERE s.no = of.no",
                        (nos,),
                    )
                except psycopg.Error as error:
                    failures.append(error)

    def change() -> None:
        """Devices move, are renamed, and begin and lose streams."""
        with psycopg.connect(plain_dsn, autocommit=True) as connection:
            for n in range(20):
                no, other = streams[n % 2][n % 6], streams[0][(n + 1) % 6]
                device = "(SELECT device_id FROM ingest_streams WHERE no = %s)"
                place = f"SELECT junction_id FROM edge_devices WHERE id = {device}"
                try:
                    for statement, values in (
                        (f"UPDATE edge_devices SET junction_id = ({place}) WHERE id = {device}", (other, no)),
                        (f"UPDATE edge_devices SET name = 'pi ' || now() WHERE id = {device}", (no,)),
                        (
                            "INSERT INTO ingest_streams (device_id, stream, epoch, last_received_at)"
                            f" SELECT {device}, 'begun', gen_random_uuid(), clock_timestamp()",
                            (no,),
                        ),
                        ("DELETE FROM ingest_streams WHERE stream = 'begun'", ()),
                    ):
                        connection.execute(statement.encode(), values)
                except psycopg.Error as error:
                    failures.append(error)

    threads = [threading.Thread(target=write, args=(nos,)) for nos in (streams[0], streams[1][::-1])]
    threads.append(threading.Thread(target=change))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    _check(plain_dsn)

    _check_that_a_new_stream_keeps_no_writer_waiting(plain_dsn, junctions[0])


def _check_that_a_new_stream_keeps_no_writer_waiting(dsn: str, facts: Facts) -> None:
    """While it waits for its device: else who moves the device could wait for the writer."""

    def begin() -> None:
        with psycopg.connect(dsn) as connection:
            connection.execute(
                "INSERT INTO ingest_streams (device_id, stream, epoch) VALUES (%s, 'new', gen_random_uuid())",
                (facts.device,),
            )

    with psycopg.connect(dsn) as changing, psycopg.connect(dsn, autocommit=True) as writer:
        changing.execute("UPDATE edge_devices SET name = 'renamed' WHERE id = %s", (facts.device,))
        beginning = threading.Thread(target=begin)
        beginning.start()
        while writer.execute("SELECT count(*) FROM pg_locks WHERE NOT granted").fetchone() == (0,):
            assert beginning.is_alive()
        writer.execute("SET lock_timeout = '2s'")
        writer.execute(
            "UPDATE ingest_streams SET last_received_at = clock_timestamp() WHERE no = %s", (facts.stream_no,)
        )
        changing.commit()
        beginning.join(60)
    _check(dsn)
