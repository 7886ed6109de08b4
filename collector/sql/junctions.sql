-- Junctions, and how they are today.

-- name: junctions
-- A page of junctions with what stands there, when they were last heard, and what they counted since midnight there.
-- Today's count is the day's rollup, and for minutes that wait to be rolled up the difference to their raw rows.
-- What stands in braces is one of the fragments below, or nothing: only for a page in the order of counts are the
-- counts of all junctions computed.
-- `OFFSET 0` has the few rows of a page looked up one by one, where the planner would rather read whole tables.
WITH page AS (
    SELECT j.id, j.name, j.timezone, l.name AS location, l.latitude, l.longitude, j.lights_mode,
           j.lights_device_id IS NOT NULL OR j.metadata ? 'lights' AS has_lights, a.level,
           bucket_start(now(), 86400, j.timezone) AS today
    FROM junctions j
    LEFT JOIN locations l ON l.id = j.location_id
    LEFT JOIN user_junction_access a ON a.junction_id = j.id AND a.user_id = %(user)s
    {heard}
    WHERE (%(junctions)s::text[] IS NULL OR j.name = ANY (%(junctions)s::text[])
           OR j.id::text = ANY (%(junctions)s::text[]))
      AND (%(q)s::text IS NULL OR strpos(lower(j.name), lower(%(q)s::text)) > 0)
      AND (%(has_lights)s::boolean IS NULL
           OR (j.lights_device_id IS NOT NULL OR j.metadata ? 'lights') = %(has_lights)s::boolean)
      {state}
    {page}
), sources AS (
    SELECT p.id AS junction_id, z.no, p.today,
           -- A lane may have a camera and a tag reader: where there are cameras, what they counted is the sum.
           z.via = 'camera' OR NOT bool_or(z.via = 'camera') OVER (PARTITION BY p.id) AS is_summed
    FROM page p
    CROSS JOIN LATERAL (
        -- Who turned was counted at its lines.
        SELECT z.no, z.via FROM edge_devices d JOIN counting_zones z ON z.device_id = d.id
        WHERE d.junction_id = p.id AND z.via NOT IN ('truth', 'turn', 'unpaired') {fence}
    ) z
), marked AS (
    SELECT DISTINCT s.junction_id, s.no, m.minute
    FROM rollup_marks m
    JOIN sources s ON s.no = m.ref_no
    WHERE m.kind = 'count' AND m.minute >= s.today AND s.is_summed
), counted AS (
    SELECT s.junction_id, r.n
    FROM sources s
    JOIN count_rollups r ON r.source_no = s.no AND r.step_s = 86400 AND r.bucket = s.today
    WHERE r.bucket >= now() - interval '2 days' AND s.is_summed
    UNION ALL
    SELECT m.junction_id, e.n
    FROM marked m
    CROSS JOIN LATERAL (
        SELECT count(*) AS n FROM count_events
        WHERE source_no = m.no AND at >= m.minute AND at < m.minute + interval '1 minute'
          AND at >= now() - interval '2 days'
    ) e
    UNION ALL
    SELECT m.junction_id, -r.n
    FROM marked m
    JOIN count_rollups r ON r.source_no = m.no AND r.step_s = 60 AND r.bucket = m.minute
    WHERE r.bucket >= now() - interval '2 days'
), counts AS (
    SELECT junction_id, sum(n)::bigint AS n FROM counted GROUP BY junction_id
), shown AS (
    SELECT p.*, c.n AS counted FROM page p LEFT JOIN counts c ON c.junction_id = p.id
    {shown}
), devices AS (
    SELECT p.id AS junction_id, d.id, count(*) FILTER (WHERE d.status = 'active') AS active,
           max(s.last_received_at) AS received_at, max(s.last_at) AS last_at
    FROM shown p
    CROSS JOIN LATERAL (SELECT id, status FROM edge_devices WHERE junction_id = p.id OFFSET 0) d
    LEFT JOIN LATERAL (
        SELECT last_received_at, last_at FROM ingest_streams WHERE device_id = d.id OFFSET 0
    ) s ON true
    GROUP BY p.id, d.id
), coverage AS (
    SELECT d.junction_id, sum(v.measured_ms)::bigint AS measured_ms, count(DISTINCT c.no) AS cameras
    FROM devices d
    JOIN shown p ON p.id = d.junction_id
    CROSS JOIN LATERAL (SELECT no FROM cameras WHERE device_id = d.id OFFSET 0) c
    LEFT JOIN coverage_rollups v ON v.camera_no = c.no AND v.step_s = 86400 AND v.bucket = p.today
                                AND v.bucket >= now() - interval '2 days'
    GROUP BY d.junction_id
)
SELECT p.id, p.name, p.timezone, p.location, p.latitude, p.longitude, p.today,
       coalesce(d.devices, 0) AS devices, coalesce(d.active, 0)::bigint AS active_devices, d.received_at, d.last_at,
       coalesce(n.sources, 0) AS sources,
       p.counted, coalesce(v.measured_ms, 0) AS measured_ms, coalesce(v.cameras, 0) AS cameras, p.has_lights,
       p.lights_mode AS mode, p.level, now() AS as_of
