-- What a list shows of a junction is kept in one small row each, by triggers, so that a page of thousands of junctions
-- reads no devices, streams or rollups. And who sees what is found by indexes, also of few junctions among very many.

-- Nobody rolls up meanwhile (LOCK_KEY); tables are locked in the order in which ingest locks them.
SELECT pg_advisory_xact_lock(1398034257);

-- Which minutes of a source wait.
CREATE INDEX rollup_marks_counted ON rollup_marks (ref_no, minute) WHERE kind = 'count';

-- Devices that were never heard are found at once.
ALTER TABLE edge_devices ADD COLUMN has_sent boolean NOT NULL DEFAULT true;
ALTER TABLE edge_devices ALTER COLUMN has_sent SET DEFAULT false;
UPDATE edge_devices d SET has_sent = false WHERE NOT EXISTS (SELECT FROM ingest_streams WHERE device_id = d.id);
CREATE INDEX edge_devices_never ON edge_devices (id) WHERE NOT has_sent;

CREATE INDEX system_logs_action ON system_logs (action, at);

-- What stands at a junction. No row: nothing ever did.
CREATE TABLE junction_parts (
    junction_id    uuid PRIMARY KEY REFERENCES junctions ON DELETE CASCADE,
    devices        integer NOT NULL DEFAULT 0,
    -- Of them, those that were not revoked.
    active_devices integer NOT NULL DEFAULT 0,
    cameras        integer NOT NULL DEFAULT 0,
    -- All that count but turns, which were counted at their lines, and the simulator's truth.
    sources        integer NOT NULL DEFAULT 0,
    -- A lane may have a camera and a tag reader: where there are cameras, what they counted is the sum.
    by_camera      boolean NOT NULL DEFAULT false,
    -- The `no` of those that are summed.
    summed         integer[] NOT NULL DEFAULT '{}',
    -- All of its devices, and the `no` of all their streams, sources and cameras: who sees the junction sees these.
    device_ids     uuid[] NOT NULL DEFAULT '{}',
    stream_nos     int4multirange NOT NULL DEFAULT '{}',
    source_nos     int4multirange NOT NULL DEFAULT '{}',
    camera_nos     int4multirange NOT NULL DEFAULT '{}'
);
SELECT guard_rows('junction_parts', 'junction_id IN (SELECT seen_junctions())');

-- When a junction was last heard, and the time of its latest record: the greatest of its devices' streams. NULL, or no
-- row: never.
CREATE TABLE junction_heard (
    junction_id uuid PRIMARY KEY REFERENCES junctions ON DELETE CASCADE,
    received_at timestamptz,
    last_at     timestamptz
) WITH (fillfactor = 50);
SELECT guard_rows('junction_heard', 'junction_id IN (SELECT seen_junctions())');

-- What the rollups of a day add up to, of today and what is near. `bucket`: when the day begins; `timezone`: the
-- junction's.
CREATE TABLE junction_days (
    bucket      timestamptz NOT NULL,
    junction_id uuid NOT NULL REFERENCES junctions ON DELETE CASCADE,
    timezone    text NOT NULL,
    n_camera    bigint NOT NULL DEFAULT 0,
    n_other     bigint NOT NULL DEFAULT 0,
    measured_ms bigint NOT NULL DEFAULT 0,
    -- What is summed, unless there are cameras that counted nothing where others did.
    n           bigint GENERATED ALWAYS AS (CASE n_camera WHEN 0 THEN n_other ELSE n_camera END) STORED,
    PRIMARY KEY (bucket, junction_id)
) WITH (fillfactor = 50);
CREATE INDEX junction_days_junction ON junction_days (junction_id);
CREATE INDEX junction_days_counted ON junction_days (bucket, n) WHERE n > 0;
SELECT guard_rows('junction_days', 'junction_id IN (SELECT seen_junctions())');

