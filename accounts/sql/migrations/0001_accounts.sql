-- People, their login sessions, and the keys that sign access tokens.

CREATE TABLE users (
    user_id uuid PRIMARY KEY,
    -- Folded to lower case before it gets here, so uniqueness is case-insensitive.
    username text NOT NULL CHECK (username ~ '^[a-z0-9_]{3,30}$'),
    password_hash text NOT NULL,
    registered_at timestamptz NOT NULL DEFAULT now()
);

-- serves: find_user_by_name, add_user
CREATE UNIQUE INDEX users_username ON users (username);

-- One login; its refresh tokens are a family. Revoking the session revokes all of them.
CREATE TABLE sessions (
    session_id uuid PRIMARY KEY,
    user_id uuid NOT NULL REFERENCES users ON DELETE CASCADE,
    started_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL,
    revoked_at timestamptz
);

-- serves: delete_expired_sessions
CREATE INDEX sessions_expires_at ON sessions (expires_at);

-- Used tokens stay until their session ends, since it is by them that a stolen one is recognised.
CREATE TABLE refresh_tokens (
    -- SHA-256; the token has 256 random bits, so there is nothing to guess and no salt is needed.
    token_hash bytea PRIMARY KEY CHECK (octet_length(token_hash) = 32),
    session_id uuid NOT NULL REFERENCES sessions ON DELETE CASCADE,
    issued_at timestamptz NOT NULL DEFAULT now(),
    used_at timestamptz
);

-- serves: delete_expired_sessions (the cascade)
CREATE INDEX refresh_tokens_session_id ON refresh_tokens (session_id);

CREATE TABLE signing_keys (
    -- The JWK thumbprint (RFC 7638).
    key_id text PRIMARY KEY,
    public_jwk jsonb NOT NULL,
    -- A compact JWE (dir, A256GCM) under LIVESTREAM_ACCOUNTS_KEY_SECRET.
    private_sealed text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    retired_at timestamptz
);

-- serves: add_signing_key (of processes that start at once, one wins)
CREATE UNIQUE INDEX signing_keys_one_current ON signing_keys ((true)) WHERE retired_at IS NULL;
