-- Making and changing junctions.

-- Until the transaction ends nobody else edits a junction, by id or by name; days may be made of it. By itself: a
-- statement that has waited for others does not see all that they did, as where they put it.
-- name: lock
SELECT id FROM junctions
WHERE id = %(id)s::uuid OR (%(id)s::uuid IS NULL AND name = %(name)s)
FOR NO KEY UPDATE

-- What is known of it.
-- name: current
SELECT j.id, j.name, j.timezone, l.name AS location_name, l.latitude, l.longitude, l.address, j.location_id,
       j.wanted::text AS wanted, j.wanted_devices, j.metadata - 'lights' AS metadata,
       EXISTS (
           SELECT FROM edge_devices d JOIN counting_zones z ON z.device_id = d.id WHERE d.junction_id = j.id
           UNION ALL
           SELECT FROM edge_devices d JOIN cameras c ON c.device_id = d.id WHERE d.junction_id = j.id
       ) AS has_counted
FROM junctions j
LEFT JOIN locations l ON l.id = j.location_id
WHERE j.id = %(id)s

-- Whether a junction gets another time zone, or devices.
-- name: needs_days
SELECT EXISTS (
           SELECT FROM junctions
           WHERE (id = %(id)s::uuid OR (%(id)s::uuid IS NULL AND name = %(name)s)) AND timezone <> %(timezone)s::text
       ) OR EXISTS (
           SELECT FROM edge_devices
           WHERE (name = ANY (%(devices)s::text[]) OR id::text = ANY (%(devices)s::text[])) AND junction_id IS NULL
       )

-- Until the end of the transaction nobody rolls up, makes days or hours, or drops what they are made from.
-- name: hold_days
SELECT pg_advisory_xact_lock(1398034257), pg_advisory_xact_lock(1398034258), pg_advisory_xact_lock(1398034259),
       ARRAY(SELECT table_name FROM timeseries ORDER BY table_name FOR SHARE)

-- Whether days or hours were kept that another zone does not have, and that cannot be made anew: what they were made
-- from was dropped.
-- name: is_lost_in
SELECT EXISTS (
           SELECT FROM junction_daily_stats
           WHERE junction_id = %(id)s AND starts_at < dropped_for(86400) + interval '1 day'
             AND (cycles IS NOT NULL OR by_class <> '{}') AND NOT is_bucket(starts_at, ends_at, 86400, %(timezone)s)
       ) OR EXISTS (
           SELECT FROM junction_hourly_stats
           WHERE junction_id = %(id)s AND starts_at < dropped_for(3600) + interval '1 hour'
             AND NOT is_bucket(starts_at, ends_at, 3600, %(timezone)s)
       )

-- Nothing comes back where there is one of that name.
-- name: create
INSERT INTO junctions (name, timezone) VALUES (%(name)s, %(timezone)s) ON CONFLICT (name) DO NOTHING
RETURNING id

-- A description that a later release has written, and that cannot be read here, stays.
-- name: change
UPDATE junctions
SET name = %(name)s, timezone = %(timezone)s, wanted = coalesce(%(wanted)s::jsonb, wanted), wanted_devices = %(devices)s,
    metadata = %(metadata)s::jsonb || CASE WHEN metadata ? 'lights'
        THEN jsonb_build_object('lights', metadata -> 'lights') ELSE '{}' END
WHERE id = %(id)s

-- A place of its own for a junction: where it shares one, the others keep it as it is.
-- name: place
WITH own AS (
    UPDATE locations l
    SET name = %(name)s, latitude = %(latitude)s, longitude = %(longitude)s, address = %(address)s
    FROM junctions j
    WHERE j.id = %(id)s AND l.id = j.location_id
      AND NOT EXISTS (SELECT FROM junctions o WHERE o.location_id = l.id AND o.id <> j.id)
      AND NOT EXISTS (SELECT FROM cameras c WHERE c.location_id = l.id)
    RETURNING l.id
), new AS (
    INSERT INTO locations (name, latitude, longitude, address)
    SELECT %(name)s, %(latitude)s, %(longitude)s, %(address)s WHERE NOT EXISTS (SELECT FROM own)
    RETURNING id
)
UPDATE junctions SET location_id = new.id FROM new WHERE junctions.id = %(id)s

-- name: keep_lanes
SELECT keep_lanes(%(id)s)

-- Those that are meant by names or ids.
-- name: devices
SELECT d.id, d.name, d.status, d.junction_id, j.name AS junction
FROM edge_devices d LEFT JOIN junctions j ON j.id = d.junction_id
WHERE d.name = ANY (%(devices)s::text[]) OR d.id::text = ANY (%(devices)s::text[])
ORDER BY d.created_at, d.id

-- name: device_names
SELECT name FROM edge_devices WHERE junction_id IS NULL ORDER BY name LIMIT 1000

-- In the order in which ingest locks them.
-- name: stand_there
UPDATE edge_devices SET junction_id = %(id)s
FROM (
    SELECT id FROM edge_devices WHERE id = ANY (%(devices)s::uuid[]) AND junction_id IS NULL
    ORDER BY id FOR NO KEY UPDATE
) those
WHERE edge_devices.id = those.id

-- Until the transaction ends nothing comes to belong to a junction.
-- name: lock_whole
SELECT FROM junctions WHERE id = %(id)s FOR UPDATE

-- How much of what is never deleted belongs to it.
-- name: bound_to
SELECT (SELECT count(*) FROM edge_devices WHERE junction_id = %(id)s) AS devices,
       (SELECT count(*) FROM commands WHERE junction_id = %(id)s) AS orders,
       (SELECT count(*) FROM manual_override_history WHERE junction_id = %(id)s)
           + (SELECT count(*) FROM preemption_history WHERE junction_id = %(id)s)
           + (SELECT count(*) FROM fault_history WHERE junction_id = %(id)s) AS overrides,
       (SELECT count(*) FROM junction_daily_stats WHERE junction_id = %(id)s) AS days

-- name: remove
-- What is kept of it by foreign keys goes along; a place that is of nothing else goes, too.
WITH marks AS (
    DELETE FROM junction_day_marks WHERE junction_id = %(id)s
), hours AS (
    DELETE FROM junction_hour_marks WHERE junction_id = %(id)s
), back AS (
    DELETE FROM junction_hours_back WHERE junction_id = %(id)s
), described AS (
    DELETE FROM lanes WHERE junction_id = %(id)s
), gone AS (
    DELETE FROM junctions WHERE id = %(id)s RETURNING location_id
)
DELETE FROM locations l USING gone
WHERE l.id = gone.location_id
  AND NOT EXISTS (SELECT FROM junctions o WHERE o.location_id = l.id AND o.id <> %(id)s)
  AND NOT EXISTS (SELECT FROM cameras c WHERE c.location_id = l.id)
