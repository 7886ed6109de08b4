-- Emergency vehicles in the history of who controlled the lights, and where users signed in of late. Code that knows
-- neither loses nothing.

-- Each time that an emergency vehicle held a junction's lights, as their event log tells. Never deleted.
CREATE TABLE preemption_history (
    id          uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    junction_id uuid NOT NULL REFERENCES junctions,
    -- As the event log names it; `name`: as the lights' description did then, if it was known.
    number      integer NOT NULL,
    name        text,
    began_at    timestamptz NOT NULL,
    -- It holds no longer than this. NULL: not known.
    expires_at  timestamptz,
    ended_at    timestamptz,
    -- `untold`: the next one began, and nothing tells when this one ended.
    ended_by    text CHECK (ended_by IN ('exit', 'too_long', 'restart', 'untold')),
    UNIQUE (junction_id, began_at, number)
);
CREATE INDEX preemption_history_open ON preemption_history (junction_id) WHERE ended_at IS NULL;
SELECT guard_rows('preemption_history', 'junction_id IN (SELECT seen_junctions())');

-- All that took a junction's lights out of automatic control, as it is now.
CREATE VIEW v_control_history WITH (security_invoker = true) AS
SELECT id, junction_id, CASE WHEN command_id IS NULL THEN 'beside' ELSE 'collector' END AS origin, command_id, user_id,
       user_name, mode, settings, why, ordered_at, began_at, expires_at, ended_at, ended_by
FROM v_override_history
UNION ALL
SELECT id, junction_id, 'preemption', NULL, NULL, coalesce(name, 'preemption ' || number), 'preempt',
       jsonb_build_object('number', number), '', began_at, began_at, expires_at,
       coalesce(ended_at, CASE WHEN expires_at <= now() THEN expires_at END),
       coalesce(ended_by, CASE WHEN expires_at <= now() THEN 'untold' END)
FROM preemption_history;
GRANT SELECT ON v_control_history TO stopline_reader;

-- Where a user signed in of late: whoever guesses elsewhere does not keep them out there.
CREATE TABLE familiar_networks (
    user_id uuid NOT NULL REFERENCES users ON DELETE CASCADE,
    -- As `failed_sign_ins` tells addresses apart.
    network text NOT NULL,
    last_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (user_id, network)
);
