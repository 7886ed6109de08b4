-- Junctions, and how they are today.

-- name: junctions
-- A page of junctions with what stands there, when they were last heard, and what they counted since midnight there.
-- Where nothing was counted, cameras measured only if they had something to count at.
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
       n.counted,
       CASE WHEN n.counted > 0 OR d.measured_ms IS NULL THEN coalesce(d.measured_ms, 0)
            WHEN EXISTS (
                SELECT FROM counting_zones z
                WHERE z.device_id = ANY (t.device_ids) AND z.via NOT IN ('truth', 'turn', 'unpaired')
                  AND (z.in_force IS NULL OR z.in_force && tstzrange(p.today, now()))
            ) THEN d.measured_ms ELSE 0 END AS measured_ms, coalesce(t.cameras, 0) AS cameras, p.has_lights,
       p.lights_mode AS mode, p.level, now() AS as_of
FROM page p
LEFT JOIN LATERAL (SELECT * FROM junction_parts WHERE junction_id = p.id OFFSET 0) t ON true
LEFT JOIN LATERAL (SELECT * FROM junction_heard WHERE junction_id = p.id OFFSET 0) h ON true
LEFT JOIN LATERAL (SELECT * FROM junction_counts WHERE junction_id = p.id AND bucket = p.today OFFSET 0) c ON true
LEFT JOIN LATERAL (
    SELECT measured_ms FROM junction_days WHERE bucket = p.today AND junction_id = p.id OFFSET 0
) d ON true
CROSS JOIN LATERAL (
    SELECT coalesce(CASE WHEN t.by_camera THEN c.n_camera WHEN t.by_zone THEN c.n_zone ELSE c.n_other END, 0) AS counted
    OFFSET 0
) n
ORDER BY p.place;

-- name: found_among_few
-- Filters leave few junctions, which are looked up one by one, and sorted.
SELECT j.id FROM few j {ordered_by} ORDER BY {order} LIMIT %(limit)s OFFSET %(offset)s

-- name: few
-- Those of one filter that others leave.
few AS MATERIALIZED (
    SELECT j.id, j.name, j.timezone
    FROM (SELECT DISTINCT id FROM ({those}) d) d
    CROSS JOIN LATERAL (
        SELECT id, name, timezone, lights_device_id, metadata FROM junctions WHERE id = d.id OFFSET 0
    ) j
    {heard} WHERE true {conditions}
),

-- name: found_by_name
-- Filters leave many, so that some are met soon along the names.
SELECT j.id FROM junctions j {heard} WHERE true {conditions} ORDER BY {order} LIMIT %(limit)s OFFSET %(offset)s

-- name: found_in_order
-- Many in the order of something that is kept of them, which `foremost` begins with. Where very many have the same as
-- the last of them, those are found along the names. Those without it come after all others.
SELECT f.id FROM (
    (
        SELECT j.id FROM foremost c
        CROSS JOIN LATERAL (SELECT id, name FROM junctions WHERE id = c.junction_id OFFSET 0) j
        WHERE c.key IS DISTINCT FROM (SELECT key FROM tied)
        ORDER BY c.key {down}, j.name LIMIT %(limit)s OFFSET %(offset)s
    )
    UNION ALL
    (
        SELECT j.id FROM junctions j {heard} {key}
        WHERE k.key = (SELECT key FROM tied) {conditions}
        ORDER BY j.name
        LIMIT (SELECT CASE WHEN key IS NULL THEN 0 ELSE greatest(0, least(%(limit)s, %(limit)s + %(offset)s - n)) END
               FROM tied)
        OFFSET (SELECT greatest(0, %(offset)s - n) FROM tied)
    )
    UNION ALL
    (
        SELECT j.id FROM ({without}) j
        ORDER BY j.name
        LIMIT (SELECT greatest(0, least(%(limit)s, %(limit)s + %(offset)s - count(*))) FROM foremost)
        OFFSET (SELECT greatest(0, %(offset)s - count(*)) FROM foremost)
    )
) f

