-- How measurements are kept: which edition this is, partitions, and what goes when it is old.

-- name: edition
-- Whether the time series are hypertables, and whether TimescaleDB's licence and version allow for a columnstore.
SELECT (SELECT relkind FROM pg_class WHERE oid = 'count_events'::regclass) <> 'p' AS hypertables,
       current_setting('timescaledb.license', true) = 'timescale'
       AND EXISTS (SELECT FROM pg_proc WHERE proname = 'add_columnstore_policy') AS columnstore;

-- name: versions
-- Which PostgreSQL, and which TimescaleDB if any.
SELECT current_setting('server_version') AS postgresql,
       (SELECT extversion FROM pg_extension WHERE extname = 'timescaledb') AS timescaledb;

-- name: reader
-- Whether requests of users can run as the role that row-level security bounds.
SELECT coalesce(bool_or(pg_has_role(oid, CASE WHEN current_setting('server_version_num')::integer >= 160000
                                              THEN 'SET' ELSE 'MEMBER' END)), false) AS becomes_reader,
       current_user::text AS name
FROM pg_roles WHERE rolname = 'stopline_reader';

-- name: text_index
-- Whether logs are found by a part of their text with an index, and whether the server has what that takes.
SELECT to_regclass('system_logs_message') IS NOT NULL AS is_there,
       EXISTS (SELECT FROM pg_available_extensions WHERE name = 'pg_trgm') AS can_be;

-- name: timeseries
-- All time series, and whether their rows belong to streams.
SELECT t.table_name, t.time_column, t.span, t.fillfactor, t.dropped_before,
       EXISTS (SELECT FROM pg_attribute WHERE attrelid = t.table_name::regclass AND attname = 'stream_no') AS streamed
FROM timeseries t
ORDER BY t.table_name;

-- name: partitions
-- Names of the native partitions of a table, but for the default one.
SELECT c.relname
FROM pg_inherits i
JOIN pg_class c ON c.oid = i.inhrelid
WHERE i.inhparent = %(table)s::regclass AND c.relname <> %(table)s || '_default'
ORDER BY c.relname;

-- name: detached
-- Former partitions of a table whose rows are still to be counted and dropped.
SELECT c.relname
FROM pg_class c
WHERE c.relnamespace = 'parts'::regnamespace AND c.relkind = 'r' AND NOT c.relispartition
  AND c.relname ~ ('^' || %(table)s || '_\d{6,8}$')
ORDER BY c.relname;

-- name: chunks
-- The chunks of a hypertable that lie before a time, oldest first.
SELECT chunk_schema, chunk_name, range_end
FROM timescaledb_information.chunks
WHERE hypertable_name = %(table)s AND hypertable_schema = current_schema() AND range_end <= %(before)s
ORDER BY range_start;

-- name: set_dropped_before
UPDATE timeseries SET dropped_before = greatest(dropped_before, %(before)s) WHERE table_name = %(table)s;

-- name: patience
-- Maintenance rather comes again than lets ingest wait.
SELECT set_config('lock_timeout', %(timeout)s, true);

-- name: forget_minutes
-- Minute rollups before a time, but never of a time whose raw rows are still there: they would be counted again.
DELETE FROM count_rollups
WHERE step_s = 60
  AND bucket < least(%(before)s, (SELECT dropped_before FROM timeseries WHERE table_name = 'count_events'));

-- name: forget_coverage_minutes
DELETE FROM coverage_rollups
WHERE step_s = 60
  AND bucket < least(%(before)s, (SELECT dropped_before FROM timeseries WHERE table_name = 'frame_metadata'));

-- name: claim_duty
-- Takes a duty on if it is due, and sets when it is due again. No row: it is not, or somebody else has it.
INSERT INTO duties AS d (name, due_at) VALUES (%(name)s, now() + make_interval(secs => %(pause_s)s))
ON CONFLICT (name) DO UPDATE SET due_at = excluded.due_at WHERE d.due_at <= now()
RETURNING name;

-- name: postpone_duty
UPDATE duties SET due_at = now() + make_interval(secs => %(pause_s)s) WHERE name = %(name)s;

-- Two megabytes, to be rolled back: whether what is written finds room.
-- name: probe
CREATE TABLE stopline_probe AS SELECT repeat('x', 1000) AS text FROM generate_series(1, 2000)
