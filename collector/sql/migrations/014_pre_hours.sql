-- Hours of junctions: what cycles, zones and the event log add up to, kept exact by marks, as days are.
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
