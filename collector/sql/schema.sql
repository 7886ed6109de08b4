-- The schema of today. `migrations/` builds the same, step by step; a test compares the two.
--
-- How it is laid out
-- * Entities (junctions, devices, cameras, sources) have a UUID, and a small integer `no` that the hot tables carry.
-- * Measurements are append-only. `(stream_no, seq)` names one record of the wire, and the stream's row in
--   `ingest_streams` is what keeps it from being stored twice: no unique index slows the hot tables down.
--   They have no foreign keys for the same reason, and because history never goes away with an entity.
-- * Times are UTC instants. `at_error_ms` tells by how much `at` may be off; 0: the clock was synchronised.
-- * A table given to `make_timeseries` is a hypertable where TimescaleDB is there, and range-partitioned by UTC day
--   or month where it is not. In both cases rows of any time can be inserted at any time.

CREATE SCHEMA IF NOT EXISTS parts;
COMMENT ON SCHEMA parts IS 'Partitions of the time series, where TimescaleDB does not keep them.';

-- Which tables are time series, and up to when their rows were dropped by retention.
CREATE TABLE timeseries (
    table_name     text PRIMARY KEY,
    time_column    text NOT NULL,
    span           text NOT NULL CHECK (span IN ('day', 'month')),
    -- Of its partitions: room for rows that are updated in place.
    fillfactor     integer NOT NULL,
    -- Rows before this were dropped. Rows that come later for an earlier time are counted, then dropped too.
    dropped_before timestamptz NOT NULL DEFAULT 'epoch'
);

-- Turns an empty table into a time series. Make its indexes afterwards.
CREATE FUNCTION make_timeseries(table_name text, time_column text, span text, fillfactor integer DEFAULT 100)
RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM pg_extension WHERE extname = 'timescaledb') THEN
        EXECUTE format('ALTER TABLE %I SET (fillfactor = %s)', table_name, fillfactor);
        EXECUTE format(
            'SELECT create_hypertable(%L, %L, chunk_time_interval => %L::interval, create_default_indexes => false)',
            table_name, time_column, CASE span WHEN 'day' THEN '1 day' ELSE '30 days' END);
    ELSE
        EXECUTE format('ALTER TABLE %I RENAME TO %I', table_name, table_name || '_shape');
        EXECUTE format('CREATE TABLE %I (LIKE %I INCLUDING ALL) PARTITION BY RANGE (%I)',
            table_name, table_name || '_shape', time_column);
        EXECUTE format('DROP TABLE %I', table_name || '_shape');
        -- Takes in what no partition was made for yet, so that no row is ever refused; maintenance empties it.
        EXECUTE format('CREATE TABLE parts.%I PARTITION OF %I DEFAULT WITH (fillfactor = %s)',
            table_name || '_default', table_name, fillfactor);
    END IF;
    INSERT INTO timeseries VALUES (table_name, time_column, span, fillfactor);
END $$;


-- Entities -------------------------------------------------------------------------------------------------------

CREATE TABLE locations (
    id         uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    name       text NOT NULL,
    latitude   double precision CHECK (latitude BETWEEN -90 AND 90),
    longitude  double precision CHECK (longitude BETWEEN -180 AND 180),
    address    text,
    metadata   jsonb NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX locations_metadata ON locations USING gin (metadata);

CREATE TABLE junctions (
    id          uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    no          integer GENERATED ALWAYS AS IDENTITY UNIQUE,
    name        text NOT NULL UNIQUE CHECK (length(name) BETWEEN 1 AND 100),
    -- IANA name. Hours and days of its counts begin when they begin there. An unknown zone fails the check.
    timezone    text NOT NULL DEFAULT 'UTC' CHECK (timezone(timezone, timestamptz 'epoch') IS NOT NULL),
    location_id uuid REFERENCES locations,
    metadata    jsonb NOT NULL DEFAULT '{}',
    created_at  timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX junctions_location ON junctions (location_id);
CREATE INDEX junctions_metadata ON junctions USING gin (metadata);

-- The Pis. A device proves who it is with the private half of `public_key` (Ed25519, 32 bytes).
CREATE TABLE edge_devices (
    id          uuid PRIMARY KEY,
    no          integer GENERATED ALWAYS AS IDENTITY UNIQUE,
    junction_id uuid REFERENCES junctions,
    name        text NOT NULL CHECK (length(name) BETWEEN 1 AND 100),
    public_key  bytea NOT NULL CHECK (octet_length(public_key) = 32),
    status      text NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'revoked')),
    metadata    jsonb NOT NULL DEFAULT '{}',
    created_at  timestamptz NOT NULL DEFAULT now(),
    revoked_at  timestamptz,
    CHECK ((status = 'revoked') = (revoked_at IS NOT NULL))
);
CREATE INDEX edge_devices_junction ON edge_devices (junction_id);
CREATE INDEX edge_devices_metadata ON edge_devices USING gin (metadata);

-- Cameras, and tag readers, come into being with the first record that names them.
CREATE TABLE cameras (
    id          uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    no          integer GENERATED ALWAYS AS IDENTITY UNIQUE,
    device_id   uuid NOT NULL REFERENCES edge_devices,
    name        text NOT NULL CHECK (length(name) BETWEEN 1 AND 100),
    status      text NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'inactive', 'maintenance')),
    location_id uuid REFERENCES locations,
    metadata    jsonb NOT NULL DEFAULT '{}',
    created_at  timestamptz NOT NULL DEFAULT now(),
    UNIQUE (device_id, name)
);
CREATE INDEX cameras_status ON cameras (status, name);
CREATE INDEX cameras_location ON cameras (location_id);
CREATE INDEX cameras_metadata ON cameras USING gin (metadata);

-- What counts: a line, a zone, a turn or a reader. It comes into being with the first record that names it.
-- A turn, and `unpaired`, which is what belongs to a turn and was not seen whole, count what lines counted already.
CREATE TABLE counting_zones (
    id         uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    no         integer GENERATED ALWAYS AS IDENTITY UNIQUE,
    device_id  uuid NOT NULL REFERENCES edge_devices,
    -- The sensor's name belongs to the identity: a line drawn anew on another camera is another source, so that
    -- what was counted before keeps the camera that saw it.
    sensor     text NOT NULL CHECK (length(sensor) BETWEEN 1 AND 100),
    name       text NOT NULL CHECK (length(name) BETWEEN 1 AND 100),
    via        text NOT NULL CHECK (via IN ('camera', 'rfid', 'truth', 'turn', 'unpaired')),
    -- The camera, or reader, whose frames prove when it measured.
    camera_id  uuid REFERENCES cameras,
    kind       text NOT NULL CHECK (kind IN ('line', 'zone', 'reader', 'turn', 'unpaired')),
    metadata   jsonb NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (device_id, sensor, name, via)
);
CREATE INDEX counting_zones_camera ON counting_zones (camera_id);
CREATE INDEX counting_zones_name ON counting_zones (name);


-- Who may read and operate --------------------------------------------------------------------------------------

CREATE TABLE users (
    id                  uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    name                text NOT NULL CHECK (length(name) BETWEEN 1 AND 100),
    display_name        text CHECK (length(display_name) BETWEEN 1 AND 100),
    -- Argon2id. NULL: no sign-in by password.
    password_hash       text,
    role                text NOT NULL CHECK (role IN ('admin', 'operator', 'viewer')),
    status              text NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'disabled')),
    -- Part of every access token: counting it up ends all of them.
    token_version       integer NOT NULL DEFAULT 1,
    created_at          timestamptz NOT NULL DEFAULT now(),
    password_changed_at timestamptz,
    signed_in_at        timestamptz,
    all_junctions       boolean NOT NULL DEFAULT false
);
CREATE UNIQUE INDEX users_name ON users (lower(name));

-- A session is a family of refresh tokens, each used once. One that comes a second time was stolen, and ends its
-- family. `hash` is SHA-256 of a random token.
CREATE TABLE refresh_tokens (
    hash       bytea PRIMARY KEY,
    family     uuid NOT NULL,
    user_id    uuid NOT NULL REFERENCES users ON DELETE CASCADE,
    issued_at  timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL,
    used_at    timestamptz,
    revoked_at timestamptz
);
CREATE INDEX refresh_tokens_family ON refresh_tokens (family);
CREATE INDEX refresh_tokens_user ON refresh_tokens (user_id);
CREATE INDEX refresh_tokens_expiry ON refresh_tokens (expires_at);

-- For programs: as long as they hold, with the rights of their user or fewer.
CREATE TABLE api_tokens (
    id         uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    user_id    uuid NOT NULL REFERENCES users ON DELETE CASCADE,
    name       text NOT NULL CHECK (length(name) BETWEEN 1 AND 100),
    hash       bytea NOT NULL UNIQUE,
    role       text NOT NULL CHECK (role IN ('admin', 'operator', 'viewer')),
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz,
    used_at    timestamptz,
    revoked_at timestamptz
);
CREATE INDEX api_tokens_user ON api_tokens (user_id);

CREATE TABLE invitations (
    hash       bytea PRIMARY KEY,
    role       text NOT NULL CHECK (role IN ('admin', 'operator', 'viewer')),
    invited_by uuid REFERENCES users ON DELETE SET NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL,
    used_at    timestamptz,
    used_by    uuid REFERENCES users ON DELETE SET NULL
);

-- Sign-ins that failed of late, by user name and by address; all workers see the same.
CREATE TABLE failed_sign_ins (
    key           text PRIMARY KEY,
    n             integer NOT NULL,
    last_at       timestamptz NOT NULL DEFAULT now(),
    blocked_until timestamptz
) WITH (fillfactor = 70);

-- What all workers of a collector share and nobody else may know: the key that signs access tokens.
CREATE TABLE secrets (
    name       text PRIMARY KEY,
    value      bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);


-- Ingest ---------------------------------------------------------------------------------------------------------

-- One row per stream of a device and epoch: the watermark, and the proof that all its records are accounted for.
-- The row is locked while a batch of the stream is stored. Retention never touches it.
CREATE TABLE ingest_streams (
    no                integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    device_id         uuid NOT NULL REFERENCES edge_devices,
    stream            text NOT NULL CHECK (length(stream) BETWEEN 1 AND 100),
    epoch             uuid NOT NULL,
    last_seq          bigint NOT NULL DEFAULT 0 CHECK (last_seq >= 0),
    stored            bigint NOT NULL DEFAULT 0 CHECK (stored >= 0),
    rejected          bigint NOT NULL DEFAULT 0 CHECK (rejected >= 0),
    -- Made and then lost on the way; each is covered by a row of `ingest_gaps` with `from_seq`.
    lost              bigint NOT NULL DEFAULT 0 CHECK (lost >= 0),
    first_received_at timestamptz NOT NULL DEFAULT now(),
    last_received_at  timestamptz NOT NULL DEFAULT now(),
    -- `at` of the latest record.
    last_at           timestamptz,
    UNIQUE (device_id, stream, epoch),
    CONSTRAINT adds_up CHECK (last_seq = stored + rejected + lost)
) WITH (fillfactor = 50);

-- Records that were put aside, with their raw text. Kept until someone deals with them.
CREATE TABLE ingest_rejects (
    received_at timestamptz NOT NULL DEFAULT now(),
    seq         bigint NOT NULL,
    stream_no   integer NOT NULL REFERENCES ingest_streams,
    code        text NOT NULL,
    detail      text NOT NULL,
    raw         text NOT NULL
);
CREATE INDEX ingest_rejects_stream ON ingest_rejects (stream_no, seq);
CREATE INDEX ingest_rejects_time ON ingest_rejects (received_at);

-- What is missing, and why: the `duration_ms` that end at `at`. With `from_seq` it stands in the place of the
-- records `from_seq..seq` of its stream. Kept for ever: it is part of the proof.
CREATE TABLE ingest_gaps (
    at          timestamptz NOT NULL,
    at_error_ms bigint NOT NULL,
    seq         bigint NOT NULL,
    stream_no   integer NOT NULL REFERENCES ingest_streams,
    reason      text NOT NULL,
    duration_ms bigint NOT NULL,
    sensor      text,
    from_seq    bigint CHECK (from_seq <= seq),
    dropped     jsonb NOT NULL DEFAULT '{}',
    detail      text
);
CREATE INDEX ingest_gaps_stream ON ingest_gaps (stream_no, seq);
CREATE INDEX ingest_gaps_time ON ingest_gaps (at);

-- How many rows of a stream retention dropped from a table, so that the audit still adds up afterwards.
CREATE TABLE expired_rows (
    stream_no  integer NOT NULL REFERENCES ingest_streams,
    table_name text NOT NULL REFERENCES timeseries,
    n          bigint NOT NULL,
    PRIMARY KEY (stream_no, table_name)
);


-- Measurements ---------------------------------------------------------------------------------------------------

CREATE TABLE count_events (
    at          timestamptz NOT NULL,
    at_error_ms bigint NOT NULL,
    seq         bigint NOT NULL,
    stream_no   integer NOT NULL,
    source_no   integer NOT NULL,
    cls         text NOT NULL,
    direction   text NOT NULL,
    confidence  real,
    track       text,
    inferred    boolean NOT NULL,
    speed_mps   real
);
SELECT make_timeseries('count_events', 'at', 'day');
CREATE INDEX count_events_source ON count_events (source_no, at);

CREATE TABLE zone_occupancy (
    at           timestamptz NOT NULL,
    at_error_ms  bigint NOT NULL,
    seq          bigint NOT NULL,
    stream_no    integer NOT NULL,
    source_no    integer NOT NULL,
    span_ms      bigint NOT NULL,
    n_mean       real NOT NULL,
    n_max        integer NOT NULL,
    n_end        integer NOT NULL,
    entries      integer NOT NULL,
    exits        integer NOT NULL,
    dwell_mean_s real,
    stood_mean_s real,
    -- Of n_end; the others move. NULL: an older agent, which did not tell.
    n_standing   integer,
    capacity     integer
);
SELECT make_timeseries('zone_occupancy', 'at', 'day');
CREATE INDEX zone_occupancy_source ON zone_occupancy (source_no, at);

-- Packed blocks of frames, and so the proof of what was measured: `measured_ms` of the `span_ms` that end at `at`.
CREATE TABLE frame_metadata (
    at             timestamptz NOT NULL,
    at_error_ms    bigint NOT NULL,
    seq            bigint NOT NULL,
    stream_no      integer NOT NULL,
    camera_no      integer NOT NULL,
    span_ms        bigint NOT NULL,
    measured_ms    bigint NOT NULL,
    n              integer NOT NULL,
    dropped        integer NOT NULL,
    width_px       integer,
    height_px      integer,
    latency_p50_ms real,
    latency_p95_ms real,
    -- class -> [least, mean, most] objects in a frame
    classes        jsonb NOT NULL
);
SELECT make_timeseries('frame_metadata', 'at', 'day');
CREATE INDEX frame_metadata_camera ON frame_metadata (camera_no, at);

