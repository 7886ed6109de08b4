-- Junctions, and how they are today.

-- name: junctions
-- A page of junctions with what stands there, when they were last heard, and what they counted since midnight there.
-- All of that is kept (see `junction_parts` in schema.sql) but for minutes that wait to be rolled up: of those it is
-- the difference to their raw rows. What stands in braces are fragments below.
-- `OFFSET 0` has the few rows of a page looked up one by one, where the planner would rather read whole tables.
WITH {counted} page AS MATERIALIZED (
    SELECT j.id, j.name, j.timezone, l.name AS location, l.latitude, l.longitude, j.lights_mode,
           j.lights_device_id IS NOT NULL OR j.metadata ? 'lights' AS has_lights, a.level,
           bucket_start(now(), 86400, j.timezone) AS today, f.place
    FROM (
        SELECT id, row_number() OVER () AS place FROM ({found}) j
    ) f
    CROSS JOIN LATERAL (SELECT * FROM junctions WHERE id = f.id OFFSET 0) j
    LEFT JOIN locations l ON l.id = j.location_id
    LEFT JOIN user_junction_access a ON a.junction_id = j.id AND a.user_id = %(user)s
), standing AS MATERIALIZED (
    SELECT p.*, t.devices, t.active_devices, t.cameras, t.sources, t.summed, h.received_at, h.last_at,
           CASE WHEN t.by_camera THEN d.n_camera ELSE d.n_other END AS n, d.measured_ms
    FROM page p
    LEFT JOIN LATERAL (SELECT * FROM junction_parts WHERE junction_id = p.id OFFSET 0) t ON true
    LEFT JOIN LATERAL (SELECT * FROM junction_heard WHERE junction_id = p.id OFFSET 0) h ON true
    LEFT JOIN LATERAL (
        SELECT * FROM junction_days WHERE bucket = p.today AND junction_id = p.id OFFSET 0
    ) d ON true
), marked AS MATERIALIZED (
    SELECT DISTINCT s.id, m.ref_no, m.minute
    FROM standing s
    CROSS JOIN LATERAL unnest(s.summed) AS of (no)
    CROSS JOIN LATERAL (
        SELECT ref_no, minute FROM rollup_marks
        WHERE kind = 'count' AND ref_no = of.no AND minute >= s.today OFFSET 0
    ) m
), waiting AS (
    SELECT m.id, sum(e.n - coalesce(r.n, 0))::bigint AS n
    FROM marked m
    {raw_and_rolled}
    GROUP BY m.id
)
SELECT s.id, s.name, s.timezone, s.location, s.latitude, s.longitude, s.today, coalesce(s.devices, 0) AS devices,
       coalesce(s.active_devices, 0) AS active_devices, s.received_at, s.last_at, coalesce(s.sources, 0) AS sources,
       coalesce(s.n, 0) + coalesce(w.n, 0) AS counted, coalesce(s.measured_ms, 0) AS measured_ms,
       coalesce(s.cameras, 0) AS cameras, s.has_lights, s.lights_mode AS mode, s.level, now() AS as_of
FROM standing s
LEFT JOIN waiting w ON w.id = s.id
ORDER BY s.place;

-- name: raw_and_rolled
-- What was counted in the minute `m.minute` of the source `m.ref_no`, and what of it is rolled up.
CROSS JOIN LATERAL (
    SELECT count(*) AS n FROM count_events
    WHERE source_no = m.ref_no AND at >= m.minute AND at < m.minute + interval '1 minute'
      AND at >= now() - interval '2 days'
) e
CROSS JOIN LATERAL (
    SELECT sum(n) AS n FROM count_rollups
    WHERE source_no = m.ref_no AND step_s = 60 AND bucket = m.minute AND bucket >= now() - interval '2 days'
) r

-- name: found
-- The junctions of a page.
SELECT j.id FROM ({filtered}) j
ORDER BY {order} LIMIT %(limit)s OFFSET %(offset)s

