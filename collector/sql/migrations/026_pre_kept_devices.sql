-- When each device was heard, and what it told of its health, are kept: lists of devices look no streams up.

-- Who stores records would wait behind this while it waits for who reads for long: it rather comes again.
SET LOCAL lock_timeout = '1s';

-- Whoever is within one of these functions as they were ends first. In the order in which ingest locks them.
LOCK TABLE ONLY device_health IN SHARE ROW EXCLUSIVE MODE;
LOCK TABLE ingest_streams IN EXCLUSIVE MODE;

-- When a device was heard: the latest of its streams. No row: never.
CREATE TABLE device_heard (
    device_id   uuid PRIMARY KEY REFERENCES edge_devices ON DELETE CASCADE,
    received_at timestamptz NOT NULL
) WITH (fillfactor = 50);
INSERT INTO device_heard (device_id, received_at)
SELECT device_id, max(last_received_at) FROM ingest_streams GROUP BY device_id ORDER BY device_id;
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

-- For the release before, which asks which device of a junction was heard last: that is not known, and it looks at all
-- of them.
UPDATE junction_heard SET device_id = NULL, others_at = NULL WHERE device_id IS NOT NULL;

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

-- Of each stream the latest record of the day before its latest one, so that few partitions are touched.
INSERT INTO device_health_latest
SELECT DISTINCT ON (s.device_id) s.device_id, h.*
FROM ingest_streams s
CROSS JOIN LATERAL (
    SELECT at, version, uptime_s, cpu_percent, memory_percent, temperature_c, disk_free_mb, throttled, clock_synced,
           clock_error_ms, outbox_records, outbox_bytes, outbox_dropped, sensors
    FROM device_health
    WHERE stream_no = s.no AND at >= s.last_at - interval '1 day' AND at <= s.last_at
    ORDER BY at DESC LIMIT 1
) h
ORDER BY s.device_id, h.at DESC;

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