-- name: tied
-- What very many have that may be the last on the page, and how many come before them. NULL: nothing.
tied AS MATERIALIZED (
    SELECT CASE WHEN count(*) > %(limit)s + %(offset)s + %(few)s THEN max(last) END AS key,
           count(*) FILTER (WHERE key IS DISTINCT FROM last) AS n
    FROM foremost, (SELECT {last}(key) AS last FROM foremost) AS ending
),

-- name: heard
CROSS JOIN LATERAL (
    SELECT (SELECT received_at FROM junction_heard WHERE junction_id = j.id) AS received_at OFFSET 0
) h

-- name: of_state
AND CASE WHEN h.received_at IS NULL THEN 'never'
     WHEN h.received_at >= now() - make_interval(secs => %(live_s)s) THEN 'live'
     WHEN h.received_at >= now() - make_interval(secs => %(late_s)s) THEN 'late'
     ELSE 'silent' END = ANY (%(states)s::text[])

-- name: of_names
AND (j.name = ANY (%(names)s::text[]) OR j.id = ANY (%(ids)s::uuid[]))

-- name: of_part
AND strpos(lower(j.name), lower(%(q)s::text)) > 0

-- name: lit
AND (j.lights_device_id IS NOT NULL OR j.metadata ? 'lights')

-- name: unlit
AND NOT (j.lights_device_id IS NOT NULL OR j.metadata ? 'lights')

-- name: how_many
-- How many a filter leaves, up to what matters. `those_*` are filters.
(SELECT count(*) FROM (SELECT FROM ({those}) d LIMIT %(few)s + 1) AS found)

-- name: those_of_names
SELECT id FROM junctions WHERE name = ANY (%(names)s::text[]) OR id = ANY (%(ids)s::uuid[])

-- name: those_seen
-- By a user who may see some junctions only.
SELECT seen_junctions() AS id

-- name: those_of_part
SELECT id FROM junctions
WHERE name_pieces(name) @> name_pieces(%(q)s::text) AND strpos(lower(name), lower(%(q)s::text)) > 0

-- name: those_of_short_part
SELECT id FROM junctions WHERE short_pieces(name) @> ARRAY[lower(%(q)s::text)]

-- name: those_lit
SELECT id FROM junctions WHERE lights_device_id IS NOT NULL OR metadata ? 'lights'

-- name: those_unlit
SELECT id FROM junctions WHERE NOT (lights_device_id IS NOT NULL OR metadata ? 'lights')

-- name: those_live
SELECT junction_id AS id FROM junction_heard
WHERE received_at >= now() - make_interval(secs => %(live_s)s)

-- name: those_late
SELECT junction_id AS id FROM junction_heard
WHERE received_at >= now() - make_interval(secs => %(late_s)s)
  AND received_at < now() - make_interval(secs => %(live_s)s)

-- name: those_silent
SELECT junction_id AS id FROM junction_heard
WHERE received_at < now() - make_interval(secs => %(late_s)s)

-- name: those_never
SELECT junction_id AS id FROM junction_heard WHERE received_at IS NULL

-- name: by_name
j.name {down}

-- name: by_key
k.key {down} NULLS LAST, j.name

-- name: received_at
CROSS JOIN LATERAL (
    SELECT (SELECT received_at FROM junction_heard WHERE junction_id = j.id) AS key OFFSET 0
) k

-- name: foremost_received_at
-- All that come on the page or before it.
foremost AS MATERIALIZED (
    SELECT c.junction_id, c.key FROM (
        SELECT junction_id, received_at AS key FROM junction_heard
        WHERE received_at IS NOT NULL
        ORDER BY received_at {down} {fence}
    ) c
    {fitting}
    ORDER BY c.key {down} FETCH FIRST (%(limit)s::bigint + %(offset)s::bigint) ROWS WITH TIES
),

-- name: without_received_at
SELECT j.id, j.name FROM junction_heard c JOIN junctions j ON j.id = c.junction_id {heard}
WHERE c.received_at IS NULL {conditions}

