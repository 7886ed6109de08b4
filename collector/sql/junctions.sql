-- Junctions, and how they are today.

-- name: junctions
-- A page of junctions with what stands there, when they were last heard, and what they counted since midnight there.
-- All of that is kept: see `junction_parts` and `junction_counts` in schema.sql. What stands in braces are fragments
-- below. `OFFSET 0` has the few rows of a page looked up one by one, where the planner would rather read whole tables.
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
)
SELECT p.id, p.name, p.timezone, p.location, p.latitude, p.longitude, p.today, coalesce(t.devices, 0) AS devices,
       coalesce(t.active_devices, 0) AS active_devices, h.received_at, h.last_at, coalesce(t.sources, 0) AS sources,
       coalesce(CASE WHEN t.by_camera THEN c.n_camera ELSE c.n_other END, 0) AS counted,
       coalesce(d.measured_ms, 0) AS measured_ms, coalesce(t.cameras, 0) AS cameras, p.has_lights,
       p.lights_mode AS mode, p.level, now() AS as_of
FROM page p
LEFT JOIN LATERAL (SELECT * FROM junction_parts WHERE junction_id = p.id OFFSET 0) t ON true
LEFT JOIN LATERAL (SELECT * FROM junction_heard WHERE junction_id = p.id OFFSET 0) h ON true
LEFT JOIN LATERAL (SELECT * FROM junction_counts WHERE junction_id = p.id AND bucket = p.today OFFSET 0) c ON true
LEFT JOIN LATERAL (
    SELECT measured_ms FROM junction_days WHERE bucket = p.today AND junction_id = p.id OFFSET 0
) d ON true
ORDER BY p.place;

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

-- name: found_by_counts
-- In the order of counts; those without a count come after all others.
SELECT j.id FROM (
    (
        SELECT j.id FROM foremost c JOIN junctions j ON j.id = c.junction_id
        ORDER BY c.n {down}, j.name LIMIT %(limit)s OFFSET %(offset)s
    )
    UNION ALL
    (
        SELECT j.id FROM ({filtered}) j
        WHERE NOT EXISTS (SELECT FROM foremost c WHERE c.junction_id = j.id) {few}
        ORDER BY j.name
        LIMIT (SELECT greatest(0, least(%(limit)s, %(limit)s + %(offset)s - count(*))) FROM foremost)
        OFFSET (SELECT greatest(0, %(offset)s - count(*)) FROM foremost)
    )
) j

-- name: foremost
-- All that come on the page or before it. Fewer than that: all that counted today.
RECURSIVE zones AS (
    (SELECT timezone FROM junctions ORDER BY timezone LIMIT 1)
    UNION ALL
    SELECT (SELECT j.timezone FROM junctions j WHERE j.timezone > z.timezone ORDER BY j.timezone LIMIT 1)
    FROM zones z WHERE z.timezone IS NOT NULL
), days AS MATERIALIZED (
    SELECT timezone, bucket_start(now(), 86400, timezone) AS today FROM zones WHERE timezone IS NOT NULL
), foremost AS MATERIALIZED (
    SELECT junction_id, n FROM (
        SELECT c.junction_id, c.n FROM (
            SELECT j.junction_id,
                   CASE WHEN n_camera <> 0 THEN n_camera WHEN n_other = 0 THEN 0
                        WHEN (SELECT by_camera FROM junction_parts WHERE junction_id = j.junction_id) THEN 0
                        ELSE n_other END AS n
            FROM junction_counts j
            WHERE (j.bucket, j.timezone) IN (SELECT today, timezone FROM days) {few}
        ) c
        WHERE c.n > 0 ORDER BY c.n {down} OFFSET 0
    ) c
    {fitting}
    ORDER BY n {down} FETCH FIRST (%(limit)s::bigint + %(offset)s::bigint) ROWS WITH TIES
),

-- name: fitting
-- Looked at one by one, from the first one on.
WHERE EXISTS (SELECT FROM ({filtered}) j WHERE j.id = c.junction_id OFFSET 0)

-- name: few_of_counts
AND j.junction_id = ANY (%(few)s::uuid[])

-- name: few
AND j.id = ANY (%(few)s::uuid[])

-- name: those
-- Those that a filter leaves, if they are few.
SELECT j.id FROM ({filtered}) j LIMIT %(limit)s

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
