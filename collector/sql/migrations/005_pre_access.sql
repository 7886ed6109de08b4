-- Who sees which junctions, and that SQL itself keeps to it.

-- Whoever was a user before sees what they saw before.
ALTER TABLE users ADD COLUMN all_junctions boolean NOT NULL DEFAULT false;
UPDATE users SET all_junctions = true;

-- Which junctions a user sees, beside those that see all: admins, and users with `all_junctions`. To operate one,
-- a user needs the role as well.
CREATE TABLE user_junction_access (
    user_id     uuid NOT NULL REFERENCES users ON DELETE CASCADE,
    junction_id uuid NOT NULL REFERENCES junctions ON DELETE CASCADE,
    level       text NOT NULL CHECK (level IN ('read', 'operate')),
    granted_by  uuid REFERENCES users ON DELETE SET NULL,
    granted_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (user_id, junction_id)
);
CREATE INDEX user_junction_access_junction ON user_junction_access (junction_id);

-- Requests of a user run as this role, with the user in `app.user_id`; it sees what policies let it see. A role is
-- shared by all databases of a server, so another may have made it.
DO $$
DECLARE
    mend text := format('run as an administrator of the server: CREATE ROLE stopline_reader NOLOGIN;'
        ' GRANT stopline_reader TO %I', current_user);
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'stopline_reader') THEN
        CREATE ROLE stopline_reader NOLOGIN;
    END IF;
EXCEPTION
    WHEN duplicate_object OR unique_violation THEN NULL;
    WHEN insufficient_privilege THEN
        RAISE EXCEPTION 'the role stopline_reader is missing, and % may not make it', current_user USING HINT = mend;
END $$;
DO $$
DECLARE
    -- Who makes a role may not always become it.
    becoming text := CASE WHEN current_setting('server_version_num')::int >= 160000 THEN 'SET' ELSE 'MEMBER' END;
BEGIN
    IF NOT pg_has_role(current_user, 'stopline_reader', becoming) THEN
        EXECUTE format('GRANT stopline_reader TO %I', current_user);
    END IF;
EXCEPTION
    WHEN insufficient_privilege THEN
        RAISE EXCEPTION '% may not become the role stopline_reader', current_user
        USING HINT = format('run as an administrator of the server: GRANT stopline_reader TO %I', current_user);
    -- Another database of the server granted it at the same moment.
    WHEN unique_violation OR internal_error THEN
        IF NOT pg_has_role(current_user, 'stopline_reader', becoming) THEN
            RAISE;
        END IF;
END $$;
DO $$
BEGIN
    EXECUTE format('GRANT USAGE ON SCHEMA %I TO stopline_reader', current_schema);
END $$;

-- The user of this transaction; NULL: none was named, and nothing is seen.
CREATE FUNCTION app_user() RETURNS uuid
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT nullif(current_setting('app.user_id', true), '')::uuid
$$;

-- What follows looks into tables that the reader may not see.
CREATE FUNCTION sees_all() RETURNS boolean
LANGUAGE sql STABLE PARALLEL SAFE SECURITY DEFINER SET search_path FROM CURRENT AS $$
    SELECT EXISTS (
        SELECT FROM users
        WHERE id = app_user() AND status = 'active' AND (role = 'admin' OR all_junctions)
    )
$$;

CREATE FUNCTION seen_junctions() RETURNS SETOF uuid
LANGUAGE sql STABLE PARALLEL SAFE SECURITY DEFINER SET search_path FROM CURRENT AS $$
    SELECT a.junction_id
    FROM user_junction_access a JOIN users u ON u.id = a.user_id
    WHERE a.user_id = app_user() AND u.status = 'active'
$$;

CREATE FUNCTION seen_devices() RETURNS SETOF uuid
LANGUAGE sql STABLE PARALLEL SAFE SECURITY DEFINER SET search_path FROM CURRENT AS $$
    SELECT id FROM edge_devices WHERE junction_id IN (SELECT seen_junctions())
$$;

CREATE FUNCTION seen_streams() RETURNS SETOF integer
LANGUAGE sql STABLE PARALLEL SAFE SECURITY DEFINER SET search_path FROM CURRENT AS $$
    SELECT no FROM ingest_streams WHERE device_id IN (SELECT seen_devices())
$$;

CREATE FUNCTION seen_sources() RETURNS SETOF integer
LANGUAGE sql STABLE PARALLEL SAFE SECURITY DEFINER SET search_path FROM CURRENT AS $$
    SELECT no FROM counting_zones WHERE device_id IN (SELECT seen_devices())
