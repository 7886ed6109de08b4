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
