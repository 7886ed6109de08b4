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
