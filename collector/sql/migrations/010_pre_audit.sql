-- Who did what, and what each user may.

-- It is written in the transaction of what was done, and never changed. No foreign keys: it outlasts all it names,
-- which is why names stand beside the ids.
CREATE TABLE audit_log (
    no           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at           timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- NULL: nobody who signed in.
    user_id      uuid,
    user_name    text NOT NULL,
    address      text NOT NULL,
    action       text NOT NULL,
    subject_kind text NOT NULL,
    subject_id   uuid,
    subject_name text NOT NULL,
    junction_id  uuid,
    before       jsonb,
    after        jsonb
);
CREATE INDEX audit_log_time ON audit_log (at);
CREATE INDEX audit_log_user ON audit_log (user_id, no);
CREATE INDEX audit_log_subject ON audit_log (subject_id, no);
CREATE INDEX audit_log_junction ON audit_log (junction_id, no);
CREATE INDEX audit_log_action ON audit_log (action, no);

CREATE FUNCTION refuse_change() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is written once and never changed', TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
END $$;
CREATE TRIGGER written_once BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_log
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- An invitation may bring access to junctions, and may be taken back.
ALTER TABLE invitations ADD COLUMN id uuid NOT NULL DEFAULT gen_random_uuid();
ALTER TABLE invitations ADD COLUMN all_junctions boolean NOT NULL DEFAULT false;
ALTER TABLE invitations ADD COLUMN revoked_at timestamptz;
CREATE UNIQUE INDEX invitations_id ON invitations (id);
CREATE TABLE invitation_access (
    invitation_id uuid NOT NULL REFERENCES invitations (id) ON DELETE CASCADE,
    junction_id   uuid NOT NULL REFERENCES junctions ON DELETE CASCADE,
    level         text NOT NULL CHECK (level IN ('read', 'operate')),
    PRIMARY KEY (invitation_id, junction_id)
);
CREATE INDEX invitation_access_junction ON invitation_access (junction_id);

-- What each active user may at each junction, and why. To be asked for one user, or one junction.
CREATE VIEW v_user_permissions WITH (security_invoker = true) AS
SELECT u.id AS user_id, u.name AS user_name, u.role, j.id AS junction_id, j.name AS junction_name,
       true AS may_read,
       u.role <> 'viewer' AND (u.role = 'admin' OR u.all_junctions OR a.level = 'operate') AS may_operate,
       CASE WHEN u.role = 'admin' THEN 'admin' WHEN u.all_junctions THEN 'all_junctions' ELSE 'granted' END AS why,
       a.level AS granted_level, a.granted_at, g.name AS granted_by
FROM users u
CROSS JOIN junctions j
LEFT JOIN user_junction_access a ON a.user_id = u.id AND a.junction_id = j.id
LEFT JOIN users g ON g.id = a.granted_by
WHERE u.status = 'active' AND (u.role = 'admin' OR u.all_junctions OR a.user_id IS NOT NULL);
