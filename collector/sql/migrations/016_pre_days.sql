-- Days of junctions: those of which the cycles are not known any more, and those that are made just now.

-- NULL: retention had dropped them before they were added up.
ALTER TABLE junction_daily_stats ALTER COLUMN cycles DROP NOT NULL;
ALTER TABLE junction_daily_stats ALTER COLUMN saturation_cycles DROP NOT NULL;

-- All days of these junctions have changed, also those that a worker is just making and that cannot be seen yet: they
-- come after the last one, or begin with the first record of any device of theirs.
CREATE FUNCTION mark_days_of(changed uuid[]) RETURNS void
LANGUAGE sql AS $$
    INSERT INTO junction_day_marks (junction_id, at)
    SELECT junction_id, starts_at FROM junction_daily_stats WHERE junction_id = ANY (changed)
    UNION ALL
    SELECT j.id, generate_series(coalesce(k.ends_at, first.at), now(), interval '12 hours')
    FROM unnest(changed) AS j (id)
    LEFT JOIN LATERAL (
        SELECT ends_at FROM junction_daily_stats WHERE junction_id = j.id ORDER BY day DESC LIMIT 1
    ) k ON true
    LEFT JOIN LATERAL (
        SELECT least(
            (SELECT min(r.bucket) FROM edge_devices d JOIN counting_zones z ON z.device_id = d.id
             JOIN count_rollups r ON r.source_no = z.no AND r.step_s = 86400 WHERE d.junction_id = ANY (changed)),
            (SELECT min(c.at) FROM edge_devices d JOIN ingest_streams s ON s.device_id = d.id
             JOIN traffic_cycles c ON c.stream_no = s.no WHERE d.junction_id = ANY (changed)),
            (SELECT min(r.bucket) FROM edge_devices d JOIN cameras m ON m.device_id = d.id
             JOIN coverage_rollups r ON r.camera_no = m.no AND r.step_s = 86400 WHERE d.junction_id = ANY (changed))
        ) AS at
    ) first ON k.ends_at IS NULL
    WHERE j.id IS NOT NULL
$$;

CREATE OR REPLACE FUNCTION mark_days_of_device() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM mark_days_of(ARRAY[OLD.junction_id, NEW.junction_id]);
    RETURN NULL;
END $$;

CREATE OR REPLACE FUNCTION mark_days_of_junction() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM mark_days_of(ARRAY[NEW.id]);
    RETURN NULL;
END $$;
