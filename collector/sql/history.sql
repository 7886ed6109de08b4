-- Who took a junction's lights out of automatic control, when, and what ended it: told by what came of orders from
-- here, and by the lights' own log. All of these may come again, and late; they are then as if they had come in time.

-- What came of one order, once `commands` says so; what is said later replaces what was said before. To be run in the
-- same transaction, order by order, oldest first.
-- name: settle_history
WITH settled AS (
    SELECT id, no, junction_id, state, settled_at, expires_at FROM commands
    WHERE id = %(command)s AND state NOT IN ('queued', 'delivered')
), own AS (
    UPDATE manual_override_history h
    SET began_at = CASE s.state WHEN 'applied' THEN s.settled_at END,
        expires_at = CASE s.state WHEN 'applied'
            THEN s.settled_at + make_interval(secs => (h.settings ->> 'expires_s')::double precision) END,
        ended_at = CASE s.state WHEN 'applied' THEN n.at ELSE s.settled_at END,
        ended_by = CASE s.state WHEN 'refused' THEN 'refusal' WHEN 'failed' THEN 'restart'
                   WHEN 'expired' THEN CASE WHEN EXISTS (
                       SELECT FROM commands later
                       WHERE later.junction_id = s.junction_id AND later.no > s.no AND later.issued_at < s.expires_at
                   ) THEN 'order' ELSE 'expiry' END
                   ELSE CASE WHEN n.at IS NOT NULL THEN 'order' END END
    FROM settled s
    CROSS JOIN LATERAL (
        -- The next order that was applied: this one may be told late.
        SELECT min(at) AS at FROM (
            SELECT c.settled_at AS at FROM commands c
            WHERE c.junction_id = s.junction_id AND c.no > s.no AND c.state = 'applied'
            UNION ALL
            SELECT o.began_at FROM manual_override_history o
            WHERE o.junction_id = s.junction_id AND o.command_id IS NULL AND o.ordered_at > s.settled_at
        ) later WHERE at > s.settled_at
    ) n
    WHERE h.command_id = s.id AND h.began_at IS NULL
)
UPDATE manual_override_history h
SET ended_at = least(s.settled_at, h.expires_at),
    ended_by = CASE WHEN h.expires_at < s.settled_at THEN 'expiry' ELSE 'order' END
FROM settled s
WHERE s.state = 'applied' AND h.junction_id = s.junction_id AND h.command_id IS DISTINCT FROM s.id
  AND h.began_at <= s.settled_at AND (h.ended_at IS NULL OR h.ended_at > s.settled_at)

-- A later order took the place of one that nobody had fetched.
-- name: supersede_history
UPDATE manual_override_history h SET ended_at = c.settled_at, ended_by = 'order'
FROM commands c
WHERE c.id = %(command)s AND h.command_id = c.id AND h.began_at IS NULL

-- The lights took an order at `at`, as their log tells. Was it one from here whose end its device has not told, or did
-- not know since it was killed in between, then this tells it. Of several that are alike it is the latest that was
-- given by then, and none where `at` is when another one was told as applied: its device asks for 5 s at most.
-- What comes back are the columns of `remote.sql`; to be settled in the history as well.
-- name: take_order
WITH alike AS (
    SELECT id, no, state, issued_at, settled_at FROM commands
    WHERE junction_id = %(junction)s AND state IN ('delivered', 'failed', 'applied')
      AND starts_with(%(by)s, (command ->> 'by') || ' (uid ') AND command - 'by' = %(given)s::jsonb
      AND %(at)s BETWEEN issued_at - interval '1 hour' AND expires_at + interval '1 hour'
)
UPDATE commands c
SET state = 'applied', detail = NULL, settled_at = greatest(c.issued_at, least(%(at)s, now())), told_at = now()
WHERE c.id = (
        SELECT id FROM alike WHERE state <> 'applied'
        ORDER BY issued_at <= %(at)s::timestamptz + interval '2 seconds' DESC, no DESC LIMIT 1
    )
  AND NOT EXISTS (
      SELECT FROM alike
      WHERE state = 'applied'
        AND settled_at BETWEEN %(at)s::timestamptz - interval '1 second' AND %(at)s::timestamptz + interval '6 seconds')
RETURNING c.id, c.junction_id, c.device_id, c.command::text, c.issued_by_name, c.state,
    c.detail, c.issued_at, c.expires_at, c.delivered_at, c.settled_at

