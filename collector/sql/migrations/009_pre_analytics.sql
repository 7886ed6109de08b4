-- Days of junctions, added up.

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
    cycles            integer NOT NULL,
    mean_cycle_s      double precision,
    -- Mean over lanes' cycles, weighted by their green; and how many cycles.
    saturation        double precision,
    saturation_cycles integer NOT NULL,
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

-- Which devices stand at a junction, and which of their lines are its stop lines, decides what its days are.
CREATE FUNCTION mark_days_of_device() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO junction_day_marks (junction_id, at)
    SELECT junction_id, starts_at FROM junction_daily_stats WHERE junction_id IN (OLD.junction_id, NEW.junction_id);
    RETURN NULL;
END $$;
CREATE TRIGGER mark_days AFTER UPDATE OF junction_id ON edge_devices
FOR EACH ROW WHEN (OLD.junction_id IS DISTINCT FROM NEW.junction_id) EXECUTE FUNCTION mark_days_of_device();

CREATE FUNCTION mark_days_of_junction() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO junction_day_marks (junction_id, at)
    SELECT junction_id, starts_at FROM junction_daily_stats WHERE junction_id = NEW.id;
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
