-- The lights of one junction, as its devices tell of them.

-- name: junction
SELECT id, name, metadata -> 'lights' ->> 'description' AS description, now() AS as_of
FROM junctions WHERE id = %(junction)s

-- The latest events about the whole junction, of each kind some, and those of its phases since a moment ago.
-- Newest first.
-- name: events
WITH streams AS (
    SELECT s.no FROM edge_devices d JOIN ingest_streams s ON s.device_id = d.id WHERE d.junction_id = %(junction)s
), found AS (
    SELECT e.at, s.no, e.seq, e.code, e.parameter
    FROM streams s
    CROSS JOIN LATERAL (
        SELECT at, seq, code, parameter FROM signal_events
        WHERE stream_no = s.no AND at >= now() - interval '15 minutes' AND code = ANY (%(phase_codes)s::smallint[])
        ORDER BY at DESC, seq DESC LIMIT %(limit)s
    ) e
    UNION ALL
    SELECT e.at, s.no, e.seq, e.code, e.parameter
    FROM streams s
    CROSS JOIN unnest(%(unit_codes)s::smallint[]) AS wanted (code)
    CROSS JOIN LATERAL (
        SELECT at, seq, code, parameter FROM signal_events
        WHERE stream_no = s.no AND code = wanted.code AND code >= 100 AND at >= now() - interval '35 days'
        ORDER BY at DESC, seq DESC LIMIT 8
    ) e
)
SELECT at, code, parameter FROM found ORDER BY at DESC, no DESC, seq DESC

-- When the lights were last heard: the time of their latest event, and when anything came of their streams.
-- name: heard
SELECT max(e.at) AS last_at, max(s.last_received_at) FILTER (WHERE e.at IS NOT NULL) AS received_at
FROM edge_devices d
JOIN ingest_streams s ON s.device_id = d.id
LEFT JOIN LATERAL (
    SELECT at FROM signal_events
    WHERE stream_no = s.no AND at >= now() - interval '35 days'
    ORDER BY at DESC LIMIT 1
) e ON true
WHERE d.junction_id = %(junction)s

-- How many were in each zone when it last told, if that was lately.
-- name: zones
SELECT z.sensor, z.name AS zone, o.at, o.n_end AS n, o.n_standing
FROM edge_devices d
JOIN counting_zones z ON z.device_id = d.id AND z.via = 'camera' AND z.kind = 'zone'
CROSS JOIN LATERAL (
    SELECT at, n_end, n_standing FROM zone_occupancy
    WHERE source_no = z.no AND at >= now() - interval '5 minutes'
    ORDER BY at DESC LIMIT 1
) o
WHERE d.junction_id = %(junction)s
ORDER BY z.sensor, z.name

-- A page of cycles with their lanes, newest first.
-- name: cycles
WITH streams AS (
    SELECT s.no, d.id AS device
    FROM edge_devices d JOIN ingest_streams s ON s.device_id = d.id
    WHERE d.junction_id = %(junction)s
), page AS (
    SELECT c.*, s.device
    FROM streams s
    CROSS JOIN LATERAL (
        SELECT * FROM traffic_cycles
        WHERE stream_no = s.no AND at <= %(at)s::timestamptz
          AND (at, stream_no, seq) < (%(at)s::timestamptz, %(stream_no)s::integer, %(seq)s::bigint)
        ORDER BY at DESC, seq DESC LIMIT %(limit)s
    ) c
    ORDER BY c.at DESC, c.stream_no DESC, c.seq DESC
    LIMIT %(limit)s
)
SELECT p.at, p.at_error_ms, p.stream_no, p.seq, p.device, p.length_s, p.mode, p.algorithm, p.plan,
       coalesce(jsonb_agg(jsonb_build_object(
           'lane', l.lane, 'vehicles', l.vehicles, 'green_s', l.green_s, 'yellow_s', l.yellow_s, 'red_s', l.red_s,
           'saturation', l.saturation, 'tags', cardinality(l.epc_ids))) FILTER (WHERE l.lane IS NOT NULL),
           '[]') AS lanes
FROM page p
LEFT JOIN lane_cycle_data l ON l.stream_no = p.stream_no AND l.at = p.at AND l.seq = p.seq
GROUP BY p.at, p.at_error_ms, p.stream_no, p.seq, p.device, p.length_s, p.mode, p.algorithm, p.plan
ORDER BY p.at DESC, p.stream_no DESC, p.seq DESC

-- The last cycle's algorithm.
-- name: last_cycle
SELECT c.at, c.algorithm, c.plan, c.mode
FROM edge_devices d
JOIN ingest_streams s ON s.device_id = d.id
CROSS JOIN LATERAL (
    SELECT at, algorithm, plan, mode FROM traffic_cycles
    WHERE stream_no = s.no AND at >= now() - interval '35 days'
    ORDER BY at DESC LIMIT 1
) c
WHERE d.junction_id = %(junction)s
ORDER BY c.at DESC
LIMIT 1
