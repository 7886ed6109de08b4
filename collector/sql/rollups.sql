-- The rollup worker. All of it runs in one transaction per pass, under an advisory lock: one worker at a time.
--
-- A minute is computed anew from its raw rows; the difference to what was there is added to the quarter of an hour,
-- the hour and the day above it. So a pass costs what has changed, not what the day holds, and all steps agree.

-- name: try_lock
-- True if no other worker is at work. Let go at the end of the transaction.
SELECT pg_try_advisory_xact_lock(%(key)s);

-- name: work_memory
-- A pass sorts what a whole city did in a minute.
SELECT set_config('work_mem', '64MB', true);

-- name: lock
-- Waits until no worker is at work.
SELECT pg_advisory_xact_lock(%(key)s);

-- name: take_marks
-- Takes the oldest marks of minutes before a time away, and returns what they name, grouped by kind and UTC day,
-- newest first.
WITH taken AS (
    DELETE FROM rollup_marks
    WHERE minute < %(before)s
      AND id <= (SELECT max(id) FROM (
          SELECT id FROM rollup_marks WHERE minute < %(before)s ORDER BY id LIMIT %(limit)s) AS oldest)
    RETURNING kind, ref_no, minute
), numbered AS (
    SELECT kind, ref_no, minute, count(*) AS n FROM taken GROUP BY kind, ref_no, minute
)
SELECT kind, date_bin('1 day', minute, 'epoch') AS day, sum(n)::bigint AS marks,
       array_agg(ref_no) AS refs, array_agg(minute) AS minutes
FROM numbered
GROUP BY kind, day
ORDER BY day DESC;

-- name: take_marks_before
-- The same for all marks of one kind before a time.
WITH taken AS (
    DELETE FROM rollup_marks WHERE kind = %(kind)s AND minute < %(before)s RETURNING ref_no, minute
), numbered AS (
    SELECT ref_no, minute, count(*) AS n FROM taken GROUP BY ref_no, minute
)
SELECT %(kind)s AS kind, date_bin('1 day', minute, 'epoch') AS day, sum(n)::bigint AS marks,
       array_agg(ref_no) AS refs, array_agg(minute) AS minutes
FROM numbered
GROUP BY day
ORDER BY day DESC;

-- name: dropped_before
-- Up to when the raw rows that rollups are made of were dropped, by kind of mark.
SELECT CASE table_name WHEN 'count_events' THEN 'count' ELSE 'coverage' END AS kind, dropped_before
FROM timeseries
WHERE table_name IN ('count_events', 'frame_metadata');

-- name: changed_counts
-- What the marked minutes of one day lack, from their raw rows. Followed by `add_counts`.
-- The laterals make the planner look each minute up, whatever it believes of the tables' sizes.
WITH marked AS (
    SELECT * FROM unnest(%(refs)s::integer[], %(minutes)s::timestamptz[]) AS m (source_no, minute)
), fresh AS (
    SELECT m.source_no, m.minute, e.cls, e.direction, e.n, e.n_inferred
    FROM marked m
    CROSS JOIN LATERAL (
        SELECT cls, direction, count(*) AS n, count(*) FILTER (WHERE inferred) AS n_inferred
        FROM count_events
        WHERE source_no = m.source_no
          AND at >= m.minute AND at < m.minute + interval '1 minute'
          AND at >= %(day)s::timestamptz AND at < %(day)s::timestamptz + interval '1 day'
        GROUP BY cls, direction
    ) e
), known AS (
    SELECT m.source_no, m.minute, r.cls, r.direction, r.n, r.n_inferred
    FROM marked m
    CROSS JOIN LATERAL (
        SELECT cls, direction, n, n_inferred
        FROM count_rollups
        WHERE source_no = m.source_no AND step_s = 60 AND bucket = m.minute
          AND bucket >= %(day)s::timestamptz AND bucket < %(day)s::timestamptz + interval '1 day'
        OFFSET 0
    ) r
), change AS (
    SELECT source_no, minute, cls, direction,
           coalesce(f.n, 0) - coalesce(k.n, 0) AS n,
           coalesce(f.n_inferred, 0) - coalesce(k.n_inferred, 0) AS n_inferred
    FROM fresh f
    FULL JOIN known k USING (source_no, minute, cls, direction)
    WHERE (f.n, f.n_inferred) IS DISTINCT FROM (k.n, k.n_inferred)
)

