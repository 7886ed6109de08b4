-- What junctions counted today: who crosses a line and stays in a zone before it is one vehicle.

SET LOCAL lock_timeout = '1s';
-- In the order in which ingest locks them: no counts are stored meanwhile.
LOCK TABLE junction_parts IN ACCESS EXCLUSIVE MODE;
LOCK TABLE count_events IN SHARE ROW EXCLUSIVE MODE;

-- Where there are camera lines, what crossed them is the sum; else the visits of zones, else what readers counted.
ALTER TABLE junction_parts ADD COLUMN by_zone boolean NOT NULL DEFAULT false;
-- Nobody reads it.
ALTER TABLE junction_parts DROP COLUMN summed;
ALTER TABLE junction_counts ADD COLUMN n_zone bigint NOT NULL DEFAULT 0;
ALTER TABLE junction_counts DROP COLUMN n_step;
ALTER TABLE junction_counts ADD COLUMN n_step integer GENERATED ALWAYS AS (
    CASE WHEN n_camera > 0 THEN floor(50 * ln(n_camera::double precision))::integer
         WHEN n_camera = 0 AND n_zone > 0 THEN floor(50 * ln(n_zone::double precision))::integer
         WHEN n_camera = 0 AND n_zone = 0 AND n_other > 0 THEN floor(50 * ln(n_other::double precision))::integer END
) STORED;
CREATE INDEX junction_counts_step ON junction_counts (bucket, timezone, n_step) WHERE n_step IS NOT NULL;

CREATE OR REPLACE FUNCTION keep_parts(changed uuid[]) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO junction_parts (junction_id)
    SELECT DISTINCT id FROM unnest(changed) AS id WHERE id IS NOT NULL ORDER BY id
    ON CONFLICT DO NOTHING;
    PERFORM FROM junction_parts WHERE junction_id = ANY (changed) ORDER BY junction_id FOR NO KEY UPDATE;
    UPDATE junction_parts p
    SET devices = d.n, active_devices = d.active, cameras = c.n, sources = z.n, by_camera = z.by_line,
        by_zone = z.by_zone, device_ids = d.ids, stream_nos = s.nos, source_nos = z.nos, camera_nos = c.nos
    FROM unnest(changed) AS of (id)
    CROSS JOIN LATERAL (
        SELECT count(*) AS n, count(*) FILTER (WHERE status = 'active') AS active,
               coalesce(array_agg(id), '{}') AS ids
        FROM edge_devices WHERE junction_id = of.id
    ) d
    CROSS JOIN LATERAL (
        SELECT coalesce(range_agg(int4range(no, no, '[]')), '{}') AS nos
        FROM ingest_streams WHERE device_id = ANY (d.ids)
    ) s
    CROSS JOIN LATERAL (
        SELECT count(*) AS n, coalesce(range_agg(int4range(no, no, '[]')), '{}') AS nos
        FROM cameras WHERE device_id = ANY (d.ids)
    ) c
    CROSS JOIN LATERAL (
        SELECT count(*) FILTER (WHERE counts) AS n, coalesce(bool_or(via = 'camera' AND kind <> 'zone'), false) AS by_line,
               coalesce(bool_or(via = 'camera' AND kind = 'zone'), false) AS by_zone,
               coalesce(range_agg(int4range(no, no, '[]')), '{}') AS nos
        FROM (
            SELECT no, via, kind, via NOT IN ('truth', 'turn', 'unpaired') AS counts
            FROM counting_zones WHERE device_id = ANY (d.ids)
        ) all_of_them
    ) z
    WHERE p.junction_id = of.id;
END $$;

-- What devices stored, by the days of a junction.
DROP FUNCTION counts_of_devices(uuid[], text);
CREATE FUNCTION counts_of_devices(devices uuid[], zone text)
RETURNS TABLE (bucket timestamptz, n_camera bigint, n_zone bigint, n_other bigint)
LANGUAGE sql STABLE AS $$
    SELECT bucket_start(x.at, 86400, zone),
           coalesce(sum(x.n) FILTER (WHERE x.via = 'camera' AND x.kind <> 'zone'), 0)::bigint,
           coalesce(sum(x.n) FILTER (WHERE x.via = 'camera' AND x.kind = 'zone'), 0)::bigint,
           coalesce(sum(x.n) FILTER (WHERE x.via <> 'camera'), 0)::bigint
    FROM (
        SELECT z.via, z.kind, date_bin('15 minutes', e.at, 'epoch') AS at, count(*) AS n
        FROM counting_zones z JOIN count_events e ON e.source_no = z.no
        WHERE z.device_id = ANY (devices) AND z.via NOT IN ('truth', 'turn', 'unpaired')
          AND e.at >= now() - interval '26 hours'
        GROUP BY 1, 2, 3
    ) x
    WHERE bucket_start(x.at, 86400, zone) >= now() - interval '26 hours'
    GROUP BY 1
