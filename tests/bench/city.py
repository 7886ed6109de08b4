"""A collector's database of a large city, and how long its statements take."""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from uuid import UUID, uuid4

import psycopg

from collector.db import Pool
from tests.bench.database_time import time_all
from tests.servers.databases import TEMPLATE, running_server

JUNCTIONS = 10_000
DEVICES_EACH = 8
LANES_EACH = 4
ZONE = "Europe/Berlin"
REPEATS = 15
ENTITIES = (
    "SELECT setseed(0.5)",
    "INSERT INTO junctions (name, timezone, wanted)"
    " SELECT 'Junction ' || lpad(n::text, 5, '0'), %(zone)s, jsonb_build_object('lanes', (SELECT jsonb_agg("
    " jsonb_build_object('name', 'lane ' || i, 'approach', 'north')) FROM generate_series(1, %(lanes)s) i))"
    " FROM generate_series(1, %(junctions)s) n",
    "SELECT keep_lanes(id) FROM junctions",
    "INSERT INTO edge_devices (id, junction_id, name, public_key)"
    " SELECT gen_random_uuid(), id, name || ' pi ' || n, decode(repeat('00', 32), 'hex')"
    " FROM junctions, generate_series(1, %(devices)s) n",
)
"""Junctions that are wanted with their lanes, and the devices that stand there."""
NUMBERS = {"junctions": JUNCTIONS, "devices": DEVICES_EACH, "lanes": LANES_EACH, "zone": ZONE}
_JUNCTIONS = (
    # One in a hundred junctions is silent.
    "INSERT INTO ingest_streams"
    " (device_id, stream, epoch, last_seq, stored, rejected, lost, last_received_at, last_at)"
    " SELECT id, 'agent', gen_random_uuid(), 1000, 979, 1, 20, at, at FROM ("
    " SELECT d.id, now() - random() * CASE j.no %% 100 WHEN 7 THEN interval '9 days' ELSE interval '1 minute' END"
    " AS at FROM edge_devices d JOIN junctions j ON j.id = d.junction_id) d",
    "UPDATE junctions j SET lights_device_id = d.id, lights_mode = 'automatic',"
    " metadata = jsonb_build_object('lights', jsonb_build_object('at_ms', 1, 'description',"
    " j.wanted || jsonb_build_object('rest',"
    " (SELECT string_agg(md5(i::text), '') FROM generate_series(1, 120) i))))"
    " FROM edge_devices d WHERE d.junction_id = j.id AND d.name LIKE '%% pi 1' AND j.no %% 10 <> 0",
    "INSERT INTO cameras (device_id, name) SELECT id, 'cam' FROM edge_devices"
    " WHERE right(name, 1)::integer <= %(lanes)s",
    "INSERT INTO counting_zones (device_id, sensor, name, via, kind, camera_id)"
    " SELECT device_id, name, 'stop', 'camera', 'line', id FROM cameras",
    "INSERT INTO count_rollups (bucket, source_no, step_s, n, n_inferred, cls, direction)"
    " SELECT bucket_start(now() - d * interval '1 day', 86400, 'Europe/Berlin'), no, 86400,"
    " (random() * 9000)::bigint, 0, cls, 'in'"
    " FROM counting_zones, generate_series(0, 6) d, unnest(ARRAY['car', 'bus']) cls",
    "INSERT INTO count_events (at, at_error_ms, seq, stream_no, source_no, cls, direction, inferred)"
    " SELECT now() - random() * interval '1 minute', 0, n, 1, no, 'car', 'in', false"
    " FROM counting_zones, generate_series(1, (no * 7919 %% 41) * (no * 1013 %% 29) / 30) n",
    "INSERT INTO coverage_rollups (bucket, camera_no, step_s, measured_ms)"
    " SELECT bucket_start(now() - d * interval '1 day', 86400, 'Europe/Berlin'), no, 86400, 3600000"
    " FROM cameras, generate_series(0, 6) d",
    "INSERT INTO rollup_marks (minute, ref_no, kind)"
    " SELECT date_trunc('minute', now()), no, 'count' FROM counting_zones WHERE no %% 50 = 0",
)
_HEARD_NOW = tuple(
    "UPDATE ingest_streams s SET last_received_at = last_received_at + late, last_at = last_at + late"
    " FROM (SELECT s.no, now() - max(s.last_received_at) OVER () AS late"
    " FROM ingest_streams s JOIN edge_devices d ON d.id = s.device_id"
    f" WHERE right(d.name, 1) = '{n}') AS loading WHERE loading.no = s.no"
    for n in range(1, DEVICES_EACH + 1)
)
"""However long it took to load. The devices of a junction are heard one by one."""
ALL_WAIT = (
    "INSERT INTO rollup_marks (minute, ref_no, kind)"
    " SELECT date_trunc('minute', now()), no, 'count' FROM counting_zones WHERE no % 50 <> 0"
)
"""Each source has a minute that waits to be rolled up, as in a busy city at any time."""
_REST = (
    "INSERT INTO device_health (at, at_error_ms, seq, stream_no, outbox_records, outbox_bytes, outbox_dropped,"
    " uptime_s, temperature_c, clock_synced, version, sensors)"
    " SELECT s.last_at - n * interval '1 minute', 0, n, s.no, 3, 200, 0, 1000, 50, true, '0.1.0',"
    ' \'[["north", "ok", 6.2, 0, 120, 0]]\' FROM generate_series(0, 4) n, ingest_streams s',
    "INSERT INTO ingest_gaps (at, at_error_ms, seq, stream_no, reason, duration_ms, from_seq)"
    " SELECT now() - n * interval '16 hours', 0, 100 * n, s.no, 'outbox_full', 1000, 100 * n - 9"
    " FROM generate_series(1, 2) n, ingest_streams s",
    "INSERT INTO ingest_rejects (received_at, seq, stream_no, code, detail, raw)"
    " SELECT now() - random() * interval '9 days', 500, s.no,"
    " CASE WHEN s.no % 1000 = 7 THEN 'not_storable' ELSE 'malformed' END, 'at: is missing', '[]'"
    " FROM ingest_streams s",
    "INSERT INTO system_logs (at, at_error_ms, seq, stream_no, level, action, message, context)"
    " SELECT now() - random() * interval '6 days', 0, n, s.no,"
    " (ARRAY['info', 'info', 'info', 'warning', 'error'])[1 + (n + s.no) % 5],"
    " CASE WHEN s.no % 500 = 7 THEN 'disk_full' ELSE 'camera_back' END,"
    " 'The camera ' || s.no || ' came back after ' || n || ' s.',"
    " jsonb_build_object('sensor', 'north', 'n', n, 'of', s.no) FROM generate_series(1, 6) n, ingest_streams s",
    "INSERT INTO users (name, display_name, password_hash, role, status)"
    " SELECT 'user' || lpad(n::text, 4, '0'), 'User ' || n, 'x',"
    " (ARRAY['viewer', 'operator', 'viewer'])[1 + n % 3], CASE WHEN n % 50 = 7 THEN 'disabled' ELSE 'active' END"
    " FROM generate_series(1, 5000) n",
    "INSERT INTO user_junction_access (user_id, junction_id, level)"
    " SELECT u.id, j.id, 'read' FROM (SELECT id, row_number() OVER () AS n FROM users WHERE name LIKE 'user%') u"
    " JOIN junctions j ON j.no % 500 = u.n % 500",
    "INSERT INTO commands (junction_id, device_id, command, issued_by_name, issued_at, expires_at, state, told_at,"
    " settled_at) SELECT id, lights_device_id, '{\"order\": \"auto\"}', 'otto', now() - n * interval '7 hours',"
    " now() - n * interval '6 hours', 'applied', now(), now() - n * interval '7 hours'"
    " FROM junctions, generate_series(1, 20) n WHERE lights_device_id IS NOT NULL",
    "INSERT INTO manual_override_history"
    " (junction_id, command_id, user_name, mode, settings, ordered_at, began_at, ended_at, ended_by)"
    " SELECT junction_id, id, issued_by_name, 'manual_override', '{}', issued_at, issued_at,"
    " issued_at + interval '10 minutes', 'order' FROM commands WHERE no % 2 = 0",
    "INSERT INTO audit_log (at, user_id, user_name, address, action, subject_kind, subject_id, subject_name,"
    " junction_id) SELECT now() - n * interval '1 minute', (SELECT id FROM users WHERE name = 'otto'), 'otto',"
    " '::1', CASE WHEN (n * j.no) % 1000 = 7 THEN 'user_changed' ELSE 'mode_ordered' END, 'junction', id, name, id"
    " FROM junctions j, generate_series(1, 20) n",
    # Every second device once began a new outbox; one of each junction drives lights, which a tenth do no more.
    "INSERT INTO ingest_streams (device_id, stream, epoch, last_received_at)"
    " SELECT id, 'agent', gen_random_uuid(), now() - random() * interval '90 days' - interval '10 days'"
    " FROM edge_devices WHERE no % 2 = 0",
    "INSERT INTO ingest_streams (device_id, stream, epoch, last_received_at)"
    " SELECT s.device_id, 'signals', gen_random_uuid(),"
    " s.last_received_at - CASE WHEN d.no % 80 < 8 THEN interval '9 days' ELSE interval '20 seconds' END"
    " FROM ingest_streams s JOIN edge_devices d ON d.id = s.device_id"
    " WHERE d.name LIKE '% pi 1' AND s.last_seq > 0",
)


