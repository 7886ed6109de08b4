-- Orders by hand, and devices.

-- name: overrides
-- Orders of a junction by user, day, hour and mode. An order belongs to when the lights took it, or when it was
-- given if they never did; what still holds is counted until now.
WITH told AS (
    SELECT user_id, user_name, mode, began_at IS NOT NULL AS is_taken,
           coalesce(began_at, ordered_at) AT TIME ZONE %(zone)s AS there,
           CASE WHEN began_at IS NULL THEN 0
                ELSE greatest(0, extract(epoch FROM coalesce(ended_at, now()) - began_at)) END AS held_s
    FROM v_override_history
    WHERE junction_id = %(junction)s
      AND coalesce(began_at, ordered_at) >= %(low)s AND coalesce(began_at, ordered_at) < %(high)s
)
SELECT user_id, user_name AS "user", there::date AS date, extract(hour FROM there)::integer AS hour, mode,
       count(*) FILTER (WHERE is_taken) AS n, count(*) FILTER (WHERE NOT is_taken) AS n_refused,
       sum(held_s)::double precision AS total_s
FROM told
GROUP BY 1, 2, 3, 4, 5
ORDER BY 3, 4, 2, 5

-- name: devices
-- Devices that were not revoked, how long ago each was heard, and of all that fit how many are in each state.
WITH heard AS (
    SELECT d.id, d.name, d.status, j.id AS junction_id, j.name AS junction, coalesce(j.timezone, 'UTC') AS zone,
           s.received_at,
           CASE WHEN s.received_at IS NULL THEN 'never'
                WHEN s.received_at >= now() - interval '5 minutes' THEN 'healthy'
                WHEN s.received_at >= now() - interval '15 minutes' THEN 'warning'
                ELSE 'critical' END AS state
    FROM edge_devices d
    LEFT JOIN junctions j ON j.id = d.junction_id
    LEFT JOIN device_heard s ON s.device_id = d.id
    WHERE d.status = 'active'
      AND (%(junctions)s::text[] IS NULL OR j.name = ANY (%(junctions)s::text[])
           OR j.id::text = ANY (%(junctions)s::text[]))
), totals AS (
    SELECT count(*) FILTER (WHERE state = 'healthy') AS healthy, count(*) FILTER (WHERE state = 'warning') AS warning,
           count(*) FILTER (WHERE state = 'critical') AS critical, count(*) FILTER (WHERE state = 'never') AS never
    FROM heard
), page AS (
    SELECT * FROM heard
    WHERE %(states)s::text[] IS NULL OR state = ANY (%(states)s::text[])
    ORDER BY name, id LIMIT %(limit)s OFFSET %(offset)s
)
SELECT t.*, now() AS as_of, p.*, h.*
FROM totals t
LEFT JOIN page p ON true
LEFT JOIN LATERAL (
    SELECT x.at AS health_at, x.version, x.uptime_s, x.cpu_percent, x.memory_percent, x.temperature_c, x.disk_free_mb,
           x.clock_synced, x.throttled, x.outbox_records, x.outbox_dropped
    FROM ingest_streams s
    CROSS JOIN LATERAL (
        SELECT * FROM device_health
        WHERE stream_no = s.no AND at >= now() - interval '35 days' ORDER BY at DESC LIMIT 1
    ) x
    WHERE s.device_id = p.id
    ORDER BY x.at DESC LIMIT 1
) h ON true
ORDER BY p.name, p.id

-- name: days
-- For how long each device was up and down on each of its last days, as far as it has told.
-- A health record proves that the machine has run for `uptime_s`, so one of each boot is enough: the last. Between
-- two boots it was down, and so was its agent where that says so itself.
WITH RECURSIVE asked AS (
    SELECT * FROM unnest(%(devices)s::uuid[], %(zones)s::text[]) AS d (id, zone)
), days AS (
    SELECT a.id, a.zone, t.today - back.n AS day,
           bucket_start((t.today - back.n + time '12:00') AT TIME ZONE a.zone, 86400, a.zone) AS start,
           least(bucket_start((t.today - back.n + 1 + time '12:00') AT TIME ZONE a.zone, 86400, a.zone), now()) AS until
    FROM asked a
    CROSS JOIN LATERAL (SELECT (now() AT TIME ZONE a.zone)::date AS today) t
    CROSS JOIN generate_series(0, %(days)s - 1) AS back (n)
), bounds AS (
    SELECT id, min(start) AS low FROM days GROUP BY id
), boots AS (
    SELECT b.id, b.low, h.at, h.boot
    FROM bounds b
    CROSS JOIN LATERAL (
        SELECT x.at, x.at - make_interval(secs => x.uptime_s) AS boot
        FROM ingest_streams s
        CROSS JOIN LATERAL (
            SELECT at, least(uptime_s, 1e9) AS uptime_s FROM device_health
            WHERE stream_no = s.no AND at <= now() AND at >= now() - interval '75 days' ORDER BY at DESC LIMIT 1
        ) x
        WHERE s.device_id = b.id ORDER BY x.at DESC LIMIT 1
    ) h
    UNION ALL
    SELECT b.id, b.low, h.at, h.boot
    FROM boots b
    CROSS JOIN LATERAL (
        SELECT x.at, x.at - make_interval(secs => x.uptime_s) AS boot
        FROM ingest_streams s
        CROSS JOIN LATERAL (
            SELECT at, least(uptime_s, 1e9) AS uptime_s FROM device_health
            WHERE stream_no = s.no AND at < b.boot AND at < b.at AND at >= now() - interval '75 days'
            ORDER BY at DESC LIMIT 1
        ) x
        WHERE s.device_id = b.id ORDER BY x.at DESC LIMIT 1
    ) h
    WHERE b.boot > b.low
), down AS (
    SELECT id, range_agg(span) AS spans FROM (
        SELECT id, tstzrange(at, lead(boot) OVER (PARTITION BY id ORDER BY at)) AS span FROM boots
        WHERE at < now()
        UNION ALL
        SELECT a.id, tstzrange(g.at - make_interval(secs => least(g.duration_ms, 1e12) / 1000.0), g.at)
        FROM asked a
        JOIN ingest_streams s ON s.device_id = a.id
        JOIN ingest_gaps g ON g.stream_no = s.no AND g.reason = 'agent_down' AND g.at >= now() - interval '75 days'
    ) AS parts
    WHERE NOT upper_inf(span) AND NOT isempty(span)
    GROUP BY id
), up AS (
    SELECT id, range_agg(tstzrange(boot, at)) AS spans FROM boots GROUP BY id
), told AS (
    SELECT d.id, d.day, d.start, d.until, coalesce(n.spans, '{}') AS down, coalesce(u.spans, '{}') - coalesce(n.spans, '{}') AS up
    FROM days d LEFT JOIN up u USING (id) LEFT JOIN down n USING (id)
)
SELECT t.id, t.day, extract(epoch FROM t.until - t.start)::double precision AS length_s,
       (SELECT coalesce(sum(extract(epoch FROM upper(r) - lower(r))), 0)
        FROM unnest(t.up * tstzmultirange(tstzrange(t.start, t.until))) AS r)::double precision AS up_s,
       (SELECT coalesce(sum(extract(epoch FROM upper(r) - lower(r))), 0)
        FROM unnest(t.down * tstzmultirange(tstzrange(t.start, t.until))) AS r)::double precision AS down_s
FROM told t
WHERE t.until > t.start
ORDER BY t.id, t.day