$$;

CREATE OR REPLACE FUNCTION keep_counts(changed uuid[]) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM junction_counts WHERE junction_id = ANY (changed);
    INSERT INTO junction_counts (junction_id, bucket, timezone, n_camera, n_zone, n_other)
    SELECT j.id, c.bucket, j.timezone, c.n_camera, c.n_zone, c.n_other
    FROM junctions j
    CROSS JOIN LATERAL counts_of_devices(ARRAY(SELECT id FROM edge_devices WHERE junction_id = j.id), j.timezone) c
    WHERE j.id = ANY (changed);
END $$;

CREATE OR REPLACE FUNCTION move_counts(device uuid, junction uuid, sign integer) RETURNS void
LANGUAGE sql AS $$
    INSERT INTO junction_counts AS k (junction_id, bucket, timezone, n_camera, n_zone, n_other)
    SELECT j.id, c.bucket, j.timezone, sign * c.n_camera, sign * c.n_zone, sign * c.n_other
    FROM junctions j CROSS JOIN LATERAL counts_of_devices(ARRAY[device], j.timezone) c
    WHERE j.id = junction
    ORDER BY c.bucket
    ON CONFLICT (junction_id, bucket) DO UPDATE
    SET n_camera = k.n_camera + excluded.n_camera, n_zone = k.n_zone + excluded.n_zone,
        n_other = k.n_other + excluded.n_other
$$;

CREATE OR REPLACE FUNCTION counts_stored() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    -- None of the devices moves to another junction before this is committed.
    PERFORM FROM edge_devices
    WHERE id = ANY (ARRAY(
        SELECT z.device_id
        FROM (SELECT DISTINCT source_no FROM after_rows WHERE at >= now() - interval '26 hours') s
        CROSS JOIN LATERAL (SELECT device_id FROM counting_zones WHERE no = s.source_no OFFSET 0) z
    ))
    ORDER BY id
    FOR SHARE;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    INSERT INTO junction_counts AS k (junction_id, bucket, timezone, n_camera, n_zone, n_other)
    SELECT j.id, b.bucket, j.timezone,
           coalesce(sum(x.n) FILTER (WHERE z.via = 'camera' AND z.kind <> 'zone'), 0),
           coalesce(sum(x.n) FILTER (WHERE z.via = 'camera' AND z.kind = 'zone'), 0),
           coalesce(sum(x.n) FILTER (WHERE z.via <> 'camera'), 0)
    FROM (
        SELECT source_no, date_bin('15 minutes', at, 'epoch') AS at, count(*) AS n
        FROM after_rows WHERE at >= now() - interval '26 hours' GROUP BY 1, 2
    ) x
    CROSS JOIN LATERAL (SELECT device_id, via, kind FROM counting_zones WHERE no = x.source_no OFFSET 0) z
    CROSS JOIN LATERAL (SELECT junction_id FROM edge_devices WHERE id = z.device_id OFFSET 0) d
    CROSS JOIN LATERAL (SELECT id, timezone FROM junctions WHERE id = d.junction_id OFFSET 0) j
    CROSS JOIN LATERAL (SELECT bucket_start(x.at, 86400, j.timezone) AS bucket) b
    WHERE z.via NOT IN ('truth', 'turn', 'unpaired') AND b.bucket >= now() - interval '26 hours'
    GROUP BY j.id, b.bucket, j.timezone
    ORDER BY j.id, b.bucket
    ON CONFLICT (junction_id, bucket) DO UPDATE
    SET n_camera = k.n_camera + excluded.n_camera, n_zone = k.n_zone + excluded.n_zone,
        n_other = k.n_other + excluded.n_other;
    RETURN NULL;
END $$;

SELECT keep_parts(ARRAY(SELECT id FROM junctions));
SELECT keep_counts(ARRAY(SELECT id FROM junctions));
