-- The audit log: who did what to whom, from where.

-- name: write
INSERT INTO audit_log (user_id, user_name, address, action, subject_kind, subject_id, subject_name, junction_id,
                       before, after)
VALUES (%(user_id)s, %(user_name)s, %(address)s, %(action)s, %(subject_kind)s, %(subject_id)s, %(subject_name)s,
        %(junction_id)s, %(before)s, %(after)s);

-- name: entries
-- The latest first. `user`: who did it, or whom it was done to.
SELECT no, at, user_id, user_name, address, action, subject_kind, subject_id, subject_name, junction_id, before, after
FROM audit_log
WHERE (%(user_id)s::uuid IS NULL OR user_id = %(user_id)s OR subject_id = %(user_id)s)
  AND (%(actions)s::text[] IS NULL OR action = ANY (%(actions)s))
  AND (%(junction_id)s::uuid IS NULL OR junction_id = %(junction_id)s)
  AND (%(since)s::timestamptz IS NULL OR at >= %(since)s) AND (%(until)s::timestamptz IS NULL OR at < %(until)s)
  AND (%(before)s::bigint IS NULL OR no < %(before)s)
ORDER BY no DESC
LIMIT %(limit)s;
