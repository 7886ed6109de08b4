-- Kept days and hours in another zone, and hours further back; when lights flashed by a fault. Code that knows none of
-- it loses nothing.

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
INSERT INTO junction_hours_back (junction_id, made_from)
SELECT id, now() FROM junctions j WHERE EXISTS (SELECT FROM junction_hourly_stats WHERE junction_id = j.id);

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

-- Those that the log tells of still.
INSERT INTO fault_history (junction_id, why, began_at, ended_at, ended_by)
SELECT d.junction_id, l.message, l.at, next.at,
       CASE next.action WHEN 'lights_fault_cleared' THEN 'cleared' WHEN 'lights_fault' THEN 'another'
                        WHEN 'junction_described' THEN 'restart' END
FROM system_logs l
JOIN ingest_streams s ON s.no = l.stream_no
JOIN edge_devices d ON d.id = s.device_id
LEFT JOIN LATERAL (
    SELECT n.at, n.action FROM system_logs n
    WHERE n.stream_no = l.stream_no AND n.at > l.at
      AND n.action IN ('lights_fault', 'lights_fault_cleared', 'junction_described')
    ORDER BY n.at LIMIT 1
) next ON true
WHERE l.action = 'lights_fault' AND d.junction_id IS NOT NULL
ON CONFLICT DO NOTHING;

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
