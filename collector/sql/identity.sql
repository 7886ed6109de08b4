-- Users, their sessions and tokens, and failed sign-ins.

-- name: user_to_sign_in
SELECT id, password_hash, status, name FROM users WHERE lower(name) = lower(%(name)s);

-- name: user
SELECT id, name, display_name, role, status, all_junctions, created_at, password_changed_at, signed_in_at
FROM users WHERE id = %(id)s;

-- name: holds
-- How much opens something to a user. A session that goes on has one refresh token that was not used.
SELECT (SELECT count(*) FROM user_junction_access WHERE user_id = %(id)s) AS n_junctions,
       (SELECT count(*) FROM refresh_tokens
        WHERE user_id = %(id)s AND used_at IS NULL AND revoked_at IS NULL AND expires_at > now()) AS n_sessions,
       (SELECT count(*) FROM api_tokens
        WHERE user_id = %(id)s AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now())) AS n_api_tokens;

-- name: user_of_name
SELECT id, name, display_name, role, status, all_junctions, created_at, password_changed_at, signed_in_at
FROM users WHERE lower(name) = lower(%(name)s);

-- name: user_name
SELECT name FROM users WHERE id = %(id)s;

-- name: users
-- The order is another where one is asked for.
SELECT id, name, display_name, role, status, all_junctions, created_at, password_changed_at, signed_in_at
FROM users
WHERE (%(part)s::text IS NULL OR position(lower(%(part)s) IN lower(concat_ws(' ', name, display_name))) > 0)
  AND (%(role)s::text IS NULL OR role = %(role)s) AND (%(status)s::text IS NULL OR status = %(status)s)
ORDER BY {order}, id
LIMIT %(limit)s OFFSET %(offset)s;

-- name: create_user
INSERT INTO users (name, display_name, password_hash, role, all_junctions, password_changed_at)
VALUES (%(name)s, %(display_name)s, %(password_hash)s, %(role)s, %(all_junctions)s, now())
ON CONFLICT (lower(name)) DO NOTHING
RETURNING id;

-- name: add_access
-- Of an invitation whose junction is gone by now, nothing is left to give.
INSERT INTO user_junction_access (user_id, junction_id, level)
SELECT %(user_id)s, id, %(level)s FROM junctions WHERE id = %(junction_id)s;

-- name: update_user
-- A change of role or status ends the access tokens that were made before.
UPDATE users SET role = coalesce(%(role)s, role), status = coalesce(%(status)s, status),
       display_name = coalesce(%(display_name)s, display_name),
       all_junctions = coalesce(%(all_junctions)s, all_junctions),
       token_version = token_version + CASE
           WHEN role IS DISTINCT FROM coalesce(%(role)s, role) OR status IS DISTINCT FROM coalesce(%(status)s, status)
           THEN 1 ELSE 0 END
WHERE id = %(id)s;

-- name: lock_user
SELECT name, display_name, role, status, all_junctions FROM users WHERE id = %(id)s FOR UPDATE;

-- name: n_other_admins
SELECT count(*) FROM users WHERE role = 'admin' AND status = 'active' AND id <> %(id)s;

-- name: lock_admins
-- Two admins who take each other's role at once must not leave none.
SELECT id FROM users WHERE role = 'admin' ORDER BY id FOR UPDATE;

-- name: set_password
UPDATE users SET password_hash = %(password_hash)s, password_changed_at = now(), token_version = token_version + 1
WHERE id = %(id)s
RETURNING token_version, name;

-- name: note_sign_in
-- No row: the password that was just checked was changed meanwhile, or the user disabled.
UPDATE users SET signed_in_at = now()
WHERE id = %(id)s AND password_hash = %(known_hash)s AND status = 'active'
RETURNING token_version;

-- name: rehash
UPDATE users SET password_hash = %(password_hash)s WHERE id = %(id)s AND password_hash = %(old)s;

-- name: begin_session
INSERT INTO refresh_tokens (hash, family, user_id, expires_at)
VALUES (%(hash)s, %(family)s, %(user_id)s, now() + make_interval(secs => %(lifetime_s)s));

-- name: lock_owner
-- The user of a token, before anything is done with the token: who goes on with a session and who ends it come one
-- after the other, or a successor that is being made would outlive the end.
SELECT u.id FROM users u JOIN refresh_tokens r ON r.user_id = u.id WHERE r.hash = %(hash)s FOR NO KEY UPDATE OF u;

