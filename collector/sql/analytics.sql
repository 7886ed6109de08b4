-- What all questions about one junction begin with.

-- name: settings
-- Much is sorted, and a plan for one question is not worth being compiled. For this transaction only.
SELECT set_config('work_mem', '64MB', true), set_config('jit', 'off', true)

-- name: junction
SELECT id, name, timezone, coalesce(metadata #>> '{lights,description}', wanted::text) AS description, now() AS as_of
FROM junctions WHERE id = %(junction)s

-- What was asked, in whole buckets of the junction's zone. A date as the end is still in it; noon is the one hour
-- of a day that there is once, wherever the clocks change. By default it is the week of days that ends with `to`.
-- name: period
WITH asked AS (
    SELECT coalesce(%(to_at)s::timestamptz,
                    bucket_start((%(to_date)s::date + 1 + time '12:00') AT TIME ZONE %(zone)s, 86400, %(zone)s),
                    now()) AS until
), bounds AS (
    SELECT until, coalesce(
        %(from_at)s::timestamptz,
        bucket_start((%(from_date)s::date + time '12:00') AT TIME ZONE %(zone)s, 86400, %(zone)s),
        bucket_start((((until - interval '1 microsecond') AT TIME ZONE %(zone)s)::date - 6 + time '12:00')
                     AT TIME ZONE %(zone)s, 86400, %(zone)s)) AS start
    FROM asked
)
SELECT start AS asked_from, until AS asked_to, bucket_start(start, %(step_s)s, %(zone)s) AS start,
       (SELECT min(bucket) FROM (
            SELECT bucket_start(at, %(step_s)s, %(zone)s) AS bucket
            FROM generate_series(until, until + make_interval(secs => %(step_s)s) + interval '2 hours',
                                 make_interval(secs => CASE %(step_s)s WHEN 86400 THEN 3600 ELSE 900 END)) AS at
        ) AS starts WHERE bucket >= until) AS until
FROM bounds

-- Whatever counts at a junction.
-- name: sources
SELECT z.no, z.name, z.sensor, z.via, z.kind, c.no AS camera_no, z.in_force
FROM counting_zones z
JOIN edge_devices d ON d.id = z.device_id
LEFT JOIN cameras c ON c.id = z.camera_id
WHERE d.junction_id = %(junction)s AND z.via IN ('camera', 'rfid')
ORDER BY z.no

-- Which of some cameras measured in the period, or in the five weeks before it: they are expected to measure.
-- name: expected_cameras
SELECT no
FROM unnest(%(cameras)s::integer[]) AS camera (no)
WHERE EXISTS (
    SELECT FROM coverage_rollups
    WHERE camera_no = no AND step_s = 86400 AND measured_ms > 0
      AND bucket >= %(low)s::timestamptz - interval '35 days' AND bucket < %(high)s)
ORDER BY no
