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
