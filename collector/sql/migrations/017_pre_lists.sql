-- Lists of a whole city: what junctions counted today is kept by whoever stores it, minutes that wait to be rolled up
-- included; and who may see what is looked up by statements that a session plans once.

-- What takes long where there is much comes first, while counts are still stored. Batches with logs wait meanwhile.

-- When the line was told that has so many after it before a time. It tells how dense the log is: where to begin to
-- look for the newest lines of few who tell among very many.
CREATE FUNCTION log_time_before(until timestamptz, lines integer) RETURNS timestamptz
LANGUAGE plpgsql STABLE PARALLEL SAFE SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
    RETURN (SELECT at FROM system_logs WHERE at < until ORDER BY at DESC OFFSET lines LIMIT 1);
END $$;

-- Lines are found by a part of their text where the server has what it takes; else they are looked through.
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_available_extensions WHERE name = 'pg_trgm') THEN
        CREATE EXTENSION IF NOT EXISTS pg_trgm;
        CREATE INDEX system_logs_message ON system_logs USING gin (message gin_trgm_ops);
    ELSE
        RAISE NOTICE 'the extension pg_trgm is not there: logs are searched for a text without an index';
    END IF;
EXCEPTION
    WHEN insufficient_privilege OR undefined_object THEN
        RAISE NOTICE 'the extension pg_trgm cannot be used here: logs are searched for a text without an index';
END $$;

-- Devices and junctions are found by one or two letters of their names as well, and junctions by more.
CREATE FUNCTION short_pieces(name text) RETURNS text[]
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT array_agg(DISTINCT substr(lower(name), n, size))
    FROM generate_series(1, length(name)) AS n, generate_series(1, 2) AS size
$$;
CREATE INDEX edge_devices_short_pieces ON edge_devices USING gin (short_pieces(name));
CREATE INDEX junctions_short_pieces ON junctions USING gin (short_pieces(name));
CREATE INDEX junctions_pieces ON junctions USING gin (name_pieces(name));
CREATE INDEX edge_devices_status ON edge_devices (status, name, id);

-- Who sees what. What is written in plpgsql is planned once in a session, and not for each table of each query.
CREATE OR REPLACE FUNCTION sees_all() RETURNS boolean
LANGUAGE plpgsql STABLE PARALLEL SAFE SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
    RETURN EXISTS (
        SELECT FROM users
        WHERE id = app_user() AND status = 'active' AND (role = 'admin' OR all_junctions)
    );
END $$;
CREATE OR REPLACE FUNCTION seen_junctions() RETURNS SETOF uuid
LANGUAGE plpgsql STABLE PARALLEL SAFE SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
    RETURN QUERY SELECT a.junction_id
    FROM user_junction_access a JOIN users u ON u.id = a.user_id
    WHERE a.user_id = app_user() AND u.status = 'active';
END $$;
CREATE OR REPLACE FUNCTION seen_devices() RETURNS SETOF uuid
LANGUAGE plpgsql STABLE PARALLEL SAFE SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
    RETURN QUERY SELECT unnest(device_ids) FROM junction_parts WHERE junction_id = ANY (ARRAY(SELECT seen_junctions()));
END $$;
CREATE OR REPLACE FUNCTION stream_ranges() RETURNS int4multirange
LANGUAGE plpgsql STABLE PARALLEL SAFE SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
    RETURN coalesce(range_agg(stream_nos), '{}')
    FROM junction_parts WHERE junction_id = ANY (ARRAY(SELECT seen_junctions()));
END $$;
CREATE OR REPLACE FUNCTION source_ranges() RETURNS int4multirange
LANGUAGE plpgsql STABLE PARALLEL SAFE SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
    RETURN coalesce(range_agg(source_nos), '{}')
    FROM junction_parts WHERE junction_id = ANY (ARRAY(SELECT seen_junctions()));
END $$;
CREATE OR REPLACE FUNCTION camera_ranges() RETURNS int4multirange
LANGUAGE plpgsql STABLE PARALLEL SAFE SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
    RETURN coalesce(range_agg(camera_nos), '{}')
    FROM junction_parts WHERE junction_id = ANY (ARRAY(SELECT seen_junctions()));
END $$;

