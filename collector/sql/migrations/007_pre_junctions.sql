-- Junctions as operators describe them: their lanes, what is wanted of them, and what their lights told last.

-- `wanted`: the description that was imported; what the lights say they run is `metadata -> 'lights'`.
-- `wanted_devices`: names or ids of devices that are to stand there, also of those that are not enrolled yet.
-- `lights_*`: which device's stream last described the lights, and who decided then what they show.
ALTER TABLE junctions
    ADD COLUMN wanted jsonb,
    ADD COLUMN wanted_devices text[] NOT NULL DEFAULT '{}',
    ADD COLUMN lights_device_id uuid REFERENCES edge_devices,
    ADD COLUMN lights_mode text,
    ADD COLUMN lights_mode_at timestamptz;

-- The lanes of what runs; where nothing is known to run, of what is wanted.
CREATE TABLE lanes (
    id                  uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    junction_id         uuid NOT NULL REFERENCES junctions,
    name                text NOT NULL CHECK (length(name) BETWEEN 1 AND 100),
    approach            text NOT NULL,
    -- In the description, from 1.
    position            integer NOT NULL,
    saturation_flow_vph double precision NOT NULL,
    metadata            jsonb NOT NULL DEFAULT '{}',
    created_at          timestamptz NOT NULL DEFAULT now(),
    UNIQUE (junction_id, name)
);
SELECT guard_rows('lanes', 'junction_id IN (SELECT seen_junctions())');

-- Puts a junction's lanes in step with its description. Equal ones are not touched.
CREATE FUNCTION keep_lanes(junction uuid) RETURNS void
LANGUAGE sql AS $$
    WITH described AS (
        -- What lights tell was checked by them, not here: a name may be there twice.
        SELECT DISTINCT ON (lane ->> 'name') lane ->> 'name' AS name, lane ->> 'approach' AS approach,
               position::integer,
               coalesce((lane ->> 'saturation_flow_vph')::double precision, 1800) AS saturation_flow_vph
        FROM junctions j,
             jsonb_array_elements(coalesce(j.metadata #> '{lights,description}', j.wanted) -> 'lanes')
                 WITH ORDINALITY AS of (lane, position)
        WHERE j.id = junction
        ORDER BY lane ->> 'name', position
    ), gone AS (
        DELETE FROM lanes l
        WHERE l.junction_id = junction AND NOT EXISTS (SELECT FROM described d WHERE d.name = l.name)
    )
    INSERT INTO lanes AS l (junction_id, name, approach, position, saturation_flow_vph)
    SELECT junction, name, approach, position, saturation_flow_vph FROM described
    ON CONFLICT (junction_id, name) DO UPDATE
    SET approach = excluded.approach, position = excluded.position,
        saturation_flow_vph = excluded.saturation_flow_vph
    WHERE (l.approach, l.position, l.saturation_flow_vph)
          IS DISTINCT FROM (excluded.approach, excluded.position, excluded.saturation_flow_vph)
$$;
SELECT keep_lanes(id) FROM junctions WHERE metadata #> '{lights,description}' IS NOT NULL;

-- When an override ends by itself, unless something ends it before. NULL: never, or it has not begun.
ALTER TABLE manual_override_history ADD COLUMN expires_at timestamptz;
CREATE INDEX manual_override_history_open ON manual_override_history (junction_id) WHERE ended_at IS NULL;

-- Overrides as they are now: one whose time is over has ended, though nothing told so yet.
CREATE VIEW v_override_history WITH (security_invoker = true) AS
SELECT id, junction_id, command_id, user_id, user_name, mode, settings, why, ordered_at, began_at, expires_at,
       coalesce(ended_at, CASE WHEN expires_at <= now() THEN expires_at END) AS ended_at,
       coalesce(ended_by, CASE WHEN expires_at <= now() THEN 'expiry' END) AS ended_by
FROM manual_override_history;
GRANT SELECT ON v_override_history TO stopline_reader;

-- The cycles of the last day, with what their lanes got and gave.
CREATE VIEW v_recent_cycles WITH (security_invoker = true) AS
SELECT j.id AS junction_id, j.name AS junction, d.id AS device_id, c.stream_no, c.seq, c.at, c.at_error_ms,
       c.length_s, c.mode, c.algorithm, c.plan, l.vehicles, l.lanes
FROM traffic_cycles c
JOIN ingest_streams s ON s.no = c.stream_no
JOIN edge_devices d ON d.id = s.device_id
JOIN junctions j ON j.id = d.junction_id
LEFT JOIN LATERAL (
    -- NULL where no lane was measured.
    SELECT sum(x.vehicles) AS vehicles, jsonb_agg(jsonb_build_object(
               'lane', x.lane, 'vehicles', x.vehicles, 'green_s', x.green_s, 'yellow_s', x.yellow_s,
               'red_s', x.red_s, 'saturation', x.saturation) ORDER BY x.lane) AS lanes
    FROM lane_cycle_data x
    WHERE x.stream_no = c.stream_no AND x.at = c.at AND x.seq = c.seq
) l ON true
WHERE c.at >= now() - interval '1 day';
GRANT SELECT ON v_recent_cycles TO stopline_reader;
