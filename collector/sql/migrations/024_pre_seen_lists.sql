-- Rejects of one code are found by it, and less is looked at for users who may see some junctions only.

-- Who stores records would wait behind this while it waits for who reads for long: it rather comes again.
SET LOCAL lock_timeout = '1s';

CREATE INDEX ingest_rejects_code ON ingest_rejects (code, received_at);

-- Each device is looked up by its id, and then asked where it stands: by both at once, all that stand there may be
-- looked through for each.
CREATE OR REPLACE FUNCTION seen_device_facts(devices uuid[]) RETURNS SETOF device_told
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
    IF NOT sees_all() THEN
        devices := ARRAY(
            SELECT d.id FROM (SELECT id, junction_id FROM edge_devices WHERE id = ANY (devices) OFFSET 0) d
            WHERE d.junction_id IN (SELECT seen_junctions()));
    END IF;
    RETURN QUERY SELECT * FROM device_facts(devices);
END $$;

-- What cameras and readers count at a junction, for who may see some only: as `devices_told`.
CREATE FUNCTION sources_told(junction uuid) RETURNS jsonb
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
    IF NOT sees_all() AND junction NOT IN (SELECT seen_junctions()) THEN
        RETURN '[]';
    END IF;
    RETURN (
        SELECT coalesce(jsonb_agg(jsonb_build_object('sensor', z.sensor, 'name', z.name, 'kind', z.kind,
                                                     'counts', z.in_force @> now()) ORDER BY z.no), '[]')
        FROM edge_devices d JOIN counting_zones z ON z.device_id = d.id
        WHERE d.junction_id = junction AND z.via IN ('camera', 'rfid')
    );
END $$;