-- What is stored of counts since a day began there, of today and what is near, but for turns, which were counted at
-- their lines, and the simulator's truth. `bucket`: when the day begins; `timezone`: the junction's.
CREATE TABLE junction_counts (
    junction_id uuid NOT NULL REFERENCES junctions ON DELETE CASCADE,
    bucket      timestamptz NOT NULL,
    timezone    text NOT NULL,
    n_camera    bigint NOT NULL DEFAULT 0,
    n_other     bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (junction_id, bucket)
-- No index of what changes with every batch: rows are updated in place.
) WITH (fillfactor = 50);
SELECT guard_rows('junction_counts', 'junction_id IN (SELECT seen_junctions())');

-- What devices stored, by the days of a junction.
CREATE FUNCTION counts_of_devices(devices uuid[], zone text)
RETURNS TABLE (bucket timestamptz, n_camera bigint, n_other bigint)
LANGUAGE sql STABLE AS $$
    SELECT bucket_start(x.at, 86400, zone), coalesce(sum(x.n) FILTER (WHERE x.via = 'camera'), 0)::bigint,
           coalesce(sum(x.n) FILTER (WHERE x.via <> 'camera'), 0)::bigint
    FROM (
        SELECT z.via, date_bin('15 minutes', e.at, 'epoch') AS at, count(*) AS n
        FROM counting_zones z JOIN count_events e ON e.source_no = z.no
        WHERE z.device_id = ANY (devices) AND z.via NOT IN ('truth', 'turn', 'unpaired')
          AND e.at >= now() - interval '26 hours'
        GROUP BY 1, 2
    ) x
    WHERE bucket_start(x.at, 86400, zone) >= now() - interval '26 hours'
    GROUP BY 1
$$;

-- Nobody stores something of the devices of these junctions meanwhile: the caller sees to that.
CREATE FUNCTION keep_counts(changed uuid[]) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM junction_counts WHERE junction_id = ANY (changed);
    INSERT INTO junction_counts (junction_id, bucket, timezone, n_camera, n_other)
    SELECT j.id, c.bucket, j.timezone, c.n_camera, c.n_other
    FROM junctions j
    CROSS JOIN LATERAL counts_of_devices(ARRAY(SELECT id FROM edge_devices WHERE junction_id = j.id), j.timezone) c
    WHERE j.id = ANY (changed);
END $$;

-- A device takes what it counted along. Others add to the same rows at the same moment: so does this.
CREATE FUNCTION move_counts(device uuid, junction uuid, sign integer) RETURNS void
LANGUAGE sql AS $$
    INSERT INTO junction_counts AS k (junction_id, bucket, timezone, n_camera, n_other)
    SELECT j.id, c.bucket, j.timezone, sign * c.n_camera, sign * c.n_other
    FROM junctions j CROSS JOIN LATERAL counts_of_devices(ARRAY[device], j.timezone) c
    WHERE j.id = junction
    ORDER BY c.bucket
    ON CONFLICT (junction_id, bucket) DO UPDATE
    SET n_camera = k.n_camera + excluded.n_camera, n_other = k.n_other + excluded.n_other
$$;

CREATE FUNCTION counts_moved() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    -- Always in the order of junctions.
    IF OLD.junction_id < NEW.junction_id THEN
        PERFORM move_counts(NEW.id, OLD.junction_id, -1), move_counts(NEW.id, NEW.junction_id, 1);
    ELSE
        PERFORM move_counts(NEW.id, NEW.junction_id, 1), move_counts(NEW.id, OLD.junction_id, -1);
    END IF;
    RETURN NULL;
END $$;

