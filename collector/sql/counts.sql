-- Counts over time. All statements of one answer run in one transaction that sees one moment.
--
-- A minute with a mark was not rolled up yet: its raw rows are counted instead. As rows, marks and rollups change
-- together, the sum is exact at every moment. Rows of a time whose raw rows were dropped are only added.
-- Buckets are told in Unix seconds: answers may have 100,000 rows, and numbers are the quickest keys.

-- name: moment
SELECT now();

-- name: sources
-- The sources that fit all filters that are given; a name or an id each.
SELECT z.no, z.id, z.name, z.via, z.kind, z.sensor, c.id AS camera_id, c.no AS camera_no, c.name AS camera_name,
       z.in_force, d.id AS device_id, d.name AS device_name,
       j.id AS junction_id, j.name AS junction_name, coalesce(j.timezone, 'UTC') AS timezone
FROM counting_zones z
JOIN edge_devices d ON d.id = z.device_id
LEFT JOIN junctions j ON j.id = d.junction_id
LEFT JOIN cameras c ON c.id = z.camera_id
WHERE (%(sources)s::text[] IS NULL OR z.name = ANY (%(sources)s::text[]) OR z.id::text = ANY (%(sources)s::text[]))
  AND (%(junctions)s::text[] IS NULL OR j.name = ANY (%(junctions)s::text[])
       OR j.id::text = ANY (%(junctions)s::text[]))
  AND (%(via)s::text[] IS NULL OR z.via = ANY (%(via)s::text[]))
ORDER BY j.name NULLS LAST, d.name, z.sensor, z.name, z.via, z.id
LIMIT %(limit)s OFFSET %(offset)s;

-- name: buckets
-- The starts of the buckets of a zone from the one that `from` lies in, and after the last one the end of that.
-- Hours are found by quarters and days by hours, so that whatever the clocks do there, none is left out.
WITH probes AS (
    SELECT generate_series(
        bucket_start(%(from)s, %(step_s)s, %(zone)s), %(to)s + make_interval(secs => %(step_s)s) + interval '2 hours',
        make_interval(secs => CASE %(step_s)s WHEN 86400 THEN 3600 WHEN 3600 THEN 900 ELSE %(step_s)s END)) AS at
), starts AS (
    SELECT DISTINCT bucket_start(at, %(step_s)s, %(zone)s) AS bucket FROM probes
)
SELECT bucket FROM starts
WHERE bucket < coalesce((SELECT min(bucket) FROM starts WHERE bucket >= %(to)s), 'infinity')
   OR bucket = (SELECT min(bucket) FROM starts WHERE bucket >= %(to)s)
ORDER BY bucket;

-- name: pending
-- How many minutes of these sources and cameras wait to be rolled up, up to a bound.
SELECT count(*) FROM (
    SELECT DISTINCT kind, ref_no, minute FROM rollup_marks
    WHERE minute >= %(low)s AND minute < %(high)s
      AND (kind = 'count' AND ref_no = ANY (%(sources)s::integer[])
           OR kind = 'coverage' AND ref_no = ANY (%(cameras)s::integer[]))
    LIMIT %(bound)s) AS marked;

-- name: rolled_counts
-- Counts by source, bucket, class and direction, from the rollups alone.
SELECT source_no, extract(epoch FROM bucket)::bigint AS bucket_s, cls, direction, n, n_inferred
FROM count_rollups
WHERE source_no = ANY (%(sources)s::integer[]) AND step_s = %(step_s)s
  AND bucket >= %(low)s AND bucket < %(high)s
  AND (%(classes)s::text[] IS NULL OR cls = ANY (%(classes)s::text[]))
  AND (%(directions)s::text[] IS NULL OR direction = ANY (%(directions)s::text[]));

