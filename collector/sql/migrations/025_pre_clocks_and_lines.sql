-- Hours in which clocks go on or back by less than an hour, as on Lord Howe Island; and lines that changed on kept days.

SET LOCAL lock_timeout = '1s';

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

-- What was rolled up until now stands half an hour before its bucket. Hours of junctions that are kept are made anew when
-- they are asked for: none of them begins and ends as these did.
DO $$
DECLARE
    devices uuid[] := ARRAY(SELECT d.id FROM edge_devices d JOIN junctions j ON j.id = d.junction_id
                            WHERE j.timezone IN ('Australia/Lord_Howe', 'Australia/LHI'));
    sources integer[] := ARRAY(SELECT no FROM counting_zones WHERE device_id = ANY (devices));
    cameras integer[] := ARRAY(SELECT no FROM cameras WHERE device_id = ANY (devices));
BEGIN
    IF devices <> '{}' THEN
        -- Whoever rolls up just now is waited for.
        PERFORM pg_advisory_xact_lock(1398034257);
        UPDATE count_rollups SET bucket = bucket + interval '30 minutes'
        WHERE source_no = ANY (sources) AND step_s = 3600
          AND bucket_start(bucket, 3600, 'Australia/Lord_Howe') <> bucket;
        UPDATE coverage_rollups SET bucket = bucket + interval '30 minutes'
        WHERE camera_no = ANY (cameras) AND step_s = 3600
          AND bucket_start(bucket, 3600, 'Australia/Lord_Howe') <> bucket;
    END IF;
END $$;

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
