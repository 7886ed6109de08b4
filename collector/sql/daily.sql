-- Days of junctions. Whoever reads them and the worker that keeps them compute a day by the same statement.

-- name: edges
-- The days of a junction that begin in a time, each with its end.
WITH starts AS (
    SELECT DISTINCT bucket_start(at, 86400, %(zone)s) AS start
    FROM generate_series(%(low)s::timestamptz, %(high)s::timestamptz + interval '2 hours', interval '1 hour') AS at
), days AS (
    SELECT start, coalesce(lead(start) OVER (ORDER BY start), %(high)s) AS until FROM starts
)
SELECT start, until, (start AT TIME ZONE %(zone)s + interval '2 hours')::date AS day
FROM days WHERE start >= %(low)s AND start < %(high)s
ORDER BY start

-- name: edge
-- One day, by its beginning.
SELECT %(low)s::timestamptz AS start,
       (SELECT min(bucket) FROM (
            SELECT bucket_start(at, 86400, %(zone)s) AS bucket
            FROM generate_series(%(low)s::timestamptz, %(low)s::timestamptz + interval '27 hours', interval '1 hour')
                 AS at) AS starts
        WHERE bucket > %(low)s) AS until,
       (%(low)s::timestamptz AT TIME ZONE %(zone)s + interval '2 hours')::date AS day

-- name: kept
-- The days that were made and are not behind what is stored.
WITH waiting AS (
    SELECT DISTINCT bucket_start(minute, 86400, %(zone)s) AS start
    FROM rollup_marks
    WHERE minute >= %(low)s AND minute < %(high)s
      AND (kind = 'count' AND ref_no = ANY (%(sources)s::integer[])
           OR kind = 'coverage' AND ref_no = ANY (%(cameras)s::integer[]))
    UNION
    SELECT DISTINCT bucket_start(at, 86400, %(zone)s)
    FROM junction_day_marks WHERE junction_id = %(junction)s AND at >= %(low)s AND at < %(high)s
)
SELECT day, starts_at, ends_at, by_class,
       -- Days that an earlier release has made have 0 also where the lights told nothing.
       CASE WHEN cycles > 0 OR EXISTS (
           SELECT FROM junctions j
           JOIN edge_devices d ON d.junction_id = j.id
           JOIN ingest_streams s ON s.device_id = d.id
           JOIN signal_events e ON e.stream_no = s.no AND e.at >= starts_at AND e.at < ends_at
           WHERE j.id = %(junction)s AND (j.lights_device_id IS NOT NULL OR j.metadata ? 'lights')
       ) THEN cycles END AS cycles,
       mean_cycle_s, saturation, saturation_cycles, overrides
FROM junction_daily_stats
WHERE junction_id = %(junction)s AND starts_at >= %(low)s AND starts_at < %(high)s
  AND starts_at NOT IN (SELECT start FROM waiting)
ORDER BY day