-- name: live_counts
-- What is to be added to `rolled_counts` for minutes that wait: their raw rows, less what was rolled up of them.
WITH zones AS (
    SELECT * FROM unnest(%(sources)s::integer[], %(zones)s::text[]) AS z (source_no, zone)
), marked AS (
    SELECT DISTINCT m.ref_no AS source_no, m.minute,
           m.minute < (SELECT dropped_before FROM timeseries WHERE table_name = 'count_events') AS late
    FROM rollup_marks m
    WHERE m.kind = 'count' AND m.ref_no = ANY (%(sources)s::integer[])
      AND m.minute >= %(low)s AND m.minute < %(high)s
), change AS (
    SELECT m.source_no, m.minute, e.cls, e.direction, e.n, e.n_inferred
    FROM marked m
    CROSS JOIN LATERAL (
        SELECT cls, direction, count(*) AS n, count(*) FILTER (WHERE inferred) AS n_inferred
        FROM count_events
        WHERE source_no = m.source_no AND at >= m.minute AND at < m.minute + interval '1 minute'
          AND at >= %(low)s AND at < %(high)s::timestamptz + interval '1 minute'
        GROUP BY cls, direction
    ) e
    UNION ALL
    SELECT m.source_no, m.minute, r.cls, r.direction, -r.n, -r.n_inferred
    FROM marked m
    JOIN count_rollups r ON r.source_no = m.source_no AND r.step_s = 60 AND r.bucket = m.minute
    WHERE NOT m.late AND r.bucket >= %(low)s AND r.bucket < %(high)s
)
SELECT source_no, extract(epoch FROM bucket_start(minute, %(step_s)s, zone))::bigint AS bucket_s, cls, direction,
       sum(n)::bigint AS n, sum(n_inferred)::bigint AS n_inferred
FROM change JOIN zones USING (source_no)
WHERE (%(classes)s::text[] IS NULL OR cls = ANY (%(classes)s::text[]))
  AND (%(directions)s::text[] IS NULL OR direction = ANY (%(directions)s::text[]))
GROUP BY 1, 2, 3, 4
HAVING sum(n) <> 0 OR sum(n_inferred) <> 0;

-- name: rolled_coverage
SELECT camera_no, extract(epoch FROM bucket)::bigint AS bucket_s, measured_ms
FROM coverage_rollups
WHERE camera_no = ANY (%(cameras)s::integer[]) AND step_s = %(step_s)s
  AND bucket >= %(low)s AND bucket < %(high)s;

-- name: coverage_minutes
-- The minutes of some buckets of cameras, from the rollups alone.
SELECT a.camera_no, extract(epoch FROM r.bucket)::bigint AS minute_s, r.measured_ms
FROM unnest(%(cameras)s::integer[], %(starts)s::timestamptz[], %(ends)s::timestamptz[]) AS a (camera_no, start, until)
CROSS JOIN LATERAL (
    SELECT bucket, measured_ms FROM coverage_rollups
    WHERE camera_no = a.camera_no AND step_s = 60 AND bucket >= a.start AND bucket < a.until
      AND bucket >= %(low)s AND bucket < %(high)s
    OFFSET 0
) r;

-- name: live_coverage
-- What is to be added for minutes that wait to what was rolled up of them.
WITH marked AS (
    SELECT DISTINCT m.ref_no AS camera_no, m.minute
    FROM rollup_marks m
    WHERE m.kind = 'coverage' AND m.ref_no = ANY (%(cameras)s::integer[])
      AND m.minute >= %(low)s AND m.minute < %(high)s
      AND m.minute >= (SELECT dropped_before FROM timeseries WHERE table_name = 'frame_metadata')
)
SELECT m.camera_no, extract(epoch FROM m.minute)::bigint AS minute_s, f.measured_ms - coalesce(k.measured_ms, 0)
FROM marked m
CROSS JOIN LATERAL (
    SELECT least(60000, round(coalesce(sum(measured_share_ms(at, span_ms, measured_ms, m.minute)), 0)))::bigint
           AS measured_ms
    FROM frame_metadata
    WHERE camera_no = m.camera_no AND at > m.minute AND at < m.minute + interval '61 minutes'
      AND at > %(low)s AND at < %(high)s::timestamptz + interval '61 minutes'
) f
LEFT JOIN coverage_rollups k ON k.camera_no = m.camera_no AND k.step_s = 60 AND k.bucket = m.minute
                            AND k.bucket >= %(low)s AND k.bucket < %(high)s
WHERE f.measured_ms <> coalesce(k.measured_ms, 0);

-- name: freshness
-- When each device was last heard, and the time of its latest record.
SELECT d.id, max(s.last_received_at) AS received_at, max(s.last_at) AS last_at
FROM edge_devices d
JOIN ingest_streams s ON s.device_id = d.id
WHERE d.id = ANY (%(devices)s::uuid[])
GROUP BY d.id;
