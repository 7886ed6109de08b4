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