-- name: computed
-- Some days of a junction as they are now. `live`: with what waits to be rolled up. Cycles of a time whose rows were
-- dropped are those that were added up before, and not known (NULL) if none were; nor are they of a day on which the
-- lights told nothing.
WITH asked AS (
    SELECT * FROM unnest(%(starts)s::timestamptz[], %(ends)s::timestamptz[], %(days)s::date[]) AS d (start, until, day)
), streams AS (
    SELECT s.no FROM ingest_streams s JOIN edge_devices d ON d.id = s.device_id WHERE d.junction_id = %(junction)s
), marked AS (
    SELECT DISTINCT m.ref_no, m.minute, a.start,
           m.minute < (SELECT dropped_before FROM timeseries WHERE table_name = 'count_events') AS late
    FROM rollup_marks m
    JOIN asked a ON m.minute >= a.start AND m.minute < a.until
    WHERE %(live)s AND m.minute >= %(low)s AND m.minute < %(high)s
      AND m.kind = 'count' AND m.ref_no = ANY (%(sources)s::integer[])
), counted AS (
    SELECT start, cls, sum(n)::bigint AS n FROM (
        SELECT r.bucket AS start, r.cls, r.n
        FROM count_rollups r
        WHERE r.source_no = ANY (%(sources)s::integer[]) AND r.step_s = 86400
          AND r.bucket >= %(low)s AND r.bucket < %(high)s
        UNION ALL
        SELECT m.start, e.cls, 1
        FROM marked m
        JOIN count_events e ON e.source_no = m.ref_no AND e.at >= m.minute AND e.at < m.minute + interval '1 minute'
        WHERE e.at >= %(low)s AND e.at < %(high)s
        UNION ALL
        SELECT m.start, r.cls, -r.n
        FROM marked m
        JOIN count_rollups r ON r.source_no = m.ref_no AND r.step_s = 60 AND r.bucket = m.minute
        WHERE NOT m.late AND r.bucket >= %(low)s AND r.bucket < %(high)s
    ) AS parts
    GROUP BY start, cls HAVING sum(n) <> 0
), classes AS (
    SELECT start, jsonb_object_agg(cls, n) AS by_class FROM counted GROUP BY start
), cycled AS (
    SELECT a.start, c.mean_s, CASE WHEN c.n > 0 OR EXISTS (
               SELECT FROM junctions j CROSS JOIN streams s JOIN signal_events e ON e.stream_no = s.no
               WHERE j.id = %(junction)s AND (j.lights_device_id IS NOT NULL OR j.metadata ? 'lights')
                 AND e.at >= a.start AND e.at < a.until AND e.at >= %(low)s AND e.at < %(high)s
           ) THEN c.n END AS n
    FROM asked a
    CROSS JOIN LATERAL (
        SELECT count(*)::integer AS n, avg(length_s::double precision) AS mean_s
        FROM streams s JOIN traffic_cycles c ON c.stream_no = s.no
        WHERE c.at >= a.start AND c.at < a.until AND c.at >= %(low)s AND c.at < %(high)s
    ) c
), lanes AS (
    SELECT a.start, l.n, l.mean
    FROM asked a
    CROSS JOIN LATERAL (
        SELECT count(*)::integer AS n,
               sum(saturation::double precision * green_s) / nullif(sum(green_s::double precision), 0) AS mean
        FROM streams s JOIN lane_cycle_data c ON c.stream_no = s.no
        WHERE c.at >= a.start AND c.at < a.until AND c.at >= %(low)s AND c.at < %(high)s AND c.saturation IS NOT NULL
    ) l
), ordered AS (
    SELECT a.start, count(o.began_at)::integer AS n
    FROM asked a
    LEFT JOIN manual_override_history o
           ON o.junction_id = %(junction)s AND o.began_at >= a.start AND o.began_at < a.until
    GROUP BY a.start
)
SELECT a.day, a.start AS starts_at, a.until AS ends_at, coalesce(x.by_class, '{}') AS by_class,
       CASE WHEN d.dropped THEN k.cycles ELSE c.n END AS cycles,
       CASE WHEN d.dropped THEN k.mean_cycle_s ELSE c.mean_s END AS mean_cycle_s,
       CASE WHEN d.dropped THEN k.saturation ELSE l.mean END AS saturation,
       CASE WHEN d.dropped THEN k.saturation_cycles ELSE l.n END AS saturation_cycles,
       o.n AS overrides
FROM asked a
LEFT JOIN classes x USING (start)
JOIN cycled c USING (start)
JOIN lanes l USING (start)
JOIN ordered o USING (start)
LEFT JOIN junction_daily_stats k ON k.junction_id = %(junction)s AND k.day = a.day
                                AND (k.starts_at, k.ends_at) = (a.start, a.until)
CROSS JOIN LATERAL (
    SELECT bool_or(a.start < dropped_before) AS dropped
    FROM timeseries WHERE table_name IN ('traffic_cycles', 'lane_cycle_data')
) d
ORDER BY a.start

