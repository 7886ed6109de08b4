-- What counts of one junction add up to. A statement is `counted`, then `hours` or `quarters`, then the question.
-- Vehicles are all but people.

-- name: counted
-- Vehicles and measured time by bucket, as exact as `counts.sql` has them: rollups, and for minutes that wait the
-- difference to their raw rows. `live` false: without those. `duty_...`: when cameras should have measured, and whether
-- they then counted at all lines where they should.
WITH marked AS (
    SELECT DISTINCT m.kind, m.ref_no, m.minute,
           m.minute < (SELECT dropped_before FROM timeseries WHERE table_name
                       = CASE m.kind WHEN 'count' THEN 'count_events' ELSE 'frame_metadata' END) AS late
    FROM rollup_marks m
    WHERE %(live)s AND m.minute >= %(low)s AND m.minute < %(high)s
      AND (m.kind = 'count' AND m.ref_no = ANY (%(sources)s::integer[])
           OR m.kind = 'coverage' AND m.ref_no = ANY (%(expected)s::integer[]))
), counted AS (
    SELECT bucket, sum(n)::bigint AS n FROM (
        SELECT bucket, n FROM count_rollups
        WHERE source_no = ANY (%(sources)s::integer[]) AND step_s = %(step_s)s AND cls <> 'person'
          AND bucket >= %(low)s AND bucket < %(high)s
        UNION ALL
        SELECT bucket_start(m.minute, %(step_s)s, %(zone)s), 1
        FROM marked m
        JOIN count_events e ON e.source_no = m.ref_no AND e.at >= m.minute AND e.at < m.minute + interval '1 minute'
        WHERE m.kind = 'count' AND e.cls <> 'person' AND e.at >= %(low)s AND e.at < %(high)s
        UNION ALL
        SELECT bucket_start(m.minute, %(step_s)s, %(zone)s), -r.n
        FROM marked m
        JOIN count_rollups r ON r.source_no = m.ref_no AND r.step_s = 60 AND r.bucket = m.minute
        WHERE m.kind = 'count' AND NOT m.late AND r.cls <> 'person' AND r.bucket >= %(low)s AND r.bucket < %(high)s
    ) AS parts
    GROUP BY bucket
), watched AS (
    SELECT camera_no, bucket, sum(measured_ms)::bigint AS measured_ms FROM (
        SELECT camera_no, bucket, measured_ms FROM coverage_rollups
        WHERE camera_no = ANY (%(expected)s::integer[]) AND step_s = %(step_s)s
          AND bucket >= %(low)s AND bucket < %(high)s
        UNION ALL
        SELECT m.ref_no, bucket_start(m.minute, %(step_s)s, %(zone)s), f.measured_ms - coalesce(k.measured_ms, 0)
        FROM marked m
        CROSS JOIN LATERAL (
            SELECT least(60000, round(coalesce(sum(
                measured_share_ms(at, span_ms, measured_ms, m.minute)), 0)))::bigint AS measured_ms
            FROM frame_metadata
            WHERE camera_no = m.ref_no AND at > m.minute AND at < m.minute + interval '61 minutes'
              AND at > %(low)s AND at < %(high)s::timestamptz + interval '61 minutes'
        ) f
        LEFT JOIN coverage_rollups k ON k.camera_no = m.ref_no AND k.step_s = 60 AND k.bucket = m.minute
                                    AND k.bucket >= %(low)s AND k.bucket < %(high)s
        WHERE m.kind = 'coverage' AND NOT m.late
    ) AS parts
    GROUP BY camera_no, bucket
), starts AS (
    SELECT DISTINCT bucket_start(at, %(step_s)s, %(zone)s) AS bucket
    FROM generate_series(%(low)s::timestamptz, %(high)s::timestamptz - interval '1 minute', interval '15 minutes') AS at
), spans AS (
    SELECT bucket, lead(bucket, 1, %(high)s) OVER (ORDER BY bucket) AS until FROM starts
), due AS (
    SELECT s.bucket, d.camera_no, sum(o.ms) AS due_ms,
           extract(epoch FROM s.until - s.bucket)::double precision * 1000
               - coalesce(sum(o.ms) FILTER (WHERE d.counts), 0) AS away_ms
    FROM unnest(%(duty_cameras)s::integer[], %(duty_starts)s::timestamptz[], %(duty_ends)s::timestamptz[],
                %(duty_counts)s::boolean[]) AS d (camera_no, start, until, counts)
    JOIN spans s ON s.until > d.start AND s.bucket < d.until
    CROSS JOIN LATERAL (
        SELECT extract(epoch FROM least(s.until, d.until) - greatest(s.bucket, d.start))::double precision * 1000 AS ms
    ) o
    GROUP BY s.bucket, s.until, d.camera_no
), proven AS (
    -- While it counted elsewhere, it may have watched just then.
    SELECT d.bucket, bool_and(coalesce(w.measured_ms, 0) - d.away_ms >= 0.99 * d.due_ms) AS is_measured
    FROM due d LEFT JOIN watched w USING (camera_no, bucket)
    GROUP BY d.bucket
), cells AS (
    -- All buckets that are over. Where no camera tells when it measured, those with a count are taken for measured.
    SELECT s.bucket, s.until, coalesce(c.n, 0) AS n,
           CASE WHEN cardinality(%(expected)s::integer[]) > 0 THEN coalesce(p.is_measured, false)
                ELSE coalesce(c.n, 0) > 0 END AS is_measured,
           s.bucket AT TIME ZONE %(zone)s AS there
    FROM spans s
    LEFT JOIN counted c USING (bucket)
    LEFT JOIN proven p USING (bucket)
    WHERE s.until <= now()
)

