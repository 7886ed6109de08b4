-- Junctions, and how they are today.

-- name: junctions
-- A page of junctions with what stands there, when they were last heard, and what they counted since midnight there.
-- Today's count is the day's rollup, and for minutes that wait to be rolled up the difference to their raw rows.
WITH page AS (
    SELECT j.id, j.name, j.timezone, l.name AS location, l.latitude, l.longitude, j.metadata ? 'lights' AS has_lights,
           bucket_start(now(), 86400, j.timezone) AS today
    FROM junctions j
    LEFT JOIN locations l ON l.id = j.location_id
    WHERE %(junctions)s::text[] IS NULL OR j.name = ANY (%(junctions)s::text[])
       OR j.id::text = ANY (%(junctions)s::text[])
    ORDER BY j.name
    LIMIT %(limit)s OFFSET %(offset)s
), devices AS (
    SELECT d.junction_id, d.id, count(*) FILTER (WHERE d.status = 'active') AS active,
           max(s.last_received_at) AS received_at, max(s.last_at) AS last_at
    FROM edge_devices d
    LEFT JOIN ingest_streams s ON s.device_id = d.id
    WHERE d.junction_id IN (SELECT id FROM page)
    GROUP BY d.id
), sources AS (
    SELECT p.id AS junction_id, z.no, p.today,
           -- A lane may have a camera and a tag reader: where there are cameras, what they counted is the sum.
           z.via = 'camera' OR NOT bool_or(z.via = 'camera') OVER (PARTITION BY p.id) AS is_summed
    FROM page p
    JOIN devices d ON d.junction_id = p.id
    JOIN counting_zones z ON z.device_id = d.id
    -- Who turned was counted at its lines.
    WHERE z.via NOT IN ('truth', 'turn', 'unpaired')
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
), coverage AS (
    SELECT d.junction_id, sum(v.measured_ms)::bigint AS measured_ms, count(DISTINCT c.no) AS cameras
    FROM devices d
    JOIN page p ON p.id = d.junction_id
    JOIN cameras c ON c.device_id = d.id
    LEFT JOIN coverage_rollups v ON v.camera_no = c.no AND v.step_s = 86400 AND v.bucket = p.today
                                AND v.bucket >= now() - interval '2 days'
    GROUP BY d.junction_id
)
SELECT p.id, p.name, p.timezone, p.location, p.latitude, p.longitude, p.today,
       coalesce(d.devices, 0) AS devices, coalesce(d.active, 0)::bigint AS active_devices, d.received_at, d.last_at,
       (SELECT count(*) FROM sources s WHERE s.junction_id = p.id) AS sources,
       c.n AS counted, coalesce(v.measured_ms, 0) AS measured_ms, coalesce(v.cameras, 0) AS cameras, p.has_lights, now() AS as_of
FROM page p
LEFT JOIN (
    SELECT junction_id, count(*) AS devices, sum(least(active, 1)) AS active, max(received_at) AS received_at,
           max(last_at) AS last_at
    FROM devices GROUP BY junction_id
) d ON d.junction_id = p.id
LEFT JOIN counts c ON c.junction_id = p.id
LEFT JOIN coverage v ON v.junction_id = p.id
ORDER BY p.name;
