-- Export, page by page. Each page begins after the key of the last row of the one before, within a window of time
-- that is made so long that it holds about a page.

-- name: junctions
-- Those that were named by name or id, or all; in the order of the export.
SELECT id, name, timezone FROM junctions
WHERE %(names)s::text[] IS NULL OR name = ANY (%(names)s::text[]) OR id::text = ANY (%(names)s::text[])
ORDER BY name, id;

-- name: scope
-- The numbers that a junction's rows carry.
SELECT ARRAY(SELECT s.no FROM ingest_streams s JOIN edge_devices d ON d.id = s.device_id
             WHERE d.junction_id = %(junction)s) AS streams,
       ARRAY(SELECT z.no FROM counting_zones z JOIN edge_devices d ON d.id = z.device_id
             WHERE d.junction_id = %(junction)s) AS sources,
       ARRAY(SELECT c.no FROM cameras c JOIN edge_devices d ON d.id = c.device_id
             WHERE d.junction_id = %(junction)s) AS cameras,
       (SELECT dropped_before FROM timeseries WHERE table_name = %(series)s) AS dropped_before;

-- name: local_times
SELECT at AT TIME ZONE %(zone)s FROM unnest(%(ats)s::timestamptz[]) WITH ORDINALITY AS t (at, place) ORDER BY place;

-- name: measured_by_sources
-- For how long each camera watched in a range while it counted at a source, of what is rolled up: whole hours, and of
-- those in which the range, or the time at which it counted there, begins or ends, what their minutes tell. Where those
-- are forgotten, it is the most that it can have been.
WITH spans AS (
    SELECT z.no, c.no AS camera_no, lower(span) AS low, upper(span) AS high,
           bucket_start(lower(span), 3600, %(zone)s) AS first, bucket_start(upper(span), 3600, %(zone)s) AS last
    FROM counting_zones z
    JOIN cameras c ON c.id = z.camera_id
    CROSS JOIN LATERAL unnest(coalesce(z.in_force, '{(,)}')
                              * tstzmultirange(tstzrange(%(low)s::timestamptz, %(high)s::timestamptz))) AS span
    WHERE z.no = ANY (%(sources)s::integer[])
), cut AS (
    SELECT no, camera_no, low, high, start, bucket_start(start + interval '1 hour', 3600, %(zone)s) AS until
    FROM spans CROSS JOIN LATERAL (
        SELECT first AS start WHERE first < low UNION SELECT last WHERE last < high
    ) hours
), parts AS (
    SELECT s.no, sum(k.measured_ms) AS measured_ms
    FROM spans s
    JOIN coverage_rollups k ON k.camera_no = s.camera_no AND k.step_s = 3600 AND k.bucket >= s.low AND k.bucket < s.last
    GROUP BY s.no
    UNION ALL
    SELECT c.no, coalesce(
        (SELECT sum(measured_ms * greatest(0, extract(epoch FROM
                    least(bucket + interval '1 minute', c.high) - greatest(bucket, c.low))) / 60)
         FROM coverage_rollups
         WHERE camera_no = c.camera_no AND step_s = 60 AND bucket >= c.start AND bucket < c.until),
        (SELECT least(measured_ms, 1000 * extract(epoch FROM least(c.until, c.high) - greatest(c.start, c.low)))
         FROM coverage_rollups WHERE camera_no = c.camera_no AND step_s = 3600 AND bucket = c.start))
    FROM cut c
)
SELECT z.no, c.no AS camera_no, z.in_force,
       coalesce((SELECT sum(measured_ms) FROM parts p WHERE p.no = z.no), 0)::float8 AS measured_ms
FROM counting_zones z
JOIN cameras c ON c.id = z.camera_id
WHERE z.no = ANY (%(sources)s::integer[]);

-- name: measured_by_streams
-- How long a stream's cycles were, together, in ms.
SELECT stream_no, round(sum(length_s) * 1000)::bigint FROM traffic_cycles
WHERE stream_no = ANY (%(streams)s::integer[]) AND at >= %(low)s AND at < %(high)s
GROUP BY stream_no;

-- name: counts
-- The tag of a passage is told to nobody here.
SELECT e.at, e.stream_no, e.seq, e.at AT TIME ZONE %(zone)s, d.name, z.sensor, z.name, z.via, z.kind, e.cls,
       e.direction, e.inferred, e.confidence, CASE WHEN z.via <> 'rfid' THEN e.track END, e.speed_mps,
       e.at_error_ms, m.measured_ms / 1000.0::float8
FROM count_events e
JOIN counting_zones z ON z.no = e.source_no
JOIN edge_devices d ON d.id = z.device_id
LEFT JOIN unnest(%(measured_nos)s::integer[], %(measured_ms)s::bigint[]) AS m (no, measured_ms) ON m.no = e.source_no
WHERE e.source_no = ANY (%(sources)s::integer[]) AND e.at >= %(low)s AND e.at < %(high)s
  AND (e.at, e.stream_no, e.seq) > (%(at)s::timestamptz, %(stream_no)s::integer, %(seq)s::bigint)
ORDER BY e.at, e.stream_no, e.seq
LIMIT %(limit)s;