-- name: late_counts
-- Rows that came for a time whose raw rows were dropped: they are added to what is there, and dropped like the
-- others. Followed by `add_counts`.
WITH marked AS (
    SELECT * FROM unnest(%(refs)s::integer[], %(minutes)s::timestamptz[]) AS m (source_no, minute)
), late AS (
    DELETE FROM count_events e
    USING marked m
    WHERE e.source_no = m.source_no
      AND e.at >= m.minute AND e.at < m.minute + interval '1 minute'
      AND e.at >= %(day)s::timestamptz AND e.at < %(day)s::timestamptz + interval '1 day'
    RETURNING e.stream_no, e.source_no, m.minute, e.cls, e.direction, e.inferred
), noted AS (
    INSERT INTO expired_rows AS x (stream_no, table_name, n)
    SELECT stream_no, 'count_events', count(*) FROM late GROUP BY stream_no
    ON CONFLICT (stream_no, table_name) DO UPDATE SET n = x.n + excluded.n
), change AS (
    SELECT source_no, minute, cls, direction, count(*) AS n, count(*) FILTER (WHERE inferred) AS n_inferred
    FROM late
    GROUP BY source_no, minute, cls, direction
)

-- name: add_counts
-- Adds `change` to every step, in the time zone of the source's junction.
, zones AS (
    SELECT z.no AS source_no, coalesce(j.timezone, 'UTC') AS zone
    FROM counting_zones z
    JOIN edge_devices d ON d.id = z.device_id
    LEFT JOIN junctions j ON j.id = d.junction_id
), stepped AS (
    SELECT c.source_no, s.step_s, bucket_start(c.minute, s.step_s, z.zone) AS bucket, c.cls, c.direction,
           sum(c.n) AS n, sum(c.n_inferred) AS n_inferred
    FROM change c
    JOIN zones z USING (source_no)
    CROSS JOIN (VALUES (60), (900), (3600), (86400)) AS s (step_s)
    GROUP BY 1, 2, 3, 4, 5
)
INSERT INTO count_rollups AS r (source_no, step_s, bucket, cls, direction, n, n_inferred)
SELECT source_no, step_s, bucket, cls, direction, n, n_inferred FROM stepped
-- In the order of the index: all steps of a source lie side by side.
ORDER BY source_no, step_s, bucket
ON CONFLICT (source_no, step_s, bucket, cls, direction)
DO UPDATE SET n = r.n + excluded.n, n_inferred = r.n_inferred + excluded.n_inferred;

-- name: changed_coverage
-- What the marked minutes of one day lack: a block's measured time is spread evenly over the time it spans, of
-- which the last hour counts. Followed by `add_coverage`.
WITH marked AS (
    SELECT * FROM unnest(%(refs)s::integer[], %(minutes)s::timestamptz[]) AS m (camera_no, minute)
), change AS (
    SELECT m.camera_no, m.minute, f.measured_ms - coalesce(k.measured_ms, 0) AS measured_ms
    FROM marked m
    CROSS JOIN LATERAL (
        SELECT least(60000, round(coalesce(sum(measured_share_ms(at, span_ms, measured_ms, m.minute)), 0)))::bigint
               AS measured_ms
        FROM frame_metadata
        WHERE camera_no = m.camera_no
          AND at > m.minute AND at < m.minute + interval '61 minutes'
          AND at > %(day)s::timestamptz AND at < %(day)s::timestamptz + interval '25 hours'
    ) f
    LEFT JOIN LATERAL (
        SELECT measured_ms FROM coverage_rollups
        WHERE camera_no = m.camera_no AND step_s = 60 AND bucket = m.minute
          AND bucket >= %(day)s::timestamptz AND bucket < %(day)s::timestamptz + interval '1 day'
        OFFSET 0
    ) k ON true
    WHERE f.measured_ms <> coalesce(k.measured_ms, 0)
)

