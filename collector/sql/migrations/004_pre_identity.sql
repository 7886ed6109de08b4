-- Who may read and operate: users, their sessions and tokens, what they were invited to, and failed sign-ins.

CREATE TABLE users (
    id                  uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    name                text NOT NULL CHECK (length(name) BETWEEN 1 AND 100),
    display_name        text CHECK (length(display_name) BETWEEN 1 AND 100),
    -- Argon2id. NULL: no sign-in by password.
    password_hash       text,
    role                text NOT NULL CHECK (role IN ('admin', 'operator', 'viewer')),
    status              text NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'disabled')),
    -- Part of every access token: counting it up ends all of them.
    token_version       integer NOT NULL DEFAULT 1,
    created_at          timestamptz NOT NULL DEFAULT now(),
    password_changed_at timestamptz,
    signed_in_at        timestamptz
);
CREATE UNIQUE INDEX users_name ON users (lower(name));

-- A session is a family of refresh tokens, each used once. One that comes a second time was stolen, and ends its
-- family. `hash` is SHA-256 of a random token.
CREATE TABLE refresh_tokens (
    hash       bytea PRIMARY KEY,
    family     uuid NOT NULL,
    user_id    uuid NOT NULL REFERENCES users ON DELETE CASCADE,
    issued_at  timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL,
    used_at    timestamptz,
    revoked_at timestamptz
);
CREATE INDEX refresh_tokens_family ON refresh_tokens (family);
CREATE INDEX refresh_tokens_user ON refresh_tokens (user_id);
CREATE INDEX refresh_tokens_expiry ON refresh_tokens (expires_at);

-- For programs: as long as they hold, with the rights of their user or fewer.
CREATE TABLE api_tokens (
    id         uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    user_id    uuid NOT NULL REFERENCES users ON DELETE CASCADE,
    name       text NOT NULL CHECK (length(name) BETWEEN 1 AND 100),
    hash       bytea NOT NULL UNIQUE,
    role       text NOT NULL CHECK (role IN ('admin', 'operator', 'viewer')),
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz,
    used_at    timestamptz,
    revoked_at timestamptz
);
CREATE INDEX api_tokens_user ON api_tokens (user_id);

CREATE TABLE invitations (
    hash       bytea PRIMARY KEY,
    role       text NOT NULL CHECK (role IN ('admin', 'operator', 'viewer')),
    invited_by uuid REFERENCES users ON DELETE SET NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL,
    used_at    timestamptz,
    used_by    uuid REFERENCES users ON DELETE SET NULL
);

-- Sign-ins that failed of late, by user name and by address; all workers see the same.
CREATE TABLE failed_sign_ins (
    key           text PRIMARY KEY,
    n             integer NOT NULL,
    last_at       timestamptz NOT NULL DEFAULT now(),
    blocked_until timestamptz
) WITH (fillfactor = 70);

-- What all workers of a collector share and nobody else may know: the key that signs access tokens.
CREATE TABLE secrets (
    name       text PRIMARY KEY,
    value      bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);
