"""Cycles and the event log of some junctions, for the benchmarks of what is asked about them."""

from datetime import datetime, timedelta

import msgspec
import psycopg

from common.junction import DetectorKind, Junction
from tests.junctions import crossroads
from tests.signal_day import with_advance

CYCLE_S = 60
LOG_DAYS = 7


def described() -> Junction:
    """A crossroads whose stop lines are not named: what counts there is whatever counts."""
    junction = with_advance(crossroads())
    kept = tuple(one for one in junction.detectors if one.kind is not DetectorKind.STOP_LINE)
    return msgspec.structs.replace(junction, detectors=kept)


def load_lights(dsn: str, junctions: int, start: datetime, end: datetime) -> None:
    """Cycles of `junctions` junctions, side by side as they come; and the log of `junction 7`."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO ingest_streams (device_id, stream, epoch)"
            " SELECT DISTINCT ON (j.id) d.id, 'signals', gen_random_uuid()"
            " FROM junctions j JOIN edge_devices d ON d.junction_id = j.id ORDER BY j.id, d.name"
        )
        lights = {"lights": {"at_ms": 1, "description": msgspec.json.encode(described()).decode()}}
        connection.execute("UPDATE junctions SET metadata = %s", (msgspec.json.encode(lights).decode(),))
        parameters = {"start": start, "end": end, "junctions": junctions, "cycle_s": CYCLE_S}
        for statement in (_CYCLES, _LANES, _LAMPS, _DETECTORS):
            since = end - timedelta(days=LOG_DAYS) if statement in (_LAMPS, _DETECTORS) else start
            connection.execute(statement.encode(), parameters | {"start": since})
        connection.execute("TRUNCATE junction_day_marks, junction_hour_marks")
        connection.execute("VACUUM ANALYZE")


_STREAMS = """
    SELECT s.no, j.name FROM ingest_streams s JOIN edge_devices d ON d.id = s.device_id
    JOIN junctions j ON j.id = d.junction_id WHERE s.stream = 'signals'"""
_CYCLES = f"""
    WITH streams AS ({_STREAMS} AND (j.name = 'junction 7' OR s.no %% 100 < %(junctions)s))
    INSERT INTO traffic_cycles (at, at_error_ms, seq, stream_no, length_s, junction, mode, algorithm, plan)
    SELECT t.at, 0, extract(epoch FROM t.at)::bigint, s.no, %(cycle_s)s, 'x', 'automatic', 'adaptive',
           CASE WHEN extract(hour FROM t.at) BETWEEN 6 AND 20 THEN 'day' ELSE 'night' END
    FROM generate_series(%(start)s::timestamptz, %(end)s, make_interval(secs => %(cycle_s)s)) AS t (at), streams s
    ORDER BY t.at"""
_LANES = """
    INSERT INTO lane_cycle_data (at, seq, stream_no, vehicles, green_s, yellow_s, red_s, saturation, lane, epc_ids)
    SELECT c.at, c.seq, c.stream_no, (random() * 12)::integer, 20, 3, 37, random(), l.lane, '{}'
    FROM traffic_cycles c, unnest(ARRAY['north', 'east', 'south', 'west']) AS l (lane)
    WHERE c.at >= %(start)s AND c.at <= %(end)s ORDER BY c.at"""
_LAMPS = f"""
    WITH streams AS ({_STREAMS} AND j.name = 'junction 7')
    INSERT INTO signal_events (at, at_error_ms, seq, stream_no, code, parameter, junction)
    SELECT t.at + make_interval(secs => e.at_s + CASE WHEN p.phase IN (4, 8) THEN 30 ELSE 0 END), 0, 1, s.no,
           e.code, p.phase, 'x'
    FROM generate_series(%(start)s::timestamptz, %(end)s, make_interval(secs => %(cycle_s)s)) AS t (at), streams s,
         (VALUES (0, 0), (0, 1), (20, 7), (20, 8), (23, 9), (23, 10), (25, 11), (25, 12)) AS e (at_s, code),
         (VALUES (2), (4), (6), (8)) AS p (phase)
    ORDER BY 1"""
_DETECTORS = f"""
    WITH streams AS ({_STREAMS} AND j.name = 'junction 7')
    INSERT INTO signal_events (at, at_error_ms, seq, stream_no, code, parameter, junction)
    SELECT t.at + make_interval(secs => e.at_s), 0, 1, s.no, e.code, c.channel, 'x'
    FROM generate_series(%(start)s::timestamptz, %(end)s, interval '15 seconds') AS t (at), streams s,
         (VALUES (0.0, 82), (1.3, 81)) AS e (at_s, code),
         (VALUES (101), (102), (103), (104), (201), (202), (203), (204)) AS c (channel)
    ORDER BY 1"""