$$;

CREATE FUNCTION seen_cameras() RETURNS SETOF integer
LANGUAGE sql STABLE PARALLEL SAFE SECURITY DEFINER SET search_path FROM CURRENT AS $$
    SELECT no FROM cameras WHERE device_id IN (SELECT seen_devices())
$$;

-- TimescaleDB keeps no table in its columnstore whose rows are guarded. What was put there comes back out of it,
-- which takes a while, and room on the disk.
DO $$
DECLARE
    hypertable text;
BEGIN
    IF NOT EXISTS (SELECT FROM pg_extension WHERE extname = 'timescaledb') THEN
        RETURN;
    END IF;
    FOR hypertable IN EXECUTE
        'SELECT hypertable_name FROM timescaledb_information.hypertables
         WHERE hypertable_schema = current_schema AND compression_enabled'
    LOOP
        EXECUTE format('SELECT remove_compression_policy(%L, if_exists => true)', hypertable);
        EXECUTE format('SELECT decompress_chunk(c, true) FROM show_chunks(%L::regclass) AS c', hypertable);
        EXECUTE format('ALTER TABLE %I SET (timescaledb.compress = false)', hypertable);
    END LOOP;
END $$;

-- Lets the reader read all columns of a table; to be called again when one was added. Chunks of a hypertable, which
-- have no policies, take over what is granted of the hypertable as a whole, but not what is granted of its columns.
CREATE FUNCTION grant_reading(table_name text) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    chunk regclass;
BEGIN
    IF (SELECT relkind FROM pg_class WHERE oid = table_name::regclass) = 'p'
       OR NOT EXISTS (SELECT FROM timeseries t WHERE t.table_name = grant_reading.table_name) THEN
        EXECUTE format('GRANT SELECT ON %I TO stopline_reader', table_name);
        RETURN;
    END IF;
    EXECUTE (
        SELECT format('GRANT SELECT (%s) ON %I TO stopline_reader',
            string_agg(quote_ident(attname), ', ' ORDER BY attnum), table_name)
        FROM pg_attribute
        WHERE attrelid = table_name::regclass AND attnum > 0 AND NOT attisdropped);
    FOR chunk IN EXECUTE 'SELECT show_chunks($1::regclass)' USING table_name LOOP
        EXECUTE format('REVOKE SELECT ON %s FROM stopline_reader', chunk);
    END LOOP;
END $$;

-- Lets the reader see of a table the rows for which `condition` holds; users who see all see all of them.
CREATE FUNCTION guard_rows(table_name text, condition text) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', table_name);
    EXECUTE format('CREATE POLICY seen ON %I FOR SELECT TO stopline_reader USING ((SELECT sees_all()) OR (%s))',
        table_name, condition);
    PERFORM grant_reading(table_name);
END $$;

SELECT guard_rows('junctions', 'id IN (SELECT seen_junctions())');
SELECT guard_rows('user_junction_access',
    'user_id = (SELECT app_user()) AND junction_id IN (SELECT seen_junctions())');
SELECT guard_rows('edge_devices', 'id IN (SELECT seen_devices())');
SELECT guard_rows(name, 'device_id IN (SELECT seen_devices())')
FROM unnest(ARRAY['cameras', 'counting_zones', 'ingest_streams']) AS name;
SELECT guard_rows(name, 'stream_no IN (SELECT seen_streams())')
FROM unnest(ARRAY['ingest_rejects', 'ingest_gaps', 'expired_rows', 'count_events', 'zone_occupancy', 'frame_metadata',
    'detections', 'traffic_cycles', 'lane_cycle_data', 'signal_events', 'device_health', 'stream_quality_metrics',
    'system_logs', 'command_results']) AS name;
SELECT guard_rows('count_rollups', 'source_no IN (SELECT seen_sources())');
SELECT guard_rows('coverage_rollups', 'camera_no IN (SELECT seen_cameras())');
SELECT guard_rows('rollup_marks', $$CASE kind WHEN 'count' THEN ref_no IN (SELECT seen_sources())
    ELSE ref_no IN (SELECT seen_cameras()) END$$);
SELECT guard_rows('locations', $$id IN (SELECT location_id FROM junctions UNION SELECT location_id FROM cameras)$$);
GRANT SELECT ON timeseries TO stopline_reader;