FROM shown p
LEFT JOIN (
    SELECT junction_id, count(*) AS devices, sum(least(active, 1)) AS active, max(received_at) AS received_at,
           max(last_at) AS last_at
    FROM devices GROUP BY junction_id
) d ON d.junction_id = p.id
LEFT JOIN (SELECT junction_id, count(*) AS sources FROM sources GROUP BY junction_id) n ON n.junction_id = p.id
LEFT JOIN coverage v ON v.junction_id = p.id
{end};

-- name: heard
LEFT JOIN (
    SELECT d.junction_id, max(s.last_received_at) AS received_at
    FROM edge_devices d JOIN ingest_streams s ON s.device_id = d.id
    GROUP BY d.junction_id
) h ON h.junction_id = j.id;

-- name: fence
OFFSET 0;

-- name: state
AND CASE WHEN h.received_at IS NULL THEN 'never'
         WHEN h.received_at >= now() - make_interval(secs => %(live_s)s) THEN 'live'
         WHEN h.received_at >= now() - make_interval(secs => %(late_s)s) THEN 'late'
         ELSE 'silent' END = ANY (%(states)s::text[]);

-- name: page_by_name
ORDER BY j.name LIMIT %(limit)s OFFSET %(offset)s;

-- name: page_by_name_down
ORDER BY j.name DESC LIMIT %(limit)s OFFSET %(offset)s;

-- name: page_by_received_at
ORDER BY h.received_at NULLS LAST, j.name LIMIT %(limit)s OFFSET %(offset)s;

-- name: page_by_received_at_down
ORDER BY h.received_at DESC NULLS LAST, j.name LIMIT %(limit)s OFFSET %(offset)s;

-- name: end_by_name
ORDER BY p.name;

-- name: end_by_name_down
ORDER BY p.name DESC;

-- name: end_by_received_at
ORDER BY d.received_at NULLS LAST, p.name;

-- name: end_by_received_at_down
ORDER BY d.received_at DESC NULLS LAST, p.name;

-- name: shown_by_counts_today
ORDER BY nullif(c.n, 0) NULLS LAST, p.name LIMIT %(limit)s OFFSET %(offset)s;

-- name: shown_by_counts_today_down
ORDER BY nullif(c.n, 0) DESC NULLS LAST, p.name LIMIT %(limit)s OFFSET %(offset)s;

-- name: end_by_counts_today
ORDER BY nullif(p.counted, 0) NULLS LAST, p.name;

-- name: end_by_counts_today_down
ORDER BY nullif(p.counted, 0) DESC NULLS LAST, p.name;

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