-- name: use_refresh_token
-- Only one of two that come with the same token gets it.
UPDATE refresh_tokens SET used_at = now()
WHERE hash = %(hash)s AND used_at IS NULL AND revoked_at IS NULL AND expires_at > now()
RETURNING family, user_id;

-- name: refresh_token
SELECT r.family, r.user_id, r.used_at IS NOT NULL AS was_used, r.revoked_at IS NOT NULL AS is_revoked,
       r.expires_at <= now() AS is_expired,
       coalesce(r.used_at > now() - make_interval(secs => %(grace_s)s), false) AS was_used_now, u.name
FROM refresh_tokens r JOIN users u ON u.id = r.user_id WHERE r.hash = %(hash)s;

-- name: end_family
UPDATE refresh_tokens SET revoked_at = now() WHERE family = %(family)s AND revoked_at IS NULL;

-- name: end_sessions
UPDATE refresh_tokens SET revoked_at = now() WHERE user_id = %(user_id)s AND revoked_at IS NULL;

-- name: forget_old_sessions
DELETE FROM refresh_tokens WHERE expires_at < now() - interval '7 days';

-- name: create_api_token
INSERT INTO api_tokens (user_id, name, hash, role, expires_at)
VALUES (%(user_id)s, %(name)s, %(hash)s, %(role)s,
        CASE WHEN %(lifetime_s)s::double precision IS NOT NULL THEN now() + make_interval(secs => %(lifetime_s)s) END)
RETURNING id, created_at, expires_at;

-- name: api_tokens
SELECT id, name, role, created_at, expires_at, used_at FROM api_tokens
WHERE user_id = %(user_id)s AND revoked_at IS NULL ORDER BY created_at, id;

-- name: revoke_api_token
UPDATE api_tokens SET revoked_at = now()
WHERE id = %(id)s AND user_id = %(user_id)s AND revoked_at IS NULL
RETURNING name;

-- name: api_token_user
-- The user of a token that holds, with the lesser of both roles. That it was used is noted once a minute at most.
WITH found AS (
    SELECT t.id AS token_id, t.used_at, t.role AS token_role, u.id, u.name, u.role,
           u.role = 'admin' OR u.all_junctions AS sees_all
    FROM api_tokens t JOIN users u ON u.id = t.user_id
    WHERE t.hash = %(hash)s AND t.revoked_at IS NULL AND (t.expires_at IS NULL OR t.expires_at > now())
      AND u.status = 'active'
), noted AS (
    UPDATE api_tokens SET used_at = now()
    WHERE id IN (SELECT token_id FROM found WHERE used_at IS NULL OR used_at < now() - interval '1 minute')
)
SELECT id, name, role, token_role, sees_all, token_id FROM found;

-- name: session_user
-- No row: they are not active, or the session has ended.
SELECT name, role, token_version, role = 'admin' OR all_junctions
FROM users u
WHERE id = %(id)s AND status = 'active'
  AND (%(session_id)s::uuid IS NULL OR EXISTS (
      SELECT FROM refresh_tokens r WHERE r.family = %(session_id)s AND r.user_id = u.id AND r.revoked_at IS NULL));

-- name: create_invitation
INSERT INTO invitations (hash, role, all_junctions, invited_by, expires_at)
VALUES (%(hash)s, %(role)s, %(all_junctions)s, %(invited_by)s, now() + make_interval(secs => %(lifetime_s)s))
RETURNING id, expires_at;

-- name: add_to_invitation
INSERT INTO invitation_access (invitation_id, junction_id, level) VALUES (%(id)s, %(junction_id)s, %(level)s);

-- name: open_invitation
-- What it gives, before the work of hashing a password is done for it.
SELECT i.role, i.all_junctions, ARRAY[]::uuid[], ARRAY[]::text[] FROM invitations i
WHERE i.hash = %(hash)s AND i.used_at IS NULL AND i.revoked_at IS NULL AND i.expires_at > now();

-- name: invitations
SELECT i.id, i.role, i.all_junctions,
       (SELECT count(*) FROM invitation_access a WHERE a.invitation_id = i.id) AS n_junctions,
       u.name AS invited_by, i.created_at, i.expires_at
