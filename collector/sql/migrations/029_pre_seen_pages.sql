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