-- The same, where it did not come from here. `mode` NULL: back to automatic. The lights append to `by` whose program
-- asked.
-- name: begin_override
WITH beside AS (
    SELECT 1 WHERE NOT EXISTS (
        SELECT FROM commands c
        WHERE c.junction_id = %(junction)s AND c.state <> 'queued'
          AND starts_with(%(by)s, (c.command ->> 'by') || ' (uid ') AND c.command - 'by' = %(given)s::jsonb
          AND %(at)s BETWEEN c.issued_at - interval '1 hour' AND c.expires_at + interval '1 hour')
), ended AS (
    UPDATE manual_override_history h
    SET ended_at = least(%(at)s, h.expires_at),
        ended_by = CASE WHEN h.expires_at < %(at)s THEN 'expiry' ELSE 'order' END
    FROM beside
    WHERE h.junction_id = %(junction)s AND h.began_at <= %(at)s AND (h.ended_at IS NULL OR h.ended_at > %(at)s)
)
INSERT INTO manual_override_history
    (junction_id, user_name, mode, settings, why, ordered_at, began_at, expires_at)
SELECT %(junction)s, %(by)s, %(mode)s, %(settings)s, %(why)s, %(at)s, %(at)s,
       %(at)s::timestamptz + make_interval(secs => (%(settings)s::jsonb ->> 'expires_s')::double precision)
FROM beside
WHERE %(mode)s::text IS NOT NULL

-- Something else ended what ran. `modes`: of which modes it ends overrides.
-- name: end_overrides
UPDATE manual_override_history h
SET ended_at = least(%(at)s, h.expires_at),
    ended_by = CASE WHEN h.expires_at < %(at)s THEN 'expiry' ELSE %(ended_by)s END
WHERE h.junction_id = %(junction)s AND h.began_at < %(at)s AND (h.ended_at IS NULL OR h.ended_at > %(at)s)
  AND h.mode = ANY (%(modes)s::text[])

-- A fault is over, and the lights go on with the override that it had interrupted.
-- name: resume_override
UPDATE manual_override_history h
SET ended_at = NULL, ended_by = NULL
WHERE h.id = (
        SELECT id FROM manual_override_history
        WHERE junction_id = %(junction)s AND began_at < %(at)s ORDER BY began_at DESC LIMIT 1
    )
  AND h.ended_by = 'fault' AND h.mode = %(mode)s AND (h.expires_at IS NULL OR h.expires_at > %(at)s)

-- An emergency vehicle holds the lights. One that is told late ended, at the latest, when the next one began.
-- name: begin_preemption
WITH ended AS (
    UPDATE preemption_history SET ended_at = least(%(at)s, expires_at), ended_by = 'untold'
    WHERE junction_id = %(junction)s AND began_at < %(at)s AND ended_at IS NULL
), described AS (
    SELECT jsonb_path_query_first(
               metadata, '$.lights.description.preemptions[*] ? (@.number == $number)',
               jsonb_build_object('number', %(number)s::integer)) AS one
    FROM junctions WHERE id = %(junction)s
)
INSERT INTO preemption_history (junction_id, number, name, began_at, expires_at, ended_at, ended_by)
SELECT %(junction)s, %(number)s, one ->> 'name', %(at)s,
       %(at)s::timestamptz + make_interval(secs => (one ->> 'max_presence_s')::double precision),
       next.at, CASE WHEN next.at IS NOT NULL THEN 'untold' END
FROM described
CROSS JOIN LATERAL (
    SELECT min(began_at) AS at FROM preemption_history WHERE junction_id = %(junction)s AND began_at > %(at)s
) next
ON CONFLICT DO NOTHING

-- It goes. What the lights tell of its end is truer than what was concluded from the next one.
-- name: end_preemption
UPDATE preemption_history h SET ended_at = %(at)s, ended_by = %(ended_by)s
WHERE h.id = (
        SELECT id FROM preemption_history
        WHERE junction_id = %(junction)s AND number = %(number)s AND began_at <= %(at)s
        ORDER BY began_at DESC LIMIT 1
    )
  AND (h.ended_at IS NULL OR h.ended_by = 'untold')

-- Lights that start anew hold for nobody.
-- name: end_preemptions
UPDATE preemption_history SET ended_at = least(%(at)s, expires_at), ended_by = 'restart'
WHERE junction_id = %(junction)s AND began_at < %(at)s AND ended_at IS NULL

-- name: hold_junction
SELECT FROM junctions WHERE id = %(junction)s FOR NO KEY UPDATE

