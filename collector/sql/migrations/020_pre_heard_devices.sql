-- The devices that were heard last, without a look at all others of their junctions.

-- Who stores records would wait behind this while it waits for who reads for long: it rather comes again.
SET LOCAL lock_timeout = '1s';

-- Whoever is within one of these functions as they were ends first.
LOCK TABLE ingest_streams IN EXCLUSIVE MODE;

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