-- Boxes of sampled frames: [[class, score, x1_px, y1_px, x2_px, y2_px, track], ...]
CREATE TABLE detections (
    at          timestamptz NOT NULL,
    at_error_ms bigint NOT NULL,
    seq         bigint NOT NULL,
    stream_no   integer NOT NULL,
    camera_no   integer NOT NULL,
    boxes       jsonb NOT NULL
);
SELECT make_timeseries('detections', 'at', 'day');
CREATE INDEX detections_camera ON detections (camera_no, at);

-- A signal cycle, the `length_s` that end at `at`. `junction` is as the device tells it.
CREATE TABLE traffic_cycles (
    at          timestamptz NOT NULL,
    at_error_ms bigint NOT NULL,
    seq         bigint NOT NULL,
    stream_no   integer NOT NULL,
    length_s    real NOT NULL,
    junction    text NOT NULL,
    mode        text NOT NULL,
    algorithm   text NOT NULL,
    plan        text
);
SELECT make_timeseries('traffic_cycles', 'at', 'month');
CREATE INDEX traffic_cycles_stream ON traffic_cycles (stream_no, at);

-- The lanes of a cycle; (stream_no, seq) is the cycle. `vehicles` NULL: not measured.
CREATE TABLE lane_cycle_data (
    at         timestamptz NOT NULL,
    seq        bigint NOT NULL,
    stream_no  integer NOT NULL,
    vehicles   integer,
    green_s    real NOT NULL,
    yellow_s   real NOT NULL,
    red_s      real NOT NULL,
    saturation real,
    lane       text NOT NULL,
    epc_ids    text[] NOT NULL
);
SELECT make_timeseries('lane_cycle_data', 'at', 'month');
CREATE INDEX lane_cycle_data_stream ON lane_cycle_data (stream_no, at);

-- High-resolution signal events in the standard (Indiana) enumerations.
CREATE TABLE signal_events (
    at          timestamptz NOT NULL,
    at_error_ms bigint NOT NULL,
    seq         bigint NOT NULL,
    stream_no   integer NOT NULL,
    code        smallint NOT NULL,
    parameter   smallint NOT NULL,
    junction    text NOT NULL
);
SELECT make_timeseries('signal_events', 'at', 'day');
CREATE INDEX signal_events_stream ON signal_events (stream_no, at);
-- About the whole junction: few among very many of detectors.
CREATE INDEX signal_events_unit ON signal_events (stream_no, code, at) WHERE code >= 100;

-- NULL: the machine cannot tell.
CREATE TABLE device_health (
    at             timestamptz NOT NULL,
    at_error_ms    bigint NOT NULL,
    seq            bigint NOT NULL,
    stream_no      integer NOT NULL,
    outbox_records integer NOT NULL,
    outbox_bytes   bigint NOT NULL,
    outbox_dropped bigint NOT NULL,
    clock_error_ms bigint,
    uptime_s       double precision NOT NULL,
    cpu_percent    real,
    memory_percent real,
    rss_mb         real,
    temperature_c  real,
    disk_free_mb   real,
    clock_synced   boolean NOT NULL,
    version        text NOT NULL,
    throttled      text,
    -- [[sensor, state, fps, dropped, latency_ms, restarts], ...]
    sensors        jsonb NOT NULL
);
SELECT make_timeseries('device_health', 'at', 'month');
CREATE INDEX device_health_stream ON device_health (stream_no, at);

CREATE TABLE stream_quality_metrics (
    at          timestamptz NOT NULL,
    at_error_ms bigint NOT NULL,
    seq         bigint NOT NULL,
    stream_no   integer NOT NULL,
    reconnects  integer NOT NULL,
    span_ms     bigint NOT NULL,
    fps         real,
    width_px    integer,
    height_px   integer,
    sensor      text NOT NULL,
    state       text NOT NULL,
    detail      text
);
SELECT make_timeseries('stream_quality_metrics', 'at', 'month');
CREATE INDEX stream_quality_metrics_stream ON stream_quality_metrics (stream_no, at);

CREATE TABLE system_logs (
    at          timestamptz NOT NULL,
    at_error_ms bigint NOT NULL,
    seq         bigint NOT NULL,
    stream_no   integer NOT NULL,
    level       text NOT NULL,
    action      text NOT NULL,
    message     text NOT NULL,
    context     jsonb NOT NULL
);
SELECT make_timeseries('system_logs', 'at', 'month');
CREATE INDEX system_logs_stream ON system_logs (stream_no, at);

CREATE TABLE command_results (
    at          timestamptz NOT NULL,
    at_error_ms bigint NOT NULL,
    seq         bigint NOT NULL,
    stream_no   integer NOT NULL,
    command     text NOT NULL,
    status      text NOT NULL,
    detail      text
);
SELECT make_timeseries('command_results', 'at', 'month');
CREATE INDEX command_results_stream ON command_results (stream_no, at);


-- Rollups --------------------------------------------------------------------------------------------------------

-- "This minute has changed": written in the transaction that stored the rows, taken by the one rollup worker.
-- Append-only, and repeated marks are right: a mark that another transaction had found to be there already might
-- be taken before that transaction's rows can be seen, and its change would be missed for ever.
CREATE TABLE rollup_marks (
    id     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    minute timestamptz NOT NULL,
    -- count_events of a source (`counting_zones.no`), or frame_metadata of a camera (`cameras.no`)
    ref_no integer NOT NULL,
    kind   text NOT NULL CHECK (kind IN ('count', 'coverage'))
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000);

-- Counts per minute, quarter of an hour, hour and day. A bucket with no row had no counts; whether it was measured
-- is told by `coverage_rollups`. Buckets of an hour and a day begin in the junction's own time zone.
CREATE TABLE count_rollups (
    bucket     timestamptz NOT NULL,
    source_no  integer NOT NULL,
    step_s     integer NOT NULL,
    n          bigint NOT NULL,
    n_inferred bigint NOT NULL,
    cls        text NOT NULL,
    direction  text NOT NULL,
    CHECK (step_s IN (60, 900, 3600, 86400))
);
SELECT make_timeseries('count_rollups', 'bucket', 'month', 70);
CREATE UNIQUE INDEX count_rollups_key ON count_rollups (source_no, step_s, bucket, cls, direction);

-- For how long a camera watched within a bucket.
CREATE TABLE coverage_rollups (
    bucket      timestamptz NOT NULL,
    camera_no   integer NOT NULL,
    step_s      integer NOT NULL,
    measured_ms bigint NOT NULL,
    CHECK (step_s IN (60, 900, 3600, 86400))
);
SELECT make_timeseries('coverage_rollups', 'bucket', 'month', 70);
CREATE UNIQUE INDEX coverage_rollups_key ON coverage_rollups (camera_no, step_s, bucket);

-- The start of the bucket of `step_s` that `at` lies in, in a zone.
-- An hour that happens twice when the clocks go back is two buckets; a day may have 23 or 25 hours.
CREATE FUNCTION bucket_start(at timestamptz, step_s integer, zone text) RETURNS timestamptz
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT CASE step_s
        WHEN 60 THEN date_bin('1 minute', at, 'epoch')
        WHEN 86400 THEN CASE
            -- Midnight happened twice: the day begins with the first one.
            WHEN (date_trunc('day', at, zone) - interval '1 hour') AT TIME ZONE zone
                 >= date_trunc('day', at AT TIME ZONE zone)
            THEN date_trunc('day', at, zone) - interval '1 hour'
            ELSE date_trunc('day', at, zone)
        END
        ELSE at - ((at AT TIME ZONE zone) - date_bin(make_interval(secs => step_s), at AT TIME ZONE zone, 'epoch'))
    END
$$;

-- How many ms of a minute a block of frames measured: its measured time, spread evenly over the time it spans.
-- Only the last hour of a longer block counts: it proves little. NULL: it does not touch the minute.
CREATE FUNCTION measured_share_ms(at timestamptz, span_ms bigint, measured_ms bigint, minute timestamptz)
RETURNS double precision
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN span_ms > 0 THEN
        measured_ms::double precision / span_ms * 1000 * nullif(greatest(0, extract(epoch FROM
            least(at, minute + interval '1 minute')
            - greatest(at - make_interval(secs => least(span_ms, 3600000) / 1000.0), minute))), 0)
    END
$$;


-- Who sees what --------------------------------------------------------------------------------------------------

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
    SELECT d.id
    FROM user_junction_access a
    JOIN users u ON u.id = a.user_id
    JOIN edge_devices d ON d.junction_id = a.junction_id
    WHERE a.user_id = app_user() AND u.status = 'active'
$$;

CREATE FUNCTION seen_locations() RETURNS SETOF uuid
LANGUAGE sql STABLE PARALLEL SAFE SECURITY DEFINER SET search_path FROM CURRENT AS $$
    SELECT location_id FROM junctions WHERE id IN (SELECT seen_junctions()) AND location_id IS NOT NULL
    UNION
    SELECT location_id FROM cameras WHERE device_id IN (SELECT seen_devices()) AND location_id IS NOT NULL
$$;

-- Numbers come as ranges, in one value: it is found once for a statement, and looked into for each row. A set would
-- be found anew, and hashed, for each partition.
CREATE FUNCTION stream_ranges() RETURNS int4multirange
LANGUAGE sql STABLE PARALLEL SAFE SECURITY DEFINER SET search_path FROM CURRENT AS $$
    SELECT coalesce(range_agg(int4range(t.no, t.no, '[]')), '{}')
    FROM user_junction_access a
    JOIN users u ON u.id = a.user_id
    JOIN edge_devices d ON d.junction_id = a.junction_id
    JOIN ingest_streams t ON t.device_id = d.id
    WHERE a.user_id = app_user() AND u.status = 'active'
$$;

CREATE FUNCTION source_ranges() RETURNS int4multirange
LANGUAGE sql STABLE PARALLEL SAFE SECURITY DEFINER SET search_path FROM CURRENT AS $$
    SELECT coalesce(range_agg(int4range(t.no, t.no, '[]')), '{}')
    FROM user_junction_access a
    JOIN users u ON u.id = a.user_id
    JOIN edge_devices d ON d.junction_id = a.junction_id
    JOIN counting_zones t ON t.device_id = d.id
    WHERE a.user_id = app_user() AND u.status = 'active'
$$;

CREATE FUNCTION camera_ranges() RETURNS int4multirange
LANGUAGE sql STABLE PARALLEL SAFE SECURITY DEFINER SET search_path FROM CURRENT AS $$
    SELECT coalesce(range_agg(int4range(t.no, t.no, '[]')), '{}')
    FROM user_junction_access a
    JOIN users u ON u.id = a.user_id
    JOIN edge_devices d ON d.junction_id = a.junction_id
    JOIN cameras t ON t.device_id = d.id
    WHERE a.user_id = app_user() AND u.status = 'active'
$$;

CREATE FUNCTION seen_streams() RETURNS SETOF integer
LANGUAGE sql STABLE PARALLEL SAFE SECURITY DEFINER SET search_path FROM CURRENT AS $$
    SELECT no FROM ingest_streams WHERE device_id IN (SELECT seen_devices())
$$;

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
SELECT guard_rows('edge_devices', 'junction_id IN (SELECT seen_junctions())');
SELECT guard_rows(name, 'device_id IN (SELECT seen_devices())')
FROM unnest(ARRAY['cameras', 'counting_zones', 'ingest_streams']) AS name;
SELECT guard_rows(name, '(SELECT stream_ranges()) @> stream_no')
FROM unnest(ARRAY['ingest_rejects', 'ingest_gaps', 'expired_rows', 'count_events', 'zone_occupancy', 'frame_metadata',
    'detections', 'traffic_cycles', 'lane_cycle_data', 'signal_events', 'device_health', 'stream_quality_metrics',
    'system_logs', 'command_results']) AS name;
SELECT guard_rows('count_rollups', '(SELECT source_ranges()) @> source_no');
SELECT guard_rows('coverage_rollups', '(SELECT camera_ranges()) @> camera_no');
SELECT guard_rows('rollup_marks', $$CASE kind WHEN 'count' THEN (SELECT source_ranges()) @> ref_no
    ELSE (SELECT camera_ranges()) @> ref_no END$$);
SELECT guard_rows('locations', 'id IN (SELECT seen_locations())');
GRANT SELECT ON timeseries TO stopline_reader;


-- Orders to the lights -------------------------------------------------------------------------------------------

-- An order goes to one device, in the order of `no`. It is delivered until the device tells what came of it, by a
-- record `command_result` of its stream; the device carries each out once.
CREATE TABLE commands (
    id             uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    no             bigint GENERATED ALWAYS AS IDENTITY UNIQUE,
    junction_id    uuid NOT NULL REFERENCES junctions,
    device_id      uuid NOT NULL REFERENCES edge_devices,
    -- As the lights take it.
    command        jsonb NOT NULL,
    issued_by      uuid REFERENCES users ON DELETE SET NULL,
    issued_by_name text NOT NULL,
    issued_at      timestamptz NOT NULL DEFAULT now(),
    -- Not delivered by then: it never is.
    expires_at     timestamptz NOT NULL,
    state          text NOT NULL DEFAULT 'queued'
                   CHECK (state IN ('queued', 'delivered', 'applied', 'refused', 'expired', 'failed')),
    delivered_at   timestamptz,
    settled_at     timestamptz,
    -- When the device told what came of it; NULL: not yet, and a state that says so is only the collector's belief.
    told_at        timestamptz,
    -- Why it was refused, or failed: in the lights' own words.
    detail         text
);
CREATE INDEX commands_open ON commands (device_id, no) WHERE state IN ('queued', 'delivered');
CREATE INDEX commands_junction ON commands (junction_id, no);
SELECT guard_rows('commands', 'junction_id IN (SELECT seen_junctions())');

-- Every order that took a junction's lights out of automatic control. Never deleted.
CREATE TABLE manual_override_history (
    id          uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    junction_id uuid NOT NULL REFERENCES junctions,
    -- NULL: given beside the junction.
    command_id  uuid UNIQUE REFERENCES commands,
    user_id     uuid REFERENCES users ON DELETE SET NULL,
    user_name   text NOT NULL,
    mode        text NOT NULL,
    settings    jsonb NOT NULL DEFAULT '{}',
    why         text NOT NULL DEFAULT '',
    ordered_at  timestamptz NOT NULL,
    -- When the lights took it; NULL: not yet, or never.
    began_at    timestamptz,
    ended_at    timestamptz,
    ended_by    text CHECK (ended_by IN ('expiry', 'order', 'fault', 'restart', 'refusal'))
);
CREATE INDEX manual_override_history_junction ON manual_override_history (junction_id, ordered_at);
CREATE INDEX manual_override_history_user ON manual_override_history (user_id, ordered_at);
SELECT guard_rows('manual_override_history', 'junction_id IN (SELECT seen_junctions())');