-- name: hours_of_week
SELECT extract(isodow FROM there)::integer AS weekday, extract(hour FROM there)::integer AS hour,
       count(*) AS n_hours, count(*) FILTER (WHERE is_measured) AS n_measured,
       (avg(n) FILTER (WHERE is_measured))::double precision AS mean,
       percentile_cont(0.85) WITHIN GROUP (ORDER BY n) FILTER (WHERE is_measured) AS p85
FROM cells
GROUP BY GROUPING SETS ((1, 2), (2))
ORDER BY 1 NULLS FIRST, 2

-- name: peaks
-- Of each day the busiest four quarters in a row that were measured and lie in it; the first of several.
, runs AS (
    SELECT bucket AS start, there::date AS day,
           last_value(until) OVER four AS until, sum(n) OVER four AS n, max(n) OVER four AS busiest,
           count(*) OVER four AS n_quarters, bool_and(is_measured) OVER four AS is_measured,
           last_value(there::date) OVER four AS last_day
    FROM cells
    WINDOW four AS (ORDER BY bucket ROWS BETWEEN CURRENT ROW AND 3 FOLLOWING)
)
SELECT DISTINCT ON (day) day, start, until, n::bigint, busiest::bigint
FROM runs
WHERE n_quarters = 4 AND is_measured AND last_day = day AND n > 0
ORDER BY day, n DESC, start

-- name: pairs
-- Hours of the week that were measured before and after a change, with the mean of each side. The hour in which it
-- was is neither.
, sides AS (
    SELECT extract(isodow FROM there)::integer AS weekday, extract(hour FROM there)::integer AS hour,
           avg(n) FILTER (WHERE until <= %(change)s) AS before, count(*) FILTER (WHERE until <= %(change)s) AS n_before,
           avg(n) FILTER (WHERE bucket >= %(change)s) AS after, count(*) FILTER (WHERE bucket >= %(change)s) AS n_after
    FROM cells WHERE is_measured
    GROUP BY 1, 2
)
SELECT count(*) AS n_pairs, coalesce(sum(n_before), 0)::bigint AS n_before, coalesce(sum(n_after), 0)::bigint AS n_after,
       avg(before)::double precision AS mean_before, avg(after)::double precision AS mean_after,
       avg(after - before)::double precision AS mean, stddev_samp(after - before)::double precision AS deviation
FROM sides WHERE n_before > 0 AND n_after > 0