-- Each name is looked up: a plan that was made for the first such statement of a session serves all others.
CREATE FUNCTION counts_stored() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    -- None of the devices moves to another junction before this is committed.
    PERFORM FROM edge_devices
    WHERE id = ANY (ARRAY(
        SELECT z.device_id
        FROM (SELECT DISTINCT source_no FROM after_rows WHERE at >= now() - interval '26 hours') s
        CROSS JOIN LATERAL (SELECT device_id FROM counting_zones WHERE no = s.source_no OFFSET 0) z
    ))
    ORDER BY id
    FOR SHARE;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    INSERT INTO junction_counts AS k (junction_id, bucket, timezone, n_camera, n_other)
    SELECT j.id, b.bucket, j.timezone,
           coalesce(sum(x.n) FILTER (WHERE z.via = 'camera'), 0),
           coalesce(sum(x.n) FILTER (WHERE z.via <> 'camera'), 0)
    FROM (
        SELECT source_no, date_bin('15 minutes', at, 'epoch') AS at, count(*) AS n
        FROM after_rows WHERE at >= now() - interval '26 hours' GROUP BY 1, 2
    ) x
    CROSS JOIN LATERAL (SELECT device_id, via FROM counting_zones WHERE no = x.source_no OFFSET 0) z
    CROSS JOIN LATERAL (SELECT junction_id FROM edge_devices WHERE id = z.device_id OFFSET 0) d
    CROSS JOIN LATERAL (SELECT id, timezone FROM junctions WHERE id = d.junction_id OFFSET 0) j
    CROSS JOIN LATERAL (SELECT bucket_start(x.at, 86400, j.timezone) AS bucket) b
    WHERE z.via NOT IN ('truth', 'turn', 'unpaired') AND b.bucket >= now() - interval '26 hours'
    GROUP BY j.id, b.bucket, j.timezone
    ORDER BY j.id, b.bucket
    ON CONFLICT (junction_id, bucket) DO UPDATE
    SET n_camera = k.n_camera + excluded.n_camera, n_other = k.n_other + excluded.n_other;
    RETURN NULL;
END $$;

-- From here on nobody stores counts until this is committed.
CREATE TRIGGER kept_on_insert AFTER INSERT ON count_events
    REFERENCING NEW TABLE AS after_rows FOR EACH STATEMENT EXECUTE FUNCTION counts_stored();
CREATE TRIGGER counts_kept AFTER UPDATE OF junction_id ON edge_devices
    FOR EACH ROW WHEN (OLD.junction_id IS DISTINCT FROM NEW.junction_id) EXECUTE FUNCTION counts_moved();

CREATE OR REPLACE FUNCTION timezone_changed() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(1398034257);
    UPDATE junction_days SET timezone = NEW.timezone WHERE junction_id = NEW.id;
    PERFORM FROM edge_devices WHERE junction_id = NEW.id ORDER BY id FOR NO KEY UPDATE;
    PERFORM keep_counts(ARRAY[NEW.id]);
    RETURN NULL;
END $$;

CREATE OR REPLACE FUNCTION coverage_rolled_up() RETURNS trigger
LANGUAGE plpgsql AS $$
DECLARE
    cameras integer[];
    buckets timestamptz[];
    spans_ms bigint[];
BEGIN
    IF TG_OP = 'INSERT' THEN
        SELECT array_agg(camera_no), array_agg(bucket), array_agg(measured_ms) INTO cameras, buckets, spans_ms
        FROM after_rows WHERE step_s = 86400 AND bucket >= now() - interval '26 hours';
    ELSE
        SELECT array_agg(camera_no), array_agg(bucket), array_agg(ms) INTO cameras, buckets, spans_ms
        FROM (
            SELECT camera_no, bucket, measured_ms AS ms FROM after_rows WHERE step_s = 86400
            UNION ALL
            SELECT camera_no, bucket, -measured_ms FROM before_rows WHERE step_s = 86400
        ) x
        WHERE bucket >= now() - interval '26 hours';
    END IF;
    IF cameras IS NOT NULL THEN
        PERFORM add_coverage_to_days(cameras, buckets, spans_ms);
    END IF;
    -- Days that no list asks for any more, and that nobody adds to.
    DELETE FROM junction_days WHERE bucket < now() - interval '26 hours';
    DELETE FROM junction_counts WHERE bucket < now() - interval '27 hours';
    RETURN NULL;
END $$;

SELECT keep_counts(ARRAY(SELECT id FROM junctions));

-- When a stream was last heard, in steps of a minute. In steps of five, those that were heard just now looked for a
-- minute of each five as if they might be silent.
ALTER TABLE ingest_streams DROP COLUMN heard_in;
ALTER TABLE ingest_streams ADD COLUMN
    heard_in timestamptz GENERATED ALWAYS AS (date_bin('1 minute', last_received_at, 'epoch')) STORED;
CREATE INDEX ingest_streams_heard ON ingest_streams (heard_in, device_id);
