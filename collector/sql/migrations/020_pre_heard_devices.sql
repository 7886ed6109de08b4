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
    SELECT d.junction_id, max(a.last_received_at), max(a.last_at), (array_agg(a.device_id))[1],
           -- A transaction stores all at one time.
           CASE WHEN count(*) > 1 THEN max(a.last_received_at) END
    FROM after_rows a
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