-- name: occupancy
SELECT e.at, e.stream_no, e.seq, e.at AT TIME ZONE %(zone)s, d.name, z.sensor, z.name, e.span_ms, e.n_mean, e.n_max,
       e.n_end, e.n_standing, e.capacity, e.entries, e.exits, e.dwell_mean_s, e.stood_mean_s, e.at_error_ms,
       m.measured_ms / 1000.0::float8
FROM zone_occupancy e
JOIN counting_zones z ON z.no = e.source_no
JOIN edge_devices d ON d.id = z.device_id
LEFT JOIN unnest(%(measured_nos)s::integer[], %(measured_ms)s::bigint[]) AS m (no, measured_ms) ON m.no = e.source_no
WHERE e.source_no = ANY (%(sources)s::integer[]) AND e.at >= %(low)s AND e.at < %(high)s
  AND (e.at, e.stream_no, e.seq) > (%(at)s::timestamptz, %(stream_no)s::integer, %(seq)s::bigint)
ORDER BY e.at, e.stream_no, e.seq
LIMIT %(limit)s;

-- name: cycles
SELECT e.at, e.stream_no, e.seq, e.at AT TIME ZONE %(zone)s, d.name, e.length_s, e.mode, e.algorithm, e.plan,
       e.at_error_ms, m.measured_ms / 1000.0::float8
FROM traffic_cycles e
JOIN ingest_streams s ON s.no = e.stream_no
JOIN edge_devices d ON d.id = s.device_id
LEFT JOIN unnest(%(measured_nos)s::integer[], %(measured_ms)s::bigint[]) AS m (no, measured_ms) ON m.no = e.stream_no
WHERE e.stream_no = ANY (%(streams)s::integer[]) AND e.at >= %(low)s AND e.at < %(high)s
  AND (e.at, e.stream_no, e.seq) > (%(at)s::timestamptz, %(stream_no)s::integer, %(seq)s::bigint)
ORDER BY e.at, e.stream_no, e.seq
LIMIT %(limit)s;

-- name: lanes
-- Of tags their number alone.
SELECT e.at, e.stream_no, e.seq, e.lane, e.at AT TIME ZONE %(zone)s, d.name, e.lane, e.vehicles, e.green_s,
       e.yellow_s, e.red_s, e.saturation, cardinality(e.epc_ids), m.measured_ms / 1000.0::float8
FROM lane_cycle_data e
JOIN ingest_streams s ON s.no = e.stream_no
JOIN edge_devices d ON d.id = s.device_id
LEFT JOIN unnest(%(measured_nos)s::integer[], %(measured_ms)s::bigint[]) AS m (no, measured_ms) ON m.no = e.stream_no
WHERE e.stream_no = ANY (%(streams)s::integer[]) AND e.at >= %(low)s AND e.at < %(high)s
  AND (e.at, e.stream_no, e.seq, e.lane)
      > (%(at)s::timestamptz, %(stream_no)s::integer, %(seq)s::bigint, %(lane)s::text)
ORDER BY e.at, e.stream_no, e.seq, e.lane
LIMIT %(limit)s;

-- name: events
SELECT e.at, e.stream_no, e.seq, e.at AT TIME ZONE %(zone)s, d.name, e.code, e.parameter, e.at_error_ms, NULL
FROM signal_events e
JOIN ingest_streams s ON s.no = e.stream_no
JOIN edge_devices d ON d.id = s.device_id
WHERE e.stream_no = ANY (%(streams)s::integer[]) AND e.at >= %(low)s AND e.at < %(high)s
  AND (e.at, e.stream_no, e.seq) > (%(at)s::timestamptz, %(stream_no)s::integer, %(seq)s::bigint)
ORDER BY e.at, e.stream_no, e.seq
LIMIT %(limit)s;

-- name: health
SELECT e.at, e.stream_no, e.seq, e.at AT TIME ZONE %(zone)s, d.name, e.version, e.uptime_s, e.cpu_percent,
       e.memory_percent, e.rss_mb, e.temperature_c, e.disk_free_mb, e.outbox_records, e.outbox_bytes,
       e.outbox_dropped, e.clock_synced, e.clock_error_ms, e.throttled, e.at_error_ms, NULL
FROM device_health e
JOIN ingest_streams s ON s.no = e.stream_no
JOIN edge_devices d ON d.id = s.device_id
WHERE e.stream_no = ANY (%(streams)s::integer[]) AND e.at >= %(low)s AND e.at < %(high)s
  AND (e.at, e.stream_no, e.seq) > (%(at)s::timestamptz, %(stream_no)s::integer, %(seq)s::bigint)
ORDER BY e.at, e.stream_no, e.seq
LIMIT %(limit)s;

-- name: overrides
SELECT h.ordered_at, h.id, h.ordered_at AT TIME ZONE %(zone)s, h.user_name, h.mode, h.settings::text, h.why,
       h.began_at, h.ended_at, h.ended_by, extract(epoch FROM h.ended_at - h.began_at)::float8, h.origin, NULL
FROM v_control_history h
WHERE h.junction_id = %(junction)s AND h.ordered_at >= %(low)s AND h.ordered_at < %(high)s
  AND (h.ordered_at, h.id) > (%(at)s::timestamptz, %(id)s::uuid)
ORDER BY h.ordered_at, h.id
LIMIT %(limit)s;