-- The lights flash by a fault. It is told twice, at almost the same moment: by the event log, and with `why` by the
-- log. One that is told late ended, at the latest, when the next one began; or its end was told before, and is stored.
-- name: begin_fault
WITH same AS (
    UPDATE fault_history
    SET why = CASE WHEN why = '' THEN %(why)s ELSE why END,
        -- Where another one began just then, as of a clock that was set back, this one stays where it is.
        began_at = CASE WHEN EXISTS (SELECT FROM fault_history WHERE junction_id = %(junction)s AND began_at = %(at)s)
                        THEN began_at ELSE least(began_at, %(at)s) END
    WHERE id = (
            SELECT id FROM fault_history
            WHERE junction_id = %(junction)s
              AND began_at BETWEEN %(at)s::timestamptz - interval '1 second' AND %(at)s::timestamptz + interval '1 second'
              AND (ended_at IS NULL OR ended_at > %(at)s) AND (why = '' OR %(why)s IN ('', why))
            ORDER BY began_at LIMIT 1
        )
    RETURNING id
), new AS (
    SELECT (SELECT min(began_at) FROM fault_history WHERE junction_id = %(junction)s AND began_at > %(at)s) AS next_at
    WHERE NOT EXISTS (SELECT FROM same)
      -- The event log tells no more than that there is one.
      AND (%(why)s <> '' OR NOT EXISTS (
          SELECT FROM fault_history
          WHERE junction_id = %(junction)s AND began_at <= %(at)s AND (ended_at IS NULL OR ended_at > %(at)s)))
), ended AS (
    UPDATE fault_history SET ended_at = %(at)s, ended_by = 'another'
    WHERE junction_id = %(junction)s AND began_at < %(at)s AND (ended_at IS NULL OR ended_by = 'another')
      AND (ended_at IS NULL OR ended_at > %(at)s) AND EXISTS (SELECT FROM new)
)
INSERT INTO fault_history (junction_id, why, began_at, ended_at, ended_by)
SELECT %(junction)s, %(why)s, %(at)s, coalesce(stored.at, next_at),
       coalesce(stored.ended_by, CASE WHEN next_at IS NOT NULL THEN 'another' END)
FROM new
LEFT JOIN LATERAL (
    SELECT told.at, told.ended_by
    FROM edge_devices d
    JOIN ingest_streams s ON s.device_id = d.id
    CROSS JOIN LATERAL (
        (
            SELECT at, 'cleared' AS ended_by FROM system_logs
            WHERE stream_no = s.no AND at > %(at)s AND at <= coalesce(next_at, 'infinity')
              AND action = 'lights_fault_cleared'
            ORDER BY at LIMIT 1
        )
        UNION ALL
        (
            -- Unit flash by no fault (5, 6); 7: since the lights start up.
            SELECT at, CASE parameter WHEN 7 THEN 'restart' ELSE 'cleared' END
            FROM signal_events
            WHERE stream_no = s.no AND at > %(at)s AND at <= coalesce(next_at, 'infinity')
              AND code = 173 AND parameter NOT IN (5, 6)
            ORDER BY at LIMIT 1
        )
    ) told
    WHERE d.junction_id = %(junction)s
    ORDER BY told.at LIMIT 1
) stored ON true
ON CONFLICT DO NOTHING

-- It is over. What the lights tell of its end is truer than what was concluded from the next one; of several, the first.
-- name: end_fault
UPDATE fault_history SET ended_at = %(at)s, ended_by = %(ended_by)s
WHERE id = (
        SELECT id FROM fault_history WHERE junction_id = %(junction)s AND began_at <= %(at)s
        ORDER BY began_at DESC LIMIT 1
    )
  AND (ended_at IS NULL OR ended_at > %(at)s)

-- Who decides what the lights show. NULL: not known.
-- name: note_mode
UPDATE junctions SET lights_mode = %(mode)s, lights_mode_at = %(at)s
WHERE id = %(junction)s AND (lights_mode_at IS NULL OR lights_mode_at <= %(at)s)
  AND lights_mode IS DISTINCT FROM %(mode)s

-- An order from here; it begins when the lights take it.
-- name: note_order
INSERT INTO manual_override_history (junction_id, command_id, user_id, user_name, mode, settings, why, ordered_at)
SELECT junction_id, id, issued_by, issued_by_name, %(mode)s, %(settings)s, %(why)s, issued_at
FROM commands WHERE id = %(command)s