-- Junctions as operators describe them ---------------------------------------------------------------------------

-- `wanted`: the description that was imported; what the lights say they run is `metadata -> 'lights'`.
-- `wanted_devices`: names or ids of devices that are to stand there, also of those that are not enrolled yet.
-- `lights_*`: which device's stream last described the lights, and who decided then what they show.
ALTER TABLE junctions
    ADD COLUMN wanted jsonb,
    ADD COLUMN wanted_devices text[] NOT NULL DEFAULT '{}',
    ADD COLUMN lights_device_id uuid REFERENCES edge_devices,
    ADD COLUMN lights_mode text,
    ADD COLUMN lights_mode_at timestamptz;

-- The lanes of what runs; where nothing is known to run, of what is wanted.
CREATE TABLE lanes (
    id                  uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    junction_id         uuid NOT NULL REFERENCES junctions,
    name                text NOT NULL CHECK (length(name) BETWEEN 1 AND 100),
    approach            text NOT NULL,
    -- In the description, from 1.
    position            integer NOT NULL,
    saturation_flow_vph double precision NOT NULL,
    metadata            jsonb NOT NULL DEFAULT '{}',
    created_at          timestamptz NOT NULL DEFAULT now(),
    UNIQUE (junction_id, name)
);
SELECT guard_rows('lanes', 'junction_id IN (SELECT seen_junctions())');

