-- The audit log: who did what to whom, from where.

-- name: write
INSERT INTO audit_log (user_id, user_name, address, action, subject_kind, subject_id, subject_name, junction_id,
                       before, after)
VALUES (%(user_id)s, %(user_name)s, %(address)s, %(action)s, %(subject_kind)s, %(subject_id)s, %(subject_name)s,
        %(junction_id)s, %(before)s, %(after)s);