-- name: keep
-- Followed by `computed`, in brackets; with how long the cameras of these days watched.
INSERT INTO junction_daily_stats AS k (junction_id, day, starts_at, ends_at, by_class, vehicles, people, measured_ms,
    cycles, mean_cycle_s, saturation, saturation_cycles, overrides)
SELECT %(junction)s, day, starts_at, ends_at, by_class,
       CASE WHEN told THEN coalesce((SELECT sum(value::bigint) FROM jsonb_each_text(by_class) WHERE key <> 'person'), 0) END,
       CASE WHEN told THEN coalesce((by_class ->> 'person')::bigint, 0) END,
       measured_ms, cycles, mean_cycle_s, saturation, saturation_cycles, overrides
FROM (
    SELECT *, by_class <> '{}' OR measured_ms > 0 AS told
    FROM ({computed}) AS c
    JOIN unnest(%(days)s::date[], %(measured_ms)s::bigint[]) AS w (day, measured_ms) USING (day)
) AS fresh
ON CONFLICT (junction_id, day) DO UPDATE
SET starts_at = excluded.starts_at, ends_at = excluded.ends_at, by_class = excluded.by_class,
    vehicles = excluded.vehicles, people = excluded.people, measured_ms = excluded.measured_ms,
    cycles = excluded.cycles, mean_cycle_s = excluded.mean_cycle_s, saturation = excluded.saturation,
    saturation_cycles = excluded.saturation_cycles, overrides = excluded.overrides, computed_at = now()

-- name: take_marks
-- Takes the oldest marks away; the days that they name, as far as the worker has made days already.
WITH taken AS (
    DELETE FROM junction_day_marks
    WHERE id <= (SELECT max(id) FROM (SELECT id FROM junction_day_marks ORDER BY id LIMIT %(limit)s) AS oldest)
    RETURNING junction_id, at
), numbered AS (
    SELECT t.junction_id, bucket_start(t.at, 86400, j.timezone) AS start, count(*) AS n
    FROM taken t JOIN junctions j ON j.id = t.junction_id
    GROUP BY 1, 2
)
SELECT junction_id, array_agg(start ORDER BY start) FILTER (
           WHERE start < (SELECT max(ends_at) FROM junction_daily_stats k WHERE k.junction_id = n.junction_id)) AS starts
FROM numbered n
GROUP BY junction_id
ORDER BY junction_id

-- name: behind
-- Junctions that lack days, after one of them, and when the first of those begins. A day is made when nothing that
-- is still being written can change it without a mark; so it is over for two days and an hour.
WITH junctions_after AS (
    SELECT j.id, j.timezone AS zone, k.ends_at AS start,
           bucket_start(now() - interval '49 hours', 86400, j.timezone) AS until
    FROM junctions j
    LEFT JOIN LATERAL (
        SELECT ends_at FROM junction_daily_stats WHERE junction_id = j.id ORDER BY day DESC LIMIT 1
    ) k ON true
    WHERE j.id > %(after)s::uuid
)
SELECT a.id, bucket_start(coalesce(a.start, first.at), 86400, a.zone) AS start, a.until
FROM junctions_after a
LEFT JOIN LATERAL (
    SELECT least(
        (SELECT min(r.bucket) FROM edge_devices d JOIN counting_zones z ON z.device_id = d.id
         JOIN count_rollups r ON r.source_no = z.no AND r.step_s = 86400 WHERE d.junction_id = a.id),
        (SELECT min(c.at) FROM edge_devices d JOIN ingest_streams s ON s.device_id = d.id
         JOIN traffic_cycles c ON c.stream_no = s.no WHERE d.junction_id = a.id),
        (SELECT min(r.bucket) FROM edge_devices d JOIN cameras m ON m.device_id = d.id
         JOIN coverage_rollups r ON r.camera_no = m.no AND r.step_s = 86400 WHERE d.junction_id = a.id)
    ) AS at
) first ON a.start IS NULL
WHERE coalesce(a.start, first.at) < a.until
ORDER BY a.id
LIMIT %(limit)s
