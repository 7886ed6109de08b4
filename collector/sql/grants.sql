-- Which junctions a user sees and may operate.

-- name: level
-- How far an active user's access to a junction goes; no row: they do not see it, or there is none.
SELECT CASE WHEN u.role = 'admin' OR u.all_junctions THEN 'operate' ELSE a.level END
FROM users u
CROSS JOIN junctions j
LEFT JOIN user_junction_access a ON a.user_id = u.id AND a.junction_id = j.id
WHERE u.id = %(user_id)s AND u.status = 'active' AND j.id = %(junction_id)s
  AND (u.role = 'admin' OR u.all_junctions OR a.level IS NOT NULL);

-- name: rights
-- All that an active user was granted, and the role of their API token if it still holds.
SELECT u.role, u.role = 'admin' OR u.all_junctions AS sees_all, u.token_version,
       (SELECT t.role FROM api_tokens t
        WHERE t.id = %(token_id)s AND t.user_id = u.id AND t.revoked_at IS NULL
          AND (t.expires_at IS NULL OR t.expires_at > now())) AS token_role,
       coalesce(array_agg(a.junction_id) FILTER (WHERE a.junction_id IS NOT NULL), '{}') AS junctions,
       coalesce(array_agg(a.level) FILTER (WHERE a.junction_id IS NOT NULL), '{}') AS levels
FROM users u
LEFT JOIN user_junction_access a ON a.user_id = u.id
WHERE u.id = %(user_id)s AND u.status = 'active'
GROUP BY u.id;

-- name: granted
SELECT j.id, j.name, a.level, a.granted_at, g.name AS granted_by
FROM user_junction_access a
JOIN junctions j ON j.id = a.junction_id
LEFT JOIN users g ON g.id = a.granted_by
WHERE a.user_id = %(user_id)s
ORDER BY j.name
LIMIT %(limit)s OFFSET %(offset)s;

-- name: grant_of
SELECT j.id, j.name, a.level, a.granted_at, g.name AS granted_by
FROM user_junction_access a
JOIN junctions j ON j.id = a.junction_id
LEFT JOIN users g ON g.id = a.granted_by
WHERE a.user_id = %(user_id)s AND a.junction_id = %(junction_id)s;

-- name: lock_user
SELECT name FROM users WHERE id = %(user_id)s FOR NO KEY UPDATE;

-- name: junction_name
SELECT name FROM junctions WHERE id = %(junction_id)s FOR KEY SHARE;

-- name: junction_named
SELECT id FROM junctions WHERE name = %(name)s OR id::text = lower(%(name)s) ORDER BY name = %(name)s DESC LIMIT 1;

-- name: grant
-- The level before, NULL if there was none; no row: it was the same.
WITH before AS (
    SELECT level FROM user_junction_access WHERE user_id = %(user_id)s AND junction_id = %(junction_id)s
)
INSERT INTO user_junction_access AS a (user_id, junction_id, level, granted_by)
VALUES (%(user_id)s, %(junction_id)s, %(level)s, %(by)s)
ON CONFLICT (user_id, junction_id) DO UPDATE
SET level = excluded.level, granted_by = excluded.granted_by, granted_at = now()
WHERE a.level <> excluded.level
RETURNING (SELECT level FROM before);

-- name: withdraw
DELETE FROM user_junction_access WHERE user_id = %(user_id)s AND junction_id = %(junction_id)s RETURNING level;
