-- Orders to the lights of a junction, and what came of them.

-- An order goes to one device, in the order of `no`. It is delivered until the device tells what came of it, by a
-- record `command_result` of its stream; the device carries each out once.
CREATE TABLE commands (
    id             uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    no             bigint GENERATED ALWAYS AS IDENTITY UNIQUE,
    junction_id    uuid NOT NULL REFERENCES junctions,
    device_id      uuid NOT NULL REFERENCES edge_devices,
    -- As the lights take it.
    command        jsonb NOT NULL,
    issued_by      uuid REFERENCES users ON DELETE SET NULL,
    issued_by_name text NOT NULL,
    issued_at      timestamptz NOT NULL DEFAULT now(),
    -- Not delivered by then: it never is.
    expires_at     timestamptz NOT NULL,
    state          text NOT NULL DEFAULT 'queued'
                   CHECK (state IN ('queued', 'delivered', 'applied', 'refused', 'expired', 'failed')),
    delivered_at   timestamptz,
    settled_at     timestamptz,
    -- When the device told what came of it; NULL: not yet, and a state that says so is only the collector's belief.
    told_at        timestamptz,
    -- Why it was refused, or failed: in the lights' own words.
    detail         text
);
CREATE INDEX commands_open ON commands (device_id, no) WHERE state IN ('queued', 'delivered');
CREATE INDEX commands_junction ON commands (junction_id, no);
SELECT guard_rows('commands', 'junction_id IN (SELECT seen_junctions())');

-- Every order that took a junction's lights out of automatic control. Never deleted.
CREATE TABLE manual_override_history (
    id          uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    junction_id uuid NOT NULL REFERENCES junctions,
    -- NULL: given beside the junction.
    command_id  uuid UNIQUE REFERENCES commands,
    user_id     uuid REFERENCES users ON DELETE SET NULL,
    user_name   text NOT NULL,
    mode        text NOT NULL,
    settings    jsonb NOT NULL DEFAULT '{}',
    why         text NOT NULL DEFAULT '',
    ordered_at  timestamptz NOT NULL,
    -- When the lights took it; NULL: not yet, or never.
    began_at    timestamptz,
    ended_at    timestamptz,
    ended_by    text CHECK (ended_by IN ('expiry', 'order', 'fault', 'restart', 'refusal'))
);
CREATE INDEX manual_override_history_junction ON manual_override_history (junction_id, ordered_at);
CREATE INDEX manual_override_history_user ON manual_override_history (user_id, ordered_at);
SELECT guard_rows('manual_override_history', 'junction_id IN (SELECT seen_junctions())');