-- Each of these locks the rows of its junctions in the order of their ids, and looks after that: who changed the same
-- at the same moment is waited for, and then seen.
CREATE FUNCTION keep_parts(changed uuid[]) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO junction_parts (junction_id)
    SELECT DISTINCT id FROM unnest(changed) AS id WHERE id IS NOT NULL ORDER BY id
    ON CONFLICT DO NOTHING;
    PERFORM FROM junction_parts WHERE junction_id = ANY (changed) ORDER BY junction_id FOR NO KEY UPDATE;
    UPDATE junction_parts p
    SET devices = d.n, active_devices = d.active, cameras = c.n, sources = z.n, by_camera = z.by_camera,
        summed = CASE WHEN z.by_camera THEN z.of_cameras ELSE z.of_others END,
        device_ids = d.ids, stream_nos = s.nos, source_nos = z.nos, camera_nos = c.nos
    FROM unnest(changed) AS of (id)
    CROSS JOIN LATERAL (
        SELECT count(*) AS n, count(*) FILTER (WHERE status = 'active') AS active,
               coalesce(array_agg(id), '{}') AS ids
        FROM edge_devices WHERE junction_id = of.id
    ) d
    CROSS JOIN LATERAL (
        SELECT coalesce(range_agg(int4range(no, no, '[]')), '{}') AS nos
        FROM ingest_streams WHERE device_id = ANY (d.ids)
    ) s
    CROSS JOIN LATERAL (
        SELECT count(*) AS n, coalesce(range_agg(int4range(no, no, '[]')), '{}') AS nos
        FROM cameras WHERE device_id = ANY (d.ids)
    ) c
    CROSS JOIN LATERAL (
        SELECT count(*) FILTER (WHERE counts) AS n, coalesce(bool_or(via = 'camera'), false) AS by_camera,
               coalesce(array_agg(no) FILTER (WHERE via = 'camera'), '{}') AS of_cameras,
               coalesce(array_agg(no) FILTER (WHERE counts AND via <> 'camera'), '{}') AS of_others,
               coalesce(range_agg(int4range(no, no, '[]')), '{}') AS nos
        FROM (
            SELECT no, via, via NOT IN ('truth', 'turn', 'unpaired') AS counts
            FROM counting_zones WHERE device_id = ANY (d.ids)
        ) all_of_them
    ) z
    WHERE p.junction_id = of.id;
END $$;

CREATE FUNCTION keep_heard(changed uuid[]) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO junction_heard (junction_id)
    SELECT DISTINCT id FROM unnest(changed) AS id WHERE id IS NOT NULL ORDER BY id
    ON CONFLICT DO NOTHING;
    PERFORM FROM junction_heard WHERE junction_id = ANY (changed) ORDER BY junction_id FOR NO KEY UPDATE;
    UPDATE junction_heard h
    SET received_at = s.received_at, last_at = s.last_at
    FROM unnest(changed) AS of (id)
    CROSS JOIN LATERAL (
        SELECT max(last_received_at) AS received_at, max(last_at) AS last_at
        FROM ingest_streams
        WHERE device_id = ANY (ARRAY(SELECT d.id FROM edge_devices d WHERE d.junction_id = of.id))
    ) s
    WHERE h.junction_id = of.id;
END $$;

-- Whoever calls it holds the lock of the rollups.
CREATE FUNCTION keep_days(changed uuid[]) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM junction_days WHERE junction_id = ANY (changed);
    INSERT INTO junction_days (bucket, junction_id, timezone, n_camera, n_other, measured_ms)
    SELECT x.bucket, j.id, j.timezone, sum(x.n_camera), sum(x.n_other), sum(x.measured_ms)
    FROM (
        SELECT r.bucket, d.junction_id, CASE z.via WHEN 'camera' THEN r.n ELSE 0 END AS n_camera,
               CASE z.via WHEN 'camera' THEN 0 ELSE r.n END AS n_other, 0 AS measured_ms
        FROM edge_devices d
        JOIN counting_zones z ON z.device_id = d.id AND z.via NOT IN ('truth', 'turn', 'unpaired')
        JOIN count_rollups r ON r.source_no = z.no AND r.step_s = 86400
        WHERE d.junction_id = ANY (changed) AND r.bucket >= now() - interval '26 hours'
        UNION ALL
        SELECT v.bucket, d.junction_id, 0, 0, v.measured_ms
        FROM edge_devices d
        JOIN cameras c ON c.device_id = d.id
        JOIN coverage_rollups v ON v.camera_no = c.no AND v.step_s = 86400
        WHERE d.junction_id = ANY (changed) AND v.bucket >= now() - interval '26 hours'
    ) x
    JOIN junctions j ON j.id = x.junction_id
    GROUP BY x.bucket, j.id;
END $$;

CREATE FUNCTION devices_changed() RETURNS trigger
LANGUAGE plpgsql AS $$
DECLARE
    moved uuid[];
    changed uuid[];