-- name: late_coverage
-- Blocks that came for a time whose raw rows were dropped. Each is added to all the minutes it spans, whichever of
-- them was marked, and dropped. Followed by `add_coverage`.
WITH marked AS (
    SELECT * FROM unnest(%(refs)s::integer[], %(minutes)s::timestamptz[]) AS m (camera_no, minute)
), late AS (
    DELETE FROM frame_metadata f
    USING marked m
    WHERE f.camera_no = m.camera_no
      AND f.at > m.minute AND f.at < m.minute + interval '61 minutes'
      AND f.at > %(day)s::timestamptz AND f.at < %(dropped_before)s::timestamptz
      AND measured_share_ms(f.at, f.span_ms, f.measured_ms, m.minute) IS NOT NULL
    RETURNING f.stream_no, f.camera_no, f.seq, f.at, f.span_ms, f.measured_ms
), noted AS (
    INSERT INTO expired_rows AS x (stream_no, table_name, n)
    SELECT stream_no, 'frame_metadata', count(*) FROM late GROUP BY stream_no
    ON CONFLICT (stream_no, table_name) DO UPDATE SET n = x.n + excluded.n
), spread AS (
    SELECT camera_no, minute, coalesce(sum(measured_share_ms(at, span_ms, measured_ms, minute)), 0) AS measured_ms
    FROM late
    CROSS JOIN LATERAL generate_series(
        date_bin('1 minute', at - make_interval(secs => least(span_ms, 3600000) / 1000.0), 'epoch'),
        at - interval '1 microsecond', interval '1 minute') AS minute
    GROUP BY camera_no, minute
), change AS (
    SELECT s.camera_no, s.minute,
           least(60000 - coalesce(k.measured_ms, 0), round(s.measured_ms))::bigint AS measured_ms
    FROM spread s
    LEFT JOIN coverage_rollups k ON k.camera_no = s.camera_no AND k.step_s = 60 AND k.bucket = s.minute
)

-- name: add_coverage
-- Adds `change` to every step, in the time zone of the camera's junction.
, zones AS (
    SELECT c.no AS camera_no, coalesce(j.timezone, 'UTC') AS zone
    FROM cameras c
    JOIN edge_devices d ON d.id = c.device_id
    LEFT JOIN junctions j ON j.id = d.junction_id
), stepped AS (
    SELECT c.camera_no, s.step_s, bucket_start(c.minute, s.step_s, z.zone) AS bucket, sum(c.measured_ms) AS measured_ms
    FROM change c
    JOIN zones z USING (camera_no)
    CROSS JOIN (VALUES (60), (900), (3600), (86400)) AS s (step_s)
    GROUP BY 1, 2, 3
)
INSERT INTO coverage_rollups AS r (camera_no, step_s, bucket, measured_ms)
SELECT camera_no, step_s, bucket, measured_ms FROM stepped
ORDER BY camera_no, step_s, bucket
ON CONFLICT (camera_no, step_s, bucket) DO UPDATE SET measured_ms = r.measured_ms + excluded.measured_ms;

-- name: vacuum_marks
-- Gives the room of taken marks back at once: at a city's rate, autovacuum would let the table grow.
VACUUM (SKIP_LOCKED) rollup_marks;

-- name: pending_marks
-- How many marks wait, up to a bound.
SELECT count(*) FROM (SELECT FROM rollup_marks LIMIT %(bound)s) AS waiting;

-- name: marks_behind
-- How many of the oldest marks, up to a bound, are of minutes that should have been rolled up by now. In a city so many
-- wait at any time for their minute to be over.
SELECT count(*) FROM (SELECT minute FROM rollup_marks ORDER BY id LIMIT %(bound)s) AS oldest
WHERE minute < now() - interval '3 minutes';
