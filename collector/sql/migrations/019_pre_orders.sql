-- Lists in the order of what is kept of junctions: found by indexes, in steps, so that most updates stay in place.

-- Who stores records would wait behind this while it waits for who reads for long: it rather comes again.
SET LOCAL lock_timeout = '1s';

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