-- name: counts_today
LEFT JOIN days USING (timezone)
LEFT JOIN LATERAL (
    SELECT {count} AS key FROM junction_counts c WHERE c.junction_id = j.id AND c.bucket = days.today AND {counted} OFFSET 0
) k ON true

-- name: count
CASE WHEN c.n_camera <> 0 THEN c.n_camera WHEN c.n_zone <> 0 THEN c.n_zone ELSE c.n_other END

-- name: counted
-- Where there are lines, zones are not summed, and where there are either of them, readers are not.
c.n_step IS NOT NULL AND (c.n_camera <> 0 OR NOT EXISTS (
    SELECT FROM junction_parts WHERE junction_id = c.junction_id AND (by_camera OR by_zone AND c.n_zone = 0) OFFSET 0))

-- name: zones_of_all
RECURSIVE zones AS (
    (SELECT timezone FROM junctions ORDER BY timezone LIMIT 1)
    UNION ALL
    SELECT (SELECT j.timezone FROM junctions j WHERE j.timezone > z.timezone ORDER BY j.timezone LIMIT 1)
    FROM zones z WHERE z.timezone IS NOT NULL
),

-- name: zones_of_few
zones AS (SELECT DISTINCT timezone FROM few),

-- name: days
days AS MATERIALIZED (
    SELECT timezone, bucket_start(now(), 86400, timezone) AS today FROM zones WHERE timezone IS NOT NULL
),

-- name: foremost_counts_today
-- All that come on the page or before it, found in the steps in which counts are indexed.
foremost AS MATERIALIZED (
    SELECT c.junction_id, c.key
    FROM days d
    CROSS JOIN LATERAL (
        SELECT c.junction_id, {count} AS key FROM junction_counts c
        WHERE c.bucket = d.today AND c.timezone = d.timezone AND {counted} {fitting}
        ORDER BY c.n_step {down} FETCH FIRST (%(limit)s::bigint + %(offset)s::bigint) ROWS WITH TIES
    ) c
    ORDER BY c.key {down} FETCH FIRST (%(limit)s::bigint + %(offset)s::bigint) ROWS WITH TIES
),

-- name: without_counts_today
-- If it is asked for these, fewer counted than come on the page or before it.
SELECT j.id, j.name FROM junctions j {heard}
WHERE NOT EXISTS (SELECT FROM foremost c WHERE c.junction_id = j.id) {conditions}

-- name: fitting
-- Looked at one by one, from the first one on.
EXISTS (SELECT FROM junctions j {heard} WHERE j.id = c.junction_id {conditions} OFFSET 0)

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
               'id', d.id, 'name', d.name, 'status', d.status, 'received_at', x.received_at,
               'drives_lights', d.id = j.lights_device_id, 'sensors', x.sensors) ORDER BY d.name, d.id)
           FROM edge_devices d {told} WHERE d.junction_id = j.id
       ), '[]') AS devices,
       {sources} AS sources
FROM junctions j
LEFT JOIN locations l ON l.id = j.location_id
LEFT JOIN user_junction_access a ON a.junction_id = j.id AND a.user_id = %(user)s
WHERE j.id = %(junction)s;

-- name: told
CROSS JOIN LATERAL (
    SELECT (SELECT received_at FROM device_heard WHERE device_id = d.id) AS received_at,
           (SELECT coalesce(jsonb_agg(name ORDER BY name), '[]') FROM (
                SELECT name FROM cameras WHERE device_id = d.id
                UNION SELECT sensor FROM counting_zones WHERE device_id = d.id
            ) each) AS sensors
) x

-- name: told_to_viewer
JOIN devices_told(j.id) x ON x.device_id = d.id

-- name: sources
coalesce((
    SELECT jsonb_agg(jsonb_build_object('sensor', z.sensor, 'name', z.name, 'kind', z.kind,
                                        'counts', z.in_force @> now()) ORDER BY z.no)
    FROM edge_devices d JOIN counting_zones z ON z.device_id = d.id
    WHERE d.junction_id = j.id AND z.via IN ('camera', 'rfid')
), '[]')

-- name: sources_to_viewer
sources_told(j.id)