@dataclass(frozen=True)
class City:
    """10,000 junctions, 40,000 lanes, 80,000 devices; a junction in the middle, and who may see a hundred."""

    dsn: str
    junction: UUID
    user: UUID


@contextmanager
def running_city(edition: str, *, whole: bool = False) -> Iterator[City]:
    """A server of an edition with a city. `whole`: with what its devices and users have done.

    Raises:
        ServerUnavailable: this machine cannot run it.
    """
    with running_server(edition, durable=False) as server:
        yield load(server.dsn(TEMPLATE), whole=whole)


def execute(city: City, statement: str) -> None:
    """Changes something in the city, and looks anew how much there is of what."""
    with psycopg.connect(city.dsn, autocommit=True) as connection:
        connection.execute(statement.encode())
        connection.execute("VACUUM ANALYZE")


def load(dsn: str, *, whole: bool) -> City:
    """Fills an empty database."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        for statement in (*ENTITIES, *_JUNCTIONS):
            connection.execute(statement.encode(), NUMBERS if "%" in statement else None)
        user = uuid4()
        connection.execute(
            "INSERT INTO users (id, name, password_hash, role) VALUES (%s, 'otto', 'x', 'operator')", (user,)
        )
        connection.execute(
            "INSERT INTO user_junction_access SELECT %s, id, 'operate' FROM junctions WHERE no %% 100 = 7", (user,)
        )
        for statement in (*(_REST if whole else ()), *_HEARD_NOW):
            connection.execute(statement.encode())
        connection.execute("VACUUM ANALYZE")
        row = connection.execute("SELECT id FROM junctions WHERE name = 'Junction 04707'").fetchone()
    assert row is not None
    return City(dsn, row[0], user)


async def time_of(
    pool: Pool, name: str, limit_ms: float | None, ask: Callable[[], Awaitable[object]], repeats: int = REPEATS
) -> None:
    """Prints how long one asking takes in the database."""
    (await time_all(pool, [ask] * (repeats + 1))).print(name, limit_ms)
