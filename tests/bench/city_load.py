"""The counts of a city for the benchmarks (see `city`), in days and rollups.

A tenth of the lanes carries half of the traffic; two thirds of it go by between seven and seven. Rollups are as
the worker would have made them, but for minutes, of which there are those of the last day (they are asked for one
day at a time), and for coverage: every hundredth junction has its quarters of an hour, and unless counts are many
every tenth its hours.
"""

import time
from collections.abc import Iterator
from datetime import datetime, timedelta

import psycopg

from tests.bench.city import ENTITIES, JUNCTIONS, LANES_EACH, NUMBERS, ZONE

DAYS = 30

_STREAMS_AND_CAMERAS = (
    "INSERT INTO ingest_streams (device_id, stream, epoch, last_received_at)"
    " SELECT d.id, 'agent', gen_random_uuid(), now() - random() * CASE j.no %% 100"
    " WHEN 7 THEN interval '9 days' ELSE interval '1 minute' END FROM edge_devices d JOIN junctions j"
    " ON j.id = d.junction_id",
    "INSERT INTO cameras (device_id, name, status)"
    " SELECT id, 'cam ' || right(name, 1), CASE WHEN random() < 0.05 THEN 'maintenance' ELSE 'active' END"
    " FROM edge_devices WHERE right(name, 1)::integer <= %(lanes)s",
    "INSERT INTO counting_zones (device_id, sensor, name, via, kind, camera_id)"
    " SELECT device_id, name, 'stop', 'camera', 'line', id FROM cameras",
)
_COUNTS = """
    WITH lanes AS (
        SELECT z.no, s.no AS stream_no, CASE z.no %% 10 WHEN 0 THEN 0.5 / 0.1 ELSE 0.5 / 0.9 END AS share
        FROM counting_zones z JOIN ingest_streams s ON s.device_id = z.device_id
    )
    INSERT INTO count_events
        (at, at_error_ms, seq, stream_no, source_no, cls, direction, confidence, track, inferred)
    SELECT at, 4, row_number() OVER (), stream_no, no, cls, 'in', 0.8, '4711', false FROM (
        SELECT %(day)s::timestamptz + make_interval(secs => 3600 * hour + 3600 * random()) AS at, stream_no, no,
               (ARRAY['bus', 'truck', 'truck', 'bicycle'])[ceil(4 * random())] AS rare, random() < 0.12 AS is_rare
        FROM lanes
        CROSS JOIN LATERAL generate_series(1, floor(%(each)s * share + random())::integer) AS n
        -- Two thirds between seven and seven. `n` stands there so that it is asked for each, and not once for all.
        CROSS JOIN LATERAL (SELECT CASE WHEN random() + 0 * n < 0.667 THEN 7 + floor(12 * random())
                                        ELSE (19 + floor(12 * random()))::integer %% 24 END AS hour) AS h
        ORDER BY at
    ) AS made, LATERAL (SELECT CASE WHEN is_rare THEN rare ELSE 'car' END AS cls) AS c"""
_QUARTERS = f"""
    INSERT INTO count_rollups (bucket, source_no, step_s, n, n_inferred, cls, direction)
    SELECT bucket_start(date_bin('15 minutes', at, 'epoch'), 900, '{ZONE}'), source_no, 900, count(*), 0, cls,
           direction
    FROM count_events WHERE at >= %(start)s AND at < %(end)s GROUP BY 1, 2, cls, direction ORDER BY 2, 1"""
_MINUTES = """
    INSERT INTO count_rollups (bucket, source_no, step_s, n, n_inferred, cls, direction)
    SELECT date_bin('1 minute', at, 'epoch'), source_no, 60, count(*), 0, cls, direction
    FROM count_events WHERE at >= %(start)s AND at < %(end)s GROUP BY 1, 2, cls, direction ORDER BY 2, 1"""
_ABOVE = f"""
    INSERT INTO count_rollups (bucket, source_no, step_s, n, n_inferred, cls, direction)
    SELECT bucket_start(bucket, %(step_s)s, '{ZONE}'), source_no, %(step_s)s, sum(n), 0, cls, direction
    FROM count_rollups WHERE step_s = 900 AND bucket >= %(start)s AND bucket < %(end)s
    GROUP BY 1, 2, cls, direction ORDER BY 2, 1"""
_COVERAGE = f"""
    INSERT INTO coverage_rollups (bucket, camera_no, step_s, measured_ms)
    SELECT bucket_start(at, %(step_s)s, '{ZONE}'), c.no, %(step_s)s, %(step_s)s::bigint * 1000
    FROM cameras c JOIN edge_devices d ON d.id = c.device_id JOIN junctions j ON j.id = d.junction_id,
         generate_series(%(start)s::timestamptz, %(end)s::timestamptz - interval '1 second',
                         make_interval(secs => %(step_s)s)) AS at
    WHERE j.no %% %(every)s = 0
    ORDER BY c.no, at"""


def load_city(dsn: str, end: datetime, counts: int) -> None:
    """Entities, and `counts` counts of the `DAYS` days before `end`, a midnight there."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("SET work_mem = '512MB'")
        for statement in (*ENTITIES, *_STREAMS_AND_CAMERAS):
            connection.execute(statement.encode(), NUMBERS if "%" in statement else None)
        for day in _days(end):
            each = counts / DAYS / (JUNCTIONS * LANES_EACH)
            _load_day(connection, day, day + timedelta(days=1), each, is_last=day + timedelta(days=1) == end)
        connection.execute("TRUNCATE junction_day_marks, junction_hour_marks")
        connection.execute("VACUUM ANALYZE")


def _days(end: datetime) -> Iterator[datetime]:
    """Where no clock changes; where one does, an hour is loaded into the day beside it."""
    for n in range(DAYS, 0, -1):
        yield end - timedelta(days=n)


def _load_day(
    connection: psycopg.Connection[tuple[object, ...]], day: datetime, end: datetime, each: float, *, is_last: bool
) -> None:
    began_s = time.perf_counter()
    span = {"start": day, "end": end}
    connection.execute(_COUNTS.encode(), {"day": day, "each": each})
    connection.execute(_QUARTERS.encode(), span)
    connection.execute(_ABOVE.encode(), span | {"step_s": 3600})
    connection.execute(_ABOVE.encode(), span | {"step_s": 86400})
    if is_last:
        connection.execute(_MINUTES.encode(), span)
    for step_s, every in ((900, 100), (3600, 1 if each > 50 else 10), (86400, 1)):
        connection.execute(_COVERAGE.encode(), span | {"step_s": step_s, "every": every})
    print(f"     {day:%Y-%m-%d} loaded in {time.perf_counter() - began_s:.0f} s", flush=True)