-- Puts a junction's lanes in step with its description. Equal ones are not touched.
CREATE FUNCTION keep_lanes(junction uuid) RETURNS void
LANGUAGE sql AS $$
    WITH described AS (
        -- What lights tell was checked by them, not here: a name may be there twice.
        SELECT DISTINCT ON (lane ->> 'name') lane ->> 'name' AS name, lane ->> 'approach' AS approach,
               position::integer,
               coalesce((lane ->> 'saturation_flow_vph')::double precision, 1800) AS saturation_flow_vph
        FROM junctions j,
             jsonb_array_elements(coalesce(j.metadata #> '{lights,description}', j.wanted) -> 'lanes')
                 WITH ORDINALITY AS of (lane, position)
        WHERE j.id = junction
        ORDER BY lane ->> 'name', position
    ), gone AS (
        DELETE FROM lanes l
        WHERE l.junction_id = junction AND NOT EXISTS (SELECT FROM described d WHERE d.name = l.name)
    )
    INSERT INTO lanes AS l (junction_id, name, approach, position, saturation_flow_vph)
    SELECT junction, name, approach, position, saturation_flow_vph FROM described
    ON CONFLICT (junction_id, name) DO UPDATE
    SET approach = excluded.approach, position = excluded.position,
        saturation_flow_vph = excluded.saturation_flow_vph
    WHERE (l.approach, l.position, l.saturation_flow_vph)
          IS DISTINCT FROM (excluded.approach, excluded.position, excluded.saturation_flow_vph)
$$;
SELECT keep_lanes(id) FROM junctions WHERE metadata #> '{lights,description}' IS NOT NULL;

-- When an override ends by itself, unless something ends it before. NULL: never, or it has not begun.
ALTER TABLE manual_override_history ADD COLUMN expires_at timestamptz;
CREATE INDEX manual_override_history_open ON manual_override_history (junction_id) WHERE ended_at IS NULL;

-- Overrides as they are now: one whose time is over has ended, though nothing told so yet.
CREATE VIEW v_override_history WITH (security_invoker = true) AS
SELECT id, junction_id, command_id, user_id, user_name, mode, settings, why, ordered_at, began_at, expires_at,
       coalesce(ended_at, CASE WHEN expires_at <= now() THEN expires_at END) AS ended_at,
       coalesce(ended_by, CASE WHEN expires_at <= now() THEN 'expiry' END) AS ended_by
FROM manual_override_history;
GRANT SELECT ON v_override_history TO stopline_reader;

-- The cycles of the last day, with what their lanes got and gave.
CREATE VIEW v_recent_cycles WITH (security_invoker = true) AS
SELECT j.id AS junction_id, j.name AS junction, d.id AS device_id, c.stream_no, c.seq, c.at, c.at_error_ms,
       c.length_s, c.mode, c.algorithm, c.plan, l.vehicles, l.lanes
FROM traffic_cycles c
JOIN ingest_streams s ON s.no = c.stream_no
JOIN edge_devices d ON d.id = s.device_id
JOIN junctions j ON j.id = d.junction_id
LEFT JOIN LATERAL (
    -- NULL where no lane was measured.
    SELECT sum(x.vehicles) AS vehicles, jsonb_agg(jsonb_build_object(
               'lane', x.lane, 'vehicles', x.vehicles, 'green_s', x.green_s, 'yellow_s', x.yellow_s,
               'red_s', x.red_s, 'saturation', x.saturation) ORDER BY x.lane) AS lanes
    FROM lane_cycle_data x
    WHERE x.stream_no = c.stream_no AND x.at = c.at AND x.seq = c.seq
) l ON true
WHERE c.at >= now() - interval '1 day';
GRANT SELECT ON v_recent_cycles TO stopline_reader;


-- Logs that people and programs post beside those of devices -----------------------------------------------------

-- A posted log belongs to no stream: `stream_no` is NULL, and it has who said it, and perhaps a junction. Its `seq`
-- is of this sequence. Indexes are built in one go, which holds up what is written to these two tables meanwhile.
CREATE SEQUENCE posted_log_seq;
ALTER TABLE system_logs ALTER COLUMN stream_no DROP NOT NULL;
ALTER TABLE system_logs ADD COLUMN junction_id uuid;
ALTER TABLE system_logs ADD COLUMN said_by uuid;
ALTER TABLE system_logs ADD COLUMN said_by_name text;
ALTER TABLE system_logs ADD CONSTRAINT system_logs_has_a_source CHECK (stream_no IS NOT NULL OR said_by_name IS NOT NULL);
CREATE INDEX system_logs_time ON system_logs (at);
CREATE INDEX system_logs_context ON system_logs USING gin (context jsonb_path_ops);
ALTER POLICY seen ON system_logs USING (
    (SELECT sees_all()) OR (SELECT stream_ranges()) @> stream_no OR junction_id IN (SELECT seen_junctions())
    OR said_by = (SELECT app_user()));
SELECT grant_reading('system_logs');

CREATE INDEX lane_cycle_data_epcs ON lane_cycle_data USING gin (epc_ids);

-- What came over MQTT, as it came. Kept only where the settings ask for it.
CREATE TABLE mqtt_messages (
    at          timestamptz NOT NULL,
    junction_id uuid,
    topic       text NOT NULL,
    payload     bytea NOT NULL,
    qos         smallint NOT NULL,
    retained    boolean NOT NULL,
    -- stored, known (it came before), unreadable, foreign (no device is registered for its junction)
    outcome     text NOT NULL,
    detail      text
);
SELECT make_timeseries('mqtt_messages', 'at', 'day');
CREATE INDEX mqtt_messages_junction ON mqtt_messages (junction_id, at);
SELECT guard_rows('mqtt_messages', 'junction_id IN (SELECT seen_junctions())');

-- How far what an MQTT sender counts was taken in, per start of its program. It is written before the records that
-- it stands for, and holds once the device's stream has reached `stream_seq`; until then `before_*` does. `missing`:
-- pairs, the first and last of each run of messages before `seq` that did not come yet.
CREATE TABLE mqtt_positions (
    device_id      uuid NOT NULL REFERENCES edge_devices,
    channel        text NOT NULL,
    lane           text NOT NULL,
    sender         uuid NOT NULL,
    boot_id        uuid NOT NULL,
    seq            bigint NOT NULL,
    total          bigint NOT NULL,
    missing        bigint[] NOT NULL,
    stream_seq     bigint NOT NULL,
    before_seq     bigint NOT NULL,
    before_total   bigint NOT NULL,
    before_missing bigint[] NOT NULL,
    written_at     timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (device_id, channel, lane, sender, boot_id)
);


-- Days of junctions ----------------------------------------------------------------------------------------------

-- One row per junction and day there, of days that are over for a while: a worker makes it, and makes it anew when
-- something late changes the day. A row that is behind what is stored has a mark in `junction_day_marks`, or one in
-- `rollup_marks` for a minute of its day. Days without a row are just not made yet.
CREATE TABLE junction_daily_stats (
    junction_id       uuid NOT NULL REFERENCES junctions,
    day               date NOT NULL,
    starts_at         timestamptz NOT NULL,
    ends_at           timestamptz NOT NULL,
    -- All classes but people. NULL, as `people`: nothing was counted, and nothing watched.
    vehicles          bigint,
    people            bigint,
    by_class          jsonb NOT NULL,
    -- For how long the cameras watched, added up.
    measured_ms       bigint NOT NULL,
    -- NULL: retention had dropped them before they were added up.
    cycles            integer,
    mean_cycle_s      double precision,
    -- Mean over lanes' cycles, weighted by their green; and how many cycles.
    saturation        double precision,
    saturation_cycles integer,
    -- Orders by hand that took the lights.
    overrides         integer NOT NULL,
    computed_at       timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (junction_id, day)
);
SELECT guard_rows('junction_daily_stats', 'junction_id IN (SELECT seen_junctions())');

-- "This day has changed", by any moment of it: written in the transaction that changed it, taken by the worker.
-- Days that are not over for two days have none: they have no row yet. Append-only, as `rollup_marks` are.
CREATE TABLE junction_day_marks (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    junction_id uuid NOT NULL,
    at          timestamptz NOT NULL
);
CREATE INDEX junction_day_marks_junction ON junction_day_marks (junction_id);
SELECT guard_rows('junction_day_marks', 'junction_id IN (SELECT seen_junctions())');

CREATE FUNCTION mark_day_of_cycle() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO junction_day_marks (junction_id, at)
    SELECT d.junction_id, NEW.at
    FROM ingest_streams s JOIN edge_devices d ON d.id = s.device_id
    WHERE s.no = NEW.stream_no AND d.junction_id IS NOT NULL;
    RETURN NULL;
END $$;
CREATE TRIGGER mark_day AFTER INSERT ON traffic_cycles
FOR EACH ROW WHEN (NEW.at < now() - interval '2 days') EXECUTE FUNCTION mark_day_of_cycle();

CREATE FUNCTION mark_day_of_count() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO junction_day_marks (junction_id, at)
    SELECT d.junction_id, NEW.bucket
    FROM counting_zones z JOIN edge_devices d ON d.id = z.device_id
    WHERE z.no = NEW.source_no AND d.junction_id IS NOT NULL;
    RETURN NULL;
END $$;
CREATE TRIGGER mark_day AFTER INSERT OR UPDATE ON count_rollups
FOR EACH ROW WHEN (NEW.step_s = 86400 AND NEW.bucket < now() - interval '2 days')
EXECUTE FUNCTION mark_day_of_count();

CREATE FUNCTION mark_day_of_coverage() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO junction_day_marks (junction_id, at)
    SELECT d.junction_id, NEW.bucket
    FROM cameras c JOIN edge_devices d ON d.id = c.device_id
    WHERE c.no = NEW.camera_no AND d.junction_id IS NOT NULL;
    RETURN NULL;
END $$;
CREATE TRIGGER mark_day AFTER INSERT OR UPDATE ON coverage_rollups
FOR EACH ROW WHEN (NEW.step_s = 86400 AND NEW.bucket < now() - interval '2 days')
EXECUTE FUNCTION mark_day_of_coverage();

-- Few, and told of later than they began: always marked.
CREATE FUNCTION mark_day_of_override() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO junction_day_marks (junction_id, at)
    SELECT NEW.junction_id, at FROM (VALUES (NEW.began_at), (OLD.began_at)) AS told (at) WHERE at IS NOT NULL;
    RETURN NULL;
END $$;
CREATE TRIGGER mark_day AFTER INSERT OR UPDATE OF began_at ON manual_override_history
FOR EACH ROW EXECUTE FUNCTION mark_day_of_override();

-- All days of these junctions have changed, also those that a worker is just making and that cannot be seen yet: they
-- come after the last one, or begin with the first record of any device of theirs.
CREATE FUNCTION mark_days_of(changed uuid[]) RETURNS void
LANGUAGE sql AS $$
    INSERT INTO junction_day_marks (junction_id, at)
    SELECT junction_id, starts_at FROM junction_daily_stats WHERE junction_id = ANY (changed)
    UNION ALL
    SELECT j.id, generate_series(coalesce(k.ends_at, first.at), now(), interval '12 hours')
    FROM unnest(changed) AS j (id)
    LEFT JOIN LATERAL (
        SELECT ends_at FROM junction_daily_stats WHERE junction_id = j.id ORDER BY day DESC LIMIT 1
    ) k ON true
    LEFT JOIN LATERAL (
        SELECT least(
            (SELECT min(r.bucket) FROM edge_devices d JOIN counting_zones z ON z.device_id = d.id
             JOIN count_rollups r ON r.source_no = z.no AND r.step_s = 86400 WHERE d.junction_id = ANY (changed)),
            (SELECT min(c.at) FROM edge_devices d JOIN ingest_streams s ON s.device_id = d.id
             JOIN traffic_cycles c ON c.stream_no = s.no WHERE d.junction_id = ANY (changed)),
            (SELECT min(r.bucket) FROM edge_devices d JOIN cameras m ON m.device_id = d.id
             JOIN coverage_rollups r ON r.camera_no = m.no AND r.step_s = 86400 WHERE d.junction_id = ANY (changed))
        ) AS at
    ) first ON k.ends_at IS NULL
    WHERE j.id IS NOT NULL
$$;

-- Which devices stand at a junction, and which of their lines are its stop lines, decides what its days are.
CREATE FUNCTION mark_days_of_device() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM mark_days_of(ARRAY[OLD.junction_id, NEW.junction_id]);
    RETURN NULL;
END $$;
CREATE TRIGGER mark_days AFTER UPDATE OF junction_id ON edge_devices
FOR EACH ROW WHEN (OLD.junction_id IS DISTINCT FROM NEW.junction_id) EXECUTE FUNCTION mark_days_of_device();

CREATE FUNCTION mark_days_of_junction() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM mark_days_of(ARRAY[NEW.id]);
    RETURN NULL;
END $$;
CREATE TRIGGER mark_days AFTER UPDATE OF metadata, wanted ON junctions
FOR EACH ROW WHEN (coalesce(OLD.metadata #> '{lights,description}', OLD.wanted)
                   IS DISTINCT FROM coalesce(NEW.metadata #> '{lights,description}', NEW.wanted))
EXECUTE FUNCTION mark_days_of_junction();

-- How a junction is, by the worst of its devices that were not revoked.
CREATE VIEW v_junction_health WITH (security_invoker = true) AS
WITH heard AS (
    SELECT d.id, d.junction_id,
           (SELECT max(last_received_at) FROM ingest_streams s WHERE s.device_id = d.id) AS received_at
    FROM edge_devices d
    WHERE d.status = 'active' AND d.junction_id IS NOT NULL
), counted AS (
    SELECT junction_id, count(*) AS devices,
           count(*) FILTER (WHERE received_at >= now() - interval '5 minutes') AS healthy,
           count(*) FILTER (WHERE received_at < now() - interval '5 minutes'
                              AND received_at >= now() - interval '15 minutes') AS warning,
           count(*) FILTER (WHERE received_at < now() - interval '15 minutes') AS critical,
           count(*) FILTER (WHERE received_at IS NULL) AS never,
           max(received_at) AS received_at
    FROM heard GROUP BY junction_id
)
SELECT j.id AS junction_id, j.name,
       CASE WHEN c.critical > 0 THEN 'critical' WHEN c.warning > 0 THEN 'warning' WHEN c.healthy > 0 AND c.never = 0
            THEN 'healthy' WHEN c.healthy > 0 THEN 'warning' ELSE 'never' END AS state,
       coalesce(c.devices, 0) AS devices, coalesce(c.healthy, 0) AS healthy, coalesce(c.warning, 0) AS warning,
       coalesce(c.critical, 0) AS critical, coalesce(c.never, 0) AS never, c.received_at
FROM junctions j
LEFT JOIN counted c ON c.junction_id = j.id;
GRANT SELECT ON v_junction_health TO stopline_reader;


-- Who did what ---------------------------------------------------------------------------------------------------

-- It is written in the transaction of what was done, and never changed. No foreign keys: it outlasts all it names,
-- which is why names stand beside the ids.
CREATE TABLE audit_log (
    no           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at           timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- NULL: nobody who signed in.
    user_id      uuid,
    user_name    text NOT NULL,
    address      text NOT NULL,
    action       text NOT NULL,
    subject_kind text NOT NULL,
    subject_id   uuid,
    subject_name text NOT NULL,
    junction_id  uuid,
    before       jsonb,
    after        jsonb
);
CREATE INDEX audit_log_time ON audit_log (at);
CREATE INDEX audit_log_user ON audit_log (user_id, no);
CREATE INDEX audit_log_subject ON audit_log (subject_id, no);
CREATE INDEX audit_log_junction ON audit_log (junction_id, no);
CREATE INDEX audit_log_action ON audit_log (action, no);

CREATE FUNCTION refuse_change() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is written once and never changed', TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
END $$;
CREATE TRIGGER written_once BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_log
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- An invitation may bring access to junctions, and may be taken back.
ALTER TABLE invitations ADD COLUMN id uuid NOT NULL DEFAULT gen_random_uuid();
ALTER TABLE invitations ADD COLUMN all_junctions boolean NOT NULL DEFAULT false;
ALTER TABLE invitations ADD COLUMN revoked_at timestamptz;
CREATE UNIQUE INDEX invitations_id ON invitations (id);
CREATE TABLE invitation_access (
    invitation_id uuid NOT NULL REFERENCES invitations (id) ON DELETE CASCADE,
    junction_id   uuid NOT NULL REFERENCES junctions ON DELETE CASCADE,
    level         text NOT NULL CHECK (level IN ('read', 'operate')),
    PRIMARY KEY (invitation_id, junction_id)
);
CREATE INDEX invitation_access_junction ON invitation_access (junction_id);

-- What each active user may at each junction, and why. To be asked for one user, or one junction.
CREATE VIEW v_user_permissions WITH (security_invoker = true) AS
SELECT u.id AS user_id, u.name AS user_name, u.role, j.id AS junction_id, j.name AS junction_name,
       true AS may_read,
       u.role <> 'viewer' AND (u.role = 'admin' OR u.all_junctions OR a.level = 'operate') AS may_operate,
       CASE WHEN u.role = 'admin' THEN 'admin' WHEN u.all_junctions THEN 'all_junctions' ELSE 'granted' END AS why,
       a.level AS granted_level, a.granted_at, g.name AS granted_by
FROM users u
CROSS JOIN junctions j
LEFT JOIN user_junction_access a ON a.user_id = u.id AND a.junction_id = j.id
LEFT JOIN users g ON g.id = a.granted_by
WHERE u.status = 'active' AND (u.role = 'admin' OR u.all_junctions OR a.user_id IS NOT NULL);


-- Devices are found by their name --------------------------------------------------------------------------------

-- The pieces of three letters of a name, by which any part of it is found.
CREATE FUNCTION name_pieces(name text) RETURNS text[]
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT array_agg(DISTINCT substr(lower(name), n, 3)) FROM generate_series(1, greatest(length(name) - 2, 1)) AS n
$$;
CREATE INDEX edge_devices_name ON edge_devices (name, id);
CREATE INDEX edge_devices_pieces ON edge_devices USING gin (name_pieces(name));

-- When it was last heard, in steps of five minutes: an index of the very time would be written with every batch.
ALTER TABLE ingest_streams ADD COLUMN
    heard_in timestamptz GENERATED ALWAYS AS (date_bin('5 minutes', last_received_at, 'epoch')) STORED;
CREATE INDEX ingest_streams_heard ON ingest_streams (heard_in, device_id);

CREATE INDEX ingest_rejects_kept ON ingest_rejects (stream_no, received_at);
CREATE INDEX ingest_gaps_stream_time ON ingest_gaps (stream_no, at);
CREATE INDEX ingest_gaps_lost ON ingest_gaps (stream_no) INCLUDE (seq, from_seq) WHERE from_seq IS NOT NULL;


-- What one of all workers does now and then ----------------------------------------------------------------------

CREATE TABLE duties (
    name   text PRIMARY KEY,
    due_at timestamptz NOT NULL
);


-- Lists of junctions ---------------------------------------------------------------------------------------------

-- What a list shows of a junction is kept in one small row each, by triggers, so that a page of thousands of junctions
-- reads no devices, streams or rollups. And who sees what is found by indexes, also of few junctions among very many.

-- Which minutes of a source wait.
CREATE INDEX rollup_marks_counted ON rollup_marks (ref_no, minute) WHERE kind = 'count';

-- Devices that were never heard are found at once.
ALTER TABLE edge_devices ADD COLUMN has_sent boolean NOT NULL DEFAULT false;
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
    -- Whether it has lines of cameras: what crossed them is the sum, and nothing else of the same vehicles.
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

-- Hours of junctions ----------------------------------------------------------------------------------------------

-- One row per junction and hour there, of junctions whose lights have told what they are: a worker makes it when the
-- hour has been over for half an hour, and makes it anew when something late changes it. A row that is behind what
-- is stored has a mark in `junction_hour_marks`. Hours without a row are just not made.
CREATE TABLE junction_hourly_stats (
    junction_id uuid NOT NULL,
    starts_at   timestamptz NOT NULL,
    ends_at     timestamptz NOT NULL,
    -- What cycles add up to, by lane, and how long they were; what zones do.
    lanes       jsonb NOT NULL,
    lengths     jsonb NOT NULL,
    zones       jsonb NOT NULL,
    -- What the event log adds up to, as `described` reads it, and what is known at the end. NULL: it is not known.
    described   text,
    log         jsonb,
    state       jsonb,
    computed_at timestamptz NOT NULL DEFAULT now()
);
SELECT make_timeseries('junction_hourly_stats', 'starts_at', 'month', 90);
CREATE UNIQUE INDEX junction_hourly_stats_key ON junction_hourly_stats (junction_id, starts_at);
SELECT guard_rows('junction_hourly_stats', 'junction_id IN (SELECT seen_junctions())');

-- "This quarter of an hour has changed": as `junction_day_marks`, for what is stored later than a quarter of an hour.
CREATE TABLE junction_hour_marks (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    junction_id uuid NOT NULL,
    at          timestamptz NOT NULL
);
CREATE INDEX junction_hour_marks_junction ON junction_hour_marks (junction_id, at);
SELECT guard_rows('junction_hour_marks', 'junction_id IN (SELECT seen_junctions())');

-- Rows that a device was late with come side by side: one mark of a transaction is enough for those of a quarter.
CREATE FUNCTION mark_hour() RETURNS trigger
LANGUAGE plpgsql AS $$
DECLARE
    quarter timestamptz := date_bin('15 minutes', NEW.at, 'epoch');
    place text := NEW.stream_no || ' ' || extract(epoch FROM quarter);
BEGIN
    IF current_setting('stopline.marked_hour', true) IS DISTINCT FROM place THEN
        INSERT INTO junction_hour_marks (junction_id, at)
        SELECT d.junction_id, quarter
        FROM ingest_streams s JOIN edge_devices d ON d.id = s.device_id
        WHERE s.no = NEW.stream_no AND d.junction_id IS NOT NULL;
        PERFORM set_config('stopline.marked_hour', place, true);
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER mark_hour AFTER INSERT ON traffic_cycles
FOR EACH ROW WHEN (NEW.at < now() - interval '15 minutes') EXECUTE FUNCTION mark_hour();
CREATE TRIGGER mark_hour AFTER INSERT ON signal_events
FOR EACH ROW WHEN (NEW.at < now() - interval '15 minutes') EXECUTE FUNCTION mark_hour();
CREATE TRIGGER mark_hour AFTER INSERT ON zone_occupancy
FOR EACH ROW WHEN (NEW.at < now() - interval '15 minutes') EXECUTE FUNCTION mark_hour();

-- Which devices stand at a junction decides what its hours are; how its lights are described, how its log is read.
CREATE FUNCTION mark_hours_of_device() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO junction_hour_marks (junction_id, at)
    SELECT junction_id, starts_at FROM junction_hourly_stats WHERE junction_id IN (OLD.junction_id, NEW.junction_id)
    UNION ALL
    -- Those that may be made just now cannot be seen yet.
    SELECT j.id, generate_series(coalesce(k.ends_at, now() - interval '9 days'), now(), interval '1 hour')
    FROM junctions j
    LEFT JOIN LATERAL (
        SELECT ends_at FROM junction_hourly_stats
        WHERE junction_id = j.id AND starts_at >= now() - interval '35 days' ORDER BY starts_at DESC LIMIT 1
    ) k ON true
    WHERE j.id IN (OLD.junction_id, NEW.junction_id) AND j.metadata #> '{lights,description}' IS NOT NULL;
    RETURN NULL;
END $$;
CREATE TRIGGER mark_hours AFTER UPDATE OF junction_id ON edge_devices
FOR EACH ROW WHEN (OLD.junction_id IS DISTINCT FROM NEW.junction_id) EXECUTE FUNCTION mark_hours_of_device();

CREATE FUNCTION mark_hours_of_junction() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO junction_hour_marks (junction_id, at)
    SELECT junction_id, starts_at FROM junction_hourly_stats
    WHERE junction_id = NEW.id AND starts_at >= now() - interval '31 days';
    RETURN NULL;
END $$;
CREATE TRIGGER mark_hours AFTER UPDATE OF metadata, wanted ON junctions
FOR EACH ROW WHEN (coalesce(OLD.metadata #> '{lights,description}', OLD.wanted)
                   IS DISTINCT FROM coalesce(NEW.metadata #> '{lights,description}', NEW.wanted))
EXECUTE FUNCTION mark_hours_of_junction();

-- Emergency vehicles, and where users sign in ----------------------------------------------------------------------

-- Each time that an emergency vehicle held a junction's lights, as their event log tells. Never deleted.
CREATE TABLE preemption_history (
    id          uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    junction_id uuid NOT NULL REFERENCES junctions,
    -- As the event log names it; `name`: as the lights' description did then, if it was known.
    number      integer NOT NULL,
    name        text,
    began_at    timestamptz NOT NULL,
    -- It holds no longer than this. NULL: not known.
    expires_at  timestamptz,
    ended_at    timestamptz,
    -- `untold`: the next one began, and nothing tells when this one ended.
    ended_by    text CHECK (ended_by IN ('exit', 'too_long', 'restart', 'untold')),
    UNIQUE (junction_id, began_at, number)
);
CREATE INDEX preemption_history_open ON preemption_history (junction_id) WHERE ended_at IS NULL;
SELECT guard_rows('preemption_history', 'junction_id IN (SELECT seen_junctions())');

-- All that took a junction's lights out of automatic control, as it is now.
CREATE VIEW v_control_history WITH (security_invoker = true) AS
SELECT id, junction_id, CASE WHEN command_id IS NULL THEN 'beside' ELSE 'collector' END AS origin, command_id, user_id,
       user_name, mode, settings, why, ordered_at, began_at, expires_at, ended_at, ended_by
FROM v_override_history
UNION ALL
SELECT id, junction_id, 'preemption', NULL, NULL, coalesce(name, 'preemption ' || number), 'preempt',
       jsonb_build_object('number', number), '', began_at, began_at, expires_at,
       coalesce(ended_at, CASE WHEN expires_at <= now() THEN expires_at END),
       coalesce(ended_by, CASE WHEN expires_at <= now() THEN 'untold' END)
FROM preemption_history;
GRANT SELECT ON v_control_history TO stopline_reader;

-- Where a user signed in of late: whoever guesses elsewhere does not keep them out there.
CREATE TABLE familiar_networks (
    user_id uuid NOT NULL REFERENCES users ON DELETE CASCADE,
    -- As `failed_sign_ins` tells addresses apart.
    network text NOT NULL,
    last_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (user_id, network)
);

-- Lists of a whole city ----------------------------------------------------------------------------------------------

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

-- When a stream was last heard, in steps of a minute. In steps of five, those that were heard just now looked for a
-- minute of each five as if they might be silent.
ALTER TABLE ingest_streams DROP COLUMN heard_in;
ALTER TABLE ingest_streams ADD COLUMN
    heard_in timestamptz GENERATED ALWAYS AS (date_bin('1 minute', last_received_at, 'epoch')) STORED;
CREATE INDEX ingest_streams_heard ON ingest_streams (heard_in, device_id);

-- Kept days and hours in another zone and further back, faults of lights --------------------------------------------

-- Whether a time is one day or hour of a zone.
CREATE FUNCTION is_bucket(start timestamptz, until timestamptz, step_s integer, zone text) RETURNS boolean
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT bucket_start(until - interval '1 microsecond', step_s, zone) = start
           AND bucket_start(until, step_s, zone) = until
$$;

-- From when on all hours of a junction were made, as far as they are over; '-infinity': there is nothing further back.
-- A worker that has nothing else to do goes on from there.
CREATE TABLE junction_hours_back (
    junction_id uuid PRIMARY KEY,
    made_from   timestamptz NOT NULL
);
CREATE INDEX junction_hours_back_next ON junction_hours_back (made_from) WHERE made_from > '-infinity';
SELECT guard_rows('junction_hours_back', 'junction_id IN (SELECT seen_junctions())');

-- Up to when some of what days (86400) or hours (3600) are made from was dropped.
CREATE FUNCTION dropped_for(step_s integer) RETURNS timestamptz
LANGUAGE sql STABLE AS $$
    SELECT max(dropped_before) FROM timeseries
    WHERE table_name IN ('traffic_cycles', 'lane_cycle_data')
       OR step_s = 3600 AND table_name IN ('zone_occupancy', 'signal_events')
$$;

-- Days and hours that the new zone does not have go, as far as they can be made anew: all of them, so that workers
-- find none between others. Whoever rolls up, or makes days or hours just now, is waited for; who comes later does so
-- in the new zone.
CREATE OR REPLACE FUNCTION timezone_changed() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(1398034257);
    PERFORM pg_advisory_xact_lock(1398034258);
    PERFORM pg_advisory_xact_lock(1398034259);
    UPDATE junction_days SET timezone = NEW.timezone WHERE junction_id = NEW.id;
    PERFORM FROM edge_devices WHERE junction_id = NEW.id ORDER BY id FOR NO KEY UPDATE;
    PERFORM keep_counts(ARRAY[NEW.id]);
    IF EXISTS (SELECT FROM junction_daily_stats WHERE junction_id = NEW.id AND starts_at >= dropped_for(86400)
               AND NOT is_bucket(starts_at, ends_at, 86400, NEW.timezone)) THEN
        DELETE FROM junction_daily_stats WHERE junction_id = NEW.id AND starts_at >= dropped_for(86400);
    END IF;
    IF EXISTS (SELECT FROM junction_hourly_stats WHERE junction_id = NEW.id AND starts_at >= dropped_for(3600)
               AND NOT is_bucket(starts_at, ends_at, 3600, NEW.timezone)) THEN
        DELETE FROM junction_hourly_stats WHERE junction_id = NEW.id AND starts_at >= dropped_for(3600);
        UPDATE junction_hours_back SET made_from = now() WHERE junction_id = NEW.id;
    END IF;
    RETURN NULL;
END $$;

-- Hours that are made just now lie anywhere: whoever makes them is waited for. And the device may bring older ones.
CREATE OR REPLACE FUNCTION mark_hours_of_device() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO junction_hour_marks (junction_id, at)
    SELECT junction_id, starts_at FROM junction_hourly_stats WHERE junction_id IN (OLD.junction_id, NEW.junction_id);
    UPDATE junction_hours_back SET made_from = now() WHERE junction_id IN (OLD.junction_id, NEW.junction_id);
    RETURN NULL;
END $$;

-- Each time that a junction's lights flashed by a fault, as their event log and their log tell. Never deleted.
CREATE TABLE fault_history (
    id          uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    junction_id uuid NOT NULL REFERENCES junctions,
    -- In the lights' own words; empty: only the event log tells of it.
    why         text NOT NULL,
    began_at    timestamptz NOT NULL,
    ended_at    timestamptz,
    -- `another`: one fault came while the other was there, or nothing tells when this one ended.
    ended_by    text CHECK (ended_by IN ('cleared', 'restart', 'another')),
    UNIQUE (junction_id, began_at)
);
SELECT guard_rows('fault_history', 'junction_id IN (SELECT seen_junctions())');

-- All that took a junction's lights out of automatic control, as it is now.
CREATE OR REPLACE VIEW v_control_history WITH (security_invoker = true) AS
SELECT id, junction_id, CASE WHEN command_id IS NULL THEN 'beside' ELSE 'collector' END AS origin, command_id, user_id,
       user_name, mode, settings, why, ordered_at, began_at, expires_at, ended_at, ended_by
FROM v_override_history
UNION ALL
SELECT id, junction_id, 'preemption', NULL, NULL, coalesce(name, 'preemption ' || number), 'preempt',
       jsonb_build_object('number', number), '', began_at, began_at, expires_at,
       coalesce(ended_at, CASE WHEN expires_at <= now() THEN expires_at END),
       coalesce(ended_by, CASE WHEN expires_at <= now() THEN 'untold' END)
FROM preemption_history
UNION ALL
SELECT id, junction_id, 'fault', NULL, NULL, 'the lights themselves', 'flash', '{}', why, began_at, began_at, NULL,
       ended_at, ended_by
FROM fault_history;

-- Counts and rollups that are emptied and loaded again, as some do who restore them, are in the days of lists once.
CREATE FUNCTION rollups_emptied() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    IF TG_TABLE_NAME = 'count_events' THEN
        DELETE FROM junction_counts;
    ELSIF TG_TABLE_NAME = 'count_rollups' THEN
        UPDATE junction_days SET n_camera = 0, n_other = 0;
    ELSE
        UPDATE junction_days SET measured_ms = 0;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER kept_on_truncate AFTER TRUNCATE ON count_events
    FOR EACH STATEMENT EXECUTE FUNCTION rollups_emptied();
CREATE TRIGGER kept_on_truncate AFTER TRUNCATE ON count_rollups
    FOR EACH STATEMENT EXECUTE FUNCTION rollups_emptied();
CREATE TRIGGER kept_on_truncate AFTER TRUNCATE ON coverage_rollups
    FOR EACH STATEMENT EXECUTE FUNCTION rollups_emptied();

-- Who moves devices waits for workers before it locks any of them: ingest would wait behind it. And in the order in
-- which others take these locks: first the junction, then these, then devices, then what is kept of them.
CREATE FUNCTION hold_workers() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(1398034257);
    PERFORM pg_advisory_xact_lock(1398034259);
    RETURN NULL;
END $$;
CREATE TRIGGER held BEFORE UPDATE OF junction_id ON edge_devices
    FOR EACH STATEMENT EXECUTE FUNCTION hold_workers();

-- Lists in an order --------------------------------------------------------------------------------------------------

-- Lists in the order of what is kept of junctions: found by indexes, in steps, so that most updates stay in place.

-- Each junction has its row, also if it was never heard.
CREATE FUNCTION junctions_made() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO junction_heard (junction_id) SELECT id FROM after_rows ON CONFLICT DO NOTHING;
    RETURN NULL;
END $$;
CREATE TRIGGER kept_on_insert AFTER INSERT ON junctions
    REFERENCING NEW TABLE AS after_rows FOR EACH STATEMENT EXECUTE FUNCTION junctions_made();
CREATE INDEX junctions_lit ON junctions (name) WHERE lights_device_id IS NOT NULL OR metadata ? 'lights';
CREATE INDEX junctions_unlit ON junctions (name) WHERE NOT (lights_device_id IS NOT NULL OR metadata ? 'lights');

-- The devices of a junction and their names are read from an index alone.
CREATE INDEX edge_devices_place ON edge_devices (junction_id, name, id);
DROP INDEX edge_devices_junction;

-- Counts in steps of a fiftieth, from one on.
ALTER TABLE junction_counts ADD COLUMN n_step integer GENERATED ALWAYS AS (
    CASE WHEN n_camera > 0 THEN floor(50 * ln(n_camera::double precision))::integer
         WHEN n_camera = 0 AND n_other > 0 THEN floor(50 * ln(n_other::double precision))::integer END
) STORED;
CREATE INDEX junction_counts_step ON junction_counts (bucket, timezone, n_step) WHERE n_step IS NOT NULL;

-- When a junction was last heard, in steps of a minute.
INSERT INTO junction_heard (junction_id) SELECT id FROM junctions ON CONFLICT DO NOTHING;
ALTER TABLE junction_heard ADD COLUMN
    heard_in timestamptz GENERATED ALWAYS AS (date_bin('1 minute', received_at, 'epoch')) STORED;
CREATE INDEX junction_heard_in ON junction_heard (heard_in);

-- How many of the newest lines before a time have each pattern in their text, and at last how many have a context,
-- whoever may see them. It tells what is rare.
CREATE FUNCTION log_matches(until timestamptz, lines integer, patterns text[], told jsonb) RETURNS bigint[]
LANGUAGE plpgsql STABLE PARALLEL SAFE SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
    RETURN (
        WITH newest AS MATERIALIZED (
            SELECT message, context FROM system_logs WHERE at < until ORDER BY at DESC LIMIT lines
        )
        SELECT ARRAY(SELECT (SELECT count(*) FROM newest WHERE message ILIKE pattern)
                     FROM unnest(patterns) WITH ORDINALITY AS x (pattern, place) ORDER BY place)
               || (SELECT count(*) FROM newest WHERE context @> told)
    );
END $$;

-- Where lines are that have a pattern in their text, or a context, if that is not NULL: for a user who may see some
-- junctions only, by indexes that do not serve them. Who reads these places sees what they may, of theirs and of what
-- was posted.
CREATE FUNCTION log_places(since timestamptz, until timestamptz, pattern text, told jsonb)
RETURNS TABLE (at timestamptz, stream_no integer, seq bigint)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
    wanted text := concat_ws(' AND ', CASE WHEN pattern IS NOT NULL THEN 'l.message ILIKE $3' END,
                                      CASE WHEN told IS NOT NULL THEN 'l.context @> $4' END);
BEGIN
    RETURN QUERY EXECUTE
        'SELECT l.at, l.stream_no, l.seq FROM (
            SELECT l.at, l.stream_no, l.seq FROM system_logs l WHERE l.at >= $1 AND l.at < $2 AND ' || wanted || ' OFFSET 0
        ) l
        WHERE l.stream_no IS NULL OR (SELECT stream_ranges()) @> l.stream_no'
    USING since, until, pattern, told;
END $$;

-- What is shown of each device of a junction that a user may see, for who may see some only: to find out whether they
-- may see the rows of three tables takes longer than to read these.
CREATE FUNCTION devices_told(junction uuid)
RETURNS TABLE (device_id uuid, received_at timestamptz, sensors jsonb)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
    IF NOT sees_all() AND junction NOT IN (SELECT seen_junctions()) THEN
        RETURN;
    END IF;
    RETURN QUERY
    SELECT d.id, (SELECT max(s.last_received_at) FROM ingest_streams s WHERE s.device_id = d.id),
           (SELECT coalesce(jsonb_agg(each.name ORDER BY each.name), '[]') FROM (
                SELECT c.name FROM cameras c WHERE c.device_id = d.id
                UNION SELECT z.sensor FROM counting_zones z WHERE z.device_id = d.id
            ) each)
    FROM edge_devices d WHERE d.junction_id = junction;
END $$;

-- What is known of devices by their streams, of each that has one. Each stream is looked up once, with what is told of
-- it; then those of a device are summed. A health record is looked for in the day before the stream's latest record, so
-- that few partitions are touched.
CREATE TYPE device_told AS (
    device_id uuid, received_at timestamptz, last_at timestamptz, made bigint, stored bigint, rejected bigint,
    lost bigint, adds_up boolean, gaps_last_day bigint, lost_last_day bigint, rejects_open bigint,
    health_at timestamptz, version text, uptime_s double precision, cpu_percent real, memory_percent real,
    temperature_c real, disk_free_mb real, throttled text, clock_synced boolean, clock_error_ms bigint,
    outbox_records integer, outbox_bytes bigint, outbox_dropped bigint, sensors jsonb
);
CREATE FUNCTION device_facts(devices uuid[]) RETURNS SETOF device_told
LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN QUERY
    SELECT t.device_id, t.received_at, t.last_at, t.made::bigint, t.stored::bigint, t.rejected::bigint, t.lost::bigint,
           t.adds_up, t.gaps_last_day::bigint, t.lost_last_day::bigint, t.rejects_open::bigint, t.at, t.version,
           t.uptime_s, t.cpu_percent, t.memory_percent, t.temperature_c, t.disk_free_mb, t.throttled, t.clock_synced,
           t.clock_error_ms, t.outbox_records, t.outbox_bytes, t.outbox_dropped, t.sensors
    FROM (
        SELECT s.device_id, max(s.last_received_at) OVER own AS received_at, max(s.last_at) OVER own AS last_at,
               sum(s.last_seq) OVER own AS made, sum(s.stored) OVER own AS stored, sum(s.rejected) OVER own AS rejected,
               sum(s.lost) OVER own AS lost,
               bool_and(s.last_seq = s.stored + s.rejected + s.lost AND s.lost = g.lost) OVER own AS adds_up,
               sum(l.n) OVER own AS gaps_last_day, sum(l.lost) OVER own AS lost_last_day,
               sum(r.n) OVER own AS rejects_open,
               row_number() OVER (PARTITION BY s.device_id ORDER BY h.at DESC NULLS LAST) AS nth, h.*
        FROM unnest(devices) AS asked (id)
        CROSS JOIN LATERAL (
            SELECT (metadata ->> 'rejects_seen_until')::timestamptz AS seen_until
            FROM edge_devices WHERE id = asked.id OFFSET 0
        ) d
        CROSS JOIN LATERAL (SELECT * FROM ingest_streams WHERE device_id = asked.id OFFSET 0) s
        CROSS JOIN LATERAL (
            SELECT coalesce(sum(seq - from_seq + 1), 0)::bigint AS lost
            FROM ingest_gaps WHERE stream_no = s.no AND from_seq IS NOT NULL
        ) g
        CROSS JOIN LATERAL (
            SELECT count(*) AS n, coalesce(sum(seq - from_seq + 1), 0)::bigint AS lost
            FROM ingest_gaps WHERE stream_no = s.no AND at >= now() - interval '1 day'
        ) l
        CROSS JOIN LATERAL (
            SELECT count(*) AS n FROM (
                SELECT FROM ingest_rejects
                WHERE stream_no = s.no AND received_at > coalesce(d.seen_until, '-infinity') LIMIT 1000
            ) few
        ) r
        LEFT JOIN LATERAL (
            SELECT h.at, h.version, h.uptime_s, h.cpu_percent, h.memory_percent, h.temperature_c, h.disk_free_mb,
                   h.throttled, h.clock_synced, h.clock_error_ms, h.outbox_records, h.outbox_bytes, h.outbox_dropped,
                   h.sensors
            FROM device_health h
            WHERE h.stream_no = s.no AND h.at >= s.last_at - interval '1 day' AND h.at <= s.last_at
            ORDER BY h.at DESC LIMIT 1
        ) h ON true
        WINDOW own AS (PARTITION BY s.device_id)
    ) t
    WHERE t.nth = 1;
END $$;

-- The same for a user who may see some junctions only: to find out whether they may see the rows of all these tables
-- takes longer than to read them, so it is found out once, of the devices.
CREATE FUNCTION seen_device_facts(devices uuid[]) RETURNS SETOF device_told
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
    IF NOT sees_all() THEN
        devices := ARRAY(SELECT unnest(devices) INTERSECT SELECT seen_devices());
    END IF;
    RETURN QUERY SELECT * FROM device_facts(devices);
END $$;

-- Heard devices -------------------------------------------------------------------------------------------------------

-- The devices that were heard last, without a look at all others of their junctions.

-- Which device of a junction was heard last, and that no other was later than `others_at`: so those that were heard last
-- of all are found without a look at all others of their junctions. NULL: it is not known which, until one is heard.
ALTER TABLE junction_heard ADD COLUMN device_id uuid, ADD COLUMN others_at timestamptz;

CREATE OR REPLACE FUNCTION streams_heard() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        -- None of them moves to another junction meanwhile; who moves them locks in this order, too.
        PERFORM FROM edge_devices WHERE id IN (SELECT device_id FROM after_rows) ORDER BY id FOR NO KEY UPDATE;
    END IF;
    INSERT INTO junction_heard AS h (junction_id, received_at, last_at, device_id, others_at)
    SELECT d.junction_id, max(a.received_at), max(a.last_at), (array_agg(a.device_id))[1],
           -- A transaction stores all at one time.
           CASE WHEN count(*) > 1 THEN max(a.received_at) END
    FROM (
        SELECT device_id, max(last_received_at) AS received_at, max(last_at) AS last_at
        FROM after_rows GROUP BY device_id
    ) a
    CROSS JOIN LATERAL (SELECT junction_id FROM edge_devices WHERE id = a.device_id OFFSET 0) d
    WHERE d.junction_id IS NOT NULL
    GROUP BY d.junction_id
    ORDER BY d.junction_id
    ON CONFLICT (junction_id) DO UPDATE
    SET received_at = greatest(h.received_at, excluded.received_at),
        last_at = greatest(h.last_at, excluded.last_at),
        device_id = CASE WHEN h.received_at >= excluded.received_at THEN h.device_id ELSE excluded.device_id END,
        others_at = CASE WHEN h.device_id = excluded.device_id THEN greatest(h.others_at, excluded.others_at)
                         ELSE greatest(least(h.received_at, excluded.received_at), h.others_at, excluded.others_at) END;
    RETURN NULL;
END $$;

CREATE OR REPLACE FUNCTION keep_heard(changed uuid[]) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO junction_heard (junction_id)
    SELECT DISTINCT id FROM unnest(changed) AS id WHERE id IS NOT NULL ORDER BY id
    ON CONFLICT DO NOTHING;
    PERFORM FROM junction_heard WHERE junction_id = ANY (changed) ORDER BY junction_id FOR NO KEY UPDATE;
    UPDATE junction_heard h
    SET received_at = s.received_at, last_at = s.last_at, device_id = NULL, others_at = s.received_at
    FROM unnest(changed) AS of (id)
    CROSS JOIN LATERAL (
        SELECT max(last_received_at) AS received_at, max(last_at) AS last_at
        FROM ingest_streams
        WHERE device_id = ANY (ARRAY(SELECT d.id FROM edge_devices d WHERE d.junction_id = of.id))
    ) s
    WHERE h.junction_id = of.id;
END $$;

-- What is known of devices by their streams, of each that has one. A health record is looked for in the day before the
-- stream's latest record, so that few partitions are touched.
CREATE OR REPLACE FUNCTION device_facts(devices uuid[]) RETURNS SETOF device_told
LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN QUERY
    SELECT d.id, t.received_at, t.last_at, t.made, t.stored, t.rejected, t.lost, t.adds_up, t.gaps_last_day,
           t.lost_last_day, t.rejects_open, h.*
    FROM (
        SELECT id, coalesce((metadata ->> 'rejects_seen_until')::timestamptz, '-infinity') AS seen_until
        FROM edge_devices WHERE id = ANY (devices) OFFSET 0
    ) d
    CROSS JOIN LATERAL (
        SELECT max(s.last_received_at) AS received_at, max(s.last_at) AS last_at, sum(s.last_seq)::bigint AS made,
               sum(s.stored)::bigint AS stored, sum(s.rejected)::bigint AS rejected, sum(s.lost)::bigint AS lost,
               bool_and(s.last_seq = s.stored + s.rejected + s.lost AND s.lost = g.lost) AS adds_up,
               sum(l.n)::bigint AS gaps_last_day, sum(l.lost)::bigint AS lost_last_day,
               sum(r.n)::bigint AS rejects_open
        FROM (SELECT * FROM ingest_streams WHERE device_id = d.id OFFSET 0) s
        CROSS JOIN LATERAL (
            SELECT coalesce(sum(seq - from_seq + 1), 0)::bigint AS lost
            FROM ingest_gaps WHERE stream_no = s.no AND from_seq IS NOT NULL
        ) g
        CROSS JOIN LATERAL (
            SELECT count(*) AS n, coalesce(sum(seq - from_seq + 1), 0)::bigint AS lost
            FROM ingest_gaps WHERE stream_no = s.no AND at >= now() - interval '1 day'
        ) l
        CROSS JOIN LATERAL (
            SELECT count(*) AS n FROM (
                SELECT FROM ingest_rejects WHERE stream_no = s.no AND received_at > d.seen_until LIMIT 1000
            ) few
        ) r
        HAVING count(*) > 0
    ) t
    LEFT JOIN LATERAL (
        SELECT h.* FROM ingest_streams s
        CROSS JOIN LATERAL (
            SELECT h.at, h.version, h.uptime_s, h.cpu_percent, h.memory_percent, h.temperature_c, h.disk_free_mb,
                   h.throttled, h.clock_synced, h.clock_error_ms, h.outbox_records, h.outbox_bytes, h.outbox_dropped,
                   h.sensors
            FROM device_health h
            WHERE h.stream_no = s.no AND h.at >= s.last_at - interval '1 day' AND h.at <= s.last_at
            ORDER BY h.at DESC LIMIT 1
        ) h
        WHERE s.device_id = d.id
        ORDER BY h.at DESC LIMIT 1
    ) h ON true;
END $$;
CREATE OR REPLACE FUNCTION seen_device_facts(devices uuid[]) RETURNS SETOF device_told
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
    seen uuid[] := ARRAY(SELECT seen_junctions());
BEGIN
    IF NOT sees_all() THEN
        devices := ARRAY(SELECT id FROM edge_devices WHERE id = ANY (devices) AND junction_id = ANY (seen));
    END IF;
    RETURN QUERY SELECT * FROM device_facts(devices);
END $$;

-- A page of the log, newest first, before a place, for a user who may see some junctions only: whose streams these are
-- is found out once.
CREATE FUNCTION seen_log_page(
    since timestamptz, until timestamptz, before_at timestamptz, before_stream integer, before_seq bigint,
    levels text[], lines integer
)
RETURNS TABLE (
    at timestamptz, at_error_ms bigint, stream_no integer, seq bigint, level text, action text, message text,
    context jsonb, device_id uuid, device_name text, junction_id uuid, junction_name text, said_by uuid,
    said_by_name text
)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
    seen uuid[] := ARRAY(SELECT seen_junctions());
    streams integer[] := ARRAY(
        SELECT generate_series(lower(nos), upper(nos) - 1)
        FROM junction_parts p CROSS JOIN LATERAL unnest(p.stream_nos) AS nos WHERE p.junction_id = ANY (seen));
BEGIN
    -- Planned for these values: a plan for any would not use what is selective.
    RETURN QUERY EXECUTE
        'WITH page AS MATERIALIZED (
            SELECT l.* FROM system_logs l
            WHERE l.at >= $1 AND l.at < $2 AND l.at <= $3
              AND (l.at, coalesce(l.stream_no, 0), l.seq) < ($3, $4, $5)
              AND ($6 IS NULL OR l.level = ANY ($6))
              AND (l.stream_no = ANY ($8)
                   OR l.stream_no IS NULL AND ($10 OR l.junction_id = ANY ($9) OR l.said_by = $11))
            ORDER BY l.at DESC, coalesce(l.stream_no, 0) DESC, l.seq DESC
            LIMIT $7
        )
        SELECT l.at, l.at_error_ms, coalesce(l.stream_no, 0), l.seq, l.level, l.action, l.message, l.context, d.id,
               d.name, j.id, j.name, l.said_by, l.said_by_name
        FROM page l
        LEFT JOIN LATERAL (SELECT device_id FROM ingest_streams WHERE no = l.stream_no OFFSET 0) s ON true
        LEFT JOIN LATERAL (SELECT id, name, junction_id FROM edge_devices WHERE id = s.device_id OFFSET 0) d ON true
        CROSS JOIN LATERAL (SELECT coalesce(d.junction_id, l.junction_id) AS id OFFSET 0) place
        LEFT JOIN LATERAL (
            SELECT id, name FROM junctions WHERE id = place.id AND ($10 OR id = ANY ($9)) OFFSET 0
        ) j ON true
        ORDER BY l.at DESC, coalesce(l.stream_no, 0) DESC, l.seq DESC'
    USING since, until, before_at, before_stream, before_seq, levels, lines, streams, seen, sees_all(), app_user();
END $$;

-- When sources are in force -------------------------------------------------------------------------------------------

-- When a camera counted at a line, zone or turn: one that was drawn later, or taken away, was not measured at all times
-- at which its camera was.

-- NULL: nobody told, and it is taken to be always.
ALTER TABLE counting_zones ADD COLUMN in_force tstzmultirange;

-- Streams that were retired ------------------------------------------------------------------------------------------

-- Streams that tell nothing of how their device is: it has been heard by another one since.

-- `heard_in` as it was when the stream was retired: another of its device had been heard for an hour longer. So a device
-- that begins a new outbox, or drives no lights any more, is not looked at among those that are silent. A stream that is
-- heard again is not retired any more, and nothing needs to be written for that. NULL: it was not retired.
ALTER TABLE ingest_streams ADD COLUMN retired_in timestamptz;
CREATE INDEX ingest_streams_newest ON ingest_streams (heard_in, device_id) WHERE heard_in IS DISTINCT FROM retired_in;
-- One of the two, so that batches write no more than before. Until it goes, the release before reads all streams for
-- its lists of devices by state.
DROP INDEX ingest_streams_heard;

CREATE OR REPLACE FUNCTION stream_set_back() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        UPDATE ingest_streams SET retired_in = NULL WHERE device_id = OLD.device_id AND retired_in IS NOT NULL;
    END IF;
    PERFORM keep_heard(ARRAY(SELECT junction_id FROM edge_devices WHERE id = OLD.device_id));
    RETURN NULL;
END $$;

-- TimescaleDB's own way to choose among chunks, anew for each of a hundred devices, takes longer than to look into each.
-- Elsewhere nobody knows the setting, and only a superuser may write it down.
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_extension WHERE extname = 'timescaledb') THEN
        ALTER FUNCTION device_facts(uuid[]) SET timescaledb.enable_chunk_append = 'off';
    END IF;
END $$;

-- Turns of bridges to MQTT ---------------------------------------------------------------------------------------------

-- Whose turn it is to write what comes by MQTT. Each bridge that begins takes the next; whoever has an earlier one, and
-- was only held up, writes nothing more.
CREATE TABLE mqtt_turn (
    one  boolean PRIMARY KEY DEFAULT true CHECK (one),
    turn bigint NOT NULL
);

-- Lists of what is seen -------------------------------------------------------------------------------------------------

CREATE INDEX ingest_rejects_code ON ingest_rejects (code, received_at);

-- Each device is looked up by its id, and then asked where it stands: by both at once, all that stand there may be
-- looked through for each.
CREATE OR REPLACE FUNCTION seen_device_facts(devices uuid[]) RETURNS SETOF device_told
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
    IF NOT sees_all() THEN
        devices := ARRAY(
            SELECT d.id FROM (SELECT id, junction_id FROM edge_devices WHERE id = ANY (devices) OFFSET 0) d
            WHERE d.junction_id IN (SELECT seen_junctions()));
    END IF;
    RETURN QUERY SELECT * FROM device_facts(devices);
END $$;

-- What cameras and readers count at a junction, for who may see some only: as `devices_told`.
CREATE FUNCTION sources_told(junction uuid) RETURNS jsonb
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
    IF NOT sees_all() AND junction NOT IN (SELECT seen_junctions()) THEN
        RETURN '[]';
    END IF;
    RETURN (
        SELECT coalesce(jsonb_agg(jsonb_build_object('sensor', z.sensor, 'name', z.name, 'kind', z.kind,
                                                     'counts', z.in_force @> now()) ORDER BY z.no), '[]')
        FROM edge_devices d JOIN counting_zones z ON z.device_id = d.id
        WHERE d.junction_id = junction AND z.via IN ('camera', 'rfid')
    );
END $$;

-- Hours in which clocks change by half an hour, lines that changed on kept days -------------------------------------

-- When the bucket that `at` lies in begins, where the clocks changed since it began by the wall's clock: with the change.
CREATE FUNCTION bucket_after_change(at timestamptz, step_s integer, zone text) RETURNS timestamptz
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT min(minute)
    FROM generate_series(date_bin('1 minute', at, 'epoch') - make_interval(secs => step_s), at, '1 minute') AS minute
    WHERE minute AT TIME ZONE zone - minute AT TIME ZONE 'UTC' = at AT TIME ZONE zone - at AT TIME ZONE 'UTC'
$$;

-- The start of the bucket of `step_s` that `at` lies in, in a zone.
-- An hour that happens twice when the clocks go back is two buckets; a day may have 23 or 25 hours. Where they change by
-- half an hour, an hour may be two buckets, or a short one.
CREATE OR REPLACE FUNCTION bucket_start(at timestamptz, step_s integer, zone text) RETURNS timestamptz
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT CASE
        WHEN step_s = 60 THEN date_bin('1 minute', at, 'epoch')
        WHEN step_s = 86400 THEN CASE
            -- Midnight happened twice: the day begins with the first one.
            WHEN (date_trunc('day', at, zone) - interval '1 hour') AT TIME ZONE zone
                 >= date_trunc('day', at AT TIME ZONE zone)
            THEN date_trunc('day', at, zone) - interval '1 hour'
            ELSE date_trunc('day', at, zone)
        END
        WHEN (at - ((at AT TIME ZONE zone) - date_bin(make_interval(secs => step_s), at AT TIME ZONE zone, 'epoch')))
             AT TIME ZONE zone = date_bin(make_interval(secs => step_s), at AT TIME ZONE zone, 'epoch')
        THEN at - ((at AT TIME ZONE zone) - date_bin(make_interval(secs => step_s), at AT TIME ZONE zone, 'epoch'))
        ELSE bucket_after_change(at, step_s, zone)
    END
$$;

-- A line that turns out, later, to have been drawn or taken away on days that were made changes what these are: what
-- nobody counted at is no zero. What nobody had told of counted nothing, so that only days without any count change.
CREATE FUNCTION mark_days_of_source() RETURNS trigger
LANGUAGE plpgsql AS $$
DECLARE
    before tstzmultirange := coalesce(OLD.in_force, '{(,)}');
    after tstzmultirange := coalesce(NEW.in_force, '{(,)}');
    changed tstzmultirange := (before - after) + (after - before);
BEGIN
    INSERT INTO junction_day_marks (junction_id, at)
    SELECT d.junction_id, k.starts_at
    FROM edge_devices d JOIN junction_daily_stats k ON k.junction_id = d.junction_id
    WHERE d.id = NEW.device_id AND tstzrange(k.starts_at, k.ends_at) && changed
      AND (OLD.in_force IS NOT NULL OR k.by_class = '{}')
    UNION ALL
    -- Those that are made just now come after the last one.
    SELECT d.junction_id, generate_series(greatest(last.ends_at, lower(changed)), now(), interval '12 hours')
    FROM edge_devices d
    CROSS JOIN LATERAL (
        SELECT ends_at FROM junction_daily_stats WHERE junction_id = d.junction_id ORDER BY day DESC LIMIT 1
    ) last
    WHERE d.id = NEW.device_id;
    RETURN NULL;
END $$;
CREATE TRIGGER mark_days AFTER UPDATE OF in_force ON counting_zones
FOR EACH ROW WHEN (OLD.in_force IS DISTINCT FROM NEW.in_force) EXECUTE FUNCTION mark_days_of_source();

-- When devices were heard, and their latest health -------------------------------------------------------------------

-- When a device was heard: the latest of its streams. No row: never.
CREATE TABLE device_heard (
    device_id   uuid PRIMARY KEY REFERENCES edge_devices ON DELETE CASCADE,
    received_at timestamptz NOT NULL
) WITH (fillfactor = 50);
CREATE INDEX device_heard_at ON device_heard (received_at, device_id);
SELECT guard_rows('device_heard', 'device_id IN (SELECT seen_devices())');

CREATE OR REPLACE FUNCTION streams_heard() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        -- None of them moves to another junction meanwhile; who moves them locks in this order, too.
        PERFORM FROM edge_devices WHERE id IN (SELECT device_id FROM after_rows) ORDER BY id FOR NO KEY UPDATE;
    END IF;
    INSERT INTO device_heard AS h (device_id, received_at)
    SELECT device_id, max(last_received_at) FROM after_rows GROUP BY device_id ORDER BY device_id
    ON CONFLICT (device_id) DO UPDATE SET received_at = excluded.received_at
    WHERE h.received_at < excluded.received_at;
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

-- Locks the device's row, and looks after that, as `keep_heard` does.
CREATE FUNCTION keep_device_heard(device uuid) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM device_heard WHERE device_id = device FOR UPDATE;
    DELETE FROM device_heard
    WHERE device_id = device AND NOT EXISTS (SELECT FROM ingest_streams WHERE device_id = device);
    UPDATE device_heard
    SET received_at = (SELECT max(last_received_at) FROM ingest_streams WHERE device_id = device)
    WHERE device_id = device;
END $$;

-- Two transactions of a stream may end in another order than they began.
CREATE OR REPLACE FUNCTION stream_set_back() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM keep_device_heard(OLD.device_id);
    PERFORM keep_heard(ARRAY(SELECT junction_id FROM edge_devices WHERE id = OLD.device_id));
    RETURN NULL;
END $$;

-- What is shown of each device of a junction that a user may see.
CREATE OR REPLACE FUNCTION devices_told(junction uuid)
RETURNS TABLE (device_id uuid, received_at timestamptz, sensors jsonb)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
    IF NOT sees_all() AND junction NOT IN (SELECT seen_junctions()) THEN
        RETURN;
    END IF;
    RETURN QUERY
    SELECT d.id, (SELECT h.received_at FROM device_heard h WHERE h.device_id = d.id),
           (SELECT coalesce(jsonb_agg(each.name ORDER BY each.name), '[]') FROM (
                SELECT c.name FROM cameras c WHERE c.device_id = d.id
                UNION SELECT z.sensor FROM counting_zones z WHERE z.device_id = d.id
            ) each)
    FROM edge_devices d WHERE d.junction_id = junction;
END $$;

CREATE INDEX junction_heard_at ON junction_heard (received_at);

-- `device_id`, `others_at` and `heard_in` of `junction_heard`, `heard_in` and `retired_in` of `ingest_streams` are for the
-- release before, which asks which device of a junction was heard last. It is not known, and it looks at all.

-- What a device told last of its health, however old it is.
CREATE TABLE device_health_latest (
    device_id      uuid PRIMARY KEY REFERENCES edge_devices ON DELETE CASCADE,
    at             timestamptz NOT NULL,
    version        text NOT NULL,
    uptime_s       double precision NOT NULL,
    cpu_percent    real,
    memory_percent real,
    temperature_c  real,
    disk_free_mb   real,
    throttled      text,
    clock_synced   boolean NOT NULL,
    clock_error_ms bigint,
    outbox_records integer NOT NULL,
    outbox_bytes   bigint NOT NULL,
    outbox_dropped bigint NOT NULL,
    sensors        jsonb NOT NULL
) WITH (fillfactor = 50);
SELECT guard_rows('device_health_latest', 'device_id IN (SELECT seen_devices())');

-- A statement stores the records of many devices.
CREATE FUNCTION health_told() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO device_health_latest AS l
    SELECT DISTINCT ON (s.device_id) s.device_id, h.at, h.version, h.uptime_s, h.cpu_percent, h.memory_percent,
           h.temperature_c, h.disk_free_mb, h.throttled, h.clock_synced, h.clock_error_ms, h.outbox_records,
           h.outbox_bytes, h.outbox_dropped, h.sensors
    FROM after_rows h
    CROSS JOIN LATERAL (SELECT device_id FROM ingest_streams WHERE no = h.stream_no OFFSET 0) s
    ORDER BY s.device_id, h.at DESC, h.seq DESC
    ON CONFLICT (device_id) DO UPDATE
    SET at = excluded.at, version = excluded.version, uptime_s = excluded.uptime_s,
        cpu_percent = excluded.cpu_percent, memory_percent = excluded.memory_percent,
        temperature_c = excluded.temperature_c, disk_free_mb = excluded.disk_free_mb, throttled = excluded.throttled,
        clock_synced = excluded.clock_synced, clock_error_ms = excluded.clock_error_ms,
        outbox_records = excluded.outbox_records, outbox_bytes = excluded.outbox_bytes,
        outbox_dropped = excluded.outbox_dropped, sensors = excluded.sensors
    WHERE l.at <= excluded.at;
    RETURN NULL;
END $$;
CREATE TRIGGER kept_on_insert AFTER INSERT ON device_health
    REFERENCING NEW TABLE AS after_rows FOR EACH STATEMENT EXECUTE FUNCTION health_told();

-- What is known of devices by their streams, of each that has one.
CREATE OR REPLACE FUNCTION device_facts(devices uuid[]) RETURNS SETOF device_told
LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN QUERY
    SELECT d.id, t.received_at, t.last_at, t.made, t.stored, t.rejected, t.lost, t.adds_up, t.gaps_last_day,
           t.lost_last_day, t.rejects_open, h.at, h.version, h.uptime_s, h.cpu_percent, h.memory_percent,
           h.temperature_c, h.disk_free_mb, h.throttled, h.clock_synced, h.clock_error_ms, h.outbox_records,
           h.outbox_bytes, h.outbox_dropped, h.sensors
    FROM (
        SELECT id, coalesce((metadata ->> 'rejects_seen_until')::timestamptz, '-infinity') AS seen_until
        FROM edge_devices WHERE id = ANY (devices) OFFSET 0
    ) d
    CROSS JOIN LATERAL (
        SELECT max(s.last_received_at) AS received_at, max(s.last_at) AS last_at, sum(s.last_seq)::bigint AS made,
               sum(s.stored)::bigint AS stored, sum(s.rejected)::bigint AS rejected, sum(s.lost)::bigint AS lost,
               bool_and(s.last_seq = s.stored + s.rejected + s.lost AND s.lost = g.lost) AS adds_up,
               sum(g.n_last_day)::bigint AS gaps_last_day, sum(g.lost_last_day)::bigint AS lost_last_day,
               sum(r.n)::bigint AS rejects_open
        FROM (SELECT * FROM ingest_streams WHERE device_id = d.id OFFSET 0) s
        CROSS JOIN LATERAL (
            SELECT coalesce(sum(lost), 0)::bigint AS lost,
                   coalesce(sum(lost) FILTER (WHERE is_new), 0)::bigint AS lost_last_day,
                   count(*) FILTER (WHERE is_new) AS n_last_day
            FROM (
                SELECT seq - from_seq + 1 AS lost, at >= now() - interval '1 day' AS is_new
                FROM ingest_gaps WHERE stream_no = s.no
            ) gap
        ) g
        CROSS JOIN LATERAL (
            SELECT count(*) AS n FROM (
                SELECT FROM ingest_rejects
                WHERE s.rejected > 0 AND stream_no = s.no AND received_at > d.seen_until LIMIT 1000
            ) few
        ) r
        HAVING count(*) > 0
    ) t
    LEFT JOIN LATERAL (SELECT * FROM device_health_latest WHERE device_id = d.id OFFSET 0) h ON true;
END $$;

DROP INDEX ingest_streams_newest, junction_heard_in;

-- Today's counts where there are lines and zones ------------------------------------------------------------------

-- Who crosses a line and stays in a zone before it is one vehicle.
-- Where there are camera lines, what crossed them is the sum; else the visits of zones, else what readers counted.
ALTER TABLE junction_parts ADD COLUMN by_zone boolean NOT NULL DEFAULT false;
-- Nobody reads it.
ALTER TABLE junction_parts DROP COLUMN summed;
ALTER TABLE junction_counts ADD COLUMN n_zone bigint NOT NULL DEFAULT 0;
ALTER TABLE junction_counts DROP COLUMN n_step;
ALTER TABLE junction_counts ADD COLUMN n_step integer GENERATED ALWAYS AS (
    CASE WHEN n_camera > 0 THEN floor(50 * ln(n_camera::double precision))::integer
         WHEN n_camera = 0 AND n_zone > 0 THEN floor(50 * ln(n_zone::double precision))::integer
         WHEN n_camera = 0 AND n_zone = 0 AND n_other > 0 THEN floor(50 * ln(n_other::double precision))::integer END
) STORED;
CREATE INDEX junction_counts_step ON junction_counts (bucket, timezone, n_step) WHERE n_step IS NOT NULL;

CREATE OR REPLACE FUNCTION keep_parts(changed uuid[]) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO junction_parts (junction_id)
    SELECT DISTINCT id FROM unnest(changed) AS id WHERE id IS NOT NULL ORDER BY id
    ON CONFLICT DO NOTHING;
    PERFORM FROM junction_parts WHERE junction_id = ANY (changed) ORDER BY junction_id FOR NO KEY UPDATE;
    UPDATE junction_parts p
    SET devices = d.n, active_devices = d.active, cameras = c.n, sources = z.n, by_camera = z.by_line,
        by_zone = z.by_zone, device_ids = d.ids, stream_nos = s.nos, source_nos = z.nos, camera_nos = c.nos
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
        SELECT count(*) FILTER (WHERE counts) AS n, coalesce(bool_or(via = 'camera' AND kind <> 'zone'), false) AS by_line,
               coalesce(bool_or(via = 'camera' AND kind = 'zone'), false) AS by_zone,
               coalesce(range_agg(int4range(no, no, '[]')), '{}') AS nos
        FROM (
            SELECT no, via, kind, via NOT IN ('truth', 'turn', 'unpaired') AS counts
            FROM counting_zones WHERE device_id = ANY (d.ids)
        ) all_of_them
    ) z
    WHERE p.junction_id = of.id;
END $$;

-- What devices stored, by the days of a junction.
DROP FUNCTION counts_of_devices(uuid[], text);
CREATE FUNCTION counts_of_devices(devices uuid[], zone text)
RETURNS TABLE (bucket timestamptz, n_camera bigint, n_zone bigint, n_other bigint)
LANGUAGE sql STABLE AS $$
    SELECT bucket_start(x.at, 86400, zone),
           coalesce(sum(x.n) FILTER (WHERE x.via = 'camera' AND x.kind <> 'zone'), 0)::bigint,
           coalesce(sum(x.n) FILTER (WHERE x.via = 'camera' AND x.kind = 'zone'), 0)::bigint,
           coalesce(sum(x.n) FILTER (WHERE x.via <> 'camera'), 0)::bigint
    FROM (
        SELECT z.via, z.kind, date_bin('15 minutes', e.at, 'epoch') AS at, count(*) AS n
        FROM counting_zones z JOIN count_events e ON e.source_no = z.no
        WHERE z.device_id = ANY (devices) AND z.via NOT IN ('truth', 'turn', 'unpaired')
          AND e.at >= now() - interval '26 hours'
        GROUP BY 1, 2, 3
    ) x
    WHERE bucket_start(x.at, 86400, zone) >= now() - interval '26 hours'
    GROUP BY 1
$$;

CREATE OR REPLACE FUNCTION keep_counts(changed uuid[]) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM junction_counts WHERE junction_id = ANY (changed);
    INSERT INTO junction_counts (junction_id, bucket, timezone, n_camera, n_zone, n_other)
    SELECT j.id, c.bucket, j.timezone, c.n_camera, c.n_zone, c.n_other
    FROM junctions j
    CROSS JOIN LATERAL counts_of_devices(ARRAY(SELECT id FROM edge_devices WHERE junction_id = j.id), j.timezone) c
    WHERE j.id = ANY (changed);
END $$;

CREATE OR REPLACE FUNCTION move_counts(device uuid, junction uuid, sign integer) RETURNS void
LANGUAGE sql AS $$
    INSERT INTO junction_counts AS k (junction_id, bucket, timezone, n_camera, n_zone, n_other)
    SELECT j.id, c.bucket, j.timezone, sign * c.n_camera, sign * c.n_zone, sign * c.n_other
    FROM junctions j CROSS JOIN LATERAL counts_of_devices(ARRAY[device], j.timezone) c
    WHERE j.id = junction
    ORDER BY c.bucket
    ON CONFLICT (junction_id, bucket) DO UPDATE
    SET n_camera = k.n_camera + excluded.n_camera, n_zone = k.n_zone + excluded.n_zone,
        n_other = k.n_other + excluded.n_other
$$;

CREATE OR REPLACE FUNCTION counts_stored() RETURNS trigger
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
    INSERT INTO junction_counts AS k (junction_id, bucket, timezone, n_camera, n_zone, n_other)
    SELECT j.id, b.bucket, j.timezone,
           coalesce(sum(x.n) FILTER (WHERE z.via = 'camera' AND z.kind <> 'zone'), 0),
           coalesce(sum(x.n) FILTER (WHERE z.via = 'camera' AND z.kind = 'zone'), 0),
           coalesce(sum(x.n) FILTER (WHERE z.via <> 'camera'), 0)
    FROM (
        SELECT source_no, date_bin('15 minutes', at, 'epoch') AS at, count(*) AS n
        FROM after_rows WHERE at >= now() - interval '26 hours' GROUP BY 1, 2
    ) x
    CROSS JOIN LATERAL (SELECT device_id, via, kind FROM counting_zones WHERE no = x.source_no OFFSET 0) z
    CROSS JOIN LATERAL (SELECT junction_id FROM edge_devices WHERE id = z.device_id OFFSET 0) d
    CROSS JOIN LATERAL (SELECT id, timezone FROM junctions WHERE id = d.junction_id OFFSET 0) j
    CROSS JOIN LATERAL (SELECT bucket_start(x.at, 86400, j.timezone) AS bucket) b
    WHERE z.via NOT IN ('truth', 'turn', 'unpaired') AND b.bucket >= now() - interval '26 hours'
    GROUP BY j.id, b.bucket, j.timezone
    ORDER BY j.id, b.bucket
    ON CONFLICT (junction_id, bucket) DO UPDATE
    SET n_camera = k.n_camera + excluded.n_camera, n_zone = k.n_zone + excluded.n_zone,
        n_other = k.n_other + excluded.n_other;
    RETURN NULL;
END $$;

-- What few see ------------------------------------------------------------------------------------------------------

-- What users who may see some junctions only see of devices, rejects and logs is found by functions of the owner's: to
-- ask of each row of each table whether they may see it, and to plan that, takes longer than to read it. The release
-- before asks `device_facts`, `seen_device_facts`, `seen_log_page` and `log_places`; nobody else does.

-- What is shown of devices, in the order in which they are asked for: each row is looked up once.
CREATE TYPE device_shown AS (
    id uuid, name text, status text, created_at timestamptz, revoked_at timestamptz, junction_id uuid,
    junction_name text, received_at timestamptz, last_at timestamptz, made bigint, stored bigint, rejected bigint,
    lost bigint, adds_up boolean, gaps_last_day bigint, lost_last_day bigint, rejects_open bigint,
    health_at timestamptz, version text, uptime_s double precision, cpu_percent real, memory_percent real,
    temperature_c real, disk_free_mb real, throttled text, clock_synced boolean, clock_error_ms bigint,
    outbox_records integer, outbox_bytes bigint, outbox_dropped bigint, sensors jsonb
);
CREATE FUNCTION devices_shown(devices uuid[]) RETURNS SETOF device_shown
LANGUAGE plpgsql STABLE SET plan_cache_mode TO force_generic_plan AS $$
BEGIN
    RETURN QUERY
    SELECT d.id, d.name, d.status, d.created_at, d.revoked_at, d.junction_id, j.name, t.received_at, t.last_at, t.made,
           t.stored, t.rejected, t.lost, t.adds_up, t.gaps_last_day, t.lost_last_day, t.rejects_open, h.at, h.version,
           h.uptime_s, h.cpu_percent, h.memory_percent, h.temperature_c, h.disk_free_mb, h.throttled, h.clock_synced,
           h.clock_error_ms, h.outbox_records, h.outbox_bytes, h.outbox_dropped, h.sensors
    FROM unnest(devices) WITH ORDINALITY AS asked (id, place)
    CROSS JOIN LATERAL (
        SELECT *, coalesce((metadata ->> 'rejects_seen_until')::timestamptz, '-infinity') AS seen_until
        FROM edge_devices WHERE id = asked.id OFFSET 0
    ) d
    LEFT JOIN LATERAL (SELECT junctions.name FROM junctions WHERE id = d.junction_id OFFSET 0) j ON true
    CROSS JOIN LATERAL (
        SELECT max(s.last_received_at) AS received_at, max(s.last_at) AS last_at,
               coalesce(sum(s.last_seq), 0)::bigint AS made, coalesce(sum(s.stored), 0)::bigint AS stored,
               coalesce(sum(s.rejected), 0)::bigint AS rejected, coalesce(sum(s.lost), 0)::bigint AS lost,
               coalesce(bool_and(s.last_seq = s.stored + s.rejected + s.lost AND s.lost = g.lost), true) AS adds_up,
               coalesce(sum(g.n_last_day), 0)::bigint AS gaps_last_day,
               coalesce(sum(g.lost_last_day), 0)::bigint AS lost_last_day,
               coalesce(sum(r.n), 0)::bigint AS rejects_open
        FROM (SELECT * FROM ingest_streams WHERE device_id = d.id OFFSET 0) s
        CROSS JOIN LATERAL (
            SELECT coalesce(sum(gap.n), 0)::bigint AS lost,
                   coalesce(sum(gap.n) FILTER (WHERE is_new), 0)::bigint AS lost_last_day,
                   count(*) FILTER (WHERE is_new) AS n_last_day
            FROM (
                SELECT seq - from_seq + 1 AS n, at >= now() - interval '1 day' AS is_new
                FROM ingest_gaps WHERE stream_no = s.no
            ) gap
        ) g
        CROSS JOIN LATERAL (
            SELECT count(*) AS n FROM (
                SELECT FROM ingest_rejects
                WHERE s.rejected > 0 AND stream_no = s.no AND ingest_rejects.received_at > d.seen_until LIMIT 1000
            ) few
        ) r
    ) t
    LEFT JOIN LATERAL (SELECT * FROM device_health_latest WHERE device_id = d.id OFFSET 0) h ON true
    ORDER BY asked.place;
END $$;

-- The same of those that a user who may see some junctions only sees.
CREATE FUNCTION seen_devices_shown(devices uuid[]) RETURNS SETOF device_shown
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
    seen uuid[] := ARRAY(SELECT seen_junctions());
BEGIN
    RETURN QUERY
    SELECT d.* FROM devices_shown(devices) d WHERE d.junction_id = ANY (seen);
END $$;

-- Their devices, each with when it was heard. NULL: never.
CREATE FUNCTION seen_devices_heard()
RETURNS TABLE (id uuid, name text, junction_id uuid, received_at timestamptz)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path FROM CURRENT SET plan_cache_mode TO force_generic_plan AS $$
DECLARE
    seen uuid[] := ARRAY(SELECT seen_junctions());
BEGIN
    RETURN QUERY
    SELECT d.id, d.name, d.junction_id, h.received_at
    FROM edge_devices d LEFT JOIN device_heard h ON h.device_id = d.id WHERE d.junction_id = ANY (seen);
END $$;

-- A page of their rejects, newest first, before a place. NULL: of all devices, junctions or codes.
CREATE FUNCTION seen_rejects(
    devices text[], junctions text[], codes text[], is_open boolean, before_at timestamptz, before_stream integer,
    before_seq bigint, rejects integer, characters integer
)
RETURNS TABLE (
    received_at timestamptz, stream_no integer, seq bigint, code text, detail text, raw text, raw_length integer,
    stream text, device_id uuid, device_name text, junction_id uuid, junction_name text, seen boolean
)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path FROM CURRENT SET plan_cache_mode TO force_generic_plan AS $$
DECLARE
    seen_ids uuid[] := ARRAY(SELECT seen_junctions());
    streams integer[];
BEGIN
    IF devices IS NULL AND junctions IS NULL THEN
        streams := ARRAY(
            SELECT generate_series(lower(nos), upper(nos) - 1)
            FROM junction_parts p CROSS JOIN LATERAL unnest(p.stream_nos) AS nos WHERE p.junction_id = ANY (seen_ids));
    ELSE
        streams := ARRAY(
            SELECT s.no
            FROM junctions j JOIN edge_devices d ON d.junction_id = j.id JOIN ingest_streams s ON s.device_id = d.id
            WHERE j.id = ANY (seen_ids)
              AND (junctions IS NULL OR j.name = ANY (junctions) OR j.id::text = ANY (junctions))
              AND (devices IS NULL OR d.name = ANY (devices) OR d.id::text = ANY (devices)));
    END IF;
    RETURN QUERY
    WITH page AS MATERIALIZED (
        -- Sorted before each is asked whether it is open, until the page is full.
        SELECT r.* FROM (
            SELECT * FROM ingest_rejects r
            WHERE r.stream_no = ANY (streams) AND (codes IS NULL OR r.code = ANY (codes))
              AND (r.received_at, r.stream_no, r.seq) < (before_at, before_stream, before_seq)
            ORDER BY r.received_at DESC, r.stream_no DESC, r.seq DESC OFFSET 0
        ) r
        WHERE NOT is_open OR NOT coalesce(r.received_at <= (
            SELECT (d.metadata ->> 'rejects_seen_until')::timestamptz
            FROM ingest_streams s JOIN edge_devices d ON d.id = s.device_id WHERE s.no = r.stream_no
        ), false)
        ORDER BY r.received_at DESC, r.stream_no DESC, r.seq DESC
        LIMIT rejects
    )
    SELECT r.received_at, r.stream_no, r.seq, r.code, r.detail, left(r.raw, characters), length(r.raw), s.stream, d.id,
           d.name, j.id, j.name,
           coalesce(r.received_at <= (d.metadata ->> 'rejects_seen_until')::timestamptz, false)
    FROM page r
    CROSS JOIN LATERAL (SELECT * FROM ingest_streams WHERE no = r.stream_no OFFSET 0) s
    CROSS JOIN LATERAL (SELECT * FROM edge_devices WHERE id = s.device_id OFFSET 0) d
    LEFT JOIN LATERAL (SELECT * FROM junctions WHERE id = d.junction_id OFFSET 0) j ON true
    ORDER BY r.received_at DESC, r.stream_no DESC, r.seq DESC;
END $$;

-- A page of their logs, newest first, before a place, with what else is asked for. NULL: nothing. With `streams`, what
-- was posted is of `junctions` only. A word of the text may be sought before the whole. `is_rare`: what is sought is found
-- sooner by its own index than by the streams.
CREATE FUNCTION seen_log_lines(
    since timestamptz, until timestamptz, before_at timestamptz, before_stream integer, before_seq bigint,
    lines integer, levels text[], actions text[], streams integer[], junctions uuid[], word text, told text,
    told_context jsonb, is_rare boolean
)
RETURNS TABLE (
    at timestamptz, at_error_ms bigint, stream_no integer, seq bigint, level text, action text, message text,
    context jsonb, device_id uuid, device_name text, junction_id uuid, junction_name text, said_by uuid,
    said_by_name text
)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
    seen uuid[] := ARRAY(SELECT seen_junctions());
    seen_streams integer[] := ARRAY(
        SELECT generate_series(lower(nos), upper(nos) - 1)
        FROM junction_parts p CROSS JOIN LATERAL unnest(p.stream_nos) AS nos WHERE p.junction_id = ANY (seen));
    posted text := 'l.junction_id = ANY ($7) OR l.said_by = $8';
    found text := 'system_logs';
    -- No index has such texts.
    filters text := concat_ws(' AND ',
        CASE WHEN levels IS NOT NULL THEN 'l.level = ANY ($11)' END,
        CASE WHEN actions IS NOT NULL THEN 'l.action = ANY ($12)' END,
        CASE WHEN word IS NOT NULL THEN '(l.message || '''') ILIKE $13' END,
        CASE WHEN told IS NOT NULL THEN '(l.message || '''') ILIKE $14' END,
        CASE WHEN told_context IS NOT NULL THEN '(l.context || ''{}'') @> $15' END,
        'true');
BEGIN
    IF streams IS NOT NULL THEN
        seen_streams := ARRAY(SELECT unnest(streams) INTERSECT SELECT unnest(seen_streams));
        posted := 'l.junction_id = ANY ($9) AND (' || posted || ')';
    END IF;
    IF is_rare THEN
        found := concat_ws(' AND ', '(SELECT * FROM system_logs WHERE at >= $1 AND at < $2',
            CASE WHEN coalesce(word, told) IS NOT NULL THEN 'message ILIKE coalesce($13, $14)' END,
            CASE WHEN told_context IS NOT NULL THEN 'context @> $15' END) || ' OFFSET 0)';
    END IF;
    -- Planned for these values: a plan for any would not use what is selective.
    RETURN QUERY EXECUTE
        'WITH page AS MATERIALIZED (
            SELECT l.* FROM ' || found || ' l
            WHERE l.at >= $1 AND l.at < $2 AND l.at <= $3
              AND (l.at, coalesce(l.stream_no, 0), l.seq) < ($3, $4, $5)
              AND (l.stream_no = ANY ($6) OR l.stream_no IS NULL AND (' || posted || ')) AND ' || filters || '
            ORDER BY l.at DESC, coalesce(l.stream_no, 0) DESC, l.seq DESC
            LIMIT $10
        )
        SELECT l.at, l.at_error_ms, coalesce(l.stream_no, 0), l.seq, l.level, l.action, l.message, l.context, d.id,
               d.name, j.id, j.name, l.said_by, l.said_by_name
        FROM page l
        LEFT JOIN LATERAL (SELECT device_id FROM ingest_streams WHERE no = l.stream_no OFFSET 0) s ON true
        LEFT JOIN LATERAL (SELECT id, name, junction_id FROM edge_devices WHERE id = s.device_id OFFSET 0) d ON true
        CROSS JOIN LATERAL (SELECT coalesce(d.junction_id, l.junction_id) AS id OFFSET 0) place
        LEFT JOIN LATERAL (SELECT id, name FROM junctions WHERE id = place.id OFFSET 0) j ON j.id = ANY ($7)
        ORDER BY l.at DESC, coalesce(l.stream_no, 0) DESC, l.seq DESC'
    USING since, until, before_at, before_stream, before_seq, seen_streams, seen, app_user(), junctions, lines, levels,
          actions, word, told, told_context;
END $$;