-- name: filtered
SELECT j.id, j.name {columns} FROM junctions j {joined}
WHERE (%(junctions)s::text[] IS NULL OR j.name = ANY (%(junctions)s::text[])
       OR j.id::text = ANY (%(junctions)s::text[]))
  AND (%(q)s::text IS NULL OR strpos(lower(j.name), lower(%(q)s::text)) > 0)
  AND (%(has_lights)s::boolean IS NULL
       OR (j.lights_device_id IS NOT NULL OR j.metadata ? 'lights') = %(has_lights)s::boolean)
  {state} {fence}

-- name: counts
LEFT JOIN counted c ON c.junction_id = j.id

-- name: heard
LEFT JOIN junction_heard h ON h.junction_id = j.id

-- name: fence
-- Few are of such a state, or none: they are not searched for along all names.
OFFSET 0

-- name: of_state
AND CASE WHEN h.received_at IS NULL THEN 'never'
     WHEN h.received_at >= now() - make_interval(secs => %(live_s)s) THEN 'live'
     WHEN h.received_at >= now() - make_interval(secs => %(late_s)s) THEN 'late'
     ELSE 'silent' END = ANY (%(states)s::text[])

-- name: by_name
j.name

-- name: by_name_down
j.name DESC

-- name: by_received_at
j.received_at NULLS LAST, j.name

-- name: by_received_at_down
j.received_at DESC NULLS LAST, j.name

-- name: by_counts_today
j.n NULLS LAST, j.name

-- name: by_counts_today_down
j.n DESC NULLS LAST, j.name

-- name: found_by_counts
-- Of all junctions, in the order of counts; those without a count come after all others.
SELECT j.id FROM (
    (
        SELECT j.id FROM foremost c JOIN junctions j ON j.id = c.junction_id
        ORDER BY c.n {down}, j.name LIMIT %(limit)s OFFSET %(offset)s
    )
    UNION ALL
    (
        SELECT j.id FROM junctions j
        WHERE NOT EXISTS (SELECT FROM foremost c WHERE c.junction_id = j.id)
        ORDER BY j.name
        LIMIT (SELECT greatest(0, least(%(limit)s, %(limit)s + %(offset)s - count(*))) FROM foremost)
        OFFSET (SELECT greatest(0, %(offset)s - count(*)) FROM foremost)
    )
) j

-- name: foremost
-- All that come on the page or before it, and those with minutes that wait. Fewer than that: all that counted today.
foremost AS MATERIALIZED (
    SELECT w.junction_id, r.n + w.n AS n
    FROM waiting_today w
    CROSS JOIN LATERAL (
        SELECT coalesce(sum(CASE WHEN t.by_camera THEN d.n_camera ELSE d.n_other END), 0) AS n
        FROM junctions j
        JOIN days z ON z.timezone = j.timezone
        JOIN junction_days d ON d.junction_id = j.id AND d.bucket = z.today
        JOIN junction_parts t ON t.junction_id = j.id
        WHERE j.id = w.junction_id
    ) r
    WHERE r.n + w.n > 0
    UNION ALL
    SELECT d.junction_id, d.n
    FROM days z
    CROSS JOIN LATERAL (
        SELECT d.junction_id, d.n FROM junction_days d
        WHERE d.bucket = z.today AND d.n > 0 AND d.timezone = z.timezone
          AND (d.n_camera <> 0 OR NOT (SELECT by_camera FROM junction_parts WHERE junction_id = d.junction_id))
          AND NOT EXISTS (SELECT FROM waiting_today w WHERE w.junction_id = d.junction_id)
        ORDER BY d.n {down} FETCH FIRST (%(limit)s::bigint + %(offset)s::bigint) ROWS WITH TIES
    ) d
),