BEGIN
    IF TG_OP = 'INSERT' THEN
        PERFORM keep_parts(ARRAY(SELECT DISTINCT junction_id FROM after_rows));
        RETURN NULL;
    ELSIF TG_OP = 'DELETE' THEN
        PERFORM keep_parts(ARRAY(SELECT DISTINCT junction_id FROM before_rows));
        RETURN NULL;
    END IF;
    moved := ARRAY(SELECT a.id FROM before_rows b JOIN after_rows a USING (id)
                   WHERE a.junction_id IS DISTINCT FROM b.junction_id);
    changed := ARRAY(
        SELECT DISTINCT j FROM before_rows b JOIN after_rows a USING (id),
             LATERAL (VALUES (a.junction_id), (b.junction_id)) AS of (j)
        WHERE (a.junction_id, a.status) IS DISTINCT FROM (b.junction_id, b.status) AND j IS NOT NULL);
    IF changed = '{}' THEN
        RETURN NULL;
    END IF;
    IF EXISTS (SELECT FROM cameras WHERE device_id = ANY (moved))
       OR EXISTS (SELECT FROM counting_zones WHERE device_id = ANY (moved)) THEN
        PERFORM pg_advisory_xact_lock(1398034257);
        PERFORM keep_days(changed);
    END IF;
    -- Who stores something of theirs now is waited for, and who does so later sees where they stand.
    PERFORM FROM ingest_streams WHERE device_id = ANY (moved) ORDER BY no FOR UPDATE;
    IF FOUND THEN
        PERFORM keep_heard(changed);
    END IF;
    PERFORM keep_parts(changed);
    RETURN NULL;
END $$;

-- Of cameras, sources and streams.
CREATE FUNCTION parts_changed() RETURNS trigger
LANGUAGE plpgsql AS $$
DECLARE
    devices uuid[];
BEGIN
    IF TG_OP = 'INSERT' THEN
        devices := ARRAY(SELECT DISTINCT device_id FROM after_rows);
    ELSE
        devices := ARRAY(SELECT DISTINCT device_id FROM before_rows);
    END IF;
    -- None of them moves to another junction meanwhile.
    PERFORM FROM edge_devices WHERE id = ANY (devices) ORDER BY id FOR NO KEY UPDATE;
    IF TG_TABLE_NAME = 'ingest_streams' THEN
        UPDATE edge_devices d SET has_sent = NOT d.has_sent
        WHERE id = ANY (devices) AND has_sent <> EXISTS (SELECT FROM ingest_streams WHERE device_id = d.id);
    END IF;
    PERFORM keep_parts(ARRAY(SELECT DISTINCT junction_id FROM edge_devices WHERE id = ANY (devices)));
    RETURN NULL;
END $$;

-- A statement moves the watermarks of many streams, last in its transaction. Each device is looked up: a plan that was
-- made for the first such statement of a session serves all others.
CREATE FUNCTION streams_heard() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        -- None of them moves to another junction meanwhile; who moves them locks in this order, too.
        PERFORM FROM edge_devices WHERE id IN (SELECT device_id FROM after_rows) ORDER BY id FOR NO KEY UPDATE;
    END IF;
    INSERT INTO junction_heard AS h (junction_id, received_at, last_at)
    SELECT d.junction_id, max(a.last_received_at), max(a.last_at)
    FROM after_rows a
    CROSS JOIN LATERAL (SELECT junction_id FROM edge_devices WHERE id = a.device_id OFFSET 0) d
    WHERE d.junction_id IS NOT NULL
    GROUP BY d.junction_id
    ORDER BY d.junction_id
    ON CONFLICT (junction_id) DO UPDATE
    SET received_at = greatest(h.received_at, excluded.received_at),
        last_at = greatest(h.last_at, excluded.last_at);
    RETURN NULL;
END $$;

-- Two transactions of a stream may end in another order than they began.
CREATE FUNCTION stream_set_back() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM keep_heard(ARRAY(SELECT junction_id FROM edge_devices WHERE id = OLD.device_id));
    RETURN NULL;
END $$;

-- Planned for as many as there are.
CREATE FUNCTION add_counts_to_days(sources integer[], buckets timestamptz[], counts bigint[]) RETURNS void
LANGUAGE sql SET plan_cache_mode = force_custom_plan AS $$
    INSERT INTO junction_days AS k (bucket, junction_id, timezone, n_camera, n_other)
    SELECT x.bucket, j.id, j.timezone, coalesce(sum(x.n) FILTER (WHERE z.via = 'camera'), 0),
           coalesce(sum(x.n) FILTER (WHERE z.via <> 'camera'), 0)
    FROM unnest(sources, buckets, counts) AS x (no, bucket, n)
    JOIN counting_zones z ON z.no = x.no AND z.via NOT IN ('truth', 'turn', 'unpaired')
    JOIN edge_devices d ON d.id = z.device_id
    JOIN junctions j ON j.id = d.junction_id
    GROUP BY x.bucket, j.id
    ORDER BY x.bucket, j.id
    ON CONFLICT (bucket, junction_id) DO UPDATE
    SET n_camera = k.n_camera + excluded.n_camera, n_other = k.n_other + excluded.n_other