FROM invitations i LEFT JOIN users u ON u.id = i.invited_by
WHERE i.used_at IS NULL AND i.revoked_at IS NULL AND i.expires_at > now()
ORDER BY i.created_at DESC, i.id
LIMIT 1000;

-- name: revoke_invitation
UPDATE invitations SET revoked_at = now()
WHERE id = %(id)s AND used_at IS NULL AND revoked_at IS NULL AND expires_at > now()
RETURNING id;

-- name: take_invitation
SELECT i.role, i.all_junctions, ARRAY(SELECT a.junction_id FROM invitation_access a WHERE a.invitation_id = i.id
                                      ORDER BY a.junction_id),
       ARRAY(SELECT a.level FROM invitation_access a WHERE a.invitation_id = i.id ORDER BY a.junction_id)
FROM invitations i
WHERE i.hash = %(hash)s AND i.used_at IS NULL AND i.revoked_at IS NULL AND i.expires_at > now()
FOR UPDATE OF i;

-- name: use_invitation
UPDATE invitations SET used_at = now(), used_by = %(user_id)s WHERE hash = %(hash)s;

-- name: blocked_for_s
-- Names are told apart as `users` does, whatever their spelling. What failed for a name from anywhere does not count
-- where its user has signed in of late.
SELECT max(extract(epoch FROM blocked_until - now()))::double precision
FROM failed_sign_ins
WHERE key = ANY (ARRAY(SELECT lower(k) FROM unnest(%(keys)s::text[]) AS k)) AND blocked_until > now()
  AND NOT (key = lower(%(name_key)s) AND EXISTS (
      SELECT FROM familiar_networks f JOIN users u ON u.id = f.user_id
      WHERE lower(u.name) = lower(%(name)s) AND f.network = %(network)s
        AND f.last_at > now() - make_interval(secs => %(familiar_s)s)));

-- name: note_network
-- A user signed in from there. What was long ago is forgotten.
WITH old AS (
    DELETE FROM familiar_networks
    WHERE user_id = %(user_id)s AND network <> %(network)s AND last_at < now() - make_interval(secs => %(familiar_s)s)
)
INSERT INTO familiar_networks (user_id, network) VALUES (%(user_id)s, %(network)s)
ON CONFLICT (user_id, network) DO UPDATE SET last_at = now();

-- name: forget_networks
DELETE FROM familiar_networks WHERE user_id = %(user_id)s;

-- name: make_attempts
INSERT INTO failed_sign_ins (key, n) VALUES (lower(%(key)s), 0) ON CONFLICT (key) DO NOTHING;

-- name: lock_attempts
SELECT extract(epoch FROM blocked_until - now())::double precision
FROM failed_sign_ins WHERE key = lower(%(key)s) FOR UPDATE;

-- name: note_failure
-- After `free` failures each further one blocks twice as long, up to `most_s`; a quiet `forget_s` forgets them.
INSERT INTO failed_sign_ins AS f (key, n) VALUES (lower(%(key)s), 1)
ON CONFLICT (key) DO UPDATE SET
    n = CASE WHEN f.last_at < now() - make_interval(secs => %(forget_s)s) THEN 1 ELSE f.n + 1 END,
    last_at = now(),
    blocked_until = CASE
        WHEN f.last_at >= now() - make_interval(secs => %(forget_s)s) AND f.n + 1 >= %(free)s
        THEN now() + make_interval(secs => least(%(most_s)s, power(2, least(f.n + 1 - %(free)s, 20))))
    END
RETURNING n, extract(epoch FROM blocked_until - now())::double precision;

-- name: forget_failures
DELETE FROM failed_sign_ins WHERE key = lower(%(key)s) OR last_at < now() - interval '1 day';

-- name: forget_failures_of
-- All of a user, wherever they were. A key may end in a line of its own with the name.
DELETE FROM failed_sign_ins WHERE key = lower(%(key)s) OR split_part(key, chr(10), 2) = lower(%(name)s);

-- name: make_secret
INSERT INTO secrets (name, value) VALUES (%(name)s, %(value)s) ON CONFLICT (name) DO NOTHING;

-- name: secret
SELECT value FROM secrets WHERE name = %(name)s;