-- name: waiting_today
-- What junctions counted today in minutes that wait to be rolled up.
RECURSIVE zones AS (
    (SELECT timezone FROM junctions ORDER BY timezone LIMIT 1)
    UNION ALL
    SELECT (SELECT j.timezone FROM junctions j WHERE j.timezone > z.timezone ORDER BY j.timezone LIMIT 1)
    FROM zones z WHERE z.timezone IS NOT NULL
), days AS MATERIALIZED (
    SELECT timezone, bucket_start(now(), 86400, timezone) AS today FROM zones WHERE timezone IS NOT NULL
), marked_today AS MATERIALIZED (
    SELECT DISTINCT ref_no, minute FROM rollup_marks
    WHERE kind = 'count' AND minute >= (SELECT min(today) FROM days)
), waiting_today AS MATERIALIZED (
    SELECT x.junction_id, sum(x.n) AS n
    FROM (
        SELECT d.junction_id, m.minute, sum(e.n - coalesce(r.n, 0)) AS n
        FROM marked_today m
        CROSS JOIN LATERAL (SELECT device_id, via FROM counting_zones WHERE no = m.ref_no OFFSET 0) z
        CROSS JOIN LATERAL (SELECT junction_id FROM edge_devices WHERE id = z.device_id OFFSET 0) d
        {raw_and_rolled}
        WHERE CASE WHEN z.via = 'camera' THEN true WHEN z.via IN ('truth', 'turn', 'unpaired') THEN false
                   ELSE NOT (SELECT by_camera FROM junction_parts WHERE junction_id = d.junction_id) END
        GROUP BY d.junction_id, m.minute
    ) x
    JOIN junctions j ON j.id = x.junction_id
    JOIN days z ON z.timezone = j.timezone AND x.minute >= z.today
    GROUP BY x.junction_id
),

-- name: counted
-- What all junctions counted today, that did.
rolled_today AS (
    SELECT d.junction_id,
           CASE WHEN d.n_camera <> 0 THEN d.n_camera WHEN d.n_other = 0 THEN 0
                WHEN (SELECT by_camera FROM junction_parts WHERE junction_id = d.junction_id) THEN 0
                ELSE d.n_other END AS n
    FROM junction_days d
    WHERE d.bucket = ANY (ARRAY(SELECT today FROM days))
      AND (d.bucket, d.timezone) IN (SELECT today, timezone FROM days)
), counted AS MATERIALIZED (
    SELECT junction_id, coalesce(r.n, 0) + coalesce(w.n, 0) AS n
    FROM rolled_today r FULL JOIN waiting_today w USING (junction_id)
    WHERE coalesce(r.n, 0) + coalesce(w.n, 0) > 0
),

-- name: junction
-- All of one junction: what it is and is wanted to be, its lanes, who stands there and when they were last heard.
SELECT j.id, j.name, j.timezone, j.metadata - 'lights' AS metadata, j.metadata #>> '{lights,description}' AS runs,
       j.wanted::text AS wanted, j.wanted_devices, j.lights_mode AS mode, j.lights_mode_at AS mode_at,
       l.id AS location_id, l.name AS location_name, l.latitude, l.longitude, l.address, a.level, now() AS as_of,
       coalesce((
           SELECT jsonb_agg(jsonb_build_object(
               'name', n.name, 'approach', n.approach, 'saturation_flow_vph', n.saturation_flow_vph,
               'metadata', n.metadata) ORDER BY n.position)
           FROM lanes n WHERE n.junction_id = j.id
       ), '[]') AS lanes,
       coalesce((
           SELECT jsonb_agg(jsonb_build_object(
               'id', d.id, 'name', d.name, 'status', d.status, 'received_at', s.received_at,
               'drives_lights', d.id = j.lights_device_id, 'sensors', x.sensors) ORDER BY d.name, d.id)
           FROM edge_devices d
           CROSS JOIN LATERAL (
               SELECT max(last_received_at) AS received_at FROM ingest_streams WHERE device_id = d.id
           ) s
           CROSS JOIN LATERAL (
               SELECT coalesce(jsonb_agg(name ORDER BY name), '[]') AS sensors FROM (
                   SELECT name FROM cameras WHERE device_id = d.id
                   UNION SELECT sensor FROM counting_zones WHERE device_id = d.id
               ) each
           ) x
           WHERE d.junction_id = j.id
       ), '[]') AS devices
FROM junctions j
LEFT JOIN locations l ON l.id = j.location_id
LEFT JOIN user_junction_access a ON a.junction_id = j.id AND a.user_id = %(user)s
WHERE j.id = %(junction)s;