$$;

CREATE FUNCTION add_coverage_to_days(cameras integer[], buckets timestamptz[], measured_ms bigint[]) RETURNS void
LANGUAGE sql SET plan_cache_mode = force_custom_plan AS $$
    INSERT INTO junction_days AS k (bucket, junction_id, timezone, measured_ms)
    SELECT x.bucket, j.id, j.timezone, sum(x.ms)
    FROM unnest(cameras, buckets, measured_ms) AS x (no, bucket, ms)
    JOIN cameras c ON c.no = x.no
    JOIN edge_devices d ON d.id = c.device_id
    JOIN junctions j ON j.id = d.junction_id
    GROUP BY x.bucket, j.id
    ORDER BY x.bucket, j.id
    ON CONFLICT (bucket, junction_id) DO UPDATE SET measured_ms = k.measured_ms + excluded.measured_ms
$$;

CREATE FUNCTION timezone_changed() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(1398034257);
    UPDATE junction_days SET timezone = NEW.timezone WHERE junction_id = NEW.id;
    RETURN NULL;
END $$;

CREATE FUNCTION counts_rolled_up() RETURNS trigger
LANGUAGE plpgsql AS $$
DECLARE
    sources integer[];
    buckets timestamptz[];
    counts bigint[];
BEGIN
    IF TG_OP = 'INSERT' THEN
        SELECT array_agg(source_no), array_agg(bucket), array_agg(n) INTO sources, buckets, counts
        FROM after_rows WHERE step_s = 86400 AND bucket >= now() - interval '26 hours';
    ELSE
        SELECT array_agg(source_no), array_agg(bucket), array_agg(n) INTO sources, buckets, counts
        FROM (
            SELECT source_no, bucket, n FROM after_rows WHERE step_s = 86400
            UNION ALL
            SELECT source_no, bucket, -n FROM before_rows WHERE step_s = 86400
        ) x
        WHERE bucket >= now() - interval '26 hours';
    END IF;
    IF sources IS NOT NULL THEN
        PERFORM add_counts_to_days(sources, buckets, counts);
    END IF;
    RETURN NULL;
END $$;

CREATE FUNCTION coverage_rolled_up() RETURNS trigger
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
    -- Days that no list asks for any more.
    DELETE FROM junction_days WHERE bucket < now() - interval '26 hours';
    RETURN NULL;
END $$;

-- Triggers come before what is there is added up: from then on nobody changes it until this is committed.
CREATE INDEX junctions_timezone ON junctions (timezone);
CREATE TRIGGER kept_on_insert AFTER INSERT ON count_rollups
    REFERENCING NEW TABLE AS after_rows FOR EACH STATEMENT EXECUTE FUNCTION counts_rolled_up();
CREATE TRIGGER kept_on_update AFTER UPDATE ON count_rollups
    REFERENCING OLD TABLE AS before_rows NEW TABLE AS after_rows
    FOR EACH STATEMENT EXECUTE FUNCTION counts_rolled_up();
CREATE TRIGGER kept_on_insert AFTER INSERT ON coverage_rollups
    REFERENCING NEW TABLE AS after_rows FOR EACH STATEMENT EXECUTE FUNCTION coverage_rolled_up();
CREATE TRIGGER kept_on_update AFTER UPDATE ON coverage_rollups
    REFERENCING OLD TABLE AS before_rows NEW TABLE AS after_rows
    FOR EACH STATEMENT EXECUTE FUNCTION coverage_rolled_up();

CREATE TRIGGER kept_on_insert AFTER INSERT ON ingest_streams
    REFERENCING NEW TABLE AS after_rows FOR EACH STATEMENT EXECUTE FUNCTION streams_heard();
CREATE TRIGGER known_on_insert AFTER INSERT ON ingest_streams
    REFERENCING NEW TABLE AS after_rows FOR EACH STATEMENT EXECUTE FUNCTION parts_changed();
CREATE TRIGGER known_on_delete AFTER DELETE ON ingest_streams
    REFERENCING OLD TABLE AS before_rows FOR EACH STATEMENT EXECUTE FUNCTION parts_changed();
CREATE TRIGGER kept_on_update AFTER UPDATE ON ingest_streams
    REFERENCING NEW TABLE AS after_rows FOR EACH STATEMENT EXECUTE FUNCTION streams_heard();
