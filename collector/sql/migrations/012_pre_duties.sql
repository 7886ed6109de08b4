-- What one of all workers does now and then, on whatever machine. Who claims a duty sets when it is due again.
CREATE TABLE duties (
    name   text PRIMARY KEY,
    due_at timestamptz NOT NULL
);