-- name: cycles_of_sides
-- The cycles before a change, and those after it. One belongs to where its middle lies: it ends when the next one
-- begins, and what they tell of that moment differs by what is rounded.
WITH cycles AS (
    SELECT c.at - make_interval(secs => c.length_s / 2) >= %(change)s AS is_after, c.length_s, c.plan
    FROM edge_devices d JOIN ingest_streams s ON s.device_id = d.id JOIN traffic_cycles c ON c.stream_no = s.no
    WHERE d.junction_id = %(junction)s AND c.at >= %(low)s AND c.at < %(high)s
), lanes AS (
    SELECT l.at - make_interval(secs => (l.green_s + l.yellow_s + l.red_s) / 2) >= %(change)s AS is_after,
           sum(l.saturation::double precision * l.green_s) / nullif(sum(l.green_s::double precision), 0) AS saturation
    FROM edge_devices d JOIN ingest_streams s ON s.device_id = d.id JOIN lane_cycle_data l ON l.stream_no = s.no
    WHERE d.junction_id = %(junction)s AND l.at >= %(low)s AND l.at < %(high)s AND l.saturation IS NOT NULL
    GROUP BY 1
), planned AS (
    SELECT is_after, plan, count(*) AS n, sum(length_s::double precision) AS total_s FROM cycles GROUP BY 1, 2
)
SELECT side.is_after, coalesce(sum(p.n), 0)::bigint AS cycles, sum(p.total_s) / sum(p.n)::double precision AS mean_cycle_s,
       l.saturation, coalesce(array_agg(p.plan ORDER BY p.n DESC, p.plan) FILTER (WHERE p.plan IS NOT NULL), '{}') AS plans
FROM (VALUES (false), (true)) AS side (is_after)
LEFT JOIN planned p USING (is_after)
LEFT JOIN lanes l USING (is_after)
GROUP BY side.is_after, l.saturation
ORDER BY side.is_after

-- name: changes
-- Plans that ran for the first time in the period, but for the one that it begins with. The latest first. Moments are
-- told in whole ms, as they came: lengths are a little off.
WITH cycles AS (
    SELECT date_trunc('milliseconds', c.at - make_interval(secs => c.length_s) + interval '500 microseconds') AS start,
           c.plan
    FROM edge_devices d JOIN ingest_streams s ON s.device_id = d.id JOIN traffic_cycles c ON c.stream_no = s.no
    WHERE d.junction_id = %(junction)s AND c.at >= %(low)s AND c.at < %(high)s
), followed AS (
    SELECT start, plan, lag(plan) OVER (ORDER BY start) AS plan_before,
           row_number() OVER (PARTITION BY plan ORDER BY start) AS nth, row_number() OVER (ORDER BY start) AS place
    FROM cycles
)
SELECT start AS at, plan_before, plan FROM followed
WHERE nth = 1 AND place > 1
ORDER BY start DESC LIMIT 100

-- name: day_start
SELECT bucket_start((%(date)s::date + time '12:00') AT TIME ZONE %(zone)s, 86400, %(zone)s)

-- name: by_source
-- What each source counted.
WITH marked AS (
    SELECT DISTINCT m.ref_no, m.minute,
           m.minute < (SELECT dropped_before FROM timeseries WHERE table_name = 'count_events') AS late
    FROM rollup_marks m
    WHERE %(live)s AND m.minute >= %(low)s AND m.minute < %(high)s
      AND m.kind = 'count' AND m.ref_no = ANY (%(sources)s::integer[])
)
SELECT source_no, sum(n)::bigint AS n FROM (
    SELECT source_no, n FROM count_rollups
    WHERE source_no = ANY (%(sources)s::integer[]) AND step_s = 3600 AND cls <> 'person'
      AND bucket >= %(low)s AND bucket < %(high)s
    UNION ALL
    SELECT m.ref_no, 1
    FROM marked m
    JOIN count_events e ON e.source_no = m.ref_no AND e.at >= m.minute AND e.at < m.minute + interval '1 minute'
    WHERE e.cls <> 'person' AND e.at >= %(low)s AND e.at < %(high)s
    UNION ALL
    SELECT m.ref_no, -r.n
    FROM marked m
    JOIN count_rollups r ON r.source_no = m.ref_no AND r.step_s = 60 AND r.bucket = m.minute
    WHERE NOT m.late AND r.cls <> 'person' AND r.bucket >= %(low)s AND r.bucket < %(high)s
) AS parts
GROUP BY source_no
