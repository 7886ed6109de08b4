-- Logs that people and programs post beside those of devices, tags of cycles by their number, and MQTT.

-- A posted log belongs to no stream: `stream_no` is NULL, and it has who said it, and perhaps a junction. Its `seq`
-- is of this sequence. Indexes are built in one go, which holds up what is written to these two tables meanwhile.
CREATE SEQUENCE posted_log_seq;
ALTER TABLE system_logs ALTER COLUMN stream_no DROP NOT NULL;
ALTER TABLE system_logs ADD COLUMN junction_id uuid;
ALTER TABLE system_logs ADD COLUMN said_by uuid;
ALTER TABLE system_logs ADD COLUMN said_by_name text;
ALTER TABLE system_logs ADD CONSTRAINT system_logs_has_a_source CHECK (stream_no IS NOT NULL OR said_by_name IS NOT NULL);
CREATE INDEX system_logs_time ON system_logs (at);
CREATE INDEX system_logs_context ON system_logs USING gin (context jsonb_path_ops);
ALTER POLICY seen ON system_logs USING (
    (SELECT sees_all()) OR (SELECT stream_ranges()) @> stream_no OR junction_id IN (SELECT seen_junctions())
    OR said_by = (SELECT app_user()));
SELECT grant_reading('system_logs');

CREATE INDEX lane_cycle_data_epcs ON lane_cycle_data USING gin (epc_ids);

-- What came over MQTT, as it came. Kept only where the settings ask for it.
CREATE TABLE mqtt_messages (
    at          timestamptz NOT NULL,
    junction_id uuid,
    topic       text NOT NULL,
    payload     bytea NOT NULL,
    qos         smallint NOT NULL,
    retained    boolean NOT NULL,
    -- stored, known (it came before), unreadable, foreign (no device is registered for its junction)
    outcome     text NOT NULL,
    detail      text
);
SELECT make_timeseries('mqtt_messages', 'at', 'day');
CREATE INDEX mqtt_messages_junction ON mqtt_messages (junction_id, at);
SELECT guard_rows('mqtt_messages', 'junction_id IN (SELECT seen_junctions())');

-- How far what an MQTT sender counts was taken in, per start of its program. It is written before the records that
-- it stands for, and holds once the device's stream has reached `stream_seq`; until then `before_*` does. `missing`:
-- pairs, the first and last of each run of messages before `seq` that did not come yet.
CREATE TABLE mqtt_positions (
    device_id      uuid NOT NULL REFERENCES edge_devices,
    channel        text NOT NULL,
    lane           text NOT NULL,
    sender         uuid NOT NULL,
    boot_id        uuid NOT NULL,
    seq            bigint NOT NULL,
    total          bigint NOT NULL,
    missing        bigint[] NOT NULL,
    stream_seq     bigint NOT NULL,
    before_seq     bigint NOT NULL,
    before_total   bigint NOT NULL,
    before_missing bigint[] NOT NULL,
    written_at     timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (device_id, channel, lane, sender, boot_id)
);