CREATE TRIGGER kept_on_setback AFTER UPDATE ON ingest_streams FOR EACH ROW
    WHEN (NEW.last_received_at < OLD.last_received_at OR NEW.last_at < OLD.last_at
          OR NEW.last_at IS NULL AND OLD.last_at IS NOT NULL)
    EXECUTE FUNCTION stream_set_back();
CREATE TRIGGER kept_on_delete AFTER DELETE ON ingest_streams FOR EACH ROW EXECUTE FUNCTION stream_set_back();

CREATE TRIGGER kept_on_insert AFTER INSERT ON counting_zones
    REFERENCING NEW TABLE AS after_rows FOR EACH STATEMENT EXECUTE FUNCTION parts_changed();
CREATE TRIGGER kept_on_delete AFTER DELETE ON counting_zones
    REFERENCING OLD TABLE AS before_rows FOR EACH STATEMENT EXECUTE FUNCTION parts_changed();
CREATE TRIGGER kept_on_insert AFTER INSERT ON cameras
    REFERENCING NEW TABLE AS after_rows FOR EACH STATEMENT EXECUTE FUNCTION parts_changed();
CREATE TRIGGER kept_on_delete AFTER DELETE ON cameras
    REFERENCING OLD TABLE AS before_rows FOR EACH STATEMENT EXECUTE FUNCTION parts_changed();
CREATE TRIGGER kept_on_insert AFTER INSERT ON edge_devices
    REFERENCING NEW TABLE AS after_rows FOR EACH STATEMENT EXECUTE FUNCTION devices_changed();
CREATE TRIGGER kept_on_update AFTER UPDATE ON edge_devices
    REFERENCING OLD TABLE AS before_rows NEW TABLE AS after_rows
    FOR EACH STATEMENT EXECUTE FUNCTION devices_changed();
CREATE TRIGGER kept_on_delete AFTER DELETE ON edge_devices
    REFERENCING OLD TABLE AS before_rows FOR EACH STATEMENT EXECUTE FUNCTION devices_changed();

CREATE TRIGGER timezone_kept AFTER UPDATE OF timezone ON junctions
    FOR EACH ROW WHEN (OLD.timezone IS DISTINCT FROM NEW.timezone) EXECUTE FUNCTION timezone_changed();

SELECT keep_parts(ARRAY(SELECT id FROM junctions)), keep_heard(ARRAY(SELECT id FROM junctions)),
       keep_days(ARRAY(SELECT id FROM junctions));

-- Who sees what, from the few rows of their junctions.
CREATE OR REPLACE FUNCTION seen_devices() RETURNS SETOF uuid
LANGUAGE sql STABLE PARALLEL SAFE SECURITY DEFINER SET search_path FROM CURRENT AS $$
    SELECT unnest(device_ids) FROM junction_parts WHERE junction_id = ANY (ARRAY(SELECT seen_junctions()))
$$;

CREATE OR REPLACE FUNCTION stream_ranges() RETURNS int4multirange
LANGUAGE sql STABLE PARALLEL SAFE SECURITY DEFINER SET search_path FROM CURRENT AS $$
    SELECT coalesce(range_agg(stream_nos), '{}')
    FROM junction_parts WHERE junction_id = ANY (ARRAY(SELECT seen_junctions()))
$$;

CREATE OR REPLACE FUNCTION source_ranges() RETURNS int4multirange
LANGUAGE sql STABLE PARALLEL SAFE SECURITY DEFINER SET search_path FROM CURRENT AS $$
    SELECT coalesce(range_agg(source_nos), '{}')
    FROM junction_parts WHERE junction_id = ANY (ARRAY(SELECT seen_junctions()))
$$;

CREATE OR REPLACE FUNCTION camera_ranges() RETURNS int4multirange
LANGUAGE sql STABLE PARALLEL SAFE SECURITY DEFINER SET search_path FROM CURRENT AS $$
    SELECT coalesce(range_agg(camera_nos), '{}')
    FROM junction_parts WHERE junction_id = ANY (ARRAY(SELECT seen_junctions()))
$$;

CREATE OR REPLACE FUNCTION seen_locations() RETURNS SETOF uuid
LANGUAGE sql STABLE PARALLEL SAFE SECURITY DEFINER SET search_path FROM CURRENT AS $$
    SELECT location_id FROM junctions
    WHERE id = ANY (ARRAY(SELECT seen_junctions())) AND location_id IS NOT NULL
    UNION
    SELECT location_id FROM cameras
    WHERE device_id = ANY (ARRAY(SELECT seen_devices())) AND location_id IS NOT NULL
$$;
